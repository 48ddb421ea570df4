//! `pockitd migrate`: the neutral archive, written, read by others, read again, and refused when it is not right.

pub mod compact;
mod damaged;
mod django;
mod hostile;
mod live;
pub mod rerender;
mod taken;
pub mod versions;

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::path::Path;
use std::process::Command;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::fixtures::{read, repository};
use crate::support::process::{Process, assert_failed};
use crate::support::server::Home;
use crate::support::{Request, Server, Setup, fixture};

/// Two users with a picture and one without, in a server that has stopped.
struct Origin {
    server: Server,
    /// By user id: the profile as the API shows it, and both files.
    shown: BTreeMap<String, (Value, Vec<Vec<u8>>)>,
}

impl Origin {
    fn new() -> Self {
        let mut server = Server::start();
        let mut shown = BTreeMap::new();
        for picture in [Some("orientation-6.jpg"), Some("alpha.png"), None] {
            let user = server.user();
            if let Some(picture) = picture {
                server.upload(&user, &fixture(picture)).expect(200);
            }
            shown.insert(user.id.clone(), look(&server, &user.id));
        }
        server.stop();
        Self { server, shown }
    }

    /// Writes the archive and returns where it is.
    fn export(&self) -> String {
        let file = self.server.home().path().join("out.tar");
        let file = file.to_str().unwrap().to_owned();
        let outcome = self.server.home().run(&["migrate", "export", &file]);
        let outcome = outcome.expect(0);
        assert_eq!(outcome.stdout, "");
        assert!(
            outcome.stderr.contains("exported 3 users and 2 pictures"),
            "{}",
            outcome.stderr
        );
        file
    }
}

/// A profile without the address of the server that shows it, and its files.
fn look(server: &Server, id: &str) -> (Value, Vec<Vec<u8>>) {
    let reply = server.get(&format!("/api/users/{id}/profile/")).expect(200);
    let text = reply.text().replace(&server.address().to_string(), "host");
    let profile: Value = serde_json::from_str(&text).unwrap();
    let urls = profile["picture"]["urls"].as_object().cloned();
    let files = urls.unwrap_or_default().into_iter().map(|(_, url)| {
        let path = url.as_str().unwrap().strip_prefix("http://host").unwrap();
        server.get(path).expect(200).body
    });
    let files = files.collect();
    (profile, files)
}

/// The entries of an archive: path and bytes.
fn entries(file: &str) -> Vec<(String, Vec<u8>)> {
    let mut archive = tar::Archive::new(fs::File::open(file).unwrap());
    let entries = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let path = String::from_utf8(entry.path_bytes().into_owned()).unwrap();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        (path, bytes)
    });
    entries.collect()
}

/// A tar file of such entries, with any path at all.
fn archive(home: &Home, entries: &[(String, Vec<u8>)]) -> String {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, bytes) in entries {
        let mut header = tar::Header::new_ustar();
        header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        builder.append(&header, &bytes[..]).unwrap();
    }
    let file = home.path().join("made.tar");
    fs::write(&file, builder.into_inner().unwrap()).unwrap();
    file.to_str().unwrap().to_owned()
}

fn import(home: &Home, arguments: &[&str]) -> Value {
    let arguments = [&["migrate", "import", "--json"], arguments].concat();
    serde_json::from_str(&home.run(&arguments).expect(0).stdout).unwrap()
}

fn home() -> Home {
    Setup::new().home()
}

/// What `import --json` prints.
fn counted(users: u64, pictures: u64, outcomes: [u64; 4]) -> Value {
    let [added, replaced, unchanged, skipped] = outcomes;
    json!({ "users": users, "pictures": pictures, "added": added, "replaced": replaced,
            "unchanged": unchanged, "skipped": skipped, "damaged": 0, "new_picture_ids": 0 })
}

/// The users of a home, as `user list` prints them.
fn listed(home: &Home) -> String {
    home.run(&["user", "list"]).expect(0).stdout
}

