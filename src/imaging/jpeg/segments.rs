//! The marker segments of a JPEG file that come before its first scan.

use crate::imaging::bytes::Bytes;

/// Start of image.
pub(super) const SOI: u8 = 0xD8;

/// Start of scan.
pub(super) const SOS: u8 = 0xDA;

/// One segment.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Segment<'a> {
    /// The second byte of its marker.
    pub marker: u8,
    /// What follows its length.
    pub data: &'a [u8],
}

/// Walks from segment to segment; ends before the first scan.
#[derive(Clone, Debug)]
pub(super) struct Segments<'a> {
    bytes: Bytes<'a>,
    scans: Option<&'a [u8]>,
}

impl<'a> Segments<'a> {
    /// The segments of a file.
    pub(super) fn new(file: &'a [u8]) -> Self {
        Self {
            bytes: Bytes::new(file.get(2..).unwrap_or_default()),
            scans: None,
        }
    }

    /// Everything from the first scan's header (what follows its marker) to the end of the file. `None` unless the walk has
    /// come there.
    pub(super) const fn scans(&self) -> Option<&'a [u8]> {
        self.scans
    }
}

impl<'a> Iterator for Segments<'a> {
    type Item = Segment<'a>;

    fn next(&mut self) -> Option<Segment<'a>> {
        loop {
            match next_marker(&mut self.bytes)? {
                // Markers without a segment: TEM, RSTn and a second SOI.
                0x01 | 0xD0..=SOI => {}
                // The end without a scan.
                0xD9 => return None,
                SOS => {
                    self.scans = Some(self.bytes.rest());
                    return None;
                }
                marker => {
                    let length = self.bytes.u16()?.checked_sub(2)?;
                    let data = self.bytes.take(usize::from(length))?;
                    return Some(Segment { marker, data });
                }
            }
        }
    }
}

/// The code of the next marker. What stands before it is skipped, as by every decoder.
fn next_marker(bytes: &mut Bytes<'_>) -> Option<u8> {
    loop {
        while bytes.u8()? != 0xFF {}
        let mut code = bytes.u8()?;
        while code == 0xFF {
            code = bytes.u8()?;
        }
        if code != 0 {
            return Some(code);
        }
    }
}

/// The file without metadata and garbage before its scans: all that a decoder needs.
pub(super) fn without_metadata(file: &[u8]) -> Option<Vec<u8>> {
    let mut copy = Vec::with_capacity(file.len());
    copy.extend([0xFF, SOI]);
    let mut segments = Segments::new(file);
    for Segment { marker, data } in segments.by_ref() {
        // APP0 and APP14 say how colours are coded.
        if !matches!(marker, 0xE1..=0xED | 0xEF | 0xFE) {
            let length = u16::try_from(data.len()).ok()?.checked_add(2)?;
            copy.extend([0xFF, marker]);
            copy.extend(length.to_be_bytes());
            copy.extend(data);
        }
    }
    copy.extend([0xFF, SOS]);
    copy.extend(segments.scans()?);
    Some(copy)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &[u8] = b"\xFF\xD8\xFF\xE1\0\x04ab..\xFF\xFF\xDB\0\x03q\xFF\xDArest";

    #[test]
    fn segments_skip_garbage_and_end_at_the_scan() {
        let mut segments = Segments::new(FILE);

        let found: Vec<_> = segments.by_ref().collect();

        assert_eq!(
            found,
            [
                Segment {
                    marker: 0xE1,
                    data: b"ab"
                },
                Segment {
                    marker: 0xDB,
                    data: b"q"
                }
            ]
        );
        assert_eq!(segments.scans(), Some(&b"rest"[..]));
    }

    #[test]
    fn file_without_metadata_keeps_tables_and_scans() {
        let copy = without_metadata(FILE).unwrap();

        assert_eq!(copy, b"\xFF\xD8\xFF\xDB\0\x03q\xFF\xDArest");
        assert_eq!(without_metadata(b"\xFF\xD8\xFF\xE0\0\x09x"), None);
    }
}
