//! From luma and colour differences to red, green and blue.

#![expect(
    clippy::arithmetic_side_effects,
    reason = "samples have 8 bits and weights less than 2 at 16 fractional bits: sums stay below 2²⁷"
)]

/// Fractional bits of the fixed-point weights.
const FRACTION_BITS: u32 = 16;

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
    let mut rgb = vec![0; luma.len() * 3];
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
                *pixel = weights.rgb(*luma, *blue, *red);
            }
        }
    }
    rgb
}

/// What a step of luma or a colour difference does to each channel, with [`FRACTION_BITS`].
struct Weights {
    black: i32,
    luma: i32,
    red_of_red: i32,
    green_of_blue: i32,
    green_of_red: i32,
    blue_of_blue: i32,
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
            black,
            luma: fixed(luma),
            red_of_red: fixed(red_of_red),
            green_of_blue: fixed(-blue_of_blue * blue / green),
            green_of_red: fixed(-red_of_red * red / green),
            blue_of_blue: fixed(blue_of_blue),
        }
    }

    #[inline]
    fn rgb(&self, luma: u8, blue: u8, red: u8) -> [u8; 3] {
        let half = 1 << (FRACTION_BITS - 1);
        let luma = (i32::from(luma) - self.black) * self.luma + half;
        let blue = i32::from(blue) - 128;
        let red = i32::from(red) - 128;
        [
            sample(luma + self.red_of_red * red),
            sample(luma + self.green_of_blue * blue + self.green_of_red * red),
            sample(luma + self.blue_of_blue * blue),
        ]
    }
}

#[expect(
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    reason = "there is no other conversion from a float; weights are below 4"
)]
fn fixed(weight: f32) -> i32 {
    (weight * 65_536.0).round() as i32
}

#[inline]
#[expect(
    clippy::as_conversions,
    clippy::cast_sign_loss,
    reason = "clamped to 8 bits just before"
)]
fn sample(fixed: i32) -> u8 {
    (fixed >> FRACTION_BITS).clamp(0, 255) as u8
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
