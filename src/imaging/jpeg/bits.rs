//! Reads bits of entropy-coded data, most significant first. Never fails: beyond the end there are zeros, and
//! [`Bits::is_sound`] tells afterwards that something was wrong.

#![expect(
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    reason = "the innermost loop of the decoder; all values have fewer bits than their types"
)]

use crate::imaging::jpeg::huffman::Symbol;
use crate::imaging::jpeg::huffman::Table;

/// Fewest bits that are there after [`Bits::refill`].
pub(super) const REFILLED: u32 = 56;

/// A position in one segment of entropy-coded data, from which stuffed zeros have been removed.
///
/// Small and `Copy`, and no function that is not inlined gets a reference to it: so it lives in registers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bits<'a> {
    /// What has not been taken into the window.
    rest: &'a [u8],
    /// The next bits, the first one on top.
    window: u64,
    /// How many bits of the window are valid.
    count: u32,
    /// How many bytes have been taken from beyond the end of the segment.
    beyond: u32,
    /// Whether a code was met that the table does not have.
    damaged: bool,
}

impl<'a> Bits<'a> {
    /// The beginning of a segment.
    pub(super) const fn new(segment: &'a [u8]) -> Self {
        Self {
            rest: segment,
            window: 0,
            count: 0,
            beyond: 0,
            damaged: false,
        }
    }

    /// Fills the window: at least [`REFILLED`] bits are valid afterwards.
    #[expect(clippy::inline_always, reason = "the reader is to stay in registers")]
    #[inline(always)]
    pub(super) fn refill(&mut self) {
        let Some(next) = self.rest.first_chunk() else {
            *self = self.refilled_at_the_end();
            return;
        };
        // Bits that the window already has are written once more, as what they are.
        self.window |= u64::from_be_bytes(*next).wrapping_shr(self.count);
        let taken = (63_u32.wrapping_sub(self.count) >> 3) & 7;
        self.rest = self.rest.get(taken as usize..).unwrap_or_default();
        self.count |= REFILLED;
    }

    /// The same where fewer than eight bytes are left: zeros follow them.
    #[cold]
    #[inline(never)]
    fn refilled_at_the_end(mut self) -> Self {
        while self.count < REFILLED {
            let next = self.rest.split_off_first();
            if next.is_none() {
                self.beyond = self.beyond.saturating_add(1);
            }
            let byte = next.copied().unwrap_or_default();
            self.window |= (u64::from(byte) << 56).wrapping_shr(self.count);
            self.count = self.count.wrapping_add(8);
        }
        self
    }

    /// The next `COUNT` bits, which stay.
    #[inline]
    pub(super) const fn peek<const COUNT: u32>(&self) -> usize {
        (self.window >> 64_u32.wrapping_sub(COUNT)) as usize
    }

    /// Drops bits: no more than are valid.
    #[inline]
    pub(super) const fn drop(&mut self, count: u32) {
        self.window = self.window.wrapping_shl(count);
        self.count = self.count.wrapping_sub(count);
    }

    /// Takes a few bits as a number: no more than are valid, and less than 32.
    #[inline]
    pub(super) const fn take(&mut self, count: u32) -> u32 {
        let value = (self.window >> 1).wrapping_shr(63_u32.wrapping_sub(count));
        self.drop(count);
        value as u32
    }

    /// The next symbol, which stays. Needs 16 valid bits.
    #[inline]
    pub(super) fn symbol(&mut self, table: &Table) -> Symbol {
        let symbol = table.short(self.window);
        if symbol.is_known() {
            return symbol;
        }
        table.long(self.window).unwrap_or_else(|| {
            self.damaged = true;
            Symbol::END_OF_BLOCK
        })
    }

    /// The number that follows the code of a symbol that has not been dropped yet.
    /// Source: ITU-T T.81, F.2.2.1, procedure EXTEND.
    #[inline]
    pub(super) const fn number_of(&self, symbol: Symbol) -> i32 {
        let after_code = self.window.wrapping_shl(symbol.code_bits());
        let size = symbol.size();
        let number = (after_code >> 1).wrapping_shr(63_u32.wrapping_sub(size)) as i32;
        // A first bit of 0 means a negative number: all ones here, zero otherwise.
        let negative = !(after_code as i64 >> 63) as i32;
        number.wrapping_add(negative & 1_i32.wrapping_sub(1_i32.wrapping_shl(size)))
    }

    /// Notes damage that the caller has found.
    #[inline]
    pub(super) const fn note_damage(&mut self) {
        self.damaged = true;
    }

    /// Whether all codes so far were in their tables and all bits so far in the segment.
    pub(super) const fn is_sound(&self) -> bool {
        !self.damaged && self.beyond <= self.count >> 3
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_read_from_the_top_and_zeros_follow_the_end() {
        let mut bits = Bits::new(&[0b1010_0000, 0xFF]);

        bits.refill();

        assert_eq!(bits.take(3), 0b101);
        assert_eq!(bits.take(13), 0b0_0000_1111_1111);
        assert!(bits.is_sound());
        assert_eq!(bits.take(31), 0);
        assert!(!bits.is_sound());
    }

    #[test]
    fn refill_in_the_middle_of_a_byte_loses_nothing() {
        let bytes: Vec<u8> = (0..=255).collect();
        let mut bits = Bits::new(&bytes);
        let mut read = Vec::new();

        // 5 and 11 bits make two bytes.
        for _ in 0..128 {
            bits.refill();
            let high = bits.take(5);
            bits.refill();
            read.extend(
                u16::try_from((high << 11) | bits.take(11))
                    .unwrap()
                    .to_be_bytes(),
            );
        }

        assert_eq!(read, bytes);
        assert!(bits.is_sound());
    }
}
