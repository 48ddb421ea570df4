//! Limits on bytes, and refusals that their sender gets to read.

use std::time::{Duration, Instant};

use crate::support::fixtures::jpeg_of_bytes;
use crate::support::{
    Connection, DEADLINE, Form, PICTURE, PROFILE, Reply, Request, Server, UPLOAD_BYTES_MAX, User,
    fixture,
};

const NOT_PROVIDED: &str = r#"{"detail":"Authentication credentials were not provided."}"#;

/// The form of a file in chunks, as clients send it that do not know the length.
fn chunked(server: &Server, user: &User, file: &[u8], chunk: usize) -> Reply {
    let form = Form::image(file);
    let request = Request::post(PICTURE)
        .bearer(&user.access)
        .field("Content-Type", &form.content_type())
        .field("Transfer-Encoding", "chunked");
    let mut bytes = request.head(server.address());
    for part in form.bytes().chunks(chunk) {
        bytes.extend_from_slice(format!("{:x}\r\n", part.len()).as_bytes());
        bytes.extend_from_slice(part);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"0\r\n\r\n");
    let connection = Connection::open(server.address());
    connection.write_beside(bytes);
    answer(connection)
}

/// The next answer, checked.
fn answer(mut connection: Connection) -> Reply {
    let reply = connection.answer("POST").expect("an answer");
    crate::support::strict::check("POST", &reply);
    reply
}

#[track_caller]
fn assert_too_large(reply: &Reply) {
    assert_eq!(reply.status, 400, "{}", reply.text());
    let answer = reply.json();
    let sentence = answer["image"][0].as_str().unwrap_or_default();
    assert!(sentence.starts_with("The file is too large: "), "{answer}");
    assert!(sentence.contains("5242880"), "{answer}");
}

#[test]
fn file_of_exactly_the_limit_is_accepted_and_one_byte_more_is_not() {
    let server = Server::start();
    let user = server.user();

    server
        .upload(&user, &jpeg_of_bytes(UPLOAD_BYTES_MAX))
        .expect(200);
    let id = server.profile(&user)["picture"]["id"].clone();

    let reply = server.upload(&user, &jpeg_of_bytes(UPLOAD_BYTES_MAX + 1));
    assert_too_large(&reply);
    assert_eq!(server.profile(&user)["picture"]["id"], id);
}

#[test]
fn file_without_an_announced_length_is_counted() {
    let server = Server::start();
    let user = server.user();

    chunked(&server, &user, &jpeg_of_bytes(UPLOAD_BYTES_MAX), 60_000).expect(200);
    chunked(&server, &user, &fixture("rgb.png"), 7).expect(200);
    for chunk in [1_000_000, 60_000] {
        let reply = chunked(&server, &user, &jpeg_of_bytes(UPLOAD_BYTES_MAX + 1), chunk);
        assert_too_large(&reply);
    }
    let reply = chunked(&server, &user, &vec![0; 3 * UPLOAD_BYTES_MAX], 100_000);
    assert_too_large(&reply);
}

#[test]
fn far_too_large_file_is_refused_by_its_announced_length() {
    let server = Server::start();
    let user = server.user();
    let form = Form::image(&[]);
    let request = Request::post(PICTURE)
        .bearer(&user.access)
        .field("Content-Type", &form.content_type())
        .field("Content-Length", "99999999999");
    let mut connection = Connection::open(server.address());

    // Not one byte of the body is sent, and the answer comes nevertheless.
    connection.write(&request.head(server.address()));

    let reply = connection.answer("POST").unwrap();
    assert_too_large(&reply);
    assert!(reply.text().contains("99999999999"), "{}", reply.text());
}

#[test]
fn limit_is_configured_and_named() {
    let server = Server::with(&[("http.upload_bytes_max", "2000")]);
    let user = server.user();
    assert!(fixture("cmyk.jpg").len() > 2_000);

    let reply = server.upload(&user, &fixture("cmyk.jpg")).expect(400);
    assert!(
        reply.json()["image"][0].as_str().unwrap().contains("2000"),
        "{}",
        reply.text()
    );
    server.upload(&user, &fixture("pixel.jpg")).expect(200);
}

