//! Files that cameras and programs write, though standards do not quite say so: they are shown. And damage that looks much
//! the same: it is refused.

#![expect(
    clippy::arithmetic_side_effects,
    reason = "a test that miscounts fails"
)]

use png::BitDepth;
use png::ColorType;
use turbojpeg::Subsamp;

use crate::config;
use crate::domain::picture::Format;
use crate::imaging::Decoder;
use crate::imaging::Error;
use crate::imaging::Renderer;
use crate::imaging::tests::samples::BLUE;
use crate::imaging::tests::samples::GREEN;
use crate::imaging::tests::samples::RED;
use crate::imaging::tests::samples::Shown;
use crate::imaging::tests::samples::YELLOW;
use crate::imaging::tests::samples::assert_near;
use crate::imaging::tests::samples::cmyk_jpeg;
use crate::imaging::tests::samples::fixture;
use crate::imaging::tests::samples::jpeg;
use crate::imaging::tests::samples::jpeg_with;
use crate::imaging::tests::samples::png;
use crate::imaging::tests::samples::png_chunk;
use crate::imaging::tests::samples::quarters;
use crate::imaging::tests::samples::render;

const COLORS: [[u8; 3]; 4] = [RED, GREEN, BLUE, YELLOW];

/// A JPEG that every decoder takes.
fn plain() -> Vec<u8> {
    jpeg(200, 200, &quarters(200, 200), Subsamp::Sub2x2)
}

/// One that is left to libjpeg-turbo.
fn unusual() -> Vec<u8> {
    jpeg(200, 200, &quarters(200, 200), Subsamp::Sub4x1)
}

/// One of inks, in one scan or several.
fn inks(is_progressive: bool) -> Vec<u8> {
    cmyk_jpeg([200, 100, 50, 230], is_progressive)
}

/// Where a sequence of bytes first stands.
fn find(file: &[u8], bytes: &[u8]) -> usize {
    let mut windows = file.windows(bytes.len());
    windows.position(|window| window == bytes).unwrap()
}

/// What the last three bytes of the first scan header are made.
fn with_scan_parameters(mut file: Vec<u8>, parameters: [u8; 3]) -> Vec<u8> {
    let scan = find(&file, b"\xFF\xDA");
    let end = scan + 2 + usize::from(u16::from_be_bytes([file[scan + 2], file[scan + 3]]));
    file[end - 3..end].copy_from_slice(&parameters);
    file
}

#[test]
fn parameters_of_a_sequential_scan_do_not_matter() {
    for parameters in [[0, 0, 0], [0, 63, 17], [1, 200, 0]] {
        let plain = render(&with_scan_parameters(plain(), parameters));
        let unusual = render(&with_scan_parameters(unusual(), parameters));

        assert_eq!(plain.decoder, Decoder::Scaled);
        assert_near(Shown::nth(&plain, 0).quarters(), COLORS);
        assert_eq!(unusual.decoder, Decoder::Turbo);
        assert_near(Shown::nth(&unusual, 0).quarters(), COLORS);
    }
}

#[track_caller]
fn assert_malformed(upload: &[u8]) {
    let refusal = Renderer::new(config::Picture::default()).render(upload, None);
    assert!(
        matches!(refusal, Err(Error::Malformed(Format::Jpeg, _))),
        "{refusal:?}"
    );
}

#[test]
fn bytes_after_the_samples_are_passed_over_by_every_decoder() {
    for (mut upload, decoder) in [
        (plain(), Decoder::Scaled),
        (unusual(), Decoder::Turbo),
        (inks(false), Decoder::Turbo),
    ] {
        let end = upload.len() - 2;
        upload.splice(end..end, [0; 9]);

        assert_eq!(render(&upload).decoder, decoder);
    }
}

/// A file whose header says that there are fewer rows.
fn with_fewer_rows(mut file: Vec<u8>, height: u16) -> Vec<u8> {
    let frame = find(&file, b"\xFF\xC0");
    file[frame + 5..frame + 7].copy_from_slice(&height.to_be_bytes());
    file
}

