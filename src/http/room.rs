//! Room for upload bodies: bounded over all requests, and for each user, so that nobody takes all of it.
//!
//! It is taken for a whole body at once: bodies that were let in half could all wait for each other. Three rules keep it
//! open for those who come, whoever holds it: those whose user holds least are let in first; the last quarter is for
//! users who hold none; and a body that has room and stands still is put out when others need what it holds. How slow
//! bodies may be in quiet times is the matter of `body`.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::OnceCell;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use crate::config;
use crate::domain::user::UserId;
use crate::http::request::Refusal;

/// How many users at least it takes to fill the room.
const USERS_TO_FILL: u64 = 4;
/// A body stands still that needs longer for a step.
const STILL: Duration = Duration::from_secs(1);
/// What a body has to come by in that time, in bytes: less than what the largest file must come with anyway, after the
/// grace that it has in quiet times.
const STEP_BYTES: u64 = 32 * 1_024;

/// Room for bodies in flight. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Room {
    hall: Arc<Hall>,
    wait: Duration,
}

#[derive(Debug)]
struct Hall {
    share_bytes: u64,
    /// What only users take who hold none.
    kept_bytes: u64,
    /// A mutex, because it is held for a decision only.
    guests: Mutex<Guests>,
}

/// The bodies that have room and those that wait for it, by the order in which they came.
#[derive(Debug, Default)]
struct Guests {
    came: u64,
    free_bytes: u64,
    waiting: BTreeMap<u64, Guest>,
    inside: BTreeMap<u64, Guest>,
    /// What each user has inside, in bytes.
    held: HashMap<UserId, u64>,
    /// When there may be more room although nobody leaves. One of those who wait looks then, and not all of them.
    look_again: Option<Instant>,
}

#[derive(Clone, Debug)]
struct Guest {
    user: UserId,
    bytes: u64,
    pace: Arc<Pace>,
    let_in: CancellationToken,
    put_out: CancellationToken,
}

/// How a body comes.
#[derive(Debug)]
struct Pace(Mutex<Steps>);

#[derive(Clone, Copy, Debug)]
struct Steps {
    /// When the last step was over; none once the body is there.
    since: Option<Instant>,
    /// What has come since, in bytes.
    come: u64,
}

/// Room that is waited for or taken, until this is dropped.
#[derive(Debug)]
struct Ticket {
    hall: Arc<Hall>,
    number: u64,
}

/// The room of one body, which is taken when it is needed.
#[derive(Debug)]
pub(super) struct Place {
    room: Room,
    user: UserId,
    pace: Arc<Pace>,
    put_out: CancellationToken,
    taken: OnceCell<Ticket>,
}

impl Place {
    pub(super) fn new(room: &Room, user: &UserId) -> Self {
        Self {
            room: room.clone(),
            user: user.clone(),
            pace: Arc::new(Pace::new()),
            put_out: CancellationToken::new(),
            taken: OnceCell::new(),
        }
    }

    /// Takes room for `bytes`, unless some is taken already. It is given back when this is dropped.
    pub(super) async fn take(&self, bytes: u64) -> Result<(), Refusal> {
        let guest = || Guest {
            user: self.user.clone(),
            bytes,
            pace: Arc::clone(&self.pace),
            let_in: CancellationToken::new(),
            put_out: self.put_out.clone(),
        };
        let taking = || self.room.take(guest());
        self.taken.get_or_try_init(taking).await.map(drop)
    }

    pub(super) fn is_taken(&self) -> bool {
        self.taken.initialized()
    }

    /// So much more of the body has come.
    pub(super) fn come(&self, bytes: u64) {
        self.pace.come(bytes);
    }

    /// All of the body is there: nobody can put it out any more.
    ///
    /// # Errors
    ///
    /// That of [`Place::put_out`], if that has just happened.
    pub(super) fn arrived(&self) -> Result<(), Refusal> {
        // As long as this is held nobody is put out.
        let _guests = self.room.hall.guests();
        if self.put_out.is_cancelled() {
            return Err(self.too_slow());
        }
        self.pace.steps().since = None;
        Ok(())
    }

    /// Waits until others have got the room, because the body stood still. Never, if they do not.
    pub(super) async fn put_out(&self) -> Refusal {
        self.put_out.cancelled().await;
        self.too_slow()
    }

