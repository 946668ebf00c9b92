//! The deeds of an ordinary user, who has no namespace: nothing can be given to anybody, and modes and rights bind this
//! process itself. So modes are written down, too, where they would keep it from its own files.
//!
//! | of | where | value |
//! |---|---|---|
//! | a regular file, a directory | [`Deed::ATTRIBUTE`] of it | as in a namespace with one id |
//! | the same, whose mode keeps its owner out, or is more than permissions | [`Deed::MODE`] of it | the mode, octal |
//! | a regular file with capabilities | [`Deed::CAPABILITIES`] of it | as `security.capability` |
//! | a link, a FIFO, a socket, which the kernel lets have no attribute | [`Deed::LINKS`]`UID:GID` of its directory | 8 bytes for each, the hash of its name |
//!
//! What has no deed belongs to root, whoever this user is. A name in a directory's list means nothing when a file is there.

use std::{
    os::fd::BorrowedFd,
    sync::{Mutex, PoisonError},
};

use oci::Deed;
use rustix::{
    fs::{AtFlags, FileType, Mode, Stat},
    io::Errno,
};

use super::{LONGEST, Place, set_device};
use crate::{
    owner::Owner,
    xattr::{Carrier, path_through},
};

/// How many bytes stand for a name.
const NAME: usize = 8;

/// The bits of a mode that are permissions.
const PERMISSIONS: u32 = 0o777;

/// Taken by who changes the list of a directory: it is read and written.
static LISTS: Mutex<()> = Mutex::new(());

/// Changes what the kernel says of a file into what its deeds say; `beside` finds whose it is if it is a link or the like.
pub(super) fn apply(
    stat: &mut Stat,
    read: impl Fn(&str, &mut [u8]) -> Result<usize, Errno>,
    beside: impl FnOnce() -> Result<Option<Owner>, Errno>,
) -> Result<(), Errno> {
    let kind = FileType::from_raw_mode(stat.st_mode);
    (stat.st_uid, stat.st_gid) = (0, 0);
    if Place::of(kind) == Place::Capability {
        (stat.st_uid, stat.st_gid) = beside()?.unwrap_or_default();
        return Ok(());
    }
    if let Some(mode) = value(&read, Deed::MODE)?.and_then(|value| parse_mode(&value)) {
        stat.st_mode = kind.as_raw_mode() | mode;
    }
    let deed = value(&read, Deed::ATTRIBUTE)?.and_then(|value| Deed::parse(&value));
    if let Some(Deed { uid, gid, device }) = deed {
        (stat.st_uid, stat.st_gid) = (uid, gid);
        set_device(stat, kind, device);
    }
    Ok(())
}

fn value(
    read: &impl Fn(&str, &mut [u8]) -> Result<usize, Errno>,
    name: &str,
) -> Result<Option<Vec<u8>>, Errno> {
    let mut value = [0; LONGEST];
    match read(name, &mut value) {
        Ok(length) => Ok(Some(value[..length].to_vec())),
        // `ACCESS`: a file of the context that this user may not read; it has no deeds.
        Err(Errno::NODATA | Errno::NOTSUP | Errno::RANGE | Errno::ACCESS | Errno::PERM) => Ok(None),
        Err(errno) => Err(errno),
    }
}

fn parse_mode(value: &[u8]) -> Option<u32> {
    let mode = u32::from_str_radix(std::str::from_utf8(value).ok()?, 8).ok()?;
    (mode <= 0o7777).then_some(mode)
}

/// Gives a file or a directory a mode: as much of it as leaves it open to this user, and the rest in its deed.
pub(super) fn set_mode(
    carrier: Carrier<'_>,
    is_dir: bool,
    mode: u32,
    change: impl FnOnce(Mode) -> Result<(), Errno>,
) -> Result<(), Errno> {
    let mode = mode & 0o7777;
    let open = (mode & PERMISSIONS) | if is_dir { 0o700 } else { 0o600 };
    change(Mode::from_raw_mode(open))?;
    let name = Deed::MODE.as_bytes();
    match open == mode {
        true => remove(carrier, name),
        false => carrier.set(name, format!("{mode:o}").as_bytes()),
    }
}

