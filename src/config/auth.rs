//! The section `[auth]`, and secrets that are never printed.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::config::issuer;
use crate::config::issuer::Issuer;
use crate::config::validate::{Problem, push};

/// Shortest HS256 secret, in bytes: as long as the hash. Source: RFC 7518 §3.2.
pub const SECRET_BYTES_MIN: usize = 32;
/// Longest leeway, in seconds. Source: product specification, after OWASP ASVS 5.0 V9.2.1.
const LEEWAY_S_MAX: u64 = 30;
/// `[auth]`: tokens and local accounts.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Auth {
    /// HS256 secret that signs and verifies tokens, 32 bytes or more. Better in the environment or a file than here.
    pub secret: Option<Secret>,
    /// File that holds the secret. Without either, a key is made in the data directory at the first start.
    pub secret_file: Option<PathBuf>,
    /// Whether accounts live here: register, log in and refresh. Off: tokens come from elsewhere.
    pub local_accounts: bool,
    /// Life of an access token, in seconds. Source: simplejwt's `ACCESS_TOKEN_LIFETIME`, 5 minutes.
    pub access_ttl_s: u64,
    /// Life of a refresh token, in seconds. Source: simplejwt's `REFRESH_TOKEN_LIFETIME`, 1 day.
    pub refresh_ttl_s: u64,
    /// Clock difference that `exp` and `nbf` forgive, in seconds, at most 30.
    pub leeway_s: u64,
    /// Longest that an access token may still hold, whoever made it, in seconds: one that expires later is not accepted.
    /// 0: any time.
    pub access_life_s_max: u64,
    /// Memory of one password hash, in KiB. Source: OWASP Password Storage, Argon2id with 19 MiB, 2 passes, 1 lane.
    pub argon2_memory_kib: u32,
    /// Passes of one password hash.
    pub argon2_passes: u32,
    /// Password hashes computed at once; further log-ins wait.
    pub hashes_at_once_max: usize,
    /// Passwords that may wait for that; more are answered with 503.
    pub hashes_waiting_max: usize,
    /// How often the JWKS of an issuer is fetched, in seconds. Until it is there again, the last one holds.
    pub jwks_refresh_s: u64,
    /// Least time between two fetches because of a token whose key is unknown, in seconds, unless the first found it.
    pub jwks_unknown_key_s: u64,
    /// Time to fetch one document, in milliseconds.
    pub jwks_timeout_ms: u64,
    /// Largest document that is fetched or read, in bytes.
    pub jwks_bytes_max: usize,
    /// `[[auth.issuers]]`: whose tokens are accepted besides our own. In the file only: the environment has no tables.
    pub issuers: Vec<Issuer>,
}

impl Default for Auth {
    fn default() -> Self {
        Self {
            secret: None,
            secret_file: None,
            local_accounts: true,
            access_ttl_s: 300,
            refresh_ttl_s: 86_400,
            leeway_s: 0,
            access_life_s_max: 0,
            argon2_memory_kib: 19_456,
            argon2_passes: 2,
            hashes_at_once_max: 2,
            hashes_waiting_max: 32,
            jwks_refresh_s: 300,
            jwks_unknown_key_s: 60,
            jwks_timeout_ms: 5_000,
            jwks_bytes_max: 262_144,
            issuers: Vec::new(),
        }
    }
}

