//! How far work is: one line on a terminal that the next one overwrites; nothing where stderr is a file or a pipe.

use std::io::{self, IsTerminal, Write};

/// Characters of the bar.
const BAR_CHARS: u64 = 24;

/// The line.
#[derive(Debug)]
pub(super) struct Progress {
    /// Whether it is there now; none if it never is.
    shown: Option<bool>,
}

impl Progress {
    pub(super) fn new() -> Self {
        let shown = io::stderr().is_terminal().then_some(false);
        Self { shown }
    }

    /// So many of them are done.
    pub(super) fn show(&mut self, what: &str, done: u64, of: Option<u64>) {
        if self.shown.is_some() {
            self.shown = Some(true);
            let line = line(what, done, of);
            let mut out = io::stderr().lock();
            drop(write!(out, "\r\x1b[K{line}").and_then(|()| out.flush()));
        }
    }

    /// Makes room for a line of something else.
    pub(super) fn clear(&mut self) {
        if self.shown == Some(true) {
            self.shown = Some(false);
            drop(write!(io::stderr(), "\r\x1b[K"));
        }
    }
}

fn line(what: &str, done: u64, of: Option<u64>) -> String {
    let Some(of) = of else {
        return format!("{what}: {done}");
    };
    let of = of.max(done);
    let full = done
        .saturating_mul(BAR_CHARS)
        .checked_div(of)
        .unwrap_or(BAR_CHARS);
    let bar: String = (0..BAR_CHARS)
        .map(|place| if place < full { '#' } else { '.' })
        .collect();
    format!("[{bar}] {what}: {done} of {of}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bar_is_as_full_as_the_work_is_done() {
        let bar = |full: usize| format!("[{}{}]", "#".repeat(full), ".".repeat(24 - full));
        for (done, of, full) in [
            (0, 10, 0),
            (5, 10, 12),
            (10, 10, 24),
            (11, 10, 24),
            (0, 0, 24),
        ] {
            assert!(
                line("users", done, Some(of)).starts_with(&bar(full)),
                "{done} of {of}"
            );
        }
        assert_eq!(line("users", 7, None), "users: 7");
    }
}
