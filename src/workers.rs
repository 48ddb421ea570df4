//! Where pictures are decoded: processes of this binary, locked in, one picture at a time each.
//!
//! Decoders are the largest body of code that reads strangers' bytes, and part of it is C and C++. So a picture is
//! decoded in a process that can read no file, reach no network and start nothing. Each is first tried in safe Rust, in a
//! worker that goes on to the next picture. What takes C or C++ (HEIC, a JPEG that our decoder declines) is given to a
//! worker that has never seen a picture and will never see another: whoever takes it over finds nobody's picture in it.
//! Workers are started ahead of need, so that this costs no latency. A picture that kills its worker costs its sender one
//! refusal.
//!
//! Bounded: pictures at once (slots), pictures that wait (tickets), time and memory a picture. Pictures that are expected
//! to be slow have slots and a queue of their own, half as many: they wait for each other only.

mod answer;
pub mod child;
mod process;
mod protocol;
mod sandbox;
mod stock;
mod tally;
#[cfg(test)]
mod tests;
mod took;

use std::error::Error as _;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use xxhash_rust::xxh3::xxh3_128;

use crate::config;
use crate::domain::picture::Crop;
use crate::domain::picture::Rendition;
use crate::imaging;
use crate::imaging::Rendered;
use crate::workers::process::{Deadline, Outcome, Worker};
use crate::workers::protocol::{Job, Reply, Setup};
use crate::workers::stock::Stock;
use crate::workers::tally::{DEATHS_IN_A_ROW, Dying, Tally};

pub use process::{Death, SUBCOMMAND};
pub use protocol::Forbidden;
pub use tally::{Deaths, Retirement};
pub use took::Took;

/// Longest time from start to ready, and at least for a picture of our own: milliseconds when all is well, more on a
/// machine that is very busy.
const START_WITHIN: Duration = Duration::from_secs(10);

/// Workers that may be killed from outside, by an operator or for lack of memory, before an upload is given up, within its
/// deadline: whoever kills all of them again and again is not to hit each attempt.
const KILLED_MAX: usize = 16;

/// Least time between two rounds in which dead workers are replaced: whoever kills them makes no storm of new ones.
const HEAL_EVERY: Duration = Duration::from_millis(50);

/// Why a picture was not made.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message documents its variant")]
pub enum Error {
    #[error("all workers are busy and {queue_max} pictures wait already")]
    Busy { queue_max: usize },
    #[error("cannot make renditions of the upload")]
    Picture(#[from] imaging::Error),
    #[error("the decode worker died")]
    Died(#[source] Death),
    #[error("decode workers are killed from outside, {0} in a row for one upload")]
    Killed(usize),
    #[error("decode workers died of {0} different uploads in a row")]
    Dying(usize),
    #[error("cannot start a decode worker")]
    Start(#[source] io::Error),
    #[error(
        "decode workers are not locked in: seccomp: {0}; workers.require_sandbox = false starts without"
    )]
    NotLockedIn(String),
}

/// What keeps workers in on this machine.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct InForce {
    /// The system-call filter, or why there is none.
    pub seccomp: Result<(), String>,
    /// How far files and network are forbidden, or why they are not.
    pub landlock: Result<String, String>,
}

/// What the workers do at a moment.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Load {
    /// Pictures that are being decoded.
    pub busy: usize,
    /// Pictures that wait for a worker.
    pub queued: usize,
    /// Workers that wait for a picture.
    pub ready: usize,
    /// Workers that wait or are at work.
    pub alive: usize,
}

/// The workers. Cheap to clone.
#[derive(Clone)]
pub struct Pool {
    shared: Arc<Shared>,
}

/// How many pictures are decoded at once, and how many may wait for that.
struct Queue {
    count: usize,
    slots: Semaphore,
    tickets: Semaphore,
}

/// The right to keep a worker busy.
struct Held<'a> {
    deadline: Deadline,
    _permits: (SemaphorePermit<'a>, SemaphorePermit<'a>),
}

struct Shared {
    binary: PathBuf,
    setup: Setup,
    require_sandbox: bool,
    deadline: Duration,
    count: usize,
    queue_max: usize,
    stock: Stock,
    queue: Queue,
    slow_queue: Queue,
    starting: TaskTracker,
    closing: CancellationToken,
    tally: Tally,
}

impl fmt::Debug for Pool {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Pool")
            .field("free", &self.shared.queue.slots.available_permits())
            .finish_non_exhaustive()
    }
}

impl Queue {
    fn new(count: usize, queue_max: usize) -> Self {
        Self {
            count,
            slots: Semaphore::new(count),
            tickets: Semaphore::new(count.saturating_add(queue_max)),
        }
    }

