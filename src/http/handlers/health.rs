//! Liveness and readiness, for whoever restarts the server or sends it traffic.

use hyper::StatusCode;
use hyper::header::RETRY_AFTER;
use serde_json::json;

use crate::http::handlers::Context;
use crate::http::respond;
use crate::http::respond::Reply;

/// When to ask again after a 503, in seconds.
const RETRY_S: u64 = 5;

/// `GET /healthz`: the process answers.
pub(in crate::http) fn live() -> Reply {
    respond::json(StatusCode::OK, &json!({ "status": "ok" }))
}

/// `GET /readyz`: an upload would be taken. 503 with the check that failed if not.
pub(in crate::http) async fn ready(context: Context<'_>) -> Reply {
    match context.app.ready().await {
        Ok(()) => respond::json(
            StatusCode::OK,
            &json!({ "status": "ok", "checks": { "store": "ok" } }),
        ),
        Err(error) => {
            tracing::warn!(%error, "not ready");
            let body = json!({ "status": "unavailable", "checks": { "store": "failed" } });
            let mut reply = respond::json(StatusCode::SERVICE_UNAVAILABLE, &body);
            reply.headers_mut().insert(RETRY_AFTER, RETRY_S.into());
            reply
        }
    }
}
