//! How near the picture before encoding comes to the best that there is: all pixels, resized in floating point.

#![expect(
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "a test that miscounts fails"
)]

use png::BitDepth;
use png::ColorType;
use turbojpeg::PixelFormat;
use turbojpeg::Subsamp;

use crate::config;
use crate::imaging::Renderer;
use crate::imaging::tests::samples::jpeg;
use crate::imaging::tests::samples::png;

/// Side of the renditions here, in pixels. What is measured are reductions: small pictures show them as well as large ones.
const SIDE: usize = 96;

/// Least signal-to-noise ratio of luma, in decibels: no difference that can be seen.
const PSNR_MIN: f64 = 43.0;

/// The same for fine lines, the hardest of pictures.
const LINES_PSNR_MIN: f64 = 34.0;

/// Reductions at which every scale of the JPEG decoder and of the averaging is used, just above and well above its limit.
const REDUCTIONS: [f64; 11] = [1.0, 1.3, 2.1, 2.6, 3.2, 3.4, 4.9, 5.2, 7.8, 10.1, 15.0];

/// A number between -1 and 1 for each point of a lattice.
fn noise(x: u32, y: u32, layer: u32) -> f64 {
    let mut hash = x.wrapping_mul(0x9E37_79B1) ^ y.wrapping_mul(0x85EB_CA77) ^ layer;
    hash = (hash ^ hash >> 15).wrapping_mul(0x2C1B_3C6D);
    hash = (hash ^ hash >> 12).wrapping_mul(0x297A_2D39);
    f64::from(hash ^ hash >> 15) / f64::from(u32::MAX) * 2.0 - 1.0
}

/// Noise with waves of about so many pixels.
fn smooth_noise(x: u32, y: u32, length: u32, layer: u32) -> f64 {
    let part = |at: u32| f64::from(at % length) / f64::from(length);
    let between = |one: f64, other: f64, part: f64| one + (other - one) * part;
    let (left, top) = (x / length, y / length);
    let row = |top| {
        let (one, other) = (noise(left, top, layer), noise(left + 1, top, layer));
        between(one, other, part(x))
    };
    between(row(top), row(top + 1), part(y))
}

/// RGB pixels with the statistics of a photo: waves of every length, the long ones stronger, and edges.
fn photo(width: usize, height: usize) -> Vec<u8> {
    let pixel = |x: u32, y: u32| {
        let waves = (2..9).map(|octave| {
            let length = 1 << octave;
            f64::from(octave) * 2.5 * smooth_noise(x, y, length, octave)
        });
        let grain = 2.0 * noise(x, y, 99);
        let is_inside = (x / 97 + y / 131).is_multiple_of(3);
        let light = 110.0 + waves.sum::<f64>() + grain + if is_inside { 40.0 } else { 0.0 };
        let warmth = 20.0 * smooth_noise(x, y, 64, 77);
        [light + warmth, light, light - warmth].map(|value| value.round().clamp(0.0, 255.0) as u8)
    };
    let rows = (0..height as u32).flat_map(|y| (0..width as u32).map(move |x| (x, y)));
    rows.flat_map(|(x, y)| pixel(x, y)).collect()
}

fn luma(rgb: &[u8]) -> Vec<f64> {
    let weigh = |[red, green, blue]: &[u8; 3]| {
        0.299 * f64::from(*red) + 0.587 * f64::from(*green) + 0.114 * f64::from(*blue)
    };
    rgb.as_chunks().0.iter().map(weigh).collect()
}

fn lanczos(x: f64) -> f64 {
    let sinc = |x: f64| if x == 0.0 { 1.0 } else { x.sin() / x };
    let angle = x * std::f64::consts::PI;
    if x.abs() < 3.0 {
        sinc(angle) * sinc(angle / 3.0)
    } else {
        0.0
    }
}

