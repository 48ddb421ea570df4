//! Workers that wait for a job, sorted by what they have seen.
//!
//! A fresh one has seen no picture. A seasoned one has read pictures in safe Rust only and may read more of them that
//! way; C or C++ must never run where another user's picture may still lie in memory.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::workers::process::Worker;
use crate::workers::tally::Retirement;

/// Jobs after which a worker makes room for a new one, so that nothing that leaks or fragments grows for ever.
const JOBS_MAX: usize = 256;

/// The waiting workers.
#[derive(Debug, Default)]
pub(super) struct Stock {
    /// A mutex, because it is held for a push or a pop only.
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    fresh: Vec<Worker>,
    seasoned: Vec<Worker>,
    /// Fresh ones that are being started.
    ordered: usize,
}

impl Stock {
    /// A worker that has never seen a picture.
    pub(super) fn fresh(&self) -> Option<Worker> {
        self.waiting().fresh.pop()
    }

    /// One that may have seen pictures, if there is one.
    pub(super) fn any(&self) -> Option<Worker> {
        let mut waiting = self.waiting();
        let seasoned = waiting.seasoned.pop();
        seasoned.or_else(|| waiting.fresh.pop())
    }

    /// Drops those that have ended while they waited; returns how many.
    pub(super) fn bury(&self) -> usize {
        let mut waiting = self.waiting();
        let Waiting {
            fresh, seasoned, ..
        } = &mut *waiting;
        let before = fresh.len().saturating_add(seasoned.len());
        fresh.retain_mut(|worker| !worker.is_gone());
        seasoned.retain_mut(|worker| !worker.is_gone());
        before.saturating_sub(fresh.len().saturating_add(seasoned.len()))
    }

    /// Takes a worker in, new or after a job in safe Rust. More than `most` of either are never needed. Says why it was
    /// not taken in, if it was not.
    pub(super) fn put(&self, worker: Worker, most: usize) -> Option<Retirement> {
        self.waiting().put(worker, most)
    }

    /// How many fresh ones are missing until `most` wait or come. They count as coming from now on: each must be
    /// [delivered](Self::take_delivery).
    pub(super) fn order(&self, most: usize) -> usize {
        let mut waiting = self.waiting();
        let there = waiting.fresh.len().saturating_add(waiting.ordered);
        let missing = most.saturating_sub(there);
        waiting.ordered = waiting.ordered.saturating_add(missing);
        missing
    }

    /// [Puts](Self::put) in one that was ordered, or learns that it does not come.
    pub(super) fn take_delivery(&self, worker: Option<Worker>, most: usize) -> Option<Retirement> {
        let mut waiting = self.waiting();
        waiting.ordered = waiting.ordered.saturating_sub(1);
        waiting.put(worker?, most)
    }

    /// How many wait.
    pub(super) fn count(&self) -> usize {
        let waiting = self.waiting();
        waiting.fresh.len().saturating_add(waiting.seasoned.len())
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn put(&mut self, worker: Worker, most: usize) -> Option<Retirement> {
        if worker.jobs >= JOBS_MAX {
            return Some(Retirement::Jobs);
        }
        let kind = if worker.jobs == 0 {
            &mut self.fresh
        } else {
            &mut self.seasoned
        };
        if kind.len() >= most {
            return Some(Retirement::Surplus);
        }
        kind.push(worker);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_ordered_twice() {
        let stock = Stock::default();
        assert_eq!((stock.order(3), stock.order(3)), (3, 0));

        // One did not come: it is missing again.
        stock.take_delivery(None, 3);

        assert_eq!((stock.order(3), stock.order(3)), (1, 0));
    }
}
