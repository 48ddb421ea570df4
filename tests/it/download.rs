//! Served files: cached for ever, compared by entity tag, in ranges, and gone at once when they are replaced.

use crate::support::{Reply, Request, Server, fixture};

/// A server, the path of a rendition, and the rendition.
fn with_picture() -> (Server, String, Reply) {
    let server = Server::start();
    let (_, profile) = server.user_with_picture();
    let path = server.path(&profile["profile_picture_url"]);
    let reply = server.get(&path).expect(200);
    (server, path, reply)
}

#[test]
fn rendition_is_immutable_and_typed() {
    let (_, _, reply) = with_picture();

    for (name, value) in [
        ("content-type", "image/jpeg"),
        ("cache-control", "public, max-age=31536000, immutable"),
        ("x-content-type-options", "nosniff"),
        ("content-security-policy", "default-src 'none'; sandbox"),
        ("cross-origin-resource-policy", "cross-origin"),
        ("referrer-policy", "no-referrer"),
        ("accept-ranges", "bytes"),
    ] {
        assert_eq!(reply.field(name), Some(value), "{name}");
    }
    let etag = reply.field("etag").expect("an entity tag");
    assert!(
        etag.starts_with('"') && etag.ends_with('"') && etag.len() > 10,
        "{etag}"
    );
    assert!(reply.field("last-modified").is_some());
    let disposition = reply.field("content-disposition").unwrap();
    assert!(disposition.starts_with("inline"), "{disposition}");
}

#[test]
fn entity_tags_differ_between_files_and_stay_the_same_over_time() {
    let (server, path, reply) = with_picture();
    let thumbnail = server.get(&path.replace("512.jpg", "128.jpg")).expect(200);

    assert_ne!(reply.field("etag"), thumbnail.field("etag"));
    assert_eq!(reply.field("etag"), server.get(&path).field("etag"));
}

#[test]
fn head_is_get_without_a_body() {
    let (server, path, reply) = with_picture();

    let head = server.send(&Request::new("HEAD", &path)).expect(200);

    assert_eq!(
        head.field("content-length"),
        Some(reply.body.len().to_string().as_str())
    );
    for name in ["etag", "content-type", "cache-control", "last-modified"] {
        assert_eq!(head.field(name), reply.field(name), "{name}");
    }
}

#[test]
fn condition_that_holds_is_304_without_a_body() {
    let (server, path, reply) = with_picture();
    let etag = reply.field("etag").unwrap();
    let modified = reply.field("last-modified").unwrap();
    let weak = format!("W/{etag}");
    let several = format!("\"other\", {etag}");
    for (name, value) in [
        ("If-None-Match", etag),
        ("If-None-Match", weak.as_str()),
        ("If-None-Match", several.as_str()),
        ("If-None-Match", "*"),
        ("If-Modified-Since", modified),
    ] {
        for method in ["GET", "HEAD"] {
            let request = Request::new(method, &path).field(name, value);
            let unchanged = server.send(&request).expect(304);

            assert_eq!(unchanged.field("etag"), Some(etag), "{name}: {value}");
            assert_eq!(
                unchanged.field("cache-control"),
                reply.field("cache-control")
            );
            assert!(unchanged.body.is_empty());
        }
    }
}

#[test]
fn condition_that_does_not_hold_is_the_file() {
    let (server, path, reply) = with_picture();
    let modified = reply.field("last-modified").unwrap();
    for fields in [
        &[("If-None-Match", "\"other\"")][..],
        &[("If-None-Match", "other")],
        &[("If-Modified-Since", "Sat, 01 Jan 2000 00:00:00 GMT")],
        &[("If-Modified-Since", "nonsense")],
        // The tag comes before the date: RFC 9110, 13.2.2.
        &[
            ("If-None-Match", "\"other\""),
            ("If-Modified-Since", modified),
        ],
    ] {
        let request = fields
            .iter()
            .fold(Request::get(&path), |request, (name, value)| {
                request.field(name, value)
            });
        let found = server.send(&request);

        assert_eq!(found.status, 200, "{fields:?}");
        assert_eq!(found.body, reply.body, "{fields:?}");
    }
}

