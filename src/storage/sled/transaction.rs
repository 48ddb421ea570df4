//! One sled transaction over all tables, for a batch of changes.
//!
//! sled runs one transaction at a time and syncs at least once for each, so changes that wait together share one.
//! Either all of a batch is in the database afterwards, also after a power cut, or nothing of it.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use ::sled::Transactional as _;
use ::sled::transaction::ConflictableTransactionError;
use ::sled::transaction::TransactionError;
use ::sled::transaction::TransactionalTree;
use ::sled::transaction::UnabortableTransactionError;

use crate::storage::Error;
use crate::storage::What;
use crate::storage::record::SchemaRecord;
use crate::storage::record::SequenceRecord;
use crate::storage::sled::change::Change;
use crate::storage::sled::change::Done;
use crate::storage::sled::engine::Engine;
use crate::storage::sled::engine::Lookup;
use crate::storage::sled::engine::SCHEMA_KEY;
use crate::storage::sled::engine::SCHEMA_VERSION;
use crate::storage::sled::engine::SEQUENCE_KEY;
use crate::storage::sled::engine::Table;
use crate::storage::sled::engine::encode;
use crate::storage::sled::engine::failed;
use crate::storage::sled::neighbours::Fragile;
use crate::storage::sled::undo::Undo;

/// The tables inside a transaction: reads see what was written before in the same one.
pub(super) struct View<'v> {
    meta: &'v TransactionalTree,
    accounts: &'v TransactionalTree,
    emails: &'v TransactionalTree,
    profiles: &'v TransactionalTree,
    pictures: &'v TransactionalTree,
    chunks: &'v TransactionalTree,
    keys: &'v TransactionalTree,
    undo: &'v Undo,
    touched: RefCell<Vec<(Table, Vec<u8>)>>,
}

/// What a transaction came to.
#[derive(Debug)]
pub(super) struct Committed {
    /// One for each change, in order.
    pub(super) outcomes: Vec<Result<Done, Error>>,
    /// The number of this commit, if anything was written.
    pub(super) sequence: Option<u64>,
    /// What was written or removed.
    pub(super) touched: Vec<(Table, Vec<u8>)>,
}

/// Applies the changes, in order, each with where it is to remove nothing. Not durable before the next flush, and not
/// shown to readers while the engine's [`Undo`] remembers what was before.
///
/// # Errors
///
/// Those of the database. Then some of the changes may be in it.
pub(super) fn commit(
    engine: &Engine,
    changes: &[&Change],
    fragile: &[Fragile],
) -> Result<Committed, Error> {
    let is_begun = Cell::new(false);
    engine.past_unreadable(|| {
        // What the attempt before has left is half of the batch.
        if is_begun.replace(true) {
            put_back_once(engine)?;
        }
        commit_once(engine, changes, fragile)
    })
}

fn commit_once(
    engine: &Engine,
    changes: &[&Change],
    fragile: &[Fragile],
) -> Result<Committed, Error> {
    let committed = in_one(engine, |view| {
        let changes = changes.iter().zip(fragile);
        let outcomes = changes.map(|(change, fragile)| change.apply(view, fragile));
        let outcomes: Vec<_> = outcomes.collect();
        let wrote = |outcome: &Result<Done, Error>| outcome.as_ref().is_ok_and(|done| done.wrote);
        let sequence = outcomes.iter().any(wrote).then(|| {
            raise_schema(engine, view)?;
            next_sequence(view)
        });
        Ok(Committed {
            outcomes,
            sequence: sequence.transpose()?,
            touched: view.touched.take(),
        })
    })?;
    if committed.sequence.is_some() {
        engine.schema.store(SCHEMA_VERSION, Ordering::Relaxed);
    }
    Ok(committed)
}

/// Writes back what is remembered, if the database holds anything else. Durable after the next flush.
///
/// # Errors
///
/// Those of the database.
pub(super) fn put_back(engine: &Engine) -> Result<(), Error> {
    engine.past_unreadable(|| put_back_once(engine))
}

fn put_back_once(engine: &Engine) -> Result<(), Error> {
    let before = engine.undo.all();
    in_one(engine, |view| {
        for (table, entries) in &before {
            for (key, value) in entries {
                if view.find(*table, key)? != *value {
                    view.set(*table, key.clone(), value.clone())?;
                }
            }
        }
        Ok(())
    })
}