#[test]
fn early_refusal_is_read_by_a_client_that_sends_everything_first() {
    let server = Server::start();
    let user = server.user();
    let file = vec![0; UPLOAD_BYTES_MAX];
    let form = Form::image(&file);
    let large = Form::image(&vec![0; 2 * UPLOAD_BYTES_MAX]);
    let cases = [
        ("no token", Request::post(PICTURE).form(&form), 401),
        (
            "a bad token",
            Request::post(PICTURE).bearer("x").form(&form),
            401,
        ),
        ("no route", Request::post("/nothing/").form(&form), 404),
        ("a wrong method", Request::post(PROFILE).form(&form), 405),
        (
            "no form",
            Request::post(PICTURE)
                .bearer(&user.access)
                .body("image/jpeg", &file),
            415,
        ),
        (
            "no boundary",
            Request::post(PICTURE)
                .bearer(&user.access)
                .body("multipart/form-data", &file),
            400,
        ),
        (
            "too large",
            Request::post(PICTURE).bearer(&user.access).form(&large),
            400,
        ),
        (
            "a large JSON",
            Request::post("/api/auth/login/").body("application/json", &file),
            413,
        ),
    ];
    for (what, request, status) in cases {
        let mut connection = Connection::open(server.address());

        // As a simple client does: first send, then look for an answer.
        let sent = connection.try_write(&request.bytes(server.address()));
        let reply = connection.answer("POST");

        let reply = reply.unwrap_or_else(|lost| panic!("{what}: {lost:?}"));
        assert!(sent, "{what}: the connection was closed while it was sent");
        let same = reply.status == status || (status == 413 && reply.status == 400);
        assert!(same, "{what}: {} {}", reply.status, reply.text());
    }
    assert!(server.is_alive());
}

#[test]
fn caller_is_judged_before_the_body_is_asked_for() {
    let server = Server::with(&[("rate_limit.uploads_per_hour", "1")]);
    let user = server.user();
    let throttled = server.user();
    server.upload(&throttled, &fixture("pixel.jpg")).expect(200);
    let form = Form::image(&fixture("rgb.png"));
    let base = || {
        Request::post(PICTURE)
            .field("Content-Type", &form.content_type())
            .field("Expect", "100-continue")
    };
    let length = form.bytes().len().to_string();
    let cases = [
        (base().field("Content-Length", &length), 401),
        (base().bearer("x").field("Content-Length", &length), 401),
        (
            base()
                .bearer(&throttled.access)
                .field("Content-Length", &length),
            429,
        ),
        (
            base()
                .bearer(&user.access)
                .field("Content-Length", "99999999"),
            400,
        ),
    ];
    for (request, status) in cases {
        let mut connection = Connection::open(server.address());
        connection.write(&request.head(server.address()));

        let reply = connection.answer("POST").expect("an answer");

        assert_eq!(reply.status, status, "and not 100: {}", reply.text());
        // Whether the body follows is up to the client: a connection that went on could take it for a request.
        assert_eq!(reply.field("connection"), Some("close"), "{status}");
        connection.finish();
        assert!(connection.is_closed(), "{status}");
    }
}

#[test]
fn early_refusal_is_read_by_a_client_that_does_not_wait_to_be_asked() {
    let server = Server::start();
    let user = server.user();
    let form = Form::image(&vec![0; UPLOAD_BYTES_MAX]);
    let large = Form::image(&vec![0; 2 * UPLOAD_BYTES_MAX]);
    let smuggled = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n".repeat(1_000);
    let cases = [
        (Request::post(PICTURE).form(&form), 401),
        (
            Request::post(PICTURE).bearer(&user.access).form(&large),
            400,
        ),
        (Request::post("/nothing").body("text/plain", &smuggled), 404),
        (
            Request::post("/api/auth/login/").body("text/plain", &smuggled),
            415,
        ),
    ];
    for (request, status) in cases {
        let request = request.field("Expect", "100-Continue");
        let mut connection = Connection::open(server.address());

        let sent = connection.try_write(&request.bytes(server.address()));

        let reply = connection.answer("POST");
        let reply = reply.unwrap_or_else(|lost| panic!("{status}: {lost:?}"));
        assert!(sent, "{status}: closed while it was sent");
        assert_eq!(reply.status, status, "{}", reply.text());
        connection.finish();
        assert!(connection.is_closed(), "{status}: the body was answered");
    }
}

#[test]
fn body_of_a_good_request_is_asked_for() {
    let server = Server::start();
    let user = server.user();
    let form = Form::image(&fixture("rgb.png"));
    let request = Request::post(PICTURE).bearer(&user.access).form(&form);

    let mut connection = Connection::asked(server.address(), request);

    connection.write(&form.bytes());
    connection.answer("POST").unwrap().expect(200);
}

#[test]
fn connection_is_kept_after_a_refusal_whose_body_was_read() {
    let server = Server::start();
    let user = server.user();
    let mut connection = Connection::open(server.address());
    for _ in 0..5 {
        let form = Form::image(&fixture("foreign.txt"));
        let request = Request::post(PICTURE).bearer(&user.access).form(&form);
        connection.exchange(&request).expect(400);
        connection.exchange(&Request::get(PROFILE)).expect(401);
        connection.exchange(&Request::get("/healthz")).expect(200);
    }
}

#[test]
fn unauthenticated_upload_says_the_same_whatever_is_sent() {
    let server = Server::start();
    for body in [vec![], vec![0; 100], vec![0; 6 * 1_024 * 1_024]] {
        let request = Request::post(PICTURE).form(&Form::image(&body));
        let reply = server.send(&request);
        assert_eq!(reply.told(), (401, NOT_PROVIDED.to_owned()));
    }
}

