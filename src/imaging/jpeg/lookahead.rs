//! Tables that take in several AC symbols at once, for decoders that throw most of a photo away.
//!
//! Both are found by the next twelve bits of the data. [`Skip`] passes over coefficients that the scale cannot show: two or
//! three at a time in a photo. [`Lead`] reads the coefficients that a quarter-size picture needs, often all three at once.

#![expect(
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    reason = "bit fields of known width: lengths are at most 16, sizes 10, positions 63"
)]

use crate::imaging::jpeg::Declined;
use crate::imaging::jpeg::huffman::Class;
use crate::imaging::jpeg::huffman::Definition;
use crate::imaging::jpeg::huffman::Symbol;
use crate::imaging::jpeg::huffman::Table;

/// Bits by which several symbols are found at once.
pub(super) const LOOKAHEAD_BITS: u32 = 12;

const LENGTH: usize = 1 << LOOKAHEAD_BITS;

/// Largest size of a coefficient that a [`Lead`] holds, in bits.
const LEAD_SIZE_MAX: u32 = 5;

/// Last coefficient of the zigzag order that a quarter-size picture needs.
pub(super) const LEAD_LAST: u32 = 4;

/// Last coefficient of a block.
const LAST: u32 = 63;

/// A table of AC symbols with its arrangements for several at once.
#[derive(Debug)]
pub(super) struct AcTable {
    /// One symbol at a time.
    pub single: Table,
    skip: [Skip; LENGTH],
    lead: [Lead; LENGTH],
}

impl AcTable {
    /// Arranges a definition.
    ///
    /// # Errors
    ///
    /// See [`Table::new`].
    pub(super) fn new(definition: &Definition) -> Result<Self, Declined> {
        let single = Table::new(Class::Ac, definition)?;
        let mut table = Self {
            single,
            skip: [Skip::default(); LENGTH],
            lead: [Lead::default(); LENGTH],
        };
        for (index, (skip, lead)) in (0..).zip(table.skip.iter_mut().zip(table.lead.iter_mut())) {
            let ahead = Ahead {
                table: &table.single,
                bits: index,
                used: 0,
            };
            *skip = Skip::read(ahead);
            *lead = Lead::read(ahead);
        }
        Ok(table)
    }

    /// What to pass over, by the next [`LOOKAHEAD_BITS`].
    #[inline]
    #[expect(clippy::indexing_slicing, reason = "twelve bits index 4,096 places")]
    pub(super) fn skip(&self, next_bits: usize) -> Skip {
        self.skip[next_bits & (LENGTH - 1)]
    }

    /// What a block begins with, by the next [`LOOKAHEAD_BITS`].
    #[inline]
    #[expect(clippy::indexing_slicing, reason = "twelve bits index 4,096 places")]
    pub(super) fn lead(&self, next_bits: usize) -> Lead {
        self.lead[next_bits & (LENGTH - 1)]
    }
}

/// Twelve known bits, of which some have been used.
#[derive(Clone, Copy)]
struct Ahead<'a> {
    table: &'a Table,
    bits: u32,
    used: u32,
}

impl Ahead<'_> {
    fn left(self) -> u32 {
        LOOKAHEAD_BITS.saturating_sub(self.used)
    }

    fn window(self) -> u64 {
        u64::from(self.bits) << (64 - LOOKAHEAD_BITS) << self.used
    }

    /// The next symbol, if all bits of its code are known.
    fn symbol(self) -> Option<Symbol> {
        let window = self.window();
        let short = self.table.short(window);
        let symbol = if short.is_known() {
            short
        } else {
            self.table.long(window)?
        };
        (symbol.code_bits() <= self.left()).then_some(symbol)
    }

    /// The number after a symbol's code, if all its bits are known too. Source: ITU-T T.81, F.2.2.1, EXTEND.
    fn number(self, symbol: Symbol) -> Option<i32> {
        let size = symbol.size();
        if symbol.bits() > self.left() || size == 0 || size > LEAD_SIZE_MAX {
            return None;
        }
        let bits = self.window() << symbol.code_bits() >> (64 - size);
        let number = i32::try_from(bits).ok()?;
        Some(if number >> (size - 1) == 0 {
            number - (1 << size) + 1
        } else {
            number
        })
    }
}

/// Several symbols to be passed over. 5 bits: their length; 6 bits: coefficients passed; 1 bit: whether the block ends.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Skip(u16);

impl Skip {
    /// Passes symbols while their codes are known; the numbers need not be, for nobody wants them.
    fn read(mut ahead: Ahead<'_>) -> Self {
        let mut passed = 0;
        let mut ends_block = false;
        while let Some(symbol) = ahead.symbol() {
            if symbol.is_without_number() && !symbol.is_sixteen_zeros() {
                // End-of-band runs are for progressive files only.
                ends_block = symbol.run() == 0;
                ahead.used += if ends_block { symbol.bits() } else { 0 };
                break;
            }
            if passed + symbol.run() + 1 > LAST {
                break;
            }
            passed += symbol.run() + 1;
            ahead.used += symbol.bits();
        }
        Self((ahead.used | passed << 5 | u32::from(ends_block) << 11) as u16)
    }

    /// Bits of the symbols and of the numbers after them; 0 if not even one symbol is known.
    #[inline]
    pub(super) const fn bits(self) -> u32 {
        (self.0 & 31) as u32
    }

