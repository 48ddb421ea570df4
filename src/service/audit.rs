//! Goes through everything that is stored: to collect what nobody needs, or to check that all is as it should be.
//!
//! One audit runs at a time. It holds no more than one step of the walk in memory, may be left off at any moment and
//! begun again: each removal is a transaction of its own that first makes sure that nobody needs the thing by now.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde::Deserialize;
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::time::sleep;

use crate::auth;
use crate::config::Config;
use crate::domain::Timestamp;
use crate::service::Error;
use crate::service::admin::{Admin, Event, Events};
use crate::storage;
use crate::storage::Counts;
use crate::storage::audit::{Examined, Finding, Problem, Section};

/// How to collect garbage.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
pub struct Collection {
    /// Only say what would be removed.
    pub dry_run: bool,
    /// Take pictures that cannot be read away from their profiles, and put right what else can be.
    pub repair: bool,
    /// Age from which a picture that nobody points at is garbage, in seconds; none: the longest possible request.
    pub older_than_s: Option<u64>,
}

/// Something that an audit has found.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Found {
    /// What kind of thing.
    pub problem: Problem,
    /// Which one and what is wrong with it.
    pub detail: String,
    /// What it takes up, in bytes, where that is known.
    pub bytes: u64,
    /// Whether it was put right.
    pub mended: bool,
}

/// What an audit came to.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
pub struct Summary {
    /// Profiles looked at.
    pub profiles: u64,
    /// Pictures looked at.
    pub pictures: u64,
    /// Parts of pictures looked at.
    pub parts: u64,
    /// All that was found.
    pub findings: u64,
    /// What was put right of that.
    pub mended: u64,
    /// Pictures that were removed because nobody pointed at them.
    pub pictures_removed: u64,
    /// Parts that were removed because they belonged to no picture.
    pub parts_removed: u64,
    /// Bytes of the pictures and parts that were removed.
    pub bytes_freed: u64,
    /// Profiles whose picture could not be read and was taken away.
    pub profiles_reset: u64,
}

/// The longest that an upload can be under way, in seconds: what was written for it is not garbage before.
pub(super) fn longest_request_s(config: &Config) -> u64 {
    let http = &config.http;
    let waiting = u64::try_from(config.workers.queue_max).unwrap_or(u64::MAX);
    let decoding = config
        .workers
        .deadline_ms
        .saturating_mul(waiting.saturating_add(1));
    let steps = [
        http.head_timeout_ms,
        http.bodies_wait_ms,
        http.body_timeout_ms,
        decoding,
    ];
    let sum = steps.into_iter().fold(0, u64::saturating_add);
    sum.div_ceil(1_000)
}

impl Admin {
    pub(super) async fn collect_garbage(
        &self,
        how: Collection,
        events: &Events,
    ) -> Result<(), Error> {
        self.audit(Some(how), events, Pace::Full).await.map(|_| ())
    }

    pub(super) async fn check_store(&self, events: &Events) -> Result<(), Error> {
        let summary = self.audit(None, events, Pace::Full).await?;
        match summary.findings {
            0 => Ok(()),
            findings => Err(Error::Unsound { findings }),
        }
    }

    /// Collects garbage for ever, once in about `interval`: for a server.
    ///
    /// The moments are jittered by a tenth, so that many servers that were started at once do not work at once.
    pub async fn collect_regularly(&self, interval: Duration) {
        // Soon after the start, so that a server that is restarted every day collects as well.
        let mut wait = interval.mul_f64(fraction() / 10.0);
        loop {
            sleep(wait).await;
            let (sender, mut receiver) = mpsc::channel(1);
            let events = Events::new(sender);
            let told = async {
                while let Some(event) = receiver.recv().await {
                    log(&event);
                }
            };
            let work = async {
                let how = Some(Collection::default());
                let outcome = self.audit(how, &events, Pace::Half).await;
                drop(events);
                outcome
            };
            let (outcome, ()) = tokio::join!(work, told);
            if let Err(error) = outcome {
                let cause = crate::service::chain(&error);
                tracing::error!(cause, "garbage collection failed");
            }
            wait = interval.mul_f64(0.9 + fraction() / 5.0);
        }
    }

