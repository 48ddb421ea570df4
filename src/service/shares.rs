//! What each user has of something that is bounded: made at first use, forgotten when nobody uses it any more.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::domain::user::UserId;

/// Users that are kept before those out of use are looked for.
const KEPT: usize = 1_024;

/// One `T` a user. It is in use as long as anyone but this holds it.
#[derive(Debug)]
pub struct Shares<T> {
    /// A mutex, because it is held for a look-up only.
    held: Mutex<Held<T>>,
}

#[derive(Debug)]
struct Held<T> {
    of: HashMap<UserId, Arc<T>>,
    /// With how many users those out of use are looked for next. Doubles with those in use, so that looking stays rare.
    sweep_at: usize,
}

impl<T> Default for Shares<T> {
    fn default() -> Self {
        Self {
            held: Mutex::new(Held {
                of: HashMap::new(),
                sweep_at: KEPT,
            }),
        }
    }
}

impl<T> Shares<T> {
    /// The user's share, made if there is none.
    pub fn of(&self, user: &UserId, make: impl FnOnce() -> T) -> Arc<T> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if held.of.len() >= held.sweep_at {
            held.of.retain(|_, share| Arc::strong_count(share) > 1);
            held.sweep_at = held.of.len().saturating_mul(2).max(KEPT);
        }
        let share = held.of.entry(user.clone());
        Arc::clone(share.or_insert_with(|| Arc::new(make())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(id: &str) -> UserId {
        id.parse().unwrap()
    }

    #[test]
    fn share_in_use_is_the_same_for_all_who_ask() {
        let shares = Shares::default();
        let first = shares.of(&user("ada"), || 1);

        assert_eq!(*shares.of(&user("ada"), || 2), 1);
        assert_eq!(*shares.of(&user("bob"), || 3), 3);
        drop(first);
    }

    #[test]
    fn shares_out_of_use_are_forgotten_and_others_kept() {
        let shares = Shares::default();
        let held = shares.of(&user("ada"), || 0);
        for number in 1..10 * KEPT {
            drop(shares.of(&user(&format!("user{number}")), || number));
        }

        assert!(shares.held.lock().unwrap().of.len() <= KEPT);
        assert!(Arc::ptr_eq(&held, &shares.of(&user("ada"), || 1)));
    }

    #[test]
    fn many_in_use_are_not_looked_through_each_time() {
        let shares = Shares::default();
        let held: Vec<_> = (0..3 * KEPT)
            .map(|number| shares.of(&user(&format!("user{number}")), || number))
            .collect();

        let sweep_at = shares.held.lock().unwrap().sweep_at;
        assert!(sweep_at > held.len(), "{sweep_at}");
    }
}
