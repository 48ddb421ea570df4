//! `/healthz` and `/readyz`.

use crate::support::{Request, Server};

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
