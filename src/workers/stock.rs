//! Workers that wait for a job, sorted by what they have seen.
//!
//! A fresh one has seen no picture. A seasoned one has read pictures in safe Rust only and may read more of them that
//! way; C or C++ must never run where another user's picture may still lie in memory.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::workers::process::Worker;

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
}

impl Stock {
    /// A worker that has never seen a picture.
    pub(super) fn fresh(&self) -> Option<Worker> {
        living(&mut self.waiting().fresh)
    }

    /// One that may have seen pictures, if there is one.
    pub(super) fn any(&self) -> Option<Worker> {
        let mut waiting = self.waiting();
        living(&mut waiting.seasoned).or_else(|| living(&mut waiting.fresh))
    }

    /// Takes a worker in, new or after a job in safe Rust. More than `most` that have seen pictures are never needed.
    pub(super) fn put(&self, worker: Worker, most: usize) {
        let mut waiting = self.waiting();
        if worker.jobs == 0 {
            waiting.fresh.push(worker);
        } else if worker.jobs < JOBS_MAX && waiting.seasoned.len() < most {
            waiting.seasoned.push(worker);
        }
    }

    /// How many wait that have never seen a picture.
    pub(super) fn fresh_count(&self) -> usize {
        self.waiting().fresh.len()
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

/// The last of these that has not ended while it waited.
fn living(workers: &mut Vec<Worker>) -> Option<Worker> {
    while let Some(mut worker) = workers.pop() {
        if !worker.is_gone() {
            return Some(worker);
        }
    }
    None
}
