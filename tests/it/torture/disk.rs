//! Disks of one's own: small file systems in memory, and some whose power can be cut. Needs root.

use std::ffi::c_ulong;
use std::fs::File;
use std::os::fd::AsRawFd as _;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// `EXT4_IOC_SHUTDOWN`, known to all file systems as `FS_IOC_SHUTDOWN`. Source: Linux, include/uapi/linux/fs.h.
const SHUTDOWN: c_ulong = 0x8004_587D;
/// `EXT4_GOING_FLAGS_NOLOGFLUSH`: what is not on the disk yet, the journal's included, is lost.
static WITHOUT_LOG_FLUSH: u32 = 2;

/// Runs a program; what it printed, or none if it failed or is not there.
fn run(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    output.status.success().then_some(text)
}

/// A mounted file system. Unmounted when dropped.
pub(super) struct Disk {
    directory: TempDir,
    /// The loop device that it is on, if it is on one.
    device: Option<String>,
}

impl Disk {
    /// A file system in memory, of so many MiB; none where one may not be mounted.
    pub(super) fn in_memory(mebibytes: u64) -> Option<Self> {
        let disk = Self::unmounted();
        let size = format!("size={mebibytes}m");
        let path = disk.path().display().to_string();
        run("mount", &["-t", "tmpfs", "-o", &size, "tmpfs", &path])?;
        Some(disk)
    }

    /// An ext4 file system on a loop device, of so many MiB, whose power can be cut; none where that cannot be had.
    pub(super) fn on_a_device(mebibytes: u64) -> Option<Self> {
        let mut disk = Self::unmounted();
        let image = disk.directory.path().join("image");
        File::create(&image)
            .unwrap()
            .set_len(mebibytes * 1_024 * 1_024)
            .unwrap();
        let image = image.display().to_string();
        run("mkfs.ext4", &["-q", "-F", &image])?;
        disk.device = Some(run("losetup", &["--find", "--show", &image])?);
        disk.mount()?;
        Some(disk)
    }

    fn unmounted() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let disk = Self {
            directory,
            device: None,
        };
        std::fs::create_dir(disk.path()).unwrap();
        disk
    }

    fn mount(&self) -> Option<()> {
        let device = self.device.as_deref()?;
        run("mount", &[device, &self.path().display().to_string()]).map(drop)
    }

    /// Where it is mounted.
    pub(super) fn path(&self) -> PathBuf {
        self.directory.path().join("mounted")
    }

    /// Cuts the power: whatever was not synced is lost, and whoever still writes gets an error.
    #[expect(unsafe_code, reason = "there is no safe call for this ioctl")]
    pub(super) fn cut(&self) {
        let root = File::open(self.path()).unwrap();
        // SAFETY: the ioctl reads one u32 behind the pointer, which outlives the call.
        let answer =
            unsafe { libc::ioctl(root.as_raw_fd(), SHUTDOWN, &raw const WITHOUT_LOG_FLUSH) };
        assert_eq!(answer, 0, "{}", std::io::Error::last_os_error());
    }

    /// Turns it on again. To be called when the processes that had files on it have ended.
    pub(super) fn turn_on(&self) {
        let path = self.path();
        let until = Instant::now() + Duration::from_secs(20);
        // Where something else still has it, it cannot be unmounted, or comes back as it was: without power.
        while run("umount", &[&path.display().to_string()]).is_none()
            || self.mount().is_none()
            || File::create(path.join("on")).is_err()
        {
            assert!(Instant::now() < until, "{} is in use", path.display());
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        run("umount", &["--lazy", &self.path().display().to_string()]);
        if let Some(device) = &self.device {
            run("losetup", &["--detach", device]);
        }
    }
}
