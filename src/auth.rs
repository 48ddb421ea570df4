//! Passwords, tokens and the key that signs them. The only user of the operating system's randomness.
//!
//! Knows nothing of HTTP: what a refusal looks like to a client is decided in `http`.

pub mod keys;
pub mod password;
pub mod token;

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
