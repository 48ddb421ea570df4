//! Writes that depend on what the client has seen, and uploads that may be sent again: `ETag`, `If-Match`,
//! `If-None-Match`, `Idempotency-Key`.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::thread;

use serde_json::{Value, json};

use crate::metrics;
use crate::support::{Connection, Form, PICTURE, PROFILE, Reply, Request, Server, User, fixture};

fn own(server: &Server, user: &User) -> Reply {
    server
        .send(&Request::get(PROFILE).bearer(&user.access))
        .expect(200)
}

fn tag(reply: &Reply) -> String {
    reply.field("etag").expect("a profile has a tag").to_owned()
}

fn upload(user: &User, file: &str) -> Request {
    let form = Form::image(&fixture(file));
    Request::post(PICTURE).bearer(&user.access).form(&form)
}

fn at_once(count: usize, request: &Request, address: SocketAddr) -> Vec<Reply> {
    thread::scope(|scope| {
        let send = || request.send(address);
        let sent: Vec<_> = (0..count).map(|_| scope.spawn(send)).collect();
        sent.into_iter()
            .map(|sending| sending.join().unwrap())
            .collect()
    })
}

fn id(reply: &Reply) -> Value {
    reply.json()["picture"]["id"].clone()
}

#[test]
fn client_that_has_the_profile_gets_304() {
    let server = Server::start();
    let user = server.user();
    let public = format!("/api/users/{}/profile/", user.id);
    let etag = tag(&own(&server, &user));

    assert_eq!(tag(&server.get(&public).expect(200)), etag);
    for path in [PROFILE, &public] {
        let ask = |tags: &str| {
            Request::get(path)
                .bearer(&user.access)
                .field("If-None-Match", tags)
        };
        for tags in [
            etag.clone(),
            format!("W/{etag}"),
            format!("\"x\", {etag}"),
            "*".to_owned(),
        ] {
            let reply = server.send(&ask(&tags)).expect(304);
            assert_eq!(reply.field("etag"), Some(etag.as_str()));
            assert!(reply.body.is_empty());
        }
        server.send(&ask("\"x\"")).expect(200);
        // Several fields are one list, and tags may have any bytes.
        let two = ask("\"x\"").field("If-None-Match", &etag);
        server.send(&two).expect(304);
        server.send(&ask(&format!("\"é\", {etag}"))).expect(304);
    }
    let uploaded = server.send(&upload(&user, "pixel.jpg")).expect(200);
    assert_ne!(tag(&uploaded), etag);
    assert_eq!(tag(&own(&server, &user)), tag(&uploaded));
    let ask = Request::get(&public).field("If-None-Match", &etag);
    server.send(&ask).expect(200);
}

#[test]
fn write_happens_only_to_the_profile_that_was_seen() {
    let server = Server::start();
    let user = server.user();
    let name = json!({ "name": "Ada" });
    let writes = [
        Request::new("PATCH", PROFILE)
            .bearer(&user.access)
            .json(&name),
        upload(&user, "pixel.jpg"),
        Request::new("PUT", PICTURE)
            .bearer(&user.access)
            .form(&Form::image(&fixture("pixel.jpg"))),
        Request::new("DELETE", PICTURE).bearer(&user.access),
    ];
    for write in writes {
        let before = own(&server, &user);
        for wrong in ["\"x\"", "", &format!("W/{}", tag(&before))] {
            server
                .send(&write.clone().field("If-Match", wrong))
                .expect(412);
        }
        let tag_before = tag(&before);
        for (wanted, unwanted) in [
            (None, tag_before.clone()),
            (None, format!("W/{tag_before}")),
            (None, format!("\"x\", {tag_before}")),
            (None, "*".to_owned()),
            (Some("*"), tag_before.clone()),
        ] {
            let refused = write.clone().field("If-None-Match", &unwanted);
            let refused = match wanted {
                Some(tags) => refused.field("If-Match", tags),
                None => refused,
            };
            let refused = server.send(&refused).expect(412);
            assert!(refused.text().contains("If-None-Match"), "{unwanted}");
        }
        assert_eq!(own(&server, &user).text(), before.text());
        let right = write
            .clone()
            .field("If-Match", &format!("\"x\", {}", tag(&before)));
        let after = server.send(&right).expect(200);
        assert_ne!(tag(&after), tag(&before));
        server.send(&right).expect(412);
        server
            .send(&write.clone().field("If-Match", "*"))
            .expect(200);
        // An old tag is not that of the profile any more.
        server
            .send(&write.field("If-None-Match", &tag(&before)))
            .expect(200);
    }
}

#[test]
fn of_several_uploads_with_the_same_tag_one_wins() {
    let server = Server::start();
    let user = server.user();
    let address = server.address();
    for _ in 0..3 {
        let etag = tag(&own(&server, &user));
        let request = upload(&user, "pixel.jpg").field("If-Match", &etag);
        let racing: Vec<u16> = at_once(6, &request, address)
            .iter()
            .map(|reply| reply.status)
            .collect();

        let won = racing.iter().filter(|status| **status == 200).count();
        let lost = racing.iter().filter(|status| **status == 412).count();
        assert_eq!((won, lost), (1, 5), "{racing:?}");
    }
}

