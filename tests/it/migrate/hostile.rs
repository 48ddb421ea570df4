//! Archives that somebody has meddled with: refused in one sentence, before anything is written.

use std::fs;

use serde_json::{Value, json};

use super::rerender::rerender;
use super::{Origin, archive, entries, home, import, listed};
use crate::support::process::assert_failed;
use crate::support::{Server, Setup, fixture};

type Entries = Vec<(String, Vec<u8>)>;
type Meddle<'m> = Box<dyn Fn(&mut Entries) + 'm>;

/// Makes lines and manifest agree with the files, as a careful forger would.
pub fn seal(entries: &mut Entries) {
    let files: Entries = entries.clone();
    let lines = String::from_utf8(entries[1].1.clone()).unwrap();
    let mut users = Vec::new();
    let (mut pictures, mut count, mut length) = (0, 0, 0);
    let (mut originals, mut original_bytes) = (0, 0);
    for line in lines.lines() {
        let mut user: Value = serde_json::from_str(line).unwrap();
        let named = user.pointer_mut("/profile/picture/files");
        if let Some(named) = named.and_then(Value::as_array_mut) {
            pictures += 1;
            for file in named {
                let path = file["path"].as_str().unwrap();
                if let Some((_, bytes)) = files.iter().find(|(found, _)| found == path) {
                    count += 1;
                    length += bytes.len();
                    file["bytes"] = json!(bytes.len());
                    file["sha256"] = json!(sha256(bytes));
                }
            }
        }
        if let Some(kept) = user.pointer_mut("/profile/picture/original") {
            let path = kept["path"].as_str().unwrap();
            let (_, bytes) = files.iter().find(|(found, _)| found == path).unwrap();
            originals += 1;
            original_bytes += bytes.len();
            kept["bytes"] = json!(bytes.len());
            kept["sha256"] = json!(sha256(bytes));
        }
        users.push(user.to_string() + "\n");
    }
    entries[1].1 = users.concat().into_bytes();
    let mut manifest = json!({ "format": "pockitd-archive", "version": 1, "users": users.len(), "pictures": pictures,
        "picture_files": count, "picture_bytes": length, "users_sha256": sha256(&entries[1].1) });
    if originals > 0 {
        manifest["originals"] = json!(originals);
        manifest["original_bytes"] = json!(original_bytes);
    }
    if let Some((_, last)) = entries.iter_mut().find(|(path, _)| path == "manifest.json") {
        *last = manifest.to_string().into_bytes();
    }
}

fn sha256(bytes: &[u8]) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    digest
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// As many users with the picture of the first who has one.
pub fn multiplied(origin: &[(String, Vec<u8>)], count: usize) -> Entries {
    let lines = String::from_utf8(origin[1].1.clone()).unwrap();
    let users: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let has_picture = |user: &&Value| user["profile"]["picture"].is_object();
    let model = users.iter().find(has_picture).unwrap().to_string();
    let user: Value = serde_json::from_str(&model).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let id = text(&user["profile"]["picture"]["id"]);
    let (user_id, email) = (text(&user["user_id"]), text(&user["email"]));
    let mut lines = String::new();
    let mut files = Vec::new();
    for number in 0..count {
        let other = format!("{number:032x}");
        let line = model
            .replace(&id, &other)
            .replace(&user_id, &format!("user-{number:06}"))
            .replace(&email, &format!("many{number}@example.org"));
        lines += &(line + "\n");
        let own = origin.iter().filter(|(path, _)| path.contains(&id));
        files.extend(own.map(|(path, bytes)| (path.replace(&id, &other), bytes.clone())));
    }
    let mut entries = vec![origin[0].clone(), (origin[1].0.clone(), lines.into_bytes())];
    entries.extend(files);
    entries.push(("manifest.json".to_owned(), Vec::new()));
    seal(&mut entries);
    entries
}

/// Replaces a text in the lines.
fn in_lines(entries: &mut Entries, from: &str, to: &str) {
    let lines = String::from_utf8(entries[1].1.clone()).unwrap();
    assert!(lines.contains(from), "{from} is not in {lines}");
    entries[1].1 = lines.replacen(from, to, 1).into_bytes();
}

