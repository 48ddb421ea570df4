//! Counts of values below fixed bounds, as Prometheus wants them. Anybody may count; nobody takes back.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds of durations, in microseconds: from a profile (below a millisecond) to the deadlines of a body.
pub const DURATION_BOUNDS_US: &[u64] = &[
    1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
    5_000_000, 10_000_000, 60_000_000,
];

/// Counts of values below fixed bounds. There is always one bound more than it was made with: infinity.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static [u64],
    /// One a bound, not added up, and one for what is above all of them.
    counts: Vec<AtomicU64>,
    sum: AtomicU64,
}

impl Histogram {
    /// One that has counted nothing. `bounds` rise, and each belongs to what is below it.
    #[must_use]
    pub fn new(bounds: &'static [u64]) -> Self {
        let counts = bounds.iter().chain([&u64::MAX]);
        Self {
            bounds,
            counts: counts.map(|_| AtomicU64::new(0)).collect(),
            sum: AtomicU64::new(0),
        }
    }

    /// One of durations, in microseconds.
    #[must_use]
    pub fn of_durations() -> Self {
        Self::new(DURATION_BOUNDS_US)
    }

    /// Counts a value.
    pub fn record(&self, value: u64) {
        let index = self.bounds.partition_point(|bound| *bound < value);
        if let Some(count) = self.counts.get(index) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.sum.fetch_add(value, Ordering::Relaxed);
    }

    /// Counts a duration, in microseconds.
    pub fn record_duration(&self, took: Duration) {
        self.record(micros(took));
    }

    /// What it was made with.
    #[must_use]
    pub const fn bounds(&self) -> &'static [u64] {
        self.bounds
    }

    /// How many values were at most as large as each bound and as infinity.
    #[must_use]
    pub fn cumulated(&self) -> Vec<u64> {
        let counts = self
            .counts
            .iter()
            .map(|count| count.load(Ordering::Relaxed));
        let running = counts.scan(0_u64, |below, count| {
            *below = below.saturating_add(count);
            Some(*below)
        });
        running.collect()
    }

    /// All values together.
    #[must_use]
    pub fn sum(&self) -> u64 {
        self.sum.load(Ordering::Relaxed)
    }
}

/// Whole microseconds.
#[must_use]
pub fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn histogram_adds_up_and_a_bound_belongs_below() {
        let histogram = Histogram::new(&[10, 20]);
        for value in [1, 10, 11, 20, 21] {
            histogram.record(value);
        }

        assert_eq!(histogram.cumulated(), [2, 4, 5]);
        assert_eq!(histogram.sum(), 63);
    }
}
