//! `pockitd config …`: what the configuration amounts to, and what is wrong with it. Starts and makes nothing.

use clap::Subcommand;
use serde_json::{Map, Value, json};

use crate::cli::Failure;
use crate::cli::print_line;
use crate::config;
use crate::config::{Config, Mistake, Sources};
use crate::http::tls;
use crate::service;

#[derive(Debug, Subcommand)]
pub(super) enum Settings {
    /// Print the configuration in force as TOML, with the place that each value comes from; secrets as ***
    #[command(
        after_help = "The output is a configuration file, but for secrets.\n\nExamples:\n  pockitd config show\n  \
        POCKIT_PICTURE__FIT=pad pockitd config show --config /etc/pockitd/pockit.toml\n  \
        pockitd config show --json | jq -r .http.listen.value"
    )]
    Show {
        /// Print a JSON object: section, key, then value and origin
        #[arg(long)]
        json: bool,
    },
    /// Tell everything that is wrong with the configuration and the files that it names
    #[command(
        after_help = "Exit code 1 if anything is wrong. Run it before a restart.\n\nExamples:\n  pockitd config check\n  \
        pockitd config check --config /etc/pockitd/pockit.toml && systemctl restart pockitd"
    )]
    Check {
        /// Print one JSON object a line: what is wrong, with key and origin
        #[arg(long)]
        json: bool,
    },
}

/// `pockitd config …`
pub(super) fn run(sources: &Sources, command: &Settings) -> Result<(), Failure> {
    match command {
        Settings::Show { json } => show(sources, *json),
        Settings::Check { json } => check(sources, *json),
    }
}

fn show(sources: &Sources, as_json: bool) -> Result<(), Failure> {
    let (config, origins) = config::origins(sources)?;
    // Secrets are masked by their own type.
    let values = serde_json::to_value(&config)?;
    let value = |key: &str| {
        let pointer = format!("/{}", key.replace('.', "/"));
        masked(values.pointer(&pointer).cloned().unwrap_or_default())
    };
    if as_json {
        let mut sections = Map::new();
        for (key, origin) in &origins {
            let (section, name) = key.split_once('.').unwrap_or_default();
            let entry = json!({ "value": value(key), "origin": origin });
            let section = sections.entry(section).or_insert_with(|| json!({}));
            if let Some(section) = section.as_object_mut() {
                section.insert(name.to_owned(), entry);
            }
        }
        print_line(&Value::Object(sections).to_string())?;
        return Ok(());
    }
    let mut current = "";
    for (key, origin) in &origins {
        let (section, name) = key.split_once('.').unwrap_or_default();
        if section != current {
            let space = if current.is_empty() { "" } else { "\n" };
            print_line(&format!("{space}[{section}]"))?;
            current = section;
        }
        match toml(&value(key)) {
            Some(text) => print_line(&format!("{name} = {text} # {origin}"))?,
            None => print_line(&format!("# {name} is not set"))?,
        }
    }
    Ok(())
}

/// A value in TOML's notation; none for what is not set.
fn toml(value: &Value) -> Option<String> {
    Some(match value {
        Value::Null => return None,
        // JSON's escapes are TOML's, but for one character that TOML wants escaped, too.
        Value::String(_) => value.to_string().replace('\u{7f}', "\\u007f"),
        Value::Array(items) => {
            let items: Vec<_> = items.iter().filter_map(toml).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Object(entries) => {
            let entries = entries.iter().filter_map(|(name, value)| {
                let name = Value::String(name.clone());
                Some(format!("{name} = {}", toml(value)?))
            });
            let entries: Vec<_> = entries.collect();
            format!("{{ {} }}", entries.join(", "))
        }
        Value::Bool(_) | Value::Number(_) => value.to_string(),
    })
}

/// Without the password of a URL such as `postgres://name:password@host/`.
fn masked(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(without_password(&text)),
        Value::Array(items) => Value::Array(items.into_iter().map(masked).collect()),
        Value::Object(entries) => Value::Object(
            entries
                .into_iter()
                .map(|(name, value)| (name, masked(value)))
                .collect(),
        ),
        other => other,
    }
}

fn without_password(text: &str) -> String {
    let parts = || {
        let (scheme, rest) = text.split_once("://")?;
        let authority = rest.split('/').next()?;
        let (user, _) = authority.rsplit_once('@')?.0.split_once(':')?;
        let behind = rest.get(authority.rfind('@')?..)?;
        Some(format!("{scheme}://{user}:***{behind}"))
    };
    parts().unwrap_or_else(|| text.to_owned())
}

fn check(sources: &Sources, as_json: bool) -> Result<(), Failure> {
    let examined = config::examine(sources)?;
    let mut mistakes = examined.mistakes;
    if let Some(config) = &examined.config {
        let of_files = files(config, &examined.origins).into_iter();
        // A file is only as good as the keys around it.
        let is_told = |file: &Mistake| {
            let section = file.key.split('.').next();
            let mut told = mistakes.iter();
            told.any(|mistake| mistake.key.split('.').next() == section)
        };
        let untold: Vec<_> = of_files.filter(|file| !is_told(file)).collect();
        mistakes.extend(untold);
    }
    for mistake in &mistakes {
        let Mistake {
            key,
            sentence,
            origin,
        } = mistake;
        let line = if as_json {
            let sentence = sentence.trim_start_matches(": ");
            json!({ "key": key, "problem": sentence, "origin": origin }).to_string()
        } else {
            mistake.to_string()
        };
        print_line(&line)?;
    }
    match mistakes.len() {
        0 if as_json => Ok(()),
        0 => Ok(print_line("The configuration can be used.")?),
        1 => Err("the configuration has 1 mistake: put it right where it says".into()),
        count => Err(format!(
            "the configuration has {count} mistakes: put them right where it says"
        )
        .into()),
    }
}

/// What is wrong with the files that the configuration names. The data directory is not looked at: it may be made by
/// whoever starts the server.
fn files(config: &Config, origins: &[(String, String)]) -> Vec<Mistake> {
    let mut found = Vec::new();
    if let Err(error) = service::check_secret(&config.auth) {
        found.push(("auth.secret_file", service::chain(&error)));
    }
    for error in service::check_issuers(&config.auth) {
        found.push(("auth.issuers", service::chain(&error)));
    }
    if let Err(error) = tls::Tls::load(&config.tls) {
        found.push(("tls.certificate_file", service::chain(&error)));
    }
    let mistakes = found.into_iter().map(|(key, sentence)| Mistake {
        key: key.to_owned(),
        sentence: format!(": {sentence}"),
        origin: origins
            .iter()
            .find(|(known, _)| known == key)
            .map_or_else(String::new, |(_, origin)| origin.clone()),
    });
    mistakes.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn password_of_a_url_is_not_shown() {
        for (text, shown) in [
            (
                "postgres://ada:secret@db.example.org/x",
                "postgres://ada:***@db.example.org/x",
            ),
            ("postgres://ada:se@cret@db/x", "postgres://ada:***@db/x"),
            ("https://example.org/a:b@c", "https://example.org/a:b@c"),
            ("*", "*"),
        ] {
            assert_eq!(without_password(text), shown);
        }
    }

    #[test]
    fn values_are_written_as_toml_reads_them() {
        let value = json!({ "a": ["x\"\n\u{7f}", 1, true, null], "b": null });

        assert_eq!(
            toml(&value).unwrap(),
            "{ \"a\" = [\"x\\\"\\n\\u007f\", 1, true] }"
        );
    }
}
