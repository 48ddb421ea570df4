//! The one thread that writes: takes the changes that wait, commits them in one transaction, syncs once, answers all.
//!
//! While a sync runs the next changes gather, so one upload alone waits for one sync, and sixty-four at once wait for
//! two. The thread owns what it works on: a caller that goes away changes nothing.
//!
//! When the disk or the database fails, all of the batch is answered with the error and the database is closed and
//! opened anew, as sled never recovers from an I/O error by itself. Readers are kept out meanwhile, so nobody sees a
//! transaction of which only a part was applied, or one that was not durable and is gone again.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::RwLock;
use tokio::sync::mpsc::Receiver;
use tokio::sync::oneshot;

use crate::storage::Error;
use crate::storage::data_dir;
use crate::storage::data_dir::DataDir;
use crate::storage::sled::cache::RenditionCache;
use crate::storage::sled::change::Change;
use crate::storage::sled::change::Done;
use crate::storage::sled::compact::Copy;
use crate::storage::sled::compact::Touched;
use crate::storage::sled::engine::Engine;
use crate::storage::sled::engine::failed;
use crate::storage::sled::engine::guarded;
use crate::storage::sled::engine::io_failed;
use crate::storage::sled::real_sync;
use crate::storage::sled::reserve::Reserve;
use crate::storage::sled::transaction;
use crate::storage::sled::transaction::Committed;
use crate::storage::sled::witness::Witness;

/// Requests that may wait for the thread; further callers wait for a place.
pub(super) const QUEUE_MAX: usize = 256;
/// Changes in one transaction. More gain nothing: measured, throughput is flat from 32 on.
const BATCH_CHANGES_MAX: usize = 128;
/// Bytes of pictures in one transaction, if there is more than one change in it.
const BATCH_BYTES_MAX: u64 = 8 * 1_024 * 1_024;
/// How long a flush may take before it is asked after. Only after an I/O error does it matter; see [`flush`].
const FLUSH_CHECK_INTERVAL: Duration = Duration::from_millis(100);

/// What the thread can be asked for.
pub(super) enum Request {
    /// To write. Answered when it is durable.
    Write(Change, Answer),
    /// To read while nobody writes. Not run if the database is not open.
    Read(Reading),
    /// To open the database anew if it needs that. Answered when reads work again, or not for now.
    Heal(oneshot::Sender<()>),
    /// To put a copy of the database in its place. Answered when the store is open again.
    Exchange(Copy, oneshot::Sender<Result<(), Error>>),
    /// To leave the data so that the next opening is quick, and end.
    Close(oneshot::Sender<Result<(), Error>>),
}

/// A piece of work that reads, and tells its result itself.
pub(super) type Reading = Box<dyn FnOnce(&Engine) + Send>;

/// What the thread and the readers share.
#[derive(Debug)]
pub(super) struct Shared {
    /// The database; none while it cannot be opened. Readers hold the lock for as long as they read.
    pub(super) engine: RwLock<Option<Engine>>,
    pub(super) cache: RenditionCache,
    /// For a copy of the database that is being made.
    pub(super) touched: Touched,
    pub(super) data_dir: PathBuf,
    pub(super) free_bytes_min: u64,
    /// What must be free before anything is written again, in bytes; 0 while the reserve is held.
    pub(super) lacking_bytes: AtomicU64,
    pub(super) page_cache_bytes: u64,
}

impl Shared {
    /// The database's directory.
    pub(super) fn database_path(&self) -> PathBuf {
        self.data_dir.join("db")
    }

    /// Whether so many bytes may be written. Removals may use up half of what must stay free for uploads.
    ///
    /// # Errors
    ///
    /// [`Error::DiskFull`], and [`Error::Io`] if the system does not say how much is free.
    pub(super) fn check_room(&self, bytes: u64, removes: bool) -> Result<(), Error> {
        let free = self.free_bytes()?;
        let free_min = if removes {
            self.free_bytes_min / 2
        } else {
            self.free_bytes_min
        };
        let free_min = free_min.max(self.lacking_bytes.load(Ordering::Relaxed));
        if free < free_min.saturating_add(bytes) {
            return Err(Error::DiskFull { free, free_min });
        }
        Ok(())
    }

    fn free_bytes(&self) -> Result<u64, Error> {
        let free = data_dir::free_bytes(&self.data_dir);
        free.map_err(|error| io_failed("find out how much disk space is free", error))
    }
}

/// Starts the thread.
///
/// # Errors
///
/// What the system says.
pub(super) fn start(
    shared: Arc<Shared>,
    held: DataDir,
    (witness, reserve): (Witness, Reserve),
    requests: Receiver<Request>,
) -> io::Result<JoinHandle<()>> {
    let mut committer = Committer {
        shared,
        witness,
        reserve,
    };
    std::thread::Builder::new()
        .name("store-commit".to_owned())
        .spawn(move || {
            let closed = committer.run(requests);
            // Free for others before anybody hears that it is closed.
            drop(held);
            if let Some((answer, outcome)) = closed {
                let _ = answer.send(outcome);
            }
        })
}

struct Committer {
    shared: Arc<Shared>,
    witness: Witness,
    reserve: Reserve,
}

