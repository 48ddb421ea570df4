//! Where the configuration comes from, and how a mistake in it is told.

use std::path::{Path, PathBuf};

use figment::providers::{Env, Format, Serialized, Toml};
use figment::value::{Dict, Map, Value};
use figment::{Figment, Metadata, Profile, Provider};

use crate::config::Config;
use crate::config::Problem;

/// Prefix of the environment variables that are read: `POCKIT_HTTP__LISTEN` is `listen` in `[http]`.
const ENVIRONMENT_PREFIX: &str = "POCKIT_";
/// File that is read where none is named, if it is there.
const DEFAULT_FILE: &str = "pockit.toml";

const SECRET_KEY: &str = "auth.secret";
const ENVIRONMENT: &str = "environment";
const COMMAND_LINE: &str = "the command line";

/// Why the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message documents its variant")]
pub enum Error {
    #[error("cannot read the configuration file {0}: no such file")]
    Missing(PathBuf),
    #[error("cannot use the configuration: {0}")]
    Unreadable(String),
    #[error("cannot use the configuration: {}", sentences(.0))]
    Invalid(Vec<(Problem, String)>),
}

/// What was said on the command line.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The file named by `--config`.
    pub file: Option<PathBuf>,
    /// Keys set by `--set`, as `section.key` and a value in TOML's notation; a text needs no quotes.
    pub set: Vec<(String, String)>,
    /// Keys with a flag of their own, as `section.key` and a text that is taken as it is. They win over `set`.
    pub texts: Vec<(String, String)>,
}

/// Reads and checks the configuration.
///
/// # Errors
///
/// A named file that is missing, a file that is not TOML, an unknown key, a value of the wrong type, or values that
/// cannot work together. Each message names the key and where it came from.
pub fn load(sources: &Sources) -> Result<Config, Error> {
    let figment = figment(sources)?;
    let config: Config = figment
        .extract()
        .map_err(|error| Error::Unreadable(described(error)))?;
    let problems = config.problems();
    if problems.is_empty() {
        return Ok(config);
    }
    let located = problems.into_iter().map(|problem| {
        let origin = origin(&figment, problem.key);
        (problem, origin)
    });
    Err(Error::Invalid(located.collect()))
}

fn figment(sources: &Sources) -> Result<Figment, Error> {
    let mut figment = Figment::from(Serialized::defaults(Config::default()));
    let file = match &sources.file {
        Some(file) if !file.is_file() => return Err(Error::Missing(file.clone())),
        Some(file) => Some(file.as_path()),
        None => Some(Path::new(DEFAULT_FILE)).filter(|file| file.is_file()),
    };
    if let Some(file) = file {
        figment = figment.merge(Toml::file_exact(file));
    }
    let environment = Env::prefixed(ENVIRONMENT_PREFIX)
        .ignore(&[SECRET_KEY])
        .split("__");
    figment = figment.merge(environment);
    // Taken as it is: a secret of digits only is still a text.
    if let Ok(secret) = std::env::var(variable(SECRET_KEY)) {
        figment = figment.merge(Given {
            origin: ENVIRONMENT,
            key: SECRET_KEY,
            value: secret.into(),
        });
    }
    for (key, value) in &sources.set {
        let value = value.parse().unwrap_or_else(|never| match never {});
        figment = figment.merge(Given {
            origin: COMMAND_LINE,
            key,
            value,
        });
    }
    for (key, text) in &sources.texts {
        let value = text.clone().into();
        figment = figment.merge(Given {
            origin: COMMAND_LINE,
            key,
            value,
        });
    }
    Ok(figment)
}

/// One value and where it was given.
struct Given<'a> {
    origin: &'static str,
    key: &'a str,
    value: Value,
}

impl Provider for Given<'_> {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.origin)
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        let nested = figment::util::nest(self.key, self.value.clone());
        let sections = nested.into_dict().unwrap_or_default();
        Ok(Map::from([(Profile::Default, sections)]))
    }
}

/// The environment variable that stands for a key.
fn variable(key: &str) -> String {
    format!(
        "{ENVIRONMENT_PREFIX}{}",
        key.to_uppercase().replace('.', "__")
    )
}

/// One line a mistake, with the key as it is written in the file.
fn described(errors: figment::Error) -> String {
    let lines = errors.into_iter().map(|error| {
        let key = error.path.join(".");
        let origin = error
            .metadata
            .as_ref()
            .map_or_else(String::new, |metadata| {
                format!(" (from {})", named(metadata, &key))
            });
        // The library quotes the whole list of what it knows, and each name in it.
        let kind = error
            .kind
            .to_string()
            .replace("expected `one of ", "expected one of ")
            .replace("``", "`");
        let kind = kind.trim_end();
        if key.is_empty() {
            format!("{kind}{origin}")
        } else {
            format!("{key}: {kind}{origin}")
        }
    });
    lines.collect::<Vec<_>>().join("; ")
}

fn origin(figment: &Figment, key: &str) -> String {
    figment.find_metadata(key).map_or_else(
        || "the defaults".to_owned(),
        |metadata| named(metadata, key),
    )
}

/// Where a value came from, in the words of someone who would look for it.
fn named(metadata: &Metadata, key: &str) -> String {
    match &metadata.source {
        Some(figment::Source::File(file)) => file.display().to_string(),
        _ if metadata.name == COMMAND_LINE => COMMAND_LINE.to_owned(),
        _ if metadata.name.contains(ENVIRONMENT) => {
            format!("the {ENVIRONMENT} variable {}", variable(key))
        }
        _ => "the defaults".to_owned(),
    }
}

fn sentences(problems: &[(Problem, String)]) -> String {
    let lines: Vec<_> = problems
        .iter()
        .map(|(problem, origin)| format!("{} {} (from {origin})", problem.key, problem.sentence))
        .collect();
    lines.join("; ")
}
