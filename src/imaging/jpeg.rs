//! JPEG: the header, and the decoders behind it. Every decoder delivers the picture at an eighth, a quarter, half or all
//! of its size, whichever is the smallest that the renditions can be made of.

mod header;
mod segments;
mod turbo;

pub(super) use header::Header;
pub(super) use turbo::Turbo;

use crate::imaging::raster::Request;

/// What a decoder must leave for the fine resize. With less, its own rough filter is visible; measured on photos at 1.25:
/// 43 dB and more.
const REDUCTION_LEFT_MIN: f64 = 1.25;

/// In how many eighths of its size a picture is decoded: 1, 2, 4 or 8.
fn eighths(request: &Request) -> u8 {
    [1, 2, 4]
        .into_iter()
        .find(|eighths| request.reduction() * f64::from(*eighths) / 8.0 >= REDUCTION_LEFT_MIN)
        .unwrap_or(8)
}
