//! Round trips, damage, migration and the frozen shape of every record.

use std::fmt::Debug;

use proptest::prelude::*;

use super::*;
use crate::domain::Timestamp;
use crate::domain::picture::Applied;
use crate::domain::picture::PictureId;
use crate::domain::user::UserId;
use crate::storage::record::account::AccountRecordV1;
use crate::storage::record::profile::ShownPicture;
use crate::storage::upkeep::KeyedUpload;

/// Version 1 of a record that exists for these tests only.
#[derive(Debug, serde::Deserialize, Serialize)]
struct NoteV1 {
    text: String,
}

impl Record for NoteV1 {
    const KIND: &'static str = "note";
    const VERSION: u8 = 1;
    type Previous = First;

    fn migrate(previous: First) -> Self {
        match previous {}
    }
}

/// Version 2: the text in lines.
#[derive(Debug, Eq, PartialEq, serde::Deserialize, Serialize)]
struct NoteV2 {
    lines: Vec<String>,
}

impl Record for NoteV2 {
    const KIND: &'static str = "note";
    const VERSION: u8 = 2;
    type Previous = NoteV1;

    fn migrate(previous: NoteV1) -> Self {
        Self {
            lines: previous.text.lines().map(str::to_owned).collect(),
        }
    }
}

fn account() -> impl Strategy<Value = AccountRecord> {
    ("[a-z]{1,20}", any::<Option<String>>(), any::<i64>()).prop_map(|(name, hash, micros)| {
        AccountRecord {
            email: (name.len() > 1).then(|| format!("{name}@example.org").parse().unwrap()),
            password_hash: hash,
            created_at: Timestamp::from_micros(micros),
        }
    })
}

fn shown_picture() -> impl Strategy<Value = ShownPicture> {
    (
        any::<([u8; 16], u16, u16)>(),
        any::<(Vec<u16>, Vec<u8>)>(),
        any::<i64>(),
    )
        .prop_map(
            |((id, width, height), (sizes_px, thumbhash), micros)| ShownPicture {
                id: PictureId::from_random(id),
                width,
                height,
                sizes_px,
                thumbhash,
                applied: vec![Applied::Cropped, Applied::MetadataRemoved],
                uploaded_at: Timestamp::from_micros(micros),
            },
        )
}

fn profile() -> impl Strategy<Value = ProfileRecord> {
    (
        "[a-zäöü]{1,50}",
        proptest::option::of(shown_picture()),
        any::<(i64, i64)>(),
    )
        .prop_map(|(name, picture, (created, updated))| ProfileRecord {
            name: name.parse().unwrap(),
            picture,
            created_at: Timestamp::from_micros(created),
            updated_at: Timestamp::from_micros(updated),
        })
}

fn picture() -> impl Strategy<Value = PictureRecord> {
    let blob = any::<(u16, u64, u128)>().prop_map(|(size_px, length, checksum)| BlobRecord {
        size_px,
        length,
        checksum,
    });
    (
        "[!-~]{1,128}",
        any::<i64>(),
        proptest::collection::vec(blob, 0..8),
    )
        .prop_map(|(owner, micros, blobs)| PictureRecord {
            owner: owner.parse().unwrap(),
            uploaded_at: Timestamp::from_micros(micros),
            original: blobs.first().copied(),
            crop: None,
            recipe: u64::try_from(micros).ok(),
            blobs,
        })
}

fn idempotency() -> impl Strategy<Value = IdempotencyRecord> {
    let upload =
        any::<(String, String, i64)>().prop_map(|(key, upload, micros)| KeyedUploadRecord {
            key,
            upload,
            stored_at: Timestamp::from_micros(micros),
        });
    proptest::collection::vec(upload, 0..9).prop_map(|uploads| IdempotencyRecord { uploads })
}

fn comes_back<T: Record + Debug + PartialEq>(key: &[u8], record: &T) {
    let bytes = encode(key, record).unwrap();

    assert_eq!(decode::<T>(key, &bytes).as_ref(), Ok(record));
}

