//! Pictures of HDR with more than eight bits: brought to tones of sRGB with all their bits, and rounded only then.
//!
//! Luma of such pictures cannot be averaged in eight bits as that of others is: the shadows, which are what is left of HDR
//! on a screen, have few of these steps and would show as bands. So each row is joined to RGB at once. Coarse colour
//! differences are repeated, which nobody sees after averaging.

use crate::imaging::Error;
use crate::imaging::heif::color_planes;
use crate::imaging::heif::damaged;
use crate::imaging::heif::picture::Channel;
use crate::imaging::heif::picture::Picture;
use crate::imaging::heif::picture::Plane;
use crate::imaging::luma::Levels;
use crate::imaging::luma::Matrix;
use crate::imaging::profile::Profile;
use crate::imaging::raster::Model;
use crate::imaging::raster::Pixels;
use crate::imaging::raster::Request;
use crate::imaging::shrink;
use crate::imaging::shrink::Shrink;
use crate::imaging::shrink::Window;
use crate::imaging::tone::Range;
use crate::imaging::tone::Tone;

/// The picture, while its tiles are collected.
pub(super) struct Toned {
    shrink: Shrink,
    /// RGB, with or without alpha.
    model: Model,
    /// Whether colours are already multiplied by alpha.
    is_premultiplied: bool,
    matrix: Matrix,
    tone: Tone,
    /// What is left to be done to the colours.
    profile: Profile,
}

impl Toned {
    /// Prepares for tiles like the first one. `None` if eight bits are enough for them.
    pub(super) fn new(
        first: &Picture,
        is_premultiplied: bool,
        matrix: Matrix,
        profile: &Profile,
        request: &Request,
        window: Window,
    ) -> Option<Self> {
        let [luma, ..] = color_planes(first).ok()?;
        if luma?.bits <= 8 {
            return None;
        }
        let model = match first.plane(Channel::Alpha) {
            Some(_) => Model::Rgba,
            None => Model::Rgb,
        };
        let (tone, profile) = Tone::new(model, true, Range::Full, profile.clone());
        let factor = shrink::factor(request);
        tone.converts().then(|| Self {
            shrink: Shrink::new(window, factor, model.channels(), model.has_alpha()),
            model,
            is_premultiplied,
            matrix,
            tone,
            profile,
        })
    }

    /// Adds a tile whose first pixel is at `origin`.
    pub(super) fn add(&mut self, tile: &Picture, origin: (u32, u32)) -> Result<(), Error> {
        let [luma, blue, red] = color_planes(tile)?;
        let luma = luma.ok_or_else(|| damaged("a plane is missing"))?;
        let alpha = tile
            .plane(Channel::Alpha)
            .filter(|_| self.model.has_alpha());
        let [first, second, third] = self.matrix.levels();
        let planes = [(Some(luma), first), (blue, second), (red, third)];
        let (mut pixels, mut buffer) = (Vec::new(), Vec::new());
        for y in 0..luma.height {
            let rows = planes
                .map(|(plane, levels)| plane.map(|plane| Values::of(&plane, y, &luma, levels)));
            let alphas = alpha.map(|plane| Values::of(&plane, y, &luma, Levels::FULL));
            pixels.clear();
            for x in 0..luma.width {
                // No plane: monochrome, no difference.
                let values = rows
                    .each_ref()
                    .map(|row| row.as_ref().map_or(0.0, |row| row.at(x)));
                let color = joined(self.matrix, values);
                if self.model.has_alpha() {
                    let alpha = alphas.as_ref().map_or(1.0, |alphas| alphas.at(x));
                    let [red, green, blue] = self.straight(color, alpha);
                    let pixel = [red, green, blue, alpha].map(sixteen_bits);
                    pixels.extend(pixel.as_flattened());
                } else {
                    pixels.extend(color.map(sixteen_bits).as_flattened());
                }
            }
            let row = self.tone.row(&pixels, &mut buffer);
            let at = origin.1.saturating_add(y);
            self.shrink.add(origin.0, at, 1, row);
        }
        Ok(())
    }

    /// A colour that is not multiplied by alpha.
    fn straight(&self, color: [f32; 3], alpha: f32) -> [f32; 3] {
        if self.is_premultiplied && alpha > 0.0 {
            color.map(|light| light / alpha)
        } else {
            color
        }
    }

    /// The pixels, and what is left to be done to their colours.
    pub(super) fn finish(self) -> (Pixels, Profile) {
        let raster = self.shrink.finish((1, 1));
        (Pixels::Interleaved(self.model, raster), self.profile)
    }
}

/// A row of a plane, as numbers from 0 to 1, or -1/2 to 1/2 for differences.
struct Values<'a> {
    samples: &'a [u8],
    bytes: usize,
    zero: f32,
    span: f32,
    /// Pixels that a sample covers.
    coarse: u32,
}

impl<'a> Values<'a> {
    /// The row of a plane that belongs to row `y` of luma, given the levels that it would have with 8 bits.
    fn of(plane: &Plane<'a>, y: u32, luma: &Plane<'_>, levels: Levels) -> Self {
        let down = luma.height.div_ceil(plane.height.max(1)).max(1);
        let Levels { zero, span } = levels.with_bits(plane.bits);
        Self {
            samples: plane.row(y.checked_div(down).unwrap_or(0)),
            bytes: if plane.bits > 8 { 2 } else { 1 },
            zero: f32::from(zero),
            span: f32::from(span),
            coarse: luma.width.div_ceil(plane.width.max(1)).max(1),
        }
    }

