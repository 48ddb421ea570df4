//! How often a user may upload, and how that is told: 429, `Retry-After`, `RateLimit`.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::Instant;

use serde_json::json;

use crate::support::{Connection, DEADLINE, Form, PICTURE, Reply, Request, Server, Setup, fixture};

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
    // Whoever heeds this one and whoever heeds that come back at the same time.
    let told = format!("\"upload\";r=0;t={wait}");
    assert_eq!(reply.field("ratelimit"), Some(told.as_str()));
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
    let server = Server::with(&[
        ("rate_limit.uploads_per_hour", "0"),
        ("rate_limit.uploads_per_hour_per_address", "0"),
        ("rate_limit.requests_per_minute_per_user", "0"),
    ]);
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

#[test]
fn upload_that_was_not_taken_on_does_not_count() {
    let mut server = Server::with(&[("rate_limit.uploads_per_hour", "2")]);
    let user = server.user();
    server.stop();
    // More than any disk has.
    server.restart_with(&["--set", "storage.free_bytes_min=4000000000000000000"]);
    for _ in 0..5 {
        let reply = server.upload(&user, &fixture("pixel.jpg")).expect(507);
        assert!(
            reply
                .field("ratelimit")
                .unwrap()
                .starts_with("\"upload\";r=1;")
        );
    }
    server.upload(&user, &fixture("foreign.txt")).expect(400);
    server.upload(&user, &fixture("foreign.txt")).expect(400);

    server.upload(&user, &fixture("pixel.jpg")).expect(429);
}

#[test]
fn upload_that_there_was_no_room_for_does_not_count() {
    let server = Server::with(&[
        ("rate_limit.uploads_per_hour", "2"),
        ("http.upload_bytes_max", "100000"),
        ("http.bodies_bytes_max", "100000"),
        ("http.bodies_wait_ms", "50"),
    ]);
    let (slow, user) = (server.user(), server.user());
    // As much of it as makes the server take room for all of it.
    let form = Form::image(&vec![0; 50_000]);
    let announced = Request::post(PICTURE)
        .bearer(&slow.access)
        .field("Content-Type", &form.content_type())
        .field("Content-Length", "100000");
    let mut holder = Connection::open(server.address());
    holder.write(&announced.head(server.address()));
    holder.write(&form.bytes()[..50_000]);
    let begin = Instant::now();
    let full = |reply: Reply| reply.status == 503;
    while !full(server.upload(&server.user(), &fixture("pixel.jpg"))) {
        assert!(begin.elapsed() < DEADLINE, "it has all of the room");
    }

    for _ in 0..5 {
        let reply = server.upload(&user, &fixture("pixel.jpg")).expect(503);
        let left = reply.field("ratelimit").unwrap();
        assert!(left.starts_with("\"upload\";r=1;"), "{left}");
    }
    drop(holder);

    let begin = Instant::now();
    while server.upload(&user, &fixture("pixel.jpg")).status == 503 {
        assert!(begin.elapsed() < DEADLINE, "room comes back");
    }
    server.upload(&user, &fixture("pixel.jpg")).expect(200);
    server.upload(&user, &fixture("pixel.jpg")).expect(429);
}

fn log_in(email: &str, password: &str, address: &str) -> Request {
    Request::post("/api/auth/login/")
        .json(&json!({ "email": email, "password": password }))
        .field("X-Forwarded-For", address)
}

#[test]
fn failed_logins_are_slowed_by_name_wherever_they_come_from() {
    let server = Server::with(&[
        ("rate_limit.failed_logins_per_hour_per_name", "3"),
        ("http.trusted_proxies", "[\"127.0.0.1\"]"),
    ]);
    let user = server.user();
    for number in 0..10 {
        let address = format!("192.0.2.{number}");
        server
            .send(&log_in(&user.email, &user.password, &address))
            .expect(200);
    }
    for number in 0..3 {
        let address = format!("198.51.100.{number}");
        let email = if number == 1 {
            user.email.to_uppercase()
        } else {
            user.email.clone()
        };
        server.send(&log_in(&email, "wrong", &address)).expect(401);
    }

    let reply = server
        .send(&log_in(&user.email, &user.password, "203.0.113.1"))
        .expect(429);

    let wait: u32 = reply.field("retry-after").unwrap().parse().unwrap();
    assert!((1..=1_200).contains(&wait), "{wait}");
    server
        .send(&log_in("nobody@example.org", "wrong", "198.51.100.1"))
        .expect(401);
}

