//! Bytes that are no proper request: refused or ignored, never answered twice, and the server lives on.

use std::time::Duration;

use crate::support::client::{Lost, position};
use crate::support::{Connection, Form, PICTURE, Request, Server, fixture};

/// Sends bytes, and returns all that comes back until the server closes or falls silent.
fn spoken(server: &Server, bytes: &[u8]) -> Vec<u8> {
    let mut connection = Connection::open(server.address()).patience(Duration::from_secs(15));
    connection.write(bytes);
    connection.finish();
    connection.rest()
}

fn answers(spoken: &[u8]) -> usize {
    spoken
        .windows(9)
        .filter(|part| *part == b"HTTP/1.1 ")
        .count()
}

fn status(spoken: &[u8]) -> u16 {
    let digits = spoken.get(9..12).unwrap_or_default();
    String::from_utf8_lossy(digits).parse().unwrap_or(0)
}

/// Asserts that a request is refused with one answer, 4xx or 5xx of the protocol.
#[track_caller]
fn assert_refused(server: &Server, what: &str, bytes: &[u8]) {
    let spoken = spoken(server, bytes);

    let text = String::from_utf8_lossy(&spoken);
    assert_eq!(answers(&spoken), 1, "{what}: not one answer\n{text}");
    let refused = matches!(status(&spoken), 400..=499 | 501 | 505);
    assert!(refused, "{what}\n{text}");
    assert!(server.is_alive(), "{what}");
}

#[test]
fn request_with_doubtful_framing_is_refused() {
    let server = Server::start();
    let smuggled = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
    let post = "POST /api/auth/login/ HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n";
    let chunks = "2\r\n{}\r\n0\r\n\r\n";
    let cases = [
        (
            "length and chunks",
            format!(
                "{post}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}{smuggled}"
            ),
        ),
        (
            "chunks and length",
            format!(
                "{post}Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n{chunks}{smuggled}"
            ),
        ),
        (
            "two lengths",
            format!("{post}Content-Length: 2\r\nContent-Length: 3\r\n\r\n{{}}{smuggled}"),
        ),
        (
            "a list of lengths",
            format!("{post}Content-Length: 2, 2\r\n\r\n{{}}"),
        ),
        (
            "a signed length",
            format!("{post}Content-Length: +2\r\n\r\n{{}}"),
        ),
        (
            "a negative length",
            format!("{post}Content-Length: -1\r\n\r\n{{}}"),
        ),
        (
            "a hexadecimal length",
            format!("{post}Content-Length: 0x2\r\n\r\n{{}}"),
        ),
        (
            "a length of 2^64",
            format!("{post}Content-Length: 18446744073709551616\r\n\r\n{{}}"),
        ),
        (
            "an empty length",
            format!("{post}Content-Length:\r\n\r\n{{}}"),
        ),
        (
            "another encoding",
            format!("{post}Transfer-Encoding: xchunked\r\n\r\n{chunks}"),
        ),
        (
            "chunked not last",
            format!("{post}Transfer-Encoding: chunked, identity\r\n\r\n{chunks}"),
        ),
        (
            "two encodings",
            format!(
                "{post}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}"
            ),
        ),
        (
            "a field with a space",
            format!("{post}Transfer-Encoding : chunked\r\n\r\n{chunks}"),
        ),
        (
            "a folded field",
            format!("{post}X-A: b\r\n c\r\nContent-Length: 2\r\n\r\n{{}}"),
        ),
        (
            "a chunk that is no number",
            format!("{post}Transfer-Encoding: chunked\r\n\r\nxyz\r\n{{}}\r\n0\r\n\r\n"),
        ),
        (
            "a chunk of 2^64",
            format!("{post}Transfer-Encoding: chunked\r\n\r\n10000000000000000\r\n{{}}\r\n"),
        ),
        (
            "a chunk's size with zeros in front",
            format!(
                "{post}Transfer-Encoding: chunked\r\n\r\n{}2\r\n{{}}\r\n0\r\n\r\n",
                "0".repeat(300)
            ),
        ),
        (
            "a flood of chunks with extensions",
            format!(
                "{post}Transfer-Encoding: chunked\r\n\r\n{}0\r\n\r\n",
                format!("1;{}\r\nx\r\n", "y".repeat(1_000)).repeat(100)
            ),
        ),
        (
            "a flood of trailers",
            format!(
                "{post}Transfer-Encoding: chunked\r\n\r\n2\r\n{{}}\r\n0\r\n{}\r\n",
                "X: y\r\n".repeat(10_000)
            ),
        ),
        (
            "a trailer with a NUL",
            format!("{post}Transfer-Encoding: chunked\r\n\r\n2\r\n{{}}\r\n0\r\nX: \0\r\n\r\n"),
        ),
        (
            "a bare line feed between chunks",
            format!("{post}Transfer-Encoding: chunked\r\n\r\n2\n{{}}\r\n0\r\n\r\n"),
        ),
        (
            "a chunk longer than its size",
            format!("{post}Transfer-Encoding: chunked\r\n\r\n2\r\n{{}}}}0\r\n\r\n"),
        ),
        (
            "a chunk with a long extension",
            format!(
                "{post}Transfer-Encoding: chunked\r\n\r\n2;{}\r\n{{}}\r\n0\r\n\r\n",
                "x".repeat(100_000)
            ),
        ),
        (
            "long trailers",
            format!(
                "{post}Transfer-Encoding: chunked\r\n\r\n2\r\n{{}}\r\n0\r\nX: {}\r\n\r\n",
                "x".repeat(100_000)
            ),
        ),
    ];
    for (what, bytes) in cases {
        assert_refused(&server, what, bytes.as_bytes());
    }
}

