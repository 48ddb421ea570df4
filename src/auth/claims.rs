//! What a token whose signature holds must say to be accepted (RFC 7519 §4, RFC 8725 §3). Pure; the clock is the
//! caller's.

use serde_json::{Map, Value};

use crate::auth::token::Rejected;
use crate::config;
use crate::domain::Timestamp;
use crate::domain::user::DisplayName;
use crate::domain::user::SUBJECT_CHARS_MAX;
use crate::domain::user::USER_ID_CHARS_MAX;
use crate::domain::user::UserId;

/// What is asked of the claim `token_type`.
#[derive(Clone, Debug)]
pub(super) enum TokenType {
    /// It must be there and say this.
    Exactly(String),
    /// It may be missing, but must not say anything but this.
    Unless(&'static str),
}

/// What is asked of the tokens of one issuer.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    pub(super) leeway_s: i64,
    /// Longest that a token may still hold, or none.
    pub(super) life_s_max: Option<i64>,
    pub(super) token_type: TokenType,
    /// The value of `iss`, or none if it does not matter.
    pub(super) issuer: Option<String>,
    pub(super) audiences: Vec<String>,
    pub(super) required_scopes: Vec<String>,
    pub(super) user_claim: String,
    pub(super) name_claim: String,
    /// Longest name that a token may call the user by, in characters.
    pub(super) subject_chars_max: usize,
    /// What stands before the subject in the user's id.
    pub(super) prefix: String,
    /// What no id may begin with, because such ids are those of another issuer's users.
    pub(super) foreign_prefixes: Vec<String>,
}

/// Whom a token speaks for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Caller {
    /// The user.
    pub user: UserId,
    /// What others know the user by, as far as the token says so.
    pub name: Option<DisplayName>,
}

impl Rules {
    /// Our own tokens and those of a Django with the same secret: simplejwt's.
    pub(super) fn local(leeway_s: u64) -> Self {
        Self {
            leeway_s: i64::try_from(leeway_s).unwrap_or(0),
            life_s_max: None,
            token_type: TokenType::Exactly("access".to_owned()),
            issuer: None,
            audiences: Vec::new(),
            required_scopes: Vec::new(),
            user_claim: "user_id".to_owned(),
            name_claim: String::new(),
            // The operator makes tokens for users of every issuer: `pockitd token`.
            subject_chars_max: USER_ID_CHARS_MAX,
            prefix: String::new(),
            foreign_prefixes: Vec::new(),
        }
    }

    /// The same for tokens that hold for so many seconds at most; 0: for any time.
    pub(super) fn within(self, life_s_max: u64) -> Self {
        let life_s_max = i64::try_from(life_s_max).ok().filter(|most| *most > 0);
        Self { life_s_max, ..self }
    }

    /// Those of one of the configured issuers.
    pub(super) fn of(issuer: &config::Issuer, auth: &config::Auth) -> Self {
        let prefix = issuer.prefix();
        let prefixes = auth.issuers.iter().map(config::Issuer::prefix);
        let foreign = prefixes.filter(|other| !other.is_empty() && *other != prefix);
        Self {
            token_type: issuer
                .token_type
                .clone()
                .map_or(TokenType::Unless("access"), TokenType::Exactly),
            issuer: Some(issuer.issuer.clone()).filter(|text| !text.is_empty()),
            audiences: issuer.audiences.clone(),
            required_scopes: issuer.required_scopes.clone(),
            user_claim: issuer.user_claim.clone(),
            name_claim: issuer.name_claim.clone(),
            foreign_prefixes: foreign.collect(),
            subject_chars_max: SUBJECT_CHARS_MAX,
            prefix,
            ..Self::local(auth.leeway_s).within(auth.access_life_s_max)
        }
    }

    /// The user that these claims speak for at that time.
    pub(super) fn judge(
        &self,
        claims: &Map<String, Value>,
        now: Timestamp,
    ) -> Result<Caller, Rejected> {
        let expires = self.judge_times(claims, now.as_seconds())?;
        self.judge_parties(claims)?;
        if !expires {
            return Err(Rejected::NoExpiry);
        }
        self.judge_type(claims)?;
        let user = self.user(claims).ok_or(Rejected::NoUser)?;
        if !self.has_scopes(claims) {
            return Err(Rejected::Scope);
        }
        let name = find(claims, &self.name_claim).and_then(Value::as_str);
        Ok(Caller {
            user,
            name: name.and_then(DisplayName::fitted),
        })
    }

