//! Compression: what a stream is compressed with, told by its first bytes, and reading and writing it.

mod ahead;
mod blocks;
mod deflate;
mod gzip;
mod ratio;
mod zstd;

#[cfg(test)]
mod tests;

use std::io::{self, BufRead, Cursor, Read};

use crate::Error;

pub use ahead::decompress_ahead;
pub use blocks::{CompressWriter, gzip_writer, zstd_writer};
pub use ratio::decompress_within;

/// How many bytes tell every compression: the magic of xz is the longest.
const MAGIC: usize = 6;

/// How much memory an xz stream may ask for: the dictionary of `xz -9` is 64 MiB.
const XZ_MEMORY_KIB: u32 = 256 * 1024;

/// How a stream is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Not at all, or in a way that is not known.
    None,
    /// gzip (RFC 1952), one or several members.
    Gzip,
    /// Zstandard (RFC 8878), one or several frames.
    Zstd,
    /// bzip2.
    Bzip2,
    /// xz.
    Xz,
}

impl Compression {
    /// Returns what a stream is compressed with, by its first bytes; six are enough.
    pub fn detect(start: &[u8]) -> Self {
        match start {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstd,
            // A skippable frame, as some tools put in front.
            [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            [b'B', b'Z', b'h', ..] => Self::Bzip2,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Self::Xz,
            _ => Self::None,
        }
    }
}

/// Returns the decompressed stream of `input`, whatever it is compressed with; plain data as it is.
///
/// All members, frames and streams are read, checksums are verified, and anything behind the end is an error of the
/// returned reader (gzip, zstd). Compression within compression is not looked for.
///
/// # Errors
/// [`Error::ReadArchive`] when the first bytes cannot be read.
pub fn decompress<'a>(mut input: impl BufRead + 'a) -> Result<Box<dyn Read + 'a>, Error> {
    let mut start = Vec::with_capacity(MAGIC);
    (&mut input).take(MAGIC as u64).read_to_end(&mut start).map_err(Error::read_archive)?;
    let compression = Compression::detect(&start);
    let input = Cursor::new(start).chain(input);
    Ok(match compression {
        Compression::None => Box::new(input),
        Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(input)),
        Compression::Zstd => Box::new(zstd::Frames::new(input)),
        Compression::Bzip2 => Box::new(bzip2::bufread::MultiBzDecoder::new(input)),
        Compression::Xz => {
            Box::new(lzma_rust2::XzReader::new_mem_limit(input, true, XZ_MEMORY_KIB))
        }
    })
}

/// Returns the error of a stream whose compressed data are malformed.
fn malformed(error: impl std::error::Error + Send + Sync + 'static) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
