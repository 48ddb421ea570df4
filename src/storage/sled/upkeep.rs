//! Long pieces of work on a store that is in use: between its readers and its writing thread.

use std::sync::Arc;

use tokio::sync::oneshot;

use crate::storage::Error;
use crate::storage::Store as _;
use crate::storage::audit::Place;
use crate::storage::sled::SledStore;
use crate::storage::sled::change::Change;
use crate::storage::sled::closed;
use crate::storage::sled::commit::Request;
use crate::storage::sled::compact;
use crate::storage::sled::compact::Copy;
use crate::storage::sled::engine::SCHEMA_VERSION;
use crate::storage::sled::forward;
use crate::storage::sled::forward::Step;
use crate::storage::upkeep::{Compacted, Forwarded, Watch};

/// One step over the records: looked at beside the writing thread, written anew by it.
pub(super) async fn forward(
    store: &SledStore,
    from: Option<&Place>,
    write: bool,
) -> Result<Forwarded, Error> {
    let from = from.cloned();
    let step = store.read(move |engine, _| forward::look(engine, from.as_ref()));
    let Step {
        mut seen,
        table,
        old: keys,
    } = step.await?;
    let raise = seen.next.is_none() && store.schema().await?.found < SCHEMA_VERSION;
    if write && (raise || !keys.is_empty()) {
        // Some of them may be gone, or new by now.
        seen.written = store.write(Change::Forward { table, keys }).await?.renewed;
    }
    Ok(seen)
}

/// Copies the database beside everything else, then has the writing thread put the copy in its place, if it is smaller.
pub(super) async fn compact(store: &SledStore, watch: &Watch) -> Result<Compacted, Error> {
    // Dropped at an `.await`, it ends the work.
    let _stop = StopWhenDropped(watch.clone());
    let (shared, watch) = (Arc::clone(&store.shared), watch.clone());
    let copying = tokio::task::spawn_blocking(move || {
        let copy = Copy::make(&shared, &watch)?;
        let bytes_before = compact::size_bytes(&shared.database_path());
        let bytes_anew = copy.size_bytes();
        // One that is not is let go here, where waiting for its files keeps nobody else waiting.
        let smaller = Some(copy).filter(|_| bytes_anew < bytes_before);
        Ok((bytes_before, bytes_anew, smaller))
    });
    let (bytes_before, bytes_anew, smaller) = copying.await.map_err(|_| closed())??;
    let replaced = smaller.is_some();
    let mut bytes_after = bytes_before;
    if let Some(copy) = smaller {
        let (answer, outcome) = oneshot::channel();
        store.request(Request::Exchange(copy, answer)).await?;
        outcome.await.map_err(|_| closed())??;
        bytes_after = compact::size_bytes(&store.shared.database_path());
    }
    Ok(Compacted {
        bytes_before,
        bytes_after,
        bytes_anew,
        replaced,
    })
}

/// Ends a piece of work that nobody waits for any more.
struct StopWhenDropped(Watch);

impl Drop for StopWhenDropped {
    fn drop(&mut self) {
        self.0.stop();
    }
}
