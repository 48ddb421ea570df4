//! What every [`Store`] does with users that come from elsewhere, with all that is theirs.

use pockitd::domain::picture::Crop;
use pockitd::domain::user::Profile;
use pockitd::storage::Counts;
use pockitd::storage::Edit;
use pockitd::storage::Error;
use pockitd::storage::Store;
use pockitd::storage::What;
use pockitd::storage::WholeUser;
use pockitd::storage::listed::ListedUser;
use pockitd::storage::upkeep::{Making, Original};

use super::create;
use super::is_gone;
use super::is_shown;
use crate::store::Place;
use crate::store::account;
use crate::store::at;
use crate::store::user;
use crate::store::usual_picture;

/// The first users there are.
pub(super) async fn listed(store: &dyn Store, bytes_max: u64) -> Vec<ListedUser> {
    let mut snapshot = store.snapshot().await.unwrap();
    snapshot.users(9, bytes_max).await.unwrap()
}

/// A user made in second 1, changed in second 7, with the picture of that seed; 0: without one.
pub(super) fn whole(id: &str, seed: u64) -> WholeUser {
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
    let email = ada.account.email.clone().unwrap();
    let found = store.account_by_email(&email).await.unwrap();
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
        moved.account.email = format!("{other}@EXAMPLE.org").parse().ok();
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
    second.account.email = "countess@example.org".parse().ok();

    store.put_user(second.clone(), true).await.unwrap();

    is_gone(&*store, &first).await;
    let old = store.account_by_email(&account("ada").email.unwrap()).await;
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

pub(in crate::store) async fn kept_upload_goes_where_its_picture_goes(place: &impl Place) {
    let kept = |byte: u8| Making {
        recipe: Some(u64::from(byte)),
        original: Some(Original {
            bytes: vec![byte; 40_000].into(),
            crop: Some(Crop {
                x: 1,
                y: 2,
                width: 3,
                height: 4,
            }),
        }),
        ..Making::default()
    };
    let store = place.open().await;
    let mut ada = whole("ada", 1);
    ada.making = kept(1);

    store.put_user(ada.clone(), false).await.unwrap();

    let users = listed(&*store, 1).await;
    let [found] = users.try_into().unwrap();
    assert_eq!(found.whole, Some(ada.clone()));
    let before = ada.profile.picture.clone().unwrap();
    assert_eq!(
        store.original(before.id).await.unwrap(),
        kept(1).original,
        "with the part that was chosen"
    );
    // A change that expects what there is carries it as well.
    let (picture, renditions) = usual_picture(2);
    let edit = Edit::ReplacePicture {
        picture: picture.clone(),
        renditions,
        making: Box::new(kept(2)),
    };
    store.edit_if(ada.profile, edit).await.unwrap();
    drop(store);
    let store = place.open().await;
    let users = listed(&*store, u64::MAX).await;
    assert_eq!(users[0].whole.as_ref().unwrap().making, kept(2));
    assert_eq!(store.recipe(picture.id).await.unwrap(), Some(2));
    for gone in [
        store.original(before.id).await.map(drop),
        store.recipe(before.id).await.map(drop),
    ] {
        assert!(matches!(gone, Err(Error::NotFound(What::Picture))));
    }
    // One that is made of a picture which the user has no more is not stored.
    let (late, renditions) = usual_picture(3);
    let making = Making {
        instead_of: Some(before.id),
        ..kept(3)
    };
    let owner = user("ada");
    let refused = store.store_picture(&owner, late, renditions, making);
    assert!(matches!(refused.await, Err(Error::NotFound(What::Picture))));
    assert_eq!(store.original(picture.id).await.unwrap(), kept(2).original);
}