/// Nothing is missing of the picture that the header promises. Others complain at most, and show it.
#[test]
fn samples_below_the_last_row_are_passed_over_by_every_decoder() {
    for (upload, decoder) in [(plain(), Decoder::Scaled), (unusual(), Decoder::Turbo)] {
        let rendered = render(&with_fewer_rows(upload, 96));

        assert_eq!(rendered.decoder, decoder);
        assert_near(
            Shown::nth(&rendered, 0).quarters(),
            [RED, GREEN, RED, GREEN],
        );
    }
    let restarts = with_fewer_rows(fixture("restart-markers.jpg"), 96);
    assert_eq!(render(&restarts).decoder, Decoder::Scaled);
}

#[test]
fn restart_markers_that_are_all_missing_are_damage() {
    for file in [plain(), unusual()] {
        let scan = find(&file, b"\xFF\xDA");
        let interval = b"\xFF\xDD\0\x04\0\x08";

        assert_malformed(&[&file[..scan], interval, &file[scan..]].concat());
    }
}

#[test]
fn restart_marker_that_is_missing_is_damage() {
    let mut file = fixture("restart-markers.jpg");
    let marker = find(&file, b"\xFF\xD1");
    file.drain(marker..marker + 2);

    assert_malformed(&file);
}

/// Where a progressive file's second scan begins, with its table, where its data does, and where both end.
fn second_scan(file: &[u8]) -> [usize; 3] {
    let first = find(file, b"\xFF\xDA");
    let start = first + find(&file[first..], b"\xFF\xC4");
    let header = start + find(&file[start..], b"\xFF\xDA");
    let data = header + 2 + usize::from(file[header + 3]);
    let end = data + find(&file[data..], b"\xFF\xC4");
    [start, data, end]
}

#[test]
fn scan_without_data_is_damage_also_behind_harmless_bytes() {
    let file = fixture("progressive.jpg");
    let [start, data, end] = second_scan(&file);

    let parts = [
        &file[..start],
        &[0x55; 9],
        &file[start..data],
        &[0x12],
        &file[end..],
    ];
    assert_malformed(&parts.concat());
}

#[test]
fn scan_that_is_missing_below_those_that_refine_it_is_damage() {
    let file = fixture("progressive.jpg");
    let [start, _, end] = second_scan(&file);

    assert_malformed(&[&file[..start], &file[end..]].concat());
}

#[test]
fn jfif_segment_that_is_too_short_says_nothing_of_colours() {
    let rgb = fixture("rgb.jpg");

    let alone = render(&rgb);
    let marked = render(&jpeg_with(&rgb, &[(0xE0, b"JFIF\0")]));

    assert_near(
        Shown::nth(&marked, 0).quarters(),
        Shown::nth(&alone, 0).quarters(),
    );
}

/// An Adobe segment.
fn adobe(transform: u8) -> Vec<u8> {
    [&b"Adobe\0\x64\0\0\0\0"[..], &[transform]].concat()
}

const JFIF: &[u8] = b"JFIF\0\x01\x02\0\0\x01\0\x01\0\0";

/// A file as `jpeg` makes it, without its first segment, which is that of JFIF.
fn without_jfif(file: &[u8]) -> Vec<u8> {
    assert_eq!(file[2..4], [0xFF, 0xE0]);
    let length = usize::from(u16::from_be_bytes([file[4], file[5]]));
    [&file[..2], &file[4 + length..]].concat()
}

#[test]
fn transform_that_nobody_knows_is_that_of_luma() {
    for transform in [1, 2, 9] {
        for (file, decoder) in [(plain(), Decoder::Scaled), (unusual(), Decoder::Turbo)] {
            let upload = jpeg_with(&without_jfif(&file), &[(0xEE, &adobe(transform))]);

            let rendered = render(&upload);

            assert_eq!(rendered.decoder, decoder, "{transform}");
            assert_near(Shown::nth(&rendered, 0).quarters(), COLORS);
        }
    }
}

#[test]
fn inks_with_a_transform_that_nobody_knows_are_those_of_luma_and_black() {
    let with_transform = |transform| {
        let mut file = inks(false);
        let at = find(&file, b"Adobe") + 11;
        file[at] = transform;
        Shown::nth(&render(&file), 0).quarters()
    };
    let known = with_transform(2);

    for transform in [1, 3, 200] {
        assert_near(with_transform(transform), known);
    }
    assert_ne!(with_transform(0), known);
}

