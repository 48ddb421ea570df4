//! Writes: what each changes, over all tables, in one transaction.
//!
//! A change first finds out everything it needs, then says what it writes, and only when nothing can go wrong any
//! more is that put into the transaction. So a change that fails leaves no trace, although it may share its
//! transaction with others.

use crate::domain::Timestamp;
use crate::domain::picture::{Picture, PictureId, Rendition};
use crate::domain::user::{Account, DisplayName, Email, Profile, UserId};
use crate::storage::Error;
use crate::storage::What;
use crate::storage::WholeUser;
use crate::storage::audit::Problem;
use crate::storage::record::{AccountRecord, EmailRecord, ProfileRecord, Record, ShownPicture};
use crate::storage::sled::audit::Entry;
use crate::storage::sled::engine::{COUNTS_KEY, Lookup, Table, encode};
use crate::storage::sled::lookup;
use crate::storage::sled::transaction::View;
use crate::storage::upkeep::{Keyed, Making};

/// A write that somebody waits for.
#[derive(Debug)]
pub(super) enum Change {
    CreateUser {
        account: Account,
        name: DisplayName,
    },
    PutUser {
        user: Box<WholeUser>,
        replace: bool,
    },
    SetPasswordHash {
        user: UserId,
        password_hash: String,
    },
    DeleteUser {
        user: UserId,
    },
    Rename {
        user: UserId,
        name: DisplayName,
        now: Timestamp,
    },
    ReplacePicture {
        user: UserId,
        picture: Picture,
        renditions: Vec<Rendition>,
        making: Box<Making>,
    },
    RemovePicture {
        user: UserId,
        now: Timestamp,
    },
    /// The change, if the profile is this one.
    If {
        expected: Box<Profile>,
        change: Box<Self>,
    },
    Mend {
        entry: Entry,
        problem: Problem,
        now: Timestamp,
    },
    /// Writes records of old versions anew. Without keys: only notes that the layout is this program's.
    Forward {
        table: Table,
        keys: Vec<Vec<u8>>,
    },
}

/// What a change came to.
#[derive(Debug, Default)]
pub(super) struct Done {
    /// The profile as it is now, where there is one.
    pub(super) profile: Option<Profile>,
    /// The picture that is gone now, with its sizes.
    pub(super) removed: Option<(PictureId, Vec<u16>)>,
    /// Whether anything was written.
    pub(super) wrote: bool,
    /// How many records were written anew.
    pub(super) renewed: u64,
}

impl Change {
    /// Bytes of pictures that it adds.
    pub(super) fn added_bytes(&self) -> u64 {
        let (renditions, original) = match self {
            Self::ReplacePicture {
                renditions, making, ..
            } => (renditions, making.original.as_ref()),
            Self::PutUser { user, .. } => (&user.renditions, user.making.original.as_ref()),
            Self::If { change, .. } => return change.added_bytes(),
            _ => return 0,
        };
        let files = renditions.iter().map(|rendition| &rendition.bytes);
        files
            .chain(original.map(|kept| &kept.bytes))
            .fold(0, |sum, bytes| {
                sum.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX))
            })
    }

    /// Whether it is there to take data away. Such a change is let through when the disk is nearly full.
    pub(super) fn removes(&self) -> bool {
        match self {
            Self::DeleteUser { .. } | Self::RemovePicture { .. } | Self::Mend { .. } => true,
            Self::If { change, .. } => change.removes(),
            _ => false,
        }
    }

    /// Puts the change into a transaction.
    ///
    /// # Errors
    ///
    /// Those of the method of [`Store`](crate::storage::Store) that asks for it. The transaction is then as before.
    pub(super) fn apply(&self, view: &View<'_>, fragile: &[Table]) -> Result<Done, Error> {
        let mut writes = Writes {
            view,
            staged: Vec::new(),
            fragile,
        };
        let mut done = match self {
            Self::CreateUser { account, name } => writes.create_user(account, name)?,
            Self::PutUser { user, replace } => writes.put_user(user, *replace)?,
            Self::SetPasswordHash {
                user,
                password_hash,
            } => writes.set_password_hash(user, password_hash)?,
            Self::DeleteUser { user } => writes.delete_user(user)?,
            Self::Rename { user, name, now } => writes.rename(user, name, *now)?,
            Self::ReplacePicture {
                user,
                picture,
                renditions,
                making,
            } => writes.replace_picture(user, picture, renditions, making)?,
            Self::RemovePicture { user, now } => writes.remove_picture(user, *now)?,
            Self::If { expected, change } => {
                let user = &expected.user_id;
                let found = lookup::profile_record(view, user)?.into_profile(user.clone());
                if found != **expected {
                    return Err(Error::Changed);
                }
                return change.apply(view, fragile);
            }
            Self::Mend {
                entry,
                problem,
                now,
            } => writes.mend(entry, *problem, *now)?,
            Self::Forward { table, keys } => writes.forward(*table, keys)?,
        };
        done.wrote |= writes.put()?;
        Ok(done)
    }
}

