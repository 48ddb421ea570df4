//! Room for bodies in flight: bounded, and open to those who come, whoever else stands in it.

use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::fixtures::jpeg_of_bytes;
use crate::support::process::children;
use crate::support::{Connection, DEADLINE, Form, PICTURE, Request, Server, User, fixture};

/// Announces so much, sends the begin of the file, and no more.
fn begun(server: &Server, user: &User, announced: usize, sent: usize) -> Connection {
    let form = Form::image(&vec![0; sent]);
    let request = Request::post(PICTURE)
        .bearer(&user.access)
        .field("Content-Type", &form.content_type())
        .field("Content-Length", &announced.to_string());
    let mut connection = Connection::open(server.address());
    connection.write(&request.head(server.address()));
    let body = form.bytes();
    // What finds no room is not read.
    connection.write_beside(body[..body.len() - 100].to_vec());
    connection
}

#[test]
fn bodies_that_do_not_fit_are_503_and_room_comes_back() {
    let server = Server::with(&[
        ("http.upload_bytes_max", "1000000"),
        ("http.bodies_bytes_max", "2000000"),
        ("http.bodies_wait_ms", "300"),
        ("workers.count", "1"),
        ("workers.deadline_ms", "120_000"),
    ]);
    let user = server.user();
    let workers = |signal| {
        for id in children(server.process_id()) {
            let _ = kill_process(Pid::from_raw(id).unwrap(), signal);
        }
    };
    // What is there waits for a worker and keeps its room.
    workers(Signal::STOP);
    let mut held = Vec::new();
    let until = Instant::now() + DEADLINE;
    let reply = loop {
        assert!(Instant::now() < until, "{}", server.log());
        // Each of a user of their own: one alone has a share of the room only.
        let upload = Request::post(PICTURE)
            .bearer(&server.user().access)
            .form(&Form::image(&jpeg_of_bytes(900_000)));
        let mut connection = Connection::open(server.address()).patience(Duration::from_secs(2));
        connection.write_beside(upload.bytes(server.address()));
        if let Ok(reply) = connection.answer("POST") {
            break reply;
        }
        held.push(connection);
        workers(Signal::STOP);
    };

    crate::support::strict::check("POST", &reply);
    assert_eq!(reply.status, 503, "{}", reply.text());
    assert!(reply.field("retry-after").is_some());
    assert!(held.len() >= 2, "{}", held.len());
    workers(Signal::KILL);
    while server.upload(&user, &fixture("rgb.png")).status != 200 {
        assert!(Instant::now() < until, "{}", server.log());
        thread::sleep(Duration::from_millis(50));
    }
    assert!(server.log().contains("fewer than four users"));
}

/// Bodies that were sent but for their end, five times what there is room for, of users who are patient: nothing but the
/// need of others ends them.
#[test]
fn bodies_that_stand_still_make_way_for_those_that_come() {
    let server = Server::with(&[
        ("http.bodies_bytes_max", "20_971_520"),
        ("http.body_idle_timeout_ms", "600_000"),
        ("http.body_rate_grace_ms", "600_000"),
        ("http.body_timeout_ms", "600_000"),
        ("http.bodies_wait_ms", "600_000"),
        ("rate_limit.uploads_per_hour", "0"),
    ]);
    let user = server.user();
    let held: Vec<_> = (0..10)
        .flat_map(|_| {
            let slow = server.user();
            [4_900_000, 20_000].map(|sent| begun(&server, &slow, 5_000_000, sent))
        })
        .collect();

    for _ in 0..5 {
        let upload = jpeg_of_bytes(4_000_000);
        server.upload(&user, &upload).expect(200);
    }

    // Whoever was put out is told, and sees it: 408 and no reset.
    let told = held.into_iter().filter_map(|connection| {
        let answer = connection
            .patience(Duration::from_millis(100))
            .answer("POST");
        answer.ok()
    });
    let told: Vec<_> = told.collect();
    assert!(!told.is_empty());
    for reply in told {
        assert_eq!(reply.status, 408, "{}", reply.text());
        assert!(reply.text().contains("too slowly"), "{}", reply.text());
    }
}

/// Only in a crowd: a phone on a bad line has the time that the configuration gives it.
#[test]
fn body_that_stands_still_stays_while_there_is_room() {
    let server = Server::start();
    let (slow, user) = (server.user(), server.user());
    let form = Form::image(&jpeg_of_bytes(100_000));
    let bytes = Request::post(PICTURE)
        .bearer(&slow.access)
        .form(&form)
        .bytes(server.address());
    let (first, last) = bytes.split_at(bytes.len() - 10);
    let mut connection = Connection::open(server.address());
    connection.write(first);
    // The pause is what makes it slow.
    thread::sleep(Duration::from_millis(1_500));
    server.upload(&user, &fixture("rgb.png")).expect(200);

    connection.write(last);

    connection.answer("POST").unwrap().expect(200);
}

#[test]
fn slow_bodies_of_one_user_leave_room_for_others() {
    let server = Server::with(&[
        ("http.upload_bytes_max", "1_000_000"),
        ("http.bodies_bytes_max", "4_000_000"),
        ("rate_limit.uploads_per_hour", "0"),
    ]);
    let (slow, other) = (server.user(), server.user());
    let held: Vec<_> = (0..8)
        .map(|_| begun(&server, &slow, 999_000, 100_000))
        .collect();
    let start = Instant::now();

    server.upload(&other, &fixture("rgb.png")).expect(200);

    assert!(
        start.elapsed() < Duration::from_secs(5),
        "{:?}",
        start.elapsed()
    );
    drop(held);
    assert!(!server.log().contains("fewer than four users"));
}

#[test]
fn bodies_that_are_announced_and_do_not_come_take_no_room() {
    let server = Server::with(&[("http.bodies_bytes_max", "20_971_520")]);
    let user = server.user();
    // Ten times what there is room for, each of a user of their own.
    let held: Vec<_> = (0..40)
        .map(|_| begun(&server, &server.user(), 5_000_000, 200))
        .collect();
    let start = Instant::now();

    server.upload(&user, &jpeg_of_bytes(1_000_000)).expect(200);

    assert!(
        start.elapsed() < Duration::from_secs(4),
        "{:?}",
        start.elapsed()
    );
    drop(held);
}
