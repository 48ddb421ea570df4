//! Raw HTTP/1.1: the verdict does not depend on how the bytes arrive.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    if let [piece, bytes @ ..] = input {
        pockitd::http::fuzzing::framing(bytes, *piece);
    }
});
