//! What every [`Store`] does. Each function is one behaviour and starts with an empty place.

mod audit;
mod keyed;
mod moved;
mod nameless;
mod snapshot;
mod together;

use pockitd::domain::picture::Picture;
use pockitd::domain::picture::Rendition;
use pockitd::storage::Counts;
use pockitd::storage::Error;
use pockitd::storage::Store;
use pockitd::storage::What;
use xxhash_rust::xxh3::xxh3_128;

use super::Place;
use super::account;
use super::at;
use super::picture;
use super::user;
use super::usual_picture;

pub(super) use audit::{
    audit_beside_uploads_finds_nothing, audit_of_a_sound_store_sees_everything_and_finds_nothing,
    finding_that_is_so_no_longer_is_not_mended,
    orphan_picture_is_found_if_it_is_old_enough_and_removed,
    unreadable_picture_is_found_and_taken_away,
};
pub(super) use keyed::{
    key_of_an_upload_is_remembered_with_its_picture_or_not_at_all, keys_go_with_their_user,
    newest_keys_of_each_user_are_remembered_until_they_may_be_forgotten,
};
pub(super) use moved::{
    kept_upload_goes_where_its_picture_goes, put_user_is_read_back_with_times_and_picture,
    put_user_replaces_all_of_the_user_before,
    put_user_that_is_taken_is_refused_and_changes_nothing,
};
pub(super) use nameless::users_without_an_email_are_many_and_in_nobodys_way;
pub(super) use snapshot::{
    snapshot_beside_writes_is_of_one_moment, snapshot_shows_everybody_as_they_were,
};
pub(super) use together::{
    acknowledged_writes_are_there_after_reopening, dropped_future_leaves_all_or_nothing,
    of_changes_that_expect_the_same_one_happens,
    reader_of_a_replaced_picture_sees_all_of_it_or_nothing,
    uploads_of_one_user_at_once_leave_one_picture,
};

pub(super) async fn created_user_is_found_by_id_and_by_email_without_case(place: &impl Place) {
    let store = place.open().await;

    let profile = create(&*store, "ada").await;

    assert_eq!(profile, store.profile(&user("ada")).await.unwrap());
    assert_eq!(
        (profile.picture, profile.created_at, profile.updated_at),
        (None, at(1), at(1))
    );
    assert_eq!(store.account(&user("ada")).await.unwrap(), account("ada"));
    let email = "ADA@example.ORG".parse().unwrap();
    assert_eq!(
        store.account_by_email(&email).await.unwrap(),
        account("ada")
    );
    assert_eq!(
        store.counts().await.unwrap(),
        Counts {
            users: 1,
            pictures: 0
        }
    );
    store.ready().await.unwrap();
}

pub(super) async fn taken_id_or_email_is_refused_and_changes_nothing(place: &impl Place) {
    let store = place.open().await;
    create(&*store, "ada").await;
    let name = || "Other".parse().unwrap();

    let mut same_id = account("ada");
    same_id.email = "other@example.org".parse().ok();
    let mut same_email = account("other");
    same_email.email = "aDa@example.org".parse().ok();

    assert!(matches!(
        store.create_user(same_id, name()).await,
        Err(Error::AlreadyExists(What::User))
    ));
    assert!(matches!(
        store.create_user(same_email, name()).await,
        Err(Error::AlreadyExists(What::Email))
    ));
    assert_eq!(store.account(&user("ada")).await.unwrap(), account("ada"));
    is_unknown(&*store, "other").await;
    let email = "other@example.org".parse().unwrap();
    assert!(matches!(
        store.account_by_email(&email).await,
        Err(Error::NotFound(What::Email))
    ));
    assert_eq!(store.counts().await.unwrap().users, 1);
}

pub(super) async fn unknown_user_email_or_picture_is_not_found(place: &impl Place) {
    let store = place.open().await;
    create(&*store, "ada").await;
    let (shown, renditions) = usual_picture(1);
    store
        .replace_picture(&user("ada"), shown.clone(), renditions)
        .await
        .unwrap();

    is_unknown(&*store, "ad").await;
    is_unknown(&*store, "adaa").await;
    let email = "bob@example.org".parse().unwrap();
    assert!(matches!(
        store.account_by_email(&email).await,
        Err(Error::NotFound(What::Email))
    ));
    let (other, _) = usual_picture(2);
    assert!(matches!(
        store.rendition(other.id, 512).await,
        Err(Error::NotFound(What::Picture))
    ));
    assert!(matches!(
        store.rendition(shown.id, 513).await,
        Err(Error::NotFound(What::Picture))
    ));
}

