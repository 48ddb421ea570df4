//! `[[auth.issuers]]`: whose tokens are accepted besides our own, and the keys that prove them.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::config::validate::{Problem, push};

/// Key that problems of issuers are told under.
const KEY: &str = "auth.issuers";
/// Longest name of an issuer, in bytes: it stands before the ids of its users.
const NAME_BYTES_MAX: usize = 32;
/// Longest prefix of the ids of an issuer's users, in characters: the longest name and a colon.
const PREFIX_CHARS_MAX: usize = 33;

/// An algorithm for secrets. Source: RFC 7518 §3.2.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(missing_docs, reason = "named as in the RFC")]
pub enum HmacAlgorithm {
    Hs256,
    Hs384,
    Hs512,
}

/// An algorithm for public keys. Sources: RFC 7518 §3.3 to §3.5, RFC 8037 §3.1 (Ed25519).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(missing_docs, reason = "named as in the RFCs")]
pub enum PublicAlgorithm {
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
    EdDsa,
}

impl HmacAlgorithm {
    const ALL: [Self; 3] = [Self::Hs256, Self::Hs384, Self::Hs512];

    /// The value of a token's `alg`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hs256 => "HS256",
            Self::Hs384 => "HS384",
            Self::Hs512 => "HS512",
        }
    }
}

impl PublicAlgorithm {
    /// All there are.
    pub const ALL: [Self; 9] = [
        Self::Rs256,
        Self::Rs384,
        Self::Rs512,
        Self::Ps256,
        Self::Ps384,
        Self::Ps512,
        Self::Es256,
        Self::Es384,
        Self::EdDsa,
    ];

    /// The value of a token's `alg`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Rs384 => "RS384",
            Self::Rs512 => "RS512",
            Self::Ps256 => "PS256",
            Self::Ps384 => "PS384",
            Self::Ps512 => "PS512",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::EdDsa => "EdDSA",
        }
    }
}

/// One of either. Which of the two decides what kind of key it goes with, everywhere.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub enum Algorithm {
    /// For secrets.
    Hmac(HmacAlgorithm),
    /// For public keys.
    Public(PublicAlgorithm),
}

impl Algorithm {
    /// The value of a token's `alg`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hmac(algorithm) => algorithm.as_str(),
            Self::Public(algorithm) => algorithm.as_str(),
        }
    }
}

impl TryFrom<String> for Algorithm {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        let hmac = HmacAlgorithm::ALL.into_iter().map(Self::Hmac);
        let public = PublicAlgorithm::ALL.into_iter().map(Self::Public);
        let mut all = hmac.chain(public);
        all.find(|known| known.as_str() == name).ok_or_else(|| {
            format!(
                "{name:?} is no algorithm, must be HS256, HS384, HS512, RS256, RS384, RS512, PS256, PS384, PS512, \
                 ES256, ES384 or EdDSA"
            )
        })
    }
}

impl From<Algorithm> for String {
    fn from(algorithm: Algorithm) -> Self {
        algorithm.as_str().to_owned()
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// `[[auth.issuers]]`: someone else whose tokens are accepted.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Issuer {
    /// What it is called here: in the log and, unless `id_prefix` says otherwise, before the ids of its users.
    pub name: String,
    /// The claim `iss` that its tokens must have; empty: any or none.
    pub issuer: String,
    /// One of these must be in the claim `aud`; empty: a token that names an audience is meant for someone else.
    pub audiences: Vec<String>,
    /// All of these must be in the claim `scope` or `scp`; else 403.
    pub required_scopes: Vec<String>,
    /// The claim that names the user: its name, or the way to it with dots, such as `app.user.id`.
    pub user_claim: String,
    /// The claim that names a new user to others, in the same notation; empty: none.
    pub name_claim: String,
    /// What the claim `token_type` must say. Without it, a token needs none; if it has one, it must be `access`.
    pub token_type: Option<String>,
    /// What stands before the ids of its users; without it, its name and a colon. Empty: the ids are as the tokens say.
    pub id_prefix: Option<String>,
    /// Whether the first request of an unknown user makes an empty profile.
    pub auto_provision: bool,
    /// The algorithms that keys of a JWKS are used with, as far as each fits the key.
    pub algorithms: Vec<Algorithm>,
    /// Whether its JWKS is found with OpenID Connect Discovery below `issuer`.
    pub discovery: bool,
    /// Where its JWKS is fetched: https, or http on this machine.
    pub jwks_url: Option<String>,
    /// File with a JWKS.
    pub jwks_file: Option<PathBuf>,
    /// Further keys.
    pub keys: Vec<Key>,
}

/// `[[auth.issuers.keys]]`: a secret or a public key, with the algorithms that it is used with.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Key {
    /// The `kid` of tokens that it proves; without it, it is tried for all.
    pub kid: Option<String>,
    /// The algorithms that it is used with.
    pub algorithms: Vec<Algorithm>,
    /// File with a secret, for HS256, HS384 and HS512.
    pub secret_file: Option<PathBuf>,
    /// Variable of the environment with such a secret.
    pub secret_env: Option<String>,
    /// PEM file with a public key or a certificate, for the others.
    pub public_key_file: Option<PathBuf>,
}

