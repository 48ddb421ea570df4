//! Whose picture is decoded next: one user's uploads take turns with each other, so that they leave workers for others.
//!
//! A user's pictures wait here, before the queue of the workers, when that many of theirs are being decoded. The line
//! is bounded like that queue. Whose picture was slow goes with others of that kind for a while: there are small files
//! that take seconds, and a few users who send them one after the other would have all workers.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::domain::user::UserId;
use crate::service::Error;
use crate::service::shares::Shares;

/// For how many times as long as a slow picture took its user's next ones are expected to be slow, too.
const SLOW_FOR: u32 = 10;
/// The longest such time.
const SLOW_FOR_MAX: Duration = Duration::from_mins(1);

/// A user's place at the workers. Dropped, the user's next picture gets it.
#[derive(Debug)]
pub(super) struct Turn {
    _at_work: OwnedSemaphorePermit,
    _place: OwnedSemaphorePermit,
    /// In use until this is dropped.
    line: Arc<Line>,
    slow: Duration,
}

/// A picture that is at the workers. Dropped before it is told how long that took, it is judged by the clock: whoever
/// hangs up does not get away with it.
#[derive(Debug)]
pub(super) struct Work<'t> {
    turn: &'t Turn,
    begin: Instant,
    is_told: bool,
}

/// The users who have pictures at the workers.
#[derive(Debug)]
pub(super) struct Turns {
    at_once: usize,
    queue_max: usize,
    /// From what time of a processor on a picture is slow; zero: none is.
    slow: Duration,
    lines: Shares<Line>,
}

#[derive(Debug)]
struct Line {
    turns: Arc<Semaphore>,
    places: Arc<Semaphore>,
    /// Until when the user's pictures are expected to be slow. A mutex, because it is held for a comparison only.
    slow_until: Mutex<Option<Instant>>,
}

impl Line {
    fn slow_until(&self) -> MutexGuard<'_, Option<Instant>> {
        self.slow_until
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turn {
    /// Whether the picture is expected to be slow.
    pub(super) fn is_slow(&self) -> bool {
        let until = *self.line.slow_until();
        until.is_some_and(|until| until > Instant::now())
    }

    /// To be called when the picture goes to the workers.
    pub(super) fn begin(&self) -> Work<'_> {
        Work {
            turn: self,
            begin: Instant::now(),
            is_told: false,
        }
    }

    fn note(&self, time: Duration) {
        if self.slow.is_zero() || time < self.slow {
            return;
        }
        let expected = time.saturating_mul(SLOW_FOR).min(SLOW_FOR_MAX);
        let until = Instant::now().checked_add(expected);
        let mut slow_until = self.line.slow_until();
        *slow_until = until.max(*slow_until);
    }
}

impl Work<'_> {
    /// Notes how long the picture has kept a processor busy.
    pub(super) fn took(mut self, time: Duration) {
        self.is_told = true;
        self.turn.note(time);
    }
}

impl Drop for Work<'_> {
    fn drop(&mut self) {
        // It may have waited for a worker meanwhile: no more than the least is assumed.
        if !self.is_told && self.begin.elapsed() >= self.turn.slow {
            self.turn.note(self.turn.slow);
        }
    }
}

impl Turns {
    /// `at_once` pictures of a user are decoded together; `queue_max` more may wait. A picture is slow that takes so long of a
    /// processor; none is, if that is zero.
    pub(super) fn new(at_once: usize, queue_max: usize, slow: Duration) -> Self {
        Self {
            at_once,
            queue_max,
            slow,
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
            slow_until: Mutex::default(),
        });
        let places = Arc::clone(&line.places);
        let place = places.try_acquire_owned().map_err(|_| busy())?;
        let turns = Arc::clone(&line.turns);
        let turn = turns.acquire_owned().await.map_err(|_| busy())?;
        Ok(Turn {
            _at_work: turn,
            _place: place,
            line,
            slow: self.slow,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    const SLOW: Duration = Duration::from_millis(500);

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
        let turns = Turns::new(1, 4, SLOW);
        let first = turns.wait(&user("ada")).await.unwrap();

        assert!(waits(&turns, "ada").await);
        assert!(!waits(&turns, "bob").await);

        drop(first);
        assert!(!waits(&turns, "ada").await);
    }

    #[tokio::test(start_paused = true)]
    async fn user_of_a_slow_picture_is_expected_to_send_more_of_them_for_a_while() {
        let turns = Turns::new(2, 4, SLOW);
        let is_slow = async |id: &str| turns.wait(&user(id)).await.unwrap().is_slow();
        let turn = turns.wait(&user("ada")).await.unwrap();
        turn.begin().took(SLOW / 2);
        drop(turn.begin());
        assert!(!is_slow("ada").await);

        turn.begin().took(SLOW * 2);
        turn.begin().took(SLOW);

        assert!(is_slow("ada").await);
        assert!(!is_slow("bob").await);
        tokio::time::advance(SLOW * 2 * SLOW_FOR).await;
        assert!(!is_slow("ada").await);
        turn.begin().took(Duration::MAX);
        tokio::time::advance(SLOW_FOR_MAX).await;
        assert!(!is_slow("ada").await);
    }

    #[tokio::test(start_paused = true)]
    async fn user_who_hangs_up_on_a_slow_picture_is_expected_to_send_more_of_them() {
        let turns = Turns::new(1, 4, SLOW);
        let turn = turns.wait(&user("ada")).await.unwrap();
        let work = turn.begin();
        tokio::time::advance(SLOW).await;

        drop(work);

        assert!(turn.is_slow());
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_limit_no_picture_is_slow() {
        let turns = Turns::new(1, 4, Duration::ZERO);
        let turn = turns.wait(&user("ada")).await.unwrap();

        turn.begin().took(SLOW * 9);
        drop(turn.begin());

        assert!(!turn.is_slow());
    }

    #[tokio::test(start_paused = true)]
    async fn line_of_a_user_is_bounded() {
        let turns = Turns::new(1, 1, SLOW);
        let _first = turns.wait(&user("ada")).await.unwrap();
        let ada = user("ada");
        let mut second = Box::pin(turns.wait(&ada));
        assert!(timeout(Duration::ZERO, &mut second).await.is_err());

        let third = turns.wait(&ada).await;

        assert!(matches!(third, Err(Error::Busy { queue_max: 1 })));
    }
}
