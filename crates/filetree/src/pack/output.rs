//! The stream an archive is written to: one large buffer that files are read into directly.

use std::{io::Write, os::fd::BorrowedFd, path::PathBuf};

use rustix::io::Errno;

use crate::{Error, copy::Growing};

/// How much is written at once.
const CHUNK: usize = 1024 * 1024;

/// How much there is room for at first: most layers are small, and clearing memory takes longer than packing nothing.
const FIRST: usize = 16 * 1024;

/// The unit of archives.
const BLOCK: u64 = 512;

/// Collects an archive and writes it in large pieces.
pub(super) struct Output<'a, W> {
    out: &'a mut W,
    buffer: Vec<u8>,
    filled: usize,
    /// Whether files may have another length than they had: then they are cut off or filled up.
    pub(super) living: bool,
}

impl<'a, W: Write> Output<'a, W> {
    pub(super) fn new(out: &'a mut W) -> Self {
        Self { out, buffer: vec![0; FIRST], filled: 0, living: false }
    }

    /// Appends headers, of any length.
    pub(super) fn append(&mut self, mut bytes: &[u8]) -> Result<(), Error> {
        while !bytes.is_empty() {
            self.make_room(bytes.len())?;
            let length = bytes.len().min(self.buffer.len() - self.filled);
            self.buffer[self.filled..self.filled + length].copy_from_slice(&bytes[..length]);
            self.filled += length;
            bytes = &bytes[length..];
        }
        Ok(())
    }

    /// Appends the contents of a file, and zeros up to the next block. A small file costs one call. One that is growing is
    /// followed.
    ///
    /// # Errors
    /// [`Error::Changed`] when the file does not have exactly `size` bytes, unless it may change.
    pub(super) fn append_file(
        &mut self,
        file: BorrowedFd<'_>,
        size: u64,
        growing: Option<Growing<'_>>,
        path: impl Fn() -> PathBuf,
    ) -> Result<(), Error> {
        let mut rest = size;
        loop {
            // One byte more than there should be: if it stays empty, this was the end.
            let mut wanted = rest.saturating_add(1);
            if let Some(growing) = growing {
                wanted = wanted.min(growing.wait(size - rest)?);
            }
            let wanted = usize::try_from(wanted).unwrap_or(CHUNK);
            self.make_room(wanted)?;
            let end = self.buffer.len().min(self.filled.saturating_add(wanted));
            let room = &mut self.buffer[self.filled..end];
            let length = match rustix::io::read(file, &mut *room) {
                Err(Errno::INTR) => continue,
                read => read.map_err(Error::io("read", path()))?,
            };
            let (is_longer, is_shorter) = (length as u64 > rest, length == 0 && rest > 0);
            if (is_longer || is_shorter) && !self.living {
                return Err(Error::Changed { path: path() });
            }
            if is_longer {
                self.filled += usize::try_from(rest).unwrap_or(length);
                break;
            }
            if is_shorter {
                self.append_zeros(rest)?;
                break;
            }
            let full = length == room.len();
            self.filled += length;
            rest -= length as u64;
            if rest == 0 && !full {
                break;
            }
        }
        let padding = (BLOCK - size % BLOCK) % BLOCK;
        self.append(&[0; BLOCK as usize][..padding as usize])
    }

    fn append_zeros(&mut self, mut count: u64) -> Result<(), Error> {
        const ZEROS: [u8; 4096] = [0; 4096];
        while count > 0 {
            let length = ZEROS.len().min(usize::try_from(count).unwrap_or(ZEROS.len()));
            self.append(&ZEROS[..length])?;
            count -= length as u64;
        }
        Ok(())
    }

    /// Makes room for at least one byte, and for as many as wanted as long as that takes no more than a chunk.
    fn make_room(&mut self, wanted: usize) -> Result<(), Error> {
        let needed = self.filled.saturating_add(wanted).min(CHUNK);
        if needed > self.buffer.len() {
            self.buffer.resize(needed.next_power_of_two(), 0);
        }
        if self.filled == self.buffer.len() { self.write() } else { Ok(()) }
    }

    /// Ends the archive with two empty blocks and writes what is left.
    pub(super) fn finish(mut self) -> Result<(), Error> {
        self.append(&[0; 2 * BLOCK as usize])?;
        self.write()
    }

    fn write(&mut self) -> Result<(), Error> {
        self.out
            .write_all(&self.buffer[..self.filled])
            .map_err(|source| Error::WriteArchive { source })?;
        self.filled = 0;
        Ok(())
    }
}
