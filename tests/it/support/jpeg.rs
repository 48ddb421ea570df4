//! Looks into a JPEG: which segments it has, and which colours where.

use image::ImageFormat;

/// A decoded picture.
#[derive(Clone, Debug)]
pub struct Pixels {
    pub width: usize,
    pub height: usize,
    rgb: Vec<u8>,
}

impl Pixels {
    /// By another decoder than the one that belongs to the server's encoder.
    pub fn decode(jpeg: &[u8]) -> Self {
        let image = image::load_from_memory_with_format(jpeg, ImageFormat::Jpeg)
            .expect("a JPEG that decodes");
        let image = image.into_rgb8();
        Self {
            width: image.width() as usize,
            height: image.height() as usize,
            rgb: image.into_raw(),
        }
    }

    /// Mean colour of a rectangle, given in fractions of width and height.
    pub fn mean(&self, left: f64, top: f64, right: f64, bottom: f64) -> [u8; 3] {
        let span = |from: f64, to: f64, length: usize| {
            let from = ((from * length as f64) as usize).min(length - 1);
            from..((to * length as f64).ceil() as usize).clamp(from + 1, length)
        };
        let mut sums = [0_u64; 3];
        let columns = span(left, right, self.width);
        let rows = span(top, bottom, self.height);
        for y in rows.clone() {
            for x in columns.clone() {
                let at = (y * self.width + x) * 3;
                for (sum, value) in sums.iter_mut().zip(&self.rgb[at..at + 3]) {
                    *sum += u64::from(*value);
                }
            }
        }
        let count = (columns.len() * rows.len()) as u64;
        sums.map(|sum| ((sum + count / 2) / count) as u8)
    }

    /// Mean colour around a point, given in fractions.
    pub fn around(&self, x: f64, y: f64, radius: f64) -> [u8; 3] {
        self.mean(x - radius, y - radius, x + radius, y + radius)
    }

    /// Mean colours around the centres of the quadrants, row by row.
    pub fn quadrants(&self) -> Vec<[u8; 3]> {
        let centres = [(0.25, 0.25), (0.75, 0.25), (0.25, 0.75), (0.75, 0.75)];
        centres.map(|(x, y)| self.around(x, y, 0.1)).to_vec()
    }

    /// Colours just inside the corners, row by row.
    pub fn corners(&self) -> Vec<[u8; 3]> {
        let corners = [(0.04, 0.04), (0.96, 0.04), (0.04, 0.96), (0.96, 0.96)];
        corners.map(|(x, y)| self.around(x, y, 0.015)).to_vec()
    }

    /// Mean colours of equal parts, `side` by `side`, row by row.
    pub fn grid(&self, side: usize) -> Vec<[u8; 3]> {
        let edge = |at: usize| at as f64 / side as f64;
        let cells = (0..side * side).map(|cell| (cell % side, cell / side));
        cells
            .map(|(x, y)| self.mean(edge(x), edge(y), edge(x + 1), edge(y + 1)))
            .collect()
    }
}

/// The largest difference of any channel.
pub fn difference(one: &[[u8; 3]], other: &[[u8; 3]]) -> u8 {
    assert_eq!(one.len(), other.len());
    let pairs = one.iter().flatten().zip(other.iter().flatten());
    pairs
        .map(|(one, other)| one.abs_diff(*other))
        .max()
        .unwrap_or(0)
}

#[track_caller]
pub fn assert_colors(found: &[[u8; 3]], expected: &[[u8; 3]], tolerance: u8, what: &str) {
    let hex = |colors: &[[u8; 3]]| {
        let words = colors
            .iter()
            .map(|[red, green, blue]| format!("{red:02x}{green:02x}{blue:02x}"));
        words.collect::<Vec<_>>().join(" ")
    };
    let off = difference(found, expected);
    assert!(
        off <= tolerance,
        "{what}: off by {off}: found {}, expected {}",
        hex(found),
        hex(expected)
    );
}

/// The markers of a JPEG in order, with what follows each up to its stated length.
pub fn segments(jpeg: &[u8]) -> Vec<(u8, &[u8])> {
    assert_eq!(&jpeg[..2], b"\xFF\xD8", "a JPEG begins with SOI");
    let mut found = vec![(0xD8, &jpeg[..0])];
    let mut at = 2;
    loop {
        assert_eq!(jpeg[at], 0xFF, "a marker at {at}");
        let marker = jpeg[at + 1];
        at += 2;
        if marker == 0xD9 {
            found.push((marker, &jpeg[at..]));
            return found;
        }
        let length = usize::from(u16::from_be_bytes([jpeg[at], jpeg[at + 1]]));
        found.push((marker, &jpeg[at + 2..at + length]));
        at += length;
        if marker == 0xDA {
            // Coded data: ends at a marker that is neither a stuffed byte nor a restart.
            while jpeg[at] != 0xFF || matches!(jpeg[at + 1], 0 | 0xD0..=0xD7) {
                at += 1;
            }
        }
    }
}

/// Whether the picture is progressive.
pub fn is_progressive(jpeg: &[u8]) -> bool {
    segments(jpeg).iter().any(|(marker, _)| *marker == 0xC2)
}

/// Asserts that a rendition is nothing but a picture: no EXIF, no profile, no comment, nothing behind its end.
#[track_caller]
pub fn assert_clean(jpeg: &[u8], what: &str) {
    for (marker, content) in segments(jpeg) {
        match marker {
            0xD8 | 0xDB | 0xC0 | 0xC2 | 0xC4 | 0xDD | 0xDA => {}
            0xD9 => assert!(content.is_empty(), "{what}: bytes behind the end"),
            0xE0 => assert!(
                content.starts_with(b"JFIF\0") && content.len() == 14,
                "{what}: APP0 {content:?}"
            ),
            other => panic!("{what}: segment {other:#04x} of {} bytes", content.len()),
        }
    }
}
