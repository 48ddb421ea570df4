//! The marker segments of a JPEG file, which stand before and between its scans.

use crate::imaging::bytes::Bytes;

/// Start of image.
pub(super) const SOI: u8 = 0xD8;

/// Start of scan.
pub(super) const SOS: u8 = 0xDA;

/// Whether a frame begins with this marker. DHT, JPG and DAC share the range of the frames.
pub(super) const fn is_frame(marker: u8) -> bool {
    matches!(marker, 0xC0..=0xCF) && !matches!(marker, 0xC4 | 0xC8 | 0xCC)
}

/// One segment.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Segment<'a> {
    /// The second byte of its marker.
    pub marker: u8,
    /// What follows its length.
    pub data: &'a [u8],
}

/// Where a walk has ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum End<'a> {
    /// At a scan: its header and everything after it, to the end of the file.
    Scan(&'a [u8]),
    /// At the end of the image.
    Image,
    /// In the middle of something.
    Cut,
}

/// Walks from segment to segment; ends before the next scan.
#[derive(Clone, Debug)]
pub(super) struct Segments<'a> {
    bytes: Bytes<'a>,
    end: End<'a>,
}

impl<'a> Segments<'a> {
    /// The segments at the beginning of a file.
    pub(super) fn new(file: &'a [u8]) -> Self {
        Self::between_scans(file.get(2..).unwrap_or_default())
    }

    /// The segments from anywhere but the middle of a scan's data on.
    pub(super) const fn between_scans(rest: &'a [u8]) -> Self {
        Self {
            bytes: Bytes::new(rest),
            end: End::Cut,
        }
    }

    /// Where the walk has ended, after it has.
    pub(super) const fn end(&self) -> End<'a> {
        self.end
    }

    fn next_segment(&mut self) -> Option<Segment<'a>> {
        loop {
            match next_marker(&mut self.bytes)? {
                // Markers without a segment: TEM, RSTn and a second SOI.
                0x01 | 0xD0..=SOI => {}
                0xD9 => {
                    self.end = End::Image;
                    return None;
                }
                SOS => {
                    self.end = End::Scan(self.bytes.rest());
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

impl<'a> Iterator for Segments<'a> {
    type Item = Segment<'a>;

    fn next(&mut self) -> Option<Segment<'a>> {
        self.next_segment()
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
        assert_eq!(segments.end(), End::Scan(b"rest"));
    }
}
