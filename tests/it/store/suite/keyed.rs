//! What every [`Store`] remembers of uploads with an idempotency key.

use pockitd::domain::picture::PictureId;
use pockitd::domain::user::{Profile, UserId};
use pockitd::storage::upkeep::{Keyed, KeyedUpload, Making};
use pockitd::storage::{Edit, Error, Store, WholeUser};

use super::audit::audit;
use super::create;
use crate::store::Place;
use crate::store::account;
use crate::store::at;
use crate::store::user;
use crate::store::usual_picture;

/// The upload of that key, stored in that second.
fn keyed(key: &str, second: i64) -> KeyedUpload {
    KeyedUpload {
        key: key.to_owned(),
        upload: format!("what was uploaded with {key} in second {second}"),
        stored_at: at(second),
    }
}

/// How it was made: with that key; those from before that second may be forgotten.
fn making(upload: &KeyedUpload, forget_before: i64) -> Making {
    Making {
        keyed: Some(Keyed {
            upload: upload.clone(),
            forget_before: at(forget_before),
        }),
        ..Making::default()
    }
}

async fn upload(
    store: &dyn Store,
    owner: &UserId,
    seed: u64,
    making: Making,
) -> Result<PictureId, Error> {
    let (shown, renditions) = usual_picture(seed);
    let id = shown.id;
    store
        .store_picture(owner, shown, renditions, making)
        .await
        .map(|_| id)
}

async fn found(store: &dyn Store, owner: &str, key: &str) -> Option<KeyedUpload> {
    store.keyed_upload(&user(owner), key).await.unwrap()
}

pub(in crate::store) async fn key_of_an_upload_is_remembered_with_its_picture_or_not_at_all(
    place: &impl Place,
) {
    let store = place.open().await;
    create(&*store, "ada").await;
    let ada = user("ada");
    let first = keyed("first", 1);
    upload(&*store, &ada, 1, making(&first, 0)).await.unwrap();

    // Of changes that fail, nothing is remembered: an id that is in use, a profile that is another one, no such user.
    let late = keyed("late", 2);
    let taken = upload(&*store, &ada, 1, making(&late, 0)).await;
    assert!(matches!(taken, Err(Error::AlreadyExists(_))), "{taken:?}");
    let (picture, renditions) = usual_picture(2);
    let seen = store.profile(&ada).await.unwrap();
    let edit = |making| Edit::ReplacePicture {
        picture: picture.clone(),
        renditions: renditions.clone(),
        making: Box::new(making),
    };
    let other = Profile {
        updated_at: at(77),
        ..seen.clone()
    };
    let changed = store.edit_if(other, edit(making(&late, 0))).await;
    assert!(matches!(changed, Err(Error::Changed)), "{changed:?}");
    let ghost = upload(&*store, &user("ghost"), 3, making(&late, 0)).await;
    assert!(matches!(ghost, Err(Error::NotFound(_))), "{ghost:?}");
    assert_eq!(found(&*store, "ada", "late").await, None);
    assert_eq!(found(&*store, "ghost", "late").await, None);

    // And with the others it is, also if they expect something, and stays when their picture goes.
    let second = keyed("second", 3);
    store.edit_if(seen, edit(making(&second, 0))).await.unwrap();
    store.remove_picture(&ada, at(4)).await.unwrap();
    drop(store);
    let store = place.open().await;
    assert_eq!(found(&*store, "ada", "first").await, Some(first));
    assert_eq!(found(&*store, "ada", "second").await, Some(second));
    assert_eq!(found(&*store, "ada", "third").await, None);
    assert_eq!(found(&*store, "bob", "first").await, None);
}

pub(in crate::store) async fn newest_keys_of_each_user_are_remembered_until_they_may_be_forgotten(
    place: &impl Place,
) {
    let store = place.open().await;
    create(&*store, "ada").await;
    create(&*store, "bob").await;
    let kept = i64::try_from(KeyedUpload::KEPT_MAX).unwrap();
    let bobs = keyed("0", 500);
    upload(&*store, &user("bob"), 99, making(&bobs, 0))
        .await
        .unwrap();
    let send = async |key: &str, second: i64, forget_before: i64| {
        let making = making(&keyed(key, second), forget_before);
        let seed = u64::try_from(second).unwrap();
        upload(&*store, &user("ada"), seed, making).await.unwrap();
    };

    for second in 1..=kept + 2 {
        send(&second.to_string(), second, 0).await;
    }

    for second in 1..=kept + 2 {
        let key = second.to_string();
        let expected = (second > 2).then(|| keyed(&key, second));
        assert_eq!(found(&*store, "ada", &key).await, expected);
    }
    // The same key again takes the place of the one before, and nobody else's.
    send("5", 50, 0).await;
    assert_eq!(found(&*store, "ada", "5").await, Some(keyed("5", 50)));
    assert_eq!(found(&*store, "ada", "3").await, Some(keyed("3", 3)));
    // One with the clock put back is new nevertheless.
    send("back", 2, 0).await;
    assert_eq!(found(&*store, "ada", "back").await, Some(keyed("back", 2)));
    assert_eq!(found(&*store, "ada", "3").await, None);
    send("last", 60, 50).await;
    for key in ["4", "6", "back"] {
        assert_eq!(found(&*store, "ada", key).await, None, "{key}");
    }
    assert_eq!(found(&*store, "ada", "5").await, Some(keyed("5", 50)));
    // Without a key, nothing is added and nothing forgotten.
    upload(&*store, &user("ada"), 70, Making::default())
        .await
        .unwrap();
    assert_eq!(found(&*store, "ada", "last").await, Some(keyed("last", 60)));
    assert_eq!(found(&*store, "bob", "0").await, Some(bobs));
}

pub(in crate::store) async fn keys_go_with_their_user(place: &impl Place) {
    let store = place.open().await;
    for (id, seed) in [("ada", 1), ("bob", 2), ("eve", 3)] {
        create(&*store, id).await;
        let making = making(&keyed("k", 1), 0);
        upload(&*store, &user(id), seed, making).await.unwrap();
    }

    store.delete_user(&user("ada")).await.unwrap();
    let users = super::moved::listed(&*store, u64::MAX).await;
    let bob = users
        .into_iter()
        .filter_map(|listed| listed.whole)
        .find(|whole| whole.account == account("bob"));
    let bob = bob.unwrap();
    assert_eq!(bob.making.keyed, None, "they do not move");
    let put = WholeUser {
        making: making(&keyed("moved", 1), 0),
        ..bob
    };
    store.put_user(put, true).await.unwrap();

    for key in ["k", "moved"] {
        assert_eq!(found(&*store, "ada", key).await, None);
        assert_eq!(found(&*store, "bob", key).await, None);
    }
    create(&*store, "ada").await;
    assert_eq!(found(&*store, "ada", "k").await, None);
    assert_eq!(found(&*store, "eve", "k").await, Some(keyed("k", 1)));
    let (findings, ..) = audit(&*store, at(1_000_000)).await;
    assert_eq!(findings, []);
}
