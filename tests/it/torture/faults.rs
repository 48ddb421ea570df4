//! Disks that fail: every call of the system that writes, in turn, once and from then on; and a server that cannot
//! write at all for a while.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use pockitd::config;
use pockitd::storage;
use pockitd::storage::Store;
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use tempfile::TempDir;

use super::{AtTheEnd, eventually, is_long, noise_photo, patient, random, rounds};
use crate::store::{account, at, life_of_a_user, user, usual_picture};
use crate::support::{Form, PICTURE, Request, Server};

/// Where the process works whose calls fail.
const DATA_DIR: &str = "POCKITD_TEST_FAULTS_DATA_DIR";
/// The calls with which the store writes and syncs.
const CALLS: [&str; 3] = ["pwrite64", "fdatasync", "fsync"];
/// Every how many-th of a kind fails in the short version.
const STRIDE: usize = 6;

pub(super) fn config(data_dir: std::path::PathBuf) -> config::Storage {
    config::Storage {
        data_dir,
        free_bytes_min: 0,
        // So that reads are reads.
        rendition_cache_bytes: 0,
        ..config::Storage::default()
    }
}

/// Asserts that all that must be there is, and nothing that must not be.
pub(super) async fn is_whole(store: &dyn Store) {
    let bob = store.profile(&user("bob")).await.unwrap();
    let (shown, renditions) = usual_picture(77);
    assert_eq!(bob.picture, Some(shown.clone()));
    for rendition in renditions {
        let found = store.rendition(shown.id, rendition.size_px).await.unwrap();
        assert_eq!(found.bytes, rendition.bytes);
    }
    let accounts = store.accounts(None, 10).await.unwrap();
    let counts = store.counts().await.unwrap();
    assert_eq!(accounts.len() as u64, counts.users);
}

/// What an audit finds.
pub(super) async fn findings(store: &dyn Store) -> Vec<String> {
    let mut findings = Vec::new();
    let mut place = None;
    loop {
        let examined = store.examine(place.as_ref(), at(1_000_000)).await.unwrap();
        findings.extend(examined.findings.into_iter().map(|found| found.detail));
        place = examined.next;
        if place.is_none() {
            return findings;
        }
    }
}

/// Not a test by itself: the program whose calls fail.
#[tokio::test]
async fn lives_with_failing_calls() {
    let Some(data_dir) = std::env::var_os(DATA_DIR) else {
        return;
    };
    let Ok(store) = storage::open(&config(data_dir.into())).await else {
        println!("not opened");
        return;
    };

    // Asserts at each step that it was done wholly, or answered with an error and not done at all.
    let steps = life_of_a_user(&*store).await;

    is_whole(&*store).await;
    let failed = steps.iter().filter(|step| step.is_err()).count();
    let closed = store.close().await.is_ok();
    println!("steps failed: {failed}, closed: {closed}");
}

/// This program running one of its functions, with calls that fail.
pub(super) fn traced(call: &str, fault: &str, trace: &Path, function: &str) -> Command {
    let mut traced = Command::new("strace");
    traced.args(["-f", "-e", fault, "-e", &format!("trace={call}"), "-o"]);
    traced.arg(trace).arg(std::env::current_exe().unwrap());
    traced.args(["--exact", "--nocapture"]);
    traced.arg(format!("torture::{function}"));
    traced
}

/// A store with one user, who has a picture; none where calls cannot be made to fail.
pub(super) async fn bobs_store() -> Option<TempDir> {
    let traces = Command::new("strace")
        .args(["-e", "trace=none", "true"])
        .status();
    if !traces.is_ok_and(|status| status.success()) {
        println!("skipped: failing calls: strace is not installed, or not permitted");
        return None;
    }
    let before = tempfile::tempdir().unwrap();
    let store = storage::open(&config(before.path().join("data")))
        .await
        .unwrap();
    let bob = store.create_user(account("bob"), "Bob".parse().unwrap());
    bob.await.unwrap();
    let (shown, renditions) = usual_picture(77);
    let bob = user("bob");
    let replaced = store.replace_picture(&bob, shown, renditions);
    replaced.await.unwrap();
    drop(store);
    Some(before)
}