#[test]
fn version_of_jfif_does_not_matter() {
    for version in [0, 2, 255] {
        let mut jfif = JFIF.to_vec();
        jfif[5] = version;
        for file in [plain(), unusual()] {
            let upload = jpeg_with(&without_jfif(&file), &[(0xE0, &jfif)]);

            assert_near(Shown::nth(&render(&upload), 0).quarters(), COLORS);
        }
        assert_eq!(
            render(&jpeg_with(&inks(false), &[(0xE0, &jfif)])).decoder,
            Decoder::Turbo
        );
    }
}

#[test]
fn inks_in_several_scans_count_each() {
    let within = |pixels_max, is_progressive| {
        let config = config::Picture {
            pixels_max,
            ..config::Picture::default()
        };
        Renderer::new(config).render(&inks(is_progressive), None)
    };

    // 64 × 64 pixels of four inks.
    assert!(within(16_384, true).is_ok());
    assert!(within(4_096, false).is_ok());
    assert!(matches!(
        within(16_383, true),
        Err(Error::TooManyPixels {
            width: 64,
            height: 64,
            pixels: 4_096,
            pixels_max: 4_095
        })
    ));
}

/// A PNG of 64 × 64 RGB pixels with a further chunk behind its header.
fn png_with(samples: &[u8], kind: [u8; 4], data: &[u8]) -> Vec<u8> {
    let (color, depth) = (ColorType::Rgb, BitDepth::Eight);
    let mut file = png((64, 64), color, depth, samples, |_| {});
    // After the signature of 8 bytes and a chunk of 13.
    file.splice(33..33, png_chunk(kind, data));
    file
}

/// The profile of sRGB with code points of PQ, the primaries of sRGB.
fn pq_profile() -> Vec<u8> {
    let mut profile = moxcms::ColorProfile::new_srgb();
    profile.cicp = Some(moxcms::CicpProfile {
        color_primaries: moxcms::CicpColorPrimaries::Bt709,
        transfer_characteristics: moxcms::TransferCharacteristics::Smpte2084,
        matrix_coefficients: moxcms::MatrixCoefficients::Identity,
        full_range: true,
    });
    profile.encode().unwrap()
}

#[test]
fn profile_with_code_points_shows_the_same_as_the_code_points() {
    // 58 % of PQ are diffuse white.
    let samples = [148; 3].repeat(64 * 64);
    let points = png_with(&samples, *b"cICP", &[1, 16, 0, 1]);
    let (color, depth) = (ColorType::Rgb, BitDepth::Eight);
    let profile = png((64, 64), color, depth, &samples, |info| {
        info.icc_profile = Some(pq_profile().into());
    });
    let segment = [&b"ICC_PROFILE\0\x01\x01"[..], &pq_profile()].concat();
    let jpeg = jpeg(64, 64, &samples, Subsamp::None);
    let jpeg = jpeg_with(&jpeg, &[(0xE2, &segment)]);

    let [points, profile, jpeg] =
        [points, profile, jpeg].map(|upload| Shown::nth(&render(&upload), 0).quarters());

    assert!(points[0][0] > 230, "{points:?}");
    assert_near(profile, points);
    assert_near(jpeg, points);
}

#[test]
fn png_with_a_useless_chunk_is_shown_without_it() {
    // The sequence number of the first frame is 0; a frame may be smaller than the picture.
    let frame = |number: u8, side: u8| {
        [
            &[0, 0, 0, number, 0, 0, 0, side, 0, 0, 0, side][..],
            &[0; 14],
        ]
        .concat()
    };
    for (kind, data) in [
        (b"cICP", vec![1, 13, 1, 1]),
        (b"cICP", vec![1, 13, 0, 2]),
        (b"acTL", vec![0; 8]),
        (b"fcTL", frame(5, 64)),
        (b"fcTL", frame(0, 32)),
        (b"fcTL", vec![0; 3]),
    ] {
        let rendered = render(&png_with(&quarters(64, 64), *kind, &data));

        assert_near(Shown::nth(&rendered, 0).quarters(), COLORS);
    }
}

#[test]
fn full_range_of_coded_data_is_not_hidden_by_the_container() {
    let file = fixture("nclx.heic");
    let mut limited = file.clone();
    // After the type of the box and of its contents, and three code points of two bytes.
    let range = find(&file, b"colrnclx") + 14;
    assert_eq!(limited[range], 0x80);
    limited[range] = 0;

    let [full, limited] = [file, limited].map(|upload| Shown::nth(&render(&upload), 0).quarters());

    assert_eq!(limited, full);
}
