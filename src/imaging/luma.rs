//! From luma and colour differences to red, green and blue.

use std::num::Wrapping;

use crate::imaging::geometry::Size;

/// Fractional bits of the fixed-point weights.
const FRACTION_BITS: usize = 16;

/// One half with so many fractional bits.
const HALF: Fixed = Wrapping(1 << (FRACTION_BITS - 1));

/// The sample that stands for no colour difference.
const NO_DIFFERENCE: u16 = 128;

/// Weights of red and blue in luma of JPEG. Source: ITU-T T.871 (JFIF), 7.
const JFIF_WEIGHTS: (f32, f32) = (0.299, 0.114);

/// Numbers with or without [`FRACTION_BITS`]. Samples have 8 bits and weights are less than 4: nothing ever wraps, and
/// nothing checks that for each pixel.
type Fixed = Wrapping<i32>;

/// What three planes are, as by `MatrixCoefficients` and `VideoFullRangeFlag` of ITU-T H.273.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Matrix {
    /// Luma and the differences of blue and of red to it.
    Weighted {
        /// Red's weight in luma.
        red: f32,
        /// Blue's weight. Green has the rest.
        blue: f32,
        /// Whether samples use all of 0 to 255, and not 16 to 235 (240 for colour differences).
        full_range: bool,
    },
    /// Luma with half of green and a quarter each of red and blue; the differences of green to the other two, and of red to
    /// blue. Called `YCgCo`.
    GreenAndOrange {
        /// See above.
        full_range: bool,
    },
    /// Not luma at all: green, blue, red.
    Identity {
        /// See above.
        full_range: bool,
    },
}

/// Which of 256 steps stands for nothing, and how many of them make a whole.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Levels {
    /// The step that stands for nothing.
    pub zero: u16,
    /// Steps from nothing to a whole; of differences, from the least to the greatest.
    pub span: u16,
}

impl Levels {
    /// All that there are, from black to white.
    pub(super) const FULL: Self = Self { zero: 0, span: 255 };

    /// From black to white as video has them.
    const LIMITED: Self = Self {
        zero: 16,
        span: 219,
    };

    /// The same in samples with more bits, up to 16. Source: ITU-T H.273, 8.3: a whole of the full range is the greatest
    /// number that there is, all others are so many times finer.
    pub(super) fn with_bits(self, bits: u32) -> Self {
        let finer = |steps: u16| {
            let steps = u32::from(steps).checked_shl(bits.saturating_sub(8));
            steps.unwrap_or(0)
        };
        let short = |steps: u32| u16::try_from(steps).unwrap_or(u16::MAX);
        Self {
            zero: short(finer(self.zero)),
            span: if self.span == Self::FULL.span {
                short(finer(256).saturating_sub(1))
            } else {
                short(finer(self.span))
            },
        }
    }
}

impl Matrix {
    /// What JPEG uses. Source: ITU-T T.871 (JFIF), 7.
    pub(super) const JFIF: Self = Self::Weighted {
        red: JFIF_WEIGHTS.0,
        blue: JFIF_WEIGHTS.1,
        full_range: true,
    };

    /// From `MatrixCoefficients` and `ColourPrimaries` of ITU-T H.273, tables 4 and 2. `None` for what takes more than a
    /// matrix: Y'D'zD'x (11) and `ICtCp` (14) would show in colours that are wrong all over.
    ///
    /// Constant luminance (10, 13) is taken for the kind without it (9, 12), as libheif does: greys are the same and most
    /// colours nearly so. What is unspecified, reserved or newer than libheif, which tells no more of that, is taken as JPEG
    /// and phones have it.
    pub(super) const fn from_code_points(
        matrix: u16,
        primaries: u16,
        full_range: bool,
    ) -> Option<Self> {
        let (red, blue) = match matrix {
            0 => return Some(Self::Identity { full_range }),
            8 => return Some(Self::GreenAndOrange { full_range }),
            11 | 14 => return None,
            1 => (0.2126, 0.0722),
            4 => (0.30, 0.11),
            7 => (0.212, 0.087),
            9 | 10 => (0.2627, 0.0593),
            12 | 13 => weights_by_primaries(primaries),
            _ => JFIF_WEIGHTS,
        };
        Some(Self::Weighted {
            red,
            blue,
            full_range,
        })
    }

