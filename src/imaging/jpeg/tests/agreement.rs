//! The same samples as libjpeg-turbo, the same samples whatever is shown of the picture.

#![expect(
    clippy::arithmetic_side_effects,
    reason = "a test that miscounts fails"
)]

use proptest::prelude::ProptestConfig;
use proptest::prop_assert;
use proptest::prop_assert_eq;
use proptest::proptest;
use turbojpeg::Decompressor;
use turbojpeg::ScalingFactor;
use turbojpeg::YuvImage;

use crate::imaging::geometry::Region;
use crate::imaging::geometry::Size;
use crate::imaging::geometry::rounded;
use crate::imaging::jpeg::tests::samples::Recipe;
use crate::imaging::jpeg::tests::samples::decode;
use crate::imaging::jpeg::tests::samples::recipe;
use crate::imaging::jpeg::tests::samples::request;
use crate::imaging::jpeg::tests::samples::rows;
use crate::imaging::raster::Raster;
use crate::imaging::raster::Request;

/// All of the picture, at an eighth of its size (for 1) or at all of it.
fn whole(recipe: &Recipe, eighths: u8) -> Request {
    let source = Region::whole(Size {
        width: u32::from(recipe.width),
        height: u32::from(recipe.height),
    });
    let side = if eighths == 1 { 1 } else { 100_000 };
    let target = Size::square(side);
    Request { source, target }
}

/// The planes as libjpeg-turbo decodes them.
fn planes_of_turbo(file: &[u8], eighths: usize) -> Vec<(usize, Vec<u8>)> {
    let factor = ScalingFactor::new(eighths, 8);
    let mut decompressor = Decompressor::new().unwrap();
    decompressor.set_scaling_factor(factor).unwrap();
    let header = decompressor.read_header(file).unwrap().scaled(factor);
    let (width, height, subsamp) = (header.width, header.height, header.subsamp);
    let length = turbojpeg::yuv_pixels_len(width, 1, height, subsamp).unwrap();
    let mut image = YuvImage {
        pixels: vec![0; length],
        width,
        align: 1,
        height,
        subsamp,
    };
    let output = image.as_deref_mut();
    decompressor.decompress_to_yuv(file, output).unwrap();
    let (luma, difference) = (image.y_size(), image.uv_size());
    let mut rest = image.pixels.as_slice();
    let mut plane = |(width, height): (usize, usize)| {
        let (plane, after) = rest.split_at(width * height);
        rest = after;
        (width, plane.to_vec())
    };
    let is_gray = subsamp == turbojpeg::Subsamp::Gray;
    let sizes = [Some(luma), Some(difference), Some(difference)];
    let sizes = sizes.into_iter().take(if is_gray { 1 } else { 3 });
    sizes.flatten().map(&mut plane).collect()
}

