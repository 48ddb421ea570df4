//! A [`Store`] in memory that fails the n-th write. Keeps the contract honest: what the suite asks for must be
//! possible without a disk.

mod whole;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::Mutex;

use async_trait::async_trait;
use pockitd::domain::Timestamp;
use pockitd::domain::picture::{Picture, PictureId, Rendition};
use pockitd::domain::user::{Account, DisplayName, Email, Profile, UserId};
use pockitd::storage::audit::{Examined, Finding, Place, Problem, Section};
use pockitd::storage::listed::{ListedAccount, Snapshot};
use pockitd::storage::upkeep::{
    Compacted, Forwarded, KeyedUpload, Making, Original, Schema, Watch,
};
use pockitd::storage::{Counts, Edit, Error, Store, StoredRendition, What, WholeUser};
use xxhash_rust::xxh3::xxh3_128;

use self::whole::Frozen;
use crate::store::Harm;
use crate::store::user;
use crate::store::usual_picture;

/// The store. Clones share what they hold, as if the same disk were opened again.
#[derive(Clone, Debug, Default)]
pub(crate) struct MemoryStore(Arc<Mutex<Inner>>);

/// An account's e-mail address, as it is compared.
fn key(account: &Account) -> Option<String> {
    account.email.as_ref().map(Email::key)
}

#[derive(Debug, Default)]
struct Inner {
    state: State,
    writes: u64,
    fails_at: Option<u64>,
}

#[derive(Clone, Debug, Default)]
struct State {
    accounts: BTreeMap<UserId, Account>,
    profiles: BTreeMap<UserId, Profile>,
    renditions: BTreeMap<(PictureId, u16), StoredRendition>,
    making: BTreeMap<PictureId, Making>,
    keyed: BTreeMap<UserId, Vec<KeyedUpload>>,
}

impl MemoryStore {
    /// A store whose `number`-th write from now on fails, counted from 1. The others succeed.
    pub(crate) fn fail_write(&self, number: u64) {
        let mut inner = self.0.lock().unwrap();
        inner.fails_at = Some(inner.writes + number);
    }

    /// Whether the failure that was asked for has happened.
    pub(crate) fn has_failed(&self) -> bool {
        let inner = self.0.lock().unwrap();
        inner.fails_at.is_some_and(|number| number <= inner.writes)
    }

    /// What a store's own methods never do to it.
    pub(crate) fn suffer(&self, harm: Harm<'_>) {
        let state = &mut self.0.lock().unwrap().state;
        match harm {
            Harm::Orphan(seed) => {
                let (picture, renditions) = usual_picture(seed);
                for Rendition { size_px, bytes } in renditions {
                    let stored = StoredRendition {
                        checksum: xxh3_128(&bytes),
                        bytes,
                        uploaded_at: picture.uploaded_at,
                    };
                    state.renditions.insert((picture.id, size_px), stored);
                }
            }
            Harm::Gone(id) => {
                let picture = state.profile(&user(id)).unwrap().picture.clone();
                state.drop_picture(picture);
            }
            Harm::Flipped(id) => {
                let picture = state.profile(&user(id)).unwrap().picture.clone().unwrap();
                let stored = state.renditions.get_mut(&(picture.id, 512)).unwrap();
                let mut bytes = stored.bytes.to_vec();
                bytes[7] ^= 1;
                stored.bytes = bytes.into();
            }
        }
    }

    fn read<T>(&self, read: impl FnOnce(&State) -> Option<T>, what: What) -> Result<T, Error> {
        read(&self.0.lock().unwrap().state).ok_or(Error::NotFound(what))
    }

