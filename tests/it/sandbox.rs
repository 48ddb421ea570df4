//! Decode workers: locked in, a new one for each picture that takes C, and nobody else's loss when one dies.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use seccompiler::{SeccompAction, SeccompFilter};
use serde_json::{Value, json};

use crate::support::fixtures::{expected, jpeg_of, photo_12_megapixels};
use crate::support::process::{Outcome, children, status};
use crate::support::{DEADLINE, Form, PICTURE, Request, Server, Setup, User, fixture};

/// The workers of a server process that are locked in, by process id.
fn workers(server: i32) -> BTreeSet<i32> {
    let is_locked_in = |id: &i32| status(*id).contains("\nSeccomp:\t2\n");
    children(server).into_iter().filter(is_locked_in).collect()
}

/// How many workers wait in a server with so many slots: a fresh one for each, and the one that made the placeholder.
const fn waiting_of(slots: usize) -> usize {
    slots + 1
}

/// Waits until as many workers are locked in and wait, and names them.
#[track_caller]
fn waiting_workers(server: &Server, count: usize) -> BTreeSet<i32> {
    let begun = Instant::now();
    loop {
        let found = workers(server.process_id());
        if found.len() == count {
            return found;
        }
        assert!(
            begun.elapsed() < DEADLINE,
            "{count} workers, not {found:?}: {}",
            server.log()
        );
        thread::sleep(Duration::from_millis(5));
    }
}

fn signal(workers: &BTreeSet<i32>, signal: Signal) {
    for &id in workers {
        // One that has just ended is as good as one that is ended now.
        let _ = kill_process(Pid::from_raw(id).unwrap(), signal);
    }
}

fn check_sandbox(arguments: &[&str]) -> Outcome {
    Setup::new()
        .home()
        .run(&[&["check", "sandbox"], arguments].concat())
}

/// One worker, and uploads as often as the test likes.
fn server_with_one_worker(deadline_ms: &str) -> Server {
    Server::with(&[
        ("workers.count", "1"),
        ("workers.deadline_ms", deadline_ms),
        ("rate_limit.uploads_per_hour", "0"),
    ])
}

#[test]
fn waiting_worker_is_locked_in() {
    let server = server_with_one_worker("10_000");
    for id in waiting_workers(&server, waiting_of(1)) {
        let status = status(id);
        for line in [
            "NoNewPrivs:\t1",
            "Seccomp:\t2",
            "CoreDumping:\t0",
            "CapEff:\t0000000000000000",
            "CapPrm:\t0000000000000000",
            "CapInh:\t0000000000000000",
        ] {
            assert!(status.contains(line), "{line}: {status}");
        }
        let limits = std::fs::read_to_string(format!("/proc/{id}/limits")).unwrap();
        for name in ["Max open files", "Max core file size", "Max file size"] {
            let line = limits.lines().find(|line| line.starts_with(name)).unwrap();
            let values: Vec<_> = line[name.len()..].split_whitespace().collect();
            assert_eq!(&values[..2], ["0", "0"], "{line}");
        }
        let memory = limits.lines().find(|line| line.starts_with("Max address"));
        assert!(memory.unwrap().contains("1073741824"), "{memory:?}");
        let score = std::fs::read_to_string(format!("/proc/{id}/oom_score_adj")).unwrap();
        assert_eq!(score, "500\n", "before the server, when memory runs out");
        let environment = std::fs::read(format!("/proc/{id}/environ")).unwrap_or_default();
        assert!(environment.is_empty(), "nothing is inherited");
    }
}

#[test]
fn worker_inherits_no_open_file() {
    assert_inherits_nothing(&server_with_an_open_file());
}

