//! Password hashes: Argon2id (RFC 9106) in PHC string format. Slow on purpose; call from a blocking thread.

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};

use crate::auth::NoRandomness;
use crate::auth::random;
use crate::config;

/// Shortest password, in Unicode scalar values. Source: product specification, after OWASP ASVS 5.0 V6.2.1.
pub const CHARS_MIN: usize = 8;
/// Longest password, in bytes: a bound on work, far above any that people use. Source: OWASP ASVS 5.0 V6.2.9 wants 64.
pub const BYTES_MAX: usize = 1_024;

/// Why a password was not hashed.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message documents its variant")]
pub enum Error {
    #[error("cannot hash the password: {0}")]
    Hash(String),
    #[error("cannot salt the password")]
    Random(#[from] NoRandomness),
}

/// Hashes and verifies with one cost.
#[derive(Clone, Debug)]
pub struct Hasher {
    argon2: Argon2<'static>,
    decoy: String,
}

impl Hasher {
    /// A hasher with the configured memory and passes.
    ///
    /// # Errors
    ///
    /// [`Error::Hash`] for a cost that Argon2 does not know, [`Error::Random`] without randomness.
    pub fn new(config: &config::Auth) -> Result<Self, Error> {
        let params = Params::new(config.argon2_memory_kib, config.argon2_passes, 1, None)
            .map_err(|error| Error::Hash(error.to_string()))?;
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let mut hasher = Self {
            argon2,
            decoy: String::new(),
        };
        hasher.decoy = hasher.hash("decoy")?;
        Ok(hasher)
    }

    /// The hash of a password with a fresh salt of 128 bits.
    ///
    /// # Errors
    ///
    /// See [`Error`].
    pub fn hash(&self, password: &str) -> Result<String, Error> {
        let salt: [u8; 16] = random()?;
        let hash: PasswordHash = self
            .argon2
            .hash_password_with_salt(password.as_bytes(), &salt)
            .map_err(|error| Error::Hash(error.to_string()))?;
        Ok(hash.to_string())
    }

    /// Whether `password` is the one that `stored` was made of. Without a stored hash the same work is done for
    /// nothing, so that the time does not tell whether an account exists.
    #[must_use]
    pub fn verify(&self, password: &str, stored: Option<&str>) -> bool {
        let hash = PasswordHash::new(stored.unwrap_or(&self.decoy));
        let equal = hash.is_ok_and(|hash| {
            self.argon2
                .verify_password(password.as_bytes(), &hash)
                .is_ok()
        });
        equal && stored.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quick() -> Hasher {
        Hasher::new(&config::Auth {
            argon2_memory_kib: 8,
            argon2_passes: 1,
            ..config::Auth::default()
        })
        .unwrap()
    }

    #[test]
    fn right_password_is_verified_and_wrong_one_is_not() {
        let hasher = quick();
        let stored = hasher.hash("correct horse").unwrap();

        assert!(
            stored.starts_with("$argon2id$v=19$m=8,t=1,p=1$"),
            "{stored}"
        );
        assert!(hasher.verify("correct horse", Some(&stored)));
        assert!(!hasher.verify("correct horsf", Some(&stored)));
    }

    #[test]
    fn equal_passwords_have_different_hashes() {
        let hasher = quick();

        assert_ne!(
            hasher.hash("correct horse").unwrap(),
            hasher.hash("correct horse").unwrap()
        );
    }

    #[test]
    fn nothing_verifies_without_a_usable_hash() {
        let hasher = quick();

        assert!(!hasher.verify("decoy", None));
        assert!(!hasher.verify("", Some("")));
        assert!(!hasher.verify("x", Some("$argon2id$v=19$m=8,t=1,p=1$garbage")));
    }
}
