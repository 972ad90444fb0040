//! Memory that was freed goes back to the system: that of a long message at once, and of small ones when there is much of it.

/// A piece of memory of this size or more is a mapping of its own, in bytes. The allocator would otherwise move the bound up with
/// the first long message, and keep the holes that the next ones do not fit in.
const APART: std::ffi::c_int = 2 << 20;
/// So much that is free at the heap's end stays until [`Heap::look`], in bytes: many messages of a megabyte would otherwise have it
/// given back and taken again for each.
const KEPT: std::ffi::c_int = 32 << 20;

/// How much more than after the last look there must be, in bytes.
const MUCH: usize = 8 << 20;

/// Looks from time to time.
#[derive(Debug, Default)]
pub struct Heap {
    /// What was resident, and not used, after the last time.
    before: usize,
}

impl Heap {
    /// Gives back what can be, if much has come since the last time that is not among the `used` bytes.
    pub fn look(&mut self, used: usize) {
        let unused = || resident().map(|resident| resident.saturating_sub(used));
        let Some(now) = unused() else { return };
        self.before = self.before.min(now);
        if now > self.before + MUCH {
            give_back();
            self.before = unused().unwrap_or(now);
            tracing::debug!(before = now, after = self.before, "freed memory given back");
        }
    }
}

/// Has long messages kept apart from the rest. To be called before there are any.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code, reason = "the allocator of the C library has no other door")]
pub fn keep_long_messages_apart() {
    use std::ffi::c_int;
    /// Of `malloc.h`.
    const M_TRIM_THRESHOLD: c_int = -1;
    const M_MMAP_THRESHOLD: c_int = -3;
    unsafe extern "C" {
        /// `mallopt(3)`
        safe fn mallopt(param: c_int, value: c_int) -> c_int;
    }
    if mallopt(M_MMAP_THRESHOLD, APART) == 0 || mallopt(M_TRIM_THRESHOLD, KEPT) == 0 {
        tracing::debug!("the allocator keeps its own bounds");
    }
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn keep_long_messages_apart() {}

#[cfg(target_os = "linux")]
fn resident() -> Option<usize> {
    let pages = procfs::process::Process::myself().ok()?.statm().ok()?.resident;
    usize::try_from(pages * procfs::page_size()).ok()
}

#[cfg(not(target_os = "linux"))]
fn resident() -> Option<usize> {
    None
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code, reason = "the allocator of the C library has no other door")]
fn give_back() {
    unsafe extern "C" {
        /// `malloc_trim(3)`
        safe fn malloc_trim(pad: usize) -> std::ffi::c_int;
    }
    malloc_trim(0);
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn give_back() {}
