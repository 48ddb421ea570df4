//! Holds what a server delivers for a profile against what should have become of an upload.

use serde_json::Value;

use super::Server;
use super::fixtures::Expected;
use super::jpeg::{Pixels, assert_clean, assert_colors};

/// Largest difference of a channel that encoding twice explains, measured on means of flat areas.
pub const TOLERANCE: u8 = 8;
/// The same just inside a corner of a picture whose cut-off edge is black.
const CORNER_TOLERANCE: u8 = 28;

/// Asserts that both files are clean squares of 512 and 128 pixels with the colours of the row.
#[track_caller]
pub fn assert_delivered(server: &Server, profile: &Value, expected: &Expected) {
    let (large, small) = server.pictures(profile);
    for (bytes, side) in [(large, 512), (small, 128)] {
        let what = format!("{} at {side}", expected.file);
        assert_clean(&bytes, &what);
        let picture = Pixels::decode(&bytes);
        assert_eq!((picture.width, picture.height), (side, side), "{what}");
        assert_colors(&picture.quadrants(), &expected.quadrants, TOLERANCE, &what);
        // The colours of a fading quadrant are not those of its centre.
        if !expected.file.contains("alpha") {
            assert_colors(
                &picture.corners(),
                &expected.quadrants,
                CORNER_TOLERANCE,
                &format!("{what}, corners"),
            );
        }
    }
}
