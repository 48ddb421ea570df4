//! Reads: from keys to domain types, checksums compared.
//!
//! Each works on the database as well as inside a transaction, except those that put renditions together.

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_128;

use crate::domain::picture::Picture;
use crate::domain::picture::PictureId;
use crate::domain::picture::Rendition;
use crate::domain::user::Account;
use crate::domain::user::Email;
use crate::domain::user::Profile;
use crate::domain::user::UserId;
use crate::storage::Error;
use crate::storage::StoredRendition;
use crate::storage::What;
use crate::storage::WholeUser;
use crate::storage::listed::ListedAccount;
use crate::storage::listed::ListedUser;
use crate::storage::record;
use crate::storage::record::AccountRecord;
use crate::storage::record::BlobRecord;
use crate::storage::record::CountsRecord;
use crate::storage::record::EmailRecord;
use crate::storage::record::IdempotencyRecord;
use crate::storage::record::PictureRecord;
use crate::storage::record::ProfileRecord;
use crate::storage::sled::chunk;
use crate::storage::sled::engine::COUNTS_KEY;
use crate::storage::sled::engine::Engine;
use crate::storage::sled::engine::Lookup;
use crate::storage::sled::engine::Table;
use crate::storage::sled::engine::damaged;
use crate::storage::sled::engine::failed;
use crate::storage::sled::undo::Before;
use crate::storage::upkeep::{Making, Original};

/// The account of a user.
pub(super) fn account(lookup: &impl Lookup, user: &UserId) -> Result<Account, Error> {
    let key = user.as_str().as_bytes();
    lookup
        .record::<AccountRecord>(Table::Accounts, What::User, key)?
        .map(|record| record.into_account(user.clone()))
        .ok_or(Error::NotFound(What::User))
}

/// The user with an e-mail address.
pub(super) fn user_by_email(lookup: &impl Lookup, email: &Email) -> Result<UserId, Error> {
    lookup
        .record::<EmailRecord>(Table::Emails, What::Email, email.key().as_bytes())?
        .map(|record| record.user_id)
        .ok_or(Error::NotFound(What::Email))
}

/// Where a user's own address leads: back, if all is well; also where there is none.
pub(super) fn user_by_own_email(
    lookup: &impl Lookup,
    email: Option<&Email>,
    user: &UserId,
) -> Result<UserId, Error> {
    email.map_or_else(|| Ok(user.clone()), |email| user_by_email(lookup, email))
}

/// The profile of a user as it is stored.
pub(super) fn profile_record(lookup: &impl Lookup, user: &UserId) -> Result<ProfileRecord, Error> {
    lookup
        .record(Table::Profiles, What::User, user.as_str().as_bytes())?
        .ok_or(Error::NotFound(What::User))
}

/// The profile of a user.
pub(super) fn profile(lookup: &impl Lookup, user: &UserId) -> Result<Profile, Error> {
    profile_record(lookup, user).map(|record| record.into_profile(user.clone()))
}

/// The idempotency keys of a user.
pub(super) fn keys(lookup: &impl Lookup, user: &UserId) -> Result<IdempotencyRecord, Error> {
    lookup
        .record(Table::Keys, What::Record, user.as_str().as_bytes())
        .map(Option::unwrap_or_default)
}

/// The manifest of a picture.
pub(super) fn manifest(lookup: &impl Lookup, picture: PictureId) -> Result<PictureRecord, Error> {
    lookup
        .record(Table::Pictures, What::Picture, picture.as_bytes())?
        .ok_or(Error::NotFound(What::Picture))
}

/// How much there is.
pub(super) fn counts(lookup: &impl Lookup) -> Result<CountsRecord, Error> {
    lookup
        .record(Table::Meta, What::Record, COUNTS_KEY)
        .map(Option::unwrap_or_default)
}

