//! The chunks of a PNG file that are not samples: orientation, and whether there is anything to leave behind.

use crate::imaging::bytes::Bytes;
use crate::imaging::exif;

/// Length of the signature, in bytes.
const SIGNATURE_BYTES: usize = 8;

/// Begin of a text chunk in which `ImageMagick` and `ExifTool` keep EXIF for readers older than `eXIf`: the hexadecimal
/// digits of a JPEG's APP1 segment.
const RAW_EXIF: &[u8] = b"Raw profile type exif\0";

/// The same under the name of the segment.
const RAW_APP1: &[u8] = b"Raw profile type APP1\0";

/// Longest such text that is read, in bytes: an APP1 segment of 64 KiB as digits and line breaks.
const RAW_BYTES_MAX: usize = 160 * 1_024;

/// What the chunks say.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Chunks {
    /// EXIF orientation as written, if there is one.
    pub orientation: Option<u32>,
    /// Whether there is metadata, a profile, a further frame or something after the end.
    pub has_metadata: bool,
}

impl Chunks {
    /// Walks over all chunks, as far as they are whole. Checks nothing: the decoder does.
    pub(super) fn scan(file: &[u8]) -> Self {
        let mut found = Self::default();
        let mut raw = None;
        let mut bytes = Bytes::new(file.get(SIGNATURE_BYTES..).unwrap_or_default());
        while let Some((kind, data)) = chunk(&mut bytes) {
            match &kind {
                b"IEND" => {
                    found.has_metadata |= !bytes.rest().is_empty();
                    break;
                }
                b"eXIf" => found.orientation = found.orientation.or(exif::orientation(data)),
                b"tEXt" => raw = raw.or(raw_orientation(data)),
                _ => {}
            }
            found.has_metadata |= is_metadata(kind);
        }
        found.orientation = found.orientation.or(raw);
        found
    }
}

fn chunk<'a>(bytes: &mut Bytes<'a>) -> Option<([u8; 4], &'a [u8])> {
    let length = usize::try_from(bytes.u32()?).ok()?;
    let kind = bytes.array()?;
    let data = bytes.take(length)?;
    let _checksum = bytes.u32()?;
    Some((kind, data))
}

/// Everything that is not needed to show the picture, and profiles.
const fn is_metadata(kind: [u8; 4]) -> bool {
    !matches!(
        &kind,
        b"IHDR"
            | b"PLTE"
            | b"IDAT"
            | b"tRNS"
            | b"gAMA"
            | b"cHRM"
            | b"sRGB"
            | b"sBIT"
            | b"bKGD"
            | b"hIST"
            | b"pHYs"
    )
}

/// The text: a line break, a name, the length in decimal, then hexadecimal digits in lines.
fn raw_orientation(text: &[u8]) -> Option<u32> {
    let digits = text
        .strip_prefix(RAW_EXIF)
        .or_else(|| text.strip_prefix(RAW_APP1))
        .filter(|digits| digits.len() <= RAW_BYTES_MAX)?;
    let digits = digits.strip_prefix(b"\n")?;
    let mut lines = digits.split(|byte| *byte == b'\n').skip(2);
    let digits: Vec<u8> = lines.by_ref().flatten().copied().collect();
    let bytes: Option<Vec<u8>> = digits.as_chunks().0.iter().copied().map(byte).collect();
    let bytes = bytes?;
    exif::orientation(bytes.strip_prefix(b"Exif\0\0").unwrap_or(&bytes))
}

fn byte([high, low]: [u8; 2]) -> Option<u8> {
    let digit = |digit: u8| char::from(digit).to_digit(16);
    let value = digit(high)?.checked_mul(16)?.checked_add(digit(low)?)?;
    u8::try_from(value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(chunks: &[(&[u8; 4], &[u8])]) -> Vec<u8> {
        let mut file = b"\x89PNG\r\n\x1A\n".to_vec();
        for (kind, data) in chunks {
            file.extend(u32::try_from(data.len()).unwrap().to_be_bytes());
            file.extend(*kind);
            file.extend(*data);
            file.extend([0; 4]);
        }
        file
    }

    const TIFF: &[u8] = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0";

    #[test]
    fn chunks_of_a_plain_file_have_nothing_to_leave_behind() {
        let plain = file(&[
            (b"IHDR", b""),
            (b"gAMA", b""),
            (b"IDAT", b""),
            (b"IEND", b""),
        ]);

        assert_eq!(Chunks::scan(&plain), Chunks::default());
    }

    #[test]
    fn exif_after_the_samples_is_found() {
        let chunks = Chunks::scan(&file(&[(b"IDAT", b""), (b"eXIf", TIFF), (b"IEND", b"")]));

        assert_eq!(chunks.orientation, Some(6));
        assert!(chunks.has_metadata);
    }

    #[test]
    fn exif_as_text_is_found_unless_there_is_a_chunk() {
        let text = "Raw profile type exif\0\nexif\n      28\n4578696600004d4d002a0000\n\
            0008000101120003000000010006\n0000\n";

        let chunks = Chunks::scan(&file(&[(b"tEXt", text.as_bytes())]));

        assert_eq!(chunks.orientation, Some(6));
    }

    #[test]
    fn bytes_after_the_end_are_metadata() {
        let mut trailed = file(&[(b"IDAT", b""), (b"IEND", b"")]);
        trailed.push(0);

        assert!(Chunks::scan(&trailed).has_metadata);
    }
}
