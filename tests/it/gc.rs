//! `pockitd gc-pictures` and `pockitd check store`, on stores that were harmed from outside.

use serde_json::Value;

use crate::support::process::{Outcome, assert_failed};
use crate::support::raw::Raw;
use crate::support::{Form, PICTURE, Request, Server, User, fixture};

/// Three users with pictures, on a server that is stopped.
fn stopped() -> (Server, Vec<User>) {
    let mut server = Server::start();
    let users = (0..3).map(|_| server.user_with_picture().0).collect();
    server.stop();
    (server, users)
}

/// The last line of `--json`, and the findings before it.
fn told(outcome: &Outcome) -> (Vec<Value>, Value) {
    let lines = outcome.stdout.lines();
    let mut lines: Vec<Value> = lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let summary = lines.pop().expect("there is a summary")["summary"].clone();
    let findings = lines.iter().map(|line| line["finding"].clone());
    (findings.collect(), summary)
}

fn is_sound(server: &Server) {
    let outcome = server.home().run(&["check", "store", "--json"]).expect(0);
    assert_eq!(told(&outcome).1["findings"], 0, "{outcome:?}");
}

#[test]
fn sound_store_has_no_findings_and_no_garbage() {
    let (mut server, _) = stopped();
    for running in [false, true] {
        if running {
            server.restart();
        }
        is_sound(&server);
        let gc = server.home().run(&["gc-pictures", "--json"]).expect(0);
        let (findings, summary) = told(&gc);
        assert_eq!(findings, [] as [Value; 0]);
        assert_eq!(
            (&summary["profiles"], &summary["pictures"]),
            (&3.into(), &3.into())
        );
    }
}

#[test]
fn orphan_pictures_are_removed_and_what_that_freed_is_said() {
    let (mut server, users) = stopped();
    let raw = Raw::open(&server.home().data_dir());
    let picture = raw.picture_of(&users[0].id);
    drop(raw);
    server
        .home()
        .run(&["user", "delete", &users[0].id])
        .expect(0);
    Raw::open(&server.home().data_dir()).put(&picture);
    assert_failed_with_findings(&server, "orphan picture", 0);

    let young = server.home().run(&["gc-pictures", "--json"]).expect(0);
    assert_eq!(told(&young).1["findings"], 0, "it may belong to a request");
    let dry = ["gc-pictures", "--older-than", "1", "--dry-run"];
    let until = std::time::Instant::now() + crate::support::DEADLINE;
    let said = loop {
        let said = server.home().run(&dry).expect(0).stdout;
        if said.contains("would be removed") {
            break said;
        }
        assert!(std::time::Instant::now() < until, "{said}");
    };
    let again = server.home().run(&dry).expect(0).stdout;
    assert_eq!(said, again, "a dry run changes nothing");
    server.restart();
    let beside = server.home().run(&dry).expect(0).stdout;
    assert_eq!(said, beside, "the same beside a server");

    let gc = ["gc-pictures", "--older-than", "1", "--json"];
    let (findings, summary) = told(&server.home().run(&gc).expect(0));
    assert_eq!(findings.len(), 1);
    assert_eq!(findings[0]["problem"], "orphan_picture");
    assert_eq!(findings[0]["mended"], true);
    assert_eq!(summary["pictures_removed"], 1);
    assert!(
        summary["bytes_freed"].as_u64().unwrap() > 1_000,
        "{summary}"
    );

    assert_eq!(told(&server.home().run(&gc).expect(0)).1["findings"], 0);
    is_sound(&server);
}

/// `check store` fails and tells of this; a young orphan is none yet.
fn assert_failed_with_findings(server: &Server, words: &str, count: usize) {
    let checked = server.home().run(&["check", "store"]);
    let told = checked
        .stdout
        .lines()
        .filter(|line| line.starts_with(words));
    assert_eq!(told.count(), count, "{checked:?}");
    assert_eq!(checked.code, Some(i32::from(count > 0)), "{checked:?}");
}

#[test]
fn parts_without_a_picture_are_removed() {
    let (mut server, users) = stopped();
    let raw = Raw::open(&server.home().data_dir());
    let picture = raw.picture_of(&users[0].id);
    drop(raw);
    server.restart();
    server.upload(&users[0], &fixture("rgb.png")).expect(200);
    server.stop();
    Raw::open(&server.home().data_dir()).put(&picture.parts());
    assert_failed_with_findings(&server, "orphan part", picture.parts().count());

    let gc = server.home().run(&["gc-pictures", "--json"]).expect(0);

    let parts = told(&gc).1["parts_removed"].as_u64().unwrap();
    assert_eq!(parts, picture.parts().count() as u64);
    is_sound(&server);
    server.restart();
    server.pictures(&server.profile(&users[0]));
}

#[test]
fn profiles_with_missing_or_damaged_pictures_are_reported_and_reset_on_demand_only() {
    let (mut server, users) = stopped();
    let raw = Raw::open(&server.home().data_dir());
    raw.remove(&raw.picture_of(&users[0].id));
    raw.damage_last(&raw.picture_of(&users[1].id));
    drop(raw);
    assert_failed_with_findings(&server, "unreadable picture", 2);

    let gc = server.home().run(&["gc-pictures"]).expect(0).stdout;
    assert_eq!(gc.matches("--repair puts it right").count(), 2, "{gc}");
    assert_failed_with_findings(&server, "unreadable picture", 2);

    server.restart();
    let gc = ["gc-pictures", "--repair", "--json"];
    let (_, summary) = told(&server.home().run(&gc).expect(0));
    assert_eq!(summary["profiles_reset"], 2, "{summary}");
    for user in &users[..2] {
        assert_eq!(server.profile(user)["has_picture"], false);
        server.upload(user, &fixture("rgb.png")).expect(200);
    }
    server.pictures(&server.profile(&users[2]));
    is_sound(&server);
}