#[test]
fn worker_inherits_no_open_file_where_the_kernel_cannot_close_a_range() {
    // As kernels before 5.9 answer. A filter holds for a thread and for what it starts.
    let server = thread::spawn(|| {
        let rules = [(libc::SYS_close_range, Vec::new())].into();
        let unknown = SeccompAction::Errno(libc::ENOSYS as u32);
        let arch = std::env::consts::ARCH.try_into().unwrap();
        let filter = SeccompFilter::new(rules, SeccompAction::Allow, unknown, arch).unwrap();
        let program: seccompiler::BpfProgram = filter.try_into().unwrap();
        seccompiler::apply_filter(&program).unwrap();
        server_with_an_open_file()
    });

    assert_inherits_nothing(&server.join().unwrap());
}

/// A server that was started with a file open that is not its own.
fn server_with_an_open_file() -> Server {
    Setup::new()
        .set("workers.count", "1")
        .open_files(1_000)
        .start()
}

#[track_caller]
fn assert_inherits_nothing(server: &Server) {
    let id = waiting_workers(server, waiting_of(1)).pop_first().unwrap();

    let Ok(entries) = std::fs::read_dir(format!("/proc/{id}/fd")) else {
        println!("skipped: the open files of a worker: only root may look at them");
        return;
    };

    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert_eq!(
        names.collect::<BTreeSet<_>>(),
        ["0", "1", "2"].map(String::from).into()
    );
}

#[test]
fn check_sandbox_shows_every_attempt_refused() {
    let outcome = check_sandbox(&[]).expect(0);

    for attempt in ["file", "socket", "process", "executable", "kill itself"] {
        let line = outcome.stdout.lines().find(|line| line.contains(attempt));
        let line = line.unwrap_or_else(|| panic!("{attempt}: {outcome:?}"));
        assert!(
            line.contains("refused") || line.contains("killed the worker"),
            "{line}"
        );
    }
    assert!(!outcome.stdout.contains("went through"), "{outcome:?}");
}

#[test]
fn pictures_that_take_no_c_share_a_worker() {
    let server = server_with_one_worker("10_000");
    let user = server.user();
    let waiting = waiting_workers(&server, waiting_of(1));
    for file in ["rgb.png", "orientation-6.jpg", "progressive.jpg"] {
        server.upload(&user, &fixture(file)).expect(200);

        assert_eq!(waiting_workers(&server, waiting_of(1)), waiting, "{file}");
    }
}

#[test]
fn picture_that_takes_c_has_a_worker_of_its_own() {
    let server = server_with_one_worker("10_000");
    let user = server.user();
    let first = waiting_workers(&server, waiting_of(1));
    server.upload(&user, &fixture("rgb.png")).expect(200);
    let mut fresh = BTreeSet::new();
    let mut before = first.clone();
    for file in ["grid.heic", "cmyk.jpg", "single.heic"] {
        server.upload(&user, &fixture(file)).expect(200);

        let after = waiting_workers(&server, waiting_of(1));
        let gone: BTreeSet<i32> = before.difference(&after).copied().collect();
        let came: BTreeSet<i32> = after.difference(&before).copied().collect();
        assert_eq!((gone.len(), came.len()), (1, 1), "{file}");
        assert!(fresh.is_disjoint(&came), "{file}: a worker is used again");
        fresh.extend(came);
        before = after;
    }
    assert_eq!(
        before.intersection(&first).count(),
        1,
        "the shared one stays"
    );
}

#[test]
fn workers_killed_from_outside_cost_nobody_an_answer() {
    let server = Server::with(&[("rate_limit.uploads_per_hour", "0")]);
    let user = server.user();
    for _ in 0..3 {
        signal(&waiting_workers(&server, waiting_of(cores())), Signal::KILL);
        server.upload(&user, &fixture("rgb.png")).expect(200);
    }
    let log = server.log();
    assert!(log.contains("killed from outside"), "{log}");

    // And again and again, at any moment.
    let done = AtomicBool::new(false);
    let process = server.process_id();
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let one = workers(process).into_iter().take(1).collect();
                signal(&one, Signal::KILL);
                thread::sleep(Duration::from_millis(20));
            }
        });
        for _ in 0..30 {
            let reply = server.upload(&user, &fixture("orientation-6.jpg"));
            assert!(matches!(reply.status, 200 | 503), "{}", reply.text());
        }
        done.store(true, Ordering::Relaxed);
    });

    server.upload(&user, &fixture("rgb.png")).expect(200);
    server.get("/readyz").expect(200);
}