    /// Whether it says when it expires.
    fn judge_times(&self, claims: &Map<String, Value>, now: i64) -> Result<bool, Rejected> {
        let time = |name: &str| match claims.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => seconds(value).map(Some).ok_or(Rejected::Invalid),
        };
        let (expires, earliest, issued) = (time("exp")?, time("nbf")?, time("iat")?);
        let is_over = |end: i64| end.saturating_add(self.leeway_s) <= now;
        if expires.is_some_and(is_over) {
            return Err(Rejected::Expired);
        }
        let latest_start = now.saturating_add(self.leeway_s);
        let is_early = |start: Option<i64>| start.is_some_and(|start| start > latest_start);
        let latest_end = |most: i64| latest_start.saturating_add(most);
        let is_late = |end: i64| self.life_s_max.is_some_and(|most| end > latest_end(most));
        if is_early(earliest) || is_early(issued) || expires.is_some_and(is_late) {
            return Err(Rejected::Invalid);
        }
        Ok(expires.is_some())
    }

    /// Who it is from, and for whom.
    fn judge_parties(&self, claims: &Map<String, Value>) -> Result<(), Rejected> {
        let said = claims.get("iss").and_then(Value::as_str);
        if self.issuer.is_some() && self.issuer.as_deref() != said {
            return Err(Rejected::Invalid);
        }
        let audience = claims.get("aud").filter(|value| !value.is_null());
        let is_ours = |value: &Value| {
            let text = value.as_str();
            text.is_some_and(|text| self.audiences.iter().any(|one| one == text))
        };
        let is_meant = match audience {
            // A token for anybody is good only where no audience is asked for, one for somebody only where it is:
            // RFC 7519 §4.1.3.
            None => self.audiences.is_empty(),
            Some(Value::Array(all)) => all.iter().any(is_ours),
            Some(one) => is_ours(one),
        };
        if is_meant {
            Ok(())
        } else {
            Err(Rejected::Invalid)
        }
    }

    fn judge_type(&self, claims: &Map<String, Value>) -> Result<(), Rejected> {
        let found = claims.get("token_type").filter(|value| !value.is_null());
        match (&self.token_type, found) {
            (TokenType::Exactly(_), None) => Err(Rejected::NoType),
            (TokenType::Unless(_), None) => Ok(()),
            (TokenType::Exactly(wanted), Some(found)) if found == wanted => Ok(()),
            (TokenType::Unless(wanted), Some(found)) if found == wanted => Ok(()),
            (_, Some(_)) => Err(Rejected::WrongType),
        }
    }

    fn user(&self, claims: &Map<String, Value>) -> Option<UserId> {
        let subject = match find(claims, &self.user_claim)? {
            Value::String(subject) => subject.clone(),
            // simplejwt wrote integers before 5.5.1 and writes strings since.
            Value::Number(subject) if subject.is_i64() || subject.is_u64() => subject.to_string(),
            _ => return None,
        };
        if subject.trim().is_empty() || subject.chars().count() > self.subject_chars_max {
            return None;
        }
        let id = format!("{}{subject}", self.prefix);
        let is_foreign = |prefix: &String| id.starts_with(prefix.as_str());
        if self.foreign_prefixes.iter().any(is_foreign) {
            return None;
        }
        UserId::try_from(id).ok()
    }

    /// RFC 8693 §4.2: `scope` is a text with spaces; others have an array, or call it `scp`.
    fn has_scopes(&self, claims: &Map<String, Value>) -> bool {
        let claims = ["scope", "scp"].map(|name| claims.get(name));
        let found: Vec<&str> = claims
            .into_iter()
            .flatten()
            .flat_map(|claim| match claim {
                Value::String(text) => text.split(' ').collect(),
                Value::Array(items) => items.iter().filter_map(Value::as_str).collect::<Vec<_>>(),
                _ => Vec::new(),
            })
            .collect();
        let mut required = self.required_scopes.iter();
        required.all(|scope| found.contains(&scope.as_str()))
    }
}

/// A time in whole seconds. It may have a fraction (RFC 7519 §2, "`NumericDate`").
fn seconds(value: &Value) -> Option<i64> {
    let fraction = || format!("{:.0}", value.as_f64()?.floor()).parse().ok();
    value.as_i64().or_else(fraction)
}