    fn too_slow(&self) -> Refusal {
        let Steps { since, come } = *self.pace.steps();
        let seconds = since.map_or(STILL, |since| since.elapsed()).max(STILL);
        Refusal::TooSlow {
            limit: STEP_BYTES,
            actual: come.checked_div(seconds.as_secs()).unwrap_or(0),
        }
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
        let part = all / USERS_TO_FILL;
        let guests = Guests {
            free_bytes: all,
            ..Guests::default()
        };
        Self {
            hall: Arc::new(Hall {
                // A share holds the largest file, or its user could not upload it at all.
                share_bytes: part.max(config.upload_bytes_max.min(all)),
                kept_bytes: part,
                guests: Mutex::new(guests),
            }),
            wait: Duration::from_millis(config.bodies_wait_ms),
        }
    }

    /// Waits, not for ever, until a body may be held. Meanwhile nothing is read: the client's own buffers fill, and it
    /// slows down.
    async fn take(&self, guest: Guest) -> Result<Ticket, Refusal> {
        let let_in = guest.let_in.clone();
        let ticket = Ticket {
            number: self.hall.guests().receive(guest),
            hall: Arc::clone(&self.hall),
        };
        let waiting = async {
            let mut look_again = self.hall.let_in();
            loop {
                tokio::select! {
                    () = let_in.cancelled() => break,
                    () = sleep_until(look_again) => look_again = self.hall.let_in_at(look_again),
                }
            }
        };
        let waited = timeout(self.wait, waiting).await;
        waited.map(|()| ticket).map_err(|_| Refusal::BodiesFull)
    }
}

impl Hall {
    fn guests(&self) -> MutexGuard<'_, Guests> {
        self.guests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets in whom there is room for. Returns when there may be more of it although nobody leaves.
    fn let_in(&self) -> Instant {
        let now = Instant::now();
        let mut guests = self.guests();
        while let Some(number) = guests.next(self, now) {
            guests.enter(number, now);
        }
        let look_again = guests.next_still(now);
        guests.look_again = Some(look_again);
        look_again
    }

    /// The same at a time that was waited for, unless somebody has looked since.
    fn let_in_at(&self, time: Instant) -> Instant {
        let look_again = self.guests().look_again;
        match look_again {
            Some(later) if later > time => later,
            _ => self.let_in(),
        }
    }
}

impl Guests {
    fn receive(&mut self, guest: Guest) -> u64 {
        self.came = self.came.saturating_add(1);
        self.waiting.insert(self.came, guest);
        self.came
    }

    fn held(&self, user: &UserId) -> u64 {
        self.held.get(user).copied().unwrap_or(0)
    }

    /// The next to be let in, for whom there is room by now. Who waits for the room of others waits first; who waits for
    /// their own share lets others pass.
    fn next(&mut self, hall: &Hall, now: Instant) -> Option<u64> {
        let waiting = self.waiting.iter();
        let mut order: Vec<_> = waiting
            .map(|(number, guest)| (self.held(&guest.user), *number))
            .collect();
        order.sort_unstable();
        for (_, number) in order {
            let guest = self.waiting.get(&number)?.clone();
            let wanted = self.held(&guest.user).saturating_add(guest.bytes);
            let lacking = wanted.saturating_sub(hall.share_bytes);
            if !self.make_way(&guest, lacking, now, true) {
                continue;
            }
            let is_first = self.held(&guest.user) == 0;
            let kept = if is_first { 0 } else { hall.kept_bytes };
            let wanted = guest.bytes.saturating_add(kept);
            let lacking = wanted.saturating_sub(self.free_bytes);
            return self.make_way(&guest, lacking, now, false).then_some(number);
        }
        None
    }