#[test]
fn workers_killed_while_they_wait_are_replaced_without_being_asked_for() {
    let server = server_with_one_worker("10_000");
    let before = waiting_workers(&server, waiting_of(1));

    signal(&before, Signal::KILL);

    // The shared one comes back with the next picture; the killed ones are not even left as zombies.
    let begun = Instant::now();
    loop {
        let there: BTreeSet<i32> = children(server.process_id()).into_iter().collect();
        if there.len() == 1 && there.is_disjoint(&before) {
            break;
        }
        assert!(begun.elapsed() < DEADLINE, "{there:?}: {}", server.log());
        thread::sleep(Duration::from_millis(5));
    }
    waiting_workers(&server, 1);
    let log = server.log();
    assert!(log.contains("a waiting decode worker was killed"), "{log}");
}

/// Uploads until it is taken. On a busy machine even good pictures may take longer than these tests' short deadline.
fn made_in_the_end(server: &Server, user: &User, file: &str) -> Value {
    let begun = Instant::now();
    loop {
        let reply = server.upload(user, &fixture(file));
        if reply.status == 200 {
            return reply.json();
        }
        assert_eq!(reply.status, 400, "{}", reply.text());
        assert!(begun.elapsed() < DEADLINE, "{}", server.log());
    }
}

#[test]
fn upload_whose_worker_hangs_is_400_and_keeps_the_old_picture() {
    let server = server_with_one_worker("3_000");
    let user = server.user();
    let profile = made_in_the_end(&server, &user, "orientation-1.jpg");
    let waiting = waiting_workers(&server, waiting_of(1));
    signal(&waiting, Signal::STOP);

    let reply = server.upload(&user, &fixture("rgb.png")).expect(400);
    signal(&waiting, Signal::CONT);

    let sentence = reply.json()["image"][0].as_str().unwrap().to_owned();
    assert!(sentence.ends_with('.'), "{sentence}");
    assert_eq!(server.profile(&user), profile);
    let sha256 = "SHA-256";
    let log = server.log();
    assert!(log.contains(sha256) && log.contains("3000 ms"), "{log}");
    made_in_the_end(&server, &user, "rgb.png");
}

#[test]
fn three_deaths_of_different_uploads_are_not_ready_until_one_is_decoded() {
    let server = server_with_one_worker("3_000");
    let user = server.user();
    // The shared worker dies first; it comes back with the next picture that is made.
    let uploads = [("rgb.png", 2), ("orientation-6.jpg", 1), ("grey.jpg", 1)];
    for (file, waiting) in uploads {
        server.get("/readyz").expect(200);
        signal(&waiting_workers(&server, waiting), Signal::STOP);
        server.upload(&user, &fixture(file)).expect(400);
    }

    let reply = server.get("/readyz").expect(503);
    let checks = json!({ "store": "ok", "workers": "failed" });
    assert_eq!(reply.json()["checks"], checks);
    assert!(reply.field("retry-after").is_some());
    server.get("/healthz").expect(200);

    made_in_the_end(&server, &user, "rgb.png");
    server.get("/readyz").expect(200);
}

