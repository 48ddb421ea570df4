//! Headers, tables and scans of JPEG files, baseline and progressive, at every scale.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    if let [side, file @ ..] = input {
        pockitd::imaging::fuzzing::jpeg(file, *side);
    }
});
