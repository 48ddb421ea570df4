//! How long a durable write of one alone takes beside a bare sync, and what many at once share.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use pockitd::config;
use pockitd::storage;

use super::is_long;
use crate::store::{account, user, usual_picture};

/// Writes of each kind.
const WRITES: u64 = 300;
/// Bytes of a picture with its thumbnail.
const PICTURE_BYTES: usize = 56_000;
/// Users who write at once.
const USERS: u64 = 64;

/// Writes a picture's bytes to the end of a file and syncs it, many times.
fn bare_syncs(directory: &Path) -> Vec<Duration> {
    let mut file = File::create(directory.join("bare")).unwrap();
    let bytes = vec![0x5A; PICTURE_BYTES];
    let times = (0..WRITES).map(|_| {
        let begin = Instant::now();
        file.write_all(&bytes).unwrap();
        file.sync_data().unwrap();
        begin.elapsed()
    });
    times.collect()
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn upload_alone_takes_a_few_syncs_and_many_share_theirs() {
    if !is_long() {
        println!("skipped: latency of a durable write: a measurement; see scripts/torture");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let config = config::Storage {
        data_dir: directory.path().join("data"),
        free_bytes_min: 0,
        ..config::Storage::default()
    };
    let store = storage::open(&config).await.unwrap();
    for number in 0..USERS {
        let created = store.create_user(account(&format!("user{number}")), "Some".parse().unwrap());
        created.await.unwrap();
    }
    // In turns, as others use the machine, too.
    for turn in 0..3 {
        let bare = median(bare_syncs(directory.path()));
        let mut alone = Vec::new();
        for seed in 0..WRITES {
            let (shown, renditions) = usual_picture(1_000_000 * (turn + 1) + seed);
            let begin = Instant::now();
            let user = user("user0");
            store
                .replace_picture(&user, shown, renditions)
                .await
                .unwrap();
            alone.push(begin.elapsed());
        }
        let alone = median(alone);
        let begin = Instant::now();
        let writers = (0..USERS).map(|number| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                let user = user(&format!("user{number}"));
                for seed in 0..10 {
                    let seed = 1_000_000_000 * (turn + 1) + number * 1_000 + seed;
                    let (shown, renditions) = usual_picture(seed);
                    store
                        .replace_picture(&user, shown, renditions)
                        .await
                        .unwrap();
                }
            })
        });
        for writer in join_all(writers).await {
            writer.unwrap();
        }
        let rate = (USERS * 10) as f64 / begin.elapsed().as_secs_f64();
        println!(
            "latency: bare write and fdatasync {bare:?}, durable upload alone {alone:?} ({:.1} times), {USERS} at once {rate:.0}/s",
            alone.as_secs_f64() / bare.as_secs_f64()
        );
    }
    store.close().await.unwrap();
}
