//! Whether the disk will take a batch, asked before sled begins it.
//!
//! A write that fails half-way can leave sled's trees between two states in memory, and then some entries that the batch
//! has nothing to do with cannot be read until the database is opened anew. So what can be known before is asked
//! before: that the log may be written to, that it may grow as far, and that the blocks for that are there. What is left
//! is a disk that fails while it writes.

use std::fs::OpenOptions;
use std::io;
use std::path::Path;

use rustix::fs::FallocateFlags;
use rustix::io::Errno;
use rustix::process::Resource;

/// Bytes of log that a byte of a batch may take: measured, the write amplification is 3.5 with the rewriting of thin
/// segments, and 1.1 without.
const LOG_BYTES_FOR_ONE: u64 = 4;
/// Bytes that the smallest batch may take: the rest of a segment, and the next one.
const LOG_BYTES_MIN: u64 = 2 * 1_024 * 1_024;
/// Blocks are set aside for so many bytes more than a batch needs, so that most batches find theirs.
const AHEAD_BYTES: u64 = 4 * 1_024 * 1_024;

/// Blocks set aside behind the end of the log.
#[derive(Debug, Default)]
pub(super) struct Headroom {
    /// The log's length when it was last looked at.
    length: u64,
    /// The place in the log up to which there are blocks.
    end: u64,
}

impl Headroom {
    /// Makes sure that the log can take a batch with so many bytes of pictures, as far as that can be known.
    ///
    /// # Errors
    ///
    /// What the system says: a file system that is read-only or full, a quota, a limit for files.
    pub(super) fn make(&mut self, log: &Path, bytes: u64) -> io::Result<()> {
        let file = OpenOptions::new().write(true).open(log)?;
        let length = file.metadata()?.len();
        if length < self.length {
            // sled has cut the end off, and what was set aside behind it with it.
            self.end = 0;
        }
        self.length = length;
        let needed = bytes
            .saturating_mul(LOG_BYTES_FOR_ONE)
            .saturating_add(LOG_BYTES_MIN);
        let end = length.saturating_add(needed);
        let limit = rustix::process::getrlimit(Resource::Fsize).current;
        if limit.is_some_and(|limit| limit < end) {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        if end <= self.end {
            return Ok(());
        }
        let set_aside = |bytes| {
            match rustix::fs::fallocate(&file, FallocateFlags::KEEP_SIZE, length, bytes) {
                // File systems that cannot; nothing can be known there.
                Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
                other => other,
            }
        };
        let ahead = needed.saturating_add(AHEAD_BYTES);
        if set_aside(ahead).is_ok() {
            self.end = length.saturating_add(ahead);
        } else {
            set_aside(needed)?;
            self.end = end;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    #[test]
    fn blocks_are_there_and_the_length_is_as_before() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("db");
        fs::write(&log, "begun").unwrap();
        let mut headroom = Headroom::default();

        headroom.make(&log, 1_000_000).unwrap();

        let file = fs::metadata(&log).unwrap();
        assert_eq!(file.len(), 5);
        assert!(headroom.end > 6_000_000, "{headroom:?}");
        // Where the file system cannot, nothing is set aside.
        let blocks = file.blocks() * 512;
        assert!(
            blocks > 6_000_000 || blocks < 100_000,
            "{blocks} bytes of blocks"
        );
    }

    #[test]
    fn log_that_was_cut_off_is_looked_at_anew() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("db");
        fs::write(&log, vec![1; 100_000]).unwrap();
        let mut headroom = Headroom::default();
        headroom.make(&log, 0).unwrap();
        let before = headroom.end;
        fs::write(&log, "begun").unwrap();

        headroom.make(&log, 0).unwrap();

        assert!(headroom.end < before, "{headroom:?}");
    }

    #[test]
    fn log_that_is_not_there_or_has_no_end_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let mut headroom = Headroom::default();

        assert!(headroom.make(&directory.path().join("db"), 0).is_err());
        let log = directory.path().join("log");
        fs::write(&log, "begun").unwrap();
        assert!(headroom.make(&log, u64::MAX).is_err());
    }
}
