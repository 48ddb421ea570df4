//! What was acknowledged survives: an orderly stop, SIGKILL, and a stop in the middle of work.

use std::io::Write as _;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Instant;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::token::access;
use crate::support::{
    Connection, DEADLINE, Form, PICTURE, PROFILE, Request, Server, User, fixture,
};

/// Everything of a profile but the URLs, which hold the port.
fn essence(profile: &Value) -> Value {
    let mut profile = profile.clone();
    for key in ["profile_picture_url", "profile_picture_thumbnail_url"] {
        profile.as_object_mut().unwrap().remove(key);
    }
    if let Some(picture) = profile["picture"].as_object_mut() {
        picture.remove("urls");
    }
    profile
}

/// Fills a server, ends it, starts it again, and compares.
fn survives(end: impl Fn(&mut Server)) {
    let mut server = Server::start();
    let (ada, _) = server.user_with_picture();
    let name = Request::new("PATCH", PROFILE)
        .bearer(&ada.access)
        .json(&json!({ "name": "Ada" }));
    let before = server.send(&name).expect(200).json();
    let files = server.pictures(&before);
    let bob = server.user();

    end(&mut server);
    server.restart();

    let after = server.profile(&ada);
    assert_eq!(essence(&after), essence(&before));
    assert_eq!(server.pictures(&after), files);
    assert_eq!(server.profile(&bob)["has_picture"], json!(false));
    let body = json!({ "email": ada.email, "password": ada.password });
    server
        .send(&Request::post("/api/auth/login/").json(&body))
        .expect(200);
    let taken = server.send(&Request::post("/api/auth/register/").json(&body));
    taken.expect(409);
}

#[test]
fn data_is_kept_after_sigterm() {
    survives(Server::stop);
}

#[test]
fn data_is_kept_after_sigint() {
    survives(|server| server.stop_by(Signal::INT));
}

#[test]
fn data_is_kept_after_sigkill() {
    survives(Server::kill);
}

#[test]
fn answered_upload_is_there_and_the_replaced_one_gone_after_each_of_many_kills() {
    let mut server = Server::with(&[("rate_limit.uploads_per_hour", "0")]);
    let user = server.user();
    for name in [
        "rgb.png",
        "grid.heic",
        "orientation-6.jpg",
        "alpha.png",
        "grey.jpg",
    ] {
        let old = server.profile(&user);
        let profile = server.upload(&user, &fixture(name)).expect(200).json();
        let files = server.pictures(&profile);

        server.kill();
        server.restart();

        let after = server.profile(&user);
        assert_eq!(after["picture"]["id"], profile["picture"]["id"], "{name}");
        assert_eq!(server.pictures(&after), files, "{name}");
        if let Some(id) = old["picture"]["id"].as_str() {
            server
                .get(&format!("/media/profile_pictures/{id}/512.jpg"))
                .expect(404);
        }
    }
}

fn upload_with_key(user: &User, file: &str, key: &str) -> Request {
    let form = Form::image(&fixture(file));
    let request = Request::post(PICTURE).bearer(&user.access).form(&form);
    request.field("Idempotency-Key", key)
}

#[test]
fn upload_whose_answer_was_lost_in_a_kill_is_not_done_again() {
    let mut server = Server::start();
    let user = server.user();
    let request = upload_with_key(&user, "rgb.png", "\"k-1\"");
    let mut client = std::net::TcpStream::connect(server.address()).unwrap();
    client.write_all(&request.bytes(server.address())).unwrap();
    while server.profile(&user)["has_picture"] == json!(false) {
        thread::yield_now();
    }
    let stored = server.profile(&user);
    server.kill();
    drop(client);
    server.restart();

    let again = server.send(&request).expect(200).json();

    assert_eq!(essence(&again), essence(&stored));
    assert_eq!(server.profile(&user), again);
    server.pictures(&again);
    let other = upload_with_key(&user, "grey.jpg", "k-1");
    assert_eq!(
        server.send(&other).expect(422).text(),
        r#"{"detail":"This Idempotency-Key was used for another upload. Use a new key for other bytes."}"#
    );
    let cropped = Form::image(&fixture("rgb.png")).text("crop", "0,0,4,4");
    let cropped = Request::post(PICTURE).bearer(&user.access).form(&cropped);
    server
        .send(&cropped.field("Idempotency-Key", "k-1"))
        .expect(422);
    // Whatever has happened since, it was done, and its condition was true then.
    let new = server.send(&upload_with_key(&user, "grey.jpg", "k-2"));
    let new = new.expect(200).json();
    let late = server.send(&request.field("If-Match", "\"of-long-ago\""));
    assert_eq!(late.expect(200).json(), new);
    server.stop();
    server.restart();
    let late = server.send(&upload_with_key(&user, "rgb.png", "k-1"));
    assert_eq!(essence(&late.expect(200).json()), essence(&new));
    let someone = server.user();
    let theirs = server.send(&upload_with_key(&someone, "grey.jpg", "k-1"));
    assert_ne!(
        theirs.expect(200).json()["picture"]["id"],
        new["picture"]["id"]
    );
}

