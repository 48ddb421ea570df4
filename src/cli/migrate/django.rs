//! `pockitd migrate import-django`: where the project is and what it calls things; the mapping of its users.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use crate::cli::Failure;
use crate::cli::errand::Errand;
use crate::cli::migrate::Conflict;
use crate::cli::print_line;
use crate::cli::progress::Progress;
use crate::service::admin::{Event, Task};
use crate::service::migrate::{Field, FromDjango, ImportedFromDjango, Outcome, Project, Row};

pub(super) const EXAMPLES: &str = "\
Prints a line for each user: id there, id here, e-mail address, what became of it and what did not come with it. A row \
that cannot be taken over does not stop the others. Users who are there already, with that id and that address, are \
left alone: run again, it goes on where it was. Only a picture that did not come, as a file was missing or the machine \
too busy, is tried again, unless its user has changed the profile since.

The table of users is the one with the columns id, email and password; names and pictures may be in it or in a table \
that points at it. --column says what is called otherwise: id, email, password, active and created of the user, user \
of the profile, name and picture of either.

Passwords hashed with pbkdf2_sha256 or Argon2 stay valid.

Beside a running server, the server reads the project: its user must be able to, and what its systemd unit hides \
(ProtectHome hides /home, PrivateTmp /tmp) it does not see. Copy the files to where it does, such as below \
/var/lib/pockitd, or stop the server for the import.

A database in WAL mode has its last changes in a file beside it, whose name ends in -wal: copy both, or stop the project \
and checkpoint the database before, with PRAGMA wal_checkpoint(TRUNCATE).

Examples:
  pockitd migrate import-django --database db.sqlite3 --media media --dry-run
  pockitd migrate import-django --database db.sqlite3 --media media --column picture=avatar
  pockitd migrate import-django --database db.sqlite3 --media media --table members_member --column name=nick";

#[derive(Args, Debug)]
pub(in crate::cli) struct ImportDjango {
    #[arg(
        long,
        value_name = "FILE",
        help = "The project's database, an SQLite file; it is only read"
    )]
    database: PathBuf,
    #[arg(long, value_name = "DIR", help = "The project's MEDIA_ROOT")]
    media: PathBuf,
    /// Table of users, if it is not found or not the right one
    #[arg(long, value_name = "NAME")]
    table: Option<String>,
    /// Table of profiles, if names and pictures are in one that is not found
    #[arg(long, value_name = "NAME")]
    profile_table: Option<String>,
    /// What a column is called, such as picture=avatar; may be repeated
    #[arg(long = "column", value_name = "FIELD=NAME", value_parser = column)]
    columns: Vec<(Field, String)>,
    /// What to put in front of each id; without it ids, and with them tokens, stay what they are
    #[arg(long, value_name = "TEXT", default_value = "")]
    id_prefix: String,
    /// Also take over users who are not active, without their passwords
    #[arg(long)]
    with_inactive: bool,
    /// What to do about a user whose id or e-mail address somebody else has. An address is never taken from its user
    #[arg(long, value_enum, default_value_t = Conflict::Skip)]
    on_conflict: Conflict,
    /// Write nothing, only say what would become of each user
    #[arg(long)]
    dry_run: bool,
    /// Print JSON objects, one a line: users, then a summary
    #[arg(long)]
    json: bool,
}

/// `pockitd migrate import-django`
pub(super) fn import(errand: &Errand, arguments: ImportDjango) -> Result<(), Failure> {
    // A server has another working directory.
    let absolute = |path: &PathBuf| std::path::absolute(path);
    let task = Task::ImportDjango(FromDjango {
        project: Project {
            database: absolute(&arguments.database)?,
            media: absolute(&arguments.media)?,
            table: arguments.table,
            profile_table: arguments.profile_table,
            columns: arguments.columns.into_iter().collect(),
        },
        id_prefix: arguments.id_prefix,
        with_inactive: arguments.with_inactive,
        on_conflict: arguments.on_conflict.into(),
        dry_run: arguments.dry_run,
    });
    let as_json = arguments.json;
    let mut progress = Progress::new();
    let ran = errand.run(task, |event| {
        match event {
            Event::Row(row) => {
                progress.clear();
                print_line(&if as_json {
                    json!({ "user": row }).to_string()
                } else {
                    line(&row)
                })?;
            }
            Event::ImportedDjango(sum) => {
                progress.clear();
                print_line(&if as_json {
                    json!({ "summary": sum }).to_string()
                } else {
                    summary(&sum)
                })?;
            }
            Event::Working { what, done, of } => progress.show(&what, done, of),
            _ => {}
        }
        Ok(())
    });
    progress.clear();
    ran
}

fn line(row: &Row) -> String {
    let user = row.user_id.as_ref().map_or("-", |id| id.as_str());
    let outcome = match &row.outcome {
        Outcome::Added => "added".to_owned(),
        Outcome::Replaced => "replaced".to_owned(),
        Outcome::Unchanged => "unchanged".to_owned(),
        Outcome::Completed => "picture added".to_owned(),
        Outcome::Skipped(reason) => format!("skipped: {reason}"),
        Outcome::Damaged(reason) => format!("not written: {reason}"),
    };
    let problems: Vec<String> = row
        .problems
        .iter()
        .map(|problem| format!("; {problem}"))
        .collect();
    // Whatever is in a row, it stays on its line and in its column.
    let plain = |text: &str| text.replace(|c: char| c.is_control(), "\u{FFFD}");
    format!(
        "{}\t{user}\t{}\t{}{}",
        plain(&row.old_id),
        plain(&row.email),
        plain(&outcome),
        plain(&problems.concat())
    )
}

fn summary(sum: &ImportedFromDjango) -> String {
    let completed = match sum.completed {
        0 => String::new(),
        completed => format!(", {completed} pictures added"),
    };
    let damaged = match sum.damaged {
        0 => String::new(),
        damaged => format!(", {damaged} not written"),
    };
    format!(
        "{} users: {} added, {} replaced, {} unchanged, {} skipped{completed}{damaged}; {} with a picture, {} with problems",
        sum.rows,
        sum.added,
        sum.replaced,
        sum.unchanged,
        sum.skipped,
        sum.pictures,
        sum.with_problems
    )
}

fn column(text: &str) -> Result<(Field, String), String> {
    let (field, name) = text
        .split_once('=')
        .ok_or("want FIELD=NAME, such as picture=avatar")?;
    Ok((field.parse()?, name.to_owned()))
}
