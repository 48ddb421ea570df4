//! What keeps the program in order: readiness, housekeeping, the end.

use crate::service::App;
use crate::service::Error;
use crate::storage::Counts;

impl App {
    /// Whether uploads would be taken just now.
    ///
    /// # Errors
    ///
    /// [`Error::Storage`] with the reason why not.
    pub async fn ready(&self) -> Result<(), Error> {
        Ok(self.store.ready().await?)
    }

    /// How much the store holds.
    ///
    /// # Errors
    ///
    /// [`Error::Storage`].
    pub async fn counts(&self) -> Result<Counts, Error> {
        Ok(self.store.counts().await?)
    }

    /// Forgets what need not be remembered. Called every minute.
    pub fn tidy_memory(&self) {
        self.uploads.forget_idle();
    }

    /// Closes the store so that the next start is quick. Nothing else is called afterwards.
    ///
    /// # Errors
    ///
    /// [`Error::Storage`]; what was acknowledged is safe nevertheless.
    pub async fn close(&self) -> Result<(), Error> {
        Ok(self.store.close().await?)
    }
}
