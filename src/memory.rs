//! Freed memory goes back to the system.
//!
//! glibc keeps what a busy hour needed: a large block that is freed raises the size from which it asks the system
//! for each block by itself, so that the next one lies in a heap among small ones and stays; and every thread may
//! open a heap of its own. With both fixed, a server that has had fifty clients at once is as small as before. The
//! allocators of other systems don't do this.

/// Blocks from this size on come from the system one by one, and go back when they are freed: a recording's
/// samples, the text of a message, the logits of a step.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const OWN_MAPPING: i32 = 128 << 10;
/// Free bytes at the end of a heap that are kept.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const KEPT: i32 = 128 << 10;
/// Heaps. Hardly a thread waits for another's allocation here: the time goes into the model.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const HEAPS: i32 = 2;

/// Sets the allocator up. To be called once, before there are threads.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[allow(unsafe_code)]
pub fn give_back_what_is_freed() {
    for (parameter, value) in
        [(libc::M_MMAP_THRESHOLD, OWN_MAPPING), (libc::M_TRIM_THRESHOLD, KEPT), (libc::M_ARENA_MAX, HEAPS)]
    {
        // SAFETY: takes two numbers and changes the allocator's settings, under the allocator's own lock. A
        // parameter that this glibc does not know is refused, and nothing is worse than before.
        unsafe { libc::mallopt(parameter, value) };
    }
}

/// Nothing to be set up here.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn give_back_what_is_freed() {}
