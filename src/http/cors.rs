//! Which web pages may read our answers: the CORS protocol (WHATWG Fetch §3.2). On errors too.
//!
//! Credentials in the sense of CORS (cookies) are never allowed: tokens travel in a header that the page sets itself.

use hyper::Method;
use hyper::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD,
    HeaderMap, HeaderValue, ORIGIN, VARY,
};

use crate::config;

/// Fields that a page may send: those of this API, and those that django-cors-headers allows by default. `*` would not cover
/// `Authorization`.
const ALLOW_HEADERS: HeaderValue = HeaderValue::from_static(
    "authorization, content-type, accept, if-match, if-none-match, if-modified-since, if-range, range, idempotency-key, x-request-id, user-agent, x-csrftoken, x-requested-with",
);
/// Fields that a page may read beside the safelisted ones.
const EXPOSE_HEADERS: HeaderValue = HeaderValue::from_static(
    "accept-ranges, allow, content-disposition, content-range, date, etag, ratelimit, ratelimit-policy, retry-after, www-authenticate, x-request-id",
);
const VARY_ORIGIN: HeaderValue = HeaderValue::from_static("Origin");
const VARY_PREFLIGHT: HeaderValue = HeaderValue::from_static(
    "Origin, Access-Control-Request-Method, Access-Control-Request-Headers",
);

/// The configured policy.
#[derive(Clone, Debug)]
pub(super) struct Cors {
    origins: Vec<String>,
    max_age_s: u32,
}

impl Cors {
    pub(super) fn new(config: &config::Cors) -> Self {
        Self {
            origins: config.origins.clone(),
            max_age_s: config.max_age_s,
        }
    }

    /// Whether a request is a preflight: the browser asks before it sends.
    pub(super) fn is_preflight(method: &Method, headers: &HeaderMap) -> bool {
        method == Method::OPTIONS
            && headers.contains_key(ORIGIN)
            && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
    }

    /// Adds to any answer what lets an allowed page read it. Where every page is, an answer is the same whoever asked, or
    /// a cache that got it for an `<img>` would give it to a script that may not read it.
    pub(super) fn allow(&self, request: &HeaderMap, response: &mut HeaderMap) {
        if self.origins.is_empty() {
            return;
        }
        if !self.any() {
            response.append(VARY, VARY_ORIGIN);
        }
        if let Some(origin) = self.allowed(request) {
            response.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            response.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSE_HEADERS);
        }
    }

    /// Adds to the answer of a preflight what the page may send. `methods` are those of the route.
    pub(super) fn allow_preflight(
        &self,
        request: &HeaderMap,
        response: &mut HeaderMap,
        methods: HeaderValue,
    ) {
        if self.origins.is_empty() {
            return;
        }
        response.insert(VARY, VARY_PREFLIGHT);
        if let Some(origin) = self.allowed(request) {
            response.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            response.insert(ACCESS_CONTROL_ALLOW_METHODS, methods);
            response.insert(ACCESS_CONTROL_ALLOW_HEADERS, ALLOW_HEADERS);
            response.insert(ACCESS_CONTROL_MAX_AGE, self.max_age_s.into());
        }
    }

    fn any(&self) -> bool {
        self.origins.iter().any(|origin| origin == "*")
    }

    fn allowed(&self, request: &HeaderMap) -> Option<HeaderValue> {
        if self.any() {
            return Some(HeaderValue::from_static("*"));
        }
        let origin = request.get(ORIGIN)?;
        self.origins
            .iter()
            .any(|allowed| allowed.as_bytes() == origin.as_bytes())
            .then(|| origin.clone())
    }
}
