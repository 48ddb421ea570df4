//! A store on sled that is written anew: smaller, and the same.

use std::sync::Arc;

use futures_util::future::join_all;
use pockitd::storage::Store;
use pockitd::storage::listed::ListedUser;
use pockitd::storage::upkeep::{Keyed, KeyedUpload, Making, Watch};

use super::Place as _;
use super::sled::Directory;
use super::{account, at, user, usual_picture};

const USERS: u64 = 24;
const REPLACEMENTS: u64 = 24;
/// Length of a segment of the log.
const SEGMENT_BYTES: u64 = 1_024 * 1_024;

/// Replaces everybody's picture a number of times; the last has that seed and more.
async fn churn(store: &Arc<dyn Store>, last: u64) {
    for round in (0..REPLACEMENTS).rev() {
        let replaced = (0..USERS).map(async |number| {
            let (shown, renditions) = usual_picture(last + number + round * 1_000);
            let id = user(&format!("user{number}"));
            store.replace_picture(&id, shown, renditions).await
        });
        for replaced in join_all(replaced).await {
            replaced.unwrap();
        }
    }
}

/// A store with much space that it does not use.
async fn churned(place: &Directory) -> Arc<dyn Store> {
    let store = place.open().await;
    for number in 0..USERS {
        let created = store.create_user(account(&format!("user{number}")), "Some".parse().unwrap());
        created.await.unwrap();
    }
    churn(&store, 1).await;
    store
}

