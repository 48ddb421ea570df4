//! Whose picture is decoded next: one user's uploads take turns with each other, so that they leave workers for others.
//!
//! A user's pictures wait here, before the queue of the workers, when that many of theirs are being decoded. The line
//! is bounded like that queue.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::domain::user::UserId;
use crate::service::Error;
use crate::service::shares::Shares;

/// A user's place at the workers. Dropped, the user's next picture gets it.
#[derive(Debug)]
pub(super) struct Turn {
    _at_work: OwnedSemaphorePermit,
    _place: OwnedSemaphorePermit,
    /// In use until this is dropped.
    _line: Arc<Line>,
}

/// The users who have pictures at the workers.
#[derive(Debug)]
pub(super) struct Turns {
    at_once: usize,
    queue_max: usize,
    lines: Shares<Line>,
}

#[derive(Debug)]
struct Line {
    turns: Arc<Semaphore>,
    places: Arc<Semaphore>,
}

impl Turns {
    /// `at_once` pictures of a user are decoded together; `queue_max` more may wait.
    pub(super) fn new(at_once: usize, queue_max: usize) -> Self {
        Self {
            at_once,
            queue_max,
            lines: Shares::default(),
        }
    }

    /// Waits until it is the turn of this upload of the user; first come, first served.
    ///
    /// # Errors
    ///
    /// [`Error::Busy`] if too many of the user's pictures wait already.
    pub(super) async fn wait(&self, user: &UserId) -> Result<Turn, Error> {
        let busy = || Error::Busy {
            queue_max: self.queue_max,
        };
        let line = self.lines.of(user, || Line {
            turns: Arc::new(Semaphore::new(self.at_once)),
            places: Arc::new(Semaphore::new(self.at_once.saturating_add(self.queue_max))),
        });
        let places = Arc::clone(&line.places);
        let place = places.try_acquire_owned().map_err(|_| busy())?;
        let turns = Arc::clone(&line.turns);
        let turn = turns.acquire_owned().await.map_err(|_| busy())?;
        Ok(Turn {
            _at_work: turn,
            _place: place,
            _line: line,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    fn user(id: &str) -> UserId {
        id.parse().unwrap()
    }

    async fn waits(turns: &Turns, id: &str) -> bool {
        timeout(Duration::from_secs(1), turns.wait(&user(id)))
            .await
            .is_err()
    }

    #[tokio::test(start_paused = true)]
    async fn second_picture_of_a_user_waits_and_that_of_another_does_not() {
        let turns = Turns::new(1, 4);
        let first = turns.wait(&user("ada")).await.unwrap();

        assert!(waits(&turns, "ada").await);
        assert!(!waits(&turns, "bob").await);

        drop(first);
        assert!(!waits(&turns, "ada").await);
    }

    #[tokio::test(start_paused = true)]
    async fn line_of_a_user_is_bounded() {
        let turns = Turns::new(1, 1);
        let _first = turns.wait(&user("ada")).await.unwrap();
        let ada = user("ada");
        let mut second = Box::pin(turns.wait(&ada));
        assert!(timeout(Duration::ZERO, &mut second).await.is_err());

        let third = turns.wait(&ada).await;

        assert!(matches!(third, Err(Error::Busy { queue_max: 1 })));
    }
}
