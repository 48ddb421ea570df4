//! Register, log in, refresh: DESIGN's part of them and djangorestframework-simplejwt's bodies.

use std::thread;

use serde_json::{Value, json};

use crate::support::token::{access_claims, claims, now, signed};
use crate::support::{PROFILE, Reply, Request, Server, Setup};

const REGISTER: &str = "/api/auth/register/";
const LOGIN: &str = "/api/auth/login/";
const REFRESH: &str = "/api/auth/token/refresh/";

fn post(server: &Server, path: &str, body: &Value) -> Reply {
    server.send(&Request::post(path).json(body))
}

#[test]
fn register_is_201_with_tokens_that_work() {
    let server = Server::start();
    let body = json!({ "email": "ada@example.org", "password": "12345678", "name": " Ada " });

    let reply = post(&server, REGISTER, &body).expect(201);

    let answer = reply.json();
    let mut keys: Vec<_> = answer.as_object().unwrap().keys().collect();
    keys.sort();
    assert_eq!(keys, ["access", "refresh", "user_id"]);
    let access = answer["access"].as_str().unwrap();
    let profile = server.send(&Request::get(PROFILE).bearer(access));
    let profile = profile.expect(200).json();
    assert_eq!(profile["user_id"], answer["user_id"]);
    assert_eq!(profile["name"], json!("Ada"));
}

#[test]
fn tokens_have_the_claims_of_simplejwt() {
    let server = Server::start();
    let user = server.user();

    for (token, kind, life) in [
        (&user.access, "access", 300),
        (&user.refresh, "refresh", 86_400),
    ] {
        let found = claims(token);
        let mut keys: Vec<_> = found.as_object().unwrap().keys().collect();
        keys.sort();
        assert_eq!(keys, ["exp", "iat", "jti", "token_type", "user_id"]);
        assert_eq!(found["token_type"], json!(kind));
        assert_eq!(found["user_id"], json!(user.id));
        let time = |name: &str| found[name].as_i64().unwrap();
        assert_eq!(time("exp") - time("iat"), life);
        assert!((now() - time("iat")).abs() < 60);
        let id = found["jti"].as_str().unwrap();
        assert!(id.len() == 32 && id.bytes().all(|digit| digit.is_ascii_hexdigit()));
    }
    assert_ne!(claims(&user.access)["jti"], claims(&user.refresh)["jti"]);
}

#[test]
fn token_lifetimes_are_configured() {
    let server = Server::with(&[("auth.access_ttl_s", "60"), ("auth.refresh_ttl_s", "120")]);
    let user = server.user();

    let life = |token: &str| {
        let found = claims(token);
        found["exp"].as_i64().unwrap() - found["iat"].as_i64().unwrap()
    };
    assert_eq!((life(&user.access), life(&user.refresh)), (60, 120));
}

#[test]
fn name_is_the_begin_of_the_address_unless_given() {
    let server = Server::start();

    let user = server.register("grace.hopper@example.org", "12345678");

    assert_eq!(server.profile(&user)["name"], json!("grace.hopper"));
}

#[test]
fn taken_address_is_409_in_any_case() {
    let server = Server::start();
    server.register("Ada@Example.org", "12345678");

    for email in ["Ada@Example.org", "ada@example.ORG", " ada@example.org "] {
        let body = json!({ "email": email, "password": "another password" });
        let reply = post(&server, REGISTER, &body).expect(409);

        assert!(reply.json()["email"][0].is_string(), "{}", reply.text());
    }
}

#[test]
fn registration_that_is_not_acceptable_names_the_field() {
    let server = Server::start();
    let required = "This field is required.";
    let short = "This password is too short. It must contain at least 8 characters.";
    let good = "ada@example.org";
    let cases = [
        (
            json!({}),
            json!({ "email": [required], "password": [required] }),
        ),
        (json!({ "email": good }), json!({ "password": [required] })),
        (
            json!({ "email": good, "password": "1234567" }),
            json!({ "password": [short] }),
        ),
        (
            json!({ "email": good, "password": "äöüäöüä" }),
            json!({ "password": [short] }),
        ),
        (
            json!({ "email": good, "password": null }),
            json!({ "password": ["This field may not be null."] }),
        ),
        (
            json!({ "email": good, "password": ["12345678"] }),
            json!({ "password": ["Not a valid string."] }),
        ),
        (
            json!({ "email": "", "password": "12345678" }),
            json!({ "email": ["This field may not be blank."] }),
        ),
        (
            json!({ "email": "ada", "password": "12345678" }),
            json!({ "email": ["Enter a valid email address."] }),
        ),
        (
            json!({ "email": good, "password": "12345678", "name": "<b>" }),
            json!({ "name": ["The characters < and > are not allowed."] }),
        ),
        (
            json!([good]),
            json!({ "non_field_errors": ["Invalid data. Expected a dictionary, but got list."] }),
        ),
    ];
    for (body, expected) in cases {
        let reply = post(&server, REGISTER, &body).expect(400);

        assert_eq!(reply.json(), expected, "{body}");
    }
    server.register(good, "12345678");
}

