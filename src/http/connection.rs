//! One connection from its handshake to its end: plain or TLS, HTTP/1.1 or HTTP/2.
//!
//! Every limit of HTTP/1.1 holds in HTTP/2 as well: of heads by size, number of fields and time, of bodies (they are
//! the same code), of answers that nobody takes, of idle time. What HTTP/2 adds is bounded, too: streams, resets,
//! windows. Its tasks are waited for like the connection.

use std::convert::Infallible;
use std::future::Future;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body as _, Incoming};
use hyper::header::{CONTENT_LENGTH, HOST, HeaderValue};
use hyper::rt::Executor;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulConnection, Watcher};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until};
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::http::framing::Violation;
use crate::http::head::{HEAD_BYTES_MAX, HEAD_FIELDS_MAX};
use crate::http::respond::Reply;
use crate::http::server::{Server, answer};
use crate::http::tls::{Tls, is_http2};
use crate::http::wire::Wire;

/// What a client may send of one body before it is read, in bytes. A connection has that much for each of its streams:
/// whoever sends a body that waits for room takes nothing of what the others on the connection may send.
const STREAM_WINDOW_BYTES: u32 = 128 * 1_024;
/// Streams that a client opened and reset before they were looked at, before the connection is given up: a flood of
/// them costs the client nothing (CVE-2023-44487).
const RESETS_PENDING_MAX: usize = 20;
/// Streams that broke the protocol, or were one too many, and were reset for it, before the connection is given up
/// (CVE-2025-8671). Clients may open a hundred before they hear of `tls.http2_streams_max`, and have done nothing wrong.
const RESETS_FOR_ERRORS_MAX: usize = 128;
/// A connection that is to end has to take so much of its last answers within each `http.write_timeout_ms`, in bytes.
const PROGRESS_BYTES_MIN: u64 = 1_024;

/// How a server ends its connections.
#[derive(Debug)]
pub(super) struct Ends {
    /// For HTTP/1.1.
    pub(super) watcher: Watcher,
    /// For HTTP/2.
    pub(super) stopping: CancellationToken,
    /// Where the tasks of HTTP/2 are waited for.
    pub(super) tasks: TaskTracker,
}

/// Serves until the client goes, stays silent for too long, or the server stops.
pub(super) async fn serve(
    server: Arc<Server>,
    stream: TcpStream,
    head_timeout: Duration,
    ends: Ends,
) {
    let peer = stream
        .peer_addr()
        .map_or(IpAddr::from([0; 4]), |peer| peer.ip());
    let ended = match server.tls.clone() {
        None => {
            ends.watcher
                .watch(http1(server, (stream, peer), head_timeout))
                .await
        }
        // Boxed, as each connection has the room of the largest of these, and plain ones need the least.
        Some(tls) => Box::pin(encrypted(server, tls, (stream, peer), head_timeout, ends)).await,
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "connection ended early");
    }
}

async fn encrypted(
    server: Arc<Server>,
    tls: Tls,
    (stream, peer): (TcpStream, IpAddr),
    head_timeout: Duration,
    ends: Ends,
) -> hyper::Result<()> {
    // Each boxed: what one needs is not held through the others.
    match Box::pin(tls.accept(stream, head_timeout)).await {
        Err(error) => {
            tracing::debug!(%error, "no TLS handshake");
            Ok(())
        }
        Ok(stream) if is_http2(&stream) => {
            Box::pin(http2(server, (stream, peer), head_timeout, ends)).await
        }
        Ok(stream) => {
            let connection = http1(server, (stream, peer), head_timeout);
            Box::pin(ends.watcher.watch(connection)).await
        }
    }
}

fn http1<S>(
    server: Arc<Server>,
    (socket, peer): (S, IpAddr),
    head_timeout: Duration,
) -> impl GracefulConnection<Error = hyper::Error> + Send + 'static
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (wire, found) = Wire::watched(socket, write_timeout(&server));
    let requests = AtomicU64::new(0);
    let service = service_fn(move |request: Request<Incoming>| {
        let server = Arc::clone(&server);
        let ordinal = requests.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        let violation = found
            .get()
            .filter(|(at, _)| *at <= ordinal)
            .map(|(_, violation)| *violation);
        async move {
            let reply = answered(&server, peer, with_target_host(request), violation);
            Ok::<_, Infallible>(reply.await)
        }
    });
    bounded_http1(head_timeout)
        .half_close(true)
        .serve_connection(TokioIo::new(wire), service)
}

/// HTTP/1 with the bounds on heads that hold on every listener for strangers.
pub(super) fn bounded_http1(head_timeout: Duration) -> http1::Builder {
    let mut bounded = http1::Builder::new();
    bounded
        // Without a timer the head timeout would silently not exist.
        .timer(TokioTimer::new())
        .header_read_timeout(head_timeout)
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(HEAD_FIELDS_MAX);
    bounded
}

