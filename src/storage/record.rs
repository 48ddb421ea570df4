//! Versioned encodings of what a store keeps, and the chain that moves old versions forward.
//!
//! A record is stored as
//!
//! ```text
//! byte 0       version of the payload
//! byte 1..17   XXH3-128 of the kind, the key, the version and the payload, big-endian
//! byte 17..    payload: JSON
//! ```
//!
//! The checksum covers the key, so a record that turns up where another belongs counts as damaged too. JSON, because
//! records are small (a profile takes 400 bytes and 3 µs), a person can read one with no tool of ours, and a field
//! that is added with a default needs no new version.
//!
//! A changed shape gets a new type with the next [`Record::VERSION`], names the old one as [`Record::Previous`] and says
//! how to get from there to here in [`Record::migrate`]; the old type stays. Whatever was ever written can thus be read.
//! Nothing here panics, whatever the bytes.

mod account;
mod idempotence;
mod picture;
mod profile;
mod system;

use serde::Serialize;
use serde::de::DeserializeOwned;
use xxhash_rust::xxh3::Xxh3;

pub use account::AccountRecord;
pub use account::EmailRecord;
pub use idempotence::IdempotencyRecord;
pub use idempotence::KeyedUploadRecord;
pub use picture::BlobRecord;
pub use picture::PictureRecord;
pub use picture::PictureRecordV1;
pub use profile::ProfileRecord;
pub use profile::ShownPicture;
pub use system::CountsRecord;
pub use system::SchemaRecord;
pub use system::SequenceRecord;

/// Bytes in front of the payload: version and checksum.
const HEAD_BYTES: usize = 17;

/// Why stored bytes are not the record that was asked for.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[expect(missing_docs, reason = "each message documents its variant")]
pub enum Error {
    #[error("{kind} record has {length} bytes, fewer than its head")]
    Truncated { kind: &'static str, length: usize },
    #[error("{kind} record does not match its checksum")]
    Checksum { kind: &'static str },
    #[error("{kind} record has version {found}, this program knows versions up to {known}")]
    Version {
        kind: &'static str,
        found: u8,
        known: u8,
    },
    #[error("{kind} record of version {version} is malformed: {detail}")]
    Malformed {
        kind: &'static str,
        version: u8,
        detail: String,
    },
}

/// A value that a store keeps under a key.
pub trait Record: Serialize + DeserializeOwned {
    /// What it is called in messages; part of the checksum. The same for all versions.
    const KIND: &'static str;
    /// The version of this shape, from 1 up.
    const VERSION: u8;
    /// The shape before this one; [`First`] for version 1.
    type Previous: Record;

    /// This value from the one before.
    fn migrate(previous: Self::Previous) -> Self;

    /// Reads a payload of any version up to this one.
    ///
    /// # Errors
    ///
    /// [`Error::Version`] for a version that was never written, [`Error::Malformed`] for a payload of another shape.
    fn from_payload(version: u8, payload: &[u8]) -> Result<Self, Error> {
        if version < Self::VERSION {
            return Self::Previous::from_payload(version, payload).map(Self::migrate);
        }
        if version > Self::VERSION {
            return Err(Error::Version {
                kind: Self::KIND,
                found: version,
                known: Self::VERSION,
            });
        }
        serde_json::from_slice(payload).map_err(|error| Error::Malformed {
            kind: Self::KIND,
            version,
            detail: error.to_string(),
        })
    }
}

/// What comes before version 1: nothing. Has no values.
#[derive(serde::Deserialize, Serialize)]
pub enum First {}

impl Record for First {
    const KIND: &'static str = "first";
    const VERSION: u8 = 0;
    type Previous = Self;

    fn migrate(previous: Self) -> Self {
        previous
    }

    fn from_payload(version: u8, _: &[u8]) -> Result<Self, Error> {
        Err(Error::Version {
            kind: Self::KIND,
            found: version,
            known: Self::VERSION,
        })
    }
}

/// The bytes to store for `record` under `key`.
///
/// # Errors
///
/// [`Error::Malformed`] if the value cannot be written as JSON; no type here has such values.
pub fn encode<T: Record>(key: &[u8], record: &T) -> Result<Vec<u8>, Error> {
    let payload = serde_json::to_vec(record).map_err(|error| Error::Malformed {
        kind: T::KIND,
        version: T::VERSION,
        detail: error.to_string(),
    })?;
    let mut bytes = Vec::with_capacity(HEAD_BYTES.saturating_add(payload.len()));
    bytes.push(T::VERSION);
    bytes.extend_from_slice(&checksum::<T>(key, T::VERSION, &payload).to_be_bytes());
    bytes.extend_from_slice(&payload);
    Ok(bytes)
}

/// The record that was stored under `key`, moved forward to this version.
///
/// # Errors
///
/// Any [`Error`]: the bytes are not what [`encode`] wrote for that key.
pub fn decode<T: Record>(key: &[u8], bytes: &[u8]) -> Result<T, Error> {
    let truncated = || Error::Truncated {
        kind: T::KIND,
        length: bytes.len(),
    };
    let (version, rest) = bytes.split_first().ok_or_else(truncated)?;
    let (stored, payload) = rest.split_first_chunk::<16>().ok_or_else(truncated)?;
    if u128::from_be_bytes(*stored) != checksum::<T>(key, *version, payload) {
        return Err(Error::Checksum { kind: T::KIND });
    }
    T::from_payload(*version, payload)
}

/// The version that stored bytes say they have, without looking further. For counting what is left to migrate.
#[must_use]
pub fn version(bytes: &[u8]) -> Option<u8> {
    bytes.first().copied()
}

fn checksum<T: Record>(key: &[u8], version: u8, payload: &[u8]) -> u128 {
    let mut hasher = Xxh3::new();
    hasher.update(T::KIND.as_bytes());
    // A length before the one part of variable length that is followed by another: no two inputs look the same.
    hasher.update(&u64::try_from(key.len()).unwrap_or(u64::MAX).to_be_bytes());
    hasher.update(key);
    hasher.update(&[version]);
    hasher.update(payload);
    hasher.digest128()
}

/// An XXH3-128 checksum in JSON: 32 hexadecimal digits, as JSON has no integers of 128 bits.
mod hexadecimal {
    use serde::Deserialize;
    use serde::Deserializer;
    use serde::Serializer;
    use serde::de::Error as _;

    pub(super) fn serialize<S: Serializer>(
        checksum: &u128,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format!("{checksum:032x}"))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<u128, D::Error> {
        let text = String::deserialize(deserializer)?;
        u128::from_str_radix(&text, 16).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests;
