//! Disks of one's own: small file systems in memory. Needs root.

use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

/// Runs a program; what it printed, or none if it failed or is not there.
fn run(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    output.status.success().then_some(text)
}

/// A mounted file system. Unmounted when dropped.
pub(super) struct Disk {
    directory: TempDir,
}

impl Disk {
    /// A file system in memory, of so many MiB; none where one may not be mounted.
    pub(super) fn in_memory(mebibytes: u64) -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let disk = Self { directory };
        std::fs::create_dir(disk.path()).unwrap();
        let size = format!("size={mebibytes}m");
        let path = disk.path().display().to_string();
        run("mount", &["-t", "tmpfs", "-o", &size, "tmpfs", &path])?;
        Some(disk)
    }

    /// Where it is mounted.
    pub(super) fn path(&self) -> PathBuf {
        self.directory.path().join("mounted")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        run("umount", &["--lazy", &self.path().display().to_string()]);
    }
}
