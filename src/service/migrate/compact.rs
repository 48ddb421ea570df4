//! Has the store write itself anew, and tells how far that is.

use std::time::Duration;

use tokio::time::interval;

use crate::service::Error;
use crate::service::admin::Admin;
use crate::service::admin::Event;
use crate::service::admin::Events;
use crate::storage::upkeep::Watch;

/// How often progress is told.
const REPORT_INTERVAL: Duration = Duration::from_millis(200);

impl Admin {
    /// Writes the store anew. No audit runs meanwhile.
    ///
    /// # Errors
    ///
    /// [`Error::Storage`]: all is as before.
    pub(in crate::service) async fn compact(&self, events: &Events) -> Result<(), Error> {
        let _alone = self.auditing.lock().await;
        let watch = Watch::default();
        let mut compacting = self.store.compact(&watch);
        let mut tick = interval(REPORT_INTERVAL);
        let compacted = loop {
            tokio::select! {
                compacted = &mut compacting => break compacted?,
                // Whoever goes away ends the work: dropped, it takes back what it has begun.
                _ = tick.tick() => events.working("entries", watch.done(), None).await?,
            }
        };
        events.tell(Event::Compacted { compacted }).await
    }
}
