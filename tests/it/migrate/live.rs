//! Archives beside a running server: the same commands, the same output.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::thread::JoinHandle;

use serde_json::{Value, json};

use super::{Origin, archive, counted, entries, home, hostile, import, listed, look};
use crate::support::process::assert_failed;
use crate::support::raw::Raw;
use crate::support::{Form, PICTURE, Request, Server, User, fixture};

/// Clients that replace their pictures until they are to end.
pub(super) struct Uploads {
    stop: Arc<AtomicBool>,
    clients: Vec<JoinHandle<Value>>,
}

impl Uploads {
    pub(super) fn begin(server: &Server, users: &[User]) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let files = ["rgb.png", "orientation-6.jpg", "alpha.png"];
        let clients = users.iter().zip(0..).map(|(user, first)| {
            let uploads = files.map(|file| {
                let form = Form::image(&fixture(file));
                Request::post(PICTURE).bearer(&user.access).form(&form)
            });
            let (stop, address) = (Arc::clone(&stop), server.address());
            thread::spawn(move || {
                for number in first.. {
                    let answer = uploads[number % 3].try_send(address).unwrap();
                    let profile = answer.expect(200).json();
                    if stop.load(Ordering::Relaxed) {
                        return profile;
                    }
                }
                unreachable!()
            })
        });
        let clients = clients.collect();
        Self { stop, clients }
    }

    /// The last answer of each.
    pub(super) fn end(self) -> Vec<Value> {
        self.stop.store(true, Ordering::Relaxed);
        let clients = self.clients.into_iter();
        clients.map(|client| client.join().unwrap()).collect()
    }
}

#[test]
fn archive_heals_users_whose_records_are_damaged() {
    let mut origin = Origin::new();
    let file = origin.export();
    let has_picture = |(_, shown): &(&String, &(Value, _))| shown.0["has_picture"] == true;
    let damaged: Vec<String> = origin
        .shown
        .iter()
        .filter(has_picture)
        .map(|(id, _)| id.clone())
        .collect();
    {
        let raw = Raw::open(&origin.server.home().data_dir());
        raw.damage_record("accounts", &damaged[0]);
        raw.damage_record("profiles", &damaged[1]);
    }
    origin.server.home().run(&["check", "store"]).expect(1);

    let told = import(origin.server.home(), &[&file, "--on-conflict", "replace"]);

    assert_eq!(told, counted(3, 2, [0, 2, 1, 0]));
    origin.server.home().run(&["check", "store"]).expect(0);
    origin.server.restart();
    for (id, shown) in &origin.shown {
        assert_eq!(look(&origin.server, id), *shown);
    }
    for id in &damaged {
        origin.server.stop();
        Raw::open(&origin.server.home().data_dir()).damage_record("profiles", id);
        origin.server.home().run(&["user", "delete", id]).expect(0);
        origin.server.restart();
        let path = format!("/api/users/{id}/profile/");
        origin.server.get(&path).expect(404);
    }
}

#[test]
fn export_beside_a_server_is_the_one_without() {
    let mut origin = Origin::new();
    let without = entries(&origin.export());
    origin.server.restart();

    let said = origin
        .server
        .home()
        .run(&["-v", "migrate", "export", "live.tar"]);

    let said = said.expect(0);
    assert!(said.stderr.contains("asked the server"), "{said:?}");
    assert!(
        said.stderr.contains("exported 3 users and 2 pictures"),
        "{said:?}"
    );
    let live = origin.server.home().path().join("live.tar");
    assert_eq!(entries(live.to_str().unwrap())[1..], without[1..]);
    assert!(
        !origin
            .server
            .home()
            .path()
            .join("live.tar.partial")
            .exists()
    );
    let piped = origin
        .server
        .home()
        .command(&["migrate", "export", "-"])
        .output();
    let piped = piped.unwrap().stdout;
    let file = origin.server.home().path().join("piped.tar");
    std::fs::write(&file, piped).unwrap();
    assert_eq!(entries(file.to_str().unwrap())[1..], without[1..]);
}

#[test]
fn export_beside_uploads_has_each_user_whole() {
    let server = Server::with(&[("rate_limit.uploads_per_hour", "0")]);
    let users: Vec<_> = (0..6).map(|_| server.user_with_picture().0).collect();
    let uploads = Uploads::begin(&server, &users);
    for round in 0..8 {
        let name = format!("out{round}.tar");
        server.home().run(&["migrate", "export", &name]).expect(0);
    }
    uploads.end();
    for round in 0..8 {
        let file = server.home().path().join(format!("out{round}.tar"));
        // An import compares each picture with its line, and refuses what does not fit.
        let imported = import(&home(), &[file.to_str().unwrap()]);
        assert_eq!(imported, counted(6, 6, [6, 0, 0, 0]));
    }
}

#[test]
fn import_beside_a_server_is_shown_at_once_and_repeated_without_harm() {
    let origin = Origin::new();
    let file = origin.export();
    let server = Server::start();

    assert_eq!(import(server.home(), &[&file]), counted(3, 2, [3, 0, 0, 0]));

    for (id, shown) in &origin.shown {
        assert_eq!(look(&server, id), *shown);
    }
    let piped = server
        .home()
        .run_with(&["migrate", "import", "-"], &std::fs::read(&file).unwrap());
    let line = "3 users in the archive: 0 added, 0 replaced, 3 unchanged, 0 skipped\n";
    assert_eq!(piped.expect(0).stdout, line);
}

#[test]
fn large_archive_goes_to_a_server_and_comes_back() {
    let origin = Origin::new();
    let many = hostile::multiplied(&entries(&origin.export()), 300);
    let server = Server::start();
    let file = archive(server.home(), &many);

    let imported = import(server.home(), &[&file]);

    assert_eq!(imported, counted(300, 300, [300, 0, 0, 0]));
    server
        .home()
        .run(&["migrate", "export", "back.tar"])
        .expect(0);
    let back = server.home().path().join("back.tar");
    let imported = import(&home(), &[back.to_str().unwrap()]);
    assert_eq!(imported["added"], json!(300));
}

#[test]
fn refused_archive_is_refused_by_a_server_in_the_same_words() {
    let origin = Origin::new();
    let file = origin.export();
    let bytes = std::fs::read(&file).unwrap();
    let cut = origin.server.home().path().join("cut.tar");
    std::fs::write(&cut, &bytes[..bytes.len() / 2]).unwrap();
    let cut = cut.to_str().unwrap();
    let without = home().run(&["migrate", "import", cut]);
    let server = Server::start();
    let before = listed(server.home());

    let beside = server.home().run(&["migrate", "import", cut]);

    assert_failed(&beside, &["archive is refused"]);
    assert_eq!(beside.stderr, without.stderr);
    assert_eq!(listed(server.home()), before);
}
