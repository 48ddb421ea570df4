//! Tokens: JSON Web Tokens (RFC 7519) with the claims of djangorestframework-simplejwt, signed with HS256.
//!
//! Strict by construction (RFC 8725, OWASP ASVS 5.0 V9): one algorithm, `exp` required, `nbf` and `iat` judged,
//! unknown `crit` refused, one kind of token cannot stand in for another. The clock is the caller's.

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::auth::NoRandomness;
use crate::auth::random;
use crate::config::Secret;
use crate::domain::Timestamp;
use crate::domain::user::UserId;

/// Longest token that is looked at, in bytes. Ours have about 250; large issuers' stay below 4,096.
pub const TOKEN_BYTES_MAX: usize = 8_192;

/// What a token is good for. Source: simplejwt's claim `token_type`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// Calls the API.
    Access,
    /// Gets new access tokens.
    Refresh,
}

impl Kind {
    /// The value of the claim `token_type`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Access => "access",
            Self::Refresh => "refresh",
        }
    }
}

/// Why a token is not accepted. A variant exists where simplejwt's answer differs.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[expect(missing_docs, reason = "each message documents its variant")]
pub enum Rejected {
    #[error("Token is invalid")]
    Invalid,
    #[error("Token is expired")]
    Expired,
    #[error("Token has no type")]
    NoType,
    #[error("Token has wrong type")]
    WrongType,
    #[error("Token contained no recognizable user identification")]
    NoUser,
}

/// Why a token was not made.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message documents its variant")]
pub enum Error {
    #[error("cannot sign the token")]
    Sign(#[source] jsonwebtoken::errors::Error),
    #[error("cannot give the token an id")]
    Random(#[from] NoRandomness),
}

/// The claims that are written, in simplejwt's order.
#[derive(Debug, Serialize)]
struct Written<'a> {
    token_type: &'a str,
    exp: i64,
    iat: i64,
    jti: String,
    user_id: &'a UserId,
}

/// The claims that are read. A duplicate or a number of the wrong kind fails to parse: RFC 8725 §3.10.
#[derive(Debug, Deserialize)]
struct Read {
    token_type: Option<Value>,
    exp: Option<i64>,
    nbf: Option<i64>,
    iat: Option<i64>,
    aud: Option<Value>,
    user_id: Option<Value>,
}

/// Signs and verifies with one secret.
#[derive(Clone)]
pub struct Tokens {
    signing: EncodingKey,
    verifying: DecodingKey,
    validation: Validation,
    leeway_s: i64,
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Tokens").finish_non_exhaustive()
    }
}

impl Tokens {
    /// Signs with `secret`; forgives `leeway_s` seconds of clock difference.
    #[must_use]
    pub fn new(secret: &Secret, leeway_s: u64) -> Self {
        let mut validation = Validation::new(Algorithm::HS256);
        // The library judges only the signature and the algorithm: it reads the system's clock, its leeway is a
        // minute, and it looks at neither `nbf` nor `crit` by default. The claims are judged in `judge`.
        validation.required_spec_claims.clear();
        validation.validate_exp = false;
        validation.validate_aud = false;
        Self {
            signing: EncodingKey::from_secret(secret.expose().as_bytes()),
            verifying: DecodingKey::from_secret(secret.expose().as_bytes()),
            validation,
            leeway_s: i64::try_from(leeway_s).unwrap_or(0),
        }
    }

