//! Doors for the fuzzer to readers that are private otherwise. Built for it, and for tests, so that it stays
//! buildable.

use std::error::Error as StdError;

use bytes::Bytes;
use futures_util::stream;
use http_body_util::StreamBody;
use http_body_util::combinators::BoxBody;
use hyper::HeaderMap;
use hyper::Method;
use hyper::body::Frame;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use tokio_util::task::TaskTracker;

use crate::config;
use crate::http::body::{Body, Bounds, Tie};
use crate::http::form;
use crate::http::gate::Gate;
use crate::http::request;
use crate::http::room::Room;
use crate::http::route::Route;

/// The multipart form, arriving in pieces of `piece` bytes. The boundary is `X`.
///
/// # Panics
///
/// If a file comes out that is not part of the body, or one beyond the limit.
pub fn form(body: &[u8], piece: u8) {
    let config = config::Http {
        upload_bytes_max: 4_096,
        form_overhead_bytes_max: 4_096,
        ..config::Http::default()
    };
    let mut headers = HeaderMap::new();
    let multipart = HeaderValue::from_static("multipart/form-data; boundary=X");
    headers.insert(CONTENT_TYPE, multipart);
    let pieces = body.chunks(usize::from(piece.max(1)));
    let frames = pieces.map(|piece| Ok(Frame::data(Bytes::copy_from_slice(piece))));
    let frames: Vec<Result<_, Box<dyn StdError + Send + Sync>>> = frames.collect();
    let inner = BoxBody::new(StreamBody::new(stream::iter(frames)));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let Ok(runtime) = runtime else { return };
    runtime.block_on(async {
        let bounds = Bounds::new(&config, TaskTracker::new());
        let body_of_form = Body::new(inner, &headers, bounds, Tie::default());
        let room = Room::new(&config);
        let Ok(user) = "fuzzer".parse() else {
            return;
        };
        if let Ok(form) = form::read(&headers, body_of_form, &user, &room, &config).await {
            let length = form.image.len();
            assert!(length <= 4_096, "{length} bytes");
            let is_part = length == 0 || body.windows(length).any(|part| part == form.image);
            assert!(is_part, "the file is not in the form");
        }
    });
}

/// Raw HTTP/1.1 on its way to the parser.
///
/// # Panics
///
/// If it matters in which pieces the bytes arrive, or if anything is changed although nothing was found.
pub fn framing(bytes: &[u8], piece: u8) {
    let mut whole = Gate::new();
    whole.take(bytes);
    let mut pieces = Gate::new();
    for piece in bytes.chunks(usize::from(piece.max(1))) {
        pieces.take(piece);
    }
    let at = |gate: &Gate| gate.found().map(|(at, _)| at);
    whole.end();
    pieces.end();
    assert_eq!(at(&whole), at(&pieces));
    if whole.found().is_none() {
        assert!(bytes.starts_with(whole.released()) && whole.released() == pieces.released());
    }
}

/// The router.
pub fn route(path: &str) {
    for method in [Method::GET, Method::POST, Method::OPTIONS] {
        drop(Route::parse(&method, path));
    }
}

/// The `Authorization` field, as far as the token.
#[must_use]
pub fn bearer(field: &[u8]) -> Option<String> {
    let mut headers = HeaderMap::new();
    headers.insert(
        hyper::header::AUTHORIZATION,
        HeaderValue::from_bytes(field).ok()?,
    );
    request::bearer(&headers).ok().map(ToOwned::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doors_take_good_and_bad_bytes() {
        let head = "--X\r\nContent-Disposition: form-data; name=\"image\"; filename=\"a\"\r\n\r\n";
        for body in [
            format!("{head}\r\n--\r\n--X--\r\n"),
            head.to_owned(),
            String::new(),
        ] {
            for piece in [1, 7, 255] {
                form(body.as_bytes(), piece);
            }
        }
        let get = "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n";
        for wire in [get.repeat(2), format!("{get}\0"), "A: b\n".repeat(9)] {
            for piece in [1, 7, 255] {
                framing(wire.as_bytes(), piece);
            }
        }
        route("/api/users/%F0%9F%98%80/profile/");
        assert_eq!(bearer(b"Bearer a.b.c").as_deref(), Some("a.b.c"));
        assert_eq!(bearer(b"\0"), None);
    }
}
