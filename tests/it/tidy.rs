//! What the repository promises about itself: layers, file heads, sizes, and that what is shipped beside the code
//! (pockit.toml and its manual) says what the code says.

use std::fs;
use std::path::{Path, PathBuf};

use pockitd::config;
use pockitd::config::{Config, Sources};

/// Each layer and what it may import from this crate, top of the stack first.
const LAYERS: &[(&str, &[&str])] = &[
    (
        "cli",
        &[
            "http", "service", "storage", "workers", "imaging", "auth", "config", "domain",
        ],
    ),
    (
        "http",
        &["service", "storage", "imaging", "auth", "config", "domain"],
    ),
    (
        "service",
        &["storage", "workers", "imaging", "auth", "config", "domain"],
    ),
    ("storage", &["config", "domain"]),
    ("workers", &["imaging", "config", "domain"]),
    ("imaging", &["config", "domain"]),
    ("auth", &["config", "domain"]),
    ("config", &["domain"]),
    ("domain", &[]),
];

/// Engines, each with the only places that may name it.
const ENGINES: &[(&str, &[&str])] = &[
    ("sled", &["storage/sled"]),
    ("tar", &["storage/archive"]),
    ("rusqlite", &["storage/django"]),
    ("libheif_rs", &["imaging/heif"]),
    ("libheif_sys", &["imaging/heif"]),
    // The load generator makes photos as phones do: 4:2:0, which the image crate does not write.
    ("turbojpeg", &["imaging/", "cli/bench_upload/photos"]),
    ("image", &["cli/bench_upload"]),
    ("hdrhistogram", &["cli/bench_upload"]),
    ("indicatif", &["cli/bench_upload/progress"]),
    ("hyper", &["http", "auth/fetch", "cli/bench_upload/client"]),
    (
        "hyper_util",
        &["http", "auth/fetch", "cli/bench_upload/client"],
    ),
    (
        "rustls",
        &[
            "auth/certificate",
            "auth/fetch",
            "http/tls",
            "http/probe",
            "cli/bench_upload/tls",
        ],
    ),
    (
        "tokio_rustls",
        &["auth/fetch", "http", "cli/bench_upload/tls"],
    ),
    (
        "rustls_native_certs",
        &["auth/fetch", "cli/bench_upload/tls"],
    ),
    ("webpki", &["auth/certificate"]),
    ("multer", &["http"]),
    ("httparse", &["http/head"]),
    ("ipnet", &["domain/network"]),
    ("governor", &["service/throttle"]),
    ("figment", &["config"]),
    ("clap", &["cli"]),
    ("clap_complete", &["cli"]),
    ("sd_notify", &["cli/manager"]),
    ("jsonwebtoken", &["auth"]),
    ("argon2", &["auth"]),
    ("aws_lc_rs", &["auth", "storage/archive"]),
];

/// What `imaging` must not touch, being pure.
const IMPURE: &[&str] = &[
    "tokio::",
    "tracing::",
    "std::fs",
    "std::net",
    "std::time::SystemTime",
    "std::env",
];

const CODE_LINES_MAX: usize = 400;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every Rust file of a folder, with its path below it.
fn sources(folder: &str) -> Vec<(String, PathBuf)> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(current) = folders.pop() {
        for entry in fs::read_dir(&current).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                // What cargo-fuzz builds.
                if path.file_name().unwrap() != "target" {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let below = path
                    .strip_prefix(root().join(folder))
                    .unwrap()
                    .to_string_lossy()
                    .into_owned();
                found.push((below, path));
            }
        }
    }
    found.sort();
    found
}

/// Lines outside comments and unit tests, numbered from 1.
fn code_lines(file: &Path) -> Vec<(usize, String)> {
    let below = file.strip_prefix(root()).unwrap();
    let is_unit_tests = below.starts_with("src")
        && below
            .iter()
            .any(|part| part == "tests" || part == "tests.rs");
    if is_unit_tests {
        return Vec::new();
    }
    let text = fs::read_to_string(file).unwrap();
    let lines = (1..).zip(text.lines().map(str::trim));
    lines
        .take_while(|(_, line)| *line != "#[cfg(test)]")
        .filter(|(_, line)| !line.is_empty() && !line.starts_with("//"))
        .map(|(number, line)| (number, line.to_owned()))
        .collect()
}

/// The layer of a file: its first folder, or its own name.
fn layer_of(below: &str) -> &str {
    below.split(['/', '.']).next().unwrap()
}

