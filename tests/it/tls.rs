//! `[tls]`: encryption by the server itself, HTTP/2 on it, and every limit of HTTP/1.1 there, too.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::StreamExt;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use rustix::process::Signal;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::support::process::assert_failed;
use crate::support::secure::{Http2, connect, file, request, setup, token_of, upload, whole};
use crate::support::{Connection, DEADLINE, Form, PICTURE, Server, Setup};

fn token(server: &Server) -> String {
    token_of(server, "ada@example.org")
}

async fn until(what: &str, is_so: impl Fn() -> bool) {
    let end = Instant::now() + DEADLINE;
    while !is_so() {
        assert!(Instant::now() < end, "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn picture_goes_in_and_out_by_http2_and_its_urls_are_https() {
    let server = setup().start();
    let access = token(&server);
    let mut client = Http2::open(&server).await;

    let reply = client.send(upload(&access, "orientation-6.jpg")).await;
    let profile = reply.unwrap().expect(200).json();

    let url = profile["profile_picture_url"].as_str().unwrap().to_owned();
    let path = url.strip_prefix("https://localhost").expect(&url);
    let get = |method| request(method, path).body(whole("")).unwrap();
    let picture = client.send(get("GET")).await.unwrap().expect(200);
    assert!(picture.body.starts_with(&[0xff, 0xd8]), "a JPEG");
    let head = client.send(get("HEAD")).await.unwrap().expect(200);
    assert!(head.body.is_empty());
    assert_eq!(
        head.fields["content-length"],
        picture.body.len().to_string()
    );
    assert_eq!(head.fields["etag"], picture.fields["etag"]);
    // A length of nothing would be that of the picture.
    for method in ["GET", "HEAD"] {
        let known = request(method, path).header("if-none-match", &picture.fields["etag"]);
        let known = client.send(known.body(whole("")).unwrap()).await;
        let known = known.unwrap().expect(304);
        assert_eq!(known.fields.get("content-length"), None, "{method}");
        assert!(known.body.is_empty());
    }
}

#[tokio::test]
async fn client_without_http2_speaks_http1_and_is_watched_for_smuggling() {
    let server = setup().start();
    for protocols in [&["http/1.1"][..], &[]] {
        let mut stream = connect(server.address(), "one.pem", protocols)
            .await
            .unwrap();
        stream
            .write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            .await
            .unwrap();
        let mut answer = String::new();
        timeout(DEADLINE, stream.read_to_string(&mut answer))
            .await
            .unwrap()
            .unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
    let mut stream = connect(server.address(), "one.pem", &[]).await.unwrap();
    stream
        .write_all(
            b"POST /api/auth/login/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\
              Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n0\r\n\r\n",
        )
        .await
        .unwrap();
    let mut answer = String::new();
    timeout(DEADLINE, stream.read_to_string(&mut answer))
        .await
        .unwrap()
        .unwrap();
    assert!(
        answer.contains("both Content-Length and Transfer-Encoding"),
        "{answer}"
    );
}

#[tokio::test]
async fn http2_can_be_switched_off() {
    let server = setup().set("tls.http2", "false").start();

    let offered = connect(server.address(), "one.pem", &["h2", "http/1.1"]).await;

    let chosen = offered.unwrap();
    assert_eq!(chosen.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
}

#[test]
fn handshake_that_does_not_come_is_cut_off() {
    let server = setup().set("http.head_timeout_ms", "300").start();
    let begin = Instant::now();

    let mut silent = Connection::open(server.address());
    assert!(silent.is_closed());
    assert!(begin.elapsed() >= Duration::from_millis(250));
    // The begin of a handshake: a record that says that 200 bytes follow.
    let mut slow = Connection::open(server.address());
    slow.write(&[22, 3, 1, 0, 200, 1]);
    assert!(slow.is_closed());
}

#[tokio::test]
async fn plain_request_to_a_server_with_tls_harms_nobody() {
    let server = setup().start();

    let mut plain = Connection::open(server.address());
    plain.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let rest = plain.rest();

    assert!(!rest.starts_with(b"HTTP"), "{rest:?}");
    let mut client = Http2::open(&server).await;
    let healthy = request("GET", "/healthz").body(whole("")).unwrap();
    client.send(healthy).await.unwrap().expect(200);
}

#[tokio::test]
async fn certificate_is_renewed_without_ending_a_connection_and_a_bad_one_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let (certificate, key) = (
        directory.path().join("certificate.pem"),
        directory.path().join("key.pem"),
    );
    let place = |name: &str| {
        std::fs::copy(file(&format!("{name}.pem")), &certificate).unwrap();
        std::fs::copy(file(&format!("{name}.key")), &key).unwrap();
    };
    place("one");
    let server = Setup::new()
        .set("tls.certificate_file", &format!("{certificate:?}"))
        .set("tls.key_file", &format!("{key:?}"))
        .start();
    let mut client = Http2::open(&server).await;
    let healthy = || request("GET", "/healthz").body(whole("")).unwrap();
    client.send(healthy()).await.unwrap().expect(200);

    // The certificate of one and the key of the other.
    std::fs::copy(file("two.pem"), &certificate).unwrap();
    server.signal(Signal::HUP);
    until("the log says that the old one stays", || {
        server.log().contains("the certificate before stays in use")
    })
    .await;
    assert!(server.log().contains("cannot be used together"));
    assert!(connect(server.address(), "one.pem", &["h2"]).await.is_ok());

    place("two");
    server.signal(Signal::HUP);
    until("the log says that there is a new one", || {
        server.log().contains("new connections get the certificate")
    })
    .await;
    assert!(connect(server.address(), "two.pem", &["h2"]).await.is_ok());
    assert!(connect(server.address(), "one.pem", &["h2"]).await.is_err());
    client.send(healthy()).await.unwrap().expect(200);
}

#[test]
fn certificate_that_cannot_be_used_stops_the_start_and_is_named() {
    let cases = [
        ("one.pem", "missing.key", "missing.key"),
        ("missing.pem", "one.key", "missing.pem"),
        ("one.pem", "two.key", "cannot be used together"),
        ("one.key", "one.key", "no certificate"),
    ];
    for (certificate, key, word) in cases {
        let home = Setup::new()
            .set("tls.certificate_file", &format!("{:?}", file(certificate)))
            .set("tls.key_file", &format!("{:?}", file(key)))
            .home();

        assert_failed(&home.run(&["serve"]), &[word]);

        let checked = home.run(&["config", "check"]).expect(1);
        assert!(checked.stdout.contains(word), "{checked:?}");
        assert!(
            checked.stdout.contains("tls.certificate_file"),
            "{checked:?}"
        );
    }
}

#[tokio::test]
async fn limits_on_heads_and_bodies_hold_in_http2() {
    let server = setup()
        .set("http.upload_bytes_max", "20000")
        .set("http.body_idle_timeout_ms", "300")
        .start();
    let access = token(&server);
    let mut client = Http2::open(&server).await;
    let form = |bytes: usize| {
        let form = Form::image(&vec![0; bytes]);
        request("POST", PICTURE)
            .header("authorization", format!("Bearer {access}"))
            .header("content-type", form.content_type())
            .body(whole(form.bytes()))
            .unwrap()
    };

    let large = client.send(form(400_000)).await.unwrap().expect(400);
    assert!(large.json()["image"][0].as_str().unwrap().contains("20000"));

    let mut many = request("GET", "/healthz").header("accept", "application/problem+json");
    for number in 0..65 {
        many = many.header(format!("x-{number}"), "1");
    }
    let many = client.send(many.body(whole("")).unwrap()).await.unwrap();
    let many = many.expect(431).json();
    assert_eq!(many["limit"], 64);
    // With Accept and the name of the host.
    assert_eq!(many["actual"], 67);

    let long = request("GET", "/healthz").header("x", "y".repeat(40_000));
    let long = client.send(long.body(whole("")).unwrap()).await;
    assert!(
        long.as_ref().map_or(true, |answer| answer.status == 431),
        "{long:?}"
    );

    // A body that stops.
    let mut client = Http2::open(&server).await;
    let first = Bytes::from_static(b"------pockitd-test-0123456789\r\n");
    let frames = futures_util::stream::iter([Ok(Frame::data(first))]);
    let stuck = StreamBody::new(frames.chain(futures_util::stream::pending()));
    let stuck = request("POST", PICTURE)
        .header("authorization", format!("Bearer {access}"))
        .header("content-type", Form::new().content_type())
        .body(BodyExt::boxed(stuck))
        .unwrap();
    let late = client.send(stuck).await.unwrap().expect(408);
    assert!(late.json()["detail"].as_str().unwrap().contains("300"));

    let two_hosts = request("GET", "/healthz")
        .header("host", "elsewhere.example.org")
        .body(whole(""))
        .unwrap();
    client.send(two_hosts).await.unwrap().expect(400);
    let no_token = request("POST", PICTURE).body(whole("x")).unwrap();
    client.send(no_token).await.unwrap().expect(401);
}

#[tokio::test]
async fn streams_of_a_connection_are_bounded_and_resets_do_not_help() {
    let server = setup()
        .set("tls.http2_streams_max", "3")
        .set("http.body_idle_timeout_ms", "60000")
        .start();
    let access = token(&server);
    let mut client = Http2::open(&server).await;
    let healthy = || request("GET", "/healthz").body(whole("")).unwrap();
    client.send(healthy()).await.unwrap().expect(200);
    let stuck = || {
        let body = StreamBody::new(futures_util::stream::pending());
        request("POST", PICTURE)
            .header("authorization", format!("Bearer {access}"))
            .header("content-type", Form::new().content_type())
            .body(BodyExt::boxed(body))
            .unwrap()
    };
    let mut sender = client.sender.clone();
    let mut open = Vec::new();
    for _ in 0..3 {
        sender.ready().await.unwrap();
        open.push(tokio::spawn(sender.send_request(stuck())));
    }
    let mut fourth = client.sender.clone();
    let waits = tokio::spawn(async move { fourth.send_request(healthy()).await });
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!waits.is_finished(), "the fourth stream waits");
    for stream in open {
        stream.abort();
    }
    let served = timeout(DEADLINE, waits).await.unwrap().unwrap().unwrap();
    assert_eq!(served.status(), 200);

    // A flood of streams that are opened and reset at once, as fast as the socket takes it.
    let mut flood = connect(server.address(), "one.pem", &["h2"]).await.unwrap();
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend([0, 0, 0, 4, 0, 0, 0, 0, 0]);
    for stream in (1_u32..40_000).step_by(2) {
        // HEADERS with :method GET, :scheme https, :path /, no end of stream; then RST_STREAM CANCEL.
        bytes.extend([0, 0, 3, 1, 4]);
        bytes.extend(stream.to_be_bytes());
        bytes.extend([0x82, 0x87, 0x84]);
        bytes.extend([0, 0, 4, 3, 0]);
        bytes.extend(stream.to_be_bytes());
        bytes.extend([0, 0, 0, 8]);
    }
    // The server may close before it has taken all of it.
    let _ = flood.write_all(&bytes).await;
    let mut told = Vec::new();
    let _ = timeout(DEADLINE, flood.read_to_end(&mut told))
        .await
        .expect("the connection is given up");
    let healthy = request("GET", "/healthz").body(whole("")).unwrap();
    client.send(healthy).await.unwrap().expect(200);
}

#[tokio::test]
async fn connection_that_asks_nothing_or_takes_nothing_ends() {
    let server = setup()
        .set("http.head_timeout_ms", "300")
        .set("http.write_timeout_ms", "500")
        .start();
    let access = token(&server);
    let mut client = Http2::open(&server).await;
    let uploaded = client.send(upload(&access, "orientation-6.jpg")).await;
    let profile = uploaded.unwrap().expect(200).json();
    assert!(client.ends().await, "an idle connection");

    // A client that lives, answers pings, and has no window for what it asked for.
    let url = profile["profile_picture_url"].as_str().unwrap();
    let path = url.strip_prefix("https://localhost").unwrap();
    let mut stuck = Http2::open_with_window(&server, 0).await;
    let picture = request("GET", path).body(whole("")).unwrap();
    let begin = Instant::now();
    let reply = stuck.sender.send_request(picture).await.unwrap();
    assert_eq!(reply.status(), 200);
    assert!(stuck.ends().await, "a picture that nobody takes");
    assert!(begin.elapsed() >= Duration::from_millis(750));
    assert!(reply.into_body().collect().await.is_err(), "no picture");
}

#[tokio::test]
async fn stop_lets_an_upload_by_http2_end() {
    let mut server = setup().start();
    let access = token(&server);
    let mut client = Http2::open(&server).await;
    let form = Form::image(&crate::support::fixture("orientation-6.jpg"));
    let bytes = Bytes::from(form.bytes());
    let half = bytes.len() / 2;
    let (first, second) = (bytes.slice(..half), bytes.slice(half..));
    let (tell, told) = tokio::sync::oneshot::channel::<()>();
    let rest = futures_util::stream::once(async move {
        told.await.unwrap();
        Ok(Frame::data(second))
    });
    let body = futures_util::stream::iter([Ok(Frame::data(first))]).chain(rest);
    let sent = request("POST", PICTURE)
        .header("authorization", format!("Bearer {access}"))
        .header("content-type", form.content_type())
        .body(BodyExt::boxed(StreamBody::new(Box::pin(body))))
        .unwrap();
    client.sender.ready().await.unwrap();
    let reply = tokio::spawn(client.sender.send_request(sent));
    // Until the server has begun to read, or the stop would be before the request.
    tokio::time::sleep(Duration::from_millis(300)).await;

    server.ask_to_stop();
    until("the server stops to accept", || {
        TcpStream::connect(server.address()).is_err()
    })
    .await;
    tell.send(()).unwrap();

    let reply = timeout(DEADLINE, reply).await.unwrap().unwrap().unwrap();
    assert_eq!(reply.status(), 200);
    tokio::task::spawn_blocking(move || server.ended())
        .await
        .unwrap();
}

#[test]
fn health_is_asked_over_tls() {
    let server = setup().start();
    let address = server.address().to_string();

    let asked = server
        .home()
        .run(&["check", "health", "--address", &address, "--json"])
        .expect(0);

    let told: serde_json::Value = serde_json::from_str(&asked.stdout).unwrap();
    assert_eq!(told["alive"], json!(true));
    assert_eq!(told["ready"], json!(true));
}
