//! Puts a copy of the database in its place, so that at no moment neither of the two can be read.
//!
//! The copy is open before the original is let go: readers go on with the one, then with the other, also on a disk that
//! fails for good just then. sled reaches its log by an open file and asks for its path only while it opens, so a
//! database may be used while its directory gets another name.
//!
//! Nothing of the original is removed before the exchange is durable. When that fails, nothing is written until the
//! database has been opened anew, which syncs the directory: whatever a power cut leaves under the name `db` is equal to
//! what was acknowledged.

use std::fs;
use std::io;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use rustix::fs::CWD;
use rustix::fs::RenameFlags;
use rustix::io::Errno;
use tokio::sync::OwnedMutexGuard;
use tokio::sync::oneshot;

use crate::storage::Error;
use crate::storage::data_dir;
use crate::storage::sled::commit;
use crate::storage::sled::commit::Committer;
use crate::storage::sled::compact::ATTEMPT;
use crate::storage::sled::compact::Copy;
use crate::storage::sled::engine::Engine;
use crate::storage::sled::engine::io_failed;

/// How long to wait for a copy that is to end: it looks up after each step.
const END_TIMEOUT: Duration = Duration::from_secs(10);
/// Pause between two looks.
const PAUSE: Duration = Duration::from_millis(1);

type Answer = oneshot::Sender<Result<(), Error>>;

/// What an exchange leaves to be removed, and who is to hear of it then.
struct Left {
    original: Option<Engine>,
    copy: Copy,
    outcome: Result<(), Error>,
    answer: Answer,
}

impl Left {
    fn remove(left: &Mutex<Option<Self>>) {
        let left = left.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(left) = left else { return };
        // Before its files go.
        if !left.original.is_none_or(Engine::release) {
            tracing::warn!("a thread of the old database hangs; it keeps its file until the end");
        }
        drop(left.copy);
        // A caller that has gone away does not want to know.
        drop(left.answer.send(left.outcome));
    }
}

impl Committer {
    /// Puts a copy in the place of the database, and has a thread remove what is not the database then: writes do not
    /// wait for gigabytes to be unlinked. Answers when they are gone, so that whoever has the answer may begin again.
    ///
    /// A stop meanwhile leaves them to the next opening. Until they are gone the copy holds the data directory and keeps
    /// others from beginning.
    pub(super) fn exchange_and_answer(&mut self, mut copy: Copy, answer: Answer) {
        let (outcome, original) = match self.exchange(&mut copy) {
            Ok(original) => (Ok(()), original),
            Err(error) => (Err(error), None),
        };
        let left = Arc::new(Mutex::new(Some(Left {
            original,
            copy,
            outcome,
            answer,
        })));
        let thread = std::thread::Builder::new().name("store-remove".to_owned());
        let theirs = Arc::clone(&left);
        if let Err(error) = thread.spawn(move || Left::remove(&theirs)) {
            tracing::warn!(%error, "no thread to remove the old database; writes wait for that");
            Left::remove(&left);
        }
    }

    /// Puts a copy in the place of the database; answers with that.
    ///
    /// # Errors
    ///
    /// Those of [`Copy::complete`] and of renaming: the database stays.
    fn exchange(&mut self, copy: &mut Copy) -> Result<Option<Engine>, Error> {
        // Else what it holds could still be taken back.
        if !self.is_sound() || !self.shared.undo.is_empty() {
            return Err(commit::not_open());
        }
        copy.complete()?;
        let data_dir = &self.shared.data_dir;
        if let Err(error) = exchange(data_dir) {
            if !self.shared.database_path().exists() {
                // Neither name could be given back. The next opening finds the database under the other.
                copy.leave_files();
                self.shared.is_failing.store(true, Ordering::Relaxed);
            }
            return Err(io_failed(ATTEMPT, error));
        }
        if let Err(error) = data_dir::sync_directory(data_dir) {
            copy.leave_files();
            self.shared.is_failing.store(true, Ordering::Relaxed);
            if let Err(error) = exchange_back(data_dir) {
                tracing::error!(%error, "the database that was written anew takes the place of the old one later");
            }
            return Err(io_failed(ATTEMPT, error));
        }
        Ok(self.put_in_place(copy.take_engine()?))
    }

    /// Lets readers go on with another engine; answers with the one before.
    fn put_in_place(&self, mut engine: Engine) -> Option<Engine> {
        engine.undo = Arc::clone(&self.shared.undo);
        self.shared.engine.blocking_write().replace(engine)
    }

    /// Has the copy end that is being made, and waits until its files are gone. None is begun while the answer is held.
    pub(super) fn end_copying(&self) -> Option<OwnedMutexGuard<()>> {
        self.shared.touched.end();
        let until = Instant::now().checked_add(END_TIMEOUT);
        loop {
            match Arc::clone(&self.shared.copying).try_lock_owned() {
                Ok(alone) => return Some(alone),
                Err(_) if until.is_some_and(|until| Instant::now() < until) => {
                    std::thread::sleep(PAUSE);
                }
                Err(_) => {
                    tracing::warn!(
                        "a copy of the database does not end; the next opening removes it"
                    );
                    return None;
                }
            }
        }
    }
}

