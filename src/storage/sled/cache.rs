//! Recently served renditions, bounded in bytes.
//!
//! An entry must be gone once its picture is: a picture's old URL answers 404 from the moment on at which the new one
//! is acknowledged. Removing entries is not enough for that, as a reader may have loaded a rendition before the
//! replacement and put it in afterwards. So each reader takes a [`Ticket`] before it looks, and a removal makes all
//! earlier tickets for the picture void.

use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use quick_cache::Weighter;
use quick_cache::sync::Cache;

use crate::domain::picture::PictureId;
use crate::storage::StoredRendition;

/// Locks for the pictures; those of equal ids modulo this number share one. Enough that two threads rarely meet.
const STRIPES: usize = 64;

/// Size that the number of entries is estimated with, in bytes: between a thumbnail and a picture of 512 pixels.
const ENTRY_BYTES_TYPICAL: u64 = 16 * 1_024;

/// Bytes that an entry takes beside the file: key, checksum, time, table slots.
const ENTRY_BYTES_EXTRA: u64 = 160;

type Key = (PictureId, u16);

#[derive(Clone, Debug)]
struct ByBytes;

impl Weighter<Key, StoredRendition> for ByBytes {
    fn weight(&self, _: &Key, rendition: &StoredRendition) -> u64 {
        u64::try_from(rendition.bytes.len())
            .unwrap_or(u64::MAX)
            .saturating_add(ENTRY_BYTES_EXTRA)
    }
}

/// The cache.
#[derive(Debug)]
pub(super) struct RenditionCache {
    entries: Cache<Key, StoredRendition, ByBytes>,
    /// Removals so far, a stripe of pictures each.
    removals: [Mutex<u64>; STRIPES],
}

/// The right to put in what is looked up from now on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ticket {
    picture: PictureId,
    removals: u64,
}

impl RenditionCache {
    /// An empty cache that takes at most so many bytes.
    pub(super) fn new(bytes_max: u64) -> Self {
        let entries = usize::try_from(bytes_max / ENTRY_BYTES_TYPICAL).unwrap_or(usize::MAX);
        Self {
            entries: Cache::with_weighter(entries, bytes_max, ByBytes),
            removals: std::array::from_fn(|_| Mutex::new(0)),
        }
    }

    /// The rendition, if it is here.
    pub(super) fn find(&self, picture: PictureId, size_px: u16) -> Option<StoredRendition> {
        self.entries.get(&(picture, size_px))
    }

    /// To be taken before the picture is looked up in the database.
    pub(super) fn ticket(&self, picture: PictureId) -> Ticket {
        Ticket {
            picture,
            removals: *self.stripe(picture),
        }
    }

    /// Keeps a rendition, unless its picture may have been removed since the ticket was taken.
    pub(super) fn keep(&self, ticket: Ticket, size_px: u16, rendition: StoredRendition) {
        let removals = self.stripe(ticket.picture);
        if *removals == ticket.removals {
            self.entries.insert((ticket.picture, size_px), rendition);
        }
    }

    /// Forgets a picture. To be called after it has gone from the database and before that is acknowledged.
    pub(super) fn remove(&self, picture: PictureId, sizes_px: &[u16]) {
        let mut removals = self.stripe(picture);
        *removals = removals.wrapping_add(1);
        for size_px in sizes_px {
            self.entries.remove(&(picture, *size_px));
        }
    }

    #[expect(
        clippy::indexing_slicing,
        reason = "a byte modulo STRIPES is below STRIPES"
    )]
    fn stripe(&self, picture: PictureId) -> MutexGuard<'_, u64> {
        // Ids are random: any byte spreads them evenly.
        let [first, ..] = picture.as_bytes();
        let stripe = &self.removals[usize::from(*first) % STRIPES];
        // Nothing panics while it holds the lock, and a number cannot be left half-changed.
        stripe.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::domain::Timestamp;

    fn rendition(length: usize) -> StoredRendition {
        StoredRendition {
            bytes: Bytes::from(vec![7; length]),
            checksum: 7,
            uploaded_at: Timestamp::from_micros(7),
        }
    }

    #[test]
    fn rendition_is_found_until_its_picture_is_removed() {
        let cache = RenditionCache::new(1_000_000);
        let picture = PictureId::from_random([1; 16]);

        cache.keep(cache.ticket(picture), 512, rendition(10));
        assert_eq!(cache.find(picture, 512), Some(rendition(10)));
        assert_eq!(cache.find(picture, 128), None);

        cache.remove(picture, &[512, 128]);
        assert_eq!(cache.find(picture, 512), None);
    }

    #[test]
    fn rendition_looked_up_before_a_removal_is_not_kept_after_it() {
        let cache = RenditionCache::new(1_000_000);
        let picture = PictureId::from_random([1; 16]);

        let early = cache.ticket(picture);
        cache.remove(picture, &[512]);
        cache.keep(early, 512, rendition(10));
        assert_eq!(cache.find(picture, 512), None);
    }

    #[test]
    fn weight_stays_below_its_limit() {
        let cache = RenditionCache::new(1_000_000);

        for number in 0..200_u8 {
            let picture = PictureId::from_random([number; 16]);
            cache.keep(cache.ticket(picture), 512, rendition(20_000));
        }

        assert!(cache.entries.weight() <= 1_000_000);
        assert!(cache.entries.len() > 10);
    }
}
