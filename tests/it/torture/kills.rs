//! SIGKILL at any moment under load.

use std::time::Duration;

use serde_json::Value;

use super::load::{FILES, Load};
use super::{any_moment, eventually, patient, rounds};
use crate::migrate::compact::exported;
use crate::support::{Server, fixture};

#[test]
fn nothing_answered_is_lost_when_a_busy_server_is_killed() {
    let mut server = patient().start();
    killed_and_checked(&mut server, rounds(20, 1_000));
}

#[test]
fn uploads_that_are_kept_are_whole_and_their_pictures_when_a_busy_server_is_killed() {
    let mut server = patient().set("picture.keep_original", "true").start();
    // Nobody replaces or removes this one.
    let still = server.user();
    server.upload(&still, &fixture(FILES[0])).expect(200);
    killed_and_checked(&mut server, rounds(5, 300));

    server.stop();
    let files = exported(server.home());
    let is_line = |(path, _): &&(String, Vec<u8>)| path.starts_with("users/");
    let lines = files.iter().filter(is_line).flat_map(|(_, bytes)| {
        let lines = bytes.split(|byte| *byte == b'\n');
        lines.filter(|line| !line.is_empty())
    });
    let users = lines.map(|line| serde_json::from_slice::<Value>(line).unwrap());
    let mut kept = 0;
    for user in users {
        let Some(path) = user.pointer("/profile/picture/original/path") else {
            assert!(user["profile"]["picture"].is_null(), "one not kept: {user}");
            continue;
        };
        let path = path.as_str().unwrap();
        let (_, bytes) = files.iter().find(|(found, _)| found == path).unwrap();
        assert!(FILES.iter().any(|file| fixture(file) == *bytes), "{path}");
        kept += 1;
    }
    assert!(kept > 0);
}

/// Kills the server under load and compares what there is with what was answered, round after round.
fn killed_and_checked(server: &mut Server, rounds: u64) {
    let load = Load::new(server, 8);
    for _ in 0..rounds {
        let before = load.answers();
        let running = load.start(server);
        eventually("an answer", || load.answers() > before);
        any_moment(Duration::from_millis(150));
        server.kill();
        running.ended();
        server.restart();

        load.check(server);
    }
    server.home().run(&["check", "store"]).expect(0);
    println!("kills: {rounds}, answers: {}, lost: 0", load.answers());
}
