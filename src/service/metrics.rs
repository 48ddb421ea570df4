//! What the program counts, and how Prometheus reads it (text format 0.0.4).
//!
//! Labels are names that stand in the code: routes, methods, statuses, codes of refusals, causes of death. Nothing that
//! a client chooses becomes a label, so that there are never more series than the code has names. All of it is held by
//! [`App`]; a restart begins at nothing.

mod text;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use crate::imaging::Decoder;
use crate::service::App;
use crate::service::metrics::text::Text;
use crate::storage;

/// Upper bounds of durations, in microseconds: from a profile (below a millisecond) to the deadlines of a body.
const DURATION_BOUNDS_US: &[u64] = &[
    1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
    5_000_000, 10_000_000, 60_000_000,
];
/// Upper bounds of files, in bytes: from a thumbnail to a camera's original.
const SIZE_BOUNDS_BYTES: &[u64] = &[
    16_384, 65_536, 262_144, 1_048_576, 2_097_152, 4_194_304, 8_388_608, 16_777_216, 67_108_864,
];
/// Methods that have a name of their own in labels.
const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/// A part of an upload's life.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Stage {
    /// Reading the form from the socket.
    Receive,
    /// Waiting for the caller's turn among their own uploads.
    Turn,
    /// Waiting for a worker, decoding, resizing, encoding.
    Render,
    /// Storing, until the disk has it.
    Commit,
}

impl Stage {
    const ALL: [Self; 4] = [Self::Receive, Self::Turn, Self::Render, Self::Commit];

    fn index(self) -> Option<usize> {
        Self::ALL.iter().position(|other| *other == self)
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Receive => "receive",
            Self::Turn => "turn",
            Self::Render => "render",
            Self::Commit => "commit",
        }
    }
}

/// How long the stages of one upload took, as far as it came.
#[derive(Debug, Default)]
pub struct Stages([AtomicU64; 4]);

impl Stages {
    /// Notes a stage.
    pub fn note(&self, stage: Stage, took: Duration) {
        if let Some(place) = stage.index().and_then(|index| self.0.get(index)) {
            place.store(micros(took), Ordering::Relaxed);
        }
    }

    /// How long a stage took; nothing for one that was not reached.
    #[must_use]
    pub fn took(&self, stage: Stage) -> Duration {
        let place = stage.index().and_then(|index| self.0.get(index));
        Duration::from_micros(place.map_or(0, |place| place.load(Ordering::Relaxed)))
    }
}

/// How an answered request is told.
#[derive(Clone, Copy, Debug)]
pub struct Answered<'a> {
    /// A name of the code, never the path.
    pub route: &'static str,
    /// As the client sent it.
    pub method: &'a str,
    /// The answer's.
    pub status: u16,
    /// Stable name of a refusal, if it is one.
    pub code: Option<&'static str>,
    /// Whether it was to replace a picture.
    pub is_upload: bool,
    /// From the end of the head to the answer.
    pub took: Duration,
}

/// The counters. Only ever grow.
#[derive(Debug)]
pub struct Metrics {
    started: SystemTime,
    /// By route, method and status. A mutex, because it is held for an addition only.
    requests: Mutex<BTreeMap<(&'static str, &'static str, u16), u64>>,
    /// By route.
    durations: Mutex<BTreeMap<&'static str, Histogram>>,
    /// Refused uploads by code.
    rejected: Mutex<BTreeMap<&'static str, u64>>,
    /// Pictures by the code that decoded them.
    decoded: Mutex<BTreeMap<&'static str, u64>>,
    upload_bytes: Histogram,
    stages: [Histogram; 4],
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            started: SystemTime::now(),
            requests: Mutex::default(),
            durations: Mutex::default(),
            rejected: Mutex::default(),
            decoded: Mutex::default(),
            upload_bytes: Histogram::new(SIZE_BOUNDS_BYTES),
            stages: Stage::ALL.map(|_| Histogram::new(DURATION_BOUNDS_US)),
        }
    }
}

impl Metrics {
    /// Counts an answered request.
    pub fn answered(&self, answered: &Answered<'_>) {
        let method = METHODS.iter().find(|method| **method == answered.method);
        let method = method.copied().unwrap_or("other");
        add_one(&self.requests, (answered.route, method, answered.status));
        held(&self.durations)
            .entry(answered.route)
            .or_insert_with(|| Histogram::new(DURATION_BOUNDS_US))
            .record(micros(answered.took));
        if let (true, Some(code)) = (answered.is_upload, answered.code) {
            add_one(&self.rejected, code);
        }
    }

