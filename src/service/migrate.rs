//! Moving users and pictures in, out and forward. Knows the store, the workers and the formats, not who asks.
//!
//! Every user is written in one transaction, so a stop at any point leaves whole users only, and whoever runs the same
//! again finds the ones that are there already and goes on.

mod check;
mod compact;
mod django;
mod export;
mod import;
mod records;
mod rerender;

use std::io;

use crate::storage;
use crate::storage::archive;

pub use crate::storage::django::Field;
pub use crate::storage::django::Project;
pub use crate::storage::upkeep::Compacted;
pub use django::FromDjango;
pub use django::Imported as ImportedFromDjango;
pub use django::Row;
pub use export::Exported;
pub use import::Imported;
pub use import::OnConflict;
pub use import::Outcome;
pub use records::Kind;
pub use records::Versions;
pub use rerender::Rerender;
pub use rerender::Rerendered;

/// Users that are written at once: they share a sync of the disk.
const USERS_AT_ONCE: usize = 32;
/// Bytes of pictures that are held at once, if it is more than one user's.
const BYTES_AT_ONCE: u64 = 8 * 1_024 * 1_024;

/// Why data was not moved.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message documents its variant")]
pub enum Error {
    #[error(transparent)]
    Storage(#[from] storage::Error),
    #[error(transparent)]
    Archive(#[from] archive::Error),
    #[error(transparent)]
    Django(#[from] storage::django::Error),
    #[error("cannot {attempt}")]
    File {
        attempt: String,
        #[source]
        source: io::Error,
    },
    #[error("user {user} is not the one in the store: {reason}; nothing was written")]
    Conflict { user: String, reason: String },
    #[error("user {user} was not written: {cause}. {written} users were; run the same again")]
    Stopped {
        user: String,
        written: u64,
        cause: storage::Error,
    },
    #[error("{failed} pictures were not made anew; run the same again")]
    NotRerendered { failed: u64 },
    #[error(
        "{damaged} records cannot be read and were left as they are; pockitd check store names them"
    )]
    DamagedRecords { damaged: u64 },
    #[error("the work was cut off")]
    Cancelled,
}
