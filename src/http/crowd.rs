//! How many connections are served at once, and how patient the server is with each.
//!
//! Bounded by the configuration and by the file descriptors that the system gives: some are left for everything else,
//! so that uploads go on however many connections there are. In a crowd, newcomers have less time to send their
//! request: a flood of silent connections empties itself before anyone notices.

use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::config;

/// File descriptors that are not for connections: the store, decode workers (five each while they start), the listener.
const DESCRIPTORS_RESERVED: usize = 160;
/// However crowded it is, a request head has this long.
const PATIENCE_MIN: Duration = Duration::from_millis(500);

/// The permits of connections.
#[derive(Debug)]
pub(super) struct Crowd {
    permits: Arc<Semaphore>,
    count_max: usize,
    patience: Duration,
}

impl Crowd {
    /// As many connections as are configured, or fewer where the system has too few file descriptors; says so then.
    pub(super) fn new(config: &config::Http) -> Self {
        let descriptors = raise_descriptor_limit();
        let possible = descriptors.saturating_sub(DESCRIPTORS_RESERVED);
        // With next to no descriptors, half of them.
        let possible = possible.max(descriptors / 2).max(1);
        if possible < config.connections_max {
            tracing::warn!(
                descriptors,
                connections = possible,
                configured = config.connections_max,
                "the limit on open files (ulimit -n) leaves fewer connections than http.connections_max"
            );
        }
        let count_max = config
            .connections_max
            .min(possible)
            .min(Semaphore::MAX_PERMITS);
        Self::of(count_max, Duration::from_millis(config.head_timeout_ms))
    }

    /// So many connections, with so much time for a head while there are few.
    pub(super) fn of(count_max: usize, patience: Duration) -> Self {
        Self {
            permits: Arc::new(Semaphore::new(count_max)),
            count_max,
            patience,
        }
    }

    /// Waits until one more connection may be served. None never happens: nothing closes the permits.
    pub(super) async fn room(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.permits).acquire_owned().await.ok()
    }

    /// How long a connection that comes now may take for each request head.
    pub(super) fn patience(&self) -> Duration {
        patience(
            self.patience,
            self.permits.available_permits(),
            self.count_max,
        )
    }
}

/// All of it while half the room is free, a quarter while an eighth is, then a sixteenth.
fn patience(whole: Duration, free: usize, count_max: usize) -> Duration {
    let divisor = if free >= count_max / 2 {
        1
    } else if free >= count_max / 8 {
        4
    } else {
        16
    };
    let part = whole.checked_div(divisor).unwrap_or(whole);
    part.max(PATIENCE_MIN.min(whole))
}

/// The limit on open files, after raising the soft one to the hard one.
fn raise_descriptor_limit() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    let current = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(error) => {
            tracing::debug!(%error, "cannot raise the limit on open files");
            limit.current
        }
    };
    current.map_or(usize::MAX, |current| {
        usize::try_from(current).unwrap_or(usize::MAX)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_ends_as_room_does() {
        let whole = Duration::from_secs(10);
        let cases = [
            (1_000, 10_000),
            (500, 10_000),
            (499, 2_500),
            (125, 2_500),
            (124, 625),
            (0, 625),
        ];
        for (free, expected_ms) in cases {
            let found = patience(whole, free, 1_000);
            assert_eq!(found, Duration::from_millis(expected_ms), "{free} free");
        }
    }

    #[test]
    fn patience_is_never_less_than_half_a_second_nor_more_than_configured() {
        assert_eq!(patience(Duration::from_secs(4), 0, 100), PATIENCE_MIN);
        let short = Duration::from_millis(300);
        assert_eq!(patience(short, 0, 100), short);
    }

    #[test]
    fn single_connection_has_all_the_time() {
        let whole = Duration::from_secs(10);

        assert_eq!(patience(whole, 0, 1), whole);
    }
}
