//! `pockitd migrate compact`: the same store in less space, whatever happens meanwhile.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use super::live::Uploads;
use super::{Origin, archive, entries, home, hostile, import};
use crate::support::process::Process;
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
    let origin = Origin::new();
    let many = hostile::multiplied(&entries(&origin.export()), users);
    let home = home();
    import(&home, &[&archive(&home, &many)]);
    home
}

#[test]
fn text_says_the_bytes_before_and_after_and_nothing_is_left_behind() {
    let home = filled(20);
    let before = exported(&home);

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
fn killed_at_any_moment_the_store_is_whole() {
    let home = filled(150);
    let whole = exported(&home);
    for step in 0..12 {
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
