//! Doors for the fuzzer to readers that are private otherwise. Built under `cfg(fuzzing)` only.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::auth::json;
use crate::auth::token::{Kind, Tokens};
use crate::config::Secret;
use crate::domain::Timestamp;

const SECRET: &str = "0123456789abcdef0123456789abcdef";
const NOW: Timestamp = Timestamp::from_micros(1_000_000_000);

/// A token with this header and these claims, whose signature is right: what a signature proves, the claims may abuse.
///
/// # Panics
///
/// If it is accepted although it names another algorithm, has expired, or is of another kind.
pub fn signed(header: &[u8], claims: &[u8]) {
    let Ok(tokens) = Tokens::new(&Secret::from(SECRET.to_owned()), 0) else {
        return;
    };
    let [head, payload] = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part));
    let message = format!("{head}.{payload}");
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
    let signature = hmac::sign(&key, message.as_bytes());
    let token = format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()));
    for kind in [Kind::Access, Kind::Refresh] {
        if tokens.verify(&token, kind, NOW).is_err() {
            continue;
        }
        let said = |part, name: &str| json::object(part).and_then(|said| said.get(name).cloned());
        assert_eq!(said(header, "alg"), Some("HS256".into()));
        assert_eq!(said(header, "crit"), None);
        assert_eq!(said(claims, "token_type"), Some(kind.as_str().into()));
        let expires = said(claims, "exp").and_then(|exp| exp.as_f64());
        assert!(expires.is_some_and(|exp| exp > 1_000.0), "it has expired");
    }
}