    /// Coefficients passed.
    #[inline]
    pub(super) const fn passed(self) -> u32 {
        ((self.0 >> 5) & 63) as u32
    }

    /// Whether the last of the symbols ends the block.
    #[inline]
    pub(super) const fn ends_block(self) -> bool {
        self.0 >> 11 != 0
    }
}

/// The first symbols of a block. Three times 6 bits: coefficients 1, 2 and 4 of the zigzag order; 4 bits: length; 3 bits: place
/// of the next coefficient; 2 bits: see [`LeadEnd`].
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Lead(u32);

/// How far a [`Lead`] has come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum LeadEnd {
    /// The next symbol may still be one of the first coefficients.
    Open,
    /// The next symbol is a higher one.
    Higher,
    /// The block is at its end.
    Block,
}

impl Lead {
    fn read(mut ahead: Ahead<'_>) -> Self {
        let mut coefficients = [0; LEAD_LAST as usize + 1];
        let mut next = 1;
        let mut end = LeadEnd::Open;
        while let Some(symbol) = ahead.symbol() {
            if symbol.is_without_number() && symbol.run() == 0 {
                ahead.used += symbol.bits();
                end = LeadEnd::Block;
                break;
            }
            if next + symbol.run() > LEAD_LAST {
                end = LeadEnd::Higher;
                break;
            }
            let Some(number) = ahead.number(symbol) else {
                break;
            };
            next += symbol.run();
            if let Some(coefficient) = coefficients.get_mut(next as usize) {
                *coefficient = number;
            }
            next += 1;
            ahead.used += symbol.bits();
            if next > LEAD_LAST {
                end = LeadEnd::Higher;
                break;
            }
        }
        let [_, one, two, _, four] = coefficients;
        let six_bits = |value: i32| value.cast_unsigned() & 63;
        let end = match end {
            LeadEnd::Open => 0,
            LeadEnd::Higher => 1,
            LeadEnd::Block => 2,
        };
        let fields = [(ahead.used, 18), (next, 22), (end, 25)];
        let fields = fields.iter().map(|(value, shift)| value << shift);
        let numbers = six_bits(one) | six_bits(two) << 6 | six_bits(four) << 12;
        Self(fields.fold(numbers, |all, field| all | field))
    }

    /// Coefficients 1, 2 and 4 of the zigzag order; 0 where there was none.
    #[inline]
    pub(super) const fn coefficients(self) -> [i32; 3] {
        let value = self.0.cast_signed();
        [value << 26 >> 26, value << 20 >> 26, value << 14 >> 26]
    }

    /// Bits of all that was read.
    #[inline]
    pub(super) const fn bits(self) -> u32 {
        (self.0 >> 18) & 15
    }

    /// Place of the next coefficient in the zigzag order.
    #[inline]
    pub(super) const fn next(self) -> u32 {
        (self.0 >> 22) & 7
    }

    /// What comes next.
    #[inline]
    pub(super) const fn end(self) -> LeadEnd {
        match self.0 >> 25 {
            0 => LeadEnd::Open,
            1 => LeadEnd::Higher,
            _ => LeadEnd::Block,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Codes 00: end of block, 01: one coefficient of 1 bit, 10: one zero and a coefficient of 2 bits, 110: sixteen zeros.
    fn table() -> AcTable {
        let mut counts = [0; 16];
        counts[1] = 3;
        counts[2] = 1;
        AcTable::new(&Definition {
            counts,
            symbols: vec![0x00, 0x01, 0x12, 0xF0],
        })
        .unwrap()
    }

    #[test]
    fn skip_passes_several_symbols_and_the_end() {
        // 01 1 · 10 11 · 00 · rest
        let skip = table().skip(0b0111_0110_0111);

        assert_eq!(
            (skip.bits(), skip.passed(), skip.ends_block()),
            (9, 3, true)
        );
    }

    #[test]
    fn skip_may_end_in_unknown_bits_of_a_number() {
        // 110 · 110 · 110 · 01 1
        let zeros = table().skip(0b1101_1011_0011);
        // 110 · 110 · 110 · 10 1?
        let beyond = table().skip(0b1101_1011_0101);

        assert_eq!((zeros.bits(), zeros.passed()), (12, 49));
        assert_eq!((beyond.bits(), beyond.passed()), (13, 50));
        assert!(!beyond.ends_block());
    }

    #[test]
    fn lead_reads_the_first_coefficients() {
        // 01 0 · 10 01 · 01 1 · 00
        let lead = table().lead(0b0101_0010_1100);

        // Coefficient 3 is read but not wanted, 4 is.
        assert_eq!(lead.coefficients(), [-1, 0, 1]);
        assert_eq!(lead.end(), LeadEnd::Higher);
        assert_eq!((lead.bits(), lead.next()), (10, 5));
    }

    #[test]
    fn lead_of_an_empty_block_is_its_end() {
        let lead = table().lead(0);

        assert_eq!(lead.coefficients(), [0; 3]);
        assert_eq!((lead.bits(), lead.end()), (2, LeadEnd::Block));
    }

    #[test]
    fn lead_of_sixteen_zeros_is_higher() {
        let lead = table().lead(0b1101_1011_0110);

        assert_eq!((lead.bits(), lead.end()), (0, LeadEnd::Higher));
    }
}
