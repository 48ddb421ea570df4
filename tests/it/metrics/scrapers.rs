//! Scrapers that misbehave: they do not keep others from the page.

use std::time::{Duration, Instant};

use super::{address, scrape};
use crate::support::{Connection, Request, Server};

/// How many are served at once.
const SCRAPERS: usize = 16;

fn server() -> Server {
    Server::with(&[
        ("metrics.listen", "\"127.0.0.1:0\""),
        ("http.head_timeout_ms", "20_000"),
    ])
}

/// Long before the ones that were there first are out of time.
fn assert_served(server: &Server) {
    let begin = Instant::now();
    scrape(server);
    assert!(
        begin.elapsed() < Duration::from_secs(15),
        "{:?}",
        begin.elapsed()
    );
}

#[test]
fn scrapers_that_ask_for_nothing_do_not_keep_others_out() {
    let server = server();
    let address = address(&server);
    let silent: Vec<_> = (0..2 * SCRAPERS)
        .map(|_| Connection::open(address))
        .collect();

    assert_served(&server);

    drop(silent);
}

#[test]
fn scrapers_that_take_nothing_do_not_keep_others_out() {
    let server = server();
    let address = address(&server);
    // Far more answers than the buffers of both sides hold.
    let requests = Request::get("/metrics").bytes(address).repeat(5_000);
    let greedy: Vec<_> = (0..2 * SCRAPERS)
        .map(|_| {
            let connection = Connection::open(address);
            connection.write_beside(requests.clone());
            connection
        })
        .collect();

    assert_served(&server);

    drop(greedy);
}

#[test]
fn page_comes_once_a_connection_and_says_so() {
    let server = server();
    let mut connection = Connection::open(address(&server));

    let reply = connection.exchange(&Request::get("/metrics"));

    assert_eq!(reply.field("connection"), Some("close"));
    assert!(connection.is_closed());
}
