//! Makes sled's syncs real. The one place with an exported symbol.
//!
//! sled 0.34.7 makes its log durable with `sync_file_range(2)`. That call writes pages out, but commits no file
//! metadata (a file that has grown is short after a power cut) and leaves the disk's own cache as it is; its manual
//! page calls it "extremely dangerous". Measured with simulated power cuts: 2,340 of 62,235 acknowledged uploads lost
//! and 46 of 85 databases that did not open again.
//!
//! sled calls it through the C library by name, and a symbol in the executable wins over one in a shared library. So
//! here is a `sync_file_range` that does what its callers hope for: `fdatasync(2)` of the whole file, which POSIX
//! defines to cover the data and all metadata needed to read it back. Nothing else in this program calls it.
//! [`calls`] proves at each opening that the linker took this one.

use std::ffi::c_int;
use std::ffi::c_uint;
use std::io;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

static CALLS: AtomicU64 = AtomicU64::new(0);

/// How often sled has synced through this file since the program started.
pub(super) fn calls() -> u64 {
    CALLS.load(Ordering::Relaxed)
}

#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "declares a function of the C library")]
unsafe extern "C" {
    /// POSIX.1-2024, `fdatasync`. Takes any number: one that is no open file is an error, not undefined behaviour.
    safe fn fdatasync(descriptor: c_int) -> c_int;
}

/// Replaces the C library's function of that name; see the head of this file.
///
/// Answers as the original does: 0, or −1 with `errno` set (by `fdatasync`).
#[cfg(target_os = "linux")]
#[expect(
    unsafe_code,
    reason = "sled calls the C function by this name; the signature is that of sync_file_range(2)"
)]
#[unsafe(no_mangle)]
extern "C" fn sync_file_range(descriptor: c_int, _from: i64, _bytes: i64, _how: c_uint) -> c_int {
    CALLS.fetch_add(1, Ordering::Relaxed);
    loop {
        let answer = fdatasync(descriptor);
        let interrupted = || io::Error::last_os_error().kind() == io::ErrorKind::Interrupted;
        if answer == 0 || !interrupted() {
            return answer;
        }
    }
}
