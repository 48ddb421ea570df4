//! Converts small pictures to sRGB.
//!
//! Transforms are expensive to make and few in kind (every iPhone writes the same profile), so the last ones are kept.
//! Whatever cannot be understood is taken as sRGB, which is what a viewer would do.

use std::fmt;
use std::sync::Arc;

use moxcms::ColorProfile;
use moxcms::DataColorSpace;
use moxcms::Layout;
use moxcms::Transform8BitExecutor;
use moxcms::TransformOptions;

use crate::imaging::profile::Profile;
use crate::imaging::raster::Model;

/// Largest ICC profile that is kept with its transform, in bytes.
const CACHED_BYTES_MAX: usize = 1_024 * 1_024;

/// Transforms kept: more kinds than uploads of one hour have.
const CACHED_MAX: usize = 8;

/// Largest difference to sRGB, in 255ths, that is not worth a conversion: what rounding in a profile's tables makes.
const SRGB_DIFFERENCE_MAX: u8 = 2;

type Transform = Arc<Transform8BitExecutor>;

/// A transform to sRGB, or the knowledge that there is none or none is needed.
struct Cached {
    profile: Profile,
    from: Layout,
    transform: Option<Transform>,
}

/// Converts to sRGB and keeps its transforms.
pub(super) struct Converter {
    srgb: ColorProfile,
    /// Most recently used first.
    cached: Vec<Cached>,
}

impl fmt::Debug for Converter {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Converter")
            .field("cached", &self.cached.len())
            .finish_non_exhaustive()
    }
}

impl Converter {
    /// A converter that knows no profile yet.
    pub(super) fn new() -> Self {
        Self {
            srgb: ColorProfile::new_srgb(),
            cached: Vec::new(),
        }
    }

    /// Converts pixels to sRGB: RGB with straight alpha if the model has alpha, RGB otherwise. Also tells whether the
    /// colours were converted and not only written differently (grey as three equal numbers).
    pub(super) fn convert(
        &mut self,
        model: Model,
        samples: Vec<u8>,
        profile: &Profile,
    ) -> (Vec<u8>, bool) {
        if let Some(converted) = self.try_convert(model, &samples, profile) {
            return (converted, true);
        }
        match model {
            Model::Rgb | Model::Rgba => (samples, false),
            Model::Cmyk => (cmyk_to_rgb(&samples), true),
            Model::Gray => {
                let rgb = samples.iter().flat_map(|gray| [*gray; 3]).collect();
                self.convert_again(Model::Rgb, rgb, profile)
            }
            Model::GrayAlpha => {
                let pixels = samples.as_chunks().0.iter();
                let rgba = pixels.flat_map(|[gray, alpha]| [*gray, *gray, *gray, *alpha]);
                self.convert_again(Model::Rgba, rgba.collect(), profile)
            }
        }
    }

    /// Grey pictures often carry an RGB profile.
    fn convert_again(
        &mut self,
        model: Model,
        samples: Vec<u8>,
        profile: &Profile,
    ) -> (Vec<u8>, bool) {
        match self.try_convert(model, &samples, profile) {
            Some(converted) => (converted, true),
            None => (samples, false),
        }
    }

    fn try_convert(&mut self, model: Model, samples: &[u8], profile: &Profile) -> Option<Vec<u8>> {
        if *profile == Profile::Srgb {
            return None;
        }
        let (space, from, to) = match model {
            Model::Gray => (DataColorSpace::Gray, Layout::Gray, Layout::Rgb),
            Model::GrayAlpha => (DataColorSpace::Gray, Layout::GrayAlpha, Layout::Rgba),
            Model::Rgb => (DataColorSpace::Rgb, Layout::Rgb, Layout::Rgb),
            Model::Rgba => (DataColorSpace::Rgb, Layout::Rgba, Layout::Rgba),
            Model::Cmyk => (DataColorSpace::Cmyk, Layout::Rgba, Layout::Rgb),
        };
        let transform = self.transform(profile, space, from, to)?;
        let pixels = samples.len().checked_div(from.channels())?;
        let mut converted = vec![0; pixels.checked_mul(to.channels())?];
        transform.transform(samples, &mut converted).ok()?;
        Some(converted)
    }

    fn transform(
        &mut self,
        profile: &Profile,
        space: DataColorSpace,
        from: Layout,
        to: Layout,
    ) -> Option<Transform> {
        let known = |cached: &Cached| cached.from == from && cached.profile == *profile;
        if let Some(position) = self.cached.iter().position(known) {
            let found = self.cached.remove(position);
            let transform = found.transform.clone();
            self.cached.insert(0, found);
            return transform;
        }
        let transform = self.made(profile, space, from, to);
        if !matches!(profile, Profile::Icc(bytes) if bytes.len() > CACHED_BYTES_MAX) {
            self.cached.truncate(CACHED_MAX.saturating_sub(1));
            let cached = Cached {
                profile: profile.clone(),
                from,
                transform: transform.clone(),
            };
            self.cached.insert(0, cached);
        }
        transform
    }

