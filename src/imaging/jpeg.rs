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
mod scaled;
mod scan;
mod segments;
mod tables;
#[cfg(test)]
mod tests;
mod transform;
mod turbo;

pub(super) use header::Header;
pub(super) use scaled::Scaled;
pub(super) use turbo::Turbo;

/// What a decoder must leave for the fine resize. With less, its own rough filter is visible; measured on photos at 1.25:
/// 43 dB and more.
const REDUCTION_LEFT_MIN: f64 = 1.25;

/// Most scans of a file. Encoders write about ten; each costs a pass over the picture, however short its data.
const SCANS_MAX: u32 = 100;

/// Why a file is left to libjpeg-turbo.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0}")]
pub(super) struct Declined(&'static str);

/// In how many eighths of its size a component is decoded (1, 2, 3, 4 or 8), given how many of its samples become one.
fn eighths(reduction: f64) -> u8 {
    [1, 2, 3, 4]
        .into_iter()
        .find(|eighths| reduction * f64::from(*eighths) / 8.0 >= REDUCTION_LEFT_MIN)
        .unwrap_or(8)
}
