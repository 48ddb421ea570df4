//! The caller's picture.

use std::sync::Arc;
use std::time::Instant;

use hyper::{HeaderMap, Request};

use crate::domain::user::Profile;
use crate::domain::user::UserId;
use crate::http::body::Body;
use crate::http::error::ApiError;
use crate::http::form;
use crate::http::form::Form;
use crate::http::handlers::Context;
use crate::http::handlers::split;
use crate::http::request;
use crate::http::respond::Reply;
use crate::service;
use crate::service::idempotence::Begun;
use crate::service::metrics::Stage;
use crate::service::throttle::Quota;

/// `POST, PUT /api/users/me/profile/picture/`: replaces the caller's picture.
///
/// # Errors
///
/// 401, 412 `precondition_failed`, 429 `throttled`, 415 `unsupported_media_type`, 400 for an unusable image, 422
/// for the `Idempotency-Key`, 503 `busy`, 507 `disk_full`: in that order; the first three before a byte of the body is
/// read.
pub(in crate::http) async fn replace(
    context: Context<'_>,
    request: Request<Body>,
) -> Result<Reply, ApiError> {
    let (headers, body) = split(request);
    let caller = context.authenticate(&headers).await?;
    let key = request::idempotency_key(&headers)?;
    // An upload that is repeated finds the profile changed by itself: its condition comes after its key.
    if key.is_none() {
        context.expected(&headers, &caller).await?;
    }
    // Nor does it take anything of a quota that the first may have used up, as long as it is not sent without end.
    let repeats = key.as_ref().is_some_and(|key| {
        context.app.has_begun(&caller, key) && context.app.admit_repeat(&caller, context.client)
    });
    let mut taken = None;
    if !repeats {
        taken = Some(admit(context, &caller)?);
    }
    let outcome = read_and_replace(context, &headers, body, &caller, key, &mut taken).await;
    // What we had no room for does not count.
    if outcome.as_ref().is_err_and(ApiError::is_ours)
        && let Some(taken) = taken
    {
        context.app.forgive_upload(&caller, context.client, taken);
    }
    Ok(context.written(&outcome?))
}

fn admit(context: Context<'_>, caller: &UserId) -> Result<[Option<Quota>; 2], ApiError> {
    let taken = context.app.admit_upload(caller, context.client)?;
    context.met.note(taken.into_iter().flatten());
    Ok(taken)
}

async fn read_and_replace(
    context: Context<'_>,
    headers: &HeaderMap,
    body: Body,
    caller: &UserId,
    key: Option<String>,
    taken: &mut Option<[Option<Quota>; 2]>,
) -> Result<Profile, ApiError> {
    let config = &context.app.config.http;
    let begin = Instant::now();
    let form = form::read(headers, body, caller, context.room, config).await;
    context.stages.note(Stage::Receive, begin.elapsed());
    let form = form?;
    context
        .app
        .metrics
        .received(form.image.len(), begin.elapsed());
    let turn = match key {
        Some(key) => {
            let turn = context.app.begin_once(caller, key, &form.image, form.crop);
            turn.await
        }
        None => Ok(None),
    };
    match (&turn, taken.take()) {
        (Ok(Some(Begun::Before(_))), Some(unused)) => {
            // Only the store knew of the first, or it was sent too often.
            if context.app.admit_repeat(caller, context.client) {
                context.app.forgive_upload(caller, context.client, unused);
            }
        }
        (Ok(Some(Begun::Before(_))), None) => {}
        (_, Some(used)) => *taken = Some(used),
        (_, None) => *taken = Some(admit(context, caller)?),
    }
    match turn? {
        None => {
            let expected = context.expected(headers, caller).await?;
            let replaced = context.app.replace_picture(
                caller,
                form.image,
                form.crop,
                expected,
                None,
                context.stages,
            );
            Ok(replaced.await?)
        }
        Some(Begun::Before(profile)) => Ok(*profile),
        Some(Begun::First(ticket)) => {
            let expected = context.expected(headers, caller).await?;
            let (app, caller) = (Arc::clone(context.app), caller.clone());
            let stages = Arc::clone(context.stages);
            let Form { image, crop } = form;
            // Goes on when the client has gone: it will ask again what came of it.
            let replacing = context.tasks.spawn(async move {
                let profile = app
                    .replace_picture(&caller, image, crop, expected, Some(&ticket), &stages)
                    .await?;
                ticket.answer(&profile);
                Ok::<_, service::Error>(profile)
            });
            let replaced = replacing.await.map_err(|_| service::Error::Cancelled)?;
            Ok(replaced?)
        }
    }
}

/// `DELETE /api/users/me/profile/picture/`: takes the caller's picture away.
///
/// # Errors
///
/// 401, 412 `precondition_failed`.
pub(in crate::http) async fn remove(
    context: Context<'_>,
    request: Request<Body>,
) -> Result<Reply, ApiError> {
    let caller = context.authenticate(request.headers()).await?;
    let expected = context.expected(request.headers(), &caller).await?;
    let profile = context.app.remove_picture(&caller, expected).await?;
    Ok(context.written(&profile))
}
