//! What goes by, named and counted: a digest and a size without keeping the bytes.

use std::io::{self, Write};

use crate::{Digest, Hasher};

/// Takes the digest and the size of what is written through it.
#[derive(Debug)]
pub struct Measured<W> {
    out: W,
    hasher: Hasher,
    size: u64,
}

impl<W: Write> Measured<W> {
    /// Begins with nothing.
    pub fn new(out: W) -> Self {
        Self { out, hasher: Hasher::sha256(), size: 0 }
    }

    /// How many bytes were written.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Returns the digest of all that was written, and what it was written into.
    pub fn finish(self) -> (Digest, W) {
        (self.hasher.finish(), self.out)
    }
}

impl<W: Write> Write for Measured<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes a few bytes at a time.
    struct Narrow(Vec<u8>);

    impl Write for Narrow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let count = bytes.len().min(3);
            self.0.extend_from_slice(&bytes[..count]);
            Ok(count)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_was_taken_counts() {
        let mut measured = Measured::new(Narrow(Vec::new()));
        measured.write_all(b"in several pieces").unwrap();
        assert_eq!(measured.size(), 17);
        let (digest, out) = measured.finish();
        assert_eq!(
            (digest, out.0.as_slice()),
            (Digest::of(b"in several pieces"), &b"in several pieces"[..])
        );
    }
}