#[test]
fn range_is_206_with_these_bytes() {
    let (server, path, reply) = with_picture();
    let length = reply.body.len();
    let last = length - 1;
    for (range, from, to) in [
        ("bytes=0-0".to_owned(), 0, 0),
        ("bytes=0-99".to_owned(), 0, 99),
        ("bytes=100-".to_owned(), 100, last),
        ("bytes=-10".to_owned(), length - 10, last),
        (format!("bytes={last}-"), last, last),
        (format!("bytes=5-{}", length + 1_000), 5, last),
        (format!("bytes=-{}", length + 1_000), 0, last),
    ] {
        let part = server
            .send(&Request::get(&path).field("Range", &range))
            .expect(206);

        assert_eq!(part.body, reply.body[from..=to], "{range}");
        let stated = format!("bytes {from}-{to}/{length}");
        assert_eq!(
            part.field("content-range"),
            Some(stated.as_str()),
            "{range}"
        );
        assert_eq!(part.field("etag"), reply.field("etag"));
        assert_eq!(part.field("content-type"), Some("image/jpeg"));
    }
}

#[test]
fn range_outside_the_file_is_416() {
    let (server, path, reply) = with_picture();
    let length = reply.body.len();
    for range in [
        format!("bytes={length}-"),
        "bytes=99999999-".to_owned(),
        "bytes=-0".to_owned(),
    ] {
        let refused = server
            .send(&Request::get(&path).field("Range", &range))
            .expect(416);

        let stated = format!("bytes */{length}");
        assert_eq!(
            refused.field("content-range"),
            Some(stated.as_str()),
            "{range}"
        );
        assert_eq!(refused.field("cache-control"), Some("no-store"));
        let sentence = refused.json()["detail"].as_str().unwrap().to_owned();
        assert!(sentence.contains(&length.to_string()), "{sentence}");
    }
    let problem = Request::get(&path)
        .field("Range", "bytes=99999999-")
        .field("Accept", "application/problem+json");
    let problem = server.send(&problem).expect(416).json();
    assert_eq!(problem["code"], "range_not_satisfiable");
    assert_eq!(problem["limit"], length);
}

/// Whoever asked under a condition must not decide what a cache gives to others under the same URL.
#[test]
fn file_that_is_not_the_wanted_one_is_412_and_nobody_keeps_that() {
    let (server, path, _) = with_picture();
    for (path, name, value) in [
        (path.as_str(), "If-Match", "\"other\""),
        (
            &path,
            "If-Unmodified-Since",
            "Sat, 01 Jan 2000 00:00:00 GMT",
        ),
        ("/media/default/512.jpg", "If-Match", "\"other\""),
    ] {
        for method in ["GET", "HEAD"] {
            let request = Request::new(method, path).field(name, value);
            let refused = server.send(&request).expect(412);

            assert_eq!(refused.field("cache-control"), Some("no-store"), "{name}");
            assert_eq!(refused.field("content-type"), Some("application/json"));
            assert_eq!(refused.body.is_empty(), method == "HEAD");
        }
        let problem = Request::get(path).field(name, value);
        let problem = problem.field("Accept", "application/problem+json");
        let problem = server.send(&problem).expect(412).json();
        assert_eq!(problem["code"], "precondition_failed");
    }
}

#[test]
fn range_that_is_not_understood_is_ignored() {
    let (server, path, reply) = with_picture();
    for range in [
        "bytes=9-5",
        "bytes=a-b",
        "lines=1-2",
        "bytes",
        "bytes=0-1,5-6",
        "bytes=-",
    ] {
        let whole = server.send(&Request::get(&path).field("Range", range));

        // Several ranges may also be answered in parts.
        assert!(
            whole.status == 200 || range.contains(','),
            "{range}: {}",
            whole.status
        );
        assert!(whole.status != 200 || whole.body == reply.body, "{range}");
    }
}

#[test]
fn range_under_a_condition_is_a_part_only_of_the_same_file() {
    let (server, path, reply) = with_picture();
    let etag = reply.field("etag").unwrap();
    let modified = reply.field("last-modified").unwrap();
    let weak = format!("W/{etag}");
    for (condition, status) in [
        (etag, 206),
        (modified, 206),
        ("\"other\"", 200),
        (weak.as_str(), 200),
        ("Sat, 01 Jan 2000 00:00:00 GMT", 200),
    ] {
        let request = Request::get(&path)
            .field("Range", "bytes=0-9")
            .field("If-Range", condition);
        let found = server.send(&request).expect(status);

        let expected = if status == 206 {
            &reply.body[..10]
        } else {
            &reply.body[..]
        };
        assert_eq!(found.body, expected, "{condition}");
    }
}

