//! HTTP/2 frame by frame: what a client's library would not send, and what one sends before it knows the limits.

use std::time::Duration;

use futures_util::StreamExt;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::support::secure::{Http2, Sent, connect, request, setup, token_of, upload, whole};
use crate::support::{DEADLINE, Form, PICTURE};

const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const RST_STREAM: u8 = 3;
const GOAWAY: u8 = 7;
const END_STREAM_AND_HEADERS: u8 = 5;
/// :method GET, :scheme https, :path /, :authority x.
const GET: [u8; 6] = [0x82, 0x87, 0x84, 0x41, 1, b'x'];

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let head = [&length[1..], &[kind, flags], &stream.to_be_bytes()].concat();
    [&head, payload].concat()
}

/// The kinds and payloads of whole frames.
fn frames(mut bytes: &[u8]) -> Vec<(u8, &[u8])> {
    let mut found = Vec::new();
    while let Some((head, rest)) = bytes.split_at_checked(9) {
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let Some((payload, rest)) = rest.split_at_checked(length) else {
            break;
        };
        found.push((head[3], payload));
        bytes = rest;
    }
    found
}

/// Clients assume that they may open a hundred streams until they are told otherwise: browsers and curl among them.
#[tokio::test]
async fn hundred_requests_before_the_settings_are_answered_or_may_be_sent_again() {
    let server = setup().start();
    let mut connection = connect(server.address(), "one.pem", &["h2"]).await.unwrap();
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend(frame(4, 0, 0, &[]));
    for stream in (1..200).step_by(2) {
        bytes.extend(frame(HEADERS, END_STREAM_AND_HEADERS, stream, &GET));
    }
    connection.write_all(&bytes).await.unwrap();
    let mut told = Vec::new();
    let count = |told: &[u8], wanted: u8| {
        let frames = frames(told).into_iter();
        frames.filter(|(kind, _)| *kind == wanted).count()
    };

    while count(&told, HEADERS) + count(&told, RST_STREAM) < 100 {
        let read = timeout(Duration::from_secs(20), connection.read_buf(&mut told));
        let read = read.await.expect("an answer to each").unwrap();
        assert!(read > 0, "closed: {:?}", frames(&told));
    }

    assert_eq!(count(&told, GOAWAY), 0);
    assert!(count(&told, HEADERS) >= 32, "{}", count(&told, HEADERS));
    for (kind, payload) in frames(&told) {
        // REFUSED_STREAM: nothing was done, and the client asks again.
        assert!(kind != RST_STREAM || payload == [0, 0, 0, 7], "{payload:?}");
    }
}

/// A proxy sends the requests of all its clients over one connection.
#[tokio::test]
async fn body_that_waits_for_room_does_not_hold_up_others_on_its_connection() {
    let server = setup()
        .set("http.upload_bytes_max", "1_000_000")
        .set("http.bodies_bytes_max", "4_000_000")
        .set("http.bodies_wait_ms", "60_000")
        .set("http.body_idle_timeout_ms", "60_000")
        .start();
    let (ada, bob) = (
        token_of(&server, "ada@example.org"),
        token_of(&server, "bob@example.org"),
    );
    let client = Http2::open(&server).await;
    let form = Form::image(&vec![0; 900_000]);
    let post = |body: Sent| {
        request("POST", PICTURE)
            .header("authorization", format!("Bearer {ada}"))
            .header("content-type", form.content_type())
            .header("content-length", form.bytes().len())
            .body(body)
            .unwrap()
    };
    let send = |request| {
        let mut client = client.sender.clone();
        tokio::spawn(async move {
            client.ready().await.unwrap();
            client.send_request(request).await
        })
    };
    // The first has all of her share and takes its time; the second waits for it, with as much as it may send.
    let pause = Duration::from_millis(300);
    let pieces = form
        .bytes()
        .chunks(50_000)
        .map(<[u8]>::to_vec)
        .collect::<Vec<_>>();
    let held = futures_util::stream::iter(pieces).then(move |piece| async move {
        tokio::time::sleep(pause).await;
        Ok(Frame::data(piece.into()))
    });
    let held = send(post(BodyExt::boxed(StreamBody::new(Box::pin(held)))));
    tokio::time::sleep(pause * 3).await;
    let waiting = send(post(whole(form.bytes())));
    tokio::time::sleep(pause).await;
    assert!(!held.is_finished() && !waiting.is_finished());

    let others = send(upload(&bob, "orientation-1.jpg"));

    let reply = timeout(DEADLINE, others).await.expect("an answer");
    assert_eq!(reply.unwrap().unwrap().status(), 200);
    assert!(!waiting.is_finished(), "it still waits");
}

/// What costs a client next to nothing, and a careless server memory or time.
#[tokio::test]
async fn floods_of_head_frames_end_their_connection_and_harm_nobody() {
    let server = setup().start();
    let field = |begin: u8, length: u8| {
        let head = [begin, 1, b'x', length];
        [&head[..], &vec![b'y'; usize::from(length)]].concat()
    };
    // Not indexed, and indexed: what follows names it by one byte.
    let (plain, remembered) = (field(0, 100), field(0x40, 126));
    let unfolding = [&GET[..], &remembered, &vec![0xBE; 15_000]].concat();
    for (what, head, flood) in [
        (
            "continuations",
            frame(HEADERS, 1, 1, &GET),
            frame(CONTINUATION, 0, 1, &plain),
        ),
        (
            "empty continuations",
            frame(HEADERS, 1, 1, &GET),
            frame(CONTINUATION, 0, 1, &[]),
        ),
        (
            "a head that unfolds",
            frame(HEADERS, 1, 1, &unfolding),
            frame(CONTINUATION, 0, 1, &[0xBE; 15_000]),
        ),
    ] {
        let mut connection = connect(server.address(), "one.pem", &["h2"]).await.unwrap();
        let begin = [
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            &frame(4, 0, 0, &[])[..],
            &head,
        ]
        .concat();
        connection.write_all(&begin).await.unwrap();
        for _ in 0..2_000 {
            // The server may close before it has taken all of it.
            if connection.write_all(&flood).await.is_err() {
                break;
            }
        }

        let mut told = Vec::new();
        let ended = timeout(DEADLINE, connection.read_to_end(&mut told)).await;

        assert!(ended.is_ok(), "{what}: it goes on");
        assert!(
            frames(&told).iter().all(|(kind, _)| *kind != HEADERS),
            "{what}: answered"
        );
    }
    let mut client = Http2::open(&server).await;
    let healthy = request("GET", "/healthz").body(whole("")).unwrap();
    client.send(healthy).await.unwrap().expect(200);
}
