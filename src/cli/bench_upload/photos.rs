//! What is uploaded: files, or photos made here, each ready as the body of a form.
//!
//! A made JPEG is a scene of a sky, a ground with fine detail and a face-like oval, drawn from a seed: the same bytes
//! on every machine, compressible as a photo is (12 megapixels have about 2 MB), and no sensor noise. It lies on its
//! side with an EXIF tag that says so, as a phone held upright writes it. PNG is the same scene on a phone's screen, HEIC one
//! like it, put together from tiles.

mod heic;

use std::fs;
use std::path::PathBuf;
use std::str::FromStr;

use bytes::Bytes;
use image::{ExtendedColorType, ImageEncoder};
use turbojpeg::{Compressor, PixelFormat, Subsamp};

use crate::cli::Failure;

/// Width of a photo of 12 megapixels, in pixels; the height is three quarters of it.
const WIDTH_12_MP: u64 = 4_032;
/// Most megapixels that are made: the largest sensor in a phone.
const MEGAPIXELS_MAX: u64 = 200;
/// A phone's screen, for PNG: pictures that are uploaded as PNG are screenshots.
const SCREEN: (u16, u16) = (750, 1_334);
/// Quality of a made JPEG. Source: the tables of phone photos are near libjpeg's 90 to 95.
const QUALITY: i32 = 92;
/// The same above 24 megapixels: what a phone writes there is over the default limit of a file.
const QUALITY_LARGE: i32 = 85;
/// EXIF with one tag, orientation 6: turn a quarter clockwise to see it upright. Begins with its JPEG marker.
const EXIF_ON_ITS_SIDE: &[u8] =
    b"\xff\xe1\x00\x22Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";

const BOUNDARY: &str = "----pockitd-bench-upload-8f14e45fceea167a";

/// A photo that can be made.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    /// A baseline JPEG of about so many megapixels.
    Jpeg { megapixels: u64 },
    /// A screenshot.
    Png,
    /// A phone's HEIC of 12 megapixels.
    Heic,
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "png" => return Ok(Self::Png),
            "heic" => return Ok(Self::Heic),
            _ => {}
        }
        let number = text.strip_suffix("mp").and_then(|text| text.parse().ok());
        number
            .filter(|megapixels| (1..=MEGAPIXELS_MAX).contains(megapixels))
            .map(|megapixels| Self::Jpeg { megapixels })
            .ok_or_else(|| {
                format!("{text:?} is not png, heic, or a size from 1mp to {MEGAPIXELS_MAX}mp such as 12mp")
            })
    }
}

/// An upload, ready to be sent.
#[derive(Clone, Debug)]
pub(super) struct Photo {
    /// For the report.
    pub(super) name: String,
    /// Of the file alone.
    pub(super) file_bytes: u64,
    /// The whole form.
    pub(super) body: Bytes,
}

/// Media type of the form.
pub(super) fn content_type() -> String {
    format!("multipart/form-data; boundary={BOUNDARY}")
}

/// Reads the files and makes the rest.
pub(super) fn all(files: &[PathBuf], kinds: &[Kind], seed: u64) -> Result<Vec<Photo>, Failure> {
    let mut photos = Vec::new();
    for path in files {
        let file = fs::read(path)
            .map_err(|error| format!("cannot read the photo {}: {error}", path.display()))?;
        let name = path.file_name().unwrap_or(path.as_os_str());
        photos.push(photo(name.to_string_lossy().into_owned(), &file));
    }
    for kind in kinds {
        photos.push(made(*kind, seed)?);
    }
    Ok(photos)
}

fn made(kind: Kind, seed: u64) -> Result<Photo, Failure> {
    let (what, (width, height)) = match kind {
        Kind::Jpeg { megapixels } => ("JPEG", size(megapixels)),
        Kind::Png => ("PNG", SCREEN),
        Kind::Heic => ("HEIC", heic::SIZE),
    };
    let file = match kind {
        Kind::Jpeg { megapixels } => {
            let quality = if megapixels > 24 {
                QUALITY_LARGE
            } else {
                QUALITY
            };
            jpeg(width, height, quality, &scene(width, height, seed))?
        }
        Kind::Png => png(width, height, &scene(width, height, seed))?,
        Kind::Heic => heic::file(seed)?,
    };
    Ok(photo(format!("{what} {width}x{height}"), &file))
}

fn photo(name: String, file: &[u8]) -> Photo {
    // The server judges by content: name and type are those of any client.
    let head = format!(
        "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"image\"; filename=\"photo\"\r\n\
         Content-Type: application/octet-stream\r\n\r\n"
    );
    let tail = format!("\r\n--{BOUNDARY}--\r\n");
    Photo {
        name,
        file_bytes: u64::try_from(file.len()).unwrap_or(u64::MAX),
        body: [head.as_bytes(), file, tail.as_bytes()].concat().into(),
    }
}

