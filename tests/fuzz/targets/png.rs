//! Chunks and rows of PNG files.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    if let [side, file @ ..] = input {
        pockitd::imaging::fuzzing::png(file, *side);
    }
});
