//! `pockitd migrate compact`: the same store in less space, whatever happens meanwhile.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use super::live::Uploads;
use super::{Origin, archive, entries, home, hostile, import};
use crate::support::process::Process;
use crate::support::raw::lengthen;
use crate::support::server::Home;
use crate::support::{DEADLINE, Server};

/// Bytes before and after.
fn compact(home: &Home) -> (u64, u64) {
    let outcome = home.run(&["migrate", "compact", "--json"]).expect(0);
    let sizes: Value = serde_json::from_str(&outcome.stdout).unwrap();
    let of = |key: &str| sizes[key].as_u64().unwrap();
    (of("bytes_before"), of("bytes_after"))
}

pub fn exported(home: &Home) -> Vec<(String, Vec<u8>)> {
    home.run(&["migrate", "export", "all.tar"]).expect(0);
    let file = home.path().join("all.tar");
    let mut entries = entries(file.to_str().unwrap());
    // When it was written.
    entries.remove(0);
    entries
}

/// A store with as many users as the archive of one is multiplied by.
pub fn filled(users: usize) -> Home {
    let home = home();
    fill(&home, users);
    home
}

fn fill(home: &Home, users: usize) {
    let origin = Origin::new();
    let many = hostile::multiplied(&entries(&origin.export()), users);
    import(home, &[&archive(home, &many)]);
}

#[test]
fn text_says_the_bytes_before_and_after_and_nothing_is_left_behind() {
    let home = filled(20);
    let before = exported(&home);
    lengthen(&home.data_dir());

    let said = home.run(&["migrate", "compact"]).expect(0).stdout;

    assert!(
        said.contains(" bytes before, ") && said.ends_with(" bytes after\n"),
        "{said}"
    );
    assert!(exported(&home) == before);
    assert!(!home.data_dir().join("db.new").exists());
    assert!(!home.data_dir().join("db.old").exists());
}

#[test]
fn store_that_would_not_get_smaller_stays_and_that_is_said_offline_and_beside_a_server() {
    let mut server = Server::start();
    server.stop();
    fill(server.home(), 20);
    let before = exported(server.home());
    let run = |home: &Home, arguments: &[&str]| {
        let arguments = [&["migrate", "compact"], arguments].concat();
        home.run(&arguments).expect(0).stdout
    };
    let stays = |home: &Home| {
        let said = run(home, &["--json"]);
        let sizes: Value = serde_json::from_str(&said).unwrap();
        let of = |key: &str| sizes[key].as_u64().unwrap();
        assert!(of("bytes_after") <= of("bytes_before"), "{said}");
        sizes["replaced"] == false
    };

    // A few times it may be a little smaller, as some work goes on by the clock.
    assert!((0..6).any(|_| stays(server.home())));
    let mut said = (0..6).map(|_| run(server.home(), &[]));
    assert!(said.any(|said| said.ends_with(", so it stays as it is\n")));
    server.restart();
    assert!((0..6).any(|_| stays(server.home())));
    assert!(exported(server.home()) == before);
}

#[test]
fn killed_at_any_moment_the_store_is_whole() {
    let home = filled(150);
    let whole = exported(&home);
    for step in 0..12 {
        lengthen(&home.data_dir());
        let mut process = Process::start(&mut home.command(&["migrate", "compact"]), b"");
        process.wait(Duration::from_millis(step * 25));
        process.signal(Signal::KILL);
        process.wait(DEADLINE).unwrap();

        assert!(exported(&home) == whole, "after {step}");
        home.run(&["check", "store"]).expect(0);
    }
    compact(&home);
    assert!(exported(&home) == whole);
}

#[test]
fn server_goes_on_while_its_store_is_written_anew() {
    let mut server = Server::with(&[("rate_limit.uploads_per_hour", "0")]);
    let users: Vec<_> = (0..4).map(|_| server.user_with_picture().0).collect();
    let still = server.user_with_picture();
    let uploads = Uploads::begin(&server, &users);
    for _ in 0..4 {
        compact(server.home());
        server.pictures(&still.1);
    }
    let last = uploads.end();
    let check = |server: &Server| {
        for (user, last) in users.iter().zip(&last) {
            let shown = server.profile(user);
            assert_eq!(shown["picture"]["id"], last["picture"]["id"]);
            server.pictures(&shown);
        }
        server.home().run(&["check", "store"]).expect(0);
    };
    check(&server);
    server.kill();
    server.restart();
    check(&server);
}