impl Auth {
    /// What of it cannot work.
    pub(super) fn problems(&self, found: &mut Vec<Problem>) {
        if self.secret.is_some() && self.secret_file.is_some() {
            push(
                found,
                "auth.secret",
                "is set and so is auth.secret_file, must be one of them".to_owned(),
            );
        }
        if let Some(weakness) = self.secret.as_ref().and_then(Secret::weakness) {
            push(found, "auth.secret", weakness);
        }
        if self.leeway_s > LEEWAY_S_MAX {
            push(
                found,
                "auth.leeway_s",
                format!("is {}, must be at most {LEEWAY_S_MAX}", self.leeway_s),
            );
        }
        for (key, value) in [
            ("auth.access_ttl_s", self.access_ttl_s),
            ("auth.refresh_ttl_s", self.refresh_ttl_s),
        ] {
            // A century: keeps `now + ttl` far from overflow.
            if value == 0 || value > 3_155_760_000 {
                push(found, key, format!("is {value}, must be 1 to 3155760000"));
            }
        }
        let (most, own) = (self.access_life_s_max, self.access_ttl_s);
        if most > 0 && most < own {
            let sentence =
                format!("is {most}, must be 0 or at least auth.access_ttl_s, which is {own}");
            push(found, "auth.access_life_s_max", sentence);
        }
        // Argon2 wants 8 KiB a lane at least (RFC 9106 §3.1); the upper ends bound one log-in's cost.
        if !(8..=4_194_304).contains(&self.argon2_memory_kib) {
            push(
                found,
                "auth.argon2_memory_kib",
                format!("is {}, must be 8 to 4194304", self.argon2_memory_kib),
            );
        }
        if !(1..=1_000).contains(&self.argon2_passes) {
            push(
                found,
                "auth.argon2_passes",
                format!("is {}, must be 1 to 1000", self.argon2_passes),
            );
        }
        if self.hashes_at_once_max == 0 {
            push(
                found,
                "auth.hashes_at_once_max",
                "is 0, must be at least 1".to_owned(),
            );
        }
        for (key, value, limit) in [
            ("auth.jwks_refresh_s", self.jwks_refresh_s, 86_400),
            ("auth.jwks_unknown_key_s", self.jwks_unknown_key_s, 86_400),
            ("auth.jwks_timeout_ms", self.jwks_timeout_ms, 60_000),
        ] {
            if value == 0 || value > limit {
                push(found, key, format!("is {value}, must be 1 to {limit}"));
            }
        }
        if !(1_024..=16_777_216).contains(&self.jwks_bytes_max) {
            push(
                found,
                "auth.jwks_bytes_max",
                format!("is {}, must be 1024 to 16777216", self.jwks_bytes_max),
            );
        }
        issuer::problems(&self.issuers, found);
    }
}

/// Secrets of documentation, of examples and of lists that attackers try, as far as they are long enough: known to
/// everybody. In lower case.
const SECRETS_KNOWN: [&str; 15] = [
    "012345678901234567890123456789xy",
    "61306132616264382d363136322d343163332d383364362d316366353539623436616663",
    "872e4e50ce9990d8b041330c47c9ddd11bec6b503ae9386a99da8584e9bb12c4",
    "a-string-secret-at-least-256-bits-long",
    "a-valid-string-secret-that-is-at-least-512-bits-long-which-is-very-long",
    "a43cc200a1bd292682598da42daa9fd14589f3d8bf832ffa206be775259ee1ea",
    "at least 32 bytes, better random",
    "c2a4eb068af8abef18d80b1689c7d785",
    "fe1a1915a379f3be5394b64d14794932",
    "gqdstckx0nhjpouxoyg5mbej1xt0ufiwdvvvbrk",
    "gzh75aktmn3yj0ips4hcguutwjazzr9c",
    "my_very_long_and_safe_secret_key",
    "r9mywaeoyimyvivwo8fk4tugwisoaw6u1noqxri8_xu",
    "secret key. you can use `mix guardian.gen.secret` to get one",
    "your super s3kret 1337 hmac key here",
];

/// A text that is never printed.
#[derive(Clone, Deserialize, Eq, PartialEq)]
#[serde(from = "String")]
pub struct Secret(String);

impl Secret {
    /// The text itself. Whoever calls this keeps it out of logs and answers.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Why nobody should sign with it, if there is a reason.
    #[must_use]
    pub fn weakness(&self) -> Option<String> {
        let bytes = self.0.as_bytes();
        let length = bytes.len();
        if length < SECRET_BYTES_MIN {
            return Some(format!(
                "has {length} bytes, must have at least {SECRET_BYTES_MIN}"
            ));
        }
        let repeats = (1..=length / 2).any(|period| {
            let shifted = bytes.iter().skip(period);
            shifted.zip(bytes).all(|(later, earlier)| later == earlier)
        });
        if repeats {
            return Some("repeats itself, must be random".to_owned());
        }
        let known = SECRETS_KNOWN.contains(&self.0.to_ascii_lowercase().as_str());
        known.then(|| "is known to everybody, must be random".to_owned())
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("***")
    }
}

impl Serialize for Secret {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("***")
    }
}
