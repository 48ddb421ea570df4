//! EXIF as text: how `ImageMagick` and `ExifTool` write it for readers that are older than the chunk for it, as hexadecimal
//! digits of a JPEG's APP1 segment. Pillow reads it too.

use std::borrow::Cow;

use crate::imaging::exif;

/// Keywords of such texts: by what they hold, and by the name of the segment.
const KEYWORDS: [&[u8]; 2] = [b"Raw profile type exif", b"Raw profile type APP1"];

/// Longest text that is read, in bytes: an APP1 segment of 64 KiB as digits and line breaks. Compressed ones may be bombs.
const TEXT_BYTES_MAX: usize = 160 * 1_024;

/// Whether a text chunk (`tEXt`, `zTXt`, `iTXt`) is a profile of that kind, by its keyword.
pub(super) fn is_one(chunk: &[u8]) -> bool {
    split_at_zero(chunk).is_some_and(|(keyword, _)| KEYWORDS.contains(&keyword))
}

/// The orientation that such a chunk holds.
pub(super) fn orientation(kind: [u8; 4], chunk: &[u8]) -> Option<u32> {
    let (_keyword, rest) = split_at_zero(chunk)?;
    let text = text(kind, rest)?;
    exif::orientation(&bytes(&text)?)
}

/// What follows the keyword, decompressed. Source: PNG third edition, 11.3.3.2 to 11.3.3.4.
fn text(kind: [u8; 4], chunk: &[u8]) -> Option<Cow<'_, [u8]>> {
    let (is_compressed, text) = match (&kind, chunk) {
        (b"tEXt", text) => (false, text),
        (b"zTXt", [0, text @ ..]) => (true, text),
        (b"iTXt", [is_compressed, 0, rest @ ..]) => {
            let (_language, rest) = split_at_zero(rest)?;
            let (_translated_keyword, text) = split_at_zero(rest)?;
            (*is_compressed != 0, text)
        }
        _ => return None,
    };
    if is_compressed {
        let text = fdeflate::decompress_to_vec_bounded(text, TEXT_BYTES_MAX);
        return text.ok().map(Cow::Owned);
    }
    (text.len() <= TEXT_BYTES_MAX).then_some(Cow::Borrowed(text))
}

fn split_at_zero(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (before, from_zero) = bytes.split_at_checked(memchr::memchr(0, bytes)?)?;
    Some((before, from_zero.get(1..)?))
}

/// The text: a line break, a name, the length in decimal, then hexadecimal digits in lines.
fn bytes(text: &[u8]) -> Option<Vec<u8>> {
    let mut lines = text.split(|byte| *byte == b'\n').skip(3);
    let digits: Vec<u8> = lines.by_ref().flatten().copied().collect();
    digits.as_chunks().0.iter().copied().map(byte).collect()
}

fn byte([high, low]: [u8; 2]) -> Option<u8> {
    let digit = |digit: u8| char::from(digit).to_digit(16);
    let value = digit(high)?.checked_mul(16)?.checked_add(digit(low)?)?;
    u8::try_from(value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &[u8] = b"\nexif\n      28\n4578696600004d4d002a0000\n\
        0008000101120003000000010006\n0000\n";

    fn chunk(head: &[u8], text: &[u8]) -> Vec<u8> {
        [b"Raw profile type exif\0", head, text].concat()
    }

    #[test]
    fn profile_in_each_kind_of_text_is_found() {
        let packed = fdeflate::compress_to_vec(TEXT);
        let other_name = [b"Raw profile type APP1\0", TEXT].concat();

        for (kind, chunk) in [
            (b"tEXt", chunk(b"", TEXT)),
            (b"tEXt", other_name),
            (b"zTXt", chunk(b"\0", &packed)),
            (b"iTXt", chunk(b"\0\0en\0\0", TEXT)),
            (b"iTXt", chunk(b"\x01\0\0\0", &packed)),
        ] {
            assert!(is_one(&chunk), "{kind:?}");
            assert_eq!(orientation(*kind, &chunk), Some(6), "{kind:?}");
        }
        assert!(!is_one(&[b"Comment\0", TEXT].concat()));
    }

    #[test]
    fn text_that_is_damaged_is_none() {
        let packed = fdeflate::compress_to_vec(TEXT);

        for (kind, chunk) in [
            (b"tEXt", chunk(b"", b"\nexif\n28\nnot digits")),
            (b"zTXt", chunk(b"\x01", &packed)),
            (b"zTXt", chunk(b"\0", TEXT)),
            (b"iTXt", chunk(b"\0\0en", TEXT)),
        ] {
            assert_eq!(orientation(*kind, &chunk), None, "{kind:?}");
        }
    }

    #[test]
    fn compressed_text_that_becomes_too_long_is_none() {
        let mut long = TEXT.to_vec();
        long.resize(TEXT_BYTES_MAX, b'0');
        let fits = fdeflate::compress_to_vec(&long);
        long.push(b'0');
        let too_long = fdeflate::compress_to_vec(&long);

        assert_eq!(orientation(*b"zTXt", &chunk(b"\0", &fits)), Some(6));
        assert_eq!(orientation(*b"zTXt", &chunk(b"\0", &too_long)), None);
    }
}