#[test]
fn damaged_records_and_users_in_pieces_are_found() {
    let (server, users) = stopped();
    let raw = Raw::open(&server.home().data_dir());
    raw.damage_record("profiles", &users[0].id);
    raw.remove_record("emails", &users[1].email);
    raw.copy_record("emails", &users[2].email, "nobody@example.org");
    drop(raw);

    let checked = server.home().run(&["check", "store"]);

    assert_eq!(checked.code, Some(1));
    assert!(
        checked.stderr.contains("the store has 3 findings"),
        "{checked:?}"
    );
    let starts = |words: &str| {
        let lines = checked.stdout.lines();
        lines.filter(|line| line.starts_with(words)).count()
    };
    assert_eq!(starts("damaged record"), 2, "{}", checked.stdout);
    assert_eq!(starts("inconsistent user"), 1, "{}", checked.stdout);
    let gc = ["gc-pictures", "--repair"];
    let outcome = server.home().run(&gc).expect(0).stdout;
    assert_eq!(outcome.matches(": left\n").count(), 3, "{outcome}");
}

#[test]
fn wrong_counts_and_unreadable_descriptions_are_put_right() {
    let (server, users) = stopped();
    let raw = Raw::open(&server.home().data_dir());
    raw.damage_record("meta", "counts");
    let picture = raw.picture_of(&users[0].id);
    drop(raw);
    assert_failed_with_findings(&server, "wrong counts", 1);
    server.home().run(&["gc-pictures", "--repair"]).expect(0);
    is_sound(&server);

    server
        .home()
        .run(&["user", "delete", &users[0].id])
        .expect(0);
    let raw = Raw::open(&server.home().data_dir());
    raw.put(&picture);
    raw.damage_last(&picture.description());
    drop(raw);
    assert_failed_with_findings(&server, "damaged record", 1);

    server.home().run(&["gc-pictures", "--repair"]).expect(0);

    is_sound(&server);
}

fn upload_with_key(server: &Server, user: &User, key: &str) -> Value {
    let form = Form::image(&fixture("rgb.png"));
    let request = Request::post(PICTURE).bearer(&user.access).form(&form);
    let request = request.field("Idempotency-Key", key);
    server.send(&request).expect(200).json()["picture"]["id"].clone()
}

/// As a program leaves it that does not know of the keys and deletes a user.
#[test]
fn idempotency_keys_of_a_user_who_is_gone_are_removed() {
    let mut server = Server::start();
    let (user, other) = (server.user(), server.user());
    upload_with_key(&server, &user, "k");
    let kept = upload_with_key(&server, &other, "k");
    server.stop();
    let keys = Raw::open(&server.home().data_dir()).keys_of(&user.id);
    is_sound(&server);
    server.home().run(&["user", "delete", &user.id]).expect(0);
    Raw::open(&server.home().data_dir()).put(&keys);
    assert_failed_with_findings(&server, "orphan idempotency keys", 1);

    let gc = server.home().run(&["gc-pictures", "--json"]).expect(0);

    let (findings, summary) = told(&gc);
    assert_eq!(findings[0]["problem"], "orphan_keys");
    assert_eq!(findings[0]["detail"], format!("of {}", user.id));
    assert_eq!(findings[0]["mended"], true);
    assert!(summary["bytes_freed"].as_u64().unwrap() > 100, "{summary}");
    is_sound(&server);
    server.restart();
    assert_eq!(upload_with_key(&server, &other, "k"), kept);
}

#[test]
fn damaged_idempotency_keys_are_in_nobodys_way() {
    let mut server = Server::start();
    let (user, other) = (server.user(), server.user());
    let first = upload_with_key(&server, &user, "k");
    upload_with_key(&server, &other, "k");
    server.stop();
    let raw = Raw::open(&server.home().data_dir());
    raw.damage_record("keys", &user.id);
    raw.damage_record("keys", &other.id);
    drop(raw);
    assert_failed_with_findings(&server, "damaged record", 2);

    // Forgotten, and remembered again with the next upload.
    server.restart();
    let second = upload_with_key(&server, &user, "k");
    assert_ne!(second, first);
    server.kill();
    server.restart();
    assert_eq!(upload_with_key(&server, &user, "k"), second);

    server.stop();
    assert_failed_with_findings(&server, "damaged record", 1);
    server.home().run(&["gc-pictures"]).expect(0);
    assert_failed_with_findings(&server, "damaged record", 1);
    server.home().run(&["gc-pictures", "--repair"]).expect(0);
    is_sound(&server);
}

#[test]
fn server_collects_by_itself() {
    let (mut server, users) = stopped();
    let raw = Raw::open(&server.home().data_dir());
    let picture = raw.picture_of(&users[0].id);
    drop(raw);
    server
        .home()
        .run(&["user", "delete", &users[0].id])
        .expect(0);
    let raw = Raw::open(&server.home().data_dir());
    raw.put(&picture.parts());
    drop(raw);
    assert_failed_with_findings(&server, "orphan part", picture.parts().count());

    server.restart_with(&["--set", "storage.gc_interval_s=1"]);

    let until = std::time::Instant::now() + crate::support::DEADLINE;
    while !server.log().contains("collected garbage") {
        assert!(std::time::Instant::now() < until, "{}", server.log());
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    server.stop();
    is_sound(&server);
}

#[test]
fn store_that_is_in_use_by_something_else_fails_with_a_sentence() {
    let (server, _) = stopped();
    let data_dir = server.home().data_dir();
    std::fs::write(data_dir.join("db/conf"), b"not a configuration").unwrap();

    let checked = server.home().run(&["check", "store"]);

    assert_failed(&checked, &["cannot"]);
}
