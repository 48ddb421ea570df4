//! Refusals before a use case: status and body of each.
#![deny(clippy::wildcard_enum_match_arm)]

use hyper::StatusCode;
use hyper::header::{CONNECTION, HeaderValue};
use serde_json::{Value, json};

use crate::http::error::{ApiError, count};
use crate::http::framing::Violation;
use crate::http::request::{KEY_CHARS_MAX, Refusal};

const CLOSE: HeaderValue = HeaderValue::from_static("close");

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        use Refusal as R;
        let code = refusal.code();
        let bad = |sentence: String| Self::detail(StatusCode::BAD_REQUEST, code, sentence);
        match refusal {
            R::NoCredentials => {
                let detail = "Authentication credentials were not provided.";
                Self::unauthorized(code, json!({ "detail": detail }))
            }
            R::BadAuthorization => {
                let detail = "Authorization header must contain two space-delimited values";
                Self::unauthorized(code, json!({ "detail": detail, "code": code }))
            }
            R::MediaType(found) => {
                let sentence = format!("Unsupported media type \"{found}\" in request.");
                Self::detail(StatusCode::UNSUPPORTED_MEDIA_TYPE, code, sentence)
            }
            R::Multipart(reason) => bad(format!("Multipart form parse error - {reason}")),
            R::MultipartTooLarge {
                sentence,
                limit,
                actual,
            } => bad(format!("Multipart form parse error - {sentence}")).bounded(limit, actual),
            R::Json(reason) => bad(format!("JSON parse error - {reason}")),
            R::Host => bad("The request must have exactly one valid Host header.".to_owned())
                .with(CONNECTION, CLOSE),
            R::Incomplete => bad("The request body is incomplete or malformed.".to_owned())
                .with(CONNECTION, CLOSE),
            R::IdempotencyKey { too_long } => idempotency_key(code, too_long),
            R::NotAnObject(found) => {
                let sentence = format!("Invalid data. Expected a dictionary, but got {found}.");
                Self::field(code, "non_field_errors", sentence)
            }
            R::NoData => Self::field(code, "non_field_errors", "No data provided"),
            R::Fields(fields) => Self::new(StatusCode::BAD_REQUEST, code, Value::Object(fields)),
            R::NoFile | R::NotAFile | R::TwoFiles | R::Crop(_) | R::FileTooLarge { .. } => {
                form(refusal)
            }
            R::TooManyFields { limit, actual } => {
                let sentence =
                    format!("The request has {actual} header fields, the limit is {limit}.");
                let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
                Self::detail(status, code, sentence).bounded(count(limit), Some(count(actual)))
            }
            R::BodyTooLarge { limit, actual } => body_too_large(code, limit, actual),
            R::Slow { limit_ms } => {
                let sentence = format!(
                    "The request body did not arrive in time: the limit is {limit_ms} milliseconds."
                );
                Self::detail(StatusCode::REQUEST_TIMEOUT, code, sentence)
                    .bounded(limit_ms, None)
                    .with(CONNECTION, CLOSE)
            }
            R::TooSlow { limit, actual } => {
                let sentence = format!(
                    "The request body arrives too slowly: {actual} bytes a second, the least is {limit}."
                );
                Self::detail(StatusCode::REQUEST_TIMEOUT, code, sentence)
                    .bounded(limit, Some(actual))
                    .with(CONNECTION, CLOSE)
            }
            R::Framing(violation) => message(violation).with(CONNECTION, CLOSE),
            R::BodiesFull => Self::unavailable(code, "The server is busy. Try again soon."),
        }
    }
}

fn body_too_large(code: &'static str, limit: u64, actual: Option<u64>) -> ApiError {
    let sentence = match actual {
        Some(actual) => format!(
            "The request body is too large: it has {actual} bytes, the limit is {limit} bytes."
        ),
        None => format!(
            "The request body is too large: it has more than {limit} bytes, which is the limit."
        ),
    };
    ApiError::detail(StatusCode::PAYLOAD_TOO_LARGE, code, sentence).bounded(limit, actual)
}

fn idempotency_key(code: &'static str, too_long: Option<usize>) -> ApiError {
    let limit = KEY_CHARS_MAX;
    let sentence =
        format!("The Idempotency-Key must be one text of 1 to {limit} visible ASCII characters");
    let bad = |sentence| ApiError::detail(StatusCode::BAD_REQUEST, code, sentence);
    match too_long {
        Some(actual) => {
            bad(format!("{sentence}: it has {actual}.")).bounded(count(limit), Some(count(actual)))
        }
        None => bad(format!("{sentence}.")),
    }
}

/// What is wrong with the message itself.
fn message(violation: Violation) -> ApiError {
    use Violation as V;
    let status = match violation {
        V::RequestLine
        | V::Target
        | V::Field
        | V::Incomplete
        | V::LengthAndChunks
        | V::TwoLengths
        | V::Length
        | V::TransferEncoding
        | V::OldChunks
        | V::LineEnd
        | V::Folded
        | V::Chunks => StatusCode::BAD_REQUEST,
        V::Version => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
        V::LineTooLong { .. } => StatusCode::URI_TOO_LONG,
        V::HeadTooLarge { .. } | V::TooManyFields { .. } => {
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE
        }
    };
    let refusal = ApiError::detail(status, violation.code(), violation.to_string());
    match violation.limit() {
        Some(limit) => refusal.bounded(limit, None),
        None => refusal,
    }
}

/// 400 for what is wrong with the upload's form. Sentences of DRF's `FileField` where it has one.
fn form(refusal: Refusal) -> ApiError {
    use Refusal as R;
    let code = refusal.code();
    match refusal {
        R::NoFile => ApiError::field(code, "image", "No file was submitted."),
        R::NotAFile => {
            let sentence =
                "The submitted data was not a file. Check the encoding type on the form.";
            ApiError::field(code, "image", sentence)
        }
        R::TwoFiles => ApiError::field(code, "image", "Submit exactly one file."),
        R::FileTooLarge { limit, actual } => {
            let sentence = match actual {
                Some(actual) => format!(
                    "The file is too large: the request has {actual} bytes, the limit of a file is {limit} bytes."
                ),
                None => format!(
                    "The file is too large: it has more than {limit} bytes, which is the limit."
                ),
            };
            ApiError::field(code, "image", sentence).bounded(limit, actual)
        }
        R::Crop(reason) => ApiError::field(code, "crop", reason.to_string()),
        R::NoCredentials
        | R::BadAuthorization
        | R::Host
        | R::MediaType(_)
        | R::Multipart(_)
        | R::MultipartTooLarge { .. }
        | R::Json(_)
        | R::NotAnObject(_)
        | R::NoData
        | R::Fields(_)
        | R::IdempotencyKey { .. }
        | R::BodyTooLarge { .. }
        | R::TooManyFields { .. }
        | R::Slow { .. }
        | R::TooSlow { .. }
        | R::Framing(_)
        | R::Incomplete
        | R::BodiesFull => ApiError::from(refusal),
    }
}
