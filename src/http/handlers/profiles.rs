//! Profiles: anybody's, and the caller's own.

use hyper::{HeaderMap, Request};

use crate::domain::user::DisplayName;
use crate::domain::user::UserId;
use crate::http::body::Body;
use crate::http::error::ApiError;
use crate::http::handlers::Context;
use crate::http::handlers::split;
use crate::http::request::Fields;
use crate::http::respond;
use crate::http::respond::Reply;

/// `GET /api/users/{user_id}/profile/`
///
/// # Errors
///
/// 404.
pub(in crate::http) async fn any(
    context: Context<'_>,
    user: UserId,
    headers: &HeaderMap,
) -> Result<Reply, ApiError> {
    let (body, etag) = context.shown(&context.app.profile(&user).await?);
    Ok(respond::if_changed(&body, etag, headers))
}

/// `GET /api/users/me/profile/`
///
/// # Errors
///
/// 401.
pub(in crate::http) async fn own(
    context: Context<'_>,
    request: Request<Body>,
) -> Result<Reply, ApiError> {
    let caller = context.authenticate(request.headers()).await?;
    let (body, etag) = context.shown(&context.app.own_profile(&caller).await?);
    Ok(respond::if_changed(&body, etag, request.headers()))
}

/// `PATCH /api/users/me/profile/`: changes what is given; without a name, nothing.
///
/// # Errors
///
/// 401, 400 `invalid`, 412 `precondition_failed`.
pub(in crate::http) async fn rename(
    context: Context<'_>,
    request: Request<Body>,
) -> Result<Reply, ApiError> {
    let (headers, body) = split(request);
    let caller = context.authenticate(&headers).await?;
    let mut fields = Fields::read(&headers, body, &context.app.config.http).await?;
    let name = fields.changed("name");
    let name: Option<DisplayName> = fields.parsed("name", name);
    fields.finish()?;
    let expected = context.expected(&headers, &caller).await?;
    let profile = match name {
        Some(name) => context.app.rename(&caller, name, expected).await?,
        None => context.app.own_profile(&caller).await?,
    };
    Ok(context.written(&profile))
}
