//! The chunks of a PNG file that are not samples: orientation, whether there is anything to leave behind, and which ones the
//! decoder must not see.

use std::borrow::Cow;

use crate::imaging::bytes::Bytes;
use crate::imaging::exif;
use crate::imaging::png::raw_profile;

/// Length of the signature, in bytes.
const SIGNATURE_BYTES: usize = 8;

/// The last chunk of each file. Source: PNG third edition, 11.2.4.
const END: &[u8] = b"\0\0\0\0IEND\xAEB`\x82";

/// Most texts that are read as raw profiles: there are two kinds of them. Each costs time, and decompressed some memory.
const RAW_PROFILES_MAX: u32 = 4;

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
        let mut raw_profiles = 0..RAW_PROFILES_MAX;
        let mut bytes = Bytes::new(file.get(SIGNATURE_BYTES..).unwrap_or_default());
        while let Some((kind, data)) = chunk(&mut bytes) {
            match &kind {
                b"IEND" => {
                    found.has_metadata |= !bytes.rest().is_empty();
                    break;
                }
                b"eXIf" => found.orientation = found.orientation.or(exif::orientation(data)),
                b"tEXt" | b"zTXt" | b"iTXt"
                    if raw.is_none()
                        && raw_profile::is_one(data)
                        && raw_profiles.next().is_some() =>
                {
                    raw = raw_profile::orientation(kind, data);
                }
                _ => {}
            }
            found.has_metadata |= is_metadata(kind);
        }
        found.orientation = found.orientation.or(raw);
        found
    }
}

/// The file without what the decoder would refuse it for, though it does not matter to the picture: the chunks of
/// animations, code points of what PNG does not have (a matrix, a third range), and an end that is missing behind the
/// samples.
pub(super) fn still(file: &[u8]) -> Cow<'_, [u8]> {
    let mut copy = Vec::new();
    // What has neither been copied nor passed over yet.
    let mut rest = file;
    let mut bytes = Bytes::new(file.get(SIGNATURE_BYTES..).unwrap_or_default());
    let (mut has_samples, mut has_end) = (false, false);
    loop {
        let before = bytes;
        let Some((kind, data)) = chunk(&mut bytes) else {
            bytes = before;
            break;
        };
        has_samples |= &kind == b"IDAT";
        has_end |= &kind == b"IEND";
        if is_in_the_way(kind, data) {
            let kept = rest.len().saturating_sub(before.rest().len());
            copy.extend(rest.get(..kept).unwrap_or_default());
            rest = bytes.rest();
        }
    }
    // If what the file breaks off in are samples, the decoder is to see that. It finds as well if further ones are missing.
    let is_cut = bytes.rest().get(4..8) == Some(b"IDAT");
    if has_samples && !has_end && !is_cut {
        let kept = rest.len().saturating_sub(bytes.rest().len());
        copy.extend(rest.get(..kept).unwrap_or_default());
        rest = END;
    }
    if copy.is_empty() {
        return Cow::Borrowed(file);
    }
    copy.extend(rest);
    Cow::Owned(copy)
}