/// The claim of that name; else, where there are dots in it, the one that they lead to.
fn find<'c>(claims: &'c Map<String, Value>, path: &str) -> Option<&'c Value> {
    if let Some(claim) = claims.get(path) {
        return Some(claim);
    }
    let mut steps = path.split('.');
    let first = claims.get(steps.next()?)?;
    steps.try_fold(first, |value, step| value.as_object()?.get(step))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: Timestamp = Timestamp::from_micros(1_000_000_000_500_000);

    fn judged(
        change: impl FnOnce(&mut config::Issuer),
        claims: &Value,
    ) -> Result<String, Rejected> {
        let mut issuer = config::Issuer {
            name: "sso".to_owned(),
            ..config::Issuer::default()
        };
        change(&mut issuer);
        let other = config::Issuer {
            name: "other".to_owned(),
            ..config::Issuer::default()
        };
        let auth = config::Auth {
            issuers: vec![issuer.clone(), other],
            access_life_s_max: 60,
            ..config::Auth::default()
        };
        let rules = Rules::of(&issuer, &auth);
        let mut all = json!({ "exp": 1_000_000_060, "sub": "ada" });
        let (all, claims) = (all.as_object_mut().unwrap(), claims.as_object().unwrap());
        all.extend(claims.clone());
        rules.judge(all, NOW).map(|caller| caller.user.into())
    }

    fn ada(judged: &Result<String, Rejected>) -> bool {
        judged.as_deref() == Ok("sso:ada")
    }

    #[test]
    fn issuer_and_audience_are_those_that_are_configured() {
        let named = |issuer: &mut config::Issuer| issuer.issuer = "https://sso.org".to_owned();
        assert!(ada(&judged(named, &json!({ "iss": "https://sso.org" }))));
        for wrong in [
            json!({}),
            json!({ "iss": "https://sso.org/" }),
            json!({ "iss": ["https://sso.org"] }),
        ] {
            assert_eq!(judged(named, &wrong), Err(Rejected::Invalid), "{wrong}");
        }
        let meant = |issuer: &mut config::Issuer| issuer.audiences = vec!["a".into(), "b".into()];
        assert!(ada(&judged(meant, &json!({ "aud": "b" }))));
        assert!(ada(&judged(meant, &json!({ "aud": ["x", "a"] }))));
        for wrong in [
            json!({}),
            json!({ "aud": "x" }),
            json!({ "aud": [] }),
            json!({ "aud": 1 }),
        ] {
            assert_eq!(judged(meant, &wrong), Err(Rejected::Invalid), "{wrong}");
        }
        assert_eq!(
            judged(|_| {}, &json!({ "aud": "a" })),
            Err(Rejected::Invalid)
        );
    }

    #[test]
    fn token_that_holds_for_longer_than_any_may_is_invalid() {
        for (exp, is_accepted) in [
            (1_000_000_060, true),
            (1_000_000_061, false),
            (i64::MAX, false),
        ] {
            let judged = judged(|_| {}, &json!({ "exp": exp }));
            assert_eq!(ada(&judged), is_accepted, "{exp}: {judged:?}");
        }
    }

    #[test]
    fn token_type_is_access_unless_another_is_configured() {
        let typed = |issuer: &mut config::Issuer| issuer.token_type = Some("Bearer".to_owned());
        assert!(ada(&judged(|_| {}, &json!({}))));
        assert!(ada(&judged(|_| {}, &json!({ "token_type": "access" }))));
        let refresh = json!({ "token_type": "refresh" });
        assert_eq!(judged(|_| {}, &refresh), Err(Rejected::WrongType));
        assert_eq!(judged(typed, &json!({})), Err(Rejected::NoType));
        assert!(ada(&judged(typed, &json!({ "token_type": "Bearer" }))));
        assert_eq!(
            judged(typed, &json!({ "token_type": "access" })),
            Err(Rejected::WrongType)
        );
    }

    #[test]
    fn every_required_scope_is_needed() {
        let scoped =
            |issuer: &mut config::Issuer| issuer.required_scopes = vec!["p:w".into(), "q".into()];
        for good in [
            json!({ "scope": "q x p:w" }),
            json!({ "scp": ["p:w", "q"] }),
            json!({ "scope": "q", "scp": "p:w" }),
        ] {
            assert!(ada(&judged(scoped, &good)), "{good}");
        }
        for bad in [
            json!({}),
            json!({ "scope": "q" }),
            json!({ "scope": "q p:write" }),
            json!({ "scope": 1 }),
        ] {
            assert_eq!(judged(scoped, &bad), Err(Rejected::Scope), "{bad}");
        }
    }

    #[test]
    fn user_is_where_the_path_leads_and_nobody_elses() {
        let at = |path: &'static str| {
            move |issuer: &mut config::Issuer| issuer.user_claim = path.to_owned()
        };
        assert_eq!(
            judged(at("app.id"), &json!({ "app": { "id": 7 } })),
            Ok("sso:7".to_owned())
        );
        let namespaced = json!({ "https://example.org/id": "x" });
        assert_eq!(
            judged(at("https://example.org/id"), &namespaced),
            Ok("sso:x".to_owned())
        );
        for missing in [
            json!({}),
            json!({ "app": 1 }),
            json!({ "app": { "id": null } }),
            json!({ "app": { "id": " " } }),
        ] {
            assert_eq!(
                judged(at("app.id"), &missing),
                Err(Rejected::NoUser),
                "{missing}"
            );
        }
        let plain = |issuer: &mut config::Issuer| issuer.id_prefix = Some(String::new());
        assert_eq!(judged(plain, &json!({})), Ok("ada".to_owned()));
        // The plain ids of one issuer do not reach into those of another.
        assert_eq!(
            judged(plain, &json!({ "sub": "other:ada" })),
            Err(Rejected::NoUser)
        );
        assert_eq!(
            judged(|_| {}, &json!({ "sub": "other:ada" })),
            Ok("sso:other:ada".to_owned())
        );
        let long = "x".repeat(128);
        assert_eq!(
            judged(|_| {}, &json!({ "sub": long })),
            Ok(format!("sso:{long}"))
        );
        assert_eq!(
            judged(|_| {}, &json!({ "sub": format!("{long}x") })),
            Err(Rejected::NoUser)
        );
    }
}
