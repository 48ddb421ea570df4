//! How a profile is stored: under the user's id, with all that is told of the picture.
//!
//! One record holds both, so that one read answers a request for a profile, and a profile never names a picture of
//! which it does not know everything.

use serde::Deserialize;
use serde::Serialize;

use crate::domain::Timestamp;
use crate::domain::picture::Applied;
use crate::domain::picture::Picture;
use crate::domain::picture::PictureId;
use crate::domain::user::DisplayName;
use crate::domain::user::Profile;
use crate::domain::user::UserId;
use crate::storage::record::First;
use crate::storage::record::Record;

/// A [`Profile`] without the id, which is its key.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ProfileRecord {
    /// The display name.
    pub name: DisplayName,
    /// The picture, if there is one.
    pub picture: Option<ShownPicture>,
    /// When the user was made, in microseconds since the Unix epoch.
    pub created_at: Timestamp,
    /// When name or picture last changed, in microseconds since the Unix epoch.
    pub updated_at: Timestamp,
}

/// A [`Picture`] as a profile tells of it. A type of its own, so that no change of the domain changes what is on disk.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ShownPicture {
    /// The picture's id.
    pub id: PictureId,
    /// Width of the largest rendition, in pixels.
    pub width: u16,
    /// Height of the largest rendition, in pixels.
    pub height: u16,
    /// The sizes there are, in pixels.
    pub sizes_px: Vec<u16>,
    /// `ThumbHash` of the picture.
    pub thumbhash: Vec<u8>,
    /// What was done to the upload.
    pub applied: Vec<Applied>,
    /// When it was uploaded, in microseconds since the Unix epoch.
    pub uploaded_at: Timestamp,
}

impl Record for ProfileRecord {
    const KIND: &'static str = "profile";
    const VERSION: u8 = 1;
    type Previous = First;

    fn migrate(previous: First) -> Self {
        match previous {}
    }
}

impl ProfileRecord {
    /// The profile of that user.
    #[must_use]
    pub fn into_profile(self, user_id: UserId) -> Profile {
        Profile {
            user_id,
            name: self.name,
            picture: self.picture.map(Picture::from),
            created_at: self.created_at,
            updated_at: self.updated_at,
        }
    }
}

impl From<ShownPicture> for Picture {
    fn from(shown: ShownPicture) -> Self {
        Self {
            id: shown.id,
            width: shown.width,
            height: shown.height,
            sizes_px: shown.sizes_px,
            thumbhash: shown.thumbhash,
            applied: shown.applied,
            uploaded_at: shown.uploaded_at,
        }
    }
}

impl From<Picture> for ShownPicture {
    fn from(picture: Picture) -> Self {
        Self {
            id: picture.id,
            width: picture.width,
            height: picture.height,
            sizes_px: picture.sizes_px,
            thumbhash: picture.thumbhash,
            applied: picture.applied,
            uploaded_at: picture.uploaded_at,
        }
    }
}
