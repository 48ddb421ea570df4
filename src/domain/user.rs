//! Who a user is: id, e-mail, display name, account and profile.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::domain::Timestamp;
use crate::domain::picture::Picture;

/// Longest name that an issuer may call a user by, in Unicode scalar values. Source: product specification, "opaque
/// issuer ids".
pub const SUBJECT_CHARS_MAX: usize = 128;
/// Longest accepted user id, in Unicode scalar values: the longest of an issuer behind the longest prefix that keeps
/// the users of issuers apart.
pub const USER_ID_CHARS_MAX: usize = SUBJECT_CHARS_MAX + 33;
/// Longest accepted e-mail address, in bytes. Source: RFC 5321 §4.5.3.1.3, less the angle brackets.
pub const EMAIL_BYTES_MAX: usize = 254;
/// Longest accepted display name, in Unicode scalar values. Source: product specification, "profile".
pub const NAME_CHARS_MAX: usize = 50;

/// Why a text is not what it should be. The sentences are shown to the sender.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[expect(missing_docs, reason = "each message documents its variant")]
pub enum Invalid {
    #[error("This field may not be blank.")]
    Blank,
    #[error("Ensure this field has no more than {limit} characters (it has {actual}).")]
    TooLong { limit: usize, actual: usize },
    #[error("Control characters are not allowed.")]
    Control,
    #[error("The characters < and > are not allowed.")]
    AngleBracket,
    #[error("Enter a valid email address.")]
    Email,
}

/// Identifies a user: an opaque, non-empty text of at most [`USER_ID_CHARS_MAX`] characters without control
/// characters. Ids made here are random (UUID version 4); other issuers' ids may be anything else, such as `42`.
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct UserId(String);

impl UserId {
    /// A new id from 16 random bytes, in the form of RFC 9562 §5.4 (UUID version 4).
    #[must_use]
    pub fn from_random(random: [u8; 16]) -> Self {
        let versioned =
            u128::from_be_bytes(random) & !(0xF << 76) & !(0x3 << 62) | (0x4 << 76) | (0x2 << 62);
        let hex = format!("{versioned:032x}");
        let (first, rest) = hex.split_at(8);
        let (second, rest) = rest.split_at(4);
        let (third, rest) = rest.split_at(4);
        let (fourth, fifth) = rest.split_at(4);
        Self(format!("{first}-{second}-{third}-{fourth}-{fifth}"))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for UserId {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        bounded(text, USER_ID_CHARS_MAX).map(|()| Self(text.to_owned()))
    }
}

impl TryFrom<String> for UserId {
    type Error = Invalid;

