//! What `pockitd bench-upload` says of servers that stall, fail, lie or are not there.

use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use super::{bench, figures};
use crate::support::fake::{Fake, Said};
use crate::support::process::{Process, assert_failed};
use crate::support::{DEADLINE, Server, Setup, fixture};

/// A profile whose picture is at `/picture`.
fn profile() -> Vec<u8> {
    let picture =
        json!({ "width": 512, "height": 512, "urls": { "512": "http://elsewhere.test/picture" } });
    let profile =
        json!({ "profile_picture_url": "http://elsewhere.test/picture", "picture": picture });
    profile.to_string().into_bytes()
}

type Answer = fn(&str) -> Said;

#[expect(
    clippy::unnecessary_wraps,
    reason = "what a fake server answers with may be nothing"
)]
fn accepted(_: &str) -> Said {
    Some((200, profile()))
}

/// A server that answers at once, but for one second in which everybody waits.
fn stalling() -> Fake {
    let begin: Mutex<Option<Instant>> = Mutex::new(None);
    Fake::start(move |line| {
        if !line.starts_with("POST") {
            return accepted(line);
        }
        let since = begin
            .lock()
            .unwrap()
            .get_or_insert_with(Instant::now)
            .elapsed();
        let (from, to) = (Duration::from_millis(300), Duration::from_millis(1_300));
        if since >= from && since < to {
            thread::sleep(to.saturating_sub(since));
        }
        accepted(line)
    })
}

#[test]
fn stall_shows_in_the_latencies_of_all_that_were_due_meanwhile() {
    let home = Setup::bare().home();
    let load = [
        "--token",
        "x",
        "--concurrency",
        "4",
        "--duration",
        "2s",
        "--verify",
        "0",
    ];
    let (open, closed) = (stalling(), stalling());

    let at_a_rate = [
        &load[..],
        &[
            "--url",
            open.url(),
            "--rate",
            "50",
            "--fail-over",
            "p99=500ms",
        ],
    ]
    .concat();
    let at_a_rate = bench(&home, &at_a_rate).expect(1);
    let one_after_the_other = [&load[..], &["--url", closed.url()]].concat();
    let one_after_the_other = bench(&home, &one_after_the_other).expect(0);

    // Half of the hundred were due during the stall, most of them long before its end.
    let found = figures(&at_a_rate);
    assert_eq!(found["attempts"], json!(100));
    let p90 = found["latency_seconds"]["p90"].as_f64().unwrap();
    assert!(p90 > 0.6, "{p90}");
    assert!(at_a_rate.stderr.contains("p99 is "), "{}", at_a_rate.stderr);
    // The closed loop sends nothing during the stall, and so hides it: only four uploads were late.
    let p90 = figures(&one_after_the_other)["latency_seconds"]["p90"]
        .as_f64()
        .unwrap();
    assert!(p90 < 0.6, "{p90}");
}

#[test]
fn server_that_never_answers_shows_as_waiting_time_and_not_as_nothing() {
    let home = Setup::bare().home();
    let fake = Fake::start(|line| {
        if line.starts_with("POST") {
            thread::sleep(Duration::from_secs(20));
        }
        accepted(line)
    });

    let outcome = bench(
        &home,
        &[
            "--url",
            fake.url(),
            "--token",
            "x",
            "--rate",
            "20",
            "--concurrency",
            "2",
            "--duration",
            "1s",
            "--timeout",
            "300ms",
            "--fail-over",
            "p50=100ms",
        ],
    )
    .expect(1);

    let found = figures(&outcome);
    let count = |name: &str| found["failures"][name].as_u64().unwrap();
    assert_eq!(count("timed out") + count("not sent"), 20, "{found}");
    assert!(outcome.stderr.contains("p50 is "), "{}", outcome.stderr);
}

