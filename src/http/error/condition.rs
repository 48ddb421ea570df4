//! Refusals of conditions and ranges, in the words of RFC 9110 rather than DRF, which has none.

use hyper::StatusCode;
use hyper::header::{ACCEPT_RANGES, CONTENT_RANGE, HeaderValue};

use crate::http::error::ApiError;

/// 412 for a write.
pub(in crate::http) fn precondition_failed() -> ApiError {
    failed("The profile is not the one that If-Match names. Fetch it again.")
}

/// 412 for a write that asked for another profile than there is.
pub(in crate::http) fn none_match_failed() -> ApiError {
    failed("The profile is one that If-None-Match names.")
}

/// 412 for a file.
pub(in crate::http) fn file_precondition_failed() -> ApiError {
    failed("The file is not the one that If-Match or If-Unmodified-Since names.")
}

fn failed(detail: &str) -> ApiError {
    ApiError::detail(
        StatusCode::PRECONDITION_FAILED,
        "precondition_failed",
        detail,
    )
}

/// 416 for a file of that many bytes.
pub(in crate::http) fn range_not_satisfiable(length: u64) -> ApiError {
    let detail = format!("No byte of the range is in the file, which has {length} bytes.");
    let error = ApiError::detail(
        StatusCode::RANGE_NOT_SATISFIABLE,
        "range_not_satisfiable",
        detail,
    )
    .bounded(length, None)
    .with(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    match HeaderValue::try_from(format!("bytes */{length}")) {
        Ok(value) => error.with(CONTENT_RANGE, value),
        Err(_) => error,
    }
}
