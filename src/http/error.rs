//! What a failure looks like to a client: the only place that chooses status codes and bodies.
//!
//! Two forms of each: Django REST Framework's and simplejwt's, to the letter, so that existing clients work; and
//! RFC 9457 `application/problem+json` for those that ask for it. Text of 4xx comes from the request, of 5xx never.
#![deny(clippy::wildcard_enum_match_arm)]

mod code;
mod condition;
mod refusal;

use hyper::StatusCode;
use hyper::header::{ALLOW, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use serde_json::{Value, json};

use crate::auth::token::Rejected;
use crate::domain::user::Invalid;
use crate::http::route::Unrouted;
use crate::imaging;
use crate::service;
use crate::storage;
use crate::storage::What;

#[cfg(test)]
pub(super) use code::CODES;
pub(super) use condition::{
    file_precondition_failed, none_match_failed, precondition_failed, range_not_satisfiable,
};

/// Challenge of every 401. Source: simplejwt's `www_authenticate_realm`.
const CHALLENGE: HeaderValue = HeaderValue::from_static("Bearer realm=\"api\"");
/// Challenge of a 403 for want of a scope. Source: RFC 6750 §3.1.
const CHALLENGE_SCOPE: HeaderValue =
    HeaderValue::from_static("Bearer realm=\"api\", error=\"insufficient_scope\"");
/// Sentence of Django's `ImageField` for everything that is not a whole picture.
const NOT_AN_IMAGE: &str =
    "Upload a valid image. The file you uploaded was either not an image or a corrupted image.";
/// How long a client waits after a 503, in seconds: a queue of pictures is done by then.
const BUSY_RETRY_S: u64 = 2;

/// A refusal or failure, ready to be written.
#[derive(Debug)]
pub(super) struct ApiError {
    /// 4xx or 5xx.
    pub status: StatusCode,
    /// Stable name for programs.
    pub code: &'static str,
    /// Body in Django REST Framework's form.
    pub body: Value,
    /// The limit that was exceeded, in the unit that the sentence names.
    pub limit: Option<u64>,
    /// The value that exceeded it.
    pub actual: Option<u64>,
    /// Further header fields.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// What went wrong inside, for the log.
    pub cause: Option<service::Error>,
}

impl ApiError {
    fn new(status: StatusCode, code: &'static str, body: Value) -> Self {
        debug_assert!(
            code::is_listed(code, status),
            "{code} with {status} is not in the table of codes"
        );
        Self {
            status,
            code,
            body,
            limit: None,
            actual: None,
            headers: Vec::new(),
            cause: None,
        }
    }

    /// `{"detail": "…"}`
    fn detail(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(status, code, json!({ "detail": detail.into() }))
    }

    /// 400 with `{"field": ["…"]}`
    fn field(code: &'static str, field: &str, sentence: impl Into<String>) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            code,
            json!({ field: [sentence.into()] }),
        )
    }

    fn bounded(mut self, limit: u64, actual: Option<u64>) -> Self {
        self.limit = Some(limit);
        self.actual = actual;
        self
    }

    fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    fn unauthorized(code: &'static str, body: Value) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, code, body).with(WWW_AUTHENTICATE, CHALLENGE)
    }

    fn unavailable(code: &'static str, detail: &str) -> Self {
        Self::detail(StatusCode::SERVICE_UNAVAILABLE, code, detail)
            .with(RETRY_AFTER, BUSY_RETRY_S.into())
    }

    fn caused(mut self, cause: service::Error) -> Self {
        self.cause = Some(cause);
        self
    }

    fn internal(cause: service::Error) -> Self {
        let detail = "A server error occurred.";
        Self::detail(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail).caused(cause)
    }

    /// Whether the server could not do what a better moment would have let it do.
    #[must_use]
    pub(super) fn is_ours(&self) -> bool {
        self.status.is_server_error()
    }

    /// The sentence of the body, whatever its form: RFC 9457's `detail`.
    #[must_use]
    pub(super) fn sentence(&self) -> &str {
        let first = self
            .body
            .as_object()
            .and_then(|fields| fields.values().next());
        let text = match first {
            Some(Value::Array(sentences)) => sentences.first(),
            other => other,
        };
        text.and_then(Value::as_str).unwrap_or_default()
    }
}

