//! Room for upload bodies: bounded over all requests, and for each user, so that nobody takes all of it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OnceCell, OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::config;
use crate::domain::user::UserId;
use crate::http::request::Refusal;
use crate::service::shares::Shares;

/// One unit, in bytes.
const UNIT_BYTES: u64 = 1_024;
/// How many users at least it takes to fill the room.
const USERS_TO_FILL: u64 = 4;

/// Room for bodies in flight. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Room {
    free: Arc<Semaphore>,
    share_units: usize,
    wait: Duration,
    /// What each user has left of their share.
    shares: Arc<Shares<Semaphore>>,
}

/// Room that is taken until this is dropped.
#[derive(Debug)]
struct Taken {
    _of_share: OwnedSemaphorePermit,
    _of_all: OwnedSemaphorePermit,
}

/// The room of one body, which is taken when it is needed.
#[derive(Debug)]
pub(super) struct Place {
    room: Room,
    user: UserId,
    taken: OnceCell<Taken>,
}

impl Place {
    pub(super) fn new(room: &Room, user: &UserId) -> Self {
        Self {
            room: room.clone(),
            user: user.clone(),
            taken: OnceCell::new(),
        }
    }

    /// Takes room for `bytes`, unless some is taken already. It is given back when this is dropped.
    pub(super) async fn take(&self, bytes: u64) -> Result<(), Refusal> {
        let taking = || self.room.take(&self.user, bytes);
        self.taken.get_or_try_init(taking).await.map(drop)
    }

    pub(super) fn is_taken(&self) -> bool {
        self.taken.initialized()
    }
}

impl Room {
    pub(super) fn new(config: &config::Http) -> Self {
        let all = config.bodies_bytes_max;
        if all / USERS_TO_FILL < config.upload_bytes_max {
            tracing::warn!(
                bodies_bytes_max = all,
                upload_bytes_max = config.upload_bytes_max,
                "http.bodies_bytes_max is below four times http.upload_bytes_max: fewer than four users can take all the room"
            );
        }
        // A share holds the largest file, or its user could not upload it at all.
        let share = (all / USERS_TO_FILL).max(config.upload_bytes_max.min(all));
        Self {
            free: Arc::new(Semaphore::new(permits(all))),
            share_units: permits(share),
            wait: Duration::from_millis(config.bodies_wait_ms),
            shares: Arc::default(),
        }
    }

    /// Waits, not for ever, until `bytes` more of this user may be held. Meanwhile nothing is read: the client's own
    /// buffers fill, and it slows down.
    async fn take(&self, user: &UserId, bytes: u64) -> Result<Taken, Refusal> {
        let units = u32::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX);
        let share = self.shares.of(user, || Semaphore::new(self.share_units));
        let taking = async {
            let of_share = share.acquire_many_owned(units).await.ok()?;
            let all = Arc::clone(&self.free);
            let of_all = all.acquire_many_owned(units).await.ok()?;
            Some(Taken {
                _of_share: of_share,
                _of_all: of_all,
            })
        };
        let taken = timeout(self.wait, taking).await;
        taken.ok().flatten().ok_or(Refusal::BodiesFull)
    }
}

fn permits(bytes: u64) -> usize {
    let units = usize::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(usize::MAX);
    units.min(Semaphore::MAX_PERMITS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(all: u64, largest: u64) -> Room {
        Room::new(&config::Http {
            bodies_bytes_max: all,
            upload_bytes_max: largest,
            ..config::Http::default()
        })
    }

    fn user(id: &str) -> UserId {
        id.parse().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn user_cannot_take_more_than_a_quarter() {
        let room = room(40_960, 1_024);
        let _quarter = room.take(&user("ada"), 10_240).await.unwrap();

        assert!(room.take(&user("ada"), 1).await.is_err());
        assert!(room.take(&user("bob"), 10_240).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn largest_file_fits_into_a_share() {
        let room = room(10_240, 8_192);

        assert!(room.take(&user("ada"), 8_192).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn room_comes_back() {
        let room = room(4_096, 4_096);
        let taken = room.take(&user("ada"), 4_096).await.unwrap();
        assert!(room.take(&user("bob"), 1_024).await.is_err());

        drop(taken);

        assert!(room.take(&user("bob"), 1_024).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn place_takes_room_once() {
        let room = room(4_096, 4_096);
        let place = Place::new(&room, &user("ada"));
        assert!(room.take(&user("bob"), 4_096).await.is_ok());

        place.take(4_096).await.unwrap();
        place.take(4_096).await.unwrap();

        assert!(place.is_taken());
        assert!(room.take(&user("bob"), 1_024).await.is_err());
    }
}
