//! Other people's tokens: every algorithm, every form that a signature must not have, every confusion.

mod start;
mod users;

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::issuer::{Signer, claims, jwks};
use crate::support::token::{base64url, from_base64url, not_valid, unsigned};
use crate::support::{PROFILE, Reply, Request, Server, Setup};

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
