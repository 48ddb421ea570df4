//! What sample values mean as colours: where a file says it, and the same as a colour management profile.

use moxcms::Chromaticity;
use moxcms::CicpColorPrimaries;
use moxcms::CicpProfile;
use moxcms::ColorPrimaries;
use moxcms::ColorProfile;
use moxcms::DataColorSpace;
use moxcms::MatrixCoefficients;
use moxcms::ParsingOptions;
use moxcms::ToneReprCurve;
use moxcms::TransferCharacteristics;

use crate::imaging::bytes::Bytes;

/// Largest ICC profile that is read, in bytes. Press profiles have up to 3 MB.
pub(super) const PROFILE_BYTES_MAX: usize = 4 * 1_024 * 1_024;

/// Entries of a tone curve made here. moxcms interpolates between them.
const CURVE_LENGTH: u16 = 1_024;

/// Where highlights begin to be compressed, relative to diffuse white: below, an HDR picture looks as it would in SDR.
const KNEE: f32 = 0.7;

/// Diffuse white of HDR, in cd/m². Source: ITU-R BT.2408, 2.1 "HDR Reference White".
const DIFFUSE_WHITE: f32 = 203.0;

/// A function from samples to light, both from 0 to 1.
pub(super) type Light = Box<dyn Fn(f32) -> f32>;

/// Where the samples' meaning is written down.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Profile {
    /// Nothing is said, or that it is sRGB.
    Srgb,
    /// An ICC profile.
    Icc(Vec<u8>),
    /// Code points.
    CodePoints {
        /// `ColourPrimaries` of ITU-T H.273, table 2.
        primaries: u8,
        /// What is done to light.
        transfer: Transfer,
    },
    /// Measured values. Source: PNG third edition, 11.3.2.1 and 11.3.2.2.
    Measured {
        /// Exponent that leads from light to samples, times 100,000: 45455 for the usual 1/2.2. `None`: the function of sRGB.
        gamma: Option<u32>,
        /// CIE x and y of white, red, green and blue, times 100,000.
        chromaticities: [(u32, u32); 4],
    },
}

/// The function between light and samples, as far as the difference is visible.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Transfer {
    /// sRGB, and the video functions that every viewer shows like it.
    Srgb,
    /// A power function with an exponent of 2.2.
    Gamma22,
    /// A power function with an exponent of 2.8.
    Gamma28,
    /// None.
    Linear,
    /// SMPTE ST 2084, absolute light up to 10,000 cd/m².
    Pq,
    /// ARIB STD-B67, hybrid log-gamma.
    Hlg,
}

impl Transfer {
    /// From `TransferCharacteristics` of ITU-T H.273, table 3.
    const fn from_code_point(code_point: u16) -> Self {
        match code_point {
            4 => Self::Gamma22,
            5 => Self::Gamma28,
            8 => Self::Linear,
            16 => Self::Pq,
            18 => Self::Hlg,
            _ => Self::Srgb,
        }
    }

    /// Light for a sample between 0 and 1; diffuse white is 1, brighter light is compressed into what is left below it.
    pub(super) fn light(self, sample: f32) -> f32 {
        match self {
            Self::Srgb if sample <= 0.040_45 => sample / 12.92,
            Self::Srgb => ((sample + 0.055) / 1.055).powf(2.4),
            Self::Gamma22 => sample.powf(2.2),
            Self::Gamma28 => sample.powf(2.8),
            Self::Linear => sample,
            Self::Pq => compressed(pq_to_nits(sample) / DIFFUSE_WHITE),
            Self::Hlg => compressed(hlg_to_nits(sample) / DIFFUSE_WHITE),
        }
    }
}

/// Light in cd/m². Source: SMPTE ST 2084, 5.1.
fn pq_to_nits(sample: f32) -> f32 {
    let (m1, m2) = (2_610.0 / 16_384.0, 2_523.0 / 4_096.0 * 128.0);
    let (c1, c2, c3) = (
        3_424.0 / 4_096.0,
        2_413.0 / 4_096.0 * 32.0,
        2_392.0 / 4_096.0 * 32.0,
    );
    let power = sample.powf(1.0 / m2);
    10_000.0 * ((power - c1).max(0.0) / (c2 - c3 * power)).powf(1.0 / m1)
}

