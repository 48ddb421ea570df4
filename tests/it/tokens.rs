//! Tokens, good and bad: every known way around a signature is tried, and each refusal is djangorestframework-simplejwt's
//! to the letter.

use jsonwebtoken::Algorithm;
use serde_json::{Value, json};

use crate::support::process::assert_failed;
use crate::support::token::{
    SECRET, access, access_claims, base64url, claims, not_valid, now, sign, signed, unsigned,
};
use crate::support::{Connection, PROFILE, Reply, Request, Server, Setup};

const NO_USER: &str =
    r#"{"detail":"Token contained no recognizable user identification","code":"token_not_valid"}"#;
const HEADER: &str = r#"{"alg":"HS256","typ":"JWT"}"#;
const NOT_FOUND: &str = r#"{"detail":"User not found","code":"user_not_found"}"#;

fn with_token(server: &Server, token: &str) -> Reply {
    server.send(&Request::get(PROFILE).bearer(token))
}
/// Good claims with one of them changed.
fn changed(user: &str, claim: &str, value: Value) -> String {
    let mut claims = access_claims(user);
    claims[claim] = value;
    signed(&claims)
}

/// Good claims without one of them.
fn without(user: &str, claim: &str) -> String {
    let mut claims = access_claims(user);
    claims.as_object_mut().unwrap().remove(claim);
    signed(&claims)
}

#[test]
fn token_with_a_wrong_signature_is_invalid() {
    let server = Server::start();
    let user = server.user();
    let claims = access_claims(&user.id).to_string();
    let good = access(&user.id);
    let (message, signature) = good.rsplit_once('.').unwrap();
    let flipped = signature.replacen(
        &signature[..1],
        if signature.starts_with('A') { "B" } else { "A" },
        1,
    );
    // The last digit of 32 bytes holds two bits that decode to nothing: another spelling of the same signature.
    let digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let last = digits.find(&signature[42..]).unwrap();
    let twin = format!(
        "{message}.{}{}",
        &signature[..42],
        &digits[last ^ 1..=last ^ 1]
    );
    let other = access_claims("00000000-0000-4000-8000-000000000000").to_string();
    let swapped = format!("{}.{signature}", unsigned(HEADER, &other));
    let cases = [
        (
            "another secret",
            sign(HEADER, &claims, Algorithm::HS256, &"y".repeat(40)),
        ),
        (
            "an empty secret",
            sign(HEADER, &claims, Algorithm::HS256, ""),
        ),
        ("a flipped digit", format!("{message}.{flipped}")),
        ("an equivalent spelling", twin),
        ("padding", format!("{good}=")),
        ("no signature", format!("{message}.")),
        ("two parts", message.to_owned()),
        ("four parts", format!("{good}.x")),
        ("three dots", "...".to_owned()),
        ("other claims", swapped),
        ("no base64", "a.b.c".to_owned()),
        ("a word", "token".to_owned()),
        ("a null", "null".to_owned()),
        ("a begin of a dot", format!(".{good}")),
        ("a cut token", good[..good.len() - 1].to_owned()),
    ];
    for (what, token) in cases {
        let reply = with_token(&server, &token);

        assert_eq!(reply.told(), (401, not_valid("Token is invalid")), "{what}");
    }
    with_token(&server, &good).expect(200);
}

