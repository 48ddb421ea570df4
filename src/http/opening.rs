//! What a server answers while its store is being opened: that it lives and is not ready.
//!
//! After a crash opening can take seconds. Whoever watches the server must be able to tell that from a server that
//! hangs, and clients must be told to come back rather than wait for a connection.

use std::convert::Infallible;
use std::future::Future;
use std::pin::pin;
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{CONNECTION, HeaderValue, RETRY_AFTER};
use hyper::service::service_fn;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::task::TaskTracker;

use crate::config;
use crate::http::body::{Body, Bounds, Tie};
use crate::http::connection::bounded_http1;
use crate::http::cors::Cors;
use crate::http::error;
use crate::http::framing::Violation;
use crate::http::handlers::health;
use crate::http::line;
use crate::http::request;
use crate::http::request::Refusal;
use crate::http::respond;
use crate::http::respond::Reply;
use crate::http::route::Route;
use crate::http::server;
use crate::http::tls::Tls;
use crate::http::wire::Wire;

/// Pause after a failed accept.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Time for a request to come in, and for the last answers to go out once the store is open.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(1);
/// Connections answered at once; further ones wait in the kernel's backlog.
const CONNECTIONS_MAX: usize = 64;
/// When to ask again, in seconds.
const RETRY_S: u64 = 2;

/// What answers are made with.
#[derive(Clone, Debug)]
struct Terms {
    cors: Cors,
    bounds: Bounds,
}

/// Answers on the listener until the store is open; then with what was opened.
pub async fn until<T>(
    listener: &TcpListener,
    tls: Option<&Tls>,
    (http, cors): (&config::Http, &config::Cors),
    opening: impl Future<Output = T>,
) -> T {
    let mut opening = pin!(opening);
    let terms = Terms {
        cors: Cors::new(cors),
        bounds: Bounds::new(http, TaskTracker::new()),
    };
    let mut connections = JoinSet::new();
    let opened = loop {
        let full = connections.len() >= CONNECTIONS_MAX;
        tokio::select! {
            biased;
            opened = &mut opening => break opened,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept(), if !full => match accepted {
                Ok((stream, _)) => {
                    drop(connections.spawn(serve(stream, tls.cloned(), terms.clone())));
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    };
    let ended = async { while connections.join_next().await.is_some() {} };
    // Whoever has not asked in that time is cut off.
    drop(timeout(REQUEST_TIMEOUT, ended).await);
    opened
}

async fn serve(stream: TcpStream, tls: Option<Tls>, terms: Terms) {
    match tls {
        None => serve_http(stream, terms).await,
        Some(tls) => match tls.accept_http1(stream, REQUEST_TIMEOUT).await {
            Ok(stream) => serve_http(stream, terms).await,
            Err(error) => tracing::debug!(%error, "no TLS handshake"),
        },
    }
}

async fn serve_http(stream: impl AsyncRead + AsyncWrite + Unpin, terms: Terms) {
    let (wire, found) = Wire::watched(stream, REQUEST_TIMEOUT);
    let service = service_fn(|request| {
        // One request a connection: what is wrong behind it is nobody's matter.
        let violation = found.get().filter(|(at, _)| *at == 1);
        let reply = answer(&terms, request, violation.map(|(_, violation)| *violation));
        async { Ok::<_, Infallible>(reply) }
    });
    let served = bounded_http1(REQUEST_TIMEOUT)
        .half_close(true)
        .keep_alive(false)
        .serve_connection(TokioIo::new(wire), service);
    if let Err(error) = served.await {
        tracing::debug!(%error, "connection ended early");
    }
}

fn answer(terms: &Terms, request: Request<Incoming>, violation: Option<Violation>) -> Reply {
    let begin = Instant::now();
    let (parts, body) = request.into_parts();
    let headers = &parts.headers;
    // What comes of a body is dropped within bounds, so that its sender sees the answer.
    let body = body.map_err(Into::into).boxed();
    let tie = Tie::default();
    let _until_answered = tie.until_answered();
    drop(Body::new(body, headers, terms.bounds.clone(), tie));
    let request_id = server::request_id(headers);
    let route = Route::parse(&parts.method, parts.uri.path());
    let route_name = route.as_ref().map_or("none", Route::name);
    let outcome = match (violation, route) {
        (Some(violation), _) => Err(Refusal::Framing(violation).into()),
        (None, Ok(Route::Health)) => Ok(health::live()),
        (None, Ok(Route::Ready)) => Ok(not_ready()),
        // A page may ask, or it could not read that the server is not ready.
        (None, Ok(Route::Options(allow))) => Ok(respond::options(allow)),
        (None, _) => Err(error::not_ready()),
    };
    let refused = |error| respond::error(error, request::wants_problem(headers), &request_id);
    let mut reply = outcome.as_ref().map_or_else(refused, Reply::clone);
    if parts.method == Method::HEAD {
        *reply.body_mut() = Full::default();
    }
    let close = HeaderValue::from_static("close");
    reply.headers_mut().insert(CONNECTION, close);
    let is_preflight = Cors::is_preflight(&parts.method, headers);
    server::finish(&terms.cors, headers, is_preflight, &mut reply, &request_id);
    line::answered(
        &parts.method,
        route_name,
        &reply,
        line::milliseconds(begin.elapsed()),
        &request_id,
        outcome.err().as_ref(),
    );
    reply
}

fn not_ready() -> Reply {
    let body = json!({
        "status": "unavailable",
        "checks": { "store": "opening" },
    });
    let mut reply = respond::json(StatusCode::SERVICE_UNAVAILABLE, &body);
    reply.headers_mut().insert(RETRY_AFTER, RETRY_S.into());
    reply
}
