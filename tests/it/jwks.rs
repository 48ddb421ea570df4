//! Keys that issuers publish: fetched ahead, followed when they change, kept while the issuer is away, and never at
//! the price of more than a request that is made up is worth.

mod tls;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::issuer::{Answer, Publisher, Signer, claims, jwks};
use crate::support::token::{access_claims, not_valid};
use crate::support::{DEADLINE, PROFILE, Reply, Request, Server, Setup};

/// A server that fetches the keys of `/keys`, with further keys of `[auth]`.
fn fetching(publisher: &Publisher, settings: &[(&str, &str)]) -> Server {
    let table = format!(
        "[{{ name = \"sso\", id_prefix = \"\", jwks_url = {:?} }}]",
        publisher.url("/keys")
    );
    let setup = Setup::new().set("auth.issuers", &table);
    let set = |setup: Setup, (key, value): &(&str, &str)| setup.set(key, value);
    settings.iter().fold(setup, set).start()
}

fn ask(address: SocketAddr, token: &str) -> Reply {
    Request::get(PROFILE).bearer(token).send(address)
}

#[track_caller]
fn accepted(server: &Server, signer: &Signer, key_id: &str) {
    ask(server.address(), &signer.access("ES256", key_id, "ada")).expect(200);
}

#[track_caller]
fn refused(server: &Server, signer: &Signer, key_id: &str) {
    let reply = ask(server.address(), &signer.access("ES256", key_id, "ada"));
    assert_eq!(reply.told(), (401, not_valid("Token is invalid")));
}

