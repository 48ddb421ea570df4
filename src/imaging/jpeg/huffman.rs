//! Huffman tables: from a file's definition to one that finds symbols fast.
//!
//! A symbol is found by the next ten bits, or by comparison if its code is longer.

#![expect(
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    reason = "bit fields of known width; lengths are at most 16, sizes 10, positions 63"
)]

use crate::imaging::jpeg::Declined;

/// Bits by which a symbol is found directly. With more, the tables leave the processor's first cache.
pub(super) const SHORT_BITS: u32 = 10;

/// Longest code, in bits. Source: ITU-T T.81, F.1.2.
const CODE_BITS_MAX: u32 = 16;

/// Largest size of an AC coefficient, in bits, of pictures with 8 bits. Source: ITU-T T.81, table F.2.
const AC_SIZE_MAX: u8 = 10;

/// Largest size of a DC difference. Source: ITU-T T.81, table F.1.
const DC_SIZE_MAX: u8 = 11;

/// A decoded symbol: how many coefficients are zero before the next one, how many bits that one has, and how long all
/// this is in the data. One byte each.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Symbol(u32);

impl Symbol {
    /// No more coefficients, one bit long: what an unknown code is taken for.
    pub(super) const END_OF_BLOCK: Self = Self::new(1, 0, 0);

    const fn new(code_bits: u32, run: u32, size: u32) -> Self {
        Self((code_bits + size) | code_bits << 8 | run << 16 | size << 24)
    }

    /// Bits of the code and of the number after it.
    pub(super) const fn bits(self) -> u32 {
        self.0 & 0xFF
    }

    /// Bits of the code.
    pub(super) const fn code_bits(self) -> u32 {
        (self.0 >> 8) & 0xFF
    }

    /// Zeros before the coefficient.
    pub(super) const fn run(self) -> u32 {
        (self.0 >> 16) & 0xFF
    }

    /// Bits of the number after the code.
    pub(super) const fn size(self) -> u32 {
        self.0 >> 24
    }

    /// Whether this is not an empty place in a table.
    pub(super) const fn is_known(self) -> bool {
        self.0 != 0
    }

    /// Whether no coefficient follows; see also [`Symbol::is_sixteen_zeros`].
    pub(super) const fn is_without_number(self) -> bool {
        self.size() == 0
    }

    /// The symbol for sixteen zeros, given that no number follows.
    pub(super) const fn is_sixteen_zeros(self) -> bool {
        self.run() == 15
    }
}

/// What a table's symbols mean.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Class {
    /// Sizes of DC differences.
    Dc,
    /// Runs and sizes of AC coefficients.
    Ac,
}

/// A table as it stands in the file: how many codes there are of each length, and their symbols.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Definition {
    /// Codes with 1 to 16 bits.
    pub counts: [u8; 16],
    /// Symbols in the order of their codes.
    pub symbols: Vec<u8>,
}

impl Definition {
    /// All codes: length, code, symbol. Source: ITU-T T.81, annex C.
    fn codes(&self) -> Result<Vec<(u32, u32, u8)>, Declined> {
        let mut codes = Vec::with_capacity(self.symbols.len());
        let mut symbols = self.symbols.iter();
        let mut code = 0_u32;
        for (length, count) in (1..).zip(self.counts) {
            for symbol in symbols.by_ref().take(usize::from(count)) {
                if code >> length != 0 {
                    return Err(Declined("a Huffman table with too many codes"));
                }
                codes.push((length, code, *symbol));
                code += 1;
            }
            code <<= 1;
        }
        Ok(codes)
    }
}

/// A table for finding symbols.
#[derive(Debug)]
pub(super) struct Table {
    short: [Symbol; 1 << SHORT_BITS],
    /// For each length: codes below this bound, left-aligned in 16 bits, and where their symbols begin.
    long: [(u32, i32); CODE_BITS_MAX as usize + 1],
    symbols: Vec<Symbol>,
}