#[test]
fn token_with_another_algorithm_is_invalid() {
    let server = Server::start();
    let user = server.user();
    let claims = access_claims(&user.id).to_string();
    let header = |alg: &str| format!(r#"{{"alg":"{alg}","typ":"JWT"}}"#);
    let mut tokens = vec![
        sign(&header("HS384"), &claims, Algorithm::HS384, SECRET),
        sign(&header("HS512"), &claims, Algorithm::HS512, SECRET),
        // The signature is that of HS256, the header says otherwise.
        sign(&header("HS512"), &claims, Algorithm::HS256, SECRET),
        sign(&header("RS256"), &claims, Algorithm::HS256, SECRET),
        sign(&header("ES256"), &claims, Algorithm::HS256, SECRET),
        sign(&header("hs256"), &claims, Algorithm::HS256, SECRET),
        sign(&header(""), &claims, Algorithm::HS256, SECRET),
        sign(r#"{"typ":"JWT"}"#, &claims, Algorithm::HS256, SECRET),
        sign(r#"{"alg":null}"#, &claims, Algorithm::HS256, SECRET),
        sign(r#"{"alg":["HS256"]}"#, &claims, Algorithm::HS256, SECRET),
        sign("[]", &claims, Algorithm::HS256, SECRET),
        sign("", &claims, Algorithm::HS256, SECRET),
    ];
    for none in ["none", "None", "NONE", "nOnE", "none ", "HS256,none"] {
        let message = unsigned(&header(none), &claims);
        tokens.push(format!("{message}."));
        tokens.push(format!("{message}.{}", base64url(b"x")));
        tokens.push(sign(&header(none), &claims, Algorithm::HS256, SECRET));
    }
    for token in tokens {
        let reply = with_token(&server, &token);

        assert_eq!(
            reply.told(),
            (401, not_valid("Token is invalid")),
            "{token}"
        );
    }
}

#[test]
fn critical_extensions_are_refused_and_other_header_fields_ignored() {
    let server = Server::start();
    let user = server.user();
    let claims = access_claims(&user.id).to_string();
    for critical in [
        r#"{"alg":"HS256","crit":["exp"],"exp":1}"#,
        r#"{"alg":"HS256","crit":["unknown"],"unknown":true}"#,
        r#"{"alg":"HS256","crit":["b64"],"b64":false}"#,
        r#"{"alg":"HS256","crit":[]}"#,
    ] {
        let reply = with_token(&server, &sign(critical, &claims, Algorithm::HS256, SECRET));

        assert_eq!(
            reply.told(),
            (401, not_valid("Token is invalid")),
            "{critical}"
        );
    }
    for ignored in [
        r#"{"alg":"HS256"}"#,
        r#"{"typ":"JWT","alg":"HS256","kid":"../../../etc/passwd"}"#,
        r#"{"alg":"HS256","kid":"1' OR '1'='1","jku":"http://127.0.0.1:1/keys"}"#,
        r#"{"alg":"HS256","x5u":"http://127.0.0.1:1/cert"}"#,
        r#"{"alg":"HS256","jwk":{"kty":"oct","k":"AAAA"},"x5c":["AAAA"]}"#,
    ] {
        let reply = with_token(&server, &sign(ignored, &claims, Algorithm::HS256, SECRET));

        assert_eq!(reply.status, 200, "{ignored}: {}", reply.text());
    }
}

#[test]
fn expired_token_is_told_so() {
    let server = Server::start();
    let user = server.user();
    for exp in [
        json!(now()),
        json!(now() - 1),
        json!(now() - 86_400),
        json!(0),
        json!(-1),
    ] {
        let reply = with_token(&server, &changed(&user.id, "exp", exp.clone()));

        assert_eq!(reply.told(), (401, not_valid("Token is expired")), "{exp}");
    }
    let reply = with_token(&server, &changed(&user.id, "exp", json!(now() + 30)));
    assert_eq!(reply.status, 200, "{}", reply.text());
}

#[test]
fn token_of_the_future_is_invalid() {
    let server = Server::start();
    let user = server.user();
    for claim in ["nbf", "iat"] {
        let reply = with_token(&server, &changed(&user.id, claim, json!(now() + 60)));
        assert_eq!(
            reply.told(),
            (401, not_valid("Token is invalid")),
            "{claim}"
        );

        let reply = with_token(&server, &changed(&user.id, claim, json!(now() - 60)));
        assert_eq!(reply.status, 200, "{claim}: {}", reply.text());
    }
}

#[test]
fn leeway_forgives_clocks_that_differ() {
    let server = Server::with(&[("auth.leeway_s", "30")]);
    let user = server.user();
    for (claim, value, status) in [
        ("exp", now() - 15, 200),
        ("exp", now() - 31, 401),
        ("nbf", now() + 15, 200),
        ("nbf", now() + 60, 401),
    ] {
        let reply = with_token(&server, &changed(&user.id, claim, json!(value)));

        assert_eq!(reply.status, status, "{claim}: {}", reply.text());
    }
}

#[test]
fn token_that_holds_for_longer_than_configured_is_invalid() {
    let longest = ("auth.access_life_s_max", "600");
    let server = Server::with(&[longest]);
    let user = server.user();
    for (exp, status) in [(now() + 590, 200), (now() + 700, 401), (9_999_999_999, 401)] {
        let reply = with_token(&server, &changed(&user.id, "exp", json!(exp)));
        assert_eq!(reply.status, status, "{exp}: {}", reply.text());
    }
    let made = |ttl: &str| server.home().run(&["token", &user.id, "--ttl", ttl]);
    with_token(&server, made("10m").expect(0).stdout.trim()).expect(200);
    assert_failed(&made("11m"), &["auth.access_life_s_max", "600"]);
    // Refresh tokens hold for a day, and go on to do so.
    let refresh = json!({ "refresh": user.refresh });
    let refresh = Request::post("/api/auth/token/refresh/").json(&refresh);
    server.send(&refresh).expect(200);
}

#[test]
fn token_of_another_kind_is_told_so() {
    let server = Server::start();
    let user = server.user();
    let cases = [
        (user.refresh.clone(), "Token has wrong type"),
        (
            changed(&user.id, "token_type", json!("sliding")),
            "Token has wrong type",
        ),
        (
            changed(&user.id, "token_type", json!("Access")),
            "Token has wrong type",
        ),
        (
            changed(&user.id, "token_type", json!(["access"])),
            "Token has wrong type",
        ),
        (without(&user.id, "token_type"), "Token has no type"),
    ];
    for (token, message) in cases {
        let reply = with_token(&server, &token);

        assert_eq!(
            reply.told(),
            (401, not_valid(message)),
            "{}",
            claims(&token)
        );
    }
}

#[test]
fn claims_that_are_missing_or_of_the_wrong_type_are_401() {
    let server = Server::start();
    let user = server.user();
    let raw = |claims: &str| sign(HEADER, claims, Algorithm::HS256, SECRET);
    let id = &user.id;
    let later = now() + 300;
    let tokens = [
        without(id, "exp"),
        changed(id, "exp", json!("9999999999")),
        changed(id, "exp", json!(null)),
        changed(id, "exp", json!([later])),
        changed(id, "exp", json!(true)),
        changed(id, "exp", json!(1e30)),
        changed(id, "nbf", json!("0")),
        raw("[]"),
        raw("\"text\""),
        raw("null"),
        raw("{"),
        raw(""),
        raw(&format!(
            r#"{{"token_type":"access","exp":1,"exp":{later},"user_id":"{id}"}}"#
        )),
        raw(&format!(
            r#"{{"token_type":"access","exp":{later},"user_id":"x","user_id":"{id}"}}"#
        )),
    ];
    for token in tokens {
        let reply = with_token(&server, &token).expect(401);

        assert_eq!(reply.json()["code"], json!("token_not_valid"), "{token}");
    }
}

#[test]
fn token_without_a_user_or_of_a_user_that_is_not_there_is_told_so() {
    let server = Server::start();
    let user = server.user();
    let cases = [
        (without(&user.id, "user_id"), NO_USER),
        (changed(&user.id, "user_id", json!("nobody")), NOT_FOUND),
        (
            changed(&user.id, "user_id", json!(user.id.to_uppercase())),
            NOT_FOUND,
        ),
        // simplejwt wrote whole numbers before 5.5.1: understood, and nobody has that id.
        (changed(&user.id, "user_id", json!(42)), NOT_FOUND),
    ];
    for (token, body) in cases {
        let reply = with_token(&server, &token);

        assert_eq!(reply.told(), (401, body.to_owned()), "{}", claims(&token));
    }
    for odd in [
        json!(null),
        json!(""),
        json!([user.id]),
        json!({}),
        json!(1.5),
        json!(true),
    ] {
        with_token(&server, &changed(&user.id, "user_id", odd)).expect(401);
    }
    let long = changed(&user.id, "user_id", json!("x".repeat(2_000)));
    with_token(&server, &long).expect(401);
    let null = changed(&user.id, "user_id", json!("a\u{0}b"));
    with_token(&server, &null).expect(401);
}

#[test]
fn further_claims_are_ignored() {
    let server = Server::start();
    let user = server.user();
    let mut claims = access_claims(&user.id);
    claims["iss"] = json!("https://issuer.example.org");
    claims["email"] = json!("x@example.org");
    claims["roles"] = json!(["admin"]);
    claims["is_superuser"] = json!(true);

    with_token(&server, &signed(&claims)).expect(200);
}

#[test]
fn huge_token_is_refused_and_costs_nothing() {
    let server = Server::start();
    let user = server.user();
    let mut claims = access_claims(&user.id);
    for length in [9_000, 100_000, 1_000_000] {
        claims["padding"] = json!("x".repeat(length));
        let request = Request::get(PROFILE).bearer(&signed(&claims));
        let mut connection = Connection::open(server.address());
        connection.write_beside(request.bytes(server.address()));

        let reply = connection.answer("GET").expect("an answer, not a reset");

        assert!(
            matches!(reply.status, 401 | 431),
            "{length}: {}",
            reply.status
        );
    }
    // Deep nesting in a claim that nobody reads: whatever the answer, the stack is not the limit.
    let deep = format!(
        r#"{{"token_type":"access","exp":{},"user_id":"{}","x":{}{}}}"#,
        now() + 300,
        user.id,
        "[".repeat(2_500),
        "]".repeat(2_500)
    );
    let reply = with_token(&server, &sign(HEADER, &deep, Algorithm::HS256, SECRET));
    assert!(matches!(reply.status, 200 | 401), "{}", reply.text());
    assert!(server.is_alive());
}

#[test]
fn user_of_another_issuer_is_added_by_the_id_in_its_tokens() {
    let server = Setup::new().start_after(|home| {
        let added = home.run(&["user", "add", "ada@example.org", "--id", "42"]);
        assert_eq!(added.expect(0).stdout, "42\n");
        let again = home.run(&["user", "add", "bob@example.org", "--id", "42"]);
        assert_failed(&again, &["taken"]);
    });
    for user_id in [json!(42), json!("42")] {
        let claims = json!({ "token_type": "access", "exp": now() + 60, "user_id": user_id });
        let token = signed(&claims);

        let reply = server.send(&Request::get(PROFILE).bearer(&token));

        assert_eq!(reply.expect(200).json()["user_id"], json!("42"));
    }
}
