//! Finishes the small picture: turned upright, transparency filled, bars beside it.

#![expect(
    clippy::arithmetic_side_effects,
    reason = "positions inside buffers that were allocated; products of 8-bit numbers in 32 bits"
)]

use crate::domain::picture::Color;
use crate::imaging::geometry::Orientation;
use crate::imaging::geometry::Size;

/// RGB pixels and their size.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Canvas {
    /// Columns and rows.
    pub size: Size,
    /// Red, green and blue of each pixel, row by row.
    pub rgb: Vec<u8>,
}

impl Canvas {
    /// Turns a picture upright. `size` is that before.
    pub(super) fn upright(size: Size, rgb: Vec<u8>, orientation: Orientation) -> Self {
        if orientation == Orientation::UPRIGHT {
            return Self { size, rgb };
        }
        let turned = orientation.turned(size);
        let width = index(size.width);
        let pixels = rgb.as_chunks::<3>().0;
        let mut upright = Vec::with_capacity(rgb.len());
        for y in 0..index(turned.height) {
            for x in 0..index(turned.width) {
                let x = flipped(x, index(turned.width), orientation.flipped_x);
                let y = flipped(y, index(turned.height), orientation.flipped_y);
                let (x, y) = if orientation.transposed {
                    (y, x)
                } else {
                    (x, y)
                };
                let pixel = pixels.get(y * width + x);
                upright.extend(pixel.copied().unwrap_or_default());
            }
        }
        Self {
            size: turned,
            rgb: upright,
        }
    }

    /// Puts the picture in the middle of a larger one of one colour.
    pub(super) fn padded(self, size: Size, background: Color) -> Self {
        if self.size == size {
            return self;
        }
        let Color(color) = background;
        let mut rgb = color.repeat(index(size.width) * index(size.height));
        let left = index(size.width.saturating_sub(self.size.width) / 2);
        let top = index(size.height.saturating_sub(self.size.height) / 2);
        let rows = rgb.chunks_exact_mut(index(size.width) * 3).skip(top);
        let length = index(self.size.width) * 3;
        for (to, from) in rows.zip(self.rgb.chunks_exact(length.max(1))) {
            if let Some(to) = to.get_mut(left * 3..left * 3 + length) {
                to.copy_from_slice(from);
            }
        }
        Self { size, rgb }
    }
}

fn flipped(position: usize, length: usize, is_flipped: bool) -> usize {
    if is_flipped {
        length - 1 - position
    } else {
        position
    }
}

/// Lays straight-alpha pixels on a background. Also tells whether any of them was not opaque.
pub(super) fn flattened(rgba: &[u8], background: Color) -> (Vec<u8>, bool) {
    let pixels = rgba.as_chunks::<4>().0;
    let is_opaque = pixels.iter().all(|[.., alpha]| *alpha == u8::MAX);
    let Color(background) = background;
    let rgb = pixels.iter().flat_map(|[red, green, blue, alpha]| {
        let [under_red, under_green, under_blue] = background;
        [
            blended(*red, under_red, *alpha),
            blended(*green, under_green, *alpha),
            blended(*blue, under_blue, *alpha),
        ]
    });
    (rgb.collect(), !is_opaque)
}

fn blended(over: u8, under: u8, alpha: u8) -> u8 {
    let sum = u32::from(over) * u32::from(alpha) + u32::from(under) * u32::from(u8::MAX - alpha);
    u8::try_from((sum + 127) / 255).unwrap_or(u8::MAX)
}

fn index(value: u32) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A picture of 2 × 3 pixels, numbered.
    fn numbered(orientation: u32) -> (Size, Vec<u8>) {
        let size = Size {
            width: 2,
            height: 3,
        };
        let rgb = (0..6_u8).flat_map(|number| [number; 3]).collect();
        let canvas = Canvas::upright(size, rgb, Orientation::from_exif(orientation));
        (canvas.size, canvas.rgb.into_iter().step_by(3).collect())
    }

    #[test]
    fn upright_of_each_orientation_is_that_of_the_standard() {
        let tall = Size {
            width: 2,
            height: 3,
        };
        let wide = tall.transposed();

        assert_eq!(numbered(1), (tall, vec![0, 1, 2, 3, 4, 5]));
        assert_eq!(numbered(2), (tall, vec![1, 0, 3, 2, 5, 4]));
        assert_eq!(numbered(3), (tall, vec![5, 4, 3, 2, 1, 0]));
        assert_eq!(numbered(4), (tall, vec![4, 5, 2, 3, 0, 1]));
        assert_eq!(numbered(5), (wide, vec![0, 2, 4, 1, 3, 5]));
        assert_eq!(numbered(6), (wide, vec![4, 2, 0, 5, 3, 1]));
        assert_eq!(numbered(7), (wide, vec![5, 3, 1, 4, 2, 0]));
        assert_eq!(numbered(8), (wide, vec![1, 3, 5, 0, 2, 4]));
    }

    #[test]
    fn padded_picture_is_in_the_middle() {
        let canvas = Canvas {
            size: Size {
                width: 1,
                height: 1,
            },
            rgb: vec![9; 3],
        };

        let square = Size {
            width: 3,
            height: 3,
        };
        let padded = canvas.padded(square, Color([1, 2, 3]));

        assert_eq!(padded.rgb.get(12..15), Some(&[9, 9, 9][..]));
        assert_eq!(padded.rgb.get(..3), Some(&[1, 2, 3][..]));
        assert_eq!(padded.rgb.len(), 27);
    }

    #[test]
    fn flattened_transparency_shows_the_background() {
        let rgba = [0, 0, 0, 0, 0, 0, 0, 255, 255, 0, 0, 128];

        let (rgb, had_alpha) = flattened(&rgba, Color::WHITE);

        assert_eq!(rgb, [255, 255, 255, 0, 0, 0, 255, 127, 127]);
        assert!(had_alpha);
        assert!(!flattened(&[1, 2, 3, 255], Color::WHITE).1);
    }
}
