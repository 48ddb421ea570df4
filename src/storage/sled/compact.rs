//! Writes the database anew beside the old one and puts it in its place: sled never gives space back by itself.
//!
//! 1. A copy is made in `db.new`, a bounded part at a time, while reads and writes go on. Keys that are written
//!    meanwhile are noted by the writing thread once their commit can be seen, and copied again.
//! 2. Everything is compared with the original.
//! 3. If the copy is not smaller, it is let go. sled takes segments into use faster than it frees others while much is
//!    written, so one of a database without much unused space may be larger.
//! 4. Between two commits the writing thread copies the last noted keys, syncs, and puts the copy in the place of the
//!    database ([`exchange`]). Reads and writes wait for no more than that: the old files are removed by a thread.
//!
//! A stop at any moment leaves `db` as the old database or the new one, whole and equal; what else there is goes away
//! with the next opening ([`exchange::settle`]).

use std::collections::HashSet;
use std::ops::Bound;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use tokio::sync::OwnedMutexGuard;

use crate::storage::Error;
use crate::storage::What;
use crate::storage::data_dir;
use crate::storage::data_dir::DataDir;
use crate::storage::sled::commit;
use crate::storage::sled::engine::Engine;
use crate::storage::sled::engine::Table;
use crate::storage::sled::engine::failed;
use crate::storage::sled::engine::guarded;
use crate::storage::sled::engine::io_failed;
use crate::storage::sled::exchange;
use crate::storage::sled::shared::Shared;
use crate::storage::upkeep::Watch;

/// Entries that are copied at once: 2 MiB at most.
const STEP_ENTRIES_MAX: usize = 256;
/// What a step may take on the disk, in bytes, with what the database adds.
const STEP_BYTES: u64 = 16 * 1_024 * 1_024;
pub(super) const ATTEMPT: &str = "write the database anew";
const TABLES: [Table; 7] = [
    Table::Meta,
    Table::Accounts,
    Table::Emails,
    Table::Profiles,
    Table::Pictures,
    Table::Chunks,
    Table::Keys,
];

type Keys = HashSet<(Table, Vec<u8>)>;

/// The keys that were written since they were last asked for; nothing while nobody asks.
#[derive(Debug, Default)]
pub(super) struct Touched(Mutex<Option<Keys>>);

impl Touched {
    /// Begins to note keys.
    fn begin(&self) {
        *self.keys() = Some(Keys::new());
    }

    /// Notes the keys of a commit that can be seen by now.
    pub(super) fn note(&self, touched: Vec<(Table, Vec<u8>)>) {
        if let Some(keys) = self.keys().as_mut() {
            keys.extend(touched);
        }
    }

    /// The keys so far.
    ///
    /// # Errors
    ///
    /// [`Error::Unavailable`] if the database was opened anew or closed since [`Touched::begin`].
    fn take(&self) -> Result<Keys, Error> {
        let mut keys = self.keys();
        let taken = keys.as_mut().map(std::mem::take);
        taken.ok_or_else(|| stopped("the store was closed or opened anew"))
    }

    /// Notes no more.
    pub(super) fn end(&self) {
        *self.keys() = None;
    }

    fn keys(&self) -> MutexGuard<'_, Option<Keys>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A database that may take the place of the old one. Gone when it is dropped.
pub(super) struct Copy {
    shared: Arc<Shared>,
    directory: PathBuf,
    /// None once it is let go.
    engine: Option<Engine>,
    /// Entries that looked different: of keys that were just being written, or wrong.
    suspects: Keys,
    is_left: bool,
    /// Nobody else gets the directory before the files are gone, even if the store was closed meanwhile.
    _held: Arc<DataDir>,
    /// Given back last: whoever gets it finds neither files nor a lock.
    _alone: OwnedMutexGuard<()>,
}

impl Copy {
    /// Makes the copy and compares it.
    ///
    /// # Errors
    ///
    /// See [`Store::compact`](crate::storage::Store::compact).
    pub(super) fn make(shared: &Arc<Shared>, watch: &Watch) -> Result<Self, Error> {
        let alone = Arc::clone(&shared.copying).try_lock_owned();
        let alone = alone.map_err(|_| stopped("another compaction is running"))?;
        let held = shared.held.upgrade();
        let held = held.ok_or_else(|| stopped("the store was closed"))?;
        shared.touched.begin();
        // From here on a failure ends the notes. And as the database is sound, so is its name.
        if !shared.is_sound(shared.engine.blocking_read().as_ref()) {
            return Err(commit::not_open());
        }
        let mut copy = Self {
            shared: Arc::clone(shared),
            directory: exchange::new_directory(&shared.data_dir),
            engine: None,
            suspects: Keys::new(),
            is_left: false,
            _held: held,
            _alone: alone,
        };
        exchange::remove_left(&shared.data_dir).map_err(|error| io_failed(ATTEMPT, error))?;
        copy.engine = Some(copy.open()?);
        for table in TABLES {
            copy.walk(table, watch, |copy, entries| copy.put(table, entries))?;
        }
        commit::flush(copy.engine()?)?;
        // Opened once more, it leaves a snapshot, so that it opens quickly in its place.
        copy.release()?;
        copy.engine = Some(copy.open()?);
        for table in TABLES {
            copy.walk(table, watch, |copy, entries| copy.compare(table, entries))?;
        }
        Ok(copy)
    }

