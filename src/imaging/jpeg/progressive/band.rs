//! AC scans of progressive files, block by block. Source: ITU-T T.81, G.1.2.2 and G.1.2.3.

use crate::imaging::jpeg::bits::Bits;
use crate::imaging::jpeg::bits::REFILLED;
use crate::imaging::jpeg::huffman::Symbol;
use crate::imaging::jpeg::huffman::Table;
use crate::imaging::jpeg::progressive::plan::Places;
use crate::imaging::jpeg::progressive::store::Block;

/// One scan's band of coefficients, while it is read.
pub(super) struct Band<'t> {
    /// The scan's Huffman table.
    pub table: &'t Table,
    /// First and last place.
    pub first: u32,
    /// See `first`.
    pub last: u32,
    /// The bit that the scan adds (in a refining scan), or the lowest one that it gives.
    pub low: u32,
    /// How many further blocks have nothing in this band.
    pub ended: u32,
}

impl Band<'_> {
    /// Reads a block in the first scan of its band.
    #[inline]
    pub(super) fn read(&mut self, bits: &mut Bits<'_>, block: &mut Block<'_>) {
        if self.ended > 0 {
            self.ended = self.ended.wrapping_sub(1);
            return;
        }
        let mut place = self.first;
        while place <= self.last {
            bits.refill();
            let symbol = bits.symbol(self.table);
            if symbol.is_without_number() {
                bits.drop(symbol.bits());
                if !symbol.is_sixteen_zeros() {
                    self.ended = run_of_ends(bits, symbol).wrapping_sub(1);
                    return;
                }
                place = place.wrapping_add(16);
                continue;
            }
            let number = bits.number_of(symbol);
            bits.drop(symbol.bits());
            place = place.wrapping_add(symbol.run());
            if place > self.last {
                bits.note_damage();
                return;
            }
            *block.nonzero |= single(place);
            if let Some(value) = block.value(place) {
                *value = shifted(number, self.low);
            }
            place = place.wrapping_add(1);
        }
    }

    /// Reads a block in a scan that adds a bit.
    ///
    /// Between the symbols there is a bit for each coefficient that is passed and was not zero before. Sets of places count
    /// them without looking at each.
    #[inline]
    pub(super) fn refine(&mut self, bits: &mut Bits<'_>, block: &mut Block<'_>) {
        let known = *block.nonzero & below(self.last.wrapping_add(1));
        let mut place = self.first;
        while self.ended == 0 && place <= self.last {
            bits.refill();
            let symbol = bits.symbol(self.table);
            bits.drop(symbol.code_bits());
            let mut number = None;
            if symbol.is_without_number() {
                if !symbol.is_sixteen_zeros() {
                    self.ended = run_of_ends(bits, symbol);
                    break;
                }
            } else {
                number = Some(if bits.take(1) == 1 { 1 } else { -1 });
                if symbol.size() != 1 {
                    bits.note_damage();
                }
            }
            let target = nth_zero(known, place, symbol.run()).min(self.last.wrapping_add(1));
            self.correct(bits, block, known & from(place) & below(target));
            if let Some(number) = number {
                if target > self.last {
                    bits.note_damage();
                    return;
                }
                *block.nonzero |= single(target);
                if let Some(value) = block.value(target) {
                    *value = shifted(number, self.low);
                }
            }
            place = target.wrapping_add(1);
        }
        if self.ended > 0 {
            self.ended = self.ended.wrapping_sub(1);
            self.correct(bits, block, known & from(place));
        }
    }

    /// Reads one bit for each of these coefficients.
    #[inline]
    fn correct(&self, bits: &mut Bits<'_>, block: &mut Block<'_>, mut places: Places) {
        // Those behind the last kept one need not be told apart.
        let mut kept = block.kept(places);
        while kept != 0 {
            let place = places.trailing_zeros();
            bits.refill();
            let is_set = bits.take(1) == 1;
            if let Some(value) = block.value(place)
                && is_set
            {
                *value = with_bit(*value, self.low);
            }
            places &= places.wrapping_sub(1);
            kept &= places;
        }
        pass(bits, places.count_ones());
    }
}

/// The blocks of a run that ends with this one: 2ʳ and a number of r bits more.
#[inline]
fn run_of_ends(bits: &mut Bits<'_>, symbol: Symbol) -> u32 {
    bits.refill();
    let run = symbol.run();
    single_u32(run).wrapping_add(bits.take(run))
}

/// Passes over up to 63 bits.
#[inline]
fn pass(bits: &mut Bits<'_>, count: u32) {
    let some = count.min(REFILLED);
    bits.refill();
    bits.drop(some);
    if count > some {
        bits.refill();
        bits.drop(count.wrapping_sub(some));
    }
}

/// The place of the zero behind `run` zeros, from a place on; 64 if there is none.
#[inline]
fn nth_zero(nonzero: Places, place: u32, run: u32) -> u32 {
    let mut zeros = !nonzero & from(place);
    for _ in 0..run {
        zeros &= zeros.wrapping_sub(1);
    }
    zeros.trailing_zeros()
}

/// The set of one place.
#[inline]
const fn single(place: u32) -> Places {
    1_u64.wrapping_shl(place)
}

/// The set of all places from this one on.
#[inline]
fn from(place: u32) -> Places {
    u64::MAX.checked_shl(place).unwrap_or(0)
}

/// The set of all places before this one.
#[inline]
fn below(place: u32) -> Places {
    !from(place)
}

#[inline]
const fn single_u32(bit: u32) -> u32 {
    1_u32.wrapping_shl(bit)
}

/// A new coefficient, of which lower bits may follow.
#[inline]
#[expect(
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    reason = "10 bits and at most 13 to follow: what does not fit is damage, and wraps"
)]
pub(super) const fn shifted(number: i32, low: u32) -> i16 {
    number.wrapping_shl(low) as i16
}

/// A coefficient with one more bit, away from zero.
#[inline]
const fn with_bit(value: i16, low: u32) -> i16 {
    let bit = 1_i16.wrapping_shl(low);
    if value < 0 {
        value.wrapping_sub(bit)
    } else {
        value.wrapping_add(bit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nth_zero_passes_coefficients_that_are_not_zero() {
        let nonzero = 0b0110_0110;

        assert_eq!(nth_zero(nonzero, 1, 0), 3);
        assert_eq!(nth_zero(nonzero, 1, 1), 4);
        assert_eq!(nth_zero(nonzero, 1, 2), 7);
        assert_eq!(nth_zero(u64::MAX, 1, 0), 64);
        assert_eq!(nth_zero(0, 60, 15), 64);
    }

    #[test]
    fn bit_is_added_away_from_zero() {
        assert_eq!([with_bit(4, 1), with_bit(-4, 1)], [6, -6]);
    }
}