#[test]
fn ended_server_leaves_no_workers() {
    for ends in [Server::kill, Server::stop] {
        let mut server = Server::start();
        let workers = waiting_workers(&server, waiting_of(cores()));

        ends(&mut server);

        let begun = Instant::now();
        while workers.iter().any(|&id| is_running(id)) {
            assert!(begun.elapsed() < DEADLINE, "{workers:?} go on");
            thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Whether the process still does something: neither gone nor waiting to be reaped.
fn is_running(id: i32) -> bool {
    let status = status(id);
    let state = status.lines().find(|line| line.starts_with("State:"));
    state.is_some_and(|state| !state.contains("(zombie)"))
}

fn cores() -> usize {
    thread::available_parallelism().unwrap().get()
}

#[test]
fn user_with_many_pictures_leaves_a_worker_for_others() {
    let server = Server::with(&[
        ("workers.count", "2"),
        ("workers.deadline_ms", "60_000"),
        ("rate_limit.uploads_per_hour", "0"),
    ]);
    let (many, one) = (server.user(), server.user());
    let photo = photo_12_megapixels();
    let upload = Request::post(PICTURE).bearer(&many.access);
    let upload = upload.form(&Form::image(&photo));
    let address = server.address();
    thread::scope(|scope| {
        let flood = || upload.send(address).expect(200);
        let floods: Vec<_> = (0..16).map(|_| scope.spawn(flood)).collect();
        let begun = Instant::now();
        let works = |id: i32| status(id).contains("State:\tR");
        while !workers(server.process_id()).into_iter().any(works) {
            assert!(begun.elapsed() < DEADLINE, "no worker is at work");
        }

        server.upload(&one, &fixture("rgb.png")).expect(200);

        let waiting = floods.iter().filter(|flood| !flood.is_finished()).count();
        assert!(waiting >= 2, "it waited for the others: {waiting}");
    });
}

/// Files with this part of their bytes, in sixteenths, as they are and the rest damaged: what a decoder makes up for
/// damage could be filled by another's pixels.
fn damaged(name: &str, sixteenths: usize) -> [Vec<u8>; 3] {
    let whole = fixture(name);
    let at = whole.len() * sixteenths / 16;
    let (mut emptied, mut turned, mut swapped) = (whole.clone(), whole.clone(), whole);
    emptied[at..].fill(0);
    turned[at..]
        .iter_mut()
        .step_by(97)
        .for_each(|byte| *byte ^= 0x55);
    swapped[at..].reverse();
    [emptied, turned, swapped]
}

#[test]
fn picture_is_the_same_whatever_was_decoded_before_it() {
    let server = Server::with(&[("workers.count", "1"), ("rate_limit.uploads_per_hour", "0")]);
    let user = server.user();
    let noise = noise();
    let rows = expected();
    let names = rows.iter().map(|row| row.file.as_str());
    // Some of them take C.
    let is_risky = |name: &&str| name.contains(".heic") || name.contains(".jpg");
    let names: Vec<_> = names.filter(is_risky).collect();
    let mut files: Vec<_> = names.iter().map(|name| fixture(name)).collect();
    for name in [
        "single.heic",
        "grid.heic",
        "overlay.heic",
        "cmyk.jpg",
        "progressive.jpg",
    ] {
        files.extend([6, 10, 14].into_iter().flat_map(|part| damaged(name, part)));
    }
    let made = |file: &[u8]| {
        let reply = server.upload(&user, file);
        let pictures = (reply.status == 200).then(|| server.pictures(&reply.json()));
        (reply.status, pictures)
    };
    let first: Vec<_> = files.iter().map(|file| made(file)).collect();

    for (index, (file, first)) in files.iter().zip(&first).enumerate().rev() {
        if index % 5 == 0 {
            server.upload(&user, &noise).expect(200);
        }
        let name = names.get(index).unwrap_or(&"a damaged file");
        assert!(
            made(file) == *first,
            "{index}, {name}: depends on what came before"
        );
    }

    let accepted = first.iter().filter(|(status, _)| *status == 200).count();
    let refused = first.len() - accepted;
    assert!(accepted > 40 && refused > 20, "{accepted} and {refused}");
    // What libde265 could not decode, it leaves as it was in memory.
    let (begin, end) = (names.len(), names.len() + 27);
    let of_heic = first[begin..end].iter();
    assert!(of_heic.filter(|(status, _)| *status == 200).count() < 9);
}

/// A JPEG without two equal blocks.
fn noise() -> Vec<u8> {
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    let pixels = (0..512 * 512 * 3).map(|_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 56) as u8
    });
    jpeg_of(&pixels.collect::<Vec<_>>(), 512, 512, 90)
}
