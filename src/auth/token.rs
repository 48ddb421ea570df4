//! Our own tokens: JSON Web Tokens (RFC 7519) with the claims of djangorestframework-simplejwt, signed with HS256.
//!
//! Strict by construction (RFC 8725, OWASP ASVS 5.0 V9): one algorithm, `exp` required, `nbf` and `iat` judged,
//! `crit` refused, one kind of token cannot stand in for another. The clock is the caller's.

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::Serialize;

use crate::auth::NoRandomness;
use crate::auth::claims::Caller;
use crate::auth::claims::Rules;
use crate::auth::claims::TokenType;
use crate::auth::jws::Jws;
use crate::auth::random;
use crate::auth::verify::Unusable;
use crate::auth::verify::VerifyingKey;
use crate::config::HmacAlgorithm;
use crate::config::Secret;
use crate::domain::Timestamp;
use crate::domain::user::UserId;

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
    #[error("Token has no 'exp' claim")]
    NoExpiry,
    #[error("Token has no type")]
    NoType,
    #[error("Token has wrong type")]
    WrongType,
    #[error("Token contained no recognizable user identification")]
    NoUser,
    #[error("Token lacks a required scope")]
    Scope,
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

/// Signs and verifies with one secret.
#[derive(Debug)]
pub struct Tokens {
    signing: EncodingKey,
    verifying: VerifyingKey,
    access: Rules,
    refresh: Rules,
}

impl Tokens {
    /// Signs with `secret`; forgives `leeway_s` seconds of clock difference.
    ///
    /// # Errors
    ///
    /// [`Unusable`] for a secret that is too short.
    pub fn new(secret: &Secret, leeway_s: u64) -> Result<Self, Unusable> {
        let secret = secret.expose().as_bytes();
        let access = Rules::local(leeway_s);
        Ok(Self {
            signing: EncodingKey::from_secret(secret),
            verifying: VerifyingKey::secret(None, secret, &[HmacAlgorithm::Hs256])?,
            refresh: Rules {
                token_type: TokenType::Exactly(Kind::Refresh.as_str().to_owned()),
                ..access.clone()
            },
            access,
        })
    }

    /// The same, but takes no access token that still holds for more than so many seconds; 0: takes all.
    #[must_use]
    pub fn within(self, access_life_s_max: u64) -> Self {
        let access = self.access.within(access_life_s_max);
        Self { access, ..self }
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
        let token = Jws::parse(token).ok_or(Rejected::Invalid)?;
        let judged = self.judge(&token, kind, now);
        judged
            .unwrap_or(Err(Rejected::Invalid))
            .map(|caller| caller.user)
    }

    /// Whom a token speaks for; none if it was signed by someone else.
    pub(super) fn judge(
        &self,
        token: &Jws<'_>,
        kind: Kind,
        now: Timestamp,
    ) -> Option<Result<Caller, Rejected>> {
        if !self.verifying.has_signed(token) {
            return None;
        }
        let rules = match kind {
            Kind::Access => &self.access,
            Kind::Refresh => &self.refresh,
        };
        let claims = token.claims().ok_or(Rejected::Invalid);
        Some(claims.and_then(|claims| rules.judge(&claims, now)))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::auth::jws::TOKEN_BYTES_MAX;

    const SECRET: &str = "a secret of at least thirty-two bytes";
    const NOW: Timestamp = Timestamp::from_micros(1_000_000_000_500_000);
    const NOW_S: i64 = 1_000_000_000;

    fn tokens(leeway_s: u64) -> Tokens {
        Tokens::new(&Secret::from(SECRET.to_owned()), leeway_s).unwrap()
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
    fn longest_life_is_that_of_access_tokens_and_begins_behind_the_leeway() {
        let user: UserId = "ada".parse().unwrap();
        let strict = tokens(30).within(60);
        let judged = |kind, ttl_s| {
            let token = strict.issue(&user, kind, NOW, ttl_s).unwrap();
            strict.verify(&token, kind, NOW).map(drop)
        };

        assert_eq!(judged(Kind::Access, 90), Ok(()));
        assert_eq!(judged(Kind::Access, 91), Err(Rejected::Invalid));
        assert_eq!(judged(Kind::Refresh, 3_155_760_000), Ok(()));
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
            json!("x".repeat(162)),
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
            json!({ "exp": "9999999999" }),
            json!({ "exp": 1.5e300 }),
            json!({ "exp": u64::MAX }),
        ] {
            assert_eq!(judged(&wrong), Err(Rejected::Invalid), "{wrong}");
        }
        assert_eq!(judged(&json!({ "exp": null })), Err(Rejected::NoExpiry));
        // What else is wrong comes first, as in PyJWT.
        for wrong in [
            json!({ "exp": null, "nbf": NOW_S + 1 }),
            json!({ "exp": null, "aud": "someone else" }),
        ] {
            assert_eq!(judged(&wrong), Err(Rejected::Invalid), "{wrong}");
        }
        assert_eq!(judged(&json!({ "exp": 1.5e10 })), Ok("ada".to_owned()));
        assert_eq!(
            judged(&json!({ "exp": 999_999_999.9 })),
            Err(Rejected::Expired)
        );
        assert_eq!(
            judged(&json!({ "exp": 1_000_000_000.9 })),
            Err(Rejected::Expired)
        );
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
        )
        .unwrap();
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
