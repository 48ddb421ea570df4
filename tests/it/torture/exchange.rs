//! Compactions on disks that fail, at each call and just as the copy is put in the place of the database.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use pockitd::storage;
use pockitd::storage::upkeep::Watch;

use super::faults::{bobs_store, config, findings, is_whole, traced};
use super::{eventually, is_long};
use crate::store::{at, user};
use crate::support::raw::lengthen;

/// Where the process compacts whose calls fail.
const COMPACTED_DIR: &str = "POCKITD_TEST_FAULTS_COMPACTED_DIR";
/// The calls with which a database is written anew and put in its place, and every how many-th fails in the short
/// version: of those of the exchange itself, each.
const COMPACTING: [(&str, usize); 5] = [
    ("pwrite64", 8),
    ("fdatasync", 4),
    ("fsync", 1),
    ("rename", 1),
    ("renameat2", 1),
];

/// Asserts that a store is as what the process said of it, and that nothing is left of the copy.
async fn opens_as_it_was(data_dir: &Path, said: &str) {
    let store = storage::open(&config(data_dir.to_owned())).await;
    let store = store.unwrap_or_else(|error| panic!("{said}: {error}"));
    is_whole(&*store).await;
    assert_eq!(findings(&*store).await, Vec::<String>::new(), "{said}");
    let name = store.profile(&user("bob")).await.unwrap().name;
    // What was refused has not happened, unless the disk failed on and the process ended before it could take it back.
    let named = name.as_str() == "Robert";
    if !named || !said.contains("named: false, sound: false") {
        assert_eq!(named, said.contains("named: true"), "{said}");
    }
    for left in ["db.new", "db.old"] {
        assert!(!data_dir.join(left).exists(), "{said}");
    }
}

/// Not a test by itself: the program that compacts while its calls fail.
#[tokio::test]
async fn compacts_with_failing_calls() {
    let Some(data_dir) = std::env::var_os(COMPACTED_DIR) else {
        return;
    };
    let Ok(store) = storage::open(&config(data_dir.into())).await else {
        println!("not opened");
        return;
    };
    println!("opened");
    std::io::stdin().read_line(&mut String::new()).unwrap();

    let compacted = store.compact(&Watch::default()).await.is_ok();

    // Whatever became of it, also on a disk that takes nothing any more.
    is_whole(&*store).await;
    let bob = user("bob");
    let named = store.rename(&bob, "Robert".parse().unwrap(), at(9)).await;
    is_whole(&*store).await;
    let shown = store.profile(&bob).await.unwrap().name;
    assert_eq!(shown.as_str() == "Robert", named.is_ok());
    let (named, sound) = (named.is_ok(), store.ready().await.is_ok());
    println!("compacted: {compacted}, named: {named}, sound: {sound}");
}

#[tokio::test]
async fn every_failing_call_of_a_compaction_leaves_a_store_that_is_read_and_opened() {
    let Some(before) = bobs_store().await else {
        return;
    };
    let (mut rounds, mut undone, mut unnamed) = (0, 0, 0);
    for (call, stride) in COMPACTING {
        for for_good in ["", "+"] {
            for number in (1..).step_by(if is_long() { 1 } else { stride }) {
                let round = tempfile::tempdir().unwrap();
                let data_dir = round.path().join("data");
                super::damage::copy(&before.path().join("data"), &data_dir);
                lengthen(&data_dir);
                let trace = round.path().join("trace");
                let fault = format!("inject={call}:error=EIO:when={number}{for_good}");
                let mut traced = traced(
                    call,
                    &fault,
                    &trace,
                    "exchange::compacts_with_failing_calls",
                );

                let ran = traced.env(COMPACTED_DIR, &data_dir).output().unwrap();

                let said = String::from_utf8_lossy(&ran.stdout).into_owned();
                let what = format!("{fault}: {said}{}", String::from_utf8_lossy(&ran.stderr));
                assert!(ran.status.success(), "{what}");
                opens_as_it_was(&data_dir, &what).await;
                rounds += 1;
                undone += u32::from(said.contains("compacted: false"));
                unnamed += u32::from(said.contains("named: false"));
                if !fs::read_to_string(&trace).unwrap().contains("INJECTED") {
                    assert!(said.contains("compacted: true, named: true"), "{what}");
                    break;
                }
            }
        }
    }
    println!(
        "failing calls: {rounds} compactions, {undone} undone, {unnamed} with no writes after"
    );
    assert!(undone > unnamed && unnamed > 0);
}

