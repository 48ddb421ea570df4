//! The scaled planes that decoders fill: only the MCUs that are shown, each block as few samples as asked for.

use std::ops::Range;

use crate::imaging::geometry::Size;
use crate::imaging::jpeg::frame::BLOCK_SIDE;
use crate::imaging::jpeg::frame::Component;
use crate::imaging::jpeg::frame::Frame;
use crate::imaging::jpeg::transform;
use crate::imaging::raster::Placement;
use crate::imaging::raster::Raster;
use crate::imaging::raster::Request;

/// What remains of a block's side of eight pixels.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Scale {
    /// One sample.
    Eighth,
    /// Two samples.
    Quarter,
    /// Three samples.
    ThreeEighths,
    /// Four samples.
    Half,
    /// All eight.
    Full,
}

impl Scale {
    /// From the number of eighths; what is not 1, 2, 3 or 4 is all.
    pub(super) const fn from_eighths(eighths: u8) -> Self {
        match eighths {
            1 => Self::Eighth,
            2 => Self::Quarter,
            3 => Self::ThreeEighths,
            4 => Self::Half,
            _ => Self::Full,
        }
    }

    /// Samples of a block's side.
    pub(super) const fn side(self) -> u32 {
        match self {
            Self::Eighth => 1,
            Self::Quarter => 2,
            Self::ThreeEighths => 3,
            Self::Half => 4,
            Self::Full => 8,
        }
    }
}

/// MCUs that are shown.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Window {
    /// From left to right.
    pub columns: Range<u32>,
    /// From top to bottom.
    pub rows: Range<u32>,
}

impl Window {
    /// The MCUs that the request's source touches.
    pub(super) fn new(frame: &Frame, request: &Request) -> Self {
        let mcus = frame.mcus();
        let (width, height) = frame.mcu_pixels();
        let span = |from: f64, length: f64, mcu: u32, count: u32| {
            let end = f64::from(count);
            let begin = (from / f64::from(mcu)).floor().clamp(0.0, end - 1.0);
            let end = ((from + length) / f64::from(mcu))
                .ceil()
                .clamp(begin + 1.0, end);
            crate::imaging::geometry::rounded(begin)..crate::imaging::geometry::rounded(end)
        };
        let source = request.source;
        Self {
            columns: span(source.x, source.width, width, mcus.width),
            rows: span(source.y, source.height, height, mcus.height),
        }
    }

    /// The same in blocks of a component.
    pub(super) fn blocks(&self, component: &Component) -> Self {
        let scaled = |range: &Range<u32>, by: u32| {
            range.start.saturating_mul(by)..range.end.saturating_mul(by)
        };
        Self {
            columns: scaled(&self.columns, component.across),
            rows: scaled(&self.rows, component.down),
        }
    }
}

/// One component's samples within the window.
#[derive(Debug)]
pub(super) struct Plane {
    /// How large a block is.
    pub scale: Scale,
    /// Samples from one row to the next.
    pub stride: usize,
    /// The samples.
    pub samples: Vec<u8>,
    /// The blocks that the plane has, counted in the picture.
    blocks: Window,
}

impl Plane {
    /// An empty plane for the blocks of a component.
    pub(super) fn new(component: &Component, window: &Window, scale: Scale) -> Self {
        let blocks = window.blocks(component);
        let side = index(scale.side());
        let stride = index(length(&blocks.columns)).saturating_mul(side);
        let rows = index(length(&blocks.rows)).saturating_mul(side);
        Self {
            scale,
            stride,
            samples: vec![0; stride.saturating_mul(rows)],
            blocks,
        }
    }

    /// Where the samples of a block begin. The block must be in the window.
    pub(super) fn start_of(&self, column: u32, row: u32) -> usize {
        let column = index(column.wrapping_sub(self.blocks.columns.start));
        let row = index(row.wrapping_sub(self.blocks.rows.start));
        let side = index(self.scale.side());
        row.wrapping_mul(self.stride)
            .wrapping_add(column)
            .wrapping_mul(side)
    }

    /// Writes a block's only sample.
    #[inline]
    pub(super) fn put_eighth(&mut self, start: usize, lowest: i32) {
        if let Some(sample) = self.samples.get_mut(start) {
            *sample = transform::eighth(lowest);
        }
    }

    /// Writes a block of two by two samples.
    #[inline]
    pub(super) fn put_quarter(&mut self, start: usize, coefficients: [i32; 4]) {
        let [[one, two], [three, four]] = transform::quarter(coefficients);
        let end = start.wrapping_add(self.stride).wrapping_add(2);
        if let Some([above_left, above_right, .., left, right]) = self.samples.get_mut(start..end) {
            (*above_left, *above_right, *left, *right) = (one, two, three, four);
        }
    }

    /// Writes a block of three by three samples.
    #[inline]
    pub(super) fn put_three_eighths(&mut self, start: usize, coefficients: &[i32; 9]) {
        self.put(start, &transform::three_eighths(coefficients));
    }

    /// Writes a block of four by four samples.
    #[inline]
    pub(super) fn put_half(&mut self, start: usize, coefficients: &[i32; 16]) {
        self.put(start, &transform::half(coefficients));
    }

    /// Writes a block of eight by eight samples.
    #[inline]
    pub(super) fn put_full(&mut self, start: usize, coefficients: &[i32; 64]) {
        self.put(start, &transform::full(coefficients));
    }

    /// Writes a block whose samples are all alike.
    #[inline]
    pub(super) fn put_flat<const N: usize>(&mut self, start: usize, lowest: i32) {
        self.put(start, &[[transform::eighth(lowest); N]; N]);
    }

    #[inline]
    fn put<const N: usize>(&mut self, start: usize, block: &[[u8; N]; N]) {
        let rows = self.samples.get_mut(start..).unwrap_or_default();
        for (to, from) in rows.chunks_mut(self.stride.max(1)).zip(block) {
            if let Some(to) = to.first_chunk_mut() {
                *to = *from;
            }
        }
    }

    /// The plane with its place in the picture, without the samples that lie beyond the picture's edges.
    pub(super) fn into_raster(self, component: &Component, frame: &Frame) -> Raster {
        let (mcu_across, mcu_down) = frame.mcu_blocks();
        let side = self.scale.side();
        // A component with fewer blocks in an MCU has larger ones.
        let step = (
            mcu_across
                .div_ceil(component.across.max(1))
                .saturating_mul(BLOCK_SIDE),
            mcu_down
                .div_ceil(component.down.max(1))
                .saturating_mul(BLOCK_SIDE),
        );
        let visible = |blocks: &Range<u32>, pixels: u32, step: u32| {
            let beyond = blocks.start.saturating_mul(side);
            let picture = pixels.saturating_mul(side).div_ceil(step);
            length(blocks)
                .saturating_mul(side)
                .min(picture.saturating_sub(beyond))
        };
        let Window { columns, rows } = &self.blocks;
        Raster {
            size: Size {
                width: visible(columns, frame.size.width, step.0),
                height: visible(rows, frame.size.height, step.1),
            },
            stride: u32::try_from(self.stride).unwrap_or(u32::MAX),
            channels: 1,
            placement: Placement {
                origin: (
                    columns.start.saturating_mul(step.0),
                    rows.start.saturating_mul(step.1),
                ),
                step: (step.0, step.1, side),
            },
            samples: self.samples,
        }
    }
}

fn length(range: &Range<u32>) -> u32 {
    range.end.saturating_sub(range.start)
}

fn index(value: u32) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}
