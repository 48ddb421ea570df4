//! Many at once: one user's uploads replace each other in some order, and nobody sees half of anything.

use std::sync::{Arc, Barrier};
use std::thread;

use serde_json::json;

use crate::support::jpeg::Pixels;
use crate::support::{Form, PICTURE, Reply, Request, Server, fixture};

/// Runs a piece of work in many threads that begin at the same moment.
fn at_once<T: Send + 'static>(
    count: usize,
    work: impl Fn(usize) -> T + Send + Sync + 'static,
) -> Vec<T> {
    let barrier = Arc::new(Barrier::new(count));
    let work = Arc::new(work);
    let threads: Vec<_> = (0..count)
        .map(|number| {
            let (barrier, work) = (Arc::clone(&barrier), Arc::clone(&work));
            thread::spawn(move || {
                barrier.wait();
                work(number)
            })
        })
        .collect();
    threads
        .into_iter()
        .map(|thread| thread.join().unwrap())
        .collect()
}

#[test]
fn sixty_four_uploads_of_one_user_leave_exactly_one_picture() {
    let server = Server::with(&[("rate_limit.uploads_per_hour", "0")]);
    let user = server.user();
    let files = ["rgb.png", "orientation-6.jpg", "grid.heic", "alpha.png"];
    let requests: Vec<_> = files
        .iter()
        .map(|file| {
            Request::post(PICTURE)
                .bearer(&user.access)
                .form(&Form::image(&fixture(file)))
        })
        .collect();
    let address = server.address();

    let replies: Vec<Reply> = at_once(64, move |number| {
        requests[number % requests.len()].send(address)
    });

    let mut ids = Vec::new();
    for reply in &replies {
        assert!(matches!(reply.status, 200 | 429 | 503), "{}", reply.text());
        if reply.status == 200 {
            ids.push(reply.json()["picture"]["id"].as_str().unwrap().to_owned());
        }
    }
    assert!(!ids.is_empty());
    let live = server.profile(&user)["picture"]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(
        ids.contains(&live),
        "the live picture was answered to someone"
    );
    for id in &ids {
        for side in [512, 128] {
            let reply = server.get(&format!("/media/profile_pictures/{id}/{side}.jpg"));
            let status = if *id == live { 200 } else { 404 };
            assert_eq!(reply.status, status, "{id} {side}");
        }
    }
    ids.sort();
    ids.dedup();
    let accepted = replies.iter().filter(|reply| reply.status == 200).count();
    assert_eq!(ids.len(), accepted, "each answer has a picture of its own");
}

#[test]
fn uploads_of_many_users_do_not_mix() {
    let server = Server::start();
    let files = ["rgb.png", "grey.jpg", "p3.heic", "cmyk.jpg"];
    let users: Vec<_> = (0..16).map(|_| server.user()).collect();
    let address = server.address();
    let jobs: Vec<_> = users
        .iter()
        .enumerate()
        .map(|(number, user)| {
            let form = Form::image(&fixture(files[number % files.len()]));
            Request::post(PICTURE).bearer(&user.access).form(&form)
        })
        .collect();

    let replies = at_once(16, move |number| jobs[number].send(address));

    for (number, (reply, user)) in replies.into_iter().zip(&users).enumerate() {
        let profile = reply.expect(200).json();
        assert_eq!(profile["user_id"], json!(user.id));
        let expected = crate::support::fixtures::expected_of(files[number % files.len()]);
        crate::support::delivered::assert_delivered(&server, &profile, &expected);
    }
}

#[test]
fn reader_sees_whole_pictures_while_they_are_replaced() {
    let server = Server::with(&[("rate_limit.uploads_per_hour", "0")]);
    let (user, _) = server.user_with_picture();
    let address = server.address();
    let public = format!("/api/users/{}/profile/", user.id);
    let upload = Request::post(PICTURE)
        .bearer(&user.access)
        .form(&Form::image(&fixture("rgb.png")));
    let prefix = format!("http://{address}");

    at_once(4, move |number| {
        for _ in 0..15 {
            if number == 0 {
                upload.send(address).expect(200);
                continue;
            }
            let profile = Request::get(&public).send(address).expect(200).json();
            assert_eq!(
                profile["has_picture"],
                json!(true),
                "never without a picture"
            );
            let url = profile["profile_picture_url"].as_str().unwrap();
            let reply = Request::get(url.strip_prefix(&prefix).unwrap()).send(address);
            assert!(matches!(reply.status, 200 | 404), "{}", reply.text());
            if reply.status == 200 {
                assert_eq!(Pixels::decode(&reply.body).width, 512);
            }
        }
    });
}

#[test]
fn one_address_registered_many_times_at_once_is_taken_once() {
    let server = Server::start();
    let address = server.address();

    let replies = at_once(16, move |number| {
        let email = if number % 2 == 0 {
            "ada@example.org"
        } else {
            "ADA@example.org"
        };
        let body = json!({ "email": email, "password": "12345678" });
        Request::post("/api/auth/register/")
            .json(&body)
            .send(address)
            .status
    });

    let made = replies.iter().filter(|status| **status == 201).count();
    let taken = replies.iter().filter(|status| **status == 409).count();
    assert_eq!((made, taken), (1, 15), "{replies:?}");
}

#[test]
fn full_queue_is_503_with_a_time_to_come_back() {
    let server = Server::with(&[
        ("rate_limit.uploads_per_hour", "0"),
        ("workers.count", "1"),
        ("workers.queue_max", "1"),
        ("workers.deadline_ms", "60_000"),
    ]);
    let user = server.user();
    let photo = crate::support::fixtures::photo_12_megapixels();
    let request = Request::post(PICTURE)
        .bearer(&user.access)
        .form(&Form::image(&photo));
    let address = server.address();

    let replies = at_once(12, move |_| request.send(address));

    let accepted = replies.iter().filter(|reply| reply.status == 200).count();
    let refused: Vec<_> = replies.iter().filter(|reply| reply.status == 503).collect();
    assert_eq!(accepted + refused.len(), 12);
    assert!(accepted >= 1 && !refused.is_empty(), "{accepted} of 12");
    for reply in refused {
        let wait: u32 = reply.field("retry-after").unwrap().parse().unwrap();
        assert!(wait >= 1, "{wait}");
        assert!(reply.json()["detail"].is_string());
    }
    server.get("/healthz").expect(200);
}
