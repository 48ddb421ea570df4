//! Who is asked for a token, how the header is read, and where the key comes from: djangorestframework-simplejwt's
//! answers, to the letter and in its order of keys.

use std::time::Instant;

use serde_json::{Value, json};

use crate::support::token::{SECRET, access, not_valid};
use crate::support::{Connection, Form, PICTURE, PROFILE, Reply, Request, Server, Setup, fixture};

const NOT_PROVIDED: &str = r#"{"detail":"Authentication credentials were not provided."}"#;
const BAD_HEADER: &str = r#"{"detail":"Authorization header must contain two space-delimited values","code":"bad_authorization_header"}"#;
const NOT_FOUND: &str = r#"{"detail":"User not found","code":"user_not_found"}"#;

fn with_token(server: &Server, token: &str) -> Reply {
    server.send(&Request::get(PROFILE).bearer(token))
}

#[test]
fn header_is_read_as_simplejwt_reads_it() {
    let server = Server::start();
    let user = server.user();
    let good = access(&user.id);
    let cases = [
        (String::new(), NOT_PROVIDED),
        (good.clone(), NOT_PROVIDED),
        (format!("bearer {good}"), NOT_PROVIDED),
        (format!("BEARER {good}"), NOT_PROVIDED),
        (format!("JWT {good}"), NOT_PROVIDED),
        (format!("Token {good}"), NOT_PROVIDED),
        ("Basic YTpi".to_owned(), NOT_PROVIDED),
        (format!("Bearer{good}"), NOT_PROVIDED),
        ("Bearer".to_owned(), BAD_HEADER),
        ("Bearer a b".to_owned(), BAD_HEADER),
        (format!("Bearer {good} {good}"), BAD_HEADER),
    ];
    for (value, body) in cases {
        let request = Request::get(PROFILE).field("Authorization", &value);
        let reply = server.send(&request);

        assert_eq!(reply.told(), (401, body.to_owned()), "{value:?}");
    }
    let none = server.get(PROFILE);
    assert_eq!(none.told(), (401, NOT_PROVIDED.to_owned()));
    let query = server.get(&format!("{PROFILE}?access_token={good}"));
    assert_eq!(query.told(), (401, NOT_PROVIDED.to_owned()));
    let spaces = Request::get(PROFILE).field("Authorization", &format!("Bearer   {good}"));
    server.send(&spaces).expect(200);
    let name = Request::get(PROFILE).field("aUTHORIZATION", &format!("Bearer {good}"));
    server.send(&name).expect(200);
}

#[test]
fn two_authorization_headers_are_401() {
    let server = Server::start();
    let good = access(&server.user().id);

    let reply = server.send(&Request::get(PROFILE).bearer(&good).bearer(&good));

    assert_eq!(reply.status, 401, "{}", reply.text());
}

#[test]
fn header_that_is_no_text_is_401() {
    let server = Server::start();
    let mut connection = Connection::open(server.address());
    let head =
        b"GET /api/users/me/profile/ HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer \xFF\xFE\r\n\r\n";
    connection.write(head);

    let reply = connection.answer("GET").unwrap();

    assert!(matches!(reply.status, 400 | 401), "{}", reply.text());
}

#[test]
fn deleted_users_token_is_told_so() {
    let mut server = Server::start();
    let (user, profile) = server.user_with_picture();
    let path = server.path(&profile["profile_picture_url"]);
    server.stop();
    server.home().run(&["user", "delete", &user.id]).expect(0);
    server.restart();

    let form = Form::image(&fixture("rgb.png"));
    for request in [
        Request::get(PROFILE),
        Request::post(PICTURE).form(&form),
        Request::new("DELETE", PICTURE),
    ] {
        let reply = server.send(&request.bearer(&user.access));

        assert_eq!(reply.told(), (401, NOT_FOUND.to_owned()));
    }
    server
        .get(&format!("/api/users/{}/profile/", user.id))
        .expect(404);
    server.get(&path).expect(404);
}

