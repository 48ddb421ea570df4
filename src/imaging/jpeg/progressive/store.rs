//! What is kept of a component's coefficients between scans.
//!
//! Values are kept only of the coefficients that the scale shows and the blocks that the window shows. Of all others no more
//! is kept than refining scans must know: one bit, whether a coefficient is zero so far.

use crate::imaging::jpeg::baseline::HALF_PLACES;
use crate::imaging::jpeg::baseline::THREE_EIGHTHS_PLACES;
use crate::imaging::jpeg::baseline::ZIGZAG;
use crate::imaging::jpeg::frame::Component;
use crate::imaging::jpeg::frame::Frame;
use crate::imaging::jpeg::planes::Plane;
use crate::imaging::jpeg::planes::Scale;
use crate::imaging::jpeg::planes::Window;
use crate::imaging::jpeg::progressive::plan::Places;

/// Places of the zigzag order that two by two samples need, in a block of two columns; 255: not needed.
const QUARTER_PLACES: [u8; 5] = [0, 1, 2, 255, 3];

/// For each place of the zigzag order, which value of a block holds it.
fn slots(scale: Scale) -> &'static [u8] {
    match scale {
        Scale::Eighth => &[0],
        Scale::Quarter => &QUARTER_PLACES,
        Scale::ThreeEighths => &THREE_EIGHTHS_PLACES,
        Scale::Half => &HALF_PLACES,
        Scale::Full => &ZIGZAG,
    }
}

/// The places that a scale shows.
pub(super) fn shown_places(scale: Scale) -> Places {
    let slots = slots(scale).iter().zip(0..64);
    slots.fold(0, |all, (slot, place)| {
        let is_shown = u64::from(*slot != 255);
        all | is_shown << place
    })
}

/// The coefficients of one component.
pub(super) struct Store {
    /// Which place is held by which value of a block.
    pub slots: &'static [u8],
    /// The places that are kept.
    pub kept: Places,
    /// Blocks from one row to the next, in the whole picture.
    across: usize,
    /// Which coefficients are not zero, for each block of the picture down to the window's end.
    nonzero: Vec<Places>,
    /// Blocks that are shown.
    window: Window,
    /// Values of a block.
    per_block: usize,
    /// Values of the blocks that are shown.
    values: Vec<i16>,
}

impl Store {
    /// Room for a component. Where only DC scans are read (`is_dc_only`) there is nothing to know of other blocks.
    pub(super) fn new(
        component: &Component,
        frame: &Frame,
        window: &Window,
        scale: Scale,
        is_dc_only: bool,
    ) -> Self {
        let window = window.blocks(component);
        let across = index(frame.mcus().width.saturating_mul(component.across));
        let down = if is_dc_only {
            0
        } else {
            index(window.rows.end)
        };
        let side = index(scale.side());
        let per_block = side.saturating_mul(side);
        let shown = window.columns.len().saturating_mul(window.rows.len());
        Self {
            slots: slots(scale),
            kept: shown_places(scale),
            across,
            nonzero: vec![0; across.saturating_mul(down)],
            per_block,
            values: vec![0; shown.saturating_mul(per_block)],
            window,
        }
    }

    /// The values of a block, if it is shown.
    #[inline]
    pub(super) fn values(&mut self, column: u32, row: u32) -> Option<&mut [i16]> {
        let block = self.shown_block(column, row)?;
        let start = block.wrapping_mul(self.per_block);
        self.values
            .get_mut(start..start.wrapping_add(self.per_block))
    }

    fn shown_block(&self, column: u32, row: u32) -> Option<usize> {
        let Window { columns, rows } = &self.window;
        if !columns.contains(&column) || !rows.contains(&row) {
            return None;
        }
        let column = index(column.wrapping_sub(columns.start));
        let row = index(row.wrapping_sub(rows.start));
        Some(row.wrapping_mul(columns.len()).wrapping_add(column))
    }

    /// All that is known of a block: which coefficients are not zero, and the values if it is shown.
    #[inline]
    pub(super) fn block(&mut self, column: u32, row: u32) -> Option<Block<'_>> {
        let place = index(row)
            .wrapping_mul(self.across)
            .wrapping_add(index(column));
        let shown = self.shown_block(column, row);
        let nonzero = self.nonzero.get_mut(place)?;
        let start = shown.map(|block| block.wrapping_mul(self.per_block));
        let values = start.and_then(|start| {
            self.values
                .get_mut(start..start.wrapping_add(self.per_block))
        });
        Some(Block {
            slots: self.slots,
            kept: self.kept,
            nonzero,
            values: values.unwrap_or_default(),
        })
    }

    /// Writes all blocks to a plane of the same scale and window, dequantized.
    pub(super) fn fill(&self, plane: &mut Plane, steps: &[i32; 64]) {
        let mut slot_steps = [0; 64];
        for (slot, step) in self.slots.iter().zip(steps) {
            if let Some(slot_step) = slot_steps.get_mut(usize::from(*slot)) {
                *slot_step = *step;
            }
        }
        let mut blocks = self.values.chunks_exact(self.per_block.max(1));
        for row in self.window.rows.clone() {
            for (column, values) in self.window.columns.clone().zip(blocks.by_ref()) {
                let start = plane.start_of(column, row);
                put(plane, start, values, &slot_steps);
            }
        }
    }
}

/// One block of a [`Store`].
pub(super) struct Block<'s> {
    slots: &'static [u8],
    kept: Places,
    /// Which coefficients are not zero.
    pub nonzero: &'s mut Places,
    /// None, if the block is not shown.
    values: &'s mut [i16],
}

impl Block<'_> {
    /// Which of these coefficients have a value that is kept.
    #[inline]
    pub(super) const fn kept(&self, places: Places) -> Places {
        if self.values.is_empty() {
            0
        } else {
            places & self.kept
        }
    }

    /// The value of a coefficient, if it is kept.
    #[inline]
    pub(super) fn value(&mut self, place: u32) -> Option<&mut i16> {
        let slot = self.slots.get(index(place))?;
        self.values.get_mut(usize::from(*slot))
    }
}

/// Writes one block.
#[inline]
fn put(plane: &mut Plane, start: usize, values: &[i16], steps: &[i32; 64]) {
    let dequantized = |(value, step): (&i16, &i32)| i32::from(*value).wrapping_mul(*step);
    let mut coefficients = values.iter().zip(steps).map(dequantized);
    match plane.scale {
        Scale::Eighth => plane.put_eighth(start, coefficients.next().unwrap_or(0)),
        Scale::Quarter => {
            plane.put_quarter(
                start,
                std::array::from_fn(|_| coefficients.next().unwrap_or(0)),
            );
        }
        Scale::ThreeEighths => {
            plane.put_three_eighths(
                start,
                &std::array::from_fn(|_| coefficients.next().unwrap_or(0)),
            );
        }
        Scale::Half => {
            plane.put_half(
                start,
                &std::array::from_fn(|_| coefficients.next().unwrap_or(0)),
            );
        }
        Scale::Full => {
            plane.put_full(
                start,
                &std::array::from_fn(|_| coefficients.next().unwrap_or(0)),
            );
        }
    }
}

fn index(value: u32) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shown_places_are_the_lowest_rows_and_columns() {
        assert_eq!(shown_places(Scale::Eighth), 1);
        assert_eq!(shown_places(Scale::Quarter), 0b1_0111);
        assert_eq!(shown_places(Scale::ThreeEighths).count_ones(), 9);
        assert_eq!(shown_places(Scale::Half).count_ones(), 16);
        assert_eq!(shown_places(Scale::Full), u64::MAX);
    }
}
