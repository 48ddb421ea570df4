//! Answers: JSON, files, nothing. What is on every answer is added in `server`.

use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{
    ACCEPT_RANGES, ALLOW, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_RANGE,
    CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HeaderMap, HeaderName, HeaderValue, LAST_MODIFIED,
    REFERRER_POLICY,
};
use hyper::{Response, StatusCode};
use serde_json::{Map, Value, json};
use xxhash_rust::xxh3::xxh3_128;

use crate::domain::user::Profile;
use crate::http::conditional;
use crate::http::conditional::{Answer, Validators};
use crate::http::error;
use crate::http::error::ApiError;
use crate::service::Stored;

/// The body of every answer: all of it is at hand.
pub(super) type Reply = Response<Full<Bytes>>;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const PROBLEM: HeaderValue = HeaderValue::from_static("application/problem+json");
const PRIVATE: HeaderValue = HeaderValue::from_static("private, no-cache");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
const CORP: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// A JSON document. Never cached: it changes with the next upload.
pub(super) fn json(status: StatusCode, value: &Value) -> Reply {
    typed(status, JSON, value)
}

fn typed(status: StatusCode, kind: HeaderValue, value: &Value) -> Reply {
    let mut reply = Response::new(Full::from(value.to_string()));
    *reply.status_mut() = status;
    reply.headers_mut().insert(CONTENT_TYPE, kind);
    reply.headers_mut().insert(CACHE_CONTROL, NO_STORE);
    reply
}

/// The strong entity tag of a document.
pub(super) fn etag(value: &Value) -> String {
    format!("\"{:032x}\"", xxh3_128(value.to_string().as_bytes()))
}

/// 200 with a document that has a tag. A browser may keep it, and asks each time whether it still holds.
pub(super) fn tagged(value: &Value, etag: String) -> Reply {
    let mut reply = json(StatusCode::OK, value);
    let fields = reply.headers_mut();
    insert(fields, ETAG, etag);
    fields.insert(CACHE_CONTROL, PRIVATE);
    reply
}

/// As [`tagged`], or 304 if the client has it.
pub(super) fn if_changed(value: &Value, etag: String, request: &HeaderMap) -> Reply {
    let is_known = conditional::is_known(request, &etag);
    let mut reply = tagged(value, etag);
    if is_known {
        *reply.status_mut() = StatusCode::NOT_MODIFIED;
        *reply.body_mut() = Full::default();
        reply.headers_mut().remove(CONTENT_TYPE);
    }
    reply
}

/// A JSON document of ours, or 304 if the client has it.
pub(super) fn text_if_changed(text: &'static str, request: &HeaderMap) -> Reply {
    let etag = format!("\"{:032x}\"", xxh3_128(text.as_bytes()));
    let is_known = conditional::is_known(request, &etag);
    let mut reply = Response::new(Full::from(if is_known { "" } else { text }));
    let fields = reply.headers_mut();
    insert(fields, ETAG, etag);
    fields.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    if is_known {
        *reply.status_mut() = StatusCode::NOT_MODIFIED;
    } else {
        fields.insert(CONTENT_TYPE, JSON);
    }
    reply
}

/// 204 with the methods of a route.
pub(super) fn options(allow: &'static str) -> Reply {
    let mut reply = Response::new(Full::default());
    *reply.status_mut() = StatusCode::NO_CONTENT;
    reply
        .headers_mut()
        .insert(ALLOW, HeaderValue::from_static(allow));
    reply
}

/// A refusal, in the form that the client asked for.
pub(super) fn error(error: &ApiError, problem: bool, request_id: &str) -> Reply {
    let mut reply = if problem {
        typed(error.status, PROBLEM, &problem_details(error, request_id))
    } else {
        typed(error.status, JSON, &error.body)
    };
    for (name, value) in &error.headers {
        reply.headers_mut().append(name, value.clone());
    }
    reply
}

/// RFC 9457 §3. `type` names the code; `about:blank` would say less.
fn problem_details(error: &ApiError, request_id: &str) -> Value {
    let mut problem = json!({
        "type": format!("urn:pockitd:problem:{}", error.code),
        "title": error.status.canonical_reason().unwrap_or_default(),
        "status": error.status.as_u16(),
        "detail": error.sentence(),
        "code": error.code,
    });
    if let Some(fields) = problem.as_object_mut() {
        if let Some(limit) = error.limit {
            fields.insert("limit".to_owned(), limit.into());
        }
        if let Some(actual) = error.actual {
            fields.insert("actual".to_owned(), actual.into());
        }
        // Of a form with several mistakes, `detail` tells the first.
        if error
            .body
            .as_object()
            .is_some_and(|body| body.values().all(Value::is_array))
        {
            fields.insert("errors".to_owned(), error.body.clone());
        }
        fields.insert("request_id".to_owned(), request_id.into());
    }
    problem
}

