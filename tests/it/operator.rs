//! What an operator asks before and after a start: the configuration, completions, help, health.

use serde_json::{Value, json};

use crate::support::process::{assert_failed, pockitd, run};
use crate::support::{Server, Setup};

#[test]
fn config_show_names_the_origin_of_every_value_and_masks_secrets() {
    let home = Setup::new().set("picture.quality", "77").home();
    let mut command = home.command(&[
        "config",
        "show",
        "--set",
        "picture.sizes_px=[300, 100]",
        "--data-dir",
        "/srv/pictures",
    ]);
    command.env("POCKIT_WORKERS__QUEUE_MAX", "9");

    let shown = run(&mut command).expect(0).stdout;

    for line in [
        "[picture]",
        "quality = 77 # test.toml",
        "sizes_px = [300, 100] # the command line",
        "data_dir = \"/srv/pictures\" # the command line",
        "queue_max = 9 # the environment variable POCKIT_WORKERS__QUEUE_MAX",
        "secret = \"***\" # test.toml",
        "leeway_s = 0 # the defaults",
        "# certificate_file is not set",
    ] {
        assert!(shown.lines().any(|found| found == line), "{line}: {shown}");
    }
    assert!(
        !shown.contains(crate::support::token::SECRET),
        "the secret is shown"
    );
    assert!(!home.data_dir().exists(), "nothing is made");
}

#[test]
fn config_that_was_shown_is_a_configuration_file() {
    let directory = tempfile::tempdir().unwrap();
    let show = |arguments: &[&str]| {
        let mut command = pockitd(directory.path());
        run(command.args(["config", "show"]).args(arguments)).expect(0)
    };
    let first = show(&["--set", "picture.fit=pad", "--json"]).stdout;
    let text = show(&["--set", "picture.fit=pad"]).stdout;
    std::fs::write(directory.path().join("shown.toml"), &text).unwrap();

    let second = show(&["--config", "shown.toml", "--json"]).stdout;

    let values = |text: &str| -> Vec<(String, Value)> {
        let sections: Value = serde_json::from_str(text).unwrap();
        let sections = sections.as_object().unwrap().clone();
        sections
            .into_iter()
            .flat_map(|(section, keys)| {
                let keys = keys.as_object().unwrap().clone();
                keys.into_iter()
                    .map(move |(key, entry)| (format!("{section}.{key}"), entry["value"].clone()))
            })
            .collect()
    };
    assert_eq!(values(&first), values(&second));
    let parsed: Value = serde_json::from_str(&first).unwrap();
    assert_eq!(parsed["picture"]["fit"]["value"], json!("pad"));
    assert_eq!(
        parsed["picture"]["fit"]["origin"],
        json!("the command line")
    );
}

#[test]
fn config_check_tells_every_mistake_at_once() {
    let home = Setup::new()
        .set("http.no_such_key", "1")
        .set("nosection.key", "1")
        .set("picture.quality", "\"high\"")
        .set("picture.fit", "\"stretch\"")
        .set("auth.leeway_s", "31")
        .set("workers.queue_max", "0")
        .home();
    let check = |arguments: &[&str]| {
        let mut command = home.command(&["config", "check"]);
        command.env("POCKIT_HTTP__LISTENN", "127.0.0.1:80");
        run(command.args(arguments)).expect(1)
    };

    let told = check(&[]);

    let words = [
        "no_such_key",
        "nosection",
        "picture.quality",
        "picture.fit",
        "auth.leeway_s is 31",
        "workers.queue_max is 0",
        "listenn",
    ];
    for word in words {
        let lines = told.stdout.lines().filter(|line| line.contains(word));
        assert_eq!(lines.count(), 1, "{word}: {told:?}");
    }
    assert_eq!(told.stdout.lines().count(), words.len(), "{told:?}");
    assert!(told.stdout.contains("POCKIT_HTTP__LISTENN"), "{told:?}");
    assert!(told.stderr.contains("7 mistakes"), "{told:?}");

    let as_json = check(&["--json"]);
    let mistakes: Vec<Value> = as_json
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(mistakes.len(), words.len());
    assert!(mistakes.iter().any(|mistake| {
        mistake["key"] == "picture.quality" && mistake["origin"] == "test.toml"
    }));

    // A start says as much.
    let serve = run(home
        .command(&["serve"])
        .env("POCKIT_HTTP__LISTENN", "127.0.0.1:80"));
    assert_failed(&serve, &words);
}