/// The middle `length` samples of each row, resized to [`SIDE`]; as columns, so that twice is a whole picture.
fn resized_and_transposed(samples: &[f64], width: usize, length: usize) -> Vec<f64> {
    let scale = length as f64 / SIDE as f64;
    let first = (width - length) as f64 / 2.0;
    let weights: Vec<Vec<f64>> = (0..SIDE)
        .map(|to| {
            let centre = first + (to as f64 + 0.5) * scale;
            let weight = |from| lanczos((from as f64 + 0.5 - centre) / scale.max(1.0));
            let is_shown =
                |from: &usize| (first..first + length as f64).contains(&(*from as f64 + 0.5));
            let weights: Vec<f64> = (0..width)
                .map(|from| if is_shown(&from) { weight(from) } else { 0.0 })
                .collect();
            let sum: f64 = weights.iter().sum();
            weights.iter().map(|weight| weight / sum).collect()
        })
        .collect();
    let rows: Vec<_> = samples.chunks(width).collect();
    let dot = |weights: &[f64], row: &[f64]| -> f64 {
        weights
            .iter()
            .zip(row)
            .map(|(weight, sample)| weight * sample)
            .sum()
    };
    let columns = weights.iter();
    columns
        .flat_map(|weights| rows.iter().map(|row| dot(weights, row)))
        .collect()
}

/// PSNR of luma of what the renderer makes of an upload with these pixels, in decibels.
fn psnr(upload: &[u8], width: usize, height: usize, rgb: &[u8]) -> f64 {
    let length = width.min(height);
    let columns = resized_and_transposed(&luma(rgb), width, length);
    let reference = resized_and_transposed(&columns, height, length);
    let config = config::Picture {
        sizes_px: vec![SIDE as u16],
        ..config::Picture::default()
    };
    let unencoded = Renderer::new(config).unencoded(upload).unwrap();
    let ours = luma(&unencoded.rgb);
    assert_eq!(ours.len(), reference.len());
    let pairs = ours.iter().zip(&reference);
    let squares: f64 = pairs.map(|(ours, best)| (ours - best).powi(2)).sum();
    10.0 * (255.0_f64.powi(2) * ours.len() as f64 / squares).log10()
}

/// A picture whose shorter side is reduced by this much.
fn size(reduction: f64) -> (usize, usize) {
    let short = (SIDE as f64 * reduction).round() as usize;
    (short + short / 4, short)
}

#[test]
fn jpeg_at_every_scale_is_near_the_best_resize() {
    let mut found = Vec::new();
    for reduction in REDUCTIONS {
        for subsamp in [Subsamp::None, Subsamp::Sub2x2] {
            let (width, height) = size(reduction);
            let upload = jpeg(width, height, &photo(width, height), subsamp);
            let shown = turbojpeg::decompress(&upload, PixelFormat::RGB).unwrap();

            let psnr = psnr(&upload, width, height, &shown.pixels);

            found.push((psnr.floor(), reduction, subsamp));
        }
    }
    assert!(
        found.iter().all(|(psnr, ..)| *psnr >= PSNR_MIN),
        "{found:?}"
    );
}

#[test]
fn png_at_every_average_is_near_the_best_resize() {
    for reduction in [1.0, 1.9, 2.1, 4.1, 9.0] {
        let (width, height) = size(reduction);
        let rgb = photo(width, height);
        let whole = (width as u32, height as u32);
        let upload = png(whole, ColorType::Rgb, BitDepth::Eight, &rgb, |_| {});

        let psnr = psnr(&upload, width, height, &rgb);

        assert!(psnr >= 50.0, "{reduction}: {psnr:.1} dB");
    }
}

/// Dark lines of two and three pixels on white, as in drawings and writing.
fn fine_lines(width: usize, height: usize) -> Vec<u8> {
    let pixel = |x: usize, y: usize| {
        let is_line = x % 53 < 3 || y % 37 < 2 || (x + 3 * y) % 91 < 4;
        [if is_line { 30 } else { 245 }; 3]
    };
    let rows = (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
    rows.flat_map(|(x, y)| pixel(x, y)).collect()
}

#[test]
fn fine_lines_are_not_softened_by_the_scale() {
    let mut found = Vec::new();
    for reduction in [2.5, 2.7, 3.7, 4.2] {
        let (width, height) = size(reduction);
        let rgb = fine_lines(width, height);
        let upload = jpeg(width, height, &rgb, Subsamp::None);
        let shown = turbojpeg::decompress(&upload, PixelFormat::RGB).unwrap();

        let psnr = psnr(&upload, width, height, &shown.pixels);

        found.push((psnr.floor(), reduction));
    }
    assert!(
        found.iter().all(|(psnr, _)| *psnr >= LINES_PSNR_MIN),
        "{found:?}"
    );
}