#[test]
fn upload_is_done_again_when_its_key_has_expired() {
    let mut server = Server::with(&[("rate_limit.uploads_per_hour", "0")]);
    let user = server.user();
    let request = upload_with_key(&user, "rgb.png", "k");
    let id = |server: &Server| server.send(&request).expect(200).json()["picture"]["id"].clone();
    let first = id(&server);
    server.kill();
    server.restart();
    assert_eq!(id(&server), first);

    server.kill();
    server.restart_with(&["--set", "http.idempotency_ttl_s=1"]);

    let until = Instant::now() + DEADLINE;
    while id(&server) == first {
        assert!(Instant::now() < until);
    }
}

#[test]
fn kill_amid_uploads_leaves_a_whole_picture() {
    let mut server = Server::with(&[("rate_limit.uploads_per_hour", "0")]);
    let user = server.user();
    for _ in 0..5 {
        let (sender, answered) = channel();
        let address = server.address();
        let token = user.access.clone();
        let uploader = thread::spawn(move || {
            let mut last = None;
            for number in 0.. {
                let name = if number % 2 == 0 {
                    "rgb.png"
                } else {
                    "orientation-3.jpg"
                };
                let form = Form::image(&fixture(name));
                let request = Request::post(PICTURE).bearer(&token).form(&form);
                match request.try_send(address) {
                    Ok(reply) => last = Some(reply.expect(200).json()),
                    Err(_) => break,
                }
                let _ = sender.send(number);
            }
            last
        });
        // The third answer is out, the fourth upload somewhere on its way.
        while answered.recv().unwrap() < 2 {}
        server.kill();
        let last = uploader.join().unwrap().expect("there were answers");
        server.restart();

        let after = server.profile(&user);
        let (large, small) = server.pictures(&after);
        assert_eq!(crate::support::jpeg::Pixels::decode(&large).width, 512);
        assert_eq!(crate::support::jpeg::Pixels::decode(&small).width, 128);
        let uploaded = |profile: &Value| {
            profile["picture"]["uploaded_at"]
                .as_str()
                .unwrap()
                .to_owned()
        };
        assert!(
            uploaded(&after) >= uploaded(&last),
            "an answered upload is lost"
        );
    }
}

#[test]
fn stop_waits_for_a_request_that_is_being_sent() {
    let mut server = Server::start();
    let user = server.user();
    let form = Form::image(&fixture("rgb.png"));
    let request = Request::post(PICTURE).bearer(&user.access).form(&form);
    let bytes = request.bytes(server.address());
    let mut connection = Connection::open(server.address());
    let mut idle = Connection::open(server.address());
    idle.exchange(&Request::get("/healthz"));
    connection.write(&bytes[..bytes.len() / 2]);
    // An answer to someone else: by now the half request has been seen as well.
    server.get("/healthz").expect(200);

    server.ask_to_stop();
    assert!(idle.is_closed(), "an idle connection is closed at once");
    connection.write(&bytes[bytes.len() / 2..]);
    let answer = connection.answer("POST");
    server.ended();

    server.restart();
    let profile = server.profile(&user);
    match answer {
        Ok(reply) if reply.status == 200 => {
            assert_eq!(profile["has_picture"], json!(true));
        }
        Ok(reply) => assert_eq!(reply.status, 503, "{}", reply.text()),
        Err(lost) => panic!("no answer: {lost:?}"),
    }
}

