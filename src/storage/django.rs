//! Reads the users of a Django project: its `SQLite` database, never written to, and the files below its media folder.
//!
//! Which tables and columns there are is asked of the database; what is found can be overruled one by one. Nothing in
//! a row is believed: a row that is not what it should be is handed on as such, and no path leads out of the folder.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::path::Component;
use std::path::Path;
use std::path::PathBuf;
use std::str::FromStr;

use rusqlite::Connection;
use rusqlite::OpenFlags;
use rusqlite::types::ValueRef;
use serde::Deserialize;
use serde::Serialize;

use crate::domain::Timestamp;

/// Tables that users are looked for in first: Django's own is empty where a project has one of its own.
const OWN_LAST: &str = "auth_user";
/// Names that the column of a display name may have, best first.
const NAMES: [&str; 6] = [
    "name",
    "display_name",
    "full_name",
    "nickname",
    "profile_name",
    "username",
];
/// Names that the column of a picture may have, best first.
const PICTURES: [&str; 8] = [
    "profile_picture",
    "picture",
    "profile_image",
    "avatar",
    "image",
    "photo",
    "profile_photo",
    "profile_pic",
];

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

/// All tables: their columns with the types that were declared, and which other tables they point at.
struct Tables(BTreeMap<String, Table>);

#[derive(Default)]
struct Table {
    /// Name and declared type, in order.
    columns: Vec<(String, String)>,
    /// Column, and the table that it points at.
    references: Vec<(String, String)>,
}

impl Tables {
    fn of(connection: &Connection) -> rusqlite::Result<Self> {
        let mut names =
            connection.prepare("SELECT name FROM sqlite_master WHERE type = 'table'")?;
        let names = names.query_map([], |row| row.get::<_, String>(0))?;
        let mut tables = BTreeMap::new();
        for name in names {
            let name = name?;
            let mut table = Table::default();
            let mut statement =
                connection.prepare("SELECT name, type FROM pragma_table_info(?1)")?;
            for column in statement.query_map([&name], |row| Ok((row.get(0)?, row.get(1)?)))? {
                table.columns.push(column?);
            }
            let sql = "SELECT \"from\", \"table\" FROM pragma_foreign_key_list(?1)";
            let mut statement = connection.prepare(sql)?;
            for reference in statement.query_map([&name], |row| Ok((row.get(0)?, row.get(1)?)))? {
                table.references.push(reference?);
            }
            tables.insert(name, table);
        }
        Ok(Self(tables))
    }

    fn get(&self, name: &str) -> Result<&Table, Error> {
        let table = self.0.get(name);
        table.ok_or_else(|| Error::UnknownTable(name.to_owned()))
    }

    /// The table of users: the one that is named, or the only one that looks like it.
    fn users(&self, named: Option<&str>) -> Result<String, Error> {
        if let Some(name) = named {
            self.get(name)?;
            return Ok(name.to_owned());
        }
        let looks = |table: &Table| {
            ["id", "email", "password"]
                .iter()
                .all(|column| table.has(column))
        };
        let found = self.0.iter().filter(|(_, table)| looks(table));
        let mut found: Vec<&str> = found.map(|(name, _)| name.as_str()).collect();
        if found.len() > 1 {
            found.retain(|name| *name != OWN_LAST);
        }
        match found.as_slice() {
            [] => Err(Error::NoTable),
            [one] => Ok((*one).to_owned()),
            many => Err(Error::ManyTables(many.join(", "))),
        }
    }

    /// The table of profiles: the one that is named, or one that points at users and has a picture, and the column
    /// that points.
    fn profiles(&self, project: &Project, users: &str) -> Result<Option<(String, String)>, Error> {
        let named = project.columns.get(&Field::User);
        if let Some(name) = &project.profile_table {
            let table = self.get(name)?;
            let pointing = table.pointing_at(users).unwrap_or("user_id");
            let column = named.map_or(pointing, String::as_str);
            table.must_have(name, column)?;
            return Ok(Some((name.clone(), column.to_owned())));
        }
        let wanted = project.columns.get(&Field::Picture).map(String::as_str);
        let candidates = self.0.iter().filter(|(name, _)| *name != users);
        let mut found = candidates.filter_map(|(name, table)| {
            let column = table.pointing_at(users)?;
            let has = match wanted {
                Some(wanted) => table.has(wanted),
                None => table.first_of(&PICTURES).is_some(),
            };
            has.then(|| (name.clone(), column.to_owned()))
        });
        // Several are somebody else's business, such as pictures in posts.
        let first = found.next();
        Ok(first.filter(|_| found.next().is_none()))
    }
}

impl Table {
    fn has(&self, column: &str) -> bool {
        self.columns.iter().any(|(name, _)| name == column)
    }

    fn first_of<'n>(&self, names: &[&'n str]) -> Option<&'n str> {
        names.iter().copied().find(|name| self.has(name))
    }

    fn pointing_at(&self, table: &str) -> Option<&str> {
        let mut references = self.references.iter();
        let found = references.find(|(_, target)| target == table);
        found.map(|(column, _)| column.as_str())
    }

    fn must_have(&self, table: &str, column: &str) -> Result<(), Error> {
        if self.has(column) {
            return Ok(());
        }
        let columns: Vec<&str> = self.columns.iter().map(|(name, _)| name.as_str()).collect();
        Err(Error::NoColumn {
            table: table.to_owned(),
            column: column.to_owned(),
            columns: columns.join(", "),
        })
    }

    fn is_uuid(&self, column: &str) -> bool {
        let declared = self.columns.iter().find(|(name, _)| name == column);
        declared.is_some_and(|(_, declared)| {
            matches!(declared.to_lowercase().as_str(), "char(32)" | "uuid")
        })
    }
}

