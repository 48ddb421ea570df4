//! The admin socket: commands of this machine's operator, over HTTP on a Unix socket in the data directory.
//!
//! A command sends its task and reads events, one JSON object a line, while the server works. Whoever may open the
//! socket (mode 0600: the server's user and root) may do everything; it is never reachable from another machine.

pub mod client;
pub mod listener;

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Name of the socket in the data directory.
pub const FILE_NAME: &str = "admin.sock";
/// The one thing that can be asked for.
const TARGET: &str = "/tasks";
/// Longest path of a socket, in bytes. Source: unix(7), `sun_path` without its closing zero.
const PATH_BYTES_MAX: usize = 107;

/// A path that the system takes for a socket, however long the directory's own is.
#[derive(Debug)]
struct Address {
    path: PathBuf,
    /// The directory, if the path leads over its descriptor.
    _directory: Option<File>,
}

impl Address {
    fn new(data_dir: &Path, name: &str) -> io::Result<Self> {
        let path = data_dir.join(name);
        if path.as_os_str().as_bytes().len() <= PATH_BYTES_MAX {
            return Ok(Self {
                path,
                _directory: None,
            });
        }
        let directory = File::open(data_dir)?;
        let path = PathBuf::from(format!("/proc/self/fd/{}/{name}", directory.as_raw_fd()));
        Ok(Self {
            path,
            _directory: Some(directory),
        })
    }
}
