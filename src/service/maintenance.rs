//! What keeps the program in order: readiness, housekeeping, the end.

use std::io;

use crate::service::App;
use crate::service::Error;
use crate::storage::Counts;

/// What an upload needs, each in order or with the reason why not.
#[derive(Debug)]
pub struct Readiness {
    /// The store takes writes: [`Error::Storage`] if not.
    pub store: Result<(), Error>,
    /// Pictures are decoded: [`Error::NoWorker`] if not.
    pub workers: Result<(), Error>,
}

impl App {
    /// Whether uploads would be taken just now, by what they need.
    pub async fn readiness(&self) -> Readiness {
        Readiness {
            store: self.store.ready().await.map_err(Error::Storage),
            workers: self.workers.ready().await.map_err(Error::NoWorker),
        }
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
        self.throttle.forget_idle();
        self.answers.forget_idle();
    }

    /// Replaces decode workers that die while they wait for a picture. Never ends.
    ///
    /// # Errors
    ///
    /// The system does not tell when processes end: then they are replaced when the next picture comes.
    pub async fn heal_workers(&self) -> io::Result<()> {
        self.workers.heal().await
    }

    /// Closes the store so that the next start is quick. Nothing else is called afterwards.
    ///
    /// # Errors
    ///
    /// [`Error::Storage`]; what was acknowledged is safe nevertheless.
    pub async fn close(&self) -> Result<(), Error> {
        self.workers.close().await;
        Ok(self.store.close().await?)
    }
}
