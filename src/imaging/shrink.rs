//! Averages squares of pixels while they are being decoded, so that a large picture is never held whole.
//!
//! The squares are small enough to leave at least [`REDUCTION_LEFT_MIN`] times the pixels that the rendition needs in
//! each direction; the fine resize does the rest. Rows may come in any order and in parts (interlaced PNG, tiles).

#![expect(
    clippy::arithmetic_side_effects,
    reason = "positions are bounded by a window that was allocated; sums by 255² · factor², see FACTOR_MAX"
)]

use crate::imaging::geometry::Region;
use crate::imaging::geometry::Size;
use crate::imaging::geometry::rounded;
use crate::imaging::raster::Placement;
use crate::imaging::raster::Raster;
use crate::imaging::raster::Request;

/// What the averaging must leave for the fine resize. Source: libvips keeps 2.0 too ("gap" of `vips_resize`): with less, the
/// average's blur is visible.
const REDUCTION_LEFT_MIN: f64 = 2.0;

/// Largest side of an averaged square, in pixels: 255² · 128² still fits the sums' 32 bits.
const FACTOR_MAX: u32 = 128;

/// A rectangle of pixels, in whole stored pixels of one plane.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Window {
    /// Left edge.
    pub x: u32,
    /// Upper edge.
    pub y: u32,
    /// Width and height.
    pub size: Size,
}

impl Window {
    /// The whole pixels that a region of a picture touches.
    pub(super) fn around(region: Region, picture: Size) -> Self {
        let span = |from: f64, length: f64, limit: u32| {
            let begin = rounded(from.floor()).min(limit.saturating_sub(1));
            let end = rounded((from + length).ceil()).clamp(begin + 1, limit);
            (begin, end - begin)
        };
        let (x, width) = span(region.x, region.width, picture.width);
        let (y, height) = span(region.y, region.height, picture.height);
        Self {
            x,
            y,
            size: Size { width, height },
        }
    }
}

/// How many pixels are averaged across and down for this request.
pub(super) fn factor(request: &Request) -> u32 {
    (1..=FACTOR_MAX)
        .take_while(|factor| request.reduction() >= f64::from(*factor) * REDUCTION_LEFT_MIN)
        .last()
        .unwrap_or(1)
}

/// Collects the pixels of a window, averaged.
#[derive(Debug)]
pub(super) struct Shrink {
    window: Window,
    factor: u32,
    channels: usize,
    has_alpha: bool,
    cells: Size,
    /// The samples themselves when nothing is averaged.
    samples: Vec<u8>,
    /// Otherwise their sums; colours weighted by alpha where there is one.
    sums: Vec<u32>,
}

impl Shrink {
    /// Prepares for the pixels of `window`, `factor` × `factor` of them to become one. The last channel of several is alpha
    /// if `has_alpha`.
    pub(super) fn new(window: Window, factor: u32, channels: u8, has_alpha: bool) -> Self {
        let cells = Size {
            width: window.size.width.div_ceil(factor),
            height: window.size.height.div_ceil(factor),
        };
        let length = index(cells.width) * index(cells.height) * usize::from(channels);
        let (samples, sums) = if factor == 1 {
            (length, 0)
        } else {
            (0, length)
        };
        Self {
            window,
            factor,
            channels: usize::from(channels),
            has_alpha,
            cells,
            samples: vec![0; samples],
            sums: vec![0; sums],
        }
    }

    /// Adds pixels of the row `y`: the first is at `x`, each next one `step` further right. What lies outside the window
    /// is ignored. Each pixel of the window must be added once.
    pub(super) fn add(&mut self, x: u32, y: u32, step: u32, pixels: &[u8]) {
        let Some(row) = y.checked_sub(self.window.y) else {
            return;
        };
        if row >= self.window.size.height {
            return;
        }
        // The first pixel at or right of the window's left edge.
        let skipped = self.window.x.saturating_sub(x).div_ceil(step);
        let begin = x + skipped * step - self.window.x.min(x + skipped * step);
        let pixels = pixels
            .get(index(skipped) * self.channels..)
            .unwrap_or_default();
        if begin >= self.window.size.width {
            return;
        }
        let fitting = (self.window.size.width - begin).div_ceil(step);
        let length = pixels.len().min(index(fitting) * self.channels);
        let pixels = pixels.get(..length).unwrap_or_default();
        if self.factor == 1 {
            self.copy(begin, row, step, pixels);
        } else {
            self.sum(begin, row, step, pixels);
        }
    }

