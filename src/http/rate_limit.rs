//! The header fields that tell a client its quota: draft-ietf-httpapi-ratelimit-headers-11.

use hyper::header::{HeaderName, HeaderValue};

use crate::service::Quota;

/// `RateLimit-Policy` and `RateLimit` for uploads.
pub(super) fn fields(quota: &Quota) -> Vec<(HeaderName, HeaderValue)> {
    let Quota {
        limit,
        window_s,
        remaining,
        reset_s,
    } = quota;
    let fields = [
        (
            "ratelimit-policy",
            format!("\"upload\";q={limit};w={window_s}"),
        ),
        ("ratelimit", format!("\"upload\";r={remaining};t={reset_s}")),
    ];
    let parsed = fields.map(|(name, value)| {
        let value = HeaderValue::try_from(value).unwrap_or_else(|_| HeaderValue::from_static(""));
        (HeaderName::from_static(name), value)
    });
    parsed.into()
}
