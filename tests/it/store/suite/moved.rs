//! What every [`Store`] does with users that come from elsewhere, with all that is theirs.

use pockitd::domain::user::Profile;
use pockitd::storage::Counts;
use pockitd::storage::Error;
use pockitd::storage::What;
use pockitd::storage::WholeUser;
use pockitd::storage::upkeep::Making;

use super::create;
use super::is_gone;
use super::is_shown;
use crate::store::Place;
use crate::store::account;
use crate::store::at;
use crate::store::user;
use crate::store::usual_picture;

/// A user made in second 1, changed in second 7, with the picture of that seed; 0: without one.
fn whole(id: &str, seed: u64) -> WholeUser {
    let (picture, renditions) = if seed == 0 {
        (None, Vec::new())
    } else {
        let (picture, renditions) = usual_picture(seed);
        (Some(picture), renditions)
    };
    let profile = Profile {
        user_id: user(id),
        name: format!("{id} from afar").parse().unwrap(),
        picture,
        created_at: at(1),
        updated_at: at(7),
    };
    WholeUser {
        account: account(id),
        profile,
        renditions,
        making: Making::default(),
    }
}

pub(in crate::store) async fn put_user_is_read_back_with_times_and_picture(place: &impl Place) {
    let store = place.open().await;
    let ada = whole("ada", 1);

    store.put_user(ada.clone(), false).await.unwrap();
    store.put_user(whole("bob", 0), false).await.unwrap();
    drop(store);

    let store = place.open().await;
    assert_eq!(store.account(&user("ada")).await.unwrap(), ada.account);
    let found = store.account_by_email(&ada.account.email).await.unwrap();
    assert_eq!(found, ada.account);
    assert_eq!(store.profile(&user("ada")).await.unwrap(), ada.profile);
    is_shown(&*store, &ada.profile.picture.unwrap(), &ada.renditions).await;
    let (users, pictures) = (2, 1);
    assert_eq!(store.counts().await.unwrap(), Counts { users, pictures });
}

pub(in crate::store) async fn put_user_that_is_taken_is_refused_and_changes_nothing(
    place: &impl Place,
) {
    let store = place.open().await;
    create(&*store, "ada").await;
    let bob = whole("bob", 1);
    store.put_user(bob.clone(), false).await.unwrap();
    let with_address_of = |id: &str, other: &str, seed| {
        let mut moved = whole(id, seed);
        moved.account.email = format!("{other}@EXAMPLE.org").parse().unwrap();
        moved
    };
    for (moved, replace, what) in [
        (whole("ada", 2), false, What::User),
        (with_address_of("eve", "ada", 2), false, What::Email),
        (with_address_of("eve", "ada", 2), true, What::Email),
        (with_address_of("bob", "ada", 2), true, What::Email),
        (whole("eve", 1), false, What::Picture),
        (whole("ada", 1), true, What::Picture),
    ] {
        let refused = store.put_user(moved.clone(), replace).await;

        let Err(Error::AlreadyExists(found)) = refused else {
            panic!("{refused:?} for {moved:?}")
        };
        assert_eq!(found, what);
    }
    assert_eq!(store.account(&user("ada")).await.unwrap(), account("ada"));
    assert_eq!(store.profile(&user("ada")).await.unwrap().picture, None);
    assert_eq!(store.profile(&user("bob")).await.unwrap(), bob.profile);
    is_shown(&*store, &bob.profile.picture.unwrap(), &bob.renditions).await;
    let (users, pictures) = (2, 1);
    assert_eq!(store.counts().await.unwrap(), Counts { users, pictures });
}

pub(in crate::store) async fn put_user_replaces_all_of_the_user_before(place: &impl Place) {
    let store = place.open().await;
    store.put_user(whole("ada", 1), true).await.unwrap();
    let (first, _) = usual_picture(1);
    let mut second = whole("ada", 2);
    second.account.email = "countess@example.org".parse().unwrap();

    store.put_user(second.clone(), true).await.unwrap();

    is_gone(&*store, &first).await;
    let old = store.account_by_email(&account("ada").email).await;
    assert!(matches!(old, Err(Error::NotFound(_))), "{old:?}");
    // Once more the same, as after an interruption: the picture keeps its id.
    for _ in 0..2 {
        assert_eq!(store.account(&user("ada")).await.unwrap(), second.account);
        assert_eq!(store.profile(&user("ada")).await.unwrap(), second.profile);
        let shown = second.profile.picture.clone().unwrap();
        is_shown(&*store, &shown, &second.renditions).await;
        store.put_user(second.clone(), true).await.unwrap();
    }
    store.put_user(whole("ada", 0), true).await.unwrap();
    is_gone(&*store, &second.profile.picture.unwrap()).await;
    let (users, pictures) = (1, 0);
    assert_eq!(store.counts().await.unwrap(), Counts { users, pictures });
}
