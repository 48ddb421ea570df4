//! Makes uploads and looks at renditions.

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
use png::Encoder;
use png::Info;
use turbojpeg::Colorspace;
use turbojpeg::Compressor;
use turbojpeg::Image;
use turbojpeg::PixelFormat;
use turbojpeg::Subsamp;

use crate::config;
use crate::imaging::Rendered;
use crate::imaging::Renderer;

pub(super) const RED: [u8; 3] = [220, 30, 40];
pub(super) const GREEN: [u8; 3] = [40, 180, 60];
pub(super) const BLUE: [u8; 3] = [40, 60, 200];
pub(super) const YELLOW: [u8; 3] = [230, 210, 50];

/// RGB pixels of a picture with four coloured quarters: red and green above, blue and yellow below.
pub(super) fn quarters(width: usize, height: usize) -> Vec<u8> {
    let pixel = |x: usize, y: usize| match (x < width / 2, y < height / 2) {
        (true, true) => RED,
        (false, true) => GREEN,
        (true, false) => BLUE,
        (false, false) => YELLOW,
    };
    let rows = (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
    rows.flat_map(|(x, y)| pixel(x, y)).collect()
}

/// A file of `tests/fixtures`.
pub(in crate::imaging) fn fixture(name: &str) -> Vec<u8> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    std::fs::read(folder.join(name)).unwrap()
}

/// A file with the one place where these bytes are changed to others.
pub(super) fn patched(file: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let places = file.windows(from.len()).enumerate();
    let places = places.filter(|(_, bytes)| *bytes == from);
    let places: Vec<usize> = places.map(|(place, _)| place).collect();
    assert_eq!(places.len(), 1, "the bytes are there once");
    let place = places[0];
    let mut file = file.to_vec();
    file[place..place + to.len()].copy_from_slice(to);
    file
}

/// A JPEG file.
pub(super) fn jpeg(width: usize, height: usize, rgb: &[u8], subsamp: Subsamp) -> Vec<u8> {
    let image = Image {
        pixels: rgb,
        width,
        pitch: width * 3,
        height,
        format: PixelFormat::RGB,
    };
    turbojpeg::compress(image, 95, subsamp).unwrap().to_vec()
}

/// A JPEG file of 64 × 64 pixels of these inks, in one scan or several.
pub(super) fn cmyk_jpeg(inks: [u8; 4], is_progressive: bool) -> Vec<u8> {
    let pixels = inks.repeat(64 * 64);
    let image = Image {
        pixels: &pixels[..],
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

/// A JPEG file with further segments after its first marker.
pub(super) fn jpeg_with(file: &[u8], segments: &[(u8, &[u8])]) -> Vec<u8> {
    let mut result = file[..2].to_vec();
    for (marker, data) in segments {
        result.extend([0xFF, *marker]);
        result.extend(u16::try_from(data.len() + 2).unwrap().to_be_bytes());
        result.extend(*data);
    }
    result.extend(&file[2..]);
    result
}

/// An EXIF segment that says nothing but the orientation.
pub(super) fn exif(orientation: u8) -> Vec<u8> {
    let mut segment = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0".to_vec();
    segment.extend([orientation, 0, 0, 0, 0, 0, 0, 0]);
    segment
}

/// A PNG file; `change` may add chunks to its header.
pub(super) fn png(
    (width, height): (u32, u32),
    color: ColorType,
    depth: BitDepth,
    samples: &[u8],
    change: impl FnOnce(&mut Info<'static>),
) -> Vec<u8> {
    let mut info = Info::with_size(width, height);
    info.color_type = color;
    info.bit_depth = depth;
    change(&mut info);
    let mut file = Vec::new();
    let mut writer = Encoder::with_info(&mut file, info)
        .and_then(Encoder::write_header)
        .unwrap();
    writer.write_image_data(samples).unwrap();
    writer.finish().unwrap();
    file
}

/// A chunk of a PNG file, with its checksum.
pub(super) fn png_chunk(kind: [u8; 4], data: &[u8]) -> Vec<u8> {
    let length = u32::try_from(data.len()).unwrap().to_be_bytes();
    let checked = [&kind, data].concat();
    [&length, &checked[..], &crc32(&checked).to_be_bytes()].concat()
}

/// The checksum of PNG's chunks. Source: PNG third edition, annex D.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0xEDB8_8320 * (crc & 1))
        })
    })
}

/// Renders with a changed configuration.
pub(super) fn render_with(upload: &[u8], change: impl FnOnce(&mut config::Picture)) -> Rendered {
    let mut config = config::Picture::default();
    change(&mut config);
    Renderer::new(config).render(upload, None).unwrap()
}

pub(super) fn render(upload: &[u8]) -> Rendered {
    render_with(upload, |_| {})
}

/// A decoded rendition.
pub(super) struct Shown {
    pub width: usize,
    pub height: usize,
    rgb: Vec<u8>,
}

impl Shown {
    /// The nth rendition, decoded.
    pub(super) fn nth(rendered: &Rendered, nth: usize) -> Self {
        let file = &rendered.renditions[nth].bytes;
        let image = turbojpeg::decompress(file, PixelFormat::RGB).unwrap();
        Self {
            width: image.width,
            height: image.height,
            rgb: image.pixels,
        }
    }

    /// The pixel at these fractions of width and height.
    pub(super) fn at(&self, x: f64, y: f64) -> [u8; 3] {
        let scaled = |fraction: f64, length: usize| (fraction * length as f64) as usize;
        let start = (scaled(y, self.height) * self.width + scaled(x, self.width)) * 3;
        self.rgb[start..start + 3].try_into().unwrap()
    }

    /// The pixels in the middle of the four quarters: above left and right, below left and right.
    pub(super) fn quarters(&self) -> [[u8; 3]; 4] {
        [
            self.at(0.25, 0.25),
            self.at(0.75, 0.25),
            self.at(0.25, 0.75),
            self.at(0.75, 0.75),
        ]
    }
}

/// Fails unless the colours are the same within a tolerance.
#[track_caller]
pub(super) fn assert_near<const N: usize>(actual: [[u8; 3]; N], expected: [[u8; 3]; N]) {
    let pairs = actual.iter().flatten().zip(expected.iter().flatten());
    let off = pairs.map(|(one, other)| one.abs_diff(*other)).max();
    assert!(off <= Some(6), "{actual:?}, not {expected:?}");
}
