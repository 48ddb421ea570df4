//! What every [`Store`] says of itself when it is gone through, whole or harmed.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use pockitd::domain::Timestamp;
use pockitd::storage::Counts;
use pockitd::storage::Error;
use pockitd::storage::Store;
use pockitd::storage::What;
use pockitd::storage::audit::Finding;
use pockitd::storage::audit::Place as Whereabouts;
use pockitd::storage::audit::Problem;
use pockitd::storage::audit::Section;

use super::create;
use super::is_gone;
use super::is_shown;
use crate::store::Harm;
use crate::store::Place;
use crate::store::at;
use crate::store::user;
use crate::store::usual_picture;

/// Later than everything that tests upload.
const LATER: i64 = 1_000_000;

/// Uploads that an audit has to see from beside.
const UPLOADS: u64 = 400;

/// Everything that an audit finds, and how many profiles and pictures it saw.
pub(super) async fn audit(store: &dyn Store, older_than: Timestamp) -> (Vec<Finding>, u64, u64) {
    let mut findings = Vec::new();
    let (mut profiles, mut pictures) = (0, 0);
    let mut place = None;
    loop {
        let examined = store.examine(place.as_ref(), older_than).await.unwrap();
        match examined.section {
            Section::Profiles => profiles += examined.count,
            Section::Pictures => pictures += examined.count,
            _ => {}
        }
        findings.extend(examined.findings);
        place = examined.next;
        if place.is_none() {
            return (findings, profiles, pictures);
        }
    }
}

pub(in crate::store) async fn audit_of_a_sound_store_sees_everything_and_finds_nothing(
    place: &impl Place,
) {
    let store = place.open().await;
    assert_eq!(audit(&*store, at(LATER)).await, (vec![], 0, 0));
    let ids: Vec<_> = (0..600).map(|number| format!("user{number}")).collect();
    let created = ids.iter().map(|id| create(&*store, id));
    futures_util::future::join_all(created).await;
    for (id, seed) in ids.iter().zip(0..20) {
        let (shown, renditions) = usual_picture(seed);
        let replaced = store.replace_picture(&user(id), shown, renditions).await;
        replaced.unwrap();
    }

    assert_eq!(audit(&*store, at(LATER)).await, (vec![], 600, 20));

    store.delete_user(&user("user3")).await.unwrap();
    store.remove_picture(&user("user4"), at(9)).await.unwrap();
    assert_eq!(audit(&*store, at(LATER)).await, (vec![], 599, 18));
    let foreign = Whereabouts(vec![255, 1, 2]);
    let refused = store.examine(Some(&foreign), at(LATER)).await;
    assert!(matches!(refused, Err(Error::NotFound(What::Record))));
}

pub(in crate::store) async fn orphan_picture_is_found_if_it_is_old_enough_and_removed(
    place: &impl Place,
) {
    let store = place.open().await;
    create(&*store, "ada").await;
    let (shown, renditions) = usual_picture(1);
    store
        .replace_picture(&user("ada"), shown.clone(), renditions.clone())
        .await
        .unwrap();
    store.close().await.unwrap();
    drop(store);
    place.harm(Harm::Orphan(2)).await;
    let store = place.open().await;
    let (orphan, _) = usual_picture(2);

    // Seed 2 is uploaded in second 102.
    assert_eq!(audit(&*store, at(102)).await.0, []);
    let (findings, ..) = audit(&*store, at(103)).await;
    let [finding] = findings.as_slice() else {
        panic!("{findings:?}")
    };
    assert_eq!(
        (finding.problem, finding.bytes),
        (Problem::OrphanPicture, 56_000)
    );
    assert!(finding.detail.contains(&orphan.id.to_string()));

    assert!(store.mend(finding, at(500)).await.unwrap());

    is_gone(&*store, &orphan).await;
    is_shown(&*store, &shown, &renditions).await;
    assert!(!store.mend(finding, at(500)).await.unwrap());
    assert_eq!(audit(&*store, at(LATER)).await, (vec![], 1, 1));
}

