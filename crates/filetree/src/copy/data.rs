//! How a file's bytes are moved: shared where the file system can, by the kernel where it can, else through a buffer.

use std::{
    cell::RefCell,
    os::fd::AsFd,
    sync::atomic::{AtomicBool, Ordering},
};

use rustix::{
    fs::{SeekFrom, copy_file_range, ftruncate, ioctl_ficlone, seek},
    io::Errno,
};

/// Up to this size one read and one write are faster than asking the kernel to copy.
pub(crate) const SMALL: usize = 64 * 1024;

/// How much the kernel is asked to copy at once: it is still in the processor's cache when somebody who follows reads it.
const PIECE: usize = 4 << 20;

/// What is read and written at once where the kernel cannot copy. Small pieces cost twice as much time.
const BUFFERED: usize = 1 << 20;

thread_local! {
    /// One buffer per thread, whatever the number of files.
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; SMALL]);
}

/// Moves bytes between two file systems, and remembers what they cannot do.
#[derive(Debug)]
pub(crate) struct Mover {
    can_clone: AtomicBool,
    can_copy: AtomicBool,
}

impl Mover {
    pub(crate) fn new() -> Self {
        Self { can_clone: AtomicBool::new(true), can_copy: AtomicBool::new(true) }
    }

    /// Copies a file of `size` bytes into one that is empty, or all a hole. Holes stay holes. Returns how many bytes the
    /// source had; whether a large one changed meanwhile is for the caller to see. `told` hears up to where it is copied.
    pub(crate) fn copy(
        &self,
        from: &impl AsFd,
        to: &impl AsFd,
        size: u64,
        told: &dyn Fn(u64),
    ) -> Result<u64, Errno> {
        if size <= SMALL as u64 {
            return copy_small(from, to, size);
        }
        if self.can_clone.load(Ordering::Relaxed) {
            match ioctl_ficlone(to, from) {
                Ok(()) => return Ok(size),
                // Not this file system, or not these two.
                Err(_) => self.can_clone.store(false, Ordering::Relaxed),
            }
        }
        self.copy_segments(from, to, size, told)?;
        ftruncate(to, size)?;
        Ok(size)
    }

    /// Writes all of `bytes`.
    pub(crate) fn write_all(to: &impl AsFd, mut bytes: &[u8]) -> Result<(), Errno> {
        while !bytes.is_empty() {
            match rustix::io::write(to, bytes) {
                Ok(length) => bytes = &bytes[length..],
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno),
            }
        }
        Ok(())
    }

    /// Copies what is between the holes.
    fn copy_segments(
        &self,
        from: &impl AsFd,
        to: &impl AsFd,
        size: u64,
        told: &dyn Fn(u64),
    ) -> Result<(), Errno> {
        let mut end = 0;
        while end < size {
            let start = match seek(from, SeekFrom::Data(end)) {
                Ok(start) => start,
                // Only a hole is left.
                Err(Errno::NXIO) => return Ok(()),
                // The file system does not know its holes.
                Err(_) => end,
            };
            end = match seek(from, SeekFrom::Hole(start)) {
                Ok(hole) => hole.min(size),
                Err(_) => size,
            };
            self.copy_segment(from, to, (start, end), told)?;
        }
        Ok(())
    }

    fn copy_segment(
        &self,
        from: &impl AsFd,
        to: &impl AsFd,
        (start, end): (u64, u64),
        told: &dyn Fn(u64),
    ) -> Result<(), Errno> {
        let (mut read_at, mut write_at) = (start, start);
        while write_at < end && self.can_copy.load(Ordering::Relaxed) {
            let length = usize::try_from(end - write_at).unwrap_or(PIECE).min(PIECE);
            match copy_file_range(from, Some(&mut read_at), to, Some(&mut write_at), length) {
                // The file became shorter, or the file system does not mean it.
                Ok(0) => break,
                Ok(_) => told(write_at),
                Err(Errno::INTR) => {}
                Err(Errno::XDEV | Errno::NOSYS | Errno::INVAL | Errno::OPNOTSUPP | Errno::PERM) => {
                    self.can_copy.store(false, Ordering::Relaxed);
                }
                Err(errno) => return Err(errno),
            }
        }
        if write_at < end { copy_range(from, to, (write_at, end), told) } else { Ok(()) }
    }
}

/// Copies through the buffer: one read and one write, unless the file system gives less than it has.
fn copy_small(from: &impl AsFd, to: &impl AsFd, size: u64) -> Result<u64, Errno> {
    let mut copied = 0;
    BUFFER.with_borrow_mut(|buffer| {
        while copied < size {
            match rustix::io::read(from, &mut buffer[..]) {
                Ok(0) => break,
                Ok(length) => {
                    Mover::write_all(to, &buffer[..length])?;
                    copied += length as u64;
                }
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno),
            }
        }
        Ok(copied)
    })
}

/// Copies a part through a buffer, to the same place.
fn copy_range(
    from: &impl AsFd,
    to: &impl AsFd,
    (start, end): (u64, u64),
    told: &dyn Fn(u64),
) -> Result<(), Errno> {
    let size = usize::try_from(end - start).unwrap_or(BUFFERED).min(BUFFERED);
    let mut buffer = vec![0; size];
    let mut at = start;
    while at < end {
        let wanted = usize::try_from(end - at).unwrap_or(size).min(size);
        let length = match rustix::io::pread(from, &mut buffer[..wanted], at) {
            Ok(0) => return Ok(()),
            Ok(length) => length,
            Err(Errno::INTR) => continue,
            Err(errno) => return Err(errno),
        };
        let mut piece = &buffer[..length];
        while !piece.is_empty() {
            match rustix::io::pwrite(to, piece, at) {
                Ok(length) => {
                    piece = &piece[length..];
                    at += length as u64;
                }
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno),
            }
        }
        told(at);
    }
    Ok(())
}