    fn at(&self, x: u32) -> f32 {
        let index = usize::try_from(x.checked_div(self.coarse).unwrap_or(0)).unwrap_or(usize::MAX);
        let start = index.saturating_mul(self.bytes);
        let sample = match self.samples.get(start..) {
            Some([first, second, ..]) if self.bytes == 2 => u16::from_ne_bytes([*first, *second]),
            Some([sample, ..]) => u16::from(*sample),
            Some([]) | None => 0,
        };
        (f32::from(sample) - self.zero) / self.span
    }
}

/// Red, green and blue.
fn joined(matrix: Matrix, [luma, blue, red]: [f32; 3]) -> [f32; 3] {
    match matrix.of_differences() {
        Some(parts) => parts.map(|(of_blue, of_red)| luma + of_blue * blue + of_red * red),
        None => [red, luma, blue],
    }
}

/// A value from 0 to 1 as [`Tone`] takes it.
#[expect(
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "there is no other conversion from a float; `as` saturates, as documented"
)]
fn sixteen_bits(value: f32) -> [u8; 2] {
    let sample = (value * f32::from(u16::MAX)).round() as u16;
    sample.to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::HevcDecoder;
    use crate::imaging::geometry::Region;
    use crate::imaging::heif::Source;
    use crate::imaging::heif::handle::Part;
    use crate::imaging::tests::samples::fixture;

    /// A picture of 10 bits with its code points changed to those of PQ: BT.709, PQ, BT.601.
    fn pq() -> Vec<u8> {
        let mut file = fixture("depth-10.heic");
        // 1, 13, 6 in the sequence parameter set, shifted by five bits.
        let (from, to) = ([0xE0, 0x21, 0xA0, 0xC0], [0xE0, 0x22, 0x00, 0xC0]);
        let place = file.windows(4).position(|four| four == from).unwrap();
        file[place..][..4].copy_from_slice(&to);
        file
    }

    #[test]
    fn hdr_with_ten_bits_is_rounded_only_as_srgb() {
        assert_rounded_only_as_srgb(&pq(), Model::Rgb);
    }

    #[test]
    fn hdr_with_ten_bits_and_alpha_is_rounded_only_as_srgb() {
        assert_rounded_only_as_srgb(&fixture("hdr-alpha.heic"), Model::Rgba);
    }

    #[track_caller]
    fn assert_rounded_only_as_srgb(file: &[u8], model: Model) {
        let source = Source::open(file, 1_000_000).unwrap();
        let size = source.size();
        let request = Request {
            source: Region::whole(size),
            target: size,
        };
        let codec = crate::imaging::heif::hevc::codecs(HevcDecoder::Libde265, (10, 10))[0];
        let picture = source.handle.decode(codec, Part::Stored).unwrap();
        let [luma, blue, red] = color_planes(&picture).unwrap().map(Option::unwrap);
        let alpha = picture.plane(Channel::Alpha);
        let sample = |plane: &Plane<'_>, x: u32, y: u32| {
            let pair = plane.row(y).as_chunks().0[usize::try_from(x).unwrap()];
            f32::from(u16::from_ne_bytes(pair))
        };
        let profile = Profile::from_code_points(1, 16);
        let (tone, _) = Tone::new(Model::Rgb, true, Range::Full, profile);

        let (decoded, _) = source.decode(&request, HevcDecoder::Libde265).unwrap();

        assert!(decoded.toned && decoded.deep);
        assert_eq!(decoded.profile, Profile::Srgb);
        let Pixels::Interleaved(found, raster) = decoded.pixels else {
            panic!("{:?}", decoded.pixels);
        };
        assert_eq!((found, raster.size), (model, size));
        let channels = usize::from(model.channels());
        for (x, y) in [(60, 50), (300, 50), (60, 200), (300, 200)] {
            // By hand, full range of BT.601.
            let light = sample(&luma, x, y) / 1_023.0;
            let blue = (sample(&blue, x / 2, y / 2) - 512.0) / 1_023.0;
            let red = (sample(&red, x / 2, y / 2) - 512.0) / 1_023.0;
            let rgb = [
                light + 1.402 * red,
                light - 0.344_136 * blue - 0.714_136 * red,
                light + 1.772 * blue,
            ];
            let wide: Vec<u8> = rgb.into_iter().flat_map(sixteen_bits).collect();
            let mut buffer = Vec::new();
            let expected = tone.row(&wide, &mut buffer);
            let index = |position: u32| usize::try_from(position).unwrap();
            let pixels: Vec<&[u8]> = raster.samples.chunks(channels).collect();
            let rows: Vec<_> = pixels.chunks(index(size.width)).collect();
            let shown = rows[index(y)][index(x)];
            let near = shown.iter().zip(expected).all(|(a, b)| a.abs_diff(*b) <= 1);
            assert!(near, "{shown:?}, not {expected:?}");
            if let (Some(plane), [.., shown]) = (&alpha, shown) {
                let alpha = match plane.bits {
                    8 => plane.row(y)[usize::try_from(x).unwrap()],
                    bits => panic!("{bits} bits of alpha"),
                };
                assert_eq!(*shown, alpha);
            }
        }
    }

    #[test]
    fn limited_range_of_ten_bits_is_from_64_to_940() {
        let matrix = Matrix::from_code_points(6, 1, false).unwrap();
        let [light, difference, _] = matrix.levels();
        let bytes: Vec<u8> = [64_u16, 940, 512]
            .iter()
            .flat_map(|one| one.to_ne_bytes())
            .collect();
        let plane = Plane::of(&bytes, 3, 10);

        let luma = Values::of(&plane, 0, &plane, light);
        let difference = Values::of(&plane, 0, &plane, difference);

        let values = [luma.at(0), luma.at(1), difference.at(2)];
        let near = values.iter().zip([0.0, 1.0, 0.0]);
        assert!(
            near.into_iter()
                .all(|(a, b): (&f32, f32)| (a - b).abs() < 1e-6),
            "{values:?}"
        );
    }
}