#[test]
fn nothing_outlives_a_hundred_refusals() {
    let server = Server::with(&[("rate_limit.uploads_per_hour", "0")]);
    let user = server.user();
    server.upload(&user, &fixture("rgb.png")).expect(200);
    let open = || {
        std::fs::read_dir(format!("/proc/{}/fd", server.process_id()))
            .unwrap()
            .count()
    };
    let before = open();
    for _ in 0..20 {
        for name in [
            "corrupt.jpg",
            "corrupt.png",
            "corrupt.heic",
            "bomb.png",
            "lying-ispe.heic",
        ] {
            server.upload(&user, &fixture(name)).expect(400);
        }
    }

    let start = Instant::now();
    server.upload(&user, &fixture("rgb.png")).expect(200);

    assert!(
        start.elapsed() < Duration::from_secs(3),
        "{:?}",
        start.elapsed()
    );
    assert!(
        open() <= before + 10,
        "{} descriptors, before {before}",
        open()
    );
}

#[test]
fn side_that_is_too_long_names_the_limit() {
    let server = Server::start();
    let user = server.user();
    let long = |width: u32, height: u32| {
        let header: [&[u8]; 6] = [
            b"\x89PNG\r\n\x1A\n\0\0\0\x0DIHDR",
            &width.to_be_bytes(),
            &height.to_be_bytes(),
            b"\x01\0\0\0\0",
            b"crc?",
            b"\0\0\0\0",
        ];
        header.concat()
    };
    for (width, height) in [(65_536, 1), (1, 64_000_000)] {
        let reply = server.upload(&user, &long(width, height)).expect(400);

        let sentence = reply.json()["image"][0].as_str().unwrap().to_owned();
        let size = format!("{width} x {height}");
        assert!(
            sentence.contains(&size) && sentence.contains("65535"),
            "{sentence}"
        );
    }
}

#[test]
fn bodies_without_a_picture_share_their_room_and_give_it_back() {
    let server = Server::with(&[
        ("http.json_bytes_max", "16_384"),
        ("http.fields_bytes_max", "16_384"),
        ("rate_limit.logins_per_minute_per_address", "0"),
    ]);
    let log_in = |spaces: usize| {
        let fields = r#"{"email":"nobody@example.org","password":"wrong"}"#;
        let body = format!("{fields}{}", " ".repeat(spaces));
        Request::post("/api/auth/login/").body("application/json", body.as_bytes())
    };
    let most = log_in(16_000).bytes(server.address());
    let mut held = Connection::open(server.address());
    held.write(&most[..most.len() - 10]);
    let until = Instant::now() + DEADLINE;
    let status_at_last = |wanted: u16| loop {
        let reply = server.send(&log_in(1_000));
        if reply.status == wanted {
            break reply;
        }
        assert!(Instant::now() < until, "{}", reply.text());
    };

    let full = status_at_last(503);

    assert!(full.field("retry-after").is_some());
    server.get("/healthz").expect(200);
    drop(held);
    status_at_last(401);
}

#[test]
fn refusals_for_a_number_tell_the_limit_and_the_number_to_programs() {
    let server = Server::with(&[
        ("http.json_bytes_max", "1024"),
        ("http.form_parts_max", "3"),
        ("http.form_overhead_bytes_max", "2048"),
    ]);
    let user = server.user();
    let log_in = || Request::post("/api/auth/login/");
    let upload = || Request::post(PICTURE).bearer(&user.access);
    let large = vec![b' '; 2_000];
    let chunked = [b"7d0\r\n", &large[..], b"\r\n0\r\n\r\n"].concat();
    let parts = (0..4).fold(Form::new(), |form, _| form.text("a", ""));
    let beside = Form::image(&fixture("pixel.jpg")).text("a", &"x".repeat(3_000));
    let boundary = format!("multipart/form-data; boundary={}", "b".repeat(71));
    for (request, limit, actual) in [
        (
            log_in().body("application/json", &large),
            1_024,
            Some(2_000),
        ),
        (
            log_in()
                .field("Transfer-Encoding", "chunked")
                .body("application/json", &chunked),
            1_024,
            None,
        ),
        (log_in().body(&boundary, b"x"), 70, Some(71)),
        (upload().body(&boundary, b"x"), 70, Some(71)),
        (log_in().form(&parts), 3, None),
        (upload().form(&parts), 3, None),
        (upload().form(&beside), 2_048, None),
        (
            upload()
                .field("Idempotency-Key", &"k".repeat(256))
                .form(&Form::image(&fixture("pixel.jpg"))),
            255,
            Some(256),
        ),
    ] {
        let reply = server.send(&request.field("Accept", "application/problem+json"));

        let problem = reply.json();
        assert_eq!(problem["limit"], limit, "{problem}");
        assert_eq!(problem["actual"], serde_json::json!(actual), "{problem}");
        let detail = problem["detail"].as_str().unwrap();
        for number in [Some(limit), actual].into_iter().flatten() {
            assert!(detail.contains(&number.to_string()), "{problem}");
        }
    }
}
