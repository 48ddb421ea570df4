//! Power cuts: ext4 on a loop device that forgets, at a random moment, all that was not synced.
//!
//! What is acknowledged is noted outside, by a process that the cut does not concern. The control is sled as it is
//! shipped, under the same workload: the cuts must show its losses, or they would prove nothing.

mod workload;

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use pockitd::config;
use pockitd::domain::picture::Rendition;
use pockitd::storage;
use pockitd::storage::Store;
use tokio::runtime::Runtime;

use self::workload::{ACKNOWLEDGED, FILES, FINISHED, SHOWN, USERS, Uploads};
use super::disk::Disk;
use super::load::Load;
use super::{any_moment, eventually, patient, random, rounds};
use crate::store::{account, at, picture, user};

/// Size of the disks, in MiB.
const DISK_MEBIBYTES: u64 = 512;
/// Cuts that one file system goes through. Then a new one is made, as the first writes to a new store are cut, too.
const CUTS_PER_DISK: u64 = 8;
/// The power is cut within this time.
const CUT_WITHIN: Duration = Duration::from_millis(1_500);
/// What the process that works is told: `write` or `read`, and where.
const VERB: &str = "POCKITD_TEST_POWER";
const DATA_DIR: &str = "POCKITD_TEST_POWER_DATA_DIR";
/// How long a store may take to be opened and read.
const READ_TIMEOUT: Duration = Duration::from_mins(1);

/// How a round ends.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    PowerCut,
    /// The same without the cut: the process is killed, and the disk is unmounted in order.
    Kill,
}

/// A program that has the workload, and where it keeps its data on a disk.
type Program<'p> = &'p dyn Fn(&str, &Path) -> Command;

/// What the cuts came to.
#[derive(Debug, Default)]
struct Outcome {
    rounds: u64,
    acknowledged: u64,
    /// Users whose last acknowledged picture was not there, whole.
    lost: u64,
    /// Stores that did not open, or of which not everything could be looked at.
    shut: u64,
    details: Vec<String>,
}

impl Outcome {
    fn is_bad(&self) -> bool {
        self.lost + self.shut > 0
    }
}

/// Ends the program so many times, or until something is lost.
fn end(program: Program<'_>, how: End, rounds: u64, until_bad: bool) -> Outcome {
    let mut outcome = Outcome::default();
    let mut disk = None;
    let mut acknowledged = BTreeMap::new();
    while outcome.rounds < rounds && !(until_bad && outcome.is_bad()) {
        // Something that is broken is not written to again.
        if outcome.rounds.is_multiple_of(CUTS_PER_DISK) || outcome.is_bad() {
            drop(disk.take());
            disk = Disk::on_a_device(DISK_MEBIBYTES);
            acknowledged.clear();
        }
        let disk = disk.as_ref().expect("there was one before");
        outcome.rounds += 1;
        outcome.acknowledged += write_until_the_end(program, how, disk, &mut acknowledged);
        disk.turn_on();
        compare(program, disk, &mut acknowledged, &mut outcome);
    }
    outcome
}

/// Lets the program write, cuts the power and kills it; notes what it had acknowledged.
fn write_until_the_end(
    program: Program<'_>,
    how: End,
    disk: &Disk,
    acknowledged: &mut BTreeMap<u64, u64>,
) -> u64 {
    let mut writer = program("write", &disk.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(writer.stdout.take().unwrap()).lines();
    let count = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&count);
    let listener = std::thread::spawn(move || {
        let mut heard = BTreeMap::new();
        for line in lines.map_while(Result::ok) {
            if let Some([user, seed]) = numbers(&line, ACKNOWLEDGED) {
                heard.insert(user, seed);
                counted.fetch_add(1, Ordering::Relaxed);
            }
        }
        heard
    });
    // Some while the store is being made or opened, most under load.
    if random(4) > 0 {
        eventually("an acknowledgement", || count.load(Ordering::Relaxed) > 0);
    }
    any_moment(CUT_WITHIN);
    if how == End::PowerCut {
        disk.cut();
    }
    writer.kill().unwrap();
    writer.wait().unwrap();
    // What the pipe still held was acknowledged as well: after the cut no sync succeeds.
    acknowledged.extend(listener.join().unwrap());
    count.load(Ordering::Relaxed)
}