#[test]
fn meddled_archive_is_refused_and_nothing_is_written() {
    let origin = Origin::new();
    let good = entries(&origin.export());
    let lines = String::from_utf8(good[1].1.clone()).unwrap();
    let picture = good
        .iter()
        .position(|(path, _)| path.ends_with("512.jpg"))
        .unwrap();
    let path = good[picture].0.clone();
    let first_hash = lines
        .split('"')
        .find(|text| text.starts_with("$argon2id$"))
        .unwrap();
    let dear = first_hash.replace("m=8", "m=4000000");
    // What is done, whether the forger makes the checksums right, and a word of the refusal.
    let cases: Vec<(Meddle<'_>, bool, &str)> = vec![
        (
            Box::new(|all| all[picture].0 = "../../../etc/passwd".to_owned()),
            false,
            "passwd",
        ),
        (
            Box::new(|all| all[picture].0 = "/etc/passwd".to_owned()),
            false,
            "passwd",
        ),
        (Box::new(|all| in_lines(all, &path, "../x")), false, "../x"),
        (Box::new(|all| all[picture].1[300] ^= 1), false, "SHA-256"),
        (Box::new(|all| all[picture].1.truncate(400)), false, "bytes"),
        (
            Box::new(|all| all[picture].1 = fixture("metadata.jpg")),
            true,
            "not a JPEG without metadata",
        ),
        (
            Box::new(|all| all[picture].1 = fixture("rgb.png")),
            true,
            "not a JPEG without metadata",
        ),
        (
            Box::new(|all| all[picture].1.extend(b"<html>")),
            true,
            "not a JPEG without metadata",
        ),
        (
            Box::new(|all| all[picture].1 = all[picture + 1].1.clone()),
            true,
            "pixels",
        ),
        (
            Box::new(|all| drop(all.remove(picture))),
            false,
            "want pictures/",
        ),
        (Box::new(|all| drop(all.pop())), false, "it ends where"),
        (
            Box::new(|all| all.truncate(picture)),
            false,
            "it ends where",
        ),
        (
            Box::new(|all| all.push(("more".to_owned(), vec![]))),
            false,
            "behind it",
        ),
        (
            Box::new(|all| all.swap(picture, picture + 1)),
            false,
            "want pictures/",
        ),
        (
            Box::new(|all| drop(all.remove(0))),
            false,
            "want pockitd-archive.json",
        ),
        (
            Box::new(|all| in_lines(all, "@example.org", "@example.net")),
            false,
            "manifest.json",
        ),
        (
            Box::new(|all| in_lines(all, "\"name\":", "\"nom\":")),
            false,
            "line 1",
        ),
        (
            Box::new(|all| in_lines(all, "@example.org", "")),
            false,
            "line 1",
        ),
        (
            Box::new(|all| in_lines(all, first_hash, &dear)),
            true,
            "the limit is",
        ),
        (
            Box::new(|all| in_lines(all, first_hash, "secret")),
            true,
            "no known kind",
        ),
        (
            Box::new(|all| all[1].1 = [&all[1].1[..], &all[1].1[..]].concat()),
            false,
            "order",
        ),
        (
            Box::new(|all| all[1].1 = vec![b'\n'; 5_000_000]),
            false,
            "the limit is",
        ),
        (
            Box::new(|all| in_lines(all, "\"width\":512", "\"width\":511")),
            true,
            "pixels",
        ),
        (
            Box::new(|all| in_lines(all, "\"recipe\":\"", "\"recipe\":\"+")),
            true,
            "16 lower-case hexadecimal digits",
        ),
    ];
    let home = home();
    for (number, (meddle, careful, word)) in cases.into_iter().enumerate() {
        let mut bad = good.clone();
        meddle(&mut bad);
        if careful {
            seal(&mut bad);
        }
        let file = archive(&home, &bad);

        let outcome = home.run(&["migrate", "import", &file, "--on-conflict", "replace"]);

        println!("{number}: {}", outcome.stderr.trim_end());
        assert_failed(&outcome, &["pockitd: the archive is refused", word]);
        assert_eq!(outcome.stderr.trim_end().lines().count(), 1);
    }
    assert_eq!(listed(&home), "");
}