async fn http2(
    server: Arc<Server>,
    (socket, peer): (TlsStream<TcpStream>, IpAddr),
    head_timeout: Duration,
    ends: Ends,
) -> hyper::Result<()> {
    let Ends {
        watcher: _held_until_the_end,
        stopping,
        tasks,
    } = ends;
    let write_timeout = write_timeout(&server);
    let wire = Wire::new(socket, write_timeout);
    let written = wire.written();
    let streams_max = server.app.config.tls.http2_streams_max;
    let activity = Activity::new();
    let requests = Arc::clone(&activity);
    let service = service_fn(move |request: Request<Incoming>| {
        let server = Arc::clone(&server);
        let busy = requests.begin();
        async move {
            let _until_answered = busy;
            let request = with_host(request);
            let is_head = request.method() == Method::HEAD;
            let reply = answered(&server, peer, request, None).await;
            Ok::<_, Infallible>(if is_head { without_body(reply) } else { reply })
        }
    });
    let connection = http2::Builder::new(Tasks(tasks))
        .timer(TokioTimer::new())
        .max_concurrent_streams(streams_max)
        .max_header_list_size(u32::try_from(HEAD_BYTES_MAX).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(RESETS_PENDING_MAX)
        .max_local_error_reset_streams(RESETS_FOR_ERRORS_MAX)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(streams_max.saturating_mul(STREAM_WINDOW_BYTES))
        .keep_alive_interval(head_timeout)
        .keep_alive_timeout(head_timeout)
        .serve_connection(TokioIo::new(wire), service);
    let mut connection = pin!(connection);
    let mut leaving = false;
    let mut taken = 0;
    let mut look_again = later(head_timeout);
    loop {
        tokio::select! {
            ended = connection.as_mut() => return ended,
            () = stopping.cancelled(), if !leaving => {}
            () = sleep_until(look_again) => {
                let Some(quiet_since) = activity.quiet_since() else {
                    look_again = later(head_timeout);
                    continue;
                };
                let over = quiet_since.checked_add(head_timeout).unwrap_or(quiet_since);
                if !leaving && over > Instant::now() {
                    look_again = over;
                    continue;
                }
                let now_taken = written.load(Ordering::Relaxed);
                if leaving && now_taken.saturating_sub(taken) < PROGRESS_BYTES_MIN {
                    // Whoever takes nothing of what is left to send is given up.
                    return Ok(());
                }
                taken = now_taken;
                look_again = later(write_timeout);
            }
        }
        if !leaving {
            leaving = true;
            connection.as_mut().graceful_shutdown();
            taken = written.load(Ordering::Relaxed);
            look_again = later(write_timeout);
        }
    }
}

/// Boxed, or each connection would hold the room of a request, also while it has none: 46 KiB instead of 36, measured.
fn answered(
    server: &Server,
    peer: IpAddr,
    request: Request<Incoming>,
    violation: Option<Violation>,
) -> BoxFuture<'_, Reply> {
    let request = request.map(|body| body.map_err(Into::into).boxed());
    Box::pin(answer(server, peer, request, violation))
}

/// Where the target is a whole URL, its host counts and not the one of the field, which must be there all the same
/// (RFC 9112 §3.2.2).
fn with_target_host(mut request: Request<Incoming>) -> Request<Incoming> {
    let uri = request.uri();
    let authority = uri.scheme().and(uri.authority());
    let named = authority.and_then(|authority| HeaderValue::from_str(authority.as_str()).ok());
    if let Some(named) = named
        && request.headers().get_all(HOST).iter().count() == 1
    {
        request.headers_mut().insert(HOST, named);
    }
    request
}

/// What HTTP/1.1 calls Host stands in `:authority`. Two that differ become two, which are refused (RFC 9113 §8.3.1).
fn with_host(mut request: Request<Incoming>) -> Request<Incoming> {
    let authority = request.uri().authority();
    let named = authority.and_then(|authority| HeaderValue::from_str(authority.as_str()).ok());
    if let Some(named) = named
        && request.headers().get(HOST) != Some(&named)
    {
        request.headers_mut().append(HOST, named);
    }
    request
}

/// The answer to HEAD: hyper leaves the body out for HTTP/1.1 only. The length is that of the body there would be; 304 and
/// 204 have none to tell of (RFC 9110 §8.6).
fn without_body(mut reply: Reply) -> Reply {
    if matches!(
        reply.status(),
        StatusCode::NOT_MODIFIED | StatusCode::NO_CONTENT
    ) {
        return reply;
    }
    let length = reply.body().size_hint().exact().unwrap_or(0);
    if !reply.headers().contains_key(CONTENT_LENGTH) {
        reply.headers_mut().insert(CONTENT_LENGTH, length.into());
    }
    *reply.body_mut() = Full::default();
    reply
}

fn write_timeout(server: &Server) -> Duration {
    Duration::from_millis(server.app.config.http.write_timeout_ms)
}

fn later(duration: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(duration).unwrap_or(now)
}

/// Runs the tasks of a connection where they are waited for.
#[derive(Clone, Debug)]
struct Tasks(TaskTracker);

impl<F> Executor<F> for Tasks
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, task: F) {
        self.0.spawn(task);
    }
}

/// How many requests of a connection are being answered, and since when none is.
#[derive(Debug)]
struct Activity(Mutex<(usize, Instant)>);

impl Activity {
    fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new((0, Instant::now()))))
    }

    fn begin(self: &Arc<Self>) -> Busy {
        self.change(|count| count.saturating_add(1));
        Busy(Arc::clone(self))
    }

    fn quiet_since(&self) -> Option<Instant> {
        let (count, changed) = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (count == 0).then_some(changed)
    }

    fn change(&self, next: impl FnOnce(usize) -> usize) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *state = (next(state.0), Instant::now());
    }
}

/// A request that is being answered.
#[derive(Debug)]
struct Busy(Arc<Activity>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.change(|count| count.saturating_sub(1));
    }
}
