//! Baseline and extended sequential scans: from Huffman codes straight to scaled samples.
//!
//! The coefficients of one block are all that is ever held. Those that the scale cannot show are passed over several at a
//! time; blocks outside the window are passed over altogether, except for their DC difference, on which the next one
//! builds; and nothing is read below the window.
//!
//! Whatever happens once a block is inlined into one loop, in which the bit reader never leaves the processor's registers:
//! that alone is a quarter of the time.

#![expect(
    clippy::inline_always,
    reason = "a reference to the bit reader that is passed on puts it into memory"
)]

use std::rc::Rc;

use crate::imaging::geometry::Size;
use crate::imaging::jpeg::Declined;
use crate::imaging::jpeg::bits::Bits;
use crate::imaging::jpeg::bits::REFILLED;
use crate::imaging::jpeg::huffman::Symbol;
use crate::imaging::jpeg::lookahead::BlockTables;
use crate::imaging::jpeg::lookahead::END;
use crate::imaging::jpeg::lookahead::LAST;
use crate::imaging::jpeg::lookahead::LEAD_LAST;
use crate::imaging::jpeg::lookahead::LOOKAHEAD_BITS;
use crate::imaging::jpeg::lookahead::LeadEnd;
use crate::imaging::jpeg::planes::Plane;
use crate::imaging::jpeg::planes::Scale;
use crate::imaging::jpeg::planes::Window;
use crate::imaging::jpeg::scan::Restarts;
use crate::imaging::jpeg::scan::ScanData;

/// Bits that passing over symbols needs: those of the longest one, 16 of its code and 10 of its number. After a DC
/// coefficient, of 27 at most, there are still so many.
const PASS_BITS: u32 = 26;

const _: () = assert!(REFILLED - 27 >= PASS_BITS, "one refill is enough for both");

/// Place of each coefficient of the zigzag order in a block of eight columns.
/// Source: ITU-T T.81, figure 5.
pub(super) const ZIGZAG: [u8; 64] = [
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20,
    13, 6, 7, 14, 21, 28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59,
    52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63,
];

/// The same in a block of the lowest three columns and rows; 255: not among them.
pub(super) const THREE_EIGHTHS_PLACES: [u8; 13] = [0, 1, 3, 6, 4, 2, 255, 5, 7, 255, 255, 255, 8];

/// The same in a block of the lowest four columns and rows; 255: not among them.
pub(super) const HALF_PLACES: [u8; 25] = [
    0, 1, 4, 8, 5, 2, 3, 6, 9, 12, 255, 13, 10, 7, 255, 255, 255, 11, 14, 255, 255, 255, 255, 255,
    15,
];

/// One component of a scan: its tables, its running DC value, and where its samples go.
pub(super) struct Channel<'p> {
    /// Its Huffman tables.
    pub tables: Rc<BlockTables>,
    /// Quantization steps in zigzag order.
    pub steps: [i32; 64],
    /// Blocks across and down in a unit of the scan.
    pub blocks: (u32, u32),
    /// Where the samples go.
    pub plane: &'p mut Plane,
    /// The DC value of the last block.
    pub last_dc: i32,
    /// Where the samples of the next unit begin.
    pub next: usize,
}

/// The units of a scan: MCUs, or blocks if it has a single component.
pub(super) struct Units {
    /// All of them.
    pub count: Size,
    /// Those that are shown.
    pub window: Window,
}

