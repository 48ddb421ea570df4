//! The compact serialisation of a JSON Web Signature (RFC 7515 §7.1), taken apart. Nothing it says is believed here.
//!
//! Strict where programs differ: three parts of base64url without padding or spare bits, a header that says everything
//! once, no `crit` (we know no extension), no `b64`, no compression, no `typ` of something else.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use crate::auth::json;

/// Longest token that is looked at, in bytes. Ours have about 250; large issuers' stay below 4,096.
pub(super) const TOKEN_BYTES_MAX: usize = 8_192;

/// A token in its parts.
#[derive(Debug)]
pub(super) struct Jws<'t> {
    /// Header and claims as they were signed.
    pub(super) message: &'t [u8],
    /// What is claimed to be their signature.
    pub(super) signature: Vec<u8>,
    /// The claims, not yet read.
    payload: Vec<u8>,
    /// The algorithm that the token names.
    pub(super) algorithm: String,
    /// The key that it names.
    pub(super) key_id: Option<String>,
}

impl<'t> Jws<'t> {
    /// The parts; none of anything that is not exactly a signed token.
    pub(super) fn parse(token: &'t str) -> Option<Self> {
        if token.len() > TOKEN_BYTES_MAX {
            return None;
        }
        let (message, signature) = token.rsplit_once('.')?;
        let (head, payload) = message.split_once('.')?;
        // A dot is no digit of base64: more of them fail here.
        let decoded = |part: &str| URL_SAFE_NO_PAD.decode(part).ok();
        let head = json::object(&decoded(head)?)?;
        if ["crit", "b64", "zip"]
            .iter()
            .any(|name| head.contains_key(*name))
        {
            return None;
        }
        let key_id = match head.get("kid") {
            None => None,
            Some(Value::String(id)) => Some(id.clone()),
            Some(_) => return None,
        };
        if !head.get("typ").is_none_or(is_of_access) {
            return None;
        }
        let Some(Value::String(algorithm)) = head.get("alg") else {
            return None;
        };
        Some(Self {
            message: message.as_bytes(),
            signature: decoded(signature)?,
            payload: decoded(payload)?,
            algorithm: algorithm.clone(),
            key_id,
        })
    }

    /// What the token says; none if that is no JSON object.
    pub(super) fn claims(&self) -> Option<Map<String, Value>> {
        json::object(&self.payload)
    }
}

/// Whether a `typ` leaves open that the token is one for access. What an issuer signs for other purposes says so: logout
/// tokens, security events, proofs of possession (RFC 8725 §3.11). Those for access may, too: RFC 9068 §2.1.
fn is_of_access(kind: &Value) -> bool {
    let Some(kind) = kind.as_str().map(str::to_ascii_lowercase) else {
        return false;
    };
    !kind.ends_with("+jwt") || matches!(kind.as_str(), "at+jwt" | "application/at+jwt")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(head: &str, payload: &str) -> String {
        let [head, payload, signature] =
            [head, payload, "signature"].map(|part| URL_SAFE_NO_PAD.encode(part));
        format!("{head}.{payload}.{signature}")
    }

    #[test]
    fn example_of_the_rfc_is_taken_apart() {
        // RFC 7515, appendix A.1.1, with its line breaks.
        let token = concat!(
            "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFt",
            "cGxlLmNvbS9pc19yb290Ijp0cnVlfQ.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
        );
        let jws = Jws::parse(token).unwrap();

        assert_eq!(
            (jws.algorithm.as_str(), jws.key_id.as_deref()),
            ("HS256", None)
        );
        assert_eq!(jws.signature.len(), 32);
        assert_eq!(jws.claims().unwrap()["iss"], "joe");
    }

    #[test]
    fn what_is_not_exactly_a_token_is_none() {
        let good = token(r#"{"alg":"HS256"}"#, "{}");
        assert!(Jws::parse(&good).is_some());
        for kind in ["JWT", "at+jwt", "application/at+JWT", "JOSE"] {
            let named = token(&format!(r#"{{"alg":"HS256","typ":"{kind}"}}"#), "{}");
            assert!(Jws::parse(&named).is_some(), "{kind}");
        }
        let mut bad = vec![
            String::new(),
            "..".to_owned(),
            format!("{good}="),
            format!("{good}."),
            format!(".{good}"),
            format!("{good}\n"),
            format!(" {good}"),
            good.replacen('.', "=.", 1),
            good.replacen('.', "..", 1),
            "x".repeat(TOKEN_BYTES_MAX + 1),
        ];
        for head in [
            r#"{"alg":"HS256","crit":["exp"]}"#,
            r#"{"alg":"HS256","crit":null}"#,
            r#"{"alg":"HS256","b64":false}"#,
            r#"{"alg":"HS256","zip":"DEF"}"#,
            r#"{"alg":"HS256","alg":"none"}"#,
            r#"{"alg":"HS256","x":1,"x":1}"#,
            r#"{"alg":"HS256","kid":1}"#,
            r#"{"alg":"HS256","kid":null}"#,
            r#"{"alg":"HS256","typ":1}"#,
            r#"{"alg":"HS256","typ":"logout+jwt"}"#,
            r#"{"alg":"HS256","typ":"application/SecEvent+JWT"}"#,
            r#"{"alg":"HS256","typ":"dpop+jwt"}"#,
            r#"{"alg":"HS256","typ":"eat+jwt"}"#,
            r#"{"alg":1}"#,
            r#"{"alg":"HS256"}}"#,
            r#"{"typ":"JWT"}"#,
            r#""HS256""#,
            "[]",
            "",
            "\u{FEFF}{\"alg\":\"HS256\"}",
        ] {
            bad.push(token(head, "{}"));
        }
        for token in bad {
            assert!(Jws::parse(&token).is_none(), "{token:.80}");
        }
    }

    #[test]
    fn claims_are_one_object() {
        for payload in ["", "[]", "1", r#"{"a":1,"a":2}"#, "{}x", "null"] {
            let token = token(r#"{"alg":"HS256"}"#, payload);
            assert!(Jws::parse(&token).unwrap().claims().is_none(), "{payload}");
        }
    }
}