#[test]
fn config_check_tells_the_other_mistakes_beside_a_file_that_is_not_toml() {
    let home = Setup::new().home();
    std::fs::write(home.path().join("test.toml"), "[http\nlisten = 1\n").unwrap();
    let mut command = home.command(&["config", "check", "--set", "workers.queue_max=0"]);
    command.env("POCKIT_PICTURE__QUALITY", "high");

    let told = run(&mut command).expect(1);

    let words = ["test.toml", "workers.queue_max is 0", "picture.quality"];
    for word in words {
        let lines = told.stdout.lines().filter(|line| line.contains(word));
        assert_eq!(lines.count(), 1, "{word}: {told:?}");
    }
    assert!(told.stderr.contains("3 mistakes"), "{told:?}");
}

#[test]
fn config_check_looks_at_the_files_also_where_keys_are_wrong() {
    let home = Setup::bare()
        .set("http.listen", "\"localhost:8080\"")
        .set("picture.quality", "0")
        .set("workers.deadline_ms", "0")
        .set("auth.secret_file", "\"no-such-secret\"")
        .set("tls.certificate_file", "\"no-such.pem\"")
        .set("tls.key_file", "\"no-such.key\"")
        .home();

    let told = home.run(&["config", "check"]).expect(1);

    let words = [
        "http.listen is \"localhost:8080\", must be an IP address and a port, such as 127.0.0.1:8080",
        "picture.quality is 0",
        "workers.deadline_ms is 0",
        "no-such-secret",
        "no-such.pem",
    ];
    for word in words {
        assert!(told.stdout.contains(word), "{word}: {told:?}");
    }
    assert_eq!(told.stdout.lines().count(), words.len(), "{told:?}");
}

#[test]
fn config_check_looks_at_the_secret_file_and_is_content_with_the_rest() {
    let sound = Setup::new().home();
    let told = sound.run(&["config", "check"]).expect(0);
    assert_eq!(told.stdout, "The configuration can be used.\n");
    assert!(!sound.data_dir().exists(), "nothing is made");

    let weak = Setup::bare().set("auth.secret_file", "\"weak\"").home();
    std::fs::write(weak.path().join("weak"), "hunter2-hunter2\n").unwrap();
    let told = weak.run(&["config", "check"]).expect(1);
    assert!(told.stdout.contains("auth.secret_file"), "{told:?}");
    assert!(!told.stdout.contains("hunter2"), "{told:?}");

    let mut missing = pockitd(weak.path());
    let missing = run(missing.args(["--config", "missing.toml", "config", "check"]));
    assert_failed(&missing, &["missing.toml"]);
}

#[test]
fn every_command_has_examples_in_its_help_and_each_can_be_parsed() {
    fn walk(command: &clap::Command, path: &str, count: &mut usize) {
        let help = command.get_after_help().map(ToString::to_string);
        let help = help.unwrap_or_else(|| panic!("no examples in the help of {path}"));
        let examples: Vec<_> = help
            .lines()
            .filter_map(|line| line.split_once(path).map(|(_, rest)| rest.to_owned()))
            .collect();
        assert!(
            help.contains("Examples:\n") && !examples.is_empty(),
            "{path}: {help}"
        );
        for example in examples {
            let end = [" | ", " > ", " && ", " \"$("]
                .iter()
                .filter_map(|mark| example.find(mark))
                .min();
            let words = example[..end.unwrap_or(example.len())].split_whitespace();
            let words: Vec<_> = path.split(' ').chain(words).collect();
            if words.last() == Some(&"--token") {
                continue;
            }
            let parsed = pockitd::cli::command().try_get_matches_from(&words);
            let is_help = parsed
                .as_ref()
                .is_err_and(|error| error.kind() == clap::error::ErrorKind::DisplayHelp);
            assert!(parsed.is_ok() || is_help, "{words:?}: {parsed:?}");
            *count += 1;
        }
        for inner in command.get_subcommands() {
            if inner.get_name() != "help" && !inner.is_hide_set() {
                walk(inner, &format!("{path} {}", inner.get_name()), count);
            }
        }
    }
    let mut count = 0;
    let mut command = pockitd::cli::command();
    command.build();
    walk(&command, "pockitd", &mut count);
    assert!(count > 30, "{count} examples");
}

