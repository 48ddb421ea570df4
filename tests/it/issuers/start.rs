//! Keys as they are found at the start, and what is said of those that cannot be used.

use serde_json::json;

use super::{Keys, SECRET, with_issuers};
use crate::support::issuer::Signer;
use crate::support::process::{Process, assert_failed};
use crate::support::token::access_claims;
use crate::support::{PROFILE, Request};

/// An RSA key of 1,024 bits, made for these tests; nobody has its private part.
const RSA_1024: &str = "-----BEGIN PUBLIC KEY-----\nMIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDGm4sZ05OLiAxuqDFmF94Hxqg9Qi4ejeRMzaHONE32WCDQd5con5eJxhUS1nMsFI1+gjQOcGvM/dsmUyrFKusK31E3LM9OJfrxbifzjAxsBsMthLG93vGEk75qWFi5E3y1uzm6o415JR6nFkbPXKrQwenF6HvqGJc4aI1On/PZVQIDAQAB\n-----END PUBLIC KEY-----\n";

#[test]
fn key_that_cannot_be_used_stops_the_start_with_its_reason() {
    let keys = Keys::new();
    let rsa = Signer::rsa();
    let file = |name: &str, text: &str| keys.file(name, text);
    let (pem, short, private, certificate) = (
        file("good.pem", &rsa.pem()),
        file("short.pem", RSA_1024),
        file(
            "private.pem",
            "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        ),
        file(
            "cert.pem",
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        ),
    );
    let (weak, middling) = (
        file("weak", "short"),
        file("middling", "0123456789abcdefghijklmnopqrstuvwxyz"),
    );
    let (nonsense, empty) = (
        file("nonsense", "nonsense"),
        file("empty.json", r#"{"keys":[]}"#),
    );
    let key = |algorithm: &str, kind: &str, place: &str| {
        format!("keys = [{{ algorithms = [{algorithm:?}], {kind} = {place:?} }}]")
    };
    for (table, words) in [
        (
            key("RS256", "public_key_file", "/nowhere/key.pem"),
            "cannot read /nowhere/key.pem",
        ),
        (
            key("RS256", "public_key_file", &short),
            "is an RSA key of 1024 bits",
        ),
        (
            key("RS256", "public_key_file", &private),
            "holds a private key",
        ),
        (
            key("RS256", "public_key_file", &certificate),
            "holds a certificate",
        ),
        (
            key("RS256", "public_key_file", &nonsense),
            "is not a PEM file",
        ),
        (key("ES256", "public_key_file", &pem), "is no key for ES256"),
        (
            key("HS257", "secret_file", &weak),
            "\"HS257\" is no algorithm",
        ),
        (
            key("HS256", "public_key_file", &pem),
            "HS256, which is for secrets",
        ),
        (
            key("RS256", "secret_file", &weak),
            "RS256, which is for public keys",
        ),
        (key("HS256", "secret_file", &weak), "has 5 bytes"),
        (
            key("HS512", "secret_file", &middling),
            "must have at least 64 for HS512",
        ),
        (
            key("HS256", "secret_env", "SURELY_NOT_SET"),
            "SURELY_NOT_SET",
        ),
        (format!("jwks_file = {empty:?}"), "none of its 0 keys"),
        (format!("jwks_file = {nonsense:?}"), "no JSON object"),
        (
            "jwks_url = \"http://example.org/\"".to_owned(),
            "must be an https URL",
        ),
        ("audiences = []".to_owned(), "has no key"),
        ("nosuch = 1".to_owned(), "nosuch"),
    ] {
        let home = with_issuers(&[&format!("name = \"sso\", {table}")]).home();
        let outcome = home.run(&["serve"]);
        // The address is bound before keys are read; what is printed there is no sign of a start.
        assert_failed(&outcome, &[words]);
        assert!(
            !outcome.stderr.contains("0123456789abcdefghij"),
            "{}",
            outcome.stderr
        );
    }
}

#[test]
fn config_check_tells_of_every_key_that_cannot_be_used_and_fetches_none() {
    let keys = Keys::new();
    let (weak, empty) = (
        keys.file("weak", "short"),
        keys.file("empty.json", r#"{"keys":[]}"#),
    );
    let tables = [
        format!(
            "name = \"one\", keys = [{{ algorithms = [\"RS256\"], public_key_file = \"/nowhere/key.pem\" }}, \
             {{ algorithms = [\"HS256\"], secret_file = {weak:?} }}]"
        ),
        format!("name = \"two\", jwks_file = {empty:?}"),
        "name = \"three\", keys = [{ algorithms = [\"HS256\"], secret_env = \"SURELY_NOT_SET\" }]"
            .to_owned(),
    ];
    let tables: Vec<_> = tables.iter().map(String::as_str).collect();

    let told = with_issuers(&tables)
        .home()
        .run(&["config", "check"])
        .expect(1);

    let words = [
        "/nowhere/key.pem",
        "has 5 bytes",
        "none of its 0 keys",
        "SURELY_NOT_SET",
    ];
    assert_eq!(told.stdout.lines().count(), words.len(), "{told:?}");
    for word in words {
        let of_the_word = told.stdout.lines().filter(|line| line.contains(word));
        let lines: Vec<_> = of_the_word.collect();
        assert_eq!(lines.len(), 1, "{word}: {told:?}");
        assert!(lines[0].starts_with("auth.issuers"), "{told:?}");
        assert!(lines[0].contains("test.toml"), "{told:?}");
    }
    // Nobody is there, and nobody is asked.
    let elsewhere = with_issuers(&["name = \"sso\", jwks_url = \"http://127.0.0.1:1/keys\""]);
    elsewhere.home().run(&["config", "check"]).expect(0);
}

#[test]
fn secret_may_come_from_a_variable_and_is_never_told() {
    let table = "name = \"django\", id_prefix = \"\", user_claim = \"user_id\", token_type = \"access\", \
                 keys = [{ algorithms = [\"HS512\"], secret_env = \"DJANGO_SECRET\" }]";
    let home = with_issuers(&[table]).home();
    let mut command = home.command(&["serve"]);
    let mut process = Process::start(command.env("DJANGO_SECRET", SECRET), b"");
    let line = process.line().unwrap();
    let address = line
        .strip_prefix("listening on http://")
        .unwrap()
        .parse()
        .unwrap();
    let signer = Signer::Secret(SECRET.as_bytes().to_vec());

    let token = signer.token(
        &json!({ "alg": "HS512", "typ": "JWT" }),
        &access_claims("42"),
    );
    let made = Request::get(PROFILE)
        .bearer(&token)
        .send(address)
        .expect(200)
        .json();

    assert_eq!(made["user_id"], json!("42"));
    assert!(!process.log().contains(SECRET));
}