/// Light of a display with a peak of 1,000 cd/m². Source: ITU-R BT.2100, table 5, the system gamma of 1.2 applied to each
/// channel.
fn hlg_to_nits(sample: f32) -> f32 {
    let (a, b, c) = (0.178_832_77, 0.284_668_92, 0.559_910_7);
    let scene = if sample <= 0.5 {
        sample * sample / 3.0
    } else {
        (((sample - c) / a).exp() + b) / 12.0
    };
    1_000.0 * scene.powf(1.2)
}

fn compressed(light: f32) -> f32 {
    if light <= KNEE {
        return light;
    }
    let room = 1.0 - KNEE;
    KNEE + room * (1.0 - (-(light - KNEE) / room).exp())
}

impl Profile {
    /// From an ICC profile. One of an HDR picture that names its code points is taken by these: its curves, if it has any, say
    /// nothing of how bright light is to be shown.
    pub(super) fn from_icc(profile: Vec<u8>) -> Self {
        match hdr_code_points(&profile) {
            Some((primaries, transfer)) => Self::from_code_points(primaries, transfer),
            None => Self::Icc(profile),
        }
    }

    /// From `ColourPrimaries` and `TransferCharacteristics` of ITU-T H.273. The primaries of old television (5, 6) are taken as
    /// those of sRGB, which they nearly are: Android's encoders write them beside samples that are sRGB. X, Y and Z (10) are no
    /// primaries that light could be mixed of, but a way to store films: as unspecified.
    pub(super) fn from_code_points(primaries: u16, transfer: u16) -> Self {
        let transfer = Transfer::from_code_point(transfer);
        match u8::try_from(primaries) {
            Ok(10) => Self::of_primaries(2, transfer),
            Ok(primaries) => Self::of_primaries(primaries, transfer),
            Err(_) => Self::Srgb,
        }
    }

    /// From measured values, in the units of [`Profile::Measured`]. Those that no light can have say nothing.
    pub(super) fn measured(gamma: Option<u32>, chromaticities: [(u32, u32); 4]) -> Self {
        if is_possible(chromaticities) {
            Self::Measured {
                gamma,
                chromaticities,
            }
        } else {
            Self::Srgb
        }
    }

    const fn of_primaries(primaries: u8, transfer: Transfer) -> Self {
        match (primaries, transfer) {
            (1 | 2 | 5 | 6, Transfer::Srgb) => Self::Srgb,
            _ => Self::CodePoints {
                primaries,
                transfer,
            },
        }
    }

    /// The profile for colour management. `None` for sRGB and for what cannot be understood.
    pub(super) fn parsed(&self) -> Option<ColorProfile> {
        match self {
            Self::Srgb => None,
            Self::Icc(bytes) => {
                let options = ParsingOptions {
                    max_profile_size: PROFILE_BYTES_MAX,
                    ..ParsingOptions::default()
                };
                let profile = ColorProfile::new_from_slice_with_options(bytes, options).ok()?;
                grey_by_light(profile)
            }
            Self::CodePoints {
                primaries,
                transfer,
            } => {
                let points = CicpProfile {
                    color_primaries: CicpColorPrimaries::try_from(*primaries).ok()?,
                    transfer_characteristics: TransferCharacteristics::Srgb,
                    matrix_coefficients: MatrixCoefficients::Identity,
                    full_range: true,
                };
                let mut profile = ColorProfile::new_srgb();
                profile.update_rgb_colorimetry_from_cicp(points);
                let curve = curve_of(|sample| transfer.light(sample));
                Some(with_curve(profile, curve))
            }
            Self::Measured {
                gamma,
                chromaticities,
            } => {
                let mut profile = ColorProfile::new_srgb();
                let [white, red, green, blue] = chromaticities.map(chromaticity);
                let primaries = ColorPrimaries { red, green, blue };
                profile.update_rgb_colorimetry(white.to_xyyb(), primaries);
                let Some(gamma) = gamma else {
                    return Some(profile);
                };
                let exponent = exponent(*gamma)?;
                let curve = ToneReprCurve::Parametric(vec![exponent]);
                Some(with_curve(profile, curve))
            }
        }
    }

