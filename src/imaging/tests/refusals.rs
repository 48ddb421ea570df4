//! What is refused, and why.

use std::time::Instant;

use png::BitDepth;
use png::ColorType;
use png::text_metadata::{ITXtChunk, ZTXtChunk};
use turbojpeg::Subsamp;

use crate::config;
use crate::domain::picture::Format;
use crate::imaging::Error;
use crate::imaging::Rendered;
use crate::imaging::Renderer;
use crate::imaging::tests::samples::fixture;
use crate::imaging::tests::samples::jpeg;
use crate::imaging::tests::samples::patched;
use crate::imaging::tests::samples::png;
use crate::imaging::tests::samples::png_chunk;
use crate::imaging::tests::samples::quarters;

fn render(upload: &[u8]) -> Result<Rendered, Error> {
    Renderer::new(config::Picture::default()).render(upload, None)
}

fn a_jpeg() -> Vec<u8> {
    jpeg(200, 200, &quarters(200, 200), Subsamp::Sub2x2)
}

fn a_png() -> Vec<u8> {
    png(
        (40, 40),
        ColorType::Rgb,
        BitDepth::Eight,
        &quarters(40, 40),
        |_| {},
    )
}

#[test]
fn nothing_and_no_image_are_told_apart() {
    assert!(matches!(render(b""), Err(Error::Empty)));
    assert!(matches!(render(b"hello"), Err(Error::NotAnImage)));
    assert!(matches!(
        render(b"GIF89a"),
        Err(Error::UnsupportedFormat(name)) if name == "GIF"
    ));
}

#[test]
fn jpeg_cut_off_anywhere_is_malformed() {
    let whole = a_jpeg();

    for length in (3..whole.len()).step_by(7) {
        let refusal = render(&whole[..length]);
        assert!(
            matches!(refusal, Err(Error::Malformed(Format::Jpeg, _))),
            "{length}"
        );
    }
}

#[test]
fn jpeg_with_bytes_before_a_marker_is_accepted() {
    let mut upload = a_jpeg();
    let end = upload.len() - 2;
    upload.splice(end..end, [0, 0]);

    assert!(render(&upload).is_ok());
}

#[test]
fn png_cut_off_anywhere_is_malformed() {
    let whole = a_png();

    // Without the last chunk, which has 12 bytes, all samples are there: see below.
    for length in 8..whole.len() - 12 {
        let refusal = render(&whole[..length]);
        assert!(
            matches!(refusal, Err(Error::Malformed(Format::Png, _))),
            "{length}"
        );
    }
}

#[test]
fn png_without_its_end_is_shown_if_all_samples_are_there() {
    let whole = a_png();
    let end = whole.len() - 12;
    let shown = render(&whole).unwrap().renditions;

    for length in end..whole.len() {
        assert_eq!(render(&whole[..length]).unwrap().renditions, shown);
    }
    let text = png_chunk(*b"tEXt", b"Comment\0text");
    let broken_off = [&whole[..end], &text[..text.len() - 1]].concat();
    assert_eq!(render(&broken_off).unwrap().renditions, shown);
}

#[test]
fn png_of_many_pieces_cut_off_anywhere_is_malformed() {
    let whole = a_png();
    // The signature, the header, and one chunk of samples before the end.
    let (start, end) = (33, whole.len() - 12);
    let samples = &whole[start + 8..end - 4];
    let pieces: Vec<u8> = samples
        .chunks(16)
        .flat_map(|piece| png_chunk(*b"IDAT", piece))
        .collect();
    let pieces = [&whole[..start], &pieces].concat();
    assert!(render(&pieces).is_ok());

    for length in start..pieces.len() {
        let refusal = render(&pieces[..length]);
        assert!(
            matches!(refusal, Err(Error::Malformed(Format::Png, _))),
            "{length}"
        );
    }
}

#[test]
fn png_with_a_changed_sample_is_malformed() {
    let mut upload = a_png();
    let middle = upload.len() - 30;
    upload[middle] ^= 1;

    assert!(matches!(
        render(&upload),
        Err(Error::Malformed(Format::Png, _))
    ));
}

#[test]
fn picture_with_too_many_pixels_is_refused_by_its_header() {
    let mut upload = a_jpeg();
    let frame = upload.windows(2).position(|bytes| bytes == [0xFF, 0xC0]);
    let size = frame.unwrap() + 5;
    upload[size..size + 4].copy_from_slice(&[0xFF; 4]);

    assert!(matches!(
        render(&upload),
        Err(Error::TooManyPixels {
            width: 65_535,
            height: 65_535,
            pixels: 4_294_836_225,
            pixels_max: 67_108_864
        })
    ));
}

#[test]
fn picture_of_64_megapixels_as_cameras_have_them_is_not_too_large() {
    let mut upload = a_jpeg();
    let frame = upload.windows(2).position(|bytes| bytes == [0xFF, 0xC0]);
    let size = frame.unwrap() + 5;
    for [height, width] in [[6_936_u16, 9_248_u16], [6_944, 9_280]] {
        upload[size..size + 2].copy_from_slice(&height.to_be_bytes());
        upload[size + 2..size + 4].copy_from_slice(&width.to_be_bytes());

        // It ends too early, which is found after the limits.
        let refusal = render(&upload[..upload.len() - 2]);
        assert!(matches!(refusal, Err(Error::Malformed(..))), "{refusal:?}");
    }
}

#[test]
fn png_with_a_profile_bomb_takes_no_memory() {
    let zeros = vec![0; 200 * 1_024 * 1_024];
    let (pixel, color) = ([1, 2, 3], ColorType::Rgb);
    let upload = png((1, 1), color, BitDepth::Eight, &pixel, |info| {
        info.icc_profile = Some(zeros.into());
    });

    // The profile is given up, the picture is not.
    assert_eq!(render(&upload).unwrap().format, Format::Png);
}

