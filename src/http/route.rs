//! Which route a method and a path name. Pure: no request body, no state.

use std::str::FromStr;

use hyper::Method;
use percent_encoding::percent_decode_str;

use crate::domain::picture::PictureId;
use crate::domain::user::UserId;

/// Everything that can be asked for. HEAD is parsed as GET; the answer's body is left out later.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Route {
    /// `POST, PUT /api/users/me/profile/picture/`
    ReplacePicture,
    /// `DELETE /api/users/me/profile/picture/`
    RemovePicture,
    /// `GET /api/users/me/profile/`
    OwnProfile,
    /// `PATCH /api/users/me/profile/`
    Rename,
    /// `GET /api/users/{user_id}/profile/`
    Profile(UserId),
    /// `POST /api/auth/register/`
    Register,
    /// `POST /api/auth/login/`
    LogIn,
    /// `POST /api/auth/token/refresh/`
    Refresh,
    /// `GET /media/profile_pictures/{picture_id}/{size}.jpg`
    Rendition(PictureId, u16),
    /// `GET /media/default/{size}.jpg`
    Placeholder(u16),
    /// `GET /api/schema/`
    Schema,
    /// `GET /healthz`
    Health,
    /// `GET /readyz`
    Ready,
    /// `OPTIONS` on any of them, with the methods that are allowed there.
    Options(&'static str),
}

/// Why there is no route.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Unrouted {
    /// Nothing has that path.
    NotFound,
    /// Something has, but not with that method.
    MethodNotAllowed {
        /// The methods that it has, as the `Allow` field wants them.
        allow: &'static str,
    },
}

impl Route {
    /// The route of a request line. One slash at the end is ignored.
    ///
    /// # Errors
    ///
    /// See [`Unrouted`].
    pub(super) fn parse(method: &Method, path: &str) -> Result<Self, Unrouted> {
        let path = path.strip_prefix('/').ok_or(Unrouted::NotFound)?;
        let path = path.strip_suffix('/').unwrap_or(path);
        let mut entries = TABLE.iter();
        let found = entries.find_map(|entry| Some((entry, entry.captured(path)?)));
        let (entry, captured) = found.ok_or(Unrouted::NotFound)?;
        // What cannot be such a thing is not there, whatever the method.
        let resource = Resource::of(entry.shape, captured)?;
        let allow = entry.allow;
        if method == Method::OPTIONS {
            return Ok(Self::Options(allow));
        }
        let mut allowed = allow.split(", ");
        if !allowed.any(|name| name == method.as_str()) {
            return Err(Unrouted::MethodNotAllowed { allow });
        }
        Ok(resource.route(method))
    }

    /// Whether it is a part of the API that is limited by the number of requests. Files and probes are not: they are
    /// cheap, and cached by others.
    #[must_use]
    pub(super) const fn is_limited(&self) -> bool {
        !matches!(
            self,
            Self::Rendition(..)
                | Self::Placeholder(_)
                | Self::Health
                | Self::Ready
                | Self::Schema
                | Self::Options(_)
        )
    }

    /// Whether it gives tokens out.
    #[must_use]
    pub(super) const fn is_login(&self) -> bool {
        matches!(self, Self::Register | Self::LogIn | Self::Refresh)
    }

    /// A name for logs: the path's shape, without ids.
    #[must_use]
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::ReplacePicture => "replace_picture",
            Self::RemovePicture => "remove_picture",
            Self::OwnProfile => "own_profile",
            Self::Rename => "rename",
            Self::Profile(_) => "profile",
            Self::Register => "register",
            Self::LogIn => "log_in",
            Self::Refresh => "refresh",
            Self::Rendition(..) => "rendition",
            Self::Placeholder(_) => "placeholder",
            Self::Schema => "schema",
            Self::Health => "health",
            Self::Ready => "ready",
            Self::Options(_) => "options",
        }
    }
}

/// One path and its methods. The schema describes the same ones: a test compares.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    /// The path as the schema writes it: `{…}` is one segment of any content.
    pub(super) template: &'static str,
    /// Its methods, as the `Allow` field wants them.
    pub(super) allow: &'static str,
    shape: Shape,
}