/// Looks at what came through.
fn compare(
    program: Program<'_>,
    disk: &Disk,
    acknowledged: &mut BTreeMap<u64, u64>,
    outcome: &mut Outcome,
) {
    let mut reader = program("read", &disk.path());
    let mut reader = crate::support::process::Process::start(&mut reader, b"");
    let mut is_finished = false;
    let mut shown = BTreeMap::new();
    while let Some(line) = reader.line() {
        is_finished |= line == FINISHED;
        if let Some([user, seed]) = numbers(&line, SHOWN) {
            shown.insert(user, seed);
        } else if line.starts_with(SHOWN) {
            outcome.details.push(line);
        }
    }
    reader.wait(READ_TIMEOUT);
    reader.drained();
    if !is_finished {
        outcome.shut += 1;
        outcome.details.push(reader.log());
        return;
    }
    for user in 0..USERS {
        let before = acknowledged.get(&user).copied().unwrap_or(0);
        match shown.get(&user) {
            // One more may have become durable before its acknowledgement was heard.
            Some(now) if *now == before || *now == before + 1 => {
                acknowledged.insert(user, *now);
            }
            now => {
                outcome.lost += 1;
                let detail = format!("user {user}: {before} acknowledged, {now:?} shown");
                outcome.details.push(detail);
            }
        }
    }
}

/// The numbers of a line that begins so.
fn numbers(line: &str, begin: &str) -> Option<[u64; 2]> {
    let (user, seed) = line.strip_prefix(begin)?.trim().split_once(' ')?;
    Some([user.parse().ok()?, seed.parse().ok()?])
}

fn is_possible() -> bool {
    let possible = Disk::on_a_device(DISK_MEBIBYTES).is_some();
    if !possible {
        println!("skipped: power cuts: ext4 on a loop device is needed, and root");
    }
    possible
}

/// This program, in the role of [`works_until_the_power_is_cut`].
fn this_program(verb: &str, disk: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "--nocapture"])
        .arg("torture::power::works_until_the_power_is_cut")
        .env(VERB, verb)
        .env(DATA_DIR, disk.join("data"));
    command
}

/// The control, which `cargo test` and `cargo build --examples` build beside this program.
fn control() -> PathBuf {
    let this = std::env::current_exe().unwrap();
    let profile = this.parent().unwrap().parent().unwrap();
    profile.join("examples/sled_as_shipped")
}

/// The store of the product, with the runtime that it needs.
struct Product {
    store: Arc<dyn Store>,
    runtime: Runtime,
}

impl Product {
    fn open(data_dir: PathBuf) -> Self {
        let runtime = Runtime::new().unwrap();
        let config = config::Storage {
            data_dir,
            free_bytes_min: 0,
            ..config::Storage::default()
        };
        let store = runtime.block_on(storage::open(&config)).unwrap();
        Self { store, runtime }
    }

    /// What an audit finds, in words.
    fn findings(&self) -> Vec<String> {
        let mut findings = Vec::new();
        let mut place = None;
        loop {
            let step = self.store.examine(place.as_ref(), at(i64::MAX / 2_000_000));
            let examined = self.runtime.block_on(step).unwrap();
            findings.extend(examined.findings.into_iter().map(|found| found.detail));
            place = examined.next;
            if place.is_none() {
                return findings;
            }
        }
    }
}

fn id(number: u64) -> String {
    format!("user{number}")
}

fn shown_picture(user: u64, seed: u64) -> (pockitd::domain::picture::Picture, Vec<Rendition>) {
    let (shown, mut renditions) = picture(user * 1_000_000 + seed, &[(512, 0), (128, 0)]);
    for (rendition, length) in renditions.iter_mut().zip(FILES) {
        rendition.bytes = workload::bytes(user, seed, length).into();
    }
    (shown, renditions)
}

impl Uploads for Product {
    fn upload(&self, number: u64, seed: u64) -> bool {
        let (shown, renditions) = shown_picture(number, seed);
        let name = id(number);
        self.runtime.block_on(async {
            if seed == 1 {
                let created = self
                    .store
                    .create_user(account(&name), "Some".parse().unwrap());
                // There already if only the picture was cut off.
                let _ = created.await;
            }
            let user = user(&name);
            let replaced = self.store.replace_picture(&user, shown, renditions);
            replaced.await.is_ok()
        })
    }