    fn write<T>(&self, write: impl FnOnce(&mut State) -> Result<T, Error>) -> Result<T, Error> {
        let mut inner = self.0.lock().unwrap();
        let mut state = inner.state.clone();
        let outcome = write(&mut state)?;
        inner.writes += 1;
        if inner.fails_at == Some(inner.writes) {
            let source = Arc::new(std::io::Error::other("this write was to fail"));
            let attempt = "write to memory";
            return Err(Error::Io { attempt, source });
        }
        inner.state = state;
        Ok(outcome)
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn create_user(&self, account: Account, name: DisplayName) -> Result<Profile, Error> {
        self.write(|state| {
            let taken = |other: &Account| key(other).is_some() && key(other) == key(&account);
            if state.accounts.contains_key(&account.user_id) {
                return Err(Error::AlreadyExists(What::User));
            }
            if state.accounts.values().any(taken) {
                return Err(Error::AlreadyExists(What::Email));
            }
            let user_id = account.user_id.clone();
            let (created_at, updated_at) = (account.created_at, account.created_at);
            let profile = Profile {
                user_id,
                name,
                picture: None,
                created_at,
                updated_at,
            };
            state
                .profiles
                .insert(account.user_id.clone(), profile.clone());
            state.accounts.insert(account.user_id.clone(), account);
            Ok(profile)
        })
    }

    async fn put_user(&self, user: WholeUser, replace: bool) -> Result<(), Error> {
        self.write(|state| {
            let id = user.account.user_id.clone();
            let same = |other: &Account| key(other).is_some() && key(other) == key(&user.account);
            let taken = |other: &Account| same(other) && other.user_id != id;
            if state.accounts.contains_key(&id) && !replace {
                return Err(Error::AlreadyExists(What::User));
            }
            if state.accounts.values().any(taken) {
                return Err(Error::AlreadyExists(What::Email));
            }
            let before = state.profiles.remove(&id).and_then(|found| found.picture);
            state.drop_picture(before);
            state.keyed.remove(&id);
            if let Some(picture) = &user.profile.picture {
                state.add_renditions(picture, user.renditions)?;
                state.making.insert(picture.id, user.making);
            }
            state.accounts.insert(id.clone(), user.account);
            state.profiles.insert(id, user.profile);
            Ok(())
        })
    }

    async fn account(&self, user: &UserId) -> Result<Account, Error> {
        self.read(|state| state.accounts.get(user).cloned(), What::User)
    }

    async fn account_by_email(&self, email: &Email) -> Result<Account, Error> {
        let same = |account: &&Account| key(account) == Some(email.key());
        self.read(
            |state| state.accounts.values().find(same).cloned(),
            What::Email,
        )
    }

    async fn set_password_hash(&self, user: &UserId, password_hash: String) -> Result<(), Error> {
        self.write(|state| {
            let account = state.accounts.get_mut(user);
            account.ok_or(Error::NotFound(What::User))?.password_hash = Some(password_hash);
            Ok(())
        })
    }

    async fn delete_user(&self, user: &UserId) -> Result<(), Error> {
        self.write(|state| {
            let picture = state.profile(user)?.picture.take();
            state.drop_picture(picture);
            state.profiles.remove(user);
            state.accounts.remove(user);
            state.keyed.remove(user);
            Ok(())
        })
    }

    async fn accounts(
        &self,
        after: Option<&UserId>,
        count: usize,
    ) -> Result<Vec<ListedAccount>, Error> {
        let behind = |account: &&Account| after.is_none_or(|after| account.user_id > *after);
        let state = &self.0.lock().unwrap().state;
        Ok(state
            .accounts
            .values()
            .filter(behind)
            .take(count)
            .cloned()
            .map(ListedAccount::from)
            .collect())
    }

    async fn profile(&self, user: &UserId) -> Result<Profile, Error> {
        self.read(|state| state.profiles.get(user).cloned(), What::User)
    }

    async fn rename(
        &self,
        user: &UserId,
        name: DisplayName,
        now: Timestamp,
    ) -> Result<Profile, Error> {
        self.write(|state| state.edit(user, Edit::Rename { name, now }))
    }

    async fn store_picture(
        &self,
        user: &UserId,
        picture: Picture,
        renditions: Vec<Rendition>,
        making: Making,
    ) -> Result<Profile, Error> {
        let edit = Edit::ReplacePicture {
            picture,
            renditions,
            making: Box::new(making),
        };
        self.write(|state| state.edit(user, edit))
    }

    async fn keyed_upload(&self, user: &UserId, key: &str) -> Result<Option<KeyedUpload>, Error> {
        let state = &self.0.lock().unwrap().state;
        let mut known = state.keyed.get(user).into_iter().flatten();
        Ok(known.find(|upload| upload.key == key).cloned())
    }

    async fn recipe(&self, picture: PictureId) -> Result<Option<u64>, Error> {
        let making = |state: &State| state.is_shown(picture).then(|| state.making(picture));
        Ok(self.read(making, What::Picture)?.recipe)
    }

    async fn original(&self, picture: PictureId) -> Result<Option<Original>, Error> {
        let making = |state: &State| state.is_shown(picture).then(|| state.making(picture));
        Ok(self.read(making, What::Picture)?.original)
    }

    async fn snapshot(&self) -> Result<Box<dyn Snapshot>, Error> {
        let state = self.0.lock().unwrap().state.clone();
        let passed = None;
        Ok(Box::new(Frozen { state, passed }))
    }

    async fn remove_picture(&self, user: &UserId, now: Timestamp) -> Result<Profile, Error> {
        self.write(|state| state.edit(user, Edit::RemovePicture { now }))
    }

    async fn edit_if(&self, expected: Profile, edit: Edit) -> Result<Profile, Error> {
        self.write(|state| {
            if *state.profile(&expected.user_id)? != expected {
                return Err(Error::Changed);
            }
            state.edit(&expected.user_id, edit)
        })
    }

    async fn rendition(&self, picture: PictureId, size_px: u16) -> Result<StoredRendition, Error> {
        let found = self.read(
            |state| state.renditions.get(&(picture, size_px)).cloned(),
            What::Picture,
        )?;
        if found.checksum == xxh3_128(&found.bytes) {
            return Ok(found);
        }
        Err(Error::Damaged {
            what: What::Picture,
            detail: format!("{picture} at {size_px} px"),
        })
    }

    async fn counts(&self) -> Result<Counts, Error> {
        let state = &self.0.lock().unwrap().state;
        let pictures = state
            .profiles
            .values()
            .filter(|profile| profile.picture.is_some())
            .count();
        let users = state.profiles.len() as u64;
        Ok(Counts {
            users,
            pictures: pictures as u64,
        })
    }

    async fn examine(
        &self,
        from: Option<&Place>,
        older_than: Timestamp,
    ) -> Result<Examined, Error> {
        let state = &self.0.lock().unwrap().state;
        let finding = |problem, detail, bytes, place| Finding {
            problem,
            detail,
            bytes,
            place,
        };
        let Some(Place(from)) = from else {
            let broken = state.profiles.values().filter(|profile| {
                let picture = profile.picture.as_ref();
                picture.is_some_and(|picture| !state.is_whole(picture))
            });
            return Ok(Examined {
                section: Section::Profiles,
                count: state.profiles.len() as u64,
                findings: broken
                    .map(|profile| {
                        let id = profile.user_id.to_string();
                        let place = Place([&[0], id.as_bytes()].concat());
                        finding(Problem::UnreadablePicture, id, 0, place)
                    })
                    .collect(),
                next: Some(Place(vec![1])),
            });
        };
        if from.as_slice() != [1] {
            return Err(Error::NotFound(What::Record));
        }
        let mut pictures: BTreeMap<PictureId, (u64, Timestamp)> = BTreeMap::new();
        for ((id, _), stored) in &state.renditions {
            let entry = pictures.entry(*id).or_insert((0, stored.uploaded_at));
            entry.0 += stored.bytes.len() as u64;
        }
        let orphans = pictures
            .iter()
            .filter(|(id, (_, uploaded_at))| *uploaded_at < older_than && !state.is_shown(**id));
        Ok(Examined {
            section: Section::Pictures,
            count: pictures.len() as u64,
            findings: orphans
                .map(|(id, (bytes, _))| {
                    let place = Place([&[1], id.as_bytes().as_slice()].concat());
                    finding(Problem::OrphanPicture, id.to_string(), *bytes, place)
                })
                .collect(),
            next: None,
        })
    }

    async fn mend(&self, finding: &Finding, now: Timestamp) -> Result<bool, Error> {
        self.write(|state| {
            let key = &finding.place.0[1..];
            if finding.problem == Problem::OrphanPicture {
                let id = PictureId::from_random(key.try_into().unwrap());
                let before = state.renditions.len();
                if !state.is_shown(id) {
                    state.renditions.retain(|(other, _), _| *other != id);
                }
                return Ok(state.renditions.len() < before);
            }
            let user: UserId = std::str::from_utf8(key).unwrap().parse().unwrap();
            let picture = state.profile(&user)?.picture.clone();
            let broken = picture.filter(|picture| !state.is_whole(picture));
            if broken.is_some() {
                let profile = state.profile(&user)?;
                profile.picture = None;
                profile.updated_at = now;
            }
            let mended = broken.is_some();
            state.drop_picture(broken);
            Ok(mended)
        })
    }

    async fn schema(&self) -> Result<Schema, Error> {
        Ok(Schema { found: 1, known: 1 })
    }

    async fn forward(&self, _: Option<&Place>, _: bool) -> Result<Forwarded, Error> {
        let users = self.0.lock().unwrap().state.accounts.len() as u64;
        Ok(Forwarded {
            kind: "user",
            current: 1,
            versions: BTreeMap::from([(1, users)]),
            written: 0,
            damaged: 0,
            next: None,
        })
    }

    async fn compact(&self, _: &Watch) -> Result<Option<Compacted>, Error> {
        Ok(None)
    }

    async fn ready(&self) -> Result<(), Error> {
        Ok(())
    }

    async fn close(&self) -> Result<(), Error> {
        Ok(())
    }
}
