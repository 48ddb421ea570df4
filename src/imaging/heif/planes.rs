//! A picture as its planes, averaged in eight bits while its tiles are collected. Each has its own coarseness.

use crate::imaging::Error;
use crate::imaging::geometry::Region;
use crate::imaging::geometry::Size;
use crate::imaging::heif::color_planes;
use crate::imaging::heif::damaged;
use crate::imaging::heif::picture::Picture;
use crate::imaging::luma::Matrix;
use crate::imaging::raster::Pixels;
use crate::imaging::raster::Request;
use crate::imaging::shrink;
use crate::imaging::shrink::Shrink;
use crate::imaging::shrink::Window;

/// The planes of the picture, while their tiles are collected.
pub(super) struct Planes(Vec<(Shrink, (u32, u32))>);

impl Planes {
    /// Prepares for tiles like the first one.
    pub(super) fn new(first: &Picture, request: &Request, size: Size) -> Result<Self, Error> {
        let planes = color_planes(first)?;
        let luma = planes.first().copied().flatten();
        let luma = luma.ok_or_else(|| damaged("a plane is missing"))?;
        let begun = planes.iter().flatten().map(|plane| {
            // 1, 2 or 4: how many pixels one sample covers.
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
            let shrink = Shrink::new(window, shrink::factor(&request), 1, false);
            (shrink, coarse)
        });
        Ok(Self(begun.collect()))
    }

    /// Adds a tile whose first pixel is at `origin`.
    pub(super) fn add(&mut self, tile: &Picture, origin: (u32, u32)) -> Result<(), Error> {
        let planes = color_planes(tile)?;
        let mut bytes = Vec::new();
        for ((shrink, coarse), plane) in self.0.iter_mut().zip(planes) {
            let plane = plane.ok_or_else(|| damaged("tiles differ"))?;
            let x = origin.0.checked_div(coarse.0).unwrap_or(0);
            let y = origin.1.checked_div(coarse.1).unwrap_or(0);
            for row in 0..plane.height {
                let samples = eight_bits(plane.row(row), plane.bits, &mut bytes);
                shrink.add(x, y.saturating_add(row), 1, samples);
            }
        }
        Ok(())
    }

    /// The averaged planes.
    pub(super) fn finish(self, matrix: Matrix) -> Result<Pixels, Error> {
        let rasters: Vec<_> = self
            .0
            .into_iter()
            .map(|(shrink, coarse)| shrink.finish(coarse))
            .collect();
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

/// A row of samples with 8 bits each; `buffer` holds them if they had more.
pub(super) fn eight_bits<'a>(row: &'a [u8], bits: u32, buffer: &'a mut Vec<u8>) -> &'a [u8] {
    let Some(surplus) = bits.checked_sub(8).filter(|surplus| *surplus > 0) else {
        return row;
    };
    let half = 1_u16.checked_shl(surplus.saturating_sub(1)).unwrap_or(0);
    buffer.clear();
    buffer.extend(row.as_chunks().0.iter().map(|sample| {
        let sample = u16::from_ne_bytes(*sample).saturating_add(half);
        let reduced = sample.checked_shr(surplus).unwrap_or(0);
        u8::try_from(reduced).unwrap_or(u8::MAX)
    }));
    buffer
}
