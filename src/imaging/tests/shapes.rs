//! Orientation, crop, fit and sizes.

use turbojpeg::Subsamp;

use crate::config;
use crate::domain::picture::Applied;
use crate::domain::picture::Color;
use crate::domain::picture::Crop;
use crate::domain::picture::Fit;
use crate::imaging::Error;
use crate::imaging::Rendered;
use crate::imaging::Renderer;
use crate::imaging::tests::samples::BLUE;
use crate::imaging::tests::samples::GREEN;
use crate::imaging::tests::samples::RED;
use crate::imaging::tests::samples::Shown;
use crate::imaging::tests::samples::YELLOW;
use crate::imaging::tests::samples::assert_near;
use crate::imaging::tests::samples::exif;
use crate::imaging::tests::samples::jpeg;
use crate::imaging::tests::samples::jpeg_with;
use crate::imaging::tests::samples::quarters;
use crate::imaging::tests::samples::render;
use crate::imaging::tests::samples::render_with;

fn wide() -> Vec<u8> {
    jpeg(1600, 1200, &quarters(1600, 1200), Subsamp::Sub2x2)
}

#[test]
fn jpeg_of_each_orientation_is_upright() {
    let expected = [
        [RED, GREEN, BLUE, YELLOW],
        [GREEN, RED, YELLOW, BLUE],
        [YELLOW, BLUE, GREEN, RED],
        [BLUE, YELLOW, RED, GREEN],
        [RED, BLUE, GREEN, YELLOW],
        [BLUE, RED, YELLOW, GREEN],
        [YELLOW, GREEN, BLUE, RED],
        [GREEN, YELLOW, RED, BLUE],
    ];
    for (orientation, expected) in (1..).zip(expected) {
        let upload = jpeg_with(&wide(), &[(0xE1, &exif(orientation))]);

        let rendered = render_with(&upload, |config| config.fit = Fit::Inside);

        let shown = Shown::nth(&rendered, 0);
        assert_near(shown.quarters(), expected);
        assert_eq!(shown.width < shown.height, orientation > 4);
        let is_rotated = rendered.applied.contains(&Applied::Rotated);
        assert_eq!(is_rotated, orientation != 1);
    }
}

#[test]
fn orientation_out_of_range_is_ignored() {
    let upload = jpeg_with(&wide(), &[(0xE1, &exif(9))]);

    let rendered = render(&upload);

    assert_near(
        Shown::nth(&rendered, 0).quarters(),
        [RED, GREEN, BLUE, YELLOW],
    );
    assert_eq!(
        rendered.applied,
        [Applied::Cropped, Applied::MetadataRemoved]
    );
}

#[test]
fn cover_fills_the_square_and_both_sizes() {
    let rendered = render(&wide());

    assert_eq!((rendered.width, rendered.height), (512, 512));
    for (nth, side) in [(0, 512), (1, 128)] {
        let shown = Shown::nth(&rendered, nth);
        assert_eq!((shown.width, shown.height), (side, side));
        assert_near(shown.quarters(), [RED, GREEN, BLUE, YELLOW]);
    }
    assert_eq!(rendered.applied, [Applied::Cropped]);
    assert!((5..=25).contains(&rendered.thumbhash.len()));
}

#[test]
fn pad_shows_all_between_bars_of_the_background() {
    let bars = [10, 200, 200];

    let rendered = render_with(&wide(), |config| {
        config.fit = Fit::Pad;
        config.background = Color(bars);
    });

    let shown = Shown::nth(&rendered, 0);
    assert_eq!((shown.width, shown.height), (512, 512));
    assert_near([shown.at(0.5, 0.05), shown.at(0.5, 0.95)], [bars, bars]);
    assert_near(shown.quarters(), [RED, GREEN, BLUE, YELLOW]);
    assert_eq!(rendered.applied, [Applied::Padded]);
}

#[test]
fn inside_keeps_the_proportions_in_every_size() {
    let rendered = render_with(&wide(), |config| config.fit = Fit::Inside);

    assert_eq!((rendered.width, rendered.height), (512, 384));
    let small = Shown::nth(&rendered, 1);
    assert_eq!((small.width, small.height), (128, 96));
    assert_eq!(rendered.applied, []);
}

