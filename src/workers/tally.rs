//! What became of the workers: how many live, deaths and retirements by cause, and whether one upload after another
//! kills its worker.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::workers::process::Death;

/// Workers killed in a row, each by another upload, after which the fault is sought here and not in the uploads.
pub(super) const DEATHS_IN_A_ROW: usize = 3;
/// After this long without another death, a picture of our own may prove that workers are well.
const QUIET: Duration = Duration::from_secs(30);

/// Deaths of workers since the start, by cause.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Deaths {
    /// Took longer than allowed.
    pub deadline: u64,
    /// Killed by someone else: an operator, or the kernel for lack of memory.
    pub outside: u64,
    /// Ended by a signal of their own, such as SIGSEGV, SIGABRT or SIGSYS.
    pub signal: u64,
    /// Ended by themselves without an answer.
    pub exit: u64,
    /// Gave an answer that is not one.
    pub nonsense: u64,
}

/// Why a worker was ended although nothing was wrong with it. Another takes its place.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Retirement {
    /// Has run C or C++ on a picture and must not see another.
    Native,
    /// Has done as many jobs as a worker may.
    Jobs,
    /// Came, or came back, when enough others waited.
    Surplus,
    /// Nobody waited for its picture any more.
    Abandoned,
}

impl Retirement {
    /// All there are.
    pub const ALL: [Self; 4] = [Self::Native, Self::Jobs, Self::Surplus, Self::Abandoned];

    /// Its name for programs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Jobs => "jobs",
            Self::Surplus => "surplus",
            Self::Abandoned => "abandoned",
        }
    }
}

/// Counts deaths, and the uploads that killed a worker since the last one that did not.
#[derive(Debug, Default)]
pub(super) struct Tally {
    deadline: AtomicU64,
    outside: AtomicU64,
    signal: AtomicU64,
    exit: AtomicU64,
    nonsense: AtomicU64,
    /// In the order of [`Retirement::ALL`].
    retired: [AtomicU64; Retirement::ALL.len()],
    /// Each worker holds a clone.
    alive: Arc<()>,
    /// A mutex, because it is held for a comparison only.
    row: Mutex<Row>,
}

#[derive(Debug, Default)]
struct Row {
    /// Checksums of different uploads, at most [`DEATHS_IN_A_ROW`].
    uploads: Vec<u128>,
    last: Option<Instant>,
}

impl Tally {
    pub(super) fn count(&self, death: &Death) {
        let counter = match death {
            Death::Deadline { .. } => &self.deadline,
            Death::Outside => &self.outside,
            Death::Signal { .. } => &self.signal,
            Death::Exit { .. } => &self.exit,
            Death::Nonsense(_) => &self.nonsense,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn deaths(&self) -> Deaths {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Deaths {
            deadline: read(&self.deadline),
            outside: read(&self.outside),
            signal: read(&self.signal),
            exit: read(&self.exit),
            nonsense: read(&self.nonsense),
        }
    }

    /// Counts one as alive until what is returned is dropped.
    pub(super) fn birth(&self) -> Arc<()> {
        Arc::clone(&self.alive)
    }

    /// How many are alive.
    pub(super) fn alive(&self) -> usize {
        Arc::strong_count(&self.alive).saturating_sub(1)
    }

    pub(super) fn retire(&self, why: Retirement) {
        let index = Retirement::ALL.iter().position(|other| *other == why);
        if let Some(count) = index.and_then(|index| self.retired.get(index)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts a retirement when it is dropped, unless it is [done](AtWork::done) before.
    pub(super) fn at_work(&self) -> AtWork<'_> {
        AtWork(Some(self))
    }

    /// How many were retired since the start, by cause.
    pub(super) fn retirements(&self) -> [(Retirement, u64); Retirement::ALL.len()] {
        let mut counts = self.retired.iter();
        Retirement::ALL.map(|why| {
            let count = counts
                .next()
                .map_or(0, |count| count.load(Ordering::Relaxed));
            (why, count)
        })
    }

    /// An upload, known by its checksum, killed its worker.
    pub(super) fn died(&self, upload: u128) {
        let mut row = self.row();
        row.last = Some(Instant::now());
        if row.uploads.len() < DEATHS_IN_A_ROW && !row.uploads.contains(&upload) {
            row.uploads.push(upload);
        }
    }

    /// A worker did its job.
    pub(super) fn lived(&self) {
        *self.row() = Row::default();
    }

    /// Whether different uploads killed one worker after another, and if so whether it has been quiet since.
    pub(super) fn dying(&self) -> Dying {
        let row = self.row();
        match row.last {
            Some(last) if row.uploads.len() >= DEATHS_IN_A_ROW => {
                if last.elapsed() < QUIET {
                    Dying::Yes
                } else {
                    Dying::Perhaps
                }
            }
            Some(_) | None => Dying::No,
        }
    }

    fn row(&self) -> MutexGuard<'_, Row> {
        self.row.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A worker that somebody waits for.
#[derive(Debug)]
pub(super) struct AtWork<'a>(Option<&'a Tally>);

impl AtWork<'_> {
    /// It has answered or died.
    pub(super) fn done(mut self) {
        self.0 = None;
    }
}

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        if let Some(tally) = self.0 {
            tally.retire(Retirement::Abandoned);
        }
    }
}

