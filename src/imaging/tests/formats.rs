//! Colour models, depths, transparency, profiles, and what is left behind.

#![expect(
    clippy::arithmetic_side_effects,
    reason = "a test that miscounts fails"
)]

use png::BitDepth;
use png::ColorType;
use turbojpeg::Compressor;
use turbojpeg::Image;
use turbojpeg::PixelFormat;
use turbojpeg::Subsamp;

use crate::domain::picture::Applied;
use crate::domain::picture::Color;
use crate::domain::picture::Format;
use crate::imaging::Decoder;
use crate::imaging::tests::samples::BLUE;
use crate::imaging::tests::samples::GREEN;
use crate::imaging::tests::samples::RED;
use crate::imaging::tests::samples::Shown;
use crate::imaging::tests::samples::YELLOW;
use crate::imaging::tests::samples::assert_near;
use crate::imaging::tests::samples::cmyk_jpeg;
use crate::imaging::tests::samples::exif;
use crate::imaging::tests::samples::jpeg;
use crate::imaging::tests::samples::jpeg_with;
use crate::imaging::tests::samples::png;
use crate::imaging::tests::samples::png_chunk;
use crate::imaging::tests::samples::quarters;
use crate::imaging::tests::samples::render;
use crate::imaging::tests::samples::render_with;

const COLORS: [[u8; 3]; 4] = [RED, GREEN, BLUE, YELLOW];

fn display_p3() -> Vec<u8> {
    moxcms::ColorProfile::new_display_p3().encode().unwrap()
}

#[test]
fn jpeg_of_each_sampling_shows_its_colours() {
    for subsamp in [
        Subsamp::None,
        Subsamp::Sub2x1,
        Subsamp::Sub2x2,
        Subsamp::Sub1x2,
        Subsamp::Sub4x1,
        Subsamp::Sub1x4,
    ] {
        for side in [65, 700, 1300, 3000, 6000] {
            let upload = jpeg(side, side, &quarters(side, side), subsamp);

            let rendered = render(&upload);

            assert_eq!(rendered.format, Format::Jpeg);
            assert_near(Shown::nth(&rendered, 0).quarters(), COLORS);
        }
    }
}

#[test]
fn gray_jpeg_is_grey() {
    let upload = jpeg(600, 600, &vec![77; 600 * 600 * 3], Subsamp::Gray);

    assert_near(Shown::nth(&render(&upload), 0).quarters(), [[77; 3]; 4]);
}

#[test]
fn cmyk_jpeg_holds_what_is_not_inked_with_and_without_adobe() {
    let adobe = cmyk_jpeg([200, 255, 255, 255], false);
    let start = adobe
        .windows(5)
        .position(|bytes| bytes == b"Adobe")
        .unwrap();
    let mut plain = adobe.clone();
    plain[start..start + 5].copy_from_slice(b"Other");

    let [adobe, plain] = [adobe, plain].map(|upload| render(&upload));

    // A fifth of the cyan and no other inks.
    assert_near(Shown::nth(&adobe, 0).quarters(), [[200, 255, 255]; 4]);
    assert_near(Shown::nth(&plain, 0).quarters(), [[200, 255, 255]; 4]);
    assert_eq!(adobe.decoder, Decoder::Turbo);
    assert!(adobe.applied.contains(&Applied::Srgb));
}

#[test]
fn arithmetic_jpeg_is_decoded_and_says_by_whom() {
    let rgb = quarters(700, 700);
    let image = Image {
        pixels: &rgb[..],
        width: 700,
        pitch: 700 * 3,
        height: 700,
        format: PixelFormat::RGB,
    };
    let mut compressor = Compressor::new().unwrap();
    compressor.set_arithmetic(true).unwrap();

    let rendered = render(&compressor.compress_to_vec(image).unwrap());

    assert_near(Shown::nth(&rendered, 0).quarters(), COLORS);
    assert_eq!(rendered.decoder, Decoder::Turbo);
    assert_eq!(rendered.applied, [Applied::FallbackDecoder]);
}

