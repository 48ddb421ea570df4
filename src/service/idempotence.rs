//! Uploads that a client may repeat: the answer to an `Idempotency-Key` is remembered for a while.
//!
//! A client whose connection broke does not know whether its upload was taken. With the same key and the same bytes it
//! gets the answer of the first, and there is no second picture.
//!
//! The answers are in memory. That there was such an upload is in the store, from the moment on in which its picture is:
//! whoever asks again after the program was killed, or after memory has forgotten the answer, gets the profile as it is
//! by then.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::watch;

use crate::auth;
use crate::domain::Timestamp;
use crate::domain::picture::Crop;
use crate::domain::user::Profile;
use crate::domain::user::UserId;
use crate::service::App;
use crate::service::Error;
use crate::service::pictures::unknown_caller;
use crate::storage;
use crate::storage::upkeep::{Keyed, KeyedUpload};

/// Keys are each user's own.
type Key = (UserId, String);

/// What is remembered.
#[derive(Debug)]
pub(super) struct Answers {
    time_to_live: Duration,
    keys_max: usize,
    /// A mutex, because it is held for a look-up only.
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    entries: HashMap<Key, Entry>,
    /// The keys with an answer, oldest first. Those that are being answered are bounded like the uploads themselves.
    answered: VecDeque<(Key, Instant)>,
}

#[derive(Debug)]
struct Entry {
    /// What was uploaded.
    fingerprint: String,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Closed when the first upload is over, whatever came of it.
    Running(watch::Receiver<()>),
    Answered(Profile),
}

/// Where an upload with a key stands.
enum Found {
    First(Ticket),
    Before(Box<Profile>),
    /// Another with the same key and bytes is running.
    Running(watch::Receiver<()>),
}

/// Whether an upload is the first with its key.
#[derive(Debug)]
pub enum Begun {
    /// It is; whoever does it says what came of it.
    First(Ticket),
    /// It is not: this was the answer.
    Before(Box<Profile>),
}

/// The first upload with a key, while it is running. Dropped without an answer, the key is free again.
#[derive(Debug)]
pub struct Ticket {
    answers: Arc<Answers>,
    key: Key,
    /// What was uploaded.
    fingerprint: String,
    /// Tells those who wait, after [`Drop`] has made the key free or there is an answer.
    _running: watch::Sender<()>,
}

impl Answers {
    pub(super) fn new(time_to_live: Duration, keys_max: usize) -> Self {
        Self {
            time_to_live,
            keys_max,
            known: Mutex::default(),
        }
    }

    /// Waits while another with the same key and bytes is running. If that fails, this one is the first.
    async fn begin(self: &Arc<Self>, key: Key, fingerprint: String) -> Result<Begun, Error> {
        loop {
            match self.find(&key, &fingerprint)? {
                Found::First(ticket) => return Ok(Begun::First(ticket)),
                Found::Before(profile) => return Ok(Begun::Before(profile)),
                // Nothing is ever sent: the error is the end.
                Found::Running(mut over) => drop(over.changed().await),
            }
        }
    }

    fn find(self: &Arc<Self>, key: &Key, fingerprint: &str) -> Result<Found, Error> {
        let mut known = self.known();
        self.forget_old(&mut known);
        let Some(entry) = known.entries.get(key) else {
            let (running, over) = watch::channel(());
            let entry = Entry {
                fingerprint: fingerprint.to_owned(),
                state: State::Running(over),
            };
            known.entries.insert(key.clone(), entry);
            return Ok(Found::First(Ticket {
                answers: Arc::clone(self),
                key: key.clone(),
                fingerprint: fingerprint.to_owned(),
                _running: running,
            }));
        };
        if entry.fingerprint != fingerprint {
            return Err(Error::KeyReused);
        }
        Ok(match &entry.state {
            State::Running(over) => Found::Running(over.clone()),
            State::Answered(profile) => Found::Before(Box::new(profile.clone())),
        })
    }

    pub(super) fn forget_idle(&self) {
        let mut known = self.known();
        self.forget_old(&mut known);
        known.entries.shrink_to_fit();
        known.answered.shrink_to_fit();
    }

