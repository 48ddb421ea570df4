//! What a server answers while its store is being opened: that it lives and is not ready.
//!
//! After a crash opening can take seconds. Whoever watches the server must be able to tell that from a server that
//! hangs, and clients must be told to come back rather than wait for a connection. Pages, too: without the fields of CORS
//! they would only see that something went wrong.

use std::convert::Infallible;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{CONNECTION, HeaderValue, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::config;
use crate::http::cors::Cors;
use crate::http::handlers::health;
use crate::http::respond;
use crate::http::respond::Reply;
use crate::http::route::Route;
use crate::http::tls::Tls;

/// Pause after a failed accept.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Time for a request to come in, and for the last answers to go out once the store is open.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(1);
/// Connections answered at once; further ones wait in the kernel's backlog.
const CONNECTIONS_MAX: usize = 64;
/// When to ask again, in seconds.
const RETRY_S: u64 = 2;

/// Answers on the listener until the store is open; then with what was opened.
pub async fn until<T>(
    listener: &TcpListener,
    tls: Option<&Tls>,
    cors: &config::Cors,
    opening: impl Future<Output = T>,
) -> T {
    let cors = Arc::new(Cors::new(cors));
    let mut opening = pin!(opening);
    let mut connections = JoinSet::new();
    let opened = loop {
        let full = connections.len() >= CONNECTIONS_MAX;
        tokio::select! {
            biased;
            opened = &mut opening => break opened,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept(), if !full => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(serve(stream, tls.cloned(), Arc::clone(&cors)));
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

async fn serve(stream: TcpStream, tls: Option<Tls>, cors: Arc<Cors>) {
    match tls {
        None => serve_http(stream, &cors).await,
        Some(tls) => match tls.accept_http1(stream, REQUEST_TIMEOUT).await {
            Ok(stream) => serve_http(stream, &cors).await,
            Err(error) => tracing::debug!(%error, "no TLS handshake"),
        },
    }
}

async fn serve_http(stream: impl AsyncRead + AsyncWrite + Unpin, cors: &Cors) {
    let answer = |request| std::future::ready(Ok::<_, Infallible>(answer(&request, cors)));
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(REQUEST_TIMEOUT)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service_fn(answer));
    if let Err(error) = served.await {
        tracing::debug!(%error, "connection ended early");
    }
}

fn answer(request: &Request<Incoming>, cors: &Cors) -> Reply {
    let route = Route::parse(request.method(), request.uri().path());
    let preflight = Cors::is_preflight(request.method(), request.headers());
    let mut reply = match &route {
        Ok(Route::Options(allow)) if preflight => respond::options(allow),
        Ok(Route::Health) => health::live(),
        Ok(Route::Ready) => refusal(&json!({
            "status": "unavailable",
            "checks": { "store": "opening" },
        })),
        _ => refusal(&json!({ "detail": "The server is not ready. Try again soon." })),
    };
    if request.method() == Method::HEAD {
        *reply.body_mut() = http_body_util::Full::default();
    }
    let nosniff = HeaderValue::from_static("nosniff");
    reply.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, nosniff);
    let close = HeaderValue::from_static("close");
    reply.headers_mut().insert(CONNECTION, close);
    match route {
        Ok(Route::Options(allow)) if preflight => {
            let methods = HeaderValue::from_static(allow);
            cors.allow_preflight(request.headers(), reply.headers_mut(), methods);
        }
        _ => cors.allow(request.headers(), reply.headers_mut()),
    }
    reply
}

fn refusal(body: &serde_json::Value) -> Reply {
    let mut reply = respond::json(StatusCode::SERVICE_UNAVAILABLE, body);
    reply.headers_mut().insert(RETRY_AFTER, RETRY_S.into());
    reply
}
