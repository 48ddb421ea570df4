//! The orientation tag of EXIF data, as written: any number, but the same for the same bytes.
#![no_main]

use pockitd::imaging::fuzzing::orientation;

libfuzzer_sys::fuzz_target!(|tiff: &[u8]| assert_eq!(orientation(tiff), orientation(tiff)));