#[test]
fn png_with_bombs_of_texts_takes_no_memory() {
    // As the orientation of some programs, so that somebody would look.
    let keyword = "Raw profile type exif".to_owned();
    let zeros = "0".repeat(64 * 1_024 * 1_024);
    let (pixel, color) = ([1, 2, 3], ColorType::Rgb);
    let upload = png((1, 1), color, BitDepth::Eight, &pixel, |info| {
        let latin1 = ZTXtChunk::new(keyword.clone(), zeros.clone());
        let mut utf8 = ITXtChunk::new(keyword, zeros);
        utf8.compressed = true;
        info.compressed_latin1_text.push(latin1);
        info.utf8_text.push(utf8);
    });
    assert!(upload.len() < 1_024 * 1_024, "{}", upload.len());

    assert_eq!(render(&upload).unwrap().format, Format::Png);
}

/// As many copies as fit into the largest upload, before or after what is at `place`.
fn flooded(file: &[u8], place: usize, copy: &[u8]) -> Vec<u8> {
    let room = (5 * 1_024 * 1_024_usize).strict_sub(file.len());
    let mut upload = file[..place].to_vec();
    upload.extend(copy.repeat(room.strict_div(copy.len())));
    upload.extend_from_slice(&file[place..]);
    upload
}

#[test]
fn jpeg_with_a_flood_of_segments_is_read_in_one_go() {
    let segment = |marker: u8, data: &[u8]| {
        let length = u16::try_from(data.len() + 2).unwrap().to_be_bytes();
        [&[0xFF, marker], &length[..], data].concat()
    };
    let exif = [
        b"Exif\0\0MM\0*\0\0\0\x08\xFF\xFF",
        vec![0; 60_000].as_slice(),
    ]
    .concat();
    let table = [&[0], &[1; 64][..]].concat();
    let start = Instant::now();
    for (what, copy) in [
        ("applications", segment(0xE5, b"")),
        ("EXIF", segment(0xE1, &exif)),
        ("comments", segment(0xFE, &vec![b'x'; 65_000])),
        ("quantisation tables", segment(0xDB, &table)),
        ("restart intervals", segment(0xDD, &[0, 0])),
        ("padding", vec![0xFF]),
    ] {
        assert!(render(&flooded(&a_jpeg(), 2, &copy)).is_ok(), "{what}");
    }
    // Seconds where tests are not optimised; minutes if each were compared with the others.
    assert!(start.elapsed().as_secs() < 60, "{:?}", start.elapsed());
}

#[test]
fn jpeg_with_a_flood_of_scans_is_malformed_at_once() {
    let file = fixture("progressive.jpg");
    let scan = file.windows(2).rposition(|bytes| bytes == [0xFF, 0xDA]);
    let (scan, end) = (scan.unwrap(), file.len() - 2);
    let head_only = &file[scan..scan + 2 + usize::from(file[scan + 3])];
    let start = Instant::now();
    for copy in [&file[scan..end], head_only] {
        let refusal = render(&flooded(&file, scan, copy));
        assert!(matches!(refusal, Err(Error::Malformed(Format::Jpeg, _))));
    }
    assert!(start.elapsed().as_secs() < 20, "{:?}", start.elapsed());
}

#[test]
fn renderer_works_on_after_a_refusal() {
    let mut renderer = Renderer::new(config::Picture::default());
    let whole = a_jpeg();

    assert!(renderer.render(&whole[..whole.len() / 2], None).is_err());
    assert!(renderer.render(&whole, None).is_ok());
}

#[test]
fn heic_whose_grid_is_empty_is_malformed() {
    let grid = fixture("grid.heic");
    // Two rows of three tiles, 704 by 512 pixels.
    let whole = [0, 0, 1, 2, 0x02, 0xC0, 0x02, 0x00];
    for size in [[0, 0, 0x02, 0x00], [0x02, 0xC0, 0, 0], [0; 4]] {
        let empty = [&whole[..4], &size].concat();

        let refusal = render(&patched(&grid, &whole, &empty));

        assert!(
            matches!(refusal, Err(Error::Malformed(Format::Heic, _))),
            "{refusal:?}"
        );
    }
}

#[test]
fn heic_with_reserved_code_points_is_shown_as_if_they_were_unspecified() {
    let plain = fixture("single.heic");
    // Primaries, transfer and matrix in the sequence parameter set: BT.709, sRGB, BT.601. 3 is reserved in each.
    let points = [1, 13, 6];
    for reserved in [[3, 13, 6], [1, 3, 6], [1, 13, 3], [3; 3]] {
        let upload = recoded(&plain, points, reserved);

        let [one, other] = [&plain, &upload].map(|upload| render(upload).unwrap().renditions);

        assert_eq!(one, other, "{reserved:?}");
    }
}

/// A file with the first place where these bytes are changed to others. They may begin with any bit of a byte.
fn recoded(file: &[u8], from: [u8; 3], to: [u8; 3]) -> Vec<u8> {
    let number = |bytes: &[u8]| {
        bytes
            .iter()
            .fold(0, |sum, byte| sum << 8 | u32::from(*byte))
    };
    let (from, to) = (number(&from), number(&to));
    for (start, four) in file.windows(4).enumerate() {
        let four = number(four);
        if let Some(shift) = (0..=8).find(|shift| four >> shift & 0xFF_FFFF == from) {
            let changed = four ^ ((from ^ to) << shift);
            let mut file = file.to_vec();
            file[start..][..4].copy_from_slice(&changed.to_be_bytes());
            return file;
        }
    }
    panic!("the bytes are nowhere");
}
