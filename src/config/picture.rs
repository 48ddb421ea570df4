//! The section `[picture]`.

use serde::{Deserialize, Serialize};

use crate::config::validate::{Problem, push};
use crate::domain::picture::Color;
use crate::domain::picture::Fit;

/// Sides that a rendition may have, in pixels.
const SIZE_PX_RANGE: std::ops::RangeInclusive<u16> = 16..=2_048;
/// Most renditions a picture.
const SIZES_MAX: usize = 8;

/// Who decodes the HEVC data of HEIC photos.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum HevcDecoder {
    /// libavcodec where it is built in, and libde265 for what that one does not decode; else libde265.
    #[default]
    Auto,
    /// libde265.
    Libde265,
    /// libavcodec, of which not every build has one.
    Libavcodec,
}

/// `[picture]`: what is accepted and what is made of it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Picture {
    /// Sides of the renditions, in pixels, largest first. The first is the picture, the last the thumbnail.
    pub sizes_px: Vec<u16>,
    /// What happens to a picture that is not square: `cover` cuts off what lies outside the largest square around the
    /// centre, `pad` keeps all of it between bars of the background, `inside` keeps all of it and adds nothing.
    pub fit: Fit,
    /// Colour under transparent pixels and of the bars of `pad`.
    pub background: Color,
    /// JPEG quality, 1 to 100.
    pub quality: u8,
    /// Whether the renditions are progressive JPEGs.
    pub progressive: bool,
    /// Whether uploads are kept beside what is made of them, with all that is in them. They are never served; `migrate
    /// rerender` makes new renditions of them.
    pub keep_original: bool,
    /// Most pixels that an upload may have, judged by its header before anything is decoded. Every sample counts in the rare
    /// JPEGs that come in several scans and that libjpeg-turbo decodes, which holds all of them: CMYK, odd samplings.
    pub pixels_max: u64,
    /// Longest side that an upload may have, in pixels, judged like its pixels.
    pub side_px_max: u32,
    /// Who decodes HEIC photos: `libde265`; `libavcodec`, a third faster, in builds that have it; `auto`: libavcodec where
    /// there is one, and libde265 for what it does not decode.
    pub hevc_decoder: HevcDecoder,
}

impl Default for Picture {
    fn default() -> Self {
        Self {
            sizes_px: vec![512, 128],
            fit: Fit::Cover,
            background: Color::WHITE,
            quality: 85,
            progressive: false,
            keep_original: false,
            // 8192². Cameras of "64 megapixels" write 9248 × 6936 or 9280 × 6944.
            pixels_max: 67_108_864,
            side_px_max: 65_535,
            hevc_decoder: HevcDecoder::Auto,
        }
    }
}

impl Picture {
    /// The same without the sizes above a limit.
    #[must_use]
    pub fn up_to(&self, size_px_max: u16) -> Self {
        let mut picture = self.clone();
        picture.sizes_px.retain(|size_px| *size_px <= size_px_max);
        picture
    }

    /// What of it cannot work.
    pub(super) fn problems(&self, found: &mut Vec<Problem>) {
        let sizes = &self.sizes_px;
        if sizes.is_empty() || sizes.len() > SIZES_MAX {
            push(
                found,
                "picture.sizes_px",
                format!("has {} sizes, must have 1 to {SIZES_MAX}", sizes.len()),
            );
        }
        if let Some(size) = sizes.iter().find(|size| !SIZE_PX_RANGE.contains(size)) {
            push(
                found,
                "picture.sizes_px",
                format!(
                    "has {size}, must be {} to {}",
                    SIZE_PX_RANGE.start(),
                    SIZE_PX_RANGE.end()
                ),
            );
        }
        if !sizes.is_sorted_by(|one, next| one > next) {
            push(
                found,
                "picture.sizes_px",
                "is not in falling order, must be, each size once".to_owned(),
            );
        }
        if !(1..=100).contains(&self.quality) {
            push(
                found,
                "picture.quality",
                format!("is {}, must be 1 to 100", self.quality),
            );
        }
        if self.pixels_max == 0 || self.pixels_max > 1_000_000_000 {
            push(
                found,
                "picture.pixels_max",
                format!("is {}, must be 1 to 1000000000", self.pixels_max),
            );
        }
        if self.side_px_max == 0 {
            push(
                found,
                "picture.side_px_max",
                "is 0, must be at least 1".to_owned(),
            );
        }
        if self.hevc_decoder == HevcDecoder::Libavcodec && cfg!(not(feature = "libavcodec")) {
            push(
                found,
                "picture.hevc_decoder",
                "is libavcodec, which this build does not have: build with --features libavcodec, or use auto"
                    .to_owned(),
            );
        }
    }
}
