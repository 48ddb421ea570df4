//! Keys that prove signatures. Which algorithm goes with which kind of key is fixed when the key is made: a public key
//! has no algorithm for secrets and a secret none for public keys, so no token can choose a wrong pair.

use std::fmt;

use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
use aws_lc_rs::hmac;
use aws_lc_rs::rsa::PublicKeyComponents;
use aws_lc_rs::signature;
use aws_lc_rs::signature::{ParsedPublicKey, VerificationAlgorithm};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::auth::certificate;
use crate::auth::jws::Jws;
use crate::config::HmacAlgorithm;
use crate::config::PublicAlgorithm;

/// Shortest RSA modulus, in bits. Sources: RFC 7518 §3.3, NIST SP 800-131A.
const RSA_BITS_MIN: usize = 2_048;
/// Longest, in bits: what the cryptography library takes. Longer ones cost time at every request.
const RSA_BITS_MAX: usize = 8_192;

/// Why something is not a key.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[expect(missing_docs, reason = "each message documents its variant")]
pub enum Unusable {
    #[error("is not a PEM file with one `PUBLIC KEY` or `CERTIFICATE`")]
    NotPem,
    #[error(
        "holds a certificate that cannot be read, must be X.509 version 3; `openssl x509 -pubkey -noout` takes the public key out of others"
    )]
    Certificate,
    #[error("holds a private key, must be the public one")]
    Private,
    #[error("is an RSA key of {0} bits, must have {RSA_BITS_MIN} to {RSA_BITS_MAX}")]
    RsaBits(usize),
    #[error(
        "is an RSA key whose generator was broken (CVE-2017-15361): anybody can find its private part"
    )]
    Guessable,
    #[error("is no key for {0}")]
    Unfit(&'static str),
    #[error("has {actual} bytes, must have at least {least} for {algorithm}")]
    Short {
        algorithm: &'static str,
        least: usize,
        actual: usize,
    },
}

/// A public key in an encoding that the cryptography library reads: `SubjectPublicKeyInfo`, or a point of a curve.
#[derive(Clone, Debug)]
pub(super) struct PublicKey {
    bytes: Vec<u8>,
}

impl PublicKey {
    /// From a PEM file with one block, `PUBLIC KEY` or `CERTIFICATE` (RFC 7468 §13, §5).
    pub(super) fn from_pem(text: &str) -> Result<Self, Unusable> {
        if text.contains("PRIVATE KEY-----") {
            return Err(Unusable::Private);
        }
        if text.matches("-----BEGIN ").count() != 1 {
            return Err(Unusable::NotPem);
        }
        if let Some(der) = block(text, "CERTIFICATE") {
            return Self::from_certificate(&der);
        }
        let bytes = block(text, "PUBLIC KEY").ok_or(Unusable::NotPem)?;
        Ok(Self { bytes })
    }

    /// The key that a certificate in DER was made for.
    pub(super) fn from_certificate(der: &[u8]) -> Result<Self, Unusable> {
        let bytes = certificate::public_key(der).ok_or(Unusable::Certificate)?;
        Ok(Self { bytes })
    }

    /// An RSA key from modulus and exponent, big-endian without zeros in front (RFC 7518 §6.3.1).
    pub(super) fn from_rsa(modulus: &[u8], exponent: &[u8]) -> Result<Self, Unusable> {
        let components = PublicKeyComponents {
            n: modulus,
            e: exponent,
        };
        let der: PublicKeyX509Der<'static> =
            components.as_der().map_err(|_| Unusable::Unfit("RSA"))?;
        Ok(Self {
            bytes: der.as_ref().to_vec(),
        })
    }

    /// A point of a NIST curve from its coordinates (RFC 7518 §6.2.1).
    pub(super) fn from_point(x: &[u8], y: &[u8]) -> Self {
        Self {
            bytes: [&[4], x, y].concat(),
        }
    }

    /// An Ed25519 key (RFC 8037 §2).
    pub(super) fn from_ed25519(x: &[u8]) -> Self {
        Self { bytes: x.to_vec() }
    }

    /// Whether it is a key of that kind.
    pub(super) fn is_of(&self, kind: Family) -> bool {
        let mut algorithms = PublicAlgorithm::ALL.into_iter();
        algorithms.any(|algorithm| family(algorithm) == kind && self.parsed(algorithm).is_ok())
    }

