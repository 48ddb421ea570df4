//! JPEG: the header, and the decoders behind it.
//!
//! Photos are decoded by `scaled`, our own decoder: in safe Rust, straight to the scale that is needed, and only what is
//! shown. Whatever it declines (CMYK, arithmetic coding, odd sampling, every doubt about the data) is decoded by
//! libjpeg-turbo, which also decides what is damaged.

mod baseline;
mod bits;
mod frame;
mod header;
mod huffman;
mod lookahead;
mod planes;
mod progressive;
mod reader;
mod scaled;
mod scan;
mod segments;
mod stripped;
mod tables;
#[cfg(test)]
mod tests;
mod transform;
mod turbo;

pub(super) use header::Header;
pub(super) use scaled::Scaled;
pub(super) use turbo::Turbo;

/// A scale in eighths, and what it must leave for the fine resize.
type Left = (u8, f64);

/// What the scales of luma must leave. With less, their own rough filter is visible: in fine lines first, where photos lose
/// nothing (43 dB and more at 1.25). Half serves files so small that all of it costs little; three eighths would be worse
/// than half for hardly less.
const LEFT_OF_LUMA: &[Left] = &[(1, 1.25), (2, 1.25), (4, 1.5)];

/// What those of colour differences must leave.
const LEFT_OF_DIFFERENCES: &[Left] = &[(1, 1.25), (2, 1.25), (3, 1.25), (4, 1.25)];

/// Most scans of a file. Encoders write about ten; each costs a pass over the picture, however short its data.
const SCANS_MAX: u32 = 100;

/// Why a file is left to libjpeg-turbo.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0}")]
pub(super) struct Declined(&'static str);

/// In how many eighths of its size a component is decoded (1, 2, 3, 4 or 8), given how many of its samples become one, and
/// what each scale must leave.
fn eighths(reduction: f64, scales: &[Left]) -> u8 {
    let found = scales
        .iter()
        .find(|(eighths, left)| reduction * f64::from(*eighths) / 8.0 >= *left);
    found.map_or(8, |(eighths, _)| *eighths)
}