/// The largest difference between our planes and those of libjpeg-turbo, where both have samples.
fn difference(ours: &[Raster], theirs: &[(usize, Vec<u8>)]) -> u8 {
    assert_eq!(ours.len(), theirs.len());
    let planes = ours.iter().zip(theirs);
    let samples = planes.flat_map(|(ours, (width, theirs))| {
        let rows = rows(ours).into_iter().zip(theirs.chunks(*width));
        rows.flat_map(|(ours, theirs)| ours.iter().zip(theirs))
    });
    let differences = samples.map(|(ours, theirs)| ours.abs_diff(*theirs));
    differences.max().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn eighth_is_that_of_libjpeg_turbo(mut recipe in recipe(200)) {
        // Smaller ones need more than an eighth even for a single pixel.
        recipe.width = recipe.width.max(10);
        recipe.height = recipe.height.max(10);
        let file = recipe.file();

        let ours = decode(&file, &whole(&recipe, 1)).unwrap();

        prop_assert_eq!(difference(&ours, &planes_of_turbo(&file, 1)), 0);
    }

    #[test]
    fn full_size_is_that_of_libjpeg_turbo(recipe in recipe(120)) {
        let file = recipe.file();

        let ours = decode(&file, &whole(&recipe, 8)).unwrap();

        prop_assert_eq!(difference(&ours, &planes_of_turbo(&file, 8)), 0);
    }

    #[test]
    fn progressive_is_the_same_as_baseline(mut recipe in recipe(200), side in 1..60_u32) {
        let source = whole(&recipe, 8).source;
        let files = [false, true].map(|progressive| {
            recipe.progressive = progressive;
            recipe.file()
        });

        let [baseline, progressive] =
            files.map(|file| decode(&file, &request(source, side)).unwrap());

        prop_assert_eq!(baseline, progressive);
    }

    #[test]
    fn part_is_the_same_as_in_the_whole(
        recipe in recipe(200),
        place in (0.0..1.0_f64, 0.0..1.0_f64),
        length in 0.01..1.0_f64,
        scale in 0..5_usize,
    ) {
        let file = recipe.file();
        let all = whole(&recipe, 8).source;
        let part = Region {
            x: all.width * place.0 * (1.0 - length),
            y: all.height * place.1 * (1.0 - length),
            width: all.width * length,
            height: all.height * length,
        };
        let reduction = [1.3, 2.6, 3.4, 5.2, 10.4][scale];

        let whole = decode(&file, &reduced(all, reduction)).unwrap();
        let part = decode(&file, &reduced(part, reduction)).unwrap();

        for (whole, part) in whole.iter().zip(&part) {
            prop_assert!(is_part_of(part, whole));
        }
    }
}

/// A request with about this reduction.
fn reduced(region: Region, reduction: f64) -> Request {
    let length = region.width.min(region.height) / reduction;
    request(region, rounded(length.ceil()).max(1))
}

/// Whether a raster's samples are those of a larger one, where it lies. Says nothing of rasters with different scales.
fn is_part_of(part: &Raster, whole: &Raster) -> bool {
    if part.placement.step != whole.placement.step {
        return true;
    }
    let index = |value: u32| usize::try_from(value).unwrap();
    let (step_x, step_y, samples) = part.placement.step;
    let x = index(part.placement.origin.0 / step_x * samples);
    let y = index(part.placement.origin.1 / step_y * samples);
    let rows_of_whole = rows(whole);
    let mut all = rows(part).into_iter().zip(&rows_of_whole[y..]);
    all.all(|(part, whole)| part == &whole[x..x + part.len()])
}

#[test]
fn single_column_is_that_of_libjpeg_turbo() {
    let recipe = Recipe {
        width: 1,
        height: 2,
        subsamp: turbojpeg::raw::TJSAMP_TJSAMP_444,
        quality: 45,
        progressive: false,
        optimized: false,
        restart_interval: 0,
        seed: 2_147_748,
    };
    let file = recipe.file();

    let ours = decode(&file, &whole(&recipe, 8)).unwrap();

    assert_eq!(difference(&ours, &planes_of_turbo(&file, 8)), 0);
}

#[test]
fn quarter_to_half_are_close_to_libjpeg_turbo() {
    // Three eighths serve colour differences alone.
    for (eighths, side, plane) in [(2, 160, 0), (3, 480, 1), (4, 260, 0)] {
        let recipe = Recipe {
            width: 801,
            height: 801,
            subsamp: turbojpeg::raw::TJSAMP_TJSAMP_444,
            quality: 90,
            progressive: false,
            optimized: false,
            restart_interval: 0,
            seed: 3,
        };
        let file = recipe.file();
        let request = request(whole(&recipe, 8).source, side);

        let ours = decode(&file, &request).unwrap();

        // It averages pixels where we leave coefficients out: alike, not the same.
        let samples = rows(&ours[plane]).concat();
        let (_, theirs) = &planes_of_turbo(&file, eighths)[plane];
        let pairs = samples.iter().zip(theirs);
        let sum: u32 = pairs
            .map(|(one, other)| u32::from(one.abs_diff(*other)))
            .sum();
        assert_eq!(samples.len(), theirs.len());
        assert!(sum < 6 * u32::try_from(samples.len()).unwrap());
    }
}