    /// Counts a file that arrived whole.
    pub fn received(&self, bytes: usize, took: Duration) {
        self.upload_bytes
            .record(u64::try_from(bytes).unwrap_or(u64::MAX));
        self.stage(Stage::Receive, took);
    }

    /// Counts a picture by the code that decoded it.
    pub(super) fn decoded(&self, decoder: Decoder) {
        add_one(&self.decoded, decoder.name());
    }

    /// Counts a stage that an upload went through, whatever came of it.
    pub(super) fn stage(&self, stage: Stage, took: Duration) {
        if let Some(histogram) = stage.index().and_then(|index| self.stages.get(index)) {
            histogram.record(micros(took));
        }
    }

    fn write_http(&self, text: &mut Text) {
        text.family(
            "pockitd_http_requests_total",
            "counter",
            "Answered requests.",
        );
        for ((route, method, code), count) in held(&self.requests).iter() {
            let code = code.to_string();
            let labels = [("route", *route), ("method", *method), ("code", &code)];
            text.sample("pockitd_http_requests_total", &labels, *count);
        }
        let name = "pockitd_http_request_duration_seconds";
        text.family(
            name,
            "histogram",
            "From the end of a request's head to its answer.",
        );
        for (route, histogram) in held(&self.durations).iter() {
            text.histogram(name, &[("route", *route)], histogram, text::seconds);
        }
    }

    fn write_uploads(&self, text: &mut Text) {
        let name = "pockitd_upload_size_bytes";
        text.family(name, "histogram", "Files of uploads that arrived whole.");
        text.histogram(name, &[], &self.upload_bytes, |bytes| bytes.to_string());
        let name = "pockitd_image_stage_duration_seconds";
        let help = "Stages of uploads: receive (from the socket), turn (among the user's own), render, commit (to the disk).";
        text.family(name, "histogram", help);
        for (stage, histogram) in Stage::ALL.iter().zip(&self.stages) {
            text.histogram(name, &[("stage", stage.name())], histogram, text::seconds);
        }
        let name = "pockitd_pictures_decoded_total";
        let help = "Pictures by the code that decoded them: scaled (our own, for JPEG), libjpeg_turbo (what that declines), png, libde265, libavcodec.";
        text.family(name, "counter", help);
        for decoder in Decoder::ALL {
            let count = held(&self.decoded).get(decoder.name()).copied();
            text.sample(name, &[("decoder", decoder.name())], count.unwrap_or(0));
        }
        let rejected = held(&self.rejected);
        let name = "pockitd_image_rejected_total";
        text.family(
            name,
            "counter",
            "Uploads that were refused or failed, by code.",
        );
        for (reason, count) in rejected.iter() {
            text.sample(name, &[("reason", *reason)], *count);
        }
        let limited = rejected.get("throttled").copied().unwrap_or(0);
        let name = "pockitd_rate_limited_total";
        text.family(name, "counter", "Uploads over their user's rate limit.");
        text.sample(name, &[], limited);
    }
}

impl App {
    /// Everything that is counted and measured, for Prometheus.
    pub async fn metrics_text(&self) -> String {
        let mut text = Text::default();
        let version = [("version", env!("CARGO_PKG_VERSION"))];
        text.family(
            "pockitd_build_info",
            "gauge",
            "Which program this is; always 1.",
        );
        text.sample("pockitd_build_info", &version, 1);
        let started = self.metrics.started.duration_since(SystemTime::UNIX_EPOCH);
        let name = "pockitd_start_time_seconds";
        text.family(
            name,
            "gauge",
            "When the program started, in seconds since 1970.",
        );
        text.sample(name, &[], started.unwrap_or_default().as_secs());
        self.metrics.write_http(&mut text);
        self.metrics.write_uploads(&mut text);
        self.write_workers(&mut text);
        self.write_store(&mut text).await;
        text.finish()
    }

    fn write_workers(&self, text: &mut Text) {
        let load = self.workers.load();
        let gauges = [
            (
                "pockitd_decode_in_progress",
                "Pictures at a worker.",
                load.busy,
            ),
            (
                "pockitd_decode_queue_length",
                "Pictures that wait for a worker.",
                load.queued,
            ),
            (
                "pockitd_workers_ready",
                "Workers that wait for a picture.",
                load.ready,
            ),
        ];
        for (name, help, value) in gauges {
            text.family(name, "gauge", help);
            text.sample(name, &[], u64::try_from(value).unwrap_or(u64::MAX));
        }
        let deaths = self.workers.deaths();
        let name = "pockitd_worker_deaths_total";
        text.family(
            name,
            "counter",
            "Workers that died of their picture or were killed, by cause.",
        );
        for (cause, count) in [
            ("deadline", deaths.deadline),
            ("outside", deaths.outside),
            ("signal", deaths.signal),
            ("exit", deaths.exit),
            ("nonsense", deaths.nonsense),
        ] {
            text.sample(name, &[("cause", cause)], count);
        }
    }

