//! What the writing thread and the readers share, and whether there is room to write.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Weak;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use tokio::sync::{Mutex, RwLock};

use crate::storage::Error;
use crate::storage::activity::Activity;
use crate::storage::data_dir;
use crate::storage::data_dir::DataDir;
use crate::storage::sled::cache::RenditionCache;
use crate::storage::sled::compact::Touched;
use crate::storage::sled::engine::Engine;
use crate::storage::sled::engine::io_failed;
use crate::storage::sled::snapshot::Snapshots;
use crate::storage::sled::undo::Undo;

/// What the thread and the readers share.
#[derive(Debug)]
pub(super) struct Shared {
    /// The database; none while it cannot be opened. Readers hold the lock for as long as they read.
    pub(super) engine: RwLock<Option<Engine>>,
    pub(super) cache: RenditionCache,
    pub(super) snapshots: Snapshots,
    /// For a copy of the database that is being made.
    pub(super) touched: Touched,
    /// Held by that copy for as long as it has files.
    pub(super) copying: Arc<Mutex<()>>,
    pub(super) data_dir: PathBuf,
    /// The lock of that directory: the writing thread's, and for as long as it has files, a copy's.
    pub(super) held: Weak<DataDir>,
    pub(super) free_bytes_min: u64,
    /// What must be free before anything is written again, in bytes; 0 while the reserve is held.
    pub(super) lacking_bytes: AtomicU64,
    pub(super) page_cache_bytes: u64,
    /// What readers are shown instead of what is being changed, whichever engine is open.
    pub(super) undo: Arc<Undo>,
    /// Whether a write has failed and none has succeeded since: the database must be opened anew before the next.
    pub(super) is_failing: AtomicBool,
    /// Whether the disk, when it was last asked, would not take writes. The database knows nothing of it.
    pub(super) is_refusing: AtomicBool,
    pub(super) activity: Activity,
}

impl Shared {
    /// Whether the database is open and takes writes.
    pub(super) fn is_sound(&self, engine: Option<&Engine>) -> bool {
        !self.is_failing.load(Ordering::Relaxed) && engine.is_some_and(|engine| !engine.is_broken())
    }

    /// The database's directory.
    pub(super) fn database_path(&self) -> PathBuf {
        self.data_dir.join("db")
    }

    /// Whether so many bytes may be written. Removals may use up half of what must stay free for uploads.
    ///
    /// # Errors
    ///
    /// [`Error::DiskFull`], and [`Error::Io`] if the system does not say how much is free.
    pub(super) fn check_room(&self, bytes: u64, removes: bool) -> Result<(), Error> {
        let free_min = if removes {
            self.free_bytes_min / 2
        } else {
            self.free_bytes_min
        };
        self.check_free(bytes, free_min)
    }

    /// Whether so many bytes may be written that nobody is to keep. Uploads are not refused for their sake: as much as must
    /// stay free for these is left to them once more.
    ///
    /// # Errors
    ///
    /// Those of [`Shared::check_room`].
    pub(super) fn check_room_to_spare(&self, bytes: u64) -> Result<(), Error> {
        self.check_free(bytes, self.free_bytes_min.saturating_mul(2))
    }

    fn check_free(&self, bytes: u64, free_min: u64) -> Result<(), Error> {
        let free = self.free_bytes()?;
        let free_min = free_min.max(self.lacking_bytes.load(Ordering::Relaxed));
        if free < free_min.saturating_add(bytes) {
            return Err(Error::DiskFull { free, free_min });
        }
        Ok(())
    }

    pub(super) fn free_bytes(&self) -> Result<u64, Error> {
        let free = data_dir::free_bytes(&self.data_dir);
        free.map_err(|error| io_failed("find out how much disk space is free", error))
    }
}
