//! What keeps a store in shape over the years: moving old records forward, giving space back, knowing how a picture
//! was made, and with which idempotency key.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use serde::Deserialize;
use serde::Serialize;

use crate::domain::Timestamp;
use crate::domain::picture::Crop;
use crate::domain::picture::PictureId;
use crate::storage::audit::Place;

/// How a picture came to be, which nobody is shown.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Making {
    /// Names the settings that it was made with: equal for equal results. None: not known.
    pub recipe: Option<u64>,
    /// The upload, where it is to be kept.
    pub original: Option<Original>,
    /// The picture that this one is made of. If the user has another one by now, nothing is stored.
    pub instead_of: Option<PictureId>,
    /// When the profile changed; none: when the picture was uploaded.
    pub changed_at: Option<Timestamp>,
    /// The idempotency key that its upload had. Remembered with the user and not with the picture: it outlives that, and
    /// does not move with a [`WholeUser`](crate::storage::WholeUser).
    pub keyed: Option<Keyed>,
}

/// An upload with an idempotency key that is to be remembered.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Keyed {
    /// Which one.
    pub upload: KeyedUpload,
    /// The user's uploads from before then may be forgotten.
    pub forget_before: Timestamp,
}

/// An upload with an idempotency key, and whose picture was stored. Key and upload are there as names that do not tell
/// what they stand for, of 64 characters: a record of them is small, and says nothing of a picture that is gone.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct KeyedUpload {
    /// Names the key.
    pub key: String,
    /// Names what was uploaded with it.
    pub upload: String,
    /// When it was stored.
    pub stored_at: Timestamp,
}

impl KeyedUpload {
    /// So many of a user are remembered at most, the newest: clients send again what they have just sent.
    pub const KEPT_MAX: usize = 8;
}

/// An upload that is kept.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Original {
    /// The file, as it came.
    pub bytes: Bytes,
    /// The part of it that the uploader chose.
    pub crop: Option<Crop>,
}

/// How the data of a store is laid out.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Schema {
    /// The layout of the store.
    pub found: u32,
    /// The layout that this program writes.
    pub known: u32,
}

/// What one step over the records saw.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Forwarded {
    /// Of which kind they are.
    pub kind: &'static str,
    /// The version that this program writes.
    pub current: u8,
    /// How many records there are of each version, as they were before this step.
    pub versions: BTreeMap<u8, u64>,
    /// How many were written anew.
    pub written: u64,
    /// How many could not be read, and were left as they are; of what lies on damaged pages nobody knows how many.
    pub damaged: u64,
    /// Where to go on; none: that was all.
    pub next: Option<Place>,
}

/// What writing a store anew came to.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Compacted {
    /// Bytes that it took before.
    pub bytes_before: u64,
    /// Bytes that it takes now.
    pub bytes_after: u64,
    /// Bytes that the copy took.
    pub bytes_anew: u64,
    /// Whether the copy has taken its place. One that is not smaller does not.
    pub replaced: bool,
}

/// Looks over the shoulder of a long piece of work, and may end it.
#[derive(Clone, Debug, Default)]
pub struct Watch(Arc<Watched>);

#[derive(Debug, Default)]
struct Watched {
    done: AtomicU64,
    stopped: AtomicBool,
}

impl Watch {
    /// How many entries are done.
    #[must_use]
    pub fn done(&self) -> u64 {
        self.0.done.load(Ordering::Relaxed)
    }

    /// Counts entries that are done.
    pub fn add(&self, entries: u64) {
        self.0.done.fetch_add(entries, Ordering::Relaxed);
    }

    /// Asks the work to end; what it has begun is taken back.
    pub fn stop(&self) {
        self.0.stopped.store(true, Ordering::Relaxed);
    }

    /// Whether it is to end.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.0.stopped.load(Ordering::Relaxed)
    }
}
