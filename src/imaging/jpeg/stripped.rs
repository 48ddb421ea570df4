//! The file that libjpeg-turbo gets: what a decoder needs, and nothing that it complains about although the picture shows
//! as it should.
//!
//! Its wrapper makes an error of the first complaint and tells no others. So what is harmless is put right here, where
//! nothing can hide behind it.

use std::borrow::Cow;

use crate::imaging::bytes::Bytes;
use crate::imaging::jpeg::header;
use crate::imaging::jpeg::scan;
use crate::imaging::jpeg::segments::End;
use crate::imaging::jpeg::segments::SOI;
use crate::imaging::jpeg::segments::SOS;
use crate::imaging::jpeg::segments::Segment;
use crate::imaging::jpeg::segments::Segments;
use crate::imaging::jpeg::segments::is_frame;

/// End of image.
const EOI: u8 = 0xD9;

/// Restart interval.
const DRI: u8 = 0xDD;

/// A file without metadata and without garbage outside the data of its scans.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Stripped {
    /// The file.
    pub bytes: Vec<u8>,
    /// How many scans it has.
    scans: u32,
    /// Whether there may be restart markers.
    has_restarts: bool,
    /// How many coefficients libjpeg must hold at once, each in two bytes: all of the picture, if one of its scans has not
    /// all that there is of a block.
    pub coefficients: u64,
}

impl Stripped {
    /// Copies what is needed. `None`, if the file has no frame, or ends in the middle of something.
    pub(super) fn new(file: &[u8]) -> Option<Self> {
        let coding = Coding::read(file)?;
        let mut stripped = Self {
            bytes: Vec::with_capacity(file.len()),
            scans: 0,
            has_restarts: false,
            coefficients: 0,
        };
        stripped.bytes.extend([0xFF, SOI]);
        let mut segments = Segments::new(file);
        loop {
            for segment in segments.by_ref() {
                stripped.add_segment(segment, &coding)?;
            }
            match segments.end() {
                End::Scan(rest) => segments = stripped.add_scan(rest, &coding)?,
                End::Image => {
                    stripped.bytes.extend([0xFF, EOI]);
                    return Some(stripped);
                }
                End::Cut => return None,
            }
        }
    }

    /// Whether what is superfluous in the data of a scan can only be at the end of everything: all samples have been decoded
    /// when libjpeg meets it. Otherwise worse may come after, of which it would not tell.
    pub(super) const fn ends_with_its_data(&self) -> bool {
        self.scans == 1 && !self.has_restarts
    }

    fn add_segment(&mut self, segment: Segment<'_>, coding: &Coding) -> Option<()> {
        let Segment { marker, data } = segment;
        // APP0 and APP14 say how colours are coded.
        if !matches!(marker, 0xE1..=0xED | 0xEF | 0xFE) {
            self.add(marker, &coding.known(segment))?;
        }
        self.has_restarts |= marker == DRI && data.iter().any(|byte| *byte != 0);
        Some(())
    }

    /// Adds a scan, and goes on behind it.
    fn add_scan<'a>(&mut self, rest: &'a [u8], coding: &Coding) -> Option<Segments<'a>> {
        let mut bytes = Bytes::new(rest);
        let length = usize::from(bytes.u16()?.checked_sub(2)?);
        let mut header = bytes.take(length)?.to_vec();
        // Some cameras write other numbers than those that sequential files have: decoders take no notice of them.
        // Source: ITU-T T.81, B.2.3, table B.3.
        if let (true, [.., first, last, bits]) = (coding.is_sequential, header.as_mut_slice()) {
            (*first, *last, *bits) = (0, 63, 0);
        }
        if !coding.is_sequential || header.first().copied() != Some(coding.components) {
            self.coefficients = coding.coefficients;
        }
        self.add(SOS, &header)?;
        self.scans = self.scans.saturating_add(1);
        let (data, rest) = scan::split_at_end(bytes.rest())?;
        self.bytes.extend(data);
        Some(Segments::between_scans(rest))
    }

    fn add(&mut self, marker: u8, data: &[u8]) -> Option<()> {
        let length = u16::try_from(data.len()).ok()?.checked_add(2)?;
        self.bytes.extend([0xFF, marker]);
        self.bytes.extend(length.to_be_bytes());
        self.bytes.extend(data);
        Some(())
    }
}

/// How the samples are coded.
struct Coding {
    is_sequential: bool,
    components: u8,
    /// How many coefficients there are, those of blocks that are partly outside included.
    coefficients: u64,
}

