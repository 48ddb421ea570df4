//! The open database: its tables, the settings that were measured to survive power cuts, and how it fails.
//!
//! | table | key | value |
//! | --- | --- | --- |
//! | `meta` | `schema`, `counts`, `sequence` | what the store notes about itself |
//! | `accounts` | user id | [`AccountRecord`](crate::storage::record::AccountRecord) |
//! | `emails` | address in lower case | [`EmailRecord`](crate::storage::record::EmailRecord) |
//! | `profiles` | user id | [`ProfileRecord`](crate::storage::record::ProfileRecord) |
//! | `pictures` | picture id | [`PictureRecord`](crate::storage::record::PictureRecord), the manifest of the chunks |
//! | `chunks` | user id, 0, picture id, size, number | a part of a rendition, [`CHUNK_BYTES`] long or less |
//! | `keys` | user id | [`IdempotencyRecord`](crate::storage::record::IdempotencyRecord), the user's newest keys |
//!
//! All calls into sled go through [`guarded`]: sled panics on some kinds of damage, and a damaged file must not take
//! the server down.

use std::any::Any;
use std::cell::Cell;
use std::fs;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Once};
use std::time::Duration;
use std::time::Instant;

use crate::storage::Error;
use crate::storage::What;
use crate::storage::data_dir;
use crate::storage::record;
use crate::storage::record::CountsRecord;
use crate::storage::record::Record;
use crate::storage::record::SchemaRecord;
use crate::storage::record::SequenceRecord;
use crate::storage::sled::undo::Undo;

/// Layout of the tables above. A store with a higher number is refused; one with a lower number is read, and gets this
/// number with the first commit, as from then on it may hold what an older program would misread. A record with a new
/// version raises it. The table of `keys` has come without a new number: a program that does not know it leaves it alone
/// or, where it writes the database anew, out. Then a user's newest keys are forgotten, or those of one that is gone are
/// left for an audit to remove.
pub(super) const SCHEMA_VERSION: u32 = 2;

/// Length of a chunk. Values of more than half a segment go to separate files that sled never syncs and never gives
/// back, and a leaf of sled's tree has up to 17 values, so 17 chunks must stay below that. Measured: with chunks of
/// 8 KiB and segments of 1 MiB no loss in simulated power cuts, a write amplification of 3.5 and bounded space.
pub(super) const CHUNK_BYTES: usize = 8 * 1_024;

/// Length of a segment of sled's log. Fixed when the database is made; sled refuses to open it with another.
const SEGMENT_BYTES: usize = 1_024 * 1_024;

/// How often sled writes out what nobody waits for and rewrites thinly filled segments, in milliseconds.
/// Source: sled's default.
const CLEANING_INTERVAL_MS: u64 = 500;

/// How often a write is tried that meets pages which cannot be read: each time it meets another one.
const ATTEMPTS_MAX: usize = 64;

/// How long to wait until threads of sled let go of a database that was closed.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(10);

pub(super) const SCHEMA_KEY: &[u8] = b"schema";
pub(super) const COUNTS_KEY: &[u8] = b"counts";
pub(super) const SEQUENCE_KEY: &[u8] = b"sequence";

/// Names a table.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) enum Table {
    Meta,
    Accounts,
    Emails,
    Profiles,
    Pictures,
    Chunks,
    Keys,
}

/// Something that finds values: the database, or a transaction with what it has written so far.
pub(super) trait Lookup {
    /// The value under a key.
    fn find(&self, table: Table, key: &[u8]) -> Result<Option<::sled::IVec>, Error>;

    /// The record under a key.
    fn record<T: Record>(&self, table: Table, what: What, key: &[u8]) -> Result<Option<T>, Error> {
        self.find(table, key)?
            .map(|bytes| record::decode(key, &bytes).map_err(|error| damaged(what, &error)))
            .transpose()
    }
}

/// The open database.
#[derive(Debug)]
pub(super) struct Engine {
    pub(super) database: ::sled::Db,
    pub(super) meta: ::sled::Tree,
    pub(super) accounts: ::sled::Tree,
    pub(super) emails: ::sled::Tree,
    pub(super) profiles: ::sled::Tree,
    pub(super) pictures: ::sled::Tree,
    pub(super) chunks: ::sled::Tree,
    pub(super) keys: ::sled::Tree,
    /// What readers are shown instead of what is being changed.
    pub(super) undo: Arc<Undo>,
    /// The layout that the database says it has.
    pub(super) schema: AtomicU32,
}

