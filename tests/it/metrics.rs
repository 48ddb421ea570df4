//! `[metrics]`: what Prometheus reads, on a listener of its own.

mod scrapers;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::client::Reply;
use crate::support::process::{assert_failed, children};
use crate::support::raw::Raw;
use crate::support::{DEADLINE, Request, Server, Setup, fixture};

fn server() -> Server {
    Server::with(&[("metrics.listen", "\"127.0.0.1:0\"")])
}

/// The address that the log names.
fn address(server: &Server) -> SocketAddr {
    let until = Instant::now() + DEADLINE;
    // The log comes by another pipe than the line that says that the server listens.
    let line = loop {
        let log = server.log();
        if let Some(line) = log.lines().find(|line| line.contains("serving metrics")) {
            break line.to_owned();
        }
        assert!(Instant::now() < until, "no line about metrics: {log}");
        std::thread::sleep(Duration::from_millis(5));
    };
    let (_, rest) = line.split_once("http://").unwrap();
    let end = rest.find("/metrics").unwrap();
    rest[..end].parse().unwrap()
}

pub fn scrape(server: &Server) -> String {
    let reply: Reply = Request::get("/metrics").send(address(server)).expect(200);
    assert_eq!(
        reply.field("content-type"),
        Some("text/plain; version=0.0.4; charset=utf-8")
    );
    String::from_utf8(reply.body).unwrap()
}

/// The value of a sample, given with its labels.
#[track_caller]
pub fn value(text: &str, sample: &str) -> u64 {
    let line = text.lines().find(|line| {
        line.strip_prefix(sample)
            .is_some_and(|rest| rest.starts_with(' '))
    });
    let line = line.unwrap_or_else(|| panic!("no {sample} in {text}"));
    line.rsplit_once(' ').unwrap().1.parse().unwrap()
}

