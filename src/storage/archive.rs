//! The neutral archive: a tar file of JSON lines and JPEG files, described in `man/pockitd-archive.5`.
//!
//! ```text
//! pockitd-archive.json        format and version, so that a reader knows at once what it has
//! users/00000001.jsonl        some users, one JSON object a line, in the order of their ids
//! pictures/{id}/{size}.jpg    the pictures of these users, in the order in which the lines name them
//! originals/{id}              behind the files of a picture: the upload, where it was kept
//! users/00000002.jsonl        …
//! manifest.json               counts and a checksum over all lines; the lines have those of the pictures
//! ```
//!
//! The fixed order lets both sides work with the memory of a few users, however many there are. Nothing in an archive
//! decides where anything is written: a path is compared with the one that must come next, and that is all. Who made an
//! archive is not known, so nothing in it is believed.

mod line;
mod read;
mod write;

use std::io;

pub use read::read;
pub use write::Writer;

/// What the first and the last entry say that this is.
const FORMAT: &str = "pockitd-archive";
/// Version of the format. Archives with a higher one are refused.
const VERSION: u32 = 1;
/// The first entry.
const HEAD_PATH: &str = "pockitd-archive.json";
/// The last entry.
const MANIFEST_PATH: &str = "manifest.json";
/// Longest first and last entry, in bytes. Ours have a tenth of that.
const HEAD_BYTES_MAX: u64 = 4 * 1_024;
/// Longest file of lines, in bytes.
pub const USERS_FILE_BYTES_MAX: u64 = 4 * 1_024 * 1_024;
/// Most users in one file of lines.
pub const USERS_FILE_USERS_MAX: usize = 1_000;
/// Longest picture file, in bytes: more than the largest size that can be configured takes at full quality.
pub const PICTURE_FILE_BYTES_MAX: u64 = 16 * 1_024 * 1_024;
/// Most files of one picture: as many as sizes can be configured.
pub const PICTURE_FILES_MAX: usize = 8;

/// Why an archive was not written or read.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message documents its variant")]
pub enum Error {
    #[error("cannot {attempt} the archive")]
    Io {
        attempt: &'static str,
        #[source]
        source: io::Error,
    },
    /// Not an archive of ours, or not as it was written.
    #[error("the archive is refused, {place}: {reason}")]
    Refused { place: String, reason: String },
    #[error("the archive has format version {found}, this program knows versions up to {VERSION}")]
    TooNew { found: u32 },
}

/// How much an archive holds.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Summary {
    /// Users.
    pub users: u64,
    /// Those of them that have a picture.
    pub pictures: u64,
    /// Bytes of all picture files.
    pub picture_bytes: u64,
    /// Uploads that were kept.
    pub originals: u64,
    /// Bytes of them.
    pub original_bytes: u64,
}

fn users_path(number: u64) -> String {
    format!("users/{number:08}.jsonl")
}

fn refused(place: impl Into<String>, reason: impl Into<String>) -> Error {
    Error::Refused {
        place: place.into(),
        reason: reason.into(),
    }
}
