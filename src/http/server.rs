//! The listener: accepts, dispatches, finishes every answer, stops in order.
//!
//! Everything is bounded: connections by permits (further ones wait in the kernel's backlog), heads and bodies by size
//! and time, the end by a deadline. No task is detached: connections and drains are waited for.

use std::future::Future;
use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use hyper::header::{CONNECTION, HeaderName, HeaderValue, RANGE, X_CONTENT_TYPE_OPTIONS};
use hyper::{HeaderMap, Method, Request, Version};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::domain::network::ClientAddress;
use crate::http::address;
use crate::http::body::{Body, Bounds, RawBody, Tie};
use crate::http::connection;
use crate::http::connection::Ends;
use crate::http::cors::Cors;
use crate::http::crowd::Crowd;
use crate::http::error::ApiError;
use crate::http::framing::Violation;
use crate::http::handlers;
use crate::http::handlers::Context;
use crate::http::head::HEAD_FIELDS_MAX;
use crate::http::line;
use crate::http::line::Line;
use crate::http::rate_limit::Met;
use crate::http::request;
use crate::http::request::Refusal;
use crate::http::respond;
use crate::http::respond::Reply;
use crate::http::room::Room;
use crate::http::route::Route;
use crate::http::tls::Tls;
use crate::service;
use crate::service::App;
use crate::service::metrics::{Answered, Stage, Stages};

/// Pause after a failed accept: out of file descriptors, say, which only time mends.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const NOSNIFF: HeaderValue = HeaderValue::from_static("nosniff");
const CLOSE: HeaderValue = HeaderValue::from_static("close");

/// What connections share.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) app: Arc<App>,
    /// None: the connections are plain.
    pub(super) tls: Option<Tls>,
    cors: Cors,
    room: Room,
    bounds: Bounds,
    drainers: TaskTracker,
    /// Whether it was said that a proxy is not heard.
    warned: AtomicBool,
    /// Whether requests are given up, because the server stops and they took too long.
    cut_off: AtomicBool,
}

/// Serves until `shutdown` is ready, then lets running requests end within `http.shutdown_timeout_ms`.
pub async fn run(
    listener: TcpListener,
    tls: Option<Tls>,
    app: Arc<App>,
    shutdown: impl Future<Output = ()>,
) {
    let config = app.config.http.clone();
    let drainers = TaskTracker::new();
    let cors = Cors::new(&app.config.cors);
    let server = Arc::new(Server {
        app,
        tls,
        cors,
        room: Room::new(&config),
        bounds: Bounds::new(&config, drainers.clone()),
        drainers: drainers.clone(),
        warned: AtomicBool::new(false),
        cut_off: AtomicBool::new(false),
    });
    let crowd = Crowd::new(&config);
    let graceful = GracefulShutdown::new();
    let stopping = CancellationToken::new();
    let connections = TaskTracker::new();
    let mut shutdown = pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &crowd) => accepted,
            () = &mut shutdown => break,
        };
        let Some((stream, permit)) = accepted else {
            continue;
        };
        let ends = Ends {
            watcher: graceful.watcher(),
            stopping: stopping.clone(),
            tasks: connections.clone(),
        };
        let connection = connection::serve(Arc::clone(&server), stream, crowd.patience(), ends);
        connections.spawn(async move {
            let _held_until_closed = permit;
            connection.await;
        });
    }
    drop(listener);
    stopping.cancel();
    let drained = async {
        graceful.shutdown().await;
        connections.close();
        connections.wait().await;
        drainers.close();
        drainers.wait().await;
    };
    if timeout(Duration::from_millis(config.shutdown_timeout_ms), drained)
        .await
        .is_err()
    {
        server.cut_off.store(true, Ordering::Relaxed);
        tracing::warn!(
            open = connections.len(),
            "stopping although requests are still running"
        );
    }
}

/// The next connection, once there is room for it. None after a failure that a pause may mend.
async fn accept(
    listener: &TcpListener,
    crowd: &Crowd,
) -> Option<(TcpStream, OwnedSemaphorePermit)> {
    let permit = crowd.room().await?;
    match listener.accept().await {
        Ok((stream, _)) => {
            // Answers are small and complete: waiting for more to send helps nobody.
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "cannot turn off Nagle's algorithm");
            }
            Some((stream, permit))
        }
        Err(error) => {
            tracing::warn!(%error, "cannot accept a connection");
            sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}

