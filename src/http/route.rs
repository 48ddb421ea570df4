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
        let segments: Vec<&str> = path.split('/').take(6).collect();
        let (routes, allow): (&[(Method, Self)], _) = match segments.as_slice() {
            ["api", "users", "me", "profile", "picture"] => (
                &[
                    (Method::POST, Self::ReplacePicture),
                    (Method::PUT, Self::ReplacePicture),
                    (Method::DELETE, Self::RemovePicture),
                ],
                "POST, PUT, DELETE, OPTIONS",
            ),
            ["api", "users", "me", "profile"] => (
                &[
                    (Method::GET, Self::OwnProfile),
                    (Method::PATCH, Self::Rename),
                ],
                "GET, HEAD, PATCH, OPTIONS",
            ),
            ["api", "users", id, "profile"] => {
                return get_only(method, Self::Profile(decoded(id)?));
            }
            ["api", "auth", "register"] => (&[(Method::POST, Self::Register)], "POST, OPTIONS"),
            ["api", "auth", "login"] => (&[(Method::POST, Self::LogIn)], "POST, OPTIONS"),
            ["api", "auth", "token", "refresh"] => {
                (&[(Method::POST, Self::Refresh)], "POST, OPTIONS")
            }
            ["media", "profile_pictures", id, file] => {
                let id = PictureId::from_str(id).map_err(|_| Unrouted::NotFound)?;
                return get_only(method, Self::Rendition(id, size(file)?));
            }
            ["media", "default", file] => return get_only(method, Self::Placeholder(size(file)?)),
            ["healthz"] => return get_only(method, Self::Health),
            ["readyz"] => return get_only(method, Self::Ready),
            _ => return Err(Unrouted::NotFound),
        };
        choose(method, routes, allow)
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
            Self::Health => "health",
            Self::Ready => "ready",
            Self::Options(_) => "options",
        }
    }
}

fn get_only(method: &Method, route: Route) -> Result<Route, Unrouted> {
    choose(method, &[(Method::GET, route)], "GET, HEAD, OPTIONS")
}

fn choose(
    method: &Method,
    routes: &[(Method, Route)],
    allow: &'static str,
) -> Result<Route, Unrouted> {
    if method == Method::OPTIONS {
        return Ok(Route::Options(allow));
    }
    let method = if method == Method::HEAD {
        &Method::GET
    } else {
        method
    };
    let found = routes.iter().find(|(allowed, _)| allowed == method);
    found
        .map(|(_, route)| route.clone())
        .ok_or(Unrouted::MethodNotAllowed { allow })
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
