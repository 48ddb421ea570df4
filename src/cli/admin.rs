//! `pockitd user` and `pockitd token`: one task each, shown as text or JSON.

use std::io::{self, BufRead, Write};

use clap::{Args, Subcommand};
use serde_json::json;

use crate::cli::Failure;
use crate::cli::errand::Errand;
use crate::cli::print_line;
use crate::domain::user::DisplayName;
use crate::domain::user::Email;
use crate::domain::user::UserId;
use crate::service::admin::{Event, Task};

#[derive(Debug, Subcommand)]
pub(super) enum User {
    /// Add a user and print the new id
    #[command(
        after_help = "Examples:\n  pockitd user add ada@example.org\n  printf %s 'correct horse battery' | pockitd user add ada@example.org --name Ada --password-stdin"
    )]
    Add {
        /// E-mail address, the log-in name
        #[arg(value_name = "EMAIL")]
        email: Email,
        /// Display name; without it, what stands before the @
        #[arg(long)]
        name: Option<DisplayName>,
        /// The id that tokens of another issuer call this user by, with its prefix if it has one: 42, sso:42; without it a new one
        /// is made
        #[arg(long)]
        id: Option<UserId>,
        /// Read the password from the first line of standard input; without it the user cannot log in with one
        #[arg(long)]
        password_stdin: bool,
        /// Print a JSON object
        #[arg(long)]
        json: bool,
    },
    /// List all users: id, e-mail address, time of registration
    #[command(
        after_help = "Examples:\n  pockitd user list\n  pockitd user list --json | jq -r .user_id"
    )]
    List {
        /// Print one JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Delete a user, the profile and the picture
    #[command(
        after_help = "Examples:\n  pockitd user delete ada@example.org\n  pockitd user delete 8a962316-f948-46d6-9990-ecb973ebb07f"
    )]
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
pub(super) fn user(errand: &Errand, command: User) -> Result<(), Failure> {
    match command {
        User::Add {
            email,
            name,
            id,
            password_stdin,
            json,
        } => {
            let password = if password_stdin {
                Some(first_line()?.into())
            } else {
                None
            };
            let task = Task::AddUser {
                email,
                name,
                id,
                password,
            };
            errand.run(task, |event| show(event, json))
        }
        User::List { json } => errand.run(Task::ListUsers, |event| show(event, json)),
        User::Delete { user } => errand.run(Task::DeleteUser { user }, |event| show(event, false)),
    }
}

/// `pockitd token USER`
pub(super) fn token(errand: &Errand, arguments: Token) -> Result<(), Failure> {
    let most = errand.config.auth.access_life_s_max;
    if arguments.ttl.is_some_and(|ttl| most > 0 && ttl > most) {
        let sentence = format!(
            "--ttl is longer than auth.access_life_s_max, {most} seconds: the token would not be accepted"
        );
        return Err(sentence.into());
    }
    let task = Task::IssueToken {
        user: arguments.user,
        ttl_s: arguments.ttl,
    };
    errand.run(task, |event| show(event, false))
}

fn show(event: Event, json: bool) -> Result<(), Failure> {
    let line = match event {
        Event::Added {
            user_id,
            email,
            name,
        } if json => json!({ "user_id": user_id, "email": email, "name": name }).to_string(),
        Event::Added { user_id, .. } => user_id.to_string(),
        Event::User {
            user_id,
            email,
            created_at,
        } if json => {
            json!({ "user_id": user_id, "email": email, "created_at": created_at.to_string() })
                .to_string()
        }
        Event::User {
            user_id,
            email,
            created_at,
        } => {
            let email = email.as_ref().map_or("-", Email::as_str);
            format!("{user_id}\t{email}\t{created_at}")
        }
        Event::Token { token } => token,
        Event::Damaged { user_id, reason } => {
            // Not on stdout, where programs look for users.
            writeln!(io::stderr(), "{user_id}: {reason}")?;
            return Ok(());
        }
        _ => return Ok(()),
    };
    Ok(print_line(&line)?)
}

fn first_line() -> Result<String, Failure> {
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

/// `90`, `90s`, `15m`, `12h` or `30d` in seconds.
pub(super) fn seconds(text: &str) -> Result<u64, String> {
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