#[tokio::test]
async fn every_failing_call_in_turn_is_an_error_and_reads_go_on() {
    let Some(before) = bobs_store().await else {
        return;
    };
    let (mut rounds, mut shut, mut failed) = (0, 0, 0);
    for call in CALLS {
        for for_good in ["", "+"] {
            for number in (1..).step_by(if is_long() { 1 } else { STRIDE }) {
                let round = tempfile::tempdir().unwrap();
                let data_dir = round.path().join("data");
                super::damage::copy(&before.path().join("data"), &data_dir);
                let trace = round.path().join("trace");
                let fault = format!("inject={call}:error=EIO:when={number}{for_good}");
                let mut traced = traced(call, &fault, &trace, "faults::lives_with_failing_calls");

                let ran = traced.env(DATA_DIR, &data_dir).output().unwrap();

                let said = String::from_utf8_lossy(&ran.stdout).into_owned();
                let what = format!("{fault}: {said}{}", String::from_utf8_lossy(&ran.stderr));
                assert!(ran.status.success(), "{what}");
                let store = storage::open(&config(data_dir)).await;
                let store = store.unwrap_or_else(|error| panic!("{what}: {error}"));
                is_whole(&*store).await;
                assert_eq!(findings(&*store).await, Vec::<String>::new(), "{what}");
                rounds += 1;
                shut += u32::from(said.contains("not opened"));
                failed += u32::from(!said.contains("steps failed: 0"));
                if !fs::read_to_string(&trace).unwrap().contains("INJECTED") {
                    assert!(said.contains("steps failed: 0, closed: true"), "{what}");
                    break;
                }
            }
        }
    }
    println!("failing calls: {rounds} rounds, in {failed} something failed, in {shut} the opening");
    assert!(failed > shut && shut > 0);
}

/// Lets a server write files of so many bytes only; none: any.
fn limit_files(server: &Server, bytes: Option<u64>) {
    let process = Pid::from_raw(server.process_id()).unwrap();
    let limit = Rlimit {
        current: bytes,
        maximum: None,
    };
    prlimit(Some(process), Resource::Fsize, limit).unwrap();
}

#[test]
fn server_that_cannot_write_serves_all_pictures_and_heals() {
    let server = patient().set("storage.rendition_cache_bytes", "0").start();
    let gallery: Vec<(Request, Vec<u8>)> = (0..4)
        .flat_map(|seed| {
            let user = server.user();
            let profile = server.upload(&user, &noise_photo(seed)).expect(200).json();
            let id = profile["picture"]["id"].as_str().unwrap();
            let file = |size| Request::get(&format!("/media/profile_pictures/{id}/{size}.jpg"));
            let (large, small) = server.pictures(&profile);
            [(file(512), large), (file(128), small)]
        })
        .collect();
    let address = server.address();
    let eve = server.user();
    server.upload(&eve, &noise_photo(9)).expect(200);
    let over = AtomicBool::new(false);
    let reads = AtomicU64::new(0);
    let (mut refused, rounds) = (0, rounds(4, 100));
    thread::scope(|scope| {
        let reader = scope.spawn(|| {
            // All the time: before, while the writes fail, while the database is opened anew.
            while !over.load(Ordering::Relaxed) {
                for (file, bytes) in &gallery {
                    assert!(file.send(address).expect(200).body == *bytes);
                    reads.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        let _end = AtTheEnd(&over);
        for round in 0..rounds {
            let log = server.home().data_dir().join("db/db");
            // Every other time nothing at all; else from some place in the log on.
            let most = if round % 2 == 0 {
                1
            } else {
                super::length(&log) + 200_000
            };
            let before = server.profile(&eve)["picture"]["id"].clone();
            limit_files(&server, Some(random(most)));
            let mut live = before;
            for seed in 0..4 {
                let form = Form::image(&noise_photo(10 + seed));
                let upload = Request::post(PICTURE).bearer(&eve.access).form(&form);
                let reply = upload.try_send_to_a_failing_server(address).unwrap();
                if reply.status == 200 {
                    live = reply.json()["picture"]["id"].clone();
                } else {
                    assert!(reply.status >= 500, "{}", reply.text());
                    refused += 1;
                }
                // What was refused is not there, what was taken is.
                assert_eq!(server.profile(&eve)["picture"]["id"], live);
            }
            if round % 2 == 0 {
                server.get("/readyz").expect(503);
            }
            let so_far = reads.load(Ordering::Relaxed);
            let reads_on = || reads.load(Ordering::Relaxed) > so_far + 4;
            eventually("reads", || reads_on() || reader.is_finished());

            limit_files(&server, None);

            server.get("/readyz").expect(200);
            assert_eq!(server.profile(&eve)["picture"]["id"], live);
            server.upload(&eve, &noise_photo(20)).expect(200);
        }
    });
    assert!(refused >= rounds, "{refused}");
    server.home().run(&["check", "store"]).expect(0);
    let reads = reads.into_inner();
    println!(
        "failing disk: {rounds} times, {refused} uploads refused, {reads} pictures read meanwhile"
    );
}
