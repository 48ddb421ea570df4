//! The listener for Prometheus: `GET /metrics`, and nothing else. Apart from the API's, so that who may reach which is
//! a matter of addresses.
//!
//! One request a connection, and every part of it has a deadline: whoever connects and says nothing, or takes nothing,
//! does not keep others from it.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::http::connection::bounded_http1;
use crate::http::crowd::Crowd;
use crate::http::wire::Wire;
use crate::service::App;

/// Scrapers served at once; further ones wait in the kernel's backlog.
const CONNECTIONS_MAX: usize = 16;
/// Time to make a page and to have it taken. It fits into the buffers of the kernel.
const PAGE_TIMEOUT: Duration = Duration::from_secs(5);
/// Pause after a failed accept.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");

/// Serves until it is dropped, and its connections with it.
pub async fn run(listener: TcpListener, app: Arc<App>) {
    let patience = Duration::from_millis(app.config.http.head_timeout_ms);
    let crowd = Crowd::of(CONNECTIONS_MAX, patience);
    let mut connections = JoinSet::new();
    while let Some(permit) = crowd.room().await {
        while connections.try_join_next().is_some() {}
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection for metrics");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let serving = serve(stream, Arc::clone(&app), crowd.patience());
        connections.spawn(async move {
            let _held_until_closed = permit;
            serving.await;
        });
    }
}

async fn serve(stream: TcpStream, app: Arc<App>, patience: Duration) {
    let service = service_fn(move |request| {
        let app = Arc::clone(&app);
        async move { Ok::<_, Infallible>(answer(&app, &request).await) }
    });
    let connection = bounded_http1(patience)
        .keep_alive(false)
        .serve_connection(TokioIo::new(Wire::new(stream, PAGE_TIMEOUT)), service);
    match timeout(patience.saturating_add(PAGE_TIMEOUT), connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "connection for metrics ended early"),
        Err(_) => tracing::debug!("connection for metrics took too long"),
    }
}

async fn answer(app: &App, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let mut reply = Response::new(Full::default());
    let nosniff = HeaderValue::from_static("nosniff");
    reply.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, nosniff);
    if request.uri().path() != "/metrics" {
        *reply.status_mut() = StatusCode::NOT_FOUND;
    } else if !matches!(*request.method(), Method::GET | Method::HEAD) {
        *reply.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
        let allow = HeaderValue::from_static("GET, HEAD");
        reply.headers_mut().insert(ALLOW, allow);
    } else {
        reply.headers_mut().insert(CONTENT_TYPE, TEXT);
        *reply.body_mut() = Full::from(app.metrics_text().await);
    }
    reply
}
