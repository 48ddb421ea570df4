//! What a picture is: its id, where it came from, the renditions made of it and what was done on the way.

use std::fmt;
use std::str::FromStr;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::domain::Timestamp;

/// Identifies a picture: 128 random bits, written as 32 lower-case hexadecimal digits. Unguessable, never reused,
/// says nothing about the picture or its owner.
#[derive(Clone, Copy, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct PictureId([u8; 16]);

impl PictureId {
    /// A new id from 16 random bytes.
    #[must_use]
    pub const fn from_random(random: [u8; 16]) -> Self {
        Self(random)
    }

    /// The id as the 16 bytes that it was made of.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

/// A text that is not 32 lower-case hexadecimal digits.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a picture id is 32 lower-case hexadecimal digits")]
pub struct InvalidPictureId;

impl FromStr for PictureId {
    type Err = InvalidPictureId;

    fn from_str(text: &str) -> Result<Self, InvalidPictureId> {
        // One spelling only: two URLs for one picture would be cached twice.
        let digit = |c: u8| matches!(c, b'0'..=b'9' | b'a'..=b'f');
        if text.len() != 32 || !text.bytes().all(digit) {
            return Err(InvalidPictureId);
        }
        u128::from_str_radix(text, 16)
            .map(|id| Self(id.to_be_bytes()))
            .map_err(|_| InvalidPictureId)
    }
}

impl TryFrom<String> for PictureId {
    type Error = InvalidPictureId;

    fn try_from(text: String) -> Result<Self, InvalidPictureId> {
        text.parse()
    }
}

impl From<PictureId> for String {
    fn from(id: PictureId) -> Self {
        id.to_string()
    }
}

impl fmt::Display for PictureId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for PictureId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// The formats that an upload may have.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// JPEG (ITU-T T.81).
    Jpeg,
    /// PNG (W3C, third edition), the first frame of an animated one.
    Png,
    /// HEIF with HEVC-coded items (ISO/IEC 23008-12).
    Heic,
}

impl fmt::Display for Format {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Jpeg => "JPEG",
            Self::Png => "PNG",
            Self::Heic => "HEIC",
        })
    }
}

/// How a picture that is not square fits the square.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Fit {
    /// The largest square around the centre; what lies outside is cut off.
    #[default]
    Cover,
    /// The whole picture, with bars of the background colour.
    Pad,
    /// The whole picture and nothing else: the longer side gets the size, the picture is not square.
    Inside,
}

/// An opaque sRGB colour, written `#rrggbb`.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Color(pub [u8; 3]);

impl Color {
    /// White, the page colour that transparency is expected to show.
    pub const WHITE: Self = Self([0xFF; 3]);
}

/// A text that is not `#rrggbb`.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a colour is # and six hexadecimal digits, such as #ffffff")]
pub struct InvalidColor;

impl TryFrom<String> for Color {
    type Error = InvalidColor;

    fn try_from(text: String) -> Result<Self, InvalidColor> {
        let digits = text
            .strip_prefix('#')
            .filter(|digits| digits.len() == 6)
            .ok_or(InvalidColor)?;
        if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(InvalidColor);
        }
        let [_, red, green, blue] = u32::from_str_radix(digits, 16)
            .map_err(|_| InvalidColor)?
            .to_be_bytes();
        Ok(Self([red, green, blue]))
    }
}

impl From<Color> for String {
    fn from(Color([red, green, blue]): Color) -> Self {
        format!("#{red:02x}{green:02x}{blue:02x}")
    }
}

/// A rectangle in pixels of the upright picture, chosen by the uploader. Not yet checked against the picture's size.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Crop {
    /// Left edge, counted from the left.
    pub x: u32,
    /// Upper edge, counted from the top.
    pub y: u32,
    /// Width, at least 1.
    pub width: u32,
    /// Height, at least 1.
    pub height: u32,
}

/// A text that is not `x,y,width,height`.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "Enter a crop as x,y,width,height: four whole numbers of pixels of the upright picture, width and height at least 1."
)]
pub struct InvalidCrop;

