//! What a store must survive: kills, power cuts, full and failing disks, flipped bytes, races, years of replacements.
//!
//! Each runs for a few rounds with all other tests, and for as many as it takes to trust it in `scripts/torture`.

mod churn;
mod damage;
mod disk;
mod exchange;
mod faults;
mod full;
mod kills;
mod latency;
mod load;
mod memory;
mod migrations;
mod power;
mod race;

use std::hash::{BuildHasher, RandomState};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::support::Setup;
use crate::support::fixtures::jpeg_of;

/// How many rounds: few, or as many as `scripts/torture` wants.
fn rounds(few: u64, many: u64) -> u64 {
    match std::env::var("POCKITD_TORTURE").as_deref() {
        Err(_) => few,
        Ok(share) => share
            .parse()
            .map_or(many, |share: u64| (many / share).max(few)),
    }
}

/// A server that minds neither how often a user comes nor how long they stay: hours of one user are no hours of a person.
fn patient() -> Setup {
    Setup::new()
        .set("auth.access_ttl_s", "86400")
        .set("rate_limit.uploads_per_hour", "0")
        .set("rate_limit.uploads_per_hour_per_address", "0")
        .set("rate_limit.requests_per_minute_per_user", "0")
}

/// Whether this is `scripts/torture`.
fn is_long() -> bool {
    std::env::var_os("POCKITD_TORTURE").is_some()
}

/// A random number below `end`.
fn random(end: u64) -> u64 {
    RandomState::new().hash_one(0) % end
}

/// A moment that nothing determines. Not to wait for something: the moment itself is what is tested.
fn any_moment(within: Duration) {
    let micros = u64::try_from(within.as_micros()).unwrap();
    std::thread::sleep(Duration::from_micros(random(micros)));
}

/// A photo of noise, whose renditions are as large as renditions get.
fn noise_photo(seed: u64) -> Vec<u8> {
    let pixels = crate::store::noise(seed, 640 * 640 * 3);
    jpeg_of(&pixels, 640, 640, 90)
}

/// A file's length, in bytes; nothing for a file that is gone.
fn length(file: &Path) -> u64 {
    std::fs::metadata(file).map_or(0, |file| file.len())
}

/// Bytes that the files of a directory take up on the disk.
fn disk_bytes(directory: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let entries = std::fs::read_dir(directory).unwrap().flatten();
    let sizes = entries.map(|entry| {
        let metadata = entry.metadata().unwrap();
        if metadata.is_dir() {
            disk_bytes(&entry.path())
        } else {
            metadata.blocks() * 512
        }
    });
    sizes.sum()
}

/// Says to other threads that it is over, also when a test fails.
struct AtTheEnd<'a>(&'a AtomicBool);

impl Drop for AtTheEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A number of `/proc/PID/status`, in bytes.
fn memory_bytes(process: &str, name: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    let digits: String = line.chars().filter(char::is_ascii_digit).collect();
    digits.parse::<u64>().unwrap() * 1_024
}

/// Tries until it is so.
#[track_caller]
fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let until = Instant::now() + crate::support::DEADLINE;
    while !is_so() {
        assert!(Instant::now() < until, "{what}: not in time");
        std::thread::yield_now();
    }
}
