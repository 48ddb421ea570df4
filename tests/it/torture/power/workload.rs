//! What is done to a store before the power is cut, and what is looked at afterwards. The same for every store.
//!
//! A process uploads for one user in each of some threads and says on stdout what was acknowledged. Another process
//! opens what has come through and says what it shows. Whoever started them compares.

use std::sync::atomic::{AtomicBool, Ordering};

/// Users, each with a thread of their own.
pub const USERS: u64 = 16;
/// Sizes of a picture's files, in bytes.
pub const FILES: [usize; 2] = [50_000, 6_000];
/// What a line about an upload begins with.
pub const ACKNOWLEDGED: &str = "acknowledged";
/// What a line about what a user shows begins with.
pub const SHOWN: &str = "shown";
/// What the last line begins with, if everything was looked at.
pub const FINISHED: &str = "finished";

/// A store, as far as uploads need one. The seed determines every byte of a picture, and is found again with it.
pub trait Uploads: Sync {
    /// Replaces a user's picture; whether the store says that it is durable.
    fn upload(&self, user: u64, seed: u64) -> bool;

    /// The seed of the picture that a user shows; 0 without one.
    ///
    /// # Errors
    ///
    /// What is wrong, if it cannot be read or is not what was uploaded.
    fn shown(&self, user: u64) -> Result<u64, String>;
}

/// Uploads until the first failure of the store, or until the process is killed.
pub fn write(store: &impl Uploads) {
    let failed = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for user in 0..USERS {
            let failed = &failed;
            scope.spawn(move || {
                let first = store.shown(user).unwrap() + 1;
                for seed in first.. {
                    if failed.load(Ordering::Relaxed) {
                        return;
                    }
                    if !store.upload(user, seed) {
                        failed.store(true, Ordering::Relaxed);
                        return;
                    }
                    // One write a line: whoever reads sees all of it or nothing.
                    println!("{ACKNOWLEDGED} {user} {seed}");
                }
            });
        }
    });
}

/// Says what there is.
pub fn read(store: &impl Uploads) {
    for user in 0..USERS {
        match store.shown(user) {
            Ok(seed) => println!("{SHOWN} {user} {seed}"),
            Err(what) => println!("{SHOWN} {user} wrong: {what}"),
        }
    }
    println!("{FINISHED}");
}

/// Bytes of a picture's file that do not compress (xorshift64*).
pub fn bytes(user: u64, seed: u64, length: usize) -> Vec<u8> {
    let mut state = (user << 40 ^ seed).wrapping_mul(0x2545_F491_4F6C_DD1D) | 1;
    let words = std::iter::repeat_with(|| {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        state.wrapping_mul(0x2545_F491_4F6C_DD1D).to_be_bytes()
    });
    let words = words.take(length.div_ceil(8));
    words.flatten().take(length).collect()
}
