//! Tables that take in several AC symbols at once, for decoders that throw most of a photo away.
//!
//! All are found by the next twelve bits of the data. [`Skip`] passes over coefficients that the scale cannot show: two or
//! three at a time in a photo. [`Head`] does so from the beginning of a block, its DC difference included: most blocks of colour
//! differences are one. [`Lead`] reads the coefficients that a quarter-size picture needs, often all three at once.

#![expect(
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    reason = "bit fields of known width: lengths are at most 16, sizes 10, positions 63"
)]

use crate::imaging::jpeg::Declined;
use crate::imaging::jpeg::huffman::Class;
use crate::imaging::jpeg::huffman::Definition;
use crate::imaging::jpeg::huffman::SHORT_BITS;
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
pub(super) const LAST: u32 = 63;

/// What the end of a block adds to the place in it.
pub(super) const END: u32 = 128;

/// What a symbol adds that is not known.
const UNKNOWN: u32 = 256;

/// The tables of a component's blocks, with their arrangements for several symbols at once.
#[derive(Debug)]
pub(super) struct BlockTables {
    /// DC differences, one at a time.
    pub dc: Table,
    /// AC symbols, one at a time.
    pub ac: Table,
    heads: [Head; LENGTH],
    leads: [Lead; LENGTH],
    skips: [Skip; LENGTH],
}

impl BlockTables {
    /// Arranges the definitions of DC and AC symbols.
    ///
    /// # Errors
    ///
    /// See [`Table::new`].
    pub(super) fn new(dc: &Definition, ac: &Definition) -> Result<Self, Declined> {
        let mut tables = Self {
            dc: Table::new(Class::Dc, dc)?,
            ac: Table::new(Class::Ac, ac)?,
            heads: [Head::default(); LENGTH],
            leads: [Lead::default(); LENGTH],
            skips: [Skip::default(); LENGTH],
        };
        for (index, skip) in (0..).zip(&mut tables.skips) {
            *skip = Skip::read(Ahead::new(&tables.ac, index));
        }
        for (index, lead) in (0..).zip(&mut tables.leads) {
            *lead = Lead::read(Ahead::new(&tables.ac, index));
        }
        for (index, head) in (0..).zip(&mut tables.heads) {
            *head = Head::read(Ahead::new(&tables.dc, index), &tables.ac);
        }
        Ok(tables)
    }

    /// What a block begins with, its DC difference included, by the next [`LOOKAHEAD_BITS`].
    #[inline]
    #[expect(clippy::indexing_slicing, reason = "twelve bits index 4,096 places")]
    pub(super) fn head(&self, next_bits: usize) -> Head {
        self.heads[next_bits & (LENGTH - 1)]
    }

    /// What to pass over, by the next [`LOOKAHEAD_BITS`].
    #[inline]
    #[expect(clippy::indexing_slicing, reason = "twelve bits index 4,096 places")]
    pub(super) fn skip(&self, next_bits: usize) -> Skip {
        self.skips[next_bits & (LENGTH - 1)]
    }

    /// What the AC coefficients of a block begin with, by the next [`LOOKAHEAD_BITS`].
    #[inline]
    #[expect(clippy::indexing_slicing, reason = "twelve bits index 4,096 places")]
    pub(super) fn lead(&self, next_bits: usize) -> Lead {
        self.leads[next_bits & (LENGTH - 1)]
    }
}

/// Twelve known bits, of which some have been used.
#[derive(Clone, Copy)]
struct Ahead<'a> {
    table: &'a Table,
    bits: u32,
    used: u32,
}

