//! Stretches of a table that cannot be read, and where it can be read again.
//!
//! A walk over a table ends at the first page that is damaged, and sled does not say where the next one begins. So keys
//! are tried: first for where the stretch begins, then, in growing steps, for one behind it, then between the two. The
//! number of tries is bounded. Two stretches that lie close together may be taken for one, with what is between them.

use std::ops::Bound;

use crate::storage::Error;
use crate::storage::audit::{Finding, Problem, Section};
use crate::storage::sled::audit::{Entry, WALK, id};
use crate::storage::sled::chunk;
use crate::storage::sled::engine::{Engine, Table, WALKING, failed, guarded, next_of};

/// Bytes up to which keys are told apart: a user id of 161 characters of ASCII, and what the key of a part adds to it.
const PRECISION_BYTES: usize = 192;

/// A stretch of a table that cannot be read.
#[derive(Clone, Debug)]
pub(super) struct Gap {
    section: Section,
    table: Table,
    /// The key before it; none: it begins with the table.
    after: Option<Vec<u8>>,
    /// The first key in it.
    inside: Vec<u8>,
    /// The first key behind it; none: it ends with the table.
    pub(super) until: Option<Vec<u8>>,
    /// What came up there.
    cause: String,
}

/// Whether an error tells of something that is stored, and not of the database as a whole.
pub(super) fn is_local(engine: &Engine, error: &Error) -> bool {
    matches!(error, Error::Damaged { .. } | Error::Io { .. }) && !engine.is_broken()
}

/// An error with its cause, on one line.
pub(super) fn told(error: &Error) -> String {
    match error {
        Error::Damaged { detail, .. } => detail.clone(),
        Error::Io { source, .. } => format!("{error}: {source}"),
        other => other.to_string(),
    }
}

impl Gap {
    /// The stretch that a walk from `begin` on has met, whose last key was `after`.
    ///
    /// # Errors
    ///
    /// `met`, which the walk has met, if it does not come up again.
    pub(super) fn behind(
        engine: &Engine,
        table: Table,
        begin: Bound<&[u8]>,
        met: Error,
    ) -> Result<Self, Error> {
        let is_cut_off = |key: &[u8]| first(engine, table, (begin, Bound::Included(key))).is_err();
        let (Some(inside), false) = (boundary(&[], &is_cut_off), engine.is_broken()) else {
            return Err(met);
        };
        let is_readable = |key: &[u8]| key > inside.as_slice() && is_readable(engine, table, key);
        let until = if self::is_readable(engine, table, &inside) {
            Some(inside.clone())
        } else {
            behind(&inside, &is_readable)
        };
        let section = WALK.iter().find(|(_, found)| *found == table);
        let section = section.map_or(Section::Counts, |(section, _)| *section);
        let after = match begin {
            Bound::Excluded(key) | Bound::Included(key) => Some(key.to_vec()),
            Bound::Unbounded => None,
        };
        Ok(Self {
            section,
            table,
            after,
            until,
            inside,
            cause: told(&met),
        })
    }

    /// What an audit says of it, if it cannot be read now, either.
    pub(super) fn judge(&self, engine: &Engine) -> Option<Finding> {
        let from = (Bound::Included(self.inside.as_slice()), Bound::Unbounded);
        first(engine, self.table, from).err()?;
        let named = |key: &Option<Vec<u8>>| key.as_ref().map(|key| name(self.section, key));
        let place = match (named(&self.after), named(&self.until)) {
            (None, None) => "all".to_owned(),
            (None, Some(until)) => format!("up to {until}"),
            (Some(after), None) => format!("behind {after}"),
            (Some(after), Some(until)) => format!("behind {after}, up to {until}"),
        };
        let entry = Entry {
            section: self.section,
            key: self.inside.clone(),
        };
        let detail = format!("{}, {place}: {}", self.section.words(), self.cause);
        Some(entry.finding(Problem::UnreadablePages, 0, detail))
    }
}

fn first(
    engine: &Engine,
    table: Table,
    range: (Bound<&[u8]>, Bound<&[u8]>),
) -> Result<Option<::sled::IVec>, Error> {
    let mut keys = engine.table(table).range::<&[u8], _>(range).keys();
    next_of(&mut keys)
}

