//! Migrations that are killed at any moment: the store is whole, and the same command, run again, comes to the same end.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;

use super::{any_moment, rounds};
use crate::migrate::compact::{exported, filled};
use crate::migrate::rerender::{rerender, with};
use crate::migrate::versions::{frozen, status};
use crate::support::DEADLINE;
use crate::support::process::Process;
use crate::support::raw::lengthen;
use crate::support::server::Home;

const USERS: usize = 40;

/// How long a command takes that nobody kills.
fn duration(home: &Home, arguments: &[&str]) -> Duration {
    let begin = Instant::now();
    home.run(arguments).expect(0);
    begin.elapsed()
}

/// Starts a command and kills it at some moment; whether it was not at its end before.
fn is_killed(home: &Home, arguments: &[&str], within: Duration) -> bool {
    let mut process = Process::start(&mut home.command(arguments), b"");
    any_moment(within);
    process.signal(Signal::KILL);
    let exit = process.wait(DEADLINE).expect("it is gone");
    assert!(exit.code().is_none_or(|code| code == 0), "{exit}");
    exit.code().is_none()
}

#[test]
fn killed_up_has_every_record_old_or_new_and_ends_with_new_ones() {
    let up = ["migrate", "up"];
    let home = frozen();
    let before = exported(&home);
    let within = duration(&home, &up);
    let (mut killed, rounds) = (0, rounds(4, 200));
    for _ in 0..rounds {
        let home = frozen();
        killed += u32::from(is_killed(&home, &up, within));

        assert!(exported(&home) == before);
        home.run(&["check", "store"]).expect(0);
        assert_eq!(status(&home, &["up"])["up_to_date"], json!(true));
        assert!(exported(&home) == before);
    }
    println!("up: killed {killed} times in {rounds} rounds, lost: 0");
}

#[test]
fn killed_compaction_leaves_the_store_as_it_was() {
    let compact = ["migrate", "compact"];
    let home = filled(USERS);
    let before = exported(&home);
    lengthen(&home.data_dir());
    let within = duration(&home, &compact);
    let (mut killed, rounds) = (0, rounds(4, 200));
    for _ in 0..rounds {
        lengthen(&home.data_dir());
        killed += u32::from(is_killed(&home, &compact, within));

        assert!(exported(&home) == before);
        home.run(&["check", "store"]).expect(0);
        for left in ["db.new", "db.old"] {
            assert!(!home.data_dir().join(left).exists(), "{left}");
        }
    }
    home.run(&compact).expect(0);
    assert!(exported(&home) == before);
    println!("compact: killed {killed} times in {rounds} rounds, lost: 0");
}

#[test]
fn killed_rerendering_leaves_each_picture_old_or_new_and_goes_on() {
    let home = filled(USERS);
    let users = exported(&home).len();
    with(&home, "picture.quality", "60");
    let within = duration(&home, &["migrate", "rerender"]);
    let (mut killed, rounds) = (0, rounds(2, 200));
    for round in 0..rounds {
        with(&home, "picture.quality", ["70", "60"][(round % 2) as usize]);
        killed += u32::from(is_killed(&home, &["migrate", "rerender"], within));

        home.run(&["check", "store"]).expect(0);
        assert_eq!(exported(&home).len(), users, "everybody has all files");
        let done = rerender(&home, &[]);
        let count = |key: &str| done[key].as_u64().unwrap();
        assert_eq!(
            count("from_rendition") + count("unchanged"),
            USERS as u64,
            "{done}"
        );
        assert_eq!(rerender(&home, &[])["unchanged"], json!(USERS));
    }
    println!("rerender: killed {killed} times in {rounds} rounds, lost: 0");
}
