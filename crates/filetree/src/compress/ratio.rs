//! Compressed streams that are much larger than they look: bombs. How many bytes there may be at all is for who reads them.

use std::{
    cell::Cell,
    io::{self, BufReader, Read},
    rc::Rc,
};

use crate::{Budget, Error, Limit, unpack::SMALL};

use super::decompress;

/// How much of the input is read at once.
const BUFFER: usize = 256 * 1024;

/// Returns the decompressed stream of `input` like [`decompress`]. It ends in an error where more than [`SMALL`] bytes have
/// come out, and more times as many as have gone in than the budget allows.
///
/// # Errors
/// Those of [`decompress`]. What the stream says itself becomes [`Error::Budget`] in everything that reads archives.
pub fn decompress_within<'a>(
    input: impl Read + 'a,
    budget: &Budget,
) -> Result<Box<dyn Read + 'a>, Error> {
    bounded(input, budget.ratio, SMALL)
}

fn bounded<'a>(input: impl Read + 'a, ratio: u64, small: u64) -> Result<Box<dyn Read + 'a>, Error> {
    let counted = Rc::new(Cell::new(0));
    let input = Counted { input, count: Rc::clone(&counted) };
    let plain = decompress(BufReader::with_capacity(BUFFER, input))?;
    Ok(Box::new(Bounded { plain, compressed: counted, size: 0, ratio, small }))
}

/// Counts what is read.
struct Counted<R> {
    input: R,
    count: Rc<Cell<u64>>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(buffer)?;
        self.count.set(self.count.get() + count as u64);
        Ok(count)
    }
}

/// Compares what comes out with what went in.
struct Bounded<R> {
    plain: R,
    compressed: Rc<Cell<u64>>,
    size: u64,
    ratio: u64,
    /// What may come out of anything.
    small: u64,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.plain.read(buffer)?;
        self.size += count as u64;
        if self.size > self.small && self.size > self.compressed.get().saturating_mul(self.ratio) {
            let (limit, allowed) = (Limit::Ratio, self.ratio);
            return Err(io::Error::other(Error::Budget { limit, allowed }));
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use flate2::{Compression, read::GzEncoder};

    use super::*;
    use crate::unpack::reader::Reader;

    /// The header of a file of so many zeros, and the zeros.
    fn file_of_zeros(size: u64) -> impl Read {
        let mut header = tar::Header::new_gnu();
        header.set_path("zeros").unwrap();
        header.set_size(size);
        header.set_mode(0o644);
        header.set_cksum();
        io::Cursor::new(header.as_bytes().to_vec()).chain(io::repeat(0).take(size + 1024))
    }

    #[test]
    fn what_is_much_larger_than_it_looks_is_refused() {
        const SMALL: u64 = 1 << 20;
        let compressed = |size| GzEncoder::new(file_of_zeros(size), Compression::fast());
        let read = |size, ratio| {
            let mut reader = Reader::new(bounded(compressed(size), ratio, SMALL).unwrap());
            while reader.next()?.is_some() {}
            Ok(())
        };
        // Small things may be anything.
        assert!(matches!(read(SMALL / 2, 1), Ok(())));
        // What is read ahead counts as well, so that nothing is refused too early.
        let refused: Result<(), Error> = read(64 * SMALL, 20);
        assert!(
            matches!(refused, Err(Error::Budget { limit: Limit::Ratio, allowed: 20 })),
            "{refused:?}"
        );
        assert!(matches!(read(64 * SMALL, 2000), Ok(())));
    }
}
