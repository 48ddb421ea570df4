//! The data directory: makes it, locks it against a second process, and knows how much room its disk has.
//!
//! Whoever holds a [`DataDir`] is alone in the directory until it is dropped or the process ends, however it ends:
//! the lock is the kernel's, not the file's existence.

use std::fs;
use std::fs::DirBuilder;
use std::fs::File;
use std::fs::OpenOptions;
use std::fs::TryLockError;
use std::io;
use std::io::Read as _;
use std::io::Write as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::os::unix::fs::FileExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::path::PathBuf;

use crate::storage::Error;

/// A directory that this process has for itself.
#[derive(Debug)]
pub(super) struct DataDir {
    path: PathBuf,
    lock: File,
}

impl Drop for DataDir {
    /// Gives the lock up. Closing the file would not while a process that is just being started has a copy of it.
    fn drop(&mut self) {
        if let Err(error) = self.lock.unlock() {
            tracing::debug!(%error, "cannot unlock the data directory");
        }
    }
}

impl DataDir {
    /// Makes the directory if it is missing (for this user only, mode 0700) and locks it.
    ///
    /// # Errors
    ///
    /// [`Error::InUse`] names the process that has it, [`Error::Unavailable`] says what cannot be done with which file.
    pub(super) fn lock(path: &Path) -> Result<Self, Error> {
        let unavailable = |attempt: &str, path: &Path, error: io::Error| {
            Error::Unavailable(format!("cannot {attempt} {}: {error}", path.display()))
        };
        make(path).map_err(|error| unavailable("make", path, error))?;
        let lock_path = path.join("lock");
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .mode(0o600)
            .open(&lock_path)
            .map_err(|error| unavailable("open", &lock_path, error))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(held_by_another(path, &mut file)),
            Err(TryLockError::Error(error)) => return Err(unavailable("lock", &lock_path, error)),
        }
        // For the message above only; the lock does not depend on it. A full disk must not keep the store shut.
        let noted = file
            .set_len(0)
            .and_then(|()| writeln!(file, "{}", std::process::id()));
        if let Err(error) = noted {
            tracing::debug!(%error, "cannot note the process id in the lock file");
        }
        sync_directory(path).map_err(|error| unavailable("sync", path, error))?;
        Ok(Self {
            path: path.to_path_buf(),
            lock: file,
        })
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

/// Makes a directory and those above it as far as they are missing, durably.
fn make(path: &Path) -> io::Result<()> {
    let missing: Vec<_> = path
        .ancestors()
        .take_while(|above| !above.as_os_str().is_empty() && !above.exists())
        .collect();
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    for made in missing {
        // A relative path of one name lies in the working directory.
        let parent = made
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty());
        sync_directory(parent.unwrap_or_else(|| Path::new(".")))?;
    }
    Ok(())
}

/// Bytes that this process may still write to the disk that a directory is on.
///
/// # Errors
///
/// What statvfs(3) says.
pub(super) fn free_bytes(path: &Path) -> io::Result<u64> {
    let room = rustix::fs::statvfs(path)?;
    Ok(room.f_bavail.saturating_mul(room.f_frsize))
}

/// A file in a directory that has no name and is gone when it is closed.
///
/// # Errors
///
/// What the system says.
pub(super) fn unnamed_file(path: &Path) -> io::Result<File> {
    // Where the file system can make one without a name; else by way of a name that is gone at once.
    tempfile::tempfile_in(path)
}

/// Whether so many bytes can be written to a directory and synced. They are gone afterwards.
///
/// # Errors
///
/// What the system says.
pub(super) fn try_write(path: &Path, bytes: usize) -> io::Result<()> {
    let mut file = unnamed_file(path)?;
    file.write_all(&vec![0x5A; bytes])?;
    file.sync_all()
}

/// Whether a file can grow by so many bytes. Its length is as before then; what is in it is not touched.
///
/// # Errors
///
/// What the system says.
pub(super) fn try_growth(path: &Path, bytes: usize) -> io::Result<()> {
    let file = OpenOptions::new().write(true).open(path)?;
    let length = file.metadata()?.len();
    let grown = file
        .write_all_at(&vec![0; bytes], length)
        .and_then(|()| file.sync_all());
    file.set_len(length)?;
    grown
}

/// Makes the kernel read a file from the disk again, whatever it remembers of it.
///
/// # Errors
///
/// What the system says.
pub(super) fn forget_cached(path: &Path) -> io::Result<()> {
    let file = File::open(path)?;
    // What waits to be written is not forgotten. That this fails is known already.
    drop(file.sync_data());
    rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)?;
    Ok(())
}

/// Makes new and renamed names in a directory durable.
///
/// # Errors
///
/// What fsync(2) says.
pub(super) fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Bytes of the files in a directory, not below it. What cannot be read counts as nothing.
pub(super) fn size_bytes(path: &Path) -> u64 {
    size_bytes_of(path, "")
}

/// The same of those whose names begin so.
pub(super) fn size_bytes_of(path: &Path, prefix: &str) -> u64 {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix))
        .filter_map(|entry| entry.metadata().ok())
        .fold(0, |sum, metadata| sum.saturating_add(metadata.len()))
}

fn held_by_another(path: &Path, lock: &mut File) -> Error {
    let mut note = String::new();
    let holder = match lock
        .read_to_string(&mut note)
        .map(|_| note.trim().parse::<u32>())
    {
        Ok(Ok(pid)) => format!("process {pid}"),
        _ => "another process".to_owned(),
    };
    Error::InUse {
        holder,
        directory: path.display().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn new_directory_is_for_this_user_only() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("a/b");

        let held = DataDir::lock(&path).unwrap();

        assert_eq!(
            fs::metadata(held.path()).unwrap().permissions().mode() & 0o777,
            0o700
        );
        assert!(free_bytes(&path).unwrap() > 0);
    }

    #[test]
    fn second_holder_is_told_who_has_the_directory() {
        let parent = tempfile::tempdir().unwrap();
        let held = DataDir::lock(parent.path()).unwrap();

        let second = DataDir::lock(parent.path()).map(drop);

        let Err(Error::InUse { holder, directory }) = second else {
            panic!("{second:?}")
        };
        assert_eq!(holder, format!("process {}", std::process::id()));
        assert_eq!(directory, parent.path().display().to_string());
        drop(held);
        assert!(DataDir::lock(parent.path()).is_ok());
    }
}