/// simplejwt's body for an access token that is not accepted.
fn rejected_access(rejected: Rejected) -> ApiError {
    match rejected {
        Rejected::Scope => {
            let detail = "You do not have permission to perform this action.";
            ApiError::detail(StatusCode::FORBIDDEN, "insufficient_scope", detail)
                .with(WWW_AUTHENTICATE, CHALLENGE_SCOPE)
        }
        Rejected::NoUser => ApiError::unauthorized(
            "token_not_valid",
            json!({ "detail": rejected.to_string(), "code": "token_not_valid" }),
        ),
        Rejected::Invalid
        | Rejected::Expired
        | Rejected::NoExpiry
        | Rejected::NoType
        | Rejected::WrongType => ApiError::unauthorized(
            "token_not_valid",
            json!({
                "detail": "Given token not valid for any token type",
                "code": "token_not_valid",
                "messages": [{
                    "token_class": "AccessToken",
                    "token_type": "access",
                    "message": rejected.to_string(),
                }],
            }),
        ),
    }
}

/// simplejwt's body for a refresh token that is not accepted: `TokenRefreshSerializer` raises `InvalidToken`.
pub(super) fn rejected_refresh(error: service::Error) -> ApiError {
    if let service::Error::Token(rejected) = error {
        let body = json!({ "detail": rejected.to_string(), "code": "token_not_valid" });
        return ApiError::unauthorized("token_not_valid", body);
    }
    error.into()
}

impl From<service::Error> for ApiError {
    fn from(error: service::Error) -> Self {
        use service::Error as E;
        match error {
            E::Token(rejected) => rejected_access(rejected),
            E::UnknownCaller => Self::unauthorized(
                "user_not_found",
                json!({ "detail": "User not found", "code": "user_not_found" }),
            ),
            E::Credentials => Self::unauthorized(
                "no_active_account",
                json!({ "detail": "No active account found with the given credentials" }),
            ),
            E::NoActiveAccount => Self::unauthorized(
                "no_active_account",
                json!({ "detail": "No active account found for the given token." }),
            ),
            E::Email(reason) => invalid_field("email", &reason),
            E::PasswordTooShort { actual, limit } => Self::field(
                "password_too_short",
                "password",
                format!("This password is too short. It must contain at least {limit} characters."),
            )
            .bounded(count(limit), Some(count(actual))),
            E::PasswordTooLong { actual, limit } => Self::field(
                "password_too_long",
                "password",
                format!(
                    "This password is too long: it has {actual} characters, the limit is {limit}."
                ),
            )
            .bounded(count(limit), Some(count(actual))),
            E::Throttled(throttled) => throttled_error(throttled),
            E::KeyReused => {
                let detail = "This Idempotency-Key was used for another upload. Use a new key for other bytes.";
                Self::detail(
                    StatusCode::UNPROCESSABLE_ENTITY,
                    "idempotency_key_reused",
                    detail,
                )
            }
            E::Picture(imaging::Error::Internal(cause)) => {
                Self::internal(E::Picture(imaging::Error::Internal(cause)))
            }
            E::Picture(reason) => unusable(reason),
            E::DecoderDied { .. } => {
                let sentence = "The image could not be read.";
                Self::field("unreadable_image", "image", sentence).caused(error)
            }
            E::NoWorker(_) => {
                Self::unavailable("busy", "The server is busy. Try again soon.").caused(error)
            }
            E::Busy { queue_max } | E::HashesBusy { queue_max } => {
                Self::unavailable("busy", "The server is busy. Try again soon.")
                    .bounded(count(queue_max), None)
            }
            E::Storage(cause) | E::About { source: cause, .. } => stored(cause),
            E::Password(_)
            | E::Issue(_)
            | E::Random(_)
            | E::Cancelled
            | E::Unsound { .. }
            | E::NoInput
            | E::Migrate(_) => Self::internal(error),
        }
    }
}

/// 429 with DRF's sentence. Source: `rest_framework.exceptions.Throttled`, with its singular.
fn throttled_error(throttled: service::Throttled) -> ApiError {
    let wait = throttled.retry_after_s;
    let unit = if wait == 1 { "second" } else { "seconds" };
    ApiError::detail(
        StatusCode::TOO_MANY_REQUESTS,
        "throttled",
        format!("Request was throttled. Expected available in {wait} {unit}."),
    )
    .bounded(throttled.quota.limit.into(), None)
    .with(RETRY_AFTER, wait.into())
    .caused(service::Error::Throttled(throttled))
}

