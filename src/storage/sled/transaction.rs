//! One sled transaction over all tables, for a batch of changes.
//!
//! sled runs one transaction at a time and syncs at least once for each, so changes that wait together share one.
//! Either all of a batch is in the database afterwards, also after a power cut, or nothing of it.

use std::cell::RefCell;
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

/// The tables inside a transaction: reads see what was written before in the same one.
pub(super) struct View<'v> {
    meta: &'v TransactionalTree,
    accounts: &'v TransactionalTree,
    emails: &'v TransactionalTree,
    profiles: &'v TransactionalTree,
    pictures: &'v TransactionalTree,
    chunks: &'v TransactionalTree,
    touched: &'v RefCell<Vec<(Table, Vec<u8>)>>,
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

/// Applies the changes, in order. Not durable before the next flush.
///
/// # Errors
///
/// Those of the database. Then some of the changes may be visible until it is opened anew, which takes all back.
pub(super) fn commit(engine: &Engine, changes: &[&Change]) -> Result<Committed, Error> {
    let tables = (
        &engine.meta,
        &engine.accounts,
        &engine.emails,
        &engine.profiles,
        &engine.pictures,
        &engine.chunks,
    );
    // sled asks for a closure that could be run again; it never does.
    let outcomes = RefCell::new(Vec::new());
    let touched = RefCell::new(Vec::new());
    let outcome = tables.transaction(|(meta, accounts, emails, profiles, pictures, chunks)| {
        let view = View {
            meta,
            accounts,
            emails,
            profiles,
            pictures,
            chunks,
            touched: &touched,
        };
        touched.borrow_mut().clear();
        let mut outcomes = outcomes.borrow_mut();
        outcomes.clear();
        outcomes.extend(changes.iter().map(|change| change.apply(&view)));
        let wrote = |outcome: &Result<Done, Error>| outcome.as_ref().is_ok_and(|done| done.wrote);
        let sequence = outcomes.iter().any(wrote).then(|| {
            raise_schema(engine, &view)?;
            next_sequence(&view)
        });
        sequence
            .transpose()
            .map_err(ConflictableTransactionError::Abort)
    });
    match outcome {
        Ok(sequence) => {
            if sequence.is_some() {
                engine.schema.store(SCHEMA_VERSION, Ordering::Relaxed);
            }
            Ok(Committed {
                outcomes: outcomes.into_inner(),
                sequence,
                touched: touched.into_inner(),
            })
        }
        Err(TransactionError::Abort(error)) => Err(error),
        Err(TransactionError::Storage(error)) => Err(failed("write to the database", error)),
    }
}

/// Notes with the first commit that the layout is this program's by now.
fn raise_schema(engine: &Engine, view: &View<'_>) -> Result<(), Error> {
    if engine.schema.load(Ordering::Relaxed) >= SCHEMA_VERSION {
        return Ok(());
    }
    view.find(Table::Meta, SCHEMA_KEY)?;
    let version = SCHEMA_VERSION;
    let bytes = encode(SCHEMA_KEY, &SchemaRecord { version })?;
    view.set(Table::Meta, SCHEMA_KEY.to_vec(), Some(bytes.into()))
}

fn next_sequence(view: &View<'_>) -> Result<u64, Error> {
    let found: Option<SequenceRecord> = view.record(Table::Meta, What::Record, SEQUENCE_KEY)?;
    let commits = found.unwrap_or_default().commits.saturating_add(1);
    let bytes = encode(SEQUENCE_KEY, &SequenceRecord { commits })?;
    view.set(Table::Meta, SEQUENCE_KEY.to_vec(), Some(bytes.into()))?;
    Ok(commits)
}

impl View<'_> {
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
