//! Devices of the host that were asked for, besides those that every program counts on.
//!
//! They are mounts of the host's nodes and stay what they are: their owners and modes say who may open them.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::path::PathBuf;

use rustix::fs::CWD;
use rustix::fs::FileType;
use rustix::io::Errno;
use rustix::mount::OpenTreeFlags;

use crate::Devices;
use crate::Error;
use crate::rootfs::attach;
use crate::rootfs::place_of_mount;
use crate::target::Kind;
use crate::target::Root;

/// Where the host has its devices.
const DEV: &str = "/dev";

/// What a sandbox has of its own in its `/dev`, whoever lends it devices.
const OWN: &[&str] = &[
    "console", "fd", "full", "mqueue", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin",
    "stdout", "tty", "urandom", "zero",
];

/// Lends what was asked for, at places inside the root.
pub(crate) fn lend_all(devices: &Devices, places: &mut Root<'_>) -> Result<(), Error> {
    if devices.all {
        lend_directory(Path::new(DEV), DEV, OWN, places)?;
    }
    for (host, target) in &devices.some {
        // What the name leads to: `/dev/disk/by-id/…` are links.
        let real = std::fs::canonicalize(host).map_err(failed(host))?;
        match real.is_dir() {
            true => lend_directory(&real, target, &[], places)?,
            false if lend(&real, target, places)? => {}
            false => return Err(failed(host)(io::ErrorKind::NotADirectory.into())),
        }
    }
    Ok(())
}

/// Lends all nodes of a directory and of those below it, but for some names.
fn lend_directory(
    host: &Path,
    target: &str,
    but: &[&str],
    places: &mut Root<'_>,
) -> Result<(), Error> {
    let mut ahead = vec![PathBuf::new()];
    while let Some(directory) = ahead.pop() {
        let here = host.join(&directory);
        let entries = match std::fs::read_dir(&here) {
            // Somebody's own in `/dev/shm`, or just gone: there is no device for us in it.
            Err(error) if directory != Path::new("") && is_not_ours(&error) => continue,
            entries => entries.map_err(failed(&here))?,
        };
        for entry in entries {
            let entry = entry.map_err(failed(&here))?;
            let name = directory.join(entry.file_name());
            let kind = entry.file_type().map_err(failed(&here))?;
            if but.iter().any(|but| name == Path::new(but)) {
                continue;
            }
            if kind.is_dir() {
                ahead.push(name);
            } else if !kind.is_symlink() && !kind.is_file() {
                // What is no device, a socket for one, is not lent.
                lend(&host.join(&name), &format!("{target}/{}", name.display()), places)?;
            }
        }
    }
    Ok(())
}

fn is_not_ours(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::NotFound)
}

/// Lends one node, if it is there and is one.
fn lend(host: &Path, target: &str, places: &mut Root<'_>) -> Result<bool, Error> {
    let Some(node) = open_node(host).map_err(|errno| failed(host)(errno.into()))? else {
        return Ok(false);
    };
    let place = place_of_mount(places, target, Kind::File, "a device")?;
    attach(node, &place.descriptor, "").map_err(|errno| failed(host)(errno.into()))?;
    Ok(true)
}

fn open_node(path: &Path) -> Result<Option<OwnedFd>, Errno> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_SYMLINK_NOFOLLOW;
    let node = match rustix::mount::open_tree(CWD, path, flags) {
        // Devices come and go.
        Err(Errno::NOENT) => return Ok(None),
        result => result?,
    };
    let kind = FileType::from_raw_mode(rustix::fs::fstat(&node)?.st_mode);
    let is_device = matches!(kind, FileType::CharacterDevice | FileType::BlockDevice);
    Ok(is_device.then_some(node))
}

fn failed(host: &Path) -> impl FnOnce(io::Error) -> Error {
    move |source| Error::Device { path: host.to_owned(), source }
}