#[test]
fn completions_name_the_commands() {
    let directory = tempfile::tempdir().unwrap();
    for (shell, words) in [
        ("bash", ["_pockitd()", "bench-upload"]),
        ("zsh", ["#compdef pockitd", "bench-upload"]),
        ("fish", ["complete -c pockitd", "bench-upload"]),
    ] {
        let script = run(pockitd(directory.path()).args(["completions", shell])).expect(0);

        for word in words {
            assert!(script.stdout.contains(word), "{shell}: {word}");
        }
        assert!(!script.stdout.contains("decode-worker"), "{shell}");
        assert_eq!(script.stderr, "");
    }
    let other = run(pockitd(directory.path()).args(["completions", "tcsh"]));
    assert_eq!(other.code, Some(2), "{other:?}");
}

#[test]
fn bash_takes_the_completions() {
    let directory = tempfile::tempdir().unwrap();
    let script = run(pockitd(directory.path()).args(["completions", "bash"])).expect(0);
    std::fs::write(directory.path().join("script"), &script.stdout).unwrap();
    let complete = "source ./script; COMP_WORDS=(pockitd con); COMP_CWORD=1; _pockitd pockitd con pockitd; \
                    echo \"${COMPREPLY[@]}\"";
    let mut bash = std::process::Command::new("bash");
    bash.current_dir(directory.path())
        .args(["--norc", "-c", complete]);
    let told = run(&mut bash).expect(0);
    assert_eq!(told.stdout.trim(), "config");
}

#[test]
fn health_says_whether_a_server_would_take_an_upload() {
    let server = Server::start();
    let address = server.address().to_string();
    let well = server
        .home()
        .run(&["check", "health", "--address", &address]);
    assert!(
        well.expect(0).stdout.contains("ready   yes"),
        "a healthy server"
    );

    let full = Server::with(&[("storage.free_bytes_min", "9000000000000000000")]);
    let address = full.address().to_string();
    let ill = full
        .home()
        .run(&["check", "health", "--address", &address, "--json"])
        .expect(1);
    let told: Value = serde_json::from_str(&ill.stdout).unwrap();
    assert_eq!(told["alive"], json!(true));
    assert_eq!(told["ready"], json!(false));
    assert_eq!(told["checks"]["store"], json!("failed"));
    assert!(ill.stderr.contains("its log says why"), "{ill:?}");
}

#[test]
fn health_of_nothing_or_of_something_else_is_an_error_that_says_so() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let home = Setup::new().home();
    let ask = || {
        home.run(&[
            "check",
            "health",
            "--address",
            &address,
            "--timeout",
            "300ms",
        ])
    };
    assert_failed(&ask(), &[&address, "300 ms"]);
    drop(listener);
    assert_failed(&ask(), &[&address, "does the server run"]);
}

#[test]
fn log_has_colours_on_terminals_only_and_request_ids_of_clients() {
    let server = Server::start();
    let id = "phone-1.2_3";
    let named = crate::support::Request::get("/healthz").field("X-Request-Id", id);
    let reply = server.send(&named).expect(200);
    assert_eq!(reply.field("x-request-id"), Some(id));
    let long = "x".repeat(65);
    for bad in [long.as_str(), "a b", "a\"b", ""] {
        let named = crate::support::Request::get("/healthz").field("X-Request-Id", bad);
        let reply = server.send(&named).expect(200);
        let given = reply.field("x-request-id").unwrap();
        assert_ne!(given, bad);
        assert_eq!(given.len(), 16, "{given}");
    }
    assert!(server.log().contains(id), "{}", server.log());
    assert!(!server.log().contains('\u{1b}'), "{}", server.log());
}

