//! The header fields that tell a client its quota: draft-ietf-httpapi-ratelimit-headers-11.

use std::sync::{Mutex, PoisonError};

use hyper::header::{HeaderMap, HeaderName, HeaderValue};

use crate::service::Quota;

/// The quotas that a request has met, the one that will end first in front of the others.
#[derive(Debug, Default)]
pub(super) struct Met(Mutex<Option<Quota>>);

impl Met {
    /// Notes a quota. An answer tells of one only: that which the client will be stopped by.
    pub(super) fn note(&self, quotas: impl IntoIterator<Item = Quota>) {
        let mut met = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for quota in quotas {
            if met.is_none_or(|met| quota.remaining < met.remaining) {
                *met = Some(quota);
            }
        }
    }

    /// Notes the quota that stopped the request: the answer tells of that.
    pub(super) fn stopped(&self, quota: Quota) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(quota);
    }

    /// Writes `RateLimit-Policy` and `RateLimit`, if there is a limit at all.
    pub(super) fn write(&self, fields: &mut HeaderMap) {
        let met = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(quota) = met else { return };
        let (name, window_s) = (quota.policy.name(), quota.policy.window_s());
        let Quota {
            limit,
            remaining,
            reset_s,
            ..
        } = quota;
        let values = [
            (
                "ratelimit-policy",
                format!("\"{name}\";q={limit};w={window_s}"),
            ),
            ("ratelimit", format!("\"{name}\";r={remaining};t={reset_s}")),
        ];
        for (name, value) in values {
            if let Ok(value) = HeaderValue::try_from(value) {
                fields.insert(HeaderName::from_static(name), value);
            }
        }
    }
}