impl Coding {
    fn read(file: &[u8]) -> Option<Self> {
        let frame = Segments::new(file).find(|segment| is_frame(segment.marker))?;
        let mut bytes = Bytes::new(frame.data);
        let _precision = bytes.u8()?;
        let (height, width) = (bytes.u16()?, bytes.u16()?);
        let components = bytes.u8()?;
        // Source: ITU-T T.81, A.1.1 and A.2.4.
        let samplings = bytes.rest().as_chunks().0.iter();
        let samplings: Vec<(u64, u64)> = samplings
            .map(|[_id, sampling, _quantization]| ((sampling >> 4).into(), (sampling & 15).into()))
            .collect();
        let units = |pixels: u16, blocks: Option<u64>| {
            let side = blocks.unwrap_or(1).max(1).saturating_mul(8);
            u64::from(pixels).div_ceil(side)
        };
        let across = units(width, samplings.iter().map(|(across, _)| *across).max());
        let down = units(height, samplings.iter().map(|(_, down)| *down).max());
        let blocks = samplings
            .iter()
            .map(|(across, down)| across.saturating_mul(*down));
        let coefficients = blocks.sum::<u64>().saturating_mul(64);
        Some(Self {
            // All others that are taken: baseline, extended and arithmetic.
            is_sequential: !matches!(frame.marker, 0xC2 | 0xCA),
            components,
            coefficients: across.saturating_mul(down).saturating_mul(coefficients),
        })
    }

    /// A segment with the version of JFIF and the colour transform of Adobe's that unknown ones are taken for.
    /// Source: libjpeg, `jdmarker.c` and `jdapimin.c`.
    fn known<'a>(&self, Segment { marker, data }: Segment<'a>) -> Cow<'a, [u8]> {
        let mut known = Cow::Borrowed(data);
        if header::is_jfif(marker, data)
            && let Some(version) = known.to_mut().get_mut(5)
        {
            *version = 1;
        }
        if header::is_adobe(marker, data)
            && let Some(transform) = known.to_mut().get_mut(11)
        {
            // Luma and colour differences, with black or without it.
            *transform = match (self.components, *transform) {
                (_, 0) => 0,
                (4, _) => 2,
                _ => 1,
            };
        }
        known
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &[u8] = b"\xFF\xD8\xFF\xE1\0\x04ab..\xFF\xFF\xDB\0\x03q\xFF\xC0\0\x08frame\x03\
        \xFF\xDA\0\x06\x01\x02\x03\x04data\xFF\0\xFF\xD0more..\xFF\xE2\0\x04cd..\
        \xFF\xDA\0\x06\x01\0\x3F\0last\xFF\xD9tail";

    #[test]
    fn stripped_file_keeps_tables_and_scans() {
        let stripped = Stripped::new(FILE).unwrap();

        assert_eq!(
            stripped.bytes,
            b"\xFF\xD8\xFF\xDB\0\x03q\xFF\xC0\0\x08frame\x03\
            \xFF\xDA\0\x06\x01\0\x3F\0data\xFF\0\xFF\xD0more..\
            \xFF\xDA\0\x06\x01\0\x3F\0last\xFF\xD9"
        );
    }

    #[test]
    fn scan_headers_of_progressive_files_stay_as_they_are() {
        let file = b"\xFF\xD8\xFF\xC2\0\x08frame\x01\xFF\xDA\0\x06\x01\x01\x05\x12data\xFF\xD9";

        assert_eq!(Stripped::new(file).unwrap().bytes, file);
    }

    #[test]
    fn coefficients_are_held_if_they_come_in_several_scans() {
        // 17 × 9 pixels are 2 × 1 units of 2 × 2, 1 and 1 blocks.
        let held = |marker, scan: &[u8]| {
            let frame = b"\0\x11\x08\0\x09\0\x11\x03\x01\x22\0\x02\x11\0\x03\x11\0";
            let file = [
                b"\xFF\xD8\xFF",
                &[marker][..],
                frame,
                b"\xFF\xDA",
                scan,
                b"\xFF\xD9",
            ];
            Stripped::new(&file.concat()).unwrap().coefficients
        };
        let all = b"\0\x0C\x03\x01\0\x02\0\x03\0\0\x3F\0";
        let luma = b"\0\x08\x01\x01\0\0\x3F\0";

        assert_eq!(held(0xC0, all), 0);
        assert_eq!(held(0xC9, luma), 2 * 6 * 64);
        assert_eq!(held(0xC2, all), 2 * 6 * 64);
    }

    #[test]
    fn file_cut_off_anywhere_is_none() {
        let end = FILE.len().strict_sub(4);

        for length in 0..end {
            assert_eq!(Stripped::new(&FILE[..length]), None, "{length}");
        }
        assert!(Stripped::new(&FILE[..end]).is_some());
    }
}
