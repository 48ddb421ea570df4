//! What the writing thread does after a failure, and at the end.
//!
//! sled never recovers from an I/O error by itself: its database must be closed and opened anew. That writes, too. So
//! it is not done before a trial has shown that the disk takes writes again; until then readers go on with the
//! database as it is, and with what [`undo`](crate::storage::sled::undo) remembers of the batch that failed. Only the
//! opening itself keeps readers waiting.

use std::error::Error as StdError;
use std::sync::atomic::Ordering;

use crate::storage::Error;
use crate::storage::data_dir;
use crate::storage::sled::commit::Committer;
use crate::storage::sled::commit::flush;
use crate::storage::sled::engine::Engine;
use crate::storage::sled::engine::guarded;
use crate::storage::sled::engine::io_failed;
use crate::storage::sled::exchange;
use crate::storage::sled::opening;
use crate::storage::sled::transaction;

/// What a trial writes, in bytes: as much as sled at most does in one go, a segment.
const TRIAL_BYTES: usize = 1_024 * 1_024;

impl Committer {
    /// Opens the database anew if it is needed and the disk takes writes; whether writes may be tried.
    pub(super) fn heal(&mut self) -> bool {
        if self.is_sound() {
            return true;
        }
        if let Err(error) = self.trial() {
            tracing::debug!(%error, "the disk does not take writes yet");
            return false;
        }
        self.reopen();
        self.is_sound()
    }

    pub(super) fn is_sound(&self) -> bool {
        self.shared
            .is_sound(self.shared.engine.blocking_read().as_ref())
    }

    /// Whether the disk would take what opening writes. A full disk would, with the space put by.
    fn trial(&self) -> std::io::Result<()> {
        // A snapshot, and the log. Nobody writes to that: sled has stopped, and this is the thread that makes it.
        let written = data_dir::try_write(&self.shared.data_dir, TRIAL_BYTES);
        let log = self.shared.database_path().join("db");
        match written.and_then(|()| data_dir::try_growth(&log, TRIAL_BYTES)) {
            Err(error) if opening::is_full_kind(error.kind()) && self.reserve.can_be_given_up() => {
                Ok(())
            }
            other => other,
        }
    }

    fn reopen(&mut self) {
        // What is copied from it may be taken back.
        self.shared.touched.end();
        let mut slot = self.shared.engine.blocking_write();
        if let Some(engine) = slot.take()
            && !engine.release()
        {
            tracing::error!("a thread of the database hangs; the program must be restarted");
            return;
        }
        let path = self.shared.database_path();
        // Where an exchange with a copy was stopped half-way, it has another name.
        if let Err(error) = exchange::settle(&self.shared.data_dir) {
            tracing::error!(%error, "the store cannot be opened again: its directory cannot be put in order");
            return;
        }
        // Where a sync has failed, the kernel shows what was written although the disk may not have it. What sled finds
        // must be what a power cut would leave, or it would go on writing behind a gap.
        if let Err(error) = data_dir::forget_cached(&path.join("db")) {
            tracing::warn!(%error, "cannot read the log afresh from the disk");
        }
        let opened = opening::open_engine(
            &path,
            self.shared.page_cache_bytes,
            &self.shared.undo,
            &mut self.reserve,
        );
        let opened = opened.and_then(|engine| {
            opening::check_witness(&engine, &self.witness, &self.shared.data_dir)?;
            Ok(engine)
        });
        match opened {
            Ok(engine) => {
                let put_back = put_back(&engine);
                // Readers are served by it in any case; what could not be put back stays remembered.
                *slot = Some(engine);
                self.shared
                    .is_failing
                    .store(put_back.is_err(), Ordering::Relaxed);
                match put_back {
                    Ok(()) => tracing::info!("the store is open again"),
                    Err(error) => log("a failed write cannot be taken back yet", &error),
                }
            }
            Err(error) => log("the store cannot be opened again", &error),
        }
    }

    /// sled replays its log from the last snapshot on, and takes snapshots only when it opens.
    pub(super) fn close(&mut self) -> Result<(), Error> {
        let mut slot = self.shared.engine.blocking_write();
        let Some(engine) = slot.take() else {
            return Ok(());
        };
        let flushed = if self.shared.is_sound(Some(&engine)) {
            flush(&engine)
        } else {
            Ok(())
        };
        if !engine.release() {
            return Err(Error::Unavailable(
                "a thread of the database hangs".to_owned(),
            ));
        }
        flushed?;
        let path = self.shared.database_path();
        let engine = opening::open_engine(
            &path,
            self.shared.page_cache_bytes,
            &self.shared.undo,
            &mut self.reserve,
        )?;
        let put_back = put_back(&engine);
        // sled takes damage in the log for its end. Better found now than at the next start.
        let whole = opening::check_witness(&engine, &self.witness, &self.shared.data_dir);
        engine.release();
        put_back?;
        whole?;
        data_dir::sync_directory(&path).map_err(|error| io_failed("close the database", error))
    }
}

/// Undoes what the log has kept of a batch that was answered with an error.
fn put_back(engine: &Engine) -> Result<(), Error> {
    if engine.undo.all().is_empty() {
        return Ok(());
    }
    guarded("take a failed write back", || transaction::put_back(engine))?;
    flush(engine)?;
    engine.undo.clear();
    Ok(())
}

fn log(what: &'static str, error: &Error) {
    let cause: &dyn StdError = error;
    tracing::error!(cause, "{what}");
}
