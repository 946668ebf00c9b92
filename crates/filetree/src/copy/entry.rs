//! One entry that is no directory: made anew in the place of what was there, with the source's content and looks.

use std::{
    ffi::OsStr,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
};

use rustix::{
    fs::{AtFlags, FileType, Mode, OFlags},
    io::Errno,
};

use crate::{
    Error, Timestamp,
    copy::{
        Laying, Style,
        data::Mover,
        later::{LARGE, Later},
    },
    deed,
    digest::contents::open_file,
    owner::{self, Owner},
    root::{is_dir, stat_at},
    tree::{Kind, Meta, Owners},
    xattr::{Carrier, Xattr},
};

/// What is copied.
#[derive(Debug, Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) dir: &'a OwnedFd,
    pub(super) name: &'a OsStr,
    /// For messages: absolute inside the tree.
    pub(super) path: &'a Path,
    pub(super) meta: &'a Meta,
    /// A link's target.
    pub(super) target: Option<&'a OsStr>,
}

/// Where it goes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Target<'a> {
    pub(super) dir: BorrowedFd<'a>,
    pub(super) name: &'a OsStr,
    /// For messages: absolute inside the root.
    pub(super) path: &'a Path,
}

/// Copies one entry of any kind but a directory.
pub(super) fn copy(
    source: Source<'_>,
    target: Target<'_>,
    style: Style<'_>,
    laying: Laying<'_>,
) -> Result<(), Error> {
    match source.meta.kind {
        Kind::File => copy_file(source, target, style, laying),
        Kind::Link => copy_link(source, target, style, laying),
        Kind::Fifo => make_node(source, target, style, laying, FileType::Fifo),
        // The transfer of a context knows no sockets; BuildKit makes an empty file of each.
        Kind::Socket if style.owners == Owners::Root => {
            let (owner, mode) = (style.owner(source.meta), style.mode(source.meta));
            write(target, b"", owner, mode, Some(style.time(source.meta)), laying.later)
        }
        Kind::Socket => make_node(source, target, style, laying, FileType::Socket),
        Kind::CharDevice => make_node(source, target, style, laying, FileType::CharacterDevice),
        Kind::BlockDevice => make_node(source, target, style, laying, FileType::BlockDevice),
        Kind::Dir => Err(Error::Changed { path: source.path.to_owned() }),
    }
}

/// Writes a new file.
pub(super) fn write(
    target: Target<'_>,
    content: &[u8],
    owner: Owner,
    mode: u32,
    mtime: Option<Timestamp>,
    later: &Later,
) -> Result<(), Error> {
    let fd = create_file(target, later)?;
    Mover::write_all(&fd, content).map_err(Error::io("write", target.path))?;
    dress(fd.as_fd(), target.path, owner, mode, &[], mtime)
}

/// Makes `name` anew: whatever is there gives way, but a directory.
pub(super) fn replacing<T>(
    target: Target<'_>,
    later: &Later,
    action: &'static str,
    make: impl Fn() -> Result<T, Errno>,
) -> Result<T, Error> {
    match make() {
        Err(Errno::EXIST) => {}
        made => return made.map_err(Error::io(action, target.path)),
    }
    let stat = stat_at(target.dir, target.name).map_err(Error::io("stat", target.path))?;
    if stat.is_some_and(|stat| is_dir(&stat)) {
        return Err(Error::ReplaceDirectory { path: target.path.to_owned() });
    }
    later.forget(target.path);
    match rustix::fs::unlinkat(target.dir, target.name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(errno) => return Err(Error::io("replace", target.path)(errno)),
    }
    make().map_err(Error::io(action, target.path))
}

/// Gives an open file or directory its owner, attributes, mode and time, with as few calls as its state needs.
pub(super) fn dress(
    fd: BorrowedFd<'_>,
    path: &Path,
    owner: Owner,
    mode: u32,
    xattrs: &[Xattr],
    mtime: Option<Timestamp>,
) -> Result<(), Error> {
    let now = deed::fstat(fd).map_err(Error::io("stat", path))?;
    // The owner first: a change of it clears set-id bits and capabilities.
    let chowned = owner::change(fd, &now, owner).map_err(Error::io("change the owner of", path))?;
    for (name, value) in xattrs {
        // A file system may not know an attribute, or a builder without privileges may not set it. Neither fails a COPY:
        // BuildKit only logs it, and nobody but the attribute's reader would miss it.
        let _ = Carrier::Open(fd).set(name, value);
    }
    if chowned || !xattrs.is_empty() || now.st_mode & 0o7777 != mode {
        deed::chmod(fd, mode).map_err(Error::io("change the mode of", path))?;
    }
    if let Some(mtime) = mtime {
        rustix::fs::futimens(fd, &mtime.to_timestamps())
            .map_err(Error::io("set the times of", path))?;
    }
    Ok(())
}