#[test]
fn export_is_read_with_nothing_but_tar_and_is_as_its_manual_says() {
    let origin = Origin::new();
    let file = origin.export();
    let out = origin.server.home().path().join("extracted");
    fs::create_dir(&out).unwrap();

    let mut tar = Command::new("tar");
    tar.args(["-xf", &file, "-C"]).arg(&out);
    assert!(tar.status().unwrap().success());

    let json_of = |name: &str| -> Value { serde_json::from_slice(&read(&out.join(name))).unwrap() };
    let head = json_of("pockitd-archive.json");
    assert_eq!(
        (&head["format"], &head["version"]),
        (&json!("pockitd-archive"), &json!(1))
    );
    let lines = String::from_utf8(read(&out.join("users/00000001.jsonl"))).unwrap();
    let mut keys = keys_of(&head);
    let mut last = String::new();
    for line in lines.lines() {
        let user: Value = serde_json::from_str(line).unwrap();
        keys.extend(keys_of(&user));
        let id = user["user_id"].as_str().unwrap();
        assert!(*id > *last, "in order");
        id.clone_into(&mut last);
        let (profile, files) = &origin.shown[id];
        assert_eq!(user["profile"]["name"], profile["name"]);
        assert_eq!(user["profile"]["updated_at"], profile["updated_at"]);
        let picture = &user["profile"]["picture"];
        assert_eq!(picture["id"], profile["picture"]["id"]);
        for (entry, bytes) in picture["files"].as_array().into_iter().flatten().zip(files) {
            let path = out.join(entry["path"].as_str().unwrap());
            assert_eq!(read(&path), *bytes);
            assert_eq!(entry["bytes"], json!(bytes.len()));
            assert_eq!(entry["sha256"], json!(sha256_of(&path)));
        }
    }
    let manifest = json_of("manifest.json");
    keys.extend(keys_of(&manifest));
    assert_eq!(manifest["users"], json!(3));
    assert_eq!(manifest["picture_files"], json!(4));
    let sum = sha256_of(&out.join("users/00000001.jsonl"));
    assert_eq!(manifest["users_sha256"], json!(sum));
    let manual = read(&repository().join("man/pockitd-archive.5"));
    let manual = String::from_utf8(manual).unwrap().replace('\\', "");
    for key in keys {
        assert!(manual.contains(&key), "the manual does not name {key}");
    }
}

/// All keys of an object and of what is in it.
fn keys_of(value: &Value) -> Vec<String> {
    match value {
        Value::Object(map) => map
            .iter()
            .flat_map(|(key, value)| [vec![key.clone()], keys_of(value)].concat())
            .collect(),
        Value::Array(values) => values.iter().flat_map(keys_of).collect(),
        _ => Vec::new(),
    }
}

fn sha256_of(file: &Path) -> String {
    let ran = Command::new("sha256sum").arg(file).output().unwrap();
    let text = String::from_utf8(ran.stdout).unwrap();
    text.split_whitespace().next().unwrap().to_owned()
}

#[test]
fn imported_users_log_in_and_are_shown_as_before() {
    let origin = Origin::new();
    let file = origin.export();

    let server = Setup::new().start_after(|home| {
        assert_eq!(import(home, &[&file]), counted(3, 2, [3, 0, 0, 0]));
        // As after an interruption.
        assert_eq!(import(home, &[&file]), counted(3, 2, [0, 0, 3, 0]));
    });

    for (id, shown) in &origin.shown {
        assert_eq!(look(&server, id), *shown);
    }
    let list = fs::read_to_string(&file).unwrap_or_default();
    assert!(list.is_empty(), "a tar file with pictures is not UTF-8");
    let lines = entries(&file).swap_remove(1).1;
    let line = lines.split(|byte| *byte == b'\n').next().unwrap();
    let user: Value = serde_json::from_slice(line).unwrap();
    let body = json!({ "email": user["email"], "password": "correct horse battery" });
    let login = Request::post("/api/auth/login/").json(&body);
    let answer = server.send(&login).expect(200).json();
    assert_eq!(answer["user_id"], user["user_id"]);
}