#[test]
fn slow_upload_shows_its_stages_and_a_quick_one_does_not() {
    let slow = Setup::new().set("log.slow_upload_ms", "1").start();
    slow.user_with_picture();
    let log = logged(&slow, "slow upload");
    let line = log.lines().find(|line| line.contains("slow upload"));
    let line = line.unwrap_or_else(|| panic!("no such line: {log}"));
    for word in [
        "WARN",
        "receive_ms",
        "turn_ms",
        "render_ms",
        "decode_ms",
        "resize_ms",
        "encode_ms",
        "commit_ms",
        "request_id",
    ] {
        assert!(line.contains(word), "{word}: {line}");
    }

    let off = Setup::new().set("log.slow_upload_ms", "0").start();
    off.user_with_picture();
    off.get("/healthz").expect(200);
    let log = logged(&off, "route=\"health\"");
    assert!(!log.contains("slow upload"), "{log}");
}

/// The log, once that is in it.
#[track_caller]
fn logged(server: &Server, words: &str) -> String {
    let until = std::time::Instant::now() + crate::support::DEADLINE;
    loop {
        let log = server.log();
        if log.contains(words) {
            return log;
        }
        assert!(std::time::Instant::now() < until, "no {words}: {log}");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}

#[test]
fn log_in_json_is_one_object_a_line_without_secrets() {
    let home = Setup::new().home();
    let mut command = home.command(&["--log-format", "json", "--log", "trace", "serve"]);
    let mut process = crate::support::process::Process::start(&mut command, b"");
    let line = process.line().unwrap();
    let address = line.strip_prefix("listening on http://").unwrap();
    let address = address.parse().unwrap();
    let account = json!({ "email": "ada@example.org", "password": "correct horse battery" });
    let registered = crate::support::Request::post("/api/auth/register/")
        .json(&account)
        .send(address)
        .expect(201)
        .json();
    let access = registered["access"].as_str().unwrap().to_owned();
    crate::support::Request::get(crate::support::PROFILE)
        .bearer(&access)
        .send(address)
        .expect(200);

    process.signal(rustix::process::Signal::TERM);
    while process.line().is_some() {}
    process.drained();

    let log = process.log();
    let mut requests = 0;
    for line in log.lines() {
        let entry: Value =
            serde_json::from_str(line).unwrap_or_else(|_| panic!("not JSON: {line}"));
        assert!(entry["level"].is_string() && entry["timestamp"].is_string());
        requests += usize::from(entry["message"] == "request" && entry["request_id"].is_string());
    }
    assert_eq!(requests, 2, "{log}");
    let secrets = [
        access.as_str(),
        registered["refresh"].as_str().unwrap(),
        "correct horse",
        crate::support::token::SECRET,
    ];
    for secret in secrets {
        assert!(!log.contains(secret), "a secret is in the log");
    }
}

#[test]
fn root_does_not_open_the_data_of_a_service_but_asks_its_server() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: who opens the data of a service: only root can");
        return;
    }
    let server = Server::start();
    let data = server.home().data_dir();
    std::os::unix::fs::chown(&data, Some(65_534), None).unwrap();
    server.home().run(&["user", "list"]).expect(0);

    let home = Setup::new().home();
    std::fs::create_dir(home.data_dir()).unwrap();
    std::os::unix::fs::chown(home.data_dir(), Some(65_534), None).unwrap();
    for arguments in [&["user", "list"][..], &["migrate", "export", "all.tar"]] {
        let refused = home.run(arguments);
        assert_failed(&refused, &["65534", "setpriv"]);
    }
    assert_eq!(std::fs::read_dir(home.data_dir()).unwrap().count(), 0);
}
