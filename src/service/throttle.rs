//! How often a user may upload: a token bucket a user (GCRA), in memory. A restart forgets it.

use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::{Clock, MonotonicClock};
use governor::middleware::StateInformationMiddleware;
use governor::state::keyed::DashMapStateStore;

use crate::domain::user::UserId;

/// Seconds that the quota is stated for.
pub const WINDOW_S: u32 = 3_600;

/// What is left of a quota, for the `RateLimit` fields (draft-ietf-httpapi-ratelimit-headers-11).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Quota {
    /// Uploads a window.
    pub limit: u32,
    /// The window, in seconds.
    pub window_s: u32,
    /// Uploads that would be taken now.
    pub remaining: u32,
    /// Time until the quota is whole again, in seconds.
    pub reset_s: u64,
}

/// A refusal, and when to try again.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Throttled {
    /// The quota that is used up.
    pub quota: Quota,
    /// Time until one upload will be taken, in seconds, at least 1.
    pub retry_after_s: u64,
}

type Limiter = governor::RateLimiter<
    UserId,
    DashMapStateStore<UserId>,
    MonotonicClock,
    StateInformationMiddleware,
>;

/// Counts uploads by user.
pub(super) struct Uploads {
    limiter: Option<(Limiter, NonZeroU32)>,
}

impl Uploads {
    /// `per_hour` uploads in one go, coming back evenly over the hour; 0: no limit.
    pub(super) fn new(per_hour: u32) -> Self {
        let limiter = NonZeroU32::new(per_hour).map(|limit| {
            let quota = governor::Quota::per_hour(limit);
            let state = DashMapStateStore::default();
            (
                Limiter::new(quota, state, MonotonicClock).with_middleware(),
                limit,
            )
        });
        Self { limiter }
    }

    /// Takes one upload from the user's quota, or refuses. None: there is no limit.
    pub(super) fn take(&self, user: &UserId) -> Result<Option<Quota>, Throttled> {
        let Some((limiter, limit)) = &self.limiter else {
            return Ok(None);
        };
        let quota = |remaining: u32| {
            let taken = limit.get().saturating_sub(remaining);
            let reset_s = u64::from(taken)
                .saturating_mul(u64::from(WINDOW_S))
                .div_ceil(u64::from(limit.get()));
            Quota {
                limit: limit.get(),
                window_s: WINDOW_S,
                remaining,
                reset_s,
            }
        };
        match limiter.check_key(user) {
            Ok(state) => Ok(Some(quota(state.remaining_burst_capacity()))),
            Err(refusal) => {
                let wait = refusal.wait_time_from(MonotonicClock.now());
                Err(Throttled {
                    quota: quota(0),
                    retry_after_s: seconds_up(wait).max(1),
                })
            }
        }
    }

    /// Forgets users whose quota is whole: memory stays bounded by those who were active in the last window.
    pub(super) fn forget_idle(&self) {
        if let Some((limiter, _)) = &self.limiter {
            limiter.retain_recent();
            limiter.shrink_to_fit();
        }
    }
}

fn seconds_up(duration: Duration) -> u64 {
    duration
        .as_secs()
        .saturating_add(u64::from(duration.subsec_nanos() > 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_beyond_the_quota_is_told_when_to_come_back() {
        let uploads = Uploads::new(2);
        let (ada, bob): (UserId, UserId) = ("ada".parse().unwrap(), "bob".parse().unwrap());

        assert_eq!(uploads.take(&ada).unwrap().unwrap().remaining, 1);
        assert_eq!(uploads.take(&ada).unwrap().unwrap().remaining, 0);
        let refused = uploads.take(&ada).unwrap_err();

        assert!(
            (1_790..=1_800).contains(&refused.retry_after_s),
            "{refused:?}"
        );
        assert_eq!(
            refused.quota,
            Quota {
                limit: 2,
                window_s: 3_600,
                remaining: 0,
                reset_s: 3_600
            }
        );
        assert!(uploads.take(&bob).is_ok());
    }

    #[test]
    fn zero_means_no_limit() {
        let uploads = Uploads::new(0);
        let ada = "ada".parse().unwrap();

        assert!((0..1_000).all(|_| uploads.take(&ada) == Ok(None)));
    }
}
