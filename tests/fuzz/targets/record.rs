//! Stored records: any bytes are an error or a value; what was damaged is never a value.
#![no_main]

use pockitd::storage::record;
use pockitd::storage::record::{
    AccountRecord, CountsRecord, EmailRecord, IdempotencyRecord, PictureRecord, ProfileRecord,
    Record, SchemaRecord, SequenceRecord,
};

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    if let [version, payload @ ..] = input {
        each::<AccountRecord>(*version, payload);
        each::<EmailRecord>(*version, payload);
        each::<IdempotencyRecord>(*version, payload);
        each::<PictureRecord>(*version, payload);
        each::<ProfileRecord>(*version, payload);
        each::<SchemaRecord>(*version, payload);
        each::<CountsRecord>(*version, payload);
        each::<SequenceRecord>(*version, payload);
    }
});

/// Behind the checksum, where the fuzzer would not come otherwise; then in front of it.
fn each<T: Record>(version: u8, payload: &[u8]) {
    if let Ok(value) = T::from_payload(version, payload) {
        let stored = record::encode(b"key", &value).expect("a value that was read can be written");
        assert!(record::decode::<T>(b"key", &stored).is_ok());
        assert!(record::decode::<T>(b"another key", &stored).is_err());
    }
    assert!(
        record::decode::<T>(b"key", payload).is_err(),
        "a checksum was guessed"
    );
}
