//! The page of everything: what [`Metrics`](super::Metrics) has counted, and what workers, store and disk are asked
//! for when it is read.

use std::time::SystemTime;

use crate::service::App;
use crate::service::metrics::text;
use crate::service::metrics::text::Text;
use crate::storage;
use crate::storage::activity::Activity;

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
        let help = "When the program started, in seconds since 1970.";
        text.family(name, "gauge", help);
        text.sample(name, &[], started.unwrap_or_default().as_secs());
        self.metrics.write_http(&mut text);
        self.metrics.write_uploads(&mut text);
        self.write_workers(&mut text);
        self.write_store(&mut text).await;
        text.finish()
    }

    fn write_workers(&self, text: &mut Text) {
        let load = self.workers.load();
        for (name, help, value) in [
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
                "pockitd_workers_alive",
                "Worker processes, at work or waiting.",
                load.alive,
            ),
            (
                "pockitd_workers_ready",
                "Workers that wait for a picture.",
                load.ready,
            ),
        ] {
            text.family(name, "gauge", help);
            text.sample(name, &[], u64::try_from(value).unwrap_or(u64::MAX));
        }
        let deaths = self.workers.deaths();
        let name = "pockitd_worker_deaths_total";
        let help =
            "Workers that died of their picture or were killed, and were replaced, by cause.";
        text.family(name, "counter", help);
        for (cause, count) in [
            ("deadline", deaths.deadline),
            ("outside", deaths.outside),
            ("signal", deaths.signal),
            ("exit", deaths.exit),
            ("nonsense", deaths.nonsense),
        ] {
            text.sample(name, &[("cause", cause)], count);
        }
        let name = "pockitd_worker_retirements_total";
        let help = "Workers that were replaced although nothing was wrong with them, by cause: native (C or C++ has read a picture), jobs (has done enough), surplus (enough others waited), abandoned (the client has gone).";
        text.family(name, "counter", help);
        for (cause, count) in self.workers.retirements() {
            text.sample(name, &[("cause", cause.name())], count);
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
        if let Some(activity) = self.store.activity() {
            write_activity(activity, text);
        }
        let data_dir = self.config.storage.data_dir.clone();
        let disk = tokio::task::spawn_blocking(move || storage::disk(&data_dir)).await;
        if let Ok(disk) = disk {
            let name = "pockitd_store_size_bytes";
            text.family(name, "gauge", "Files in the data directory.");
            text.sample(name, &[], disk.used_bytes);
            if let Some(free) = disk.free_bytes {
                let name = "pockitd_store_free_bytes";
                let help = "Room left on the disk of the data directory.";
                text.family(name, "gauge", help);
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

/// What the store has done.
fn write_activity(activity: &Activity, text: &mut Text) {
    let name = "pockitd_store_commits_total";
    let help = "Commits by outcome. One that has failed has changed nothing.";
    text.family(name, "counter", help);
    for (outcome, count) in [
        ("durable", activity.commits()),
        ("failed", activity.commits_failed()),
    ] {
        text.sample(name, &[("outcome", outcome)], count);
    }
    let name = "pockitd_store_changes_total";
    let help = "Changes in the durable commits: those that come together share one.";
    text.family(name, "counter", help);
    text.sample(name, &[], activity.changes());
    let name = "pockitd_store_flush_duration_seconds";
    let help = "How long the disk took to make a commit durable.";
    text.family(name, "histogram", help);
    text.histogram(name, &[], activity.flushes(), text::seconds);
    let mendings: Vec<_> = activity.mendings().collect();
    let name = "pockitd_gc_removed_total";
    let help =
        "Pictures and parts of pictures that were removed because they were there for nobody.";
    text.family(name, "counter", help);
    for (problem, count) in mendings.iter().filter(|(problem, _)| problem.is_garbage()) {
        text.sample(name, &[("kind", problem.name())], *count);
    }
    let name = "pockitd_store_repairs_total";
    let help = "What gc-pictures --repair has put right beside that, by problem.";
    text.family(name, "counter", help);
    for (problem, count) in mendings.iter().filter(|(problem, _)| !problem.is_garbage()) {
        text.sample(name, &[("problem", problem.name())], *count);
    }
}
