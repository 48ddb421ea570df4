//! JPEG files that cameras and programs write, though no standard says so: they are shown. And damage that looks much the
//! same: it is refused.

#![expect(
    clippy::arithmetic_side_effects,
    reason = "a test that miscounts fails"
)]

use turbojpeg::Colorspace;
use turbojpeg::Compressor;
use turbojpeg::Image;
use turbojpeg::PixelFormat;
use turbojpeg::Subsamp;

use crate::imaging::Decoder;
use crate::imaging::tests::samples::BLUE;
use crate::imaging::tests::samples::GREEN;
use crate::imaging::tests::samples::RED;
use crate::imaging::tests::samples::Shown;
use crate::imaging::tests::samples::YELLOW;
use crate::imaging::tests::samples::assert_near;
use crate::imaging::tests::samples::jpeg;
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
    let inks = [200, 100, 50, 230].repeat(64 * 64);
    let image = Image {
        pixels: &inks[..],
        width: 64,
        pitch: 64 * 4,
        height: 64,
        format: PixelFormat::CMYK,
    };
    let mut compressor = Compressor::new().unwrap();
    compressor.set_colorspace(Colorspace::CMYK).unwrap();
    compressor.set_progressive(is_progressive).unwrap();
    compressor.compress_to_vec(image).unwrap()
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
