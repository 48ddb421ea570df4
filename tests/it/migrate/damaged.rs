//! Stores in which something is damaged: whoever moves in or out takes along all else, and is told what stays.

use serde_json::{Value, json};

use super::rerender::with;
use super::{entries, home, import};
use crate::store::noise;
use crate::support::fixtures::jpeg_of;
use crate::support::process::{Outcome, assert_failed};
use crate::support::raw::Raw;
use crate::support::server::Home;
use crate::support::{Server, Setup, User, fixture};

/// Users with a picture and the upload that was kept, whose damage has these names; the last has none.
const HARMED: [&str; 6] = [
    "account", "profile", "picture", "parts", "upload", "nothing",
];

/// A stopped server with them.
fn harmed() -> (Server, Vec<User>) {
    let mut server = Server::with(&[("picture.keep_original", "true")]);
    let users: Vec<User> = HARMED.iter().map(|_| server.user()).collect();
    for user in &users {
        server.upload(user, &fixture("rgb.png")).expect(200);
    }
    server.stop();
    let raw = Raw::open(&server.home().data_dir());
    raw.damage_record("accounts", &users[0].id);
    raw.damage_record("profiles", &users[1].id);
    raw.damage_last(&raw.picture_of(&users[2].id).description());
    raw.damage_last(&raw.picture_of(&users[3].id));
    raw.damage_original(&users[4].id);
    (server, users)
}

/// Everybody who is damaged is named, and nobody else.
fn assert_named(outcome: &Outcome, users: &[User]) {
    let without = [
        ("stored user is damaged", "without this user"),
        ("stored user is damaged", "without this user"),
        ("stored picture is damaged", "without it"),
        ("stored picture is damaged", "without it"),
        ("the upload that was kept of", "without it"),
    ];
    for (user, (what, stays)) in users.iter().zip(without) {
        let line = outcome.stderr.lines().find(|line| line.contains(&user.id));
        let line = line.unwrap_or_else(|| panic!("{outcome:?}"));
        assert!(line.contains(what) && line.ends_with(stays), "{line}");
    }
    assert!(!outcome.stderr.contains(&users[5].id), "{outcome:?}");
    assert!(!outcome.stderr.contains(" 0 px"), "{outcome:?}");
}

#[test]
fn export_takes_along_all_but_what_is_damaged_and_names_that() {
    let (mut server, users) = harmed();

    let without = server.home().run(&["migrate", "export", "out.tar"]);

    let words = ["whole but for 5 findings", "check store"];
    assert_failed(&without, &words);
    assert_named(&without, &users);
    assert!(
        without.stderr.contains("exported 4 users and 2 pictures"),
        "{without:?}"
    );
    let file = server.home().path().join("out.tar");
    let file = file.to_str().unwrap();
    let other = home();
    assert_eq!(import(&other, &[file])["added"], json!(4));
    other.run(&["check", "store"]).expect(0);
    let lines = String::from_utf8(entries(file).swap_remove(1).1).unwrap();
    for line in lines.lines() {
        let user: Value = serde_json::from_str(line).unwrap();
        let number = users.iter().position(|known| user["user_id"] == known.id);
        let picture = &user["profile"]["picture"];
        let has = (picture.is_object(), picture["original"].is_object());
        let wanted = [(false, false), (false, false), (true, false), (true, true)];
        assert_eq!(has, wanted[number.unwrap() - 2], "{user}");
    }

    server.restart();
    let beside = server.home().run(&["migrate", "export", "live.tar"]);
    assert_failed(&beside, &words);
    assert_named(&beside, &users);
    let live = server.home().path().join("live.tar");
    assert_eq!(entries(live.to_str().unwrap())[1..], entries(file)[1..]);
    let piped = server.home().command(&["migrate", "export", "-"]).output();
    let piped = piped.unwrap();
    assert_eq!(piped.status.code(), Some(1));
    let again = home().run_with(&["migrate", "import", "-"], &piped.stdout);
    assert!(again.expect(0).stdout.contains("4 added"));
}

#[test]
fn list_of_users_and_rerendering_go_on_behind_a_damaged_account() {
    let (server, users) = harmed();

    let listed = server.home().run(&["user", "list"]);

    assert_eq!(listed.code, Some(1), "{listed:?}");
    assert_eq!(listed.stdout.lines().count(), 5, "{listed:?}");
    let said = format!("{}: stored user is damaged", users[0].id);
    assert!(listed.stderr.contains(&said), "{listed:?}");
    with(server.home(), "picture.quality", "60");
    let made = server.home().run(&["migrate", "rerender"]);
    assert_eq!(made.code, Some(1), "{made:?}");
    assert!(
        made.stdout
            .contains("6 pictures: 3 made anew of the upload, 1 of the largest rendition (1 as the upload is damaged)"),
        "{made:?}"
    );
    assert!(!made.stdout.contains("did not do it"), "{made:?}");
    // The one whose files were damaged is whole again. For the others running it again cannot help.
    assert!(
        made.stderr
            .contains("2 pictures were not made anew and stay as they were\n"),
        "{made:?}"
    );
}

