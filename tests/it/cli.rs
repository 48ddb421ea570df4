//! The command line: exit codes, what goes where, accounts and tokens.

use std::net::TcpListener;

use serde_json::{Value, json};

use crate::support::process::{Outcome, assert_failed, pockitd, run};
use crate::support::server::Home;
use crate::support::token::{claims, now};
use crate::support::{PROFILE, Request, Server, Setup};

/// Runs the program in an empty directory.
fn bare(arguments: &[&str]) -> Outcome {
    let directory = tempfile::tempdir().unwrap();
    run(pockitd(directory.path()).args(arguments))
}

fn home() -> Home {
    Setup::new().home()
}

#[test]
fn help_goes_to_stdout_and_names_every_command() {
    for arguments in [&["--help"][..], &["help"], &["-h"]] {
        let outcome = bare(arguments).expect(0);

        for word in ["serve", "user", "token", "--config", "--data-dir", "--set"] {
            assert!(outcome.stdout.contains(word), "{word}: {}", outcome.stdout);
        }
        assert_eq!(outcome.stderr, "");
        assert!(
            !outcome.stdout.contains("decode-worker"),
            "{}",
            outcome.stdout
        );
    }
    for command in ["serve", "user", "token"] {
        let outcome = bare(&[command, "--help"]).expect(0);
        assert!(outcome.stdout.contains("Usage:"), "{}", outcome.stdout);
    }
}

#[test]
fn version_goes_to_stdout() {
    let outcome = bare(&["--version"]).expect(0);

    assert_eq!(
        outcome.stdout,
        concat!("pockitd ", env!("CARGO_PKG_VERSION"), "\n")
    );
    assert_eq!(outcome.stderr, "");
}

#[test]
fn wrong_usage_is_2_and_explained_on_stderr() {
    for arguments in [
        &[][..],
        &["--nothing"],
        &["nothing"],
        &["serve", "--nothing"],
        &["serve", "extra"],
        &["user"],
        &["user", "add"],
        &["user", "add", "not an address"],
        &["user", "delete"],
        &["user", "nothing"],
        &["token"],
        &["token", "ada@example.org", "--ttl", "soon"],
        &["token", "ada@example.org", "--ttl", "0"],
        &["token", "ada@example.org", "--ttl", "-5"],
        &["--set", "no-equals-sign", "serve"],
        &["--log", "http=loud", "serve"],
        &["user", "list", "--log", "=info"],
    ] {
        let outcome = bare(arguments);

        assert_eq!(outcome.code, Some(2), "{arguments:?}: {outcome:?}");
        assert_eq!(outcome.stdout, "", "{arguments:?}");
        assert!(
            outcome.stderr.contains("Usage:") || outcome.stderr.contains("--help"),
            "{outcome:?}"
        );
    }
}

#[test]
fn user_add_prints_the_id_and_nothing_else() {
    let home = home();

    let outcome = home.run(&["user", "add", "ada@example.org"]).expect(0);

    let id = outcome.stdout.trim_end();
    assert_eq!(outcome.stdout, format!("{id}\n"));
    assert!(
        id.len() == 36 && id.as_bytes()[14] == b'4',
        "a UUID of version 4: {id}"
    );
}

#[test]
fn user_add_and_list_speak_json() {
    let home = home();

    let added = home
        .run(&["user", "add", "ada@example.org", "--name", "Ada", "--json"])
        .expect(0);
    home.run(&["user", "add", "bob@example.org"]).expect(0);
    let listed = home.run(&["user", "list", "--json"]).expect(0);

    let added: Value = serde_json::from_str(&added.stdout).unwrap();
    assert_eq!(added["email"], json!("ada@example.org"));
    let rows: Vec<Value> = listed
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(rows.len(), 2, "{rows:?}");
    let ada = rows
        .iter()
        .find(|row| row["user_id"] == added["user_id"])
        .unwrap();
    assert_eq!(ada["email"], json!("ada@example.org"));
    assert!(rows.iter().all(|row| row.get("password_hash").is_none()));
}

#[test]
fn user_list_shows_ids_and_addresses() {
    let home = home();
    assert_eq!(home.run(&["user", "list"]).expect(0).stdout, "");
    let id = home
        .run(&["user", "add", "ada@example.org"])
        .expect(0)
        .stdout;

    let listed = home.run(&["user", "list"]).expect(0).stdout;

    assert_eq!(listed.lines().count(), 1, "{listed}");
    assert!(
        listed.contains(id.trim()) && listed.contains("ada@example.org"),
        "{listed}"
    );
}