#[derive(Clone, Copy, Debug)]
enum Shape {
    OwnPicture,
    OwnProfile,
    Profile,
    Register,
    LogIn,
    Refresh,
    Rendition,
    Placeholder,
    Schema,
    Health,
    Ready,
}

const GET: &str = "GET, HEAD, OPTIONS";
const POST: &str = "POST, OPTIONS";
const PICTURE: &str = "POST, PUT, DELETE, OPTIONS";
const PROFILE: &str = "GET, HEAD, PATCH, OPTIONS";

const fn entry(template: &'static str, allow: &'static str, shape: Shape) -> Entry {
    Entry {
        template,
        allow,
        shape,
    }
}

/// Every path there is. The first that fits is it: `me` is no user id.
pub(super) const TABLE: &[Entry] = &[
    entry("/api/users/me/profile/picture/", PICTURE, Shape::OwnPicture),
    entry("/api/users/me/profile/", PROFILE, Shape::OwnProfile),
    entry("/api/users/{user_id}/profile/", GET, Shape::Profile),
    entry("/api/auth/register/", POST, Shape::Register),
    entry("/api/auth/login/", POST, Shape::LogIn),
    entry("/api/auth/token/refresh/", POST, Shape::Refresh),
    entry("/api/schema/", GET, Shape::Schema),
    entry(
        "/media/profile_pictures/{picture_id}/{file}",
        GET,
        Shape::Rendition,
    ),
    entry("/media/default/{file}", GET, Shape::Placeholder),
    entry("/healthz", GET, Shape::Health),
    entry("/readyz", GET, Shape::Ready),
];

impl Entry {
    /// What stands in the places of the template, if the path fits it.
    fn captured<'p>(&self, path: &'p str) -> Option<[&'p str; 2]> {
        let template = self.template.trim_matches('/').split('/');
        let mut captured = [""; 2];
        let mut free = captured.iter_mut();
        let mut segments = path.split('/');
        for wanted in template {
            let segment = segments.next()?;
            if wanted.starts_with('{') {
                *free.next()? = segment;
            } else if segment != wanted {
                return None;
            }
        }
        segments.next().is_none().then_some(captured)
    }
}

/// What a path names.
enum Resource {
    OwnPicture,
    OwnProfile,
    Other(Route),
}

impl Resource {
    fn of(shape: Shape, [first, second]: [&str; 2]) -> Result<Self, Unrouted> {
        Ok(Self::Other(match shape {
            Shape::OwnPicture => return Ok(Self::OwnPicture),
            Shape::OwnProfile => return Ok(Self::OwnProfile),
            Shape::Profile => Route::Profile(decoded(first)?),
            Shape::Register => Route::Register,
            Shape::LogIn => Route::LogIn,
            Shape::Refresh => Route::Refresh,
            Shape::Rendition => {
                let id = PictureId::from_str(first).map_err(|_| Unrouted::NotFound)?;
                Route::Rendition(id, size(second)?)
            }
            Shape::Placeholder => Route::Placeholder(size(first)?),
            Shape::Schema => Route::Schema,
            Shape::Health => Route::Health,
            Shape::Ready => Route::Ready,
        }))
    }

    /// The route of an allowed method.
    fn route(self, method: &Method) -> Route {
        match self {
            Self::OwnPicture if method == Method::DELETE => Route::RemovePicture,
            Self::OwnPicture => Route::ReplacePicture,
            Self::OwnProfile if method == Method::PATCH => Route::Rename,
            Self::OwnProfile => Route::OwnProfile,
            Self::Other(route) => route,
        }
    }
}

/// A user id as it stands in a path, percent-encoded (RFC 3986 §2.1).
fn decoded(segment: &str) -> Result<UserId, Unrouted> {
    let text = percent_decode_str(segment)
        .decode_utf8()
        .map_err(|_| Unrouted::NotFound)?;
    text.parse().map_err(|_| Unrouted::NotFound)
}

