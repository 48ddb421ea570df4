//! Pictures with transparency, in eight bits: joined to RGBA row by row, because averages must be weighted by alpha.

use crate::imaging::Error;
use crate::imaging::geometry::Size;
use crate::imaging::heif::color_planes;
use crate::imaging::heif::picture::Channel;
use crate::imaging::heif::picture::Picture;
use crate::imaging::heif::picture::Plane;
use crate::imaging::heif::planes::EightBits;
use crate::imaging::luma;
use crate::imaging::luma::Levels;
use crate::imaging::luma::Matrix;
use crate::imaging::raster::Model;
use crate::imaging::raster::Pixels;
use crate::imaging::raster::Request;
use crate::imaging::shrink;
use crate::imaging::shrink::Shrink;
use crate::imaging::shrink::Window;

/// The shown part of a whole picture, averaged. `is_premultiplied`: colours are already multiplied by alpha.
///
/// # Errors
///
/// [`Error::Malformed`] if a plane is missing.
pub(super) fn averaged(
    picture: &Picture,
    size: Size,
    matrix: Matrix,
    is_premultiplied: bool,
    request: &Request,
) -> Result<Pixels, Error> {
    let mut shrink = Shrink::new(
        Window::around(request.source, size),
        shrink::factor(request),
        Model::Rgba.channels(),
        true,
    );
    let planes = color_planes(picture)?;
    let [first, second, third] = planes;
    let [luma, blue, red] = matrix.levels();
    let colors = [(first, luma), (second, blue), (third, red)];
    let alpha = picture.plane(Channel::Alpha);
    for y in 0..size.height {
        let row = |plane: Option<Plane<'_>>, levels| {
            plane.map_or_else(Vec::new, |plane| stretched_row(&plane, y, size, levels))
        };
        let colors = colors.map(|(plane, levels)| row(plane, levels));
        let alphas = row(alpha, Levels::FULL);
        let rgba = joined_row(matrix, colors, &alphas, is_premultiplied);
        shrink.add(0, y, 1, &rgba);
    }
    let raster = shrink.finish((1, 1));
    Ok(Pixels::Interleaved(Model::Rgba, raster))
}

/// A row of the picture from a plane that may be coarser: each sample is repeated.
fn stretched_row(plane: &Plane<'_>, y: u32, size: Size, levels: Levels) -> Vec<u8> {
    let scale = |position: u32, fine: u32, coarse: u32| {
        let scaled = u64::from(position).saturating_mul(u64::from(coarse));
        u32::try_from(scaled.checked_div(u64::from(fine)).unwrap_or(0)).unwrap_or(u32::MAX)
    };
    let mut bytes = Vec::new();
    let row = plane.row(scale(y, size.height, plane.height));
    let eight_bits = EightBits::new(levels, plane.bits);
    let row = eight_bits.row(row, &mut bytes);
    let sample = |x| {
        let x = usize::try_from(scale(x, size.width, plane.width)).ok()?;
        row.get(x).copied()
    };
    (0..size.width).map_while(sample).collect()
}

/// RGBA with straight alpha.
fn joined_row(
    matrix: Matrix,
    colors: [Vec<u8>; 3],
    alphas: &[u8],
    is_premultiplied: bool,
) -> Vec<u8> {
    let [luma, mut blue, mut red] = colors;
    // Monochrome: no difference.
    blue.resize(luma.len(), 128);
    red.resize(luma.len(), 128);
    let rgb = luma::to_rgb(matrix, [&luma, &blue, &red]);
    let alphas = alphas.iter().copied().chain(std::iter::repeat(u8::MAX));
    let pixels = rgb.as_chunks().0.iter().zip(alphas);
    let rgba = pixels.flat_map(|(color, alpha)| {
        let [red, green, blue] = if is_premultiplied {
            color.map(|color| unmultiplied(color, alpha))
        } else {
            *color
        };
        [red, green, blue, alpha]
    });
    rgba.collect()
}

fn unmultiplied(color: u8, alpha: u8) -> u8 {
    let scaled = u32::from(color).saturating_mul(255);
    let color = scaled.checked_div(u32::from(alpha)).unwrap_or(0);
    u8::try_from(color).unwrap_or(u8::MAX)
}