/// Others who keep the hashes busy must not be able to lock somebody out.
#[test]
fn logins_that_there_was_no_time_for_do_not_count_as_failed() {
    let server = Setup::new()
        .set("rate_limit.failed_logins_per_hour_per_name", "3")
        .set("rate_limit.logins_per_minute_per_address", "0")
        .set("auth.hashes_at_once_max", "1")
        .set("auth.hashes_waiting_max", "0")
        .set("auth.argon2_memory_kib", "65536")
        .start();
    let user = server.user();
    let address = server.address();
    let is_over = AtomicBool::new(false);
    let number = AtomicU32::new(0);
    let right = log_in(&user.email, &user.password, "192.0.2.1");
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    let number = number.fetch_add(1, Ordering::Relaxed);
                    let email = format!("nobody{number}@example.org");
                    log_in(&email, "wrong", "192.0.2.1").send(address);
                }
            });
        }
        let until = Instant::now() + DEADLINE;
        let mut statuses = Vec::new();
        while statuses.iter().filter(|status| **status == 503).count() < 5 {
            let status = right.send(address).status;
            statuses.push(status);
            if !matches!(status, 200 | 503) || Instant::now() > until {
                break;
            }
        }
        is_over.store(true, Ordering::Relaxed);
        let busy = statuses.iter().filter(|status| **status == 503);
        assert_eq!(busy.count(), 5, "{statuses:?}");
    });

    server.send(&right).expect(200);
}

/// A proxy that writes one header passes on the other as the client sent it.
#[test]
fn client_cannot_choose_its_address_by_the_header_that_the_proxy_does_not_write() {
    let server = Server::with(&[
        ("rate_limit.logins_per_minute_per_address", "2"),
        ("http.trusted_proxies", "[\"127.0.0.0/8\"]"),
        ("http.forwarded_header", "\"forwarded\""),
    ]);
    let send = |made_up: &str, by_the_proxy: &str| {
        let request = log_in("nobody@example.org", "wrong", made_up);
        let by_the_proxy = format!("for={by_the_proxy}");
        server
            .send(&request.field("Forwarded", &by_the_proxy))
            .status
    };

    let made_up = ["198.51.100.1", "198.51.100.2", "198.51.100.3"];
    assert_eq!(made_up.map(|one| send(one, "192.0.2.1")), [401, 401, 429]);
    assert_eq!(send("198.51.100.3", "192.0.2.2"), 401);
}

#[test]
fn logins_are_limited_by_the_address_that_a_trusted_proxy_names() {
    let limit = ("rate_limit.logins_per_minute_per_address", "2");
    let trusting = Server::with(&[limit, ("http.trusted_proxies", "[\"127.0.0.0/8\"]")]);
    let send = |server: &Server, address: &str| {
        server
            .send(&log_in("nobody@example.org", "wrong", address))
            .status
    };
    assert_eq!(
        [0; 3].map(|_| send(&trusting, "192.0.2.1")),
        [401, 401, 429]
    );
    // What stands further left the client wrote itself.
    assert_eq!(send(&trusting, "192.0.2.99, 192.0.2.1"), 429);
    assert_eq!(send(&trusting, "192.0.2.1, 192.0.2.2"), 401);
    assert_eq!(
        ["2001:db8::1", "2001:db8::2", "2001:db8:0:0:f::3"].map(|one| send(&trusting, one)),
        [401, 401, 429]
    );
    let strict = Server::with(&[limit]);
    assert_eq!(
        ["192.0.2.1", "192.0.2.2", "192.0.2.3"].map(|one| send(&strict, one)),
        [401, 401, 429]
    );
    assert!(
        strict.log().contains("http.trusted_proxies"),
        "{}",
        strict.log()
    );
}

#[test]
fn requests_are_limited_by_user_and_address_but_files_are_not() {
    let server = Server::with(&[
        ("rate_limit.requests_per_minute_per_user", "3"),
        ("rate_limit.requests_per_minute_per_address", "20"),
    ]);
    let user = server.user();
    let own = Request::get("/api/users/me/profile/").bearer(&user.access);
    for left in ["2", "1", "0"] {
        let reply = server.send(&own).expect(200);
        let told = reply.field("ratelimit").unwrap().to_owned();
        assert!(
            told.starts_with(&format!("\"request\";r={left};t=")),
            "{told}"
        );
    }
    let refused = server.send(&own).expect(429);
    assert_eq!(
        refused.field("ratelimit-policy"),
        Some("\"request\";q=3;w=60")
    );
    let public = format!("/api/users/{}/profile/", user.id);
    let statuses: Vec<_> = (0..20).map(|_| server.get(&public).status).collect();
    assert!(
        statuses.contains(&200) && statuses.contains(&429),
        "{statuses:?}"
    );
    for _ in 0..30 {
        server.get("/media/default/512.jpg").expect(200);
        server.get("/healthz").expect(200);
    }
}
