//! What a server of one's own costs: CPU time and memory of its process and its decode workers, as /proc tells them.

use std::fs;
use std::path::PathBuf;
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

    /// CPU time of the process and of all workers that have ended.
    pub(super) fn cpu(&self) -> Option<Duration> {
        let stat = fs::read_to_string(self.directory.join("stat")).ok()?;
        // Fields after the name in brackets; utime, stime, cutime and cstime are 14 to 17. Source: `proc_pid_stat(5)`.
        let (_, fields) = stat.rsplit_once(") ")?;
        let ticks = fields.split(' ').skip(11).take(4);
        let ticks = ticks
            .map(str::parse::<u64>)
            .try_fold(0_u64, |sum, ticks| Some(sum.saturating_add(ticks.ok()?)))?;
        let per_second = rustix::param::clock_ticks_per_second().max(1);
        let nanos = u128::from(ticks)
            .saturating_mul(1_000_000_000)
            .div_euclid(u128::from(per_second));
        Some(Duration::from_nanos(u64::try_from(nanos).ok()?))
    }

    /// Resident memory now, in bytes: the process, and of its workers what they do not share with it.
    pub(super) fn memory(&self) -> Option<u64> {
        let (resident, _) = statm(&self.directory)?;
        let mut pages = resident;
        for task in fs::read_dir(self.directory.join("task")).ok()? {
            let children = fs::read_to_string(task.ok()?.path().join("children"));
            for child in children.unwrap_or_default().split_ascii_whitespace() {
                // One that has ended meanwhile has nothing.
                let (resident, shared) =
                    statm(&PathBuf::from(format!("/proc/{child}"))).unwrap_or_default();
                pages = pages.saturating_add(resident.saturating_sub(shared));
            }
        }
        let page = u64::try_from(rustix::param::page_size()).ok()?;
        Some(pages.saturating_mul(page))
    }
}

/// Resident and shared pages. Source: `proc_pid_statm(5)`.
fn statm(directory: &std::path::Path) -> Option<(u64, u64)> {
    let text = fs::read_to_string(directory.join("statm")).ok()?;
    let mut fields = text.split_ascii_whitespace().skip(1);
    let resident = fields.next()?.parse().ok()?;
    let shared = fields.next()?.parse().ok()?;
    Some((resident, shared))
}

#[cfg(test)]
mod tests {
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
    fn usage_of_a_process_that_is_not_there_is_none() {
        let usage = Usage::of(u32::MAX);
        assert_eq!(usage.memory(), None);
        assert_eq!(usage.cpu(), None);
    }
}