#[test]
fn user_who_is_deleted_amid_an_upload_is_told_so_and_nothing_is_stored() {
    let server = Server::start();
    let (user, _) = server.user_with_picture();
    let form = Form::image(&fixture("rgb.png"));
    let request = Request::post(PICTURE).bearer(&user.access).form(&form);
    // The token is judged before the body is asked for.
    let mut connection = Connection::asked(server.address(), request);
    let body = form.bytes();
    let (first, last) = body.split_at(body.len() - 20);
    connection.write(first);
    server.home().run(&["user", "delete", &user.id]).expect(0);

    connection.write(last);

    let reply = connection.answer("POST").unwrap();
    assert_eq!(reply.told(), (401, NOT_FOUND.to_owned()));
    let check = server.home().run(&["check", "store", "--json"]).expect(0);
    let line: Value = serde_json::from_str(check.stdout.lines().last().unwrap()).unwrap();
    assert_eq!(line["summary"]["pictures"], 0, "{check:?}");
    assert_eq!(line["summary"]["findings"], 0, "{check:?}");
}

#[test]
fn every_route_of_the_caller_asks_for_a_token() {
    let server = Server::start();
    let form = Form::image(&fixture("rgb.png"));
    for request in [
        Request::get(PROFILE),
        Request::new("PATCH", PROFILE).json(&json!({ "name": "x" })),
        Request::post(PICTURE).form(&form),
        Request::new("PUT", PICTURE).form(&form),
        Request::new("DELETE", PICTURE),
        // Even a body that would be refused anyway: who asks comes first.
        Request::post(PICTURE).body("text/plain", b"x"),
        Request::new("PATCH", PROFILE).body("application/json", b"{"),
    ] {
        let reply = server.send(&request);
        assert_eq!(reply.told(), (401, NOT_PROVIDED.to_owned()));

        let reply = server.send(&request.bearer("x"));
        assert_eq!(reply.told(), (401, not_valid("Token is invalid")));
    }
}

#[test]
fn signing_key_is_made_once_and_kept_to_its_owner() {
    use std::os::unix::fs::PermissionsExt;
    let mut server = Setup::bare().start();
    let user = server.user();
    let key = server.home().data_dir().join("signing.key");

    let mode = std::fs::metadata(&key).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let bytes = std::fs::read(&key).unwrap();
    assert!(bytes.len() >= 32, "{}", bytes.len());
    let told = server.log();
    assert!(
        told.contains("signing.key"),
        "made once, and said so: {told}"
    );
    let shown = String::from_utf8_lossy(&bytes).trim().to_owned();
    assert!(!told.contains(&shown));
    server.stop();
    server.restart();
    assert_eq!(std::fs::read(&key).unwrap(), bytes);
    with_token(&server, &user.access).expect(200);
}

#[test]
fn secret_may_come_from_a_file() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("secret");
    std::fs::write(&file, format!("{SECRET}\n")).unwrap();
    let server = Setup::bare()
        .set(
            "auth.secret_file",
            &format!("{:?}", file.display().to_string()),
        )
        .start();
    let user = server.user();

    with_token(&server, &access(&user.id)).expect(200);
    assert!(!server.home().data_dir().join("signing.key").exists());
}

#[test]
fn log_in_takes_as_long_for_an_unknown_address_as_for_a_wrong_password() {
    let server = Setup::new()
        .set("auth.argon2_memory_kib", "16384")
        .set("rate_limit.logins_per_minute_per_address", "0")
        .set("rate_limit.failed_logins_per_hour_per_name", "0")
        .start();
    let known = server.user().email;
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..12 {
        // In turns, so that a busy moment falls on both.
        for (email, times) in [known.as_str(), "nobody@example.org"]
            .iter()
            .zip(&mut times)
        {
            let body = json!({ "email": email, "password": "another password" });
            let begun = Instant::now();
            server
                .send(&Request::post("/api/auth/login/").json(&body))
                .expect(401);
            times.push(begun.elapsed());
        }
    }
    // Load only ever makes a request slower.
    let [known, unknown] = times.map(|times| times.into_iter().min().unwrap());

    // Without a hash, an answer takes a small part of that.
    assert!(unknown * 3 > known * 2, "{unknown:?} and {known:?}");
    assert!(known * 3 > unknown * 2, "{unknown:?} and {known:?}");
}
