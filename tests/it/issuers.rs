//! Other people's tokens: every algorithm, every confusion, whose users they are, and what becomes of users who are
//! new.

use std::fs;
use std::path::Path;
use std::thread;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::issuer::{Signer, claims, jwks};
use crate::support::process::{Process, assert_failed};
use crate::support::token::{access_claims, base64url, from_base64url, not_valid, now, unsigned};
use crate::support::{Form, PICTURE, PROFILE, Reply, Request, Server, Setup, fixture};

/// An RSA key of 1,024 bits, made for these tests; nobody has its private part.
const RSA_1024: &str = "-----BEGIN PUBLIC KEY-----\nMIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDGm4sZ05OLiAxuqDFmF94Hxqg9Qi4ejeRMzaHONE32WCDQd5con5eJxhUS1nMsFI1+gjQOcGvM/dsmUyrFKusK31E3LM9OJfrxbifzjAxsBsMthLG93vGEk75qWFi5E3y1uzm6o415JR6nFkbPXKrQwenF6HvqGJc4aI1On/PZVQIDAQAB\n-----END PUBLIC KEY-----\n";

/// Secrets of 64 bytes, good for every HMAC.
const SECRET: &str = "cW8pZ3r7-Xk2bN5t_Vh9mQ4sLd6yJf1gAe0uRi8oTz3wKc7xPv5nBq2jMh4dSe9f";

/// A folder for keys, and what a configuration says of them.
struct Keys {
    folder: TempDir,
    entries: Vec<String>,
}

impl Keys {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            entries: Vec::new(),
        }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn file(&self, name: &str, text: &str) -> String {
        let file = self.path().join(name);
        fs::write(&file, text).unwrap();
        file.display().to_string()
    }

    /// A key with the id of its file.
    fn add(mut self, id: &str, signer: &Signer, algorithms: &str) -> Self {
        let (kind, text) = match signer {
            Signer::Secret(secret) => ("secret_file", String::from_utf8(secret.clone()).unwrap()),
            other => ("public_key_file", other.pem()),
        };
        let file = self.file(id, &text);
        self.entries.push(format!(
            "{{ kid = {id:?}, algorithms = [{algorithms}], {kind} = {file:?} }}"
        ));
        self
    }

    /// The list `keys`.
    fn list(&self) -> String {
        format!("keys = [{}]", self.entries.join(", "))
    }
}

/// Issuers from the insides of their tables.
fn with_issuers(tables: &[&str]) -> Setup {
    let tables: Vec<_> = tables
        .iter()
        .map(|table| format!("{{ {table} }}"))
        .collect();
    Setup::new().set("auth.issuers", &format!("[{}]", tables.join(", ")))
}

fn profile(server: &Server, token: &str) -> Reply {
    server.send(&Request::get(PROFILE).bearer(token))
}

#[track_caller]
fn is_invalid(server: &Server, what: &str, token: &str) {
    let reply = profile(server, token);
    assert_eq!(reply.told(), (401, not_valid("Token is invalid")), "{what}");
    assert_eq!(
        reply.field("www-authenticate"),
        Some("Bearer realm=\"api\"")
    );
}