    /// The steps of the three planes. Source: ITU-T H.273, 8.3.
    pub(super) const fn levels(self) -> [Levels; 3] {
        let (light, difference) = match self {
            Self::Identity { full_range: true } => return [Levels::FULL; 3],
            Self::Identity { full_range: false } => return [Levels::LIMITED; 3],
            Self::Weighted {
                full_range: true, ..
            }
            | Self::GreenAndOrange { full_range: true } => (Levels::FULL, 255),
            Self::Weighted { .. } => (Levels::LIMITED, 224),
            // Of components that have the limited range themselves.
            Self::GreenAndOrange { .. } => (Levels::LIMITED, 219),
        };
        let difference = Levels {
            zero: NO_DIFFERENCE,
            span: difference,
        };
        [light, difference, difference]
    }

    /// How much of the two differences red, green and blue have beside luma. `None` if the planes are green, blue and red.
    pub(super) fn of_differences(self) -> Option<[(f32, f32); 3]> {
        match self {
            Self::Identity { .. } => None,
            Self::GreenAndOrange { .. } => Some([(-1.0, 1.0), (1.0, 0.0), (-1.0, -1.0)]),
            Self::Weighted { red, blue, .. } => {
                let green = 1.0 - red - blue;
                let (of_red, of_blue) = (2.0 * (1.0 - red), 2.0 * (1.0 - blue));
                Some([
                    (0.0, of_red),
                    (-of_blue * blue / green, -of_red * red / green),
                    (of_blue, 0.0),
                ])
            }
        }
    }
}

/// Weights of red and blue in luma of these primaries, by ITU-T H.273, equations 32 to 37; those of JPEG where there are no
/// primaries.
const fn weights_by_primaries(primaries: u16) -> (f32, f32) {
    match primaries {
        1 => (0.2126, 0.0722),
        4 => (0.299, 0.1146),
        5 => (0.222, 0.0713),
        6 | 7 => (0.2124, 0.0866),
        8 => (0.2536, 0.0681),
        9 => (0.2627, 0.0593),
        11 => (0.2095, 0.0689),
        12 => (0.229, 0.0793),
        22 => (0.2318, 0.096),
        _ => JFIF_WEIGHTS,
    }
}

/// Joins three planes of the same size into RGB.
pub(super) fn to_rgb(matrix: Matrix, planes: [&[u8]; 3]) -> Vec<u8> {
    let [luma, blue, red] = planes;
    let mut rgb = vec![0; luma.len().saturating_mul(3)];
    let pixels = rgb.as_chunks_mut::<3>().0.iter_mut();
    let samples = luma.iter().zip(blue.iter().zip(red));
    let weights = Weights::new(matrix);
    if matrix.of_differences().is_some() {
        for (pixel, (luma, (blue, red))) in pixels.zip(samples) {
            *pixel = weights.rgb(*luma, weights.differences(*blue, *red));
        }
    } else {
        for (pixel, (green, (blue, red))) in pixels.zip(samples) {
            *pixel = [*red, *green, *blue].map(|light| weights.light(light));
        }
    }
    rgb
}

/// Joins luma of this size with colour differences of half the size into RGB.
pub(super) fn coarse_to_rgb(matrix: Matrix, size: Size, planes: [&[u8]; 3]) -> Vec<u8> {
    let index = |value: u32| usize::try_from(value).unwrap_or(usize::MAX);
    let (width, coarse_width) = (index(size.width).max(1), index(size.halved().width).max(1));
    let [luma, blue, red] = planes;
    let mut rgb = vec![0; luma.len().saturating_mul(3)];
    let weights = Weights::new(matrix);
    // Each coarse row belongs to two rows.
    let twice = |row| [row, row];
    let coarse = blue
        .chunks(coarse_width)
        .zip(red.chunks(coarse_width))
        .flat_map(twice);
    let rows = rgb
        .chunks_mut(width.saturating_mul(3))
        .zip(luma.chunks(width));
    for ((to, luma), (blue, red)) in rows.zip(coarse) {
        weights.join_row(to, luma, blue, red);
    }
    rgb
}