    fn copy(&mut self, begin: u32, row: u32, step: u32, pixels: &[u8]) {
        let at = (index(row) * index(self.cells.width) + index(begin)) * self.channels;
        let to = self.samples.get_mut(at..).unwrap_or_default();
        if step == 1 {
            if let Some(to) = to.get_mut(..pixels.len()) {
                to.copy_from_slice(pixels);
            }
            return;
        }
        let to = to.chunks_mut(self.channels).step_by(index(step));
        for (to, from) in to.zip(pixels.chunks_exact(self.channels)) {
            to.copy_from_slice(from);
        }
    }

    fn sum(&mut self, begin: u32, row: u32, step: u32, pixels: &[u8]) {
        let width = index(self.cells.width) * self.channels;
        let at = index(row / self.factor) * width;
        let Some(cells) = self.sums.get_mut(at..at + width) else {
            return;
        };
        if self.channels == 1 && step == 1 {
            // The common case by far: a plane's row. Up to the next edge of a cell, then cell by cell.
            let cells = cells.get_mut(index(begin / self.factor)..);
            let head = index(self.factor - begin % self.factor).min(pixels.len());
            let (head, pixels) = pixels.split_at(head);
            if let Some((first, cells)) = cells.and_then(<[u32]>::split_first_mut) {
                *first = total(*first, head);
                add_runs(cells, pixels, index(self.factor));
            }
            return;
        }
        for (nth, pixel) in (0_u32..).zip(pixels.chunks_exact(self.channels)) {
            let cell = index((begin + nth * step) / self.factor) * self.channels;
            let Some(cell) = cells.get_mut(cell..cell + self.channels) else {
                return;
            };
            add_pixel(cell, pixel, self.has_alpha);
        }
    }

    /// The averaged pixels. `step` is what one of the window's pixels measures in stored pixels (more than 1 for coarse
    /// colour planes).
    pub(super) fn finish(self, step: (u32, u32)) -> Raster {
        let samples = if self.factor == 1 {
            self.samples
        } else {
            self.averages()
        };
        Raster {
            size: self.cells,
            stride: self.cells.width,
            channels: u8::try_from(self.channels).unwrap_or(u8::MAX),
            samples,
            placement: Placement {
                origin: (self.window.x * step.0, self.window.y * step.1),
                step: (self.factor * step.0, self.factor * step.1, 1),
            },
        }
    }

    fn averages(&self) -> Vec<u8> {
        let mut samples = Vec::with_capacity(self.sums.len());
        let width = index(self.cells.width) * self.channels;
        let whole = index(self.window.size.width / self.factor) * self.channels;
        let last = self.filled(self.cells.width - 1, self.window.size.width);
        for (row, cells) in (0_u32..).zip(self.sums.chunks_exact(width)) {
            let height = self.filled(row, self.window.size.height);
            let (whole, edge) = cells.split_at(whole);
            for (cells, across) in [(whole, self.factor), (edge, last)] {
                let pixels = Divisor::new(across * height);
                if self.has_alpha {
                    for cell in cells.chunks_exact(self.channels) {
                        average_by_alpha(cell, &pixels, &mut samples);
                    }
                } else {
                    samples.extend(cells.iter().map(|sum| pixels.rounded(*sum)));
                }
            }
        }
        samples
    }

    /// How many pixels the nth cell of a row or column covers: fewer at the far edge.
    fn filled(&self, nth: u32, length: u32) -> u32 {
        (length - nth * self.factor).min(self.factor)
    }
}

