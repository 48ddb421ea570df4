//! Where the configuration comes from, and how a mistake in it is told.

use std::fmt;
use std::path::{Path, PathBuf};

use figment::providers::{Env, Format, Serialized, Toml};
use figment::value::{Dict, Map, Value};
use figment::{Figment, Metadata, Profile, Provider};

use crate::config::Config;

/// Prefix of the environment variables that are read: `POCKIT_HTTP__LISTEN` is `listen` in `[http]`.
const ENVIRONMENT_PREFIX: &str = "POCKIT_";
/// Files of which the first that is there is read where none is named: in a folder of one's own, then that of a package.
const DEFAULT_FILES: [&str; 2] = ["pockit.toml", "/etc/pockitd/pockit.toml"];

/// What the standard library says of a text that is no address with a port.
const NOT_AN_ADDRESS: &str = "invalid socket address syntax";

const SECRET_KEY: &str = "auth.secret";
const ENVIRONMENT: &str = "environment";
const COMMAND_LINE: &str = "the command line";

/// Why the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message documents its variant")]
pub enum Error {
    #[error("cannot read the configuration file {0}: no such file")]
    Missing(PathBuf),
    #[error("cannot use the configuration: {}", sentences(.0))]
    Invalid(Vec<Mistake>),
}

/// One thing that is wrong, with the place to put it right.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Mistake {
    /// The key, as `section.key`; empty for a file that is not TOML.
    pub key: String,
    /// What is wrong, to be read after the key.
    pub sentence: String,
    /// Where the value was given.
    pub origin: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            key,
            sentence,
            origin,
        } = self;
        let space = if key.is_empty() || sentence.starts_with(':') {
            ""
        } else {
            " "
        };
        write!(formatter, "{key}{space}{sentence} (from {origin})")
    }
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
/// cannot work together. Everything that is wrong is told at once, with the key and where it came from.
pub fn load(sources: &Sources) -> Result<Config, Error> {
    origins(sources).map(|(config, _)| config)
}

/// The configuration, each key with the place that it comes from, in the order of `pockit.toml`.
///
/// # Errors
///
/// As [`load`].
pub fn origins(sources: &Sources) -> Result<(Config, Vec<(String, String)>), Error> {
    match examine(sources)? {
        Examined {
            config: Some(config),
            origins,
            mistakes,
        } if mistakes.is_empty() => Ok((config, origins)),
        Examined { mistakes, .. } => Err(Error::Invalid(mistakes)),
    }
}

/// What there is to say of a configuration, whether or not it can be used.
#[derive(Debug)]
pub struct Examined {
    /// The configuration, with defaults in the place of what cannot be read. None if nothing can be.
    pub config: Option<Config>,
    /// Each key with the place that it comes from, in the order of `pockit.toml`.
    pub origins: Vec<(String, String)>,
    /// Everything that is wrong.
    pub mistakes: Vec<Mistake>,
}

/// Reads the configuration and finds all that is wrong with it.
///
/// # Errors
///
/// A named file that is missing.
pub fn examine(sources: &Sources) -> Result<Examined, Error> {
    let (figment, broken) = figment(sources)?;
    let (config, mistakes) = read(&figment, broken);
    let keys = config.as_ref().map(known).unwrap_or_default();
    let keys = keys.into_iter().map(|key| {
        let origin = origin(&figment, &key);
        (key, origin)
    });
    Ok(Examined {
        origins: keys.collect(),
        config,
        mistakes,
    })
}

/// `mistakes` are those that are known already.
fn read(figment: &Figment, mut mistakes: Vec<Mistake>) -> (Option<Config>, Vec<Mistake>) {
    let config = match figment.extract() {
        Ok(config) => config,
        Err(first) => {
            let (sound, mut found) = sound(figment);
            if found.is_empty() {
                found = described(first);
            }
            mistakes.append(&mut found);
            match sound.extract::<Config>() {
                Ok(config) => config,
                Err(_) => return (None, mistakes),
            }
        }
    };
    // Beside a value that could not be read stands its default, of which nothing must be said.
    for problem in config.problems() {
        if !mistakes.iter().any(|mistake| mistake.key == problem.key) {
            mistakes.push(Mistake {
                key: problem.key.to_owned(),
                sentence: problem.sentence,
                origin: origin(figment, problem.key),
            });
        }
    }
    (Some(config), mistakes)
}

