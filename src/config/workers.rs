//! The section `[workers]`.

use serde::{Deserialize, Serialize};

use crate::config::validate::{Problem, push};

/// `[workers]`: where pictures are decoded.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Workers {
    /// Pictures decoded at once; 0: as many as there are processor cores. Half as many again may be decoded that are expected
    /// to be slow (see `slow_ms`).
    pub count: usize,
    /// Pictures that may wait for a free worker; more are answered with 503.
    pub queue_max: usize,
    /// Longest time for one picture, in milliseconds. Then its worker is killed.
    pub deadline_ms: u64,
    /// A picture is slow that keeps a processor busy for so long, in milliseconds. Its user's next pictures, for ten times
    /// as long but a minute at most, wait for each other and not others for them. 0: no picture is slow.
    pub slow_ms: u64,
    /// Address space of a worker, in bytes.
    pub memory_bytes_max: u64,
    /// Whether the server refuses to start where workers cannot be locked in with seccomp.
    pub require_sandbox: bool,
}

impl Default for Workers {
    fn default() -> Self {
        Self {
            count: 0,
            queue_max: 64,
            deadline_ms: 10_000,
            slow_ms: 150,
            memory_bytes_max: 1_024 * 1_024 * 1_024,
            require_sandbox: true,
        }
    }
}

impl Workers {
    /// What of it cannot work.
    pub(super) fn problems(&self, found: &mut Vec<Problem>) {
        if self.count > 1_024 {
            push(
                found,
                "workers.count",
                format!("is {}, must be at most 1024", self.count),
            );
        }
        if self.queue_max == 0 {
            push(
                found,
                "workers.queue_max",
                "is 0, must be at least 1".to_owned(),
            );
        }
        if self.deadline_ms == 0 {
            push(
                found,
                "workers.deadline_ms",
                "is 0, must be at least 1".to_owned(),
            );
        }
        // Below this not even the binary and its libraries can be mapped.
        if self.memory_bytes_max < 64 * 1_024 * 1_024 {
            let sentence = format!("is {}, must be at least 67108864", self.memory_bytes_max);
            push(found, "workers.memory_bytes_max", sentence);
        }
    }
}