/// What a step of luma or of a colour difference does to each channel, with [`FRACTION_BITS`].
struct Weights {
    black: Fixed,
    luma: Fixed,
    /// What a step of either difference does to red, to green and to blue.
    of_differences: [(Fixed, Fixed); 3],
}

impl Weights {
    fn new(matrix: Matrix) -> Self {
        let [luma, difference, _] = matrix.levels();
        let step = |Levels { span, .. }| 255.0 / f32::from(span);
        let fixed_parts = |(one, other): (f32, f32)| {
            (
                fixed(one * step(difference)),
                fixed(other * step(difference)),
            )
        };
        let parts = matrix.of_differences().unwrap_or_default();
        Self {
            black: Wrapping(i32::from(luma.zero)),
            luma: fixed(step(luma)),
            of_differences: parts.map(fixed_parts),
        }
    }

    /// Joins a row of luma with colour differences for two pixels each.
    fn join_row(&self, to: &mut [u8], luma: &[u8], blue: &[u8], red: &[u8]) {
        let (to, last_to) = to.as_chunks_mut::<6>();
        let (luma, last_luma) = luma.as_chunks::<2>();
        let mut coarse = blue.iter().zip(red);
        for ((to, [left, right]), (blue, red)) in to.iter_mut().zip(luma).zip(coarse.by_ref()) {
            let differences = self.differences(*blue, *red);
            let [red_left, green_left, blue_left] = self.rgb(*left, differences);
            let [red_right, green_right, blue_right] = self.rgb(*right, differences);
            *to = [
                red_left,
                green_left,
                blue_left,
                red_right,
                green_right,
                blue_right,
            ];
        }
        // Rows of odd length end in half a pair.
        let last = last_to.as_chunks_mut().0.iter_mut().zip(last_luma);
        for ((to, luma), (blue, red)) in last.zip(blue.last().into_iter().zip(red.last())) {
            *to = self.rgb(*luma, self.differences(*blue, *red));
        }
    }

    /// What colour differences add to red, green and blue.
    #[inline]
    fn differences(&self, blue: u8, red: u8) -> [Fixed; 3] {
        let [blue, red] = [blue, red]
            .map(|sample| Wrapping(i32::from(sample)) - Wrapping(i32::from(NO_DIFFERENCE)));
        self.of_differences
            .map(|(of_blue, of_red)| of_blue * blue + of_red * red)
    }

    #[inline]
    fn rgb(&self, luma: u8, differences: [Fixed; 3]) -> [u8; 3] {
        let luma = self.scaled(luma);
        differences.map(|difference| sample(luma + difference))
    }

    /// A sample of luma's range in all of 0 to 255.
    #[inline]
    fn light(&self, light: u8) -> u8 {
        sample(self.scaled(light))
    }

    #[inline]
    fn scaled(&self, luma: u8) -> Fixed {
        (Wrapping(i32::from(luma)) - self.black) * self.luma + HALF
    }
}

#[expect(
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    reason = "there is no other conversion from a float; weights are below 4"
)]
fn fixed(weight: f32) -> Fixed {
    Wrapping((weight * 65_536.0).round() as i32)
}