#[test]
fn archive_without_recipes_is_read_and_its_pictures_are_of_unknown_settings() {
    let origin = Origin::new();
    let mut older = entries(&origin.export());
    let lines = String::from_utf8(older[1].1.clone()).unwrap();
    let lines = lines.lines().map(|line| {
        let mut user: Value = serde_json::from_str(line).unwrap();
        if let Some(picture) = user.pointer_mut("/profile/picture") {
            let known = picture.as_object_mut().map(|it| it.remove("recipe"));
            assert!(known.is_none_or(|known| known.is_some()));
        }
        user.to_string() + "\n"
    });
    older[1].1 = lines.collect::<String>().into_bytes();
    seal(&mut older);
    let home = home();

    import(&home, &[&archive(&home, &older)]);

    let dry = rerender(&home, &["--dry-run"]);
    assert_eq!(
        (&dry["from_rendition"], &dry["unchanged"]),
        (&json!(2), &json!(0))
    );
}

#[test]
fn upload_that_was_kept_is_refused_if_it_is_none_that_is_taken() {
    let mut server = Server::with(&[("picture.keep_original", "true")]);
    let user = server.user();
    let upload = fixture("rgb.png");
    server.upload(&user, &upload).expect(200);
    server.stop();
    let home = server.home();
    home.run(&["migrate", "export", "kept.tar"]).expect(0);
    let good = entries(home.path().join("kept.tar").to_str().unwrap());
    let kept = |all: &Entries| {
        all.iter()
            .position(|(path, _)| path.starts_with("originals/"))
    };
    let kept = kept(&good).unwrap();
    let video = b"\0\0\0\x18ftypisom\0\0\0\0mp41avc1".to_vec();
    let less = (upload.len() - 1).to_string();
    let limit = format!("http.upload_bytes_max={less}");
    // What it is, what is set, and words of the refusal.
    let cases: [(Vec<u8>, &str, &[&str]); 5] = [
        (b"#!/bin/sh\n".to_vec(), "", &["not an image"]),
        (Vec::new(), "", &["the file is empty"]),
        (b"GIF89a\x01\0".to_vec(), "", &["GIF is not accepted"]),
        (video, "", &["the upload that was kept"]),
        (
            upload.clone(),
            &limit,
            &[&limit.replace('=', " is "), "bytes"],
        ),
    ];
    let other = Setup::new().home();
    for (bytes, set, words) in cases {
        let mut bad = good.clone();
        bad[kept].1 = bytes;
        seal(&mut bad);
        let file = archive(&other, &bad);
        let set = if set.is_empty() {
            vec![]
        } else {
            vec!["--set", set]
        };

        let outcome = other.run(&[&["migrate", "import", &file], &set[..]].concat());

        assert_failed(
            &outcome,
            &[&["pockitd: the archive is refused"], words].concat(),
        );
        assert_eq!(listed(&other), "");
    }
    assert_eq!(
        import(&other, &[&archive(&other, &good)])["added"],
        json!(1)
    );
}

#[test]
fn newer_archive_is_refused_by_its_version() {
    let origin = Origin::new();
    let mut newer = entries(&origin.export());
    let head = String::from_utf8(newer[0].1.clone()).unwrap();
    newer[0].1 = head.replace("\"version\":1", "\"version\":2").into_bytes();
    let home = home();
    let file = archive(&home, &newer);

    let outcome = home.run(&["migrate", "import", &file]);

    assert_failed(&outcome, &["format version 2", "up to 1"]);
}

#[test]
fn file_that_is_no_tar_is_refused_wherever_it_breaks_off() {
    let origin = Origin::new();
    let whole = fs::read(origin.export()).unwrap();
    let home = home();
    let file = home.path().join("cut.tar");
    let used = whole.len() - 1_024;
    for end in [0, 1, 511, 513, 1_500, used / 2, used - 513] {
        fs::write(&file, &whole[..end]).unwrap();
        let outcome = home.run(&["migrate", "import", file.to_str().unwrap()]);
        assert_failed(&outcome, &["the archive is refused"]);
    }
    fs::write(&file, fixture("grey.jpg")).unwrap();
    let outcome = home.run(&["migrate", "import", file.to_str().unwrap()]);
    assert_failed(&outcome, &["the archive is refused"]);
    assert_eq!(listed(&home), "");
}