/// The accounts behind `after`, in order, at most `count`.
pub(super) fn accounts(
    engine: &Engine,
    after: Option<&UserId>,
    count: usize,
) -> Result<Vec<ListedAccount>, Error> {
    // No id has a zero byte, so the first possible key behind an id is the id and a zero.
    let from = after.map_or_else(Vec::new, |id| [id.as_str().as_bytes(), &[0]].concat());
    let entries = loop {
        // Entries that are not durable are taken out again below, so there must be as many more.
        let wanted = count.saturating_add(engine.undo.of(Table::Accounts).len());
        let range = engine.accounts.range(from.as_slice()..).take(wanted);
        let entries = range.map(|entry| {
            let (key, bytes) = entry.map_err(|error| failed("list the accounts", error))?;
            Ok((key.to_vec(), Some(bytes)))
        });
        let mut entries: Before = match entries.collect::<Result<_, Error>>() {
            Err(Error::Damaged { .. }) => return accounts_by_profiles(engine, &from, count),
            entries => entries?,
        };
        let is_all = entries.len() < wanted;
        let last = entries.keys().next_back().cloned();
        // After the database, as everywhere.
        let before = engine.undo.of(Table::Accounts).into_iter();
        entries.extend(
            before.filter(|(key, _)| *key >= from && (is_all || Some(key) <= last.as_ref())),
        );
        entries.retain(|_, bytes| bytes.is_some());
        // Else a change that has begun in between has taken too many out.
        if is_all || entries.len() >= count {
            break entries;
        }
    };
    let entries = entries.into_iter().take(count);
    entries
        .filter_map(|(key, bytes)| Some((key, bytes?)))
        .map(|(key, bytes)| {
            let user_id = user_of_key(&key)?;
            let record = record::decode::<AccountRecord>(&key, &bytes);
            let account = record.map(|record| record.into_account(user_id.clone()));
            let account = account.map_err(|error| damaged(What::User, &error));
            Ok(ListedAccount { user_id, account })
        })
        .collect()
}

/// The same where pages of the accounts cannot be read: the profiles tell who there is, and each account is asked for
/// by itself.
fn accounts_by_profiles(
    engine: &Engine,
    from: &[u8],
    count: usize,
) -> Result<Vec<ListedAccount>, Error> {
    let mut listed = Vec::new();
    for key in engine.profiles.range(from..).keys() {
        if listed.len() >= count {
            break;
        }
        let key = key.map_err(|error| failed("list the accounts", error))?;
        let user_id = user_of_key(&key)?;
        match account(engine, &user_id) {
            Err(Error::NotFound(_)) => {}
            account @ (Ok(_) | Err(Error::Damaged { .. })) => {
                listed.push(ListedAccount { user_id, account });
            }
            Err(error) => return Err(error),
        }
    }
    Ok(listed)
}

/// Somebody with all that is theirs; none without an account. To be called by the writing thread, so that it is of one
/// moment.
pub(super) fn user(engine: &Engine, user_id: &UserId) -> Result<Option<ListedUser>, Error> {
    match account(engine, user_id) {
        Err(Error::NotFound(_)) => Ok(None),
        account @ (Ok(_) | Err(Error::Damaged { .. })) => {
            let user_id = user_id.clone();
            listed(engine, ListedAccount { user_id, account }).map(Some)
        }
        Err(error) => Err(error),
    }
}

/// What belongs to an account, as [`user`] finds it.
pub(super) fn listed(engine: &Engine, account: ListedAccount) -> Result<ListedUser, Error> {
    let ListedAccount { user_id, account } = account;
    let mut damage = Vec::new();
    let whole = match account {
        Ok(account) => whole(engine, account, &mut damage)?,
        Err(error) => sound::<WholeUser>(Err(error), &mut damage)?,
    };
    Ok(ListedUser {
        user_id,
        whole,
        damage,
    })
}

/// Bytes of the files of a listed user.
pub(super) fn listed_bytes(user: &ListedUser) -> u64 {
    user.whole.as_ref().map_or(0, picture_bytes)
}

/// Somebody with an account, as far as they can be read; none without a profile that can.
fn whole(
    engine: &Engine,
    account: Account,
    damage: &mut Vec<Error>,
) -> Result<Option<WholeUser>, Error> {
    let user_id = account.user_id.clone();
    let found = profile(engine, &user_id).map_err(|error| match error {
        Error::NotFound(what) => Error::Damaged {
            what,
            detail: format!("{user_id} has an account but no profile"),
        },
        other => other,
    });
    let Some(mut profile) = sound(found, damage)? else {
        return Ok(None);
    };
    let mut renditions = Vec::new();
    let mut making = Making::default();
    if let Some(shown) = profile.picture.take()
        && let Some((files, recipe)) = sound(files(engine, &shown), damage)?
    {
        renditions = files;
        making.recipe = recipe;
        making.original = sound(original(engine, shown.id), damage)?.flatten();
        profile.picture = Some(shown);
    }
    Ok(Some(WholeUser {
        account,
        profile,
        renditions,
        making,
    }))
}

