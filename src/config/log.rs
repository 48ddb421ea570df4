//! The section `[log]`.

use serde::{Deserialize, Serialize};

/// `[log]`: what is said on stderr beside a line a request.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// Uploads that take longer, in milliseconds, show their stages in a line of their own; 0: none does.
    pub slow_upload_ms: u64,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            slow_upload_ms: 2_000,
        }
    }
}
