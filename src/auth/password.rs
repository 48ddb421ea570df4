//! Password hashes: Argon2id (RFC 9106) in PHC string format. Slow on purpose; call from a blocking thread.
//!
//! Hashes that came from elsewhere (`foreign`) are verified, never made.

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};

use crate::auth::NoRandomness;
use crate::auth::foreign::Pbkdf2;
use crate::auth::random;
use crate::config;

/// Shortest password, in Unicode scalar values. Source: product specification, after OWASP ASVS 5.0 V6.2.1.
pub const CHARS_MIN: usize = 8;
/// Longest password, in Unicode scalar values: far above any that people use. Source: OWASP ASVS 5.0 V6.2.9 wants 64.
pub const CHARS_MAX: usize = 256;
/// Longest password that is hashed, in bytes: [`CHARS_MAX`] of the longest.
pub const BYTES_MAX: usize = CHARS_MAX * 4;

/// Most memory that a hash from elsewhere may ask for, in KiB, and most passes and lanes: whoever writes a hash decides
/// what each log-in costs. Ten times what OWASP Password Storage names, and more than any default.
const FOREIGN_MEMORY_KIB_MAX: u32 = 1_024 * 1_024;
const FOREIGN_PASSES_MAX: u32 = 64;
const FOREIGN_LANES_MAX: u32 = 64;

/// Why a hash from elsewhere is of no use here.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[expect(missing_docs, reason = "each message documents its variant")]
pub enum Unusable {
    #[error(
        "the password hash is of no known kind (Argon2 in PHC format, or Django's pbkdf2_sha256)"
    )]
    Unknown,
    #[error("the password hash asks for {actual} {what}, the limit is {limit}")]
    TooCostly {
        what: &'static str,
        actual: u32,
        limit: u32,
    },
}

/// Whether a hash that was not made here can be verified here, at a bearable cost.
///
/// # Errors
///
/// See [`Unusable`].
pub fn check_foreign(stored: &str) -> Result<(), Unusable> {
    if let Some(hash) = Pbkdf2::parse(stored) {
        return bearable("iterations", hash.iterations(), Pbkdf2::ITERATIONS_MAX);
    }
    let hash = PasswordHash::new(stored).map_err(|_| Unusable::Unknown)?;
    let known = Algorithm::try_from(hash.algorithm.as_str()).is_ok() && hash.hash.is_some();
    let params = Params::try_from(&hash).map_err(|_| Unusable::Unknown)?;
    if !known {
        return Err(Unusable::Unknown);
    }
    bearable("KiB", params.m_cost(), FOREIGN_MEMORY_KIB_MAX)?;
    bearable("passes", params.t_cost(), FOREIGN_PASSES_MAX)?;
    bearable("lanes", params.p_cost(), FOREIGN_LANES_MAX)
}

fn bearable(what: &'static str, actual: u32, limit: u32) -> Result<(), Unusable> {
    if actual <= limit {
        return Ok(());
    }
    Err(Unusable::TooCostly {
        what,
        actual,
        limit,
    })
}

/// Whether a hash should give way to one of our own as soon as its password is known.
#[must_use]
pub fn is_outdated(stored: &str) -> bool {
    Pbkdf2::parse(stored).is_some()
}

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
        if let Some(hash) = stored.and_then(Pbkdf2::parse) {
            return hash.verify(password);
        }
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
    fn what_is_computed_for_nobody_costs_what_a_real_hash_does() {
        let hasher = quick();
        let stored = hasher.hash("correct horse").unwrap();
        let cost = |hash: &str| {
            hash.rsplit_once("$m=")
                .unwrap()
                .1
                .split('$')
                .next()
                .map(str::to_owned)
        };

        assert_eq!(cost(&hasher.decoy), cost(&stored));
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
    fn hash_of_django_is_verified_and_outdated() {
        // django.contrib.auth.hashers.PBKDF2PasswordHasher().encode("correct horse", "seasalt", 1000)
        let stored = "pbkdf2_sha256$1000$seasalt$mQnueSakb748zqBAC1tmWVZsZbi2zPGZarEzTGdfmso=";
        let hasher = quick();

        assert!(hasher.verify("correct horse", Some(stored)));
        assert!(!hasher.verify("correct horsf", Some(stored)));
        assert!(is_outdated(stored));
        assert!(!is_outdated(&hasher.hash("correct horse").unwrap()));
    }

    #[test]
    fn hash_from_elsewhere_is_known_and_bearable_or_refused() {
        let ours = quick().hash("correct horse").unwrap();
        let pbkdf2 = "pbkdf2_sha256$1000$seasalt$mQnueSakb748zqBAC1tmWVZsZbi2zPGZarEzTGdfmso=";
        assert_eq!(check_foreign(&ours), Ok(()));
        assert_eq!(check_foreign(pbkdf2), Ok(()));
        for text in [
            "",
            "!",
            "correct horse",
            "md5$salt$5f4dcc3b5aa765d61d8327deb882cf99",
            "pbkdf2_sha256$0$seasalt$AAAA",
            "$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ",
            "$2b$12$R9h/cIPz0gi.URNNX3kh2OPST9/PgBkqquzi.Ss7KIUgO2t0jWMUW",
        ] {
            assert_eq!(check_foreign(text), Err(Unusable::Unknown), "{text}");
        }
        let dear = [
            ours.replace("m=8", "m=2000000"),
            ours.replace("t=1", "t=1000"),
            pbkdf2.replace("$1000$", "$100000000$"),
        ];
        for text in dear {
            let refused = check_foreign(&text);
            assert!(matches!(refused, Err(Unusable::TooCostly { .. })), "{text}");
        }
    }

    #[test]
    fn nothing_verifies_without_a_usable_hash() {
        let hasher = quick();

        assert!(!hasher.verify("decoy", None));
        assert!(!hasher.verify("", Some("")));
        assert!(!hasher.verify("x", Some("$argon2id$v=19$m=8,t=1,p=1$garbage")));
    }
}
