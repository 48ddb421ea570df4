//! Doors for the fuzzer to readers that are private otherwise. Built for it, and for tests, so that it stays
//! buildable.

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
/// Whether it is accepted.
///
/// # Panics
///
/// If it is accepted although it names another algorithm, has expired, or is of another kind.
#[must_use]
pub fn signed(header: &[u8], claims: &[u8]) -> bool {
    let Ok(tokens) = Tokens::new(&Secret::from(SECRET.to_owned()), 0) else {
        return false;
    };
    let mut accepted = false;
    let [head, payload] = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part));
    let message = format!("{head}.{payload}");
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
    let signature = hmac::sign(&key, message.as_bytes());
    let token = format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()));
    for kind in [Kind::Access, Kind::Refresh] {
        if tokens.verify(&token, kind, NOW).is_err() {
            continue;
        }
        accepted = true;
        let said = |part, name: &str| json::object(part).and_then(|said| said.get(name).cloned());
        assert_eq!(said(header, "alg"), Some("HS256".into()));
        assert_eq!(said(header, "crit"), None);
        assert_eq!(said(claims, "token_type"), Some(kind.as_str().into()));
        let expires = said(claims, "exp").and_then(|exp| exp.as_f64());
        assert!(expires.is_some_and(|exp| exp > 1_000.0), "it has expired");
    }
    accepted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn door_of_claims_leads_to_both_verdicts() {
        let header = r#"{"alg":"HS256","typ":"JWT"}"#;
        for (header, claims, is_accepted) in [
            (
                header,
                r#"{"token_type":"access","exp":1001,"user_id":"1"}"#,
                true,
            ),
            (
                header,
                r#"{"token_type":"refresh","exp":1e10,"user_id":1}"#,
                true,
            ),
            (
                header,
                r#"{"token_type":"access","exp":1000,"user_id":"1"}"#,
                false,
            ),
            (
                header,
                r#"{"token_type":"access","exp":1e400,"user_id":"1"}"#,
                false,
            ),
            (header, "[]", false),
            (
                r#"{"alg":"none"}"#,
                r#"{"token_type":"access","exp":1001,"user_id":"1"}"#,
                false,
            ),
            ("", "", false),
        ] {
            let found = signed(header.as_bytes(), claims.as_bytes());
            assert_eq!(found, is_accepted, "{header} {claims}");
        }
    }
}