/// The one query, and what its columns are: id, e-mail address, password, active, created, picture, names.
struct Plan {
    sql: String,
    names: usize,
    uuid: bool,
}

/// Columns in front of the names.
const FIXED: usize = 6;

impl Plan {
    fn new(project: &Project, tables: &Tables) -> Result<Self, Error> {
        let users_name = tables.users(project.table.as_deref())?;
        let users = tables.get(&users_name)?;
        let profiles = tables.profiles(project, &users_name)?;
        let profile = match &profiles {
            Some((name, _)) => Some(tables.get(name)?),
            None => None,
        };
        let named = |field| project.columns.get(&field).map(String::as_str);
        let must = |field, default| {
            let column = named(field).unwrap_or(default);
            users.must_have(&users_name, column).map(|()| column)
        };
        let may = |field, default| match named(field) {
            Some(column) => users
                .must_have(&users_name, column)
                .map(|()| quoted("u", column)),
            None if users.has(default) => Ok(quoted("u", default)),
            None => Ok("NULL".to_owned()),
        };
        // Of the profile before the user's own.
        let of_either = |column: &str| match profile {
            Some(profile) if profile.has(column) => Ok(quoted("p", column)),
            _ => users
                .must_have(&users_name, column)
                .map(|()| quoted("u", column)),
        };
        let id = must(Field::Id, "id")?;
        let picture = match named(Field::Picture) {
            Some(column) => of_either(column)?,
            None => {
                let of_profile = profile.and_then(|profile| profile.first_of(&PICTURES));
                match of_profile.or_else(|| users.first_of(&PICTURES)) {
                    Some(column) => of_either(column)?,
                    None => "NULL".to_owned(),
                }
            }
        };
        let names = match named(Field::Name) {
            Some(column) => vec![of_either(column)?],
            None => names(users, profile),
        };
        let mut columns = vec![
            quoted("u", id),
            quoted("u", must(Field::Email, "email")?),
            quoted("u", must(Field::Password, "password")?),
            may(Field::Active, "is_active")?,
            may(Field::Created, "date_joined")?,
            picture,
        ];
        columns.extend(names.iter().cloned());
        let join = profiles.map_or_else(String::new, |(name, column)| {
            let (name, user) = (quote(&name), quoted("p", &column));
            format!(" LEFT JOIN {name} AS p ON {user} = {}", quoted("u", id))
        });
        let sql = format!(
            "SELECT {} FROM {} AS u{join} ORDER BY {}",
            columns.join(", "),
            quote(&users_name),
            quoted("u", id)
        );
        Ok(Self {
            sql,
            names: names.len(),
            uuid: users.is_uuid(id),
        })
    }

    fn row(&self, row: &rusqlite::Row<'_>) -> rusqlite::Result<Row> {
        let text = |place| row.get_ref(place).map(text);
        let id = text(0)?.unwrap_or_default();
        let names = FIXED..FIXED.saturating_add(self.names);
        let names = names.map(text).collect::<Result<Vec<_>, _>>()?;
        let created = text(4)?.and_then(|text| time(&text));
        Ok(Row {
            id: if self.uuid { with_dashes(id) } else { id },
            email: text(1)?.unwrap_or_default(),
            password: text(2)?.unwrap_or_default(),
            names: names
                .into_iter()
                .flatten()
                .filter(|name| !name.trim().is_empty())
                .collect(),
            picture: text(5)?.filter(|path| !path.trim().is_empty()),
            is_active: !matches!(text(3)?.as_deref(), Some("0")),
            created_at: created,
        })
    }
}

/// The columns that a display name may be in, best first.
fn names(users: &Table, profile: Option<&Table>) -> Vec<String> {
    let of = |alias: &str, table: &Table| {
        let there = NAMES.iter().filter(|name| table.has(name));
        let mut columns: Vec<String> = there.map(|name| quoted(alias, name)).collect();
        if table.has("first_name") && table.has("last_name") {
            let (first, last) = (quoted(alias, "first_name"), quoted(alias, "last_name"));
            let both = format!("trim(coalesce({first}, '') || ' ' || coalesce({last}, ''))");
            // Before the name that one logs in with.
            let place = columns
                .iter()
                .position(|column| column.ends_with("\"username\""));
            columns.insert(place.unwrap_or(columns.len()), both);
        }
        columns
    };
    let of_profile = profile.map(|profile| of("p", profile)).unwrap_or_default();
    [of_profile, of("u", users)].concat()
}

/// Bytes that are no text are kept as text that is nothing else: whoever looks at it refuses it.
fn text(value: ValueRef<'_>) -> Option<String> {
    match value {
        ValueRef::Null => None,
        ValueRef::Integer(number) => Some(number.to_string()),
        ValueRef::Real(number) => Some(number.to_string()),
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => {
            Some(String::from_utf8_lossy(bytes).into_owned())
        }
    }
}

/// Django writes `2026-01-31 08:09:10.123456`, in UTC.
fn time(text: &str) -> Option<Timestamp> {
    let text = text.trim().replacen(' ', "T", 1);
    text.parse().or_else(|_| format!("{text}Z").parse()).ok()
}

/// `SQLite` has UUIDs without dashes, tokens have them with.
fn with_dashes(id: String) -> String {
    if id.len() != 32 || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return id;
    }
    let mut dashed = String::with_capacity(36);
    for (place, digit) in id.chars().enumerate() {
        if matches!(place, 8 | 12 | 16 | 20) {
            dashed.push('-');
        }
        dashed.push(digit);
    }
    dashed
}

fn quoted(alias: &str, column: &str) -> String {
    format!("{alias}.{}", quote(column))
}

fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