fn is_readable(engine: &Engine, table: Table, key: &[u8]) -> bool {
    guarded(WALKING, || {
        let found = engine.table(table).get(key);
        found.map_err(|error| failed(WALKING, error))
    })
    .is_ok()
}

/// The first key that begins with a prefix and is past something, if there is one; all behind it are past it, too.
fn boundary(prefix: &[u8], is_past: &impl Fn(&[u8]) -> bool) -> Option<Vec<u8>> {
    let bytes: Vec<u8> = (0..=u8::MAX).collect();
    let mut before = prefix.to_vec();
    let mut found = None;
    while before.len() < PRECISION_BYTES {
        let with = |byte: &u8| [before.as_slice(), &[*byte]].concat();
        let count = bytes.partition_point(|byte| !is_past(&with(byte)));
        if let Some(byte) = bytes.get(count) {
            found = Some(with(byte));
        }
        match count.checked_sub(1).and_then(|last| bytes.get(last)) {
            Some(last) => before.push(*last),
            // No key is between this one and the one before.
            None => break,
        }
    }
    found
}

/// The first key behind one that can be read again, found in steps that grow: 256 times with each.
fn behind(inside: &[u8], is_readable: &impl Fn(&[u8]) -> bool) -> Option<Vec<u8>> {
    for length in (0..=inside.len()).rev() {
        let base = inside.get(..length)?;
        let with = |byte: u8| [base, &[byte]].concat();
        let least = match inside.get(length) {
            Some(byte) => byte.checked_add(1),
            None => Some(0),
        };
        let Some(least) = least.filter(|_| is_readable(&with(u8::MAX))) else {
            continue;
        };
        let byte = (least..=u8::MAX).find(|byte| is_readable(&with(*byte)))?;
        let exactly = match byte.checked_sub(1) {
            Some(before) => boundary(&with(before), is_readable),
            None => None,
        };
        return Some(exactly.unwrap_or_else(|| with(byte)));
    }
    None
}

/// What a key stands for, for people.
pub(super) fn name(section: Section, key: &[u8]) -> String {
    let text = || format!("{:?}", String::from_utf8_lossy(key));
    match section {
        Section::Pictures => id(key).map_or_else(|_| text(), |picture| picture.to_string()),
        Section::Parts => {
            chunk::parse(key).map_or_else(text, |(owner, picture, size_px, number)| {
                format!("{picture} of {owner}, {size_px} px, number {number}")
            })
        }
        _ => text(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boundary_is_found_to_the_last_byte() {
        for key in [&b"a"[..], b"user-17", b"\0", b"\xFF\xFF", &[7; 80]] {
            let is_past = |tried: &[u8]| tried >= key;

            let found = boundary(&[], &is_past).unwrap();

            assert!(found.as_slice() >= key);
            assert_eq!(
                found.strip_suffix(&[0]).unwrap_or(&found),
                key.strip_suffix(&[0]).unwrap_or(key)
            );
        }
        assert_eq!(boundary(&[], &|_: &[u8]| false), None);
    }

    #[test]
    fn first_key_behind_a_stretch_is_found_however_long_the_stretch_is() {
        for until in [&b"user-17\x01"[..], b"user-18", b"usf", b"v", b"\xFE"] {
            let is_readable = |tried: &[u8]| tried >= until;

            let found = behind(b"user-17", &is_readable).unwrap();

            assert!(found.as_slice() >= until, "{found:?}");
            assert!(found.starts_with(until), "{found:?}");
        }
        assert_eq!(behind(b"user-17", &|_: &[u8]| false), None);
    }

    #[test]
    fn next_stretch_is_not_jumped_to() {
        // Keys that can be read lie between two stretches.
        let is_readable = |tried: &[u8]| {
            (tried >= &b"user-2"[..] && tried < &b"user-5"[..]) || tried >= &b"user-6"[..]
        };

        let found = behind(b"user-17", &is_readable).unwrap();

        assert_eq!(found.get(..6), Some(&b"user-2"[..]));
    }
}