impl Default for Issuer {
    fn default() -> Self {
        Self {
            name: String::new(),
            issuer: String::new(),
            audiences: Vec::new(),
            required_scopes: Vec::new(),
            user_claim: "sub".to_owned(),
            name_claim: "name".to_owned(),
            token_type: None,
            id_prefix: None,
            auto_provision: true,
            algorithms: PublicAlgorithm::ALL.map(Algorithm::Public).to_vec(),
            discovery: false,
            jwks_url: None,
            jwks_file: None,
            keys: Vec::new(),
        }
    }
}

impl Issuer {
    /// What stands before the ids of its users.
    #[must_use]
    pub fn prefix(&self) -> String {
        let default = || format!("{}:", self.name);
        self.id_prefix.clone().unwrap_or_else(default)
    }

    /// Where a discovery document is expected. Source: OpenID Connect Discovery 1.0 §4.
    #[must_use]
    pub fn discovery_url(&self) -> Option<String> {
        let base = self.issuer.trim_end_matches('/');
        self.discovery
            .then(|| format!("{base}/.well-known/openid-configuration"))
    }

    fn problems(&self, found: &mut Vec<Problem>) {
        let mut tell = |what: String| push(found, KEY, format!("{:?} {what}", self.name));
        let plain =
            |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, b'-' | b'_');
        if self.name.is_empty() || self.name.len() > NAME_BYTES_MAX || !self.name.bytes().all(plain)
        {
            tell(format!(
                "is no name, must be 1 to {NAME_BYTES_MAX} lower-case letters, digits, - or _"
            ));
        }
        let remote = self.discovery || self.jwks_url.is_some();
        if !remote && self.jwks_file.is_none() && self.keys.is_empty() {
            tell("has no key, must have keys, jwks_file, jwks_url or discovery".to_owned());
        }
        if self.discovery && self.jwks_url.is_some() {
            tell("has jwks_url and discovery, must have one of them".to_owned());
        }
        if self.discovery && !is_fetchable(&self.issuer) {
            tell(format!(
                "has discovery and the issuer {:?}, which must be an https URL, or http on this machine",
                self.issuer
            ));
        }
        if let Some(url) = self.jwks_url.as_ref().filter(|url| !is_fetchable(url)) {
            tell(format!(
                "has the jwks_url {url:?}, which must be an https URL, or http on this machine"
            ));
        }
        for algorithm in &self.algorithms {
            if matches!(algorithm, Algorithm::Hmac(_)) {
                tell(format!(
                    "has {algorithm} in algorithms, which are those of a JWKS: it holds public keys only"
                ));
            }
        }
        if self.algorithms.is_empty() {
            tell("has empty algorithms, must have one at least".to_owned());
        }
        if self.user_claim.is_empty() {
            tell("has an empty user_claim, must name a claim".to_owned());
        }
        let prefix_chars = self.prefix().chars().count();
        if prefix_chars > PREFIX_CHARS_MAX {
            tell(format!(
                "has an id_prefix of {prefix_chars} characters, must have at most {PREFIX_CHARS_MAX}"
            ));
        }
        if self.prefix().chars().any(char::is_control) {
            tell("has an id_prefix with control characters".to_owned());
        }
        for (number, key) in (1_u32..).zip(&self.keys) {
            key.problems(|what| tell(format!("key {number} {what}")));
        }
    }
}

