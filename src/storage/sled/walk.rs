//! Goes through all tables in steps of bounded size, and past what cannot be read.

use std::ops::Bound;

use crate::domain::Timestamp;
use crate::storage::Error;
use crate::storage::audit::{Examined, Finding, Place, Problem, Section};
use crate::storage::sled::audit;
use crate::storage::sled::audit::{Entry, WALK};
use crate::storage::sled::counted;
use crate::storage::sled::engine::{Engine, Table, WALKING, guarded, next_of};
use crate::storage::sled::gap;
use crate::storage::sled::gap::Gap;

/// Entries that one step looks at.
const STEP_ENTRIES_MAX: u64 = 512;
/// What the first byte of a place has that names the first entry to look at, not the last one that was.
const INCLUDED: u8 = 0x80;

/// Where a step begins.
#[derive(Debug)]
pub(super) struct Start {
    entry: Entry,
    included: bool,
}

impl Start {
    /// The first entry of all.
    pub(super) fn first() -> Self {
        Self {
            entry: Entry::first(),
            included: false,
        }
    }

    /// Where a place says.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`] for a place that no sled store has made.
    pub(super) fn of(place: &Place) -> Result<Self, Error> {
        let (number, included) = included(place);
        let entry = Entry::of(&number)?;
        Ok(Self { entry, included })
    }

    fn bound(&self) -> Bound<&[u8]> {
        bound(&self.entry.key, self.included)
    }
}

/// A place without what says whether its entry is to be looked at, and that.
pub(super) fn included(place: &Place) -> (Place, bool) {
    let mut bytes = place.0.clone();
    let included = bytes.first_mut().is_some_and(|number| {
        let included = *number & INCLUDED != 0;
        *number &= !INCLUDED;
        included
    });
    (Place(bytes), included)
}

/// A place whose entry is to be looked at, too.
pub(super) fn including(place: Place) -> Place {
    let Place(mut bytes) = place;
    if let Some(number) = bytes.first_mut() {
        *number |= INCLUDED;
    }
    Place(bytes)
}

/// Where a walk begins that has come to a key; empty: at the first.
pub(super) fn bound(key: &[u8], included: bool) -> Bound<&[u8]> {
    match (key, included) {
        ([], _) => Bound::Unbounded,
        (key, true) => Bound::Included(key),
        (key, false) => Bound::Excluded(key),
    }
}

/// What one step has seen.
#[derive(Debug)]
pub(super) struct Seen {
    /// Entries that look wrong.
    suspects: Vec<Entry>,
    /// What could not be read.
    gap: Option<Gap>,
    /// Still without findings.
    pub(super) examined: Examined,
}

impl Seen {
    /// Whether anything looks wrong.
    pub(super) fn is_suspicious(&self) -> bool {
        self.gap.is_some() || !self.suspects.is_empty()
    }

    /// The same with what is wrong of it when nobody writes.
    ///
    /// # Errors
    ///
    /// Those of the database.
    pub(super) fn confirmed(
        self,
        engine: &Engine,
        older_than: Timestamp,
    ) -> Result<Examined, Error> {
        let findings = self.suspects.iter().map(|entry| match entry.section {
            Section::Counts => counted::judge(engine),
            _ => judge(engine, entry, older_than),
        });
        let mut findings: Vec<Finding> = findings
            .filter_map(Result::transpose)
            .collect::<Result<_, _>>()?;
        findings.extend(self.gap.as_ref().and_then(|gap| gap.judge(engine)));
        Ok(Examined {
            findings,
            ..self.examined
        })
    }
}

/// Looks at the entries from there on.
///
/// # Errors
///
/// Those of the database as a whole.
pub(super) fn walk(engine: &Engine, from: &Start, older_than: Timestamp) -> Result<Seen, Error> {
    let section = from.entry.section;
    let table = WALK.iter().find(|(found, _)| *found == section);
    let mut seen = Seen {
        suspects: Vec::new(),
        gap: None,
        examined: Examined {
            section,
            count: 0,
            findings: Vec::new(),
            next: None,
        },
    };
    if let Some((_, table)) = table {
        step(engine, *table, from, older_than, &mut seen)?;
    } else {
        if counted::judge(engine)?.is_some() {
            seen.suspects.push(from.entry.clone());
        }
        seen.examined.count = 1;
    }
    Ok(seen)
}

fn step(
    engine: &Engine,
    table: Table,
    from: &Start,
    older_than: Timestamp,
    seen: &mut Seen,
) -> Result<(), Error> {
    let section = from.entry.section;
    let range = (from.bound(), Bound::Unbounded);
    let mut keys = engine.table(table).range::<&[u8], _>(range).keys();
    let mut last: Option<Entry> = None;
    let next = loop {
        if seen.examined.count >= STEP_ENTRIES_MAX {
            break last.unwrap_or_else(|| from.entry.clone()).place();
        }
        let key = match next_of(&mut keys) {
            Ok(Some(key)) => key.to_vec(),
            Ok(None) => break from.entry.next_section().place(),
            Err(error) if gap::is_local(engine, &error) => {
                let begin = last.as_ref();
                let begin = begin.map_or(from.bound(), |entry| bound(&entry.key, false));
                let gap = Gap::behind(engine, table, begin, error)?;
                let until = gap.until.clone();
                seen.gap = Some(gap);
                break until.map_or_else(
                    || from.entry.next_section().place(),
                    |key| including(Entry { section, key }.place()),
                );
            }
            Err(error) => return Err(error),
        };
        let entry = Entry { section, key };
        if judge(engine, &entry, older_than)?.is_some() {
            seen.suspects.push(entry.clone());
        }
        seen.examined.count = seen.examined.count.saturating_add(1);
        last = Some(entry);
    };
    seen.examined.next = Some(next);
    Ok(())
}

/// What is wrong with an entry: also that something beside it cannot be read, which it would be judged by.
fn judge(engine: &Engine, entry: &Entry, older_than: Timestamp) -> Result<Option<Finding>, Error> {
    match guarded(WALKING, || audit::judge(engine, entry, older_than)) {
        Err(error) if gap::is_local(engine, &error) => {
            let name = gap::name(entry.section, &entry.key);
            let detail = format!("{name}: {}", gap::told(&error));
            Ok(Some(entry.finding(Problem::DamagedRecord, 0, detail)))
        }
        judged => judged,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn place_says_whether_its_entry_was_looked_at() {
        let entry = Entry {
            section: Section::Parts,
            key: b"ada".to_vec(),
        };
        let place = entry.place();

        let from = Start::of(&including(place.clone())).unwrap();
        assert_eq!((&from.entry, from.included), (&entry, true));
        assert_eq!(from.bound(), Bound::Included(&b"ada"[..]));
        let from = Start::of(&place).unwrap();
        assert_eq!((&from.entry, from.included), (&entry, false));
        assert_eq!(from.bound(), Bound::Excluded(&b"ada"[..]));
    }
}
