//! Reading an archive: one entry after another, with its extended headers applied, and its contents.
//!
//! Formats: v7, ustar, PAX, GNU (long names, base-256 numbers, sparse files), star. Where they leave room for different
//! readings it is read as Go's `archive/tar` does, because that is what checked the layers before: a PAX size counts and
//! not the header's (or entries could hide in it), links and directories have no contents, global headers say nothing.

use std::io::{BufRead, BufReader, Read};
use std::{ffi::OsString, os::unix::ffi::OsStringExt};

use tar::Header;

use crate::{Error, Fault, root::Timestamp, xattr::Xattr};

use super::{
    header::{checksum_matches, device_of, kind_of, name_of, owner, size_of, until_nul},
    number,
    pax::Records,
    sparse::{self, Chunk, MapInData},
};

/// How much is read at once; also how much of a file is written at once.
const BUFFER: usize = 256 * 1024;

/// The largest extended header, long name or map of holes: Go's own limit.
const MAX_EXTENDED: u64 = 1024 * 1024;

const BLOCK: usize = 512;

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    Directory,
    Symlink,
    HardLink,
    Char,
    Block,
    Fifo,
}

/// An entry, apart from its contents.
#[derive(Debug)]
pub(crate) struct Entry {
    /// As the archive has it; may be absolute or lead out.
    pub(crate) name: Vec<u8>,
    pub(crate) kind: Kind,
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) mtime: Timestamp,
    /// Bytes of a file with its holes; 0 for all else.
    pub(crate) size: u64,
    /// The target of a link.
    pub(crate) link: Vec<u8>,
    /// Major and minor number of a device.
    pub(crate) device: (u32, u32),
    pub(crate) xattrs: Vec<Xattr>,
    /// The parts that are stored, if not all is.
    chunks: Option<Vec<Chunk>>,
}

impl Entry {
    /// Returns the error that says what is wrong with this entry.
    pub(crate) fn fault(&self, fault: Fault) -> Error {
        fault_of(&self.name, fault)
    }

    /// Says whether the file has holes, so that its size has to be set.
    pub(crate) fn is_sparse(&self) -> bool {
        self.chunks.is_some()
    }
}

/// An archive that is being read.
pub(crate) struct Reader<R> {
    input: BufReader<R>,
    /// Stored bytes of the entry that have not been read yet.
    left: u64,
    /// Bytes between the end of the contents and the next header.
    padding: u64,
}

/// Names that apply to the next entry.
#[derive(Default)]
struct Extended {
    records: Records,
    long_name: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
}

impl<R: Read> Reader<R> {
    pub(crate) fn new(input: R) -> Self {
        Self { input: BufReader::with_capacity(BUFFER, input), left: 0, padding: 0 }
    }

    /// Goes to the next entry, past what is left of the last one; `None` at the end of the archive.
    pub(crate) fn next(&mut self) -> Result<Option<Entry>, Error> {
        let mut extended = Extended::default();
        loop {
            self.skip()?;
            let Some(block) = self.header()? else { return Ok(None) };
            let header = Header::from_byte_slice(&block);
            let name = name_of(header);
            let fault = |fault| fault_of(&name, fault);
            let flag = header.as_old().linkflag[0];
            if !matches!(flag, b'x' | b'g' | b'L' | b'K') {
                return self.entry(header, name, extended).map(Some);
            }
            let size = size_of(header).map_err(fault)?;
            let text = self.extended(size)?;
            match flag {
                b'x' => extended.records = Records::parse(&text).map_err(fault)?,
                b'L' => extended.long_name = Some(until_nul(&text).to_vec()),
                b'K' => extended.long_link = Some(until_nul(&text).to_vec()),
                _ => {}
            }
        }
    }

