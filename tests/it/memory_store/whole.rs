//! One state of the store in memory: what belongs together in it.

use async_trait::async_trait;
use pockitd::domain::picture::{Picture, PictureId, Rendition};
use pockitd::domain::user::{Account, Profile, UserId};
use pockitd::storage::listed::{ListedUser, Snapshot};
use pockitd::storage::upkeep::{Keyed, KeyedUpload, Making};
use pockitd::storage::{Edit, Error, StoredRendition, What, WholeUser};
use xxhash_rust::xxh3::xxh3_128;

use super::State;

/// A state that nobody changes, and up to whom it was handed out.
#[derive(Debug)]
pub(super) struct Frozen {
    pub(super) state: State,
    pub(super) passed: Option<UserId>,
}

#[async_trait]
impl Snapshot for Frozen {
    async fn users(&mut self, count: usize, bytes_max: u64) -> Result<Vec<ListedUser>, Error> {
        let page = self.state.users(self.passed.as_ref(), count, bytes_max);
        let last = page.last().map(|user| user.user_id.clone());
        self.passed = last.or_else(|| self.passed.take());
        Ok(page)
    }
}

impl State {
    pub(super) fn is_shown(&self, id: PictureId) -> bool {
        let mut shown = self.profiles.values().flat_map(|profile| &profile.picture);
        shown.any(|picture| picture.id == id)
    }

    pub(super) fn making(&self, id: PictureId) -> Making {
        self.making.get(&id).cloned().unwrap_or_default()
    }

    pub(super) fn is_whole(&self, picture: &Picture) -> bool {
        picture.sizes_px.iter().all(|size_px| {
            let stored = self.renditions.get(&(picture.id, *size_px));
            stored.is_some_and(|stored| stored.checksum == xxh3_128(&stored.bytes))
        })
    }

    pub(super) fn profile(&mut self, user: &UserId) -> Result<&mut Profile, Error> {
        self.profiles
            .get_mut(user)
            .ok_or(Error::NotFound(What::User))
    }

    pub(super) fn edit(&mut self, user: &UserId, edit: Edit) -> Result<Profile, Error> {
        let profile = self.profile(user)?;
        let (old, added) = match edit {
            Edit::Rename { name, now } => {
                profile.name = name;
                profile.updated_at = now;
                (None, None)
            }
            Edit::ReplacePicture {
                picture,
                renditions,
                making,
            } => {
                let shown = profile.picture.as_ref().map(|picture| picture.id);
                if making.instead_of.is_some() && making.instead_of != shown {
                    return Err(Error::NotFound(What::Picture));
                }
                profile.updated_at = making.changed_at.unwrap_or(picture.uploaded_at);
                let old = profile.picture.replace(picture.clone());
                (old, Some((picture, renditions, making)))
            }
            Edit::RemovePicture { now } => {
                let old = profile.picture.take();
                if old.is_some() {
                    profile.updated_at = now;
                }
                (old, None)
            }
        };
        let answer = profile.clone();
        if let Some((picture, renditions, making)) = added {
            self.add_renditions(&picture, renditions)?;
            if let Some(keyed) = &making.keyed {
                self.remember_key(user, keyed);
            }
            self.making.insert(picture.id, *making);
        }
        self.drop_picture(old);
        Ok(answer)
    }

    fn remember_key(&mut self, user: &UserId, keyed: &Keyed) {
        let known = self.keyed.entry(user.clone()).or_default();
        known.retain(|old| old.key != keyed.upload.key && old.stored_at >= keyed.forget_before);
        known.push(keyed.upload.clone());
        if known.len() > KeyedUpload::KEPT_MAX {
            known.remove(0);
        }
    }

    pub(super) fn add_renditions(
        &mut self,
        picture: &Picture,
        files: Vec<Rendition>,
    ) -> Result<(), Error> {
        let taken = |(id, _): &(PictureId, u16)| *id == picture.id;
        if self.renditions.keys().any(taken) {
            return Err(Error::AlreadyExists(What::Picture));
        }
        for Rendition { size_px, bytes } in files {
            let checksum = xxh3_128(&bytes);
            let uploaded_at = picture.uploaded_at;
            let rendition = StoredRendition {
                bytes,
                checksum,
                uploaded_at,
            };
            self.renditions.insert((picture.id, size_px), rendition);
        }
        Ok(())
    }

    pub(super) fn drop_picture(&mut self, picture: Option<Picture>) {
        let Some(picture) = picture else { return };
        self.renditions.retain(|(id, _), _| *id != picture.id);
        self.making.remove(&picture.id);
    }

    fn users(&self, after: Option<&UserId>, count: usize, bytes_max: u64) -> Vec<ListedUser> {
        let behind = |account: &&Account| after.is_none_or(|after| account.user_id > *after);
        let mut bytes = 0;
        let mut users = Vec::new();
        for account in self.accounts.values().filter(behind).take(count) {
            let profile = self.profiles[&account.user_id].clone();
            let shown = profile.picture.iter();
            let files = shown.flat_map(|shown| shown.sizes_px.iter().map(|size| (shown.id, *size)));
            let renditions = files.map(|(id, size_px)| {
                let bytes = self.renditions[&(id, size_px)].bytes.clone();
                Rendition { size_px, bytes }
            });
            let renditions: Vec<_> = renditions.collect();
            bytes += renditions
                .iter()
                .map(|file| file.bytes.len() as u64)
                .sum::<u64>();
            let shown = profile.picture.as_ref();
            let making = shown.map_or_else(Making::default, |shown| self.making(shown.id));
            let kept = making.original.as_ref();
            bytes += kept.map_or(0, |kept| kept.bytes.len() as u64);
            let whole = WholeUser {
                account: account.clone(),
                profile,
                renditions,
                making: Making {
                    instead_of: None,
                    changed_at: None,
                    keyed: None,
                    ..making
                },
            };
            users.push(whole.into());
            if bytes >= bytes_max {
                break;
            }
        }
        users
    }
}