impl Engine {
    /// Opens the database, makes it if there is none.
    ///
    /// # Errors
    ///
    /// [`Error::TooNew`] for a store of a later program, [`Error::Damaged`] for one that cannot be read,
    /// [`Error::Io`] for anything else.
    pub(super) fn open(
        directory: &Path,
        page_cache_bytes: u64,
        undo: &Arc<Undo>,
    ) -> Result<Self, Error> {
        let attempt = "open the database";
        remove_unfinished_snapshots(directory).map_err(|error| io_failed(attempt, error))?;
        let engine = guarded(attempt, || {
            let database = open_when_released(directory, page_cache_bytes)
                .map_err(|error| failed(attempt, error))?;
            let tree = |name: &str| {
                database
                    .open_tree(name)
                    .map_err(|error| failed(attempt, error))
            };
            Ok(Self {
                meta: tree("meta")?,
                accounts: tree("accounts")?,
                emails: tree("emails")?,
                profiles: tree("profiles")?,
                pictures: tree("pictures")?,
                chunks: tree("chunks")?,
                keys: tree("keys")?,
                schema: AtomicU32::new(SCHEMA_VERSION),
                database,
                undo: Arc::clone(undo),
            })
        })?;
        guarded(attempt, || engine.check_schema())?;
        // sled syncs its files, but not the directories that name them.
        for directory in [Some(directory), directory.parent()].into_iter().flatten() {
            data_dir::sync_directory(directory).map_err(|error| io_failed(attempt, error))?;
        }
        Ok(engine)
    }

    /// Looks up all that a batch has written, and what lies beside it. sled splits and merges the leaves of its trees when
    /// somebody looks at them, which takes writing: what is done now no reader has to do later, on a disk that takes no
    /// writes any more. What cannot be read of what lies beside it concerns its owners, and not whoever wrote.
    ///
    /// # Errors
    ///
    /// Those of the database.
    pub(super) fn settle(&self, written: &[(Table, Vec<u8>)]) -> Result<(), Error> {
        let is_written = |table: Table, key: &[u8]| {
            let mut written = written.iter();
            written.any(|(written_to, written)| *written_to == table && written == key)
        };
        for (table, before) in self.undo.all() {
            for key in before.keys() {
                let found = self.past_unreadable(|| {
                    let found = self.table(table).get(key);
                    found.map_err(|error| failed("write to the database", error))
                });
                match found {
                    Err(Error::Damaged { .. }) if !is_written(table, key) => {}
                    found => drop(found?),
                }
            }
        }
        Ok(())
    }

    /// Tries again what has met a page that cannot be read, a bounded number of times. Beside writes, sled rewrites pages of
    /// segments that have become thin, and a write fails if one of these cannot be read, whosever that is; it leaves that
    /// page alone from then on. Source: sled 0.34.7, `PageCache::replace`.
    ///
    /// # Errors
    ///
    /// Those of the last attempt.
    pub(super) fn past_unreadable<T>(
        &self,
        attempt: impl Fn() -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut outcome = attempt();
        for _ in 1..ATTEMPTS_MAX {
            match outcome {
                Err(Error::Damaged { .. }) if !self.is_broken() => outcome = attempt(),
                _ => break,
            }
        }
        outcome
    }

    /// Whether sled has met an I/O error. From then on it fails every write and some reads, until it is opened anew.
    pub(super) fn is_broken(&self) -> bool {
        self.database.context.global_error().is_err()
    }

    /// Lets go of the database, files and all. False if a thread of sled hangs and still holds it.
    pub(super) fn release(self) -> bool {
        // sled's destructor joins threads of its own. One that has panicked on damaged pages is waited for without
        // end, so this waits in a thread that may be left behind.
        let (done, released) = std::sync::mpsc::channel();
        let dropping = std::thread::Builder::new()
            .name("store-release".to_owned())
            .spawn(move || {
                let outcome = catch_unwind(AssertUnwindSafe(|| drop(self)));
                let _ = done.send(outcome.is_ok());
            });
        dropping.is_ok() && released.recv_timeout(RELEASE_TIMEOUT).is_ok()
    }

    fn check_schema(&self) -> Result<(), Error> {
        let found: Option<SchemaRecord> = self.record(Table::Meta, What::Record, SCHEMA_KEY)?;
        match found {
            Some(schema) if schema.version > SCHEMA_VERSION => Err(Error::TooNew {
                found: schema.version,
                known: SCHEMA_VERSION,
            }),
            Some(schema) => {
                self.schema.store(schema.version, Ordering::Relaxed);
                Ok(())
            }
            None if self.accounts.is_empty() && self.chunks.is_empty() => self.note_schema(),
            None => Err(Error::Damaged {
                what: What::Record,
                detail: "the store has users but no schema version".to_owned(),
            }),
        }
    }

    fn note_schema(&self) -> Result<(), Error> {
        let attempt = "make the database";
        let schema = SchemaRecord {
            version: SCHEMA_VERSION,
        };
        let mut batch = ::sled::Batch::default();
        batch.insert(SCHEMA_KEY, encode(SCHEMA_KEY, &schema)?);
        batch.insert(COUNTS_KEY, encode(COUNTS_KEY, &CountsRecord::default())?);
        batch.insert(
            SEQUENCE_KEY,
            encode(SEQUENCE_KEY, &SequenceRecord::default())?,
        );
        self.meta
            .apply_batch(batch)
            .and_then(|()| self.database.flush())
            .map(|_| ())
            .map_err(|error| failed(attempt, error))
    }

    pub(super) fn table(&self, table: Table) -> &::sled::Tree {
        match table {
            Table::Meta => &self.meta,
            Table::Accounts => &self.accounts,
            Table::Emails => &self.emails,
            Table::Profiles => &self.profiles,
            Table::Pictures => &self.pictures,
            Table::Chunks => &self.chunks,
            Table::Keys => &self.keys,
        }
    }
}

