//! Stores in which something is damaged: whoever moves in or out takes along all else, and is told what stays.

use serde_json::{Value, json};

use super::rerender::with;
use super::{entries, home, import};
use crate::store::{account, user, usual_picture};
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

/// A stopped server with so many users, with pictures or without, and its log.
fn many(count: u64, with_pictures: bool) -> (Server, Vec<String>, Vec<u8>) {
    let ids: Vec<String> = (0..count)
        .map(|number| format!("many{number:02}"))
        .collect();
    let fill = async |data_dir| {
        let config = pockitd::config::Storage {
            data_dir,
            free_bytes_min: 0,
            ..pockitd::config::Storage::default()
        };
        let store = pockitd::storage::open(&config).await.unwrap();
        for (seed, id) in (0..).zip(&ids) {
            let created = store.create_user(account(id), "Some".parse().unwrap());
            created.await.unwrap();
            if with_pictures {
                let (shown, files) = usual_picture(seed);
                let owner = user(id);
                let stored = store.replace_picture(&owner, shown, files);
                stored.await.unwrap();
            }
        }
        // What comes now is written behind them, so that the end of the log, which is read when it is opened, is sound.
        for seed in 1_000..1_080 {
            let (shown, files) = usual_picture(seed);
            let owner = user(&ids[0]);
            let stored = store.replace_picture(&owner, shown, files);
            stored.await.unwrap();
        }
        store.close().await.unwrap();
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut server = Setup::new().start_after(|home| runtime.block_on(fill(home.data_dir())));
    server.stop();
    let log = std::fs::read(server.home().data_dir().join("db/db")).unwrap();
    (server, ids, log)
}

/// Damages the log where such bytes are, until a look at it finds what is looked for.
fn damaged_where<T>(
    server: &Server,
    whole: &[u8],
    bytes: &[u8],
    mut look: impl FnMut(&Home, usize) -> Option<T>,
) -> T {
    let places = memchr::memmem::find_iter(whole, bytes).collect::<Vec<_>>();
    // Where the database looks when it opens depends on chance, and so does what is still in use: places are damaged many
    // at a time, then fewer, until it opens and misses somebody.
    let groups = [16, 4, 1].map(|size| places.chunks(size));
    let mut groups = groups.into_iter().flatten().enumerate();
    let found = groups.find_map(|(number, group)| {
        let mut bytes = whole.to_vec();
        for place in group {
            bytes[*place] ^= 1;
        }
        std::fs::write(server.home().data_dir().join("db/db"), bytes).unwrap();
        look(server.home(), number)
    });
    found.expect("there is such a place")
}

#[test]
fn export_goes_on_where_pages_of_the_accounts_cannot_be_read() {
    let (server, users, log) = many(40, false);

    let said = damaged_where(&server, &log, b"\"password_hash\"", |home, number| {
        let said = home.run(&["migrate", "export", &format!("{number}.tar")]);
        said.stderr.contains("whole but for").then_some(said)
    });

    let named = |id: &&String| said.stderr.contains(&format!("{id}: "));
    let findings = users.iter().filter(named).count();
    assert!(findings > 0);
    let exported = format!("exported {} users", users.len() - findings);
    let words = [&exported, &format!("whole but for {findings} findings")];
    assert_failed(&said, &words.map(String::as_str));
    let listed = server.home().run(&["user", "list"]);
    assert_eq!(listed.code, Some(1), "{listed:?}");
    assert_eq!(listed.stdout.lines().count(), users.len() - findings);
}

#[test]
fn check_goes_on_behind_pages_that_cannot_be_read() {
    let (mut server, users, log) = many(40, false);

    let said = damaged_where(&server, &log, b"\"password_hash\"", |home, _| {
        let said = home.run(&["check", "store"]);
        let lines = said.stdout.lines();
        let stretches = lines.filter(|line| line.starts_with("unreadable pages: accounts, "));
        // Behind one, so that there is something that is read before it and after.
        let inner = stretches.filter(|line| line.contains("behind") && line.contains("up to"));
        (inner.count() > 0).then_some(said)
    });

    assert_eq!(said.code, Some(1), "{said:?}");
    let last = said.stdout.lines().last().unwrap();
    assert!(
        last.contains("looked at 40 profiles, 1 pictures"),
        "{said:?}"
    );
    // The users on the page are named, too: they have a profile, whose account cannot be read. Nobody else is.
    let named = users.iter();
    let named = named.filter(|id| said.stdout.contains(&format!("{id:?}: ")));
    let named = named.count();
    assert!((1..40).contains(&named), "{said:?}");
    let status = server.home().run(&["migrate", "status"]);
    assert_eq!(status.code, Some(1), "{status:?}");
    assert!(status.stdout.contains("account: "), "{status:?}");
    assert!(
        status.stdout.contains("profile: 40 of version"),
        "{status:?}"
    );
    // Nothing is taken for garbage by that.
    let collected = server
        .home()
        .run(&["gc-pictures", "--repair", "--older-than", "1"]);
    let collected = collected.expect(0);
    assert!(collected.stdout.contains(" 0 put right"), "{collected:?}");
    server.restart();
    let beside = server.home().run(&["check", "store"]);
    assert_eq!((beside.code, &beside.stdout), (said.code, &said.stdout));
}

#[test]
fn picture_on_pages_that_cannot_be_read_is_taken_away_by_a_repair() {
    let (mut server, users, log) = many(20, true);
    let part = &usual_picture(10).1[0].bytes[20_000..20_024];

    damaged_where(&server, &log, part, |home, _| {
        let said = home.run(&["check", "store"]);
        let is_there = said
            .stdout
            .contains("unreadable pages: parts of pictures, ");
        is_there.then_some(())
    });
    let repaired = server.home().run(&["gc-pictures", "--repair"]).expect(0);

    server.restart();
    let profile = |id: &String| {
        let reply = server.get(&format!("/api/users/{id}/profile/"));
        reply.expect(200).json()
    };
    let profiles: Vec<Value> = users.iter().map(profile).collect();
    let (with, without): (Vec<_>, Vec<_>) = profiles
        .iter()
        .partition(|profile| profile["has_picture"] == true);
    assert!(!with.is_empty() && !without.is_empty(), "{repaired:?}");
    let reset = format!("; {} profiles reset; ", without.len());
    assert!(repaired.stdout.contains(&reset), "{repaired:?}");
    for profile in with {
        let url = server.path(&profile["profile_picture_url"]);
        server.get(&url).expect(200);
    }
    // What cannot be read stays, and what lies beside it, for the database would have to read it to remove that.
    let checked = server.home().run(&["check", "store"]);
    assert_eq!(checked.code, Some(1));
    let lines = checked.stdout.lines();
    let left = ["unreadable pages: ", "orphan part: "];
    let others = lines.filter(|line| !left.iter().any(|left| line.starts_with(left)));
    assert_eq!(others.count(), 1, "{checked:?}");
    let exported = server.home().run(&["migrate", "export", "all.tar"]);
    exported.expect(0);
    // Whoever removes what lies beside it may be told so, and nobody else notices.
    let delete = |id: &String| server.home().run(&["user", "delete", id]);
    let deleted: Vec<Outcome> = users.iter().map(delete).collect();
    let (gone, refused): (Vec<_>, Vec<_>) =
        deleted.iter().partition(|outcome| outcome.code == Some(0));
    assert!(gone.len() > refused.len(), "{refused:?}");
    for outcome in refused {
        assert_failed(outcome, &["cannot be read"]);
    }
    server.get("/readyz").expect(200);
    server.user_with_picture();
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
