//! The deeds of files ([`Deed`]), read and written through paths of this thread, whose working directory is `/proc`.

use std::os::fd::AsFd;
use std::os::fd::AsRawFd;

use oci::Deed;
use rustix::fs::FileType;
use rustix::fs::XattrFlags;
use rustix::fs::getxattr;
use rustix::fs::lgetxattr;
use rustix::fs::removexattr;
use rustix::fs::setxattr;
use rustix::io::Errno;

use super::process::Spot;

/// The longest value of a deed: five numbers of ten digits, and what is between them.
const LONGEST: usize = 64;

/// Reads the deed of what is at a spot, if it has one. If links are followed, not that of a FIFO or a socket.
pub(super) fn find(spot: &Spot) -> Result<Option<Deed>, Errno> {
    let read = |name: &str, value: &mut [u8]| match spot.follow {
        true => getxattr(&spot.path[..], name, value),
        false => lgetxattr(&spot.path[..], name, value),
    };
    let mut value = [0; LONGEST];
    match read(Deed::ATTRIBUTE, &mut value) {
        Ok(length) => return Ok(Deed::parse(&value[..length])),
        Err(Errno::NODATA | Errno::NOTSUP) if spot.follow => return Ok(None),
        Err(Errno::NODATA | Errno::NOTSUP) => {}
        Err(errno) => return Err(errno),
    }
    let length = read(Deed::CAPABILITY, &mut value);
    Ok(length.ok().and_then(|length| Deed::from_capability(&value[..length])))
}

/// Reads the deed of an open file, also one that is open as a place only.
pub(super) fn of(file: impl AsFd, kind: FileType) -> Deed {
    let path = link(&file);
    let mut value = [0; LONGEST];
    let read = getxattr(&path, attribute(kind), &mut value);
    let deed = read.ok().and_then(|length| match is_bare(kind) {
        true => Deed::from_capability(&value[..length]),
        false => Deed::parse(&value[..length]),
    });
    deed.unwrap_or_default()
}

/// Writes the deed of an open file. Files of a file system that keeps no attributes go without.
pub(super) fn write(file: impl AsFd, kind: FileType, deed: &Deed) -> Result<(), Errno> {
    let path = link(&file);
    let none = XattrFlags::empty();
    let written = match (deed.is_plain(), is_bare(kind)) {
        (true, _) => removexattr(&path, attribute(kind)),
        (false, true) => setxattr(&path, attribute(kind), &deed.to_capability(), none),
        (false, false) => setxattr(&path, attribute(kind), deed.to_text().as_bytes(), none),
    };
    match written {
        // Of devices and of what is no file in a file system, such as a pipe, nobody will ask.
        Err(Errno::NODATA | Errno::NOTSUP | Errno::PERM) => Ok(()),
        written => written,
    }
}

/// The link of `/proc` to an open file. It leads to the file itself, also if that is a link.
fn link(file: impl AsFd) -> String {
    format!("self/fd/{}", file.as_fd().as_raw_fd())
}

/// Whether it can have no attribute of users.
fn is_bare(kind: FileType) -> bool {
    matches!(kind, FileType::Symlink | FileType::Fifo | FileType::Socket)
}

fn attribute(kind: FileType) -> &'static str {
    if is_bare(kind) { Deed::CAPABILITY } else { Deed::ATTRIBUTE }
}
