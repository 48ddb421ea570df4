//! What a server of one's own costs: CPU time and memory of its process and its decode workers, as /proc tells them.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A running server.
#[derive(Clone, Debug)]
pub(super) struct Usage {
    directory: PathBuf,
}

impl Usage {
    pub(super) fn of(process_id: u32) -> Self {
        Self {
            directory: PathBuf::from(format!("/proc/{process_id}")),
        }
    }

    /// CPU time of the process and of all workers, those that have ended and those that live.
    pub(super) fn cpu(&self) -> Option<Duration> {
        let mut sum = ticks(&self.directory)?;
        for child in self.children()? {
            // One that ends meanwhile is missing in one sum, and in the next its parent has its time.
            sum = sum.saturating_add(ticks(&child).unwrap_or_default());
        }
        let per_second = rustix::param::clock_ticks_per_second().max(1);
        let nanos = u128::from(sum)
            .saturating_mul(1_000_000_000)
            .div_euclid(u128::from(per_second));
        Some(Duration::from_nanos(u64::try_from(nanos).ok()?))
    }

    /// Resident memory now, in bytes: the process, and of its workers what they do not share with it.
    pub(super) fn memory(&self) -> Option<u64> {
        let (resident, _) = statm(&self.directory)?;
        let mut pages = resident;
        for child in self.children()? {
            // One that has ended meanwhile has nothing.
            let (resident, shared) = statm(&child).unwrap_or_default();
            pages = pages.saturating_add(resident.saturating_sub(shared));
        }
        let page = u64::try_from(rustix::param::page_size()).ok()?;
        Some(pages.saturating_mul(page))
    }

    /// The folders of its living children.
    fn children(&self) -> Option<Vec<PathBuf>> {
        let mut found = Vec::new();
        for task in fs::read_dir(self.directory.join("task")).ok()? {
            let children = fs::read_to_string(task.ok()?.path().join("children"));
            let children = children.unwrap_or_default();
            let children = children.split_ascii_whitespace();
            found.extend(children.map(|child| PathBuf::from(format!("/proc/{child}"))));
        }
        Some(found)
    }
}

/// CPU time of a process and of its children that have ended, in ticks of the clock. Source: `proc_pid_stat(5)`.
fn ticks(directory: &Path) -> Option<u64> {
    let stat = fs::read_to_string(directory.join("stat")).ok()?;
    // Fields after the name in brackets; utime, stime, cutime and cstime are 14 to 17.
    let (_, fields) = stat.rsplit_once(") ")?;
    let ticks = fields.split(' ').skip(11).take(4);
    ticks
        .map(str::parse::<u64>)
        .try_fold(0_u64, |sum, ticks| Some(sum.saturating_add(ticks.ok()?)))
}

/// Resident and shared pages. Source: `proc_pid_statm(5)`.
fn statm(directory: &Path) -> Option<(u64, u64)> {
    let text = fs::read_to_string(directory.join("statm")).ok()?;
    let mut fields = text.split_ascii_whitespace().skip(1);
    let resident = fields.next()?.parse().ok()?;
    let shared = fields.next()?.parse().ok()?;
    Some((resident, shared))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn usage_of_this_process_is_measured() {
        let usage = Usage::of(std::process::id());
        let block = vec![1_u8; 64 * 1_024 * 1_024];
        let memory = usage.memory().unwrap();
        assert!(memory > u64::try_from(block.len()).unwrap(), "{memory}");
        assert!(usage.cpu().is_some());
    }

    #[test]
    fn time_of_a_child_counts_while_it_lives() {
        // `timeout` waits for its child, the shell, which works; and ends it should this test be killed.
        let mut child = Command::new("timeout")
            .args(["60", "sh", "-c", "while :; do :; done"])
            .spawn()
            .unwrap();
        let usage = Usage::of(child.id());
        let begun = usage.cpu().unwrap();

        // It has no time, and this panics, when it has ended.
        while usage.cpu().unwrap() < begun + Duration::from_millis(50) {
            std::thread::sleep(Duration::from_millis(5));
        }

        // It passes SIGTERM on.
        let process = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(process, rustix::process::Signal::TERM).unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn usage_of_a_process_that_is_not_there_is_none() {
        let usage = Usage::of(u32::MAX);
        assert_eq!(usage.memory(), None);
        assert_eq!(usage.cpu(), None);
    }
}