fn in_one<T>(engine: &Engine, work: impl Fn(&View<'_>) -> Result<T, Error>) -> Result<T, Error> {
    let tables = (
        &engine.meta,
        &engine.accounts,
        &engine.emails,
        &engine.profiles,
        &engine.pictures,
        &engine.chunks,
        &engine.keys,
    );
    // sled wants what a transaction answers to be shared; this is how it gets out.
    let answer = RefCell::new(None);
    let outcome = tables.transaction(
        |(meta, accounts, emails, profiles, pictures, chunks, keys)| {
            let view = View {
                meta,
                accounts,
                emails,
                profiles,
                pictures,
                chunks,
                keys,
                undo: &engine.undo,
                touched: RefCell::default(),
            };
            let done = work(&view).map_err(ConflictableTransactionError::Abort)?;
            answer.replace(Some(done));
            Ok(())
        },
    );
    match (outcome, answer.into_inner()) {
        (Ok(()), Some(answer)) => Ok(answer),
        (Err(TransactionError::Abort(error)), _) => Err(error),
        (Err(TransactionError::Storage(error)), _) => Err(failed("write to the database", error)),
        (Ok(()), None) => Err(Error::Unavailable("a transaction was not run".to_owned())),
    }
}

/// Notes with the first commit that the layout is this program's by now.
fn raise_schema(engine: &Engine, view: &View<'_>) -> Result<(), Error> {
    if engine.schema.load(Ordering::Relaxed) >= SCHEMA_VERSION {
        return Ok(());
    }
    view.remember(Table::Meta, SCHEMA_KEY)?;
    let version = SCHEMA_VERSION;
    let bytes = encode(SCHEMA_KEY, &SchemaRecord { version })?;
    view.set(Table::Meta, SCHEMA_KEY.to_vec(), Some(bytes.into()))
}

fn next_sequence(view: &View<'_>) -> Result<u64, Error> {
    let found: Option<SequenceRecord> = view.record(Table::Meta, What::Record, SEQUENCE_KEY)?;
    view.remember(Table::Meta, SEQUENCE_KEY)?;
    let commits = found.unwrap_or_default().commits.saturating_add(1);
    let bytes = encode(SEQUENCE_KEY, &SequenceRecord { commits })?;
    view.set(Table::Meta, SEQUENCE_KEY.to_vec(), Some(bytes.into()))?;
    Ok(commits)
}

impl View<'_> {
    /// To be called for every key before it is written: readers are shown what it was. Reads the old value, so that
    /// nothing is left to fail when it is replaced.
    ///
    /// # Errors
    ///
    /// Those of reading.
    pub(super) fn remember(&self, table: Table, key: &[u8]) -> Result<(), Error> {
        let value = self.find(table, key)?;
        self.undo.remember(table, key, value);
        Ok(())
    }

    /// Writes a value, or removes the key.
    ///
    /// # Errors
    ///
    /// Those of reading the old value; none if this transaction has read it before.
    pub(super) fn set(
        &self,
        table: Table,
        key: Vec<u8>,
        value: Option<::sled::IVec>,
    ) -> Result<(), Error> {
        self.touched.borrow_mut().push((table, key.clone()));
        let table = self.table(table);
        let outcome = match value {
            Some(value) => table.insert(key, value),
            None => table.remove(key),
        };
        outcome
            .map(|_| ())
            .map_err(|error| unabortable("write to the database", error))
    }

    fn table(&self, table: Table) -> &TransactionalTree {
        match table {
            Table::Meta => self.meta,
            Table::Accounts => self.accounts,
            Table::Emails => self.emails,
            Table::Profiles => self.profiles,
            Table::Pictures => self.pictures,
            Table::Chunks => self.chunks,
            Table::Keys => self.keys,
        }
    }
}

impl Lookup for View<'_> {
    fn find(&self, table: Table, key: &[u8]) -> Result<Option<::sled::IVec>, Error> {
        self.table(table)
            .get(key)
            .map_err(|error| unabortable("read from the database", error))
    }
}

fn unabortable(attempt: &'static str, error: UnabortableTransactionError) -> Error {
    match error {
        UnabortableTransactionError::Storage(error) => failed(attempt, error),
        conflict @ UnabortableTransactionError::Conflict => Error::Io {
            attempt,
            source: Arc::new(conflict),
        },
    }
}
