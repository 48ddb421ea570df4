//! Password hashes of other programs: Django's `pbkdf2_sha256`. Verified only; new ones are Argon2id.

use std::num::NonZeroU32;

use aws_lc_rs::pbkdf2;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// What Django writes in front of such a hash.
const PREFIX: &str = "pbkdf2_sha256$";
/// Length of the derived key, in bytes: that of SHA-256.
const KEY_BYTES: usize = 32;

/// `pbkdf2_sha256$iterations$salt$key`, the key in base64. Source: Django, `django.contrib.auth.hashers`.
#[derive(Debug)]
pub(super) struct Pbkdf2<'h> {
    iterations: NonZeroU32,
    salt: &'h str,
    key: Vec<u8>,
}

impl<'h> Pbkdf2<'h> {
    /// Most iterations that are bearable: Django 6 has 1,200,000, a tenth of this.
    pub(super) const ITERATIONS_MAX: u32 = 12_000_000;

    /// The parts of a hash; none if it is something else.
    pub(super) fn parse(stored: &'h str) -> Option<Self> {
        let mut parts = stored.strip_prefix(PREFIX)?.split('$');
        let iterations = parts.next()?.parse().ok()?;
        let salt = parts.next().filter(|salt| !salt.is_empty())?;
        let key = STANDARD.decode(parts.next()?).ok()?;
        if parts.next().is_some() || key.len() != KEY_BYTES {
            return None;
        }
        Some(Self {
            iterations,
            salt,
            key,
        })
    }

    /// How often the hash function is applied.
    pub(super) fn iterations(&self) -> u32 {
        self.iterations.get()
    }

    /// Whether `password` is the one that it was made of.
    pub(super) fn verify(&self, password: &str) -> bool {
        let algorithm = pbkdf2::PBKDF2_HMAC_SHA256;
        let (salt, password) = (self.salt.as_bytes(), password.as_bytes());
        pbkdf2::verify(algorithm, self.iterations, salt, password, &self.key).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_hash_is_one() {
        let key = "A".repeat(43) + "=";
        assert!(Pbkdf2::parse(&format!("pbkdf2_sha256$1$salt${key}")).is_some());
        for text in [
            format!("pbkdf2_sha1$1$salt${key}"),
            format!("pbkdf2_sha256$0$salt${key}"),
            format!("pbkdf2_sha256$-1$salt${key}"),
            format!("pbkdf2_sha256$1$${key}"),
            format!("pbkdf2_sha256$1$salt${key}$"),
            "pbkdf2_sha256$1$salt$AAAA".to_owned(),
            "pbkdf2_sha256$1$salt".to_owned(),
            "pbkdf2_sha256$".to_owned(),
        ] {
            assert!(Pbkdf2::parse(&text).is_none(), "{text}");
        }
    }
}
