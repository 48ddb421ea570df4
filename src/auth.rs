//! Passwords, tokens, the key that signs ours, and the keys of other issuers, which `auth/fetch` may fetch from them.
//! The only user of the operating system's randomness.
//!
//! Knows nothing of HTTP: what a refusal looks like to a client is decided in `http`.

mod certificate;
pub mod claims;
mod fetch;
mod foreign;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod json;
mod jwks;
mod jws;
pub mod keyring;
pub mod keys;
pub mod password;
mod remote;
pub mod token;
pub mod verify;

/// The system's random number generator failed. There is no safe way to go on.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the operating system gave no random bytes")]
pub struct NoRandomness;

/// `LENGTH` bytes from the operating system's generator.
///
/// # Errors
///
/// [`NoRandomness`] if the generator fails.
pub fn random<const LENGTH: usize>() -> Result<[u8; LENGTH], NoRandomness> {
    let mut bytes = [0; LENGTH];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| NoRandomness)?;
    Ok(bytes)
}

/// SHA-256 of some bytes, in hexadecimal: names a file in the log without telling what it shows.
#[must_use]
pub fn sha256(bytes: &[u8]) -> String {
    use std::fmt::Write;
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    digest
        .as_ref()
        .iter()
        .fold(String::new(), |mut text, byte| {
            // Writing to a text cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sha256_is_that_of_fips_180_4() {
        assert_eq!(
            sha256(b"abc"),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }
}
