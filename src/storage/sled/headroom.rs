//! Whether the disk will take a batch, asked before sled begins it.
//!
//! A write that fails half-way can leave sled's trees between two states in memory, and then some entries that the batch
//! has nothing to do with cannot be read until the database is opened anew. So what can be known before is asked
//! before: that the log may be written to, that it may grow as far, and that there is space for that. What is left is a
//! disk that fails while it writes.

use std::fs::OpenOptions;
use std::io;
use std::path::Path;

use rustix::process::Resource;

/// Bytes that the smallest batch may add to the log: the rest of a segment, and the next one.
const LOG_BYTES_MIN: u64 = 2 * 1_024 * 1_024;
/// The same for a batch that only removes: a disk that is all but full is to take that.
const REMOVAL_BYTES: u64 = 128 * 1_024;

/// Bytes by which a batch with so many bytes of pictures, or one that only removes, may lengthen the log: a quarter more
/// than these, for keys and records. What sled rewrites beside it goes where segments became free.
pub(super) fn log_bytes(bytes: u64, removes: bool) -> u64 {
    let least = if removes {
        REMOVAL_BYTES
    } else {
        LOG_BYTES_MIN
    };
    bytes.saturating_add(bytes / 4).saturating_add(least)
}

/// Makes sure that the log may be written to, and lengthened by so many bytes.
///
/// # Errors
///
/// What the system says: a file system that is read-only, a limit for files.
pub(super) fn check(log: &Path, needed: u64) -> io::Result<()> {
    // Asks for no more than the right to, which is refused where the file system has become read-only.
    let file = OpenOptions::new().write(true).open(log)?;
    let end = file.metadata()?.len().saturating_add(needed);
    let limit = rustix::process::getrlimit(Resource::Fsize).current;
    if limit.is_some_and(|limit| limit < end) {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batch_needs_its_own_size_and_a_segment_more() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("db");
        std::fs::write(&log, "begun").unwrap();

        check(&log, log_bytes(1_000_000, false)).unwrap();

        assert_eq!(log_bytes(1_000_000, false), 1_250_000 + LOG_BYTES_MIN);
        assert_eq!(log_bytes(0, true), REMOVAL_BYTES);
        assert_eq!(std::fs::read(&log).unwrap(), b"begun");
    }

    #[test]
    fn log_that_is_not_there_is_an_error() {
        let directory = tempfile::tempdir().unwrap();

        let missing = check(&directory.path().join("db"), 0).unwrap_err();

        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
    }
}
