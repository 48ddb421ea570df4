//! From luma and colour differences to red, green and blue.

use std::num::Wrapping;

use crate::imaging::geometry::Size;

/// Fractional bits of the fixed-point weights.
const FRACTION_BITS: usize = 16;

/// One half with so many fractional bits.
const HALF: Fixed = Wrapping(1 << (FRACTION_BITS - 1));

/// The sample that stands for no colour difference.
const NO_DIFFERENCE: Fixed = Wrapping(128);

/// Numbers with or without [`FRACTION_BITS`]. Samples have 8 bits and weights are less than 4: nothing ever wraps, and
/// nothing checks that for each pixel.
type Fixed = Wrapping<i32>;

/// Luma weights and range of a `YCbCr` encoding.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Matrix {
    /// Red's and blue's weights in luma, green has the rest.
    Weighted {
        /// Weight of red.
        red: f32,
        /// Weight of blue.
        blue: f32,
        /// Whether samples use all of 0 to 255, and not 16 to 235 (240 for colour differences).
        full_range: bool,
    },
    /// Not luma at all: green, blue, red. Source: ITU-T H.273, `MatrixCoefficients` 0.
    Identity,
}

impl Matrix {
    /// What JPEG uses. Source: ITU-T T.871 (JFIF), 7.
    pub(super) const JFIF: Self = Self::Weighted {
        red: 0.299,
        blue: 0.114,
        full_range: true,
    };

    /// From `MatrixCoefficients` of ITU-T H.273, table 4. Unknown ones are taken as those of JPEG and iPhones (6).
    pub(super) const fn from_code_point(code_point: u16, full_range: bool) -> Self {
        let (red, blue) = match code_point {
            0 => return Self::Identity,
            1 => (0.2126, 0.0722),
            4 => (0.30, 0.11),
            7 => (0.212, 0.087),
            9 | 10 => (0.2627, 0.0593),
            _ => (0.299, 0.114),
        };
        Self::Weighted {
            red,
            blue,
            full_range,
        }
    }
}

/// Joins three planes of the same size into RGB.
pub(super) fn to_rgb(matrix: Matrix, planes: [&[u8]; 3]) -> Vec<u8> {
    let [luma, blue, red] = planes;
    let mut rgb = vec![0; luma.len().saturating_mul(3)];
    let pixels = rgb.as_chunks_mut::<3>().0.iter_mut();
    let samples = luma.iter().zip(blue.iter().zip(red));
    match matrix {
        Matrix::Identity => {
            for (pixel, (green, (blue, red))) in pixels.zip(samples) {
                *pixel = [*red, *green, *blue];
            }
        }
        Matrix::Weighted { .. } => {
            let weights = Weights::new(matrix);
            for (pixel, (luma, (blue, red))) in pixels.zip(samples) {
                *pixel = weights.rgb(*luma, weights.differences(*blue, *red));
            }
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

/// What a step of luma or a colour difference does to each channel, with [`FRACTION_BITS`].
struct Weights {
    black: Fixed,
    luma: Fixed,
    red_of_red: Fixed,
    green_of_blue: Fixed,
    green_of_red: Fixed,
    blue_of_blue: Fixed,
}

impl Weights {
    fn new(matrix: Matrix) -> Self {
        let (red, blue, full_range) = match matrix {
            Matrix::Weighted {
                red,
                blue,
                full_range,
            } => (red, blue, full_range),
            Matrix::Identity => (0.0, 0.0, true),
        };
        let green = 1.0 - red - blue;
        let (black, luma, difference) = if full_range {
            (0, 1.0, 1.0)
        } else {
            (16, 255.0 / 219.0, 255.0 / 224.0)
        };
        let red_of_red = 2.0 * (1.0 - red) * difference;
        let blue_of_blue = 2.0 * (1.0 - blue) * difference;
        Self {
            black: Wrapping(black),
            luma: fixed(luma),
            red_of_red: fixed(red_of_red),
            green_of_blue: fixed(-blue_of_blue * blue / green),
            green_of_red: fixed(-red_of_red * red / green),
            blue_of_blue: fixed(blue_of_blue),
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
        let [blue, red] = [blue, red].map(|sample| Wrapping(i32::from(sample)) - NO_DIFFERENCE);
        [
            self.red_of_red * red,
            self.green_of_blue * blue + self.green_of_red * red,
            self.blue_of_blue * blue,
        ]
    }

    #[inline]
    fn rgb(&self, luma: u8, differences: [Fixed; 3]) -> [u8; 3] {
        let luma = (Wrapping(i32::from(luma)) - self.black) * self.luma + HALF;
        differences.map(|difference| sample(luma + difference))
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
        let video = Matrix::from_code_point(1, false);

        assert_eq!(one(video, [16, 128, 128]), [0, 0, 0]);
        assert_eq!(one(video, [235, 128, 128]), [255, 255, 255]);
        assert_eq!(one(video, [0, 128, 128]), [0, 0, 0]);
    }

    #[test]
    fn identity_is_green_blue_red() {
        assert_eq!(one(Matrix::from_code_point(0, true), [1, 2, 3]), [3, 1, 2]);
    }
}
