//! What a store has done since it was opened, for whoever watches it. Counted where it happens.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::domain::histogram::Histogram;
use crate::storage::audit::Problem;

/// What a store has done since it was opened. Only ever grows.
#[derive(Debug)]
pub struct Activity {
    commits: AtomicU64,
    commits_failed: AtomicU64,
    changes: AtomicU64,
    flushes: Histogram,
    /// In the order of [`Problem::ALL`].
    mended: [AtomicU64; Problem::ALL.len()],
}

impl Default for Activity {
    fn default() -> Self {
        Self {
            commits: AtomicU64::new(0),
            commits_failed: AtomicU64::new(0),
            changes: AtomicU64::new(0),
            flushes: Histogram::of_durations(),
            mended: Problem::ALL.map(|_| AtomicU64::new(0)),
        }
    }
}

impl Activity {
    /// A commit of so many changes is durable.
    pub(super) fn committed(&self, changes: usize) {
        let changes = u64::try_from(changes).unwrap_or(u64::MAX);
        self.commits.fetch_add(1, Ordering::Relaxed);
        self.changes.fetch_add(changes, Ordering::Relaxed);
    }

    /// The disk or the database has failed in a commit: none of it happened.
    pub(super) fn failed(&self) {
        self.commits_failed.fetch_add(1, Ordering::Relaxed);
    }

    /// The disk was asked to make a commit durable, and has answered.
    pub(super) fn flushed(&self, took: Duration) {
        self.flushes.record_duration(took);
    }

    /// A finding was put right.
    pub(super) fn mended(&self, problem: Problem) {
        let index = Problem::ALL.iter().position(|other| *other == problem);
        if let Some(count) = index.and_then(|index| self.mended.get(index)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Commits that are durable.
    #[must_use]
    pub fn commits(&self) -> u64 {
        self.commits.load(Ordering::Relaxed)
    }

    /// Commits that have failed, each as a whole.
    #[must_use]
    pub fn commits_failed(&self) -> u64 {
        self.commits_failed.load(Ordering::Relaxed)
    }

    /// Changes that were in the durable commits: some share one.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::Relaxed)
    }

    /// How long the disk took for each commit, in microseconds.
    #[must_use]
    pub const fn flushes(&self) -> &Histogram {
        &self.flushes
    }

    /// Findings of audits that were put right, by problem: all problems that there are.
    pub fn mendings(&self) -> impl Iterator<Item = (Problem, u64)> {
        let counts = self
            .mended
            .iter()
            .map(|count| count.load(Ordering::Relaxed));
        Problem::ALL.into_iter().zip(counts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mendings_are_counted_by_problem() {
        let activity = Activity::default();
        activity.mended(Problem::OrphanPart);
        activity.mended(Problem::OrphanPart);
        activity.mended(Problem::WrongCounts);

        let found: Vec<_> = activity
            .mendings()
            .filter(|(_, count)| *count > 0)
            .collect();

        assert_eq!(found, [(Problem::OrphanPart, 2), (Problem::WrongCounts, 1)]);
    }
}