    /// The functions from samples (0 to 1) to light, one or one a channel, and the profile that is left once samples have
    /// been changed to those of sRGB by them. `None` if that is what they are, or if it cannot be done a channel at a time,
    /// of which pictures with these samples have one or three.
    pub(super) fn parted(&self, channels: u8) -> Option<(Vec<Light>, Self)> {
        match self {
            Self::Srgb | Self::Measured { gamma: None, .. } => None,
            Self::Icc(_) => parted_icc(self.parsed()?, channels),
            Self::CodePoints {
                primaries,
                transfer,
            } => {
                let transfer = *transfer;
                let light: Light = Box::new(move |sample| transfer.light(sample));
                let left = Self::of_primaries(*primaries, Transfer::Srgb);
                Some((vec![light], left))
            }
            Self::Measured {
                gamma: Some(gamma),
                chromaticities,
            } => {
                let exponent = exponent(*gamma)?;
                let light: Light = Box::new(move |sample| sample.powf(exponent));
                let left = Self::Measured {
                    gamma: None,
                    chromaticities: *chromaticities,
                };
                Some((vec![light], left))
            }
        }
    }
}

/// Primaries and transfer of the `cicp` tag of an RGB profile, if it is for PQ or HLG.
/// Source: ICC.1:2022, 7.2.8, 7.3, 9.2.17 and 10.3.
fn hdr_code_points(profile: &[u8]) -> Option<(u16, u16)> {
    let mut bytes = Bytes::new(profile);
    let header = bytes.take(128)?;
    if header.get(16..20)? != b"RGB " {
        return None;
    }
    let count = usize::try_from(bytes.u32()?).ok()?;
    let tags = bytes.rest().as_chunks().0.iter().take(count);
    let mut tags = tags.map(|entry: &[u8; 12]| Bytes::new(entry));
    let offset = tags.find_map(|mut entry| {
        let is_cicp = entry.array()? == *b"cicp";
        entry.u32().filter(|_| is_cicp)
    })?;
    let tag = profile.get(usize::try_from(offset).ok()?..)?;
    let [b'c', b'i', b'c', b'p', _, _, _, _, primaries, transfer, ..] = tag else {
        return None;
    };
    let is_hdr = matches!(transfer, 16 | 18) && matches!(primaries, 1 | 2 | 4..=12 | 22);
    is_hdr.then_some(((*primaries).into(), (*transfer).into()))
}

/// The same for an ICC profile that has nothing but a curve for each channel and a matrix.
fn parted_icc(mut profile: ColorProfile, channels: u8) -> Option<(Vec<Light>, Profile)> {
    let has_tables = profile.lut_a_to_b_perceptual.is_some()
        || profile.lut_a_to_b_colorimetric.is_some()
        || profile.lut_a_to_b_saturation.is_some();
    if has_tables || profile.cicp.is_some() {
        return None;
    }
    let srgb = ColorProfile::new_srgb().red_trc;
    let curves = match profile.color_space {
        // Grey says nothing of red, green and blue.
        DataColorSpace::Gray if channels == 1 => {
            vec![std::mem::replace(&mut profile.gray_trc, srgb)?]
        }
        DataColorSpace::Rgb => {
            let red = std::mem::replace(&mut profile.red_trc, srgb.clone())?;
            let green = std::mem::replace(&mut profile.green_trc, srgb.clone())?;
            let blue = std::mem::replace(&mut profile.blue_trc, srgb)?;
            if red == green && green == blue {
                vec![red]
            } else if channels == 3 {
                vec![red, green, blue]
            } else {
                return None;
            }
        }
        _ => return None,
    };
    let lights: Option<Vec<Light>> = curves
        .iter()
        .map(|curve| {
            let curve = curve.make_linear_evaluator().ok()?;
            let light: Light = Box::new(move |sample| curve.evaluate_value(sample));
            Some(light)
        })
        .collect();
    Some((lights?, Profile::Icc(profile.encode().ok()?)))
}

