//! Archives with what is somebody else's in the store: nobody loses anything by them.

use serde_json::{Value, json};

use super::hostile::{multiplied, seal};
use super::{Origin, archive, entries, home, import};
use crate::support::process::{Outcome, assert_failed};
use crate::support::raw::Raw;
use crate::support::server::Home;

type Entries = Vec<(String, Vec<u8>)>;

/// An archive of so many users, with other texts in its lines.
fn archive_of(origin: &[(String, Vec<u8>)], users: usize, texts: &[(&str, &str)]) -> Entries {
    let mut entries = multiplied(origin, users);
    let mut lines = String::from_utf8(entries[1].1.clone()).unwrap();
    for (from, to) in texts {
        assert!(lines.contains(from), "{from} is not in {lines}");
        lines = lines.replace(from, to);
    }
    entries[1].1 = lines.into_bytes();
    seal(&mut entries);
    entries
}

/// The lines of all users by their ids.
fn lines(home: &Home) -> Vec<Value> {
    home.run(&["migrate", "export", "all.tar"]).expect(0);
    let all = entries(home.path().join("all.tar").to_str().unwrap());
    let lines = String::from_utf8(all[1].1.clone()).unwrap();
    let lines = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap());
    lines.collect()
}

fn import_with(home: &Home, file: &str, on_conflict: &str) -> Outcome {
    home.run(&["migrate", "import", file, "--on-conflict", on_conflict])
}

const ANOTHER: [(&str, &str); 2] = [
    ("user-000000", "another"),
    ("many0@example.org", "another@example.org"),
];

#[test]
fn picture_that_another_user_has_is_refused_passed_over_or_gets_a_new_id() {
    let origin = entries(&Origin::new().export());
    let home = home();
    import(&home, &[&archive(&home, &multiplied(&origin, 1))]);
    let first = lines(&home).remove(0);
    let file = archive(&home, &archive_of(&origin, 2, &ANOTHER));

    let failed = import_with(&home, &file, "fail");
    let words = [
        "another",
        "another user has the picture",
        "nothing was written",
    ];
    assert_failed(&failed, &words);
    assert_eq!(lines(&home), std::slice::from_ref(&first));

    let skipped = import_with(&home, &file, "skip").expect(0);
    assert!(
        skipped
            .stdout
            .contains("1 added, 0 replaced, 0 unchanged, 1 skipped"),
        "{skipped:?}"
    );

    let replaced = import_with(&home, &file, "replace").expect(0);
    assert!(
        replaced
            .stdout
            .contains("1 added, 0 replaced, 1 unchanged, 0 skipped; 1 pictures have new ids"),
        "{replaced:?}"
    );
    let all = lines(&home);
    assert_eq!(all[1], first, "whose it is has it as before");
    let new_id = all[0]["profile"]["picture"]["id"].as_str().unwrap();
    assert_ne!(first["profile"]["picture"]["id"], new_id);
    assert!(
        replaced
            .stderr
            .contains(&format!("another: the picture has the new id {new_id}"))
    );

    let again = import(&home, &[&file, "--on-conflict", "replace"]);
    assert_eq!(
        (&again["unchanged"], &again["new_picture_ids"]),
        (&json!(2), &json!(0))
    );
    assert_eq!(lines(&home), all, "run again, it changes nothing");
    home.run(&["check", "store"]).expect(0);
}

/// Replaces the second of two users by an archive in which they have the picture of the first.
fn assert_replaced_without_the_picture_of_another(harm: impl FnOnce(&Raw)) {
    let origin = entries(&Origin::new().export());
    let home = home();
    import(&home, &[&archive(&home, &multiplied(&origin, 2))]);
    let first = lines(&home).remove(0);
    harm(&Raw::open(&home.data_dir()));
    let texts = [
        ("user-000000", "user-000001"),
        ("many0@example.org", "many1@example.org"),
    ];
    let file = archive(&home, &archive_of(&origin, 1, &texts));

    let replaced = import(&home, &[&file, "--on-conflict", "replace"]);

    assert_eq!(
        (&replaced["replaced"], &replaced["new_picture_ids"]),
        (&json!(1), &json!(1))
    );
    let all = lines(&home);
    assert_eq!(all.len(), 2);
    assert_eq!(all[0], first, "whose it is has it as before");
    assert!(all[1]["profile"]["picture"].is_object());
}

#[test]
fn user_who_cannot_be_read_is_replaced_without_the_picture_of_another() {
    assert_replaced_without_the_picture_of_another(|raw| {
        raw.damage_record("profiles", "user-000001");
    });
}

#[test]
fn user_whose_profile_shows_the_picture_of_another_is_replaced_without_it() {
    assert_replaced_without_the_picture_of_another(|raw| {
        raw.copy_record("profiles", "user-000000", "user-000001");
    });
}

#[test]
fn second_user_with_an_address_is_left_out_and_named() {
    let origin = entries(&Origin::new().export());
    let home = home();
    let twice = [("many1@example.org", "many0@example.org")];
    let file = archive(&home, &archive_of(&origin, 3, &twice));

    let replaced = import_with(&home, &file, "replace");

    assert_eq!(replaced.code, Some(1), "{replaced:?}");
    assert!(
        replaced
            .stdout
            .contains("2 added, 0 replaced, 0 unchanged, 1 skipped"),
        "{replaced:?}"
    );
    assert!(
        replaced
            .stderr
            .contains("another user has the email address"),
        "{replaced:?}"
    );
    assert!(
        replaced
            .stderr
            .contains("1 users of the archive were left out"),
        "{replaced:?}"
    );
    home.run(&["check", "store"]).expect(0);
}