#[test]
fn small_picture_is_enlarged() {
    let rendered = render(&jpeg(20, 30, &quarters(20, 30), Subsamp::None));

    assert_eq!((rendered.width, rendered.height), (512, 512));
    assert_eq!(rendered.applied, [Applied::Cropped, Applied::Enlarged]);
}

#[test]
fn crop_is_of_the_upright_picture() {
    // Upright 1200 × 1600; its lower left quarter is red's neighbour below.
    let upload = jpeg_with(&wide(), &[(0xE1, &exif(6))]);
    let crop = Crop {
        x: 0,
        y: 800,
        width: 600,
        height: 800,
    };

    let rendered = Renderer::new(config::Picture::default())
        .render(&upload, Some(crop))
        .unwrap();

    assert_near(Shown::nth(&rendered, 0).quarters(), [YELLOW; 4]);
    assert_eq!(
        rendered.applied,
        [Applied::Rotated, Applied::Cropped, Applied::MetadataRemoved]
    );
}

#[test]
fn crop_of_one_pixel_is_enlarged_to_the_square() {
    let crop = Crop {
        x: 1599,
        y: 0,
        width: 1,
        height: 1,
    };

    let rendered = Renderer::new(config::Picture::default())
        .render(&wide(), Some(crop))
        .unwrap();

    assert_near(Shown::nth(&rendered, 0).quarters(), [GREEN; 4]);
}

#[test]
fn crop_outside_is_refused_with_its_corner() {
    let upload = jpeg_with(&wide(), &[(0xE1, &exif(6))]);
    let crop = Crop {
        x: 1000,
        y: 0,
        width: 400,
        height: u32::MAX,
    };

    let refusal = Renderer::new(config::Picture::default()).render(&upload, Some(crop));

    assert!(matches!(
        refusal,
        Err(Error::CropOutside {
            right: 1400,
            bottom: 4_294_967_295,
            width: 1200,
            height: 1600
        })
    ));
}

#[test]
fn renditions_follow_the_configuration() {
    let rendered = render_with(&wide(), |config| {
        config.sizes_px = vec![300, 200, 16];
        config.progressive = true;
    });

    let sizes: Vec<u16> = rendered.renditions.iter().map(|one| one.size_px).collect();
    assert_eq!(sizes, [300, 200, 16]);
    let is_progressive = |file: &[u8]| turbojpeg::read_header(file).unwrap().is_progressive;
    assert!(
        rendered
            .renditions
            .iter()
            .all(|one| is_progressive(&one.bytes))
    );
}

#[test]
fn placeholder_has_the_configured_sizes() {
    let placeholder = Renderer::new(config::Picture::default())
        .placeholder()
        .unwrap();

    let sizes: Vec<_> = placeholder
        .iter()
        .map(|one| turbojpeg::read_header(&one.bytes).unwrap())
        .map(|header| (header.width, header.height))
        .collect();
    assert_eq!(sizes, [(512, 512), (128, 128)]);
}

#[test]
fn unencoded_picture_is_what_the_largest_rendition_shows() {
    let upload = jpeg_with(&wide(), &[(0xE1, &exif(6))]);
    let mut renderer = Renderer::new(config::Picture::default());

    let unencoded = renderer.unencoded(&upload).unwrap();

    assert_eq!((unencoded.width, unencoded.height), (512, 512));
    let pixels = unencoded.rgb.as_chunks::<3>().0;
    let rows = pixels.as_chunks::<512>().0;
    assert_near(
        [
            rows[128][128],
            rows[128][384],
            rows[384][128],
            rows[384][384],
        ],
        [BLUE, RED, YELLOW, GREEN],
    );
}

#[test]
fn picture_does_not_depend_on_those_before_it() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    let mut shared = Renderer::new(config::Picture::default());
    for file in files {
        let upload = std::fs::read(&file).unwrap_or_default();

        let after_others = shared.render_in_rust(&upload, None, &mut ());

        let alone =
            Renderer::new(config::Picture::default()).render_in_rust(&upload, None, &mut ());
        let files = |rendered: Result<Option<Rendered>, Error>| match rendered {
            Ok(Some(rendered)) => format!("{:?}", rendered.renditions),
            Ok(None) => "native".to_owned(),
            Err(error) => error.to_string(),
        };
        assert_eq!(files(after_others), files(alone), "{}", file.display());
    }
}