pub(in crate::store) async fn unreadable_picture_is_found_and_taken_away(place: &impl Place) {
    let store = place.open().await;
    for (id, seed) in [("ada", 1), ("bob", 2), ("eve", 3)] {
        create(&*store, id).await;
        let (shown, renditions) = usual_picture(seed);
        let replaced = store.replace_picture(&user(id), shown, renditions).await;
        replaced.unwrap();
    }
    store.close().await.unwrap();
    drop(store);
    place.harm(Harm::Gone("ada")).await;
    place.harm(Harm::Flipped("bob")).await;
    let store = place.open().await;
    let (flipped, _) = usual_picture(2);
    for size_px in [512, 128] {
        let read = store.rendition(flipped.id, size_px).await;
        let wrong = read.is_ok_and(|read| usual_picture(2).1.iter().all(|r| r.bytes != read.bytes));
        assert!(!wrong, "damage is never delivered");
    }

    let (findings, ..) = audit(&*store, at(LATER)).await;
    assert_eq!(findings.len(), 2, "{findings:?}");
    for finding in &findings {
        assert_eq!(finding.problem, Problem::UnreadablePicture, "{finding:?}");
        assert!(store.mend(finding, at(500)).await.unwrap());
        assert!(!store.mend(finding, at(501)).await.unwrap());
    }

    for id in ["ada", "bob"] {
        let profile = store.profile(&user(id)).await.unwrap();
        assert_eq!((profile.picture, profile.updated_at), (None, at(500)));
    }
    let (eves, renditions) = usual_picture(3);
    is_shown(&*store, &eves, &renditions).await;
    is_gone(&*store, &flipped).await;
    assert_eq!(audit(&*store, at(LATER)).await, (vec![], 3, 1));
    let expected = Counts {
        users: 3,
        pictures: 1,
    };
    assert_eq!(store.counts().await.unwrap(), expected);
}

pub(in crate::store) async fn finding_that_is_so_no_longer_is_not_mended(place: &impl Place) {
    let store = place.open().await;
    create(&*store, "ada").await;
    let (shown, renditions) = usual_picture(1);
    store
        .replace_picture(&user("ada"), shown, renditions)
        .await
        .unwrap();
    store.close().await.unwrap();
    drop(store);
    place.harm(Harm::Gone("ada")).await;
    let store = place.open().await;
    let (findings, ..) = audit(&*store, at(LATER)).await;
    assert_eq!(findings.len(), 1, "{findings:?}");
    let (new, renditions) = usual_picture(2);
    let replaced = store
        .replace_picture(&user("ada"), new.clone(), renditions.clone())
        .await;
    replaced.unwrap();

    assert!(!store.mend(&findings[0], at(500)).await.unwrap());

    is_shown(&*store, &new, &renditions).await;
    let profile = store.profile(&user("ada")).await.unwrap();
    assert_eq!(profile.picture, Some(new));
}

pub(in crate::store) async fn audit_beside_uploads_finds_nothing(place: &impl Place) {
    let store = place.open().await;
    let written = Arc::new(AtomicU64::new(0));
    let mut writers = Vec::new();
    for number in 0..4 {
        let id = format!("user{number}");
        create(&*store, &id).await;
        let (store, written) = (Arc::clone(&store), Arc::clone(&written));
        writers.push(tokio::spawn(async move {
            let mut seed = number;
            while written.fetch_add(1, Ordering::Relaxed) < UPLOADS {
                let (shown, renditions) = usual_picture(seed);
                let replaced = store.replace_picture(&user(&id), shown, renditions).await;
                replaced.unwrap();
                seed += 4;
                if seed % 5 == 0 {
                    store.remove_picture(&user(&id), at(1)).await.unwrap();
                }
                tokio::task::yield_now().await;
            }
        }));
    }

    let mut findings = Vec::new();
    let mut audits = 0;
    while written.load(Ordering::Relaxed) < UPLOADS {
        findings.extend(audit(&*store, at(LATER)).await.0);
        audits += 1;
        tokio::task::yield_now().await;
    }

    for writer in writers {
        writer.await.unwrap();
    }
    assert!(audits > 1, "{audits} audits ran beside the uploads");
    assert_eq!(findings, []);
}
