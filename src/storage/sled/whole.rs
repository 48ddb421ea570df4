//! What is stored of a picture, added and removed as a whole: the manifest, the chunks of its renditions, and those of
//! the upload where it is kept.

use crate::domain::picture::{Picture, PictureId, Rendition};
use crate::domain::user::{Profile, UserId};
use crate::storage::Error;
use crate::storage::What;
use crate::storage::record::{BlobRecord, PictureRecord, ShownPicture};
use crate::storage::sled::change::Writes;
use crate::storage::sled::chunk;
use crate::storage::sled::engine::{Lookup as _, Table};
use crate::storage::sled::lookup;
use crate::storage::upkeep::Making;

impl Writes<'_> {
    /// Adds manifest and chunks of a picture. `replaced`: the one with that id has just been removed.
    pub(super) fn add_picture(
        &mut self,
        owner: &UserId,
        picture: &Picture,
        renditions: &[Rendition],
        making: &Making,
        replaced: bool,
    ) -> Result<(), Error> {
        chunk::check_sizes(picture, renditions)?;
        match lookup::manifest(self.view, picture.id) {
            Err(Error::NotFound(_)) => {}
            // Not if it stays, as it is somebody else's.
            Ok(manifest) if replaced && manifest.owner == *owner => {}
            Err(Error::Damaged { .. }) if replaced => {}
            Ok(_) | Err(Error::Damaged { .. }) => {
                return Err(Error::AlreadyExists(What::Picture));
            }
            Err(error) => return Err(error),
        }
        let original = making.original.as_ref().map(|kept| Rendition {
            size_px: BlobRecord::ORIGINAL,
            bytes: kept.bytes.clone(),
        });
        for rendition in renditions.iter().chain(&original) {
            for (key, bytes) in chunk::cut(owner, picture.id, rendition) {
                self.staged.push((Table::Chunks, key, Some(bytes.into())));
            }
        }
        let manifest = PictureRecord {
            owner: owner.clone(),
            uploaded_at: picture.uploaded_at,
            blobs: renditions.iter().map(BlobRecord::of).collect(),
            original: original.as_ref().map(BlobRecord::of),
            crop: making.original.as_ref().and_then(|kept| kept.crop),
            recipe: making.recipe,
        };
        self.write(Table::Pictures, picture.id.as_bytes(), &manifest)
    }

    /// Removes manifest and chunks of a picture. All chunks of one stay that has some on pages that cannot be read, as
    /// garbage: whoever has it must be able to be without.
    pub(super) fn drop_picture(
        &mut self,
        owner: &UserId,
        picture: Option<ShownPicture>,
    ) -> Result<Option<(PictureId, Vec<u16>)>, Error> {
        let Some(picture) = picture else {
            return Ok(None);
        };
        match lookup::manifest(self.view, picture.id) {
            // By a mistake, the profile points at the picture of somebody else, who keeps it.
            Ok(manifest) if manifest.owner != *owner => {
                return Ok(Some((picture.id, picture.sizes_px)));
            }
            Ok(manifest) => self.remove_chunks(owner, picture.id, manifest.all_blobs())?,
            // Whatever has become of the manifest, the picture can be replaced: its chunks are found one after the
            // other. What lies behind a gap is left to the garbage collection.
            Err(Error::Damaged { .. } | Error::NotFound(_)) => {
                let sizes_px = picture.sizes_px.iter().chain(&[BlobRecord::ORIGINAL]);
                let keys =
                    sizes_px.map(|size_px| chunk::keys_from_first(owner, picture.id, *size_px));
                self.remove_all_or_none(keys, true)?;
            }
            Err(error) => return Err(error),
        }
        if self.has_pages_of(Table::Pictures, picture.id.as_bytes())? {
            self.remove(Table::Pictures, picture.id.as_bytes());
        }
        Ok(Some((picture.id, picture.sizes_px)))
    }

    /// Removes all chunks of these files of a picture, or none: not those beside what cannot be read.
    pub(super) fn remove_chunks(
        &mut self,
        owner: &UserId,
        picture: PictureId,
        blobs: impl IntoIterator<Item = BlobRecord>,
    ) -> Result<(), Error> {
        let blobs = blobs.into_iter();
        self.remove_all_or_none(blobs.map(|blob| chunk::keys(owner, picture, blob)), false)
    }

    /// Removes the chunks of several files, each as [`Writes::remove_readable`] does; none, if one of them cannot be read.
    fn remove_all_or_none(
        &mut self,
        files: impl Iterator<Item: Iterator<Item = Vec<u8>>>,
        up_to_a_gap: bool,
    ) -> Result<(), Error> {
        let begin = self.staged.len();
        for keys in files {
            if !self.remove_readable(keys, up_to_a_gap)? {
                self.staged.truncate(begin);
                break;
            }
        }
        Ok(())
    }

    /// Removes chunks, or only those up to the first that is not there; whether none of them is on a page that cannot be
    /// read.
    fn remove_readable(
        &mut self,
        keys: impl Iterator<Item = Vec<u8>>,
        up_to_a_gap: bool,
    ) -> Result<bool, Error> {
        for key in keys {
            match self.view.find(Table::Chunks, &key) {
                Ok(Some(_)) => self.remove(Table::Chunks, &key),
                Ok(None) if up_to_a_gap => break,
                Ok(None) => {}
                Err(Error::Damaged { .. }) => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// Whether the page that has a key, or would have it, can be read.
    fn has_pages_of(&self, table: Table, key: &[u8]) -> Result<bool, Error> {
        match self.view.find(table, key) {
            Ok(_) => Ok(true),
            Err(Error::Damaged { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The picture of a profile, if the store has it of that user, too: what a damaged record most likely showed.
    pub(super) fn picture_that_is_there(
        &self,
        profile: &Profile,
    ) -> Result<Option<ShownPicture>, Error> {
        let Some(picture) = &profile.picture else {
            return Ok(None);
        };
        let is_theirs = match lookup::manifest(self.view, picture.id) {
            Ok(manifest) => manifest.owner == profile.user_id,
            Err(Error::NotFound(_)) => false,
            // Its parts tell whose it is.
            Err(Error::Damaged { .. }) => self.has_parts(&profile.user_id, picture)?,
            Err(error) => return Err(error),
        };
        Ok(is_theirs.then(|| ShownPicture::from(picture.clone())))
    }

    /// Whether there is a first part of any size of a picture of that user.
    fn has_parts(&self, user: &UserId, picture: &Picture) -> Result<bool, Error> {
        for size_px in &picture.sizes_px {
            for key in chunk::keys_from_first(user, picture.id, *size_px).take(1) {
                if self.view.find(Table::Chunks, &key)?.is_some() {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }
}
