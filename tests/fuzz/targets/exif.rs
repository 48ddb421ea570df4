//! The orientation tag of EXIF data.
#![no_main]

libfuzzer_sys::fuzz_target!(|tiff: &[u8]| {
    if let Some(orientation) = pockitd::imaging::fuzzing::orientation(tiff) {
        assert!((1..=8).contains(&orientation), "{orientation}");
    }
});