/// Decodes a scan.
///
/// # Errors
///
/// [`Declined`] for damaged data.
pub(super) fn decode(
    data: &ScanData,
    restart_interval: u32,
    units: &Units,
    channels: &mut [Channel<'_>],
) -> Result<(), Declined> {
    let (mut restarts, mut bits) = Restarts::begin(data, restart_interval)?;
    for row in 0..units.window.rows.end.min(units.count.height) {
        let shown = if units.window.rows.contains(&row) {
            units.window.columns.clone()
        } else {
            0..0
        };
        for channel in channels.iter_mut() {
            channel.begin_row(shown.start, row);
        }
        for column in 0..units.count.width {
            if restarts.next(&mut bits)? {
                for channel in channels.iter_mut() {
                    channel.last_dc = 0;
                }
            }
            if shown.contains(&column) {
                for channel in channels.iter_mut() {
                    channel.decode_unit(&mut bits);
                }
            } else {
                for channel in channels.iter_mut() {
                    channel.pass_over_unit(&mut bits);
                }
            }
        }
        if !bits.is_sound() {
            return Err(Declined("damaged data"));
        }
    }
    Ok(())
}

impl Channel<'_> {
    /// Goes to the first unit of a row that is shown.
    fn begin_row(&mut self, column: u32, row: u32) {
        let (across, down) = self.blocks;
        let (column, row) = (column.wrapping_mul(across), row.wrapping_mul(down));
        self.next = self.plane.start_of(column, row);
    }

    #[inline(always)]
    fn decode_unit(&mut self, bits: &mut Bits<'_>) {
        let (across, down) = self.blocks;
        let side = index(self.plane.scale.side());
        let mut row = self.next;
        for _ in 0..down {
            let mut start = row;
            for _ in 0..across {
                self.decode_block(bits, start);
                start = start.wrapping_add(side);
            }
            row = row.wrapping_add(self.plane.stride.wrapping_mul(side));
        }
        self.next = self.next.wrapping_add(side.wrapping_mul(index(across)));
    }

    #[inline(always)]
    fn pass_over_unit(&mut self, bits: &mut Bits<'_>) {
        let (across, down) = self.blocks;
        for _ in 0..across.wrapping_mul(down) {
            self.decode_only_dc(bits);
        }
    }

    #[inline(always)]
    fn decode_block(&mut self, bits: &mut Bits<'_>, start: usize) {
        match self.plane.scale {
            Scale::Eighth => {
                let lowest = self.decode_only_dc(bits);
                self.plane.put_eighth(start, lowest);
            }
            Scale::Quarter => {
                let lowest = self.decode_dc(bits);
                let coefficients = self.decode_lead(bits, lowest);
                self.plane.put_quarter(start, coefficients);
            }
            Scale::ThreeEighths => {
                let lowest = self.decode_dc(bits);
                let mut coefficients = [0; 9];
                if self.decode_lowest(bits, &THREE_EIGHTHS_PLACES, &mut coefficients) {
                    coefficients[0] = lowest;
                    self.plane.put_three_eighths(start, &coefficients);
                } else {
                    self.plane.put_flat::<3>(start, lowest);
                }
            }
            Scale::Half => {
                let lowest = self.decode_dc(bits);
                let mut coefficients = [0; 16];
                if self.decode_lowest(bits, &HALF_PLACES, &mut coefficients) {
                    coefficients[0] = lowest;
                    self.plane.put_half(start, &coefficients);
                } else {
                    self.plane.put_flat::<4>(start, lowest);
                }
            }
            Scale::Full => {
                let lowest = self.decode_dc(bits);
                let mut coefficients = [0; 64];
                if self.decode_lowest(bits, &ZIGZAG, &mut coefficients) {
                    coefficients[0] = lowest;
                    self.plane.put_full(start, &coefficients);
                } else {
                    self.plane.put_flat::<8>(start, lowest);
                }
            }
        }
    }

    /// The DC coefficient, dequantized. Leaves [`PASS_BITS`] valid.
    #[inline(always)]
    fn decode_dc(&mut self, bits: &mut Bits<'_>) -> i32 {
        bits.refill();
        let symbol = bits.symbol(&self.tables.dc);
        self.last_dc = self.last_dc.wrapping_add(bits.number_of(symbol));
        bits.drop(symbol.bits());
        self.last_dc.wrapping_mul(self.steps[0])
    }

    /// The same, and passes over the rest of the block.
    #[inline(always)]
    fn decode_only_dc(&mut self, bits: &mut Bits<'_>) -> i32 {
        bits.refill();
        let head = self.tables.head(bits.peek::<LOOKAHEAD_BITS>());
        let mut place = 1;
        if head.is_known() {
            self.last_dc = self.last_dc.wrapping_add(head.difference());
            bits.drop(head.skip().bits());
            place = head.skip().advance().wrapping_add(1);
        } else {
            let symbol = bits.symbol(&self.tables.dc);
            self.last_dc = self.last_dc.wrapping_add(bits.number_of(symbol));
            bits.drop(symbol.bits());
        }
        if place <= LAST {
            pass_over(bits, &self.tables, place);
        }
        self.last_dc.wrapping_mul(self.steps[0])
    }

    /// The four coefficients that two by two samples need, dequantized.
    #[inline(always)]
    fn decode_lead(&self, bits: &mut Bits<'_>, lowest: i32) -> [i32; 4] {
        let lead = self.tables.lead(bits.peek::<LOOKAHEAD_BITS>());
        bits.drop(lead.bits());
        let mut found = lead.coefficients();
        let mut place = lead.next();
        if lead.end() == LeadEnd::Open {
            place = self.decode_rest_of_lead(bits, place, &mut found);
        }
        if lead.end() != LeadEnd::Block && place <= LAST {
            bits.refill();
            pass_over(bits, &self.tables, place);
        }
        let [across, down, both] = found;
        [
            lowest,
            across.wrapping_mul(self.steps[1]),
            down.wrapping_mul(self.steps[2]),
            both.wrapping_mul(self.steps[4]),
        ]
    }

    /// The same symbol by symbol, from a place on. Tells the next place, which is beyond the block if that is at its end.
    #[inline(always)]
    fn decode_rest_of_lead(
        &self,
        bits: &mut Bits<'_>,
        mut place: u32,
        found: &mut [i32; 3],
    ) -> u32 {
        let [across, down, both] = found;
        while place <= LEAD_LAST {
            bits.refill();
            let symbol = bits.symbol(&self.tables.ac);
            let number = bits.number_of(symbol);
            bits.drop(symbol.bits());
            if is_end(bits, symbol) {
                return END;
            }
            place = place.wrapping_add(symbol.run());
            match place {
                1 => *across = number,
                2 => *down = number,
                LEAD_LAST => *both = number,
                _ => {}
            }
            place = place.wrapping_add(1);
        }
        place
    }

    /// Dequantizes the AC coefficients that have a place, and passes over the others. Tells whether there were any.
    #[inline]
    fn decode_lowest<const N: usize>(
        &self,
        bits: &mut Bits<'_>,
        places: &[u8],
        coefficients: &mut [i32; N],
    ) -> bool {
        let mut nth = 1_usize;
        let mut is_flat = true;
        while nth < places.len() {
            bits.refill();
            let symbol = bits.symbol(&self.tables.ac);
            let number = bits.number_of(symbol);
            bits.drop(symbol.bits());
            if is_end(bits, symbol) {
                return !is_flat;
            }
            nth = nth.wrapping_add(index(symbol.run()));
            if let (Some(place), Some(step)) = (places.get(nth), self.steps.get(nth))
                && let Some(coefficient) = coefficients.get_mut(usize::from(*place))
                && number != 0
            {
                *coefficient = number.wrapping_mul(*step);
                is_flat = false;
            }
            nth = nth.wrapping_add(1);
        }
        bits.refill();
        pass_over(bits, &self.tables, u32::try_from(nth).unwrap_or(u32::MAX));
        !is_flat
    }
}

