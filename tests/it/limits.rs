//! Limits on bytes, and refusals that their sender gets to read.

use std::time::{Duration, Instant};

use crate::support::fixtures::jpeg_of_bytes;
use crate::support::{
    Connection, Form, PICTURE, PROFILE, Reply, Request, Server, UPLOAD_BYTES_MAX, User, fixture,
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
    let request = Request::post(PICTURE)
        .bearer(&user.access)
        .field("Expect", "100-continue")
        .form(&form);
    let mut connection = Connection::open(server.address());
    connection.write(&request.head(server.address()));

    assert_eq!(connection.answer("POST").unwrap().status, 100);
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