/// Adds runs of `length` samples to a cell each; the last one may be shorter. The lengths that photos of phones have are
/// constants to the compiler, which then adds many samples at once: otherwise a twentieth of the time of a HEIC photo.
fn add_runs(cells: &mut [u32], samples: &[u8], length: usize) {
    match length {
        2 => add_runs_of::<2>(cells, samples),
        3 => add_runs_of::<3>(cells, samples),
        4 => add_runs_of::<4>(cells, samples),
        5 => add_runs_of::<5>(cells, samples),
        6 => add_runs_of::<6>(cells, samples),
        _ => {
            for (cell, run) in cells.iter_mut().zip(samples.chunks(length)) {
                *cell = total(*cell, run);
            }
        }
    }
}

fn add_runs_of<const LENGTH: usize>(cells: &mut [u32], samples: &[u8]) {
    let (runs, rest) = samples.as_chunks::<LENGTH>();
    for (cell, run) in cells.iter_mut().zip(runs) {
        *cell = total(*cell, run);
    }
    if let Some(cell) = cells.get_mut(runs.len()) {
        *cell = total(*cell, rest);
    }
}

/// A sum and these samples. It does not wrap, see [`FACTOR_MAX`]; to check that for each sample takes seven times as long.
#[inline]
fn total(sum: u32, samples: &[u8]) -> u32 {
    samples
        .iter()
        .fold(sum, |sum, sample| sum.wrapping_add(u32::from(*sample)))
}

fn add_pixel(cell: &mut [u32], pixel: &[u8], has_alpha: bool) {
    match (pixel, cell) {
        ([colors @ .., alpha], [sums @ .., alphas]) if has_alpha => {
            let alpha = u32::from(*alpha);
            for (sum, color) in sums.iter_mut().zip(colors) {
                *sum += u32::from(*color) * alpha;
            }
            *alphas += alpha;
        }
        (colors, sums) => {
            for (sum, color) in sums.iter_mut().zip(colors) {
                *sum += u32::from(*color);
            }
        }
    }
}

fn average_by_alpha(cell: &[u32], pixels: &Divisor, samples: &mut Vec<u8>) {
    if let [colors @ .., alphas] = cell {
        let by_alpha = Divisor::new(*alphas);
        samples.extend(colors.iter().map(|sum| by_alpha.rounded(*sum)));
        samples.push(pixels.rounded(*alphas));
    }
}

/// Fractional bits of a reciprocal: enough for sums of [`FACTOR_MAX`]² pixels to be divided exactly, by their alpha too.
const RECIPROCAL_BITS: u32 = 52;

/// Divides sums by one number. By multiplication: millions of divisions take a thirtieth of the time of a HEIC photo.
struct Divisor {
    half: u64,
    reciprocal: u64,
}

impl Divisor {
    /// To divide by `number`; by 0 all is 0.
    fn new(number: u32) -> Self {
        let number = u64::from(number);
        let reciprocal = (1_u64 << RECIPROCAL_BITS).checked_div(number);
        Self {
            half: number / 2,
            reciprocal: reciprocal.map_or(0, |reciprocal| reciprocal + 1),
        }
    }

    /// The nearest quotient.
    fn rounded(&self, sum: u32) -> u8 {
        let quotient =
            (u64::from(sum) + self.half).wrapping_mul(self.reciprocal) >> RECIPROCAL_BITS;
        u8::try_from(quotient).unwrap_or(u8::MAX)
    }
}