/// Passes over the symbols of a block from a place in the zigzag order on. Needs [`PASS_BITS`] valid bits.
#[inline(always)]
fn pass_over(bits: &mut Bits<'_>, tables: &BlockTables, mut place: u32) {
    while place <= LAST {
        if pass_some(bits, tables, &mut place) {
            return;
        }
        bits.refill();
        if place <= LAST && pass_some(bits, tables, &mut place) {
            return;
        }
    }
    if place > LAST.wrapping_add(1) {
        bits.note_damage();
    }
}

/// Passes over as many symbols as the table knows at once, or else over one. Tells whether the block is at its end.
#[inline(always)]
fn pass_some(bits: &mut Bits<'_>, tables: &BlockTables, place: &mut u32) -> bool {
    let skip = tables.skip(bits.peek::<LOOKAHEAD_BITS>());
    let next = place.wrapping_add(skip.advance());
    if next <= LAST {
        bits.drop(skip.bits());
        *place = next;
        return false;
    }
    if (END..=END.wrapping_add(LAST)).contains(&next) {
        bits.drop(skip.bits());
        return true;
    }
    // The code is too long, or some of the symbols may belong to the next block.
    let symbol = bits.symbol(&tables.ac);
    bits.drop(symbol.bits());
    *place = place.wrapping_add(symbol.run()).wrapping_add(1);
    is_end(bits, symbol)
}

/// Whether a symbol ends the block. Those that only progressive files have are damage.
#[inline(always)]
fn is_end(bits: &mut Bits<'_>, symbol: Symbol) -> bool {
    if !symbol.is_without_number() || symbol.is_sixteen_zeros() {
        return false;
    }
    if symbol.run() != 0 {
        bits.note_damage();
    }
    true
}

#[inline]
fn index(value: u32) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}