    fn parsed(&self, algorithm: PublicAlgorithm) -> Result<ParsedPublicKey, Unusable> {
        let unfit = Unusable::Unfit(algorithm.as_str());
        let parsed = ParsedPublicKey::new(verification(algorithm), &self.bytes);
        let parsed = parsed.map_err(|_| unfit.clone())?;
        if let Family::Rsa = family(algorithm) {
            // The library would take it, and refuse each signature.
            let modulus = modulus(&self.bytes).ok_or(unfit)?;
            let bits = bits(modulus);
            if !(RSA_BITS_MIN..=RSA_BITS_MAX).contains(&bits) {
                return Err(Unusable::RsaBits(bits));
            }
            if is_guessable(modulus) {
                return Err(Unusable::Guessable);
            }
        }
        Ok(parsed)
    }
}

/// The bytes of the PEM block with that label.
fn block(text: &str, label: &str) -> Option<Vec<u8>> {
    let (_, rest) = text.split_once(&format!("-----BEGIN {label}-----"))?;
    let (body, _) = rest.split_once(&format!("-----END {label}-----"))?;
    let digits: String = body.split_ascii_whitespace().collect();
    STANDARD.decode(digits).ok()
}

/// The modulus in the `SubjectPublicKeyInfo` of an RSA key (RFC 8017 §A.1.1), big-endian without zeros in front.
fn modulus(info: &[u8]) -> Option<&[u8]> {
    let (info, _) = inside(info)?;
    let (_, bit_string) = inside(info)?;
    let (bit_string, _) = inside(bit_string)?;
    // The number of unused bits stands in front.
    let (key, _) = inside(bit_string.get(1..)?)?;
    let (modulus, _) = inside(key)?;
    let zeros = modulus.iter().take_while(|byte| **byte == 0).count();
    modulus.get(zeros..)
}

/// Length of a number without zeros in front, in bits.
fn bits(number: &[u8]) -> usize {
    let leading = number.first().map_or(0, |byte| byte.leading_zeros());
    let leading = usize::try_from(leading).unwrap_or(0);
    number.len().saturating_mul(8).saturating_sub(leading)
}

/// Primes that tell the keys of a broken generator apart: modulo each, both of its factors are powers of 65537.
const TELLING_PRIMES: [u32; 38] = [
    3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97,
    101, 103, 107, 109, 113, 127, 131, 137, 139, 149, 151, 157, 163, 167,
];

/// Whether a modulus is of the generator whose keys can be factored (ROCA, CVE-2017-15361). Another has one chance in
/// a hundred million to look like that.
fn is_guessable(modulus: &[u8]) -> bool {
    TELLING_PRIMES.iter().all(|prime| {
        let step = |rest: u32, digit: &u8| {
            let next = rest.wrapping_mul(256).wrapping_add(u32::from(*digit));
            next.checked_rem(*prime).unwrap_or(0)
        };
        let rest = modulus.iter().fold(0, step);
        let powers = std::iter::successors(Some(1_u32), |power| {
            let next = power.wrapping_mul(65_537).checked_rem(*prime)?;
            (next != 1).then_some(next)
        });
        powers.into_iter().any(|power| power == rest)
    })
}

/// What is in the first DER element of some bytes, and what is behind it (X.690 §8.1).
fn inside(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&length, rest) = bytes.get(1..)?.split_first()?;
    if length < 0x80 {
        return rest.split_at_checked(usize::from(length));
    }
    let (digits, rest) = rest.split_at_checked(usize::from(length & 0x7F))?;
    let length = digits.iter().try_fold(0_usize, |length, digit| {
        length.checked_mul(256)?.checked_add(usize::from(*digit))
    })?;
    rest.split_at_checked(length)
}

/// The usual name of an algorithm: RFC 9864 has given `EdDSA` with this curve another.
pub(super) fn usual(name: &str) -> &str {
    if name == "Ed25519" { "EdDSA" } else { name }
}

/// What an algorithm asks of a key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Family {
    /// A modulus and an exponent.
    Rsa,
    /// A point of P-256.
    P256,
    /// A point of P-384.
    P384,
    /// An Ed25519 key.
    Ed25519,
}

/// The kind of key that goes with an algorithm. RFC 7518 §3.4 ties each ECDSA to one curve.
pub(super) const fn family(algorithm: PublicAlgorithm) -> Family {
    match algorithm {
        PublicAlgorithm::Rs256
        | PublicAlgorithm::Rs384
        | PublicAlgorithm::Rs512
        | PublicAlgorithm::Ps256
        | PublicAlgorithm::Ps384
        | PublicAlgorithm::Ps512 => Family::Rsa,
        PublicAlgorithm::Es256 => Family::P256,
        PublicAlgorithm::Es384 => Family::P384,
        PublicAlgorithm::EdDsa => Family::Ed25519,
    }
}