pub(super) async fn password_hash_and_name_are_changed(place: &impl Place) {
    let store = place.open().await;
    create(&*store, "ada").await;
    create(&*store, "bob").await;

    store
        .set_password_hash(&user("ada"), "new".to_owned())
        .await
        .unwrap();
    let renamed = store
        .rename(&user("ada"), "Countess".parse().unwrap(), at(7))
        .await
        .unwrap();

    let read = store.account(&user("ada")).await.unwrap();
    assert_eq!(read.password_hash.as_deref(), Some("new"));
    assert_eq!(renamed, store.profile(&user("ada")).await.unwrap());
    assert_eq!(
        (
            renamed.name.as_str(),
            renamed.created_at,
            renamed.updated_at
        ),
        ("Countess", at(1), at(7))
    );
    assert_eq!(store.account(&user("bob")).await.unwrap(), account("bob"));
    assert_eq!(
        store.profile(&user("bob")).await.unwrap().name.as_str(),
        "bob"
    );
}

pub(super) async fn accounts_come_in_order_and_in_pages(place: &impl Place) {
    let store = place.open().await;
    let mut ids = ["b", "a", "ab", "a b", "ä", "a|1", "10", "9", "aa"];
    for (number, id) in ids.into_iter().enumerate() {
        let mut account = account("x");
        account.user_id = user(id);
        account.email = format!("{number}@example.org").parse().ok();
        store
            .create_user(account, "Some".parse().unwrap())
            .await
            .unwrap();
    }

    let mut listed = Vec::new();
    let mut after = None;
    loop {
        let page = store.accounts(after.as_ref(), 2).await.unwrap();
        let last = page.len() < 2;
        listed.extend(page.iter().map(|account| account.user_id.to_string()));
        after = page.last().map(|account| account.user_id.clone());
        if last {
            break;
        }
    }

    ids.sort_unstable();
    assert_eq!(listed, ids);
    assert_eq!(store.accounts(None, 100).await.unwrap().len(), ids.len());
    assert!(
        store
            .accounts(Some(&user("zzz")), 0)
            .await
            .unwrap()
            .is_empty()
    );
}

pub(super) async fn picture_is_read_back_byte_for_byte_in_every_size(place: &impl Place) {
    let store = place.open().await;
    create(&*store, "ada").await;
    let sizes = [
        (2_048, 3_000_000),
        (1_024, 16_384),
        (512, 8_193),
        (256, 8_192),
        (128, 1),
        (64, 0),
    ];
    let (shown, renditions) = picture(5, &sizes);

    let profile = store
        .replace_picture(&user("ada"), shown.clone(), renditions.clone())
        .await
        .unwrap();

    assert_eq!(profile.picture.as_ref(), Some(&shown));
    assert_eq!(profile.updated_at, shown.uploaded_at);
    assert_eq!(profile, store.profile(&user("ada")).await.unwrap());
    // Twice: the second answer may come from a cache.
    is_shown(&*store, &shown, &renditions).await;
    is_shown(&*store, &shown, &renditions).await;
    assert_eq!(
        store.counts().await.unwrap(),
        Counts {
            users: 1,
            pictures: 1
        }
    );
}

pub(super) async fn replaced_picture_is_gone_at_once(place: &impl Place) {
    let store = place.open().await;
    create(&*store, "ada").await;
    let (mut old, renditions) = usual_picture(0);
    store
        .replace_picture(&user("ada"), old.clone(), renditions.clone())
        .await
        .unwrap();
    is_shown(&*store, &old, &renditions).await;

    for seed in 1..20 {
        let (new, renditions) = usual_picture(seed);
        store
            .replace_picture(&user("ada"), new.clone(), renditions.clone())
            .await
            .unwrap();

        is_gone(&*store, &old).await;
        is_shown(&*store, &new, &renditions).await;
        old = new;
    }
    assert_eq!(
        store.counts().await.unwrap(),
        Counts {
            users: 1,
            pictures: 1
        }
    );
}

pub(super) async fn removed_picture_is_gone_and_removing_none_changes_nothing(place: &impl Place) {
    let store = place.open().await;
    create(&*store, "ada").await;
    let (shown, renditions) = usual_picture(1);
    store
        .replace_picture(&user("ada"), shown.clone(), renditions.clone())
        .await
        .unwrap();
    is_shown(&*store, &shown, &renditions).await;

    let first = store.remove_picture(&user("ada"), at(500)).await.unwrap();
    let second = store.remove_picture(&user("ada"), at(600)).await.unwrap();

    assert_eq!((first.picture.as_ref(), first.updated_at), (None, at(500)));
    assert_eq!(first, second);
    assert_eq!(first, store.profile(&user("ada")).await.unwrap());
    is_gone(&*store, &shown).await;
    assert_eq!(
        store.counts().await.unwrap(),
        Counts {
            users: 1,
            pictures: 0
        }
    );
}

