//! The one thing that EXIF is read for: which way up the picture is. Everything else in it is left behind unread.

/// Bytes of one entry of a TIFF directory. Source: TIFF 6.0, section 2.
const ENTRY_BYTES: usize = 12;

/// Tag of the orientation. Source: CIPA DC-008 (EXIF 2.32), table 4.
const ORIENTATION: u16 = 0x0112;

/// What stands before the TIFF block in a JPEG. In PNG's `eXIf` it must not, but some programs write it there too, or twice.
const PREFIX: &[u8] = b"Exif\0\0";

/// The orientation, as written, in a TIFF block. `None` if the block is damaged, has none, or has one that is not a whole
/// number.
pub(super) fn orientation(exif: &[u8]) -> Option<u32> {
    let mut tiff = exif;
    while let Some(rest) = tiff.strip_prefix(PREFIX) {
        tiff = rest;
    }
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
            // Some programs mark the byte order rightly, and then write the 42 in the other one.
            b"II*\0" | b"II\0*" => true,
            b"MM\0*" | b"MM*\0" => false,
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

    /// The first value of a directory entry, if it is of a whole type. SHORT is what the standard asks for; some programs
    /// write others. Signed ones need no care: the orientations are positive, and no negative number looks like one.
    /// Source: TIFF 6.0, section 2, "Types".
    fn integer(&self) -> Option<u32> {
        self.u32(4).filter(|count| *count > 0)?;
        match self.u16(2)? {
            // BYTE, SBYTE
            1 | 6 => self.bytes.get(8).copied().map(u32::from),
            // SHORT, SSHORT
            3 | 8 => self.u16(8).map(u32::from),
            // LONG, SLONG
            4 | 9 => self.u32(8),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::imaging::geometry::Orientation;

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
        assert_eq!(
            orientation(b"II\0*\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0"),
            Some(6)
        );
        assert_eq!(orientation(&block(0x0112, 3, [0, 8, 0, 0])), Some(8));
    }

    #[test]
    fn orientation_of_every_whole_type_is_found() {
        for (kind, value) in [
            (1, [5, 0, 0, 0]),
            (6, [5, 0, 0, 0]),
            (3, [0, 5, 0, 0]),
            (8, [0, 5, 0, 0]),
            (4, [0, 0, 0, 5]),
            (9, [0, 0, 0, 5]),
        ] {
            assert_eq!(orientation(&block(0x0112, kind, value)), Some(5), "{kind}");
        }
        let negative = orientation(&block(0x0112, 8, [0xFF, 0xFA, 0, 0]));
        assert_eq!(
            Orientation::from_exif(negative.unwrap()),
            Orientation::UPRIGHT
        );
    }

    #[test]
    fn orientation_behind_the_prefix_of_a_jpeg_is_found() {
        let tiff = block(0x0112, 3, [0, 6, 0, 0]);

        assert_eq!(orientation(&[PREFIX, &tiff].concat()), Some(6));
        assert_eq!(orientation(&[PREFIX, PREFIX, &tiff].concat()), Some(6));
    }

    #[test]
    fn orientation_that_is_no_whole_number_or_absent_is_none() {
        assert_eq!(orientation(&block(0x0112, 5, [0, 6, 0, 0])), None);
        assert_eq!(orientation(&block(0x0112, 2, [b'6', 0, 0, 0])), None);
        assert_eq!(orientation(&block(0x010F, 3, [0, 6, 0, 0])), None);
        let mut without_values = block(0x0112, 3, [0, 6, 0, 0]);
        without_values[17] = 0;
        assert_eq!(orientation(&without_values), None);
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
