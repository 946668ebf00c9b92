//! Reading tar: headers of every format, extended headers, maps of holes. What is done with the entries is in `layer`.

use std::io::{Cursor, Read};

const BLOCK: usize = 512;

/// Tries one input; its first byte says whether checksums are mended, so that what is in damaged headers is looked at.
pub(crate) fn check(data: &[u8]) {
    let Some((how, bytes)) = data.split_first() else { return };
    let bytes = if how & 1 == 0 { bytes.to_vec() } else { mended(bytes) };
    let newest = filetree::newest(&bytes[..]);
    // However the bytes arrive, they say the same.
    let step = usize::from(how >> 1) + 1;
    assert_eq!(filetree::newest(Drip { bytes: &bytes, step }), newest);
    let is_archive = filetree::is_archive(&mut Cursor::new(&bytes));
    assert!(is_archive.is_ok(), "{is_archive:?}");
    // What has a file is an archive.
    assert!(newest.is_none() || is_archive.is_ok_and(|is| is));
}

/// A reader that returns a few bytes at a time.
pub(crate) struct Drip<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) step: usize,
}

impl Read for Drip<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let length = buffer.len().min(self.step);
        self.bytes.read(&mut buffer[..length])
    }
}

/// Makes the checksum of everything that looks like a header right.
pub(crate) fn mended(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for block in bytes.chunks_exact_mut(BLOCK).filter(|block| block[257..262] == *b"ustar") {
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }
    bytes
}