impl Key {
    fn problems(&self, mut tell: impl FnMut(String)) {
        let sources = [
            self.secret_file.is_some(),
            self.secret_env.is_some(),
            self.public_key_file.is_some(),
        ];
        let count = sources.iter().filter(|is_there| **is_there).count();
        if count != 1 {
            tell(format!(
                "has {count} sources, must have one of secret_file, secret_env and public_key_file"
            ));
        }
        if self.algorithms.is_empty() {
            tell("has no algorithms, must have one at least".to_owned());
        }
        for algorithm in &self.algorithms {
            match algorithm {
                Algorithm::Hmac(_) if self.public_key_file.is_some() => {
                    tell(format!(
                        "has {algorithm}, which is for secrets, and public_key_file"
                    ));
                }
                Algorithm::Public(_) if self.public_key_file.is_none() => {
                    tell(format!(
                        "has {algorithm}, which is for public keys, and a secret"
                    ));
                }
                Algorithm::Hmac(_) | Algorithm::Public(_) => {}
            }
        }
        if let Some(name) = &self.secret_env
            && (name.is_empty() || name.starts_with("POCKIT_") || name.contains(['=', '\0']))
        {
            tell(format!(
                "has the secret_env {name:?}, must be a variable that does not begin with POCKIT_"
            ));
        }
    }
}

/// What of the issuers, each and together, cannot work.
pub(super) fn problems(issuers: &[Issuer], found: &mut Vec<Problem>) {
    for (at, issuer) in issuers.iter().enumerate() {
        issuer.problems(found);
        for other in issuers.iter().skip(at.saturating_add(1)) {
            let (one, two) = (issuer.prefix(), other.prefix());
            if issuer.name == other.name {
                push(found, KEY, format!("{:?} is there twice", issuer.name));
            } else if one == two {
                let names = format!("{:?} and {:?}", issuer.name, other.name);
                push(
                    found,
                    KEY,
                    format!("{names} have the id_prefix {one:?}, must keep their users apart"),
                );
            } else if !one.is_empty()
                && !two.is_empty()
                && (one.starts_with(&two) || two.starts_with(&one))
            {
                push(
                    found,
                    KEY,
                    format!(
                        "have the id_prefix {one:?} and {two:?}, of which neither may begin the other"
                    ),
                );
            }
        }
    }
}

/// Whether a document of keys may be fetched there: protected on its way, or not on the way at all.
#[must_use]
pub fn is_fetchable(url: &str) -> bool {
    let printable =
        |c: char| c.is_ascii_graphic() && !matches!(c, '#' | '@' | '"' | '<' | '>' | '\\');
    if !url.chars().all(printable) {
        return false;
    }
    if let Some(rest) = url.strip_prefix("https://") {
        return !host(rest).is_empty();
    }
    url.strip_prefix("http://")
        .is_some_and(|rest| is_loopback(host(rest)))
}

/// The host in what follows a scheme, without its port.
fn host(rest: &str) -> &str {
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => host,
        _ => authority,
    }
}