/// Asked for their bodies before the stop, all of them get there, and what was answered is there afterwards.
#[test]
fn stop_under_load_answers_every_upload_that_was_begun_and_keeps_it() {
    let mut server = Server::start();
    for round in 0..3 {
        let users: Vec<_> = (0..8).map(|_| server.user()).collect();
        let form = Form::image(&fixture("grid.heic"));
        let mut connections: Vec<_> = users
            .iter()
            .map(|user| {
                let upload = Request::post(PICTURE).bearer(&user.access).form(&form);
                Connection::asked(server.address(), upload)
            })
            .collect();
        let (early, late) = connections.split_at_mut(4);
        for connection in early {
            connection.write(&form.bytes());
        }

        server.ask_to_stop();
        for connection in late {
            connection.write(&form.bytes());
        }
        let answers: Vec<_> = connections
            .iter_mut()
            .map(|connection| connection.answer("POST"))
            .collect();
        server.ended();

        server.restart();
        for (user, answer) in users.iter().zip(answers) {
            let reply = answer.unwrap_or_else(|lost| panic!("{round}: {lost:?}"));
            let answered = reply.expect(200).json();
            let profile = server.profile(user);
            assert_eq!(profile["picture"]["id"], answered["picture"]["id"]);
            server.pictures(&profile);
        }
    }
}

#[test]
fn client_that_never_finishes_cannot_hold_up_the_stop() {
    let mut server = Server::with(&[("http.shutdown_timeout_ms", "300")]);
    let user = server.user();
    let form = Form::image(&fixture("rgb.png"));
    let bytes = Request::post(PICTURE)
        .bearer(&user.access)
        .form(&form)
        .bytes(server.address());
    let mut connection = Connection::open(server.address());
    connection.write(&bytes[..bytes.len() / 2]);
    server.get("/healthz").expect(200);
    let start = Instant::now();

    server.stop();

    assert!(start.elapsed().as_secs() < 5, "{:?}", start.elapsed());
}

#[test]
fn full_disk_is_507_for_writes_while_reads_go_on() {
    let mut server = Server::start();
    let (user, profile) = server.user_with_picture();
    let id = profile["picture"]["id"].as_str().unwrap().to_owned();
    server.stop();
    server.restart_with(&["--set", "storage.free_bytes_min=9000000000000000000"]);

    let reply = server.upload(&user, &fixture("rgb.png")).expect(507);

    assert!(reply.json()["detail"].is_string(), "{}", reply.text());
    let body = json!({ "email": "new@example.org", "password": "12345678" });
    server
        .send(&Request::post("/api/auth/register/").json(&body))
        .expect(507);
    assert_eq!(server.profile(&user)["picture"]["id"], json!(id));
    server
        .get(&format!("/media/profile_pictures/{id}/512.jpg"))
        .expect(200);
}

#[test]
fn user_added_on_the_command_line_can_upload() {
    let mut server = Server::start();
    server.stop();
    let added = server
        .home()
        .run(&["user", "add", "ada@example.org", "--name", "Ada"])
        .expect(0);
    server.restart();
    let id = added.stdout.trim().to_owned();
    let user = User {
        access: access(&id),
        id,
        email: "ada@example.org".to_owned(),
        password: String::new(),
        refresh: String::new(),
    };

    let profile = server.upload(&user, &fixture("rgb.png")).expect(200).json();

    assert_eq!(profile["name"], json!("Ada"));
}

#[test]
fn closed_terminal_does_not_end_the_server() {
    let server = Server::start();

    server.signal(Signal::HUP);

    let (user, profile) = server.user_with_picture();
    assert_eq!(server.profile(&user), profile);
}

#[test]
fn stop_that_reaches_every_process_lets_an_upload_finish() {
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let mut server = Server::start();
        let user = server.user();
        let form = Form::image(&fixture("grid.heic"));
        let upload = Request::post(PICTURE)
            .bearer(&user.access)
            .field("Content-Type", &form.content_type())
            .field("Content-Length", &form.bytes().len().to_string())
            .field("Expect", "100-continue");
        let mut connection = Connection::open(server.address());
        connection.write(&upload.head(server.address()));
        assert_eq!(connection.answer("POST").unwrap().status, 100);

        server.signal_all(signal);

        connection.write(&form.bytes());
        let reply = connection.answer("POST").unwrap();
        assert_eq!(reply.status, 200, "{signal:?}: {}", reply.text());
        if signal != Signal::HUP {
            server.ended();
        }
    }
}
