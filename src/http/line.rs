//! The log's line of a request: exactly one, whatever becomes of it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hyper::Method;

use crate::http::error::ApiError;
use crate::http::head;
use crate::http::respond::Reply;
use crate::service;

/// A request that has no line yet. Dropped without an answer, it gets one that says why there is none.
#[derive(Debug)]
pub(super) struct Line<'a> {
    method: &'a Method,
    route: &'static str,
    request_id: &'a str,
    begin: Instant,
    /// Whether the server has given up the requests that were running when it was to stop.
    cut_off: &'a AtomicBool,
    is_written: bool,
}

impl<'a> Line<'a> {
    pub(super) const fn new(
        method: &'a Method,
        route: &'static str,
        request_id: &'a str,
        begin: Instant,
        cut_off: &'a AtomicBool,
    ) -> Self {
        Self {
            method,
            route,
            request_id,
            begin,
            cut_off,
            is_written: false,
        }
    }

    /// Writes the line of an answer that took so long.
    pub(super) fn answered(mut self, reply: &Reply, milliseconds: u64, error: Option<&ApiError>) {
        self.is_written = true;
        answered(
            self.method,
            self.route,
            reply,
            milliseconds,
            self.request_id,
            error,
        );
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        if self.is_written {
            return;
        }
        let unanswered = if self.cut_off.load(Ordering::Relaxed) {
            "server stopped"
        } else {
            "client gone"
        };
        let (method, route) = (head::told(self.method), self.route);
        let (milliseconds, request_id) = (milliseconds(self.begin.elapsed()), self.request_id);
        tracing::info!(%method, route, unanswered, milliseconds, request_id, "request");
    }
}

/// As the log tells times.
pub(super) fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// 5xx that is ours is an error with its whole chain; the rest is information: a full queue, and a version of HTTP that a
/// client made up.
pub(super) fn answered(
    method: &Method,
    route: &str,
    reply: &Reply,
    milliseconds: u64,
    request_id: &str,
    error: Option<&ApiError>,
) {
    let method = head::told(method);
    let status = reply.status().as_u16();
    let bytes = hyper::body::Body::size_hint(reply.body())
        .exact()
        .unwrap_or(0);
    let code = error.map(|error| error.code);
    let cause = error
        .and_then(|error| error.cause.as_ref())
        .map(|cause| service::chain(cause));
    if reply.status().is_server_error() && !matches!(status, 503 | 505) {
        tracing::error!(%method, route, status, bytes, milliseconds, request_id, code, cause, "request");
    } else {
        tracing::info!(%method, route, status, bytes, milliseconds, request_id, code, cause, "request");
    }
}
