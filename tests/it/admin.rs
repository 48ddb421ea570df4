//! Commands beside a running server: the same output, the same exit codes, by whichever way they go.

use std::io::{Read, Write};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::thread;

use serde_json::json;

use crate::support::process::{Outcome, assert_failed};
use crate::support::token::claims;
use crate::support::{PROFILE, Request, Server, Setup, User, fixture};

/// Ids and times differ from run to run.
fn shape(text: &str) -> String {
    let shape = |c: char| if c.is_ascii_hexdigit() { '0' } else { c };
    text.chars().map(shape).collect()
}

#[test]
fn commands_say_the_same_beside_a_server_and_without_one() {
    let alone = Setup::new().home();
    let server = Server::start();
    let steps: &[(&[&str], &[u8], i32)] = &[
        (&["user", "list"], b"", 0),
        (&["user", "add", "ada@example.org"], b"", 0),
        (&["user", "add", "ADA@example.org"], b"", 1),
        (
            &["user", "add", "bob@example.org", "--name", "Bob", "--json"],
            b"",
            0,
        ),
        (
            &["user", "add", "eve@example.org", "--password-stdin"],
            b"short\n",
            1,
        ),
        (
            &["user", "add", "eve@example.org", "--password-stdin"],
            b"long enough\n",
            0,
        ),
        (&["user", "list", "--json"], b"", 0),
        (&["token", "nobody@example.org"], b"", 1),
        (&["token", "no such id"], b"", 1),
        (&["user", "delete", "nobody@example.org"], b"", 1),
        (&["user", "delete", "EVE@example.org"], b"", 0),
        (&["user", "add", "bad address"], b"", 2),
    ];
    for (arguments, input, code) in steps {
        let one = alone.run_with(arguments, input).expect(*code);
        let other = server.home().run_with(arguments, input).expect(*code);

        let lines = |outcome: &Outcome| {
            let mut lines: Vec<_> = outcome.stdout.lines().map(shape).collect();
            lines.sort();
            lines
        };
        assert_eq!(lines(&one), lines(&other), "{arguments:?}");
        if *code != 0 {
            assert_eq!(one.stderr, other.stderr, "{arguments:?}");
        }
    }
}

#[test]
fn what_a_command_does_is_seen_by_clients_at_once() {
    let server = Server::start();
    let arguments = ["user", "add", "ada@example.org", "--password-stdin"];
    let id = server
        .home()
        .run_with(&arguments, b"correct horse\n")
        .expect(0)
        .stdout;

    let body = json!({ "email": "ada@example.org", "password": "correct horse" });
    let log_in = Request::post("/api/auth/login/").json(&body);
    server.send(&log_in).expect(200);
    let token = server
        .home()
        .run(&["token", "ada@example.org", "--ttl", "90"])
        .expect(0)
        .stdout;
    assert_eq!(claims(token.trim())["user_id"], json!(id.trim()));
    let ada = User {
        id: id.trim().to_owned(),
        email: String::new(),
        password: String::new(),
        access: token.trim().to_owned(),
        refresh: String::new(),
    };
    let profile = server.upload(&ada, &fixture("rgb.png")).expect(200).json();
    let picture = server.path(&profile["profile_picture_url"]);
    server.get(&picture).expect(200);

    server.home().run(&["user", "delete", id.trim()]).expect(0);

    server.get(&picture).expect(404);
    server.send(&log_in).expect(401);
    server
        .send(&Request::get(PROFILE).bearer(token.trim()))
        .expect(401);
}

#[test]
fn which_way_a_command_went_is_said_with_v_only() {
    let mut server = Server::start();
    let list = |server: &Server, verbose: &[&str]| {
        let arguments = [&["user", "list"], verbose].concat();
        server.home().run(&arguments).expect(0).stderr
    };

    assert_eq!(list(&server, &[]), "");
    let said = list(&server, &["-v"]);
    assert!(said.contains("asked the server at"), "{said}");

    server.stop();
    assert_eq!(list(&server, &[]), "");
    let said = list(&server, &["-v"]);
    assert!(said.contains("opened the store"), "{said}");
}

