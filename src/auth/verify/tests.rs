//! Wycheproof's vectors for JSON Web Signatures and Keys, where `WYCHEPROOF` names a folder that holds
//! `json_web_signature_test.json` and its like (github.com/C2SP/wycheproof, `testvectors_v1`).

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::*;
use crate::auth::jwks;
use crate::config::Algorithm;

/// Vectors that are called invalid although the token in the file is well-formed and its signature is right.
const MISLABELLED: [&str; 2] = [
    "json_web_signature_test.json 367",
    "json_web_signature_test.json 370",
];

/// Vectors that are called valid and have characters in them that base64url does not have: RFC 7515 §2 knows none.
const LENIENT: [&str; 2] = [
    "json_web_signature_test.json 372",
    "json_web_signature_test.json 373",
];

/// Vectors that are called valid and whose key names another algorithm than the token: RFC 7517 §4.4.
const OTHER_ALGORITHM: [&str; 2] = [
    "json_web_signature_test.json 346",
    "json_web_signature_test.json 350",
];

/// The keys of a group: public keys as an issuer would publish them, secrets as an operator would name them.
fn keys(group: &Value) -> Vec<VerifyingKey> {
    let held = group.get("public").unwrap_or(&group["private"]);
    let (mut entries, is_set) = match held.get("keys") {
        Some(Value::Array(entries)) => (entries.clone(), true),
        _ => (vec![held.clone()], false),
    };
    for entry in &mut entries {
        let fields = entry.as_object_mut().unwrap();
        if fields["kty"] == "oct" && !is_set {
            return secret(fields).into_iter().collect();
        }
        for private in ["d", "p", "q", "dp", "dq", "qi"] {
            fields.remove(private);
        }
    }
    let set = json!({ "keys": entries }).to_string();
    let set = jwks::parse(set.as_bytes(), &PublicAlgorithm::ALL);
    set.map(|set| set.keys).unwrap_or_default()
}

fn secret(fields: &serde_json::Map<String, Value>) -> Option<VerifyingKey> {
    let bytes = URL_SAFE_NO_PAD.decode(fields["k"].as_str()?).ok()?;
    let id = fields.get("kid").and_then(Value::as_str);
    match Algorithm::try_from(fields.get("alg")?.as_str()?.to_owned()) {
        Ok(Algorithm::Hmac(algorithm)) => {
            VerifyingKey::secret(id.map(str::to_owned), &bytes, &[algorithm]).ok()
        }
        _ => None,
    }
}