/// Answers one request; whatever happens, with one of our answers and one line in the log.
pub(super) async fn answer(
    server: &Server,
    peer: IpAddr,
    request: Request<RawBody>,
    violation: Option<Violation>,
) -> Reply {
    let begin = Instant::now();
    let method = request.method().clone();
    let headers = request.headers().clone();
    let request_id = request_id(&headers);
    let preflight = Cors::is_preflight(&method, &headers);
    let route = Route::parse(&method, request.uri().path());
    let route_name = route.as_ref().map_or("none", Route::name);
    let is_upload = matches!(route, Ok(Route::ReplacePicture));
    let met = Met::default();
    let client = client(server, peer, &headers);
    let stages = Arc::new(Stages::default());
    let line = Line::new(&method, route_name, &request_id, begin, &server.cut_off);
    let tie = Tie::default();
    let _until_answered = tie.until_answered();
    let about = About {
        client,
        met: &met,
        stages: &stages,
        tie: &tie,
    };
    let outcome = AssertUnwindSafe(routed(server, about, route, request, violation))
        .catch_unwind()
        .await;
    let outcome = outcome.unwrap_or_else(|_| Err(service::Error::Cancelled.into()));
    let mut cause = None;
    let mut over = None;
    let mut reply = match outcome {
        Ok(reply) => reply,
        Err(error) => {
            if let Some(service::Error::Throttled(throttled)) = &error.cause {
                met.stopped(throttled.quota);
                over = Some(throttled.quota.policy);
            }
            let reply = respond::error(&error, request::wants_problem(&headers), &request_id);
            cause = Some(error);
            reply
        }
    };
    met.write(reply.headers_mut());
    finish(&server.cors, &headers, preflight, &mut reply, &request_id);
    if tie.is_unasked() {
        reply.headers_mut().insert(CONNECTION, CLOSE);
    }
    let took = begin.elapsed();
    server.app.metrics.answered(&Answered {
        route: route_name,
        method: method.as_str(),
        status: reply.status().as_u16(),
        code: cause.as_ref().map(|error| error.code),
        over,
        is_upload,
        took,
    });
    let milliseconds = line::milliseconds(took);
    line.answered(&reply, milliseconds, cause.as_ref());
    let slow_ms = server.app.config.log.slow_upload_ms;
    if is_upload && slow_ms > 0 && milliseconds > slow_ms {
        log_stages(&stages, milliseconds, &request_id);
    }
    reply
}

/// What is known of a request, and noted of it, beside the request itself.
#[derive(Clone, Copy)]
struct About<'a> {
    client: ClientAddress,
    met: &'a Met,
    stages: &'a Arc<Stages>,
    tie: &'a Tie,
}

async fn routed(
    server: &Server,
    about: About<'_>,
    route: Result<Route, crate::http::route::Unrouted>,
    request: Request<RawBody>,
    violation: Option<Violation>,
) -> Result<Reply, ApiError> {
    let (mut parts, body) = request.into_parts();
    // A range is for GET only (RFC 9110 §14.2).
    if parts.method != Method::GET {
        parts.headers.remove(RANGE);
    }
    let body = Body::new(
        body,
        &parts.headers,
        server.bounds.clone(),
        about.tie.clone(),
    );
    if let Some(violation) = violation {
        // What still comes is dropped within bounds, so that the sender sees the answer.
        drop(body);
        return Err(Refusal::Framing(violation).into());
    }
    // HTTP/1.1 is stopped before; in HTTP/2 only the size is bounded until here.
    if parts.headers.len() > HEAD_FIELDS_MAX {
        return Err(Refusal::TooManyFields {
            limit: HEAD_FIELDS_MAX,
            actual: parts.headers.len(),
        }
        .into());
    }
    let base = base(server, &parts.headers, parts.version)?;
    let context = Context {
        app: &server.app,
        client: about.client,
        met: about.met,
        tasks: &server.drainers,
        room: &server.room,
        base: &base,
        stages: about.stages,
    };
    let route = route.map_err(|unrouted| ApiError::unrouted(unrouted, &parts.method))?;
    context.admit(&route)?;
    let request = Request::from_parts(parts, body);
    match route {
        Route::ReplacePicture => handlers::pictures::replace(context, request).await,
        Route::RemovePicture => handlers::pictures::remove(context, request).await,
        Route::OwnProfile => handlers::profiles::own(context, request).await,
        Route::Rename => handlers::profiles::rename(context, request).await,
        Route::Profile(user) => handlers::profiles::any(context, user, request.headers()).await,
        Route::Register => handlers::accounts::register(context, request).await,
        Route::LogIn => handlers::accounts::log_in(context, request).await,
        Route::Refresh => handlers::accounts::refresh(context, request).await,
        Route::Rendition(picture, size) => {
            handlers::media::rendition(context, picture, size, request.headers()).await
        }
        Route::Placeholder(size) => handlers::media::placeholder(context, size, request.headers()),
        Route::Schema => Ok(handlers::health::schema(request.headers())),
        Route::Health => Ok(handlers::health::live()),
        Route::Ready => Ok(handlers::health::ready(context).await),
        Route::Options(allow) => Ok(respond::options(allow)),
    }
}

