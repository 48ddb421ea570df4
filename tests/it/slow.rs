//! Clients that are slow, stall, break off, or come in numbers: cut off in time, and nobody else waits for them.

use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};

use crate::support::client::Lost;
use crate::support::{Connection, DEADLINE, Form, PICTURE, Request, Server, Setup, User, fixture};

#[test]
fn slow_head_is_cut_off() {
    let server = Server::with(&[("http.head_timeout_ms", "400")]);
    for begin in ["", "G", "GET /healthz HTTP/1.1\r\nHost: x\r\nX-A: "] {
        let start = Instant::now();
        let mut connection = Connection::open(server.address()).patience(Duration::from_secs(20));
        connection.write(begin.as_bytes());

        let ended = match connection.answer("GET") {
            Ok(reply) => reply.status == 408,
            Err(lost) => matches!(lost, Lost::Closed | Lost::Reset),
        };

        assert!(ended, "after {begin:?}");
        assert!(
            start.elapsed() >= Duration::from_millis(300),
            "{:?}",
            start.elapsed()
        );
    }
}

#[test]
fn head_that_drips_is_cut_off_all_the_same() {
    let server = Server::with(&[("http.head_timeout_ms", "500")]);
    let mut connection = Connection::open(server.address()).patience(Duration::from_secs(20));
    connection.write(b"GET /healthz HTTP/1.1\r\nX-Drip: ");
    let start = Instant::now();

    // The pause is the attack: each byte comes well before the time is over.
    while connection.try_write(b"x") && start.elapsed() < Duration::from_secs(20) {
        thread::sleep(Duration::from_millis(50));
    }

    assert!(
        start.elapsed() < Duration::from_secs(10),
        "{:?}",
        start.elapsed()
    );
}

#[test]
fn idle_connection_is_closed_after_the_heads_time() {
    let server = Server::with(&[("http.head_timeout_ms", "400")]);
    let mut connection = Connection::open(server.address()).patience(Duration::from_secs(20));

    connection.exchange(&Request::get("/healthz"));

    assert!(connection.is_closed());
}

/// Sends the begin of an upload and no more.
fn stalled(server: &Server, user: &User) -> Connection {
    let form = Form::image(&fixture("rgb.png"));
    let bytes = Request::post(PICTURE)
        .bearer(&user.access)
        .form(&form)
        .bytes(server.address());
    let mut connection = Connection::open(server.address());
    connection.write(&bytes[..bytes.len() - 100]);
    connection
}

#[test]
fn stalled_body_is_408_and_stores_nothing() {
    let server = Server::with(&[("http.body_idle_timeout_ms", "400")]);
    let (user, before) = server.user_with_picture();

    let mut connection = stalled(&server, &user).patience(Duration::from_secs(20));
    let reply = connection.answer("POST").expect("an answer");

    assert_eq!(reply.status, 408, "{}", reply.text());
    assert!(connection.is_closed());
    assert_eq!(server.profile(&user), before);
}

#[test]
fn body_that_drips_is_408_once_its_time_is_over() {
    let server = Server::with(&[
        ("http.body_timeout_ms", "1000"),
        ("http.body_idle_timeout_ms", "900"),
    ]);
    let user = server.user();
    let mut connection = stalled(&server, &user).patience(Duration::from_secs(20));
    let start = Instant::now();
    let mut writes = 0;
    // The pause is the attack: no gap is as long as the idle time.
    while writes < 60 && connection.try_write(b"x") {
        writes += 1;
        thread::sleep(Duration::from_millis(50));
        if start.elapsed() > Duration::from_millis(1_500) {
            break;
        }
    }

    let reply = connection.answer("POST").expect("an answer");

    assert_eq!(reply.status, 408, "{}", reply.text());
    assert!(
        start.elapsed() < Duration::from_secs(10),
        "{:?}",
        start.elapsed()
    );
}

