//! JSON Web Key Sets (RFC 7517), as issuers publish them: the public keys for signatures in it, and nothing else.
//!
//! A set is meant for everybody, so what does not belong there is left out and counted, and the rest is used: secrets,
//! private keys, keys for encryption, unknown kinds, RSA keys that are too short.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Map, Value};

use crate::auth::json;
use crate::auth::verify::Family;
use crate::auth::verify::PublicKey;
use crate::auth::verify::VerifyingKey;
use crate::auth::verify::family;
use crate::auth::verify::usual;
use crate::config::PublicAlgorithm;

/// Most keys of a set. Large issuers publish fewer than ten.
const KEYS_MAX: usize = 100;

/// The usable keys of a set.
#[derive(Debug)]
pub(super) struct Set {
    pub(super) keys: Vec<VerifyingKey>,
    /// How many were left out.
    pub(super) ignored: usize,
}

/// Why bytes are not a set with a usable key.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Malformed {
    #[error("it is no JSON object with the array `keys`")]
    NoSet,
    #[error("it has {0} keys, at most {KEYS_MAX} are read")]
    TooMany(usize),
    #[error("none of its {0} keys is a public key for signatures with the configured algorithms")]
    NoKey(usize),
}

/// The keys of a set, each with those of `algorithms` that fit it.
pub(super) fn parse(bytes: &[u8], algorithms: &[PublicAlgorithm]) -> Result<Set, Malformed> {
    let mut set = json::object(bytes).ok_or(Malformed::NoSet)?;
    let Some(Value::Array(found)) = set.remove("keys") else {
        return Err(Malformed::NoSet);
    };
    if found.len() > KEYS_MAX {
        return Err(Malformed::TooMany(found.len()));
    }
    let keys: Vec<_> = found
        .iter()
        .filter_map(|entry| key(entry.as_object()?, algorithms))
        .collect();
    if keys.is_empty() {
        return Err(Malformed::NoKey(found.len()));
    }
    let ignored = found.len().saturating_sub(keys.len());
    Ok(Set { keys, ignored })
}

fn key(jwk: &Map<String, Value>, algorithms: &[PublicAlgorithm]) -> Option<VerifyingKey> {
    // `d` is the private part of every kind (RFC 7518 §6.2.2, §6.3.2, RFC 8037 §2), `k` a secret (§6.4). A private key
    // that is published proves nothing any more.
    if jwk.contains_key("d") || jwk.contains_key("k") {
        return None;
    }
    if jwk.get("use").is_some_and(|used| used != "sig") {
        return None;
    }
    match jwk.get("key_ops") {
        None => {}
        Some(Value::Array(operations)) if operations.iter().any(|one| one == "verify") => {}
        Some(_) => return None,
    }
    let id = match jwk.get("kid") {
        None => None,
        Some(Value::String(id)) => Some(id.clone()),
        Some(_) => return None,
    };
    let (public, kind) = public_key(jwk)?;
    let named = match jwk.get("alg") {
        None => None,
        Some(Value::String(name)) => Some(usual(name)),
        Some(_) => return None,
    };
    let fits = |algorithm: &PublicAlgorithm| {
        family(*algorithm) == kind && named.is_none_or(|name| name == algorithm.as_str())
    };
    let fitting: Vec<_> = algorithms.iter().copied().filter(fits).collect();
    if fitting.is_empty() {
        return None;
    }
    VerifyingKey::public(id, &public, &fitting).ok()
}

/// The key in an entry and its kind.
fn public_key(jwk: &Map<String, Value>) -> Option<(PublicKey, Family)> {
    let text = |name: &str| jwk.get(name).and_then(Value::as_str);
    let bytes = |name: &str| URL_SAFE_NO_PAD.decode(text(name)?).ok();
    let exactly = |name: &str, length: usize| bytes(name).filter(|bytes| bytes.len() == length);
    if !jwk.contains_key("n") && !jwk.contains_key("x") {
        return certified(jwk);
    }
    match (text("kty")?, text("crv")) {
        ("RSA", _) => {
            let key = PublicKey::from_rsa(&bytes("n")?, &bytes("e")?).ok()?;
            Some((key, Family::Rsa))
        }
        ("EC", Some("P-256")) => {
            let key = PublicKey::from_point(&exactly("x", 32)?, &exactly("y", 32)?);
            Some((key, Family::P256))
        }
        ("EC", Some("P-384")) => {
            let key = PublicKey::from_point(&exactly("x", 48)?, &exactly("y", 48)?);
            Some((key, Family::P384))
        }
        ("OKP", Some("Ed25519")) => {
            let key = PublicKey::from_ed25519(&exactly("x", 32)?);
            Some((key, Family::Ed25519))
        }
        _ => None,
    }
}

/// The key of an entry that has it in a certificate only: the first of `x5c` (RFC 7517 §4.7).
fn certified(jwk: &Map<String, Value>) -> Option<(PublicKey, Family)> {
    let text = |name: &str| jwk.get(name).and_then(Value::as_str);
    let first = jwk.get("x5c")?.as_array()?.first()?.as_str()?;
    let key = PublicKey::from_certificate(&STANDARD.decode(first).ok()?).ok()?;
    let families: &[Family] = match (text("kty")?, text("crv")) {
        ("RSA", _) => &[Family::Rsa],
        ("EC", Some("P-256")) => &[Family::P256],
        ("EC", Some("P-384")) => &[Family::P384],
        ("EC", None) => &[Family::P256, Family::P384],
        ("OKP", _) => &[Family::Ed25519],
        _ => return None,
    };
    let kind = families.iter().find(|family| key.is_of(**family))?;
    Some((key, *kind))
}
