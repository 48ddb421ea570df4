//! Users of a Django project for whom there is no place in the store, or who are there already.

use std::fs;

use rusqlite::Connection;
use serde_json::json;

use super::super::home;
use super::{Project, profile, summary};
use crate::support::process::assert_failed;
use crate::support::raw::Raw;
use crate::support::token::{access_claims, signed};
use crate::support::{PROFILE, Request, Setup, fixture};

#[test]
fn users_who_are_there_are_a_conflict_that_the_operator_decides() {
    let project = Project::real();
    let home = home();
    home.run(&["user", "add", "somebody@example.org", "--id", "1"])
        .expect(0);
    home.run(&["user", "add", "GRACE@example.org", "--id", "x"])
        .expect(0);
    let before = home.run(&["user", "list"]).expect(0).stdout;

    let refused = project.import(&home, &["--on-conflict", "fail"]);
    assert_failed(
        &refused,
        &["user 1", "somebody@example.org", "nothing was written"],
    );
    assert_eq!(home.run(&["user", "list"]).expect(0).stdout, before);

    let (rows, sum) = project.told(&home, &["--dry-run"]);
    assert_eq!(sum["skipped"], json!(4));
    assert_eq!(
        rows[0]["outcome"]["skipped"],
        "the user with that id has the address somebody@example.org"
    );
    assert_eq!(rows[1]["outcome"]["skipped"], "user x has the address");

    let (rows, _) = project.told(&home, &["--on-conflict", "replace"]);
    assert_eq!(rows[0]["outcome"], "replaced");
    assert_eq!(
        rows[1]["outcome"]["skipped"], "user x has the address",
        "an address is never taken over"
    );
    home.run(&["check", "store"]).expect(0);
}

#[test]
fn address_that_is_taken_is_a_conflict_in_the_store_and_in_the_project() {
    let project = Project::real();
    let other = home();
    other
        .run(&["user", "add", "GRACE@example.org", "--id", "x"])
        .expect(0);
    let before = other.run(&["user", "list"]).expect(0).stdout;

    let refused = project.import(&other, &["--on-conflict", "fail"]);

    let words = ["user 2", "user x has the address", "nothing was written"];
    assert_failed(&refused, &words);
    assert_eq!(other.run(&["user", "list"]).expect(0).stdout, before);
    let twice = Project::made(
        "CREATE TABLE m_user (id integer PRIMARY KEY, email text, password text);
        INSERT INTO m_user VALUES (1, 'ada@example.org', ''), (2, 'Ada@example.org', '');",
    );
    let empty = home();
    let refused = twice.import(&empty, &["--on-conflict", "fail"]);
    let words = ["user 2", "another user of the project has the address"];
    assert_failed(&refused, &words);
    assert_eq!(empty.run(&["user", "list"]).expect(0).stdout, "");
    assert_eq!(
        twice.told(&empty, &[]).1,
        summary([2, 1, 0, 0, 1, 0, 0]),
        "the first one has it"
    );
    // As after an interruption, with nobody in the way.
    let whole = project.told(&home(), &["--on-conflict", "fail"]).1;
    assert_eq!(whole, summary([10, 8, 0, 0, 2, 2, 4]));
}

#[test]
fn rows_whose_place_in_the_store_is_damaged_are_listed_and_the_others_taken_over() {
    let project = Project::real();
    let home = home();
    let added = home.run(&["user", "add", "ada@example.org", "--id", "1"]);
    added.expect(0);
    Raw::open(&home.data_dir()).damage_record("accounts", "1");

    let listed = project.import(&home, &[]);

    assert_eq!(listed.code, Some(1), "{listed:?}");
    assert!(
        listed
            .stdout
            .starts_with("1\t-\tada@example.org\tnot written: stored user is damaged"),
        "{listed:?}"
    );
    assert!(
        listed.stdout.contains("10 users: 7 added,") && listed.stdout.contains(", 1 not written;"),
        "{listed:?}"
    );
    assert!(listed.stderr.contains("1 users were not written"));
    let refused = project.import(&home, &["--on-conflict", "fail"]);
    assert_failed(
        &refused,
        &["user 1 is not", "damaged", "nothing was written"],
    );
    let (rows, _) = project.told(&home, &["--on-conflict", "replace"]);
    assert_eq!(rows[0]["outcome"], "replaced");
    home.run(&["check", "store"]).expect(0);
}

#[test]
fn picture_that_did_not_come_at_first_comes_when_it_is_run_again() {
    let project = Project::made(
        "CREATE TABLE m_user (id integer PRIMARY KEY, email text, password text, avatar text);
        INSERT INTO m_user VALUES (1, 'a@example.org', '', 'a.png'), (2, 'b@example.org', '', 'b.png');",
    );
    let server = Setup::new().start_after(|home| {
        // As one whose decoding took too long on a busy machine.
        assert_eq!(project.told(home, &[]).1, summary([2, 2, 0, 0, 0, 0, 2]));
        for file in ["a.png", "b.png"] {
            fs::write(project.path().join("media").join(file), fixture("rgb.png")).unwrap();
        }
        let mut dry = project.told(home, &["--dry-run"]).1;
        let (rows, sum) = project.told(home, &[]);
        assert_eq!(sum, dry, "a dry run says what comes");
        assert_eq!(dry["completed"], json!(2));
        dry["completed"] = json!(0);
        assert_eq!(dry, summary([2, 0, 0, 0, 0, 0, 0]));
        assert_eq!(rows[0]["outcome"], "completed");
        assert_eq!(project.told(home, &[]).1, summary([2, 0, 0, 2, 0, 0, 0]));
        home.run(&["check", "store"]).expect(0);
    });
    server.pictures(&profile(&server, "1"));
    // Whoever has changed anything has decided to have no picture.
    let database = Connection::open(project.path().join("db.sqlite3")).unwrap();
    let third = "INSERT INTO m_user VALUES (3, 'c@example.org', '', 'c.png')";
    database.execute(third, []).unwrap();
    let sum = project.told(server.home(), &[]).1;
    assert_eq!(sum, summary([3, 1, 0, 2, 0, 0, 1]));
    let token = signed(&access_claims("3"));
    let rename = Request::new("PATCH", PROFILE).bearer(&token);
    server
        .send(&rename.json(&json!({ "name": "C" })))
        .expect(200);
    fs::write(project.path().join("media/c.png"), fixture("rgb.png")).unwrap();
    let sum = project.told(server.home(), &[]).1;
    assert_eq!(sum, summary([3, 0, 0, 3, 0, 0, 0]));
}
