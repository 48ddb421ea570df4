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
use crate::storage::sled::audit::Entry;
use crate::storage::sled::change::Change;
use crate::storage::sled::engine::Engine;
use crate::storage::sled::engine::Table;
use crate::storage::sled::engine::guarded;
use crate::storage::sled::lookup;

/// Entries of a leaf that sled is yet to split, at most. Source: sled 0.34.7, `Node::should_split`; one more is there
/// when it is looked at.
const LEAF_ENTRIES_MAX: usize = 17;

/// Remembers the neighbours of all that a change writes, as far as they can be read. A damaged one concerns its owner
/// only, not whoever writes beside it.
pub(super) fn remember(engine: &Engine, change: &Change) {
    let remembered = guarded("read from the database", || {
        beside_all(engine, change);
        Ok(())
    });
    if let Err(error) = remembered {
        let cause: &dyn StdError = &error;
        tracing::debug!(cause, "cannot remember what lies beside a change");
    }
}

fn beside_all(engine: &Engine, change: &Change) {
    let (user, email, picture) = match change {
        Change::If { change, .. } => return beside_all(engine, change),
        Change::CreateUser { account, .. } => (&account.user_id, Some(&account.email), None),
        Change::PutUser { user, .. } => {
            let picture = user.profile.picture.as_ref().map(|picture| picture.id);
            (&user.account.user_id, Some(&user.account.email), picture)
        }
        Change::ReplacePicture { user, picture, .. } => (user, None, Some(picture.id)),
        Change::DeleteUser { user } | Change::RemovePicture { user, .. } => (user, None, None),
        Change::Mend { entry, .. } => return beside_entry(engine, entry),
        // They replace values by others of the same keys.
        Change::SetPasswordHash { .. } | Change::Rename { .. } | Change::Forward { .. } => return,
    };
    beside_user(engine, user);
    if concerns_keys(change) {
        let id = user.as_str().as_bytes();
        beside(engine, Table::Keys, id, id);
    }
    let before = lookup::account(engine, user).ok();
    let emails = before.iter().map(|account| &account.email).chain(email);
    for email in emails.flatten().map(Email::key) {
        beside(engine, Table::Emails, email.as_bytes(), email.as_bytes());
    }
    let shown = lookup::profile_record(engine, user).ok();
    let shown = shown.and_then(|profile| profile.picture);
    let pictures = shown.map(|shown| shown.id).into_iter().chain(picture);
    for id in pictures.collect::<Vec<PictureId>>() {
        beside(engine, Table::Pictures, id.as_bytes(), id.as_bytes());
    }
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
fn beside_entry(engine: &Engine, entry: &Entry) {
    let key = entry.key.as_slice();
    match entry.section {
        Section::Profiles => {
            let Ok(user) = lookup::user_of_key(key) else {
                return;
            };
            beside_user(engine, &user);
            let shown = lookup::profile_record(engine, &user).ok();
            if let Some(shown) = shown.and_then(|profile| profile.picture) {
                let id = shown.id.as_bytes();
                beside(engine, Table::Pictures, id, id);
            }
        }
        Section::Pictures => {
            beside(engine, Table::Pictures, key, key);
            let manifest = audit::id(key).and_then(|id| lookup::manifest(engine, id));
            if let Ok(manifest) = manifest {
                beside_user(engine, &manifest.owner);
            }
        }
        Section::Keys => beside(engine, Table::Keys, key, key),
        Section::Parts => beside(engine, Table::Chunks, key, key),
        // Not mended, or written under the same key.
        Section::Accounts | Section::Emails | Section::Counts => {}
    }
}

fn beside_user(engine: &Engine, user: &UserId) {
    let id = user.as_str().as_bytes();
    for table in [Table::Accounts, Table::Profiles] {
        beside(engine, table, id, id);
    }
    let (first, last) = ([id, &[0]].concat(), [id, &[1]].concat());
    beside(engine, Table::Chunks, &first, &last);
}

/// Remembers what comes before `first` and what comes behind `last`.
fn beside(engine: &Engine, table: Table, first: &[u8], last: &[u8]) {
    let tree = engine.table(table);
    let below = tree.range::<&[u8], _>((Bound::Unbounded, Bound::Excluded(first)));
    let above = tree.range::<&[u8], _>((Bound::Excluded(last), Bound::Unbounded));
    remember_some(engine, table, below.rev());
    remember_some(engine, table, above);
}

fn remember_some(
    engine: &Engine,
    table: Table,
    entries: impl Iterator<Item = ::sled::Result<(::sled::IVec, ::sled::IVec)>>,
) {
    let readable = entries.take(LEAF_ENTRIES_MAX).map_while(Result::ok);
    for (key, value) in readable {
        engine.undo.remember(table, &key, Some(value));
    }
}