impl FromStr for Crop {
    type Err = InvalidCrop;

    fn from_str(text: &str) -> Result<Self, InvalidCrop> {
        let mut numbers = text.split(',').map(|number| number.trim().parse::<u32>());
        let mut next = || numbers.next().and_then(Result::ok).ok_or(InvalidCrop);
        let crop = Self {
            x: next()?,
            y: next()?,
            width: next()?,
            height: next()?,
        };
        if numbers.next().is_some() || crop.width == 0 || crop.height == 0 {
            return Err(InvalidCrop);
        }
        Ok(crop)
    }
}

/// Something that was done to an upload on its way to the renditions; told to the client.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Applied {
    /// Turned or mirrored upright (EXIF orientation, HEIF `irot` or `imir`).
    Rotated,
    /// Parts were cut off, by the chosen crop or to reach the square.
    Cropped,
    /// Bars of the background colour were added to reach the square.
    Padded,
    /// Enlarged: the upload was smaller than the largest rendition.
    Enlarged,
    /// Converted to sRGB from the profile, or the colour model, that the upload had.
    Srgb,
    /// Transparency was replaced by the background colour.
    Flattened,
    /// More than 8 bits a channel were reduced to 8.
    DepthReduced,
    /// Metadata was left behind: EXIF, GPS, XMP, IPTC, comments, profiles, thumbnails, further images, trailers.
    MetadataRemoved,
    /// Decoded by libjpeg-turbo, because our own JPEG decoder declined the file: CMYK, arithmetic coding, unusual sampling,
    /// or data that it doubts.
    FallbackDecoder,
}

/// One encoded size of a picture: a complete JPEG file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Rendition {
    /// Name of the size: the configured length, in pixels, of the square's side.
    pub size_px: u16,
    /// The file.
    pub bytes: Bytes,
}

/// What is known of a stored picture, without its bytes. Never changes.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Picture {
    /// The picture's id, part of its URLs.
    pub id: PictureId,
    /// Width of the largest rendition, in pixels.
    pub width: u16,
    /// Height of the largest rendition, in pixels.
    pub height: u16,
    /// The sizes there are, in pixels, largest first. Never empty.
    pub sizes_px: Vec<u16>,
    /// `ThumbHash` of the picture, at most 25 bytes.
    pub thumbhash: Vec<u8>,
    /// What was done to the upload, in a fixed order, each at most once.
    pub applied: Vec<Applied>,
    /// When it was uploaded.
    pub uploaded_at: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn picture_id_has_one_spelling() {
        let id = PictureId::from_random([0xAB; 16]);

        assert_eq!(id.to_string(), "ab".repeat(16));
        assert_eq!("ab".repeat(16).parse(), Ok(id));
        for text in [
            "",
            "ab",
            &"AB".repeat(16),
            &"+b".repeat(16),
            &"ab".repeat(17),
            &"ä".repeat(16),
        ] {
            assert_eq!(text.parse::<PictureId>(), Err(InvalidPictureId), "{text}");
        }
    }

    #[test]
    fn color_is_hash_and_six_digits() {
        assert_eq!(
            Color::try_from("#0aFf10".to_owned()).map(String::from),
            Ok("#0aff10".to_owned())
        );
        for text in ["", "#fff", "ffffff", "#+12345", "#ffffff0"] {
            assert_eq!(
                Color::try_from(text.to_owned()),
                Err(InvalidColor),
                "{text}"
            );
        }
    }

    #[test]
    fn crop_is_four_whole_numbers() {
        assert_eq!(
            "1, 2,3,4".parse(),
            Ok(Crop {
                x: 1,
                y: 2,
                width: 3,
                height: 4
            })
        );
        for text in [
            "",
            "1,2,3",
            "1,2,3,4,5",
            "1,2,0,4",
            "1,2,3,0",
            "-1,2,3,4",
            "1.5,2,3,4",
            "1,2,3,4294967296",
        ] {
            assert_eq!(text.parse::<Crop>(), Err(InvalidCrop), "{text}");
        }
    }
}
