//! How the idempotency keys of a user are stored: under the user's id, the newest of them.

use serde::Deserialize;
use serde::Serialize;

use crate::domain::Timestamp;
use crate::storage::record::First;
use crate::storage::record::Record;
use crate::storage::upkeep::KeyedUpload;

/// The uploads of a user that had an idempotency key, the newest last.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct IdempotencyRecord {
    /// At most [`KeyedUpload::KEPT_MAX`].
    pub uploads: Vec<KeyedUploadRecord>,
}

/// A [`KeyedUpload`]. A type of its own, so that no change of that changes what is on disk.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct KeyedUploadRecord {
    /// Names the key.
    pub key: String,
    /// Names what was uploaded with it.
    pub upload: String,
    /// When it was stored, in microseconds since the Unix epoch.
    pub stored_at: Timestamp,
}

impl Record for IdempotencyRecord {
    const KIND: &'static str = "idempotency";
    const VERSION: u8 = 1;
    type Previous = First;

    fn migrate(previous: First) -> Self {
        match previous {}
    }
}

impl IdempotencyRecord {
    /// The upload with that key.
    #[must_use]
    pub fn find(self, key: &str) -> Option<KeyedUpload> {
        let mut uploads = self.uploads.into_iter();
        let found = uploads.find(|upload| upload.key == key)?;
        Some(KeyedUpload {
            key: found.key,
            upload: found.upload,
            stored_at: found.stored_at,
        })
    }

    /// Adds one in the place of one with the same key; forgets those from before `forget_before`, and the oldest of too
    /// many.
    pub fn add(&mut self, new: &KeyedUpload, forget_before: Timestamp) {
        self.uploads
            .retain(|upload| upload.key != new.key && upload.stored_at >= forget_before);
        self.uploads.push(KeyedUploadRecord {
            key: new.key.clone(),
            upload: new.upload.clone(),
            stored_at: new.stored_at,
        });
        // By place and not by time, as clocks are put back.
        let too_many = self.uploads.len().saturating_sub(KeyedUpload::KEPT_MAX);
        self.uploads.drain(..too_many);
    }
}