/// A profile with absolute URLs below `base`. `sizes_px` are the configured ones, for users without a picture.
pub(super) fn profile(profile: &Profile, base: &str, sizes_px: &[u16]) -> Value {
    let (prefix, sizes_px) = match &profile.picture {
        Some(picture) => (
            format!("{base}/media/profile_pictures/{}", picture.id),
            picture.sizes_px.as_slice(),
        ),
        None => (format!("{base}/media/default"), sizes_px),
    };
    let url = |size: Option<&u16>| size.map(|size| format!("{prefix}/{size}.jpg"));
    let picture = profile.picture.as_ref().map(|picture| {
        let urls = picture
            .sizes_px
            .iter()
            .map(|size| (size.to_string(), json!(url(Some(size)))));
        json!({
            "id": picture.id,
            "width": picture.width,
            "height": picture.height,
            "thumbhash": STANDARD.encode(&picture.thumbhash),
            "urls": urls.collect::<Map<_, _>>(),
            "applied": picture.applied,
            "uploaded_at": picture.uploaded_at.to_string(),
        })
    });
    json!({
        "user_id": profile.user_id,
        "name": profile.name,
        "profile_picture_url": url(sizes_px.first()),
        "profile_picture_thumbnail_url": url(sizes_px.last()),
        "has_picture": picture.is_some(),
        "picture": picture,
        "created_at": profile.created_at.to_string(),
        "updated_at": profile.updated_at.to_string(),
    })
}

/// How long a file may be kept by others.
#[derive(Clone, Copy, Debug)]
pub(super) enum Caching {
    /// The URL names these bytes and never others.
    Immutable,
    /// The URL may show something else after an upgrade.
    Short,
}

/// A JPEG file: whole, in part, or not at all if the client has it.
///
/// # Errors
///
/// 412 `precondition_failed`, 416 `range_not_satisfiable`. They belong to the request and not to the URL: nobody keeps
/// them.
pub(super) fn file(
    stored: &Stored,
    name: &str,
    caching: Caching,
    headers: &HeaderMap,
) -> Result<Reply, ApiError> {
    let seconds = u64::try_from(stored.uploaded_at.as_seconds()).unwrap_or(0);
    let modified = SystemTime::UNIX_EPOCH
        .checked_add(Duration::from_secs(seconds))
        .unwrap_or(SystemTime::UNIX_EPOCH);
    let validators = Validators {
        etag: format!("\"{:032x}\"", stored.checksum),
        modified,
    };
    let length = stored.bytes.len();
    let (status, bytes, range) = match conditional::judge(headers, &validators, length) {
        Answer::Whole => (StatusCode::OK, stored.bytes.clone(), None),
        Answer::Part(range) => {
            let bytes = stored.bytes.slice(range.clone());
            (StatusCode::PARTIAL_CONTENT, bytes, Some(range))
        }
        Answer::NotModified => (StatusCode::NOT_MODIFIED, Bytes::new(), None),
        Answer::PreconditionFailed => return Err(error::file_precondition_failed()),
        Answer::OutOfRange => {
            let length = u64::try_from(length).unwrap_or(u64::MAX);
            return Err(error::range_not_satisfiable(length));
        }
    };
    let mut reply = Response::new(Full::from(bytes));
    *reply.status_mut() = status;
    let fields = reply.headers_mut();
    fields.insert(
        CACHE_CONTROL,
        match caching {
            Caching::Immutable => HeaderValue::from_static("public, max-age=31536000, immutable"),
            Caching::Short => HeaderValue::from_static("public, max-age=300"),
        },
    );
    insert(fields, ETAG, validators.etag);
    insert(fields, LAST_MODIFIED, httpdate::fmt_http_date(modified));
    fields.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    fields.insert(
        CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; sandbox"),
    );
    fields.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    fields.insert(CORP, HeaderValue::from_static("cross-origin"));
    if status != StatusCode::NOT_MODIFIED {
        fields.insert(CONTENT_TYPE, HeaderValue::from_static("image/jpeg"));
        insert(
            fields,
            CONTENT_DISPOSITION,
            format!("inline; filename=\"{name}\""),
        );
    }
    if let Some(range) = range {
        let (first, last) = (range.start, range.end.saturating_sub(1));
        insert(
            fields,
            CONTENT_RANGE,
            format!("bytes {first}-{last}/{length}"),
        );
    }
    Ok(reply)
}

/// Inserts a value of ours, which is visible ASCII.
fn insert(fields: &mut HeaderMap, name: HeaderName, value: String) {
    if let Ok(value) = HeaderValue::try_from(value) {
        fields.insert(name, value);
    }
}