    /// Puts out who stands still, those first that have stood longest, if as much as is lacking comes free by that; whether
    /// it does. Nobody makes way for a user who would then hold more than they do.
    fn make_way(
        &mut self,
        guest: &Guest,
        lacking: u64,
        now: Instant,
        only_of_their_own: bool,
    ) -> bool {
        if lacking == 0 {
            return true;
        }
        let own = self.held(&guest.user);
        let then = if own == 0 {
            0
        } else {
            own.saturating_add(guest.bytes)
        };
        let in_the_way = self.inside.iter().filter(|(_, other)| {
            let is_own = other.user == guest.user;
            is_own || (!only_of_their_own && self.held(&other.user) >= then)
        });
        let mut still: Vec<_> = in_the_way
            .filter_map(|(number, other)| {
                let since = other.pace.steps().since?;
                let is_still = now.saturating_duration_since(since) >= STILL;
                is_still.then_some((since, *number, other.bytes))
            })
            .collect();
        still.sort_unstable();
        let (mut comes_free, mut leaving) = (0_u64, Vec::new());
        for (_, number, bytes) in still {
            comes_free = comes_free.saturating_add(bytes);
            leaving.push(number);
            if comes_free >= lacking {
                for other in leaving.into_iter().filter_map(|number| self.leave(number)) {
                    other.put_out.cancel();
                }
                return true;
            }
        }
        false
    }

    fn enter(&mut self, number: u64, now: Instant) {
        let Some(guest) = self.waiting.remove(&number) else {
            return;
        };
        self.free_bytes = self.free_bytes.saturating_sub(guest.bytes);
        let held = self.held.entry(guest.user.clone()).or_default();
        *held = held.saturating_add(guest.bytes);
        guest.pace.begin(now);
        guest.let_in.cancel();
        self.inside.insert(number, guest);
    }

    fn leave(&mut self, number: u64) -> Option<Guest> {
        let guest = self.inside.remove(&number)?;
        self.free_bytes = self.free_bytes.saturating_add(guest.bytes);
        let left = self.held(&guest.user).saturating_sub(guest.bytes);
        if left == 0 {
            self.held.remove(&guest.user);
        } else {
            self.held.insert(guest.user.clone(), left);
        }
        Some(guest)
    }

    /// When the next body may have stood still for long enough.
    fn next_still(&self, now: Instant) -> Instant {
        let inside = self.inside.values();
        let times = inside.filter_map(|guest| guest.pace.steps().since?.checked_add(STILL));
        let latest = now.checked_add(STILL).unwrap_or(now);
        times.filter(|time| *time > now).min().unwrap_or(latest)
    }
}

impl Pace {
    fn new() -> Self {
        Self(Mutex::new(Steps {
            since: Some(Instant::now()),
            come: 0,
        }))
    }

    fn steps(&self) -> MutexGuard<'_, Steps> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// While it waited for room, nothing of it was read.
    fn begin(&self, now: Instant) {
        let mut steps = self.steps();
        steps.since = steps.since.map(|_| now);
        steps.come = 0;
    }

