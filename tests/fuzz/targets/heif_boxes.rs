//! The walk through the boxes of a HEIF file that decides whether libheif may see it.
#![no_main]

libfuzzer_sys::fuzz_target!(|file: &[u8]| pockitd::imaging::fuzzing::heif_boxes(file));
