//! What every [`Store`] does when it is reopened, abandoned, or used by many at once.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;

use pockitd::domain::picture::Picture;
use pockitd::storage::Counts;
use pockitd::storage::Edit;
use pockitd::storage::Error;

use super::create;
use super::is_gone;
use super::is_shown;
use super::is_whole_or_gone;
use crate::store::Place;
use crate::store::at;
use crate::store::user;
use crate::store::usual_picture;

pub(in crate::store) async fn acknowledged_writes_are_there_after_reopening(place: &impl Place) {
    let (old, old_renditions) = usual_picture(1);
    let (new, renditions) = usual_picture(2);
    for close in [false, true] {
        let store = place.open().await;
        let id = if close { "ada" } else { "bob" };
        create(&*store, id).await;
        let (shown, renditions) = if close {
            (&new, &renditions)
        } else {
            (&old, &old_renditions)
        };
        store
            .replace_picture(&user(id), shown.clone(), renditions.clone())
            .await
            .unwrap();
        if close {
            store.close().await.unwrap();
        }
    }

    let store = place.open().await;

    is_shown(&*store, &old, &old_renditions).await;
    is_shown(&*store, &new, &renditions).await;
    assert_eq!(
        store.profile(&user("ada")).await.unwrap().picture,
        Some(new)
    );
    assert_eq!(
        store.counts().await.unwrap(),
        Counts {
            users: 2,
            pictures: 2
        }
    );
}

pub(in crate::store) async fn dropped_future_leaves_all_or_nothing(place: &impl Place) {
    let store = place.open().await;
    create(&*store, "ada").await;
    let mut possible = Vec::new();
    for seed in 0..40 {
        let (shown, renditions) = usual_picture(seed);
        possible.push((shown.clone(), renditions.clone()));
        let patience = Duration::from_micros(seed * 50);
        let user = user("ada");
        let upload = store.replace_picture(&user, shown, renditions);

        let _ = tokio::time::timeout(patience, upload).await;
    }

    // A write that is waited for comes behind all that were asked for before.
    store
        .rename(&user("ada"), "Ada".parse().unwrap(), at(9))
        .await
        .unwrap();
    let live = store.profile(&user("ada")).await.unwrap().picture;
    for (shown, renditions) in &possible {
        if Some(shown) == live.as_ref() {
            is_shown(&*store, shown, renditions).await;
        } else {
            is_gone(&*store, shown).await;
        }
    }
    assert_eq!(
        store.counts().await.unwrap().pictures,
        u64::from(live.is_some())
    );
}

pub(in crate::store) async fn uploads_of_one_user_at_once_leave_one_picture(place: &impl Place) {
    let store = place.open().await;
    create(&*store, "ada").await;
    for round in 0..3_u64 {
        let uploads = (0..64).map(|number| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                let (shown, renditions) = usual_picture(round * 64 + number);
                let answer = store
                    .replace_picture(&user("ada"), shown.clone(), renditions.clone())
                    .await;
                assert_eq!(answer.unwrap().picture.as_ref(), Some(&shown));
                (shown, renditions)
            })
        });
        let mut shown = Vec::new();
        for upload in uploads.collect::<Vec<_>>() {
            shown.push(upload.await.unwrap());
        }

        let live = store.profile(&user("ada")).await.unwrap().picture.unwrap();
        for (picture, renditions) in &shown {
            if *picture == live {
                is_shown(&*store, picture, renditions).await;
            } else {
                is_gone(&*store, picture).await;
            }
        }
        assert!(shown.iter().any(|(picture, _)| *picture == live));
        assert_eq!(store.counts().await.unwrap().pictures, 1);
    }
}

pub(in crate::store) async fn reader_of_a_replaced_picture_sees_all_of_it_or_nothing(
    place: &impl Place,
) {
    let store = place.open().await;
    create(&*store, "ada").await;
    let done = Arc::new(AtomicBool::new(false));
    let readers = (0..4).map(|_| {
        let (store, done) = (Arc::clone(&store), Arc::clone(&done));
        tokio::spawn(async move {
            let mut read = 0_u64;
            loop {
                let last = done.load(Ordering::Relaxed);
                tokio::task::yield_now().await;
                if let Some(shown) = store.profile(&user("ada")).await.unwrap().picture {
                    is_whole_or_gone(&*store, &shown).await;
                    read += 1;
                }
                if last {
                    break;
                }
            }
            read
        })
    });
    let readers: Vec<_> = readers.collect();

    let mut before: Option<Picture> = None;
    for seed in 0..150 {
        let (shown, renditions) = usual_picture(seed);
        store
            .replace_picture(&user("ada"), shown.clone(), renditions)
            .await
            .unwrap();
        if let Some(before) = before.replace(shown) {
            // However many readers were on their way: what is acknowledged as replaced is not there.
            is_gone(&*store, &before).await;
        }
    }
    done.store(true, Ordering::Relaxed);

    for reader in readers {
        assert!(reader.await.unwrap() > 0);
    }
}

pub(in crate::store) async fn of_changes_that_expect_the_same_one_happens(place: &impl Place) {
    let store = place.open().await;
    create(&*store, "ada").await;
    for round in 0..3_u64 {
        let seen = store.profile(&user("ada")).await.unwrap();
        let now = at(100 + round as i64);
        let mut changes = Vec::new();
        for number in 0..6_u64 {
            let (picture, renditions) = usual_picture(10 * round + number + 1);
            let edit = match number % 3 {
                0 => Edit::Rename {
                    name: format!("Ada {number}").parse().unwrap(),
                    now,
                },
                _ => Edit::ReplacePicture {
                    picture,
                    renditions,
                    making: Box::default(),
                },
            };
            let (store, seen) = (Arc::clone(&store), seen.clone());
            changes.push(tokio::spawn(async move { store.edit_if(seen, edit).await }));
        }
        let mut done = Vec::new();
        for change in changes {
            match change.await.unwrap() {
                Ok(profile) => done.push(profile),
                Err(error) => assert!(matches!(error, Error::Changed), "{error}"),
            }
        }

        assert_eq!(done, [store.profile(&user("ada")).await.unwrap()]);
    }
    let seen = store.profile(&user("ada")).await.unwrap();
    let rename = |now| Edit::Rename {
        name: "Ada".parse().unwrap(),
        now: at(now),
    };
    store.edit_if(seen.clone(), rename(900)).await.unwrap();
    let late = store.edit_if(seen.clone(), rename(901)).await;
    assert!(matches!(late, Err(Error::Changed)));
    store.delete_user(&user("ada")).await.unwrap();
    let remove = Edit::RemovePicture { now: at(902) };
    let gone = store.edit_if(seen, remove).await;
    assert!(matches!(gone, Err(Error::NotFound(_))));
}