    /// What the store holds. A store that cannot be read has no samples, which is what an alert looks for.
    async fn write_store(&self, text: &mut Text) {
        if let Ok(counts) = self.store.counts().await {
            text.family("pockitd_users", "gauge", "Users with a profile.");
            text.sample("pockitd_users", &[], counts.users);
            text.family("pockitd_pictures", "gauge", "Live pictures.");
            text.sample("pockitd_pictures", &[], counts.pictures);
        }
        let data_dir = self.config.storage.data_dir.clone();
        let disk = tokio::task::spawn_blocking(move || storage::disk(&data_dir)).await;
        if let Ok(disk) = disk {
            let name = "pockitd_store_size_bytes";
            text.family(name, "gauge", "Files in the data directory.");
            text.sample(name, &[], disk.used_bytes);
            if let Some(free) = disk.free_bytes {
                let name = "pockitd_store_free_bytes";
                text.family(
                    name,
                    "gauge",
                    "Room left on the disk of the data directory.",
                );
                text.sample(name, &[], free);
            }
        }
        let readiness = self.readiness().await;
        let name = "pockitd_ready";
        text.family(
            name,
            "gauge",
            "1 if uploads would be taken just now, by what they need.",
        );
        for (check, outcome) in [("store", readiness.store), ("workers", readiness.workers)] {
            text.sample(name, &[("check", check)], u64::from(outcome.is_ok()));
        }
    }
}

/// Counts of values below fixed bounds.
#[derive(Debug)]
struct Histogram {
    bounds: &'static [u64],
    /// One a bound, not added up, and one for what is above all of them.
    counts: Vec<AtomicU64>,
    sum: AtomicU64,
}

impl Histogram {
    fn new(bounds: &'static [u64]) -> Self {
        let counts = bounds.iter().chain([&u64::MAX]);
        Self {
            bounds,
            counts: counts.map(|_| AtomicU64::new(0)).collect(),
            sum: AtomicU64::new(0),
        }
    }

    fn record(&self, value: u64) {
        let index = self.bounds.partition_point(|bound| *bound < value);
        if let Some(count) = self.counts.get(index) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.sum.fetch_add(value, Ordering::Relaxed);
    }
}

fn add_one<K: Ord>(counts: &Mutex<BTreeMap<K, u64>>, key: K) {
    let mut counts = held(counts);
    let count = counts.entry(key).or_default();
    *count = count.saturating_add(1);
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn histogram_adds_up_and_a_bound_belongs_below() {
        let histogram = Histogram::new(&[10, 20]);
        for value in [1, 10, 11, 20, 21] {
            histogram.record(value);
        }
        let mut text = Text::default();
        text.histogram("x", &[("a", "b")], &histogram, |value| value.to_string());

        let expected = "x_bucket{a=\"b\",le=\"10\"} 2\nx_bucket{a=\"b\",le=\"20\"} 4\n\
                        x_bucket{a=\"b\",le=\"+Inf\"} 5\nx_sum{a=\"b\"} 63\nx_count{a=\"b\"} 5\n";
        assert_eq!(text.finish(), expected);
    }

    #[test]
    fn method_that_a_client_made_up_is_no_label() {
        let metrics = Metrics::default();
        for method in ["GET", "BREW", "X-1", "X-2"] {
            metrics.answered(&Answered {
                route: "none",
                method,
                status: 404,
                code: Some("not_found"),
                is_upload: false,
                took: Duration::from_micros(1_500),
            });
        }
        let mut text = Text::default();
        metrics.write_http(&mut text);
        let text = text.finish();

        let line = r#"pockitd_http_requests_total{route="none",method="other",code="404"} 3"#;
        assert!(text.contains(line), "{text}");
        assert!(!text.contains("BREW"), "{text}");
        let bucket = r#"pockitd_http_request_duration_seconds_bucket{route="none",le="0.0025"} 4"#;
        assert!(text.contains(bucket), "{text}");
    }
}
