//! Header and claims of a token whose signature is right, one line each: what is accepted must say what is asked for.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let mut parts = input.splitn(2, |byte| *byte == b'\n');
    if let (Some(header), Some(claims)) = (parts.next(), parts.next()) {
        let _ = pockitd::auth::fuzzing::signed(header, claims);
    }
});
