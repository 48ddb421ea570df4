//! Reads the users of a Django project: its `SQLite` database, never written to, and the files below its media folder.
//!
//! Which tables and columns there are is asked of the database; what is found can be overruled one by one. Nothing in
//! a row is believed: a row that is not what it should be is handed on as such, and no path leads out of the folder.

mod plan;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::path::Component;
use std::path::Path;
use std::path::PathBuf;
use std::str::FromStr;

use rusqlite::Connection;
use rusqlite::OpenFlags;
use serde::Deserialize;
use serde::Serialize;

use crate::domain::Timestamp;
use crate::storage::django::plan::Plan;
use crate::storage::django::plan::Tables;

/// Why a project cannot be read.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message documents its variant")]
pub enum Error {
    #[error("cannot read the database {database}")]
    Database {
        database: String,
        #[source]
        source: rusqlite::Error,
    },
    #[error("cannot read {path}")]
    File {
        path: String,
        #[source]
        source: std::io::Error,
    },
    #[error(
        "the database has no table of users: none has the columns id, email and password; name it with --table"
    )]
    NoTable,
    #[error("the database has several tables of users: {0}; name one with --table")]
    ManyTables(String),
    #[error("the table {table} has no column {column}; it has {columns}")]
    NoColumn {
        table: String,
        column: String,
        columns: String,
    },
    #[error("the database has no table {0}")]
    UnknownTable(String),
}

/// What a column is for.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Field {
    /// The user's id.
    Id,
    /// The log-in name.
    Email,
    /// The password's hash.
    Password,
    /// The display name, of the user or the profile.
    Name,
    /// The path of the picture below the media folder, of the user or the profile.
    Picture,
    /// Whether the user may log in.
    Active,
    /// When the user was made.
    Created,
    /// In the table of profiles: the user's id.
    User,
}

impl FromStr for Field {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text {
            "id" => Self::Id,
            "email" => Self::Email,
            "password" => Self::Password,
            "name" => Self::Name,
            "picture" => Self::Picture,
            "active" => Self::Active,
            "created" => Self::Created,
            "user" => Self::User,
            _ => {
                return Err(format!(
                    "{text:?} is not id, email, password, name, picture, active, created or user"
                ));
            }
        })
    }
}

/// Where a project is, and what it calls things where that is not to be found out.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Project {
    /// The database.
    pub database: PathBuf,
    /// `MEDIA_ROOT`.
    pub media: PathBuf,
    /// The table of users.
    pub table: Option<String>,
    /// The table of profiles, if names and pictures are in another one.
    pub profile_table: Option<String>,
    /// Columns, by what they are for.
    pub columns: BTreeMap<Field, String>,
}

/// One user as the database has them; texts that are not what they should be and all.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Row {
    /// The id as its tokens spell it.
    pub id: String,
    /// The log-in name.
    pub email: String,
    /// The password's hash.
    pub password: String,
    /// Display names to choose from, best first; none is blank.
    pub names: Vec<String>,
    /// Path of the picture below the media folder; none without one.
    pub picture: Option<String>,
    /// Whether the user may log in.
    pub is_active: bool,
    /// When the user was made.
    pub created_at: Option<Timestamp>,
}

/// Hands all users on, in the order of their ids, until `each` wants no more. All of them are of one moment. Blocks.
///
/// # Errors
///
/// See [`enum@Error`].
pub fn read(project: &Project, mut each: impl FnMut(Row) -> bool) -> Result<(), Error> {
    let failed = |source| Error::Database {
        database: project.database.display().to_string(),
        source,
    };
    // Never made if it is missing: a slip of the hand would look like a project without users.
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(&project.database, flags).map_err(failed)?;
    let tables = Tables::of(&connection).map_err(failed)?;
    let plan = Plan::new(project, &tables)?;
    let mut statement = connection.prepare(&plan.sql).map_err(failed)?;
    let mut rows = statement.query([]).map_err(failed)?;
    let mut last = None;
    while let Some(found) = rows.next().map_err(failed)? {
        let row = plan.row(found).map_err(failed)?;
        // A second profile of the same user.
        if last.as_ref() == Some(&row.id) {
            continue;
        }
        last = Some(row.id.clone());
        if !each(row) {
            break;
        }
    }
    Ok(())
}

/// A picture file below the media folder, if it is one of at most so many bytes. Blocks.
///
/// # Errors
///
/// A sentence for whoever imports.
pub fn picture(media: &Path, name: &str, bytes_max: u64) -> Result<Vec<u8>, String> {
    let about = |reason: &str| format!("the picture {name:?} {reason}");
    let below = Path::new(name);
    let plain = |component| matches!(component, Component::Normal(_) | Component::CurDir);
    if name.contains('\0') || !below.components().all(plain) {
        return Err(about("is not below the media folder"));
    }
    let unreadable = |error: std::io::Error| about(&format!("cannot be read: {error}"));
    let folder = media.canonicalize().map_err(unreadable)?;
    let path = folder.join(below).canonicalize().map_err(unreadable)?;
    if !path.starts_with(&folder) {
        return Err(about(
            "is a link to a file that is not below the media folder",
        ));
    }
    let file = File::open(&path).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(about("is not a file"));
    }
    if metadata.len() > bytes_max {
        let actual = metadata.len();
        let reason = format!("has {actual} bytes, http.upload_bytes_max is {bytes_max}");
        return Err(about(&reason));
    }
    let mut bytes = Vec::new();
    file.take(bytes_max)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    Ok(bytes)
}

/// When a picture file was last written to.
#[must_use]
pub fn picture_time(media: &Path, name: &str) -> Option<Timestamp> {
    let modified = media
        .join(name)
        .metadata()
        .and_then(|metadata| metadata.modified());
    let since = modified.ok()?.duration_since(std::time::UNIX_EPOCH).ok()?;
    let micros = i64::try_from(since.as_micros()).ok()?;
    Some(Timestamp::from_micros(micros))
}
