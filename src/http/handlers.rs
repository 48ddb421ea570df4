//! One short function a route: authenticate, extract, one service call, respond. No decisions.

pub(super) mod accounts;
pub(super) mod health;
pub(super) mod media;
pub(super) mod pictures;
pub(super) mod profiles;

use std::sync::Arc;

use hyper::{HeaderMap, Request};
use serde_json::Value;
use tokio_util::task::TaskTracker;

use crate::domain::network::ClientAddress;
use crate::domain::user::Profile;
use crate::domain::user::UserId;
use crate::http::body::Body;
use crate::http::conditional;
use crate::http::error;
use crate::http::error::ApiError;
use crate::http::rate_limit::Met;
use crate::http::request;
use crate::http::respond;
use crate::http::respond::Reply;
use crate::http::room::Room;
use crate::http::route::Route;
use crate::service::App;
use crate::service::metrics::Stages;

/// What a handler works with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Context<'a> {
    pub(super) app: &'a Arc<App>,
    /// Who asks, as limits count them.
    pub(super) client: ClientAddress,
    /// The quotas that the request has met.
    pub(super) met: &'a Met,
    /// Where work goes on that outlives its client. Waited for at the end.
    pub(super) tasks: &'a TaskTracker,
    /// Room for bodies in flight.
    pub(super) room: &'a Room,
    /// Begin of absolute URLs, without a slash at the end.
    pub(super) base: &'a str,
    /// Where an upload notes how long it takes.
    pub(super) stages: &'a Arc<Stages>,
}

impl Context<'_> {
    async fn authenticate(&self, headers: &HeaderMap) -> Result<UserId, ApiError> {
        let token = request::bearer(headers)?;
        let caller = self.app.authenticate(token).await?;
        self.met.note(self.app.admit_user(&caller)?);
        Ok(caller)
    }

    /// Takes a request from the limits that count by address.
    pub(super) fn admit(&self, route: &Route) -> Result<(), ApiError> {
        if route.is_limited() {
            self.met.note(self.app.admit_address(self.client)?);
        }
        if route.is_login() {
            self.met.note(self.app.admit_login(self.client)?);
        }
        Ok(())
    }

    /// The profile that `If-Match` names, for a write that must find it unchanged; none without such a condition, or
    /// for `*`, which every profile meets. `If-None-Match` is judged here and now: no profile gets an old tag again.
    async fn expected(
        &self,
        headers: &HeaderMap,
        caller: &UserId,
    ) -> Result<Option<Profile>, ApiError> {
        let wanted = conditional::if_match(headers);
        let unwanted = conditional::if_none_match(headers);
        if wanted.is_none() && unwanted.is_none() {
            return Ok(None);
        }
        let profile = self.app.own_profile(caller).await?;
        let (_, etag) = self.shown(&profile);
        if wanted.as_ref().is_some_and(|tags| !tags.has(&etag)) {
            return Err(error::precondition_failed());
        }
        if unwanted.is_some_and(|tags| tags.has_weakly(&etag)) {
            return Err(error::none_match_failed());
        }
        Ok(wanted.filter(|tags| !tags.is_any()).map(|_| profile))
    }

    /// A profile as it is sent, and its entity tag.
    fn shown(&self, profile: &Profile) -> (Value, String) {
        let body = respond::profile(profile, self.base, &self.app.config.picture.sizes_px);
        let etag = respond::etag(&body);
        (body, etag)
    }

    /// The answer to a write: the profile as it is now.
    fn written(&self, profile: &Profile) -> Reply {
        let (body, etag) = self.shown(profile);
        respond::tagged(&body, etag)
    }
}

/// Head and body of a request, apart.
fn split(request: Request<Body>) -> (HeaderMap, Body) {
    let (parts, body) = request.into_parts();
    (parts.headers, body)
}
