//! The load: connections that upload one picture after the other, as fast as answers come or at a given rate.
//!
//! At a given rate, upload n is due at n / rate after the start, whatever became of those before it, and its latency
//! counts from then. A server that stalls for a second at 50 uploads a second so shows 50 late answers and not one
//! (coordinated omission).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::cli::Failure;
use crate::cli::bench_upload::client::{Client, Endpoint, Outgoing};
use crate::cli::bench_upload::interrupt::Interrupt;
use crate::cli::bench_upload::photos;
use crate::cli::bench_upload::photos::Photo;
use crate::cli::bench_upload::tally::Tally;

/// When a run is over.
#[derive(Clone, Copy, Debug)]
pub(super) enum End {
    After(Duration),
    Uploads(u64),
}

/// What is sent where, and how fast.
#[derive(Clone, Debug)]
pub(super) struct Load {
    pub(super) endpoint: Endpoint,
    pub(super) tokens: Vec<String>,
    pub(super) photos: Vec<Photo>,
    /// Connections, hence most uploads in flight.
    pub(super) concurrency: usize,
    /// Uploads a second; none: the next one follows the answer.
    pub(super) rate: Option<f64>,
    pub(super) keep_alive: bool,
    pub(super) patience: Duration,
}

/// What the watcher of a run sees.
#[derive(Debug, Default)]
pub(super) struct Live {
    pub(super) done: AtomicU64,
    pub(super) not_accepted: AtomicU64,
}

struct Run {
    load: Load,
    end: End,
    start: Instant,
    next: AtomicU64,
    live: Arc<Live>,
    interrupt: Interrupt,
    content_type: String,
    path: String,
}

/// Runs to the end, or until it is interrupted; then waits for what is in flight. Gives the counts and how long it took.
pub(super) async fn run(
    load: &Load,
    end: End,
    live: &Arc<Live>,
    interrupt: &Interrupt,
) -> Result<(Tally, Duration), Failure> {
    let run = Arc::new(Run {
        path: load.endpoint.path("/api/users/me/profile/picture/"),
        content_type: photos::content_type(),
        load: load.clone(),
        end,
        start: Instant::now(),
        next: AtomicU64::new(0),
        live: Arc::clone(live),
        interrupt: interrupt.clone(),
    });
    let mut connections = JoinSet::new();
    for _ in 0..load.concurrency {
        let run = Arc::clone(&run);
        let tally = Tally::new()?;
        connections.spawn(async move { run.connection(tally).await });
    }
    let mut sum = Tally::new()?;
    while let Some(tally) = connections.join_next().await {
        sum.add(tally?)?;
    }
    Ok((sum, run.start.elapsed()))
}

impl Run {
    /// One connection's uploads.
    async fn connection(&self, mut tally: Tally) -> Tally {
        let load = &self.load;
        let mut client = Client::new(load.endpoint.clone(), load.keep_alive, load.patience);
        while let Some((number, due)) = self.turn().await {
            let Some((user, token, photo)) = self.choice(number) else {
                break;
            };
            if self.is_too_late() {
                tally.never_sent(due.elapsed());
                self.count(false);
                continue;
            }
            let outgoing = Outgoing {
                method: "POST",
                path: &self.path,
                token: Some(token),
                content_type: Some(&self.content_type),
                body: photo.body.clone(),
            };
            let sent = tokio::select! {
                sent = client.send(&outgoing) => sent,
                () = self.interrupt.give_up.cancelled() => break,
            };
            match sent {
                Ok(answer) => {
                    tally.answered(user, &answer, photo.file_bytes, due.elapsed());
                    self.count(answer.is_success());
                }
                Err(failure) => {
                    tally.failed(&failure, due.elapsed());
                    self.count(false);
                }
            }
        }
        tally
    }

    /// The number of the next upload and when it is due, which is now. None: the run is over.
    async fn turn(&self) -> Option<(u64, Instant)> {
        if self.interrupt.has_come() {
            return None;
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        if matches!(self.end, End::Uploads(uploads) if number >= uploads) {
            return None;
        }
        let due = match self.load.rate {
            None => Instant::now(),
            Some(rate) => {
                let after = Duration::try_from_secs_f64(super::float(number) / rate).ok()?;
                self.start.checked_add(after)?
            }
        };
        let after = due.saturating_duration_since(self.start);
        if matches!(self.end, End::After(duration) if after >= duration) {
            return None;
        }
        tokio::select! {
            () = sleep_until(due) => Some((number, due)),
            () = self.interrupt.stop.cancelled() => None,
        }
    }

    /// User, token and photo of an upload: every user sends every photo in turn.
    fn choice(&self, number: u64) -> Option<(usize, &str, &Photo)> {
        let number = usize::try_from(number).ok()?;
        let user = number.checked_rem(self.load.tokens.len())?;
        let round = number.checked_div(self.load.tokens.len())?;
        let photo = number
            .saturating_add(round)
            .checked_rem(self.load.photos.len())?;
        let token = self.load.tokens.get(user)?;
        Some((user, token, self.load.photos.get(photo)?))
    }

    /// Whether the run has been over for as long as one waits for an answer: what is due still is not sent any more.
    fn is_too_late(&self) -> bool {
        match self.end {
            End::After(duration) => {
                self.start.elapsed() > duration.saturating_add(self.load.patience)
            }
            End::Uploads(_) => false,
        }
    }

    fn count(&self, accepted: bool) {
        self.live.done.fetch_add(1, Ordering::Relaxed);
        if !accepted {
            self.live.not_accepted.fetch_add(1, Ordering::Relaxed);
        }
    }
}
