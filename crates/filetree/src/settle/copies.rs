//! Files that overlay has copied up and nobody has changed: opened for writing, locked, given the mode that they had. Their
//! contents, attributes, owners and times are those below.

use std::{
    ffi::CStr,
    fs::File,
    io::{self, Read},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
};

use rustix::{
    fs::{AtFlags, FileType, Mode, OFlags, Stat, StatxFlags},
    io::Errno,
};

use crate::{
    Error, RootDir, deed,
    pack::walk::open_file,
    xattr::{Carrier, Xattr},
};

/// How much of two files is compared at once, in bytes.
const PIECE: usize = 64 * 1024;

/// Whether a file may be such a copy: a copy is older than itself. What is written anew is not, unless it is given the time of
/// something older, as by tar. Of a file with several names it is not known which of them are new.
pub(super) fn may_be_copy(dir: BorrowedFd<'_>, name: &CStr) -> Result<bool, Errno> {
    let wanted = StatxFlags::MTIME | StatxFlags::CTIME | StatxFlags::BTIME | StatxFlags::NLINK;
    let stat = rustix::fs::statx(dir, name, AtFlags::SYMLINK_NOFOLLOW, wanted)?;
    let at = |time: rustix::fs::StatxTimestamp| (time.tv_sec, time.tv_nsec);
    let made = match StatxFlags::from_bits_retain(stat.stx_mask).contains(StatxFlags::BTIME) {
        true => stat.stx_btime,
        // A file system that does not know when files were made.
        false => stat.stx_ctime,
    };
    Ok(stat.stx_nlink == 1 && at(stat.stx_mtime) < at(made))
}

/// Whether the file `name` of `dir` is in all that counts the one at `path` of `below`.
pub(super) fn is_copy(
    dir: BorrowedFd<'_>,
    name: &CStr,
    below: &RootDir,
    path: &Path,
) -> Result<bool, Error> {
    let Some(covered) = below.symlink_metadata(path).map_err(Error::io("look at", path))? else {
        return Ok(false);
    };
    let stat = deed::statat(dir, name).map_err(Error::io("look at", path))?;
    let is_file = |stat: &Stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
    let facts =
        |it: &Stat| (it.st_mode, it.st_uid, it.st_gid, it.st_size, it.st_mtime, it.st_mtime_nsec);
    if !is_file(&stat) || facts(&stat) != facts(&covered) {
        return Ok(false);
    }
    let above = open_file(dir, name).map_err(Error::io("open", path))?;
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let under = below.open_at(path, flags, Mode::empty()).map_err(Error::io("open", path))?;
    let same = attributes(&above, path)? == attributes(&under, path)?;
    Ok(same
        && same_contents(File::from(above), File::from(under)).map_err(Error::io("read", path))?)
}

fn attributes(file: &OwnedFd, path: &Path) -> Result<Vec<Xattr>, Error> {
    Carrier::Open(file.as_fd()).all_travelling().map_err(Error::io("read the attributes of", path))
}

fn same_contents(mut one: File, mut other: File) -> io::Result<bool> {
    let (mut left, mut right) = (vec![0; PIECE], vec![0; PIECE]);
    loop {
        let (read, wanted) = (fill(&mut one, &mut left)?, fill(&mut other, &mut right)?);
        if left[..read] != right[..wanted] {
            return Ok(false);
        }
        if read < PIECE {
            return Ok(true);
        }
    }
}

/// Reads until the buffer is full or the file ends.
fn fill(file: &mut File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
