//! How a picture is divided: components, blocks, and the units in which blocks are interleaved (MCUs).

use crate::imaging::bytes::Bytes;
use crate::imaging::geometry::Size;
use crate::imaging::jpeg::Declined;

/// Pixels of a block's side.
pub(super) const BLOCK_SIDE: u32 = 8;

/// One colour component.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Component {
    /// The number by which scans name it.
    pub id: u8,
    /// Blocks across in an MCU: 1 or 2.
    pub across: u32,
    /// Blocks down in an MCU: 1 or 2.
    pub down: u32,
    /// Which quantization table.
    pub quantization: u8,
}

/// What a frame header says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Frame {
    /// Size of the picture.
    pub size: Size,
    /// Luma alone, or luma and two colour differences.
    pub components: Vec<Component>,
    /// Whether coefficients come in several scans.
    pub is_progressive: bool,
}

impl Frame {
    /// Reads a frame header.
    ///
    /// # Errors
    ///
    /// [`Declined`] for what photos do not have.
    pub(super) fn read(marker: u8, data: &[u8]) -> Result<Self, Declined> {
        let is_progressive = match marker {
            0xC0 | 0xC1 => false,
            0xC2 => true,
            _ => return Err(Declined("an unusual coding")),
        };
        let incomplete = Declined("an incomplete frame header");
        let mut bytes = Bytes::new(data);
        let mut fields = || Some((bytes.u8()?, bytes.u16()?, bytes.u16()?, bytes.u8()?));
        let (precision, height, width, count) = fields().ok_or(incomplete)?;
        let size = Size {
            width: u32::from(width),
            height: u32::from(height),
        };
        if precision != 8 || size.pixels() == 0 || !matches!(count, 1 | 3) {
            return Err(Declined("an unusual number of bits, lines or components"));
        }
        let components: Option<Vec<Component>> =
            (0..count).map(|_| component(&mut bytes)).collect();
        let mut frame = Self {
            size,
            components: components.ok_or(incomplete)?,
            is_progressive,
        };
        frame.check_sampling()?;
        Ok(frame)
    }

    /// Accepts luma at full size and colour differences at full or half size.
    fn check_sampling(&mut self) -> Result<(), Declined> {
        match self.components.as_mut_slice() {
            [only] => {
                // Whatever it says: a single component is not interleaved. Source: ITU-T T.81, A.2.2.
                (only.across, only.down) = (1, 1);
                Ok(())
            }
            [luma, blue, red]
                if matches!((luma.across, luma.down), (1 | 2, 1 | 2))
                    && [blue.across, red.across] == [1, 1]
                    && [blue.down, red.down] == [1, 1] =>
            {
                Ok(())
            }
            _ => Err(Declined("an unusual sampling")),
        }
    }

    /// Blocks of an MCU, across and down: those of luma.
    pub(super) fn mcu_blocks(&self) -> (u32, u32) {
        self.components
            .first()
            .map_or((1, 1), |luma| (luma.across, luma.down))
    }

    /// Pixels of an MCU, across and down.
    pub(super) fn mcu_pixels(&self) -> (u32, u32) {
        let (across, down) = self.mcu_blocks();
        (
            across.saturating_mul(BLOCK_SIDE),
            down.saturating_mul(BLOCK_SIDE),
        )
    }

    /// MCUs of the picture, across and down.
    pub(super) fn mcus(&self) -> Size {
        let (width, height) = self.mcu_pixels();
        Size {
            width: self.size.width.div_ceil(width),
            height: self.size.height.div_ceil(height),
        }
    }

    /// Blocks of a component in a scan of its own: no more than the picture needs.
    pub(super) fn own_blocks(&self, component: &Component) -> Size {
        let (width, height) = self.mcu_pixels();
        let blocks =
            |pixels: u32, blocks: u32, mcu: u32| pixels.saturating_mul(blocks).div_ceil(mcu);
        Size {
            width: blocks(self.size.width, component.across, width),
            height: blocks(self.size.height, component.down, height),
        }
    }
}

fn component(bytes: &mut Bytes<'_>) -> Option<Component> {
    let id = bytes.u8()?;
    let sampling = bytes.u8()?;
    Some(Component {
        id,
        across: u32::from(sampling >> 4),
        down: u32::from(sampling & 15),
        quantization: bytes.u8()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(luma: u8, differences: u8) -> Result<Frame, Declined> {
        let components = [1, luma, 0, 2, differences, 1, 3, differences, 1];
        let header = [&[8, 0, 17, 0, 33, 3], &components[..]].concat();
        Frame::read(0xC0, &header)
    }

    #[test]
    fn frame_counts_mcus_and_blocks() {
        let frame = frame(0x21, 0x11).unwrap();
        let [luma, blue, _] = frame.components[..] else {
            panic!("three components");
        };

        assert_eq!(frame.mcu_pixels(), (16, 8));
        assert_eq!((frame.mcus().width, frame.mcus().height), (3, 3));
        let blocks = [luma, blue].map(|component| frame.own_blocks(&component));
        assert_eq!(
            blocks.map(|size| (size.width, size.height)),
            [(5, 3), (3, 3)]
        );
    }

    #[test]
    fn frame_of_unusual_sampling_or_coding_is_declined() {
        for (luma, differences) in [(0x41, 0x11), (0x11, 0x21), (0x22, 0x21), (0x01, 0x11)] {
            assert!(frame(luma, differences).is_err());
        }
        assert!(Frame::read(0xC9, &[8, 0, 1, 0, 1, 1, 1, 0x11, 0]).is_err());
        assert!(Frame::read(0xC0, &[8, 0, 1, 0, 1, 1, 1]).is_err());
    }
}
