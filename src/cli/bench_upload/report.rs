//! What a run found: as text with a small chart, as JSON, and against the limits of `--fail-over`.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::cli::bench_upload::limits::{Limit, PERCENTILES, Time};
use crate::cli::bench_upload::load::Load;
use crate::cli::bench_upload::tally::Tally;
use crate::cli::bench_upload::verify::Verified;

/// Longest bar of the chart, in characters.
const BAR_CHARS: u64 = 44;
/// Begins of the chart's rows within a factor of ten, in tenths.
const ROWS_A_DECADE: [u64; 6] = [10, 15, 20, 30, 50, 70];

/// What a private server cost.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cost {
    /// CPU time of the server and its workers during the run.
    pub(super) cpu: Duration,
    /// Resident memory before the run, in bytes.
    pub(super) memory_before: u64,
    /// The most that was seen during the run, in bytes.
    pub(super) memory_peak: u64,
}

/// Everything about a run.
#[derive(Debug)]
pub(super) struct Report<'a> {
    pub(super) server: &'a str,
    pub(super) load: &'a Load,
    pub(super) tally: &'a Tally,
    pub(super) elapsed: Duration,
    /// Whether it ran to its end.
    pub(super) is_whole: bool,
    pub(super) cost: Option<Cost>,
    pub(super) verified: &'a Verified,
}