/// Width and height of so many megapixels, 4:3, in whole blocks of 4:2:0.
fn size(megapixels: u64) -> (u16, u16) {
    let square = WIDTH_12_MP.saturating_pow(2).saturating_mul(megapixels);
    let width = square
        .div_euclid(12)
        .isqrt()
        .div_euclid(64)
        .saturating_mul(64);
    let height = width.saturating_mul(3).div_euclid(4);
    let side = |pixels| u16::try_from(pixels).unwrap_or(u16::MAX);
    (side(width), side(height))
}

fn jpeg(width: u16, height: u16, quality: i32, rgb: &[u8]) -> Result<Vec<u8>, Failure> {
    let mut compressor = Compressor::new()?;
    compressor.set_quality(quality)?;
    compressor.set_subsamp(Subsamp::Sub2x2)?;
    let file = compressor.compress_to_owned(turbojpeg::Image {
        pixels: rgb,
        width: usize::from(width),
        pitch: usize::from(width).saturating_mul(PixelFormat::RGB.size()),
        height: usize::from(height),
        format: PixelFormat::RGB,
    })?;
    // Where a camera puts it: straight after the start of image.
    let (start, rest) = file.split_at_checked(2).ok_or("an empty JPEG")?;
    Ok([start, EXIF_ON_ITS_SIDE, rest].concat())
}

fn png(width: u16, height: u16, rgb: &[u8]) -> Result<Vec<u8>, Failure> {
    let mut file = Vec::new();
    image::codecs::png::PngEncoder::new(&mut file).write_image(
        rgb,
        width.into(),
        height.into(),
        ExtendedColorType::Rgb8,
    )?;
    Ok(file)
}

/// One layer of smooth random values, `period` pixels from one to the next.
struct Layer {
    period: u16,
    seed: u64,
    /// For each column: the lattice point to its left and how far it is past it, eased.
    columns: Vec<(usize, f32)>,
    /// The lattice at the height of the current row.
    line: Vec<f32>,
}

impl Layer {
    fn new(width: u16, period: u16, seed: u64) -> Self {
        let period = period.max(1);
        let columns = (0..width)
            .map(|x| {
                (
                    usize::from(x.div_euclid(period)),
                    eased(x.rem_euclid(period), period),
                )
            })
            .collect();
        Self {
            period,
            seed,
            columns,
            line: Vec::new(),
        }
    }

    fn go_to(&mut self, y: u16) {
        let row = u64::from(y.div_euclid(self.period));
        let past = eased(y.rem_euclid(self.period), self.period);
        let points = self
            .columns
            .last()
            .map_or(0, |(last, _)| last.saturating_add(2));
        self.line.clear();
        self.line
            .extend((0..u64::try_from(points).unwrap_or(0)).map(|column| {
                let above = value(self.seed, column, row);
                let below = value(self.seed, column, row.saturating_add(1));
                above + (below - above) * past
            }));
    }

    /// Between -1 and 1.
    fn at(&self, x: usize) -> f32 {
        let (left, past) = self.columns.get(x).copied().unwrap_or_default();
        let point = |index: usize| self.line.get(index).copied().unwrap_or_default();
        let (a, b) = (point(left), point(left.saturating_add(1)));
        a + (b - a) * past
    }
}

/// Position between two lattice points, 0 to 1 with level ends.
fn eased(offset: u16, period: u16) -> f32 {
    let t = f32::from(offset) / f32::from(period);
    t * t * (3.0 - 2.0 * t)
}

/// A value between -1 and 1 for a point.
fn value(seed: u64, column: u64, row: u64) -> f32 {
    let top = u16::try_from(scrambled(seed, column, row) >> 48).unwrap_or(0);
    f32::from(top) / 32_767.5 - 1.0
}

