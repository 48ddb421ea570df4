//! The server's side of one decode worker: start it, give it its job, believe nothing, end it.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::time::{Instant, timeout};

use crate::workers::protocol;
use crate::workers::protocol::{Announced, Answer, Job, Ready, Reply, Setup};
use crate::workers::took::Took;

/// Hidden subcommand that makes a process of this binary a worker.
pub const SUBCOMMAND: &str = "decode-worker";
/// Longest rendition that is taken from a worker, in bytes: 2,048² pixels at quality 100 have about 6 MiB.
const RENDITION_BYTES_MAX: u32 = 16 * 1_024 * 1_024;
/// Bytes that a pixel of a JPEG takes at most: three coefficients with 16 bits of code and 10 of value each, and stuffed
/// zeros. Source: ITU-T T.81, F.1.2.
const PIXEL_BYTES_MAX: u32 = 16;
/// Bytes that a JPEG takes at most beside its pixels: headers and tables have below 1 KiB.
const HEADER_BYTES_MAX: u32 = 4_096;
/// Pixels by which a JPEG may be coded wider and higher than it is. Source: ITU-T T.81, A.2.4, two blocks by two.
const PADDING_PX: u32 = 15;
/// How much of a dead worker's last words goes to the log, in bytes.
const LAST_WORDS_BYTES_MAX: u64 = 2_048;
/// How long a killed worker may take to be gone.
const REAP_WITHIN: Duration = Duration::from_secs(1);

/// Sent by the server only after a deadline, and by nothing inside a worker; nor are the others.
const SIGKILL: i32 = 9;
const SIGHUP: i32 = 1;
const SIGINT: i32 = 2;
const SIGTERM: i32 = 15;

/// How a worker died, for logs and counters.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[expect(missing_docs, reason = "each message documents its variant")]
pub enum Death {
    #[error("took longer than {deadline_ms} ms")]
    Deadline { deadline_ms: u64 },
    #[error("was killed from outside")]
    Outside,
    #[error("was ended by signal {signal}{}", words(.last_words))]
    Signal { signal: i32, last_words: String },
    #[error("exited with code {code}{}", words(.last_words))]
    Exit { code: i32, last_words: String },
    #[error("gave an answer that is not one: {0}")]
    Nonsense(String),
}

fn words(last_words: &str) -> String {
    if last_words.is_empty() {
        String::new()
    } else {
        format!(", saying {last_words:?}")
    }
}

/// How long an upload may take, over all workers that it is given to. How long it waits for one is not its fault.
#[derive(Debug)]
pub(super) struct Deadline {
    whole: Duration,
    /// Milliseconds that workers have had it.
    spent_ms: AtomicU64,
}

impl Deadline {
    pub(super) const fn new(whole: Duration) -> Self {
        Self {
            whole,
            spent_ms: AtomicU64::new(0),
        }
    }

    pub(super) fn left(&self) -> Duration {
        let spent = Duration::from_millis(self.spent_ms.load(Ordering::Relaxed));
        self.whole.saturating_sub(spent)
    }

