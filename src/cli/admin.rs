//! `pockitd user` and `pockitd token`: one use case each, as text or JSON.

use std::io::{self, BufRead};

use clap::{Args, Subcommand};
use serde_json::json;

use crate::cli::Failure;
use crate::cli::print_line;
use crate::config::Config;
use crate::domain::user::Account;
use crate::domain::user::DisplayName;
use crate::domain::user::Email;
use crate::service;
use crate::service::App;

/// Accounts that are fetched at once.
const PAGE: usize = 1_000;

#[derive(Debug, Subcommand)]
pub(super) enum User {
    /// Add a user and print the new id
    #[command(
        after_help = "Example:\n  printf %s 'correct horse battery' | pockitd user add ada@example.org --name Ada --password-stdin"
    )]
    Add {
        /// E-mail address, the log-in name
        #[arg(value_name = "EMAIL")]
        email: Email,
        /// Display name; without it, what stands before the @
        #[arg(long)]
        name: Option<DisplayName>,
        /// Read the password from the first line of standard input; without it the user cannot log in with one
        #[arg(long)]
        password_stdin: bool,
        /// Print a JSON object
        #[arg(long)]
        json: bool,
    },
    /// List all users: id, e-mail address, time of registration
    List {
        /// Print one JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Delete a user, the profile and the picture
    Delete {
        /// Id or e-mail address
        #[arg(value_name = "USER")]
        user: String,
    },
}

#[derive(Args, Debug)]
pub(super) struct Token {
    /// Id or e-mail address
    #[arg(value_name = "USER")]
    user: String,
    /// How long it holds: seconds, or a number with s, m, h or d; without it `auth.access_ttl_s`
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    ttl: Option<u64>,
}

/// `pockitd user …`
pub(super) fn user(config: Config, command: User) -> Result<(), Failure> {
    with_app(config, async |app| match command {
        User::Add {
            email,
            name,
            password_stdin,
            json,
        } => {
            let password = if password_stdin {
                Some(first_line()?)
            } else {
                None
            };
            let address = email.as_str().to_owned();
            let profile = app.add_user(email, password, name).await.map_err(told)?;
            let id = profile.user_id;
            let line = if json {
                json!({ "user_id": id, "email": address, "name": profile.name }).to_string()
            } else {
                id.to_string()
            };
            Ok(print_line(&line)?)
        }
        User::List { json } => list(app, json).await,
        User::Delete { user } => {
            let account = app.find(&user).await.map_err(|error| about(&user, error))?;
            Ok(app.delete_user(&account.user_id).await?)
        }
    })
}

/// `pockitd token USER`
pub(super) fn token(config: Config, arguments: &Token) -> Result<(), Failure> {
    with_app(config, async |app| {
        let ttl = arguments.ttl.unwrap_or(app.config.auth.access_ttl_s);
        let token = app
            .token_for(&arguments.user, ttl)
            .await
            .map_err(|error| about(&arguments.user, error))?;
        Ok(print_line(&token)?)
    })
}

async fn list(app: &App, json: bool) -> Result<(), Failure> {
    let mut last = None;
    loop {
        let page = app.accounts(last.as_ref(), PAGE).await?;
        for Account {
            user_id,
            email,
            created_at,
            ..
        } in &page
        {
            let line = if json {
                json!({ "user_id": user_id, "email": email, "created_at": created_at.to_string() })
                    .to_string()
            } else {
                format!("{user_id}\t{email}\t{created_at}")
            };
            print_line(&line)?;
        }
        if page.len() < PAGE {
            return Ok(());
        }
        last = page.into_iter().next_back().map(|account| account.user_id);
    }
}

/// Opens the program without its listener, does one thing, closes it.
fn with_app(
    config: Config,
    work: impl AsyncFnOnce(&App) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let app = App::open(config).await?;
        let result = work(&app).await;
        app.close().await?;
        result
    })
}

fn first_line() -> Result<String, Failure> {
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

/// The sentence for whoever typed the command: what was wrong rather than who noticed.
fn told(error: service::Error) -> Failure {
    match error {
        service::Error::Storage(cause) => cause.into(),
        other => other.into(),
    }
}

fn about(user: &str, error: service::Error) -> Failure {
    format!("{user}: {}", told(error)).into()
}

/// `90`, `90s`, `15m`, `12h` or `30d` in seconds.
fn seconds(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is not a time such as 90s, 15m, 12h or 30d");
    let digits = text.trim_end_matches(['s', 'm', 'h', 'd']);
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    let unit = match text.strip_prefix(digits).unwrap_or_default() {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return Err(wrong()),
    };
    // A century, as in the configuration.
    number
        .checked_mul(unit)
        .filter(|seconds| (1..=3_155_760_000).contains(seconds))
        .ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_is_a_number_with_a_unit() {
        assert_eq!(seconds("90"), Ok(90));
        assert_eq!(seconds("15m"), Ok(900));
        assert_eq!(seconds("12h"), Ok(43_200));
        assert_eq!(seconds("30d"), Ok(2_592_000));
        for text in [
            "",
            "h",
            "0",
            "-1",
            "1w",
            "1hh",
            "99999999999999999999d",
            "36526d",
        ] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }
}
