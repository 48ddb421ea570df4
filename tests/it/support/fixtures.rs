//! The files of `tests/fixtures`, what must become of them, and pictures too large to be kept there.

use std::path::{Path, PathBuf};

use turbojpeg::{Compressor, Image, PixelFormat, Subsamp};

/// The folder of the repository.
pub fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The bytes of a fixture.
pub fn fixture(name: &str) -> Vec<u8> {
    read(&repository().join("tests/fixtures").join(name))
}

pub fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A row of `expected.tsv`.
#[derive(Clone, Debug)]
pub struct Expected {
    pub file: String,
    pub status: u16,
    /// Width and height of the upright picture; none for what is refused.
    pub upright: Option<(u32, u32)>,
    /// sRGB colours: top left, top right, bottom left, bottom right.
    pub quadrants: Vec<[u8; 3]>,
}

/// All rows.
pub fn expected() -> Vec<Expected> {
    let table = String::from_utf8(fixture("expected.tsv")).unwrap();
    let rows = table.lines().skip(1).map(|line| {
        let mut cells = line.split('\t');
        let mut next = || cells.next().unwrap_or_default();
        Expected {
            file: next().to_owned(),
            status: next().parse().unwrap(),
            upright: next()
                .split_once('x')
                .map(|(width, height)| (width.parse().unwrap(), height.parse().unwrap())),
            quadrants: next().split_whitespace().map(color).collect(),
        }
    });
    rows.collect()
}

/// The row of one file.
pub fn expected_of(file: &str) -> Expected {
    let mut rows = expected().into_iter();
    rows.find(|row| row.file == file)
        .expect("the file is in expected.tsv")
}

/// `rrggbb`
pub fn color(hex: &str) -> [u8; 3] {
    let [_, red, green, blue] = u32::from_str_radix(hex, 16).unwrap().to_be_bytes();
    [red, green, blue]
}

/// Several colours, `rrggbb` one after the other.
pub fn colors(hex: &str) -> Vec<[u8; 3]> {
    (0..hex.len() / 6)
        .map(|at| color(&hex[6 * at..6 * at + 6]))
        .collect()
}

/// A 12-megapixel JPEG of about 2 MB with the detail of a photo: soft areas, edges, grain. The same at each call.
pub fn photo_12_megapixels() -> Vec<u8> {
    let (width, height) = (4_000, 3_000);
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    let mut grain = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 56) as i32
    };
    let mut pixels = Vec::with_capacity(width * height * 3);
    for y in 0..height {
        for x in 0..width {
            let hill = ((x * x / 9_000 + y * y / 7_000) % 200) as i32;
            let leaf = if (x / 37 + y / 53) % 3 == 0 { 30 } else { 0 };
            let noise = (grain() - 128) / 9;
            let channels = [hill + 40, 190 - hill / 2, (y * 160 / height) as i32 + 40];
            pixels.extend(channels.map(|value| (value + leaf + noise).clamp(0, 255) as u8));
        }
    }
    jpeg_of(&pixels, width, height, 76)
}

/// A JPEG of one size and quality from RGB pixels, 4:2:0.
pub fn jpeg_of(pixels: &[u8], width: usize, height: usize, quality: i32) -> Vec<u8> {
    let image = Image {
        pixels,
        width,
        pitch: width * 3,
        height,
        format: PixelFormat::RGB,
    };
    let mut compressor = Compressor::new().unwrap();
    compressor.set_quality(quality).unwrap();
    compressor.set_subsamp(Subsamp::Sub2x2).unwrap();
    compressor.compress_to_vec(image).unwrap()
}

/// A valid JPEG of exactly that many bytes: a small picture, filled up with comments.
pub fn jpeg_of_bytes(length: usize) -> Vec<u8> {
    let small = fixture("grey.jpg");
    let mut missing = length
        .checked_sub(small.len())
        .expect("longer than the picture");
    let mut bytes = small[..2].to_vec();
    while missing > 0 {
        // A segment takes 4 to 65537 bytes; what is left must be none or enough for another.
        let mut segment = missing.min(65_000);
        if (1..4).contains(&(missing - segment)) {
            segment -= 4;
        }
        bytes.extend_from_slice(&[0xFF, 0xFE]);
        bytes.extend_from_slice(&u16::try_from(segment - 2).unwrap().to_be_bytes());
        bytes.resize(bytes.len() + segment - 4, b'x');
        missing -= segment;
    }
    bytes.extend_from_slice(&small[2..]);
    assert_eq!(bytes.len(), length);
    bytes
}
