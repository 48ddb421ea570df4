//! The number of the last commit that was acknowledged, kept outside the database.
//!
//! sled takes damage in the part of its log that it replays after a crash for the log's end: what was written behind
//! it is gone without a word. A database that comes back with fewer commits than this file names has lost some, and
//! says so instead of showing old data as if it were the newest.
//!
//! The file is written after the database's own sync and is itself not synced: after a kill it is exact, after a power
//! cut it may name an earlier commit, which only makes the check weaker. It never names a later one.

use std::fs::File;
use std::fs::OpenOptions;
use std::io;
use std::io::Read as _;
use std::os::unix::fs::FileExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::path::PathBuf;

use xxhash_rust::xxh3::xxh3_64;

/// Name of the file in the data directory.
pub(super) const FILE_NAME: &str = "acknowledged";

/// The file, open for notes.
#[derive(Debug)]
pub(super) struct Witness {
    file: File,
    path: PathBuf,
}

impl Witness {
    /// Opens the file, makes it if it is missing.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub(super) fn open(data_dir: &Path) -> io::Result<Self> {
        let path = data_dir.join(FILE_NAME);
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .mode(0o600)
            .open(&path)?;
        Ok(Self { file, path })
    }

    /// The number last noted; none in a new file or one that a power cut has torn.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub(super) fn commits(&self) -> io::Result<Option<u64>> {
        let mut bytes = Vec::new();
        // Opened for each reading, as each must begin at the beginning.
        File::open(&self.path)?.take(16).read_to_end(&mut bytes)?;
        let parts = bytes
            .split_first_chunk::<8>()
            .and_then(|(number, rest)| Some((number, rest.first_chunk::<8>()?)));
        Ok(parts
            .filter(|(number, checksum)| xxh3_64(*number) == u64::from_be_bytes(**checksum))
            .map(|(number, _)| u64::from_be_bytes(*number)))
    }

    /// Notes a number.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub(super) fn note(&self, commits: u64) -> io::Result<()> {
        let number = commits.to_be_bytes();
        let mut bytes = [0; 16];
        let (head, tail) = bytes.split_at_mut(8);
        head.copy_from_slice(&number);
        tail.copy_from_slice(&xxh3_64(&number).to_be_bytes());
        // One write within one sector: no reader sees half of it.
        self.file.write_all_at(&bytes, 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn number_is_read_back_and_a_torn_file_has_none() {
        let directory = tempfile::tempdir().unwrap();
        let open = || Witness::open(directory.path()).unwrap();
        assert_eq!(open().commits().unwrap(), None);

        open().note(1).unwrap();
        open().note(u64::MAX).unwrap();

        let witness = open();
        for _ in 0..3 {
            assert_eq!(witness.commits().unwrap(), Some(u64::MAX));
        }
        std::fs::write(directory.path().join(FILE_NAME), [0; 16]).unwrap();
        assert_eq!(open().commits().unwrap(), None);
        std::fs::write(directory.path().join(FILE_NAME), [1; 5]).unwrap();
        assert_eq!(open().commits().unwrap(), None);
    }
}