    /// Pictures that are being decoded, and those that wait.
    fn load(&self, queue_max: usize) -> (usize, usize) {
        let busy = self.count.saturating_sub(self.slots.available_permits());
        let room = self.count.saturating_add(queue_max);
        let taken = room.saturating_sub(self.tickets.available_permits());
        (busy, taken.saturating_sub(busy))
    }
}

impl Pool {
    /// Starts the first workers of the running binary.
    ///
    /// # Errors
    ///
    /// [`Error::Start`], or [`Error::NotLockedIn`] where `require_sandbox` asks for it.
    pub async fn start(
        config: &config::Workers,
        picture: &config::Picture,
    ) -> Result<(Self, InForce), Error> {
        // The file that this process was started from, even if another version lies at its path by now.
        Self::start_with(PathBuf::from("/proc/self/exe"), config, picture).await
    }

    async fn start_with(
        binary: PathBuf,
        config: &config::Workers,
        picture: &config::Picture,
    ) -> Result<(Self, InForce), Error> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let count = if config.count == 0 {
            cores
        } else {
            config.count
        };
        let shared = Arc::new(Shared {
            binary,
            setup: Setup {
                picture: picture.clone(),
                memory_bytes_max: config.memory_bytes_max,
            },
            require_sandbox: config.require_sandbox,
            deadline: Duration::from_millis(config.deadline_ms),
            count,
            queue_max: config.queue_max,
            stock: Stock::default(),
            queue: Queue::new(count, config.queue_max),
            slow_queue: Queue::new(count.div_ceil(2), config.queue_max),
            starting: TaskTracker::new(),
            closing: CancellationToken::new(),
            tally: Tally::default(),
        });
        let first = shared.start_one().await?;
        let in_force = InForce {
            seccomp: first.ready.seccomp.clone(),
            landlock: first.ready.landlock.clone(),
        };
        shared.put(first);
        let pool = Self { shared };
        pool.replenish();
        Ok((pool, in_force))
    }

    /// Makes the renditions of an upload; one that is expected to be slow waits for others of that kind only. Also tells how
    /// long that took its workers, whatever came of it; of one that died, only how long it was at it.
    ///
    /// # Errors
    ///
    /// [`Error::Busy`] at once when the queue is full; [`Error::Picture`] with the reason; [`Error::Died`] if the
    /// upload killed its worker or took too long; [`Error::Start`] if the machine gives no process;
    /// [`Error::NotLockedIn`] if it gives none that is locked in, where that is required.
    pub async fn render(
        &self,
        upload: Bytes,
        crop: Option<Crop>,
        is_slow: bool,
    ) -> (Result<Rendered, Error>, Took) {
        let mut took = Took::default();
        let rendered = self.rendered(upload, crop, None, is_slow, &mut took).await;
        (rendered, took)
    }

    /// The same in the configured sizes up to a limit. At least one of them must be.
    ///
    /// # Errors
    ///
    /// As [`Pool::render`].
    pub async fn render_up_to(
        &self,
        upload: Bytes,
        crop: Option<Crop>,
        size_px_max: Option<u16>,
    ) -> Result<Rendered, Error> {
        self.rendered(upload, crop, size_px_max, false, &mut Took::default())
            .await
    }

    async fn rendered(
        &self,
        upload: Bytes,
        crop: Option<Crop>,
        size_px_max: Option<u16>,
        is_slow: bool,
        took: &mut Took,
    ) -> Result<Rendered, Error> {
        let length = u64::try_from(upload.len()).unwrap_or(u64::MAX);
        let tally = &self.shared.tally;
        let asked = self
            .shared
            .setup
            .picture
            .up_to(size_px_max.unwrap_or(u16::MAX));
        let render = |native| Job::Render {
            length,
            crop,
            size_px_max,
            native,
        };
        let held = self.slot(self.shared.deadline, is_slow).await?;
        let run = self.run_render(&held, render, &upload, took).await;
        let rendered = run.and_then(|outcome| {
            answer::rendered(outcome, &asked).map_err(|reason| {
                let death = Death::Nonsense(reason);
                tally.count(&death);
                Error::Died(death)
            })
        });
        match &rendered {
            Ok(_) | Err(Error::Picture(_)) => tally.lived(),
            Err(Error::Died(_)) => tally.died(xxh3_128(&upload)),
            Err(_) => {}
        }
        rendered
    }

    /// Whether pictures can be decoded just now.
    ///
    /// # Errors
    ///
    /// [`Error::Dying`] after three deaths of different uploads in a row, until a picture is made again: an upload,
    /// or half a minute after the last death one of our own. [`Error::Start`] if the machine gives no process.
    pub async fn ready(&self) -> Result<(), Error> {
        match self.shared.tally.dying() {
            Dying::No if self.waiting() > 0 || !self.shared.starting.is_empty() => Ok(()),
            Dying::No => {
                let busy = self.shared.queue.slots.available_permits() == 0;
                // Workers that are at work say as much as one that waits.
                if !busy {
                    let worker = self.shared.start_one().await?;
                    self.shared.put(worker);
                }
                Ok(())
            }
            Dying::Perhaps => {
                self.placeholder().await?;
                self.shared.tally.lived();
                Ok(())
            }
            Dying::Yes => Err(Error::Dying(DEATHS_IN_A_ROW)),
        }
    }

    /// How many pictures are decoded at once, beside those that are expected to be slow.
    #[must_use]
    pub fn size(&self) -> usize {
        self.shared.count
    }

    /// How many workers one user may keep busy, so that others find one: half of them.
    #[must_use]
    pub fn turns_per_user(&self) -> usize {
        self.shared.count.div_ceil(2)
    }

    /// How many workers died since the start, by cause.
    #[must_use]
    pub fn deaths(&self) -> Deaths {
        self.shared.tally.deaths()
    }

    /// How many workers were ended since the start although nothing was wrong with them, by cause.
    #[must_use]
    pub fn retirements(&self) -> [(Retirement, u64); Retirement::ALL.len()] {
        self.shared.tally.retirements()
    }

    /// The picture of users who have none.
    ///
    /// # Errors
    ///
    /// As [`Pool::render`].
    pub async fn placeholder(&self) -> Result<Vec<Rendition>, Error> {
        // Not an upload's deadline: whoever sets a short one wants a server that starts all the same.
        let deadline = self.shared.deadline.max(START_WITHIN);
        let held = self.slot(deadline, false).await?;
        let outcome = self
            .run_in_slot(&held, Job::Placeholder, &[], &mut Took::default())
            .await?;
        answer::placeholder(outcome, &self.shared.setup.picture)
            .map_err(|reason| Error::Died(Death::Nonsense(reason)))
    }

    /// Lets a worker try something forbidden; tells how that ended.
    ///
    /// # Errors
    ///
    /// What happened when it went through.
    pub async fn attempt(&self, forbidden: Forbidden) -> Result<String, String> {
        match self.run(Job::Attempt(forbidden)).await {
            // SIGSYS: the system-call filter.
            Err(Error::Died(Death::Signal { signal: 31, .. })) => {
                Ok("the kernel killed the worker (SIGSYS)".to_owned())
            }
            Ok(Outcome {
                reply: Reply::Attempted(Err(error)),
                ..
            }) => Ok(format!("the kernel refused it: {error}")),
            Ok(Outcome {
                reply: Reply::Attempted(Ok(())),
                ..
            }) => Err("it went through".to_owned()),
            Ok(_) => Err("the worker answered something else".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Renders in safe Rust if that can be done, else in a worker that does nothing before or after.
    async fn run_render(
        &self,
        held: &Held<'_>,
        render: impl Fn(bool) -> Job,
        upload: &[u8],
        took: &mut Took,
    ) -> Result<Outcome, Error> {
        let first = self.run_in_slot(held, render(false), upload, took);
        let outcome = first.await?;
        match outcome.reply {
            Reply::NeedsNative => self.run_in_slot(held, render(true), upload, took).await,
            _ => Ok(outcome),
        }
    }

    async fn run(&self, job: Job) -> Result<Outcome, Error> {
        let held = self.slot(self.shared.deadline, false).await?;
        self.run_in_slot(&held, job, &[], &mut Took::default())
            .await
    }

    /// Waits for the right to keep a worker busy for so long.
    async fn slot(&self, deadline: Duration, is_slow: bool) -> Result<Held<'_>, Error> {
        let shared = &self.shared;
        let queue = if is_slow {
            &shared.slow_queue
        } else {
            &shared.queue
        };
        let busy = || Error::Busy {
            queue_max: shared.queue_max,
        };
        let ticket = queue.tickets.try_acquire().map_err(|_| busy())?;
        let slot = queue.slots.acquire().await.map_err(|_| busy())?;
        Ok(Held {
            deadline: Deadline::new(deadline),
            _permits: (ticket, slot),
        })
    }

    /// One job. A caller that stops waiting drops the worker, which kills it.
    async fn run_in_slot(
        &self,
        held: &Held<'_>,
        job: Job,
        upload: &[u8],
        took: &mut Took,
    ) -> Result<Outcome, Error> {
        let shared = &self.shared;
        shared.bury();
        for killed in 0..KILLED_MAX {
            if killed > 0 && held.deadline.left().is_zero() {
                return Err(Error::Killed(killed));
            }
            let waiting = if job.is_safe() {
                shared.stock.any()
            } else {
                shared.stock.fresh()
            };
            let mut worker = match waiting {
                Some(worker) => worker,
                None => match shared.start_one().await {
                    Err(Error::Start(error)) if error.kind() == io::ErrorKind::Interrupted => {
                        shared.killed("a decode worker was killed from outside while it started");
                        continue;
                    }
                    started => started?,
                },
            };
            // The next one warms up while this one works.
            self.replenish();
            let at_work = shared.tally.at_work();
            let begin = Instant::now();
            let outcome = worker.run(job, upload, &held.deadline).await;
            at_work.done();
            match outcome {
                Ok(outcome) => {
                    took.add_within(outcome.took, begin.elapsed());
                    if job.is_safe() {
                        shared.put(worker);
                    } else {
                        shared.tally.retire(Retirement::Native);
                    }
                    return match outcome.reply {
                        Reply::Refused(refused) => Err(Error::Picture(refused)),
                        _ => Ok(outcome),
                    };
                }
                // The filter ends a worker with SIGSYS, a crash with SIGSEGV or SIGABRT: this is somebody else's.
                Err(Death::Outside) => shared.killed("a decode worker was killed from outside"),
                Err(death) => {
                    // It cannot tell any more.
                    took.add_processor(begin.elapsed());
                    shared.tally.count(&death);
                    return Err(Error::Died(death));
                }
            }
        }
        Err(Error::Killed(KILLED_MAX))
    }

    /// Replaces workers that are killed while they wait, as soon as they are. Never ends.
    ///
    /// # Errors
    ///
    /// The system does not tell when processes end.
    pub async fn heal(&self) -> io::Result<()> {
        let mut ended = signal(SignalKind::child())?;
        while ended.recv().await.is_some() {
            if self.shared.bury() > 0 {
                self.replenish();
            }
            sleep(HEAL_EVERY).await;
        }
        Ok(())
    }

    /// Starts workers in the background until as many fresh ones wait as there are slots.
    fn replenish(&self) {
        for _ in 0..self.shared.stock.order(self.shared.count) {
            let shared = Arc::clone(&self.shared);
            self.shared.starting.spawn(async move {
                let start = shared.closing.run_until_cancelled(shared.start_one());
                match start.await {
                    Some(Ok(worker)) => shared.take_delivery(Some(worker)),
                    Some(Err(error)) => {
                        shared.take_delivery(None);
                        let cause = error.source().map(ToString::to_string);
                        tracing::warn!(%error, cause, "cannot start a decode worker ahead of need");
                    }
                    None => shared.take_delivery(None),
                }
            });
        }
    }

    /// Starts no more workers ahead of need, and returns when none is being started.
    pub async fn close(&self) {
        self.shared.closing.cancel();
        self.shared.starting.close();
        self.shared.starting.wait().await;
    }

    /// What the workers do just now.
    #[must_use]
    pub fn load(&self) -> Load {
        let shared = &self.shared;
        shared.bury();
        let (busy, queued) = shared.queue.load(shared.queue_max);
        let (busy_slow, queued_slow) = shared.slow_queue.load(shared.queue_max);
        Load {
            busy: busy.saturating_add(busy_slow),
            queued: queued.saturating_add(queued_slow),
            ready: self.waiting(),
            alive: shared.tally.alive(),
        }
    }

    /// How many workers wait for a job.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.shared.stock.count()
    }
}

