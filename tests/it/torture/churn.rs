//! Years of replacements: the disk and the memory that they take stay bounded.

use std::sync::Arc;

use futures_util::future::join_all;
use pockitd::config;
use pockitd::storage;

use super::{disk_bytes, is_long, memory_bytes, rounds};
use crate::store::{account, user, usual_picture};

const PICTURE_BYTES: u64 = 56_000;
/// What a store takes that holds next to nothing: space put by, segments of 1 MiB that are open, free or not yet
/// rewritten.
const BASE_BYTES: u64 = 32 * 1_024 * 1_024;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replaced_pictures_do_not_fill_the_disk() {
    let directory = tempfile::tempdir().unwrap();
    let config = config::Storage {
        data_dir: directory.path().join("data"),
        free_bytes_min: 0,
        ..config::Storage::default()
    };
    let store = storage::open(&config).await.unwrap();
    let (users, replacements) = if is_long() {
        (rounds(50, 500), rounds(40, 200))
    } else {
        (50, 40)
    };
    let ids: Arc<Vec<_>> = Arc::new((0..users).map(|number| format!("user{number}")).collect());
    for id in ids.iter() {
        let created = store.create_user(account(id), "Some".parse().unwrap());
        created.await.unwrap();
    }
    let mut memory = Vec::new();
    let mut largest = 0;
    for round in 0..replacements {
        for group in ids.chunks(64) {
            let replaced = group.iter().zip(0..).map(|(id, number)| {
                let seed = round * 1_000_000 + number;
                let (shown, renditions) = usual_picture(seed + id.len() as u64 * 100_000);
                let (store, id) = (Arc::clone(&store), user(id));
                async move { store.replace_picture(&id, shown, renditions).await }
            });
            for replaced in join_all(replaced).await {
                replaced.unwrap();
            }
        }
        largest = largest.max(disk_bytes(directory.path()));
        memory.push(memory_bytes("self", "VmRSS"));
    }
    let live = users * PICTURE_BYTES;
    println!(
        "churn: {users} users, {replacements} replacements each, live {live} bytes, disk at most {largest} bytes"
    );
    assert!(largest < 4 * live + BASE_BYTES, "{largest} for {live}");
    if is_long() {
        let half = memory[memory.len() / 2];
        let end = *memory.last().unwrap();
        println!("churn: resident {half} bytes after half of it, {end} at the end");
        assert!(end < half + 48 * 1_024 * 1_024, "{half} to {end}");
    }
    store.close().await.unwrap();
}
