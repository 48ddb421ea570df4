//! What the store on sled adds to the contract: a directory, a lock, real syncs, damage that is noticed.

use std::fs;
use std::process::Command;
use std::sync::Arc;

use pockitd::config;
use pockitd::storage;
use pockitd::storage::Error;
use pockitd::storage::Store;

use super::Harm;
use super::Place;
use super::account;
use super::user;
use super::usual_picture;
use crate::support::raw::Raw;

/// A temporary data directory.
pub(super) struct Directory(tempfile::TempDir);

impl Directory {
    pub(super) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(super) fn config(&self) -> config::Storage {
        config::Storage {
            data_dir: self.0.path().join("data"),
            free_bytes_min: 0,
            ..config::Storage::default()
        }
    }
}

impl Place for Directory {
    async fn open(&self) -> Arc<dyn Store> {
        storage::open(&self.config()).await.unwrap()
    }

    async fn harm(&self, harm: Harm<'_>) {
        let raw = || Raw::open(&self.config().data_dir);
        match harm {
            Harm::Orphan(seed) => {
                let store = self.open().await;
                let (shown, renditions) = usual_picture(seed);
                let mut ghost = account("ghost");
                ghost.email = "ghost@example.org".parse().ok();
                store
                    .create_user(ghost, "Ghost".parse().unwrap())
                    .await
                    .unwrap();
                store
                    .replace_picture(&user("ghost"), shown, renditions)
                    .await
                    .unwrap();
                store.close().await.unwrap();
                let picture = raw().picture_of("ghost");
                let store = self.open().await;
                store.delete_user(&user("ghost")).await.unwrap();
                store.close().await.unwrap();
                raw().put(&picture);
            }
            Harm::Gone(user) => {
                let raw = raw();
                raw.remove(&raw.picture_of(user));
            }
            Harm::Flipped(user) => {
                let raw = raw();
                raw.damage_last(&raw.picture_of(user));
            }
        }
    }
}

#[tokio::test]
async fn second_opening_is_refused_and_names_the_process() {
    let place = Directory::new();
    let _store = place.open().await;

    let second = storage::open(&place.config()).await;

    let Err(Error::InUse { holder, .. }) = second else {
        panic!("{second:?}")
    };
    assert_eq!(holder, format!("process {}", std::process::id()));
}

#[tokio::test]
async fn closed_store_answers_with_an_error_and_its_directory_is_free() {
    let place = Directory::new();
    let store = place.open().await;
    store.close().await.unwrap();

    assert!(matches!(store.ready().await, Err(Error::Unavailable(_))));
    assert!(matches!(
        store.profile(&user("ada")).await,
        Err(Error::Unavailable(_))
    ));
    let created = store
        .create_user(account("ada"), "Ada".parse().unwrap())
        .await;
    assert!(matches!(created, Err(Error::Unavailable(_))), "{created:?}");
    assert!(place.open().await.ready().await.is_ok());
}

#[tokio::test]
async fn write_below_the_free_space_limit_is_refused_and_reads_go_on() {
    let place = Directory::new();
    place
        .open()
        .await
        .create_user(account("ada"), "Ada".parse().unwrap())
        .await
        .unwrap();
    let config = config::Storage {
        free_bytes_min: u64::MAX,
        ..place.config()
    };
    let store = storage::open(&config).await.unwrap();
    let (shown, renditions) = usual_picture(1);

    let refused = store.replace_picture(&user("ada"), shown, renditions).await;

    assert!(
        matches!(
            refused,
            Err(Error::DiskFull {
                free_min: u64::MAX,
                ..
            })
        ),
        "{refused:?}"
    );
    assert!(matches!(store.ready().await, Err(Error::DiskFull { .. })));
    assert_eq!(store.profile(&user("ada")).await.unwrap().picture, None);
}

#[tokio::test]
async fn snapshot_takes_no_room_that_uploads_need() {
    let place = Directory::new();
    let store = place.open().await;
    let ada = user("ada");
    let created = store.create_user(account("ada"), "Ada".parse().unwrap());
    created.await.unwrap();
    let (shown, renditions) = usual_picture(1);
    let put = store.replace_picture(&ada, shown, renditions);
    put.await.unwrap();
    store.close().await.unwrap();
    let disk = rustix::fs::statvfs(&place.config().data_dir).unwrap();
    let free = disk.f_bavail * disk.f_frsize;
    let config = config::Storage {
        free_bytes_min: free / 4 * 3,
        ..place.config()
    };
    let store = storage::open(&config).await.unwrap();
    let mut snapshot = store.snapshot().await.unwrap();

    let (shown, renditions) = usual_picture(2);
    let replaced = store.replace_picture(&ada, shown, renditions).await;

    assert!(replaced.is_ok(), "{replaced:?}");
    let page = snapshot.users(9, u64::MAX).await;
    assert!(
        matches!(page, Err(Error::DiskFull { free_min, .. }) if free_min == free / 4 * 3 * 2),
        "{page:?}"
    );
    let mut another = store.snapshot().await.unwrap();
    assert_eq!(another.users(9, u64::MAX).await.unwrap().len(), 1);
}

