//! The segments of a JPEG file before its first scan: size, coding, orientation, profile. Decodes nothing.

use crate::domain::picture::Format;
use crate::imaging::Damage;
use crate::imaging::Error;
use crate::imaging::bytes::Bytes;
use crate::imaging::exif;
use crate::imaging::geometry::Orientation;
use crate::imaging::geometry::Size;
use crate::imaging::jpeg::segments::End;
use crate::imaging::jpeg::segments::Segment;
use crate::imaging::jpeg::segments::Segments;
use crate::imaging::jpeg::segments::is_frame;
use crate::imaging::profile::PROFILE_BYTES_MAX;
use crate::imaging::profile::Profile;

/// Beginning of an APP1 segment with EXIF. Source: CIPA DC-008, 4.7.2.1.
const EXIF: &[u8] = b"Exif\0\0";

/// Beginning of an APP2 segment with a piece of an ICC profile. Source: ICC.1, annex B.4.
const ICC: &[u8] = b"ICC_PROFILE\0";

/// Beginning of an APP0 segment of JFIF. Source: ITU-T T.871, 10.1.
const JFIF: &[u8] = b"JFIF\0";

/// Shortest such segment, in bytes. Decoders take no notice of shorter ones. Source: as above; libjpeg, `jdmarker.c`.
const JFIF_BYTES_MIN: usize = 14;

/// Beginning of an APP14 segment of Adobe's. Source: Adobe technical note 5116, 18.
const ADOBE: &[u8] = b"Adobe";

/// Shortest such segment, in bytes.
const ADOBE_BYTES_MIN: usize = 12;

/// End of image.
const EOI: &[u8] = b"\xFF\xD9";

/// What the segments before the first scan say.
#[derive(Clone, Debug)]
pub(in crate::imaging) struct Header {
    /// Size of the stored picture.
    pub size: Size,
    /// What an Adobe segment says of the colour transform, if there is one.
    pub adobe_transform: Option<u8>,
    /// Whether there is a JFIF segment, which means luma and colour differences.
    pub is_jfif: bool,
    /// Which way up the picture is.
    pub orientation: Orientation,
    /// What the colours mean.
    pub profile: Profile,
    /// Whether there is anything but the picture: application segments, comments, something after its end.
    pub has_metadata: bool,
}

impl Header {
    /// Reads the segments up to the first scan.
    ///
    /// # Errors
    ///
    /// [`Error::Malformed`] without a frame and a scan, [`Error::UnsupportedFormat`] for the frames that are not those of
    /// photos (lossless, hierarchical, 12 bits).
    pub(in crate::imaging) fn read(file: &[u8]) -> Result<Self, Error> {
        let mut found = Found::default();
        let mut segments = Segments::new(file);
        for Segment { marker, data } in segments.by_ref() {
            found.read(marker, data)?;
        }
        if !matches!(segments.end(), End::Scan(_)) {
            return Err(damaged("no scan"));
        }
        found.has_metadata |= !file.ends_with(EOI);
        found.header()
    }
}

/// Whether a segment says that the file is one of JFIF.
pub(super) fn is_jfif(marker: u8, segment: &[u8]) -> bool {
    marker == 0xE0 && segment.starts_with(JFIF) && segment.len() >= JFIF_BYTES_MIN
}

/// Whether a segment is Adobe's: its twelfth byte tells the colour transform.
pub(super) fn is_adobe(marker: u8, segment: &[u8]) -> bool {
    marker == 0xEE && segment.starts_with(ADOBE) && segment.len() >= ADOBE_BYTES_MIN
}

fn damaged(what: &'static str) -> Error {
    Error::Malformed(Format::Jpeg, Damage(what).into())
}

/// What has been gathered.
#[derive(Default)]
struct Found<'a> {
    frame: Option<Size>,
    exif: Option<&'a [u8]>,
    /// Pieces of the profile, and their numbers.
    icc: Vec<(u8, &'a [u8])>,
    adobe_transform: Option<u8>,
    is_jfif: bool,
    has_metadata: bool,
}