impl Report<'_> {
    fn per_second(&self, amount: u64) -> f64 {
        super::float(amount) / self.elapsed.as_secs_f64().max(1e-9)
    }

    /// CPU time a picture, over all that were accepted.
    fn cpu_an_upload(&self, cost: Cost) -> Option<Duration> {
        cost.cpu
            .checked_div(u32::try_from(self.tally.accepted).ok()?)
    }

    /// Memory that each upload in flight added, in bytes.
    fn memory_an_upload(&self, cost: Cost) -> Option<u64> {
        let added = cost.memory_peak.saturating_sub(cost.memory_before);
        added.checked_div(u64::try_from(self.load.concurrency).ok()?)
    }

    /// What of `limits` was missed, and everything else that makes a run a failure; a sentence each.
    pub(super) fn misses(&self, limits: &[Limit]) -> Vec<String> {
        let mut missed = Vec::new();
        if self.tally.accepted == 0 {
            missed.push("no upload was accepted".to_owned());
        }
        if !self.is_whole {
            missed.push("interrupted before the end of the run".to_owned());
        }
        missed.extend(self.wrong().map(|told| format!("a wrong answer: {told}")));
        for limit in limits {
            match *limit {
                Limit::Latency {
                    name,
                    percentile,
                    most,
                } => match self.tally.percentile(percentile) {
                    Some(actual) if actual <= most => {}
                    Some(actual) => missed.push(format!(
                        "{name} is {}, the limit is {}",
                        Time(actual),
                        Time(most)
                    )),
                    None => missed.push(format!("there is no {name}, the limit is {}", Time(most))),
                },
                Limit::Errors { most } => {
                    let actual = self.tally.errors_percent();
                    if actual > most {
                        missed.push(format!(
                            "{actual:.2}% of the uploads were not accepted, the limit is {most}%"
                        ));
                    }
                }
            }
        }
        missed
    }

    /// For people.
    pub(super) fn text(&self) -> String {
        let (load, tally) = (self.load, self.tally);
        let mut lines = vec![("server", self.server.to_owned())];
        for photo in &load.photos {
            lines.push((
                "photo",
                format!("{}, {}", photo.name, megabytes(photo.file_bytes)),
            ));
        }
        lines.push(("load", described(load)));
        let refused: u64 = tally
            .statuses
            .values()
            .sum::<u64>()
            .saturating_sub(tally.accepted);
        let failed: u64 = tally.failures.values().sum();
        lines.push((
            "uploads",
            format!(
                "{} accepted, {refused} refused, {failed} without an answer in {:.2} s",
                tally.accepted,
                self.elapsed.as_secs_f64()
            ),
        ));
        lines.push((
            "throughput",
            format!(
                "{:.1} uploads/s, {}/s",
                self.per_second(tally.accepted),
                megabytes_f(self.per_second(tally.accepted_bytes))
            ),
        ));
        lines.extend(self.latency_lines());
        for (status, count) in &tally.statuses {
            let example = tally
                .examples
                .get(&status.to_string())
                .map_or(String::new(), |body| format!(", such as {body}"));
            lines.push(("status", format!("{status}: {count}{example}")));
        }
        for (kind, count) in &tally.failures {
            let example = tally
                .examples
                .get(*kind)
                .map_or(String::new(), |told| format!(", such as {told}"));
            lines.push(("failed", format!("{kind}: {count}{example}")));
        }
        if tally.statuses.contains_key(&429) {
            lines.push(("hint", "429: the server limits uploads; take more --users, or lift rate_limit.uploads_per_hour and, as all of them come from one address, rate_limit.uploads_per_hour_per_address".to_owned()));
        }
        lines.extend(self.cost_lines());
        lines.push(("verified", self.verified_line()));
        let mut text = String::new();
        for (label, line) in lines {
            let _ = writeln!(text, "{label:<11} {line}");
        }
        text
    }

    fn latency_lines(&self) -> Vec<(&'static str, String)> {
        let histogram = &self.tally.latency;
        if histogram.is_empty() {
            return vec![("latency", "none: no upload was accepted".to_owned())];
        }
        let min = Time(Duration::from_micros(histogram.min()));
        let figures = PERCENTILES.iter().filter_map(|(name, percentile)| {
            Some(format!(
                "{name} {}",
                Time(self.tally.percentile(*percentile)?)
            ))
        });
        let figures: Vec<String> = figures.collect();
        let mut lines = vec![("latency", format!("min {min}  {}", figures.join("  ")))];
        let waited = histogram.len().saturating_sub(self.tally.accepted);
        if waited > 0 {
            let told = format!("with the {waited} that got no answer, by the time they had waited");
            lines.push(("", told));
        }
        lines.extend(self.chart().into_iter().map(|row| ("", row)));
        lines
    }

    /// One row for each span of latencies between the shortest and the longest.
    fn chart(&self) -> Vec<String> {
        let begins = (0..10_u32).flat_map(|decade| {
            let unit = 10_u64.saturating_pow(decade);
            ROWS_A_DECADE.map(|tenths| tenths.saturating_mul(unit).div_euclid(10))
        });
        let mut rows: Vec<(u64, u64)> = begins.map(|begin| (begin, 0)).collect();
        rows.dedup();
        for step in self.tally.latency.iter_recorded() {
            let next = rows.partition_point(|(begin, _)| *begin <= step.value_iterated_to());
            if let Some((_, count)) = next.checked_sub(1).and_then(|row| rows.get_mut(row)) {
                *count = count.saturating_add(step.count_at_value());
            }
        }
        let is_empty = |(_, count): &&(u64, u64)| *count == 0;
        let before = rows.iter().take_while(is_empty).count();
        let behind = rows.iter().rev().take_while(is_empty).count();
        let end = rows.len().saturating_sub(behind);
        let rows = rows.get(before..end).unwrap_or_default();
        let most = rows.iter().map(|(_, count)| *count).max().unwrap_or(1);
        let row = |(begin, count): &(u64, u64)| {
            let length = count.saturating_mul(BAR_CHARS).div_ceil(most.max(1));
            let bar = "#".repeat(usize::try_from(length).unwrap_or(0));
            let begin = Time(Duration::from_micros(*begin));
            let row = format!("from {begin:>8}  {count:>7}  {bar}");
            row.trim_end().to_owned()
        };
        rows.iter().map(row).collect()
    }

    fn cost_lines(&self) -> Vec<(&'static str, String)> {
        let Some(cost) = self.cost else {
            return Vec::new();
        };
        let cpu = self.cpu_an_upload(cost).map_or_else(
            || format!("{} in all", Time(cost.cpu)),
            |cpu| format!("{} an upload: server and decode workers", Time(cpu)),
        );
        let memory = format!(
            "{} at the most, {} before, {} more for each upload in flight",
            megabytes(cost.memory_peak),
            megabytes(cost.memory_before),
            megabytes(self.memory_an_upload(cost).unwrap_or(0))
        );
        vec![("cpu", cpu), ("memory", memory)]
    }

    fn wrong(&self) -> impl Iterator<Item = String> {
        let wrong = self.verified.wrong.iter();
        wrong.map(|(sentence, profiles)| match profiles {
            1 => sentence.clone(),
            _ => format!("{sentence} ({profiles} profiles)"),
        })
    }

    fn verified_line(&self) -> String {
        let Verified {
            profiles, pictures, ..
        } = self.verified;
        if *profiles == 0 {
            return "nothing".to_owned();
        }
        let mut line = format!(
            "{profiles} profiles, {pictures} pictures fetched, decoded and of the right size"
        );
        for told in self.wrong() {
            let _ = write!(line, "\n{:<11} WRONG: {told}", "");
        }
        line
    }

    /// For programs. Times in seconds, sizes in bytes.
    pub(super) fn json(&self, missed: &[String]) -> Value {
        let (load, tally) = (self.load, self.tally);
        let mut latency = Map::new();
        if !tally.latency.is_empty() {
            let min = Duration::from_micros(tally.latency.min());
            latency.insert("min".to_owned(), seconds(min));
            for (name, percentile) in PERCENTILES {
                latency.insert(
                    name.to_owned(),
                    tally.percentile(percentile).map_or(Value::Null, seconds),
                );
            }
        }
        let statuses = tally
            .statuses
            .iter()
            .map(|(status, count)| (status.to_string(), json!(count)));
        let photos = load
            .photos
            .iter()
            .map(|photo| json!({ "name": photo.name, "bytes": photo.file_bytes }));
        let cost = self.cost.map(|cost| {
            json!({
                "cpu_seconds": seconds(cost.cpu),
                "cpu_seconds_per_upload": self.cpu_an_upload(cost).map(seconds),
                "memory_before_bytes": cost.memory_before,
                "memory_peak_bytes": cost.memory_peak,
                "memory_added_per_upload_in_flight_bytes": self.memory_an_upload(cost),
            })
        });
        json!({
            "pockitd": env!("CARGO_PKG_VERSION"),
            "server": self.server,
            "photos": photos.collect::<Vec<_>>(),
            "concurrency": load.concurrency,
            "rate_per_second": load.rate,
            "users": load.tokens.len(),
            "keep_alive": load.keep_alive,
            "elapsed_seconds": seconds(self.elapsed),
            "interrupted": !self.is_whole,
            "attempts": tally.attempts,
            "accepted": tally.accepted,
            "uploads_per_second": self.per_second(tally.accepted),
            "bytes_per_second": self.per_second(tally.accepted_bytes),
            "latency_seconds": latency,
            "statuses": statuses.collect::<Map<_, _>>(),
            "failures": tally.failures,
            "examples": tally.examples,
            "server_cost": cost,
            "verified": {
                "profiles": self.verified.profiles,
                "pictures": self.verified.pictures,
                "wrong": self.wrong().collect::<Vec<_>>(),
            },
            "missed": missed,
        })
    }
}

fn described(load: &Load) -> String {
    let pace = match load.rate {
        Some(rate) => format!(
            "{rate} uploads/s whatever the server does (open loop), latency from the time each was due, up to {} in flight",
            load.concurrency
        ),
        None => format!(
            "{} at once, the next after the answer (closed loop)",
            load.concurrency
        ),
    };
    let connections = if load.keep_alive {
        "connections kept"
    } else {
        "a connection for each upload"
    };
    let users = match load.tokens.len() {
        1 => "1 user".to_owned(),
        count => format!("{count} users"),
    };
    format!("{pace}; {users}; {connections}")
}

fn seconds(duration: Duration) -> Value {
    json!(duration.as_secs_f64())
}

fn megabytes(bytes: u64) -> String {
    megabytes_f(super::float(bytes))
}

fn megabytes_f(bytes: f64) -> String {
    format!("{:.1} MB", bytes / 1e6)
}