fn verification(algorithm: PublicAlgorithm) -> &'static dyn VerificationAlgorithm {
    match algorithm {
        PublicAlgorithm::Rs256 => &signature::RSA_PKCS1_2048_8192_SHA256,
        PublicAlgorithm::Rs384 => &signature::RSA_PKCS1_2048_8192_SHA384,
        PublicAlgorithm::Rs512 => &signature::RSA_PKCS1_2048_8192_SHA512,
        PublicAlgorithm::Ps256 => &signature::RSA_PSS_2048_8192_SHA256,
        PublicAlgorithm::Ps384 => &signature::RSA_PSS_2048_8192_SHA384,
        PublicAlgorithm::Ps512 => &signature::RSA_PSS_2048_8192_SHA512,
        PublicAlgorithm::Es256 => &signature::ECDSA_P256_SHA256_FIXED,
        PublicAlgorithm::Es384 => &signature::ECDSA_P384_SHA384_FIXED,
        PublicAlgorithm::EdDsa => &signature::ED25519,
    }
}

/// The hash of an HMAC and its length in bytes, which a secret must have at least: RFC 7518 §3.2.
fn hash(algorithm: HmacAlgorithm) -> (hmac::Algorithm, usize) {
    match algorithm {
        HmacAlgorithm::Hs256 => (hmac::HMAC_SHA256, 32),
        HmacAlgorithm::Hs384 => (hmac::HMAC_SHA384, 48),
        HmacAlgorithm::Hs512 => (hmac::HMAC_SHA512, 64),
    }
}

/// One way to prove a signature.
enum Way {
    Mac(HmacAlgorithm, Box<hmac::Key>),
    Signature(PublicAlgorithm, ParsedPublicKey),
}

/// A key with the algorithms that it is used with.
pub(super) struct VerifyingKey {
    /// The `kid` of the tokens that it proves; without one, it is tried for all.
    id: Option<String>,
    ways: Vec<Way>,
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.ways.iter().map(Way::name);
        formatter
            .debug_struct("VerifyingKey")
            .field("id", &self.id)
            .field("algorithms", &names.collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

impl VerifyingKey {
    /// The `kid` of the tokens that it proves, if it has one.
    pub(super) fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// A secret, used with these algorithms.
    pub(super) fn secret(
        id: Option<String>,
        secret: &[u8],
        algorithms: &[HmacAlgorithm],
    ) -> Result<Self, Unusable> {
        let way = |algorithm: &HmacAlgorithm| {
            let (hash, least) = hash(*algorithm);
            if secret.len() < least {
                return Err(Unusable::Short {
                    algorithm: algorithm.as_str(),
                    least,
                    actual: secret.len(),
                });
            }
            Ok(Way::Mac(*algorithm, Box::new(hmac::Key::new(hash, secret))))
        };
        let ways = algorithms.iter().map(way).collect::<Result<_, _>>()?;
        Ok(Self { id, ways })
    }

    /// A public key, used with these algorithms; each must fit.
    pub(super) fn public(
        id: Option<String>,
        key: &PublicKey,
        algorithms: &[PublicAlgorithm],
    ) -> Result<Self, Unusable> {
        let way = |algorithm: &PublicAlgorithm| {
            let parsed = key.parsed(*algorithm)?;
            Ok(Way::Signature(*algorithm, parsed))
        };
        let ways = algorithms.iter().map(way).collect::<Result<_, _>>()?;
        Ok(Self { id, ways })
    }

    /// Whether it may be the key that a token names.
    pub(super) fn may_have_signed(&self, token: &Jws<'_>) -> bool {
        match (&self.id, &token.key_id) {
            (Some(own), Some(named)) => own == named,
            (None, _) | (_, None) => true,
        }
    }

    /// Whether a token names it.
    pub(super) fn is_named_by(&self, token: &Jws<'_>) -> bool {
        self.id.is_some() && self.id == token.key_id
    }

    /// Whether it has signed a token, with the algorithm that the token names and one of its own.
    pub(super) fn has_signed(&self, token: &Jws<'_>) -> bool {
        let wanted = usual(&token.algorithm);
        let named = |way: &&Way| way.name() == wanted;
        self.ways
            .iter()
            .find(named)
            .is_some_and(|way| way.proves(token.message, &token.signature))
    }
}

impl Way {
    fn name(&self) -> &'static str {
        match self {
            Self::Mac(algorithm, _) => algorithm.as_str(),
            Self::Signature(algorithm, _) => algorithm.as_str(),
        }
    }

    fn proves(&self, message: &[u8], signature: &[u8]) -> bool {
        match self {
            Self::Mac(_, key) => hmac::verify(key, message, signature).is_ok(),
            Self::Signature(_, key) => key.verify_sig(message, signature).is_ok(),
        }
    }
}

#[cfg(test)]
mod tests;