#[test]
fn socket_is_for_the_servers_user_only_and_goes_with_the_server() {
    let mut server = Server::start();
    let socket = server.home().data_dir().join("admin.sock");
    // A command waits for the socket; by now it is there.
    server.home().run(&["user", "list"]).expect(0);
    let metadata = std::fs::metadata(&socket).unwrap();
    assert!(metadata.file_type().is_socket());
    assert_eq!(metadata.permissions().mode() & 0o777, 0o600);

    server.stop();

    assert!(!socket.exists());
}

#[test]
fn socket_of_a_killed_server_is_in_nobodys_way() {
    let mut server = Server::start();
    let user = server.user();
    server.home().run(&["user", "list"]).expect(0);
    server.kill();
    assert!(server.home().data_dir().join("admin.sock").exists());

    let listed = server.home().run(&["user", "list"]).expect(0).stdout;
    assert!(listed.contains(&user.id), "{listed}");

    server.restart();
    let said = server.home().run(&["user", "list", "-v"]).expect(0);
    assert!(said.stderr.contains("asked the server"), "{}", said.stderr);
}

#[test]
fn data_directory_with_a_path_too_long_for_sockets_works_as_well() {
    let home = Setup::new().home();
    let data_dir = home.path().join("x".repeat(120)).display().to_string();
    let server = Setup::new()
        .set("storage.data_dir", &format!("{data_dir:?}"))
        .start();

    let said = server.home().run(&["user", "list", "-v"]).expect(0);

    assert!(said.stderr.contains("asked the server"), "{}", said.stderr);
}

#[test]
fn commands_at_once_without_a_server_wait_for_each_other() {
    let home = std::sync::Arc::new(Setup::new().home());
    let threads: Vec<_> = (0..4)
        .map(|number| {
            let home = std::sync::Arc::clone(&home);
            let email = format!("user{number}@example.org");
            thread::spawn(move || home.run(&["user", "add", &email]))
        })
        .collect();

    for thread in threads {
        thread.join().unwrap().expect(0);
    }

    let listed = home.run(&["user", "list"]).expect(0).stdout;
    assert_eq!(listed.lines().count(), 4, "{listed}");
}

#[test]
fn second_server_is_refused_with_the_process_that_has_the_directory() {
    let server = Server::start();

    let outcome = server.home().run(&["serve"]);

    assert_failed(&outcome, &[&server.process_id().to_string()]);
    assert!(server.is_alive());
}

#[test]
fn what_the_socket_does_not_know_is_refused_with_a_sentence() {
    let server = Server::start();
    server.home().run(&["user", "list"]).expect(0);
    let socket = server.home().data_dir().join("admin.sock");
    let ask = |request: &str| {
        let mut stream = UnixStream::connect(&socket).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    let post = |body: &str| {
        let length = body.len();
        ask(&format!(
            "POST /tasks HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
        ))
    };

    for (answer, word) in [
        (post(r#"{"task":"fly"}"#), "another version"),
        (post("{"), "another version"),
        (
            ask("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"),
            "POST /tasks",
        ),
    ] {
        assert!(answer.contains(r#""event":"failed""#), "{answer}");
        assert!(answer.contains(word), "{answer}");
    }
    assert!(post(r#"{"task":"list_users"}"#).contains(r#"{"event":"done"}"#));
}

#[test]
fn password_of_a_new_user_is_in_no_log() {
    let server = Setup::new().start();
    let arguments = ["user", "add", "ada@example.org", "--password-stdin"];

    server
        .home()
        .run_with(&arguments, b"correct horse\n")
        .expect(0);

    assert!(server.log().contains("AddUser"), "{}", server.log());
    assert!(!server.log().contains("horse"), "{}", server.log());
}
