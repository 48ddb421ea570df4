//! Paths of requests.
#![no_main]

libfuzzer_sys::fuzz_target!(|path: &str| pockitd::http::fuzzing::route(path));
