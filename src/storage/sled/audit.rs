//! Judges each entry by what the others say of it.
//!
//! The walk ([`walk`](crate::storage::sled::walk)) runs beside the writing thread, so what it sees may be half of a
//! change. Whatever looks wrong is therefore judged once more by the writing thread, between two changes; only what is
//! wrong there as well is a finding. The same judgement is made a third time inside the transaction that mends.

use xxhash_rust::xxh3::Xxh3;

use crate::domain::Timestamp;
use crate::domain::picture::PictureId;
use crate::domain::user::Account;
use crate::domain::user::UserId;
use crate::storage::Error;
use crate::storage::What;
use crate::storage::audit::{Finding, Place, Problem, Section};
use crate::storage::record::{
    AccountRecord, BlobRecord, EmailRecord, IdempotencyRecord, PictureRecord, ProfileRecord,
    ShownPicture,
};
use crate::storage::sled::chunk;
use crate::storage::sled::engine::{Lookup, Table};
use crate::storage::sled::lookup;

/// The tables in the order of the walk; what is counted comes last.
pub(super) const WALK: [(Section, Table); 6] = [
    (Section::Profiles, Table::Profiles),
    (Section::Accounts, Table::Accounts),
    (Section::Emails, Table::Emails),
    (Section::Pictures, Table::Pictures),
    (Section::Parts, Table::Chunks),
    (Section::Keys, Table::Keys),
];

/// An entry of a table, or what is counted: the meaning of a [`Place`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Entry {
    pub(super) section: Section,
    pub(super) key: Vec<u8>,
}

impl Entry {
    /// The first entry of all.
    pub(super) fn first() -> Self {
        Self {
            section: Section::Profiles,
            key: Vec::new(),
        }
    }

    /// The entry that a place names.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`] for a place that no sled store has made.
    pub(super) fn of(place: &Place) -> Result<Self, Error> {
        let sections = WALK.iter().map(|(section, _)| *section);
        let named = place.0.split_first().and_then(|(number, key)| {
            let mut sections = sections.chain([Section::Counts]);
            let section = sections.nth(usize::from(*number))?;
            let key = key.to_vec();
            Some(Self { section, key })
        });
        named.ok_or(Error::NotFound(What::Record))
    }

    /// The place that names it.
    pub(super) fn place(&self) -> Place {
        let number = match self.section {
            Section::Profiles => 0,
            Section::Accounts => 1,
            Section::Emails => 2,
            Section::Pictures => 3,
            Section::Parts => 4,
            Section::Keys => 5,
            Section::Counts => 6,
        };
        Place([&[number], self.key.as_slice()].concat())
    }

    /// The table that comes behind this one's.
    pub(super) fn next_section(&self) -> Self {
        let sections = WALK.iter().map(|(section, _)| *section);
        let mut behind = sections.skip_while(|section| *section != self.section);
        Self {
            section: behind.nth(1).unwrap_or(Section::Counts),
            key: Vec::new(),
        }
    }

    pub(super) fn finding(&self, problem: Problem, bytes: u64, detail: String) -> Finding {
        Finding {
            problem,
            detail,
            bytes,
            place: self.place(),
        }
    }
}

/// What is wrong with an entry; nothing if there is no such entry (any more).
///
/// # Errors
///
/// Those of the database.
pub(super) fn judge(
    lookup: &impl Lookup,
    entry: &Entry,
    older_than: Timestamp,
) -> Result<Option<Finding>, Error> {
    let judged = match entry.section {
        Section::Profiles => profile(lookup, entry),
        Section::Accounts => account(lookup, entry),
        Section::Emails => email(lookup, entry),
        Section::Pictures => picture(lookup, entry, older_than),
        Section::Parts => part(lookup, entry),
        Section::Keys => keys(lookup, entry),
        Section::Counts => Ok(None),
    };
    match judged {
        Err(Error::Damaged { detail, what }) => {
            let name = String::from_utf8_lossy(&entry.key);
            let detail = match entry.section {
                Section::Pictures | Section::Parts => format!("{what}: {detail}"),
                _ => format!("{what} {name:?}: {detail}"),
            };
            Ok(Some(entry.finding(Problem::DamagedRecord, 0, detail)))
        }
        other => other,
    }
}

