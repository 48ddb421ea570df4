//! SIGKILL at any moment under load.

use std::time::Duration;

use super::load::Load;
use super::{any_moment, eventually, rounds};
use crate::support::Server;

#[test]
fn nothing_answered_is_lost_when_a_busy_server_is_killed() {
    let mut server = Server::with(&[("rate_limit.uploads_per_hour", "0")]);
    let load = Load::new(&server, 8);
    let rounds = rounds(20, 1_000);
    for _ in 0..rounds {
        let before = load.answers();
        let running = load.start(&server);
        eventually("an answer", || load.answers() > before);
        any_moment(Duration::from_millis(150));
        server.kill();
        running.ended();
        server.restart();

        load.check(&server);
    }
    server.home().run(&["check", "store"]).expect(0);
    println!("kills: {rounds}, answers: {}, lost: 0", load.answers());
}
