//! `/healthz` and `/readyz`, and what a server says that is not ready.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Instant;

use crate::support::process::Process;
use crate::support::server::Home;
use crate::support::{Connection, DEADLINE, Form, PICTURE, Request, Server, Setup};

#[test]
fn running_server_is_alive_and_ready() {
    let server = Server::start();
    for path in ["/healthz", "/readyz", "/healthz/", "/readyz/"] {
        let reply = server.get(path).expect(200);

        assert_eq!(reply.field("cache-control"), Some("no-store"), "{path}");
        server.send(&Request::new("HEAD", path)).expect(200);
    }
}

#[test]
fn full_disk_is_not_ready_but_alive() {
    let server = Server::with(&[("storage.free_bytes_min", "9000000000000000000")]);

    server.get("/readyz").expect(503);
    server.get("/healthz").expect(200);
}

/// A server whose store stays closed until something is written into a pipe: process, address, pipe.
fn opening(setup: &Setup) -> (Home, Process, SocketAddr, PathBuf) {
    let home = setup.home();
    home.run(&["user", "list"]).expect(0);
    // A pipe in the place of a file that is read while the store is opened: opening takes until something is in it.
    let pipe = home.data_dir().join("acknowledged");
    std::fs::remove_file(&pipe).unwrap();
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    let kind = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, kind, mode, 0).unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = port.local_addr().unwrap();
    drop(port);
    let listen = address.to_string();
    let mut command = home.command(&["serve", "--listen", &listen]);
    let process = Process::start(&mut command, b"");
    let until = Instant::now() + DEADLINE;
    while Request::get("/healthz").try_send(address).is_err() {
        assert!(Instant::now() < until, "{}", process.log());
    }
    (home, process, address, pipe)
}

#[test]
fn server_that_opens_its_store_is_alive_and_not_ready() {
    let (_home, mut process, address, pipe) = opening(&Setup::new());

    let ready = Request::get("/readyz").send(address).expect(503);
    assert_eq!(ready.json()["checks"]["store"], "opening");
    assert!(ready.field("retry-after").is_some());
    Request::get("/healthz").send(address).expect(200);
    let profile = Request::get("/api/users/ada/profile/").send(address);
    assert!(profile.expect(503).field("retry-after").is_some());

    std::fs::write(&pipe, [0; 16]).unwrap();

    assert_eq!(
        process.line(),
        Some(format!("listening on http://{address}"))
    );
    Request::get("/readyz").send(address).expect(200);
}

#[test]
fn refusals_while_the_store_opens_are_like_all_others() {
    let origin = "https://app.example.org";
    let (_home, _process, address, pipe) =
        opening(&Setup::new().set("cors.origins", &format!("[{origin:?}]")));
    let upload = Request::post(PICTURE)
        .field("Origin", origin)
        .field("X-Request-Id", "of-the-client")
        .field("Accept", "application/problem+json")
        .form(&Form::image(&vec![0; 5_000_000]));

    let reply = upload.send(address).expect(503);

    assert_eq!(reply.field("access-control-allow-origin"), Some(origin));
    assert_eq!(reply.field("x-request-id"), Some("of-the-client"));
    let problem = reply.json();
    assert_eq!(problem["code"], "unavailable");
    assert_eq!(problem["request_id"], "of-the-client");
    let preflight = Request::new("OPTIONS", PICTURE)
        .field("Origin", origin)
        .field("Access-Control-Request-Method", "POST");
    let preflight = preflight.send(address).expect(204);
    assert_eq!(preflight.field("access-control-allow-origin"), Some(origin));
    std::fs::write(&pipe, [0; 16]).unwrap();
}

#[test]
fn requests_while_the_store_opens_are_read_strictly_and_have_a_line_in_the_log() {
    let (_home, mut process, address, pipe) = opening(&Setup::new());
    let post = "POST /api/auth/login/ HTTP/1.1\r\nHost: x\r\n";
    let mut ids = Vec::new();
    for (what, head, status) in [
        (
            "health",
            "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(),
            200,
        ),
        (
            "readiness",
            "GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(),
            503,
        ),
        (
            "nothing",
            "GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(),
            503,
        ),
        (
            "a log-in",
            format!("{post}Content-Length: 2\r\n\r\n{{}}"),
            503,
        ),
        ("noise", "\0\r\n\r\n".to_owned(), 400),
        (
            "bare line feeds",
            "GET /healthz HTTP/1.1\nHost: x\n\n".to_owned(),
            400,
        ),
        (
            "a length and chunks",
            format!("{post}Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
            400,
        ),
        (
            "too many fields",
            format!("{post}{}\r\n", "A: b\r\n".repeat(70)),
            431,
        ),
    ] {
        let mut connection = Connection::open(address);
        connection.write(head.as_bytes());

        let reply = connection.answer("GET").expect(what).expect(status);

        crate::support::strict::check("GET", &reply);
        assert!(connection.is_closed(), "{what}");
        ids.push(reply.field("x-request-id").unwrap().to_owned());
    }
    std::fs::write(&pipe, [0; 16]).unwrap();
    process.line().unwrap();
    let log = process.log();
    for id in ids {
        let lines = log.lines().filter(|line| line.contains(&id));
        assert_eq!(lines.count(), 1, "{id}: {log}");
    }
}
