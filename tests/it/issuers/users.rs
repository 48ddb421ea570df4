//! Whose users tokens speak for, by which rules, and what becomes of users who are new.

use std::thread;

use serde_json::{Value, json};

use super::{Keys, profile, with_issuers};
use crate::support::issuer::{Signer, claims};
use crate::support::token::{access_claims, not_valid, now};
use crate::support::{Form, PICTURE, PROFILE, Reply, Request, fixture};

#[test]
fn users_of_issuers_are_kept_apart_and_from_our_own() {
    let [one, two] = [Signer::ed25519(), Signer::ed25519()];
    let (first, second) = (
        Keys::new().add("k", &one, "\"EdDSA\""),
        Keys::new().add("k", &two, "\"EdDSA\""),
    );
    let server = with_issuers(&[
        &format!("name = \"one\", id_prefix = \"\", {}", first.list()),
        &format!("name = \"two\", {}", second.list()),
    ])
    .start();
    let local = server.user();

    let id = |token: &str| profile(&server, token).expect(200).json()["user_id"].clone();
    assert_eq!(id(&one.access("EdDSA", "k", "7")), json!("7"));
    assert_eq!(id(&two.access("EdDSA", "k", "7")), json!("two:7"));
    assert_eq!(
        id(&two.access("EdDSA", "k", &local.id)),
        json!(format!("two:{}", local.id))
    );
    let reaching = profile(&server, &one.access("EdDSA", "k", "two:7"));
    assert_eq!(
        reaching.told().1,
        r#"{"detail":"Token contained no recognizable user identification","code":"token_not_valid"}"#
    );
    // Percent-encoded in paths, whatever is in it.
    let odd = "auth0|ä/b c%&?#";
    let made = profile(&server, &two.access("EdDSA", "k", odd))
        .expect(200)
        .json();
    assert_eq!(made["user_id"], json!(format!("two:{odd}")));
    let path = "/api/users/two%3Aauth0%7C%C3%A4%2Fb%20c%25%26%3F%23/profile/";
    assert_eq!(server.get(path).expect(200).json(), made);
    let long = "x".repeat(128);
    let made = profile(&server, &two.access("EdDSA", "k", &long))
        .expect(200)
        .json();
    let path = format!("/api/users/two:{long}/profile/");
    assert_eq!(server.get(&path).expect(200).json(), made);
    profile(&server, &two.access("EdDSA", "k", &format!("{long}x"))).expect(401);
}

#[test]
fn new_user_gets_an_empty_profile_at_the_first_request() {
    let signer = Signer::p256();
    let keys = Keys::new().add("k", &signer, "\"ES256\"");
    let table = format!("name = \"sso\", name_claim = \"app.nick\", {}", keys.list());
    let mut server = with_issuers(&[&table]).start();
    let named = |subject: &str, nick: Value| {
        let mut claims = claims(subject);
        claims["app"] = json!({ "nick": nick });
        signer.token(&json!({ "alg": "ES256", "kid": "k" }), &claims)
    };

    let made = profile(&server, &named("ada", json!(" Ada <L>\n")))
        .expect(200)
        .json();
    assert_eq!(made["name"], json!("Ada L"));
    assert_eq!(
        (&made["has_picture"], &made["picture"]),
        (&json!(false), &Value::Null)
    );
    for (subject, nick) in [
        ("b", Value::Null),
        ("c", json!(1)),
        ("d", json!("<>")),
        ("e", json!("")),
    ] {
        let made = profile(&server, &named(subject, nick)).expect(200).json();
        assert_eq!(made["name"], json!("User"), "{subject}");
    }
    // The name is the user's from then on.
    let rename = Request::new("PATCH", PROFILE).json(&json!({ "name": "Countess" }));
    server
        .send(&rename.bearer(&named("ada", json!("Ada"))))
        .expect(200);
    assert_eq!(
        profile(&server, &named("ada", json!("Ada"))).json()["name"],
        json!("Countess")
    );
    // The first request may be an upload.
    let form = Form::image(&fixture("orientation-1.jpg"));
    let upload = Request::post(PICTURE)
        .bearer(&named("new", json!("New")))
        .form(&form);
    assert_eq!(
        server.send(&upload).expect(200).json()["has_picture"],
        json!(true)
    );

    let listed = server.home().run(&["user", "list"]).expect(0).stdout;
    assert!(listed.contains("sso:ada\t-\t"), "{listed}");
    // Who was deleted may come back, with nothing of what was.
    server.home().run(&["user", "delete", "sso:ada"]).expect(0);
    server.get("/api/users/sso:ada/profile/").expect(404);
    assert_eq!(
        profile(&server, &named("ada", json!("Again")))
            .expect(200)
            .json()["name"],
        json!("Again")
    );
    // The operator speaks for everybody.
    let token = server.home().run(&["token", "sso:ada"]).expect(0).stdout;
    profile(&server, token.trim()).expect(200);
    server.home().run(&["check", "store"]).expect(0);
    server.stop();
    server.restart();
    assert_eq!(
        profile(&server, &named("ada", json!("x"))).json()["name"],
        json!("Again")
    );
}

