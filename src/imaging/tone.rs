//! Brings samples that eight bits cannot hold well to those of sRGB, which they can, as they come out of a file.
//!
//! Eight bits are enough for samples whose steps look about alike, as with sRGB and all usual gammas. Samples in proportion
//! to light, or made for displays ten times brighter, have their shadows in a few steps: averaged and resized with eight
//! bits, these show as bands. Done for each channel by itself; the primaries are left to the conversion of the small
//! picture.
//!
//! Samples of a narrow range, as video has it, are brought to the full one in the same step.

use std::rc::Rc;

use crate::imaging::profile::Light;
use crate::imaging::profile::Profile;
use crate::imaging::raster::Model;

/// Steps of sRGB, in 255ths, that one step of eight bits may make before it is seen as one.
const STEP_MAX: f32 = 2.0;

/// What becomes of the samples of one channel, by 8 or 16 bits of them.
type Shades = Rc<[u8]>;

/// Which samples are black and white.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Range {
    /// The lowest and the highest there are.
    Full,
    /// 16 and 235, of 8 bits; what lies beyond is taken for them.
    Narrow,
}

impl Range {
    /// A sample of this range in the full one, both from 0 to 1. Source: ITU-T H.273, `VideoFullRangeFlag`.
    fn expanded(self, sample: f32, is_deep: bool) -> f32 {
        // Sixteen bits have 256 steps for each one of eight, and end at 255.996 of those.
        let highest = if is_deep { 65_535.0 / 256.0 } else { 255.0 };
        match self {
            Self::Full => sample,
            Self::Narrow => ((sample * highest - 16.0) / 219.0).clamp(0.0, 1.0),
        }
    }
}

/// Makes 8-bit samples of 8 or 16 bits a channel.
#[derive(Debug)]
pub(super) struct Tone {
    is_deep: bool,
    channels: usize,
    has_alpha: bool,
    /// One for all channels, or one each. None: the samples as they are, rounded.
    shades: Vec<Shades>,
}

impl Tone {
    /// What to do with samples of this range and profile, and the profile that they have afterwards.
    pub(super) fn new(
        model: Model,
        is_deep: bool,
        range: Range,
        profile: Profile,
    ) -> (Self, Profile) {
        let has_alpha = model.has_alpha();
        let colors = model.channels().saturating_sub(u8::from(has_alpha));
        let parted = profile
            .parted(colors)
            .filter(|(lights, _)| lights.iter().any(is_coarse));
        let shade_of = |tone: &dyn Fn(f32) -> f32| {
            let shade = |sample| eight_bits(tone(range.expanded(sample, is_deep)));
            shades(shade, is_deep)
        };
        let (shades, profile) = match parted {
            Some((lights, profile)) => {
                let shades = lights
                    .iter()
                    .map(|light| shade_of(&|sample| encoded(light(sample))));
                (shades.collect(), profile)
            }
            None if range == Range::Narrow => (vec![shade_of(&|sample| sample)], profile),
            None => (Vec::new(), profile),
        };
        let tone = Self {
            is_deep,
            channels: usize::from(model.channels()),
            has_alpha,
            shades,
        };
        (tone, profile)
    }

    /// Whether samples change, and are not only rounded.
    pub(super) fn converts(&self) -> bool {
        !self.shades.is_empty()
    }

    /// The samples of a row with 8 bits each; `buffer` holds them unless they are that already.
    pub(super) fn row<'a>(&self, row: &'a [u8], buffer: &'a mut Vec<u8>) -> &'a [u8] {
        if !self.is_deep && !self.converts() {
            return row;
        }
        buffer.clear();
        if self.is_deep {
            let samples = row.as_chunks().0.iter().copied().map(u16::from_be_bytes);
            self.extend(buffer, samples, rounded);
        } else {
            self.extend(buffer, row.iter().copied(), |sample| sample);
        }
        buffer
    }

    fn extend<T: Copy + Into<usize>>(
        &self,
        to: &mut Vec<u8>,
        samples: impl Iterator<Item = T>,
        plain: impl Fn(T) -> u8,
    ) {
        let Some(last) = self.shades.last() else {
            to.extend(samples.map(plain));
            return;
        };
        let colors = self.channels.saturating_sub(usize::from(self.has_alpha));
        let channels = (0..self.channels).cycle();
        to.extend(samples.zip(channels).map(|(sample, channel)| {
            let shades = self.shades.get(channel).unwrap_or(last);
            let shade = shades.get(sample.into()).copied();
            shade
                .filter(|_| channel < colors)
                .unwrap_or_else(|| plain(sample))
        }));
    }
}

/// Whether eight bits would show.
fn is_coarse(light: &Light) -> bool {
    let shade = |step: u8| 255.0 * encoded(light(f32::from(step) / 255.0));
    (1..=u8::MAX).any(|step| shade(step) - shade(step.saturating_sub(1)) > STEP_MAX)
}

fn shades(shade: impl Fn(f32) -> u8, is_deep: bool) -> Shades {
    if is_deep {
        let samples = (0..=u16::MAX).map(|sample| f32::from(sample) / f32::from(u16::MAX));
        samples.map(shade).collect()
    } else {
        let samples = (0..=u8::MAX).map(|sample| f32::from(sample) / f32::from(u8::MAX));
        samples.map(shade).collect()
    }
}

