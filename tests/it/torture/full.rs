//! Disks that are full.

use std::fs::File;

use super::disk::Disk;
use super::{noise_photo, patient, rounds};
use crate::support::{Server, User};

/// Users with pictures of noise, and what their files were.
struct Gallery(Vec<(User, Files)>);

/// The larger and the smaller file of a picture.
type Files = (Vec<u8>, Vec<u8>);

impl Gallery {
    fn new(server: &Server, users: u64) -> Self {
        let users = (0..users).map(|seed| {
            let user = server.user();
            let profile = server.upload(&user, &noise_photo(seed)).expect(200).json();
            let files = server.pictures(&profile);
            (user, files)
        });
        Self(users.collect())
    }

    /// All of them are served as they were.
    #[track_caller]
    fn is_served(&self, server: &Server) {
        for (user, files) in &self.0 {
            assert!(server.pictures(&server.profile(user)) == *files);
        }
    }
}

/// Takes all the room there is but for so many bytes.
fn fill(disk: &Disk, but: u64) {
    let path = disk.path();
    let room = rustix::fs::statvfs(&path).unwrap();
    let free = room.f_bavail * room.f_frsize;
    let file = File::options()
        .create(true)
        .append(true)
        .open(path.join("junk"))
        .unwrap();
    let begin = file.metadata().unwrap().len();
    let bytes = free.saturating_sub(but);
    if bytes > 0 {
        let plain = rustix::fs::FallocateFlags::empty();
        rustix::fs::fallocate(&file, plain, begin, bytes).unwrap();
    }
}

#[test]
fn full_disk_refuses_uploads_serves_pictures_and_heals_without_a_restart() {
    let Some(disk) = Disk::in_memory(64) else {
        println!("skipped: full disk: a file system in memory is needed, and root");
        return;
    };
    let data_dir = disk.path().join("data").display().to_string();
    let mut server = patient()
        .set("storage.data_dir", &format!("{data_dir:?}"))
        // No guard: the writes themselves fail.
        .set("storage.free_bytes_min", "0")
        .set("storage.rendition_cache_bytes", "0")
        .start();
    let gallery = Gallery::new(&server, 4);
    let eve = server.user();
    for number in 0..rounds(2, 50) {
        let room = 3_000_000 + number * 70_000;
        let mut refused = 0;
        for seed in 100..300 {
            // Less and less: the store could do for long with what it has been given.
            fill(&disk, room * (300 - seed) / 200);
            let reply = server.upload(&eve, &noise_photo(seed));
            if reply.status != 200 {
                assert_eq!(reply.status, 507, "{}", reply.text());
                refused += 1;
            }
            if refused == 3 {
                break;
            }
        }
        assert_eq!(refused, 3, "the disk was never full");
        gallery.is_served(&server);
        fill(&disk, 0);
        server.upload(&eve, &noise_photo(1)).expect(507);
        gallery.is_served(&server);
        // The store can be opened on a disk without a free byte.
        server.kill();
        server.restart();
        gallery.is_served(&server);
        server.get("/readyz").expect(503);

        std::fs::remove_file(disk.path().join("junk")).unwrap();

        server.upload(&eve, &noise_photo(2)).expect(200);
        server.get("/readyz").expect(200);
    }
    gallery.is_served(&server);
    server.home().run(&["check", "store"]).expect(0);
    server.stop();
}
