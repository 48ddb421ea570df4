//! Whether a file is a JPEG of the kind that we write: nothing in it but the picture.
//!
//! Files that come back from a decode process or from an archive are looked at here before they are stored, from the
//! first byte to the last: no metadata, no second picture, nothing behind the end. Nothing is decoded.

use memchr::memchr;

/// Length of JFIF's APP0 without a thumbnail. Source: JFIF 1.02.
const JFIF_BYTES: usize = 14;

/// Width and height of a JPEG without metadata: begins with SOI, ends with its only EOI, and has none but the segments
/// that our encoder writes (JFIF's APP0, tables, one frame header, scans). Source: ITU-T T.81, annex B.
#[must_use]
pub fn plain_jpeg_dimensions(file: &[u8]) -> Option<(u16, u16)> {
    let mut rest = file.strip_prefix(&[0xFF, 0xD8])?;
    let mut dimensions = None;
    let mut scanned = false;
    loop {
        let (&[0xFF, kind], behind) = rest.split_first_chunk::<2>()? else {
            return None;
        };
        if kind == 0xD9 {
            return dimensions.filter(|_| scanned && behind.is_empty());
        }
        let (high_low, body) = behind.split_first_chunk::<2>()?;
        let length = usize::from(u16::from_be_bytes(*high_low)).checked_sub(2)?;
        let (segment, after) = body.split_at_checked(length)?;
        rest = match kind {
            // SOF0, SOF1, SOF2: precision, height, width.
            0xC0..=0xC2 if dimensions.is_none() => {
                let &[8, y1, y0, x1, x0] = segment.first_chunk::<5>()? else {
                    return None;
                };
                dimensions = Some((u16::from_be_bytes([x1, x0]), u16::from_be_bytes([y1, y0])));
                after
            }
            // DHT, DQT, DRI and JFIF's APP0.
            0xC4 | 0xDB | 0xDD => after,
            0xE0 if segment.starts_with(b"JFIF\0") && length == JFIF_BYTES => after,
            0xDA => {
                dimensions?;
                scanned = true;
                behind_scan(after)?
            }
            _ => return None,
        };
    }
}

/// What comes after the coded data of a scan: from the first marker that neither stands for a byte 255 nor restarts.
fn behind_scan(data: &[u8]) -> Option<&[u8]> {
    let mut rest = data;
    loop {
        let marker = rest.get(memchr(0xFF, rest)?..)?;
        match marker.get(1)? {
            0 | 0xD0..=0xD7 => rest = marker.get(2..)?,
            _ => return Some(marker),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The least that passes, with more before the frame, in the scan and behind the end.
    fn file(before: &[u8], scan: &[u8], behind: &[u8]) -> Vec<u8> {
        let frame = [0xFF, 0xC0, 0, 8, 8, 0, 2, 0, 3, 1];
        let parts: [&[u8]; 6] = [
            &[0xFF, 0xD8],
            before,
            &frame,
            &[0xFF, 0xDA, 0, 2],
            scan,
            &[0xFF, 0xD9],
        ];
        [&parts.concat(), behind].concat()
    }

    #[test]
    fn file_of_tables_frame_and_scans_has_dimensions() {
        let tables = [0xFF, 0xC4, 0, 3, 9, 0xFF, 0xDA, 0, 2, 7];
        let scan = [&[1, 0xFF, 0, 2, 0xFF, 0xD3, 3], &tables[..]].concat();

        assert_eq!(plain_jpeg_dimensions(&file(&[], &scan, &[])), Some((3, 2)));
    }

    #[test]
    fn file_with_anything_else_has_none() {
        let exif = [0xFF, 0xE1, 0, 4, b'E', b'x'];
        let comment = [0xFF, 0xFE, 0, 3, b'x'];
        let frame = [0xFF, 0xC0, 0, 8, 8, 0, 9, 0, 9, 1];
        for (before, scan, behind) in [
            (&exif[..], &[1][..], &[][..]),
            (&comment, &[1], &[]),
            (&frame, &[1], &[]),
            (&[0xFF, 0xE0, 0, 8, b'J', b'F', b'I', b'F', 0, 1], &[1], &[]),
            (&[], &comment, &[]),
            (&[], &[1, 0xFF, 0xD8, 1], &[]),
            (&[], &[1], b"PK"),
            (&[], &[1, 0xFF, 0xD9], b"<html>\xFF\xD9"),
        ] {
            let file = file(before, scan, behind);
            assert_eq!(plain_jpeg_dimensions(&file), None, "{file:?}");
        }
        let whole = file(&[], &[1], &[]);
        for end in 0..whole.len() {
            assert_eq!(plain_jpeg_dimensions(&whole[..end]), None, "{end}");
        }
        // No scan.
        assert_eq!(plain_jpeg_dimensions(&[0xFF, 0xD8, 0xFF, 0xD9]), None);
    }
}
