//! A file as words in memory: the one place with unsafe code.

#![allow(
    unsafe_code,
    reason = "to map a file is to promise what the compiler cannot see; each block says why it holds"
)]

use std::fs::File;
use std::ptr::{NonNull, null_mut};
use std::sync::atomic::AtomicU64;

use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

/// A file, mapped and shared with every process that maps it.
#[derive(Debug)]
pub(super) struct Map {
    start: NonNull<AtomicU64>,
    words: usize,
}

// SAFETY: the mapping belongs to no thread, and all that is ever made of it is shared references to atomics.
unsafe impl Send for Map {}
// SAFETY: as above.
unsafe impl Sync for Map {}

impl Map {
    /// Maps the first words of a file, which must be as long as that.
    pub(super) fn new(file: &File, words: usize) -> std::io::Result<Self> {
        let bytes = words * 8;
        if file.metadata()?.len() < bytes as u64 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        let (protection, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED);
        // SAFETY: the system chooses the place, so nothing of ours is mapped over; nothing is read yet.
        let start = unsafe { mmap(null_mut(), bytes, protection, flags, file, 0) }?;
        let start = NonNull::new(start.cast()).ok_or(std::io::ErrorKind::OutOfMemory)?;
        Ok(Map { start, words })
    }

    /// Its words.
    #[inline]
    pub(super) fn words(&self) -> &[AtomicU64] {
        // SAFETY: the mapping is that long, begins on a page, is readable and writable and stays until drop.
        // Every bit pattern is a number, and other processes change words with atomic instructions only.
        // What is outside our power, that somebody cuts the file short, ends in a signal, not in wrong memory.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.words) }
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        // SAFETY: this is what `new` mapped, and no reference to its words outlives us.
        let _ = unsafe { munmap(self.start.as_ptr().cast(), self.words * 8) };
    }
}

/// A word of its own that the system sets to zero in every forked child; `None` where it does not do that.
#[cfg(target_os = "linux")]
pub(super) fn wiped_on_fork() -> Option<&'static AtomicU64> {
    use rustix::mm::{Advice, madvise, mmap_anonymous};
    const LENGTH: usize = 4_096;
    let protection = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: a new mapping of zeros at a place that the system chooses. If it can be wiped it is never
    // unmapped, so a reference to its first word, which is aligned as every page is, holds for ever.
    unsafe {
        let page = mmap_anonymous(null_mut(), LENGTH, protection, MapFlags::PRIVATE).ok()?;
        if madvise(page, LENGTH, Advice::LinuxWipeOnFork).is_err() {
            let _ = munmap(page, LENGTH);
            return None;
        }
        Some(&*page.cast::<AtomicU64>())
    }
}

#[cfg(not(target_os = "linux"))]
pub(super) fn wiped_on_fork() -> Option<&'static AtomicU64> {
    None
}
