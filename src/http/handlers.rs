//! One short function a route: authenticate, extract, one service call, respond. No decisions.

pub(super) mod accounts;
pub(super) mod health;
pub(super) mod media;
pub(super) mod pictures;
pub(super) mod profiles;

use hyper::{HeaderMap, Request};

use crate::domain::user::UserId;
use crate::http::body::Body;
use crate::http::error::ApiError;
use crate::http::request;
use crate::http::room::Room;
use crate::service::App;
use crate::service::metrics::Stages;

/// What a handler works with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Context<'a> {
    pub(super) app: &'a App,
    /// Room for bodies in flight.
    pub(super) room: &'a Room,
    /// Begin of absolute URLs, without a slash at the end.
    pub(super) base: &'a str,
    /// Where an upload notes how long it takes.
    pub(super) stages: &'a Stages,
}

impl Context<'_> {
    async fn authenticate(&self, headers: &HeaderMap) -> Result<UserId, ApiError> {
        let token = request::bearer(headers)?;
        Ok(self.app.authenticate(token).await?)
    }
}

/// Head and body of a request, apart.
fn split(request: Request<Body>) -> (HeaderMap, Body) {
    let (parts, body) = request.into_parts();
    (parts.headers, body)
}
