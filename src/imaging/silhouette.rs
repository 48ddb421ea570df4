//! The picture of someone who has none: head and shoulders in grey, drawn by formula at any size.

use crate::imaging::geometry::rounded;

/// Level of the background, a light grey.
const BACKGROUND: f64 = 228.0;

/// Level of the figure, a middle grey.
const FIGURE: f64 = 168.0;

/// Ellipses of the figure in a square with sides of 1: centre and radii of the head, and of the shoulders, most of which
/// lie below the picture.
const ELLIPSES: [[f64; 4]; 2] = [[0.5, 0.39, 0.165, 0.18], [0.5, 1.0, 0.34, 0.34]];

/// Points a pixel in each direction, for smooth edges.
const POINTS: u16 = 4;

/// RGB pixels of the silhouette, in a square with sides of `side` pixels.
pub(super) fn draw(side: u16) -> Vec<u8> {
    let pixels = (0..side).flat_map(|y| (0..side).map(move |x| level(x, y, side)));
    pixels.flat_map(|level| [level; 3]).collect()
}

fn level(x: u16, y: u16, side: u16) -> u8 {
    let position = |pixel: u16, point: u16| {
        (f64::from(pixel) + (f64::from(point) + 0.5) / f64::from(POINTS)) / f64::from(side)
    };
    let points = (0..POINTS).flat_map(|down| (0..POINTS).map(move |across| (across, down)));
    let covered = points
        .filter(|(across, down)| is_figure(position(x, *across), position(y, *down)))
        .count();
    let share = f64::from(u8::try_from(covered).unwrap_or(u8::MAX)) / f64::from(POINTS.pow(2));
    let level = BACKGROUND + (FIGURE - BACKGROUND) * share;
    u8::try_from(rounded(level)).unwrap_or(u8::MAX)
}

fn is_figure(x: f64, y: f64) -> bool {
    ELLIPSES
        .iter()
        .any(|[center_x, center_y, radius_x, radius_y]| {
            let (across, down) = ((x - center_x) / radius_x, (y - center_y) / radius_y);
            across * across + down * down <= 1.0
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silhouette_is_symmetric_and_grey_with_smooth_edges() {
        let rgb = draw(64);
        let pixels: Vec<[u8; 3]> = rgb.as_chunks().0.to_vec();

        assert_eq!(pixels.len(), 64 * 64);
        for row in pixels.chunks(64) {
            let mirrored: Vec<[u8; 3]> = row.iter().rev().copied().collect();
            assert_eq!(row, mirrored);
        }
        assert_eq!(pixels.first(), Some(&[228; 3]));
        assert_eq!(pixels.get(32 * 64 + 32), Some(&[168; 3]));
        assert!(pixels.iter().any(|[gray, ..]| (169..228).contains(gray)));
    }
}
