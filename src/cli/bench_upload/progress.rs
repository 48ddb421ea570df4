//! Tells on stderr how far a run is: a bar on a terminal, elsewhere a line now and then.

use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::task::AbortOnDropHandle;

use crate::cli::bench_upload::limits::Time;
use crate::cli::bench_upload::load::{End, Live};

/// Between two changes of the bar.
const BAR_EVERY: Duration = Duration::from_millis(200);
/// Between two lines.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Shows a run until the handle is dropped.
pub(super) fn show(title: &'static str, end: End, live: &Arc<Live>) -> AbortOnDropHandle<()> {
    let live = Arc::clone(live);
    let shown = async move {
        if io::stderr().is_terminal() {
            bar(title, end, &live).await;
        } else {
            lines(title, end, &live).await;
        }
    };
    AbortOnDropHandle::new(tokio::spawn(shown))
}

async fn bar(title: &'static str, end: End, live: &Live) {
    let length = match end {
        End::After(duration) => u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
        End::Uploads(uploads) => uploads,
    };
    let style = ProgressStyle::with_template("{prefix:>8} [{bar:40}] {elapsed_precise} {msg}")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ");
    let bar = Cleared(
        ProgressBar::new(length)
            .with_prefix(title)
            .with_style(style),
    );
    let start = Instant::now();
    let mut tick = interval(BAR_EVERY);
    loop {
        tick.tick().await;
        let position = match end {
            End::After(_) => u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX),
            End::Uploads(_) => live.done.load(Ordering::Relaxed),
        };
        bar.0.set_position(position.min(length));
        bar.0.set_message(counts(live));
    }
}

/// Leaves no bar behind.
struct Cleared(ProgressBar);

impl Drop for Cleared {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

async fn lines(title: &'static str, end: End, live: &Live) {
    let all = match end {
        End::After(duration) => Time(duration).to_string(),
        End::Uploads(uploads) => format!("{uploads} uploads"),
    };
    let start = Instant::now();
    let mut tick = interval(LINE_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first tick is at once.
    tick.tick().await;
    loop {
        tick.tick().await;
        let elapsed = Time(start.elapsed());
        // Nobody may be listening: the run goes on.
        drop(writeln!(
            io::stderr(),
            "{title} for {elapsed} of {all}: {}",
            counts(live)
        ));
    }
}

fn counts(live: &Live) -> String {
    let done = live.done.load(Ordering::Relaxed);
    match live.not_accepted.load(Ordering::Relaxed) {
        0 => format!("{done} uploads"),
        failed => format!("{done} uploads, {failed} not accepted"),
    }
}