    fn shown(&self, number: u64) -> Result<u64, String> {
        let user = user(&id(number));
        let profile = match self.runtime.block_on(self.store.profile(&user)) {
            Ok(profile) => profile,
            Err(storage::Error::NotFound(_)) => return Ok(0),
            Err(error) => return Err(error.to_string()),
        };
        let Some(found) = profile.picture else {
            return Ok(0);
        };
        let seed = u64::try_from(found.uploaded_at.as_micros() / 1_000_000).unwrap()
            - 100
            - number * 1_000_000;
        let (expected, renditions) = shown_picture(number, seed);
        if expected != found {
            return Err(format!("{found:?}"));
        }
        for rendition in renditions {
            let stored = self.store.rendition(found.id, rendition.size_px);
            let stored = self.runtime.block_on(stored);
            let stored = stored.map_err(|error| error.to_string())?;
            if stored.bytes != rendition.bytes {
                return Err(format!("wrong bytes at {} px", rendition.size_px));
            }
        }
        Ok(seed)
    }
}

/// Not a test by itself: the program that the next one starts and cuts off.
#[test]
fn works_until_the_power_is_cut() {
    let (Some(verb), Some(data_dir)) = (std::env::var_os(VERB), std::env::var_os(DATA_DIR)) else {
        return;
    };
    let product = Product::open(data_dir.into());
    if verb == "write" {
        workload::write(&product);
    } else {
        assert_eq!(product.findings(), Vec::<String>::new());
        workload::read(&product);
    }
}

#[test]
fn nothing_acknowledged_is_lost_in_a_power_cut() {
    if !is_possible() {
        return;
    }

    let outcome = end(&this_program, End::PowerCut, rounds(4, 200), false);

    println!(
        "power cuts: {}, acknowledged: {}, lost: {}, shut: {}",
        outcome.rounds, outcome.acknowledged, outcome.lost, outcome.shut
    );
    assert!(!outcome.is_bad(), "{outcome:#?}");
    assert!(outcome.acknowledged > 0);
}

#[test]
fn power_cuts_show_what_sled_as_shipped_loses() {
    if !is_possible() {
        return;
    }
    if !control().exists() {
        println!("skipped: control of the power cuts: `cargo build --examples` makes it");
        return;
    }
    let program = |verb: &str, disk: &Path| {
        let mut command = Command::new(control());
        command.arg(verb).arg(disk.join("data"));
        command
    };

    let killed = end(&program, End::Kill, rounds(3, 10), false);
    // In the long version all rounds, to see how much.
    let cut = end(&program, End::PowerCut, rounds(40, 40), !super::is_long());

    println!(
        "sled as shipped: {} kills, lost: {}, shut: {}; {} power cuts, acknowledged: {}, users with a loss: {}, shut: {}",
        killed.rounds, killed.lost, killed.shut, cut.rounds, cut.acknowledged, cut.lost, cut.shut
    );
    assert!(!killed.is_bad(), "not for want of power: {killed:?}");
    assert!(cut.is_bad(), "the cuts do not bite: {cut:?}");
}

#[test]
fn nothing_answered_is_lost_when_a_busy_server_loses_power() {
    let Some(disk) = Disk::on_a_device(DISK_MEBIBYTES) else {
        println!("skipped: power cuts: ext4 on a loop device is needed, and root");
        return;
    };
    let data_dir = disk.path().join("data").display().to_string();
    let mut server = patient()
        .set("storage.data_dir", &format!("{data_dir:?}"))
        .set("storage.free_bytes_min", "0")
        .start();
    let load = Load::new(&server, 8);
    let rounds = rounds(2, 50);
    for _ in 0..rounds {
        let before = load.answers();
        let running = load.start(&server);
        eventually("an answer", || load.answers() > before);
        any_moment(Duration::from_millis(300));
        disk.cut();
        server.kill();
        running.ended();
        disk.turn_on();
        server.restart();

        load.check(&server);
    }
    server.home().run(&["check", "store"]).expect(0);
    println!(
        "power cuts of a server: {rounds}, answers: {}, lost: 0",
        load.answers()
    );
    server.stop();
}
