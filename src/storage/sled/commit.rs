//! The one thread that writes: takes the changes that wait, commits them in one transaction, syncs once, answers all.
//!
//! While a sync runs the next changes gather, so one upload alone waits for one sync, and sixty-four at once wait for
//! two. The thread owns what it works on: a caller that goes away changes nothing.
//!
//! When the disk or the database fails, all of the batch is answered with the error and has not happened. What follows
//! is in `heal`; what readers see meanwhile, in `undo`.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;
use std::time::Instant;

use tokio::sync::mpsc::{Receiver, Sender, WeakSender};
use tokio::sync::oneshot;

use crate::storage::Error;
use crate::storage::data_dir::DataDir;
use crate::storage::sled::change::Change;
use crate::storage::sled::change::Done;
use crate::storage::sled::closed;
use crate::storage::sled::compact::Copy;
use crate::storage::sled::engine::Engine;
use crate::storage::sled::engine::failed;
use crate::storage::sled::engine::guarded;
use crate::storage::sled::engine::io_failed;
use crate::storage::sled::headroom;
use crate::storage::sled::neighbours;
use crate::storage::sled::neighbours::Fragile;
use crate::storage::sled::opening;
use crate::storage::sled::real_sync;
use crate::storage::sled::reserve::Reserve;
use crate::storage::sled::shared::Shared;
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
    /// To put a copy of the database in its place. Answered when the files of the old one are gone.
    Exchange(Copy, oneshot::Sender<Result<(), Error>>),
    /// To leave the data so that the next opening is quick, and end.
    Close(oneshot::Sender<Result<(), Error>>),
}

/// A piece of work that reads, and tells its result itself.
pub(super) type Reading = Box<dyn FnOnce(&Engine) + Send>;

/// Asks the thread from elsewhere than the store, which it does not keep open.
#[derive(Clone, Debug)]
pub(super) struct Asking(WeakSender<Request>);

impl Asking {
    /// Asks by way of the store's requests.
    pub(super) fn of(requests: &Sender<Request>) -> Self {
        Self(requests.downgrade())
    }

    /// See [`read_alone`].
    ///
    /// # Errors
    ///
    /// [`Error::Unavailable`], and what `look_up` answers.
    pub(super) async fn read_alone<T: Send + 'static>(
        &self,
        look_up: impl FnOnce(&Engine) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let requests = self.0.upgrade().ok_or_else(closed)?;
        read_alone(&requests, look_up).await
    }
}

/// Reads in the writing thread, between two changes.
///
/// # Errors
///
/// [`Error::Unavailable`], and what `look_up` answers.
pub(super) async fn read_alone<T: Send + 'static>(
    requests: &Sender<Request>,
    look_up: impl FnOnce(&Engine) -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let (answer, outcome) = oneshot::channel();
    let reading: Reading = Box::new(move |engine| {
        let found = guarded("read from the database", || look_up(engine));
        // A caller that has gone away does not want to know.
        drop(answer.send(found));
    });
    let sent = requests.send(Request::Read(reading)).await;
    sent.map_err(|_| closed())?;
    outcome.await.map_err(|_| not_open())?
}

/// Starts the thread.
///
/// # Errors
///
/// What the system says.
pub(super) fn start(
    shared: Arc<Shared>,
    held: Arc<DataDir>,
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
            // Free for others before anybody hears that it is closed, unless a copy still has files there.
            drop(held);
            if let Some((answer, outcome)) = closed {
                let _ = answer.send(outcome);
            }
        })
}