#[test]
fn every_algorithm_is_accepted_with_the_key_that_it_is_for_and_no_other() {
    let secret = Signer::Secret(SECRET.as_bytes().to_vec());
    let signers = [
        ("hmac", secret, vec!["HS256", "HS384", "HS512"]),
        (
            "rsa",
            Signer::rsa(),
            vec!["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"],
        ),
        ("p256", Signer::p256(), vec!["ES256"]),
        ("p384", Signer::p384(), vec!["ES384"]),
        ("ed", Signer::ed25519(), vec!["EdDSA"]),
    ];
    let keys = signers
        .iter()
        .fold(Keys::new(), |keys, (id, signer, algorithms)| {
            let names: Vec<_> = algorithms.iter().map(|name| format!("{name:?}")).collect();
            keys.add(id, signer, &names.join(", "))
        });
    let server = with_issuers(&[&format!("name = \"sso\", {}", keys.list())]).start();

    let all: Vec<&str> = signers
        .iter()
        .flat_map(|(_, _, names)| names.clone())
        .collect();
    for (id, signer, algorithms) in &signers {
        for algorithm in algorithms {
            let reply = profile(&server, &signer.access(algorithm, id, "ada")).expect(200);
            assert_eq!(reply.json()["user_id"], json!("sso:ada"), "{algorithm}");
            let good = signer.access(algorithm, id, "ada");
            let (message, signature) = good.rsplit_once('.').unwrap();
            let mut bytes = from_base64url(signature);
            bytes[5] ^= 1;
            is_invalid(
                &server,
                algorithm,
                &format!("{message}.{}", base64url(&bytes)),
            );
            is_invalid(&server, algorithm, &format!("{message}."));
            bytes.push(0);
            bytes[5] ^= 1;
            is_invalid(
                &server,
                "longer",
                &format!("{message}.{}", base64url(&bytes)),
            );
            bytes.truncate(bytes.len() - 2);
            is_invalid(
                &server,
                "shorter",
                &format!("{message}.{}", base64url(&bytes)),
            );
        }
        // With the header of another algorithm, the signature of its own.
        for other in all.iter().filter(|other| !algorithms.contains(other)) {
            let header = json!({ "alg": other, "kid": id });
            is_invalid(&server, other, &signer.token(&header, &claims("ada")));
        }
        for (other, _, _) in signers.iter().filter(|(other, _, _)| other != id) {
            is_invalid(
                &server,
                "the id of another key",
                &signer.access(algorithms[0], other, "ada"),
            );
        }
        is_invalid(
            &server,
            "an unknown id",
            &signer.access(algorithms[0], "none", "ada"),
        );
        let header = json!({ "alg": algorithms[0] });
        profile(&server, &signer.token(&header, &claims("ada"))).expect(200);
    }
}