/// Tables, keys and new values of one change; no value: the key is removed.
pub(super) struct Writes<'v> {
    pub(super) view: &'v View<'v>,
    pub(super) staged: Vec<(Table, Vec<u8>, Option<::sled::IVec>)>,
    fragile: &'v [Table],
}

impl Writes<'_> {
    fn create_user(&mut self, account: &Account, name: &DisplayName) -> Result<Done, Error> {
        let user = &account.user_id;
        let id = user.as_str().as_bytes();
        let email = account.email.as_ref().map(Email::key);
        if self.view.find(Table::Accounts, id)?.is_some() {
            return Err(Error::AlreadyExists(What::User));
        }
        if let Some(email) = &email
            && self.view.find(Table::Emails, email.as_bytes())?.is_some()
        {
            return Err(Error::AlreadyExists(What::Email));
        }
        let profile = ProfileRecord {
            name: name.clone(),
            picture: None,
            created_at: account.created_at,
            updated_at: account.created_at,
        };
        self.forget_keys(user)?;
        self.write(Table::Accounts, id, &AccountRecord::from(account.clone()))?;
        self.write_email(account)?;
        self.write(Table::Profiles, id, &profile)?;
        self.count(|users| users.saturating_add(1), |pictures| pictures)?;
        Ok(Done {
            profile: Some(profile.into_profile(user.clone())),
            ..Done::default()
        })
    }

    fn put_user(&mut self, user: &WholeUser, replace: bool) -> Result<Done, Error> {
        let WholeUser {
            account,
            profile,
            renditions,
            making,
        } = user;
        let user_id = &account.user_id;
        let id = user_id.as_str().as_bytes();
        let is_there = self.view.find(Table::Accounts, id)?.is_some();
        if is_there && !replace {
            return Err(Error::AlreadyExists(What::User));
        }
        if let Some(email) = &account.email {
            match lookup::user_by_email(self.view, email) {
                Ok(holder) if holder != *user_id => return Err(Error::AlreadyExists(What::Email)),
                Ok(_) | Err(Error::NotFound(_)) => {}
                Err(error) => return Err(error),
            }
        }
        let removed = if is_there {
            if let Some(stored) = readable(lookup::account(self.view, user_id))? {
                self.remove_email(&stored);
            }
            let before = match readable(lookup::profile_record(self.view, user_id))? {
                Some(before) => before.picture,
                None => self.picture_that_is_there(profile)?,
            };
            self.drop_picture(user_id, before)?
        } else {
            None
        };
        if let Some(picture) = &profile.picture {
            let replaced = removed.as_ref().map(|(id, _)| *id) == Some(picture.id);
            self.add_picture(user_id, picture, renditions, making, replaced)?;
        }
        self.forget_keys(user_id)?;
        self.write(Table::Accounts, id, &AccountRecord::from(account.clone()))?;
        self.write_email(account)?;
        let record = ProfileRecord {
            name: profile.name.clone(),
            picture: profile.picture.clone().map(ShownPicture::from),
            created_at: profile.created_at,
            updated_at: profile.updated_at,
        };
        self.write(Table::Profiles, id, &record)?;
        let (old, new) = (
            u64::from(removed.is_some()),
            u64::from(record.picture.is_some()),
        );
        self.count(
            |users| users.saturating_add(u64::from(!is_there)),
            |pictures| pictures.saturating_add(new).saturating_sub(old),
        )?;
        Ok(Done {
            removed,
            ..Done::default()
        })
    }

    /// The way from an account's e-mail address to it, where there is one.
    fn write_email(&mut self, account: &Account) -> Result<(), Error> {
        let Some(email) = &account.email else {
            return Ok(());
        };
        let owner = EmailRecord {
            user_id: account.user_id.clone(),
        };
        self.write(Table::Emails, email.key().as_bytes(), &owner)
    }

    fn remove_email(&mut self, account: &Account) {
        if let Some(email) = &account.email {
            self.remove(Table::Emails, email.key().as_bytes());
        }
    }

    fn set_password_hash(&mut self, user: &UserId, password_hash: &str) -> Result<Done, Error> {
        let mut account = lookup::account(self.view, user)?;
        account.password_hash = Some(password_hash.to_owned());
        let record = AccountRecord::from(account);
        self.write(Table::Accounts, user.as_str().as_bytes(), &record)?;
        Ok(Done::default())
    }

    fn delete_user(&mut self, user: &UserId) -> Result<Done, Error> {
        let id = user.as_str().as_bytes();
        let account = readable(lookup::account(self.view, user))?;
        let profile = readable(lookup::profile_record(self.view, user))?;
        let removed = self.drop_picture(user, profile.and_then(|profile| profile.picture))?;
        self.remove(Table::Accounts, id);
        if let Some(account) = account {
            self.remove_email(&account);
        }
        self.remove(Table::Profiles, id);
        self.forget_keys(user)?;
        let gone = u64::from(removed.is_some());
        self.count(
            |users| users.saturating_sub(1),
            |pictures| pictures.saturating_sub(gone),
        )?;
        Ok(Done {
            removed,
            ..Done::default()
        })
    }

    fn rename(&mut self, user: &UserId, name: &DisplayName, now: Timestamp) -> Result<Done, Error> {
        let mut profile = lookup::profile_record(self.view, user)?;
        profile.name = name.clone();
        profile.updated_at = now;
        self.write(Table::Profiles, user.as_str().as_bytes(), &profile)?;
        Ok(Done {
            profile: Some(profile.into_profile(user.clone())),
            ..Done::default()
        })
    }

    fn replace_picture(
        &mut self,
        user: &UserId,
        picture: &Picture,
        renditions: &[Rendition],
        making: &Making,
    ) -> Result<Done, Error> {
        let mut profile = lookup::profile_record(self.view, user)?;
        let shown = profile.picture.as_ref().map(|picture| picture.id);
        if making.instead_of.is_some() && making.instead_of != shown {
            return Err(Error::NotFound(What::Picture));
        }
        let removed = self.drop_picture(user, profile.picture.take())?;
        self.add_picture(user, picture, renditions, making, false)?;
        profile.picture = Some(ShownPicture::from(picture.clone()));
        profile.updated_at = making.changed_at.unwrap_or(picture.uploaded_at);
        self.write(Table::Profiles, user.as_str().as_bytes(), &profile)?;
        if let Some(keyed) = &making.keyed {
            self.remember_key(user, keyed)?;
        }
        let new = u64::from(removed.is_none());
        if new > 0 {
            self.count(|users| users, |pictures| pictures.saturating_add(new))?;
        }
        Ok(Done {
            profile: Some(profile.into_profile(user.clone())),
            removed,
            ..Done::default()
        })
    }

    pub(super) fn remove_picture(&mut self, user: &UserId, now: Timestamp) -> Result<Done, Error> {
        let mut profile = lookup::profile_record(self.view, user)?;
        let removed = self.drop_picture(user, profile.picture.take())?;
        if removed.is_some() {
            profile.updated_at = now;
            self.write(Table::Profiles, user.as_str().as_bytes(), &profile)?;
            self.count(|users| users, |pictures| pictures.saturating_sub(1))?;
        }
        Ok(Done {
            profile: Some(profile.into_profile(user.clone())),
            removed,
            ..Done::default()
        })
    }

    /// Remembers an upload with an idempotency key. In the place of a damaged record: what that held is worth less than
    /// an upload.
    fn remember_key(&mut self, user: &UserId, keyed: &Keyed) -> Result<(), Error> {
        let mut known = readable(lookup::keys(self.view, user))?.unwrap_or_default();
        known.add(&keyed.upload, keyed.forget_before);
        self.write(Table::Keys, user.as_str().as_bytes(), &known)
    }

    /// Forgets what a user has uploaded with idempotency keys, or one with that id before them.
    fn forget_keys(&mut self, user: &UserId) -> Result<(), Error> {
        let id = user.as_str().as_bytes();
        if self.view.find(Table::Keys, id)?.is_some() {
            self.remove(Table::Keys, id);
        }
        Ok(())
    }

    fn count(
        &mut self,
        users: impl FnOnce(u64) -> u64,
        pictures: impl FnOnce(u64) -> u64,
    ) -> Result<(), Error> {
        let mut counts = lookup::counts(self.view)?;
        counts.users = users(counts.users);
        counts.pictures = pictures(counts.pictures);
        self.write(Table::Meta, COUNTS_KEY, &counts)
    }

    pub(super) fn write<T: Record>(
        &mut self,
        table: Table,
        key: &[u8],
        record: &T,
    ) -> Result<(), Error> {
        let bytes = encode(key, record)?;
        self.staged.push((table, key.to_vec(), Some(bytes.into())));
        Ok(())
    }

    pub(super) fn write_bytes(&mut self, table: Table, key: &[u8], bytes: Vec<u8>) {
        self.staged.push((table, key.to_vec(), Some(bytes.into())));
    }

    /// Removes a key. Where nothing can be removed, a part of a picture stays as garbage; for anything else it is an error.
    pub(super) fn remove(&mut self, table: Table, key: &[u8]) {
        if table == Table::Chunks && self.fragile.contains(&table) {
            return;
        }
        self.staged.push((table, key.to_vec(), None));
    }

    /// Puts everything into the transaction, if all the pages that it will touch can be read.
    fn put(self) -> Result<bool, Error> {
        let mut removed = self.staged.iter().filter(|(_, _, value)| value.is_none());
        if removed.any(|(table, _, _)| self.fragile.contains(table)) {
            let (what, detail) = (What::Record, "pages beside it cannot be read".to_owned());
            return Err(Error::Damaged { what, detail });
        }
        // sled reads the old value of each key that is written. Reading them all first leaves only steps that cannot
        // fail, as the transaction then has them at hand.
        for (table, key, _) in &self.staged {
            self.view.remember(*table, key)?;
        }
        let wrote = !self.staged.is_empty();
        for (table, key, value) in self.staged {
            self.view.set(table, key, value)?;
        }
        Ok(wrote)
    }
}

/// None for a damaged record: a user of whom it is all that is left can be replaced or deleted. What it led to is found
/// by the garbage collection.
fn readable<T>(record: Result<T, Error>) -> Result<Option<T>, Error> {
    match record {
        Ok(record) => Ok(Some(record)),
        Err(Error::Damaged { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}