fn profile(lookup: &impl Lookup, entry: &Entry) -> Result<Option<Finding>, Error> {
    let found: Option<ProfileRecord> = lookup.record(Table::Profiles, What::User, &entry.key)?;
    let Some(profile) = found else {
        return Ok(None);
    };
    let user = lookup::user_of_key(&entry.key)?;
    if lookup.find(Table::Accounts, &entry.key)?.is_none() {
        let detail = format!("{user} has a profile but no account");
        return Ok(Some(entry.finding(Problem::Inconsistent, 0, detail)));
    }
    let Some(shown) = profile.picture else {
        return Ok(None);
    };
    Ok(unreadable(lookup, &user, &shown)?.map(|reason| {
        let detail = format!("{} of {user}: {reason}", shown.id);
        entry.finding(Problem::UnreadablePicture, 0, detail)
    }))
}

/// Why the picture of a profile cannot be read; nothing if it can.
fn unreadable(
    lookup: &impl Lookup,
    user: &UserId,
    shown: &ShownPicture,
) -> Result<Option<String>, Error> {
    let manifest = match lookup::manifest(lookup, shown.id) {
        Ok(manifest) => manifest,
        Err(Error::NotFound(_)) => return Ok(Some("it is missing".to_owned())),
        Err(Error::Damaged { detail, .. }) => return Ok(Some(detail)),
        Err(error) => return Err(error),
    };
    if manifest.owner != *user {
        return Ok(Some(format!("it belongs to {}", manifest.owner)));
    }
    let sizes = manifest.blobs.iter().map(|blob| &blob.size_px);
    if !sizes.eq(&shown.sizes_px) {
        return Ok(Some("its sizes are not those of the profile".to_owned()));
    }
    for blob in manifest.blobs {
        if !is_whole(lookup, user, shown.id, blob)? {
            return Ok(Some(format!(
                "{} px are not what was written",
                blob.size_px
            )));
        }
    }
    Ok(None)
}

fn is_whole(
    lookup: &impl Lookup,
    user: &UserId,
    picture: PictureId,
    blob: BlobRecord,
) -> Result<bool, Error> {
    let mut hasher = Xxh3::new();
    let mut length = 0_u64;
    for key in chunk::keys(user, picture, blob) {
        match lookup.find(Table::Chunks, &key) {
            Ok(Some(bytes)) => {
                hasher.update(&bytes);
                length = length.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
            }
            Ok(None) | Err(Error::Damaged { .. }) => return Ok(false),
            Err(error) => return Err(error),
        }
    }
    Ok(length == blob.length && hasher.digest128() == blob.checksum)
}