#[test]
fn user_add_refuses_what_is_taken_or_not_acceptable() {
    let home = home();
    home.run(&["user", "add", "ada@example.org"]).expect(0);

    let taken = home.run(&["user", "add", "ADA@example.org"]);
    assert_failed(&taken, &["taken"]);
    let weak = home.run_with(
        &["user", "add", "bob@example.org", "--password-stdin"],
        b"short\n",
    );
    assert_failed(&weak, &["8"]);
    let empty = home.run_with(&["user", "add", "bob@example.org", "--password-stdin"], b"");
    assert_failed(&empty, &[]);
    let name = home.run(&["user", "add", "bob@example.org", "--name", "<b>"]);
    assert!(matches!(name.code, Some(1 | 2)), "{name:?}");
    assert_eq!(
        home.run(&["user", "list"]).expect(0).stdout.lines().count(),
        1
    );
}

#[test]
fn user_added_with_a_password_logs_in() {
    let server = Setup::new().start_after(|home| {
        let arguments = [
            "user",
            "add",
            "ada@example.org",
            "--name",
            "Ada",
            "--password-stdin",
        ];
        home.run_with(&arguments, "pässwört\n".as_bytes()).expect(0);
    });

    let body = json!({ "email": "ada@example.org", "password": "pässwört" });
    let reply = server
        .send(&Request::post("/api/auth/login/").json(&body))
        .expect(200);
    let access = reply.json()["access"].as_str().unwrap().to_owned();
    let profile = server
        .send(&Request::get(PROFILE).bearer(&access))
        .expect(200)
        .json();
    assert_eq!(profile["name"], json!("Ada"));
}

#[test]
fn user_delete_takes_an_id_or_an_address() {
    let home = home();
    let id = home
        .run(&["user", "add", "ada@example.org"])
        .expect(0)
        .stdout;
    home.run(&["user", "add", "bob@example.org"]).expect(0);

    home.run(&["user", "delete", id.trim()]).expect(0);
    home.run(&["user", "delete", "BOB@example.org"]).expect(0);

    assert_eq!(home.run(&["user", "list"]).expect(0).stdout, "");
    assert_failed(
        &home.run(&["user", "delete", "ada@example.org"]),
        &["ada@example.org"],
    );
    home.run(&["user", "add", "ada@example.org"]).expect(0);
}

#[test]
fn token_is_for_an_id_or_an_address_and_as_long_as_asked() {
    let home = home();
    let id = home
        .run(&["user", "add", "ada@example.org"])
        .expect(0)
        .stdout;
    let id = id.trim();
    for (arguments, life) in [
        (&["token", id][..], 300),
        (&["token", "ada@example.org", "--ttl", "90"], 90),
        (&["token", "Ada@Example.org", "--ttl", "12h"], 43_200),
        (&["token", id, "--ttl", "30d"], 2_592_000),
    ] {
        let outcome = home.run(arguments).expect(0);

        assert_eq!(outcome.stdout.lines().count(), 1, "{}", outcome.stdout);
        let found = claims(outcome.stdout.trim());
        assert_eq!(found["user_id"], json!(id));
        assert_eq!(found["token_type"], json!("access"));
        let left = found["exp"].as_i64().unwrap() - now();
        assert!((life - 60..=life).contains(&left), "{arguments:?}: {left}");
    }
    assert_failed(
        &home.run(&["token", "nobody@example.org"]),
        &["nobody@example.org"],
    );
}

#[test]
fn token_of_the_command_line_works_with_the_key_that_was_made() {
    let mut token = String::new();
    let server = Setup::bare().start_after(|home| {
        home.run(&["user", "add", "ada@example.org"]).expect(0);
        token = home.run(&["token", "ada@example.org"]).expect(0).stdout;
    });

    server
        .send(&Request::get(PROFILE).bearer(token.trim()))
        .expect(200);
}

#[test]
fn data_directory_of_a_killed_server_is_free() {
    let mut server = Server::start();
    let user = server.user();
    server.kill();

    let listed = server.home().run(&["user", "list"]).expect(0);

    assert!(listed.stdout.contains(&user.id), "{}", listed.stdout);
}

#[test]
fn address_that_is_in_use_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();

    let outcome = home().run(&["serve", "--listen", &address]);

    assert_failed(&outcome, &[&address]);
}

#[test]
fn serve_prints_one_line_and_logs_to_stderr() {
    let home = home();
    let mut command = home.command(&["serve"]);
    let mut process = crate::support::process::Process::start(&mut command, b"");
    let line = process.line().unwrap();
    assert!(line.starts_with("listening on http://127.0.0.1:"), "{line}");
    let address = line
        .strip_prefix("listening on http://")
        .unwrap()
        .parse()
        .unwrap();
    Request::get("/nothing").send(address).expect(404);

    process.signal(rustix::process::Signal::TERM);

    assert_eq!(process.line(), None, "one line and no more");
    process.drained();
    assert!(!process.log().contains("panicked"), "{}", process.log());
}