pub(super) async fn picture_for_an_unknown_user_is_not_stored(place: &impl Place) {
    let store = place.open().await;
    let (shown, renditions) = usual_picture(1);

    let refused = store
        .replace_picture(&user("ada"), shown.clone(), renditions)
        .await;

    assert!(matches!(refused, Err(Error::NotFound(What::User))));
    is_gone(&*store, &shown).await;
    assert_eq!(store.counts().await.unwrap(), Counts::default());
}

pub(super) async fn picture_id_in_use_is_refused(place: &impl Place) {
    let store = place.open().await;
    create(&*store, "ada").await;
    create(&*store, "bob").await;
    let (shown, renditions) = usual_picture(1);
    store
        .replace_picture(&user("ada"), shown.clone(), renditions.clone())
        .await
        .unwrap();

    let refused = store
        .replace_picture(&user("bob"), shown.clone(), renditions.clone())
        .await;

    assert!(matches!(refused, Err(Error::AlreadyExists(What::Picture))));
    assert_eq!(store.profile(&user("bob")).await.unwrap().picture, None);
    is_shown(&*store, &shown, &renditions).await;
}

pub(super) async fn deleted_user_leaves_nothing_and_frees_the_email(place: &impl Place) {
    let store = place.open().await;
    create(&*store, "ada").await;
    create(&*store, "bob").await;
    let (shown, renditions) = usual_picture(1);
    store
        .replace_picture(&user("ada"), shown.clone(), renditions.clone())
        .await
        .unwrap();
    is_shown(&*store, &shown, &renditions).await;

    store.delete_user(&user("ada")).await.unwrap();

    is_unknown(&*store, "ada").await;
    is_gone(&*store, &shown).await;
    assert_eq!(
        store.counts().await.unwrap(),
        Counts {
            users: 1,
            pictures: 0
        }
    );
    let listed = store.accounts(None, 9).await.unwrap();
    let [listed] = listed.try_into().unwrap();
    assert_eq!(listed.account.unwrap(), account("bob"));
    let mut heir = account("eve");
    heir.email = account("ada").email;
    store
        .create_user(heir, "Eve".parse().unwrap())
        .await
        .unwrap();
    store.delete_user(&user("bob")).await.unwrap();
    assert_eq!(
        store.counts().await.unwrap(),
        Counts {
            users: 1,
            pictures: 0
        }
    );
}

async fn create(store: &dyn Store, id: &str) -> pockitd::domain::user::Profile {
    store
        .create_user(account(id), id.parse().unwrap())
        .await
        .unwrap()
}

/// Every method that takes a user answers that there is none.
async fn is_unknown(store: &dyn Store, id: &str) {
    let id = user(id);
    let (shown, renditions) = usual_picture(99);
    let name = || "Some".parse().unwrap();
    let outcomes = [
        store.account(&id).await.map(drop),
        store.profile(&id).await.map(drop),
        store.set_password_hash(&id, String::new()).await,
        store.rename(&id, name(), at(1)).await.map(drop),
        store
            .replace_picture(&id, shown, renditions)
            .await
            .map(drop),
        store.remove_picture(&id, at(1)).await.map(drop),
        store.delete_user(&id).await,
    ];
    for outcome in outcomes {
        assert!(
            matches!(outcome, Err(Error::NotFound(What::User))),
            "{outcome:?}"
        );
    }
}

/// The picture was made from the seed that its `ThumbHash` is.
async fn is_whole_or_gone(store: &dyn Store, shown: &Picture) {
    let seed = u64::from_be_bytes(shown.thumbhash.as_slice().try_into().unwrap());
    let (_, renditions) = usual_picture(seed);
    for expected in renditions {
        match store.rendition(shown.id, expected.size_px).await {
            Ok(found) => assert!(found.bytes == expected.bytes),
            Err(Error::NotFound(What::Picture)) => {}
            Err(error) => panic!("{error:?}"),
        }
    }
}

async fn is_gone(store: &dyn Store, picture: &Picture) {
    for size_px in &picture.sizes_px {
        let found = store.rendition(picture.id, *size_px).await;
        assert!(
            matches!(found, Err(Error::NotFound(What::Picture))),
            "{found:?}"
        );
    }
}

async fn is_shown(store: &dyn Store, picture: &Picture, renditions: &[Rendition]) {
    for rendition in renditions {
        let found = store
            .rendition(picture.id, rendition.size_px)
            .await
            .unwrap();
        assert!(
            found.bytes == rendition.bytes,
            "{} px: other bytes",
            rendition.size_px
        );
        assert_eq!(found.checksum, xxh3_128(&rendition.bytes));
        assert_eq!(found.uploaded_at, picture.uploaded_at);
    }
}