/// A grey profile whose curve leads to lightness, with one that leads to light: moxcms knows no others. All other profiles
/// as they are. Source: ICC.1:2022, F.2; CIE 15, 8.2.1.
fn grey_by_light(mut profile: ColorProfile) -> Option<ColorProfile> {
    if profile.color_space == DataColorSpace::Gray && profile.pcs == DataColorSpace::Lab {
        let curve = profile.gray_trc.take()?.make_linear_evaluator().ok()?;
        let light = |sample: f32| {
            let lightness = 100.0 * curve.evaluate_value(sample);
            if lightness <= 8.0 {
                return lightness * 27.0 / 24_389.0;
            }
            ((lightness + 16.0) / 116.0).powi(3)
        };
        profile.gray_trc = Some(curve_of(light));
        profile.pcs = DataColorSpace::Xyz;
    }
    Some(profile)
}

/// A tone curve by its function.
fn curve_of(light: impl Fn(f32) -> f32) -> ToneReprCurve {
    let curve = (0..CURVE_LENGTH).map(|nth| {
        let sample = f32::from(nth) / f32::from(CURVE_LENGTH.saturating_sub(1));
        sixteen_bits(light(sample))
    });
    ToneReprCurve::Lut(curve.collect())
}

/// Whether white can be mixed of red, green and blue: it is inside their triangle, and all four have an intensity.
fn is_possible(chromaticities: [(u32, u32); 4]) -> bool {
    // The sum may be a little more than one whole, because x and y are rounded.
    let is_color = |(x, y): (u32, u32)| y > 0 && x.saturating_add(y) <= 100_001;
    let [white, red, green, blue] = chromaticities.map(|(x, y)| (i64::from(x), i64::from(y)));
    // Positive left of the way from one point to another, negative right of it.
    let side = |from: (i64, i64), to: (i64, i64)| {
        let (across, down) = (to.0.saturating_sub(from.0), to.1.saturating_sub(from.1));
        let (x, y) = (
            white.0.saturating_sub(from.0),
            white.1.saturating_sub(from.1),
        );
        across
            .saturating_mul(y)
            .saturating_sub(down.saturating_mul(x))
            .signum()
    };
    let sides = [side(red, green), side(green, blue), side(blue, red)];
    chromaticities.into_iter().all(is_color) && matches!(sides, [1, 1, 1] | [-1, -1, -1])
}

/// Exponent from samples to light, from one that leads from light to samples, times 100,000.
fn exponent(gamma: u32) -> Option<f32> {
    let exponent = 1.0 / fraction(gamma);
    exponent.is_finite().then_some(exponent)
}

/// The profile with another tone curve for all three channels.
fn with_curve(mut profile: ColorProfile, curve: ToneReprCurve) -> ColorProfile {
    // Otherwise the transfer function of the code points would win over the curve.
    profile.cicp = None;
    profile.red_trc = Some(curve.clone());
    profile.green_trc = Some(curve.clone());
    profile.blue_trc = Some(curve);
    profile
}

fn chromaticity((x, y): (u32, u32)) -> Chromaticity {
    Chromaticity {
        x: fraction(x),
        y: fraction(y),
    }
}

/// PNG writes fractions as 100,000ths.
#[expect(
    clippy::as_conversions,
    clippy::cast_precision_loss,
    reason = "a float has more digits than the values, which are measurements"
)]
fn fraction(hundred_thousandths: u32) -> f32 {
    hundred_thousandths as f32 / 100_000.0
}