fn copy_file(
    source: Source<'_>,
    target: Target<'_>,
    style: Style<'_>,
    laying: Laying<'_>,
) -> Result<(), Error> {
    let from = open_file(source.dir, source.name).map_err(Error::io("open", source.path))?;
    let to = create_file(target, laying.later)?;
    let carrier = Carrier::Open(from.as_fd());
    let xattrs = laying
        .tree
        .attributes(carrier)
        .map_err(Error::io("read the attributes of", source.path))?;
    let (owner, mode) = (style.owner(source.meta), style.mode(source.meta));
    let (size, mtime) = (source.meta.size, style.time(source.meta));
    // Writing takes capabilities and set-id bits away.
    if size >= LARGE && xattrs.is_empty() && mode & 0o6000 == 0 {
        laying.later.fill(target.path, laying.tree, source.path, source.meta, mtime);
        return dress(to.as_fd(), target.path, owner, mode, &[], None);
    }
    let copied =
        laying.mover.copy(&from, &to, size, &|_| ()).map_err(Error::io("copy", target.path))?;
    let now = rustix::fs::fstat(&from).map_err(Error::io("stat", source.path))?;
    // The key was made from the file as it was then; other bytes under it would be served for ever.
    if copied != size || !source.meta.is_unchanged(&Meta::new(&now)) {
        return Err(Error::Changed { path: source.path.to_owned() });
    }
    dress(to.as_fd(), target.path, owner, mode, &xattrs, Some(mtime))
}

fn create_file(target: Target<'_>, later: &Later) -> Result<OwnedFd, Error> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    // Most files are 0644, so that most need no change of mode.
    replacing(target, later, "create", || {
        crate::interrupted::openat(target.dir, target.name, flags, Mode::from_raw_mode(0o644))
    })
}

fn copy_link(
    source: Source<'_>,
    target: Target<'_>,
    style: Style<'_>,
    laying: Laying<'_>,
) -> Result<(), Error> {
    let to = source.target.unwrap_or_default();
    replacing(target, laying.later, "create the link", || {
        rustix::fs::symlinkat(to, target.dir, target.name)
    })?;
    dress_node(source, target, style, FileType::Symlink)
}

fn make_node(
    source: Source<'_>,
    target: Target<'_>,
    style: Style<'_>,
    laying: Laying<'_>,
    kind: FileType,
) -> Result<(), Error> {
    let permissions = Mode::from_raw_mode(0o600);
    let rdev = source.meta.rdev;
    let device = (rustix::fs::major(rdev), rustix::fs::minor(rdev));
    let made = replacing(target, laying.later, "create", || {
        deed::mknodat(target.dir, target.name, kind, permissions, device)
    });
    match made {
        Err(Error::Io { source: refused, path, .. })
            if refused.kind() == std::io::ErrorKind::PermissionDenied =>
        {
            return Err(Error::Device { path, source: refused });
        }
        made => made?,
    }
    // It was made a moment ago and is no link; the kernel has no call that would make sure of it.
    let mode = style.mode(source.meta);
    deed::chmod_at(target.dir, target.name, kind, mode)
        .map_err(Error::io("change the mode of", target.path))?;
    dress_node(source, target, style, kind)?;
    if mode & 0o6000 != 0 {
        // The change of owner has cleared the set-id bits.
        deed::chmod_at(target.dir, target.name, kind, mode)
            .map_err(Error::io("change the mode of", target.path))?;
    }
    Ok(())
}

/// Gives what must not be opened its owner and time.
fn dress_node(
    source: Source<'_>,
    target: Target<'_>,
    style: Style<'_>,
    kind: FileType,
) -> Result<(), Error> {
    owner::change_at(target.dir, target.name, kind, style.owner(source.meta))
        .map_err(Error::io("change the owner of", target.path))?;
    let times = style.time(source.meta).to_timestamps();
    rustix::fs::utimensat(target.dir, target.name, &times, AtFlags::SYMLINK_NOFOLLOW)
        .map_err(Error::io("set the times of", target.path))
}