/// Puts the directory in order before the database is opened, after a stop at any moment.
///
/// # Errors
///
/// What the system says.
pub(super) fn settle(data_dir: &Path) -> io::Result<()> {
    let (database, new, old) = directories(data_dir);
    if !database.exists() && old.exists() {
        fs::rename(&old, &database)?;
    }
    if !database.exists() || !(new.exists() || old.exists()) {
        return Ok(());
    }
    // Nothing is removed before it is certain which of them is the database.
    data_dir::sync_directory(data_dir)?;
    remove(&new)?;
    remove(&old)
}

/// Where the database is, where a copy of it is made, and where the original may be between two renames.
fn directories(data_dir: &Path) -> (PathBuf, PathBuf, PathBuf) {
    let directory = |name| data_dir.join(name);
    (
        directory("db"),
        new_directory(data_dir),
        directory("db.old"),
    )
}

/// Where a copy is made.
pub(super) fn new_directory(data_dir: &Path) -> PathBuf {
    data_dir.join("db.new")
}

/// Removes what is not the database; nothing while it is not certain what that is.
///
/// # Errors
///
/// What the system says.
pub(super) fn remove_left(data_dir: &Path) -> io::Result<()> {
    let (database, new, old) = directories(data_dir);
    if !database.exists() {
        return Err(io::ErrorKind::NotFound.into());
    }
    remove(&new)?;
    remove(&old)
}

/// Gives the copy and the database each other's name; where the file system cannot do that in one step, the database
/// becomes `db.old`.
fn exchange(data_dir: &Path) -> io::Result<()> {
    let (database, new, _) = directories(data_dir);
    match rustix::fs::renameat_with(CWD, &database, CWD, &new, RenameFlags::EXCHANGE) {
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => exchange_in_two(data_dir),
        other => other.map_err(io::Error::from),
    }
}

fn exchange_in_two(data_dir: &Path) -> io::Result<()> {
    let (database, new, old) = directories(data_dir);
    fs::rename(&database, &old)?;
    fs::rename(&new, &database).inspect_err(|_| {
        // If that fails, too, the next opening does it.
        drop(fs::rename(&old, &database));
    })
}

/// Takes an exchange back.
fn exchange_back(data_dir: &Path) -> io::Result<()> {
    let (database, new, old) = directories(data_dir);
    if old.exists() {
        fs::rename(&database, &new)?;
        fs::rename(&old, &database)
    } else {
        exchange(data_dir)
    }
}

fn remove(directory: &Path) -> io::Result<()> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory with these databases, each with a file of its name in it.
    fn directory(names: &[&str]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for name in names {
            fs::create_dir(directory.path().join(name)).unwrap();
            fs::write(directory.path().join(name).join(name), name).unwrap();
        }
        directory
    }

    fn left(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.collect();
        names.sort();
        names
    }

    #[test]
    fn stop_at_any_moment_leaves_one_database() {
        // While it is copied, or between exchange and removal; between the two renames; after them.
        for (before, whose) in [
            (&["db", "db.new"][..], "db"),
            (&["db.new", "db.old"], "db.old"),
            (&["db", "db.old"], "db"),
        ] {
            let directory = directory(before);

            settle(directory.path()).unwrap();

            assert_eq!(left(directory.path()), ["db"]);
            assert!(directory.path().join("db").join(whose).exists());
        }
    }

    #[test]
    fn directory_without_a_database_is_left_alone() {
        let directory = directory(&["db.new"]);

        settle(directory.path()).unwrap();

        assert_eq!(left(directory.path()), ["db.new"]);
    }

    #[test]
    fn nothing_is_removed_while_the_database_has_another_name() {
        let directory = directory(&["db.new", "db.old"]);

        remove_left(directory.path()).unwrap_err();

        assert_eq!(left(directory.path()), ["db.new", "db.old"]);
        settle(directory.path()).unwrap();
        assert!(directory.path().join("db/db.old").exists());
    }

    #[test]
    fn exchange_and_its_opposite_leave_all_as_it_was_in_one_step_or_in_two() {
        for exchanges in [exchange, exchange_in_two] {
            let directory = directory(&["db", "db.new"]);

            exchanges(directory.path()).unwrap();

            assert!(directory.path().join("db/db.new").exists());
            exchange_back(directory.path()).unwrap();
            assert_eq!(left(directory.path()), ["db", "db.new"]);
            assert!(directory.path().join("db/db").exists());
            assert!(directory.path().join("db.new/db.new").exists());
        }
    }

    #[test]
    fn exchange_without_a_copy_leaves_the_database() {
        for exchanges in [exchange, exchange_in_two] {
            let directory = directory(&["db"]);

            exchanges(directory.path()).unwrap_err();

            assert_eq!(left(directory.path()), ["db"]);
        }
    }
}