#[test]
fn body_that_breaks_off_is_not_stored() {
    let server = Server::start();
    let (user, before) = server.user_with_picture();

    let mut connection = stalled(&server, &user);
    connection.finish();

    match connection.answer("POST") {
        Ok(reply) => assert_eq!(reply.status, 400, "{}", reply.text()),
        Err(lost) => assert!(matches!(lost, Lost::Closed | Lost::Reset), "{lost:?}"),
    }
    drop(connection);
    assert_eq!(server.profile(&user), before);
}

#[test]
fn others_are_served_while_many_stall() {
    let server = Server::start();
    let slow = server.user();
    let user = server.user();
    let held: Vec<_> = (0..25).map(|_| stalled(&server, &slow)).collect();
    let heads: Vec<_> = (0..50)
        .map(|_| {
            let mut connection = Connection::open(server.address());
            connection.write(b"POST /api/");
            connection
        })
        .collect();
    let start = Instant::now();

    server.upload(&user, &fixture("rgb.png")).expect(200);
    server.get("/healthz").expect(200);

    assert!(
        start.elapsed() < Duration::from_secs(5),
        "{:?}",
        start.elapsed()
    );
    drop((held, heads));
}

#[test]
fn connections_over_their_number_wait_for_their_turn() {
    let server = Server::with(&[
        ("http.connections_max", "3"),
        ("http.head_timeout_ms", "500"),
    ]);
    let held: Vec<_> = (0..6).map(|_| Connection::open(server.address())).collect();

    // Idle ones are closed after the head's time, and this one is then answered.
    server.get("/healthz").expect(200);

    drop(held);
}

#[test]
fn idle_connections_in_a_crowd_are_closed_early() {
    let server = Server::with(&[("http.connections_max", "40")]);
    let crowd: Vec<_> = (0..40)
        .map(|_| Connection::open(server.address()))
        .collect();
    let start = Instant::now();

    // The configured ten seconds are for quiet times.
    server.get("/healthz").expect(200);

    assert!(start.elapsed() < Duration::from_secs(8), "{crowd:?}");
}

#[test]
fn connections_leave_file_descriptors_for_uploads() {
    let server = Setup::new()
        .set("http.head_timeout_ms", "2_000")
        .open_files(200)
        .start();
    let user = server.user();
    let crowd: Vec<_> = (0..300)
        .map(|_| Connection::open(server.address()))
        .collect();

    server.upload(&user, &fixture("grid.heic")).expect(200);

    let log = server.log();
    assert!(log.contains("ulimit -n"), "{log}");
    assert!(!log.contains("cannot accept"), "{log}");
    drop(crowd);
}

#[test]
fn server_out_of_descriptors_serves_those_it_has_and_accepts_again_when_it_can() {
    let server = Server::start();
    let (_, profile) = server.user_with_picture();
    let path = server.path(&profile["profile_picture_url"]);
    let mut held = Connection::open(server.address());
    held.exchange(&Request::get("/healthz")).expect(200);
    let process = Pid::from_raw(server.process_id());
    let limit = |limit| prlimit(process, Resource::Nofile, limit).unwrap();
    let before = limit(Rlimit {
        current: Some(3),
        ..getrlimit(Resource::Nofile)
    });

    let crowd: Vec<_> = (0..20)
        .map(|_| {
            let mut connection = Connection::open(server.address());
            connection.write(&Request::get("/healthz").bytes(server.address()));
            connection
        })
        .collect();
    let start = Instant::now();
    while !server.log().contains("cannot accept a connection") {
        assert!(start.elapsed() < DEADLINE, "{}", server.log());
        thread::sleep(Duration::from_millis(5));
    }

    held.exchange(&Request::get("/healthz")).expect(200);
    held.exchange(&Request::get(&path)).expect(200);
    limit(before);
    for mut connection in crowd {
        connection.answer("GET").unwrap().expect(200);
    }
}