/// A number for a place that looks random: the finaliser of `SplitMix64`, over the coordinates.
fn scrambled(seed: u64, column: u64, row: u64) -> u64 {
    let mut z = seed
        .wrapping_add(column.wrapping_mul(0x9e37_79b9_7f4a_7c15))
        .wrapping_add(row.wrapping_mul(0xd1b5_4a32_d192_ed03));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// RGB pixels of the scene.
fn scene(width: u16, height: u16, seed: u64) -> Vec<u8> {
    // A sensor with more pixels does not see more: detail grows with the picture.
    let grain = width.div_euclid(1_344).max(1);
    let periods = [
        width.div_euclid(2),
        width.div_euclid(9),
        width.div_euclid(60),
        grain.saturating_mul(3),
        grain,
    ];
    let mut layers: [Layer; 5] = std::array::from_fn(|index| {
        let number = u64::try_from(index).unwrap_or(0);
        let period = periods.get(index).copied().unwrap_or(1);
        Layer::new(width, period, seed.wrapping_mul(31).wrapping_add(number))
    });
    let pixels = usize::from(width).saturating_mul(usize::from(height));
    let mut rgb = Vec::with_capacity(pixels.saturating_mul(3));
    for y in 0..height {
        for layer in &mut layers {
            layer.go_to(y);
        }
        let v = f32::from(y) / f32::from(height);
        for x in 0..width {
            let u = f32::from(x) / f32::from(width);
            let noise = layers.each_ref().map(|layer| layer.at(usize::from(x)));
            rgb.extend(colour(u, v, noise).map(byte));
        }
    }
    rgb
}

/// The colour at a place, 0 to 255 each, from layers of noise, coarse to fine.
fn colour(u: f32, v: f32, [wide, broad, patch, leaf, grain]: [f32; 5]) -> [f32; 3] {
    let ground = step(v, 0.42 + 0.06 * wide + 0.02 * broad, 0.004);
    let cloud = 0.5 + 0.35 * wide + 0.15 * broad + 0.02 * grain;
    let sky = [
        105.0 + 110.0 * cloud,
        150.0 + 75.0 * cloud,
        215.0 + 25.0 * cloud,
    ];
    let texture = 26.0 * patch + 24.0 * leaf + 30.0 * grain;
    let dry = 0.5 + 0.5 * broad;
    let field = [
        70.0 + 75.0 * dry + texture,
        98.0 + 30.0 * dry + texture,
        48.0 + 22.0 * dry + 0.6 * texture,
    ];
    let distance = ((u - 0.5) / 0.17).hypot((v - 0.55) / 0.3);
    let face = 1.0 - step(distance, 1.0, 0.015);
    let shade = 1.0 - 0.35 * distance.min(1.0) + 0.06 * patch + 0.03 * leaf + 0.02 * grain;
    let skin = [226.0 * shade, 172.0 * shade, 142.0 * shade];
    let mut out = [0.0; 3];
    for (((out, sky), field), skin) in out.iter_mut().zip(sky).zip(field).zip(skin) {
        let behind = sky + (field - sky) * ground;
        *out = behind + (skin - behind) * face;
    }
    out
}

/// 0 below an edge, 1 above it, a slope of twice `soft` between.
fn step(at: f32, edge: f32, soft: f32) -> f32 {
    ((at - edge) / (2.0 * soft) + 0.5).clamp(0.0, 1.0)
}

#[expect(
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "between 0 and 255 after the clamp"
)]
fn byte(value: f32) -> u8 {
    value.clamp(0.0, 255.0) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kind_is_a_size_png_or_heic() {
        assert_eq!("12mp".parse(), Ok(Kind::Jpeg { megapixels: 12 }));
        assert_eq!("png".parse(), Ok(Kind::Png));
        assert_eq!("heic".parse(), Ok(Kind::Heic));
        for text in ["", "mp", "0mp", "201mp", "12", "jpeg"] {
            assert!(text.parse::<Kind>().is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_are_those_of_phones() {
        assert_eq!(size(12), (4_032, 3_024));
        assert_eq!(size(48), (8_064, 6_048));
        assert!(size(MEGAPIXELS_MAX).0 < u16::MAX);
    }

    #[test]
    fn made_photo_is_the_same_for_a_seed_and_another_for_another() {
        assert_eq!(scene(320, 240, 1), scene(320, 240, 1));
        assert_ne!(scene(320, 240, 1), scene(320, 240, 2));
    }

    #[test]
    fn made_photos_have_the_weight_of_photos_and_fit_the_default_limit() {
        for (kind, least) in [
            (Kind::Jpeg { megapixels: 12 }, 2_000_000),
            (Kind::Jpeg { megapixels: 48 }, 3_000_000),
            (Kind::Png, 1_000_000),
            (Kind::Heic, 1_000_000),
        ] {
            let photo = made(kind, 1).unwrap();
            let limit = crate::config::Http::default().upload_bytes_max;
            assert!(
                (least..=limit).contains(&photo.file_bytes),
                "{kind:?}: {}",
                photo.file_bytes
            );
        }
    }

    #[test]
    fn made_jpeg_lies_on_its_side_and_shows_the_scene() {
        let (width, height) = size(1);
        let rgb = scene(width, height, 7);
        let file = jpeg(width, height, QUALITY, &rgb).unwrap();

        let format = image::ImageFormat::Jpeg;
        let mut decoder = image::ImageReader::with_format(std::io::Cursor::new(&file), format)
            .into_decoder()
            .unwrap();
        let orientation = image::ImageDecoder::orientation(&mut decoder).unwrap();
        assert_eq!(orientation, image::metadata::Orientation::Rotate90);
        let shown = image::DynamicImage::from_decoder(decoder)
            .unwrap()
            .into_rgb8();
        assert_eq!(shown.dimensions(), (width.into(), height.into()));
        let off: u64 = shown
            .as_raw()
            .iter()
            .zip(&rgb)
            .map(|(a, b)| u64::from(a.abs_diff(*b)))
            .sum();
        let pixels = u64::try_from(rgb.len()).unwrap();
        assert!(off < pixels.saturating_mul(6), "{off} over {pixels}");
    }
}
