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
    for name in ["json_web_signature_test.json", "json_web_key_test.json"] {
        let text = std::fs::read(Path::new(&folder).join(name)).unwrap();
        let vectors: Value = serde_json::from_slice(&text).unwrap();
        for group in vectors["testGroups"].as_array().unwrap() {
            let keys = keys(group);
            for test in group["tests"].as_array().unwrap() {
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