#[test]
fn body_too_slow_for_its_announced_length_is_408_early() {
    too_slow(("Content-Length", "5000000"), "", "41666");
}

#[test]
fn body_without_a_length_has_to_be_as_quick_as_the_largest() {
    too_slow(("Transfer-Encoding", "chunked"), "1000\r\n", "43690");
}

/// Drips; expects a refusal that names this rate, in bytes a second.
fn too_slow((name, value): (&str, &str), begin: &str, rate: &str) {
    let server = Server::with(&[
        ("http.body_timeout_ms", "60_000"),
        ("http.body_rate_grace_ms", "1_000"),
        ("http.body_rate_bytes_min", "1"),
    ]);
    let user = server.user();
    let form = Form::image(&[]);
    let request = Request::post(PICTURE)
        .bearer(&user.access)
        .field("Content-Type", &form.content_type())
        .field(name, value);
    let mut connection = Connection::open(server.address()).patience(Duration::from_secs(20));
    connection.write(&request.head(server.address()));
    connection.write(begin.as_bytes());
    connection.write(&form.bytes()[..10]);
    let start = Instant::now();
    let dripped = (0..100).take_while(|_| {
        thread::sleep(Duration::from_millis(100));
        connection.try_write(b"-") && start.elapsed() < Duration::from_secs(3)
    });
    dripped.count();

    let reply = connection.answer("POST").expect("an answer");

    // Half of what would bring it in within a minute.
    assert_eq!(reply.status, 408, "{}", reply.text());
    assert!(reply.text().contains(rate), "{}", reply.text());
}

/// A phone on a bad line sends on until it is told; a reset would tell it nothing.
#[test]
fn sender_that_is_too_slow_and_sends_on_sees_the_answer() {
    for (settings, chunk) in [
        (
            [
                ("http.body_timeout_ms", "1_000"),
                ("http.body_rate_grace_ms", "5_000"),
            ],
            64 * 1_024,
        ),
        (
            [
                ("http.body_timeout_ms", "60_000"),
                ("http.body_rate_grace_ms", "1_000"),
            ],
            1_024,
        ),
    ] {
        let server = Server::with(&settings);
        let user = server.user();
        let form = Form::image(&[]);
        let request = Request::post(PICTURE)
            .bearer(&user.access)
            .field("Content-Type", &form.content_type())
            .field("Content-Length", "5000000");
        let mut connection = Connection::open(server.address());
        connection.write(&request.head(server.address()));
        let bytes = form.bytes();
        let head = bytes.windows(4).position(|end| end == b"\r\n\r\n");
        connection.write(&bytes[..head.unwrap() + 4]);
        let start = Instant::now();

        // The pause is what makes it slow. Nothing is read meanwhile.
        while start.elapsed() < Duration::from_secs(3) {
            assert!(connection.try_write(&vec![b'-'; chunk]), "a reset");
            thread::sleep(Duration::from_millis(100));
        }

        let reply = connection.answer("POST").expect("an answer");
        assert_eq!(reply.status, 408, "{}", reply.text());
    }
}

#[test]
fn client_that_takes_no_answer_is_cut_off() {
    let server = Server::with(&[("http.write_timeout_ms", "500")]);
    let (_, profile) = server.user_with_picture();
    let path = server.path(&profile["profile_picture_url"]);
    let answer = server.get(&path).expect(200).body.len();
    // Far more than the buffers of both sides hold.
    let count = 100_000_000 / answer;
    let connection = Connection::open(server.address());
    connection.write_beside(Request::get(&path).bytes(server.address()).repeat(count));

    // The pause is the attack.
    thread::sleep(Duration::from_secs(3));
    let taken = connection.patience(Duration::from_secs(20)).rest().len();

    assert!(taken > 0, "it was answered");
    assert!(taken < count * answer, "{taken} bytes: it was waited for");
    server.get(&path).expect(200);
}