#[test]
fn public_key_is_no_secret() {
    let rsa = Signer::rsa();
    let keys = Keys::new().add("rsa", &rsa, "\"RS256\"");
    let secret = keys.file("secret", SECRET);
    let list = format!(
        "keys = [{}, {{ algorithms = [\"HS256\"], secret_file = {secret:?} }}]",
        keys.entries[0]
    );
    let server = with_issuers(&[&format!("name = \"sso\", {list}")]).start();
    let pem = rsa.pem();
    let der = from_base64url(&pem.lines().skip(1).take(1).collect::<String>());
    let modulus = from_base64url(rsa.jwk("rsa")["n"].as_str().unwrap());

    for (what, bytes) in [
        ("the PEM file", pem.as_bytes()),
        ("the PEM file, trimmed", pem.trim_end().as_bytes()),
        ("the DER", &der),
        ("the modulus", &modulus),
        ("nothing", b""),
    ] {
        let forger = Signer::Secret(bytes.to_vec());
        for header in [
            json!({ "alg": "HS256", "kid": "rsa" }),
            json!({ "alg": "HS256" }),
            json!({ "alg": "RS256", "kid": "rsa" }),
            json!({ "alg": "HS256", "jwk": rsa.jwk("x") }),
        ] {
            is_invalid(&server, what, &forger.token(&header, &claims("ada")));
        }
    }
    // A key that the token brings along is nobody's.
    let own = Signer::rsa();
    let header =
        json!({ "alg": "RS256", "jwk": own.jwk("x"), "jku": "http://127.0.0.1:1/", "x5c": ["x"] });
    is_invalid(&server, "its own key", &own.token(&header, &claims("ada")));
    let none = unsigned(r#"{"alg":"none","kid":"rsa"}"#, &claims("ada").to_string());
    is_invalid(&server, "none", &format!("{none}."));
    profile(&server, &rsa.access("RS256", "rsa", "ada")).expect(200);
}

#[test]
fn signature_has_the_one_form_of_its_algorithm() {
    let signer = Signer::p256();
    let keys = Keys::new().add("k", &signer, "\"ES256\"");
    let server = with_issuers(&[&format!("name = \"sso\", {}", keys.list())]).start();
    let message = unsigned(r#"{"alg":"ES256","kid":"k"}"#, &claims("ada").to_string());
    let good = signer.sign("ES256", message.as_bytes());
    let with = |bytes: &[u8]| format!("{message}.{}", base64url(bytes));
    profile(&server, &with(&good)).expect(200);
    // The signature as in certificates (RFC 3279 §2.2.3).
    let integer = |half: &[u8]| {
        let mut digits: Vec<u8> = half.iter().copied().skip_while(|byte| *byte == 0).collect();
        if digits[0] >= 0x80 {
            digits.insert(0, 0);
        }
        [vec![2, digits.len() as u8], digits].concat()
    };
    let body = [integer(&good[..32]), integer(&good[32..])].concat();
    let der = [vec![0x30, body.len() as u8], body].concat();
    let zeros = [0_u8; 64];
    let halves = [&good[32..], &good[..32]].concat();
    for (what, bytes) in [
        ("DER", der.as_slice()),
        ("zeros", &zeros),
        ("halves exchanged", &halves),
        ("63 bytes", &good[..63]),
        ("half", &good[..32]),
        ("nothing", b""),
        ("twice", &[good.clone(), good.clone()].concat()),
        (
            "48 bytes a half",
            &[
                vec![0; 16],
                good[..32].to_vec(),
                vec![0; 16],
                good[32..].to_vec(),
            ]
            .concat(),
        ),
    ] {
        is_invalid(&server, what, &with(bytes));
    }
    let text = base64url(&good);
    for (what, token) in [
        ("padding", format!("{message}.{text}==")),
        (
            "the other alphabet",
            format!("{message}.{}+/", &text[..text.len() - 2]),
        ),
        ("white space", format!("{message}.{text} ")),
        ("another part", format!("{message}.{text}.{text}")),
    ] {
        let reply = profile(&server, &token);
        assert_eq!(
            reply.status,
            if what == "white space" { 200 } else { 401 },
            "{what}"
        );
    }
    for header in [
        r#"{"alg":"ES256","kid":"k","kid":"k"}"#,
        r#"{"alg":"ES256","alg":"ES256","kid":"k"}"#,
        r#"{"alg":"ES256","kid":"k","x":{"y":1,"y":2}}"#,
        r#"{"alg":"ES256","kid":"k","crit":["kid"]}"#,
        r#"{"alg":"ES256","kid":"k","b64":true}"#,
        r#"{"alg":"ES256","kid":["k"]}"#,
        r#"{"alg":"es256","kid":"k"}"#,
        r#"{"alg":"ES256","kid":"k"}x"#,
    ] {
        let message = unsigned(header, &claims("ada").to_string());
        let signature = signer.sign("ES256", message.as_bytes());
        is_invalid(
            &server,
            header,
            &format!("{message}.{}", base64url(&signature)),
        );
    }
}

#[test]
fn set_in_a_file_gives_its_public_keys_for_signatures_only() {
    let [good, second] = [Signer::rsa(), Signer::p256()];
    let [sealing, wrapping, private, mismatched, other_curve] =
        std::array::from_fn(|_| Signer::p256());
    let secret = Signer::Secret(SECRET.as_bytes().to_vec());
    let changed = |signer: &Signer, id: &str, name: &str, value: Value| {
        let mut jwk = signer.jwk(id);
        jwk[name] = value;
        jwk
    };
    let set = jwks(&[
        good.jwk("good"),
        second.jwk("second"),
        changed(&sealing, "sealing", "use", json!("enc")),
        changed(&wrapping, "wrapping", "key_ops", json!(["wrapKey"])),
        changed(&private, "private", "d", json!("AAAA")),
        changed(&mismatched, "mismatched", "alg", json!("ES384")),
        changed(&other_curve, "curve", "crv", json!("P-384")),
        secret.jwk("secret"),
        json!({ "kty": "unknown", "kid": "unknown" }),
        json!("no object"),
    ]);
    let keys = Keys::new();
    let file = keys.file("jwks.json", &set);
    let server = with_issuers(&[&format!("name = \"sso\", jwks_file = {file:?}")]).start();

    profile(&server, &good.access("RS256", "good", "ada")).expect(200);
    profile(&server, &good.access("PS512", "good", "ada")).expect(200);
    profile(&server, &second.access("ES256", "second", "ada")).expect(200);
    for (id, signer) in [
        ("sealing", &sealing),
        ("wrapping", &wrapping),
        ("private", &private),
        ("mismatched", &mismatched),
        ("curve", &other_curve),
    ] {
        is_invalid(&server, id, &signer.access("ES256", id, "ada"));
    }
    is_invalid(&server, "secret", &secret.access("HS256", "secret", "ada"));
}

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
        ("exp", Value::Null, "Token is invalid"),
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