#[test]
#[expect(clippy::print_stdout, reason = "says what was skipped, or counted")]
fn vectors_of_wycheproof_are_judged_as_they_say() {
    let Some(folder) = std::env::var_os("WYCHEPROOF") else {
        println!("skipped: Wycheproof's vectors: WYCHEPROOF names no folder");
        return;
    };
    let (mut accepted, mut refused, mut unsupported, mut wrong) = (0, 0, 0, Vec::new());
    for name in [
        "json_web_signature_test.json",
        "json_web_key_test.json",
        "json_web_crypto_test.json",
    ] {
        let text = std::fs::read(Path::new(&folder).join(name)).unwrap();
        let vectors: Value = serde_json::from_slice(&text).unwrap();
        for group in vectors["testGroups"].as_array().unwrap() {
            let keys = keys(group);
            for test in group["tests"].as_array().unwrap() {
                // Encryption is not ours.
                if test.get("jws").is_none() {
                    continue;
                }
                let case = format!("{name} {}", test["tcId"]);
                let jws = test["jws"].as_str().unwrap_or_default();
                let is_accepted = Jws::parse(jws).is_some_and(|token| {
                    let mut keys = keys.iter();
                    keys.any(|key| key.may_have_signed(&token) && key.has_signed(&token))
                });
                let is_valid = test["result"] == "valid";
                match (is_valid, is_accepted) {
                    (true, true) => accepted += 1,
                    (false, false) => refused += 1,
                    (true, false) if keys.is_empty() => unsupported += 1,
                    (true, false)
                        if LENIENT.contains(&case.as_str())
                            || OTHER_ALGORITHM.contains(&case.as_str()) =>
                    {
                        refused += 1;
                    }
                    (false, true) if MISLABELLED.contains(&case.as_str()) => accepted += 1,
                    _ => wrong.push(format!(
                        "{case} {}, accepted: {is_accepted}: {group}",
                        test["comment"]
                    )),
                }
            }
        }
    }
    println!(
        "{accepted} accepted, {refused} refused, {unsupported} with keys that are not supported"
    );
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A certificate with a key of P-256, and that key alone. Nobody has its private part.
const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----
MIIBkTCCATegAwIBAgIUah1B8LuHUgpC6g/dmLe7pJB/n7UwCgYIKoZIzj0EAwIw
HTEbMBkGA1UEAwwSaXNzdWVyLmV4YW1wbGUub3JnMCAXDTI2MTEyNzAxMDAxOVoY
DzIxMjYxMTAzMDEwMDE5WjAdMRswGQYDVQQDDBJpc3N1ZXIuZXhhbXBsZS5vcmcw
WTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAASM4pxsVWJaZqttCCDw2uGU5tWCuzJ/
XejV2CilSvRHgf4d249iL80sj66Bd7ToeL1aMydxUNAK88/UGr8gtq3Uo1MwUTAd
BgNVHQ4EFgQUfzkmignym6Gunnuef5kxQZ5uqr0wHwYDVR0jBBgwFoAUfzkmigny
m6Gunnuef5kxQZ5uqr0wDwYDVR0TAQH/BAUwAwEB/zAKBggqhkjOPQQDAgNIADBF
AiBI8Ras5ypyKpgczgdFiK/R8LpeygIr1VyTWGwbCXqeIgIhAJslnqT7MHtu09wU
6HH8331igA6LavLxkfuhWLAotYns
-----END CERTIFICATE-----";
const ITS_KEY: &str = "-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEjOKcbFViWmarbQgg8NrhlObVgrsy
f13o1dgopUr0R4H+HduPYi/NLI+ugXe06Hi9WjMncVDQCvPP1Bq/ILat1A==
-----END PUBLIC KEY-----";

#[test]
fn certificate_is_as_good_as_the_key_in_it() {
    let key = PublicKey::from_pem(CERTIFICATE).unwrap();

    assert_eq!(key.bytes, PublicKey::from_pem(ITS_KEY).unwrap().bytes);
    assert!(key.is_of(Family::P256) && !key.is_of(Family::P384) && !key.is_of(Family::Rsa));
    let nonsense = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    assert_eq!(
        PublicKey::from_pem(nonsense).unwrap_err(),
        Unusable::Certificate
    );
    for several in [
        format!("{CERTIFICATE}\n{CERTIFICATE}"),
        format!("{CERTIFICATE}\n{ITS_KEY}"),
    ] {
        assert_eq!(PublicKey::from_pem(&several).unwrap_err(), Unusable::NotPem);
    }
}

#[test]
fn set_may_have_its_keys_in_certificates_only() {
    let der = block(CERTIFICATE, "CERTIFICATE").unwrap();
    let x5c = [STANDARD.encode(der)];
    let known = |entry: Value| {
        let set = json!({ "keys": [entry] }).to_string();
        let set = jwks::parse(set.as_bytes(), &PublicAlgorithm::ALL);
        set.map(|set| format!("{:?}", set.keys[0])).ok()
    };
    let expected = r#"VerifyingKey { id: Some("k"), algorithms: ["ES256"], .. }"#;

    for entry in [
        json!({ "kty": "EC", "kid": "k", "x5c": x5c }),
        json!({ "kty": "EC", "crv": "P-256", "kid": "k", "x5c": x5c }),
    ] {
        assert_eq!(known(entry).as_deref(), Some(expected));
    }
    for entry in [
        json!({ "kty": "RSA", "x5c": x5c }),
        json!({ "kty": "EC", "crv": "P-384", "x5c": x5c }),
        json!({ "kty": "EC", "x5c": ["AAAA"] }),
        json!({ "kty": "EC", "x5c": [] }),
        json!({ "kty": "EC" }),
    ] {
        assert_eq!(known(entry.clone()), None, "{entry}");
    }
}