impl Table {
    /// Arranges a definition.
    ///
    /// # Errors
    ///
    /// [`Declined`] for tables that pictures with 8 bits do not have.
    pub(super) fn new(class: Class, definition: &Definition) -> Result<Self, Declined> {
        let codes = definition.codes()?;
        let mut table = Self {
            short: [Symbol::default(); 1 << SHORT_BITS],
            long: [(0, 0); CODE_BITS_MAX as usize + 1],
            symbols: Vec::with_capacity(codes.len()),
        };
        for (nth, (length, code, symbol)) in (0..).zip(codes) {
            let symbol = meaning(class, length, symbol)?;
            table.symbols.push(symbol);
            if length <= SHORT_BITS {
                fill(&mut table.short, SHORT_BITS, length, code, symbol);
            }
            if let Some((bound, offset)) = table.long.get_mut(length as usize) {
                *bound = (code + 1) << (CODE_BITS_MAX - length);
                *offset = nth - code.cast_signed();
            }
        }
        Ok(table)
    }

    /// The symbol at the top of a window, if its code is short.
    #[inline]
    #[expect(clippy::indexing_slicing, reason = "ten bits index 1,024 places")]
    pub(super) fn short(&self, window: u64) -> Symbol {
        self.short[(window >> (64 - SHORT_BITS)) as usize]
    }

    /// The symbol at the top of a window, if its code is longer and there is one.
    pub(super) fn long(&self, window: u64) -> Option<Symbol> {
        let top = (window >> 48) as u32;
        let lengths = (0..).zip(self.long).skip(SHORT_BITS as usize + 1);
        for (length, (bound, offset)) in lengths {
            if top < bound {
                let code = top >> (CODE_BITS_MAX - length);
                let nth = usize::try_from(code.cast_signed() + offset).ok()?;
                return self.symbols.get(nth).copied();
            }
        }
        None
    }
}

/// The symbol that a byte of the definition stands for.
fn meaning(class: Class, length: u32, symbol: u8) -> Result<Symbol, Declined> {
    let (run, size, size_max) = match class {
        Class::Dc => (0, symbol, DC_SIZE_MAX),
        Class::Ac => (symbol >> 4, symbol & 15, AC_SIZE_MAX),
    };
    if size > size_max {
        return Err(Declined("a Huffman table for more than 8 bits"));
    }
    Ok(Symbol::new(length, u32::from(run), u32::from(size)))
}

/// Writes an entry to all places that begin with a code.
fn fill<T: Copy>(places: &mut [T], bits: u32, length: u32, code: u32, entry: T) {
    let first = (code << (bits - length)) as usize;
    let places = places.iter_mut().skip(first);
    for place in places.take(1 << (bits - length)) {
        *place = entry;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The AC luminance table that most files use, in part. Source: ITU-T T.81, table K.5.
    fn definition() -> Definition {
        Definition {
            counts: [0, 2, 1, 3, 3, 2, 4, 3, 5, 5, 4, 4, 0, 0, 1, 0],
            symbols: (0..37).map(|nth| nth % 10).collect(),
        }
    }

    #[test]
    fn table_finds_every_code() {
        let definition = definition();
        let table = Table::new(Class::Ac, &definition).unwrap();

        for (length, code, symbol) in definition.codes().unwrap() {
            let window = u64::from(code) << (64 - length) | (1 << 40);
            let short = table.short(window);
            let found = if length <= SHORT_BITS {
                short
            } else {
                assert!(!short.is_known());
                table.long(window).unwrap()
            };
            assert_eq!(found, meaning(Class::Ac, length, symbol).unwrap());
        }
    }

    #[test]
    fn table_without_the_code_finds_nothing() {
        let table = Table::new(Class::Ac, &definition()).unwrap();

        assert_eq!(table.long(u64::MAX), None);
    }

    #[test]
    fn definition_with_too_many_codes_or_bits_is_declined() {
        let crowded = Definition {
            counts: [3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            symbols: vec![0, 1, 2],
        };
        let deep = Definition {
            counts: [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            symbols: vec![12],
        };

        assert!(Table::new(Class::Dc, &crowded).is_err());
        assert!(Table::new(Class::Dc, &deep).is_err());
        assert!(Table::new(Class::Ac, &deep).is_err());
    }
}
