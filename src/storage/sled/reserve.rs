//! Disk space put by, so that the database can be opened again on a disk that is full.
//!
//! sled writes a snapshot whenever it opens. A store that met a full disk must be opened anew, and would stay shut for
//! readers too if there were no room for that. So a file of ours keeps some; it is given up for the opening, and
//! nothing is written from then on until there is room to put as much by again.

use std::fs;
use std::fs::OpenOptions;
use std::io;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::path::PathBuf;

use crate::storage::data_dir;

/// Name of the file in the data directory.
const FILE_NAME: &str = "reserve";
/// Least that is put by, in bytes: four segments. Measured: with half a segment the database cannot be opened, as sled
/// begins another one when it opens.
const BYTES_MIN: u64 = 4 * 1_024 * 1_024;
/// Free space from which on the reserve is put by, in shares of it.
const ROOM_SHARES: u64 = 2;

/// The space, as far as there is some.
#[derive(Debug)]
pub(super) struct Reserve {
    data_dir: PathBuf,
    held: bool,
}

impl Reserve {
    /// What an earlier run has left.
    pub(super) fn find(data_dir: &Path) -> Self {
        let file = fs::metadata(data_dir.join(FILE_NAME));
        Self {
            data_dir: data_dir.to_owned(),
            held: file.is_ok_and(|file| file.len() >= BYTES_MIN),
        }
    }

    /// Whether there is space, put by just now if need be.
    pub(super) fn is_held(&mut self) -> bool {
        if !self.held {
            match self.put_by() {
                Ok(held) => self.held = held,
                Err(error) => tracing::debug!(%error, "cannot put disk space by"),
            }
        }
        self.held
    }

    /// Whether [`Reserve::give_up`] would make space free.
    pub(super) fn can_be_given_up(&self) -> bool {
        self.file().exists()
    }

    /// What must be free for [`Reserve::is_held`], in bytes.
    pub(super) fn room_bytes(&self) -> u64 {
        self.bytes().saturating_mul(ROOM_SHARES)
    }

    /// Makes the space free for use; false if there is none.
    pub(super) fn give_up(&mut self) -> bool {
        self.held = false;
        fs::remove_file(self.file()).is_ok()
    }

    /// Puts by what was not used of it, for the next time. Less than the whole does not count as held.
    pub(super) fn keep_rest(&self) {
        let rest = data_dir::free_bytes(&self.data_dir).map(|free| free.min(self.bytes()));
        if let Err(error) = rest.and_then(|bytes| self.fill(bytes)) {
            tracing::debug!(%error, "cannot put the rest of the disk space by");
        }
    }

    fn put_by(&self) -> io::Result<bool> {
        if data_dir::free_bytes(&self.data_dir)? < self.room_bytes() {
            return Ok(false);
        }
        self.fill(self.bytes()).map(|()| true)
    }

    fn fill(&self, bytes: u64) -> io::Result<()> {
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(true)
            .write(true)
            .mode(0o600)
            .open(self.file())?;
        let plain = rustix::fs::FallocateFlags::empty();
        if rustix::fs::fallocate(&file, plain, 0, bytes).is_err() {
            // Not every file system can; all can be written to.
            io::copy(&mut io::Read::take(io::repeat(0x5A), bytes), &mut file)?;
            file.flush()?;
        }
        Ok(())
    }

    /// As much as two snapshots of the database take.
    fn bytes(&self) -> u64 {
        let snapshots = data_dir::size_bytes_of(&self.data_dir.join("db"), "snap.");
        snapshots.saturating_mul(2).max(BYTES_MIN)
    }

    fn file(&self) -> PathBuf {
        self.data_dir.join(FILE_NAME)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    #[test]
    fn space_is_put_by_once_and_given_up_once() {
        let directory = tempfile::tempdir().unwrap();
        let mut reserve = Reserve::find(directory.path());
        assert!(!reserve.give_up());

        assert!(reserve.is_held());
        let file = fs::metadata(directory.path().join(FILE_NAME)).unwrap();
        assert!(file.blocks() * 512 >= BYTES_MIN, "{} blocks", file.blocks());
        assert!(Reserve::find(directory.path()).give_up());

        assert!(!directory.path().join(FILE_NAME).exists());
        assert!(!Reserve::find(directory.path()).give_up());
    }

    #[test]
    fn rest_of_the_space_is_kept_but_is_not_enough_to_write() {
        let directory = tempfile::tempdir().unwrap();
        let reserve = Reserve::find(directory.path());

        reserve.fill(100_000).unwrap();

        let mut reserve = Reserve::find(directory.path());
        assert!(!reserve.held);
        assert!(reserve.give_up());
    }

    #[test]
    fn reserve_is_as_large_as_the_database_needs() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("db")).unwrap();
        fs::write(directory.path().join("db/snap.1"), vec![0; 4_000_000]).unwrap();
        fs::write(directory.path().join("db/db"), vec![0; 4_000_000]).unwrap();

        assert!(Reserve::find(directory.path()).is_held());

        let file = fs::metadata(directory.path().join(FILE_NAME)).unwrap();
        assert_eq!(file.len(), 8_000_000);
    }
}
