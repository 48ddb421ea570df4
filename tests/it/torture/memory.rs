//! A store of 100,000 users: how much memory reading takes, and how long opening after a crash.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use pockitd::config;
use pockitd::storage;

use super::{disk_bytes, is_long, memory_bytes, random, rounds};
use crate::store::{account, picture, user};
use crate::support::process::Process;
use crate::support::{Request, Setup};

/// Limit of the resident memory, in bytes.
const RESIDENT_BYTES_MAX: u64 = 300 * 1_000_000;
/// Limit of an opening after a stop in order.
const START_MAX: Duration = Duration::from_secs(1);
/// An audit reads all that there is.
const CHECK_WITHIN: Duration = Duration::from_hours(1);
/// Requests for random pictures.
const READS: u64 = 40_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn resident_memory_stays_bounded_with_100_000_users() {
    if !is_long() {
        println!(
            "skipped: memory with 100,000 users: several minutes and 12 GB of disk; see scripts/torture"
        );
        return;
    }
    let users = rounds(1_000, 100_000);
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
    open(&config.data_dir).await;
    tokio::task::spawn_blocking(move || serve(&config.data_dir, users))
        .await
        .unwrap();
}

fn config(data_dir: std::path::PathBuf) -> config::Storage {
    config::Storage {
        data_dir,
        free_bytes_min: 0,
        ..config::Storage::default()
    }
}

async fn open(data_dir: &std::path::Path) {
    for how in ["after a crash", "after a stop in order"] {
        let begin = Instant::now();
        let store = storage::open(&config(data_dir.to_owned())).await.unwrap();
        let opened = begin.elapsed();
        println!("memory: opened {how} in {opened:?}");
        store.close().await.unwrap();
        assert!(how == "after a crash" || opened < START_MAX, "{opened:?}");
    }
}

/// What the server itself takes, under requests for random pictures and under an audit.
fn serve(data_dir: &std::path::Path, users: u64) {
    let mut server = Setup::new()
        .set(
            "storage.data_dir",
            &format!("{:?}", data_dir.display().to_string()),
        )
        .set("storage.free_bytes_min", "0")
        .start();
    let process = server.process_id().to_string();
    let address = server.address();
    let begin = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..READS / 8 {
                    let (shown, _) = picture(random(users), &[(512, 0)]);
                    let file = format!("/media/profile_pictures/{}/512.jpg", shown.id);
                    let reply = Request::get(&file).send(address).expect(200);
                    assert_eq!(reply.body.len(), 48_000);
                }
            });
        }
    });
    let resident = memory_bytes(&process, "VmRSS");
    println!(
        "memory: {READS} random reads in {:?}, the server has {resident} bytes resident, at most {}",
        begin.elapsed(),
        memory_bytes(&process, "VmHWM")
    );
    let begin = Instant::now();
    let mut check = Process::start(&mut server.home().command(&["check", "store"]), b"");
    let ended = check
        .wait(CHECK_WITHIN)
        .expect("`check store` does not end");
    assert!(ended.success(), "{}", check.log());
    let after = memory_bytes(&process, "VmRSS");
    println!(
        "memory: after `check store`, which took {:?}, {after} bytes",
        begin.elapsed()
    );
    assert!(resident < RESIDENT_BYTES_MAX, "{resident}");
    assert!(after < RESIDENT_BYTES_MAX, "{after}");
    server.stop();
}
