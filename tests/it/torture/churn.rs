//! Years of replacements: the disk and the memory that they take stay bounded.

use std::sync::Arc;

use futures_util::future::join_all;
use pockitd::config;
use pockitd::storage;
use pockitd::storage::upkeep::{Making, Original};

use super::{disk_bytes, is_long, memory_bytes, rounds};
use crate::store::{account, noise, user, usual_picture};

const PICTURE_BYTES: u64 = 56_000;
/// What a store takes that holds next to nothing: space put by, segments of 1 MiB that are open, free or not yet
/// rewritten.
const BASE_BYTES: u64 = 32 * 1_024 * 1_024;
/// The same where all that there is, megabytes, is replaced at once, several times a second: the segments of the last
/// rounds wait for sled's cleaning.
const BASE_BYTES_WITH_UPLOADS: u64 = 128 * 1_024 * 1_024;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replaced_pictures_do_not_fill_the_disk() {
    let (users, replacements) = if is_long() {
        (rounds(50, 500), rounds(40, 200))
    } else {
        (50, 40)
    };
    churned(users, replacements, 0, BASE_BYTES).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replaced_uploads_that_were_kept_do_not_fill_the_disk() {
    let (users, replacements) = if is_long() {
        (rounds(20, 100), rounds(25, 200))
    } else {
        (20, 40)
    };
    churned(users, replacements, 300_000, BASE_BYTES_WITH_UPLOADS).await;
}

/// Replaces pictures, with uploads of so many bytes that are kept, if any.
async fn churned(users: u64, replacements: u64, original_bytes: usize, base_bytes: u64) {
    let directory = tempfile::tempdir().unwrap();
    let config = config::Storage {
        data_dir: directory.path().join("data"),
        free_bytes_min: 0,
        ..config::Storage::default()
    };
    let store = storage::open(&config).await.unwrap();
    let ids: Arc<Vec<_>> = Arc::new((0..users).map(|number| format!("user{number}")).collect());
    for id in ids.iter() {
        let created = store.create_user(account(id), "Some".parse().unwrap());
        created.await.unwrap();
    }
    let mut memory = Vec::new();
    let mut disk = Vec::new();
    for round in 0..replacements {
        let numbered: Vec<_> = ids.iter().zip(round * 1_000_000..).collect();
        for group in numbered.chunks(64) {
            let replaced = group.iter().map(|&(id, seed)| {
                let (shown, renditions) = usual_picture(seed);
                let (store, id) = (Arc::clone(&store), user(id));
                let original = (original_bytes > 0).then(|| Original {
                    bytes: noise(seed, original_bytes),
                    crop: None,
                });
                let making = Making {
                    original,
                    ..Making::default()
                };
                async move { store.store_picture(&id, shown, renditions, making).await }
            });
            for replaced in join_all(replaced).await {
                replaced.unwrap();
            }
        }
        disk.push(disk_bytes(directory.path()));
        memory.push(memory_bytes("self", "VmRSS"));
    }
    let (first, second) = disk.split_at(disk.len() / 2);
    let largest_of = |half: &[u64]| half.iter().max().copied().unwrap();
    let largest = largest_of(&disk);
    // It has grown to its size long before half of it, and stays there.
    let base = base_bytes / 4;
    assert!(largest_of(second) < largest_of(first) + base, "{disk:?}");
    let live = users * (PICTURE_BYTES + original_bytes as u64);
    println!(
        "churn: {users} users, {replacements} replacements each, live {live} bytes, disk at most {largest} bytes"
    );
    assert!(largest < 4 * live + base_bytes, "{largest} for {live}");
    if is_long() {
        let half = memory[memory.len() / 2];
        let end = *memory.last().unwrap();
        println!("churn: resident {half} bytes after half of it, {end} at the end");
        assert!(end < half + 48 * 1_024 * 1_024, "{half} to {end}");
    }
    store.close().await.unwrap();
}