#[test]
fn upload_that_is_sent_again_makes_no_second_picture() {
    let server = Server::start();
    let user = server.user();
    let other = server.user();
    let first = server
        .send(&upload(&user, "pixel.jpg").field("Idempotency-Key", "\"k-1\""))
        .expect(200);

    let again = server
        .send(&upload(&user, "pixel.jpg").field("Idempotency-Key", "k-1"))
        .expect(200);
    let reused = server
        .send(&upload(&user, "grey.jpg").field("Idempotency-Key", "k-1"))
        .expect(422);
    let others = server
        .send(&upload(&other, "grey.jpg").field("Idempotency-Key", "k-1"))
        .expect(200);
    let fresh = server
        .send(&upload(&user, "pixel.jpg").field("Idempotency-Key", "k-2"))
        .expect(200);

    assert_eq!(again.text(), first.text());
    assert_eq!(
        reused.text(),
        r#"{"detail":"This Idempotency-Key was used for another upload. Use a new key for other bytes."}"#
    );
    assert_ne!(id(&others), id(&first));
    assert_ne!(id(&fresh), id(&first));
    // Its condition has become false by itself: the key comes first.
    let conditional = |tag: &str| {
        let request = upload(&user, "pixel.jpg").field("Idempotency-Key", "k-3");
        server.send(&request.field("If-Match", tag))
    };
    let seen = tag(&fresh);
    let done = conditional(&seen).expect(200);
    assert_eq!(conditional(&seen).expect(200).text(), done.text());
}

#[test]
fn refused_upload_leaves_its_key_free() {
    let server = Server::start();
    let user = server.user();
    let send = |file: &str| server.send(&upload(&user, file).field("Idempotency-Key", "k"));

    send("foreign.txt").expect(400);
    send("pixel.jpg").expect(200);
}

#[test]
fn uploads_at_once_with_one_key_make_one_picture() {
    let server = Server::start();
    let user = server.user();
    let request = upload(&user, "orientation-1.jpg").field("Idempotency-Key", "k");
    let replies = at_once(6, &request, server.address());

    let shown = server.profile(&user)["picture"]["id"].clone();
    for reply in replies {
        assert_eq!(id(&reply.expect(200)), shown);
    }
}

#[test]
fn upload_of_a_client_that_hung_up_is_answered_when_it_is_sent_again() {
    let server = Server::with(&[("metrics.listen", "\"127.0.0.1:0\"")]);
    let user = server.user();
    let arrived = || metrics::value(&metrics::scrape(&server), "pockitd_upload_size_bytes_count");
    let mut before = Value::Null;
    for number in 0..3 {
        let request = upload(&user, "orientation-1.jpg");
        let request = request.field("Idempotency-Key", &format!("k-{number}"));
        let arrived_before = arrived();
        let mut gone = TcpStream::connect(server.address()).unwrap();
        gone.write_all(&request.bytes(server.address())).unwrap();
        while arrived() == arrived_before {
            thread::yield_now();
        }
        drop(gone);

        let again = server.send(&request).expect(200);

        assert_eq!(server.send(&request).expect(200).text(), again.text());
        assert_eq!(id(&again), server.profile(&user)["picture"]["id"]);
        assert_ne!(id(&again), before);
        before = id(&again);
    }
    let made = "pockitd_image_stage_duration_seconds_count{stage=\"commit\"}";
    assert_eq!(metrics::value(&metrics::scrape(&server), made), 3);
}

#[test]
fn upload_that_is_sent_again_takes_nothing_of_the_quota() {
    let server = Server::with(&[("rate_limit.uploads_per_hour", "2")]);
    let user = server.user();
    let send = |file: &str, key: &str| {
        let request = upload(&user, file).field("Idempotency-Key", key);
        server.send(&request)
    };
    let first = send("pixel.jpg", "k-1").expect(200);
    for _ in 0..5 {
        assert_eq!(send("pixel.jpg", "k-1").expect(200).text(), first.text());
    }
    let second = send("grey.jpg", "k-2").expect(200);
    assert_eq!(send("grey.jpg", "k-2").expect(200).text(), second.text());

    // What turns out to be another upload does.
    send("pixel.jpg", "k-2").expect(429);
    send("pixel.jpg", "k-3").expect(429);
}

#[test]
fn upload_that_is_sent_again_without_end_is_429_before_its_body_is_asked_for() {
    let server = Server::with(&[("rate_limit.uploads_per_hour", "1")]);
    let user = server.user();
    let request = upload(&user, "pixel.jpg").field("Idempotency-Key", "k");
    for _ in 0..5 {
        server.send(&request).expect(200);
    }

    let mut connection = Connection::open(server.address());
    connection.write(
        &request
            .field("Expect", "100-continue")
            .head(server.address()),
    );

    let reply = connection.answer("POST").unwrap().expect(429);
    assert_eq!(
        reply.field("ratelimit-policy"),
        Some("\"upload\";q=1;w=3600")
    );
}

#[test]
fn upload_that_only_the_store_knows_of_is_not_free_without_end() {
    let mut server = Server::with(&[
        ("rate_limit.uploads_per_hour", "2"),
        ("http.idempotency_keys_max", "0"),
    ]);
    let user = server.user();
    let request = upload(&user, "pixel.jpg").field("Idempotency-Key", "k");
    let first = id(&server.send(&request).expect(200));
    server.stop();
    server.restart();

    let mut replies = (0..20).map(|_| server.send(&request));

    let taken = replies.by_ref().take_while(|reply| reply.status == 200);
    let again: Vec<_> = taken.map(|reply| id(&reply)).collect();
    assert!((8..20).contains(&again.len()), "{}", again.len());
    assert!(again.iter().all(|one| *one == first));
}

#[test]
fn keys_are_ignored_where_they_are_switched_off() {
    let server = Server::with(&[("http.idempotency_ttl_s", "0")]);
    let user = server.user();
    let send = || {
        id(&server
            .send(&upload(&user, "pixel.jpg").field("Idempotency-Key", "k"))
            .expect(200))
    };

    assert_ne!(send(), send());
}