/// Who asks, as limits count them. Says once if that cannot be known.
fn client(server: &Server, peer: IpAddr, headers: &HeaderMap) -> ClientAddress {
    let config = &server.app.config.http;
    let (trusted, written) = (&config.trusted_proxies, config.forwarded_header);
    if let Some(why) = address::unheard(peer, headers, trusted, written)
        && !server.warned.swap(true, Ordering::Relaxed)
    {
        tracing::warn!(%peer, "{why}");
    }
    address::client(peer, headers, trusted, written).into()
}

/// Where absolute URLs begin: as configured, else as the client named us.
fn base(server: &Server, headers: &HeaderMap, version: Version) -> Result<String, ApiError> {
    let host = request::host(headers);
    let scheme = if server.tls.is_some() {
        "https"
    } else {
        "http"
    };
    let configured = server.app.config.http.public_url.trim_end_matches('/');
    match host {
        // HTTP/1.0 knows no Host.
        Err(_) if version == Version::HTTP_10 && !headers.contains_key(hyper::header::HOST) => {
            let fallback = format!("{scheme}://{}", server.app.config.http.listen);
            Ok(if configured.is_empty() {
                fallback
            } else {
                configured.to_owned()
            })
        }
        Err(refusal) => Err(refusal.into()),
        Ok(host) if configured.is_empty() => Ok(format!("{scheme}://{host}")),
        Ok(_) => Ok(configured.to_owned()),
    }
}

/// What every answer carries.
pub(super) fn finish(
    cors: &Cors,
    request: &HeaderMap,
    preflight: bool,
    reply: &mut Reply,
    request_id: &str,
) {
    let allow = reply.headers().get(hyper::header::ALLOW).cloned();
    let fields = reply.headers_mut();
    fields.insert(X_CONTENT_TYPE_OPTIONS, NOSNIFF);
    if let Ok(id) = HeaderValue::try_from(request_id) {
        fields.insert(REQUEST_ID, id);
    }
    match allow.filter(|_| preflight) {
        Some(methods) => cors.allow_preflight(request, fields, methods),
        None => cors.allow(request, fields),
    }
}

/// The client's own id for its request if it is harmless, else a random one.
pub(super) fn request_id(headers: &HeaderMap) -> String {
    let given = headers
        .get(REQUEST_ID)
        .and_then(|field| field.to_str().ok());
    let harmless = |id: &&str| {
        (1..=64).contains(&id.len())
            && id
                .bytes()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.'))
    };
    match given.filter(harmless) {
        Some(id) => id.to_owned(),
        None => service::request_id().unwrap_or_default(),
    }
}

/// Where the time of a slow upload went. What is left of the whole is authentication and what the client waited for.
fn log_stages(stages: &Stages, milliseconds: u64, request_id: &str) {
    let took = |stage| line::milliseconds(stages.took(stage));
    tracing::warn!(
        milliseconds,
        receive_ms = took(Stage::Receive),
        turn_ms = took(Stage::Turn),
        render_ms = took(Stage::Render),
        decode_ms = took(Stage::Decode),
        resize_ms = took(Stage::Resize),
        encode_ms = took(Stage::Encode),
        commit_ms = took(Stage::Commit),
        request_id,
        "slow upload"
    );
}
