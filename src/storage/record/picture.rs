//! How a picture is stored: under its id, the owner and a manifest of its blobs. The bytes are elsewhere.

use serde::Deserialize;
use serde::Serialize;
use xxhash_rust::xxh3::xxh3_128;

use crate::domain::Timestamp;
use crate::domain::picture::Crop;
use crate::domain::picture::Rendition;
use crate::domain::user::UserId;
use crate::storage::record::First;
use crate::storage::record::Record;
use crate::storage::record::hexadecimal;

/// Whose picture it is and what its renditions must read as.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct PictureRecord {
    /// The user whose profile points here.
    pub owner: UserId,
    /// When it was uploaded, in microseconds since the Unix epoch.
    pub uploaded_at: Timestamp,
    /// The renditions, largest first.
    pub blobs: Vec<BlobRecord>,
    /// The upload, where it is kept. Never served.
    pub original: Option<BlobRecord>,
    /// The part of the upload that was chosen, where it is kept.
    pub crop: Option<Crop>,
    /// Names the settings that it was made with, where they are known.
    pub recipe: Option<u64>,
}

/// Version 1: without the upload and the settings.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct PictureRecordV1 {
    /// The user whose profile points here.
    pub owner: UserId,
    /// When it was uploaded, in microseconds since the Unix epoch.
    pub uploaded_at: Timestamp,
    /// The renditions, largest first.
    pub blobs: Vec<BlobRecord>,
}

/// What a rendition's bytes must be.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct BlobRecord {
    /// Name of the size, in pixels; [`BlobRecord::ORIGINAL`] for an upload.
    pub size_px: u16,
    /// Length of the file, in bytes.
    pub length: u64,
    /// XXH3-128 of the file.
    #[serde(with = "hexadecimal")]
    pub checksum: u128,
}

impl Record for PictureRecord {
    const KIND: &'static str = "picture";
    const VERSION: u8 = 2;
    type Previous = PictureRecordV1;

    fn migrate(previous: PictureRecordV1) -> Self {
        Self {
            owner: previous.owner,
            uploaded_at: previous.uploaded_at,
            blobs: previous.blobs,
            original: None,
            crop: None,
            recipe: None,
        }
    }
}

impl Record for PictureRecordV1 {
    const KIND: &'static str = "picture";
    const VERSION: u8 = 1;
    type Previous = First;

    fn migrate(previous: First) -> Self {
        match previous {}
    }
}

impl PictureRecord {
    /// Everything that is stored of it: the renditions, and the upload if it is kept.
    pub fn all_blobs(&self) -> impl Iterator<Item = BlobRecord> + '_ {
        self.blobs.iter().copied().chain(self.original)
    }
}

impl BlobRecord {
    /// The size that the chunks of an upload are kept under. No rendition has it.
    pub const ORIGINAL: u16 = 0;

    /// The entry for a rendition.
    #[must_use]
    pub fn of(rendition: &Rendition) -> Self {
        Self {
            size_px: rendition.size_px,
            length: u64::try_from(rendition.bytes.len()).unwrap_or(u64::MAX),
            checksum: xxh3_128(&rendition.bytes),
        }
    }
}
