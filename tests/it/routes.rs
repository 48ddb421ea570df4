//! Paths and methods: slashes, HEAD, OPTIONS, 404 and 405.

use serde_json::json;

use crate::support::{Form, PICTURE, PROFILE, Request, Server, fixture};

#[test]
fn wrong_method_is_405_with_those_that_are_right() {
    let server = Server::start();
    let user = server.user();
    let id = "0".repeat(32);
    let rendition = format!("/media/profile_pictures/{id}/512.jpg");
    let public = format!("/api/users/{}/profile/", user.id);
    let cases = [
        (PICTURE, "GET", "DELETE, OPTIONS, POST, PUT"),
        (PICTURE, "PATCH", "DELETE, OPTIONS, POST, PUT"),
        (PICTURE, "HEAD", "DELETE, OPTIONS, POST, PUT"),
        (PROFILE, "POST", "GET, HEAD, OPTIONS, PATCH"),
        (PROFILE, "DELETE", "GET, HEAD, OPTIONS, PATCH"),
        (PROFILE, "TRACE", "GET, HEAD, OPTIONS, PATCH"),
        (public.as_str(), "PATCH", "GET, HEAD, OPTIONS"),
        ("/api/auth/register/", "GET", "OPTIONS, POST"),
        ("/api/auth/login/", "PUT", "OPTIONS, POST"),
        ("/api/auth/token/refresh/", "DELETE", "OPTIONS, POST"),
        (rendition.as_str(), "POST", "GET, HEAD, OPTIONS"),
        ("/media/default/512.jpg", "DELETE", "GET, HEAD, OPTIONS"),
        ("/healthz", "POST", "GET, HEAD, OPTIONS"),
        ("/readyz", "BREW", "GET, HEAD, OPTIONS"),
    ];
    for (path, method, allow) in cases {
        let reply = server
            .send(&Request::new(method, path).bearer(&user.access))
            .expect(405);

        let mut found: Vec<_> = reply.field("allow").unwrap().split(", ").collect();
        found.sort_unstable();
        assert_eq!(found.join(", "), allow, "{method} {path}");
        if method != "HEAD" {
            let body = format!(r#"{{"detail":"Method \"{method}\" not allowed."}}"#);
            assert_eq!(reply.text(), body);
        }
    }
}

#[test]
fn options_tells_the_methods() {
    let server = Server::start();
    for path in [PICTURE, PROFILE, "/healthz", "/media/default/512.jpg"] {
        let reply = server.send(&Request::new("OPTIONS", path));

        assert!(
            matches!(reply.status, 200 | 204),
            "{path}: {}",
            reply.status
        );
        assert!(reply.field("allow").unwrap().contains("OPTIONS"), "{path}");
    }
    server
        .send(&Request::new("OPTIONS", "/nothing"))
        .expect(404);
}

#[test]
fn every_route_answers_with_and_without_its_slash() {
    let server = Server::start();
    let (user, profile) = server.user_with_picture();
    let form = Form::image(&fixture("pixel.jpg"));
    let rendition = server.path(&profile["profile_picture_url"]);
    let public = format!("/api/users/{}/profile", user.id);
    let log_in = json!({ "email": user.email, "password": user.password });
    let cases = [
        (
            Request::get(&rendition),
            Request::get(&format!("{rendition}/")),
            200,
        ),
        (
            Request::get("/media/default/512.jpg"),
            Request::get("/media/default/512.jpg/"),
            200,
        ),
        (Request::get("/healthz"), Request::get("/healthz/"), 200),
        (Request::get("/readyz"), Request::get("/readyz/"), 200),
        (
            Request::get(&public),
            Request::get(&format!("{public}/")),
            200,
        ),
        (
            Request::get("/api/users/me/profile"),
            Request::get(PROFILE),
            200,
        ),
        (
            Request::post("/api/auth/login").json(&log_in),
            Request::post("/api/auth/login/").json(&log_in),
            200,
        ),
        (
            Request::post("/api/auth/register").json(&log_in),
            Request::post("/api/auth/register/").json(&log_in),
            409,
        ),
        (
            Request::post("/api/auth/token/refresh").json(&json!({})),
            Request::post("/api/auth/token/refresh/").json(&json!({})),
            400,
        ),
        (
            Request::post("/api/users/me/profile/picture").form(&form),
            Request::post(PICTURE).form(&form),
            200,
        ),
        (
            Request::new("DELETE", "/api/users/me/profile/picture"),
            Request::new("DELETE", PICTURE),
            200,
        ),
    ];
    for (without, with, status) in cases {
        for request in [without, with] {
            let reply = server.send(&request.clone().bearer(&user.access));
            assert_eq!(reply.status, status, "{request:?}: {}", reply.text());
        }
    }
}

#[test]
fn query_does_not_change_the_route() {
    let server = Server::start();
    let (user, profile) = server.user_with_picture();
    let rendition = server.path(&profile["profile_picture_url"]);

    server.get(&format!("{rendition}?v=1&x=%00")).expect(200);
    server.get("/healthz?").expect(200);
    server
        .send(&Request::get(&format!("{PROFILE}?x=/../y")).bearer(&user.access))
        .expect(200);
}

#[test]
fn unknown_path_is_404() {
    let server = Server::start();
    for path in [
        "/",
        "/api/",
        "/api/users/me/",
        "/api//users/me/profile/",
        "//api/users/me/profile/",
        "/api/users/me/profile//",
        "/api/users/me/profile/picture/x",
        "/API/users/me/profile/",
        "/api/users//profile/",
        "/api/users/me/../me/profile/",
        "/api/users/me/%70rofile/picture%2f",
        "/.git/config",
        "/data/signing.key",
        "/media/../signing.key",
        "/decode-worker",
        "/%",
        "/%zz",
    ] {
        let reply = server.get(path);

        if reply.body.is_empty() {
            assert_eq!(reply.status, 400, "{path}");
            continue;
        }
        assert_eq!(
            reply.told(),
            (404, r#"{"detail":"Not found."}"#.to_owned()),
            "{path}"
        );
    }
}

#[test]
fn head_is_answered_like_get_on_every_route_that_has_one() {
    let server = Server::start();
    let user = server.user();
    for path in ["/healthz", "/readyz", PROFILE, "/media/default/128.jpg"] {
        let get = server.send(&Request::get(path).bearer(&user.access));
        let head = server.send(&Request::new("HEAD", path).bearer(&user.access));

        assert_eq!(head.status, get.status, "{path}");
        assert_eq!(
            head.field("content-length"),
            get.field("content-length"),
            "{path}"
        );
        assert_eq!(
            head.field("content-type"),
            get.field("content-type"),
            "{path}"
        );
    }
    server.send(&Request::new("HEAD", PROFILE)).expect(401);
    server.send(&Request::new("HEAD", "/nothing")).expect(404);
}