/// The values that can be read, each tried by itself over the defaults, and the mistakes in the others.
fn sound(figment: &Figment) -> (Figment, Vec<Mistake>) {
    let mut sound = Figment::from(Serialized::defaults(Config::default()));
    let mut mistakes = Vec::new();
    let Ok(given) = figment.data() else {
        return (sound, mistakes);
    };
    let sections = given.into_values().flatten();
    for (section, value) in sections {
        let values = match value {
            Value::Dict(_, keys) if sound.find_value(&section).is_ok() => keys
                .into_iter()
                .map(|(key, value)| (format!("{section}.{key}"), value))
                .collect(),
            value => vec![(section, value)],
        };
        for (key, value) in values {
            let origin = origin(figment, &key);
            let given = value.as_str().map(str::to_owned);
            let tried = sound.clone().merge(Given {
                origin: COMMAND_LINE,
                key: &key,
                value,
            });
            match tried.extract::<Config>() {
                Ok(_) => sound = tried,
                Err(error) => {
                    mistakes.extend(described(error).into_iter().map(|mistake| Mistake {
                        origin: origin.clone(),
                        sentence: explained(mistake.sentence, given.as_deref()),
                        ..mistake
                    }));
                }
            }
        }
    }
    (sound, mistakes)
}

/// The library's words in ours, where they say neither what was given nor what can be.
fn explained(sentence: String, given: Option<&str>) -> String {
    match given {
        Some(given) if sentence.ends_with(NOT_AN_ADDRESS) => format!(
            "is {given:?}, must be an IP address and a port, such as 127.0.0.1:8080 or [::1]:8080"
        ),
        _ => sentence,
    }
}

/// Every key there is, as `section.key`, in the order of the file.
fn known(config: &Config) -> Vec<String> {
    let sections = serde_json::to_value(config).unwrap_or_default();
    let sections = sections.as_object().into_iter().flatten();
    let keys = sections.flat_map(|(section, keys)| {
        let keys = keys.as_object().into_iter().flatten();
        keys.map(move |(key, _)| format!("{section}.{key}"))
    });
    keys.collect()
}

/// All sources, one over the other, but for a file that is not TOML, and what is wrong with that.
fn figment(sources: &Sources) -> Result<(Figment, Vec<Mistake>), Error> {
    let mut broken = Vec::new();
    let mut figment = Figment::from(Serialized::defaults(Config::default()));
    let file = match &sources.file {
        Some(file) if !file.is_file() => return Err(Error::Missing(file.clone())),
        Some(file) => Some(file.as_path()),
        None => DEFAULT_FILES
            .iter()
            .map(Path::new)
            .find(|file| file.is_file()),
    };
    if let Some(file) = file {
        match Figment::from(Toml::file_exact(file)).extract::<Dict>() {
            Ok(_) => figment = figment.merge(Toml::file_exact(file)),
            // What the other sources say is looked at all the same.
            Err(error) => broken = described(error),
        }
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
    Ok((figment, broken))
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

/// The mistakes that an error of the library stands for, with the key as it is written in the file.
fn described(errors: figment::Error) -> Vec<Mistake> {
    let mistakes = errors.into_iter().map(|error| {
        let key = error.path.join(".");
        // The library quotes the whole list of what it knows, and each name in it.
        let kind = error
            .kind
            .to_string()
            .replace("expected `one of ", "expected one of ")
            .replace("``", "`");
        let kind = kind.trim_end();
        let separator = if key.is_empty() { "" } else { ": " };
        Mistake {
            sentence: format!("{separator}{kind}"),
            origin: error.metadata.as_ref().map_or_else(
                || "an unknown place".to_owned(),
                |metadata| named(metadata, &key),
            ),
            key,
        }
    });
    mistakes.collect()
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

fn sentences(mistakes: &[Mistake]) -> String {
    let lines: Vec<_> = mistakes.iter().map(Mistake::to_string).collect();
    lines.join("; ")
}