#[test]
fn jpeg_with_a_profile_is_converted() {
    let plain = jpeg(600, 600, &[200, 100, 50].repeat(600 * 600), Subsamp::None);
    let segment = [&b"ICC_PROFILE\0\x01\x01"[..], &display_p3()].concat();

    let rendered = render(&jpeg_with(&plain, &[(0xE2, &segment)]));

    assert_near(Shown::nth(&rendered, 0).quarters(), [[215, 93, 31]; 4]);
    assert_eq!(rendered.applied, [Applied::Srgb, Applied::MetadataRemoved]);
}

#[test]
fn renditions_hold_no_metadata() {
    let plain = jpeg(600, 600, &quarters(600, 600), Subsamp::None);
    let upload = jpeg_with(&plain, &[(0xE1, b"Exif\0\0secret"), (0xFE, b"comment")]);

    for rendition in render(&upload).renditions {
        let mut rest = &rendition.bytes[2..];
        while rest[1] != 0xDA {
            let marker = rest[1];
            let expected = [0xC0, 0xC4, 0xDB, 0xE0];
            assert!(expected.contains(&marker), "{marker:x}");
            let length = usize::from(u16::from_be_bytes([rest[2], rest[3]]));
            rest = &rest[2 + length..];
        }
    }
}

#[test]
fn png_of_each_colour_type_and_depth_is_shown() {
    let gray = |depth: BitDepth, row: &[u8]| {
        let file = png(
            (64, 64),
            ColorType::Grayscale,
            depth,
            &row.repeat(64),
            |_| {},
        );
        Shown::nth(&render(&file), 0).quarters()
    };

    let halves = [[255; 3], [0; 3], [255; 3], [0; 3]];
    assert_near(
        gray(BitDepth::One, &[255, 255, 255, 255, 0, 0, 0, 0]),
        halves,
    );
    assert_near(gray(BitDepth::Two, &[0xAA; 16]), [[170; 3]; 4]);
    assert_near(gray(BitDepth::Four, &[0x55; 32]), [[85; 3]; 4]);
    assert_near(gray(BitDepth::Eight, &[9; 64]), [[9; 3]; 4]);
    assert_near(gray(BitDepth::Sixteen, &[128, 0].repeat(64)), [[128; 3]; 4]);
}

#[test]
fn palette_png_with_transparency_shows_the_background() {
    let (size, rows) = ((8, 8), [0b1111_0000; 8]);
    let upload = png(size, ColorType::Indexed, BitDepth::One, &rows, |info| {
        info.palette = Some([RED, GREEN].concat().into());
        info.trns = Some(vec![255, 0].into());
    });

    let rendered = render_with(&upload, |config| config.background = Color(BLUE));

    assert_near(Shown::nth(&rendered, 0).quarters(), [BLUE, RED, BLUE, RED]);
    assert!(rendered.applied.contains(&Applied::Flattened));
}

#[test]
fn transparent_edge_has_no_dark_fringe() {
    // White, half of it transparent black.
    let pixel = |x: usize| if x < 1000 { [255; 4] } else { [0; 4] };
    let row: Vec<u8> = (0..2000).flat_map(pixel).collect();
    let upload = png(
        (2000, 2000),
        ColorType::Rgba,
        BitDepth::Eight,
        &row.repeat(2000),
        |_| {},
    );

    let rendered = render(&upload);

    let shown = Shown::nth(&rendered, 0);
    for x in 0..512 {
        let pixel = shown.at(f64::from(x) / 512.0, 0.5);
        assert!(pixel.iter().all(|level| *level >= 253), "{x}: {pixel:?}");
    }
}

#[test]
fn interlaced_png_is_the_same_as_a_plain_one() {
    // Averaged two by two, with a rest in both directions; and of one pixel, of which six passes have none.
    for (width, height) in [(701, 533), (1, 1)] {
        let samples = noise(width, height);
        let (size, color, depth) = ((width, height), ColorType::Rgb, BitDepth::Eight);
        let plain = png(size, color, depth, &samples, |_| {});

        let [plain, interlaced] = [plain, interlaced_png(size, &samples)]
            .map(|upload| render_with(&upload, |config| config.sizes_px = vec![128]));

        assert_eq!(plain.renditions[0].bytes, interlaced.renditions[0].bytes);
    }
}

