//! The pool with workers that lie: scripts in the place of this binary.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use tokio::time::timeout;

use super::*;

/// What a script says when it is locked in, and when it says that it is not.
const LOCKED_IN: &str = r#"frame '{"seccomp":{"Ok":null},"landlock":{"Ok":"yes"}}'"#;
const LOOSE: &str = r#"frame '{"seccomp":{"Err":"none here"},"landlock":{"Ok":"yes"}}'"#;

/// Writes its argument, below 256 bytes long, as a message.
const FRAME: &str = r#"frame() { printf "\0\0\0\\$(printf %o ${#1})%s" "$1"; }"#;

/// The line of a script that gives an answer with this reply.
fn answer(reply: &str) -> String {
    let took = r#"{"decode":null,"resize":null,"encode":null}"#;
    format!(r#"frame '{{"reply":{reply},"took":{took}}}'"#)
}

/// A folder with a program in it that runs this shell script in its place.
fn fake(script: &str) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("worker");
    // Another process writes it: it could not be started while one of this process's children has it open for writing.
    let mut shell = Command::new("sh")
        .args(["-c", "cat > \"$0\" && chmod 700 \"$0\""])
        .arg(&path)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let place = folder.path().display();
    let whole = format!("#!/bin/sh\nPATH=/usr/bin:/bin\ncd '{place}'\n{FRAME}\n{script}\n");
    let mut stdin = shell.stdin.take().unwrap();
    stdin.write_all(whole.as_bytes()).unwrap();
    drop(stdin);
    assert!(shell.wait().unwrap().success());
    (folder, path)
}

fn config(count: usize) -> config::Workers {
    config::Workers {
        count,
        require_sandbox: true,
        ..config::Workers::default()
    }
}

async fn pool(binary: PathBuf, config: &config::Workers) -> Result<Pool, Error> {
    let picture = config::Picture::default();
    let (pool, _) = Pool::start_with(binary, config, &picture).await?;
    Ok(pool)
}

/// What is told of an error: itself and its cause.
fn told(error: &Error) -> String {
    let cause = error.source().map(ToString::to_string);
    format!("{error}: {}", cause.unwrap_or_default())
}

#[tokio::test]
async fn worker_that_announces_more_files_than_asked_for_is_not_listened_to() {
    let many = [r#"{"size_px":512,"length":16777216}"#; 3].join(",");
    let answer = answer(&format!(r#"{{"Placeholder":[{many}]}}"#));
    let script = format!("{LOCKED_IN}\n{answer}\ncat /dev/zero");
    let (_folder, binary) = fake(&script);
    let pool = pool(binary, &config(1)).await.unwrap();

    let error = pool.placeholder().await.unwrap_err();

    let told = told(&error);
    assert!(
        told.contains("3 files") && told.contains("the 2 that"),
        "{told}"
    );
    assert_eq!(pool.deaths().nonsense, 1);
}

#[tokio::test]
async fn worker_that_announces_more_bytes_than_a_size_can_have_is_not_listened_to() {
    let files = r#"{"size_px":512,"length":5000000},{"size_px":128,"length":9}"#;
    let answer = answer(&format!(r#"{{"Placeholder":[{files}]}}"#));
    let script = format!("{LOCKED_IN}\n{answer}\ncat /dev/zero");
    let (_folder, binary) = fake(&script);
    let pool = pool(binary, &config(1)).await.unwrap();

    let error = pool.placeholder().await.unwrap_err();

    let told = told(&error);
    assert!(told.contains("5000000 bytes, the limit is"), "{told}");
}

#[tokio::test]
async fn later_worker_that_is_not_locked_in_is_not_used() {
    // The first is, the others are not.
    let script = format!("if mkdir first\nthen {LOCKED_IN}\nelse {LOOSE}\nfi\nsleep 60");
    let (_folder, binary) = fake(&script);
    let pool = pool(binary, &config(1)).await.unwrap();
    drop(pool.shared.stock.any());

    let error = pool.placeholder().await.unwrap_err();

    assert!(matches!(&error, Error::NotLockedIn(reason) if reason == "none here"));
    pool.close().await;
    assert_eq!(pool.load().alive, 0);
}

#[tokio::test]
async fn worker_that_cannot_be_locked_in_says_why() {
    let (_folder, binary) = fake("echo 'RLIMIT_AS: not here' >&2\nexit 3");

    let error = pool(binary, &config(1)).await.unwrap_err();

    assert!(told(&error).contains("RLIMIT_AS: not here"), "{error:?}");
}

#[tokio::test]
async fn worker_that_is_killed_while_it_starts_costs_nobody_an_answer() {
    let answer = answer(r#"{"Refused":"NotAnImage"}"#);
    let script = format!(
        "if mkdir first\nthen {LOCKED_IN}\nelif mkdir second || mkdir third\nthen kill -9 $$\nelse {LOCKED_IN}\nfi\n\
         {answer}\nsleep 60"
    );
    let (_folder, binary) = fake(&script);
    let pool = pool(binary, &config(1)).await.unwrap();
    pool.close().await;
    while pool.shared.stock.any().is_some() {}

    let error = pool.placeholder().await.unwrap_err();

    assert!(matches!(error, Error::Picture(_)), "{error:?}");
    assert!(pool.deaths().outside >= 1);
}

#[tokio::test]
async fn start_of_a_worker_takes_nothing_of_the_deadline() {
    let answer = answer(r#"{"Refused":"NotAnImage"}"#);
    let script = format!("sleep 1\n{LOCKED_IN}\nsleep 0.1\n{answer}\nsleep 60");
    let (_folder, binary) = fake(&script);
    let config = config::Workers {
        deadline_ms: 900,
        ..config(1)
    };
    let pool = pool(binary, &config).await.unwrap();
    drop(pool.shared.stock.any());

    let error = pool.placeholder().await.unwrap_err();

    assert!(matches!(error, Error::Picture(_)), "{error:?}");
}

#[tokio::test]
async fn closed_pool_starts_no_more_workers() {
    let script = format!("if mkdir first\nthen {LOCKED_IN}\nfi\nsleep 60");
    let (_folder, binary) = fake(&script);
    let pool = pool(binary, &config(3)).await.unwrap();
    assert_eq!(pool.shared.starting.len(), 2);

    timeout(Duration::from_secs(5), pool.close()).await.unwrap();

    assert_eq!(pool.load().alive, 1);
    pool.replenish();
    pool.close().await;
    assert_eq!(pool.load().alive, 1);
}

#[tokio::test]
async fn more_fresh_workers_than_slots_are_not_kept() {
    let (_folder, binary) = fake(&format!("{LOCKED_IN}\nsleep 60"));
    let pool = pool(binary, &config(2)).await.unwrap();
    for _ in 0..3 {
        let worker = pool.shared.start_one().await.unwrap();
        pool.shared.put(worker);
    }
    pool.close().await;

    assert_eq!(pool.load().ready, 2);
    let retired = pool.retirements();
    let surplus = retired.iter().find(|(why, _)| *why == Retirement::Surplus);
    assert!(surplus.unwrap().1 >= 2, "{retired:?}");
}