/// A position or length as an index.
fn index(value: u32) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(x: u32, y: u32, width: u32, height: u32) -> Window {
        Window {
            x,
            y,
            size: Size { width, height },
        }
    }

    #[test]
    fn shrink_by_two_averages_squares_and_the_ragged_edge() {
        let mut shrink = Shrink::new(window(1, 0, 3, 2), 2, 1, false);

        shrink.add(0, 0, 1, &[255, 10, 20, 30]);
        shrink.add(0, 1, 1, &[255, 30, 40, 50]);
        shrink.add(0, 2, 1, &[255, 255, 255, 255]);

        let raster = shrink.finish((2, 2));
        assert_eq!(raster.samples, [25, 40]);
        assert_eq!(
            raster.placement,
            Placement {
                origin: (2, 0),
                step: (4, 4, 1)
            }
        );
    }

    #[test]
    fn divisor_is_exact_to_the_largest_sums() {
        let largest = FACTOR_MAX * FACTOR_MAX;
        for number in (1..300).chain([largest - 1, largest, 255 * largest]) {
            let divisor = Divisor::new(number);
            let halves =
                (0..=255).map(|quotient| quotient * u64::from(number) + u64::from(number) / 2);
            let sums = halves.flat_map(|half| [half, half + 1, half + u64::from(number % 2)]);
            for sum in sums.filter_map(|sum| u32::try_from(sum).ok()) {
                let expected = (u64::from(sum) + u64::from(number) / 2) / u64::from(number);
                let expected = u8::try_from(expected).unwrap_or(u8::MAX);
                assert_eq!(divisor.rounded(sum), expected, "{sum} / {number}");
            }
        }
        assert_eq!(Divisor::new(0).rounded(7), 0);
    }

    #[test]
    fn shrink_of_rows_in_parts_is_that_of_whole_rows() {
        let row: Vec<u8> = (0..61).map(|nth| nth * 4).collect();
        for factor in 2..9 {
            let mut whole = Shrink::new(window(5, 0, 50, 1), factor, 1, false);
            let mut parts = Shrink::new(window(5, 0, 50, 1), factor, 1, false);
            let cells = row[5..55].chunks(usize::try_from(factor).unwrap());
            let averages: Vec<u8> = cells
                .map(|cell| {
                    let count = u32::try_from(cell.len()).unwrap();
                    let sum: u32 = cell.iter().copied().map(u32::from).sum();
                    u8::try_from((sum + count / 2) / count).unwrap()
                })
                .collect();

            whole.add(0, 0, 1, &row);
            // As tiles lie: none of their edges is one of a cell for every factor.
            for (x, tile) in (0_u32..).step_by(13).zip(row.chunks(13)) {
                parts.add(x, 0, 1, tile);
            }

            assert_eq!(whole.finish((1, 1)).samples, averages, "{factor}");
            assert_eq!(parts.finish((1, 1)).samples, averages, "{factor}");
        }
    }

    #[test]
    fn shrink_weights_colours_by_alpha() {
        let mut shrink = Shrink::new(window(0, 0, 2, 1), 2, 2, true);

        shrink.add(0, 0, 1, &[200, 255, 0, 0]);

        assert_eq!(shrink.finish((1, 1)).samples, [200, 128]);
    }

    #[test]
    fn shrink_takes_interlaced_rows_in_any_order() {
        for factor in [1, 2] {
            let mut whole = Shrink::new(window(1, 0, 4, 1), factor, 1, false);
            let mut parts = Shrink::new(window(1, 0, 4, 1), factor, 1, false);

            whole.add(0, 0, 1, &[1, 2, 3, 4, 5, 6]);
            parts.add(1, 0, 2, &[2, 4, 6]);
            parts.add(0, 0, 2, &[1, 3, 5]);

            assert_eq!(whole.finish((1, 1)), parts.finish((1, 1)));
        }
    }

    #[test]
    fn factor_leaves_twice_what_is_needed() {
        let request = |side: f64| Request {
            source: Region {
                x: 0.0,
                y: 0.0,
                width: side,
                height: side,
            },
            target: Size::square(512),
        };

        assert_eq!(factor(&request(10.0)), 1);
        assert_eq!(factor(&request(2047.0)), 1);
        assert_eq!(factor(&request(2048.0)), 2);
        assert_eq!(factor(&request(1e9)), FACTOR_MAX);
    }
}
