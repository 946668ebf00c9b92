//! Files with holes: which parts of the file the archive stores, in the notations of GNU tar.

use tar::{GnuExtSparseHeader, GnuHeader, GnuSparseHeader};

use crate::Fault;

use super::number;

/// A part of a file that the archive stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Chunk {
    pub(super) offset: u64,
    pub(super) length: u64,
}

/// Checks that the parts follow each other inside the file and are all that is stored.
pub(super) fn check(chunks: &[Chunk], real_size: u64, stored: u64) -> Result<(), Fault> {
    let mut end = 0u64;
    let mut sum = 0u64;
    for chunk in chunks {
        if chunk.offset < end {
            return Err(Fault::Sparse);
        }
        end = chunk.offset.checked_add(chunk.length).ok_or(Fault::Sparse)?;
        sum += chunk.length;
    }
    if end > real_size || sum != stored {
        return Err(Fault::Sparse);
    }
    Ok(())
}

/// Appends the parts in the header itself (type `S`); returns whether more headers follow.
pub(super) fn old_gnu(header: &GnuHeader, chunks: &mut Vec<Chunk>) -> Result<bool, Fault> {
    append(&header.sparse, chunks)?;
    Ok(header.isextended[0] != 0)
}

/// Appends the parts in a header that only lists them; returns whether more follow.
pub(super) fn old_gnu_more(block: &[u8; 512], chunks: &mut Vec<Chunk>) -> Result<bool, Fault> {
    let mut header = GnuExtSparseHeader::new();
    header.as_mut_bytes().copy_from_slice(block);
    append(header.sparse(), chunks)?;
    Ok(header.is_extended())
}

fn append(headers: &[GnuSparseHeader], chunks: &mut Vec<Chunk>) -> Result<(), Fault> {
    for header in headers {
        // The list ends with the first empty field.
        if header.offset[0] == 0 || header.numbytes[0] == 0 {
            break;
        }
        let count = |bytes| {
            number::field(bytes).and_then(|number| u64::try_from(number).ok()).ok_or(Fault::Sparse)
        };
        chunks.push(Chunk { offset: count(&header.offset)?, length: count(&header.numbytes)? });
    }
    Ok(())
}

/// The map in front of the contents (version 1.0), fed line by line: the number of parts, then offset and length of each.
#[derive(Debug, Default)]
pub(super) struct MapInData {
    line: Vec<u8>,
    left: Option<u64>,
    offset: Option<u64>,
    pub(super) chunks: Vec<Chunk>,
}

impl MapInData {
    /// Takes a block of the map; returns whether it was the last one.
    pub(super) fn feed(&mut self, block: &[u8; 512]) -> Result<bool, Fault> {
        for byte in block {
            if *byte != b'\n' {
                self.line.push(*byte);
                continue;
            }
            let number = number::count(&self.line).ok_or(Fault::Sparse)?;
            self.line.clear();
            let Some(left) = self.left else {
                self.left = Some(number);
                if number == 0 {
                    return Ok(true);
                }
                continue;
            };
            let Some(offset) = self.offset.take() else {
                self.offset = Some(number);
                continue;
            };
            self.chunks.push(Chunk { offset, length: number });
            self.left = Some(left - 1);
            if left == 1 {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