#[inline]
#[expect(
    clippy::as_conversions,
    clippy::cast_sign_loss,
    reason = "clamped to 8 bits just before"
)]
fn sample(fixed: Fixed) -> u8 {
    (fixed >> FRACTION_BITS).0.clamp(0, 255) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(matrix: Matrix, pixel: [u8; 3]) -> Vec<u8> {
        let [luma, blue, red] = &pixel;
        to_rgb(matrix, [&[*luma], &[*blue], &[*red]])
    }

    #[test]
    fn jfif_primaries_are_red_green_and_blue() {
        assert_eq!(one(Matrix::JFIF, [76, 85, 255]), [254, 0, 0]);
        assert_eq!(one(Matrix::JFIF, [150, 44, 21]), [0, 255, 1]);
        assert_eq!(one(Matrix::JFIF, [29, 255, 107]), [0, 0, 254]);
    }

    #[test]
    fn coarse_differences_belong_to_two_by_two_pixels() {
        let size = Size {
            width: 3,
            height: 2,
        };
        let planes: [&[u8]; 3] = [&[76, 76, 29, 76, 76, 29], &[85, 255], &[255, 107]];

        let rgb = coarse_to_rgb(Matrix::JFIF, size, planes);

        let row = [254, 0, 0, 254, 0, 0, 0, 0, 254];
        assert_eq!(rgb, row.repeat(2));
    }

    #[test]
    fn limited_range_black_and_white_are_the_ends() {
        let video = Matrix::from_code_points(1, 1, false).unwrap();

        assert_eq!(one(video, [16, 128, 128]), [0, 0, 0]);
        assert_eq!(one(video, [235, 128, 128]), [255, 255, 255]);
        assert_eq!(one(video, [0, 128, 128]), [0, 0, 0]);
    }

    #[test]
    fn identity_is_green_blue_red() {
        let [full, limited] =
            [true, false].map(|full_range| Matrix::from_code_points(0, 1, full_range).unwrap());

        assert_eq!(one(full, [1, 2, 3]), [3, 1, 2]);
        assert_eq!(one(limited, [235, 16, 125]), [127, 255, 0]);
    }

    #[test]
    fn green_and_orange_are_differences_of_two_to_one() {
        // By hand, from the equations of ITU-T H.273 for MatrixCoefficients 8.
        let colors = [[200_u8, 100, 50], [0, 255, 0], [0, 0, 255], [255, 255, 255]];
        for full_range in [true, false] {
            let matrix = Matrix::from_code_points(8, 1, full_range).unwrap();
            for color in colors {
                let [red, green, blue] = color.map(|light| {
                    let light = f32::from(light) / 255.0;
                    if full_range {
                        light * 255.0
                    } else {
                        light * 219.0 + 16.0
                    }
                });
                let luma = 0.5 * green + 0.25 * (red + blue);
                let green = 0.5 * green - 0.25 * (red + blue) + 128.0;
                let orange = 0.5 * (red - blue) + 128.0;

                let shown = one(matrix, [luma, green, orange].map(rounded));

                let near = shown.iter().zip(color).all(|(a, b)| a.abs_diff(b) <= 2);
                assert!(near, "{shown:?}, not {color:?}, {full_range}");
            }
        }
    }

    #[expect(
        clippy::as_conversions,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "there is no other conversion from a float"
    )]
    fn rounded(value: f32) -> u8 {
        value.round() as u8
    }

    #[test]
    fn what_is_no_matrix_is_none() {
        for code_point in [11, 14] {
            assert_eq!(Matrix::from_code_points(code_point, 9, true), None);
        }
        for code_point in [2, 3, 5, 6, 15, 16, 17, 200] {
            let matrix = Matrix::from_code_points(code_point, 9, true);
            assert_eq!(matrix, Some(Matrix::JFIF));
        }
        let derived = Matrix::from_code_points(12, 9, false);
        assert_eq!(derived, Matrix::from_code_points(9, 1, false));
        let nothing_to_derive_from = Matrix::from_code_points(12, 2, true);
        assert_eq!(nothing_to_derive_from, Some(Matrix::JFIF));
    }

    #[test]
    fn levels_of_more_bits_end_at_the_greatest_number() {
        let matrix = |full_range| Matrix::from_code_points(1, 1, full_range).unwrap();
        let levels = |matrix: Matrix, bits| {
            let levels = matrix.levels().map(|levels| levels.with_bits(bits));
            levels.map(|Levels { zero, span }| (zero, span))
        };

        let full = [(0, 1_023), (512, 1_023), (512, 1_023)];
        assert_eq!(levels(matrix(true), 10), full);
        let limited = [(64, 876), (512, 896), (512, 896)];
        assert_eq!(levels(matrix(false), 10), limited);
        assert_eq!(levels(matrix(true), 16)[1], (32_768, 65_535));
        assert_eq!(levels(matrix(false), 8)[0], (16, 219));
    }
}
