//! Uploads that a client may repeat: the answer to an `Idempotency-Key` is remembered for a while, in memory.
//!
//! A client whose connection broke does not know whether its upload was taken. With the same key and the same bytes it
//! gets the answer of the first, and there is no second picture. A restart forgets all keys.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::auth;
use crate::domain::picture::Crop;
use crate::domain::user::Profile;
use crate::domain::user::UserId;
use crate::service::App;
use crate::service::Error;

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
    /// None while the first upload is running.
    answer: Option<Profile>,
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
}

impl Answers {
    pub(super) fn new(time_to_live: Duration, keys_max: usize) -> Self {
        Self {
            time_to_live,
            keys_max,
            known: Mutex::default(),
        }
    }

    fn begin(self: &Arc<Self>, key: Key, fingerprint: String) -> Result<Begun, Error> {
        let mut known = self.known();
        self.forget_old(&mut known);
        match known.entries.get(&key) {
            Some(entry) if entry.fingerprint != fingerprint => Err(Error::KeyReused),
            Some(Entry { answer: None, .. }) => Err(Error::KeyInUse),
            Some(Entry {
                answer: Some(profile),
                ..
            }) => Ok(Begun::Before(Box::new(profile.clone()))),
            None => {
                let answer = None;
                known.entries.insert(
                    key.clone(),
                    Entry {
                        fingerprint,
                        answer,
                    },
                );
                let answers = Arc::clone(self);
                Ok(Begun::First(Ticket { answers, key }))
            }
        }
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
    /// Remembers the answer.
    pub fn answer(self, profile: &Profile) {
        let mut known = self.answers.known();
        if let Some(entry) = known.entries.get_mut(&self.key) {
            entry.answer = Some(profile.clone());
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
            .is_some_and(|entry| entry.answer.is_none());
        if is_open {
            known.entries.remove(&self.key);
        }
    }
}

impl App {
    /// Begins an upload that the client may repeat. None: keys are not remembered at all.
    ///
    /// # Errors
    ///
    /// [`Error::KeyInUse`] while the first with that key is running, [`Error::KeyReused`] for other bytes or another crop.
    pub fn begin_once(
        &self,
        caller: &UserId,
        key: String,
        upload: &[u8],
        crop: Option<Crop>,
    ) -> Result<Option<Begun>, Error> {
        if self.config.http.idempotency_ttl_s == 0 {
            return Ok(None);
        }
        let fingerprint = format!("{} {crop:?}", auth::sha256(upload));
        self.answers
            .begin((caller.clone(), key), fingerprint)
            .map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Timestamp;

    fn answers(keys_max: usize) -> Arc<Answers> {
        Arc::new(Answers::new(Duration::from_mins(10), keys_max))
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

    fn begin(answers: &Arc<Answers>, of: Key, bytes: &str) -> Result<Begun, Error> {
        answers.begin(of, bytes.to_owned())
    }

    fn first(answers: &Arc<Answers>, of: Key, bytes: &str) -> Ticket {
        match begin(answers, of, bytes).unwrap() {
            Begun::First(ticket) => ticket,
            Begun::Before(_) => panic!("not the first"),
        }
    }

    #[test]
    fn second_with_the_same_bytes_gets_the_answer_of_the_first() {
        let answers = answers(10);
        first(&answers, key("ada", "k"), "x").answer(&profile("Ada"));

        let again = begin(&answers, key("ada", "k"), "x").unwrap();

        assert!(matches!(again, Begun::Before(found) if *found == profile("Ada")));
        assert!(matches!(
            begin(&answers, key("ada", "k"), "y"),
            Err(Error::KeyReused)
        ));
        first(&answers, key("bob", "k"), "y");
    }

    #[test]
    fn key_is_taken_while_the_first_runs_and_free_after_it_failed() {
        let answers = answers(10);
        let running = first(&answers, key("ada", "k"), "x");

        assert!(matches!(
            begin(&answers, key("ada", "k"), "x"),
            Err(Error::KeyInUse)
        ));
        drop(running);
        first(&answers, key("ada", "k"), "y");
        assert_eq!(answers.known().entries.len(), 0);
    }

    #[test]
    fn memory_is_bounded_and_the_oldest_go() {
        let answers = answers(3);
        for number in 0..100 {
            first(&answers, key("ada", &number.to_string()), "x").answer(&profile("Ada"));
        }

        assert_eq!(answers.known().entries.len(), 3);
        assert_eq!(answers.known().answered.len(), 3);
        assert!(matches!(
            begin(&answers, key("ada", "99"), "x"),
            Ok(Begun::Before(_))
        ));
        first(&answers, key("ada", "0"), "x");
    }

    #[test]
    fn answers_are_forgotten_when_their_time_is_over() {
        let answers = Arc::new(Answers::new(Duration::ZERO, 10));
        first(&answers, key("ada", "k"), "x").answer(&profile("Ada"));

        first(&answers, key("ada", "k"), "y");
    }
}