    /// Hands the contents of the current entry to `sink`, piece by piece with their places in the file.
    pub(crate) fn contents(
        &mut self,
        entry: &Entry,
        mut sink: impl FnMut(u64, &[u8]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let whole = [Chunk { offset: 0, length: entry.size }];
        for chunk in entry.chunks.as_deref().unwrap_or(&whole) {
            let mut offset = chunk.offset;
            let mut rest = chunk.length;
            while rest > 0 {
                let piece = fill(&mut self.input)?;
                if piece.is_empty() {
                    return Err(entry.fault(Fault::Truncated));
                }
                let length = piece.len().min(usize::try_from(rest).unwrap_or(usize::MAX));
                sink(offset, &piece[..length])?;
                self.input.consume(length);
                offset += length as u64;
                rest -= length as u64;
                self.left -= length as u64;
            }
        }
        Ok(())
    }

    /// Reads on to the end of the stream, so that its digest covers all of it; returns how much there was.
    pub(crate) fn drain(&mut self, limit: u64) -> Result<u64, Error> {
        let mut drained = 0;
        loop {
            let length = fill(&mut self.input)?.len();
            if length == 0 || drained > limit {
                return Ok(drained);
            }
            self.input.consume(length);
            drained += length as u64;
        }
    }

    fn entry(
        &mut self,
        header: &Header,
        header_name: Vec<u8>,
        extended: Extended,
    ) -> Result<Entry, Error> {
        let Extended { mut records, long_name, long_link } = extended;
        let name = long_name.or(records.path.take()).unwrap_or(header_name);
        let name = records.sparse.name.take().unwrap_or(name);
        let fault = |fault| fault_of(&name, fault);
        let old = header.as_old();
        let flag = old.linkflag[0];
        let kind = kind_of(flag, &name).map_err(fault)?;
        let stored = match (kind, records.size) {
            (Kind::File, Some(size)) => size,
            (Kind::File, None) => size_of(header).map_err(fault)?,
            _ => 0,
        };
        i64::try_from(stored).map_err(|_| fault(Fault::Field("size")))?;
        self.left = stored;
        self.padding = stored.next_multiple_of(BLOCK as u64) - stored;

        let (size, chunks) = match kind {
            Kind::File => {
                self.holes(header, flag, &mut records, stored).map_err(|error| match error {
                    Holes::Fault(error) => fault(error),
                    Holes::Error(error) => error,
                })?
            }
            _ => (stored, None),
        };
        let mtime = number::field(&old.mtime).ok_or_else(|| fault(Fault::Field("mtime")))?;
        let mode = number::field(&old.mode).ok_or_else(|| fault(Fault::Field("mode")))?;
        let link = long_link.or(records.link.take());
        Ok(Entry {
            kind,
            mode: (mode & 0o7777) as u32,
            uid: owner(records.uid, &old.uid, "uid").map_err(fault)?,
            gid: owner(records.gid, &old.gid, "gid").map_err(fault)?,
            mtime: records.mtime.unwrap_or_else(|| number::seconds(mtime)),
            size,
            link: link.unwrap_or_else(|| until_nul(&old.linkname).to_vec()),
            device: device_of(header, kind).map_err(fault)?,
            xattrs: records.xattrs,
            chunks,
            name,
        })
    }

    /// Returns the size of a file and where its stored parts belong, if it has holes.
    fn holes(
        &mut self,
        header: &Header,
        flag: u8,
        records: &mut Records,
        stored: u64,
    ) -> Result<(u64, Option<Vec<Chunk>>), Holes> {
        let mut real_size = records.sparse.real_size;
        let chunks = if let (b'S', Some(gnu)) = (flag, header.as_gnu()) {
            let size = number::field(&gnu.realsize).and_then(|size| u64::try_from(size).ok());
            real_size = Some(size.ok_or(Fault::Sparse)?);
            let mut chunks = Vec::new();
            let mut more = sparse::old_gnu(gnu, &mut chunks)?;
            while more {
                more = sparse::old_gnu_more(&self.block()?, &mut chunks)?;
                if chunks.len() as u64 * 24 > MAX_EXTENDED {
                    return Err(Fault::ExtendedSize(MAX_EXTENDED).into());
                }
            }
            chunks
        } else if records.sparse.map_in_data {
            self.map_in_data()?
        } else if let Some(chunks) = records.sparse.chunks.take() {
            chunks
        } else {
            return Ok((stored, None));
        };
        let real_size = real_size.ok_or(Fault::Sparse)?;
        sparse::check(&chunks, real_size, self.left)?;
        Ok((real_size, Some(chunks)))
    }

    fn map_in_data(&mut self) -> Result<Vec<Chunk>, Holes> {
        let mut map = MapInData::default();
        let mut length = 0;
        loop {
            if self.left < BLOCK as u64 {
                return Err(Fault::Sparse.into());
            }
            let last = map.feed(&self.block()?)?;
            self.left -= BLOCK as u64;
            length += BLOCK as u64;
            if last {
                return Ok(map.chunks);
            }
            if length >= MAX_EXTENDED {
                return Err(Fault::ExtendedSize(MAX_EXTENDED).into());
            }
        }
    }

    /// Reads a header that is one; `None` at the end, which two empty blocks or the end of the stream make.
    fn header(&mut self) -> Result<Option<[u8; BLOCK]>, Error> {
        let Some(block) = self.try_block()? else { return Ok(None) };
        if block == [0; BLOCK] {
            return match self.try_block()? {
                Some(second) if second != [0; BLOCK] => Err(fault_of(b"", Fault::Header)),
                _ => Ok(None),
            };
        }
        if !checksum_matches(&block) {
            return Err(fault_of(b"", Fault::Header));
        }
        Ok(Some(block))
    }

    fn block(&mut self) -> Result<[u8; BLOCK], Holes> {
        match self.try_block().map_err(Holes::Error)? {
            Some(block) => Ok(block),
            None => Err(Fault::Truncated.into()),
        }
    }

    fn try_block(&mut self) -> Result<Option<[u8; BLOCK]>, Error> {
        let mut block = [0; BLOCK];
        let mut filled = 0;
        while filled < BLOCK {
            let piece = fill(&mut self.input)?;
            let length = piece.len().min(BLOCK - filled);
            if length == 0 {
                return if filled == 0 { Ok(None) } else { Err(fault_of(b"", Fault::Truncated)) };
            }
            block[filled..filled + length].copy_from_slice(&piece[..length]);
            self.input.consume(length);
            filled += length;
        }
        Ok(Some(block))
    }

    /// Reads the contents of an extended header or a long name.
    fn extended(&mut self, size: u64) -> Result<Vec<u8>, Error> {
        if size > MAX_EXTENDED {
            return Err(fault_of(b"", Fault::ExtendedSize(MAX_EXTENDED)));
        }
        let mut text = Vec::new();
        (&mut self.input).take(size).read_to_end(&mut text).map_err(Error::read_archive)?;
        if (text.len() as u64) < size {
            return Err(fault_of(b"", Fault::Truncated));
        }
        self.padding = size.next_multiple_of(BLOCK as u64) - size;
        Ok(text)
    }

    fn skip(&mut self) -> Result<(), Error> {
        let mut rest = std::mem::take(&mut self.left) + std::mem::take(&mut self.padding);
        while rest > 0 {
            let length = fill(&mut self.input)?.len();
            if length == 0 {
                return Err(fault_of(b"", Fault::Truncated));
            }
            let length = length.min(usize::try_from(rest).unwrap_or(usize::MAX));
            self.input.consume(length);
            rest -= length as u64;
        }
        Ok(())
    }
}

/// Why the holes of a file cannot be told: the map is wrong, or the stream is.
enum Holes {
    Fault(Fault),
    Error(Error),
}

impl From<Fault> for Holes {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

fn fill<R: Read>(input: &mut BufReader<R>) -> Result<&[u8], Error> {
    loop {
        match input.fill_buf() {
            Ok(_) => break,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Error::read_archive(error)),
        }
    }
    // Asked again because the borrow of the first answer cannot leave the loop; nothing is read twice.
    Ok(input.buffer())
}

fn fault_of(name: &[u8], fault: Fault) -> Error {
    Error::Archive { entry: OsString::from_vec(name.to_vec()).into(), fault }
}
