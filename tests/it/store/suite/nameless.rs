//! What every [`Store`] does for users who have no e-mail address: those of an issuer elsewhere.

use pockitd::domain::user::Account;
use pockitd::storage::Error;
use pockitd::storage::What;
use pockitd::storage::WholeUser;
use pockitd::storage::upkeep::Making;

use super::audit::audit;
use crate::store::Place;
use crate::store::account;
use crate::store::at;
use crate::store::user;

pub(in crate::store) async fn users_without_an_email_are_many_and_in_nobodys_way(
    place: &impl Place,
) {
    let nameless = |id: &str| Account {
        email: None,
        password_hash: None,
        ..account(id)
    };
    let store = place.open().await;
    for id in ["ada", "bob", "eve"] {
        let name = "User".parse().unwrap();
        store.create_user(nameless(id), name).await.unwrap();
    }
    let again = store
        .create_user(nameless("ada"), "Other".parse().unwrap())
        .await;
    assert!(matches!(again, Err(Error::AlreadyExists(What::User))));
    assert_eq!(store.account(&user("ada")).await.unwrap(), nameless("ada"));
    assert_eq!(store.accounts(None, 9).await.unwrap().len(), 3);

    store.delete_user(&user("bob")).await.unwrap();
    let profile = store.profile(&user("eve")).await.unwrap();
    let moved = |account: Account| WholeUser {
        account,
        profile: profile.clone(),
        renditions: Vec::new(),
        making: Making::default(),
    };
    // An address is gained and lost again; nothing of it stays behind.
    store.put_user(moved(account("eve")), true).await.unwrap();
    let email = account("eve").email.unwrap();
    store.account_by_email(&email).await.unwrap();
    store.put_user(moved(nameless("eve")), true).await.unwrap();
    assert!(store.account_by_email(&email).await.is_err());

    assert_eq!(store.counts().await.unwrap().users, 2);
    let (findings, ..) = audit(&*store, at(1_000_000)).await;
    assert_eq!(findings, []);
}