fn account(lookup: &impl Lookup, entry: &Entry) -> Result<Option<Finding>, Error> {
    let found: Option<AccountRecord> = lookup.record(Table::Accounts, What::User, &entry.key)?;
    let Some(account) = found else {
        return Ok(None);
    };
    let user = lookup::user_of_key(&entry.key)?;
    let inconsistent = |detail: String| Ok(Some(entry.finding(Problem::Inconsistent, 0, detail)));
    if lookup.find(Table::Profiles, &entry.key)?.is_none() {
        return inconsistent(format!("{user} has an account but no profile"));
    }
    match lookup::user_by_own_email(lookup, account.email.as_ref(), &user) {
        Ok(owner) if owner == user => Ok(None),
        Ok(owner) => inconsistent(format!("the e-mail address of {user} leads to {owner}")),
        Err(Error::NotFound(_)) => {
            inconsistent(format!("the e-mail address of {user} leads nowhere"))
        }
        // Found where the addresses are walked over.
        Err(Error::Damaged { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

fn email(lookup: &impl Lookup, entry: &Entry) -> Result<Option<Finding>, Error> {
    let found: Option<EmailRecord> = lookup.record(Table::Emails, What::Email, &entry.key)?;
    let Some(EmailRecord { user_id }) = found else {
        return Ok(None);
    };
    let key = |account: Account| account.email.map(|email| email.key().into_bytes());
    let detail = match lookup::account(lookup, &user_id).map(key) {
        Ok(Some(key)) if key == entry.key => return Ok(None),
        Ok(_) => format!("{user_id} has another e-mail address than one that leads there"),
        Err(Error::NotFound(_)) => format!("an e-mail address leads to {user_id}, who is gone"),
        Err(Error::Damaged { .. }) => return Ok(None),
        Err(error) => return Err(error),
    };
    Ok(Some(entry.finding(Problem::Inconsistent, 0, detail)))
}

fn picture(
    lookup: &impl Lookup,
    entry: &Entry,
    older_than: Timestamp,
) -> Result<Option<Finding>, Error> {
    let found: Option<PictureRecord> = lookup.record(Table::Pictures, What::Picture, &entry.key)?;
    let Some(manifest) = found else {
        return Ok(None);
    };
    let bytes = manifest
        .all_blobs()
        .fold(0, |sum: u64, blob| sum.saturating_add(blob.length));
    let picture = id(&entry.key)?;
    if is_shown(lookup, &manifest.owner, picture)? {
        let Some(original) = manifest.original else {
            return Ok(None);
        };
        if is_whole(lookup, &manifest.owner, picture, original)? {
            return Ok(None);
        }
        let detail = format!("of {picture} of {}", manifest.owner);
        return Ok(Some(entry.finding(Problem::UnreadableOriginal, 0, detail)));
    }
    if manifest.uploaded_at >= older_than {
        return Ok(None);
    }
    let detail = format!("{picture} of {}", manifest.owner);
    Ok(Some(entry.finding(Problem::OrphanPicture, bytes, detail)))
}

/// Whether the profile of a user points at a picture. One that cannot be read might.
fn is_shown(lookup: &impl Lookup, user: &UserId, picture: PictureId) -> Result<bool, Error> {
    match lookup::profile_record(lookup, user) {
        Ok(profile) => Ok(profile.picture.is_some_and(|shown| shown.id == picture)),
        Err(Error::NotFound(_)) => Ok(false),
        Err(Error::Damaged { .. }) => Ok(true),
        Err(error) => Err(error),
    }
}

fn part(lookup: &impl Lookup, entry: &Entry) -> Result<Option<Finding>, Error> {
    let orphan = |detail: String| {
        let value = lookup.find(Table::Chunks, &entry.key)?;
        Ok(value.map(|value| {
            let bytes = u64::try_from(value.len()).unwrap_or(u64::MAX);
            entry.finding(Problem::OrphanPart, bytes, detail)
        }))
    };
    let Some((owner, picture, size_px, number)) = chunk::parse(&entry.key) else {
        return orphan("of nothing that has a name".to_owned());
    };
    let belongs = match lookup::manifest(lookup, picture) {
        Ok(manifest) => {
            let named = |blob: BlobRecord| blob.size_px == size_px && number < chunk::count(blob);
            manifest.owner == owner && manifest.all_blobs().any(named)
        }
        Err(Error::NotFound(_)) => false,
        Err(Error::Damaged { .. }) => is_shown(lookup, &owner, picture)?,
        Err(error) => return Err(error),
    };
    if belongs {
        return Ok(None);
    }
    orphan(format!(
        "{picture} of {owner}, {size_px} px, number {number}"
    ))
}

fn keys(lookup: &impl Lookup, entry: &Entry) -> Result<Option<Finding>, Error> {
    let Some(bytes) = lookup.find(Table::Keys, &entry.key)? else {
        return Ok(None);
    };
    if lookup.find(Table::Accounts, &entry.key)?.is_none() {
        let bytes = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let detail = format!("of {}", String::from_utf8_lossy(&entry.key));
        return Ok(Some(entry.finding(Problem::OrphanKeys, bytes, detail)));
    }
    let _: Option<IdempotencyRecord> = lookup.record(Table::Keys, What::Record, &entry.key)?;
    Ok(None)
}

/// The picture whose id a key is.
pub(super) fn id(key: &[u8]) -> Result<PictureId, Error> {
    let bytes: Option<[u8; 16]> = key.try_into().ok();
    bytes
        .map(PictureId::from_random)
        .ok_or_else(|| Error::Damaged {
            what: What::Picture,
            detail: "key is not a picture id".to_owned(),
        })
}
