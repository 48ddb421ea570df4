//! The JSON objects in an archive. Types of their own, so that no change of the domain changes the format.

use serde::Deserialize;
use serde::Serialize;

use crate::domain::Timestamp;
use crate::domain::picture::Applied;
use crate::domain::picture::Crop;
use crate::domain::picture::Picture;
use crate::domain::picture::PictureId;
use crate::domain::user::Account;
use crate::domain::user::DisplayName;
use crate::domain::user::Email;
use crate::domain::user::Profile;
use crate::domain::user::UserId;
use crate::storage::WholeUser;
use crate::storage::upkeep::Making;

/// The first entry.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Head {
    pub(super) format: String,
    pub(super) version: u32,
    #[serde(with = "rfc_3339")]
    pub(super) created_at: Timestamp,
}

/// The last entry.
#[derive(Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Manifest {
    pub(super) format: String,
    pub(super) version: u32,
    pub(super) users: u64,
    pub(super) pictures: u64,
    pub(super) picture_files: u64,
    pub(super) picture_bytes: u64,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(super) originals: u64,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(super) original_bytes: u64,
    /// Over all files of lines, one behind the other.
    pub(super) users_sha256: String,
}

/// One user.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct UserLine {
    pub(super) user_id: UserId,
    email: Option<Email>,
    password_hash: Option<String>,
    #[serde(with = "rfc_3339")]
    created_at: Timestamp,
    pub(super) profile: ProfileLine,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ProfileLine {
    name: DisplayName,
    #[serde(with = "rfc_3339")]
    created_at: Timestamp,
    #[serde(with = "rfc_3339")]
    updated_at: Timestamp,
    pub(super) picture: Option<PictureLine>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PictureLine {
    pub(super) id: PictureId,
    width: u16,
    height: u16,
    #[serde(with = "in_base64")]
    thumbhash: Vec<u8>,
    applied: Vec<Applied>,
    #[serde(with = "rfc_3339")]
    pub(super) uploaded_at: Timestamp,
    pub(super) files: Vec<FileLine>,
    /// Only where the upload was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) original: Option<OriginalLine>,
    /// Only where it is known.
    #[serde(
        default,
        with = "in_hexadecimal",
        skip_serializing_if = "Option::is_none"
    )]
    recipe: Option<u64>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OriginalLine {
    pub(super) path: String,
    pub(super) bytes: u64,
    pub(super) sha256: String,
    pub(super) crop: Option<Crop>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FileLine {
    pub(super) size_px: u16,
    pub(super) path: String,
    pub(super) bytes: u64,
    pub(super) sha256: String,
}

impl PictureLine {
    /// Where the file of a size lies.
    pub(super) fn path(id: PictureId, size_px: u16) -> String {
        format!("pictures/{id}/{size_px}.jpg")
    }

    /// Where the upload lies that a picture was made of.
    pub(super) fn original_path(id: PictureId) -> String {
        format!("originals/{id}")
    }

    /// What is said of a picture, of each of its files, of its upload and of the settings that it was made with.
    pub(super) fn of(
        picture: &Picture,
        files: Vec<FileLine>,
        original: Option<OriginalLine>,
        recipe: Option<u64>,
    ) -> Self {
        Self {
            id: picture.id,
            width: picture.width,
            height: picture.height,
            thumbhash: picture.thumbhash.clone(),
            applied: picture.applied.clone(),
            uploaded_at: picture.uploaded_at,
            files,
            original,
            recipe,
        }
    }

    fn into_picture(self) -> Picture {
        Picture {
            id: self.id,
            width: self.width,
            height: self.height,
            sizes_px: self.files.iter().map(|file| file.size_px).collect(),
            thumbhash: self.thumbhash,
            applied: self.applied,
            uploaded_at: self.uploaded_at,
        }
    }
}

impl UserLine {
    /// The line of a user whose picture has that one.
    pub(super) fn of(account: &Account, profile: &Profile, picture: Option<PictureLine>) -> Self {
        Self {
            user_id: account.user_id.clone(),
            email: account.email.clone(),
            password_hash: account.password_hash.clone(),
            created_at: account.created_at,
            profile: ProfileLine {
                name: profile.name.clone(),
                created_at: profile.created_at,
                updated_at: profile.updated_at,
                picture,
            },
        }
    }

    /// The user, still without the files of the picture.
    pub(super) fn into_user(self) -> WholeUser {
        let recipe = (self.profile.picture.as_ref()).and_then(|picture| picture.recipe);
        WholeUser {
            account: Account {
                user_id: self.user_id.clone(),
                email: self.email,
                password_hash: self.password_hash,
                created_at: self.created_at,
            },
            profile: Profile {
                user_id: self.user_id,
                name: self.profile.name,
                picture: self.profile.picture.map(PictureLine::into_picture),
                created_at: self.profile.created_at,
                updated_at: self.profile.updated_at,
            },
            renditions: Vec::new(),
            making: Making {
                recipe,
                ..Making::default()
            },
        }
    }
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde calls it with a reference"
)]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// Times as RFC 3339 text.
mod rfc_3339 {
    use serde::Deserialize as _;
    use serde::Deserializer;
    use serde::Serializer;
    use serde::de::Error as _;

    use crate::domain::Timestamp;

    #[expect(
        clippy::trivially_copy_pass_by_ref,
        reason = "serde calls it with a reference"
    )]
    pub(super) fn serialize<S: Serializer>(time: &Timestamp, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(time)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Timestamp, D::Error> {
        let text = String::deserialize(from)?;
        text.parse().map_err(D::Error::custom)
    }
}

/// A number as 16 hexadecimal digits: many readers of JSON know no integers above 2^53.
mod in_hexadecimal {
    use serde::Deserialize as _;
    use serde::Deserializer;
    use serde::Serializer;
    use serde::de::Error as _;

    #[expect(clippy::ref_option, reason = "serde calls it with a reference")]
    pub(super) fn serialize<S: Serializer>(number: &Option<u64>, to: S) -> Result<S::Ok, S::Error> {
        match number {
            Some(number) => to.collect_str(&format_args!("{number:016x}")),
            None => to.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
        let text = String::deserialize(from)?;
        // The parser of numbers would take a sign and fewer digits, too.
        let number = u64::from_str_radix(&text, 16).ok();
        let number = number.filter(|number| format!("{number:016x}") == text);
        let wrong =
            || D::Error::custom(format!("{text:?} is not 16 lower-case hexadecimal digits"));
        number.map(Some).ok_or_else(wrong)
    }
}

/// Bytes as base64 text (RFC 4648 §4).
mod in_base64 {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use serde::Deserialize as _;
    use serde::Deserializer;
    use serde::Serializer;
    use serde::de::Error as _;

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&STANDARD.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(from)?;
        STANDARD.decode(text).map_err(D::Error::custom)
    }
}