/// All files of a picture, and the settings that it was made with.
fn files(engine: &Engine, shown: &Picture) -> Result<(Vec<Rendition>, Option<u64>), Error> {
    let found = |size_px: &u16| {
        let bytes = rendition(engine, shown.id, *size_px)?.bytes;
        let size_px = *size_px;
        Ok(Rendition { size_px, bytes })
    };
    let files: Result<Vec<_>, Error> = shown.sizes_px.iter().map(found).collect();
    let files = files.and_then(|files| Ok((files, manifest(engine, shown.id)?.recipe)));
    files.map_err(|error| match error {
        Error::NotFound(what) => Error::Damaged {
            what,
            detail: format!("{} is missing", shown.id),
        },
        other => other,
    })
}

/// What was found; none for what is damaged, which is noted.
fn sound<T>(found: Result<T, Error>, damage: &mut Vec<Error>) -> Result<Option<T>, Error> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(error @ Error::Damaged { .. }) => {
            damage.push(error);
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Bytes of a user's files and of the upload that was kept.
fn picture_bytes(user: &WholeUser) -> u64 {
    let files = user.renditions.iter().map(|file| file.bytes.len());
    let kept = user.making.original.iter().map(|kept| kept.bytes.len());
    files.chain(kept).fold(0, |sum, bytes| {
        sum.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX))
    })
}

/// The user whose id a key is.
pub(super) fn user_of_key(key: &[u8]) -> Result<UserId, Error> {
    let text = std::str::from_utf8(key).ok();
    text.and_then(|text| text.parse().ok())
        .ok_or_else(|| Error::Damaged {
            what: What::User,
            detail: "key is not a user id".to_owned(),
        })
}

/// A rendition of a live picture, compared with its checksum.
pub(super) fn rendition(
    engine: &Engine,
    picture: PictureId,
    size_px: u16,
) -> Result<StoredRendition, Error> {
    let record = manifest(engine, picture)?;
    let blob = record.blobs.iter().find(|blob| blob.size_px == size_px);
    let blob = *blob.ok_or(Error::NotFound(What::Picture))?;
    match blob_bytes(engine, &record.owner, picture, blob) {
        Ok(bytes) => Ok(StoredRendition {
            bytes,
            checksum: blob.checksum,
            uploaded_at: record.uploaded_at,
        }),
        // The manifest and the chunks are not read in one step: the picture may have been removed in between.
        Err(error) => manifest(engine, picture).and(Err(error)),
    }
}

/// The upload that a live picture was made of, if it was kept.
pub(super) fn original(engine: &Engine, picture: PictureId) -> Result<Option<Original>, Error> {
    let record = manifest(engine, picture)?;
    let Some(blob) = record.original else {
        return Ok(None);
    };
    match blob_bytes(engine, &record.owner, picture, blob) {
        Ok(bytes) => Ok(Some(Original {
            bytes,
            crop: record.crop,
        })),
        // As for renditions.
        Err(error) => manifest(engine, picture).and(Err(error)),
    }
}

/// The bytes of a rendition, compared with length and checksum.
pub(super) fn blob_bytes(
    engine: &Engine,
    owner: &UserId,
    picture: PictureId,
    blob: BlobRecord,
) -> Result<Bytes, Error> {
    let wrong = |detail: String| Error::Damaged {
        what: What::Picture,
        detail: match blob.size_px {
            BlobRecord::ORIGINAL => format!("the upload that was kept of {picture}: {detail}"),
            size_px => format!("{picture} at {size_px} px: {detail}"),
        },
    };
    let mut bytes = Vec::with_capacity(usize::try_from(blob.length).unwrap_or(0));
    for key in chunk::keys(owner, picture, blob) {
        let chunk = engine
            .find(Table::Chunks, &key)
            .map_err(|error| match error {
                Error::Damaged { detail, .. } => wrong(detail),
                other => other,
            })?;
        match chunk {
            Some(chunk) => bytes.extend_from_slice(&chunk),
            None => break,
        }
    }
    let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    if length != blob.length {
        return Err(wrong(format!(
            "{length} of {} bytes are there",
            blob.length
        )));
    }
    // A chunk that is missing or out of place shows here as well.
    if xxh3_128(&bytes) != blob.checksum {
        return Err(wrong("bytes do not match their checksum".to_owned()));
    }
    Ok(Bytes::from(bytes))
}