impl Lookup for Engine {
    /// The durable value. See [`undo`](crate::storage::sled::undo) for why the database is asked first.
    fn find(&self, table: Table, key: &[u8]) -> Result<Option<::sled::IVec>, Error> {
        let found = self.table(table).get(key);
        match self.undo.before(table, key) {
            Some(before) => Ok(before),
            None => found.map_err(|error| failed("read from the database", error)),
        }
    }
}

/// Runs a call into sled; a panic in there becomes an error, and is told of as one.
///
/// # Errors
///
/// What `call` answers; [`Error::Io`] for a panic.
pub(super) fn guarded<T>(
    attempt: &'static str,
    call: impl FnOnce() -> Result<T, Error>,
) -> Result<T, Error> {
    keep_panics_quiet();
    let before = IS_GUARDED.replace(true);
    let answer = catch_unwind(AssertUnwindSafe(call));
    IS_GUARDED.set(before);
    answer.unwrap_or_else(|panic| {
        let source = Arc::new(Panicked(panic_text(panic.as_ref())));
        Err(Error::Io { attempt, source })
    })
}

/// What is attempted by whoever looks at entries one after the other.
pub(super) const WALKING: &str = "walk over the database";

/// The next entry of a walk; none: that was the last.
///
/// # Errors
///
/// Those of [`guarded`] and [`failed`].
pub(super) fn next_of<T>(
    entries: &mut impl Iterator<Item = ::sled::Result<T>>,
) -> Result<Option<T>, Error> {
    guarded(WALKING, || {
        let entry = entries.next().transpose();
        entry.map_err(|error| failed(WALKING, error))
    })
}

/// Why a database could not be opened, if that is for what its files hold.
pub(super) fn damage(error: &Error) -> Option<String> {
    match error {
        Error::Damaged { detail, .. } => Some(detail.clone()),
        Error::Io { source, .. } if source.is::<Panicked>() => {
            tracing::debug!(cause = %source, "the database cannot be opened");
            Some("its pages do not fit together".to_owned())
        }
        _ => None,
    }
}

thread_local! {
    /// Whether this thread is in [`guarded`].
    static IS_GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// What becomes an error is not printed as well, as the standard library does with every panic.
fn keep_panics_quiet() {
    static ONCE: Once = Once::new();
    if std::thread::panicking() {
        return;
    }
    ONCE.call_once(|| {
        let print = take_hook();
        set_hook(Box::new(move |panic| {
            if !IS_GUARDED.get() {
                print(panic);
            }
        }));
    });
}

/// The error for a failure of sled.
pub(super) fn failed(attempt: &'static str, error: ::sled::Error) -> Error {
    match error {
        ::sled::Error::Corruption { .. } => Error::Damaged {
            what: What::Record,
            detail: "a page of the database cannot be read".to_owned(),
        },
        ::sled::Error::Io(error) => io_failed(attempt, error),
        other => Error::Io {
            attempt,
            source: Arc::new(other),
        },
    }
}

/// The error for a failure of the system.
pub(super) fn io_failed(attempt: &'static str, error: io::Error) -> Error {
    Error::Io {
        attempt,
        source: Arc::new(error),
    }
}

/// The error for a record that is not what was written.
pub(super) fn damaged(what: What, error: &record::Error) -> Error {
    Error::Damaged {
        what,
        detail: error.to_string(),
    }
}

/// The bytes of a record that is to be written.
///
/// # Errors
///
/// [`Error::Io`] for a value without an encoding; there is none.
pub(super) fn encode<T: Record>(key: &[u8], value: &T) -> Result<Vec<u8>, Error> {
    record::encode(key, value).map_err(|error| Error::Io {
        attempt: "encode a record",
        source: Arc::new(error),
    })
}

/// A panic inside sled.
#[derive(Debug, thiserror::Error)]
#[error("the database panicked: {0}")]
struct Panicked(String);

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no message")
        .to_owned()
}

/// sled takes any file whose name begins with `snap.` for a whole snapshot, also one that a crash or a full disk has
/// left half-written, and then refuses to open.
fn remove_unfinished_snapshots(directory: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with("snap.") && name.ends_with(".generating") {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Opens; after a close in this process, waits until the last thread of sled has let go of the file.
fn open_when_released(directory: &Path, page_cache_bytes: u64) -> ::sled::Result<::sled::Db> {
    let deadline = Instant::now().checked_add(RELEASE_TIMEOUT);
    let config = || {
        ::sled::Config::new()
            .path(directory)
            .segment_size(SEGMENT_BYTES)
            .cache_capacity(page_cache_bytes)
            .flush_every_ms(Some(CLEANING_INTERVAL_MS))
    };
    loop {
        match config().open() {
            Err(::sled::Error::Io(error))
                if error.to_string().contains("could not acquire lock")
                    && deadline.is_some_and(|deadline| Instant::now() < deadline) =>
            {
                std::thread::sleep(Duration::from_millis(5));
            }
            outcome => return outcome,
        }
    }
}
