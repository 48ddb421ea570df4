//! Clocks that jump: tokens go by the time of day, patience and quotas by the time that passes, and nothing is lost.

use std::collections::BTreeSet;
use std::os::unix::fs::FileExt;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::token::{not_valid, now};
use crate::support::{Connection, Form, PICTURE, PROFILE, Request, Server, Setup, User, fixture};

const HOUR: i64 = 3_600;
const DAY: i64 = 24 * HOUR;

/// The wall clock of a server.
struct Clock {
    folder: TempDir,
}

impl Clock {
    /// None where there is no C compiler.
    fn new() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/clock/clock.c");
        let library = folder.path().join("clock.so");
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-O1", "-o"]);
        let Ok(outcome) = compiler.arg(library).arg(source).output() else {
            println!("skipped: clocks that jump: there is no C compiler");
            return None;
        };
        assert!(outcome.status.success(), "{outcome:?}");
        let clock = Self { folder };
        std::fs::write(clock.path("offset"), [0; 8]).unwrap();
        Some(clock)
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    fn start(&self, settings: &[(&str, &str)]) -> Server {
        let mut setup = Setup::new()
            .variable("LD_PRELOAD", &self.path("clock.so"))
            .variable("CLOCK_OFFSET", &self.path("offset"));
        for (key, value) in settings {
            setup = setup.set(key, value);
        }
        setup.start()
    }

    /// Lets the server's clock differ from ours.
    fn jump(&self, seconds: i64) {
        let file = std::fs::OpenOptions::new()
            .write(true)
            .open(self.path("offset"))
            .unwrap();
        file.write_all_at(&seconds.to_ne_bytes(), 0).unwrap();
    }
}

/// The user with a token of the server's present.
fn logged_in(server: &Server, user: &User) -> User {
    let body = json!({ "email": user.email, "password": user.password });
    let reply = server.send(&Request::post("/api/auth/login/").json(&body));
    let tokens = reply.expect(200).json();
    let text = |name: &str| tokens[name].as_str().unwrap().to_owned();
    User {
        access: text("access"),
        refresh: text("refresh"),
        ..user.clone()
    }
}

/// How long a body that stalls is waited for.
fn stall(server: &Server, user: &User) -> Duration {
    let form = Form::image(&fixture("rgb.png"));
    let request = Request::post(PICTURE).bearer(&user.access).form(&form);
    let bytes = request.bytes(server.address());
    let mut connection = Connection::open(server.address());
    connection.write(&bytes[..bytes.len() - 100]);
    let begun = Instant::now();
    assert_eq!(connection.answer("POST").unwrap().status, 408);
    begun.elapsed()
}

#[test]
fn clock_that_jumps_moves_tokens_and_nothing_else() {
    let Some(clock) = Clock::new() else { return };
    let mut server = clock.start(&[
        ("rate_limit.uploads_per_hour", "0"),
        ("http.body_idle_timeout_ms", "400"),
    ]);
    let (user, mut before) = server.user_with_picture();
    let mut ids = BTreeSet::from([before["picture"]["id"].to_string()]);
    let here = now();
    for (year, seconds, verdict) in [
        (None, -HOUR, "Token is invalid"),
        (None, DAY, "Token is expired"),
        (Some("1970-"), HOUR - here, "Token is invalid"),
        // Seconds that take 33 bits.
        (Some("2106-"), (1 << 32) + HOUR - here, "Token is expired"),
        // Nanoseconds that take 64.
        (
            Some("2262-"),
            9_223_372_037 + HOUR - here,
            "Token is expired",
        ),
        (None, 0, ""),
    ] {
        clock.jump(seconds);

        let old = server.send(&Request::get(PROFILE).bearer(&user.access));
        let expected = (401, not_valid(verdict));
        assert!(seconds == 0 || old.told() == expected, "{old:?}");
        let present = logged_in(&server, &user);
        let shown = server.profile(&present);
        assert_eq!(shown["picture"]["id"], before["picture"]["id"], "{seconds}");
        assert_eq!(shown["updated_at"], before["updated_at"], "{seconds}");
        let after = server.upload(&present, &fixture("rgb.png"));
        let after = after.expect(200).json();
        assert!(
            ids.insert(after["picture"]["id"].to_string()),
            "an id again"
        );
        let at = after["updated_at"].as_str().unwrap();
        assert!(at.starts_with(year.unwrap_or_default()), "{at}");
        assert_eq!(after["picture"]["uploaded_at"], after["updated_at"]);
        server.pictures(&after);
        assert!(stall(&server, &present) < Duration::from_secs(20));
        server.get("/readyz").expect(200);
        let gc = server.home().run(&["gc-pictures", "--json"]).expect(0);
        let summary: Value = serde_json::from_str(gc.stdout.lines().last().unwrap()).unwrap();
        assert_eq!(summary["summary"]["findings"], 0, "{gc:?}");
        server.stop();
        server.restart();
        before = after;
    }
    let shown = server.profile(&logged_in(&server, &user));
    assert_eq!(shown["picture"]["id"], before["picture"]["id"]);
}

#[test]
fn clock_that_jumps_gives_no_quota_back() {
    let Some(clock) = Clock::new() else { return };
    let server = clock.start(&[("rate_limit.uploads_per_hour", "1")]);
    let (user, _) = server.user_with_picture();
    for seconds in [0, DAY, -DAY, 400 * DAY] {
        clock.jump(seconds);

        let present = logged_in(&server, &user);
        let reply = server.upload(&present, &fixture("rgb.png")).expect(429);

        let wait: u64 = reply.field("retry-after").unwrap().parse().unwrap();
        assert!((1..=3_600).contains(&wait), "{wait}");
    }
}