proptest! {
    #[test]
    fn record_comes_back_as_it_was_written(
        key: Vec<u8>,
        account in account(),
        profile in profile(),
        picture in picture(),
        keys in idempotency(),
        numbers: (u32, u64, u64),
    ) {
        comes_back(&key, &account);
        comes_back(&key, &profile);
        comes_back(&key, &picture);
        comes_back(&key, &keys);
        comes_back(&key, &SchemaRecord { version: numbers.0 });
        comes_back(&key, &CountsRecord { users: numbers.1, pictures: numbers.2 });
        comes_back(&key, &SequenceRecord { commits: numbers.1 });
    }

    #[test]
    fn arbitrary_bytes_are_an_error(key: Vec<u8>, bytes: Vec<u8>) {
        prop_assert!(decode::<AccountRecord>(&key, &bytes).is_err());
        prop_assert!(decode::<ProfileRecord>(&key, &bytes).is_err());
        prop_assert!(decode::<PictureRecord>(&key, &bytes).is_err());
        prop_assert!(decode::<IdempotencyRecord>(&key, &bytes).is_err());
    }

    #[test]
    fn arbitrary_payload_with_a_right_checksum_does_not_panic(version: u8, payload: Vec<u8>) {
        let mut bytes = vec![version];
        bytes.extend_from_slice(&checksum::<ProfileRecord>(b"key", version, &payload).to_be_bytes());
        bytes.extend_from_slice(&payload);

        prop_assert!(decode::<ProfileRecord>(b"key", &bytes).is_err());
    }

    #[test]
    fn changed_bit_is_an_error(record in picture(), place: prop::sample::Index, bit in 0..8_u8) {
        let mut bytes = encode(b"key", &record).unwrap();
        let place = place.index(bytes.len());
        bytes[place] ^= 1 << bit;

        prop_assert_eq!(decode::<PictureRecord>(b"key", &bytes), Err(Error::Checksum { kind: "picture" }));
    }
}

#[test]
fn record_under_another_key_or_of_another_kind_is_an_error() {
    let bytes = encode(b"ada", &CountsRecord::default()).unwrap();

    assert_eq!(
        decode::<CountsRecord>(b"bob", &bytes),
        Err(Error::Checksum { kind: "counts" })
    );
    assert_eq!(
        decode::<SequenceRecord>(b"ada", &bytes),
        Err(Error::Checksum { kind: "sequence" })
    );
}

#[test]
fn old_version_is_moved_forward_and_a_newer_one_is_refused() {
    let old = encode(
        b"key",
        &NoteV1 {
            text: "a\nb".to_owned(),
        },
    )
    .unwrap();
    let new = encode(b"key", &NoteV2 { lines: vec![] }).unwrap();

    assert_eq!(
        decode(b"key", &old),
        Ok(NoteV2 {
            lines: vec!["a".to_owned(), "b".to_owned()]
        })
    );
    assert_eq!(version(&old), Some(1));
    assert_eq!(
        decode::<NoteV1>(b"key", &new).map(|note| note.text),
        Err(Error::Version {
            kind: "note",
            found: 2,
            known: 1
        })
    );
}

/// These texts are in stores out there. A test that fails here asks for a new version, not for a new text.
#[test]
fn payloads_of_version_1_keep_their_shape() {
    let owner: UserId = "42".parse().unwrap();
    let at = Timestamp::from_micros(1_769_846_950_000_123);
    let shown = ShownPicture {
        id: PictureId::from_random([0xAB; 16]),
        width: 512,
        height: 512,
        sizes_px: vec![512, 128],
        thumbhash: vec![1, 2],
        applied: vec![
            Applied::Rotated,
            Applied::Cropped,
            Applied::Padded,
            Applied::Enlarged,
            Applied::Srgb,
            Applied::Flattened,
            Applied::DepthReduced,
            Applied::MetadataRemoved,
            Applied::FallbackDecoder,
        ],
        uploaded_at: at,
    };
    let blobs = vec![BlobRecord {
        size_px: 512,
        length: 50_000,
        checksum: 0xF00,
    }];

    let payload = |bytes: Vec<u8>| String::from_utf8(bytes[HEAD_BYTES..].to_vec()).unwrap();
    let email = "Ada@example.org".parse().ok();
    let account = AccountRecord {
        email,
        password_hash: None,
        created_at: at,
    };
    assert_eq!(
        payload(encode(b"42", &account).unwrap()),
        r#"{"email":"Ada@example.org","password_hash":null,"created_at":1769846950000123}"#
    );
    let name = "Ada".parse().unwrap();
    let profile = ProfileRecord {
        name,
        picture: Some(shown),
        created_at: at,
        updated_at: at,
    };
    assert_eq!(
        payload(encode(b"42", &profile).unwrap()),
        concat!(
            r#"{"name":"Ada","picture":{"id":"abababababababababababababababab","width":512,"height":512,"#,
            r#""sizes_px":[512,128],"thumbhash":[1,2],"applied":["rotated","cropped","padded","enlarged","srgb","#,
            r#""flattened","depth_reduced","metadata_removed","fallback_decoder"],"uploaded_at":1769846950000123},"#,
            r#""created_at":1769846950000123,"updated_at":1769846950000123}"#
        )
    );
    assert_eq!(
        payload(
            encode(
                b"id",
                &PictureRecordV1 {
                    owner,
                    uploaded_at: at,
                    blobs
                }
            )
            .unwrap()
        ),
        concat!(
            r#"{"owner":"42","uploaded_at":1769846950000123,"blobs":[{"size_px":512,"length":50000,"#,
            r#""checksum":"00000000000000000000000000000f00"}]}"#
        )
    );
}

