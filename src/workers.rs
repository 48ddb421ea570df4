//! Where pictures are decoded: a bounded number at once, a bounded number waiting.
//!
//! A decoder that panics costs its own upload, nothing else. The work outlives a client that hangs up: the slot is
//! owned by the work, so that the bound holds whatever becomes of the request.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::Semaphore;

use crate::config;
use crate::domain::picture::Crop;
use crate::domain::picture::Rendition;
use crate::imaging;
use crate::imaging::Rendered;
use crate::imaging::Renderer;

/// Why a picture was not made.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message documents its variant")]
pub enum Error {
    #[error("all workers are busy and {queue_max} pictures wait already")]
    Busy { queue_max: usize },
    #[error("cannot make renditions of the upload")]
    Picture(#[from] imaging::Error),
    #[error("the decoder died")]
    Died,
}

/// Decodes pictures on blocking threads.
pub struct Pool {
    /// Kept between pictures: buffers and colour transforms are warm. A mutex, because it is held for a push or a
    /// pop only, never while work is done.
    idle: Arc<Mutex<Vec<Renderer>>>,
    slots: Arc<Semaphore>,
    tickets: Arc<Semaphore>,
    queue_max: usize,
    picture: config::Picture,
}

impl fmt::Debug for Pool {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Pool")
            .field("free", &self.slots.available_permits())
            .finish_non_exhaustive()
    }
}

impl Pool {
    /// A pool with `config.count` slots, or one a processor core.
    #[must_use]
    pub fn new(config: &config::Workers, picture: &config::Picture) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let count = if config.count == 0 {
            cores
        } else {
            config.count
        };
        Self {
            idle: Arc::default(),
            slots: Arc::new(Semaphore::new(count)),
            tickets: Arc::new(Semaphore::new(count.saturating_add(config.queue_max))),
            queue_max: config.queue_max,
            picture: picture.clone(),
        }
    }

    /// Makes the renditions of an upload.
    ///
    /// # Errors
    ///
    /// [`Error::Busy`] at once when the queue is full; [`Error::Picture`] with the reason; [`Error::Died`] if the
    /// decoder panicked.
    pub async fn render(&self, upload: Bytes, crop: Option<Crop>) -> Result<Rendered, Error> {
        Ok(self
            .run(move |renderer| renderer.render(&upload, crop))
            .await??)
    }

    /// The picture of users who have none.
    ///
    /// # Errors
    ///
    /// As [`Pool::render`].
    pub async fn placeholder(&self) -> Result<Vec<Rendition>, Error> {
        Ok(self.run(Renderer::placeholder).await??)
    }

    async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Renderer) -> T + Send + 'static,
    ) -> Result<T, Error> {
        let busy = |_| Error::Busy {
            queue_max: self.queue_max,
        };
        let ticket = Arc::clone(&self.tickets)
            .try_acquire_owned()
            .map_err(busy)?;
        let slot = Arc::clone(&self.slots)
            .acquire_owned()
            .await
            .map_err(|_| Error::Died)?;
        let idle = Arc::clone(&self.idle);
        let picture = self.picture.clone();
        let work = move || {
            let _held_until_done = (ticket, slot);
            let kept = idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let mut renderer = kept.unwrap_or_else(|| Renderer::new(picture));
            // A panic unwinds past the push: a renderer in an unknown state is never used again.
            let answer = job(&mut renderer);
            idle.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(renderer);
            answer
        };
        tokio::task::spawn_blocking(work)
            .await
            .map_err(|_| Error::Died)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(count: usize, queue_max: usize) -> Pool {
        Pool::new(
            &config::Workers {
                count,
                queue_max,
                ..config::Workers::default()
            },
            &config::Picture::default(),
        )
    }

    #[tokio::test]
    async fn upload_beyond_slots_and_queue_is_refused_at_once() {
        let pool = Arc::new(pool(1, 1));
        let (release, released) = std::sync::mpsc::channel::<()>();
        let running = tokio::spawn({
            let pool = Arc::clone(&pool);
            async move { pool.run(move |_| released.recv()).await }
        });
        let waiting = tokio::spawn({
            let pool = Arc::clone(&pool);
            async move { pool.run(|_| ()).await }
        });
        while pool.tickets.available_permits() > 0 {
            tokio::task::yield_now().await;
        }

        let refused = pool.run(|_| ()).await;

        assert!(matches!(refused, Err(Error::Busy { queue_max: 1 })));
        release.send(()).unwrap();
        assert!(running.await.unwrap().is_ok());
        assert!(waiting.await.unwrap().is_ok());
    }

    #[tokio::test]
    async fn panic_of_a_decoder_costs_one_upload_only() {
        let pool = pool(1, 1);

        let died = pool.run(|_| panic!("a codec bug")).await;
        let next = pool.run(|_| 1).await;

        assert!(matches!(died, Err(Error::Died)));
        assert_eq!(next.unwrap(), 1);
    }
}