#[test]
fn request_with_a_doubtful_head_is_refused() {
    let server = Server::start();
    let cases: [(&str, &[u8]); 20] = [
        ("no host", b"GET /healthz HTTP/1.1\r\n\r\n"),
        ("two hosts", b"GET /healthz HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
        ("two equal hosts", b"GET /healthz HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"),
        ("an empty host", b"GET /healthz HTTP/1.1\r\nHost:\r\n\r\n"),
        ("a host with a path", b"GET /healthz HTTP/1.1\r\nHost: a/b\r\n\r\n"),
        ("bare line feeds", b"GET /healthz HTTP/1.1\nHost: x\n\n"),
        ("a bare line feed within", b"GET /healthz HTTP/1.1\r\nHost: x\nX-A: b\r\n\r\n"),
        ("a bare carriage return", b"GET /healthz HTTP/1.1\r\nHost: x\rX-A: b\r\n\r\n"),
        ("a NUL in a value", b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-A: \0\r\n\r\n"),
        ("a NUL in a name", b"GET /healthz HTTP/1.1\r\nHost: x\r\nX\0A: b\r\n\r\n"),
        ("a NUL in the target", b"GET /heal\0thz HTTP/1.1\r\nHost: x\r\n\r\n"),
        ("a field without a colon", b"GET /healthz HTTP/1.1\r\nHost: x\r\nnonsense\r\n\r\n"),
        ("another version", b"GET /healthz HTTP/9.9\r\nHost: x\r\n\r\n"),
        ("no version", b"GET /healthz\r\nHost: x\r\n\r\n"),
        ("a space in the target", b"GET /heal thz HTTP/1.1\r\nHost: x\r\n\r\n"),
        ("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        ("TLS", b"\x16\x03\x01\x00\xA5\x01\x00\x00\xA1\x03\x03"),
        ("noise", b"\xFF\xFE\xFD\xFC\r\n\r\n"),
        ("an empty method", b" /healthz HTTP/1.1\r\nHost: x\r\n\r\n"),
        ("chunks in HTTP/1.0", b"POST /api/auth/login/ HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ];
    for (what, bytes) in cases {
        assert_refused(&server, what, bytes);
    }
}

#[test]
fn head_beyond_its_bounds_is_refused() {
    let server = Server::start();
    let request = |rest: &str| format!("GET /healthz HTTP/1.1\r\nHost: x\r\n{rest}\r\n");
    let cases = [
        ("101 fields", request(&"X-A: b\r\n".repeat(101))),
        (
            "a field of 1 MB",
            request(&format!("X-A: {}\r\n", "x".repeat(1_000_000))),
        ),
        (
            "a name of 100 KB",
            request(&format!("{}: b\r\n", "x".repeat(100_000))),
        ),
        (
            "a target of 70 KB",
            format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "x".repeat(70_000)),
        ),
        ("an endless method", "G".repeat(1_000_000)),
    ];
    for (what, bytes) in cases {
        assert_refused(&server, what, bytes.as_bytes());
    }
}

#[test]
fn refusal_of_a_doubtful_request_closes_the_connection() {
    let server = Server::start();
    for bytes in [
        &b"POST /api/auth/login/ HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"[..],
        b"GET /healthz HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\n\r\n",
    ] {
        let mut connection = Connection::open(server.address()).patience(Duration::from_secs(15));
        connection.write(bytes);

        let reply = connection.answer("GET").expect("an answer");

        assert_eq!(reply.status, 400, "{}", String::from_utf8_lossy(bytes));
        assert!(connection.is_closed(), "{}", String::from_utf8_lossy(bytes));
    }
}

#[test]
fn proper_but_unusual_requests_are_answered() {
    let server = Server::start();
    let health = "Host: x\r\n\r\n";
    let cases = [
        (
            "an empty line before",
            format!("\r\nGET /healthz HTTP/1.1\r\n{health}"),
            200,
            1,
        ),
        (
            "two at once",
            format!("GET /healthz HTTP/1.1\r\n{health}").repeat(2),
            200,
            2,
        ),
        (
            "a body with GET",
            "GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nxx".to_owned(),
            200,
            1,
        ),
        (
            "HTTP/1.0",
            "GET /healthz HTTP/1.0\r\nHost: x\r\n\r\n".to_owned(),
            200,
            1,
        ),
        (
            "an absolute target",
            format!("GET http://x/healthz HTTP/1.1\r\n{health}"),
            200,
            1,
        ),
        (
            "many fields",
            format!(
                "GET /healthz HTTP/1.1\r\n{}{health}",
                "X-A: b\r\n".repeat(50)
            ),
            200,
            1,
        ),
        (
            "close",
            "GET /healthz HTTP/1.1\r\nConnection: close\r\nHost: x\r\n\r\n".to_owned(),
            200,
            1,
        ),
    ];
    for (what, bytes, expected, count) in cases {
        let spoken = spoken(&server, bytes.as_bytes());

        let text = String::from_utf8_lossy(&spoken);
        let found = spoken.get(..5).unwrap_or_default();
        assert_eq!(found, b"HTTP/", "{what}\n{text}");
        assert_eq!(status(&spoken), expected, "{what}\n{text}");
        let heads = text.matches("content-type: application/json").count();
        assert_eq!(heads, count, "{what}\n{text}");
    }
}

#[test]
fn connection_is_closed_when_asked_to_be() {
    let server = Server::start();
    let mut connection = Connection::open(server.address()).patience(Duration::from_secs(15));

    connection.exchange(&Request::get("/healthz").field("Connection", "close"));

    assert!(connection.is_closed());
}

#[test]
fn body_of_one_request_is_never_read_as_the_next() {
    let server = Server::start();
    let user = server.user();
    let smuggled = b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n";
    let form = Form::image(&fixture("rgb.png")).file("x", "y", "z", &smuggled.repeat(100));
    for request in [
        Request::post(PICTURE).form(&form),
        Request::post(PICTURE).bearer("x").form(&form),
        Request::post(PICTURE)
            .bearer(&user.access)
            .body("text/plain", &form.bytes()),
        Request::post("/nothing").form(&form),
        Request::get("/healthz").form(&form),
    ] {
        let mut bytes = request.bytes(server.address());
        bytes.extend_from_slice(b"GET /last HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");

        let spoken = spoken(&server, &bytes);

        // The answer, and possibly that to the last request, but none to what stands in the body.
        let text = String::from_utf8_lossy(&spoken).into_owned();
        assert!((1..=2).contains(&answers(&spoken)), "{text}");
    }
    assert_eq!(position(server.log().as_bytes(), b"/smuggled"), None);
}

#[test]
fn client_that_hangs_up_harms_nobody() {
    let server = Server::start();
    let (user, _) = server.user_with_picture();
    let form = Form::image(&fixture("grid.heic"));
    let bytes = Request::post(PICTURE)
        .bearer(&user.access)
        .form(&form)
        .bytes(server.address());
    for length in [
        1,
        20,
        bytes.len() / 4,
        bytes.len() / 2,
        bytes.len() - 1,
        bytes.len(),
    ] {
        let mut connection = Connection::open(server.address());
        connection.write(&bytes[..length]);
        drop(connection);
    }

    let profile = server.profile(&user);

    assert!(profile["has_picture"].as_bool().unwrap());
    server.pictures(&profile);
}

#[test]
fn slow_reader_gets_the_whole_file() {
    let server = Server::start();
    let (_, profile) = server.user_with_picture();
    let path = server.path(&profile["profile_picture_url"]);
    let whole = server.get(&path).expect(200).body;
    let mut connection = Connection::open(server.address());
    // More than the buffers of both sides hold: the server must wait, not drop.
    let count = 300;
    let one = Request::get(&path).bytes(server.address());
    connection.write_beside(one.repeat(count));

    for _ in 0..count {
        let reply = connection.answer("GET");
        assert_eq!(reply.map(|reply| reply.body), Ok::<_, Lost>(whole.clone()));
    }
}