#[expect(
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "there is no other conversion from a float; `as` saturates, as documented"
)]
fn sixteen_bits(value: f32) -> u16 {
    (value * f32::from(u16::MAX)).round() as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_points_of_srgb_and_of_video_are_srgb() {
        for (primaries, transfer) in [(1, 1), (1, 2), (1, 6), (2, 13), (5, 6), (6, 14)] {
            let profile = Profile::from_code_points(primaries, transfer);
            assert_eq!(profile, Profile::Srgb);
        }
        assert_eq!(Profile::from_code_points(10, 13), Profile::Srgb);
        assert_ne!(Profile::from_code_points(12, 13), Profile::Srgb);
        assert_ne!(Profile::from_code_points(1, 16), Profile::Srgb);
    }

    /// An ICC profile with a `cicp` tag and nothing else.
    fn with_cicp(space: [u8; 4], points: [u8; 4]) -> Vec<u8> {
        let mut profile = vec![0; 128];
        profile[16..20].copy_from_slice(&space);
        profile.extend([0, 0, 0, 2]);
        profile.extend(b"desc\0\0\0\0\0\0\0\0");
        profile.extend(b"cicp\0\0\0\x9C\0\0\0\x0C");
        profile.extend(b"cicp\0\0\0\0");
        profile.extend(points);
        profile
    }

    #[test]
    fn icc_profile_with_code_points_of_hdr_is_taken_by_these() {
        for (transfer, expected) in [(16, Transfer::Pq), (18, Transfer::Hlg)] {
            let profile = Profile::from_icc(with_cicp(*b"RGB ", [9, transfer, 0, 1]));

            let points = Profile::CodePoints {
                primaries: 9,
                transfer: expected,
            };
            assert_eq!(profile, points);
        }
    }

    #[test]
    fn icc_profile_without_code_points_of_hdr_stays_one() {
        let whole = with_cicp(*b"RGB ", [9, 16, 0, 1]);
        let mut others = vec![
            with_cicp(*b"RGB ", [1, 13, 0, 1]),
            with_cicp(*b"RGB ", [0, 16, 0, 1]),
            with_cicp(*b"CMYK", [9, 16, 0, 1]),
            ColorProfile::new_display_p3().encode().unwrap(),
        ];
        others.extend((0..166).map(|length| whole[..length].to_vec()));

        for icc in others {
            assert_eq!(Profile::from_icc(icc.clone()), Profile::Icc(icc));
        }
    }

    #[test]
    fn chromaticities_of_no_light_say_nothing() {
        let [white, red, green, blue] = [
            (31_270, 32_900),
            (64_000, 33_000),
            (30_000, 60_000),
            (15_000, 6_000),
        ];
        let is_taken = |chromaticities| {
            matches!(
                Profile::measured(None, chromaticities),
                Profile::Measured { .. }
            )
        };

        assert!(is_taken([white, red, green, blue]));
        assert!(is_taken([white, blue, green, red]));
        // ProPhoto, of which two primaries lie on the edge and no colour that can be seen has the third.
        let wide = [(73_470, 26_530), (15_960, 84_040), (3_660, 10)];
        assert!(is_taken([(34_570, 35_850), wide[0], wide[1], wide[2]]));
        for impossible in [
            [(0, 0); 4],
            [white; 4],
            [(31_270, 0), red, green, blue],
            [white, (64_000, 40_000), green, blue],
            [white, red, red, blue],
            [(64_000, 20_000), red, green, blue],
            [white, (u32::MAX, u32::MAX), green, blue],
        ] {
            assert!(!is_taken(impossible), "{impossible:?}");
        }
    }

    #[test]
    fn profile_that_is_damaged_or_impossible_is_none() {
        assert!(Profile::Icc(b"not a profile".to_vec()).parsed().is_none());
        let flat = Profile::Measured {
            gamma: Some(0),
            chromaticities: [(1, 1); 4],
        };
        assert!(flat.parsed().is_none());
    }

    #[test]
    fn hdr_diffuse_white_is_light_and_its_peak_white() {
        // 58 % of PQ and 75 % of HLG are diffuse white (ITU-R BT.2408, table 1).
        for (transfer, white) in [(Transfer::Pq, 0.58), (Transfer::Hlg, 0.75)] {
            assert!((0.85..1.0).contains(&transfer.light(white)), "{transfer:?}");
            assert!((0.95..=1.0).contains(&transfer.light(1.0)), "{transfer:?}");
            assert!(transfer.light(0.0) < 0.001, "{transfer:?}");
        }
    }
}