/// Who owns a link or the like, by the list of its directory.
pub(super) fn owner_beside(dir: BorrowedFd<'_>, name: &[u8]) -> Result<Option<Owner>, Errno> {
    let path = path_through(dir, b".");
    let (directory, entry) = (Carrier::Path(&path), entry_of(name));
    for (attribute, owner) in lists(directory)? {
        let value = directory.value(&attribute)?.unwrap_or_default();
        if value.chunks_exact(NAME).any(|it| it == entry) {
            return Ok(Some(owner));
        }
    }
    Ok(None)
}

/// Gives a link or the like to somebody.
///
/// # Errors
/// `EOVERFLOW` if there are more of them in the directory than its attributes have room for: with ext4 about 450, with other
/// file systems 8000.
pub(super) fn give_beside(dir: BorrowedFd<'_>, name: &[u8], owner: Owner) -> Result<(), Errno> {
    let path = path_through(dir, b".");
    let (directory, entry) = (Carrier::Path(&path), entry_of(name));
    let _one_at_a_time = LISTS.lock().unwrap_or_else(PoisonError::into_inner);
    let mut is_there = false;
    for (attribute, other) in lists(directory)? {
        let value = directory.value(&attribute)?.unwrap_or_default();
        let has = value.chunks_exact(NAME).any(|it| it == entry);
        if other == owner {
            is_there = has;
        } else if has {
            let rest: Vec<u8> =
                value.chunks_exact(NAME).filter(|it| *it != entry).flatten().copied().collect();
            match rest.is_empty() {
                true => remove(directory, &attribute)?,
                false => directory.set(&attribute, &rest)?,
            }
        }
    }
    // Root's needs no word.
    if is_there || owner == (0, 0) {
        return Ok(());
    }
    let attribute = format!("{}{}:{}", Deed::LINKS, owner.0, owner.1).into_bytes();
    let mut value = directory.value(&attribute)?.unwrap_or_default();
    value.extend(entry);
    match directory.set(&attribute, &value) {
        // Not the disk is full.
        Err(Errno::NOSPC | Errno::TOOBIG | Errno::RANGE) => Err(Errno::OVERFLOW),
        set => set,
    }
}

/// Gives a second name the owner of the first, where that is not the file's own.
pub(super) fn give_as(
    (from, name): (BorrowedFd<'_>, &[u8]),
    (dir, new): (BorrowedFd<'_>, &[u8]),
) -> Result<(), Errno> {
    let stat = rustix::fs::statat(dir, new, AtFlags::SYMLINK_NOFOLLOW)?;
    match Place::of(FileType::from_raw_mode(stat.st_mode)) {
        Place::Attribute => Ok(()),
        Place::Capability => give_beside(dir, new, owner_beside(from, name)?.unwrap_or_default()),
    }
}

/// The lists of a directory, with the owner that each is of.
fn lists(directory: Carrier<'_>) -> Result<Vec<(Vec<u8>, Owner)>, Errno> {
    let names = match directory.names() {
        // A directory of the context that this user may not read.
        Err(Errno::ACCESS | Errno::PERM) => Vec::new(),
        names => names?,
    };
    let owner = |name: &[u8]| {
        let owner = name.strip_prefix(Deed::LINKS.as_bytes())?;
        let deed = Deed::parse(owner).filter(|deed| deed.device.is_none())?;
        Some((name.to_vec(), (deed.uid, deed.gid)))
    };
    Ok(names.split(|byte| *byte == 0).filter_map(owner).collect())
}

fn entry_of(name: &[u8]) -> [u8; NAME] {
    let mut entry = [0; NAME];
    entry.copy_from_slice(&blake3::hash(name).as_bytes()[..NAME]);
    entry
}

fn remove(carrier: Carrier<'_>, name: &[u8]) -> Result<(), Errno> {
    match carrier.remove(name) {
        Err(Errno::NODATA | Errno::NOTSUP) => Ok(()),
        removed => removed,
    }
}

#[cfg(test)]
mod tests;
