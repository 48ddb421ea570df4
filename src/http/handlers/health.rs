//! Liveness and readiness, for whoever restarts the server or sends it traffic; and what it has to offer.

use hyper::header::RETRY_AFTER;
use hyper::{HeaderMap, StatusCode};
use serde_json::{Map, json};

use crate::http::handlers::Context;
use crate::http::respond;
use crate::http::respond::Reply;
use crate::http::schema;
use crate::service;

/// When to ask again after a 503, in seconds.
const RETRY_S: u64 = 5;

/// `GET /healthz`: the process answers.
pub(in crate::http) fn live() -> Reply {
    respond::json(StatusCode::OK, &json!({ "status": "ok" }))
}

/// `GET /api/schema/`: what there is to ask for.
pub(in crate::http) fn schema(headers: &HeaderMap) -> Reply {
    respond::text_if_changed(schema::DOCUMENT, headers)
}

/// `GET /readyz`: an upload would be taken. 503 with the check that failed if not.
pub(in crate::http) async fn ready(context: Context<'_>) -> Reply {
    let readiness = context.app.readiness().await;
    let checks = [("store", readiness.store), ("workers", readiness.workers)];
    let mut told = Map::new();
    let mut is_ready = true;
    for (name, outcome) in checks {
        let state = match outcome {
            Ok(()) => "ok",
            Err(error) => {
                is_ready = false;
                tracing::warn!(check = name, error = service::chain(&error), "not ready");
                "failed"
            }
        };
        told.insert(name.to_owned(), state.into());
    }
    let (status, word) = if is_ready {
        (StatusCode::OK, "ok")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "unavailable")
    };
    let mut reply = respond::json(status, &json!({ "status": word, "checks": told }));
    if !is_ready {
        reply.headers_mut().insert(RETRY_AFTER, RETRY_S.into());
    }
    reply
}
