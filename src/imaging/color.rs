//! Converts small pictures to sRGB.
//!
//! Transforms are expensive to make and few in kind (every iPhone writes the same profile), so the last ones are kept.
//! Whatever cannot be understood is taken as sRGB, which is what a viewer would do.
//!
//! Black stays black: the darkest colour of a profile is the black of sRGB, and everything between it and white is moved
//! along. Otherwise photos made for print, whose black is that of ink on paper, would look as if behind fog.

use std::fmt;
use std::sync::Arc;

use moxcms::ColorProfile;
use moxcms::DataColorSpace;
use moxcms::Layout;
use moxcms::Transform8BitExecutor;
use moxcms::TransformOptions;

use crate::imaging::profile::Profile;
use crate::imaging::profile::Transfer;
use crate::imaging::raster::Model;
use crate::imaging::tone;

/// Largest ICC profile that is kept with its transform, in bytes.
const CACHED_BYTES_MAX: usize = 1_024 * 1_024;

/// Transforms kept: more kinds than uploads of one hour have.
const CACHED_MAX: usize = 8;

/// Largest difference to sRGB, in 255ths, that is not worth a conversion: what rounding in a profile's tables makes.
const SRGB_DIFFERENCE_MAX: u8 = 2;

/// Brightest light, of 1, that is taken for a profile's black. Source: `lcms2`, `cmssamp.c`, a lightness of 50.
const BLACK_MAX: f32 = 0.184;

/// A transform to sRGB.
#[derive(Clone)]
struct Transform {
    executor: Arc<Transform8BitExecutor>,
    /// What becomes of each level of sRGB where the profile's black is brighter than that of sRGB.
    deeper: Option<Box<[u8; 256]>>,
}

impl Transform {
    fn new(
        executor: Arc<Transform8BitExecutor>,
        space: DataColorSpace,
        from: Layout,
        to: Layout,
    ) -> Self {
        let deeper = black(executor.as_ref(), space, from, to).and_then(deeper);
        Self { executor, deeper }
    }

    /// RGB with alpha if `to` has it.
    fn run(&self, samples: &[u8], from: Layout, to: Layout) -> Option<Vec<u8>> {
        let pixels = samples.len().checked_div(from.channels())?;
        let mut converted = vec![0; pixels.checked_mul(to.channels())?];
        self.executor.transform(samples, &mut converted).ok()?;
        if let Some(deeper) = &self.deeper {
            for pixel in converted.chunks_exact_mut(to.channels()) {
                for level in pixel.iter_mut().take(3) {
                    *level = deeper.get(usize::from(*level)).copied().unwrap_or(*level);
                }
            }
        }
        Some(converted)
    }
}

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
        self.transform(profile, space, from, to)?
            .run(samples, from, to)
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
        let same = space == DataColorSpace::Rgb && is_identity(transform.as_ref(), from);
        (!same).then(|| Transform::new(transform, space, from, to))
    }
}

/// The light, of 1, of the darkest colour that a profile has: no light, or all inks. Source: as above.
fn black(
    executor: &Transform8BitExecutor,
    space: DataColorSpace,
    from: Layout,
    to: Layout,
) -> Option<f32> {
    let level = if space == DataColorSpace::Cmyk {
        u8::MAX
    } else {
        0
    };
    let (darkest, mut shown) = ([level; 4], [0; 4]);
    let (darkest, shown) = (
        darkest.get(..from.channels())?,
        shown.get_mut(..to.channels())?,
    );
    executor.transform(darkest, shown).ok()?;
    let [red, green, blue, ..] = shown else {
        return None;
    };
    let [red, green, blue] = [*red, *green, *blue].map(light);
    Some(0.2126 * red + 0.7152 * green + 0.0722 * blue)
}

/// The levels of sRGB moved so that this much light becomes none, and white stays. `None` if it is none already.
fn deeper(black: f32) -> Option<Box<[u8; 256]>> {
    let levels = std::array::from_fn(|level| {
        let level = u8::try_from(level).unwrap_or(u8::MAX);
        tone::eight_bits(tone::encoded(
            ((light(level) - black) / (1.0 - black)).max(0.0),
        ))
    });
    (black > 0.0 && black <= BLACK_MAX).then(|| Box::new(levels))
}

/// The light of a level of sRGB.
fn light(level: u8) -> f32 {
    Transfer::Srgb.light(f32::from(level) / f32::from(u8::MAX))
}

/// Whether a transform leaves a lattice of colours as they are.
fn is_identity(transform: &Transform8BitExecutor, layout: Layout) -> bool {
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
    use moxcms::ToneReprCurve;

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

    #[test]
    fn gray_with_an_rgb_profile_stays_grey() {
        let mut colors = Converter::new();

        let (pixels, _) = colors.convert(Model::GrayAlpha, vec![120, 9], &display_p3());

        assert_eq!(pixels, [120, 120, 120, 9]);
    }

    #[test]
    fn darkest_colour_of_a_profile_is_black_and_white_stays_white() {
        let mut colors = Converter::new();
        let mut profile = ColorProfile::new_display_p3();
        profile.cicp = None;
        // Light of a hundredth at least, as of ink on paper.
        let lifted = |nth: u16| 655 + u16::try_from(u32::from(nth) * 64_880 / 255).unwrap();
        let curve = Some(ToneReprCurve::Lut((0..256).map(lifted).collect()));
        (profile.red_trc, profile.green_trc) = (curve.clone(), curve.clone());
        profile.blue_trc = curve;
        let profile = Profile::Icc(profile.encode().unwrap());

        let grays = vec![0, 0, 0, 128, 128, 128, 255, 255, 255];
        let (pixels, _) = colors.convert(Model::Rgb, grays, &profile);

        for (ours, expected) in pixels
            .iter()
            .zip([0_u8, 0, 0, 188, 188, 188, 255, 255, 255])
        {
            assert!(ours.abs_diff(expected) <= 1, "{pixels:?}");
        }
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