/// 400 for an upload that cannot become a picture, with the cause in the log.
fn unusable(reason: imaging::Error) -> ApiError {
    use imaging::Error as E;
    let error = match &reason {
        E::Empty => ApiError::field("empty", "image", "The submitted file is empty."),
        E::NotAnImage => ApiError::field("not_an_image", "image", NOT_AN_IMAGE),
        E::Malformed(..) | E::Internal(_) => ApiError::field("malformed_image", "image", NOT_AN_IMAGE),
        E::UnsupportedFormat(format) => ApiError::field(
            "unsupported_format",
            "image",
            format!("Unsupported image format: {format}. Allowed formats: JPEG, PNG, HEIC."),
        ),
        E::TooManyPixels { width, height, pixels, pixels_max } => ApiError::field(
            "too_many_pixels",
            "image",
            format!(
                "The image has too many pixels: it has {pixels} ({width} x {height}), the limit is {pixels_max}."
            ),
        )
        .bounded(*pixels_max, Some(*pixels)),
        E::SideTooLong { width, height, side_px_max } => ApiError::field(
            "side_too_long",
            "image",
            format!("The image is too long: it has {width} x {height} pixels, the limit of a side is {side_px_max}."),
        )
        .bounded((*side_px_max).into(), Some((*width.max(height)).into())),
        E::CropOutside { right, bottom, width, height } => ApiError::field(
            "crop_outside",
            "crop",
            format!("The crop ends at {right},{bottom}, outside the image of {width} x {height} pixels."),
        ),
    };
    error.caused(service::Error::Picture(reason))
}

fn stored(cause: storage::Error) -> ApiError {
    use storage::Error as E;
    match cause {
        E::NotFound(_) => not_found(),
        E::AlreadyExists(What::Email) => ApiError::new(
            StatusCode::CONFLICT,
            "email_taken",
            json!({ "email": ["A user with this email address already exists."] }),
        ),
        E::Changed => precondition_failed(),
        E::DiskFull { free, free_min } => {
            let detail = "The server has no room for another picture. Try again later.";
            ApiError::detail(StatusCode::INSUFFICIENT_STORAGE, "disk_full", detail)
                .caused(service::Error::Storage(E::DiskFull { free, free_min }))
        }
        E::Unavailable(_) | E::InUse { .. } => not_ready().caused(service::Error::Storage(cause)),
        E::AlreadyExists(_) | E::Damaged { .. } | E::TooNew { .. } | E::Io { .. } => {
            ApiError::internal(service::Error::Storage(cause))
        }
    }
}

/// 503 while the store cannot be asked.
pub(super) fn not_ready() -> ApiError {
    ApiError::unavailable("unavailable", "The server is not ready. Try again soon.")
}

/// DRF's 404.
pub(super) fn not_found() -> ApiError {
    ApiError::detail(StatusCode::NOT_FOUND, "not_found", "Not found.")
}

/// 400 for one field that is not what it should be.
pub(super) fn invalid_field(field: &str, reason: &Invalid) -> ApiError {
    let error = ApiError::field("invalid", field, reason.to_string());
    match reason {
        Invalid::TooLong { limit, actual } => error.bounded(count(*limit), Some(count(*actual))),
        Invalid::Blank | Invalid::Control | Invalid::AngleBracket | Invalid::Email => error,
    }
}

impl ApiError {
    /// No route, in the words of DRF.
    #[must_use]
    pub(super) fn unrouted(unrouted: Unrouted, method: &hyper::Method) -> Self {
        match unrouted {
            Unrouted::NotFound => not_found(),
            Unrouted::MethodNotAllowed { allow } => Self::detail(
                StatusCode::METHOD_NOT_ALLOWED,
                "method_not_allowed",
                format!("Method \"{method}\" not allowed."),
            )
            .with(ALLOW, HeaderValue::from_static(allow)),
        }
    }
}

fn count(value: usize) -> u64 {
    u64::try_from(value).unwrap_or(u64::MAX)
}
