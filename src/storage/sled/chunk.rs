//! How a rendition is cut into chunks, found again and put together.
//!
//! The keys of a chunk begin with its user, so that what one upload adds and removes lies on neighbouring pages.
//! User ids have no control characters, so the zero behind one ends it, and no id's keys begin with another's.

use crate::domain::picture::Picture;
use crate::domain::picture::PictureId;
use crate::domain::picture::Rendition;
use crate::domain::user::UserId;
use crate::storage::Error;
use crate::storage::record::BlobRecord;
use crate::storage::sled::engine::CHUNK_BYTES;

/// What all keys of a picture's chunks begin with.
pub(super) fn picture_prefix(owner: &UserId, picture: PictureId) -> Vec<u8> {
    [owner.as_str().as_bytes(), &[0], picture.as_bytes()].concat()
}

/// What all keys of a rendition's chunks begin with.
pub(super) fn rendition_prefix(owner: &UserId, picture: PictureId, size_px: u16) -> Vec<u8> {
    let mut prefix = picture_prefix(owner, picture);
    prefix.extend_from_slice(&size_px.to_be_bytes());
    prefix
}

/// The chunks of a rendition that is to be stored: keys and values.
pub(super) fn cut<'r>(
    owner: &UserId,
    picture: PictureId,
    rendition: &'r Rendition,
) -> impl Iterator<Item = (Vec<u8>, &'r [u8])> + use<'r> {
    let prefix = rendition_prefix(owner, picture, rendition.size_px);
    (0_u32..)
        .zip(rendition.bytes.chunks(CHUNK_BYTES))
        .map(move |(number, bytes)| (key(&prefix, number), bytes))
}

/// The keys of the chunks of a stored rendition.
pub(super) fn keys(
    owner: &UserId,
    picture: PictureId,
    blob: BlobRecord,
) -> impl Iterator<Item = Vec<u8>> + use<> {
    let count = usize::try_from(count(blob)).unwrap_or(usize::MAX);
    keys_from_first(owner, picture, blob.size_px).take(count)
}

/// The keys that the chunks of a rendition may have, however many there are.
pub(super) fn keys_from_first(
    owner: &UserId,
    picture: PictureId,
    size_px: u16,
) -> impl Iterator<Item = Vec<u8>> + use<> {
    let prefix = rendition_prefix(owner, picture, size_px);
    (0_u32..).map(move |number| key(&prefix, number))
}

/// How many chunks a rendition of that length has.
pub(super) fn count(blob: BlobRecord) -> u32 {
    let bytes = u64::try_from(CHUNK_BYTES).unwrap_or(u64::MAX);
    u32::try_from(blob.length.div_ceil(bytes)).unwrap_or(u32::MAX)
}

/// What the key of a chunk says: user, picture, size and number.
pub(super) fn parse(key: &[u8]) -> Option<(UserId, PictureId, u16, u32)> {
    let end = key.iter().position(|byte| *byte == 0)?;
    let (user, rest) = key.split_at_checked(end)?;
    let user = std::str::from_utf8(user).ok()?.parse().ok()?;
    let (_, rest) = rest.split_first()?;
    let (picture, rest) = rest.split_first_chunk::<16>()?;
    let (size_px, rest) = rest.split_first_chunk::<2>()?;
    let number: [u8; 4] = rest.try_into().ok()?;
    Some((
        user,
        PictureId::from_random(*picture),
        u16::from_be_bytes(*size_px),
        u32::from_be_bytes(number),
    ))
}

fn key(prefix: &[u8], number: u32) -> Vec<u8> {
    [prefix, &number.to_be_bytes()].concat()
}

/// Whether a picture names the sizes that its renditions have, in their order.
///
/// # Errors
///
/// [`Error::Io`]: a mistake of the caller.
pub(super) fn check_sizes(picture: &Picture, renditions: &[Rendition]) -> Result<(), Error> {
    let sizes = renditions.iter().map(|rendition| &rendition.size_px);
    if sizes.eq(&picture.sizes_px) {
        return Ok(());
    }
    Err(Error::Io {
        attempt: "store a picture",
        source: std::sync::Arc::new(SizesDiffer),
    })
}

/// A picture that names other sizes than its renditions have: a mistake of the caller.
#[derive(Debug, thiserror::Error)]
#[error("its renditions are not those that it names")]
struct SizesDiffer;

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn rendition(length: usize) -> Rendition {
        let bytes = (0..length).map(|place| u8::try_from(place % 251).unwrap());
        Rendition {
            size_px: 512,
            bytes: bytes.collect(),
        }
    }

    #[test]
    fn chunks_have_the_keys_that_the_manifest_gives_and_the_bytes_of_the_rendition() {
        let owner: UserId = "ada".parse().unwrap();
        let picture = PictureId::from_random([1; 16]);
        for (length, chunks) in [
            (0, 0),
            (1, 1),
            (CHUNK_BYTES, 1),
            (CHUNK_BYTES + 1, 2),
            (50_000, 7),
        ] {
            let rendition = rendition(length);

            let cut: Vec<_> = cut(&owner, picture, &rendition).collect();

            let blob = BlobRecord::of(&rendition);
            assert_eq!(cut.len(), chunks);
            assert_eq!(
                cut.iter().map(|(key, _)| key.clone()).collect::<Vec<_>>(),
                keys(&owner, picture, blob).collect::<Vec<_>>()
            );
            assert_eq!(
                cut.iter()
                    .flat_map(|(_, bytes)| *bytes)
                    .copied()
                    .collect::<Bytes>(),
                rendition.bytes
            );
            assert!(cut.is_sorted());
            for ((key, _), number) in cut.iter().zip(0..) {
                let parsed = parse(key).unwrap();
                assert_eq!(parsed, (owner.clone(), picture, 512, number));
                assert_eq!(parse(&key[1..key.len() - 1]), None);
            }
        }
    }

    #[test]
    fn keys_of_a_user_whose_id_begins_with_anothers_are_apart() {
        let picture = PictureId::from_random([1; 16]);
        let prefix = |user: &str| picture_prefix(&user.parse().unwrap(), picture);

        assert!(!prefix("ada2").starts_with(b"ada\0"));
        assert!(prefix("ada").starts_with(b"ada\0"));
    }
}
