//! The codes of all refusals and failures: stable names for programs. The schema and the README list them, and tests
//! hold both against this table.

use hyper::StatusCode;

/// A code, the status that it comes with, and when.
#[derive(Clone, Copy, Debug)]
pub(in crate::http) struct Code {
    pub(in crate::http) name: &'static str,
    pub(in crate::http) status: StatusCode,
    #[cfg_attr(not(test), expect(dead_code, reason = "for the schema and the README"))]
    pub(in crate::http) when: &'static str,
}

const fn code(status: StatusCode, name: &'static str, when: &'static str) -> Code {
    Code { name, status, when }
}

/// Every code, by status.
pub(in crate::http) const CODES: &[Code] = &[
    code(
        StatusCode::BAD_REQUEST,
        "bad_crop",
        "`crop` is not `x,y,width,height`",
    ),
    code(
        StatusCode::BAD_REQUEST,
        "bad_framing",
        "a message that proxies could read differently",
    ),
    code(
        StatusCode::BAD_REQUEST,
        "bad_host",
        "not exactly one `Host`",
    ),
    code(
        StatusCode::BAD_REQUEST,
        "bad_idempotency_key",
        "`Idempotency-Key` is not 1 to 255 visible characters",
    ),
    code(StatusCode::BAD_REQUEST, "bad_json", "the body is not JSON"),
    code(
        StatusCode::BAD_REQUEST,
        "bad_multipart",
        "the body is not a multipart form, or has too much beside the file",
    ),
    code(
        StatusCode::BAD_REQUEST,
        "bad_request",
        "a head that cannot be parsed",
    ),
    code(
        StatusCode::BAD_REQUEST,
        "crop_outside",
        "the crop ends outside the picture",
    ),
    code(
        StatusCode::BAD_REQUEST,
        "duplicate_field",
        "more than one file",
    ),
    code(StatusCode::BAD_REQUEST, "empty", "a file of no bytes"),
    code(
        StatusCode::BAD_REQUEST,
        "incomplete_body",
        "the body broke off",
    ),
    code(
        StatusCode::BAD_REQUEST,
        "invalid",
        "a field is missing or not what it should be",
    ),
    code(
        StatusCode::BAD_REQUEST,
        "malformed_image",
        "a picture that cannot be decoded",
    ),
    code(StatusCode::BAD_REQUEST, "missing_file", "no file `image`"),
    code(StatusCode::BAD_REQUEST, "not_a_file", "`image` is text"),
    code(
        StatusCode::BAD_REQUEST,
        "not_an_image",
        "a file that is no picture",
    ),
    code(
        StatusCode::BAD_REQUEST,
        "password_too_long",
        "a password of more than 256 characters",
    ),
    code(
        StatusCode::BAD_REQUEST,
        "password_too_short",
        "a password of fewer than 8 characters",
    ),
    code(
        StatusCode::BAD_REQUEST,
        "side_too_long",
        "a side longer than `picture.side_px_max`",
    ),
    code(
        StatusCode::BAD_REQUEST,
        "too_many_bytes",
        "a file larger than `http.upload_bytes_max`",
    ),
    code(
        StatusCode::BAD_REQUEST,
        "too_many_pixels",
        "more pixels than `picture.pixels_max`",
    ),
    code(
        StatusCode::BAD_REQUEST,
        "unreadable_image",
        "a picture that kills or outlasts its decoder",
    ),
    code(
        StatusCode::BAD_REQUEST,
        "unsupported_format",
        "a picture that is not JPEG, PNG or HEIC",
    ),
    code(
        StatusCode::UNAUTHORIZED,
        "bad_authorization_header",
        "`Authorization` is not two words",
    ),
    code(
        StatusCode::UNAUTHORIZED,
        "no_active_account",
        "wrong e-mail address or password, or the account is gone",
    ),
    code(StatusCode::UNAUTHORIZED, "not_authenticated", "no token"),
    code(
        StatusCode::UNAUTHORIZED,
        "token_not_valid",
        "the token is forged, expired or of the wrong kind",
    ),
    code(
        StatusCode::UNAUTHORIZED,
        "user_not_found",
        "the token's user is gone",
    ),
    code(
        StatusCode::FORBIDDEN,
        "insufficient_scope",
        "the token lacks a scope that its issuer's table asks for",
    ),
    code(StatusCode::NOT_FOUND, "not_found", "no such thing"),
    code(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        "`Allow` says which methods there are",
    ),
    code(
        StatusCode::REQUEST_TIMEOUT,
        "timeout",
        "the body arrives too slowly",
    ),
    code(
        StatusCode::CONFLICT,
        "email_taken",
        "another account has this e-mail address",
    ),
    code(
        StatusCode::PRECONDITION_FAILED,
        "precondition_failed",
        "the profile or the file is not what the condition asks for",
    ),
    code(
        StatusCode::PAYLOAD_TOO_LARGE,
        "body_too_large",
        "a JSON body larger than `http.json_bytes_max`",
    ),
    code(
        StatusCode::URI_TOO_LONG,
        "target_too_long",
        "the request line is too long",
    ),
    code(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "unsupported_media_type",
        "not the `Content-Type` that the route takes",
    ),
    code(
        StatusCode::RANGE_NOT_SATISFIABLE,
        "range_not_satisfiable",
        "no byte of the range is in the file",
    ),
    code(
        StatusCode::UNPROCESSABLE_ENTITY,
        "idempotency_key_reused",
        "the key was used for another upload",
    ),
    code(
        StatusCode::TOO_MANY_REQUESTS,
        "throttled",
        "more than `[rate_limit]` allows; `Retry-After` says when",
    ),
    code(
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        "head_too_large",
        "too many header fields, or too large ones",
    ),
    code(
        StatusCode::INTERNAL_SERVER_ERROR,
        "internal",
        "a fault of the server",
    ),
    code(
        StatusCode::SERVICE_UNAVAILABLE,
        "busy",
        "all workers, their queue or the room for bodies are taken",
    ),
    code(
        StatusCode::HTTP_VERSION_NOT_SUPPORTED,
        "unsupported_version",
        "another version of HTTP",
    ),
    code(
        StatusCode::SERVICE_UNAVAILABLE,
        "unavailable",
        "the store is not ready",
    ),
    code(
        StatusCode::INSUFFICIENT_STORAGE,
        "disk_full",
        "the disk is full",
    ),
];

/// Whether the table has that code with that status.
pub(super) fn is_listed(name: &str, status: StatusCode) -> bool {
    let mut codes = CODES.iter();
    codes.any(|code| code.name == name && code.status == status)
}
