//! PNG: rows are brought to 8 bits and averaged as they come, so that neither the file's full size nor its 16 bits are ever
//! held.

mod chunks;
mod raw_profile;

use std::borrow::Cow;
use std::io::Cursor;

use png::BitDepth;
use png::CodingIndependentCodePoints;
use png::ColorType;
use png::Decoder;
use png::DecodingError;
use png::Info;
use png::Limits;
use png::Reader;
use png::ScaledFloat;
use png::SourceChromaticities;
use png::Transformations;

use crate::domain::picture::Format;
use crate::imaging::Damage;
use crate::imaging::Error;
use crate::imaging::geometry::Orientation;
use crate::imaging::geometry::Size;
use crate::imaging::profile::PROFILE_BYTES_MAX;
use crate::imaging::profile::Profile;
use crate::imaging::raster::Decoded;
use crate::imaging::raster::Model;
use crate::imaging::raster::Pixels;
use crate::imaging::raster::Request;
use crate::imaging::shrink;
use crate::imaging::shrink::Shrink;
use crate::imaging::tone::Range;
use crate::imaging::tone::Tone;

/// Most memory that rows and decompressed chunks (profiles: they may be bombs) may take, in bytes.
const DECODER_BYTES_MAX: usize = 32 * 1_024 * 1_024;

/// Exponent of files made for a usual screen, times 100,000. Source: PNG third edition, 11.3.2.2.
const SCREEN_GAMMA: u32 = 45_455;

/// How far from it an exponent may be without a visible difference.
const SCREEN_GAMMA_TOLERANCE: u32 = 1_500;

/// White, red, green and blue of sRGB, x and y times 100,000. Source: IEC 61966-2-1.
const SRGB_CHROMATICITIES: [(u32, u32); 4] = [
    (31_270, 32_900),
    (64_000, 33_000),
    (30_000, 60_000),
    (15_000, 6_000),
];

/// First column and row, and distances, of the pixels of each pass. Source: PNG third edition, 8.1.
const ADAM7: [Pass; 7] = [
    Pass::new(0, 0, 8, 8),
    Pass::new(4, 0, 8, 8),
    Pass::new(0, 4, 4, 8),
    Pass::new(2, 0, 4, 4),
    Pass::new(0, 2, 2, 4),
    Pass::new(1, 0, 2, 2),
    Pass::new(0, 1, 1, 2),
];

/// All rows one after the other.
const SEQUENTIAL: [Pass; 1] = [Pass::new(0, 0, 1, 1)];

/// A subset of the pixels that is stored together.
#[derive(Clone, Copy, Debug)]
struct Pass {
    x: u32,
    y: u32,
    step_x: u32,
    step_y: u32,
}

impl Pass {
    const fn new(x: u32, y: u32, step_x: u32, step_y: u32) -> Self {
        Self {
            x,
            y,
            step_x,
            step_y,
        }
    }

    /// The rows that have pixels of this pass.
    fn rows(self, size: Size) -> impl Iterator<Item = u32> {
        let height = if self.x < size.width { size.height } else { 0 };
        let step = usize::try_from(self.step_y).unwrap_or(usize::MAX);
        (self.y..height).step_by(step)
    }
}

/// A PNG file whose header has been read.
pub(super) struct Source<'a> {
    reader: Reader<Cursor<Cow<'a, [u8]>>>,
    chunks: chunks::Chunks,
}

/// The size that the first chunk declares, if it is the right one (PNG §11.2.1, IHDR).
pub(super) fn declared_size(file: &[u8]) -> Option<Size> {
    let header = file.get(12..24)?.strip_prefix(b"IHDR")?;
    let (width, rest) = header.split_first_chunk()?;
    let (height, _) = rest.split_first_chunk()?;
    Some(Size {
        width: u32::from_be_bytes(*width),
        height: u32::from_be_bytes(*height),
    })
}

impl<'a> Source<'a> {
    /// Reads everything before the first sample.
    ///
    /// # Errors
    ///
    /// [`Error::Malformed`] for damage, or chunks that need too much memory.
    pub(super) fn open(file: &'a [u8]) -> Result<Self, Error> {
        let limits = Limits {
            bytes: DECODER_BYTES_MAX,
        };
        let mut decoder = Decoder::new_with_limits(Cursor::new(chunks::still(file)), limits);
        decoder.set_transformations(Transformations::EXPAND);
        decoder.set_ignore_text_chunk(true);
        let reader = decoder.read_info().map_err(malformed)?;
        Ok(Self {
            reader,
            chunks: chunks::Chunks::scan(file),
        })
    }

    /// Size of the stored picture.
    pub(super) fn size(&self) -> Size {
        let (width, height) = self.reader.info().size();
        Size { width, height }
    }

    /// Which way up the picture is.
    pub(super) fn orientation(&self) -> Orientation {
        Orientation::from_exif(self.chunks.orientation.unwrap_or(1))
    }