/// `512.jpg` → 512. One spelling only, so that a rendition has one URL.
fn size(file: &str) -> Result<u16, Unrouted> {
    let digits = file.strip_suffix(".jpg").ok_or(Unrouted::NotFound)?;
    let size: u16 = digits.parse().map_err(|_| Unrouted::NotFound)?;
    if digits.starts_with(['0', '+']) {
        Err(Unrouted::NotFound)
    } else {
        Ok(size)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn get(path: &str) -> Result<Route, Unrouted> {
        Route::parse(&Method::GET, path)
    }

    #[test]
    fn every_path_answers_with_and_without_its_slash() {
        let user = Route::Profile("a/b".parse().unwrap());
        let rendition = Route::Rendition(PictureId::from_random([0x11; 16]), 512);
        let file = format!("/media/profile_pictures/{}/512.jpg", "11".repeat(16));
        let cases = [
            (
                Method::POST,
                "/api/users/me/profile/picture",
                Route::ReplacePicture,
            ),
            (
                Method::PUT,
                "/api/users/me/profile/picture",
                Route::ReplacePicture,
            ),
            (
                Method::DELETE,
                "/api/users/me/profile/picture",
                Route::RemovePicture,
            ),
            (Method::GET, "/api/users/me/profile", Route::OwnProfile),
            (Method::PATCH, "/api/users/me/profile", Route::Rename),
            (Method::GET, "/api/users/a%2Fb/profile", user),
            (Method::POST, "/api/auth/register", Route::Register),
            (Method::POST, "/api/auth/login", Route::LogIn),
            (Method::POST, "/api/auth/token/refresh", Route::Refresh),
            (Method::HEAD, &file, rendition),
            (
                Method::GET,
                "/media/default/128.jpg",
                Route::Placeholder(128),
            ),
            (Method::GET, "/api/schema", Route::Schema),
            (Method::GET, "/healthz", Route::Health),
            (Method::GET, "/readyz", Route::Ready),
        ];
        for (method, path, route) in cases {
            assert_eq!(Route::parse(&method, path), Ok(route.clone()), "{path}");
            assert_eq!(
                Route::parse(&method, &format!("{path}/")),
                Ok(route),
                "{path}/"
            );
        }
    }

    #[test]
    fn known_path_with_a_wrong_method_says_what_is_allowed() {
        let wrong = Route::parse(&Method::GET, "/api/users/me/profile/picture/");

        assert_eq!(
            wrong,
            Err(Unrouted::MethodNotAllowed {
                allow: "POST, PUT, DELETE, OPTIONS"
            })
        );
        assert_eq!(
            Route::parse(&Method::OPTIONS, "/healthz"),
            Ok(Route::Options("GET, HEAD, OPTIONS"))
        );
    }

    #[test]
    fn tricks_with_paths_lead_nowhere() {
        for path in [
            "",
            "*",
            "/",
            "//",
            "/api//users/me/profile",
            "/api/users/me/profile//",
            "/api/users/%2e%2e/../profile",
            "/api/users/%00/profile",
            "/api/users/%ff/profile",
            "/api/users//profile",
            "/media/default/0512.jpg",
            "/media/default/+512.jpg",
            "/media/default/512.png",
            "/media/default/99999.jpg",
            "/media/profile_pictures/../../etc/512.jpg",
            "/api/users/me/profile/picture/more/and/more",
        ] {
            assert_eq!(get(path), Err(Unrouted::NotFound), "{path}");
        }
    }

    proptest! {
        #[test]
        fn any_path_is_parsed_without_a_panic(path in ".{0,200}") {
            let _ = get(&path);
        }

        #[test]
        fn any_user_id_can_stand_in_a_path(id in "[^\\p{Cc}\\p{Cf}\\s][^\\p{Cc}\\p{Cf}\\p{Zl}\\p{Zp}]{0,100}") {
            let user: UserId = id.parse().unwrap();
            let encoded = percent_encoding::utf8_percent_encode(&id, percent_encoding::NON_ALPHANUMERIC);
            let expected = if id == "me" { Route::OwnProfile } else { Route::Profile(user) };
            prop_assert_eq!(get(&format!("/api/users/{encoded}/profile/")), Ok(expected));
        }
    }
}
