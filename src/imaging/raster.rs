//! Decoded samples and where they belong: what every decoder delivers and the renderer works on.
//!
//! A decoder may deliver the picture smaller than it is stored, and only the part that is asked for. Each [`Raster`]
//! therefore says which stored pixels its samples stand for, so that planes of different scale fit each other.

use crate::imaging::geometry::Region;
use crate::imaging::geometry::Size;
use crate::imaging::luma::Matrix;
use crate::imaging::profile::Profile;

/// Eight-bit samples of a rectangle of the stored picture, row by row, channels interleaved.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Raster {
    /// Columns and rows of samples.
    pub size: Size,
    /// Columns from one row to the next: those, and perhaps some that mean nothing.
    pub stride: u32,
    /// Channels, 1 to 4.
    pub channels: u8,
    /// The samples.
    pub samples: Vec<u8>,
    /// Which stored pixels they stand for.
    pub placement: Placement,
}

/// Which stored pixels a raster's samples stand for: each one covers `step` pixels, the first one begins at `origin`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Placement {
    /// Left and upper edge of the first sample, in stored pixels.
    pub origin: (u32, u32),
    /// Width and height of a sample, in stored pixels, as a fraction: numerators and common denominator. That is 1 where a
    /// sample is the average of its pixels, and more where several samples come from the transform of one block.
    pub step: (u32, u32, u32),
}

impl Placement {
    /// One sample a pixel, from the upper left corner.
    pub(super) const IDENTITY: Self = Self {
        origin: (0, 0),
        step: (1, 1, 1),
    };

    /// Whether each sample is the average of several pixels.
    pub(super) const fn is_average(&self) -> bool {
        matches!(self.step, (2.., _, 1) | (_, 2.., 1))
    }
}

/// Shortest part of a raster that is located, in samples.
const SPAN_MIN: f64 = 1.0 / 1_024.0;

impl Raster {
    /// Where a region of the stored picture lies in this raster, in samples; what lies outside is cut off.
    pub(super) fn locate(&self, region: Region) -> Region {
        let Placement {
            origin: (x, y),
            step: (width, height, denominator),
        } = self.placement;
        let scale = |step: u32| f64::from(denominator) / f64::from(step);
        let span = |from: f64, length: f64, origin: u32, scale: f64, limit: u32| {
            let limit = f64::from(limit);
            let begin = (from - f64::from(origin)) * scale;
            let end = (begin + length * scale).clamp(SPAN_MIN, limit);
            let begin = begin.clamp(0.0, end - SPAN_MIN);
            let length = end - begin;
            // The sum may be rounded up, to just outside.
            let is_outside = begin + length > limit;
            (
                begin,
                if is_outside {
                    length.next_down()
                } else {
                    length
                },
            )
        };
        let (x, width) = span(region.x, region.width, x, scale(width), self.size.width);
        let (y, height) = span(region.y, region.height, y, scale(height), self.size.height);
        Region {
            x,
            y,
            width,
            height,
        }
    }
}

/// The channels of an interleaved raster.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Model {
    /// Grey.
    Gray,
    /// Grey and straight alpha.
    GrayAlpha,
    /// Red, green, blue.
    Rgb,
    /// Red, green, blue and straight alpha.
    Rgba,
    /// Cyan, magenta, yellow, black; 0 is no ink.
    Cmyk,
}

impl Model {
    /// How many channels there are.
    pub(super) const fn channels(self) -> u8 {
        match self {
            Self::Gray => 1,
            Self::GrayAlpha => 2,
            Self::Rgb => 3,
            Self::Rgba | Self::Cmyk => 4,
        }
    }

    /// Whether the last channel is alpha.
    pub(super) const fn has_alpha(self) -> bool {
        matches!(self, Self::GrayAlpha | Self::Rgba)
    }
}

/// The samples of a picture.
#[derive(Clone, Debug)]
pub(super) enum Pixels {
    /// One raster with all channels.
    Interleaved(Model, Raster),
    /// Luma alone.
    Luma(Matrix, Raster),
    /// Luma and two colour differences, the latter perhaps coarser.
    Planar(Matrix, Box<[Raster; 3]>),
}

/// What a decoder delivers.
#[derive(Clone, Debug)]
pub(super) struct Decoded {
    /// The samples.
    pub pixels: Pixels,
    /// What their numbers mean as colours.
    pub profile: Profile,
    /// Whether the file has more than 8 bits a channel.
    pub deep: bool,
    /// Whether the decoder has changed the samples' tones to those of sRGB; the profile is what is left to be done.
    pub toned: bool,
}

/// What the renderer asks a decoder for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request {
    /// The part of the stored picture that will be shown.
    pub source: Region,
    /// The size that it will be resized to; nothing finer is of use.
    pub target: Size,
}

impl Request {
    /// How many source pixels become one target pixel, in the direction where these are fewer.
    pub(super) fn reduction(&self) -> f64 {
        let across = self.source.width / f64::from(self.target.width);
        let down = self.source.height / f64::from(self.target.height);
        across.min(down)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raster_locates_a_region_in_its_samples() {
        let quarter = Raster {
            size: Size {
                width: 10,
                height: 10,
            },
            stride: 10,
            channels: 1,
            samples: vec![0; 100],
            placement: Placement {
                origin: (16, 0),
                step: (4, 4, 1),
            },
        };

        let found = quarter.locate(Region {
            x: 18.0,
            y: 8.0,
            width: 20.0,
            height: 400.0,
        });

        assert_eq!(
            found,
            Region {
                x: 0.5,
                y: 2.0,
                width: 5.0,
                height: 8.0
            }
        );
    }

    #[test]
    fn raster_located_at_its_edge_stays_inside() {
        for (origin, step) in [(0, (8, 8, 3)), (7, (16, 8, 7)), (100, (3, 3, 1))] {
            let raster = Raster {
                size: Size::square(11),
                stride: 11,
                channels: 1,
                samples: vec![0; 121],
                placement: Placement {
                    origin: (origin, origin),
                    step,
                },
            };
            for x in 0..300 {
                let found = raster.locate(Region {
                    x: f64::from(x) / 3.0,
                    y: 0.0,
                    width: 1.0,
                    height: 1e6,
                });
                assert!(found.x >= 0.0 && found.width > 0.0 && found.height > 0.0);
                assert!(found.x + found.width <= 11.0 && found.y + found.height <= 11.0);
            }
        }
    }
}
