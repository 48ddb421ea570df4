//! `pockitd bench-upload`: what it measures of a private server and of one that runs, and what it refuses to do.

mod faults;

use serde_json::{Value, json};

use crate::support::process::{Outcome, assert_failed};
use crate::support::secure::file;
use crate::support::server::Home;
use crate::support::{Server, Setup, fixture};

/// Small photos, no warm-up, figures on stdout.
const QUICK: [&str; 7] = [
    "bench-upload",
    "--synthetic",
    "1mp",
    "--warm-up",
    "0s",
    "--json",
    "-",
];

fn bench(home: &Home, arguments: &[&str]) -> Outcome {
    home.run(&[&QUICK, arguments].concat())
}

fn figures(outcome: &Outcome) -> Value {
    serde_json::from_str(&outcome.stdout).unwrap_or_else(|error| panic!("{error}: {outcome:?}"))
}

#[test]
fn private_server_is_measured_verified_and_removed() {
    let home = Setup::bare().home();

    let outcome = home
        .run(&[
            "bench-upload",
            "--synthetic",
            "1mp,png",
            "--uploads",
            "12",
            "--warm-up",
            "100ms",
            "--concurrency",
            "2",
            "--json",
            "figures.json",
            "--fail-over",
            "errors=0",
            "--fail-over",
            "max=30s",
        ])
        .expect(0);

    for words in [
        "12 accepted, 0 refused",
        "p99.9",
        "200: 12",
        "an upload",
        "##",
    ] {
        assert!(
            outcome.stdout.contains(words),
            "{words}: {}",
            outcome.stdout
        );
    }
    let text = std::fs::read_to_string(home.path().join("figures.json")).unwrap();
    let figures: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(figures["accepted"], json!(12));
    assert_eq!(figures["statuses"], json!({ "200": 12 }));
    assert_eq!(figures["failures"], json!({}));
    assert_eq!(figures["missed"], json!([]));
    let verified = json!({ "profiles": 2, "pictures": 4, "wrong": [] });
    assert_eq!(figures["verified"], verified);
    let cost = |name: &str| figures["server_cost"][name].as_f64().unwrap();
    assert!(cost("cpu_seconds") > 0.0, "{figures}");
    assert!(
        cost("memory_peak_bytes") >= cost("memory_before_bytes"),
        "{figures}"
    );
    let latency = ["min", "p50", "p90", "p99", "p99.9", "max"]
        .map(|name| figures["latency_seconds"][name].as_f64().unwrap());
    assert!(latency[0] > 0.0 && latency.is_sorted(), "{latency:?}");
    let left: Vec<_> = std::fs::read_dir(home.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .filter(|name| name != "test.toml" && name != "figures.json")
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn made_heic_is_taken_as_a_photo_of_a_phone() {
    let home = Setup::bare().home();

    let outcome = home
        .run(&[
            "bench-upload",
            "--synthetic",
            "heic",
            "--uploads",
            "1",
            "--warm-up",
            "0s",
            "--json",
            "-",
            // Twelve megapixels take long without optimisation.
            "--timeout",
            "2m",
            "--set",
            "workers.deadline_ms=120000",
        ])
        .expect(0);

    let figures = figures(&outcome);
    assert_eq!(figures["statuses"], json!({ "200": 1 }));
    assert_eq!(figures["verified"]["wrong"], json!([]));
    let photo = &figures["photos"][0];
    assert_eq!(photo["name"], json!("HEIC 4032x3024"), "{figures}");
}

#[test]
fn private_server_has_the_configuration_that_was_given() {
    let home = Setup::bare()
        .set("http.upload_bytes_max", "1000")
        .set("http.public_url", "\"https://pictures.example.org\"")
        .home();

    let refused = bench(&home, &["--uploads", "3"]).expect(1);
    let taken = bench(
        &home,
        &[
            "--uploads",
            "3",
            "--set",
            "http.upload_bytes_max=5000000",
            "--set",
            "picture.sizes_px=[256, 64]",
        ],
    )
    .expect(0);

    assert!(
        refused.stderr.contains("no upload was accepted"),
        "{}",
        refused.stderr
    );
    let example = figures(&refused)["examples"]["400"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(example.contains("1000"), "{example}");
    assert_eq!(figures(&taken)["verified"]["wrong"], json!([]));
}

#[test]
fn private_server_limits_no_rate_of_its_only_address() {
    let home = Setup::bare()
        .set("rate_limit.uploads_per_hour", "2")
        .set("rate_limit.uploads_per_hour_per_address", "2")
        .set("rate_limit.requests_per_minute_per_user", "2")
        .set("rate_limit.requests_per_minute_per_address", "2")
        .home();

    let measured = bench(&home, &["--uploads", "12", "--users", "1"]).expect(0);

    let statuses = &figures(&measured)["statuses"];
    assert_eq!(*statuses, json!({ "200": 12 }), "{measured:?}");
}

#[test]
fn private_server_is_beside_one_with_metrics_and_tls() {
    let server = crate::support::secure::setup()
        .set("metrics.listen", "\"127.0.0.1:0\"")
        .start();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();

    let metrics = format!("metrics.listen={address}");
    let measured = bench(server.home(), &["--uploads", "2", "--set", &metrics]);

    assert_eq!(figures(&measured.expect(0))["verified"]["wrong"], json!([]));
}

#[test]
fn running_server_is_measured_with_users_that_register() {
    let server = Server::with(&[("rate_limit.uploads_per_hour", "3")]);
    let home = server.home();
    let url = format!("http://{}", server.address());

    let within = bench(home, &["--url", &url, "--uploads", "6", "--users", "2"]).expect(0);
    let limited = [
        "--url",
        &url,
        "--uploads",
        "6",
        "--users",
        "1",
        "--concurrency",
        "1",
    ];
    let over = bench(home, &limited).expect(0);
    let strict = bench(
        home,
        &[&limited[..], &["--fail-over", "errors=49%"]].concat(),
    )
    .expect(1);

    assert_eq!(figures(&within)["accepted"], json!(6));
    assert_eq!(figures(&within)["server_cost"], Value::Null);
    assert_eq!(figures(&over)["statuses"], json!({ "200": 3, "429": 3 }));
    assert_eq!(figures(&over)["verified"]["pictures"], json!(2));
    assert!(
        strict.stderr.contains("50.00% of the uploads"),
        "{}",
        strict.stderr
    );
}

#[test]
fn running_server_is_measured_with_tokens_and_files_that_are_given() {
    let server = Server::start();
    let (ada, bob) = (server.user(), server.user());
    let home = server.home();
    let url = format!("http://{}", server.address());
    std::fs::write(home.path().join("tokens"), format!("{}\n\n", bob.access)).unwrap();
    std::fs::write(home.path().join("photo.png"), fixture("rgb.png")).unwrap();

    home.run(&[
        "bench-upload",
        "--url",
        &url,
        "--token",
        &ada.access,
        "--token-file",
        "tokens",
        "--image",
        "photo.png",
        "--uploads",
        "4",
        "--warm-up",
        "0s",
    ])
    .expect(0);

    for user in [ada, bob] {
        assert_eq!(server.profile(&user)["has_picture"], json!(true));
    }
}

#[test]
fn running_server_is_measured_over_tls_if_its_certificate_is_trusted() {
    let server = crate::support::secure::setup().start();
    let home = server.home();
    let url = format!("https://127.0.0.1:{}", server.address().port());
    let (one, two) = (file("one.pem"), file("two.pem"));
    let run = |more: &[&str]| {
        let load = ["--url", &url, "--uploads", "3", "--users", "1"];
        bench(home, &[&load[..], more].concat())
    };

    for more in [&[][..], &["--no-keep-alive"]] {
        let measured = run(&[&["--ca", &one], more].concat()).expect(0);
        assert_eq!(figures(&measured)["accepted"], json!(3));
        assert_eq!(figures(&measured)["verified"]["pictures"], json!(2));
    }
    for untrusted in [run(&[]), run(&["--ca", &two])] {
        assert_failed(&untrusted, &[&url, "certificate", "--ca"]);
    }
    let elsewhere = url.replace("127.0.0.1", "127.0.0.2");
    let other_name = bench(home, &["--url", &elsewhere, "--ca", &one]);
    assert_failed(&other_name, &[&elsewhere]);
}

#[test]
fn server_without_tls_at_an_https_url_is_told() {
    let server = Server::start();
    let url = format!("https://127.0.0.1:{}", server.address().port());

    let outcome = bench(server.home(), &["--url", &url, "--ca", &file("one.pem")]);

    assert_failed(&outcome, &[&url, "does it speak TLS"]);
}

#[test]
fn token_that_expires_before_the_end_is_refused_before_the_begin() {
    let server = Server::with(&[("auth.access_ttl_s", "60")]);
    let url = format!("http://{}", server.address());

    let outcome = bench(server.home(), &["--url", &url, "--duration", "2m"]);

    assert_failed(&outcome, &["expires", "120 s", "--ttl"]);
}

#[test]
fn arguments_that_cannot_work_are_usage_errors_that_say_what_can() {
    let home = Setup::bare().home();
    for (arguments, words) in [
        (&["--synthetic", "huge"][..], "12mp"),
        (&["--ca", "ca.pem"], "--url"),
        (&["--fail-over", "p98=5s"], "p99.9=5s"),
        (&["--rate", "0"], "a second"),
        (&["--duration", "10"], "1.5s"),
        (&["--token", "x"], "--url"),
        (
            &["--uploads", "1", "--duration", "1s"],
            "cannot be used with",
        ),
    ] {
        let outcome = home.run(&[&["bench-upload"], arguments].concat()).expect(2);
        assert!(
            outcome.stderr.contains(words),
            "{arguments:?}: {}",
            outcome.stderr
        );
    }
    assert_failed(&bench(&home, &["--image", "nothing.jpg"]), &["nothing.jpg"]);
}
