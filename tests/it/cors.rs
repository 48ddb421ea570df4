//! Which web pages may read answers: none unless configured, and then on refusals too.

use crate::support::{PICTURE, PROFILE, Reply, Request, Server};

const ORIGIN: &str = "https://app.example.org";

fn allowed(reply: &Reply) -> Option<&str> {
    reply.field("access-control-allow-origin")
}

fn preflight(path: &str, method: &str, origin: &str) -> Request {
    Request::new("OPTIONS", path)
        .field("Origin", origin)
        .field("Access-Control-Request-Method", method)
        .field(
            "Access-Control-Request-Headers",
            "authorization,content-type",
        )
}

fn words(field: Option<&str>) -> Vec<String> {
    let field = field.unwrap_or_default();
    field
        .split(',')
        .map(|word| word.trim().to_ascii_lowercase())
        .collect()
}

#[test]
fn no_page_is_allowed_by_default() {
    let server = Server::start();
    for request in [
        Request::get("/healthz").field("Origin", ORIGIN),
        Request::get(PROFILE).field("Origin", ORIGIN),
        preflight(PICTURE, "POST", ORIGIN),
    ] {
        let reply = server.send(&request);

        let fields = reply.fields.iter().map(|(name, _)| name);
        let cors: Vec<_> = fields
            .filter(|name| name.starts_with("access-control-"))
            .collect();
        assert!(cors.is_empty(), "{cors:?}");
    }
}

#[test]
fn configured_page_may_read_answers_and_refusals() {
    let server = Server::with(&[(
        "cors.origins",
        "[\"https://app.example.org\", \"http://localhost:3000\", \"capacitor://localhost\"]",
    )]);
    let user = server.user();
    // The last is where the pages of an app with Capacitor are.
    for origin in [ORIGIN, "http://localhost:3000", "capacitor://localhost"] {
        for (request, status) in [
            (Request::get(PROFILE).bearer(&user.access), 200),
            (Request::get(PROFILE), 401),
            (Request::get("/nothing"), 404),
            (Request::new("DELETE", PROFILE).bearer(&user.access), 405),
            (
                Request::post(PICTURE)
                    .bearer(&user.access)
                    .body("text/plain", b"x"),
                415,
            ),
            (Request::get("/media/default/512.jpg"), 200),
        ] {
            let reply = server.send(&request.field("Origin", origin)).expect(status);

            assert_eq!(allowed(&reply), Some(origin), "{status}");
            assert!(
                words(reply.field("vary")).contains(&"origin".to_owned()),
                "{status}"
            );
            assert_eq!(reply.field("access-control-allow-credentials"), None);
            let exposed = words(reply.field("access-control-expose-headers"));
            for name in ["retry-after", "ratelimit", "ratelimit-policy"] {
                assert!(exposed.contains(&name.to_owned()), "{exposed:?}");
            }
        }
    }
}

#[test]
fn other_pages_may_not() {
    let server = Server::with(&[("cors.origins", "[\"https://app.example.org\"]")]);
    for origin in [
        "https://evil.example.org",
        "https://app.example.org.evil.org",
        "https://app.example.org:8443",
        "http://app.example.org",
        "https://app.example.org/",
        "null",
        "",
    ] {
        for request in [Request::get("/healthz"), preflight(PICTURE, "POST", origin)] {
            let reply = server.send(&request.field("Origin", origin));

            assert_eq!(allowed(&reply), None, "{origin}");
        }
        // Caches must not mix up the answers.
        let reply = server
            .send(&Request::get("/healthz").field("Origin", origin))
            .expect(200);
        assert!(words(reply.field("vary")).contains(&"origin".to_owned()));
    }
    let without = server.get("/healthz").expect(200);
    assert!(words(without.field("vary")).contains(&"origin".to_owned()));
    assert_eq!(allowed(&without), None);
}

#[test]
fn preflight_is_204_with_what_may_be_sent() {
    let server = Server::with(&[("cors.origins", "[\"https://app.example.org\"]")]);
    for (path, method) in [
        (PICTURE, "POST"),
        (PICTURE, "PUT"),
        (PICTURE, "DELETE"),
        (PROFILE, "PATCH"),
        ("/api/auth/register/", "POST"),
    ] {
        let reply = server.send(&preflight(path, method, ORIGIN)).expect(204);

        assert_eq!(allowed(&reply), Some(ORIGIN));
        let methods = words(reply.field("access-control-allow-methods"));
        assert!(
            methods.contains(&method.to_ascii_lowercase()),
            "{path}: {methods:?}"
        );
        let headers = words(reply.field("access-control-allow-headers"));
        for name in ["authorization", "content-type"] {
            assert!(headers.contains(&name.to_owned()), "{headers:?}");
        }
        let age: u32 = reply
            .field("access-control-max-age")
            .unwrap()
            .parse()
            .unwrap();
        assert!((600..=86_400).contains(&age), "{age}");
        assert!(reply.body.is_empty());
    }
}

#[test]
fn every_page_may_be_allowed() {
    let server = Server::with(&[("cors.origins", "[\"*\"]")]);

    for request in [
        Request::get("/healthz").field("Origin", "https://anything.example"),
        Request::get(PROFILE).field("Origin", "https://anything.example"),
        preflight(PICTURE, "POST", "https://anything.example"),
    ] {
        let reply = server.send(&request);

        assert_eq!(allowed(&reply), Some("*"), "{}", reply.status);
        assert_eq!(reply.field("access-control-allow-credentials"), None);
    }
    // A cache keeps what an image element got, and gives it to the page's script.
    let picture = "/media/default/512.jpg";
    let shown = server.get(picture).expect(200);
    let tag = shown.field("etag").unwrap();
    let unchanged = Request::get(picture).field("If-None-Match", tag);
    for reply in [
        &shown,
        &server.send(&unchanged).expect(304),
        &server.get("/nothing").expect(404),
    ] {
        assert_eq!(allowed(reply), Some("*"), "{}", reply.status);
        let exposed = words(reply.field("access-control-expose-headers"));
        assert!(exposed.contains(&"etag".to_owned()), "{exposed:?}");
        assert_eq!(reply.field("vary"), None);
    }
}

#[test]
fn preflight_lasts_as_long_as_configured_and_lets_conditions_and_keys_through() {
    let server = Server::with(&[("cors.origins", "[\"*\"]"), ("cors.max_age_s", "60")]);

    let reply = server.send(&preflight(PICTURE, "POST", ORIGIN)).expect(204);

    assert_eq!(reply.field("access-control-max-age"), Some("60"));
    let headers = words(reply.field("access-control-allow-headers"));
    for name in [
        "authorization",
        "content-type",
        "if-match",
        "if-none-match",
        "idempotency-key",
        "if-range",
        "x-requested-with",
        "x-csrftoken",
    ] {
        assert!(headers.contains(&name.to_owned()), "{headers:?}");
    }
    let vary = words(reply.field("vary"));
    assert!(
        vary.contains(&"access-control-request-method".to_owned()),
        "{vary:?}"
    );
    let reply = server
        .send(&Request::get(PROFILE).field("Origin", ORIGIN))
        .expect(401);
    let exposed = words(reply.field("access-control-expose-headers"));
    for name in [
        "etag",
        "retry-after",
        "ratelimit",
        "ratelimit-policy",
        "x-request-id",
        "www-authenticate",
    ] {
        assert!(exposed.contains(&name.to_owned()), "{exposed:?}");
    }
}
