//! multipart/form-data in pieces of any length. The boundary is `X`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    if let [piece, body @ ..] = input {
        pockitd::http::fuzzing::form(body, *piece);
    }
});