/// Whether a host is this machine by its name alone.
#[must_use]
pub fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let address: Option<std::net::IpAddr> = bare.parse().ok();
    host == "localhost" || address.is_some_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> Key {
        Key {
            algorithms: vec![Algorithm::Public(PublicAlgorithm::Rs256)],
            public_key_file: Some("key.pem".into()),
            ..Key::default()
        }
    }

    fn issuer(name: &str) -> Issuer {
        Issuer {
            name: name.to_owned(),
            keys: vec![key()],
            ..Issuer::default()
        }
    }

    fn told(issuers: &[Issuer]) -> Vec<String> {
        let mut found = Vec::new();
        problems(issuers, &mut found);
        let sentences = found.into_iter();
        sentences
            .map(|problem| format!("{} {}", problem.key, problem.sentence))
            .collect()
    }

    #[test]
    fn two_issuers_with_keys_of_their_own_are_fine() {
        assert_eq!(told(&[issuer("one"), issuer("two")]), Vec::<String>::new());
    }

    #[test]
    fn each_impossible_issuer_is_told_in_a_sentence_of_its_own() {
        type Change = fn(&mut Issuer);
        let hmac = Algorithm::Hmac(HmacAlgorithm::Hs256);
        let cases: [(&str, Change); 14] = [
            ("is no name", |issuer| issuer.name = "Key Cloak".to_owned()),
            ("has no key", |issuer| issuer.keys.clear()),
            ("has jwks_url and discovery", |issuer| {
                issuer.issuer = "https://example.org".to_owned();
                issuer.discovery = true;
                issuer.jwks_url = Some("https://example.org/keys".to_owned());
            }),
            ("must be an https URL", |issuer| issuer.discovery = true),
            ("must be an https URL", |issuer| {
                issuer.jwks_url = Some("http://example.org/keys".to_owned());
            }),
            ("public keys only", |issuer| {
                issuer.algorithms = vec![Algorithm::Hmac(HmacAlgorithm::Hs256)];
            }),
            ("has empty algorithms", |issuer| issuer.algorithms.clear()),
            ("has an empty user_claim", |issuer| {
                issuer.user_claim.clear();
            }),
            ("has an id_prefix of 34", |issuer| {
                issuer.id_prefix = Some("x".repeat(34));
            }),
            ("has an id_prefix with control", |issuer| {
                issuer.id_prefix = Some("\n".to_owned());
            }),
            ("key 1 has 0 sources", |issuer| {
                issuer.keys[0].public_key_file = None;
            }),
            ("key 1 has 2 sources", |issuer| {
                issuer.keys[0].secret_env = Some("S".to_owned());
            }),
            ("key 1 has no algorithms", |issuer| {
                issuer.keys[0].algorithms.clear();
            }),
            ("begin with POCKIT_", |issuer| {
                issuer.keys[0] = Key {
                    algorithms: vec![Algorithm::Hmac(HmacAlgorithm::Hs512)],
                    secret_env: Some("POCKIT_SECRET".to_owned()),
                    ..Key::default()
                };
            }),
        ];
        for (words, change) in cases {
            let mut wrong = issuer("one");
            change(&mut wrong);
            let found = told(&[wrong]);
            assert!(
                found.iter().any(|one| one.contains(words)),
                "{words}: {found:?}"
            );
        }
        let mut confused = issuer("one");
        confused.keys[0].algorithms.push(hmac);
        assert_eq!(
            told(&[confused]),
            ["auth.issuers \"one\" key 1 has HS256, which is for secrets, and public_key_file"]
        );
        let mut confused = issuer("one");
        confused.keys[0].public_key_file = None;
        confused.keys[0].secret_file = Some("secret".into());
        assert_eq!(
            told(&[confused]),
            ["auth.issuers \"one\" key 1 has RS256, which is for public keys, and a secret"]
        );
    }

    #[test]
    fn users_of_two_issuers_are_kept_apart() {
        let prefixed = |name: &str, prefix: &str| Issuer {
            id_prefix: Some(prefix.to_owned()),
            ..issuer(name)
        };
        assert_eq!(told(&[issuer("one"), issuer("one")]).len(), 1);
        assert_eq!(told(&[prefixed("one", ""), prefixed("two", "")]).len(), 1);
        assert_eq!(
            told(&[prefixed("one", "a"), prefixed("two", "a:b")]).len(),
            1
        );
        assert_eq!(told(&[prefixed("one", ""), issuer("two")]).len(), 0);
    }

    #[test]
    fn keys_are_fetched_over_https_or_from_this_machine_only() {
        for good in [
            "https://example.org/keys?v=1",
            "https://[2001:db8::1]:8443/",
            "http://127.0.0.1:8080/keys",
            "http://localhost/keys",
            "http://[::1]:1/keys",
        ] {
            assert!(is_fetchable(good), "{good}");
        }
        for bad in [
            "",
            "https://",
            "http://example.org/",
            "http://127.0.0.1.example.org/",
            "http://localhost@example.org/",
            "http://10.0.0.1/",
            "ftp://localhost/",
            "file:///etc/passwd",
            "https://example.org/ x",
        ] {
            assert!(!is_fetchable(bad), "{bad}");
        }
    }
}
