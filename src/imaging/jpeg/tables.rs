//! The tables that scans need, as segments define and redefine them.

use std::rc::Rc;

use crate::imaging::bytes::Bytes;
use crate::imaging::jpeg::Declined;
use crate::imaging::jpeg::huffman::Definition;

/// A quantization table: the step of each coefficient, in zigzag order.
pub(super) type Steps = [u16; 64];

/// Everything that is defined outside of scans. Definitions are shared: each scan keeps those of its time.
#[derive(Clone, Debug, Default)]
pub(super) struct Tables {
    /// Quantization tables.
    pub quantization: [Option<Rc<Steps>>; 4],
    /// Huffman tables for DC differences.
    pub dc: [Option<Rc<Definition>>; 4],
    /// Huffman tables for AC coefficients.
    pub ac: [Option<Rc<Definition>>; 4],
    /// MCUs between two restart markers; 0: there are none.
    pub restart_interval: u32,
}

impl Tables {
    /// Takes in a segment; those that define no tables are ignored.
    ///
    /// # Errors
    ///
    /// [`Declined`] for incomplete definitions.
    pub(super) fn read(&mut self, marker: u8, data: &[u8]) -> Result<(), Declined> {
        let mut bytes = Bytes::new(data);
        while !bytes.rest().is_empty() {
            let definition = match marker {
                0xC4 => self.huffman(&mut bytes),
                0xDB => self.quantization(&mut bytes),
                0xDD => self.restart_interval(&mut bytes),
                _ => return Ok(()),
            };
            definition.ok_or(Declined("an incomplete table"))?;
        }
        Ok(())
    }

    /// Source: ITU-T T.81, B.2.4.2.
    fn huffman(&mut self, bytes: &mut Bytes<'_>) -> Option<()> {
        let class_and_place = bytes.u8()?;
        let counts: [u8; 16] = bytes.array()?;
        let length = counts.iter().map(|count| usize::from(*count)).sum();
        let definition = Definition {
            counts,
            symbols: bytes.take(length)?.to_vec(),
        };
        let tables = match class_and_place >> 4 {
            0 => &mut self.dc,
            1 => &mut self.ac,
            _ => return None,
        };
        *tables.get_mut(usize::from(class_and_place & 15))? = Some(Rc::new(definition));
        Some(())
    }

    /// Source: ITU-T T.81, B.2.4.1.
    fn quantization(&mut self, bytes: &mut Bytes<'_>) -> Option<()> {
        let precision_and_place = bytes.u8()?;
        let mut steps = [0; 64];
        for step in &mut steps {
            *step = match precision_and_place >> 4 {
                0 => bytes.u8().map(u16::from)?,
                1 => bytes.u16()?,
                _ => return None,
            };
        }
        let place = usize::from(precision_and_place & 15);
        *self.quantization.get_mut(place)? = Some(Rc::new(steps));
        Some(())
    }

    /// Source: ITU-T T.81, B.2.4.4.
    fn restart_interval(&mut self, bytes: &mut Bytes<'_>) -> Option<()> {
        self.restart_interval = u32::from(bytes.u16()?);
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_keep_what_segments_define() {
        let mut tables = Tables::default();
        let counts = [1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let huffman = [&[0x11][..], &counts, &[7, 9]].concat();
        let two = [&[0][..], &[5; 64], &[0x13], &[1, 2].repeat(64)].concat();

        tables.read(0xC4, &huffman).unwrap();
        tables.read(0xDB, &two).unwrap();
        tables.read(0xDD, &[1, 0]).unwrap();

        assert_eq!(tables.ac[1].as_ref().unwrap().symbols, [7, 9]);
        assert_eq!(tables.quantization[0].as_deref(), Some(&[5; 64]));
        assert_eq!(tables.quantization[3].as_deref(), Some(&[258; 64]));
        assert_eq!(tables.restart_interval, 256);
    }

    #[test]
    fn tables_that_are_incomplete_or_out_of_place_are_declined() {
        let mut tables = Tables::default();

        assert!(tables.read(0xDB, &[0; 64]).is_err());
        assert!(
            tables
                .read(0xDB, &[[4].as_slice(), &[1; 64]].concat())
                .is_err()
        );
        assert!(tables.read(0xC4, &[0x20; 17]).is_err());
        assert!(tables.read(0xDD, &[1]).is_err());
    }
}