    fn spend(&self, time: Duration) {
        self.spent_ms
            .fetch_add(milliseconds(time), Ordering::Relaxed);
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// The sizes that a job's answer may have, of those that are configured.
fn asked(sizes_px: &[u16], job: Job) -> Vec<u16> {
    let most = match job {
        Job::Render { size_px_max, .. } => size_px_max.unwrap_or(u16::MAX),
        Job::Placeholder => u16::MAX,
        Job::Attempt(_) => 0,
    };
    let sizes = sizes_px.iter().copied();
    sizes.filter(|size_px| *size_px <= most).collect()
}

/// Whether what is announced is what was asked for, before room is made for any of it.
fn check_sizes(announced: &[Announced], asked: &[u16]) -> io::Result<()> {
    let sizes = announced.iter().map(|one| one.size_px);
    if announced.is_empty() || sizes.eq(asked.iter().copied()) {
        return Ok(());
    }
    let sentence = format!(
        "it announces {} files, which are not the {} that were asked for",
        announced.len(),
        asked.len()
    );
    Err(io::Error::new(io::ErrorKind::InvalidData, sentence))
}

/// Most bytes that a JPEG of this size can have.
fn rendition_bytes_max(size_px: u16) -> u32 {
    let side = u32::from(size_px).saturating_add(PADDING_PX);
    side.saturating_mul(side)
        .saturating_mul(PIXEL_BYTES_MAX)
        .saturating_add(HEADER_BYTES_MAX)
        .min(RENDITION_BYTES_MAX)
}

/// What a worker gave: its reply, how long it says that it took, and the bytes behind it.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) reply: Reply,
    pub(super) took: Took,
    pub(super) files: Vec<Vec<u8>>,
}

/// A worker that is locked in and waits for a job. Dropped, it is killed.
#[derive(Debug)]
pub(super) struct Worker {
    child: Child,
    socket: UnixStream,
    pub(super) ready: Ready,
    /// Sizes of the renditions that it was set up to make, largest first.
    sizes_px: Vec<u16>,
    /// Jobs that it has been given.
    pub(super) jobs: usize,
    /// Held for as long as it lives.
    _alive: Arc<()>,
}

impl Worker {
    /// Starts a process of this binary and waits until it is locked in.
    ///
    /// # Errors
    ///
    /// The process cannot be started, or ends before it is ready; [`io::ErrorKind::Interrupted`] if it was killed from
    /// outside.
    pub(super) async fn start(
        binary: &Path,
        setup: &Setup,
        within: Duration,
        alive: Arc<()>,
    ) -> io::Result<Self> {
        let (ours, theirs) = StdUnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let theirs = OwnedFd::from(theirs);
        // Nothing here may need code between fork and exec: then the C library can spawn without copying this process.
        let mut child = Command::new(binary)
            .arg(SUBCOMMAND)
            .env_clear()
            .stdin(Stdio::from(theirs.try_clone()?))
            .stdout(Stdio::from(theirs))
            .stderr(Stdio::piped())
            // A Ctrl-C in the server's terminal is for the server.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| {
                let sentence = format!("cannot run {}: {error}", binary.display());
                io::Error::new(error.kind(), sentence)
            })?;
        let mut socket = UnixStream::from_std(ours)?;
        let greeting = async {
            protocol::send(&mut socket, setup).await?;
            protocol::receive(&mut socket).await
        };
        let ready = match timeout(within, greeting).await {
            Ok(Ok(ready)) => ready,
            Ok(Err(error)) => {
                let said = words(&last_words(&mut child).await);
                if is_killed(&mut child).await {
                    return Err(io::ErrorKind::Interrupted.into());
                }
                let sentence = format!("it ended before it was locked in{said}");
                return Err(io::Error::new(error.kind(), sentence));
            }
            Err(_) => return Err(io::ErrorKind::TimedOut.into()),
        };
        Ok(Self {
            child,
            socket,
            ready,
            sizes_px: setup.picture.sizes_px.clone(),
            jobs: 0,
            _alive: alive,
        })
    }

    /// Whether it has ended while it waited.
    pub(super) fn is_gone(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// Gives the job and `upload`, and takes the answer, within what is left of the deadline.
    ///
    /// # Errors
    ///
    /// [`Death`] with its cause. The worker must not be used again.
    pub(super) async fn run(
        &mut self,
        job: Job,
        upload: &[u8],
        deadline: &Deadline,
    ) -> Result<Outcome, Death> {
        self.jobs = self.jobs.saturating_add(1);
        let begin = Instant::now();
        let outcome = timeout(deadline.left(), self.converse(job, upload)).await;
        deadline.spend(begin.elapsed());
        match outcome {
            Ok(Ok(outcome)) => Ok(outcome),
            Ok(Err(error)) if error.kind() == io::ErrorKind::InvalidData => {
                Err(Death::Nonsense(error.to_string()))
            }
            Ok(Err(_)) => Err(self.autopsy().await),
            Err(_) => Err(Death::Deadline {
                deadline_ms: milliseconds(deadline.whole),
            }),
        }
    }

    async fn converse(&mut self, job: Job, upload: &[u8]) -> io::Result<Outcome> {
        protocol::send(&mut self.socket, &job).await?;
        self.socket.write_all(upload).await?;
        let Answer { reply, took } = protocol::receive(&mut self.socket).await?;
        let announced: &[Announced] = match &reply {
            Reply::Rendered { renditions, .. } | Reply::Placeholder(renditions) => renditions,
            Reply::Refused(_) | Reply::Attempted(_) | Reply::NeedsNative => &[],
        };
        check_sizes(announced, &asked(&self.sizes_px, job))?;
        let mut files = Vec::new();
        for Announced { size_px, length } in announced {
            let mut file = protocol::buffer(*length, rendition_bytes_max(*size_px))?;
            self.socket.read_exact(&mut file).await?;
            files.push(file);
        }
        Ok(Outcome { reply, took, files })
    }

    /// The socket broke: the worker is dead or dying. Finds out how.
    async fn autopsy(&mut self) -> Death {
        let last_words = last_words(&mut self.child).await;
        match timeout(REAP_WITHIN, self.child.wait()).await {
            Ok(Ok(status)) => match (status.signal(), status.code()) {
                (Some(SIGKILL | SIGHUP | SIGINT | SIGTERM), _) => Death::Outside,
                (Some(signal), _) => Death::Signal { signal, last_words },
                (None, code) => Death::Exit {
                    code: code.unwrap_or(-1),
                    last_words,
                },
            },
            Ok(Err(error)) => Death::Nonsense(error.to_string()),
            Err(_) => Death::Nonsense("hung up without ending".to_owned()),
        }
    }
}

/// Whether a process that ends was killed.
async fn is_killed(child: &mut Child) -> bool {
    let ended = timeout(REAP_WITHIN, child.wait()).await;
    matches!(ended, Ok(Ok(status)) if status.signal() == Some(SIGKILL))
}

/// What a process that ends has written to standard error.
async fn last_words(child: &mut Child) -> String {
    let mut last_words = Vec::new();
    if let Some(stderr) = child.stderr.take() {
        let mut bounded = stderr.take(LAST_WORDS_BYTES_MAX);
        let reading = bounded.read_to_end(&mut last_words);
        drop(timeout(REAP_WITHIN, reading).await);
    }
    String::from_utf8_lossy(&last_words).trim().to_owned()
}