/// RGB pixels that have nothing to do with each other.
fn noise(width: u32, height: u32) -> Vec<u8> {
    (0..width * height * 3)
        .map(|nth| u8::try_from(nth.wrapping_mul(2_654_435_761) >> 24).unwrap())
        .collect()
}

/// An interlaced PNG of RGB samples, which the encoder cannot write. Source: PNG third edition, 8.1.
fn interlaced_png((width, height): (u32, u32), samples: &[u8]) -> Vec<u8> {
    let passes = [
        (0, 0, 8, 8),
        (4, 0, 8, 8),
        (0, 4, 4, 8),
        (2, 0, 4, 4),
        (0, 2, 2, 4),
        (1, 0, 2, 2),
        (0, 1, 1, 2),
    ];
    let pixels = samples.as_chunks::<3>().0;
    let rows = pixels.chunks(usize::try_from(width).unwrap());
    let mut filtered = Vec::new();
    for (x, y, across, down) in passes {
        for row in rows.clone().skip(y).step_by(down) {
            let mut pixels = row.iter().skip(x).step_by(across).flatten().peekable();
            if pixels.peek().is_some() {
                filtered.push(0);
                filtered.extend(pixels);
            }
        }
    }
    let header = [
        &width.to_be_bytes(),
        &height.to_be_bytes(),
        &[8, 2, 0, 0],
        &[1][..],
    ]
    .concat();
    let samples = fdeflate::compress_to_vec(&filtered);
    let chunks = [
        png_chunk(*b"IHDR", &header),
        png_chunk(*b"IDAT", &samples),
        png_chunk(*b"IEND", b""),
    ]
    .concat();
    [b"\x89PNG\r\n\x1A\n", &chunks[..]].concat()
}

#[test]
fn large_png_is_averaged_to_the_same_colours() {
    let upload = png(
        (4200, 3000),
        ColorType::Rgb,
        BitDepth::Eight,
        &quarters(4200, 3000),
        |_| {},
    );

    let rendered = render(&upload);

    assert_eq!(rendered.decoder, Decoder::Png);
    assert_near(Shown::nth(&rendered, 0).quarters(), COLORS);
}

#[test]
fn png_of_narrow_range_shows_the_full_one() {
    let narrow = |sample: u8| u8::try_from(16 + u32::from(sample) * 219 / 255).unwrap();
    let samples: Vec<u8> = quarters(64, 64).into_iter().map(narrow).collect();
    // The encoder does not write `cICP`: it goes between the header, which ends at 33, and the rest.
    let plain = png((64, 64), ColorType::Rgb, BitDepth::Eight, &samples, |_| {});
    let file = |full_range| {
        let chunk = png_chunk(*b"cICP", &[1, 13, 0, full_range]);
        [&plain[..33], &chunk, &plain[33..]].concat()
    };

    let shown = Shown::nth(&render(&file(0)), 0).quarters();
    let full = Shown::nth(&render(&file(1)), 0).quarters();

    assert_near(shown, COLORS);
    assert_near(full, COLORS.map(|color| color.map(narrow)));
}

#[test]
fn sixteen_bit_png_with_profile_and_exif_says_what_was_done() {
    let samples = [200, 0, 100, 0, 50, 0].repeat(600 * 600);
    let (size, color) = ((600, 600), ColorType::Rgb);
    let upload = png(size, color, BitDepth::Sixteen, &samples, |info| {
        info.icc_profile = Some(display_p3().into());
        info.exif_metadata = Some(exif(6)[6..].to_vec().into());
    });

    let rendered = render(&upload);

    assert_near(Shown::nth(&rendered, 0).quarters(), [[215, 93, 31]; 4]);
    assert_eq!(
        rendered.applied,
        [
            Applied::Rotated,
            Applied::Srgb,
            Applied::DepthReduced,
            Applied::MetadataRemoved
        ]
    );
}