/// Whether workers die one after another.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Dying {
    No,
    /// They did, and nothing has been decoded since: time to try.
    Perhaps,
    Yes,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn three_different_uploads_in_a_row_are_too_many() {
        let tally = Tally::default();
        tally.died(1);
        tally.died(2);
        assert_eq!(tally.dying(), Dying::No);

        tally.died(3);

        assert_eq!(tally.dying(), Dying::Yes);
    }

    #[tokio::test(start_paused = true)]
    async fn same_upload_again_and_again_is_its_own_fault() {
        let tally = Tally::default();
        for _ in 0..10 {
            tally.died(1);
        }

        assert_eq!(tally.dying(), Dying::No);
    }

    #[tokio::test(start_paused = true)]
    async fn picture_that_was_made_ends_the_row() {
        let tally = Tally::default();
        tally.died(1);
        tally.died(2);
        tally.lived();

        tally.died(3);

        assert_eq!(tally.dying(), Dying::No);
    }

    #[tokio::test(start_paused = true)]
    async fn quiet_allows_another_try() {
        let tally = Tally::default();
        (1..=3).for_each(|upload| tally.died(upload));

        tokio::time::advance(QUIET).await;

        assert_eq!(tally.dying(), Dying::Perhaps);
    }

    #[test]
    fn deaths_are_counted_by_cause() {
        let tally = Tally::default();
        tally.count(&Death::Outside);
        tally.count(&Death::Outside);
        tally.count(&Death::Deadline { deadline_ms: 5 });

        let expected = Deaths {
            deadline: 1,
            outside: 2,
            ..Deaths::default()
        };
        assert_eq!(tally.deaths(), expected);
    }

    #[test]
    fn work_that_nobody_waits_for_retires_its_worker() {
        let tally = Tally::default();
        tally.at_work().done();
        drop(tally.at_work());
        tally.retire(Retirement::Native);

        let counts = tally.retirements().map(|(why, count)| (why.name(), count));
        let expected = [("native", 1), ("jobs", 0), ("surplus", 0), ("abandoned", 1)];
        assert_eq!(counts, expected);
    }

    #[test]
    fn worker_is_alive_until_it_is_dropped() {
        let tally = Tally::default();
        let (one, two) = (tally.birth(), tally.birth());
        assert_eq!(tally.alive(), 2);
        drop(one);
        assert_eq!(tally.alive(), 1);
        drop(two);
        assert_eq!(tally.alive(), 0);
    }
}
