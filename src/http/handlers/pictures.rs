//! The caller's picture.

use std::time::Instant;

use hyper::{Request, StatusCode};

use crate::http::body::Body;
use crate::http::error::ApiError;
use crate::http::form;
use crate::http::handlers::Context;
use crate::http::handlers::split;
use crate::http::rate_limit;
use crate::http::respond;
use crate::http::respond::Reply;
use crate::service::metrics::Stage;

/// `POST, PUT /api/users/me/profile/picture/`: replaces the caller's picture.
///
/// # Errors
///
/// 401, 429 `throttled`, 415 `unsupported_media_type`, 400 for an unusable image, 503 `busy`, 507 `disk_full`: in that
/// order; the first two before a byte of the body is read.
pub(in crate::http) async fn replace(
    context: Context<'_>,
    request: Request<Body>,
) -> Result<Reply, ApiError> {
    let (headers, body) = split(request);
    let caller = context.authenticate(&headers).await?;
    let quota = context.app.admit_upload(&caller)?;
    let config = &context.app.config.http;
    let begin = Instant::now();
    let form = form::read(&headers, body, &caller, context.room, config).await;
    context.stages.note(Stage::Receive, begin.elapsed());
    let form = form?;
    let metrics = &context.app.metrics;
    metrics.received(form.image.len(), begin.elapsed());
    let profile = context
        .app
        .replace_picture(&caller, form.image, form.crop, context.stages)
        .await?;
    let body = respond::profile(&profile, context.base, &context.app.config.picture.sizes_px);
    let mut reply = respond::json(StatusCode::OK, &body);
    reply
        .headers_mut()
        .extend(quota.iter().flat_map(rate_limit::fields));
    Ok(reply)
}

/// `DELETE /api/users/me/profile/picture/`: takes the caller's picture away.
///
/// # Errors
///
/// 401.
pub(in crate::http) async fn remove(
    context: Context<'_>,
    request: Request<Body>,
) -> Result<Reply, ApiError> {
    let caller = context.authenticate(request.headers()).await?;
    let profile = context.app.remove_picture(&caller).await?;
    let body = respond::profile(&profile, context.base, &context.app.config.picture.sizes_px);
    Ok(respond::json(StatusCode::OK, &body))
}
