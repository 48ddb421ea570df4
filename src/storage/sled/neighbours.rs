//! Remembers what lies beside the entries that a batch is about to change.
//!
//! sled splits and merges the leaves of its trees when somebody looks at them, which it cannot once it has met an I/O
//! error: a leaf that the failed batch has made too long or too short cannot be read from then on, and takes entries of
//! others with it. They are at hand before the batch, on the very pages that it needs itself, and cost next to nothing
//! to keep until it is durable.

use std::error::Error as StdError;
use std::ops::Bound;

use crate::domain::picture::PictureId;
use crate::domain::user::Email;
use crate::domain::user::UserId;
use crate::storage::audit::Section;
use crate::storage::sled::audit;
use crate::storage::sled::audit::{Entry, WALK};
use crate::storage::sled::change::Change;
use crate::storage::sled::engine::Engine;
use crate::storage::sled::engine::Table;
use crate::storage::sled::engine::guarded;
use crate::storage::sled::lookup;

/// Entries of a leaf that sled is yet to split, at most. Source: sled 0.34.7, `Node::should_split`; one more is there
/// when it is looked at.
const LEAF_ENTRIES_MAX: usize = 17;

/// Tables from which a change is to remove nothing: beside what it would, there is a page that cannot be read.
///
/// sled merges a leaf that has become short with the one before it. If that cannot be read, the merging stays half done,
/// and with it all that lies below the same index.
pub(super) type Fragile = Vec<Table>;

/// Remembers the neighbours of all that a change writes, as far as they can be read. A damaged one concerns its owner
/// only, not whoever writes beside it.
pub(super) fn remember(engine: &Engine, change: &Change) -> Fragile {
    let mut fragile = Fragile::new();
    let remembered = guarded("read from the database", || {
        beside_all(engine, change, &mut fragile);
        Ok(())
    });
    if let Err(error) = remembered {
        let cause: &dyn StdError = &error;
        tracing::debug!(cause, "cannot remember what lies beside a change");
        fragile.extend(WALK.map(|(_, table)| table));
    }
    fragile
}

fn beside_all(engine: &Engine, change: &Change, fragile: &mut Fragile) {
    let (user, email, picture) = match change {
        Change::If { change, .. } => return beside_all(engine, change, fragile),
        Change::CreateUser { account, .. } => (&account.user_id, Some(&account.email), None),
        Change::PutUser { user, .. } => {
            let picture = user.profile.picture.as_ref().map(|picture| picture.id);
            (&user.account.user_id, Some(&user.account.email), picture)
        }
        Change::ReplacePicture { user, picture, .. } => (user, None, Some(picture.id)),
        Change::DeleteUser { user } | Change::RemovePicture { user, .. } => (user, None, None),
        Change::Mend { entry, .. } => return beside_entry(engine, entry, fragile),
        // They replace values by others of the same keys.
        Change::SetPasswordHash { .. } | Change::Rename { .. } | Change::Forward { .. } => return,
    };
    let mut beside = |table, key: &[u8]| beside(engine, table, (key, key), fragile);
    if concerns_keys(change) {
        beside(Table::Keys, user.as_str().as_bytes());
    }
    let before = lookup::account(engine, user).ok();
    let emails = before.iter().map(|account| &account.email).chain(email);
    for email in emails.flatten().map(Email::key) {
        beside(Table::Emails, email.as_bytes());
    }
    let shown = lookup::profile_record(engine, user).ok();
    let shown = shown.and_then(|profile| profile.picture);
    let pictures = shown.map(|shown| shown.id).into_iter().chain(picture);
    for id in pictures.collect::<Vec<PictureId>>() {
        beside(Table::Pictures, id.as_bytes());
    }
    beside_user(engine, user, fragile);
}

/// Whether it writes to the idempotency keys of its user.
fn concerns_keys(change: &Change) -> bool {
    match change {
        Change::ReplacePicture { making, .. } => making.keyed.is_some(),
        Change::RemovePicture { .. } => false,
        _ => true,
    }
}

/// What is mended is removed with all that belongs to it, from between what others need.
fn beside_entry(engine: &Engine, entry: &Entry, fragile: &mut Fragile) {
    let key = entry.key.as_slice();
    match entry.section {
        Section::Profiles => {
            let Ok(user) = lookup::user_of_key(key) else {
                return;
            };
            beside_user(engine, &user, fragile);
            let shown = lookup::profile_record(engine, &user).ok();
            if let Some(shown) = shown.and_then(|profile| profile.picture) {
                let id = shown.id.as_bytes();
                beside(engine, Table::Pictures, (id, id), fragile);
            }
        }
        Section::Pictures => {
            beside(engine, Table::Pictures, (key, key), fragile);
            let manifest = audit::id(key).and_then(|id| lookup::manifest(engine, id));
            if let Ok(manifest) = manifest {
                beside_user(engine, &manifest.owner, fragile);
            }
        }
        Section::Keys => beside(engine, Table::Keys, (key, key), fragile),
        Section::Parts => beside(engine, Table::Chunks, (key, key), fragile),
        // Not mended, or written under the same key.
        Section::Accounts | Section::Emails | Section::Counts => {}
    }
}

fn beside_user(engine: &Engine, user: &UserId, fragile: &mut Fragile) {
    let id = user.as_str().as_bytes();
    for table in [Table::Accounts, Table::Profiles] {
        beside(engine, table, (id, id), fragile);
    }
    let (first, last) = ([id, &[0]].concat(), [id, &[1]].concat());
    beside(engine, Table::Chunks, (&first, &last), fragile);
}

/// Remembers what comes before `first` and what comes behind `last`.
fn beside(engine: &Engine, table: Table, (first, last): (&[u8], &[u8]), fragile: &mut Fragile) {
    let tree = engine.table(table);
    let below = tree.range::<&[u8], _>((Bound::Unbounded, Bound::Excluded(first)));
    let above = tree.range::<&[u8], _>((Bound::Excluded(last), Bound::Unbounded));
    if !remember_some(engine, table, below.rev()) {
        fragile.push(table);
    }
    remember_some(engine, table, above);
}

/// Whether all could be read that are as near.
fn remember_some(
    engine: &Engine,
    table: Table,
    entries: impl Iterator<Item = ::sled::Result<(::sled::IVec, ::sled::IVec)>>,
) -> bool {
    for entry in entries.take(LEAF_ENTRIES_MAX) {
        let Ok((key, value)) = entry else {
            return false;
        };
        engine.undo.remember(table, &key, Some(value));
    }
    true
}
