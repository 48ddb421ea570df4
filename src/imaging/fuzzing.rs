//! Doors for the fuzzer to readers that are private otherwise. Built for it, and for tests, so that it stays
//! buildable.
//!
//! Everything behind these doors is safe Rust: C and C++ have fuzzers of their own, and run in locked-in processes.

use crate::imaging::exif;
use crate::imaging::geometry::Region;
use crate::imaging::geometry::Size;
use crate::imaging::heif::boxes;
use crate::imaging::jpeg::{Header, Scaled};
use crate::imaging::png;
use crate::imaging::probe;
use crate::imaging::raster::Request;

/// Pictures beyond this many pixels cost time and find nothing that smaller ones do not.
const PIXELS_MAX: u64 = 1 << 20;

/// The header, then every scan at the scales that leave `side` pixels.
pub fn jpeg(file: &[u8], side: u8) {
    let Ok(header) = Header::read(file) else {
        return;
    };
    if let Some(request) = request(header.size, side) {
        drop(Scaled::default().decode(file, &header, &request));
    }
}

/// Chunks, colour space, rows of every pass.
pub fn png(file: &[u8], side: u8) {
    let Ok(source) = png::Source::open(file) else {
        return;
    };
    if let Some(request) = request(source.size(), side) {
        drop(source.decode(&request));
    }
}

/// The walk through the boxes, before libheif sees the file.
pub fn heif_boxes(file: &[u8]) {
    drop(probe::format(file));
    drop(boxes::check_primary_image(file));
}

/// The orientation tag.
#[must_use]
pub fn orientation(tiff: &[u8]) -> Option<u32> {
    exif::orientation(tiff)
}

/// What is asked of a decoder for a square of `side` pixels out of the middle.
fn request(whole: Size, side: u8) -> Option<Request> {
    let pixels = u32::from(side.max(1));
    let length = f64::from(whole.width.min(whole.height));
    (whole.pixels() <= PIXELS_MAX).then(|| Request {
        source: Region::whole(whole).centred(length, length),
        target: Size::square(pixels),
    })
}
