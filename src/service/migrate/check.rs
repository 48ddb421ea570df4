//! Whether a user from an archive is one that could have been made here. Pure.

use crate::auth::password;
use crate::domain::picture::Picture;
use crate::imaging::accepted_format;
use crate::imaging::plain_jpeg_dimensions;
use crate::service::chain;
use crate::storage::WholeUser;
use crate::storage::upkeep::Original;

/// Longest `ThumbHash`, in bytes. Source: its specification.
const THUMBHASH_BYTES_MAX: usize = 25;

/// Says what is wrong with a user, if anything is.
pub(super) fn check(user: &WholeUser) -> Result<(), String> {
    if let Some(hash) = &user.account.password_hash {
        password::check_foreign(hash).map_err(|error| error.to_string())?;
    }
    if let Some(picture) = &user.profile.picture {
        check_picture(picture, user)?;
    }
    user.making.original.as_ref().map_or(Ok(()), check_original)
}

/// No more than that it is a file of a kind that is taken: decoding it is for the workers, should it ever be needed.
fn check_original(original: &Original) -> Result<(), String> {
    accepted_format(&original.bytes)
        .map_err(|error| format!("the upload that was kept: {}", chain(&error)))?;
    match original.crop {
        Some(crop) if crop.width == 0 || crop.height == 0 => Err(format!(
            "the crop of the upload that was kept has {} × {} pixels",
            crop.width, crop.height
        )),
        _ => Ok(()),
    }
}

fn check_picture(picture: &Picture, user: &WholeUser) -> Result<(), String> {
    if !picture.sizes_px.is_sorted_by(|one, next| one > next) {
        return Err("the sizes of the picture are not in falling order, each once".to_owned());
    }
    if picture.thumbhash.len() > THUMBHASH_BYTES_MAX {
        let length = picture.thumbhash.len();
        return Err(format!(
            "the ThumbHash has {length} bytes, the limit is {THUMBHASH_BYTES_MAX}"
        ));
    }
    if !picture.applied.is_sorted_by(|one, next| one < next) {
        return Err("what was applied to the picture is not in order, each once".to_owned());
    }
    for (number, rendition) in user.renditions.iter().enumerate() {
        let size_px = rendition.size_px;
        let (width, height) = plain_jpeg_dimensions(&rendition.bytes).ok_or_else(|| {
            format!("the file of {size_px} px is not a JPEG without metadata, whole and alone")
        })?;
        if width.max(height) != size_px || width.min(height) == 0 {
            return Err(format!(
                "the file of {size_px} px has {width} × {height} pixels"
            ));
        }
        if number == 0 && (width, height) != (picture.width, picture.height) {
            return Err(format!(
                "the picture is said to have {} × {} pixels, it has {width} × {height}",
                picture.width, picture.height
            ));
        }
    }
    Ok(())
}
