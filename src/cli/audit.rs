//! `pockitd gc-pictures` and `pockitd check store`: what an audit finds, as text or JSON, with progress on a terminal.

use clap::Args;
use serde_json::json;

use crate::cli::Failure;
use crate::cli::admin::seconds;
use crate::cli::errand::Errand;
use crate::cli::print_line;
use crate::cli::progress::Progress;
use crate::service::admin::{Event, Task};
use crate::service::audit::{Collection, Found, Summary};
use crate::storage::audit::Problem;

#[derive(Args, Debug)]
pub(super) struct GcPictures {
    /// Remove nothing, only say what would be removed
    #[arg(long)]
    dry_run: bool,
    /// Also take pictures that are missing or damaged away from their profiles (which then show the placeholder), remove
    /// unreadable descriptions of pictures and unreadable idempotency keys, and correct what is counted wrongly
    #[arg(long)]
    repair: bool,
    /// Leave pictures alone that are younger: seconds, or a number with s, m, h or d; without it, the longest time that
    /// an upload can take
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    older_than: Option<u64>,
    /// Print one JSON object a line: what was found, then a summary
    #[arg(long)]
    json: bool,
}

/// `pockitd gc-pictures`
pub(super) fn gc_pictures(errand: &Errand, arguments: &GcPictures) -> Result<(), Failure> {
    let task = Task::CollectGarbage(Collection {
        dry_run: arguments.dry_run,
        repair: arguments.repair,
        older_than_s: arguments.older_than,
    });
    let mut screen = Screen::new(arguments.json);
    let outcome = errand.run(task, |event| {
        screen.show(event, |found| treated(found, arguments), freed)
    });
    screen.progress.clear();
    outcome
}

/// `pockitd check store`
pub(super) fn check_store(errand: &Errand, json: bool) -> Result<(), Failure> {
    let mut screen = Screen::new(json);
    let outcome = errand.run(Task::CheckStore, |event| {
        screen.show(event, |_| "", examined)
    });
    screen.progress.clear();
    outcome
}

/// Where events are shown.
struct Screen {
    json: bool,
    progress: Progress,
}

impl Screen {
    fn new(json: bool) -> Self {
        let progress = Progress::new();
        Self { json, progress }
    }

    fn show(
        &mut self,
        event: Event,
        treated: impl FnOnce(&Found) -> &'static str,
        sum: impl FnOnce(&Summary) -> String,
    ) -> Result<(), Failure> {
        match event {
            Event::Progress { section, done, of } => {
                self.progress.show(section.words(), done, of);
                Ok(())
            }
            Event::Found(found) => {
                self.progress.clear();
                let line = if self.json {
                    json!({ "finding": found }).to_string()
                } else {
                    finding(&found, treated(&found))
                };
                Ok(print_line(&line)?)
            }
            Event::Audited(summary) => {
                self.progress.clear();
                let line = if self.json {
                    json!({ "summary": summary }).to_string()
                } else {
                    sum(&summary)
                };
                Ok(print_line(&line)?)
            }
            _ => Ok(()),
        }
    }
}

/// What was done about it, or would be.
fn treated(found: &Found, arguments: &GcPictures) -> &'static str {
    let garbage = found.problem.is_garbage();
    let mendable = matches!(
        found.problem,
        Problem::UnreadablePicture | Problem::UnreadableOriginal | Problem::WrongCounts
    );
    if found.mended {
        return if garbage { ": removed" } else { ": put right" };
    }
    match (arguments.dry_run, arguments.repair) {
        (true, _) if garbage => ": would be removed",
        (true, true) if mendable => ": would be put right",
        (_, false) if mendable => ": left, --repair puts it right",
        _ => ": left",
    }
}

fn finding(found: &Found, treated: &str) -> String {
    let size = if found.bytes > 0 {
        format!(", {} bytes", found.bytes)
    } else {
        String::new()
    };
    let problem = found.problem.words();
    format!("{problem}: {}{size}{treated}", found.detail)
}

fn freed(summary: &Summary) -> String {
    format!(
        "{} findings, {} put right: {} pictures and {} parts removed, {} bytes freed; {} profiles reset; {}",
        summary.findings,
        summary.mended,
        summary.pictures_removed,
        summary.parts_removed,
        summary.bytes_freed,
        summary.profiles_reset,
        looked_at(summary),
    )
}

fn examined(summary: &Summary) -> String {
    format!("{} findings; {}", summary.findings, looked_at(summary))
}

fn looked_at(summary: &Summary) -> String {
    format!(
        "looked at {} profiles, {} pictures, {} parts",
        summary.profiles, summary.pictures, summary.parts
    )
}
