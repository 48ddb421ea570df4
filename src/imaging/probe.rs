//! What an upload is, by its first bytes alone. File names and content types are not asked: they lie.

use crate::domain::picture::Format;
use crate::imaging::Error;
use crate::imaging::heif::boxes::check_primary_image;

/// How far into a text file an SVG root element is looked for, in bytes.
const SVG_ROOT_BYTES_MAX: usize = 1_024;

/// Formats that are recognised in order to be refused by name: offset and bytes of the mark, and the name.
const REFUSED: [(usize, &[u8], &str); 27] = [
    (0, b"GIF87a", "GIF"),
    (0, b"GIF89a", "GIF"),
    (8, b"WEBP", "WebP"),
    (0, b"BM", "BMP"),
    (0, b"II*\0", "TIFF or camera raw"),
    (0, b"MM\0*", "TIFF or camera raw"),
    (0, b"II+\0", "TIFF"),
    (0, b"MM\0+", "TIFF"),
    (0, b"IIRO", "camera raw"),
    (0, b"IIU\0", "camera raw"),
    (0, b"FUJIFILMCCD-RAW", "camera raw"),
    (0, b"%PDF-", "PDF"),
    (0, b"%!PS", "PostScript"),
    (0, b"8BPS", "Photoshop"),
    (0, b"\xFF\x0A", "JPEG XL"),
    (0, b"\0\0\0\x0CJXL \r\n\x87\n", "JPEG XL"),
    (0, b"\0\0\0\x0CjP  \r\n\x87\n", "JPEG 2000"),
    (0, b"\xFF\x4F\xFF\x51", "JPEG 2000"),
    (0, b"\xFF\xD8\xFF\xF7", "JPEG-LS"),
    (0, b"II\xBC", "JPEG XR"),
    (0, b"\0\0\x01\0", "ICO"),
    (0, b"BPG\xFB", "BPG"),
    (0, b"\x76\x2F\x31\x01", "OpenEXR"),
    (0, b"#?RADIANCE", "Radiance HDR"),
    (0, b"qoif", "QOI"),
    (0, b"\x1A\x45\xDF\xA3", "video"),
    (0, b"<svg", "SVG"),
];

/// Recognises the format. For HEIC this is no more than an ISO base media file: what is in it is read elsewhere.
///
/// # Errors
///
/// [`Error::Empty`], [`Error::NotAnImage`], or [`Error::UnsupportedFormat`] with the format's name.
pub(super) fn format(upload: &[u8]) -> Result<Format, Error> {
    if upload.is_empty() {
        return Err(Error::Empty);
    }
    if let Some((_, _, name)) = REFUSED.iter().find(|(at, mark, _)| has(upload, *at, mark)) {
        return Err(Error::UnsupportedFormat((*name).into()));
    }
    if upload.starts_with(b"\xFF\xD8\xFF") {
        return Ok(Format::Jpeg);
    }
    if upload.starts_with(b"\x89PNG\r\n\x1A\n") {
        return Ok(Format::Png);
    }
    if has(upload, 4, b"ftyp") {
        return Ok(Format::Heic);
    }
    if is_svg(upload) {
        return Err(Error::UnsupportedFormat("SVG".into()));
    }
    if is_netpbm(upload) {
        return Err(Error::UnsupportedFormat("PNM".into()));
    }
    Err(Error::NotAnImage)
}

/// The same, and for HEIC whether the primary image is one of HEVC. Nothing is decoded, and no C or C++ runs.
///
/// # Errors
///
/// Those of `format`, and [`Error::Malformed`] for a HEIC file whose primary image cannot be told.
pub fn accepted_format(upload: &[u8]) -> Result<Format, Error> {
    let format = format(upload)?;
    if format == Format::Heic {
        check_primary_image(upload)?;
    }
    Ok(format)
}

fn has(upload: &[u8], at: usize, mark: &[u8]) -> bool {
    upload.get(at..).is_some_and(|rest| rest.starts_with(mark))
}

/// XML with an SVG root soon after its prologue.
fn is_svg(upload: &[u8]) -> bool {
    let head = upload.get(..SVG_ROOT_BYTES_MAX).unwrap_or(upload);
    let head = head.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(head);
    head.trim_ascii_start().starts_with(b"<") && head.windows(4).any(|bytes| bytes == b"<svg")
}

/// `P1` to `P7` and white space.
fn is_netpbm(upload: &[u8]) -> bool {
    matches!(upload, [b'P', b'1'..=b'7', space, ..] if space.is_ascii_whitespace())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn format_by_magic_bytes_is_recognised() {
        assert_eq!(format(b"\xFF\xD8\xFF\xE0").unwrap(), Format::Jpeg);
        assert_eq!(format(b"\x89PNG\r\n\x1A\n\0").unwrap(), Format::Png);
        assert_eq!(format(b"\0\0\0\x18ftypheic").unwrap(), Format::Heic);
    }

    #[test]
    fn format_of_others_is_refused_by_name() {
        let named = |upload: &[u8]| match format(upload) {
            Err(Error::UnsupportedFormat(name)) => name.into_owned(),
            other => panic!("{other:?}"),
        };

        assert_eq!(named(b"GIF89a\x01\0"), "GIF");
        assert_eq!(named(b"RIFF\0\0\0\0WEBPVP8 "), "WebP");
        assert_eq!(named(b"<?xml version='1.0'?>\n<!-- c -->\n<svg "), "SVG");
        assert_eq!(named(b"P6\n2 2\n255\n"), "PNM");
        assert_eq!(named(b"%PDF-1.7"), "PDF");
    }

    #[test]
    fn format_of_nothing_text_or_web_page_is_no_image() {
        assert!(matches!(format(b""), Err(Error::Empty)));
        for upload in [
            &b"hello"[..],
            b"<!DOCTYPE html><html>",
            b"\xFF\xD8",
            b"\x89PNG",
        ] {
            assert!(matches!(format(upload), Err(Error::NotAnImage)));
        }
    }
}
