//! The section `[rate_limit]`.

use serde::{Deserialize, Serialize};

use crate::config::validate::{Problem, push};

/// `[rate_limit]`: how often a user or an address may do what. 0 is no limit, for each of them. A limit is a burst
/// that comes back evenly over its time.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct RateLimit {
    /// Picture uploads a user and hour; 0: no limit.
    pub uploads_per_hour: u32,
    /// Picture uploads an address and hour.
    pub uploads_per_hour_per_address: u32,
    /// Registrations, log-ins and refreshes an address and minute.
    pub logins_per_minute_per_address: u32,
    /// Failed log-ins an e-mail address and hour, from wherever. What succeeds does not count.
    pub failed_logins_per_hour_per_name: u32,
    /// Requests to the API a user and minute.
    pub requests_per_minute_per_user: u32,
    /// Requests to the API an address and minute.
    pub requests_per_minute_per_address: u32,
    /// Users, addresses and names that each limit remembers one by one. Beyond that many, new ones share.
    pub keys_max: usize,
}

impl Default for RateLimit {
    fn default() -> Self {
        Self {
            uploads_per_hour: 30,
            uploads_per_hour_per_address: 3_000,
            logins_per_minute_per_address: 600,
            failed_logins_per_hour_per_name: 30,
            requests_per_minute_per_user: 3_000,
            requests_per_minute_per_address: 0,
            keys_max: 100_000,
        }
    }
}

impl RateLimit {
    /// What of it cannot work.
    pub(super) fn problems(&self, found: &mut Vec<Problem>) {
        if self.keys_max == 0 {
            let sentence = "is 0, must be at least 1: else all users share their limits";
            push(found, "rate_limit.keys_max", sentence.to_owned());
        }
    }
}
