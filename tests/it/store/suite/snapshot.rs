//! What every [`Store`] does for those who read everybody while others write.

use pockitd::storage::Store;
use pockitd::storage::WholeUser;
use pockitd::storage::listed::Snapshot;

use super::create;
use super::moved::{listed, whole};
use crate::store::Place;
use crate::store::at;
use crate::store::user;
use crate::store::usual_picture;

/// What is left of a snapshot.
async fn rest(snapshot: &mut dyn Snapshot, count: usize, bytes_max: u64) -> Vec<WholeUser> {
    let mut users = Vec::new();
    loop {
        let page = snapshot.users(count, bytes_max).await.unwrap();
        assert!(page.len() <= count);
        if page.is_empty() {
            return users;
        }
        users.extend(page.into_iter().map(|listed| listed.whole.unwrap()));
    }
}

/// Changes of every kind to everybody.
async fn change_everybody(store: &dyn Store) {
    store.delete_user(&user("ada")).await.unwrap();
    for (seed, name) in [(20, "Robert"), (21, "Bobby")] {
        let bob = user("bob");
        let renamed = store.rename(&bob, name.parse().unwrap(), at(8));
        renamed.await.unwrap();
        let (shown, files) = usual_picture(seed);
        store.replace_picture(&bob, shown, files).await.unwrap();
    }
    store.put_user(whole("cleo", 22), true).await.unwrap();
    store.delete_user(&user("dan")).await.unwrap();
    let mut moved = whole("zoe", 0);
    moved.account.email = whole("dan", 0).account.email;
    store.put_user(moved, false).await.unwrap();
    store.remove_picture(&user("eve"), at(9)).await.unwrap();
    create(store, "bea").await;
    create(store, "dana").await;
    let fay = user("fay");
    let hashed = store.set_password_hash(&fay, "another".to_owned());
    hashed.await.unwrap();
}

pub(in crate::store) async fn snapshot_shows_everybody_as_they_were(place: &impl Place) {
    let store = place.open().await;
    let before = [
        ("ada", 1),
        ("bob", 2),
        ("cleo", 0),
        ("dan", 3),
        ("eve", 4),
        ("fay", 0),
    ];
    let before = before.map(|(id, seed)| whole(id, seed));
    for user in &before {
        store.put_user(user.clone(), false).await.unwrap();
    }
    let mut begun = store.snapshot().await.unwrap();
    let mut untouched = store.snapshot().await.unwrap();
    let mut in_one = store.snapshot().await.unwrap();
    let first = begun.users(1, u64::MAX).await.unwrap().remove(0);

    change_everybody(&*store).await;

    assert_eq!(first.whole.as_ref(), before.first());
    assert_eq!(rest(&mut *begun, 2, u64::MAX).await, before[1..]);
    assert_eq!(rest(&mut *untouched, 9, 1).await, before);
    assert_eq!(rest(&mut *in_one, 9, u64::MAX).await, before);
    let now = listed(&*store, u64::MAX).await;
    let now: Vec<&str> = now.iter().map(|user| user.user_id.as_str()).collect();
    assert_eq!(now, ["bea", "bob", "cleo", "dana", "eve", "fay", "zoe"]);
}

pub(in crate::store) async fn snapshot_beside_writes_is_of_one_moment(place: &impl Place) {
    let store = place.open().await;
    for number in 0..9 {
        create(&*store, &format!("user{number}")).await;
    }
    let (first, last) = (user("user0"), user("user8"));
    for id in [&first, &last] {
        store.rename(id, "0".parse().unwrap(), at(2)).await.unwrap();
    }
    // The first is never more than one step ahead of the last.
    let write = async {
        for number in 1..60 {
            for id in [&first, &last] {
                let name = number.to_string().parse().unwrap();
                store.rename(id, name, at(3)).await.unwrap();
            }
        }
    };
    let read = async {
        for _ in 0..10 {
            let mut snapshot = store.snapshot().await.unwrap();
            let users = rest(&mut *snapshot, 1, u64::MAX).await;
            let step = |user: &WholeUser| user.profile.name.as_str().parse::<i32>().unwrap();
            let ahead = step(&users[0]) - step(&users[8]);
            assert!((0..=1).contains(&ahead), "{ahead} ahead");
        }
    };
    tokio::join!(write, read);
}
