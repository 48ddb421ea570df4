//! `pockitd migrate status` and `up`, on a store as version 1 of its layout has left it.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};

use super::home;
use crate::support::process::{Process, assert_failed};
use crate::support::raw::Raw;
use crate::support::server::Home;
use crate::support::stored::unpack;
use crate::support::{DEADLINE, Request, Setup};

/// Three users, two with a picture, written by version 1 of the layout.
pub fn frozen() -> Home {
    let home = home();
    unpack("stores/store-v1", &home.data_dir());
    home
}

pub fn status(home: &Home, arguments: &[&str]) -> Value {
    let arguments = [&["migrate"], arguments, &["--json"]].concat();
    serde_json::from_str(&home.run(&arguments).expect(0).stdout).unwrap()
}

/// How many pictures there are of each version.
fn pictures(status: &Value) -> &Value {
    let kinds = status["kinds"].as_array().unwrap();
    let pictures = kinds.iter().find(|kind| kind["kind"] == "picture");
    &pictures.unwrap()["versions"]
}

#[test]
fn store_of_version_1_is_told_of_moved_up_once_and_then_up_to_date() {
    let home = frozen();
    let before = status(&home, &["status"]);
    assert_eq!(before["schema"], json!({ "found": 1, "known": 2 }));
    assert_eq!(pictures(&before), &json!({ "1": 2 }));
    assert_eq!(before["up_to_date"], json!(false));

    assert_eq!(
        status(&home, &["up", "--dry-run"]),
        before,
        "nothing is written"
    );
    assert_eq!(Raw::open(&home.data_dir()).versions("pictures"), [1, 1]);
    assert_eq!(status(&home, &["status"]), before);

    let up = home.run(&["migrate", "up"]).expect(0).stdout;
    assert!(
        up.contains("picture: 2 of version 1; 2 written anew as version 2"),
        "{up}"
    );
    assert!(up.contains("all is up to date"), "{up}");

    let after = status(&home, &["status"]);
    assert_eq!(after["schema"], json!({ "found": 2, "known": 2 }));
    assert_eq!(pictures(&after), &json!({ "2": 2 }));
    assert_eq!(status(&home, &["up"]), after, "there is nothing left to do");
    assert_eq!(Raw::open(&home.data_dir()).versions("pictures"), [2, 2]);
    home.run(&["check", "store"]).expect(0);
}

#[test]
fn store_of_version_1_is_served_as_it_is_and_moved_up_beside_the_server() {
    let home = Setup::new().start_after(|home| unpack("stores/store-v1", &home.data_dir()));
    let server = home;
    let profile = |id: &str| {
        server
            .get(&format!("/api/users/{id}/profile/"))
            .expect(200)
            .json()
    };
    let shown = profile("ada");
    assert_eq!(shown["name"], "Ada");
    assert_eq!(shown["picture"]["id"], "61a2810bad8520ed968124fbebd1eeb7");
    let files = server.pictures(&shown);

    let up = status(server.home(), &["up"]);
    assert_eq!(pictures(&up), &json!({ "1": 2 }));

    assert_eq!(up["up_to_date"], json!(true));
    assert_eq!(profile("ada"), shown);
    assert_eq!(server.pictures(&profile("ada")), files);
    let body = json!({ "email": "ada@example.org", "password": "correct horse battery" });
    let login = Request::post("/api/auth/login/").json(&body);
    server.send(&login).expect(200);
}

#[test]
fn first_write_of_this_program_raises_the_layout() {
    let home = frozen();

    home.run(&["user", "add", "new@example.org"]).expect(0);

    let status = status(&home, &["status"]);
    assert_eq!(status["schema"], json!({ "found": 2, "known": 2 }));
    assert_eq!(pictures(&status), &json!({ "1": 2 }), "and nothing else");
}

#[test]
fn killed_up_goes_on_and_ends_the_same() {
    for microseconds in (0..12).map(|step| step * 4_000) {
        let home = frozen();
        let mut process = Process::start(&mut home.command(&["migrate", "up"]), b"");
        process.wait(Duration::from_micros(microseconds));
        process.signal(Signal::KILL);
        process.wait(DEADLINE).unwrap();

        assert_eq!(status(&home, &["up"])["up_to_date"], json!(true));

        assert_eq!(pictures(&status(&home, &["status"])), &json!({ "2": 2 }));
        home.run(&["check", "store"]).expect(0);
    }
}

#[test]
fn store_of_a_newer_program_is_refused_with_a_sentence() {
    let home = frozen();
    Raw::open(&home.data_dir()).set_schema(77);

    for command in [&["migrate", "status"][..], &["migrate", "up"], &["serve"]] {
        let words = ["schema version 77", "this program knows versions up to 2"];
        assert_failed(&home.run(command), &words);
    }
}

#[test]
fn damaged_record_stays_as_it_is_and_the_others_are_moved() {
    let home = frozen();
    Raw::open(&home.data_dir()).damage_record("profiles", "c");

    let up = home.run(&["migrate", "up"]);

    assert_eq!(up.code, Some(1), "{up:?}");
    assert!(up.stderr.contains("1 records cannot be read"), "{up:?}");
    assert_eq!(Raw::open(&home.data_dir()).versions("pictures"), [2, 2]);
}