#[test]
fn server_that_fails_is_a_failure_with_its_statuses() {
    let home = Setup::bare().home();
    let fake = Fake::start(|_| Some((500, b"out of order".to_vec())));

    let loaded = bench(
        &home,
        &[
            "--url",
            fake.url(),
            "--token",
            "x",
            "--uploads",
            "5",
            "--fail-over",
            "p99=5s",
        ],
    )
    .expect(1);
    let unregistered = bench(&home, &["--url", fake.url(), "--uploads", "5"]);

    let found = figures(&loaded);
    assert_eq!(found["statuses"], json!({ "500": 5 }));
    assert_eq!(found["examples"]["500"], json!("out of order"));
    assert!(
        loaded.stderr.contains("no upload was accepted"),
        "{}",
        loaded.stderr
    );
    assert!(
        loaded.stderr.contains("there is no p99"),
        "{}",
        loaded.stderr
    );
    assert_failed(
        &unregistered,
        &["cannot register", "500", "out of order", "--token"],
    );
}

#[test]
fn connections_that_break_are_counted_by_kind() {
    let home = Setup::bare().home();
    let fake = Fake::start(|line| {
        if line.starts_with("POST") {
            thread::sleep(Duration::from_millis(300));
            None
        } else {
            accepted(line)
        }
    });

    let outcome = bench(
        &home,
        &["--url", fake.url(), "--token", "x", "--uploads", "3"],
    )
    .expect(1);

    // A server cannot hide how long it kept people waiting by hanging up.
    let longest = figures(&outcome)["latency_seconds"]["max"].as_f64();
    assert!(longest.is_some_and(|seconds| seconds >= 0.3), "{outcome:?}");

    assert_eq!(
        figures(&outcome)["failures"],
        json!({ "connection broken": 3 })
    );
}

#[test]
fn nobody_at_the_address_is_told_in_one_sentence() {
    let home = Setup::bare().home();
    let free = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let url = format!("http://{free}");

    for token in [&["--token", "x"][..], &[]] {
        let outcome = bench(&home, &[&["--url", &url][..], token].concat());

        assert_failed(&outcome, &[&url, "refused", "does a server listen"]);
        assert_eq!(outcome.stderr.lines().count(), 1, "{}", outcome.stderr);
    }
}

