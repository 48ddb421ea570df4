//! HTTP/2 frame by frame: what a client's library would not send, and what one sends before it knows the limits.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::support::secure::{connect, setup};

const HEADERS: u8 = 1;
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