impl<'a> Ahead<'a> {
    const fn new(table: &'a Table, bits: u32) -> Self {
        Self {
            table,
            bits,
            used: 0,
        }
    }

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
        } else if self.left() > SHORT_BITS {
            self.table.long(window)?
        } else {
            return None;
        };
        (symbol.code_bits() <= self.left()).then_some(symbol)
    }

    /// The number after a symbol's code, if all its bits are known too. Source: ITU-T T.81, F.2.2.1, EXTEND.
    fn number(self, symbol: Symbol) -> Option<i32> {
        let size = symbol.size();
        if symbol.bits() > self.left() {
            return None;
        }
        if size == 0 {
            return Some(0);
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

/// Several symbols to be passed over. 6 bits: their length; 10 bits: how far they advance in the zigzag order.
///
/// The end of the block is an advance to far beyond it, and so is a symbol that is not known: one comparison tells whether
/// the next symbols belong to the block, too.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Skip(u16);

impl Skip {
    /// Passes symbols while their codes are known; the numbers need not be, for nobody wants them.
    fn read(mut ahead: Ahead<'_>) -> Self {
        let mut advance = 0;
        let begin = ahead.used;
        while let Some(symbol) = ahead.symbol() {
            if symbol.is_without_number() && !symbol.is_sixteen_zeros() {
                // End-of-band runs are for progressive files only.
                if symbol.run() == 0 {
                    ahead.used += symbol.bits();
                    advance += END;
                }
                break;
            }
            // The first of them is at place 1 or higher.
            if advance + symbol.run() + 2 > LAST {
                break;
            }
            advance += symbol.run() + 1;
            ahead.used += symbol.bits();
        }
        if ahead.used == begin {
            advance = UNKNOWN;
        }
        Self((ahead.used | advance << 6) as u16)
    }

    /// Bits of the symbols and of the numbers after them.
    #[inline]
    pub(super) const fn bits(self) -> u32 {
        (self.0 & 63) as u32
    }

    /// Coefficients passed, and [`END`] or [`UNKNOWN`].
    #[inline]
    pub(super) const fn advance(self) -> u32 {
        (self.0 >> 6) as u32
    }
}

/// A block's DC difference and what is passed over after it. 16 bits: a [`Skip`] from the first AC coefficient on, the length
/// of which is that of all; 4 bits of nothing; 12 bits: the difference.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Head(u32);

impl Head {
    fn read<'a>(mut ahead: Ahead<'a>, ac: &'a Table) -> Self {
        let known = ahead
            .symbol()
            .and_then(|symbol| Some((symbol, ahead.number(symbol)?)));
        let Some((symbol, difference)) = known else {
            return Self::default();
        };
        ahead.used = symbol.bits();
        ahead.table = ac;
        let skip = Skip::read(ahead);
        let (bits, advance) = if skip.advance() == UNKNOWN {
            (symbol.bits(), 0)
        } else {
            (skip.bits(), skip.advance())
        };
        Self(bits | advance << 6 | difference.cast_unsigned() << 20)
    }

    /// Whether the DC difference is known.
    #[inline]
    pub(super) const fn is_known(self) -> bool {
        self.0 != 0
    }

    /// The DC difference.
    #[inline]
    pub(super) const fn difference(self) -> i32 {
        self.0.cast_signed() >> 20
    }

    /// What is passed over: bits of the DC difference, too, and the AC coefficients.
    #[inline]
    pub(super) const fn skip(self) -> Skip {
        Skip(self.0 as u16)
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
            if symbol.size() > LEAD_SIZE_MAX || symbol.is_without_number() {
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
    /// And of DC differences: 00: none, 01: 2 bits, 10: 8 bits.
    fn table() -> BlockTables {
        let mut counts = [0; 16];
        counts[1] = 3;
        let dc = Definition {
            counts,
            symbols: vec![0, 2, 8],
        };
        counts[2] = 1;
        let ac = Definition {
            counts,
            symbols: vec![0x00, 0x01, 0x12, 0xF0],
        };
        BlockTables::new(&dc, &ac).unwrap()
    }

    #[test]
    fn skip_passes_several_symbols_and_the_end() {
        // 01 1 · 10 11 · 00 · rest
        let skip = table().skip(0b0111_0110_0111);

        assert_eq!((skip.bits(), skip.advance()), (9, END + 3));
    }

    #[test]
    fn skip_may_end_in_unknown_bits_of_a_number() {
        // 110 · 110 · 110 · 01 1
        let zeros = table().skip(0b1101_1011_0011);
        // 110 · 110 · 110 · 10 1?
        let beyond = table().skip(0b1101_1011_0101);

        assert_eq!((zeros.bits(), zeros.advance()), (12, 49));
        assert_eq!((beyond.bits(), beyond.advance()), (13, 50));
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

    #[test]
    fn head_is_a_difference_and_what_is_passed_over() {
        // 01 00 · 10 11 · 00 · rest
        let head = table().head(0b0100_1011_0011);

        assert_eq!(head.difference(), -3);
        assert_eq!((head.skip().bits(), head.skip().advance()), (10, END + 2));
    }

    #[test]
    fn head_may_be_a_difference_alone() {
        // 10 1000 0000 · 11?
        let head = table().head(0b1010_0000_0011);

        assert_eq!(head.difference(), 128);
        assert_eq!((head.skip().bits(), head.skip().advance()), (10, 0));
    }

    #[test]
    fn head_without_a_whole_difference_is_unknown() {
        assert!(!table().head(0b1111_1111_1111).is_known());
    }

    #[test]
    fn head_passes_over_no_coefficient_that_is_not_there() {
        // 00 · 110 · 110 · 110 · 1: 48 coefficients, and 63 with another three bits.
        let head = table().head(0b0011_0110_1101);

        assert_eq!((head.skip().bits(), head.skip().advance()), (11, 48));
    }
}