#[tokio::test]
async fn database_older_than_its_last_acknowledgement_is_refused() {
    let place = Directory::new();
    let data_dir = place.config().data_dir;
    let store = place.open().await;
    store
        .create_user(account("ada"), "Ada".parse().unwrap())
        .await
        .unwrap();
    store.close().await.unwrap();
    let backup = data_dir.join("backup");
    copy(&data_dir.join("db"), &backup);
    let store = place.open().await;
    store
        .create_user(account("bob"), "Bob".parse().unwrap())
        .await
        .unwrap();
    store.close().await.unwrap();

    fs::remove_dir_all(data_dir.join("db")).unwrap();
    fs::rename(backup, data_dir.join("db")).unwrap();
    let refused = storage::open(&place.config()).await;

    let Err(Error::Damaged { detail, .. }) = refused else {
        panic!("{refused:?}")
    };
    assert!(
        detail.contains("ends at commit 1, but 2 were acknowledged"),
        "{detail}"
    );
    fs::remove_file(data_dir.join("acknowledged")).unwrap();
    assert_eq!(place.open().await.counts().await.unwrap().users, 1);
}

#[tokio::test]
async fn half_written_snapshot_does_not_keep_the_store_shut() {
    let place = Directory::new();
    place.open().await.close().await.unwrap();

    fs::write(
        place
            .config()
            .data_dir
            .join("db/snap.FFFFFFFFFFFFFFFF.generating"),
        "half",
    )
    .unwrap();

    place.open().await.ready().await.unwrap();
}

#[tokio::test]
async fn log_that_was_damaged_meanwhile_is_said_when_the_store_is_closed() {
    let place = Directory::new();
    let store = place.open().await;
    for number in 0..20 {
        let created = store.create_user(account(&format!("user{number}")), "Some".parse().unwrap());
        created.await.unwrap();
    }
    let log = place.config().data_dir.join("db/db");
    let mut bytes = fs::read(&log).unwrap();
    let places: Vec<usize> = memchr::memmem::find_iter(&bytes, b"user10").collect();
    for place in &places {
        bytes[*place] ^= 1;
    }
    assert!(!places.is_empty());
    fs::write(&log, bytes).unwrap();

    let closed = store.close().await;

    assert!(closed.is_err(), "{closed:?}");
    assert!(storage::open(&place.config()).await.is_err());
}

#[tokio::test]
async fn database_with_damaged_files_is_refused_with_what_can_be_done() {
    let place = Directory::new();
    place.open().await.close().await.unwrap();
    let files = fs::read_dir(place.config().data_dir.join("db")).unwrap();
    let mut files = files.map(|file| file.unwrap().path());
    let snapshot = files.find(|file| file.to_string_lossy().contains("snap."));
    let snapshot = snapshot.expect("a store that was closed has one");
    let mut bytes = fs::read(&snapshot).unwrap();
    bytes[20] ^= 1;
    fs::write(&snapshot, bytes).unwrap();

    let refused = storage::open(&place.config()).await;

    let Err(Error::Unavailable(sentence)) = refused else {
        panic!("{refused:?}")
    };
    for words in [
        "data/db are damaged: ",
        "Restore a backup of ",
        "move db and acknowledged out of ",
    ] {
        assert!(sentence.contains(words), "{sentence}");
    }
    fs::remove_dir_all(place.config().data_dir.join("db")).unwrap();
    fs::remove_file(place.config().data_dir.join("acknowledged")).unwrap();
    place.open().await.ready().await.unwrap();
}

/// Not a test by itself: the program that the next one traces.
#[tokio::test]
async fn traced_writer() {
    let Some(data_dir) = std::env::var_os("POCKITD_TEST_TRACED_DATA_DIR") else {
        return;
    };
    let config = config::Storage {
        data_dir: data_dir.into(),
        free_bytes_min: 0,
        ..config::Storage::default()
    };
    let store = storage::open(&config).await.unwrap();
    store
        .create_user(account("ada"), "Ada".parse().unwrap())
        .await
        .unwrap();
    for seed in 0..20 {
        let (shown, renditions) = usual_picture(seed);
        store
            .replace_picture(&user("ada"), shown, renditions)
            .await
            .unwrap();
    }
}

#[test]
fn every_write_is_synced_by_the_system_call_that_syncs() {
    if Command::new("strace").arg("-V").output().is_err() {
        println!("skipped: strace is not installed");
        return;
    }
    let place = Directory::new();
    let trace = place.0.path().join("trace");
    let mut traced = Command::new("strace");
    traced
        .args(["-f", "-e", "trace=fsync,fdatasync,sync_file_range", "-o"])
        .arg(&trace);
    traced
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "store::sled::traced_writer"]);

    let ran = traced
        .env("POCKITD_TEST_TRACED_DATA_DIR", place.config().data_dir)
        .output()
        .unwrap();

    if String::from_utf8_lossy(&ran.stderr).contains("Operation not permitted") {
        println!("skipped: tracing is not permitted here");
        return;
    }
    assert!(ran.status.success(), "{ran:?}");
    let trace = fs::read_to_string(trace).unwrap();
    let calls = |name: &str| trace.lines().filter(|line| line.contains(name)).count();
    assert!(
        calls("fdatasync(") >= 21,
        "{} calls of fdatasync",
        calls("fdatasync(")
    );
    assert_eq!(calls("sync_file_range("), 0);
}

fn copy(from: &std::path::Path, to: &std::path::Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_file() {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}
