//! Sizes, rectangles and the eight ways to turn a picture. Knows no pixels.

use crate::domain::picture::Crop;

/// Width and height, in pixels.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Size {
    /// Pixels from left to right.
    pub width: u32,
    /// Pixels from top to bottom.
    pub height: u32,
}

impl Size {
    /// The same to the right and down.
    pub(super) const fn square(length: u32) -> Self {
        Self {
            width: length,
            height: length,
        }
    }

    /// How many pixels there are.
    pub(super) fn pixels(self) -> u64 {
        u64::from(self.width).saturating_mul(u64::from(self.height))
    }

    /// Half as large in both directions, rounded up.
    pub(super) fn halved(self) -> Self {
        Self {
            width: self.width.div_ceil(2),
            height: self.height.div_ceil(2),
        }
    }

    /// Width and height exchanged.
    pub(super) fn transposed(self) -> Self {
        Self {
            width: self.height,
            height: self.width,
        }
    }
}

/// A rectangle in pixels of a picture; edges may lie between pixels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Region {
    /// Left edge.
    pub x: f64,
    /// Upper edge.
    pub y: f64,
    /// From the left edge to the right one.
    pub width: f64,
    /// From the upper edge to the lower one.
    pub height: f64,
}

impl Region {
    /// All of a picture.
    pub(super) fn whole(size: Size) -> Self {
        Self {
            x: 0.0,
            y: 0.0,
            width: f64::from(size.width),
            height: f64::from(size.height),
        }
    }

    /// The largest region of `width` by `height` proportions around the centre of this one.
    pub(super) fn centred(self, width: f64, height: f64) -> Self {
        let scale = (self.width / width).min(self.height / height);
        let (width, height) = (width * scale, height * scale);
        Self {
            x: self.x + (self.width - width) / 2.0,
            y: self.y + (self.height - height) / 2.0,
            width,
            height,
        }
    }

    /// The region after a move.
    pub(super) fn moved(self, x: f64, y: f64) -> Self {
        Self {
            x: self.x + x,
            y: self.y + y,
            ..self
        }
    }
}

/// One of the eight ways in which a picture can be stored: what leads from the stored picture to the upright one.
/// First `transposed`, then the flips.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Orientation {
    /// Rows become columns.
    pub transposed: bool,
    /// Left and right are exchanged.
    pub flipped_x: bool,
    /// Top and bottom are exchanged.
    pub flipped_y: bool,
}

impl Orientation {
    /// Stored as shown.
    pub(super) const UPRIGHT: Self = Self::new(false, false, false);

    const fn new(transposed: bool, flipped_x: bool, flipped_y: bool) -> Self {
        Self {
            transposed,
            flipped_x,
            flipped_y,
        }
    }

    /// From the value of the EXIF tag 0x0112. Every value but 2 to 8 means upright.
    /// Source: CIPA DC-008 (EXIF 2.32), 4.6.5.1.6 "Orientation".
    pub(super) const fn from_exif(value: u32) -> Self {
        match value {
            2 => Self::new(false, true, false),
            3 => Self::new(false, true, true),
            4 => Self::new(false, false, true),
            5 => Self::new(true, false, false),
            6 => Self::new(true, true, false),
            7 => Self::new(true, true, true),
            8 => Self::new(true, false, true),
            _ => Self::UPRIGHT,
        }
    }

    /// From the angle of HEIF's `irot`, in degrees anticlockwise. Source: ISO/IEC 23008-12, 6.5.10.
    pub(super) const fn from_degrees_anticlockwise(degrees: i32) -> Self {
        match degrees {
            90 => Self::from_exif(8),
            180 => Self::from_exif(3),
            270 => Self::from_exif(6),
            _ => Self::UPRIGHT,
        }
    }

    /// This one, and then `next`.
    pub(super) const fn then(self, next: Self) -> Self {
        // A flip followed by a transposition is the transposition followed by the other flip.
        let (x, y) = if next.transposed {
            (self.flipped_y, self.flipped_x)
        } else {
            (self.flipped_x, self.flipped_y)
        };
        Self::new(
            self.transposed != next.transposed,
            x != next.flipped_x,
            y != next.flipped_y,
        )
    }

    /// The size that a picture of this stored size has upright, and the other way round.
    pub(super) fn turned(self, size: Size) -> Size {
        if self.transposed {
            size.transposed()
        } else {
            size
        }
    }

    /// Where a region of the upright picture lies in the stored one, which is `stored` large.
    pub(super) fn to_stored(self, region: Region, stored: Size) -> Region {
        let upright = Region::whole(self.turned(stored));
        let x = if self.flipped_x {
            upright.width - region.x - region.width
        } else {
            region.x
        };
        let y = if self.flipped_y {
            upright.height - region.y - region.height
        } else {
            region.y
        };
        if self.transposed {
            Region {
                x: y,
                y: x,
                width: region.height,
                height: region.width,
            }
        } else {
            Region { x, y, ..region }
        }
    }
}

impl From<Crop> for Region {
    fn from(crop: Crop) -> Self {
        Self {
            x: f64::from(crop.x),
            y: f64::from(crop.y),
            width: f64::from(crop.width),
            height: f64::from(crop.height),
        }
    }
}

/// The nearest whole number. Negative numbers give 0, numbers beyond `u32` its maximum.
#[expect(
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "there is no other conversion from a float; `as` saturates, as documented"
)]
pub(super) fn rounded(value: f64) -> u32 {
    value.round() as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orientation_three_turns_of_90_degrees_are_one_of_270() {
        let quarter = Orientation::from_degrees_anticlockwise(90);

        assert_eq!(
            quarter.then(quarter).then(quarter),
            Orientation::from_degrees_anticlockwise(270)
        );
        assert_eq!(
            quarter.then(quarter),
            Orientation::from_degrees_anticlockwise(180)
        );
        assert_eq!(
            quarter.then(quarter).then(quarter).then(quarter),
            Orientation::UPRIGHT
        );
    }

    #[test]
    fn orientation_out_of_range_is_upright() {
        for value in [0, 1, 9, 255, 65_535] {
            assert_eq!(Orientation::from_exif(value), Orientation::UPRIGHT);
        }
    }
}