/// Waits until something is so.
#[track_caller]
fn until(what: &str, is_so: impl Fn() -> bool) {
    let end = Instant::now() + DEADLINE;
    while !is_so() {
        assert!(Instant::now() < end, "{what}");
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn keys_are_fetched_ahead_and_not_for_each_request() {
    let (publisher, signer) = (Publisher::start(), Signer::p256());
    publisher.publish_keys(&[signer.jwk("k1")]);

    let server = fetching(&publisher, &[]);

    assert_eq!(publisher.count("/keys"), 1);
    for _ in 0..20 {
        accepted(&server, &signer, "k1");
    }
    assert_eq!(publisher.count("/keys"), 1);
}

#[test]
fn unknown_key_makes_one_fetch_a_minute_at_most() {
    let (publisher, signer) = (Publisher::start(), Signer::p256());
    publisher.publish_keys(&[signer.jwk("k1")]);
    let server = fetching(&publisher, &[]);
    let address = server.address();

    let tokens: Vec<_> = (0..40)
        .map(|number| Signer::p256().access("ES256", &format!("made-up-{number}"), "ada"))
        .collect();
    thread::scope(|scope| {
        for token in &tokens {
            scope.spawn(move || {
                assert_eq!(
                    ask(address, token).told(),
                    (401, not_valid("Token is invalid"))
                );
            });
        }
    });

    assert_eq!(
        publisher.count("/keys"),
        2,
        "one at the start, one for all of them"
    );
    // What could never be a key of this issuer makes none at all.
    let other = Signer::rsa();
    for header in [
        json!({ "alg": "HS256", "kid": "new" }),
        json!({ "alg": "none", "kid": "new" }),
        json!({ "alg": "RS256", "kid": "k1" }),
    ] {
        ask(address, &other.token(&header, &claims("ada"))).expect(401);
    }
    assert_eq!(publisher.count("/keys"), 2);
    accepted(&server, &signer, "k1");
}

#[test]
fn unknown_keys_make_another_fetch_when_that_time_is_over() {
    let (publisher, signer) = (Publisher::start(), Signer::p256());
    publisher.publish_keys(&[signer.jwk("k1")]);
    let server = fetching(&publisher, &[("auth.jwks_unknown_key_s", "1")]);

    let begin = Instant::now();
    until("a third fetch", || {
        refused(&server, &Signer::p256(), "made-up");
        publisher.count("/keys") >= 4
    });

    // At the start one, then one at once, one after a second, one after two.
    assert!(
        begin.elapsed() >= Duration::from_secs(2),
        "{:?}",
        begin.elapsed()
    );
}

#[test]
fn rotating_keys_under_load_refuse_nobody() {
    let publisher = Publisher::start();
    let first = Signer::p256();
    publisher.publish_keys(&[first.jwk("k0")]);
    let server = fetching(&publisher, &[]);
    let address = server.address();
    let rotations = 12_usize;
    let signers: Vec<_> = std::iter::once(first)
        .chain((1..=rotations).map(|_| Signer::p256()))
        .collect();
    let (current, requests, ended) = (
        AtomicUsize::new(0),
        AtomicUsize::new(0),
        AtomicBool::new(false),
    );

    thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                while !ended.load(Ordering::SeqCst) {
                    let at = current.load(Ordering::SeqCst);
                    let token = signers[at].access("ES256", &format!("k{at}"), "ada");
                    let reply = ask(address, &token);
                    assert_eq!(reply.status, 200, "key {at}: {}", reply.text());
                    requests.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        for at in 1..=rotations {
            let before = requests.load(Ordering::SeqCst);
            until("requests between two keys", || {
                requests.load(Ordering::SeqCst) > before + 20
            });
            // Published and used in the same moment; those before go on for the tokens that are out.
            let published = at.saturating_sub(3)..=at;
            let published = published.map(|number| signers[number].jwk(&format!("k{number}")));
            publisher.publish_keys(&published.collect::<Vec<_>>());
            current.store(at, Ordering::SeqCst);
        }
        let before = requests.load(Ordering::SeqCst);
        until("requests with the last key", || {
            requests.load(Ordering::SeqCst) > before + 20
        });
        ended.store(true, Ordering::SeqCst);
    });

    let fetches = publisher.count("/keys");
    println!(
        "{} requests over {rotations} rotations, {fetches} fetches",
        requests.into_inner()
    );
    assert!(fetches <= rotations * 2 + 1, "{fetches} fetches");
    refused(&server, &signers[0], "k0");
}

#[test]
fn keys_hold_while_the_issuer_is_away_and_are_fetched_when_it_is_back() {
    let (publisher, signer, next) = (Publisher::start(), Signer::p256(), Signer::p256());
    publisher.publish_keys(&[signer.jwk("k1")]);
    let server = fetching(
        &publisher,
        &[
            ("auth.jwks_refresh_s", "1"),
            ("auth.jwks_unknown_key_s", "1"),
        ],
    );
    for away in [
        Answer::Down,
        Answer::Status(503),
        Answer::Document("<html>".to_owned()),
        Answer::Document(r#"{"keys":[]}"#.to_owned()),
    ] {
        let before = publisher.count("/keys");
        publisher.publish("/keys", away);
        until("two fetches in vain", || {
            publisher.count("/keys") >= before + 2
        });
        accepted(&server, &signer, "k1");
    }
    assert!(server.log().contains("cannot fetch the keys of an issuer"));

    publisher.publish_keys(&[next.jwk("k2")]);

    until("the next key", || {
        ask(server.address(), &next.access("ES256", "k2", "ada")).status == 200
    });
    refused(&server, &signer, "k1");
}

#[test]
fn server_starts_without_the_issuer() {
    let (publisher, signer) = (Publisher::start(), Signer::p256());
    publisher.publish("/keys", Answer::Down);
    let server = fetching(&publisher, &[("auth.jwks_refresh_s", "1")]);
    refused(&server, &signer, "k1");
    let user = server.user();
    server.profile(&user);

    publisher.publish_keys(&[signer.jwk("k1")]);

    until("the key", || {
        ask(server.address(), &signer.access("ES256", "k1", "ada")).status == 200
    });
}

#[test]
fn document_is_bounded_in_size_and_time_and_does_not_lead_elsewhere() {
    let signer = Signer::p256();
    let set = jwks(&[signer.jwk("k1")]);
    let elsewhere = Publisher::start();
    elsewhere.publish("/keys", Answer::Document(set.clone()));
    let padded = set.replacen('{', &format!("{{\"x\":\"{}\",", "x".repeat(300_000)), 1);
    for (what, answer, is_taken) in [
        ("too large", Answer::Document(padded), false),
        ("too slow", Answer::Silence(Duration::from_secs(3)), false),
        ("elsewhere", Answer::Redirect(elsewhere.url("/keys")), false),
        (
            "by a name",
            Answer::Redirect("https://example.org/keys".to_owned()),
            false,
        ),
        ("in circles", Answer::Redirect("/keys".to_owned()), false),
        (
            "to a file",
            Answer::Redirect("file:///etc/passwd".to_owned()),
            false,
        ),
        ("the same host", Answer::Redirect("/moved".to_owned()), true),
    ] {
        let publisher = Publisher::start();
        publisher.publish("/keys", answer);
        publisher.publish("/moved", Answer::Document(set.clone()));
        let begin = Instant::now();
        let server = fetching(&publisher, &[("auth.jwks_timeout_ms", "1000")]);
        if is_taken {
            accepted(&server, &signer, "k1");
        } else {
            refused(&server, &signer, "k1");
        }
        assert!(publisher.count("/keys") >= 1, "{what}");
        assert!(begin.elapsed() < DEADLINE, "{what}");
    }
    assert_eq!(elsewhere.count("/keys"), 0);
}

fn discovery(publisher: &Publisher, issuer: &str, document: &Value) -> Server {
    publisher.publish(
        "/realm/.well-known/openid-configuration",
        Answer::Document(document.to_string()),
    );
    let table =
        format!("[{{ name = \"sso\", id_prefix = \"\", issuer = {issuer:?}, discovery = true }}]");
    Setup::new().set("auth.issuers", &table).start()
}

#[test]
fn discovery_document_leads_to_the_keys_of_its_own_issuer_only() {
    let signer = Signer::p256();
    let from = |issuer: &str| {
        let mut all = claims("ada");
        all["iss"] = json!(issuer);
        signer.token(&json!({ "alg": "ES256", "kid": "k1" }), &all)
    };
    let publisher = Publisher::start();
    publisher.publish_keys(&[signer.jwk("k1")]);
    let (issuer, keys) = (publisher.url("/realm"), publisher.url("/keys"));

    let server = discovery(
        &publisher,
        &issuer,
        &json!({ "issuer": issuer, "jwks_uri": keys }),
    );
    ask(server.address(), &from(&issuer)).expect(200);
    ask(server.address(), &from("https://example.org")).expect(401);
    assert_eq!(publisher.count("/keys"), 1);

    for wrong in [
        json!({ "issuer": format!("{issuer}/"), "jwks_uri": keys }),
        json!({ "issuer": "https://example.org", "jwks_uri": keys }),
        json!({ "jwks_uri": keys }),
        json!({ "issuer": issuer }),
        json!({ "issuer": issuer, "jwks_uri": "http://10.0.0.1/keys" }),
        json!({ "issuer": issuer, "jwks_uri": "file:///etc/passwd" }),
        json!([]),
    ] {
        let publisher_before = publisher.count("/keys");
        let server = discovery(&publisher, &issuer, &wrong);
        ask(server.address(), &from(&issuer)).expect(401);
        assert_eq!(publisher.count("/keys"), publisher_before, "{wrong}");
    }
}

/// Changes the configuration of a running server and asks it to read it anew.
fn reload(server: &Server, from: &str, to: &str, words: &str) {
    let file = server.home().path().join("test.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.contains(from), "{text}");
    std::fs::write(&file, text.replace(from, to)).unwrap();
    let before = server.log().matches(words).count();
    server.signal(Signal::HUP);
    until(words, || server.log().matches(words).count() > before);
}

const READ_ANEW: &str = "the keys are read anew";
const HELD: &str = "the keys before hold";

#[test]
fn hang_up_reads_all_keys_anew_and_drops_no_request() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key.pem");
    let (old, new) = (Signer::p256(), Signer::p256());
    std::fs::write(&file, old.pem()).unwrap();
    let table = format!(
        "[{{ name = \"sso\", id_prefix = \"\", keys = [{{ algorithms = [\"ES256\"], public_key_file = {file:?} }}] }}]"
    );
    let server = Setup::new().set("auth.issuers", &table).start();
    let user = server.user();
    let address = server.address();
    accepted(&server, &old, "k");
    refused(&server, &new, "k");

    let ended = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !ended.load(Ordering::SeqCst) {
                    ask(address, &user.access).expect(200);
                }
            });
        }
        for round in 0..6 {
            let signer = if round % 2 == 0 { &new } else { &old };
            std::fs::write(&file, signer.pem()).unwrap();
            reload(&server, "sso", "sso", READ_ANEW);
            accepted(&server, signer, "k");
        }
        ended.store(true, Ordering::SeqCst);
    });
    refused(&server, &new, "k");

    // An issuer more, one less, and another secret of our own.
    let other = "another secret of the tests, 32 bytes and more";
    reload(&server, crate::support::token::SECRET, other, READ_ANEW);
    ask(address, &user.access).expect(401);
    let signer = Signer::Secret(other.as_bytes().to_vec());
    let token = signer.token(&json!({ "alg": "HS256" }), &access_claims(&user.id));
    ask(address, &token).expect(200);
    let again = server.register("again@example.org", "correct horse battery");
    server.profile(&again);
    reload(&server, "auth.issuers", "auth.issuers = []\n#", READ_ANEW);
    refused(&server, &old, "k");
}

