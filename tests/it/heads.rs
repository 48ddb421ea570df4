//! Heads of requests that no parser takes: each gets a proper answer, as any other refusal does.

use std::time::Duration;

use crate::support::{Connection, Reply, Request, Server, strict};

/// Sends a head; the answer, checked, and whether the connection was closed behind it.
fn answered(server: &Server, method: &str, bytes: &[u8]) -> (Reply, bool) {
    let mut connection = Connection::open(server.address()).patience(Duration::from_secs(20));
    connection.write_beside(bytes.to_vec());
    let reply = connection.answer(method).unwrap_or_else(|lost| {
        let begin = String::from_utf8_lossy(&bytes[..bytes.len().min(80)]).into_owned();
        panic!("{lost:?} after {begin:?}")
    });
    strict::check(method, &reply);
    connection.finish();
    (reply, connection.is_closed())
}

#[test]
fn head_that_cannot_be_parsed_is_refused_with_a_sentence() {
    let mut ids = Vec::new();
    let mut server = Server::start();
    let get = |rest: &str| format!("GET /healthz HTTP/1.1\r\nHost: x\r\n{rest}\r\n").into_bytes();
    let cases: [(&str, Vec<u8>, u16, &str); 24] = [
        (
            "noise",
            b"\xFF\xFE\xFD\xFC\r\n\r\n".to_vec(),
            400,
            "request line",
        ),
        (
            "TLS",
            b"\x16\x03\x01\x00\xA5\x01\x00\x00\xA1\x03\x03".to_vec(),
            400,
            "request line",
        ),
        (
            "an empty method",
            b" / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
            400,
            "request line",
        ),
        (
            "a method with a NUL",
            b"G\0T / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
            400,
            "request line",
        ),
        (
            "no version",
            b"GET /healthz\r\nHost: x\r\n\r\n".to_vec(),
            400,
            "request line",
        ),
        (
            "a space in the target",
            b"GET /a b HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
            400,
            "request line",
        ),
        (
            "a NUL in the target",
            b"GET /a\0b HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
            400,
            "request line",
        ),
        (
            "a target without a host",
            b"GET http:///x HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
            400,
            "target",
        ),
        (
            "a later version",
            b"GET / HTTP/9.9\r\nHost: x\r\n\r\n".to_vec(),
            505,
            "HTTP version",
        ),
        (
            "HTTP/2",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
            505,
            "HTTP version",
        ),
        ("no colon", get("nonsense\r\n"), 400, "header field"),
        (
            "a space before the colon",
            get("Transfer-Encoding : chunked\r\n"),
            400,
            "header field",
        ),
        ("a NUL in a name", get("X\0A: b\r\n"), 400, "header field"),
        ("a NUL in a value", get("X-A: \0\r\n"), 400, "header field"),
        (
            "a bare carriage return",
            get("X-A: b\rX-B: c\r\n"),
            400,
            "header field",
        ),
        ("a bare line feed", get("X-A: b\n"), 400, "CR LF"),
        ("a folded field", get("X-A: b\r\n c\r\n"), 400, "continued"),
        (
            "two lengths",
            get("Content-Length: 2\r\nContent-Length: 3\r\n"),
            400,
            "more than one",
        ),
        (
            "a signed length",
            get("Content-Length: +2\r\n"),
            400,
            "not a number",
        ),
        (
            "another encoding",
            get("Transfer-Encoding: gzip\r\n"),
            400,
            "Transfer-Encoding",
        ),
        (
            "chunks in HTTP/1.0",
            b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_vec(),
            400,
            "HTTP/1.0",
        ),
        ("65 fields", get(&"X-A: b\r\n".repeat(64)), 431, "64"),
        (
            "a field of 1 MB",
            get(&format!("X-A: {}\r\n", "x".repeat(1_000_000))),
            431,
            "32768",
        ),
        (
            "a target of 70 KB",
            format!("GET /{}", "x".repeat(70_000)).into_bytes(),
            414,
            "32768",
        ),
    ];
    for (what, bytes, status, words) in cases {
        let (reply, closed) = answered(&server, "GET", &bytes);

        assert_eq!(reply.status, status, "{what}: {}", reply.text());
        let detail = reply.json()["detail"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        assert!(detail.contains(words), "{what}: {detail}");
        assert_eq!(reply.field("connection"), Some("close"), "{what}");
        assert!(closed, "{what}");
        ids.push((what, reply.field("x-request-id").unwrap().to_owned()));
    }
    assert!(server.is_alive());

    // One line each, with the answer's request id.
    server.stop();
    let log = server.log();
    for (what, id) in ids {
        let count = log
            .lines()
            .filter(|line| !id.is_empty() && line.contains(&id))
            .count();
        assert_eq!(count, 1, "{what}: {id}\n{log}");
    }
    assert!(!log.contains("nonsense"), "{log}");
    assert!(!log.contains("ERROR"), "none of it is our fault: {log}");
}

#[test]
fn refusal_of_a_bad_head_has_the_form_that_was_asked_for() {
    let server = Server::with(&[("cors.origins", r#"["https://app.example"]"#)]);
    let head = "GET / HTTP/9.9\r\nHost: x\r\nAccept: application/problem+json\r\n\
                Origin: https://app.example\r\nX-Request-Id: mine-1\r\n\r\n";

    let (reply, _) = answered(&server, "GET", head.as_bytes());

    assert_eq!(
        reply.field("content-type"),
        Some("application/problem+json")
    );
    assert_eq!(reply.field("x-request-id"), Some("mine-1"));
    assert_eq!(
        reply.field("access-control-allow-origin"),
        Some("https://app.example")
    );
    let problem = reply.json();
    assert_eq!(problem["status"], 505, "{problem}");
    assert_eq!(problem["code"], "unsupported_version", "{problem}");

    let large = format!(
        "GET / HTTP/1.1\r\nAccept: application/problem+json\r\nX-A: {}\r\n\r\n",
        "x".repeat(40_000)
    );
    let problem = answered(&server, "GET", large.as_bytes()).0.json();
    assert_eq!(problem["code"], "head_too_large", "{problem}");
    assert_eq!(problem["limit"], 32_768, "{problem}");
}

#[test]
fn refusal_of_a_bad_head_has_no_body_for_head() {
    let server = Server::start();

    let (reply, closed) = answered(&server, "HEAD", b"HEAD / HTTP/9.9\r\nHost: x\r\n\r\n");

    assert_eq!(reply.status, 505);
    assert!(closed);
}

#[test]
fn head_that_breaks_off_is_refused_and_silence_is_not_answered() {
    let server = Server::start();
    for (bytes, status) in [
        ("GET /healthz HTTP/1.1\r\nHost: x\r\n", Some(400)),
        ("", None),
        ("\r\n", None),
    ] {
        let mut connection = Connection::open(server.address()).patience(Duration::from_secs(20));
        connection.write(bytes.as_bytes());
        connection.finish();

        let reply = connection.answer("GET").ok();

        assert_eq!(reply.map(|reply| reply.status), status, "{bytes:?}");
    }
}

#[test]
fn good_requests_before_a_bad_head_are_answered_in_order() {
    let server = Server::start();
    let mut connection = Connection::open(server.address()).patience(Duration::from_secs(20));
    let good = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
    connection.write(format!("{good}{good}GET / HTTP/9.9\r\n\r\n{good}").as_bytes());
    connection.finish();

    let statuses: Vec<_> = (0..3)
        .map(|_| connection.answer("GET").unwrap().status)
        .collect();

    assert_eq!(statuses, [200, 200, 505]);
    assert!(
        connection.is_closed(),
        "what follows a bad head is not answered"
    );
}

#[test]
fn head_that_drips_in_is_answered_like_one_in_one_piece() {
    let server = Server::start();
    let wire = b"POST /api/auth/login/ HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";
    let mut connection = Connection::open(server.address()).patience(Duration::from_secs(20));
    for byte in wire {
        connection.write(&[*byte]);
    }

    let reply = connection.answer("POST").unwrap();

    assert_eq!(reply.status, 400);
    assert!(reply.json()["email"].is_array(), "{}", reply.text());
}

#[test]
fn long_method_is_answered_and_not_written_into_the_log() {
    let mut server = Server::start();
    let method = "M".repeat(20_000);

    let (reply, _) = answered(
        &server,
        &method,
        format!("{method} / HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes(),
    );

    assert_eq!(reply.status, 404);
    server.stop();
    let log = server.log();
    assert!(!log.contains("MMMMM") && log.len() < 10_000, "{log}");
}

/// Also where the time to read on would allow it: there is nothing to read.
#[test]
fn connection_of_a_bad_head_is_closed_although_its_sender_falls_silent() {
    let server = Server::with(&[("http.drain_timeout_ms", "600_000")]);
    for head in [
        "NONSENSE\r\n\r\n",
        "POST /api/auth/login/ HTTP/1.1\r\nHost: x\r\nContent-Length: 5, 5\r\n\r\n",
    ] {
        let mut connection = Connection::open(server.address());
        connection.write(head.as_bytes());

        connection.answer("POST").unwrap().expect(400);

        assert!(connection.is_closed(), "{head:?}");
    }
}

#[test]
fn host_of_a_target_that_is_a_whole_url_counts() {
    let server = Server::start();
    let user = server.user();
    let path = format!("/api/users/{}/profile/", user.id);
    let url = |base: &str, host: &str| {
        let target = format!("{base}{path}");
        let reply = server.send(&Request::get(&target).field("Host", host));
        let url = reply.expect(200).json()["profile_picture_url"].clone();
        url.as_str().unwrap().to_owned()
    };

    assert!(url("", "b.example").starts_with("http://b.example/media/"));
    assert!(url("http://a.example:81", "b.example").starts_with("http://a.example:81/media/"));
    assert!(url("http://a.example", "a.example").starts_with("http://a.example/media/"));
    for target in [
        "ftp://a.example/",
        "http://me@a.example/",
        "http://a.example@b.example/",
    ] {
        let reply = server.send(&Request::get(target)).expect(400);
        assert_eq!(
            reply.json()["detail"],
            "The request target is malformed.",
            "{target}"
        );
    }
    let whole = format!("GET http://a.example{path} HTTP/1.1\r\n\r\n");
    let mut connection = Connection::open(server.address());
    connection.write(whole.as_bytes());
    connection.answer("GET").unwrap().expect(400);
}