/// What the thread works with.
pub(super) struct Committer {
    pub(super) shared: Arc<Shared>,
    pub(super) witness: Witness,
    pub(super) reserve: Reserve,
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
                    let is_sound = self.heal();
                    let engine = self.shared.engine.blocking_read();
                    // Never on what is half-way between two states.
                    if let Some(engine) = engine.as_ref().filter(|_| is_sound) {
                        reading(engine);
                    }
                }
                Request::Heal(answer) => {
                    if self.heal() {
                        // Noted for those who ask whether writes may be tried.
                        let _ = self.check_headroom(headroom::log_bytes(0, false));
                    }
                    let _ = answer.send(());
                }
                Request::Exchange(copy, answer) => self.exchange_and_answer(copy, answer),
                Request::Close(answer) => {
                    // Whoever still waits is told so, and what they have brought along is let go.
                    drop(requests);
                    let _alone = self.end_copying();
                    return Some((answer, self.close()));
                }
            }
            next = next.or_else(|| requests.blocking_recv());
        }
        // Nobody can ask any more: the store was dropped without being closed.
        let _alone = self.end_copying();
        if let Some(engine) = self.shared.engine.blocking_write().take() {
            engine.release();
        }
        None
    }

    fn write(&mut self, batch: Vec<Waiting>) {
        if !self.heal() {
            let room = self.shared.check_room(1, false);
            let error = room.err().unwrap_or_else(not_open);
            for (_, answer) in batch {
                answer_with(answer, Err(error.clone()));
            }
            return;
        }
        let admitted = self.admit(batch);
        if admitted.is_empty() {
            return;
        }
        let bytes = admitted.iter().map(|(change, _)| change.added_bytes());
        let removes = admitted.iter().all(|(change, _)| change.removes());
        if let Err(error) = self.check_headroom(headroom::log_bytes(bytes.sum(), removes)) {
            self.shared.activity.failed();
            for (_, answer) in admitted {
                answer_with(answer, Err(error.clone()));
            }
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
                tracing::error!(
                    cause,
                    writes,
                    "a write failed; the store must be opened anew"
                );
                self.shared.touched.end();
                self.shared.activity.failed();
                self.shared.is_failing.store(true, Ordering::Relaxed);
                self.heal();
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

    /// Asks the disk whether it will take so many bytes, and notes the answer.
    fn check_headroom(&self, needed: u64) -> Result<(), Error> {
        let log = self.shared.database_path().join("db");
        let checked = headroom::check(&log, needed)
            .map_err(|error| self.full_or(io_failed("write to the database", error)))
            .and_then(|()| match self.shared.free_bytes()? {
                free if free < needed => Err(Error::DiskFull {
                    free,
                    free_min: needed.max(self.shared.free_bytes_min),
                }),
                _ => Ok(()),
            });
        let refuses = checked.is_err();
        let before = self.shared.is_refusing.swap(refuses, Ordering::Relaxed);
        if let Err(error) = &checked
            && !before
        {
            let cause: &dyn StdError = error;
            tracing::error!(cause, "the disk does not take writes");
        }
        checked
    }

    fn commit_durably(&self, changes: &[&Change]) -> Result<Vec<Result<Done, Error>>, Error> {
        let engine = self.shared.engine.blocking_read();
        let engine = engine.as_ref().ok_or_else(not_open)?;
        let syncs_before = real_sync::calls();
        self.shared.snapshots.keep(engine, &self.shared, changes);
        let remember = |change: &&Change| neighbours::remember(engine, change);
        let fragile: Vec<Fragile> = changes.iter().map(remember).collect();
        let Committed {
            outcomes,
            sequence,
            touched,
        } = guarded("write to the database", || {
            transaction::commit(engine, changes, &fragile)
        })?;
        let Some(sequence) = sequence else {
            self.shared.undo.clear();
            return Ok(outcomes);
        };
        let settled = guarded("write to the database", || engine.settle(&touched));
        self.shared.touched.note(touched);
        settled?;
        let begin = Instant::now();
        let flushed = flush(engine);
        self.shared.activity.flushed(begin.elapsed());
        flushed?;
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
        // Readers see it from here on. What they have put into the cache of pictures that are gone goes after that,
        // and before the answers.
        self.shared.undo.clear();
        let wrote = outcomes.iter().flatten().filter(|done| done.wrote);
        self.shared.activity.committed(wrote.count());
        let removed = outcomes
            .iter()
            .flatten()
            .filter_map(|done| done.removed.as_ref());
        for (picture, sizes_px) in removed {
            self.shared.cache.remove(*picture, sizes_px);
        }
        Ok(outcomes)
    }

    /// The error for a write that failed: that the disk is full if it is.
    fn full_or(&self, error: Error) -> Error {
        if !opening::is_full(&error) {
            return error;
        }
        Error::DiskFull {
            free: self.shared.free_bytes().unwrap_or(0),
            free_min: self.shared.free_bytes_min,
        }
    }
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

/// The error while the database takes no writes, or is not there.
pub(super) fn not_open() -> Error {
    Error::Unavailable("the disk has failed and does not take writes yet".to_owned())
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