    /// Whether there is anything but the picture.
    pub(super) fn has_metadata(&self) -> bool {
        self.chunks.has_metadata
    }

    /// Decodes the part of the picture that the request shows. Reads all rows: damage in any of them refuses the file.
    ///
    /// # Errors
    ///
    /// [`Error::Malformed`] for damage.
    pub(super) fn decode(mut self, request: &Request) -> Result<Decoded, Error> {
        let info = self.reader.info();
        let (interlaced, deep) = (info.interlaced, info.bit_depth == BitDepth::Sixteen);
        let model = match self.reader.output_color_type().0 {
            ColorType::Grayscale | ColorType::Indexed => Model::Gray,
            ColorType::GrayscaleAlpha => Model::GrayAlpha,
            ColorType::Rgb => Model::Rgb,
            ColorType::Rgba => Model::Rgba,
        };
        let (tone, profile) = Tone::new(model, deep, range(info), profile(info));
        let size = self.size();
        let mut shrink = Shrink::new(
            shrink::Window::around(request.source, size),
            shrink::factor(request),
            model.channels(),
            model.has_alpha(),
        );
        let mut buffer = Vec::new();
        let passes = if interlaced { &ADAM7[..] } else { &SEQUENTIAL };
        for pass in passes {
            for y in pass.rows(size) {
                let row = self.reader.next_row().map_err(malformed)?;
                let row = row.ok_or_else(|| damaged("a row is missing"))?;
                let samples = tone.row(row.data(), &mut buffer);
                shrink.add(pass.x, y, pass.step_x, samples);
            }
        }
        // Reaches the end of the samples, and with it their checksum.
        self.reader.next_row().map_err(malformed)?;
        Ok(Decoded {
            pixels: Pixels::Interleaved(model, shrink.finish((1, 1))),
            profile,
            deep,
            toned: tone.converts(),
        })
    }
}

/// The first of these decides: `cICP`, `iCCP`, `sRGB`, `gAMA` and `cHRM` together. `gAMA` alone says nothing of colours:
/// browsers follow it, but libvips and Pillow do not, and files have it that were never meant so.
/// Source: PNG third edition, 4.3 "Color spaces", table 1.
fn profile(info: &Info<'_>) -> Profile {
    let points = info.coding_independent_code_points;
    if let Some(points) = points.filter(|points| is_understood(*points)) {
        let primaries = u16::from(points.color_primaries);
        return Profile::from_code_points(primaries, u16::from(points.transfer_function));
    }
    if let Some(icc) = &info.icc_profile {
        return match icc.len() {
            ..=PROFILE_BYTES_MAX => Profile::from_icc(icc.to_vec()),
            _ => Profile::Srgb,
        };
    }
    match (info.srgb, info.gama_chunk, info.chrm_chunk) {
        (None, Some(gamma), Some(chromaticities)) => measured(gamma, chromaticities),
        _ => Profile::Srgb,
    }
}

/// The range of the samples, which code points alone tell. Source: PNG third edition, 11.3.2.6.
fn range(info: &Info<'_>) -> Range {
    let points = info.coding_independent_code_points;
    let points = points.filter(|points| is_understood(*points));
    match points {
        Some(points) if !points.is_video_full_range_image => Range::Narrow,
        _ => Range::Full,
    }
}

/// Whether code points say what samples mean. Others are to be passed over: unspecified (2) and reserved ones, and those of
/// no display (10, see [`Profile::from_code_points`]). Those with a matrix, which PNG does not have, never come here: see
/// [`chunks::still`].
/// Source: PNG third edition, 11.3.2.6; ITU-T H.273, tables 2 and 3.
const fn is_understood(points: CodingIndependentCodePoints) -> bool {
    matches!(points.color_primaries, 1 | 4..=9 | 11 | 12 | 22)
        && matches!(points.transfer_function, 1 | 4..=18)
}

/// Values that say sRGB in other words are sRGB.
fn measured(gamma: ScaledFloat, chromaticities: SourceChromaticities) -> Profile {
    let SourceChromaticities {
        white,
        red,
        green,
        blue,
    } = chromaticities;
    let gamma = gamma.into_scaled();
    let chromaticities = [white, red, green, blue].map(|(x, y)| (x.into_scaled(), y.into_scaled()));
    if chromaticities == SRGB_CHROMATICITIES
        && gamma.abs_diff(SCREEN_GAMMA) <= SCREEN_GAMMA_TOLERANCE
    {
        return Profile::Srgb;
    }
    Profile::measured(Some(gamma), chromaticities)
}

fn malformed(error: DecodingError) -> Error {
    Error::Malformed(Format::Png, error.into())
}

fn damaged(what: &'static str) -> Error {
    Error::Malformed(Format::Png, Damage(what).into())
}
