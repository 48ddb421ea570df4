//! The `Authorization` field and the token in it: nothing is accepted that was not signed here.
#![no_main]

use pockitd::auth::token::{Kind, Tokens};
use pockitd::config::Secret;
use pockitd::domain::Timestamp;

libfuzzer_sys::fuzz_target!(|field: &[u8]| {
    let Some(token) = pockitd::http::fuzzing::bearer(field) else {
        return;
    };
    let secret: Secret = "0123456789abcdef0123456789abcdef".to_owned().into();
    let Ok(tokens) = Tokens::new(&secret, 30) else {
        return;
    };
    for kind in [Kind::Access, Kind::Refresh] {
        let verdict = tokens.verify(&token, kind, Timestamp::from_micros(0));
        assert!(verdict.is_err(), "a forged token is accepted");
    }
});