    fn come(&self, bytes: u64) {
        let mut steps = self.steps();
        steps.come = steps.come.saturating_add(bytes);
        if steps.come >= STEP_BYTES {
            steps.come = 0;
            steps.since = steps.since.map(|_| Instant::now());
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut guests = self.hall.guests();
        guests.waiting.remove(&self.number);
        guests.leave(self.number);
        drop(guests);
        self.hall.let_in();
    }
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

    fn place(room: &Room, id: &str) -> Place {
        Place::new(room, &id.parse().unwrap())
    }

    /// A body with room that is there.
    async fn held(room: &Room, id: &str, bytes: u64) -> Result<Place, Refusal> {
        let place = place(room, id);
        place.take(bytes).await?;
        place.arrived()?;
        Ok(place)
    }

    #[tokio::test(start_paused = true)]
    async fn user_cannot_take_more_than_a_quarter() {
        let room = room(40_960, 1_024);
        let _quarter = held(&room, "ada", 10_240).await.unwrap();

        assert!(held(&room, "ada", 1).await.is_err());
        assert!(held(&room, "bob", 10_240).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn largest_file_fits_into_a_share() {
        let room = room(10_240, 8_192);

        assert!(held(&room, "ada", 8_192).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn room_comes_back() {
        let room = room(4_096, 4_096);
        let taken = held(&room, "ada", 4_096).await.unwrap();
        assert!(held(&room, "bob", 1_024).await.is_err());

        drop(taken);

        assert!(held(&room, "bob", 1_024).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn place_takes_room_once() {
        let room = room(4_096, 4_096);
        let place = place(&room, "ada");
        assert!(held(&room, "bob", 4_096).await.is_ok());

        place.take(4_096).await.unwrap();
        place.take(4_096).await.unwrap();
        place.arrived().unwrap();

        assert!(place.is_taken());
        assert!(held(&room, "bob", 1_024).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn last_quarter_is_for_those_who_hold_none() {
        let room = room(4_096, 1_024);
        let mut taken = Vec::new();
        for id in ["ada", "bob", "cyd", "ada", "bob", "cyd"] {
            taken.push(held(&room, id, 512).await.unwrap());
        }

        assert!(held(&room, "dan", 512).await.is_ok());
        assert!(held(&room, "dan", 1_024).await.is_ok());
        let dan = held(&room, "dan", 512).await.unwrap();
        assert!(held(&room, "dan", 512).await.is_err());
        assert!(held(&room, "eve", 512).await.is_ok());
        drop((dan, taken));
    }

    #[tokio::test(start_paused = true)]
    async fn body_that_stands_still_is_put_out_when_others_need_its_room() {
        let room = room(4_096, 4_096);
        let (slow, quick) = (place(&room, "ada"), place(&room, "bob"));
        slow.take(2_048).await.unwrap();
        quick.take(2_048).await.unwrap();
        let before = Instant::now();

        let taking = held(&room, "cyd", 2_048);
        let coming = async {
            loop {
                quick.come(STEP_BYTES);
                tokio::time::sleep(STILL / 4).await;
            }
        };
        let taken = tokio::select! {
            taken = taking => taken,
            () = coming => unreachable!(),
        };

        assert!(taken.is_ok());
        assert_eq!(before.elapsed(), STILL);
        let refusal = slow.put_out().await;
        assert!(
            matches!(refusal, Refusal::TooSlow { limit: 32_768, .. }),
            "{refusal:?}"
        );
        assert!(timeout(STILL, quick.put_out()).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn body_that_was_put_out_has_not_arrived() {
        let room = room(4_096, 4_096);
        let slow = place(&room, "ada");
        slow.take(4_096).await.unwrap();
        let _quick = held(&room, "bob", 4_096).await.unwrap();

        let refusal = slow.arrived().unwrap_err();

        assert!(matches!(refusal, Refusal::TooSlow { .. }), "{refusal:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_is_put_out_in_vain() {
        let room = room(4_096, 4_096);
        let slow = place(&room, "ada");
        slow.take(512).await.unwrap();
        let _rest = held(&room, "bob", 3_584).await.unwrap();

        assert!(held(&room, "cyd", 1_024).await.is_err());
        slow.arrived().unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn body_that_drips_stands_still() {
        let room = room(4_096, 4_096);
        let slow = place(&room, "ada");
        slow.take(4_096).await.unwrap();
        let dripping = async {
            loop {
                slow.come(1_000);
                tokio::time::sleep(STILL / 10).await;
            }
        };

        let taken = tokio::select! {
            taken = held(&room, "bob", 4_096) => taken,
            () = dripping => unreachable!(),
        };

        assert!(taken.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn body_that_stands_still_stays_while_nobody_needs_its_room() {
        let room = room(4_096, 1_024);
        let slow = place(&room, "ada");
        slow.take(1_024).await.unwrap();
        tokio::time::sleep(STILL * 5).await;

        assert!(held(&room, "bob", 1_024).await.is_ok());

        assert!(timeout(STILL, slow.put_out()).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn user_who_holds_none_is_let_in_before_those_who_hold_some() {
        let room = room(8_192, 2_048);
        let mut others = Vec::new();
        for (id, bytes) in [
            ("ada", 1_024),
            ("bob", 2_048),
            ("cyd", 2_048),
            ("dan", 1_024),
        ] {
            others.push(held(&room, id, bytes).await.unwrap());
        }
        let last = held(&room, "eve", 1_024).await.unwrap();
        let (ada, fay) = (held(&room, "ada", 1_024), held(&room, "fay", 2_048));
        tokio::pin!(ada, fay);
        assert!(timeout(STILL, &mut ada).await.is_err());
        assert!(timeout(STILL, &mut fay).await.is_err());

        drop(last);

        let fay = timeout(STILL, &mut fay).await.unwrap();
        assert!(fay.is_ok());
        assert!(timeout(STILL, &mut ada).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn users_own_dead_bodies_make_way_in_their_share() {
        let room = room(8_192, 2_048);
        let dead = place(&room, "ada");
        dead.take(2_048).await.unwrap();

        assert!(held(&room, "ada", 2_048).await.is_ok());

        dead.put_out().await;
    }
}