    fn forget_old(&self, known: &mut Known) {
        while let Some((_, since)) = known.answered.front() {
            let is_old = since.elapsed() >= self.time_to_live;
            if !is_old && known.answered.len() <= self.keys_max {
                break;
            }
            if let Some((key, _)) = known.answered.pop_front() {
                known.entries.remove(&key);
            }
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ticket {
    /// What it is called in the store. The name of the upload depends on the key, which only the client knows: so it does
    /// not tell whose picture a known file was.
    fn names(&self, stored_at: Timestamp) -> KeyedUpload {
        let (_, key) = &self.key;
        KeyedUpload {
            key: auth::sha256(key.as_bytes()),
            upload: auth::sha256(format!("{key} {}", self.fingerprint).as_bytes()),
            stored_at,
        }
    }

    /// Remembers the answer.
    pub fn answer(self, profile: &Profile) {
        let mut known = self.answers.known();
        if let Some(entry) = known.entries.get_mut(&self.key) {
            entry.state = State::Answered(profile.clone());
        }
        known.answered.push_back((self.key.clone(), Instant::now()));
        self.answers.forget_old(&mut known);
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut known = self.answers.known();
        let is_open = known
            .entries
            .get(&self.key)
            .is_some_and(|entry| matches!(entry.state, State::Running(_)));
        if is_open {
            known.entries.remove(&self.key);
        }
    }
}

impl App {
    /// Whether an upload with that key has begun, so that another is likely to be the same.
    #[must_use]
    pub fn has_begun(&self, caller: &UserId, key: &str) -> bool {
        let key = (caller.clone(), key.to_owned());
        let mut known = self.answers.known();
        self.answers.forget_old(&mut known);
        known.entries.contains_key(&key)
    }

    /// Begins an upload that the client may repeat; waits for the end of the first if that is running, and asks the store
    /// if memory knows of none. None: keys are not remembered at all.
    ///
    /// # Errors
    ///
    /// [`Error::KeyReused`] for other bytes or another crop; [`Error::UnknownCaller`], [`Error::Storage`].
    pub async fn begin_once(
        &self,
        caller: &UserId,
        key: String,
        upload: &Bytes,
        crop: Option<Crop>,
    ) -> Result<Option<Begun>, Error> {
        if self.config.http.idempotency_ttl_s == 0 {
            return Ok(None);
        }
        let fingerprint = fingerprint(upload.clone(), crop).await?;
        let begun = self.answers.begin((caller.clone(), key), fingerprint);
        let begun = begun.await?;
        if let Begun::First(ticket) = &begun
            && self.is_stored(ticket).await?
        {
            let profile = self.store.profile(caller).await.map_err(unknown_caller)?;
            return Ok(Some(Begun::Before(Box::new(profile))));
        }
        Ok(Some(begun))
    }

    /// Whether the store remembers that upload. Where what it remembered is damaged, nobody knows, and the upload is done:
    /// it takes the place of that.
    async fn is_stored(&self, ticket: &Ticket) -> Result<bool, Error> {
        let names = ticket.names(self.now());
        let (caller, _) = &ticket.key;
        let stored = match self.store.keyed_upload(caller, &names.key).await {
            Ok(Some(stored)) => stored,
            Ok(None) | Err(storage::Error::Damaged { .. }) => return Ok(false),
            Err(error) => return Err(Error::Storage(error)),
        };
        // Either way: clocks are put back.
        let age = names
            .stored_at
            .as_micros()
            .abs_diff(stored.stored_at.as_micros());
        if age >= micros(self.config.http.idempotency_ttl_s) {
            return Ok(false);
        }
        if stored.upload != names.upload {
            return Err(Error::KeyReused);
        }
        Ok(true)
    }

    /// What the store is to remember of an upload that is stored now.
    pub(super) fn keyed(&self, ticket: &Ticket, now: Timestamp) -> Keyed {
        let time_to_live = micros(self.config.http.idempotency_ttl_s);
        let time_to_live = i64::try_from(time_to_live).unwrap_or(i64::MAX);
        Keyed {
            upload: ticket.names(now),
            forget_before: Timestamp::from_micros(now.as_micros().saturating_sub(time_to_live)),
        }
    }
}

/// Tells an upload from others. On a blocking thread: a large file takes milliseconds.
async fn fingerprint(upload: Bytes, crop: Option<Crop>) -> Result<String, Error> {
    let hashing = tokio::task::spawn_blocking(move || auth::sha256(&upload));
    let digest = hashing.await.map_err(|_| Error::Cancelled)?;
    Ok(match crop {
        None => digest,
        Some(Crop {
            x,
            y,
            width,
            height,
        }) => format!("{digest} {x},{y},{width},{height}"),
    })
}

const fn micros(seconds: u64) -> u64 {
    seconds.saturating_mul(1_000_000)
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;

    use super::*;

    fn answers(keys_max: usize) -> Arc<Answers> {
        Arc::new(Answers::new(Duration::from_mins(10), keys_max))
    }

    #[tokio::test]
    async fn others_go_on_while_an_upload_is_hashed() {
        let other = tokio::spawn(async {});

        let upload = Bytes::from(vec![0; 32 * 1_024 * 1_024]);
        let name = fingerprint(upload, None).await.unwrap();

        assert!(other.is_finished());
        assert_eq!(name.len(), 64);
    }

    fn key(user: &str, key: &str) -> Key {
        (user.parse().unwrap(), key.to_owned())
    }

    fn profile(name: &str) -> Profile {
        Profile {
            user_id: "ada".parse().unwrap(),
            name: name.parse().unwrap(),
            picture: None,
            created_at: Timestamp::from_micros(0),
            updated_at: Timestamp::from_micros(0),
        }
    }

    async fn begin(answers: &Arc<Answers>, of: Key, bytes: &str) -> Result<Begun, Error> {
        answers.begin(of, bytes.to_owned()).await
    }

    async fn first(answers: &Arc<Answers>, of: Key, bytes: &str) -> Ticket {
        match begin(answers, of, bytes).await.unwrap() {
            Begun::First(ticket) => ticket,
            Begun::Before(_) => panic!("not the first"),
        }
    }

    async fn is_waiting(begun: Pin<&mut impl Future<Output = Result<Begun, Error>>>) -> bool {
        tokio::select! {
            biased;
            _ = begun => false,
            () = tokio::task::yield_now() => true,
        }
    }

    #[tokio::test]
    async fn second_with_the_same_bytes_gets_the_answer_of_the_first() {
        let answers = answers(10);
        first(&answers, key("ada", "k"), "x")
            .await
            .answer(&profile("Ada"));

        let again = begin(&answers, key("ada", "k"), "x").await.unwrap();

        assert!(matches!(again, Begun::Before(found) if *found == profile("Ada")));
        let other = begin(&answers, key("ada", "k"), "y").await;
        assert!(matches!(other, Err(Error::KeyReused)));
        first(&answers, key("bob", "k"), "y").await;
    }

    #[tokio::test]
    async fn second_waits_for_the_answer_of_the_first_that_is_running() {
        let answers = answers(10);
        let running = first(&answers, key("ada", "k"), "x").await;
        let second = begin(&answers, key("ada", "k"), "x");
        let mut second = std::pin::pin!(second);
        assert!(is_waiting(second.as_mut()).await);
        let other = begin(&answers, key("ada", "k"), "y").await;
        assert!(matches!(other, Err(Error::KeyReused)));

        running.answer(&profile("Ada"));

        let again = second.await.unwrap();
        assert!(matches!(again, Begun::Before(found) if *found == profile("Ada")));
    }

    #[tokio::test]
    async fn second_is_the_first_when_that_fails() {
        let answers = answers(10);
        let running = first(&answers, key("ada", "k"), "x").await;
        let second = begin(&answers, key("ada", "k"), "x");
        let third = begin(&answers, key("ada", "k"), "x");
        let (mut second, mut third) = (std::pin::pin!(second), std::pin::pin!(third));
        assert!(is_waiting(second.as_mut()).await);
        assert!(is_waiting(third.as_mut()).await);

        drop(running);

        let Begun::First(ticket) = second.await.unwrap() else {
            panic!("nobody has answered");
        };
        assert!(is_waiting(third.as_mut()).await);
        drop(ticket);
        drop(third.await);
        first(&answers, key("ada", "k"), "y").await;
        assert_eq!(answers.known().entries.len(), 0);
    }

    #[tokio::test]
    async fn memory_is_bounded_and_the_oldest_go() {
        let answers = answers(3);
        for number in 0..100 {
            let key = key("ada", &number.to_string());
            first(&answers, key, "x").await.answer(&profile("Ada"));
        }

        assert_eq!(answers.known().entries.len(), 3);
        assert_eq!(answers.known().answered.len(), 3);
        let last = begin(&answers, key("ada", "99"), "x").await;
        assert!(matches!(last, Ok(Begun::Before(_))));
        first(&answers, key("ada", "0"), "x").await;
    }

    #[tokio::test]
    async fn answers_are_forgotten_when_their_time_is_over() {
        let answers = Arc::new(Answers::new(Duration::ZERO, 10));
        first(&answers, key("ada", "k"), "x")
            .await
            .answer(&profile("Ada"));

        first(&answers, key("ada", "k"), "y").await;
    }
}