    /// Goes through a table of the original in steps.
    fn walk(
        &mut self,
        table: Table,
        watch: &Watch,
        mut step: impl FnMut(&mut Self, Vec<Entry>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut last: Option<::sled::IVec> = None;
        loop {
            if watch.is_stopped() {
                return Err(stopped("nobody waits for it any more"));
            }
            self.shared.check_room(STEP_BYTES, true)?;
            let entries = self.read(table, last.as_deref())?;
            let count = entries.len();
            last = entries.last().map(|(key, _)| key.clone());
            guarded(ATTEMPT, || step(self, entries))?;
            self.catch_up()?;
            watch.add(u64::try_from(count).unwrap_or(u64::MAX));
            if count < STEP_ENTRIES_MAX {
                return Ok(());
            }
        }
    }

    /// The next entries of the original.
    fn read(&self, table: Table, after: Option<&[u8]>) -> Result<Vec<Entry>, Error> {
        let original = self.shared.engine.blocking_read();
        let original = original.as_ref().ok_or_else(commit::not_open)?;
        guarded(ATTEMPT, || {
            let begin = after.map_or(Bound::Unbounded, Bound::Excluded);
            let range = original
                .table(table)
                .range::<&[u8], _>((begin, Bound::Unbounded));
            let entries = range.take(STEP_ENTRIES_MAX).collect::<Result<_, _>>();
            entries.map_err(|error| failed(ATTEMPT, error))
        })
    }

    fn put(&mut self, table: Table, entries: Vec<Entry>) -> Result<(), Error> {
        let mut batch = ::sled::Batch::default();
        for (key, value) in entries {
            batch.insert(key, value);
        }
        let put = self.engine()?.table(table).apply_batch(batch);
        put.map_err(|error| failed(ATTEMPT, error))
    }

    fn compare(&mut self, table: Table, entries: Vec<Entry>) -> Result<(), Error> {
        for (key, value) in entries {
            let found = self.engine()?.table(table).get(&key);
            if found.map_err(|error| failed(ATTEMPT, error))? != Some(value) {
                self.suspects.insert((table, key.to_vec()));
            }
        }
        Ok(())
    }

    /// Copies what was written meanwhile.
    fn catch_up(&self) -> Result<(), Error> {
        let keys = self.shared.touched.take()?;
        if keys.is_empty() {
            return Ok(());
        }
        let original = self.shared.engine.blocking_read();
        let original = original.as_ref().ok_or_else(commit::not_open)?;
        let copy = self.engine()?;
        guarded(ATTEMPT, || {
            for (table, key) in keys {
                let of = |error| failed(ATTEMPT, error);
                let to = copy.table(table);
                match original.table(table).get(&key).map_err(of)? {
                    Some(value) => to.insert(key, value).map_err(of)?,
                    None => to.remove(key).map_err(of)?,
                };
            }
            Ok(())
        })
    }

    /// Makes it equal to the original, which nobody writes to now, and durable.
    ///
    /// # Errors
    ///
    /// [`Error::Damaged`] if it is not equal.
    pub(super) fn complete(&mut self) -> Result<(), Error> {
        self.catch_up()?;
        let original = self.shared.engine.blocking_read();
        let original = original.as_ref().ok_or_else(commit::not_open)?;
        let copy = self.engine()?;
        for (table, key) in &self.suspects {
            let of = |engine: &Engine| {
                guarded(ATTEMPT, || {
                    let found = engine.table(*table).get(key);
                    found.map_err(|error| failed(ATTEMPT, error))
                })
            };
            if of(original)? != of(copy)? {
                return Err(Error::Damaged {
                    what: What::Record,
                    detail: "the database that was written anew is not like the old one".to_owned(),
                });
            }
        }
        let schema = original.schema.load(Ordering::Relaxed);
        copy.schema.store(schema, Ordering::Relaxed);
        commit::flush(copy)
    }

    /// Bytes of its files.
    pub(super) fn size_bytes(&self) -> u64 {
        size_bytes(&self.directory)
    }

    /// The engine, which goes on as the store's.
    ///
    /// # Errors
    ///
    /// [`Error::Unavailable`] if it was let go.
    pub(super) fn take_engine(&mut self) -> Result<Engine, Error> {
        self.engine.take().ok_or_else(commit::not_open)
    }

    /// Removes nothing when it is dropped: it is not certain which directory is the database.
    pub(super) fn leave_files(&mut self) {
        self.is_left = true;
    }

    fn open(&self) -> Result<Engine, Error> {
        // Nobody reads what is being changed in it: it remembers for itself, and nothing.
        Engine::open(
            &self.directory,
            self.shared.page_cache_bytes,
            &Arc::default(),
        )
    }

    fn engine(&self) -> Result<&Engine, Error> {
        self.engine.as_ref().ok_or_else(commit::not_open)
    }

    fn release(&mut self) -> Result<(), Error> {
        if self.engine.take().is_none_or(Engine::release) {
            return Ok(());
        }
        Err(stopped("a thread of the database hangs"))
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        self.shared.touched.end();
        let released = self.release();
        if self.is_left {
            return;
        }
        let removed = released.and_then(|()| {
            let removed = exchange::remove_left(&self.shared.data_dir);
            removed.map_err(|error| io_failed("remove a database that is not used", error))
        });
        if let Err(error) = removed {
            tracing::warn!(%error, "files of a database that is not used are left; the next opening removes them");
        }
    }
}

type Entry = (::sled::IVec, ::sled::IVec);

/// Bytes of a database's files.
pub(super) fn size_bytes(directory: &Path) -> u64 {
    let blobs = data_dir::size_bytes(&directory.join("blobs"));
    data_dir::size_bytes(directory).saturating_add(blobs)
}

fn stopped(reason: &str) -> Error {
    Error::Unavailable(format!("the store was not compacted: {reason}"))
}