#[test]
fn body_that_is_no_json_is_refused() {
    let server = Server::start();
    for path in [REGISTER, LOGIN, REFRESH] {
        let broken = Request::post(path).body("application/json", b"{\"email\":");
        let reply = server.send(&broken).expect(400);
        let detail = reply.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.starts_with("JSON parse error - "), "{detail}");

        let text = Request::post(path).body("text/plain", b"{}");
        let body = r#"{"detail":"Unsupported media type \"text/plain\" in request."}"#;
        assert_eq!(server.send(&text).told(), (415, body.to_owned()));
    }
}

#[test]
fn json_type_may_have_parameters() {
    let server = Server::start();
    let body = br#"{"email":"ada@example.org","password":"12345678"}"#;

    let request = Request::post(REGISTER).body("Application/JSON; charset=utf-8", body);

    server.send(&request).expect(201);
}

#[test]
fn json_body_over_its_limit_is_refused() {
    let server = Server::with(&[("http.json_bytes_max", "1000")]);
    let body = json!({ "email": "ada@example.org", "password": "x".repeat(1_000) });

    let reply = post(&server, REGISTER, &body);

    assert!(matches!(reply.status, 400 | 413), "{}", reply.text());
    assert!(server.is_alive());
}

#[test]
fn log_in_is_200_whatever_the_case_of_the_address() {
    let server = Server::start();
    let user = server.register("Ada@Example.org", "pässwörter");

    for email in ["Ada@Example.org", "ada@example.org", "ADA@EXAMPLE.ORG"] {
        let body = json!({ "email": email, "password": "pässwörter" });
        let answer = post(&server, LOGIN, &body).expect(200).json();

        assert_eq!(answer["user_id"], json!(user.id));
        let access = answer["access"].as_str().unwrap();
        server
            .send(&Request::get(PROFILE).bearer(access))
            .expect(200);
        assert!(answer["refresh"].is_string());
    }
}

#[test]
fn log_in_with_a_wrong_password_or_an_unknown_address_is_the_same_401() {
    let server = Server::start();
    server.register("ada@example.org", "12345678");
    let body = r#"{"detail":"No active account found with the given credentials"}"#;

    for (email, password) in [
        ("ada@example.org", "87654321"),
        ("ada@example.org", "12345678 "),
        ("bob@example.org", "12345678"),
        ("not an address", "12345678"),
    ] {
        let request = json!({ "email": email, "password": password });
        let reply = post(&server, LOGIN, &request);

        assert_eq!(reply.told(), (401, body.to_owned()), "{email} {password}");
    }
}

#[test]
fn log_in_without_its_fields_is_400() {
    let server = Server::start();

    let reply = post(&server, LOGIN, &json!({})).expect(400);

    let required = ["This field is required."];
    assert_eq!(
        reply.json(),
        json!({ "email": required, "password": required })
    );
}

#[test]
fn account_without_a_password_cannot_log_in() {
    let server = Setup::new().start_after(|home| {
        home.run(&["user", "add", "ada@example.org"]).expect(0);
    });
    for password in ["", "12345678", "null"] {
        let body = json!({ "email": "ada@example.org", "password": password });
        let reply = post(&server, LOGIN, &body);

        assert!(matches!(reply.status, 400 | 401), "{}", reply.text());
    }
}

#[test]
fn refresh_gives_a_new_access_token() {
    let server = Server::start();
    let user = server.user();

    let reply = post(&server, REFRESH, &json!({ "refresh": user.refresh })).expect(200);

    let answer = reply.json();
    assert_eq!(answer.as_object().unwrap().len(), 1, "{answer}");
    let access = answer["access"].as_str().unwrap();
    assert_eq!(claims(access)["token_type"], json!("access"));
    assert_eq!(claims(access)["user_id"], json!(user.id));
    server
        .send(&Request::get(PROFILE).bearer(access))
        .expect(200);
}

