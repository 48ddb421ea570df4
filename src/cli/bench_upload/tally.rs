//! What happened to the uploads of a run.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::Value;

use crate::cli::Failure;
use crate::cli::bench_upload::client::{Answer, Failure as NoAnswer};

/// Longest latency that is told apart, in microseconds: an hour.
const LATENCY_US_MAX: u64 = 3_600_000_000;
/// Digits of a latency that are kept.
const LATENCY_DIGITS: u8 = 3;

/// Counts and latencies; those of several connections add up.
#[derive(Debug)]
pub(super) struct Tally {
    /// In microseconds: accepted uploads, and those that the load generator gave up on, with the time they waited.
    /// Refusals are not in it: a server that refuses quickly is not a fast server.
    pub(super) latency: Histogram<u64>,
    pub(super) attempts: u64,
    pub(super) accepted: u64,
    /// Bytes of accepted files.
    pub(super) accepted_bytes: u64,
    pub(super) statuses: BTreeMap<u16, u64>,
    pub(super) failures: BTreeMap<&'static str, u64>,
    /// One body or sentence for each status that is no success and each kind of failure.
    pub(super) examples: BTreeMap<String, String>,
    /// Pictures that answers named.
    pub(super) pictures: HashSet<String>,
    /// Users with an accepted upload.
    pub(super) users: HashSet<usize>,
}

impl Tally {
    pub(super) fn new() -> Result<Self, Failure> {
        Ok(Self {
            latency: Histogram::new_with_bounds(1, LATENCY_US_MAX, LATENCY_DIGITS)?,
            attempts: 0,
            accepted: 0,
            accepted_bytes: 0,
            statuses: BTreeMap::new(),
            failures: BTreeMap::new(),
            examples: BTreeMap::new(),
            pictures: HashSet::new(),
            users: HashSet::new(),
        })
    }

    /// An answer to the upload of a file with so many bytes.
    pub(super) fn answered(&mut self, user: usize, answer: &Answer, bytes: u64, took: Duration) {
        self.attempts = self.attempts.saturating_add(1);
        let count = self.statuses.entry(answer.status).or_default();
        *count = count.saturating_add(1);
        if !answer.is_success() {
            let example = self.examples.entry(answer.status.to_string());
            example.or_insert_with(|| super::excerpt(&answer.body));
            return;
        }
        self.accepted = self.accepted.saturating_add(1);
        self.accepted_bytes = self.accepted_bytes.saturating_add(bytes);
        self.record(took);
        self.users.insert(user);
        let body: Option<Value> = serde_json::from_slice(&answer.body).ok();
        let url = body
            .as_ref()
            .and_then(|body| body.get("profile_picture_url")?.as_str());
        self.pictures.extend(url.map(str::to_owned));
    }

    /// No answer.
    pub(super) fn failed(&mut self, failure: &NoAnswer, took: Duration) {
        let kind = match failure {
            NoAnswer::Connect(_) => "cannot connect",
            NoAnswer::Handshake(_) => "no TLS handshake",
            NoAnswer::TimedOut(_) => "timed out",
            NoAnswer::Broken(_) => "connection broken",
            NoAnswer::Unsendable(_) => "not sendable",
        };
        // Who waited for an answer waited, also when the connection broke in place of it.
        if matches!(failure, NoAnswer::TimedOut(_) | NoAnswer::Broken(_)) {
            self.record(took);
        }
        self.fell(kind, || crate::service::chain(failure));
    }

    /// An upload that was due and could not be sent before the run was over.
    pub(super) fn never_sent(&mut self, took: Duration) {
        self.record(took);
        self.fell("not sent", || {
            "every connection was still waiting for an answer when the run was over".to_owned()
        });
    }

    fn fell(&mut self, kind: &'static str, example: impl FnOnce() -> String) {
        self.attempts = self.attempts.saturating_add(1);
        let count = self.failures.entry(kind).or_default();
        *count = count.saturating_add(1);
        self.examples.entry(kind.to_owned()).or_insert_with(example);
    }

    fn record(&mut self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.latency.saturating_record(micros);
    }

    /// What another connection saw.
    pub(super) fn add(&mut self, other: Self) -> Result<(), Failure> {
        self.latency.add(&other.latency)?;
        self.attempts = self.attempts.saturating_add(other.attempts);
        self.accepted = self.accepted.saturating_add(other.accepted);
        self.accepted_bytes = self.accepted_bytes.saturating_add(other.accepted_bytes);
        for (status, more) in other.statuses {
            let count = self.statuses.entry(status).or_default();
            *count = count.saturating_add(more);
        }
        for (kind, more) in other.failures {
            let count = self.failures.entry(kind).or_default();
            *count = count.saturating_add(more);
        }
        self.examples.extend(other.examples);
        self.pictures.extend(other.pictures);
        self.users.extend(other.users);
        Ok(())
    }

    /// A percentile of the latency; none if there is none.
    pub(super) fn percentile(&self, percentile: f64) -> Option<Duration> {
        let micros = self.latency.value_at_percentile(percentile);
        (!self.latency.is_empty()).then(|| Duration::from_micros(micros))
    }

    /// Share of uploads that were not accepted, in percent.
    pub(super) fn errors_percent(&self) -> f64 {
        let errors = self.attempts.saturating_sub(self.accepted);
        100.0 * super::float(errors) / super::float(self.attempts.max(1))
    }
}
