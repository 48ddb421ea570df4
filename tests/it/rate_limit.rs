//! How often a user may upload, and how that is told: 429, `Retry-After`, `RateLimit`.

use serde_json::json;

use crate::support::{Form, PICTURE, Request, Server, fixture};

#[test]
fn uploads_are_limited_by_user_and_hour() {
    let server = Server::with(&[("rate_limit.uploads_per_hour", "3")]);
    let user = server.user();
    let other = server.user();
    let mut left = Vec::new();
    for _ in 0..3 {
        let reply = server.upload(&user, &fixture("pixel.jpg")).expect(200);

        assert_eq!(
            reply.field("ratelimit-policy"),
            Some("\"upload\";q=3;w=3600")
        );
        let quota = reply.field("ratelimit").unwrap().to_owned();
        let rest = quota.strip_prefix("\"upload\";r=").expect("a rest");
        let (rest, reset) = rest.split_once(";t=").expect("a reset");
        left.push(rest.parse::<u32>().unwrap());
        assert!(reset.parse::<u32>().unwrap() <= 3_600, "{quota}");
    }
    assert_eq!(left, [2, 1, 0]);

    let reply = server.upload(&user, &fixture("pixel.jpg")).expect(429);

    let wait: u32 = reply.field("retry-after").unwrap().parse().unwrap();
    assert!((1..=3_600).contains(&wait), "{wait}");
    let unit = if wait == 1 { "second" } else { "seconds" };
    let body =
        format!(r#"{{"detail":"Request was throttled. Expected available in {wait} {unit}."}}"#);
    assert_eq!(reply.text(), body);
    assert_eq!(
        reply.field("ratelimit-policy"),
        Some("\"upload\";q=3;w=3600")
    );
    assert!(
        reply
            .field("ratelimit")
            .unwrap()
            .starts_with("\"upload\";r=0;t=")
    );
    let put = Request::new("PUT", PICTURE)
        .bearer(&user.access)
        .form(&Form::image(&fixture("pixel.jpg")));
    server.send(&put).expect(429);
    server.upload(&other, &fixture("pixel.jpg")).expect(200);
    assert_eq!(server.profile(&user)["has_picture"], json!(true));
    server
        .send(&Request::new("DELETE", PICTURE).bearer(&user.access))
        .expect(200);
}

#[test]
fn refused_uploads_count_and_unauthenticated_ones_do_not() {
    let server = Server::with(&[("rate_limit.uploads_per_hour", "2")]);
    let user = server.user();
    for _ in 0..5 {
        let form = Form::image(&fixture("pixel.jpg"));
        server
            .send(&Request::post(PICTURE).bearer("x").form(&form))
            .expect(401);
    }
    for _ in 0..2 {
        server.upload(&user, &fixture("foreign.txt")).expect(400);
    }

    server.upload(&user, &fixture("pixel.jpg")).expect(429);
}

#[test]
fn limit_of_zero_is_none() {
    let server = Server::with(&[("rate_limit.uploads_per_hour", "0")]);
    let user = server.user();
    for _ in 0..40 {
        let reply = server.upload(&user, &fixture("pixel.jpg")).expect(200);
        assert_eq!(reply.field("ratelimit"), None);
    }
}

#[test]
fn thirty_uploads_an_hour_are_the_default() {
    let server = Server::start();
    let user = server.user();
    for _ in 0..30 {
        server.upload(&user, &fixture("pixel.jpg")).expect(200);
    }

    server.upload(&user, &fixture("pixel.jpg")).expect(429);
}