    fn try_from(text: String) -> Result<Self, Invalid> {
        bounded(&text, USER_ID_CHARS_MAX).map(|()| Self(text))
    }
}

impl From<UserId> for String {
    fn from(id: UserId) -> Self {
        id.0
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// An e-mail address as its owner typed it, trimmed. Two that differ in case only are the same: see [`Email::key`].
///
/// The check is that of a log-in name, not of RFC 5322: one `@`, something on both sides, a dot or `localhost`
/// behind it, no white space or control characters. What else is valid only a mail can tell.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Email(String);

impl Email {
    /// The address as typed.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The address in lower case: equal for addresses that count as the same.
    #[must_use]
    pub fn key(&self) -> String {
        self.0.to_lowercase()
    }
}

impl FromStr for Email {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let text = text.trim();
        bounded(text, EMAIL_BYTES_MAX)?;
        if text.len() > EMAIL_BYTES_MAX {
            return Err(Invalid::TooLong {
                limit: EMAIL_BYTES_MAX,
                actual: text.len(),
            });
        }
        let (local, domain) = text.rsplit_once('@').ok_or(Invalid::Email)?;
        let domain_ok = domain == "localhost"
            || domain.split('.').count() > 1 && domain.split('.').all(|label| !label.is_empty());
        let odd = |c: char| c.is_whitespace() || matches!(c, '@' | '<' | '>' | '"' | ',' | ';');
        if local.is_empty() || !domain_ok || local.chars().any(odd) || domain.chars().any(odd) {
            return Err(Invalid::Email);
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for Email {
    type Error = Invalid;

    fn try_from(text: String) -> Result<Self, Invalid> {
        text.parse()
    }
}

impl From<Email> for String {
    fn from(email: Email) -> Self {
        email.0
    }
}

impl fmt::Display for Email {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// A display name: 1 to [`NAME_CHARS_MAX`] characters after trimming, no control characters, no `<` or `>`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct DisplayName(String);

impl DisplayName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name that a new account starts with: what stands before the `@`, made to fit.
    #[must_use]
    pub fn from_email(email: &Email) -> Self {
        let local = email.as_str().split('@').next().unwrap_or_default();
        Self(local.chars().take(NAME_CHARS_MAX).collect())
    }

    /// The name in a text from elsewhere, without what a name may not have and cut to fit; none if nothing is left.
    #[must_use]
    pub fn fitted(text: &str) -> Option<Self> {
        let allowed = |c: &char| !is_forbidden(*c) && !matches!(c, '<' | '>');
        let kept: String = text.chars().filter(allowed).collect();
        let cut: String = kept.trim().chars().take(NAME_CHARS_MAX).collect();
        cut.parse().ok()
    }

    /// The name of users of whom nothing else is known.
    #[must_use]
    pub fn of_nobody_known() -> Self {
        Self("User".to_owned())
    }
}

impl FromStr for DisplayName {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let text = text.trim();
        bounded(text, NAME_CHARS_MAX)?;
        if text.contains(['<', '>']) {
            return Err(Invalid::AngleBracket);
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for DisplayName {
    type Error = Invalid;

    fn try_from(text: String) -> Result<Self, Invalid> {
        text.parse()
    }
}

impl From<DisplayName> for String {
    fn from(name: DisplayName) -> Self {
        name.0
    }
}

/// What a user logs in with. Never leaves the server.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Account {
    /// Whose account.
    pub user_id: UserId,
    /// Log-in name, unique without regard to case; none for users of an issuer elsewhere, who never log in here.
    pub email: Option<Email>,
    /// The password's hash in PHC string format, or none if the user cannot log in here.
    pub password_hash: Option<String>,
    /// When the account was made.
    pub created_at: Timestamp,
}

/// What everybody may see of a user.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Profile {
    /// Whose profile.
    pub user_id: UserId,
    /// The display name.
    pub name: DisplayName,
    /// The picture, or none if the user has not uploaded one.
    pub picture: Option<Picture>,
    /// When the user was made.
    pub created_at: Timestamp,
    /// When name or picture last changed.
    pub updated_at: Timestamp,
}

/// Non-empty, not longer than `chars_max`, without control characters.
fn bounded(text: &str, chars_max: usize) -> Result<(), Invalid> {
    if text.trim().is_empty() {
        return Err(Invalid::Blank);
    }
    let chars = text.chars().count();
    if chars > chars_max {
        return Err(Invalid::TooLong {
            limit: chars_max,
            actual: chars,
        });
    }
    if text.chars().any(is_forbidden) {
        return Err(Invalid::Control);
    }
    Ok(())
}

/// Line and paragraph separators, and the bidirectional overrides, are not control characters, but they let a name
/// rewrite the text around it (Trojan Source, CVE-2021-42574).
fn is_forbidden(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_id_made_here_is_a_version_4_uuid() {
        assert_eq!(
            UserId::from_random([0xFF; 16]).as_str(),
            "ffffffff-ffff-4fff-bfff-ffffffffffff"
        );
        assert_eq!(
            UserId::from_random([0; 16]).as_str(),
            "00000000-0000-4000-8000-000000000000"
        );
    }

    #[test]
    fn user_id_takes_any_printable_text_up_to_its_limit() {
        for text in ["42", "auth0|abc", "ä/b", &"x".repeat(USER_ID_CHARS_MAX)] {
            assert_eq!(
                text.parse::<UserId>().map(String::from),
                Ok(text.to_owned())
            );
        }
        assert_eq!("".parse::<UserId>(), Err(Invalid::Blank));
        assert_eq!("a\0".parse::<UserId>(), Err(Invalid::Control));
        assert_eq!(
            "x".repeat(162).parse::<UserId>(),
            Err(Invalid::TooLong {
                limit: 161,
                actual: 162
            })
        );
    }

    #[test]
    fn email_is_trimmed_and_compared_without_case() {
        let email: Email = " Ada@Example.ORG ".parse().unwrap();

        assert_eq!(email.as_str(), "Ada@Example.ORG");
        assert_eq!(email.key(), "ada@example.org");
    }

    #[test]
    fn email_without_a_name_or_a_domain_is_refused() {
        for text in [
            "ada",
            "@example.org",
            "ada@",
            "ada@example",
            "a b@example.org",
            "a@b@c.org",
            "ada@.org",
            "ada@example..org",
        ] {
            assert_eq!(text.parse::<Email>(), Err(Invalid::Email), "{text}");
        }
        assert_eq!(
            format!("{}@e.org", "x".repeat(250)).parse::<Email>(),
            Err(Invalid::TooLong {
                limit: 254,
                actual: 256
            })
        );
    }

    #[test]
    fn name_is_trimmed_and_bounded_in_characters_not_bytes() {
        assert_eq!(
            " Ada ".parse::<DisplayName>().map(String::from),
            Ok("Ada".to_owned())
        );
        assert!("ä".repeat(50).parse::<DisplayName>().is_ok());
        assert_eq!(
            "ä".repeat(51).parse::<DisplayName>(),
            Err(Invalid::TooLong {
                limit: 50,
                actual: 51
            })
        );
    }

    #[test]
    fn name_from_elsewhere_is_made_to_fit() {
        let fitted = |text: &str| DisplayName::fitted(text).map(String::from);

        assert_eq!(fitted("  Ada\tLovelace "), Some("AdaLovelace".to_owned()));
        assert_eq!(fitted("<b>Ada\u{202E}</b>"), Some("bAda/b".to_owned()));
        assert_eq!(fitted(&"ä".repeat(80)), Some("ä".repeat(50)));
        // The cut may fall behind a space.
        let long = format!("{} x", "y".repeat(49));
        assert_eq!(fitted(&long), Some("y".repeat(49)));
        assert_eq!(fitted(" \n<> "), None);
    }

    #[test]
    fn name_with_markup_or_control_characters_is_refused() {
        assert_eq!("<b>".parse::<DisplayName>(), Err(Invalid::AngleBracket));
        assert_eq!("a\nb".parse::<DisplayName>(), Err(Invalid::Control));
        assert_eq!("a\u{202E}b".parse::<DisplayName>(), Err(Invalid::Control));
        assert_eq!("   ".parse::<DisplayName>(), Err(Invalid::Blank));
    }
}
