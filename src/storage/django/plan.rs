//! Finds out what a Django project calls its tables and columns, and reads rows by that.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use rusqlite::Connection;
use rusqlite::types::ValueRef;

use crate::domain::Timestamp;
use crate::storage::django::Error;
use crate::storage::django::Field;
use crate::storage::django::Project;
use crate::storage::django::Row;

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

/// All tables: their columns with the types that were declared, and which other tables they point at.
pub(super) struct Tables(BTreeMap<String, Table>);

#[derive(Default)]
struct Table {
    /// Name and declared type, in order.
    columns: Vec<(String, String)>,
    /// Column, and the table that it points at.
    references: Vec<(String, String)>,
    /// Columns of which no two rows have the same value.
    unique: BTreeSet<String>,
}

impl Tables {
    pub(super) fn of(connection: &Connection) -> rusqlite::Result<Self> {
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
            // A `OneToOneField` is a unique index of one column.
            let sql = "SELECT min(part.name) FROM pragma_index_list(?1) AS list, pragma_index_info(list.name) AS part \
                 WHERE list.\"unique\" = 1 AND list.partial = 0 GROUP BY list.name HAVING count(*) = 1 \
                 UNION SELECT min(name) FROM pragma_table_info(?1) WHERE pk > 0 GROUP BY 1 = 1 HAVING count(*) = 1";
            let mut statement = connection.prepare(sql)?;
            for column in statement.query_map([&name], |row| row.get::<_, Option<String>>(0))? {
                table.unique.extend(column?);
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

    /// The table of profiles: the one that is named, or the one that has a picture and points at users, at each once at
    /// most (what a user has many of are not profiles but posts, and their pictures perhaps not for everybody); and the
    /// column that points.
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
            if !table.unique.contains(column) {
                return None;
            }
            let has = match wanted {
                Some(wanted) => table.has(wanted),
                None => table.first_of(&PICTURES).is_some(),
            };
            has.then(|| (name.clone(), column.to_owned()))
        });
        // Which of several it is, the operator must say.
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
pub(super) struct Plan {
    pub(super) sql: String,
    names: usize,
    uuid: bool,
}

/// Columns in front of the names.
const FIXED: usize = 6;

impl Plan {
    pub(super) fn new(project: &Project, tables: &Tables) -> Result<Self, Error> {
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
        let of_profile = profile.and_then(|profile| profile.first_of(&PICTURES));
        let picture = named(Field::Picture)
            .or(of_profile)
            .or_else(|| users.first_of(&PICTURES));
        let picture = picture.map_or_else(|| Ok("NULL".to_owned()), of_either)?;
        let shown = match named(Field::Name) {
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
        columns.extend(shown.iter().cloned());
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
            names: shown.len(),
            uuid: users.is_uuid(id),
        })
    }

    pub(super) fn row(&self, row: &rusqlite::Row<'_>) -> rusqlite::Result<Row> {
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