/// Source: PNG third edition, 11.3.2.6 and 11.3.6.
const fn is_in_the_way(kind: [u8; 4], data: &[u8]) -> bool {
    match &kind {
        b"acTL" | b"fcTL" | b"fdAT" => true,
        b"cICP" => !matches!(data, [_, _, 0, 0 | 1]),
        _ => false,
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
    fn end_that_is_missing_behind_whole_samples_is_added() {
        let samples: (&[u8; 4], &[u8]) = (b"IDAT", b"samples");
        let whole = file(&[(b"IHDR", b""), samples]);
        let ended = [&whole, END].concat();
        let more = file(&[(b"IHDR", b""), samples, (b"tEXt", b"text")]);
        for length in whole.len()..more.len() {
            assert_eq!(still(&more[..length]), ended, "{length}");
        }
        let animated = file(&[(b"acTL", b""), (b"IHDR", b""), samples, (b"fdAT", b"")]);
        assert_eq!(still(&animated), ended);

        let cut = file(&[(b"IHDR", b""), samples, samples]);
        for length in whole.len() + 8..cut.len() {
            assert_eq!(still(&cut[..length]), &cut[..length], "{length}");
        }
        assert_eq!(still(&ended), ended);
        let no_samples = file(&[(b"IHDR", b"")]);
        assert_eq!(still(&no_samples), no_samples);
    }

    #[test]
    fn exif_after_the_samples_is_found() {
        let chunks = Chunks::scan(&file(&[(b"IDAT", b""), (b"eXIf", TIFF), (b"IEND", b"")]));

        assert_eq!(chunks.orientation, Some(6));
        assert!(chunks.has_metadata);
    }

    #[test]
    fn exif_with_the_prefix_of_a_jpeg_is_found() {
        let data = [b"Exif\0\0", TIFF].concat();

        assert_eq!(
            Chunks::scan(&file(&[(b"eXIf", &data)])).orientation,
            Some(6)
        );
    }

    #[test]
    fn exif_as_text_is_found_unless_there_is_a_chunk() {
        let text = "Raw profile type exif\0\nexif\n      28\n4578696600004d4d002a0000\n\
            0008000101120003000000010003\n0000\n";
        let text: (&[u8; 4], &[u8]) = (b"tEXt", text.as_bytes());

        let alone = Chunks::scan(&file(&[text]));
        let both = Chunks::scan(&file(&[text, (b"eXIf", TIFF)]));

        assert_eq!((alone.orientation, both.orientation), (Some(3), Some(6)));
    }

    #[test]
    fn few_texts_are_read_as_raw_profiles_and_none_after_one_that_is() {
        let damaged: (&[u8; 4], &[u8]) = (b"zTXt", b"Raw profile type exif\0\0damaged");
        let comment: (&[u8; 4], &[u8]) = (b"tEXt", b"Comment\0no profile");
        let profile = |orientation| {
            let text = "Raw profile type APP1\0\nAPP1\n28\n4578696600004d4d002a0000\n\
                00080001011200030000000100";
            format!("{text}0{orientation}0000\n").into_bytes()
        };
        let (third, sixth) = (profile(3), profile(6));
        let profile: (&[u8; 4], &[u8]) = (b"tEXt", &third);
        let other: (&[u8; 4], &[u8]) = (b"tEXt", &sixth);
        let orientation = |chunks: &[_]| Chunks::scan(&file(chunks)).orientation;

        assert_eq!(orientation(&[comment, damaged, profile, other]), Some(3));
        assert_eq!(
            orientation(&[damaged, damaged, damaged, comment, profile]),
            Some(3)
        );
        assert_eq!(
            orientation(&[damaged, damaged, damaged, damaged, profile]),
            None
        );
    }

    #[test]
    fn still_file_has_no_chunks_of_animations_nor_impossible_code_points() {
        let plain: &[(&[u8; 4], &[u8])] = &[
            (b"IHDR", b"header"),
            (b"cICP", b"\x01\x0D\0\x01"),
            (b"IDAT", b"samples"),
            (b"IEND", b""),
        ];
        let animated: &[(&[u8; 4], &[u8])] = &[
            plain[0],
            (b"acTL", b"frames"),
            (b"cICP", b"\x01\x0D\x01\x01"),
            (b"cICP", b"\x01\x0D\0\x02"),
            plain[1],
            (b"fcTL", b"frame"),
            plain[2],
            (b"fcTL", b"frame"),
            (b"fdAT", b"samples"),
            plain[3],
        ];
        let (plain, mut animated) = (file(plain), file(animated));

        assert!(matches!(still(&plain), Cow::Borrowed(same) if same == plain));
        assert_eq!(still(&animated), plain);
        animated.extend(b"tail");
        assert_eq!(still(&animated), [&plain[..], b"tail"].concat());
    }

    #[test]
    fn bytes_after_the_end_are_metadata() {
        let mut trailed = file(&[(b"IDAT", b""), (b"IEND", b"")]);
        trailed.push(0);

        assert!(Chunks::scan(&trailed).has_metadata);
    }
}
