//! A picture as its planes, averaged in eight bits while its tiles are collected. Each has its own coarseness.

use crate::imaging::Error;
use crate::imaging::geometry::Region;
use crate::imaging::geometry::Size;
use crate::imaging::heif::color_planes;
use crate::imaging::heif::damaged;
use crate::imaging::heif::picture::Picture;
use crate::imaging::luma::Levels;
use crate::imaging::luma::Matrix;
use crate::imaging::raster::Pixels;
use crate::imaging::raster::Request;
use crate::imaging::shrink;
use crate::imaging::shrink::Shrink;
use crate::imaging::shrink::Window;

/// The planes of the picture, while their tiles are collected.
pub(super) struct Planes {
    matrix: Matrix,
    parts: Vec<Part>,
}

/// One plane.
struct Part {
    shrink: Shrink,
    /// How many pixels one sample covers, across and down: 1, 2 or 4.
    coarse: (u32, u32),
    levels: Levels,
}

impl Planes {
    /// Prepares for tiles like the first one.
    pub(super) fn new(
        first: &Picture,
        matrix: Matrix,
        request: &Request,
        size: Size,
    ) -> Result<Self, Error> {
        let planes = color_planes(first)?;
        let luma = planes.first().copied().flatten();
        let luma = luma.ok_or_else(|| damaged("a plane is missing"))?;
        let parts = planes.iter().flatten().zip(matrix.levels());
        let parts = parts.map(|(plane, levels)| {
            let coarse = (
                coarseness(luma.width, plane.width),
                coarseness(luma.height, plane.height),
            );
            let request = Request {
                source: coarser(request.source, coarse),
                ..*request
            };
            let size = Size {
                width: size.width.div_ceil(coarse.0),
                height: size.height.div_ceil(coarse.1),
            };
            let window = Window::around(request.source, size);
            Part {
                shrink: Shrink::new(window, shrink::factor(&request), 1, false),
                coarse,
                levels,
            }
        });
        let parts = parts.collect();
        Ok(Self { matrix, parts })
    }

    /// Adds a tile whose first pixel is at `origin`.
    pub(super) fn add(&mut self, tile: &Picture, origin: (u32, u32)) -> Result<(), Error> {
        let planes = color_planes(tile)?;
        let mut bytes = Vec::new();
        for (part, plane) in self.parts.iter_mut().zip(planes) {
            let plane = plane.ok_or_else(|| damaged("tiles differ"))?;
            let eight_bits = EightBits::new(part.levels, plane.bits);
            let (across, down) = part.coarse;
            let x = origin.0.checked_div(across).unwrap_or(0);
            let y = origin.1.checked_div(down).unwrap_or(0);
            for row in 0..plane.height {
                let samples = eight_bits.row(plane.row(row), &mut bytes);
                part.shrink.add(x, y.saturating_add(row), 1, samples);
            }
        }
        Ok(())
    }

    /// The averaged planes.
    pub(super) fn finish(self) -> Result<Pixels, Error> {
        let matrix = self.matrix;
        let parts = self.parts.into_iter();
        let rasters: Vec<_> = parts.map(|part| part.shrink.finish(part.coarse)).collect();
        match <[_; 3]>::try_from(rasters) {
            Ok(planes) => Ok(Pixels::Planar(matrix, Box::new(planes))),
            Err(mut rasters) => {
                let gray = rasters.pop().ok_or_else(|| damaged("no planes"))?;
                Ok(Pixels::Luma(matrix, gray))
            }
        }
    }
}

fn coarseness(fine: u32, coarse: u32) -> u32 {
    fine.div_ceil(coarse.max(1)).clamp(1, 4)
}

fn coarser(region: Region, (across, down): (u32, u32)) -> Region {
    let (across, down) = (f64::from(across), f64::from(down));
    Region {
        x: region.x / across,
        y: region.y / down,
        width: region.width / across,
        height: region.height / down,
    }
}

/// Fractional bits of the steps' ratio: 16 bits and a sign fit beside them once they are made 8.
const FRACTION_BITS: u32 = 20;

/// Brings samples with more than eight bits to eight. Not by dropping bits: in the full range 10 bits of white are 1023, and
/// a quarter of all but the last few numbers is up to three quarters of a step too much.
pub(super) struct EightBits {
    is_deep: bool,
    /// What stands for nothing before.
    zero: i32,
    /// What stands for nothing afterwards and one half, with [`FRACTION_BITS`].
    start: i32,
    /// Steps afterwards in a step before, with [`FRACTION_BITS`].
    ratio: i32,
}

impl EightBits {
    /// For samples with so many bits, of which 8 would have these levels.
    pub(super) fn new(levels: Levels, bits: u32) -> Self {
        let deep = levels.with_bits(bits);
        let fixed = |steps: u16| i32::from(steps).wrapping_shl(FRACTION_BITS);
        let half = i32::from(deep.span / 2);
        let ratio = fixed(levels.span).wrapping_add(half);
        Self {
            is_deep: bits > 8,
            zero: i32::from(deep.zero),
            start: fixed(levels.zero).wrapping_add(fixed(1) / 2),
            ratio: ratio.checked_div(i32::from(deep.span)).unwrap_or(0),
        }
    }

    /// A row of samples with 8 bits each; `buffer` holds them if they had more.
    pub(super) fn row<'a>(&self, row: &'a [u8], buffer: &'a mut Vec<u8>) -> &'a [u8] {
        if !self.is_deep {
            return row;
        }
        let samples = row.as_chunks().0.iter();
        buffer.clear();
        buffer.extend(samples.map(|sample| self.rounded(u16::from_ne_bytes(*sample))));
        buffer
    }

    #[inline]
    fn rounded(&self, sample: u16) -> u8 {
        let above_zero = i32::from(sample).wrapping_sub(self.zero);
        let scaled = above_zero.wrapping_mul(self.ratio).wrapping_add(self.start);
        let whole = (scaled >> FRACTION_BITS).clamp(0, 255);
        u8::try_from(whole).unwrap_or(u8::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reduced(levels: Levels, bits: u32, samples: &[u16]) -> Vec<u8> {
        let row: Vec<u8> = samples.iter().flat_map(|one| one.to_ne_bytes()).collect();
        EightBits::new(levels, bits)
            .row(&row, &mut Vec::new())
            .to_vec()
    }

    #[test]
    fn samples_of_the_full_range_are_rounded_and_not_cut() {
        for bits in [9, 10, 12, 16] {
            let white = u16::MAX >> (16 - bits);
            let samples: Vec<u16> = (0..=white).collect();

            let shown = reduced(Levels::FULL, bits, &samples);

            for (sample, shown) in samples.iter().zip(shown) {
                let exact = f64::from(*sample) * 255.0 / f64::from(white);
                let off = (f64::from(shown) - exact).abs();
                assert!(off < 0.51, "{sample} of {bits} bits became {shown}");
            }
        }
    }

    #[test]
    fn differences_and_the_limited_range_keep_their_zero() {
        let matrix = |full_range| Matrix::from_code_points(1, 1, full_range).unwrap();
        let [_, full, _] = matrix(true).levels();
        let [luma, limited, _] = matrix(false).levels();

        let differences = [0, 1, 512, 1_020, 1_023];
        assert_eq!(reduced(full, 10, &differences), [0, 1, 128, 255, 255]);
        assert_eq!(reduced(limited, 10, &[64, 512, 960]), [16, 128, 240]);
        assert_eq!(
            reduced(luma, 10, &[0, 64, 66, 940, 1_023]),
            [0, 16, 17, 235, 255]
        );
    }
}