#[test]
fn refresh_token_that_is_not_good_is_401_in_the_words_of_simplejwt() {
    let server = Server::start();
    let user = server.user();
    let mut expired = access_claims(&user.id);
    expired["token_type"] = json!("refresh");
    expired["exp"] = json!(now() - 1);
    let mut kindless = access_claims(&user.id);
    kindless.as_object_mut().unwrap().remove("token_type");
    let cases = [
        (user.access.clone(), "Token has wrong type"),
        (signed(&expired), "Token is expired"),
        (signed(&kindless), "Token has no type"),
        ("abc".to_owned(), "Token is invalid"),
        (format!("{}x", user.refresh), "Token is invalid"),
    ];
    for (token, message) in cases {
        let reply = post(&server, REFRESH, &json!({ "refresh": token }));

        let body = format!(r#"{{"detail":"{message}","code":"token_not_valid"}}"#);
        assert_eq!(reply.told(), (401, body));
    }
}

#[test]
fn refresh_without_its_field_is_400() {
    let server = Server::start();

    let reply = post(&server, REFRESH, &json!({}));

    let body = r#"{"refresh":["This field is required."]}"#;
    assert_eq!(reply.told(), (400, body.to_owned()));
}

#[test]
fn deleted_user_gets_no_new_token() {
    let mut server = Server::start();
    let user = server.user();
    server.stop();
    server
        .home()
        .run(&["user", "delete", &user.email])
        .expect(0);
    server.restart();

    let reply = post(&server, REFRESH, &json!({ "refresh": user.refresh })).expect(401);
    assert!(reply.json()["detail"].is_string());
    let body = json!({ "email": user.email, "password": user.password });
    post(&server, LOGIN, &body).expect(401);
}

#[test]
fn accounts_switched_off_leave_tokens_from_elsewhere() {
    let setup = Setup::new().set("auth.local_accounts", "false");
    let mut id = String::new();
    let server = setup.start_after(|home| {
        let outcome = home.run(&["user", "add", "ada@example.org"]).expect(0);
        outcome.stdout.trim().clone_into(&mut id);
    });

    let good = json!({ "email": "bob@example.org", "password": "12345678", "refresh": "x" });
    for path in [REGISTER, LOGIN, REFRESH] {
        let reply = post(&server, path, &good);
        assert_eq!(
            reply.told(),
            (404, r#"{"detail":"Not found."}"#.to_owned()),
            "{path}"
        );
    }
    let token = signed(&access_claims(&id));
    let reply = server.send(&Request::get(PROFILE).bearer(&token));
    assert_eq!(reply.expect(200).json()["user_id"], json!(id));
}

#[test]
fn password_and_tokens_are_neither_stored_nor_logged() {
    let mut server = Server::start();
    let secret = "a-password-to-look-for";
    let user = server.register("ada@example.org", secret);
    let body = json!({ "email": user.email, "password": secret });
    post(&server, LOGIN, &body).expect(200);
    post(&server, REFRESH, &json!({ "refresh": user.refresh })).expect(200);
    post(
        &server,
        LOGIN,
        &json!({ "email": user.email, "password": "a-wrong-password" }),
    );
    server.profile(&user);
    server.stop();

    for text in [secret, "a-wrong-password", &user.access, &user.refresh] {
        assert!(!server.log().contains(text), "{text} is in the log");
        assert!(
            !crate::support::holds(&server.home().data_dir(), text.as_bytes()),
            "{text} is on disk"
        );
    }
}

/// Whoever asks cannot tell from the time whether there is an account: without one, as much is computed for nothing.
#[test]
fn log_in_without_an_account_is_as_much_work_as_one_with_a_wrong_password() {
    let server = Setup::new()
        .set("auth.argon2_memory_kib", "65536")
        .set("auth.argon2_passes", "3")
        .start();
    let known = server.user().email;
    let without = ["user", "add", "without@example.org"];
    server.home().run(&without).expect(0);
    let work = |email: &str| {
        let body = json!({ "email": email, "password": "a wrong password" });
        let log_in = Request::post("/api/auth/login/").json(&body);
        let before = processor_ticks(server.process_id());
        for _ in 0..4 {
            server.send(&log_in).expect(401);
        }
        processor_ticks(server.process_id()) - before
    };

    let of_known = work(&known);

    assert!(of_known > 4, "{of_known}");
    for email in ["without@example.org", "nobody@example.org", "no address"] {
        let of_other = work(email);
        // Time of a processor, not of a clock: how busy the machine is hardly matters.
        let is_alike = of_other * 2 >= of_known && of_other <= of_known * 2;
        assert!(is_alike, "{email}: {of_other}, not {of_known}");
    }
}

/// Time that a process has had of processors, in hundredths of a second. Source: `proc_pid_stat(5)`.
fn processor_ticks(process: i32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let (_, behind_name) = stat.rsplit_once(')').unwrap();
    let fields = behind_name.split_whitespace().skip(11).take(2);
    fields.map(|field| field.parse::<u64>().unwrap()).sum()
}

#[test]
fn passwords_beyond_what_may_wait_are_503() {
    let server = Setup::new()
        .set("auth.hashes_at_once_max", "1")
        .set("auth.hashes_waiting_max", "1")
        .set("auth.argon2_memory_kib", "65536")
        .set("auth.argon2_passes", "3")
        .start();
    let body = json!({ "email": "nobody@example.org", "password": "a wrong password" });
    let log_in = Request::post("/api/auth/login/").json(&body);
    let address = server.address();
    let attempts: Vec<_> = (0..12)
        .map(|_| {
            let log_in = log_in.clone();
            thread::spawn(move || log_in.send(address))
        })
        .collect();

    let replies: Vec<_> = attempts
        .into_iter()
        .map(|attempt| attempt.join().unwrap())
        .collect();

    for reply in &replies {
        assert!(matches!(reply.status, 401 | 503), "{}", reply.text());
        assert_eq!(reply.status == 503, reply.field("retry-after").is_some());
    }
    assert!(replies.iter().any(|reply| reply.status == 401));
    assert!(replies.iter().any(|reply| reply.status == 503));
    server.send(&log_in).expect(401);
}