/// The sample of sRGB for light. Source: IEC 61966-2-1.
pub(super) fn encoded(light: f32) -> f32 {
    if light <= 0.003_130_8 {
        light * 12.92
    } else {
        1.055 * light.powf(1.0 / 2.4) - 0.055
    }
}

/// The nearest of 255ths to one of 65,535ths.
fn rounded(sample: u16) -> u8 {
    let rounded = u32::from(sample).saturating_add(128) / 257;
    u8::try_from(rounded).unwrap_or(u8::MAX)
}

/// The nearest of 255ths to a number from 0 to 1.
#[expect(
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "there is no other conversion from a float; `as` saturates, as documented"
)]
pub(super) fn eight_bits(value: f32) -> u8 {
    (value * f32::from(u8::MAX)).round() as u8
}

#[cfg(test)]
mod tests {
    use moxcms::ColorProfile;
    use moxcms::ToneReprCurve;

    use super::*;

    fn linear() -> Profile {
        Profile::Measured {
            gamma: Some(100_000),
            chromaticities: [(31_270, 32_900); 4],
        }
    }

    fn bytes(samples: &[u16]) -> Vec<u8> {
        samples.iter().flat_map(|one| one.to_be_bytes()).collect()
    }

    #[test]
    fn sixteen_bits_are_rounded_to_the_nearest() {
        let (tone, profile) = Tone::new(Model::Gray, true, Range::Full, Profile::Srgb);
        let mut buffer = Vec::new();

        let row = bytes(&[0, 128, 129, 257, 65_406, 65_407, 65_535]);

        assert_eq!(tone.row(&row, &mut buffer), [0, 0, 1, 1, 254, 255, 255]);
        assert_eq!(profile, Profile::Srgb);
    }

    #[test]
    fn narrow_range_becomes_full_and_alpha_stays() {
        let (tone, profile) = Tone::new(Model::GrayAlpha, false, Range::Narrow, Profile::Srgb);
        let (deep, _) = Tone::new(Model::Gray, true, Range::Narrow, Profile::Srgb);
        let mut buffer = Vec::new();

        let row = [0, 16, 16, 235, 126, 128, 235, 0, 255, 7];

        assert_eq!(
            tone.row(&row, &mut buffer),
            [0, 16, 0, 235, 128, 128, 255, 0, 255, 7]
        );
        let row = bytes(&[16 << 8, 126 << 8, 235 << 8]);
        assert_eq!(deep.row(&row, &mut buffer), [0, 128, 255]);
        assert_eq!(profile, Profile::Srgb);
        assert!(tone.converts());
    }

    #[test]
    fn light_keeps_its_shadows_apart_and_alpha_as_it_is() {
        let (tone, left) = Tone::new(Model::GrayAlpha, true, Range::Full, linear());
        let mut buffer = Vec::new();

        // Light of 1/2000, 1/1000 and 1/4; 0.25 is 137 in sRGB.
        let row = bytes(&[33, 65_535, 66, 32_896, 16_384, 0]);

        assert_eq!(tone.row(&row, &mut buffer), [2, 255, 3, 128, 137, 0]);
        assert!(tone.converts());
        assert!(matches!(left, Profile::Measured { gamma: None, .. }));
    }

    #[test]
    fn usual_gamma_is_left_to_the_conversion() {
        let profile = Profile::Icc(ColorProfile::new_adobe_rgb().encode().unwrap());

        let (tone, left) = Tone::new(Model::Rgb, false, Range::Full, profile.clone());

        assert!(!tone.converts());
        assert_eq!(left, profile);
        assert_eq!(tone.row(&[1, 2, 3], &mut Vec::new()), [1, 2, 3]);
    }

    #[test]
    fn profile_of_other_channels_is_left_to_the_conversion() {
        let grey = Profile::Icc(ColorProfile::new_gray_with_gamma(1.0).encode().unwrap());
        let mut unequal = ColorProfile::new_srgb();
        unequal.cicp = None;
        unequal.red_trc = Some(ToneReprCurve::Parametric(vec![1.0]));
        let unequal = Profile::Icc(unequal.encode().unwrap());

        for (model, profile) in [(Model::Rgba, grey), (Model::Gray, unequal)] {
            let (tone, left) = Tone::new(model, false, Range::Full, profile.clone());

            assert!(!tone.converts(), "{model:?}");
            assert_eq!(left, profile);
        }
    }

    #[test]
    fn profile_of_light_keeps_its_primaries() {
        let mut profile = ColorProfile::new_display_p3();
        profile.cicp = None;
        let curve = Some(ToneReprCurve::Parametric(vec![1.0]));
        (profile.red_trc, profile.green_trc) = (curve.clone(), curve.clone());
        profile.blue_trc = curve;

        let linear = Profile::Icc(profile.encode().unwrap());
        let (tone, left) = Tone::new(Model::Rgb, false, Range::Full, linear);

        assert_eq!(tone.row(&[0, 64, 255], &mut Vec::new()), [0, 137, 255]);
        let left = left.parsed().unwrap();
        let p3 = ColorProfile::new_display_p3();
        assert!((left.red_colorant.x - p3.red_colorant.x).abs() < 1e-3);
        let left = Profile::Icc(left.encode().unwrap());
        let (again, _) = Tone::new(Model::Rgb, true, Range::Full, left);
        assert!(!again.converts());
    }
}
