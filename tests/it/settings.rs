//! Where the configuration comes from, and what is told when it cannot be used.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use crate::support::process::{Process, assert_failed, pockitd, run};
use crate::support::{Request, Setup};

#[test]
fn unusable_configuration_names_the_key_and_where_it_stands() {
    let secret = "\"short secret\"";
    let cases = [
        ("http.no_such_key", "1", &["no_such_key", "test.toml"][..]),
        ("nosection.key", "1", &["nosection", "test.toml"]),
        (
            "picture.quality",
            "\"high\"",
            &["picture.quality", "test.toml"],
        ),
        ("picture.quality", "0", &["picture.quality", "test.toml"]),
        (
            "picture.fit",
            "\"stretch\"",
            &["picture.fit", "stretch", "test.toml"],
        ),
        (
            "picture.background",
            "\"white\"",
            &["picture.background", "test.toml"],
        ),
        (
            "picture.sizes_px",
            "[128, 512]",
            &["picture.sizes_px", "test.toml"],
        ),
        ("picture.sizes_px", "[]", &["picture.sizes_px", "test.toml"]),
        (
            "http.upload_bytes_max",
            "0",
            &["http.upload_bytes_max", "test.toml"],
        ),
        (
            "http.listen",
            "\"somewhere\"",
            &["http.listen", "test.toml"],
        ),
        (
            "http.public_url",
            "\"example.org\"",
            &["http.public_url", "test.toml"],
        ),
        (
            "http.bodies_bytes_max",
            "1000",
            &[
                "http.bodies_bytes_max",
                "http.upload_bytes_max",
                "test.toml",
            ],
        ),
        (
            "cors.origins",
            "[\"*\", \"https://a.org\"]",
            &["cors.origins", "test.toml"],
        ),
        (
            "cors.origins",
            "[\"https://a.org/path\"]",
            &["cors.origins", "test.toml"],
        ),
        ("auth.leeway_s", "31", &["auth.leeway_s", "30", "test.toml"]),
        ("auth.secret", secret, &["auth.secret", "32", "test.toml"]),
        (
            "auth.secret_file",
            "\"secret\"",
            &["auth.secret", "auth.secret_file"],
        ),
        (
            "workers.queue_max",
            "0",
            &["workers.queue_max", "test.toml"],
        ),
    ];
    for (key, value, words) in cases {
        let home = Setup::new().set(key, value).home();

        let outcome = home.run(&["serve"]);

        assert_failed(&outcome, words);
        assert!(
            !outcome.stderr.contains("short secret"),
            "{}",
            outcome.stderr
        );
        assert!(
            !home.data_dir().exists(),
            "{key}: nothing is made before all is well"
        );
    }
}

#[test]
fn unusable_value_of_the_environment_or_a_flag_is_told_as_such() {
    let home = Setup::new().home();
    let mut environment = home.command(&["serve"]);
    environment.env("POCKIT_PICTURE__QUALITY", "101");
    let outcome = run(&mut environment);
    assert_failed(&outcome, &["picture.quality", "POCKIT_PICTURE__QUALITY"]);

    let mut unknown = home.command(&["serve"]);
    unknown.env("POCKIT_PICTURE__QUALITTY", "80");
    assert_failed(&run(&mut unknown), &["qualitty", "POCKIT_"]);

    let listen = home.run(&["serve", "--listen", "not an address"]);
    assert!(matches!(listen.code, Some(1 | 2)), "{listen:?}");
    assert!(listen.stderr.contains("listen"), "{}", listen.stderr);

    for setting in ["picture.quality=101", "picture.qualitty=80"] {
        let outcome = home.run(&["serve", "--set", setting]);
        assert!(matches!(outcome.code, Some(1 | 2)), "{outcome:?}");
        let key = setting
            .split('=')
            .next()
            .unwrap()
            .split('.')
            .nth(1)
            .unwrap();
        assert!(outcome.stderr.contains(key), "{}", outcome.stderr);
        assert!(
            outcome.stderr.contains("command line"),
            "{}",
            outcome.stderr
        );
    }
}

