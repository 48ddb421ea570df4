//! `pockitd migrate status`, `up`, `compact` and `rerender`: what they came to, as text or JSON.

use serde_json::json;

use crate::cli::Failure;
use crate::cli::errand::Errand;
use crate::cli::print_line;
use crate::cli::progress::Progress;
use crate::service::admin::{Event, Task};
use crate::service::migrate::{Compacted, Kind, Rerendered, Versions};

/// Runs a task that shows a few lines and a summary.
pub(super) fn show(errand: &Errand, task: Task, json: bool) -> Result<(), Failure> {
    watched(errand, task, |event| match event {
        Event::Compacted { compacted } if json => Some(json!(compacted).to_string()),
        Event::Compacted { compacted } => Some(sizes(compacted)),
        Event::NotRerendered { user_id, reason } if json => {
            let failed = json!({ "user_id": user_id, "reason": reason });
            Some(json!({ "failed": failed }).to_string())
        }
        Event::NotRerendered { user_id, reason } => Some(format!("{user_id}: {reason}")),
        Event::Rerendered(sum) if json => Some(json!({ "summary": sum }).to_string()),
        Event::Rerendered(sum) => Some(rerendered(&sum)),
        _ => None,
    })
}

/// `pockitd migrate status` and `up`
pub(super) fn versions(
    errand: &Errand,
    up: bool,
    dry_run: bool,
    json: bool,
) -> Result<(), Failure> {
    let wrote = up && !dry_run;
    let task = Task::Records { up: wrote };
    watched(errand, task, |event| match event {
        Event::Versions(versions) if json => {
            let mut object = json!(versions);
            if let Some(object) = object.as_object_mut() {
                object.insert(
                    "up_to_date".to_owned(),
                    json!(is_done(&versions, wrote) && !is_damaged(&versions)),
                );
            }
            Some(object.to_string())
        }
        Event::Versions(versions) => Some(table(&versions, up, dry_run)),
        _ => None,
    })
}

fn watched(
    errand: &Errand,
    task: Task,
    mut line: impl FnMut(Event) -> Option<String>,
) -> Result<(), Failure> {
    let mut progress = Progress::new();
    let ran = errand.run(task, |event| {
        if let Event::Working { what, done, of } = &event {
            progress.show(what, *done, *of);
        } else if let Some(line) = line(event) {
            progress.clear();
            print_line(&line)?;
        }
        Ok(())
    });
    progress.clear();
    ran
}

/// Whether nothing is left to be written anew. What was old when it was counted was written since, or is gone, if
/// anything was written at all.
fn is_done(versions: &Versions, wrote: bool) -> bool {
    let is_new = |kind: &Kind| kind.versions.keys().all(|version| *version >= kind.current);
    versions.schema.found == versions.schema.known && (wrote || versions.kinds.iter().all(is_new))
}

/// Whether there are records whose version cannot be told.
fn is_damaged(versions: &Versions) -> bool {
    versions.kinds.iter().any(|kind| kind.damaged > 0)
}

fn table(versions: &Versions, up: bool, dry_run: bool) -> String {
    let schema = versions.schema;
    let mut lines = vec![format!(
        "store: version {}, this program writes version {}",
        schema.found, schema.known
    )];
    for kind in &versions.kinds {
        let counts = kind.versions.iter();
        let counts = counts.map(|(version, count)| format!("{count} of version {version}"));
        let counts: Vec<String> = counts.collect();
        let counts = if counts.is_empty() {
            "none".to_owned()
        } else {
            counts.join(", ")
        };
        let damaged = match kind.damaged {
            0 => String::new(),
            damaged => format!(", {damaged} damaged"),
        };
        let old = kind.versions.keys().any(|version| *version < kind.current);
        let written = if kind.written > 0 {
            format!(
                "; {} written anew as version {}",
                kind.written, kind.current
            )
        } else if old && dry_run {
            format!("; would be written anew as version {}", kind.current)
        } else {
            String::new()
        };
        lines.push(format!("{}: {counts}{damaged}{written}", kind.kind));
    }
    let state = match (is_done(versions, up && !dry_run), up, dry_run) {
        (true, false, _) => "all is up to date",
        (true, true, _) => "done: all is up to date",
        (false, true, true) => "nothing was written",
        (false, ..) => "pockitd migrate up writes the old ones anew",
    };
    let but = if is_damaged(versions) {
        ", but for what cannot be read"
    } else {
        ""
    };
    lines.push(format!("{state}{but}"));
    lines.join("\n")
}

fn sizes(compacted: Option<Compacted>) -> String {
    match compacted {
        Some(Compacted {
            bytes_before,
            bytes_after,
            replaced: true,
            ..
        }) => {
            format!("{bytes_before} bytes before, {bytes_after} bytes after")
        }
        Some(Compacted {
            bytes_before,
            bytes_anew,
            ..
        }) => format!(
            "{bytes_before} bytes; written anew it would take {bytes_anew}, so it stays as it is"
        ),
        None => "this store gives space back by itself".to_owned(),
    }
}

fn rerendered(sum: &Rerendered) -> String {
    let reasons = [
        (sum.refused_originals, "as the upload is refused now"),
        (sum.damaged_originals, "as the upload is damaged"),
        (
            sum.damaged_renditions,
            "of a smaller one, as the largest is damaged",
        ),
    ];
    let reasons = reasons.into_iter().filter(|(count, _)| *count > 0);
    let reasons = reasons.map(|(count, reason)| format!("{count} {reason}"));
    let reasons = reasons.collect::<Vec<_>>().join(", ");
    let reasons = if reasons.is_empty() {
        reasons
    } else {
        format!(" ({reasons})")
    };
    format!(
        "{} pictures: {} made anew of the upload, {} of the largest rendition{reasons}, {} made with these settings already, \
         {} too small, {} replaced meanwhile, {} failed",
        sum.pictures,
        sum.from_original,
        sum.from_rendition,
        sum.unchanged,
        sum.too_small,
        sum.gone,
        sum.failed
    )
}
