//! Flipped bytes anywhere in the store.

use std::fs;
use std::path::Path;
use std::time::Duration;

use super::{patient, random, rounds};
use crate::support::process::Process;
use crate::support::{Form, PICTURE, Request, Setup, User, fixture};

pub(super) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            copy(&entry.path(), &target);
        } else if kind.is_file() {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Turns one bit of a byte of the store's files, mostly one that is not zero; says which.
fn flip(data_dir: &Path) -> String {
    let files: Vec<_> = [data_dir.to_owned(), data_dir.join("db")]
        .iter()
        .flat_map(|directory| fs::read_dir(directory).unwrap())
        .map(|entry| entry.unwrap().path())
        // Nothing is ever read from the space that is put by.
        .filter(|path| path.is_file() && !path.ends_with("reserve") && super::length(path) > 0)
        .collect();
    let sizes: Vec<u64> = files.iter().map(|file| super::length(file)).collect();
    // Every other time in the log, which is far larger than the rest.
    let file = if random(2) == 0 {
        &files[usize::try_from(random(files.len() as u64)).unwrap()]
    } else {
        let largest = sizes.iter().max().unwrap();
        &files[sizes.iter().position(|size| size == largest).unwrap()]
    };
    let mut bytes = fs::read(file).unwrap();
    let place = loop {
        let place = usize::try_from(random(bytes.len() as u64)).unwrap();
        if bytes[place] != 0 || random(100) == 0 {
            break place;
        }
    };
    bytes[place] ^= 1 << random(8);
    fs::write(file, bytes).unwrap();
    format!("{} at {place}", file.display())
}

#[test]
fn flipped_byte_is_an_error_or_harmless_and_never_a_wrong_picture() {
    let mut server = patient().start();
    let files = ["rgb.png", "orientation-6.jpg", "alpha.png", "grey.jpg"];
    let mut expected: Vec<(User, serde_json::Value, _)> = Vec::new();
    for number in 0..12 {
        let user = server.user();
        for file in [files[(number + 1) % 4], files[number % 4]] {
            server.upload(&user, &fixture(file)).expect(200);
        }
        let profile = server.profile(&user);
        let pictures = server.pictures(&profile);
        expected.push((user, profile["picture"]["id"].clone(), pictures));
    }
    // Half of the rounds with a log that must be replayed, half with one that was closed.
    server.kill();
    let crashed = tempfile::tempdir().unwrap();
    copy(&server.home().data_dir(), crashed.path());
    server.restart();
    server.stop();
    let closed = tempfile::tempdir().unwrap();
    copy(&server.home().data_dir(), closed.path());
    let (mut refused, mut errors, mut harmless, mut uploads) = (0, 0, 0, 0);
    for round in 0..rounds(12, 1_000) {
        let home = Setup::new().home();
        let source = if round % 2 == 0 { &crashed } else { &closed };
        copy(source.path(), &home.data_dir());
        let place = flip(&home.data_dir());

        let mut command = home.command(&["serve"]);
        let mut process = Process::start(&mut command, b"");
        let Some(line) = process.line() else {
            let status = process.wait(crate::support::DEADLINE).unwrap();
            process.drained();
            assert_eq!(status.code(), Some(1), "{place}: {}", process.log());
            assert!(process.log().contains("pockitd: "), "{}", process.log());
            assert!(!process.log().contains("panicked"), "{}", process.log());
            refused += 1;
            continue;
        };
        let address = line.strip_prefix("listening on http://").unwrap();
        let address = address.parse().unwrap();
        let before = errors;
        for (user, id, (large, small)) in &expected {
            let own = Request::get(crate::support::PROFILE).bearer(&user.access);
            let reply = own.try_send_to_a_failing_server(address).unwrap();
            if reply.status == 200 {
                assert_eq!(reply.json()["picture"]["id"], *id, "{place}");
            } else {
                assert!(reply.status >= 500, "{place}: {}", reply.text());
                errors += 1;
            }
            for (size, bytes) in [(512, large), (128, small)] {
                let id = id.as_str().unwrap();
                let file = format!("/media/profile_pictures/{id}/{size}.jpg");
                let request = Request::get(&file);
                let reply = request.try_send_to_a_failing_server(address).unwrap();
                if reply.status == 200 {
                    assert!(reply.body == *bytes, "{place}: a wrong picture");
                } else {
                    assert!(reply.status >= 500, "{place}: {}", reply.text());
                    errors += 1;
                }
            }
        }
        // Whoever writes beside what is damaged has a right to an answer as well.
        let (user, ..) = &expected[usize::try_from(random(12)).unwrap()];
        let form = Form::image(&fixture("rgb.png"));
        let upload = Request::post(PICTURE).bearer(&user.access).form(&form);
        let reply = upload.try_send_to_a_failing_server(address).unwrap();
        assert!(
            reply.status == 200 || reply.status >= 500,
            "{place}: {}",
            reply.text()
        );
        uploads += u32::from(reply.status == 200);
        Request::get("/healthz").send(address).expect(200);
        harmless += u32::from(errors == before);
        process.signal(rustix::process::Signal::TERM);
        process.wait(Duration::from_secs(30));
    }
    println!(
        "flipped bytes: {refused} stores refused, {errors} errors, {harmless} harmless, {uploads} uploads taken"
    );
}
