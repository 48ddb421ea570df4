//! What the entries that a batch of changes writes were before it, until the batch is durable.
//!
//! Readers are shown these instead of what the database holds, so nobody sees a change that a power cut could take
//! back, or a part of one that failed. After a failure they stay for as long as it takes: readers go on with the
//! state of before, also from a database that sled has given up, and if the log turns out to have kept the failed
//! batch, they are what is written back. A write that was answered with an error has not happened.
//!
//! Order makes this right without a lock over both: an entry is remembered before the database changes, and a reader
//! asks the database first. So whoever has seen a new value finds the old one here, unless the new one is durable.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::sync::PoisonError;
use std::sync::RwLock;
use std::sync::RwLockReadGuard;
use std::sync::RwLockWriteGuard;

use crate::storage::sled::engine::Table;

/// Keys with their values; no value: there was no such key.
pub(super) type Before = BTreeMap<Vec<u8>, Option<::sled::IVec>>;

/// The entries. Only the writing thread changes them.
#[derive(Debug, Default)]
pub(super) struct Undo(RwLock<HashMap<Table, Before>>);

impl Undo {
    /// Notes what an entry was. What was noted first holds: it is what was before the whole batch.
    pub(super) fn remember(&self, table: Table, key: &[u8], value: Option<::sled::IVec>) {
        let mut entries = self.write();
        let table = entries.entry(table).or_default();
        if !table.contains_key(key) {
            table.insert(key.to_vec(), value);
        }
    }

    /// What an entry was, if it may be changed just now.
    #[expect(
        clippy::option_option,
        reason = "no note at all, and the note that there was no such key"
    )]
    pub(super) fn before(&self, table: Table, key: &[u8]) -> Option<Option<::sled::IVec>> {
        self.read().get(&table)?.get(key).cloned()
    }

    /// All that is noted of a table.
    pub(super) fn of(&self, table: Table) -> Before {
        self.read().get(&table).cloned().unwrap_or_default()
    }

    /// All that is noted.
    pub(super) fn all(&self) -> Vec<(Table, Before)> {
        let entries = self.read();
        let tables = entries.iter();
        tables
            .map(|(table, before)| (*table, before.clone()))
            .collect()
    }

    /// Whether nothing is noted: the database holds what readers see.
    pub(super) fn is_empty(&self) -> bool {
        self.read().is_empty()
    }

    /// Forgets everything: from now on readers see what the database holds.
    pub(super) fn clear(&self) {
        self.write().clear();
    }

    // Nothing panics while it holds the lock.
    fn read(&self) -> RwLockReadGuard<'_, HashMap<Table, Before>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, HashMap<Table, Before>> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_note_of_an_entry_holds_until_all_is_forgotten() {
        let undo = Undo::default();

        undo.remember(Table::Meta, b"key", None);
        undo.remember(Table::Meta, b"key", Some("newer".into()));
        undo.remember(Table::Chunks, b"key", Some("other".into()));

        assert_eq!(undo.before(Table::Meta, b"key"), Some(None));
        assert_eq!(undo.before(Table::Meta, b"none"), None);
        assert_eq!(undo.of(Table::Chunks).len(), 1);
        assert_eq!(undo.all().len(), 2);
        assert!(!undo.is_empty());
        undo.clear();
        assert!(undo.is_empty());
        assert_eq!(undo.before(Table::Meta, b"key"), None);
        assert_eq!(undo.all(), []);
    }
}