/// The same of the idempotency keys of a user.
#[test]
fn payload_of_version_1_of_idempotency_keys_keeps_its_shape() {
    let mut record = IdempotencyRecord::default();
    let upload = KeyedUpload {
        key: "a1".to_owned(),
        upload: "b2".to_owned(),
        stored_at: Timestamp::from_micros(1_769_846_950_000_123),
    };
    record.add(&upload, Timestamp::from_micros(0));

    let bytes = encode(b"42", &record).unwrap();

    assert_eq!(
        String::from_utf8(bytes[HEAD_BYTES..].to_vec()).unwrap(),
        r#"{"uploads":[{"key":"a1","upload":"b2","stored_at":1769846950000123}]}"#
    );
    let found: IdempotencyRecord = decode(b"42", &bytes).unwrap();
    assert_eq!(found.find("a1"), Some(upload));
    assert_eq!(record.find("b2"), None);
}

/// A leaf of sled's tree has up to 17 values, which must stay below half a segment.
#[test]
fn largest_record_of_idempotency_keys_is_small() {
    let mut record = IdempotencyRecord::default();
    for number in 0..100 {
        let upload = KeyedUpload {
            key: format!("{number:064}"),
            upload: "f".repeat(64),
            stored_at: Timestamp::from_micros(i64::MAX),
        };
        record.add(&upload, Timestamp::from_micros(0));
    }

    assert_eq!(record.uploads.len(), KeyedUpload::KEPT_MAX);
    let bytes = encode(&[b'u'; 128], &record).unwrap().len();
    assert!(bytes < 2_048, "{bytes}");
}

/// The same of the second version of a picture.
#[test]
fn payload_of_version_2_of_a_picture_keeps_its_shape() {
    let blob = BlobRecord {
        size_px: 512,
        length: 50_000,
        checksum: 0xF00,
    };
    let crop = Some("1,2,3,4".parse().unwrap());
    let second = PictureRecord {
        owner: "42".parse().unwrap(),
        uploaded_at: Timestamp::from_micros(1_769_846_950_000_123),
        blobs: vec![],
        original: Some(blob),
        crop,
        recipe: Some(u64::MAX),
    };
    let bytes = encode(b"id", &second).unwrap();
    assert_eq!(
        String::from_utf8(bytes[HEAD_BYTES..].to_vec()).unwrap(),
        concat!(
            r#"{"owner":"42","uploaded_at":1769846950000123,"blobs":[],"#,
            r#""original":{"size_px":512,"length":50000,"checksum":"00000000000000000000000000000f00"},"#,
            r#""crop":{"x":1,"y":2,"width":3,"height":4},"recipe":18446744073709551615}"#
        )
    );
}

#[test]
fn picture_of_version_1_has_no_upload_and_no_recipe() {
    let old = PictureRecordV1 {
        owner: "42".parse().unwrap(),
        uploaded_at: Timestamp::from_micros(7),
        blobs: vec![],
    };
    let bytes = encode(b"id", &old).unwrap();

    let moved: PictureRecord = decode(b"id", &bytes).unwrap();

    assert_eq!(
        (moved.original, moved.crop, moved.recipe),
        (None, None, None)
    );
    assert_eq!(
        (moved.owner, moved.uploaded_at),
        (old.owner, old.uploaded_at)
    );
    // A program that knows version 1 only does not take version 2 for it.
    let newer = encode(b"id", &moved_without_blobs()).unwrap();
    assert!(matches!(
        decode::<PictureRecordV1>(b"id", &newer),
        Err(Error::Version { found: 2, .. })
    ));
}

fn moved_without_blobs() -> PictureRecord {
    PictureRecord {
        owner: "42".parse().unwrap(),
        uploaded_at: Timestamp::from_micros(7),
        blobs: vec![],
        original: None,
        crop: None,
        recipe: None,
    }
}

#[test]
fn encoded_record_of_version_1_keeps_its_bytes() {
    let bytes = encode(b"schema", &SchemaRecord { version: 1 }).unwrap();

    let (head, payload) = bytes.split_at(HEAD_BYTES);
    let checksum = 0x0bcc_a57e_a318_7401_ded1_76a7_1e22_012d_u128;
    assert_eq!(head, [[1].as_slice(), &checksum.to_be_bytes()].concat());
    assert_eq!(payload, br#"{"version":1}"#);
}

#[test]
fn account_of_version_1_is_read_and_moved_forward() {
    let created_at = Timestamp::from_micros(1_769_846_950_000_123);
    let old = AccountRecordV1 {
        email: "Ada@example.org".parse().unwrap(),
        password_hash: None,
        created_at,
    };
    let bytes = encode(b"42", &old).unwrap();

    assert_eq!(version(&bytes), Some(1));
    assert_eq!(
        &bytes[HEAD_BYTES..],
        br#"{"email":"Ada@example.org","password_hash":null,"created_at":1769846950000123}"#
    );
    let new = AccountRecord {
        email: Some(old.email),
        password_hash: None,
        created_at,
    };
    assert_eq!(decode::<AccountRecord>(b"42", &bytes), Ok(new));
}