    fn made(
        &self,
        profile: &Profile,
        space: DataColorSpace,
        from: Layout,
        to: Layout,
    ) -> Option<Transform> {
        let profile = profile
            .parsed()
            .filter(|parsed| parsed.color_space == space)?;
        let transform = profile
            .create_transform_8bit(from, &self.srgb, to, TransformOptions::default())
            .ok()?;
        let same = space == DataColorSpace::Rgb && is_identity(&transform, from);
        (!same).then_some(transform)
    }
}

/// Whether a transform leaves a lattice of colours as they are.
fn is_identity(transform: &Transform, layout: Layout) -> bool {
    let levels = [0_u8, 32, 64, 96, 128, 160, 192, 224, 255];
    let mut colors = Vec::new();
    for red in levels {
        for green in levels {
            for blue in levels {
                let channels = [red, green, blue, 255];
                colors.extend(channels.iter().take(layout.channels()));
            }
        }
    }
    let mut converted = vec![0; colors.len()];
    transform.transform(&colors, &mut converted).is_ok()
        && colors
            .iter()
            .zip(&converted)
            .all(|(before, after)| before.abs_diff(*after) <= SRGB_DIFFERENCE_MAX)
}

/// What viewers show for CMYK without a profile: ink takes away light, and black takes away all alike.
fn cmyk_to_rgb(samples: &[u8]) -> Vec<u8> {
    let pixels = samples.as_chunks().0.iter();
    let rgb = pixels.flat_map(|[cyan, magenta, yellow, black]| {
        let light = |ink: u8| {
            let product = u32::from(u8::MAX ^ ink).saturating_mul(u32::from(u8::MAX ^ black));
            let rounded = product.saturating_add(127) / 255;
            u8::try_from(rounded).unwrap_or(u8::MAX)
        };
        [light(*cyan), light(*magenta), light(*yellow)]
    });
    rgb.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn display_p3() -> Profile {
        Profile::Icc(ColorProfile::new_display_p3().encode().unwrap())
    }

    #[test]
    fn srgb_profile_converts_nothing() {
        let srgb = Profile::Icc(ColorProfile::new_srgb().encode().unwrap());
        let mut colors = Converter::new();

        let (pixels, converted) = colors.convert(Model::Rgb, vec![255, 0, 10], &srgb);

        assert_eq!((pixels, converted), (vec![255, 0, 10], false));
    }

    #[test]
    fn display_p3_colour_becomes_more_saturated_and_grey_stays() {
        let mut colors = Converter::new();

        let (pixels, converted) = colors.convert(
            Model::Rgba,
            vec![200, 100, 50, 7, 90, 90, 90, 255],
            &display_p3(),
        );

        // By lcms2: (215, 93, 31).
        assert!(converted);
        for (ours, theirs) in pixels.iter().zip([215_u8, 93, 31, 7, 90, 90, 90, 255]) {
            assert!(ours.abs_diff(theirs) <= 1, "{pixels:?}");
        }
    }

    #[test]
    fn damaged_profile_is_taken_as_srgb() {
        let mut colors = Converter::new();
        let mut bytes = ColorProfile::new_display_p3().encode().unwrap();
        bytes.truncate(200);

        let (pixels, converted) = colors.convert(Model::Gray, vec![7], &Profile::Icc(bytes));

        assert_eq!((pixels, converted), (vec![7, 7, 7], false));
    }

    #[test]
    fn gray_with_an_rgb_profile_stays_grey() {
        let mut colors = Converter::new();

        let (pixels, _) = colors.convert(Model::GrayAlpha, vec![120, 9], &display_p3());

        assert_eq!(pixels, [120, 120, 120, 9]);
    }

    #[test]
    fn cmyk_without_profile_is_light_less_ink() {
        let mut colors = Converter::new();

        let inks = vec![0, 0, 0, 0, 255, 0, 0, 0, 0, 0, 0, 255, 0, 128, 0, 128];
        let (pixels, _) = colors.convert(Model::Cmyk, inks, &Profile::Srgb);

        assert_eq!(pixels, [255, 255, 255, 0, 255, 255, 0, 0, 0, 127, 63, 127]);
    }

    #[test]
    fn converter_keeps_few_transforms_and_finds_them_again() {
        let mut colors = Converter::new();
        for gamma in 0..20 {
            let profile = Profile::Measured {
                gamma: Some(40_000 + gamma),
                chromaticities: [(31_270, 32_900); 4],
            };
            colors.convert(Model::Rgb, vec![1, 2, 3], &profile);
        }

        assert_eq!(colors.cached.len(), CACHED_MAX);
    }
}
    #[test]
    fn gray_by_lightness_is_converted() {
        let mut colors = Converter::new();
        let mut profile = ColorProfile::new_gray_with_gamma(1.0);
        profile.pcs = DataColorSpace::Lab;
        let profile = Profile::Icc(profile.encode().unwrap());

        let (pixels, converted) = colors.convert(Model::Gray, vec![0, 128, 255], &profile);

        // A lightness of 50.2.
        assert_eq!(
            (pixels, converted),
            ([[0; 3], [119; 3], [255; 3]].concat(), true)
        );
    }