impl<'a> Found<'a> {
    fn read(&mut self, marker: u8, segment: &'a [u8]) -> Result<(), Error> {
        match marker {
            _ if is_frame(marker) => self.frame(marker, segment)?,
            0xE1 => {
                self.has_metadata = true;
                if let Some(tiff) = segment.strip_prefix(EXIF) {
                    self.exif.get_or_insert(tiff);
                }
            }
            0xE2 => {
                self.has_metadata = true;
                if let Some([number, _, piece @ ..]) = segment.strip_prefix(ICC) {
                    self.icc.push((*number, piece));
                }
            }
            0xE0 if is_jfif(marker, segment) => self.is_jfif = true,
            0xEE if is_adobe(marker, segment) => self.adobe_transform = segment.get(11).copied(),
            // Everything else of applications but JFIF's own, and comments.
            0xE1..=0xEF | 0xFE => self.has_metadata = true,
            _ => {}
        }
        Ok(())
    }

    fn frame(&mut self, marker: u8, segment: &[u8]) -> Result<(), Error> {
        match marker {
            0xC3 | 0xC7 | 0xCB | 0xCF => {
                return Err(Error::UnsupportedFormat("lossless JPEG".into()));
            }
            0xC5..=0xC6 | 0xCD..=0xCE => {
                return Err(Error::UnsupportedFormat("hierarchical JPEG".into()));
            }
            _ => {}
        }
        let mut bytes = Bytes::new(segment);
        let mut fields = || {
            let precision = bytes.u8()?;
            let (height, width) = (bytes.u16()?, bytes.u16()?);
            Some((precision, width, height, bytes.u8()?))
        };
        let (precision, width, height, components) =
            fields().ok_or_else(|| damaged("incomplete frame header"))?;
        if precision != 8 {
            return Err(Error::UnsupportedFormat(
                "JPEG with more than 8 bits".into(),
            ));
        }
        if width == 0 || height == 0 {
            return Err(damaged("no pixels"));
        }
        if !matches!(components, 1 | 3 | 4) {
            return Err(damaged("neither 1, 3 nor 4 components"));
        }
        if self.frame.is_some() {
            return Err(damaged("two frames"));
        }
        let size = Size {
            width: u32::from(width),
            height: u32::from(height),
        };
        self.frame = Some(size);
        Ok(())
    }

    fn header(self) -> Result<Header, Error> {
        let profile = self.profile();
        let size = self.frame.ok_or_else(|| damaged("no frame"))?;
        let orientation = self.exif.and_then(exif::orientation).unwrap_or(1);
        Ok(Header {
            size,
            adobe_transform: self.adobe_transform,
            is_jfif: self.is_jfif,
            orientation: Orientation::from_exif(orientation),
            profile,
            has_metadata: self.has_metadata,
        })
    }

