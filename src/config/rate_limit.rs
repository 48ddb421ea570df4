//! The section `[rate_limit]`.

use serde::{Deserialize, Serialize};

/// `[rate_limit]`: how often a user may do what.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct RateLimit {
    /// Picture uploads a user and hour; 0: no limit.
    pub uploads_per_hour: u32,
}

impl Default for RateLimit {
    fn default() -> Self {
        Self {
            uploads_per_hour: 30,
        }
    }
}
