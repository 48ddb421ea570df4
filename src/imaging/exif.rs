//! The one thing that EXIF is read for: which way up the picture is. Everything else in it is left behind unread.

/// Bytes of one entry of a TIFF directory. Source: TIFF 6.0, section 2.
const ENTRY_BYTES: usize = 12;

/// Tag of the orientation. Source: CIPA DC-008 (EXIF 2.32), table 4.
const ORIENTATION: u16 = 0x0112;

/// The orientation, as written, in a TIFF block (what follows `Exif\0\0` in a JPEG, and all of PNG's `eXIf`). `None` if
/// the block is damaged, has none, or has one that is not a whole number.
pub(super) fn orientation(tiff: &[u8]) -> Option<u32> {
    let tiff = Tiff::new(tiff)?;
    let directory = usize::try_from(tiff.u32(4)?).ok()?;
    let count = usize::from(tiff.u16(directory)?);
    let entries = tiff.bytes.get(directory.checked_add(2)?..)?;
    entries
        .chunks_exact(ENTRY_BYTES)
        .take(count)
        .map(|entry| Tiff {
            bytes: entry,
            ..tiff
        })
        .find(|entry| entry.u16(0) == Some(ORIENTATION))?
        .integer()
}

/// A TIFF block, or a part of it, and its byte order.
#[derive(Clone, Copy)]
struct Tiff<'a> {
    bytes: &'a [u8],
    little_endian: bool,
}

impl<'a> Tiff<'a> {
    fn new(bytes: &'a [u8]) -> Option<Self> {
        let little_endian = match bytes.get(..4)? {
            b"II*\0" => true,
            b"MM\0*" => false,
            _ => return None,
        };
        Some(Self {
            bytes,
            little_endian,
        })
    }

    fn array<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        self.bytes.get(at..)?.first_chunk().copied()
    }

    fn u16(&self, at: usize) -> Option<u16> {
        let bytes = self.array(at)?;
        Some(if self.little_endian {
            u16::from_le_bytes(bytes)
        } else {
            u16::from_be_bytes(bytes)
        })
    }

    fn u32(&self, at: usize) -> Option<u32> {
        let bytes = self.array(at)?;
        Some(if self.little_endian {
            u32::from_le_bytes(bytes)
        } else {
            u32::from_be_bytes(bytes)
        })
    }

    /// The first value of a directory entry, if it is of an unsigned whole type. SHORT is what the standard asks for;
    /// some programs write BYTE or LONG.
    fn integer(&self) -> Option<u32> {
        let (byte, short, long) = (1, 3, 4);
        match self.u16(2)? {
            kind if kind == byte => self.bytes.get(8).copied().map(u32::from),
            kind if kind == short => self.u16(8).map(u32::from),
            kind if kind == long => self.u32(8),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A TIFF block with one directory entry.
    fn block(tag: u16, kind: u16, value: [u8; 4]) -> Vec<u8> {
        let mut tiff = b"MM\0*\0\0\0\x08\0\x01".to_vec();
        tiff.extend(tag.to_be_bytes());
        tiff.extend(kind.to_be_bytes());
        tiff.extend([0, 0, 0, 1]);
        tiff.extend(value);
        tiff
    }

    #[test]
    fn orientation_in_either_byte_order_is_found() {
        let little = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0";

        assert_eq!(orientation(little), Some(6));
        assert_eq!(orientation(&block(0x0112, 3, [0, 8, 0, 0])), Some(8));
        assert_eq!(orientation(&block(0x0112, 1, [3, 0, 0, 0])), Some(3));
        assert_eq!(orientation(&block(0x0112, 4, [0, 0, 0, 5])), Some(5));
    }

    #[test]
    fn orientation_that_is_no_whole_number_or_absent_is_none() {
        assert_eq!(orientation(&block(0x0112, 5, [0, 6, 0, 0])), None);
        assert_eq!(orientation(&block(0x0112, 2, [b'6', 0, 0, 0])), None);
        assert_eq!(orientation(&block(0x010F, 3, [0, 6, 0, 0])), None);
    }

    #[test]
    fn orientation_of_every_truncation_is_none() {
        let whole = block(0x0112, 3, [0, 6, 0, 0]);

        for length in 0..whole.len() {
            assert_eq!(orientation(whole.get(..length).unwrap()), None, "{length}");
        }
    }

    #[test]
    fn orientation_with_a_directory_outside_is_none() {
        assert_eq!(orientation(b"MM\0*\xFF\xFF\xFF\xFF\0\x01"), None);
    }
}
