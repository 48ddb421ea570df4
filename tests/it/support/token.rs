//! Tokens that the tests make themselves: good ones of a foreign issuer, and every kind of bad one.

use std::time::{SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};

/// The secret of every test server that is not told another.
pub const SECRET: &str = "a secret of the tests, 32 bytes and more";

/// simplejwt's body for a token that it does not take.
pub fn not_valid(message: &str) -> String {
    format!(
        r#"{{"detail":"Given token not valid for any token type","code":"token_not_valid","messages":[{{"token_class":"AccessToken","token_type":"access","message":"{message}"}}]}}"#
    )
}

/// Seconds since the epoch.
pub fn now() -> i64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(elapsed.as_secs()).unwrap()
}

/// The claims of simplejwt's access token, valid for five minutes.
pub fn access_claims(user_id: &str) -> Value {
    json!({
        "token_type": "access",
        "exp": now() + 300,
        "iat": now(),
        "jti": "0123456789abcdef0123456789abcdef",
        "user_id": user_id,
    })
}

/// A good access token for a user, as another issuer with the same secret makes it.
pub fn access(user_id: &str) -> String {
    signed(&access_claims(user_id))
}

/// Claims signed with HS256 and the test server's secret.
pub fn signed(claims: &Value) -> String {
    sign(
        r#"{"alg":"HS256","typ":"JWT"}"#,
        &claims.to_string(),
        Algorithm::HS256,
        SECRET,
    )
}

/// Header and claims as they stand, signed.
pub fn sign(header: &str, claims: &str, algorithm: Algorithm, secret: &str) -> String {
    let message = unsigned(header, claims);
    let key = EncodingKey::from_secret(secret.as_bytes());
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, algorithm).unwrap();
    format!("{message}.{signature}")
}

/// The first two parts.
pub fn unsigned(header: &str, claims: &str) -> String {
    format!(
        "{}.{}",
        base64url(header.as_bytes()),
        base64url(claims.as_bytes())
    )
}

/// The claims of a token, unverified.
pub fn claims(token: &str) -> Value {
    let part = token.split('.').nth(1).expect("a token has three parts");
    serde_json::from_slice(&from_base64url(part)).unwrap()
}

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Base64 for URLs, without padding: RFC 4648 §5.
pub fn base64url(bytes: &[u8]) -> String {
    let digits = bytes.chunks(3).flat_map(|group| {
        let bits = (0..3).fold(0_usize, |bits, at| {
            bits << 8 | usize::from(group.get(at).copied().unwrap_or(0))
        });
        (0..=group.len()).map(move |at| char::from(DIGITS[bits >> (18 - 6 * at) & 63]))
    });
    digits.collect()
}

/// The reverse, for either alphabet, with or without padding.
pub fn from_base64url(text: &str) -> Vec<u8> {
    let digits = text.trim_end_matches('=').bytes().map(|digit| match digit {
        b'+' => 62,
        b'/' => 63,
        other => DIGITS.iter().position(|one| *one == other).unwrap(),
    });
    let digits: Vec<usize> = digits.collect();
    let bytes = digits.chunks(4).flat_map(|group| {
        let bits = (0..4).fold(0, |bits, at| {
            bits << 6 | group.get(at).copied().unwrap_or(0)
        });
        (1..group.len()).map(move |at| (bits >> (24 - 8 * at) & 255) as u8)
    });
    bytes.collect()
}