/// The thread of a process that writes to the store. It gets its name when it first runs.
fn writing_thread(process: u32) -> String {
    let mut found = None;
    eventually("a thread that writes", || {
        let tasks = fs::read_dir(format!("/proc/{process}/task")).unwrap();
        let mut tasks = tasks.map(|task| task.unwrap());
        found = tasks.find(|task| {
            let name = fs::read_to_string(task.path().join("comm"));
            name.is_ok_and(|name| name.trim() == "store-commit")
        });
        found.is_some()
    });
    found.unwrap().file_name().into_string().unwrap()
}

/// Has calls of a thread fail from now on.
fn fail_calls_of(thread: &str, faults: &[&str]) -> Child {
    let mut strace = Command::new("strace");
    strace.args(["-p", thread, "-o", "/dev/null"]);
    for fault in faults {
        strace.args(["-e", &format!("inject={fault}")]);
    }
    let mut strace = strace.stderr(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(strace.stderr.take().unwrap()).lines();
    let is_attached = |line: std::io::Result<String>| line.unwrap().contains("attached");
    assert!(
        said.any(is_attached),
        "calls of a thread can be made to fail"
    );
    strace
}

#[tokio::test]
async fn disk_that_fails_just_as_the_copy_takes_its_place_leaves_readers_the_database() {
    let Some(before) = bobs_store().await else {
        return;
    };
    // The exchange is the first that this thread renames and the first that it syncs by itself. Its sync fails, once or
    // for good; the exchange cannot be taken back either; it cannot be made at all.
    for (faults, outcome) in [
        (
            &["fsync:error=EIO:when=1"][..],
            "compacted: false, named: true",
        ),
        (
            &["fsync:error=EIO:when=1+"],
            "compacted: false, named: false",
        ),
        (
            &["fsync:error=EIO:when=1+", "renameat2:error=EIO:when=2+"],
            "compacted: false, named: false",
        ),
        (
            &["fsync:error=EIO:when=1", "renameat2:error=EIO:when=2+"],
            "compacted: false, named: true",
        ),
        (
            &["renameat2:error=EIO:when=1+"],
            "compacted: false, named: true",
        ),
        // As where a file system has no such call.
        (
            &["renameat2:error=EINVAL:when=1+"],
            "compacted: true, named: true",
        ),
        (
            &["renameat2:error=EINVAL:when=1+", "fsync:error=EIO:when=1+"],
            "compacted: false, named: false",
        ),
    ] {
        let round = tempfile::tempdir().unwrap();
        let data_dir = round.path().join("data");
        super::damage::copy(&before.path().join("data"), &data_dir);
        lengthen(&data_dir);
        let mut process = Command::new(std::env::current_exe().unwrap());
        process.args(["--exact", "--nocapture"]);
        process.arg("torture::exchange::compacts_with_failing_calls");
        process.env(COMPACTED_DIR, &data_dir);
        process.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = process.spawn().unwrap();
        let mut said = BufReader::new(process.stdout.take().unwrap()).lines();
        assert!(said.any(|line| line.unwrap().ends_with("opened")));
        let mut strace = fail_calls_of(&writing_thread(process.id()), faults);

        process.stdin.take().unwrap().write_all(b"\n").unwrap();

        let said: Vec<String> = said.map(Result::unwrap).collect();
        let said = format!("{faults:?}: {}", said.join("\n"));
        assert!(process.wait().unwrap().success(), "{said}");
        strace.wait().unwrap();
        assert!(said.contains(outcome), "{said}");
        opens_as_it_was(&data_dir, &said).await;
    }
}