async fn has_the_last(store: &Arc<dyn Store>, last: u64) {
    for number in 0..USERS {
        let (shown, renditions) = usual_picture(last + number);
        let profile = store
            .profile(&user(&format!("user{number}")))
            .await
            .unwrap();
        assert_eq!(profile.picture.map(|picture| picture.id), Some(shown.id));
        for rendition in renditions {
            let stored = store.rendition(shown.id, rendition.size_px).await.unwrap();
            assert_eq!(stored.bytes, rendition.bytes);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn space_of_replaced_pictures_comes_back_beside_writes() {
    let place = Directory::new();
    let store = churned(&place).await;

    let watch = Watch::default();
    let alone = store.compact(&watch).await.unwrap().unwrap();

    println!(
        "{} bytes before, {} after",
        alone.bytes_before, alone.bytes_after
    );
    // How much there was before depends on how many changes shared a transaction.
    assert!(alone.replaced, "{alone:?}");
    assert!(alone.bytes_after < alone.bytes_before, "{alone:?}");
    assert!(alone.bytes_after < 5_000_000, "{alone:?}");
    assert!(watch.done() > USERS);
    has_the_last(&store, 1).await;
    let watch = Watch::default();
    let (beside, ()) = tokio::join!(store.compact(&watch), churn(&store, 2));
    beside.unwrap();
    has_the_last(&store, 2).await;
    let counts = store.counts().await.unwrap();
    assert_eq!((counts.users, counts.pictures), (USERS, USERS));
    store.close().await.unwrap();
    let store = place.open().await;
    has_the_last(&store, 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn copy_that_is_not_smaller_is_let_go_and_the_store_goes_on() {
    let place = Directory::new();
    let store = churned(&place).await;
    let inode = || {
        let log = std::fs::metadata(place.config().data_dir.join("db/db"));
        std::os::unix::fs::MetadataExt::ino(&log.unwrap())
    };

    // sled's use of segments is a matter of chance: four times, and on until one was not smaller.
    let mut kept = 0;
    for round in 0..32 {
        if round >= 4 && kept > 0 {
            break;
        }
        let before = inode();
        let compacted = store.compact(&Watch::default()).await.unwrap().unwrap();
        assert_eq!(inode() != before, compacted.replaced, "{compacted:?}");
        assert!(!place.config().data_dir.join("db.new").exists());
        if compacted.replaced {
            assert!(
                compacted.bytes_anew < compacted.bytes_before,
                "{compacted:?}"
            );
            // The log's last segment is written bit by bit: what saves less than one may be used up by the next.
            let with_next = compacted.bytes_anew + SEGMENT_BYTES;
            assert!(
                compacted.bytes_after < compacted.bytes_before.max(with_next),
                "{compacted:?}"
            );
        } else {
            assert_eq!(compacted.bytes_after, compacted.bytes_before);
            assert!(
                compacted.bytes_anew >= compacted.bytes_before,
                "{compacted:?}"
            );
            kept += 1;
        }
    }

    assert!(kept > 0);
    has_the_last(&store, 1).await;
    churn(&store, 2).await;
    store.close().await.unwrap();
    has_the_last(&place.open().await, 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idempotency_keys_of_before_and_meanwhile_are_in_the_new_store() {
    let place = Directory::new();
    let store = churned(&place).await;
    let owner = user("user0");
    let send = async |key: &str, seed: u64| {
        let keyed = KeyedUpload {
            key: key.to_owned(),
            upload: "something".to_owned(),
            stored_at: at(1),
        };
        let making = Making {
            keyed: Some(Keyed {
                upload: keyed,
                forget_before: at(0),
            }),
            ..Making::default()
        };
        let (shown, renditions) = usual_picture(seed);
        let stored = store.store_picture(&owner, shown, renditions, making);
        stored.await.unwrap();
    };
    send("before", 500_000).await;

    let watch = Watch::default();
    let (compacted, ()) = tokio::join!(store.compact(&watch), send("meanwhile", 500_001));

    compacted.unwrap().unwrap();
    store.close().await.unwrap();
    let store = place.open().await;
    for key in ["before", "meanwhile"] {
        let found = store.keyed_upload(&owner, key).await.unwrap();
        assert_eq!(found.map(|found| found.key).as_deref(), Some(key));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropped_compaction_changes_nothing_and_can_be_begun_again() {
    let place = Directory::new();
    let store = churned(&place).await;
    for milliseconds in [0, 1, 5, 20] {
        let watch = Watch::default();
        let limit = std::time::Duration::from_millis(milliseconds);
        drop(tokio::time::timeout(limit, store.compact(&watch)).await);
    }

    // One that was dropped ends soon.
    let begin = std::time::Instant::now();
    while let Err(error) = store.compact(&Watch::default()).await {
        assert!(begin.elapsed() < crate::support::DEADLINE, "{error}");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }

    has_the_last(&store, 1).await;
    store.close().await.unwrap();
    assert!(!place.config().data_dir.join("db.new").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closing_ends_a_compaction_and_leaves_nothing_of_it() {
    let place = Directory::new();
    let mut ended = 0;
    for milliseconds in [0, 1, 2, 5, 10, 20, 40] {
        let store = place.open().await;
        if milliseconds == 0 {
            for number in 0..USERS {
                let id = format!("user{number}");
                let created = store.create_user(account(&id), "Some".parse().unwrap());
                created.await.unwrap();
            }
            churn(&store, 1).await;
        }
        let compacting = tokio::spawn({
            let store = Arc::clone(&store);
            async move { store.compact(&Watch::default()).await }
        });
        // Not to wait for something: the moment itself is what is tested.
        tokio::time::sleep(std::time::Duration::from_millis(milliseconds)).await;

        store.close().await.unwrap();

        // The directory is free for another process: nothing may appear in it or go away any more.
        for left in ["db.new", "db.old"] {
            assert!(!place.config().data_dir.join(left).exists(), "{left}");
        }
        ended += u32::from(compacting.await.unwrap().is_err());
    }
    assert!(ended > 0);
    has_the_last(&place.open().await, 1).await;
}

#[tokio::test]
async fn pages_of_users_end_with_their_bytes() {
    let place = Directory::new();
    let store = place.open().await;
    for number in 0..5 {
        let id = format!("user{number}");
        let created = store.create_user(account(&id), "Some".parse().unwrap());
        created.await.unwrap();
        let (shown, renditions) = usual_picture(number);
        store
            .replace_picture(&user(&id), shown, renditions)
            .await
            .unwrap();
    }

    let mut snapshot = store.snapshot().await.unwrap();
    let two = snapshot.users(2, u64::MAX).await.unwrap();
    let one = snapshot.users(2, 1).await.unwrap();
    let last = snapshot.users(9, u64::MAX).await.unwrap();
    let none = snapshot.users(2, u64::MAX).await.unwrap();

    let ids = |users: &[ListedUser]| -> Vec<String> {
        users.iter().map(|user| user.user_id.to_string()).collect()
    };
    assert_eq!(ids(&two), ["user0", "user1"]);
    let second = two[1].whole.as_ref().unwrap();
    assert_eq!(second.renditions, usual_picture(1).1);
    assert_eq!(
        ids(&one),
        ["user2"],
        "a page ends with its bytes, but never before its first user"
    );
    assert_eq!(ids(&last), ["user3", "user4"]);
    assert!(none.is_empty());
}