impl Shared {
    /// Starts a worker. One that is not locked in, where it must be, is ended at once: each is asked, as what the kernel
    /// grants may change.
    async fn start_one(&self) -> Result<Worker, Error> {
        let alive = self.tally.birth();
        let worker = Worker::start(&self.binary, &self.setup, START_WITHIN, alive)
            .await
            .map_err(Error::Start)?;
        match &worker.ready.seccomp {
            Err(reason) if self.require_sandbox => Err(Error::NotLockedIn(reason.clone())),
            Ok(()) | Err(_) => Ok(worker),
        }
    }

    fn put(&self, worker: Worker) {
        self.retired(self.stock.put(worker, self.count));
    }

    fn take_delivery(&self, worker: Option<Worker>) {
        self.retired(self.stock.take_delivery(worker, self.count));
    }

    fn retired(&self, why: Option<Retirement>) {
        if let Some(why) = why {
            self.tally.retire(why);
        }
    }

    /// Counts and drops workers that were killed while they waited. How many.
    fn bury(&self) -> usize {
        let dead = self.stock.bury();
        for _ in 0..dead {
            self.killed("a waiting decode worker was killed from outside");
        }
        dead
    }

    /// Counts and tells of a worker that somebody else has ended.
    fn killed(&self, sentence: &str) {
        self.tally.count(&Death::Outside);
        tracing::warn!("{sentence}");
    }
}
