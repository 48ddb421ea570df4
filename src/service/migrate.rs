//! Moving users and pictures in and out. Knows the store and the neutral archive, not who asks.
//!
//! Every user is written in one transaction, so a stop at any point leaves whole users only, and whoever runs the same
//! again finds the ones that are there already and goes on.

mod check;
mod export;
mod import;

use std::io;
use std::sync::Arc;

use crate::config;
use crate::storage;
use crate::storage::Store;
use crate::storage::archive;

pub use crate::storage::archive::Summary;
pub use export::export;
pub use import::Imported;
pub use import::OnConflict;
pub use import::Outcome;
pub use import::import;

/// Users that are written at once: they share a sync of the disk.
const USERS_AT_ONCE: usize = 32;
/// Bytes of pictures that are held at once, if it is more than one user's.
const BYTES_AT_ONCE: u64 = 8 * 1_024 * 1_024;
/// After how many users the log is told how far things are.
const REPORT_EVERY_USERS: u64 = 10_000;

/// Why data was not moved.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message documents its variant")]
pub enum Error {
    #[error(transparent)]
    Storage(#[from] storage::Error),
    #[error(transparent)]
    Archive(#[from] archive::Error),
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
    #[error("the work was cut off")]
    Cancelled,
}

/// Opens the store that the configuration names, for as long as data is moved.
///
/// # Errors
///
/// [`storage::Error::Unavailable`] while a server has it, and what else keeps it shut.
pub async fn open(config: &config::Storage) -> Result<Arc<dyn Store>, Error> {
    Ok(storage::open(config).await?)
}

/// A file that nobody else sees and that is gone when it is closed, in the data directory.
///
/// # Errors
///
/// [`Error::File`].
pub fn unnamed_file(config: &config::Storage) -> Result<std::fs::File, Error> {
    storage::unnamed_file(config).map_err(|source| Error::File {
        attempt: "make a temporary file in the data directory".to_owned(),
        source,
    })
}