fn none(wrong: &[String]) {
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn layers_import_downwards_only() {
    let mut wrong = Vec::new();
    for (below, file) in sources("src") {
        let layer = layer_of(&below);
        let Some((_, allowed)) = LAYERS.iter().find(|(name, _)| *name == layer) else {
            continue;
        };
        for (number, line) in code_lines(&file) {
            for target in line.split("crate::").skip(1) {
                let end = target
                    .find(|c: char| !c.is_alphanumeric() && c != '_')
                    .unwrap_or(target.len());
                let target = &target[..end];
                if target != layer && !allowed.contains(&target) {
                    wrong.push(format!(
                        "src/{below}:{number}: `{layer}` imports `{target}`"
                    ));
                }
            }
            if line.contains("super::super") {
                wrong.push(format!(
                    "src/{below}:{number}: `super::super` hides what is imported"
                ));
            }
        }
    }
    none(&wrong);
}

#[test]
fn every_file_belongs_to_a_layer() {
    let known = |layer: &str| {
        matches!(layer, "main" | "lib") || LAYERS.iter().any(|(name, _)| *name == layer)
    };
    let wrong: Vec<_> = sources("src")
        .into_iter()
        .map(|(below, _)| below)
        .filter(|below| !known(layer_of(below)))
        .collect();
    none(&wrong);
}

#[test]
fn engines_are_named_in_their_own_places_only() {
    let mut wrong = Vec::new();
    for (below, file) in sources("src") {
        for (number, line) in code_lines(&file) {
            for (engine, places) in ENGINES {
                let named = line.starts_with(&format!("use {engine}::"))
                    || line.contains(&format!(" {engine}::"));
                if named
                    && !line.contains(&format!("::{engine}::"))
                    && !places.iter().any(|place| below.starts_with(place))
                {
                    wrong.push(format!("src/{below}:{number}: names {engine}"));
                }
            }
            if layer_of(&below) == "imaging" && IMPURE.iter().any(|impure| line.contains(impure)) {
                wrong.push(format!("src/{below}:{number}: imaging is pure: {line}"));
            }
        }
    }
    none(&wrong);
}

#[test]
fn every_file_opens_with_what_it_owns_and_stays_small() {
    let mut wrong = Vec::new();
    for folder in ["src", "tests"] {
        for (below, file) in sources(folder) {
            if !fs::read_to_string(&file).unwrap().starts_with("//! ") {
                wrong.push(format!("{folder}/{below}: does not open with `//! `"));
            }
            let count = code_lines(&file).len();
            if count > CODE_LINES_MAX {
                wrong.push(format!(
                    "{folder}/{below}: {count} lines of code, the limit is {CODE_LINES_MAX}"
                ));
            }
            if ["mod", "utils", "util", "helpers", "helper", "common"]
                .iter()
                .any(|name| file.file_stem().unwrap() == *name)
            {
                wrong.push(format!("{folder}/{below}: the name says nothing"));
            }
        }
    }
    none(&wrong);
}

#[test]
fn shipped_configuration_is_the_defaults() {
    let file = root().join("pockit.toml");
    let loaded = config::load(&Sources {
        file: Some(file.clone()),
        ..Sources::default()
    })
    .unwrap();

    assert_eq!(loaded, Config::default());
    none(&missing_keys(
        &fs::read_to_string(file).unwrap(),
        "pockit.toml",
    ));
}

#[test]
fn manual_of_the_configuration_names_every_key() {
    none(&missing_keys(
        &fs::read_to_string(root().join("man/pockit.toml.5")).unwrap(),
        "man/pockit.toml.5",
    ));
}

/// Lines that begin with `#` and no space are examples, to be used by taking the `#` away.
#[test]
fn example_of_an_issuer_can_be_used_and_names_every_key() {
    let shipped = fs::read_to_string(root().join("pockit.toml")).unwrap();
    let (_, rest) = shipped.split_once("#[[auth.issuers]]\n").unwrap();
    let (section, _) = rest.split_once("\n\n").unwrap();
    let lines = section.lines().filter_map(|line| line.strip_prefix('#'));
    let example: Vec<_> = lines.filter(|line| !line.starts_with(' ')).collect();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("example.toml");
    fs::write(&file, format!("[[auth.issuers]]\n{}\n", example.join("\n"))).unwrap();

    let loaded = config::load(&Sources {
        file: Some(file),
        ..Sources::default()
    })
    .unwrap();

    assert_eq!(loaded.auth.issuers.len(), 1);
    let manual = fs::read_to_string(root().join("man/pockit.toml.5")).unwrap();
    let issuer = serde_json::to_value(config::Issuer::default()).unwrap();
    let key = serde_json::to_value(config::Key::default()).unwrap();
    for name in [issuer, key]
        .iter()
        .flat_map(|table| table.as_object().unwrap().keys())
    {
        assert!(names(section, name), "pockit.toml: {name}");
        assert!(
            manual.contains(&format!(".B {name}\n")),
            "pockit.toml.5: {name}"
        );
    }
}

/// Whether a text has that word.
fn names(text: &str, key: &str) -> bool {
    text.split(|c: char| !c.is_alphanumeric() && c != '_')
        .any(|word| word == key)
}

/// The keys that a text does not name; each stands in the serialised defaults.
fn missing_keys(text: &str, name: &str) -> Vec<String> {
    let defaults = serde_json::to_value(Config::default()).unwrap();
    let keys = defaults
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(section, keys)| {
            let keys = keys.as_object().unwrap().keys();
            keys.map(move |key| (section.clone(), key.clone()))
        });
    keys.filter(|(_, key)| !names(text, key))
        .map(|(section, key)| format!("{name} does not name {section}.{key}"))
        .collect()
}