type Closed = (oneshot::Sender<Result<(), Error>>, Result<(), Error>);
type Answer = oneshot::Sender<Result<Done, Error>>;
type Waiting = (Change, Answer);

impl Committer {
    /// Works until the store is closed or dropped; says who is to hear how closing went.
    fn run(&mut self, mut requests: Receiver<Request>) -> Option<Closed> {
        let mut next = requests.blocking_recv();
        while let Some(request) = next.take() {
            match request {
                Request::Write(change, answer) => {
                    let (batch, rest) = gather((change, answer), &mut requests);
                    self.write(batch);
                    next = rest;
                }
                Request::Read(reading) => {
                    let engine = self.shared.engine.blocking_read();
                    if let Some(engine) = engine.as_ref() {
                        reading(engine);
                    }
                }
                Request::Heal(answer) => {
                    self.heal();
                    let _ = answer.send(());
                }
                Request::Exchange(copy, answer) => {
                    let _ = answer.send(self.exchange(copy));
                }
                Request::Close(answer) => return Some((answer, self.close())),
            }
            next = next.or_else(|| requests.blocking_recv());
        }
        // Nobody can ask any more: the store was dropped without being closed.
        if let Some(engine) = self.shared.engine.blocking_write().take() {
            engine.release();
        }
        None
    }

    fn write(&mut self, batch: Vec<Waiting>) {
        self.heal();
        let admitted = self.admit(batch);
        if admitted.is_empty() {
            return;
        }
        let changes: Vec<&Change> = admitted.iter().map(|(change, _)| change).collect();
        match self.commit_durably(&changes) {
            Ok(outcomes) => {
                for ((_, answer), outcome) in admitted.into_iter().zip(outcomes) {
                    answer_with(answer, outcome);
                }
            }
            Err(error) => {
                let error = self.full_or(error);
                let cause: &dyn StdError = &error;
                let writes = admitted.len();
                tracing::error!(cause, writes, "a write failed; the store is opened anew");
                self.reopen();
                for (_, answer) in admitted {
                    answer_with(answer, Err(error.clone()));
                }
            }
        }
    }

    /// Those changes that there is room for; answers the others.
    fn admit(&mut self, batch: Vec<Waiting>) -> Vec<Waiting> {
        let mut bytes = 0_u64;
        let mut admitted = Vec::with_capacity(batch.len());
        // Without a reserve a write that fails could shut out readers, too.
        let lacking = if self.reserve.is_held() {
            0
        } else {
            self.reserve.room_bytes()
        };
        self.shared.lacking_bytes.store(lacking, Ordering::Relaxed);
        for (change, answer) in batch {
            let with_this = bytes.saturating_add(change.added_bytes());
            match self.shared.check_room(with_this, change.removes()) {
                Ok(()) => {
                    bytes = with_this;
                    admitted.push((change, answer));
                }
                Err(error) => answer_with(answer, Err(error)),
            }
        }
        admitted
    }

    fn commit_durably(&self, changes: &[&Change]) -> Result<Vec<Result<Done, Error>>, Error> {
        let engine = self.shared.engine.blocking_read();
        let engine = engine.as_ref().ok_or_else(not_open)?;
        let syncs_before = real_sync::calls();
        let Committed {
            outcomes,
            sequence,
            touched,
        } = guarded("write to the database", || {
            transaction::commit(engine, changes)
        })?;
        self.shared.touched.note(touched);
        let Some(sequence) = sequence else {
            return Ok(outcomes);
        };
        // Before the answers, and before the flush, which may fail and leave the change in place nevertheless.
        for (picture, sizes_px) in outcomes
            .iter()
            .flatten()
            .filter_map(|done| done.removed.as_ref())
        {
            self.shared.cache.remove(*picture, sizes_px);
        }
        flush(engine)?;
        if cfg!(target_os = "linux") && real_sync::calls() == syncs_before {
            return Err(Error::Unavailable(
                "this program was linked without the real sync; writes would not be durable"
                    .to_owned(),
            ));
        }
        if let Err(error) = self.witness.note(sequence) {
            // The write is durable; only a later loss of it might go unnoticed.
            tracing::warn!(%error, "cannot note the last commit");
        }
        Ok(outcomes)
    }

    /// Opens the database anew if it is broken, or could not be opened before.
    fn heal(&mut self) {
        let needed = {
            let engine = self.shared.engine.blocking_read();
            engine.as_ref().is_none_or(Engine::is_broken)
        };
        if needed {
            self.reopen();
        }
    }

    /// Puts a copy in the place of the database. If that fails, the database stays.
    fn exchange(&mut self, mut copy: Copy) -> Result<(), Error> {
        copy.complete()?;
        let exchanged = {
            let mut slot = self.shared.engine.blocking_write();
            if slot.take().is_some_and(|engine| !engine.release()) {
                return Err(not_open());
            }
            copy.exchange()
        };
        self.reopen();
        exchanged?;
        if self.shared.engine.blocking_read().is_none() {
            copy.exchange_back()?;
            self.reopen();
            return Err(not_open());
        }
        Ok(())
    }

