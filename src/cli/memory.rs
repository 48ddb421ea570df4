//! Makes the C library's allocator give memory back.
//!
//! Left alone, glibc learns from the first large blocks that are freed (upload bodies, Argon2's memory) to keep such
//! blocks for ever, in up to eight heaps a processor core: after a busy minute a server stays as large as its worst
//! moment. With a fixed threshold every large block is a mapping of its own, which ends when it is freed.

/// Blocks from this size on are mappings of their own, in bytes: the allocator's own first value.
const MAPPED_FROM_BYTES: i32 = 128 * 1_024;
/// Heaps for smaller blocks.
const HEAPS_MAX: i32 = 2;

/// Called once, before there are other threads.
#[cfg(target_env = "gnu")]
#[expect(
    unsafe_code,
    reason = "the allocator is set up by a function of the C library"
)]
pub(super) fn give_back_early() {
    // SAFETY: mallopt changes two numbers inside the allocator and nothing else runs yet.
    let set = unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, MAPPED_FROM_BYTES) == 1
            && libc::mallopt(libc::M_ARENA_MAX, HEAPS_MAX) == 1
    };
    if !set {
        tracing::debug!("the allocator keeps its own settings");
    }
}

/// Other C libraries give memory back by themselves.
#[cfg(not(target_env = "gnu"))]
pub(super) fn give_back_early() {}