#[test]
fn wrong_answers_are_found() {
    let home = Setup::bare().home();
    let too_small = fixture("orientation-1.jpg");
    let cases: [(&str, Answer); 3] = [
        ("not a JPEG", |line| {
            Some((
                200,
                if line.contains("/picture ") {
                    b"GIF89a".to_vec()
                } else {
                    profile()
                },
            ))
        }),
        ("status 404", |line| {
            if line.contains("/picture ") {
                Some((404, Vec::new()))
            } else {
                accepted(line)
            }
        }),
        ("no picture.width", |_| {
            Some((200, br#"{"profile_picture_url":"/picture"}"#.to_vec()))
        }),
    ];
    for (words, answer) in cases {
        let fake = Fake::start(answer);
        let outcome = bench(
            &home,
            &["--url", fake.url(), "--token", "x", "--uploads", "2"],
        )
        .expect(1);
        assert!(
            outcome.stderr.contains(words),
            "{words}: {}",
            outcome.stderr
        );
        assert_eq!(figures(&outcome)["accepted"], json!(2));
    }
    let fake = Fake::start(move |line| {
        Some((
            200,
            if line.contains("/picture ") {
                too_small.clone()
            } else {
                profile()
            },
        ))
    });
    let outcome = bench(
        &home,
        &["--url", fake.url(), "--token", "x", "--uploads", "2"],
    )
    .expect(1);
    assert!(
        outcome.stderr.contains("which is not what 512x512"),
        "{}",
        outcome.stderr
    );
}

#[test]
fn picture_that_is_cut_off_is_found_although_it_decodes() {
    let home = Setup::bare().home();
    let reply = Server::start().get("/media/default/512.jpg").expect(200);
    let whole = reply.body;
    let verify = |picture: Vec<u8>| {
        let fake = Fake::start(move |line| {
            let is_picture = line.contains("/picture ");
            Some((
                200,
                if is_picture {
                    picture.clone()
                } else {
                    profile()
                },
            ))
        });
        let load = ["--url", fake.url(), "--token", "x", "--uploads", "2"];
        bench(&home, &load)
    };

    let cut = verify(whole[..whole.len() - 200].to_vec());

    assert!(cut.stderr.contains("is cut off"), "{cut:?}");
    assert_eq!(cut.code, Some(1));
    verify(whole).expect(0);
}

#[test]
fn same_wrong_answer_of_many_is_told_once() {
    let home = Setup::bare().home();
    let fake = Fake::start(|line| {
        if line.contains("/picture ") {
            return Some((404, Vec::new()));
        }
        accepted(line)
    });
    let users = "a\nb\nc\n";
    std::fs::write(home.path().join("tokens"), users).unwrap();
    let load = [
        "--url",
        fake.url(),
        "--token-file",
        "tokens",
        "--uploads",
        "3",
    ];

    let outcome = bench(&home, &load).expect(1);

    assert_eq!(outcome.stderr.matches("status 404").count(), 1);
    assert!(outcome.stderr.contains("(3 profiles)"), "{outcome:?}");
}

#[test]
fn figures_that_could_not_be_written_are_told_before_the_run() {
    let home = Setup::bare().home();
    let fake = Fake::start(accepted);
    let load = [
        "--url",
        fake.url(),
        "--token",
        "x",
        "--json",
        "no/where.json",
    ];

    let outcome = home.run(&[&["bench-upload"][..], &load].concat());

    assert_failed(&outcome, &["no/where.json", "No such file"]);
    assert_eq!(fake.connections(), 0);
}

/// A run that was sent Ctrl-C once its third upload had come, or twice where the server does not answer that one.
fn interrupted(answers: bool) -> (Value, String, Option<i32>) {
    let home = Setup::bare().home();
    let come = Arc::new(AtomicUsize::new(0));
    let fake = Fake::start({
        let come = Arc::clone(&come);
        move |line| {
            if line.starts_with("POST") && come.fetch_add(1, Ordering::Relaxed) >= 2 && !answers {
                thread::sleep(DEADLINE);
            }
            accepted(line)
        }
    });
    let load = "bench-upload --token x --synthetic 1mp --warm-up 0s --duration 600s --timeout 600s --concurrency 1";
    let load: Vec<&str> = load.split(' ').collect();
    let load = [&load[..], &["--json", "figures", "--url", fake.url()]].concat();
    let mut process = Process::start(&mut home.command(&load), b"");
    let begun = Instant::now();
    let wait = |holds: &dyn Fn() -> bool| {
        while !holds() {
            assert!(begun.elapsed() < DEADLINE, "nothing comes");
            thread::sleep(Duration::from_millis(2));
        }
    };
    wait(&|| come.load(Ordering::Relaxed) >= 3);
    process.signal(Signal::INT);
    if !answers {
        wait(&|| process.log().contains("Ctrl-C again"));
        process.signal(Signal::INT);
    }
    let status = process.wait(DEADLINE).expect("it ends");
    process.drained();
    let figures = std::fs::read_to_string(home.path().join("figures")).unwrap();
    let figures = serde_json::from_str(&figures).unwrap();
    (figures, process.log(), status.code())
}

#[test]
fn interrupted_run_tells_what_was_measured_and_is_a_failure() {
    for answers in [true, false] {
        let (figures, log, code) = interrupted(answers);

        assert_eq!(code, Some(1), "{log}");
        assert!(log.contains("interrupted before the end"), "{log}");
        assert_eq!(figures["interrupted"], true);
        let accepted = figures["accepted"].as_u64().unwrap();
        if answers {
            assert!(accepted >= 3, "{figures}");
        } else {
            assert_eq!(accepted, 2, "{figures}");
        }
    }
}

#[test]
fn connections_are_kept_or_not_as_asked() {
    let home = Setup::bare().home();
    let load = [
        "--token",
        "x",
        "--uploads",
        "6",
        "--concurrency",
        "2",
        "--verify",
        "0",
    ];
    let (kept, fresh) = (Fake::start(accepted), Fake::start(accepted));

    bench(&home, &[&load[..], &["--url", kept.url()]].concat()).expect(0);
    bench(
        &home,
        &[&load[..], &["--url", fresh.url(), "--no-keep-alive"]].concat(),
    )
    .expect(0);

    // One more asks whether anybody is there.
    assert!(
        (2..=3).contains(&kept.connections()),
        "{}",
        kept.connections()
    );
    assert_eq!(fresh.connections(), 7);
}