#[test]
fn first_requests_at_once_make_one_user() {
    let signer = Signer::ed25519();
    let keys = Keys::new().add("k", &signer, "\"EdDSA\"");
    let server = with_issuers(&[&format!("name = \"sso\", {}", keys.list())]).start();
    for round in 0..8 {
        let token = signer.access("EdDSA", "k", &format!("user{round}"));
        let request = Request::get(PROFILE).bearer(&token);
        let address = server.address();
        let replies: Vec<Reply> = thread::scope(|scope| {
            let asked: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| request.send(address)))
                .collect();
            asked.into_iter().map(|one| one.join().unwrap()).collect()
        });
        let first = replies[0].json();
        for reply in replies {
            assert_eq!(reply.expect(200).json(), first);
        }
    }
    let listed = server.home().run(&["user", "list"]).expect(0).stdout;
    assert_eq!(listed.lines().count(), 8, "{listed}");
}

#[test]
fn user_is_not_made_where_the_issuer_may_not() {
    let signer = Signer::ed25519();
    let keys = Keys::new().add("k", &signer, "\"EdDSA\"");
    let table = format!("name = \"sso\", auto_provision = false, {}", keys.list());
    let server = with_issuers(&[&table]).start();
    let token = signer.access("EdDSA", "k", "ada");
    let unknown = r#"{"detail":"User not found","code":"user_not_found"}"#.to_owned();

    assert_eq!(profile(&server, &token).told(), (401, unknown.clone()));
    server
        .home()
        .run(&["user", "add", "ada@example.org", "--id", "sso:ada"])
        .expect(0);
    profile(&server, &token).expect(200);
    // Of our own tokens, none makes a user.
    let own = crate::support::token::access("nobody");
    assert_eq!(profile(&server, &own).told(), (401, unknown));
}

#[test]
fn claims_are_judged_by_the_rules_of_their_issuer() {
    let signer = Signer::ed25519();
    let keys = Keys::new().add("k", &signer, "\"EdDSA\"");
    let table = format!(
        "name = \"sso\", issuer = \"https://sso.example.org\", audiences = [\"pockitd\"], \
         required_scopes = [\"avatar:write\"], user_claim = \"user_id\", token_type = \"access\", {}",
        keys.list()
    );
    let server = with_issuers(&[&table]).start();
    let changed = |name: &str, value: Value| {
        let mut all = access_claims("7");
        all["iss"] = json!("https://sso.example.org");
        all["aud"] = json!(["other", "pockitd"]);
        all["scope"] = json!("openid avatar:write");
        all["user_id"] = json!(7);
        all[name] = value;
        signer.token(&json!({ "alg": "EdDSA", "kid": "k" }), &all)
    };
    let good = changed("more", json!(1));
    assert_eq!(
        profile(&server, &good).expect(200).json()["user_id"],
        json!("sso:7")
    );
    let told = |name: &str, value: Value| profile(&server, &changed(name, value)).told();
    for (name, value, message) in [
        ("exp", json!(now() - 1), "Token is expired"),
        ("exp", Value::Null, "Token has no 'exp' claim"),
        ("nbf", json!(now() + 60), "Token is invalid"),
        ("iss", json!("https://sso.example.org/"), "Token is invalid"),
        ("iss", Value::Null, "Token is invalid"),
        ("aud", json!("other"), "Token is invalid"),
        ("aud", Value::Null, "Token is invalid"),
        ("token_type", json!("refresh"), "Token has wrong type"),
        ("token_type", Value::Null, "Token has no type"),
    ] {
        assert_eq!(
            told(name, value.clone()),
            (401, not_valid(message)),
            "{name} {value}"
        );
    }
    let denied = r#"{"detail":"You do not have permission to perform this action."}"#;
    assert_eq!(told("scope", json!("openid")), (403, denied.to_owned()));
    let no_user = r#"{"detail":"Token contained no recognizable user identification","code":"token_not_valid"}"#;
    assert_eq!(told("user_id", json!("")), (401, no_user.to_owned()));
}