#[test]
fn archive_goes_through_pipes_and_comes_out_the_same() {
    let origin = Origin::new();
    let file = origin.export();
    let piped = origin
        .server
        .home()
        .command(&["migrate", "export", "-"])
        .output();
    let piped = piped.unwrap();
    assert!(piped.status.success(), "{piped:?}");

    let other = home();
    let imported = other.run_with(&["migrate", "import", "-"], &piped.stdout);

    let line = "3 users in the archive: 3 added, 0 replaced, 0 unchanged, 0 skipped\n";
    assert_eq!(imported.expect(0).stdout, line);
    let again = other.path().join("again.tar");
    let again = again.to_str().unwrap();
    other.run(&["migrate", "export", again]).expect(0);
    assert_eq!(entries(&file)[1..], entries(again)[1..]);
    assert!(!other.path().join("again.tar.partial").exists());
    let left: Vec<_> = fs::read_dir(other.data_dir())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .filter(|name| name == "unnamed")
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn user_who_differs_is_a_conflict_that_the_operator_decides() {
    let origin = Origin::new();
    let file = origin.export();
    let home = home();
    import(&home, &[&file]);
    let mut changed = entries(&file);
    let lines = String::from_utf8(changed[1].1.clone()).unwrap();
    let first: Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
    let id = first["user_id"].as_str().unwrap();
    let name = first["profile"]["name"].as_str().unwrap();
    changed[1].1 = lines
        .replacen(&format!("{name:?}"), "\"Somebody else\"", 1)
        .into_bytes();
    hostile::seal(&mut changed);
    let file = archive(&home, &changed);

    let outcome = home.run(&["migrate", "import", &file]);
    assert_failed(
        &outcome,
        &[id, "the profiles differ", "nothing was written"],
    );
    let skip = &[&file, "--on-conflict", "skip"];
    assert_eq!(import(&home, skip), counted(3, 2, [0, 0, 2, 1]));
    let replace = &[&file, "--on-conflict", "replace"];
    assert_eq!(import(&home, replace), counted(3, 2, [0, 1, 2, 0]));
    assert_eq!(import(&home, replace), counted(3, 2, [0, 0, 3, 0]));
}

#[test]
fn address_of_another_user_is_never_taken_over() {
    let origin = Origin::new();
    let file = origin.export();
    let home = home();
    let lines = entries(&file).swap_remove(1).1;
    let line = lines.split(|byte| *byte == b'\n').next().unwrap();
    let user: Value = serde_json::from_slice(line).unwrap();
    let email = user["email"].as_str().unwrap();
    let holder = home.run(&["user", "add", email]).expect(0).stdout;
    let before = listed(&home);

    for policy in ["fail", "replace"] {
        let outcome = home.run(&["migrate", "import", &file, "--on-conflict", policy]);
        assert_failed(&outcome, &[email, holder.trim(), "nothing was written"]);
        assert_eq!(listed(&home), before);
    }
    let skip = &[&file, "--on-conflict", "skip"];
    assert_eq!(import(&home, skip)["skipped"], json!(1));
    assert!(listed(&home).contains(holder.trim()));
}

#[test]
fn killed_import_leaves_whole_users_and_goes_on() {
    let origin = Origin::new();
    let many = hostile::multiplied(&entries(&origin.export()), 150);
    let home = home();
    let file = archive(&home, &many);
    for _ in 0..3 {
        let mut command = home.command(&["migrate", "import", &file]);
        let mut process = Process::start(&mut command, b"");
        while !process.log().contains("the archive is verified") {
            assert!(process.wait(std::time::Duration::from_millis(1)).is_none());
        }
        process.signal(Signal::KILL);
        process.wait(crate::support::DEADLINE).unwrap();
        // A user without the picture, or the other way round, would not be exported.
        let out = home.path().join("out.tar");
        home.run(&["migrate", "export", out.to_str().unwrap()])
            .expect(0);
    }

    let imported = import(&home, &[&file]);

    let count = |key: &str| imported[key].as_u64().unwrap();
    assert_eq!(count("added") + count("unchanged"), 150);
    assert_eq!(import(&home, &[&file]), counted(150, 150, [0, 0, 150, 0]));
}

#[test]
fn hash_of_django_is_good_for_one_log_in_and_then_replaced() {
    let origin = Origin::new();
    let mut moved = entries(&origin.export());
    let lines = String::from_utf8(moved[1].1.clone()).unwrap();
    let first = lines.lines().next().unwrap();
    let mut user: Value = serde_json::from_str(first).unwrap();
    // django.contrib.auth.hashers.PBKDF2PasswordHasher().encode("correct horse", "seasalt", 1000)
    let hash = "pbkdf2_sha256$1000$seasalt$mQnueSakb748zqBAC1tmWVZsZbi2zPGZarEzTGdfmso=";
    user["password_hash"] = json!(hash);
    moved[1].1 = lines.replacen(first, &user.to_string(), 1).into_bytes();
    hostile::seal(&mut moved);
    let mut server = Setup::new().start_after(|home| {
        let file = archive(home, &moved);
        import(home, &[&file]);
    });
    let log_in = |server: &Server, password: &str| {
        let body = json!({ "email": user["email"], "password": password });
        server.send(&Request::post("/api/auth/login/").json(&body))
    };
    let kept = |server: &mut Server| {
        server.stop();
        let piped = server.home().path().join("kept.tar");
        let piped = piped.to_str().unwrap();
        server.home().run(&["migrate", "export", piped]).expect(0);
        server.restart();
        let lines = String::from_utf8(entries(piped).swap_remove(1).1).unwrap();
        let first: Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
        first["password_hash"].as_str().unwrap().to_owned()
    };

    log_in(&server, "wrong horse").expect(401);
    assert_eq!(kept(&mut server), hash);
    log_in(&server, "correct horse").expect(200);

    let renewed = kept(&mut server);
    assert!(renewed.starts_with("$argon2id$"), "{renewed}");
    log_in(&server, "correct horse").expect(200);
    log_in(&server, "wrong horse").expect(401);
}