#[test]
fn uploads_and_refusals_are_counted() {
    let server = server();
    let (user, _) = server.user_with_picture();
    server.upload(&user, b"not a picture").expect(400);
    server.get("/nothing/at/all").expect(404);

    let text = scrape(&server);

    let requests = |labels: &str| value(&text, &format!("pockitd_http_requests_total{{{labels}}}"));
    assert_eq!(
        requests(r#"route="replace_picture",method="POST",code="200""#),
        1
    );
    assert_eq!(
        requests(r#"route="replace_picture",method="POST",code="400""#),
        1
    );
    assert_eq!(requests(r#"route="none",method="GET",code="404""#), 1);
    assert_eq!(requests(r#"route="register",method="POST",code="201""#), 1);
    let rejected = r#"pockitd_image_rejected_total{reason="not_an_image"}"#;
    assert_eq!(value(&text, rejected), 1);
    assert_eq!(value(&text, "pockitd_upload_size_bytes_count"), 2);
    let sent = fixture("orientation-1.jpg").len() + b"not a picture".len();
    assert_eq!(value(&text, "pockitd_upload_size_bytes_sum"), sent as u64);
    for (stage, count) in [
        ("receive", 2),
        ("turn", 2),
        ("render", 2),
        ("decode", 2),
        ("resize", 1),
        ("encode", 1),
        ("commit", 1),
    ] {
        let name = "pockitd_image_stage_duration_seconds";
        assert_eq!(
            value(&text, &format!("{name}_count{{stage=\"{stage}\"}}")),
            count,
            "{stage}"
        );
        assert!(text.contains(&format!("{name}_sum{{stage=\"{stage}\"}} ")));
    }
    let duration = r#"pockitd_http_request_duration_seconds_count{route="replace_picture"}"#;
    assert_eq!(value(&text, duration), 2);
    assert_eq!(value(&text, "pockitd_users"), 1);
    assert_eq!(value(&text, "pockitd_pictures"), 1);
    assert_eq!(value(&text, "pockitd_decode_in_progress"), 0);
    assert_eq!(
        value(&text, r#"pockitd_worker_deaths_total{cause="signal"}"#),
        0
    );
    assert!(value(&text, "pockitd_store_size_bytes") > 1_000);
    for check in ["store", "workers"] {
        assert_eq!(
            value(&text, &format!("pockitd_ready{{check=\"{check}\"}}")),
            1
        );
    }
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(
        value(
            &text,
            &format!("pockitd_build_info{{version=\"{version}\"}}")
        ),
        1
    );
}

#[test]
fn what_workers_do_is_timed_by_step_within_the_time_at_the_workers() {
    let server = server();
    let user = server.user();
    // Seen by one worker, decoded by another: one upload.
    server.upload(&user, &fixture("single.heic")).expect(200);
    server.upload(&user, &fixture("rgb.png")).expect(200);

    let text = scrape(&server);

    let sum = |stage: &str| {
        let name = "pockitd_image_stage_duration_seconds";
        assert_eq!(
            value(&text, &format!("{name}_count{{stage=\"{stage}\"}}")),
            2,
            "{stage}"
        );
        let sample = format!("{name}_sum{{stage=\"{stage}\"}} ");
        let sum = text.lines().find_map(|line| line.strip_prefix(&sample));
        sum.unwrap().parse::<f64>().unwrap()
    };
    let steps = ["decode", "resize", "encode"].map(sum);
    assert!(steps.iter().all(|step| *step > 0.0), "{steps:?}");
    assert!(steps.iter().sum::<f64>() <= sum("render"), "{steps:?}");
}

#[test]
fn rate_limit_is_counted() {
    let server = Server::with(&[
        ("metrics.listen", "\"127.0.0.1:0\""),
        ("rate_limit.uploads_per_hour", "1"),
    ]);
    let (user, _) = server.user_with_picture();

    server
        .upload(&user, &fixture("orientation-1.jpg"))
        .expect(429);

    let text = scrape(&server);
    let limited = |policy: &str| {
        let sample = format!("pockitd_rate_limited_total{{policy=\"{policy}\"}}");
        value(&text, &sample)
    };
    assert_eq!((limited("upload"), limited("login-address")), (1, 0));
}

#[test]
fn commits_are_counted_with_the_time_that_the_disk_took() {
    let server = server();
    let (user, _) = server.user_with_picture();
    server.upload(&user, b"not a picture").expect(400);
    server.profile(&user);

    let text = scrape(&server);

    let commits = |outcome: &str| format!("pockitd_store_commits_total{{outcome=\"{outcome}\"}}");
    assert_eq!(value(&text, &commits("durable")), 2, "a user, a picture");
    assert_eq!(value(&text, &commits("failed")), 0);
    assert_eq!(value(&text, "pockitd_store_changes_total"), 2);
    let flush = "pockitd_store_flush_duration_seconds";
    assert_eq!(value(&text, &format!("{flush}_count")), 2);
    let sum = text.lines().find_map(|line| {
        let sum = line.strip_prefix(flush)?.strip_prefix("_sum ")?;
        sum.parse::<f64>().ok()
    });
    assert!(sum.is_some_and(|sum| sum > 0.0), "{sum:?}");
}

#[test]
fn garbage_that_was_removed_is_counted() {
    let mut server = server();
    let (user, _) = server.user_with_picture();
    server.stop();
    let picture = Raw::open(&server.home().data_dir()).picture_of(&user.id);
    server.restart();
    server.upload(&user, &fixture("rgb.png")).expect(200);
    server.stop();
    Raw::open(&server.home().data_dir()).put(&picture.parts());
    server.restart();

    server.home().run(&["gc-pictures"]).expect(0);

    let text = scrape(&server);
    let removed = |kind: &str| format!("pockitd_gc_removed_total{{kind=\"{kind}\"}}");
    let parts = picture.parts().count() as u64;
    assert!(parts > 0);
    assert_eq!(value(&text, &removed("orphan_part")), parts);
    assert_eq!(value(&text, &removed("orphan_picture")), 0);
    let repaired = r#"pockitd_store_repairs_total{problem="wrong_counts"}"#;
    assert_eq!(value(&text, repaired), 0);
}

#[test]
fn workers_are_counted_alive_and_replaced_by_cause() {
    let server = Server::with(&[
        ("metrics.listen", "\"127.0.0.1:0\""),
        ("workers.count", "1"),
    ]);
    let user = server.user();
    server.upload(&user, &fixture("single.heic")).expect(200);
    let until = |what: &str, holds: &dyn Fn(&str) -> bool| {
        let begun = Instant::now();
        loop {
            let text = scrape(&server);
            if holds(&text) {
                return text;
            }
            assert!(begun.elapsed() < DEADLINE, "{what}: {text}");
        }
    };
    // A fresh one, and the one that made the placeholder.
    let text = until("two wait", &|text| {
        value(text, "pockitd_workers_ready") == 2
    });
    assert_eq!(value(&text, "pockitd_workers_alive"), 2);
    let retired = |cause: &str| format!("pockitd_worker_retirements_total{{cause=\"{cause}\"}}");
    assert_eq!(value(&text, &retired("native")), 1);
    assert_eq!(value(&text, &retired("abandoned")), 0);

    for id in children(server.process_id()) {
        kill_process(Pid::from_raw(id).unwrap(), Signal::KILL).unwrap();
    }

    let outside = r#"pockitd_worker_deaths_total{cause="outside"}"#;
    until("both are missed", &|text| value(text, outside) == 2);
    // Without a picture to make.
    until("others come", &|text| {
        value(text, "pockitd_workers_alive") >= 1
    });
    server.upload(&user, &fixture("rgb.png")).expect(200);
}

#[test]
fn nothing_that_a_client_chooses_is_in_a_label() {
    let server = server();
    let (user, profile) = server.user_with_picture();
    server
        .get(&format!("/api/users/{}/profile/", user.id))
        .expect(200);
    server.pictures(&profile);
    server.send(&Request::new("BREW", "/teapot")).expect(404);
    let before = scrape(&server).lines().count();
    for number in 0..20 {
        server.get(&format!("/made/up/{number}")).expect(404);
        server
            .send(&Request::new(&format!("BREW{number}"), "/teapot"))
            .expect(404);
    }

    let text = scrape(&server);

    let picture = profile["picture"]["id"].as_str().unwrap();
    for word in [&user.id, &user.email, picture, "teapot", "BREW"] {
        assert!(!text.contains(word), "{word}: {text}");
    }
    // One series more: the first GET that led nowhere, with its status.
    assert!(text.lines().count() <= before + 1, "{text}");
}

#[test]
fn page_is_in_the_format_that_prometheus_reads() {
    let server = server();
    server.user_with_picture();

    let text = scrape(&server);

    let mut kind: Option<(String, String)> = None;
    let mut seen = Vec::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            assert!(rest.contains(' '), "{line}");
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, of) = rest.split_once(' ').unwrap();
            assert!(["counter", "gauge", "histogram"].contains(&of), "{line}");
            assert!(!seen.contains(&name.to_owned()), "{name} twice");
            assert_eq!(of == "counter", name.ends_with("_total"), "{line}");
            seen.push(name.to_owned());
            kind = Some((name.to_owned(), of.to_owned()));
        } else {
            let (name, of) = kind.as_ref().unwrap();
            let own = line.split(['{', ' ']).next().unwrap();
            let rest = own
                .strip_prefix(name.as_str())
                .unwrap_or_else(|| panic!("{line} below {name}"));
            let fits = if of == "histogram" {
                ["_bucket", "_sum", "_count"].contains(&rest)
            } else {
                rest.is_empty()
            };
            assert!(fits, "{line}");
            let value = line.rsplit_once(' ').unwrap().1;
            assert!(
                value.parse::<f64>().is_ok_and(|value| value >= 0.0),
                "{line}"
            );
        }
    }
    assert!(seen.len() > 15, "{seen:?}");
}

#[test]
fn metrics_are_on_their_own_listener_only_and_nothing_else_is() {
    let server = server();

    server.get("/metrics").expect(404);
    Request::get("/healthz").send(address(&server)).expect(404);
    let posted = Request::post("/metrics").send(address(&server)).expect(405);

    assert_eq!(posted.field("allow"), Some("GET, HEAD"));
}

#[test]
fn metrics_are_off_unless_asked_for() {
    let server = Server::start();

    assert!(!server.log().contains("metrics"), "{}", server.log());
}

#[test]
fn address_of_metrics_that_is_in_use_is_named_with_its_key() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let home = Setup::new()
        .set("metrics.listen", &format!("{address:?}"))
        .home();

    assert_failed(&home.run(&["serve"]), &[&address, "metrics.listen"]);
}

#[test]
fn dashboard_asks_for_what_there_is() {
    let server = server();
    let (user, _) = server.user_with_picture();
    server.upload(&user, b"not a picture").expect(400);
    let text = scrape(&server);
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/dashboard.json");
    let dashboard: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();

    let mut asked = 0;
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().unwrap() {
            let expression = target["expr"].as_str().unwrap();
            let words = expression.split(|c: char| !c.is_alphanumeric() && c != '_');
            for name in words.filter(|word| word.starts_with("pockitd_")) {
                asked += 1;
                let there = |end: &str| text.contains(&format!("\n{name}{end}"));
                assert!(there("{") || there(" "), "{name} in {expression}");
            }
        }
    }
    assert!(asked > 10, "{asked}");
}

#[test]
fn readme_lists_every_metric_and_no_other() {
    let server = server();
    let (user, _) = server.user_with_picture();
    server.upload(&user, b"not a picture").expect(400);
    let text = scrape(&server);
    let kinds = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let there: BTreeSet<&str> = kinds
        .filter_map(|line| line.split(' ').next()?.strip_prefix("pockitd_"))
        .collect();

    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
    let readme = std::fs::read_to_string(file).unwrap();
    let (_, table) = readme.split_once("| `pockitd_…` | what |").unwrap();
    let rows = table
        .lines()
        .skip(2)
        .take_while(|line| line.starts_with('|'));
    let told: BTreeSet<&str> = rows
        .flat_map(|row| row.split('|').nth(1).unwrap().split('`').skip(1).step_by(2))
        .filter(|name| !name.starts_with('{'))
        .collect();

    assert_eq!(told, there);
}
