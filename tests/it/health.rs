//! `/healthz` and `/readyz`.

use crate::support::process::Process;
use crate::support::{Request, Server, Setup};

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

#[test]
fn server_that_opens_its_store_is_alive_and_not_ready() {
    let home = Setup::new().home();
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
    let origin = "https://app.example.org";
    let cors = format!("cors.origins=[\"{origin}\"]");
    let mut command = home.command(&["serve", "--listen", &listen, "--set", &cors]);
    let mut process = Process::start(&mut command, b"");
    let until = std::time::Instant::now() + crate::support::DEADLINE;
    let ready = loop {
        match Request::get("/readyz").try_send(address) {
            Ok(reply) => break reply,
            Err(_) => assert!(std::time::Instant::now() < until, "{}", process.log()),
        }
    };

    let ready = ready.expect(503);
    assert_eq!(ready.json()["checks"]["store"], "opening");
    assert!(ready.field("retry-after").is_some());
    Request::get("/healthz").send(address).expect(200);
    let profile = Request::get("/api/users/ada/profile/").send(address);
    assert!(profile.expect(503).field("retry-after").is_some());
    // A page that may call the API learns that much, too.
    let allowed = |request: Request, status: u16| {
        let reply = request.field("Origin", origin).send(address).expect(status);
        reply
            .field("access-control-allow-origin")
            .map(str::to_owned)
    };
    let upload = Request::new("OPTIONS", "/api/users/me/profile/picture/");
    let upload = upload.field("Access-Control-Request-Method", "POST");
    assert_eq!(allowed(upload, 204).as_deref(), Some(origin));
    let profile = Request::get("/api/users/me/profile/");
    assert_eq!(allowed(profile, 503).as_deref(), Some(origin));

    std::fs::write(&pipe, [0; 16]).unwrap();

    assert_eq!(
        process.line(),
        Some(format!("listening on http://{address}"))
    );
    Request::get("/readyz").send(address).expect(200);
}
