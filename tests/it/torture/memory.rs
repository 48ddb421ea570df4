//! A store of 100,000 users: how much memory reading takes, and how long opening after a crash.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use pockitd::config;
use pockitd::storage;

use super::{disk_bytes, is_long, memory_bytes, random, rounds};
use crate::store::{account, at, picture, user};

/// Limit of the resident memory, in bytes.
const RESIDENT_BYTES_MAX: u64 = 300 * 1_000_000;
/// Limit of an opening after a stop in order.
const START_MAX: Duration = Duration::from_secs(1);
/// Set for the process that only reads.
const READER: &str = "POCKITD_TORTURE_READER";

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn resident_memory_stays_bounded_with_100_000_users() {
    if !is_long() {
        println!(
            "skipped: memory with 100,000 users: several minutes and 12 GB of disk; see scripts/torture"
        );
        return;
    }
    let users = rounds(1_000, 100_000);
    if let Some(data_dir) = std::env::var_os(READER) {
        read(std::path::Path::new(&data_dir), users).await;
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let config = config(directory.path().join("data"));
    let store = storage::open(&config).await.unwrap();
    let begin = Instant::now();
    for group in (0..users).collect::<Vec<_>>().chunks(64) {
        let added = group.iter().map(|number| {
            let (store, id) = (Arc::clone(&store), format!("user{number}"));
            let (shown, renditions) = picture(*number, &[(512, 48_000), (128, 6_000)]);
            async move {
                let created = store.create_user(account(&id), "Some".parse().unwrap());
                created.await.unwrap();
                let user = user(&id);
                let replaced = store.replace_picture(&user, shown, renditions);
                replaced.await.unwrap();
            }
        });
        join_all(added).await;
    }
    println!(
        "memory: {users} users added in {:?}, {} bytes on disk",
        begin.elapsed(),
        disk_bytes(directory.path())
    );
    // Not closed: as after a crash.
    drop(store);
    let reader = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--nocapture"])
        .arg("torture::memory::resident_memory_stays_bounded_with_100_000_users")
        .env(READER, &config.data_dir)
        .status();
    assert!(reader.unwrap().success());
}

fn config(data_dir: std::path::PathBuf) -> config::Storage {
    config::Storage {
        data_dir,
        free_bytes_min: 0,
        ..config::Storage::default()
    }
}

async fn read(data_dir: &std::path::Path, users: u64) {
    for how in ["after a crash", "after a stop in order"] {
        let begin = Instant::now();
        let store = storage::open(&config(data_dir.to_owned())).await.unwrap();
        let opened = begin.elapsed();
        println!("memory: opened {how} in {opened:?}");
        store.close().await.unwrap();
        assert!(how == "after a crash" || opened < START_MAX, "{opened:?}");
    }
    let store = storage::open(&config(data_dir.to_owned())).await.unwrap();
    let begin = Instant::now();
    let readers = (0..8).map(|_| {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            for _ in 0..10_000 {
                let number = random(users);
                let (shown, _) = picture(number, &[(512, 0)]);
                let found = store.rendition(shown.id, 512).await.unwrap();
                assert_eq!(found.bytes.len(), 48_000);
            }
        })
    });
    for reader in join_all(readers).await {
        reader.unwrap();
    }
    let resident = memory_bytes("self", "VmRSS");
    println!(
        "memory: 80,000 random reads in {:?}, resident {resident} bytes, at most {}",
        begin.elapsed(),
        memory_bytes("self", "VmHWM")
    );
    assert!(resident < RESIDENT_BYTES_MAX, "{resident}");
    let before = memory_bytes("self", "VmRSS");
    let mut place = None;
    loop {
        let examined = store.examine(place.as_ref(), at(0)).await.unwrap();
        assert_eq!(examined.findings, []);
        place = examined.next;
        if place.is_none() {
            break;
        }
    }
    let after = memory_bytes("self", "VmRSS");
    println!("memory: an audit took it from {before} to {after} bytes");
    assert!(after < RESIDENT_BYTES_MAX, "{after}");
    store.close().await.unwrap();
}
