//! The section `[storage]`.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::config::validate::{Problem, push};

/// Longest interval, in seconds.
const YEAR_S: u64 = 365 * 86_400;
/// `[storage]`: where everything is kept.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Storage {
    /// Directory of the database, the lock and the signing key. Made if it is missing.
    pub data_dir: PathBuf,
    /// Memory that the database's own page cache aims at, in bytes. It takes several times as much.
    pub page_cache_bytes: u64,
    /// Memory for recently served renditions, in bytes.
    pub rendition_cache_bytes: u64,
    /// Disk space that is kept free, in bytes: writes that would go below it are answered with 507.
    pub free_bytes_min: u64,
    /// How often a server looks for pictures that no profile points at and removes them, in seconds, give or take a
    /// tenth; 0: never.
    pub gc_interval_s: u64,
}

impl Default for Storage {
    fn default() -> Self {
        Self {
            data_dir: PathBuf::from("data"),
            page_cache_bytes: 16 * 1_024 * 1_024,
            rendition_cache_bytes: 32 * 1_024 * 1_024,
            free_bytes_min: 128 * 1_024 * 1_024,
            gc_interval_s: 86_400,
        }
    }
}

impl Storage {
    /// What of it cannot work.
    pub(super) fn problems(&self, found: &mut Vec<Problem>) {
        if self.gc_interval_s > YEAR_S {
            let actual = self.gc_interval_s;
            let sentence = format!("is {actual}, must be at most {YEAR_S}");
            push(found, "storage.gc_interval_s", sentence);
        }
        if self.data_dir.as_os_str().is_empty() {
            push(
                found,
                "storage.data_dir",
                "is empty, must name a directory".to_owned(),
            );
        }
        let cache = self.page_cache_bytes;
        // The database cannot work with less; more than a tebibyte is a slip of the hand.
        if !(1 << 20..=1 << 40).contains(&cache) {
            let sentence = format!("is {cache}, must be 1048576 to 1099511627776");
            push(found, "storage.page_cache_bytes", sentence);
        }
    }
}