#[test]
fn missing_or_broken_file_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let serve = |file: &str| run(pockitd(directory.path()).args(["--config", file, "serve"]));

    assert_failed(&serve("missing.toml"), &["missing.toml"]);
    std::fs::write(directory.path().join("broken.toml"), "[http\nlisten = 1").unwrap();
    assert_failed(&serve("broken.toml"), &["broken.toml"]);
    // No file is searched for in the directories above.
    let below = directory.path().join("below");
    std::fs::create_dir(&below).unwrap();
    let mut command = pockitd(&below);
    assert_failed(
        &run(command.args(["--config", "broken.toml", "serve"])),
        &["broken.toml"],
    );
}

#[test]
fn secret_that_cannot_be_read_or_is_too_short_is_told() {
    let missing = Setup::bare()
        .set("auth.secret_file", "\"no-such-file\"")
        .home();
    assert_failed(&missing.run(&["serve"]), &["no-such-file"]);

    let short = Setup::bare().set("auth.secret_file", "\"short\"").home();
    std::fs::write(short.path().join("short"), "hunter2-hunter2\n").unwrap();
    let outcome = short.run(&["serve"]);
    assert_failed(&outcome, &["32"]);
    assert!(!outcome.stderr.contains("hunter2"), "{}", outcome.stderr);
}

/// Whether the server that a command starts serves a default picture of that size.
fn serves_size(command: &mut Command, side: u32) -> bool {
    let mut process = Process::start(command, b"");
    let line = process
        .line()
        .unwrap_or_else(|| panic!("{}", process.log()));
    let address = line
        .strip_prefix("listening on http://")
        .unwrap()
        .parse()
        .unwrap();
    let reply = Request::get(&format!("/media/default/{side}.jpg")).send(address);
    reply.status == 200
}

#[test]
fn later_source_wins_file_environment_flag() {
    let home = Setup::new().set("picture.sizes_px", "[401]").home();
    assert!(serves_size(&mut home.command(&["serve"]), 401));

    let mut environment = home.command(&["serve"]);
    environment.env("POCKIT_PICTURE__SIZES_PX", "[402]");
    assert!(serves_size(&mut environment, 402));

    let mut flag = home.command(&["serve", "--set", "picture.sizes_px=[403]"]);
    flag.env("POCKIT_PICTURE__SIZES_PX", "[402]");
    assert!(serves_size(&mut flag, 403));
}

#[test]
fn pockit_toml_of_the_directory_is_read_without_being_named() {
    let directory = tempfile::tempdir().unwrap();
    let text = "[http]\nlisten = \"127.0.0.1:0\"\n[picture]\nsizes_px = [404]\n";
    std::fs::write(directory.path().join("pockit.toml"), text).unwrap();

    assert!(serves_size(pockitd(directory.path()).arg("serve"), 404));
    assert!(
        directory.path().join("data").is_dir(),
        "the default data directory"
    );
}

#[test]
fn serve_without_a_file_takes_flags_before_or_behind_the_command() {
    let directory = tempfile::tempdir().unwrap();
    for (number, arguments) in [
        &["--data-dir", "one", "serve", "--listen", "127.0.0.1:0"][..],
        &["serve", "--data-dir", "one", "--listen", "127.0.0.1:0"],
    ]
    .iter()
    .enumerate()
    {
        assert!(
            serves_size(pockitd(directory.path()).args(*arguments), 512),
            "{number}"
        );
        assert!(directory.path().join("one").is_dir());
    }
    let mode = {
        let data = directory.path().join("one");
        std::fs::metadata(data).unwrap().permissions().mode()
    };
    assert_eq!(
        mode & 0o007,
        0,
        "others cannot look into the data directory: {mode:o}"
    );
}

#[test]
fn settings_before_and_behind_the_command_all_count() {
    let home = Setup::new().home();
    let before = ["--set", "picture.quality=71", "--set", "picture.fit=pad"];
    let behind = ["config", "show", "--set", "picture.quality=72"];

    let shown = home.run(&[&before[..], &behind].concat()).expect(0).stdout;

    assert!(shown.contains("quality = 72"), "{shown}");
    assert!(shown.contains("fit = \"pad\""), "{shown}");
}

#[test]
fn data_in_a_directory_that_others_may_enter_is_for_its_owner_only() {
    let home = Setup::new().home();
    let data = home.data_dir();
    std::fs::create_dir(&data).unwrap();
    std::fs::set_permissions(&data, std::fs::Permissions::from_mode(0o755)).unwrap();

    home.run(&["user", "add", "ada@example.org"]).expect(0);

    for entry in std::fs::read_dir(&data).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{:?}: {mode:o}", entry.path());
    }
}