    /// Walks over everything; with `collect`, removes what is to be removed.
    async fn audit(
        &self,
        collect: Option<Collection>,
        events: &Events,
        pace: Pace,
    ) -> Result<Summary, Error> {
        let _alone = self.auditing.lock().await;
        let counts = self.store.counts().await.unwrap_or_default();
        let older_than = self.older_than(collect);
        let mut summary = Summary::default();
        let mut from = None;
        let mut position = (Section::Profiles, 0_u64);
        loop {
            let begin = Instant::now();
            let examined = self.store.examine(from.as_ref(), older_than).await?;
            let done = if position.0 == examined.section {
                position.1
            } else {
                0
            };
            position = (examined.section, done.saturating_add(examined.count));
            summary.saw(&examined);
            let mended = self.mend(collect, &examined.findings).await?;
            for (finding, mended) in examined.findings.into_iter().zip(mended) {
                summary.found(&finding, mended);
                let found = Found {
                    problem: finding.problem,
                    detail: finding.detail,
                    bytes: finding.bytes,
                    mended,
                };
                events.tell(Event::Found(found)).await?;
            }
            let (section, done) = position;
            let of = total(section, counts);
            events.tell(Event::Progress { section, done, of }).await?;
            from = examined.next;
            if from.is_none() {
                break;
            }
            if let Pace::Half = pace {
                sleep(begin.elapsed()).await;
            }
        }
        events.tell(Event::Audited(summary)).await?;
        Ok(summary)
    }

    /// Puts right those that are to be; says which were. All at once: they share a sync.
    async fn mend(
        &self,
        collect: Option<Collection>,
        findings: &[Finding],
    ) -> Result<Vec<bool>, Error> {
        let wanted = |problem: Problem| {
            collect.is_some_and(|how| !how.dry_run && (how.repair || problem.is_garbage()))
        };
        let now = (self.clock)();
        let mending = findings.iter().map(async |finding| {
            if !wanted(finding.problem) {
                return Ok(false);
            }
            match self.store.mend(finding, now).await {
                // What it lies beside cannot be read: that is no reason to leave the others.
                Err(storage::Error::Damaged { .. }) => Ok(false),
                mended => mended,
            }
        });
        let outcomes = join_all(mending).await;
        Ok(outcomes.into_iter().collect::<Result<_, _>>()?)
    }

    fn older_than(&self, collect: Option<Collection>) -> Timestamp {
        let age_s = collect.and_then(|how| how.older_than_s);
        let age_s = age_s.unwrap_or(self.longest_request_s);
        let age = i64::try_from(age_s.saturating_mul(1_000_000)).unwrap_or(i64::MAX);
        Timestamp::from_micros((self.clock)().as_micros().saturating_sub(age))
    }
}

/// A random number from 0 up to 1. Without randomness the middle: only the jitter is lost.
fn fraction() -> f64 {
    auth::random::<2>().map_or(0.5, |bytes| f64::from(u16::from_be_bytes(bytes)) / 65_536.0)
}

/// How much of the machine an audit takes.
#[derive(Clone, Copy, Debug)]
enum Pace {
    /// Somebody waits for it.
    Full,
    /// It rests as long as it works.
    Half,
}

fn total(section: Section, counts: Counts) -> Option<u64> {
    match section {
        Section::Profiles | Section::Accounts | Section::Emails => Some(counts.users),
        Section::Pictures => Some(counts.pictures),
        Section::Parts | Section::Keys | Section::Counts => None,
    }
}

impl Summary {
    fn saw(&mut self, examined: &Examined) {
        let seen = match examined.section {
            Section::Profiles => &mut self.profiles,
            Section::Pictures => &mut self.pictures,
            Section::Parts => &mut self.parts,
            Section::Accounts | Section::Emails | Section::Keys | Section::Counts => return,
        };
        *seen = seen.saturating_add(examined.count);
    }

    fn found(&mut self, finding: &Finding, mended: bool) {
        self.findings = self.findings.saturating_add(1);
        if !mended {
            return;
        }
        self.mended = self.mended.saturating_add(1);
        self.bytes_freed = self.bytes_freed.saturating_add(finding.bytes);
        let counted = match finding.problem {
            Problem::OrphanPicture => &mut self.pictures_removed,
            Problem::OrphanPart => &mut self.parts_removed,
            Problem::UnreadablePicture => &mut self.profiles_reset,
            Problem::OrphanKeys
            | Problem::UnreadableOriginal
            | Problem::DamagedRecord
            | Problem::UnreadablePages
            | Problem::Inconsistent
            | Problem::WrongCounts => return,
        };
        *counted = counted.saturating_add(1);
    }
}

/// What a server that collects by itself says of it.
fn log(event: &Event) {
    match event {
        Event::Found(found) => {
            let problem = found.problem.words();
            let detail = &found.detail;
            let mended = found.mended;
            tracing::warn!(problem, detail, mended, "the store is not as it should be");
        }
        Event::Audited(summary) => tracing::info!(
            profiles = summary.profiles,
            pictures = summary.pictures,
            findings = summary.findings,
            removed = summary.mended,
            bytes_freed = summary.bytes_freed,
            "collected garbage"
        ),
        _ => {}
    }
}