#[test]
fn reload_that_fails_keeps_the_keys_and_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key.pem");
    let signer = Signer::p256();
    std::fs::write(&file, signer.pem()).unwrap();
    let table = format!(
        "[{{ name = \"sso\", id_prefix = \"\", keys = [{{ algorithms = [\"ES256\"], public_key_file = {file:?} }}] }}]"
    );
    let server = Setup::new().set("auth.issuers", &table).start();
    let user = server.user();

    std::fs::write(&file, "no key").unwrap();
    reload(&server, "sso", "sso", HELD);
    accepted(&server, &signer, "k");
    assert!(
        server.log().contains("is not a PEM file"),
        "{}",
        server.log()
    );
    std::fs::remove_file(&file).unwrap();
    reload(&server, "sso", "sso", HELD);
    reload(&server, "\"ES256\"", "\"ES999\"", HELD);
    reload(&server, "\"ES999\"", "\"ES256\"] ]", HELD);
    accepted(&server, &signer, "k");
    server.profile(&user);
}

#[test]
fn reload_keeps_what_is_known_of_keys_elsewhere() {
    let (publisher, signer) = (Publisher::start(), Signer::p256());
    publisher.publish_keys(&[signer.jwk("k1")]);
    let server = fetching(&publisher, &[]);
    publisher.publish("/keys", Answer::Down);

    reload(&server, "sso", "sso", READ_ANEW);

    accepted(&server, &signer, "k1");
    assert_eq!(publisher.count("/keys"), 1);
    let other = "auth.jwks_refresh_s = 299\nauth.issuers";
    reload(&server, "auth.issuers", other, READ_ANEW);
    accepted(&server, &signer, "k1");
    // They are still followed.
    let next = Signer::p256();
    publisher.publish_keys(&[next.jwk("k2")]);
    accepted(&server, &next, "k2");
}