#[test]
fn export_goes_on_where_pages_of_the_accounts_cannot_be_read() {
    let mut server = Server::start();
    let users: Vec<User> = (0..40).map(|_| server.user()).collect();
    // What comes now is written behind them, so that the end of the log, which is read when it is opened, is sound.
    for seed in 0..12 {
        let photo = jpeg_of(&noise(seed, 640 * 640 * 3), 640, 640, 90);
        server.upload(&users[0], &photo).expect(200);
    }
    server.stop();
    let file = server.home().data_dir().join("db/db");
    let whole = std::fs::read(&file).unwrap();
    let name = b"\"password_hash\"";
    let places: Vec<usize> = (0..whole.len() - name.len())
        .filter(|place| whole[*place..].starts_with(name))
        .collect();
    // Where the database looks when it opens depends on chance, and so does what is still in use: places are damaged many
    // at a time, then fewer, until it opens and misses somebody.
    let groups = [16, 4, 1].map(|size| places.chunks(size));
    let said = groups.into_iter().flatten().find_map(|group| {
        let mut bytes = whole.clone();
        for place in group {
            bytes[*place] ^= 1;
        }
        std::fs::write(&file, bytes).unwrap();
        let archive = format!("{}-{}.tar", group[0], group.len());
        let said = server.home().run(&["migrate", "export", &archive]);
        said.stderr.contains("whole but for").then_some(said)
    });
    let said = said.unwrap();

    let named = |user: &&User| said.stderr.contains(&format!("{}: ", user.id));
    let findings = users.iter().filter(named).count();
    assert!(findings > 0);
    let exported = format!("exported {} users", users.len() - findings);
    let words = [&exported, &format!("whole but for {findings} findings")];
    assert_failed(&said, &words.map(String::as_str));
    let listed = server.home().run(&["user", "list"]);
    assert_eq!(listed.code, Some(1), "{listed:?}");
    assert_eq!(listed.stdout.lines().count(), users.len() - findings);
}

/// An archive of a sound store, and one in which some of its users are damaged.
fn archive_and_damaged_copy() -> (Server, Vec<User>, String, Home) {
    let mut server = Server::start();
    let users: Vec<User> = (0..4).map(|_| server.user_with_picture().0).collect();
    server.stop();
    server
        .home()
        .run(&["migrate", "export", "out.tar"])
        .expect(0);
    let file = server.home().path().join("out.tar");
    let file = file.to_str().unwrap().to_owned();
    let target = home();
    import(&target, &[&file]);
    for user in &users[1..3] {
        target.run(&["user", "delete", &user.id]).expect(0);
    }
    let raw = Raw::open(&target.data_dir());
    raw.damage_record("accounts", &users[0].id);
    // A record that is not where it belongs does not match its checksum.
    raw.copy_record("emails", &users[3].email, &users[1].email);
    drop(raw);
    (server, users, file, target)
}

#[test]
fn import_goes_on_beside_what_is_damaged_in_the_store() {
    let (_server, users, file, target) = archive_and_damaged_copy();

    let refused = target.run(&["migrate", "import", &file]);
    assert_failed(&refused, &[&users[0].id, "damaged", "nothing was written"]);

    let skipped = target.run(&[
        "migrate",
        "import",
        &file,
        "--json",
        "--on-conflict",
        "skip",
    ]);
    assert_eq!(skipped.code, Some(1), "{skipped:?}");
    let sum: Value = serde_json::from_str(&skipped.stdout).unwrap();
    assert_eq!(
        (&sum["damaged"], &sum["added"], &sum["unchanged"]),
        (&json!(2), &json!(1), &json!(1)),
        "{skipped:?}"
    );
    for user in &users[..2] {
        let said = format!("not written {}: stored ", user.id);
        assert!(skipped.stderr.contains(&said), "{skipped:?}");
    }
    assert!(
        skipped.stderr.contains("2 users were not written"),
        "{skipped:?}"
    );

    let replaced = target.run(&["migrate", "import", &file, "--on-conflict", "replace"]);
    assert_eq!(replaced.code, Some(1), "{replaced:?}");
    assert!(
        replaced.stdout.contains(" 1 replaced") && replaced.stdout.contains(", 1 not written"),
        "{replaced:?}"
    );
}

#[test]
fn standard_input_is_not_kept_where_the_store_needs_the_room() {
    let home = Setup::new()
        .set("storage.free_bytes_min", "4000000000000000")
        .home();

    // Which is no archive, but nobody gets as far as finding that out.
    let refused = home.run_with(&["migrate", "import", "-"], &vec![b'x'; 200_000]);

    assert_failed(
        &refused,
        &["disk is full: ", "4000000000000000 must stay free"],
    );
}