#[test]
fn many_requests_over_one_connection_are_answered_in_order() {
    let (server, path, reply) = with_picture();
    let mut connection = crate::support::Connection::open(server.address());

    for _ in 0..20 {
        let whole = connection.exchange(&Request::get(&path));
        assert_eq!(whole.body, reply.body);
        let missing = connection.exchange(&Request::get("/nothing"));
        assert_eq!(missing.status, 404);
        let head = connection.exchange(&Request::new("HEAD", &path));
        assert_eq!(head.status, 200);
        let tag = reply.field("etag").unwrap();
        let unchanged = connection.exchange(&Request::get(&path).field("If-None-Match", tag));
        assert_eq!(unchanged.status, 304);
    }
}

#[test]
fn replaced_picture_is_404_also_for_those_who_know_its_tag() {
    let server = Server::start();
    let (user, profile) = server.user_with_picture();
    let path = server.path(&profile["profile_picture_url"]);
    let tag = server.get(&path).field("etag").unwrap().to_owned();

    server.upload(&user, &fixture("rgb.png")).expect(200);

    let request = Request::get(&path).field("If-None-Match", &tag);
    let reply = server.send(&request);
    assert_eq!(reply.told(), (404, r#"{"detail":"Not found."}"#.to_owned()));
    assert_eq!(reply.field("cache-control"), Some("no-store"));
}

#[test]
fn path_that_names_no_rendition_is_404() {
    let (server, path, _) = with_picture();
    let id = path.split('/').nth(3).unwrap();
    let upper = id.to_uppercase();
    for path in [
        format!("/media/profile_pictures/{id}/256.jpg"),
        format!("/media/profile_pictures/{id}/0512.jpg"),
        format!("/media/profile_pictures/{id}/+512.jpg"),
        format!("/media/profile_pictures/{id}/512"),
        format!("/media/profile_pictures/{id}/512.png"),
        format!("/media/profile_pictures/{id}/512.jpg.jpg"),
        format!("/media/profile_pictures/{id}/99999999999.jpg"),
        format!("/media/profile_pictures/{upper}x/512.jpg"),
        format!("/media/profile_pictures/{}/512.jpg", "0".repeat(32)),
        format!("/media/profile_pictures/{}/512.jpg", &id[1..]),
        "/media/profile_pictures/../../etc/passwd".to_owned(),
        "/media/profile_pictures/%2e%2e/512.jpg".to_owned(),
        format!("/media/profile_pictures/{id}%2F512.jpg"),
        format!("//media/profile_pictures/{id}/512.jpg"),
        "/media/profile_pictures/".to_owned(),
        "/media/default/256.jpg".to_owned(),
        "/media/default/512.png".to_owned(),
        "/media/".to_owned(),
    ] {
        let reply = server.get(&path);
        assert_eq!(
            reply.told(),
            (404, r#"{"detail":"Not found."}"#.to_owned()),
            "{path}"
        );
    }
}

#[test]
fn default_picture_is_served_in_every_size_but_not_for_ever() {
    let server = Server::with(&[("picture.sizes_px", "[200, 64]")]);
    for side in [200, 64] {
        let path = format!("/media/default/{side}.jpg");
        let reply = server.get(&path).expect(200);

        let picture = crate::support::jpeg::Pixels::decode(&reply.body);
        assert_eq!((picture.width, picture.height), (side, side));
        crate::support::jpeg::assert_clean(&reply.body, &path);
        let caching = reply.field("cache-control").unwrap();
        assert!(!caching.contains("immutable"), "{caching}");
        let tag = reply.field("etag").unwrap();
        server
            .send(&Request::get(&path).field("If-None-Match", tag))
            .expect(304);
        server.send(&Request::new("HEAD", &path)).expect(200);
        server
            .send(&Request::get(&path).field("Range", "bytes=0-9"))
            .expect(206);
    }
    server.get("/media/default/512.jpg").expect(404);
}

#[test]
fn rendition_takes_no_other_methods() {
    let (server, path, _) = with_picture();
    for method in ["POST", "PUT", "DELETE", "PATCH"] {
        let reply = server.send(&Request::new(method, &path)).expect(405);

        assert_eq!(reply.field("allow"), Some("GET, HEAD, OPTIONS"));
    }
    server.get(&path).expect(200);
}

#[test]
fn range_is_for_get_only() {
    let server = Server::start();
    let (_, profile) = server.user_with_picture();
    let path = server.path(&profile["profile_picture_url"]);
    let ranged = |method| {
        let request = Request::new(method, &path).field("Range", "bytes=0-9");
        server.send(&request)
    };

    assert_eq!(ranged("GET").expect(206).body.len(), 10);
    let head = ranged("HEAD").expect(200);
    assert!(head.field("content-range").is_none());
}