    /// The pieces of the profile in the order of their numbers. A profile with a piece missing is none.
    fn profile(&self) -> Profile {
        let mut pieces = self.icc.clone();
        pieces.sort_by_key(|(number, _)| *number);
        let complete = pieces
            .iter()
            .zip(1_usize..)
            .all(|((number, _), nth)| usize::from(*number) == nth);
        let length: usize = pieces.iter().map(|(_, piece)| piece.len()).sum();
        if pieces.is_empty() || !complete || length > PROFILE_BYTES_MAX {
            return Profile::Srgb;
        }
        Profile::from_icc(
            pieces
                .iter()
                .flat_map(|(_, piece)| *piece)
                .copied()
                .collect(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(segments: &[(u8, &[u8])]) -> Vec<u8> {
        let mut file = vec![0xFF, 0xD8];
        for (marker, segment) in segments {
            let length = u16::try_from(segment.len()).unwrap().strict_add(2);
            file.extend([0xFF, *marker]);
            file.extend(length.to_be_bytes());
            file.extend(*segment);
        }
        file.extend([0xFF, 0xDA, 0xFF, 0xD9]);
        file
    }

    const FRAME: (u8, &[u8]) = (0xC0, &[8, 0, 2, 0, 3, 1, 1, 0x11, 0]);

    const WHOLE_JFIF: (u8, &[u8]) = (0xE0, b"JFIF\0\x01\x01\0\0\x01\0\x01\0\0");

    #[test]
    fn header_of_a_plain_file_has_size_and_no_metadata() {
        let header = Header::read(&file(&[WHOLE_JFIF, FRAME])).unwrap();

        assert_eq!((header.size.width, header.size.height), (3, 2));
        assert!(header.is_jfif);
        assert!(!header.has_metadata);
        assert_eq!(header.orientation, Orientation::UPRIGHT);
    }

    #[test]
    fn segments_that_are_too_short_are_neither_jfif_nor_adobe() {
        let jfif = &WHOLE_JFIF.1[..13];
        let header = Header::read(&file(&[
            (0xE0, jfif),
            (0xEE, b"Adobe\0\x64\0\0\0\0"),
            FRAME,
        ]));

        let header = header.unwrap();
        assert_eq!((header.is_jfif, header.adobe_transform), (false, None));
    }

    #[test]
    fn header_takes_the_first_exif_and_joins_the_profile_by_number() {
        let exif = |value| {
            let mut bytes = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0".to_vec();
            bytes.extend([value, 0, 0]);
            bytes
        };
        let header = Header::read(&file(&[
            (0xE1, b"http://ns.adobe.com/xap/1.0/\0"),
            (0xE1, &exif(6)),
            (0xE1, &exif(3)),
            (0xE2, b"ICC_PROFILE\0\x02\x02world"),
            FRAME,
            (0xE2, b"ICC_PROFILE\0\x01\x02hello "),
        ]))
        .unwrap();

        assert_eq!(header.orientation, Orientation::from_exif(6));
        assert_eq!(header.profile, Profile::Icc(b"hello world".to_vec()));
        assert!(header.has_metadata);
    }

    #[test]
    fn profile_with_a_missing_piece_is_none() {
        let header = Header::read(&file(&[FRAME, (0xE2, b"ICC_PROFILE\0\x02\x02x")])).unwrap();

        assert_eq!(header.profile, Profile::Srgb);
    }

    #[test]
    fn profile_may_have_as_many_pieces_as_can_be_numbered() {
        let pieces: Vec<_> = (1..=u8::MAX)
            .map(|number| [ICC, &[number, u8::MAX, b'x']].concat())
            .collect();
        let mut segments = vec![FRAME];
        segments.extend(pieces.iter().map(|piece| (0xE2, piece.as_slice())));
        let profile = Profile::Icc(vec![b'x'; 255]);
        assert_eq!(Header::read(&file(&segments)).unwrap().profile, profile);

        segments.push((0xE2, &pieces[254]));
        assert_eq!(
            Header::read(&file(&segments)).unwrap().profile,
            Profile::Srgb
        );
    }

    #[test]
    fn header_of_other_codings_is_refused() {
        let read = |marker, segment| Header::read(&file(&[(marker, segment)]));

        assert!(matches!(
            read(0xC3, FRAME.1),
            Err(Error::UnsupportedFormat(name)) if name == "lossless JPEG"
        ));
        assert!(matches!(
            read(0xC1, &[12, 0, 2, 0, 3, 1, 1, 0x11, 0]),
            Err(Error::UnsupportedFormat(_))
        ));
        for segment in [&[8, 0, 0, 0, 3, 1][..], &[8, 0, 2, 0, 3, 2], &[8, 0, 2, 0]] {
            assert!(matches!(read(0xC0, segment), Err(Error::Malformed(..))));
        }
    }

    #[test]
    fn header_of_every_truncation_is_an_error() {
        let whole = file(&[WHOLE_JFIF, FRAME]);

        for length in 0..whole.len().strict_sub(2) {
            assert!(
                Header::read(whole.get(..length).unwrap()).is_err(),
                "{length}"
            );
        }
    }
}