    /// A token for `user` that holds for `ttl_s` seconds from `now`.
    ///
    /// # Errors
    ///
    /// See [`Error`].
    pub fn issue(
        &self,
        user: &UserId,
        kind: Kind,
        now: Timestamp,
        ttl_s: u64,
    ) -> Result<String, Error> {
        let id = u128::from_be_bytes(random()?);
        let claims = Written {
            token_type: kind.as_str(),
            exp: now.as_seconds().saturating_add_unsigned(ttl_s),
            iat: now.as_seconds(),
            jti: format!("{id:032x}"),
            user_id: user,
        };
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &self.signing)
            .map_err(Error::Sign)
    }

    /// The user that a token speaks for.
    ///
    /// # Errors
    ///
    /// See [`Rejected`]. A wrong signature is found before anything that the token says is believed.
    pub fn verify(&self, token: &str, kind: Kind, now: Timestamp) -> Result<UserId, Rejected> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(Rejected::Invalid);
        }
        let decoded = jsonwebtoken::decode::<Read>(token, &self.verifying, &self.validation);
        let decoded = decoded.map_err(|error| match error.kind() {
            ErrorKind::ExpiredSignature => Rejected::Expired,
            _ => Rejected::Invalid,
        })?;
        // `crit` lists extensions that must be understood (RFC 7515 §4.1.11); we know none.
        if decoded.header.crit.is_some() {
            return Err(Rejected::Invalid);
        }
        self.judge(&decoded.claims, kind, now)
    }

    fn judge(&self, claims: &Read, kind: Kind, now: Timestamp) -> Result<UserId, Rejected> {
        let now = now.as_seconds();
        let expires = claims.exp.ok_or(Rejected::Invalid)?;
        if expires.saturating_add(self.leeway_s) <= now {
            return Err(Rejected::Expired);
        }
        let latest_start = now.saturating_add(self.leeway_s);
        let early = |start: Option<i64>| start.is_some_and(|start| start > latest_start);
        // No audience is configured, so a token that names one is meant for someone else: RFC 7519 §4.1.3.
        if early(claims.nbf) || early(claims.iat) || claims.aud.is_some() {
            return Err(Rejected::Invalid);
        }
        match &claims.token_type {
            None => return Err(Rejected::NoType),
            Some(found) if found.as_str() != Some(kind.as_str()) => {
                return Err(Rejected::WrongType);
            }
            Some(_) => {}
        }
        // simplejwt wrote integers before 5.5.1 and writes strings since.
        let id = match &claims.user_id {
            Some(Value::String(id)) => id.clone(),
            Some(Value::Number(id)) if id.is_i64() || id.is_u64() => id.to_string(),
            _ => return Err(Rejected::NoUser),
        };
        UserId::try_from(id).map_err(|_| Rejected::NoUser)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const SECRET: &str = "a secret of at least thirty-two bytes";
    const NOW: Timestamp = Timestamp::from_micros(1_000_000_000_500_000);
    const NOW_S: i64 = 1_000_000_000;

    fn tokens(leeway_s: u64) -> Tokens {
        Tokens::new(&Secret::from(SECRET.to_owned()), leeway_s)
    }

    fn good() -> Value {
        json!({ "token_type": "access", "exp": NOW_S + 60, "iat": NOW_S, "jti": "x", "user_id": "ada" })
    }

    fn sign(header: &Header, claims: &Value) -> String {
        jsonwebtoken::encode(header, claims, &EncodingKey::from_secret(SECRET.as_bytes())).unwrap()
    }

    /// What becomes of a well-signed token with these claims changed; null takes one away.
    fn judged(changes: &Value) -> Result<String, Rejected> {
        let mut claims = good();
        for (name, value) in changes.as_object().unwrap() {
            claims
                .as_object_mut()
                .unwrap()
                .insert(name.clone(), value.clone());
        }
        claims
            .as_object_mut()
            .unwrap()
            .retain(|_, value| !value.is_null());
        let token = sign(&Header::new(Algorithm::HS256), &claims);
        tokens(0)
            .verify(&token, Kind::Access, NOW)
            .map(String::from)
    }

    #[test]
    fn issued_token_is_accepted_for_its_kind_only_until_it_expires() {
        let user: UserId = "ada".parse().unwrap();
        let token = tokens(0).issue(&user, Kind::Access, NOW, 60).unwrap();
        let at = |seconds| Timestamp::from_micros((NOW_S + seconds) * 1_000_000);

        assert_eq!(
            tokens(0).verify(&token, Kind::Access, at(59)),
            Ok(user.clone())
        );
        assert_eq!(
            tokens(0).verify(&token, Kind::Access, at(60)),
            Err(Rejected::Expired)
        );
        assert_eq!(tokens(30).verify(&token, Kind::Access, at(89)), Ok(user));
        assert_eq!(
            tokens(30).verify(&token, Kind::Access, at(90)),
            Err(Rejected::Expired)
        );
        assert_eq!(
            tokens(0).verify(&token, Kind::Refresh, at(0)),
            Err(Rejected::WrongType)
        );
    }

    #[test]
    fn user_is_a_text_or_an_integer() {
        assert_eq!(judged(&json!({})), Ok("ada".to_owned()));
        assert_eq!(judged(&json!({ "user_id": 42 })), Ok("42".to_owned()));
        for user in [
            json!(null),
            json!(""),
            json!(true),
            json!(1.5),
            json!([1]),
            json!({}),
            json!("a\u{0}"),
            json!("x".repeat(129)),
        ] {
            assert_eq!(
                judged(&json!({ "user_id": user })),
                Err(Rejected::NoUser),
                "{user}"
            );
        }
    }

    #[test]
    fn times_are_judged() {
        assert_eq!(judged(&json!({ "exp": NOW_S })), Err(Rejected::Expired));
        assert_eq!(judged(&json!({ "exp": -1 })), Err(Rejected::Expired));
        for wrong in [
            json!({ "exp": null }),
            json!({ "exp": "9999999999" }),
            json!({ "exp": 1.5e10 }),
            json!({ "exp": u64::MAX }),
        ] {
            assert_eq!(judged(&wrong), Err(Rejected::Invalid), "{wrong}");
        }
        assert_eq!(judged(&json!({ "nbf": NOW_S })), Ok("ada".to_owned()));
        assert_eq!(judged(&json!({ "nbf": NOW_S + 1 })), Err(Rejected::Invalid));
        assert_eq!(judged(&json!({ "iat": NOW_S + 1 })), Err(Rejected::Invalid));
    }

    #[test]
    fn type_and_audience_are_judged() {
        assert_eq!(
            judged(&json!({ "token_type": null })),
            Err(Rejected::NoType)
        );
        assert_eq!(
            judged(&json!({ "token_type": "refresh" })),
            Err(Rejected::WrongType)
        );
        assert_eq!(
            judged(&json!({ "token_type": 1 })),
            Err(Rejected::WrongType)
        );
        assert_eq!(
            judged(&json!({ "aud": "someone else" })),
            Err(Rejected::Invalid)
        );
    }

    #[test]
    fn only_one_algorithm_and_no_extension_is_understood() {
        let verify = |token: &str| tokens(0).verify(token, Kind::Access, NOW);
        let mut critical = Header::new(Algorithm::HS256);
        critical.crit = Some(vec!["exp".to_owned()]);
        let signed = sign(&Header::new(Algorithm::HS256), &good());
        let (body, signature) = signed.rsplit_once('.').unwrap();

        assert!(verify(&signed).is_ok());
        for token in [
            sign(&critical, &good()),
            sign(&Header::new(Algorithm::HS384), &good()),
            sign(&Header::new(Algorithm::HS512), &good()),
            format!("{body}."),
            format!("{body}.{}", signature.to_lowercase()),
            format!("{signed}="),
            format!(" {signed}"),
            format!("{signed}.{signature}"),
            body.to_owned(),
            String::new(),
            "..".to_owned(),
            "x".repeat(TOKEN_BYTES_MAX + 1),
        ] {
            assert_eq!(verify(&token), Err(Rejected::Invalid), "{token:.60}");
        }
    }

    #[test]
    fn key_of_another_is_not_ours() {
        let other = Tokens::new(
            &Secret::from("another secret of thirty-two bytes or more".to_owned()),
            0,
        );
        let token = other
            .issue(&"ada".parse().unwrap(), Kind::Access, NOW, 60)
            .unwrap();

        assert_eq!(
            tokens(0).verify(&token, Kind::Access, NOW),
            Err(Rejected::Invalid)
        );
    }

    #[test]
    fn duplicate_claim_is_refused() {
        use base64::Engine;
        use base64::engine::general_purpose::URL_SAFE_NO_PAD;
        let claims = format!(
            "{{\"token_type\":\"access\",\"exp\":{0},\"user_id\":\"ada\",\"user_id\":\"bob\"}}",
            NOW_S + 60
        );
        let body = format!(
            "{}.{}",
            URL_SAFE_NO_PAD.encode("{\"alg\":\"HS256\"}"),
            URL_SAFE_NO_PAD.encode(claims)
        );
        let key = EncodingKey::from_secret(SECRET.as_bytes());
        let signature =
            jsonwebtoken::crypto::sign(body.as_bytes(), &key, Algorithm::HS256).unwrap();

        assert_eq!(
            tokens(0).verify(&format!("{body}.{signature}"), Kind::Access, NOW),
            Err(Rejected::Invalid)
        );
    }
}
