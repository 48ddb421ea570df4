//! One limit: a token bucket (GCRA) a key, in bounded memory, with tokens that can be given back.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::num::NonZeroU32;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use governor::clock::{Clock, MonotonicClock};
use governor::middleware::StateInformationMiddleware;
use governor::state::keyed::DashMapStateStore;

use crate::service::throttle::{Policy, Quota, Throttled};

/// Buckets that those share who come when no more keys are remembered one by one.
const SHARED_BUCKETS: u64 = 1_024;

type Limiter =
    governor::RateLimiter<u64, DashMapStateStore<u64>, MonotonicClock, StateInformationMiddleware>;

/// Counts by key. A key is remembered as a hash with a seed of this process: all are equally small, and nobody can
/// choose two that fall together.
pub(super) struct Buckets {
    policy: Policy,
    limit: NonZeroU32,
    limiter: Limiter,
    keys_max: usize,
    hasher: RandomState,
    /// Tokens that were given back and not taken again: governor cannot take one back. A mutex, because it is held for
    /// a look-up only.
    returned: Mutex<HashMap<u64, Returned>>,
}

struct Returned {
    count: u32,
    /// What was left in the bucket beside them.
    left: u32,
    last: Instant,
}

impl Buckets {
    /// `limit` in one go, coming back evenly over the policy's window. None for 0: there is no limit.
    pub(super) fn new(policy: Policy, limit: u32, keys_max: usize) -> Option<Self> {
        let limit = NonZeroU32::new(limit)?;
        let quota = if policy.window_s() == 60 {
            governor::Quota::per_minute(limit)
        } else {
            governor::Quota::per_hour(limit)
        };
        Some(Self {
            policy,
            limit,
            limiter: Limiter::new(quota, DashMapStateStore::default(), MonotonicClock)
                .with_middleware(),
            keys_max,
            hasher: RandomState::new(),
            returned: Mutex::default(),
        })
    }

    /// Takes a token of that key, or says when there will be one.
    pub(super) fn take(&self, key: &impl Hash) -> Result<Quota, Throttled> {
        let key = self.slot(key);
        if let Some(left) = self.take_returned(key) {
            return Ok(self.quota(left));
        }
        match self.limiter.check_key(&key) {
            Ok(state) => Ok(self.quota(state.remaining_burst_capacity())),
            Err(refusal) => {
                let wait = refusal.wait_time_from(MonotonicClock.now());
                let retry_after_s = seconds_up(wait).max(1);
                // Both tell of the same moment, or clients would wait for the later one.
                let quota = Quota {
                    reset_s: retry_after_s,
                    ..self.quota(0)
                };
                Err(Throttled {
                    quota,
                    retry_after_s,
                })
            }
        }
    }

    /// Gives a token back that was taken for nothing. It is kept for one window: by then the bucket is full anyway.
    pub(super) fn give_back(&self, key: &impl Hash, taken: &Quota) {
        let key = self.slot(key);
        let mut returned = self.returned();
        let is_known = returned.contains_key(&key);
        if is_known || returned.len() < self.keys_max {
            let last = Instant::now();
            let left = taken.remaining;
            let entry = returned.entry(key).or_insert(Returned {
                count: 0,
                left,
                last,
            });
            entry.count = entry.count.saturating_add(1).min(self.limit.get());
            entry.left = entry.left.min(left);
            entry.last = last;
        }
    }

    /// Forgets keys whose bucket is full: memory stays bounded by those that were active in the last window.
    pub(super) fn forget_idle(&self) {
        self.limiter.retain_recent();
        self.limiter.shrink_to_fit();
        let window = Duration::from_secs(self.policy.window_s().into());
        let mut returned = self.returned();
        returned.retain(|_, entry| entry.last.elapsed() < window);
        returned.shrink_to_fit();
    }

    /// How many keys are remembered.
    #[cfg(test)]
    pub(super) fn keys(&self) -> usize {
        self.limiter.len()
    }

    /// What stands for a key. When too many are remembered, new and old ones share a fixed number of buckets until
    /// some are forgotten.
    fn slot(&self, key: &impl Hash) -> u64 {
        let hash = self.hasher.hash_one(key);
        if self.limiter.len() < self.keys_max {
            hash.max(SHARED_BUCKETS)
        } else {
            hash.checked_rem(SHARED_BUCKETS).unwrap_or(0)
        }
    }

    fn take_returned(&self, key: u64) -> Option<u32> {
        let mut returned = self.returned();
        let entry = returned.get_mut(&key)?;
        entry.count = entry.count.saturating_sub(1);
        let left = entry.left.saturating_add(entry.count).min(self.limit.get());
        if entry.count == 0 {
            returned.remove(&key);
        }
        Some(left)
    }

    fn returned(&self) -> MutexGuard<'_, HashMap<u64, Returned>> {
        self.returned.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn quota(&self, remaining: u32) -> Quota {
        let (limit, window_s) = (self.limit.get(), self.policy.window_s());
        let taken = limit.saturating_sub(remaining);
        Quota {
            policy: self.policy,
            limit,
            remaining,
            reset_s: u64::from(taken)
                .saturating_mul(window_s.into())
                .div_ceil(limit.into()),
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

    fn uploads(limit: u32) -> Buckets {
        Buckets::new(Policy::Upload, limit, 1_000).unwrap()
    }

    #[test]
    fn user_beyond_the_quota_is_told_when_to_come_back() {
        let uploads = uploads(2);

        assert_eq!(uploads.take(&"ada").unwrap().remaining, 1);
        assert_eq!(uploads.take(&"ada").unwrap().remaining, 0);
        let refused = uploads.take(&"ada").unwrap_err();

        assert!(
            (1_790..=1_800).contains(&refused.retry_after_s),
            "{refused:?}"
        );
        let quota = Quota {
            policy: Policy::Upload,
            limit: 2,
            remaining: 0,
            reset_s: refused.retry_after_s,
        };
        assert_eq!(refused.quota, quota);
        assert!(uploads.take(&"bob").is_ok());
    }

    #[test]
    fn zero_means_no_limit() {
        assert!(Buckets::new(Policy::Upload, 0, 1_000).is_none());
    }

    #[test]
    fn what_is_given_back_can_be_taken_again() {
        let uploads = uploads(2);
        for _ in 0..100 {
            let taken = uploads.take(&"ada").unwrap();
            assert_eq!(taken.remaining, 1);
            uploads.give_back(&"ada", &taken);
        }

        assert!(uploads.take(&"ada").is_ok() && uploads.take(&"ada").is_ok());
        assert!(uploads.take(&"ada").is_err());
    }

    #[test]
    fn keys_of_an_attackers_choice_do_not_grow_memory() {
        let uploads = uploads(1);
        for number in 0..20_000_u32 {
            if let Ok(taken) = uploads.take(&number)
                && number % 3 == 0
            {
                uploads.give_back(&number, &taken);
            }
        }

        let most = 1_000 + usize::try_from(SHARED_BUCKETS).unwrap();
        assert!(uploads.keys() <= most, "{}", uploads.keys());
        assert!(uploads.returned().len() <= 1_000);
        assert!(uploads.take(&"somebody new").is_err(), "new ones share");
    }

    #[test]
    fn those_who_are_still_limited_are_not_forgotten() {
        let uploads = uploads(1);
        uploads.take(&"ada").unwrap();

        uploads.forget_idle();

        assert!(uploads.take(&"ada").is_err());
    }
}