    fn reopen(&mut self) {
        // Whatever is being copied from it may not be there any more.
        self.shared.touched.end();
        let mut slot = self.shared.engine.blocking_write();
        if let Some(engine) = slot.take()
            && !engine.release()
        {
            tracing::error!("a thread of the database hangs; the program must be restarted");
            return;
        }
        // What was cached may have been written by the transactions that are gone now.
        self.shared.cache.clear();
        let path = self.shared.database_path();
        match open_engine(&path, self.shared.page_cache_bytes, &mut self.reserve) {
            Ok(engine) => {
                tracing::info!("the store is open again");
                *slot = Some(engine);
            }
            Err(error) => {
                let cause: &dyn StdError = &error;
                tracing::error!(cause, "the store cannot be opened again");
            }
        }
    }

    /// sled replays its log from the last snapshot on, and takes snapshots only when it opens.
    fn close(&mut self) -> Result<(), Error> {
        self.shared.touched.end();
        let mut slot = self.shared.engine.blocking_write();
        let Some(engine) = slot.take() else {
            return Ok(());
        };
        let flushed = if engine.is_broken() {
            Ok(())
        } else {
            flush(&engine)
        };
        if !engine.release() {
            return Err(Error::Unavailable(
                "a thread of the database hangs".to_owned(),
            ));
        }
        flushed?;
        let path = self.shared.database_path();
        open_engine(&path, self.shared.page_cache_bytes, &mut self.reserve)?.release();
        data_dir::sync_directory(&path).map_err(|error| io_failed("close the database", error))
    }

    /// The error for a write that failed: that the disk is full if it is.
    fn full_or(&self, error: Error) -> Error {
        if !is_full(&error) {
            return error;
        }
        Error::DiskFull {
            free: self.shared.free_bytes().unwrap_or(0),
            free_min: self.shared.free_bytes_min,
        }
    }
}

/// Opens the database; on a full disk, with the space that was put by for that.
///
/// # Errors
///
/// Those of [`Engine::open`].
pub(super) fn open_engine(
    path: &Path,
    page_cache_bytes: u64,
    reserve: &mut Reserve,
) -> Result<Engine, Error> {
    match Engine::open(path, page_cache_bytes) {
        Err(error) if is_full(&error) && reserve.give_up() => {
            tracing::warn!("the disk is full; the space put by is used to open the store");
            let opened = Engine::open(path, page_cache_bytes);
            reserve.keep_rest();
            opened
        }
        other => other,
    }
}

/// Whether an error says that there is no more room on the disk.
fn is_full(error: &Error) -> bool {
    let Error::Io { source, .. } = error else {
        return false;
    };
    let kind = source.downcast_ref::<io::Error>().map(io::Error::kind);
    let full = [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded];
    kind.is_some_and(|kind| full.contains(&kind))
}

impl fmt::Debug for Request {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Write(..) => "Write",
            Self::Read(_) => "Read",
            Self::Heal(_) => "Heal",
            Self::Exchange(..) => "Exchange",
            Self::Close(_) => "Close",
        })
    }
}

/// A caller that has gone away does not want to know.
fn answer_with(answer: Answer, outcome: Result<Done, Error>) {
    drop(answer.send(outcome));
}

/// The error while the database is not there.
pub(super) fn not_open() -> Error {
    Error::Unavailable("the database could not be opened again after an error".to_owned())
}

/// The changes that wait now, and the first request that is something else.
fn gather(first: Waiting, requests: &mut Receiver<Request>) -> (Vec<Waiting>, Option<Request>) {
    let mut bytes = first.0.added_bytes();
    let mut batch = vec![first];
    while batch.len() < BATCH_CHANGES_MAX && bytes < BATCH_BYTES_MAX {
        match requests.try_recv() {
            Ok(Request::Write(change, answer)) => {
                bytes = bytes.saturating_add(change.added_bytes());
                batch.push((change, answer));
            }
            Ok(other) => return (batch, Some(other)),
            Err(_) => break,
        }
    }
    (batch, None)
}

/// Makes all that was committed durable.
///
/// sled's flush waits for its writing threads, and one of its paths notes their I/O error without waking those who
/// wait. So the flush runs in a thread of its own, and when it takes long and there is such an error, a write (which
/// then fails at once) makes sled wake it.
pub(super) fn flush(engine: &Engine) -> Result<(), Error> {
    let attempt = "flush the database";
    std::thread::scope(|scope| {
        let (done, outcome) = mpsc::channel();
        scope.spawn(move || {
            let flushed = guarded(attempt, || {
                let flushed = engine.database.flush();
                flushed.map(|_| ()).map_err(|error| failed(attempt, error))
            });
            let _ = done.send(flushed);
        });
        loop {
            match outcome.recv_timeout(FLUSH_CHECK_INTERVAL) {
                Ok(flushed) => return flushed,
                Err(mpsc::RecvTimeoutError::Timeout) if engine.is_broken() => {
                    let _ = engine.database.insert("wake", "");
                }
                Err(mpsc::RecvTimeoutError::Timeout) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => {
                    return Err(Error::Unavailable("the flush was lost".to_owned()));
                }
            }
        }
    })
}
