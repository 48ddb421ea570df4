//! Register, log in, refresh. Answers 404 where accounts live elsewhere.

use hyper::{Request, StatusCode};
use serde_json::json;

use crate::domain::user::DisplayName;
use crate::http::body::Body;
use crate::http::error;
use crate::http::error::ApiError;
use crate::http::handlers::Context;
use crate::http::handlers::split;
use crate::http::request::Fields;
use crate::http::respond;
use crate::http::respond::Reply;
use crate::service::accounts;
use crate::service::accounts::Session;

/// `POST /api/auth/register/`: `email`, `password`, and `name` if wanted.
///
/// # Errors
///
/// 400 `invalid` or `password_too_short`, 409 `email_taken`.
pub(in crate::http) async fn register(
    context: Context<'_>,
    request: Request<Body>,
) -> Result<Reply, ApiError> {
    let mut fields = read(context, request).await?;
    let email = fields.required_email("email");
    let password = fields.required("password");
    if let Some(Err(unfit)) = password.as_deref().map(accounts::check_password) {
        fields.foresee("password", ApiError::from(unfit).sentence());
    }
    let name = fields.optional("name");
    let name: Option<DisplayName> = fields.parsed("name", name);
    fields.finish()?;
    let (email, password) = email.zip(password).ok_or_else(error::not_found)?;
    let session = context.app.register(email, password, name).await?;
    Ok(session_reply(StatusCode::CREATED, &session))
}

/// `POST /api/auth/login/`: `email` and `password`.
///
/// # Errors
///
/// 400 `invalid`, 401 `no_active_account`.
pub(in crate::http) async fn log_in(
    context: Context<'_>,
    request: Request<Body>,
) -> Result<Reply, ApiError> {
    let mut fields = read(context, request).await?;
    let email = fields.required_trimmed("email");
    let password = fields.required("password");
    fields.finish()?;
    let session = context
        .app
        .log_in(&email.unwrap_or_default(), password.unwrap_or_default())
        .await?;
    Ok(session_reply(StatusCode::OK, &session))
}

/// `POST /api/auth/token/refresh/`: `refresh`.
///
/// # Errors
///
/// 400 `invalid`, 401 `token_not_valid`.
pub(in crate::http) async fn refresh(
    context: Context<'_>,
    request: Request<Body>,
) -> Result<Reply, ApiError> {
    let mut fields = read(context, request).await?;
    let refresh = fields.required_trimmed("refresh");
    fields.finish()?;
    let access = context
        .app
        .refresh(&refresh.unwrap_or_default())
        .await
        .map_err(error::rejected_refresh)?;
    Ok(respond::json(StatusCode::OK, &json!({ "access": access })))
}

async fn read(context: Context<'_>, request: Request<Body>) -> Result<Fields, ApiError> {
    if !context.app.config.auth.local_accounts {
        return Err(error::not_found());
    }
    let (headers, body) = split(request);
    Ok(Fields::read(&headers, body, &context.app.config.http).await?)
}

fn session_reply(status: StatusCode, session: &Session) -> Reply {
    let body =
        json!({ "access": session.access, "refresh": session.refresh, "user_id": session.user_id });
    respond::json(status, &body)
}
