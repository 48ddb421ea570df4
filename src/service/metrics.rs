//! What the program counts, and how Prometheus reads it (text format 0.0.4).
//!
//! Labels are names that stand in the code: routes, methods, statuses, codes of refusals, causes of death. Nothing that
//! a client chooses becomes a label, so that there are never more series than the code has names. All of it is held by
//! [`App`](crate::service::App); a restart begins at nothing.

mod page;
mod text;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use crate::domain::histogram::{Histogram, micros};
use crate::imaging::Decoder;
use crate::service::Policy;
use crate::service::metrics::text::Text;

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
    /// Waiting for a worker, and what it does: the three that follow, beside the way to it and back.
    Render,
    /// Decoding, as the worker says.
    Decode,
    /// Resizing and colours, as the worker says.
    Resize,
    /// Encoding, as the worker says.
    Encode,
    /// Storing, until the disk has it.
    Commit,
}

impl Stage {
    const ALL: [Self; 7] = [
        Self::Receive,
        Self::Turn,
        Self::Render,
        Self::Decode,
        Self::Resize,
        Self::Encode,
        Self::Commit,
    ];

    fn index(self) -> Option<usize> {
        Self::ALL.iter().position(|other| *other == self)
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Receive => "receive",
            Self::Turn => "turn",
            Self::Render => "render",
            Self::Decode => "decode",
            Self::Resize => "resize",
            Self::Encode => "encode",
            Self::Commit => "commit",
        }
    }
}

/// How long the stages of one upload took, as far as it came.
#[derive(Debug, Default)]
pub struct Stages([AtomicU64; Stage::ALL.len()]);

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
    /// The limit that stopped it, if one did.
    pub over: Option<Policy>,
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
    /// Requests that were over a limit, by its name.
    limited: Mutex<BTreeMap<&'static str, u64>>,
    /// Pictures by the code that decoded them.
    decoded: Mutex<BTreeMap<&'static str, u64>>,
    upload_bytes: Histogram,
    stages: [Histogram; Stage::ALL.len()],
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            started: SystemTime::now(),
            requests: Mutex::default(),
            durations: Mutex::default(),
            rejected: Mutex::default(),
            limited: Mutex::default(),
            decoded: Mutex::default(),
            upload_bytes: Histogram::new(SIZE_BOUNDS_BYTES),
            stages: Stage::ALL.map(|_| Histogram::of_durations()),
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
            .or_insert_with(Histogram::of_durations)
            .record_duration(answered.took);
        if let (true, Some(code)) = (answered.is_upload, answered.code) {
            add_one(&self.rejected, code);
        }
        if let Some(policy) = answered.over {
            add_one(&self.limited, policy.name());
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
            histogram.record_duration(took);
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
        let name = "pockitd_rate_limited_total";
        let help = "Requests over a limit of [rate_limit], by limit.";
        text.family(name, "counter", help);
        for policy in Policy::ALL {
            let count = held(&self.limited).get(policy.name()).copied();
            text.sample(name, &[("policy", policy.name())], count.unwrap_or(0));
        }
    }

    fn write_uploads(&self, text: &mut Text) {
        let name = "pockitd_upload_size_bytes";
        text.family(name, "histogram", "Files of uploads that arrived whole.");
        text.histogram(name, &[], &self.upload_bytes, |bytes| bytes.to_string());
        let name = "pockitd_image_stage_duration_seconds";
        let help = "Stages of uploads: receive (from the socket), turn (among the user's own), render (at the workers, waiting included), of that decode, resize and encode, commit (to the disk).";
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
        let name = "pockitd_image_rejected_total";
        text.family(
            name,
            "counter",
            "Uploads that were refused or failed, by code.",
        );
        for (reason, count) in held(&self.rejected).iter() {
            text.sample(name, &[("reason", *reason)], *count);
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn method_that_a_client_made_up_is_no_label() {
        let metrics = Metrics::default();
        for method in ["GET", "BREW", "X-1", "X-2"] {
            metrics.answered(&Answered {
                route: "none",
                method,
                status: 404,
                code: Some("not_found"),
                over: None,
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
