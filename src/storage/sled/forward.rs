//! Moves records of old versions forward, a bounded number in one transaction.
//!
//! Whatever reads a record moves it forward in memory; this is for doing it once and for all. Running it again, from the
//! beginning and after a stop at any moment, changes nothing that is done already.

use std::collections::BTreeMap;
use std::ops::Bound;

use crate::storage::Error;
use crate::storage::What;
use crate::storage::audit::Place;
use crate::storage::record;
use crate::storage::record::AccountRecord;
use crate::storage::record::EmailRecord;
use crate::storage::record::IdempotencyRecord;
use crate::storage::record::PictureRecord;
use crate::storage::record::ProfileRecord;
use crate::storage::record::Record;
use crate::storage::sled::change::Done;
use crate::storage::sled::change::Writes;
use crate::storage::sled::engine::Engine;
use crate::storage::sled::engine::Lookup as _;
use crate::storage::sled::engine::Table;
use crate::storage::sled::engine::next_of;
use crate::storage::sled::gap;
use crate::storage::sled::gap::Gap;
use crate::storage::sled::walk;
use crate::storage::upkeep::Forwarded;

/// Records that one step looks at.
const STEP_RECORDS_MAX: usize = 512;
/// The tables with records that last. Those of `meta` are written anew by every commit.
const TABLES: [Table; 5] = [
    Table::Accounts,
    Table::Emails,
    Table::Profiles,
    Table::Pictures,
    Table::Keys,
];

/// What a step saw: whom to tell, and the records that are to be written anew.
pub(super) struct Step {
    pub(super) seen: Forwarded,
    pub(super) table: Table,
    pub(super) old: Vec<Vec<u8>>,
}

/// Looks at the records from there on.
///
/// # Errors
///
/// [`Error::NotFound`] for a place that no such walk has made; those of the database.
pub(super) fn look(engine: &Engine, from: Option<&Place>) -> Result<Step, Error> {
    let (place, included) = walk::included(from.unwrap_or(&Place(vec![0])));
    let (number, after) = place.0.split_first().ok_or(Error::NotFound(What::Record))?;
    let number = *number;
    let table = *TABLES
        .get(usize::from(number))
        .ok_or(Error::NotFound(What::Record))?;
    let (kind, current) = version_of(table);
    let begin = walk::bound(after, included);
    let range = (begin, Bound::Unbounded);
    let mut entries = engine.table(table).range::<&[u8], _>(range);
    let mut versions = BTreeMap::new();
    let mut old = Vec::new();
    let mut damaged = 0_u64;
    let mut last: Option<::sled::IVec> = None;
    let mut behind_gap = None;
    let mut count = 0_usize;
    while count < STEP_RECORDS_MAX {
        let (key, bytes) = match next_of(&mut entries) {
            Ok(Some(entry)) => entry,
            Ok(None) => break,
            Err(error) if gap::is_local(engine, &error) => {
                damaged = damaged.saturating_add(1);
                let begin = last.as_deref().map_or(begin, Bound::Excluded);
                behind_gap = Gap::behind(engine, table, begin, error)?.until;
                break;
            }
            Err(error) => return Err(error),
        };
        count = count.saturating_add(1);
        match record::version(&bytes).filter(|_| anew(table, &key, &bytes).is_ok()) {
            Some(version) => {
                let of_it = versions.entry(version).or_insert(0_u64);
                *of_it = of_it.saturating_add(1);
                if version < current {
                    old.push(key.to_vec());
                }
            }
            None => damaged = damaged.saturating_add(1),
        }
        last = Some(key);
    }
    let next = match (last, behind_gap) {
        (_, Some(key)) => Some(walk::including(Place([&[number], key.as_slice()].concat()))),
        (Some(key), None) if count == STEP_RECORDS_MAX => Some(Place([&[number], &*key].concat())),
        _ => number
            .checked_add(1)
            .filter(|number| usize::from(*number) < TABLES.len())
            .map(|number| Place(vec![number])),
    };
    let seen = Forwarded {
        kind,
        current,
        versions,
        written: 0,
        damaged,
        next,
    };
    Ok(Step { seen, table, old })
}

impl Writes<'_> {
    /// Writes records anew in the version of this program.
    pub(super) fn forward(&mut self, table: Table, keys: &[Vec<u8>]) -> Result<Done, Error> {
        let (_, current) = version_of(table);
        let mut renewed = 0_u64;
        for key in keys {
            // Gone, or written anew by somebody else since it was looked at.
            let Some(bytes) = self.view.find(table, key)? else {
                continue;
            };
            if record::version(&bytes).is_some_and(|version| version < current)
                && let Ok(bytes) = anew(table, key, &bytes)
            {
                self.write_bytes(table, key, bytes);
                renewed = renewed.saturating_add(1);
            }
        }
        Ok(Done {
            wrote: true,
            renewed,
            ..Done::default()
        })
    }
}

/// The bytes of a record in the version of this program.
fn anew(table: Table, key: &[u8], bytes: &[u8]) -> Result<Vec<u8>, record::Error> {
    fn of<T: Record>(key: &[u8], bytes: &[u8]) -> Result<Vec<u8>, record::Error> {
        record::encode(key, &record::decode::<T>(key, bytes)?)
    }
    match table {
        Table::Accounts => of::<AccountRecord>(key, bytes),
        Table::Emails => of::<EmailRecord>(key, bytes),
        Table::Profiles => of::<ProfileRecord>(key, bytes),
        Table::Pictures => of::<PictureRecord>(key, bytes),
        Table::Keys => of::<IdempotencyRecord>(key, bytes),
        // Without versions that last.
        Table::Meta | Table::Chunks => Ok(bytes.to_vec()),
    }
}

fn version_of(table: Table) -> (&'static str, u8) {
    match table {
        Table::Accounts => (AccountRecord::KIND, AccountRecord::VERSION),
        Table::Emails => (EmailRecord::KIND, EmailRecord::VERSION),
        Table::Profiles => (ProfileRecord::KIND, ProfileRecord::VERSION),
        Table::Pictures => (PictureRecord::KIND, PictureRecord::VERSION),
        Table::Keys => (IdempotencyRecord::KIND, IdempotencyRecord::VERSION),
        Table::Meta | Table::Chunks => ("", 0),
    }
}
