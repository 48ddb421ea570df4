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

use crate::service;
use crate::service::admin::Admin;
use crate::storage;
use crate::storage::Counts;
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
    #[error(
        "user {user} was not written: {cause}. {written} users were{}",
        again(cause)
    )]
    Stopped {
        user: String,
        written: u64,
        cause: storage::Error,
    },
    #[error(
        "{failed} pictures were not made anew and stay as they were{}",
        retried(*failed, *again)
    )]
    NotRerendered { failed: u64, again: u64 },
    #[error(
        "{damaged} records cannot be read and were left as they are; pockitd check store names them"
    )]
    DamagedRecords { damaged: u64 },
    #[error(
        "the archive is whole but for {findings} findings, named above; pockitd check store tells more"
    )]
    LeftOut { findings: u64 },
    #[error(
        "{damaged} users were not written, as what the store has in their place is damaged; pockitd check store names it"
    )]
    DamagedPlaces { damaged: u64 },
    #[error("{skipped} users of the archive were left out, named above; all others were written")]
    NotReplaced { skipped: u64 },
    #[error("the work was cut off")]
    Cancelled,
}

/// What helps after an import was stopped.
const fn again(cause: &storage::Error) -> &'static str {
    match cause {
        // It would be stopped by the same user.
        storage::Error::AlreadyExists(_) => "; --on-conflict skip passes over such users",
        _ => "; run the same again",
    }
}

/// What helps where a decoder has died of a picture, by chance or of its limits of time and memory. What is damaged or
/// refused stays that.
fn retried(failed: u64, again: u64) -> String {
    match again {
        0 => String::new(),
        again if again == failed => "; run the same again".to_owned(),
        again => format!("; for {again} of them, run the same again"),
    }
}

impl Admin {
    /// How much there is, for those who want to know how far they are; none if that is damaged.
    async fn counted(&self) -> Result<Option<Counts>, service::Error> {
        match self.store.counts().await {
            Ok(counts) => Ok(Some(counts)),
            Err(storage::Error::Damaged { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}
