//! This executable, in a form in which a sandbox cannot write to it.
//!
//! An image whose entry point is `#!/proc/self/exe` runs the file that the supervisor was started
//! from inside the sandbox, and may keep a descriptor of it through `/proc/self/exe`. If that were
//! the file on disk it could be overwritten as soon as nobody runs it (CVE-2019-5736).

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::OnceLock;

use rustix::fs::MemfdFlags;
use rustix::fs::SealFlags;
use rustix::mount::MountAttrFlags;

use crate::Error;
use crate::overlay::detach_with;
use crate::sys::Depth;

const EXE: &str = "/proc/self/exe";

/// A path to it, for this process and its children.
pub(crate) fn path() -> Result<String, Error> {
    static EXECUTABLE: OnceLock<OwnedFd> = OnceLock::new();
    let descriptor = match EXECUTABLE.get() {
        Some(descriptor) => descriptor,
        None => {
            let descriptor = match read_only_mount() {
                Some(mount) => mount,
                None => copy().map_err(Error::setup("copy this executable to memory"))?,
            };
            EXECUTABLE.get_or_init(|| descriptor)
        }
    };
    Ok(format!("/proc/self/fd/{}", descriptor.as_raw_fd()))
}

/// A read-only mount of the file, if it can be had, which takes no time.
///
/// After the change to another mount namespace the running file is one of the old one and cannot be
/// mounted; the one with its name is the same, or the copy is needed.
fn read_only_mount() -> Option<OwnedFd> {
    let read_only = MountAttrFlags::MOUNT_ATTR_RDONLY;
    let by_name = || {
        let name = std::fs::read_link(EXE).ok()?;
        detach_with(&name, Depth::One, read_only).ok()
    };
    let mount = detach_with(Path::new(EXE), Depth::One, read_only).ok().or_else(by_name)?;
    let (running, mounted) = (rustix::fs::stat(EXE).ok()?, rustix::fs::fstat(&mount).ok()?);
    let same = running.st_dev == mounted.st_dev && running.st_ino == mounted.st_ino;
    same.then_some(mount)
}

/// A sealed copy in memory: for a file that was replaced or deleted since it was started.
fn copy() -> io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let mut copy = match rustix::fs::memfd_create("kiln", flags | MemfdFlags::EXEC) {
        // Before Linux 6.3 every such file is executable.
        Err(rustix::io::Errno::INVAL) => rustix::fs::memfd_create("kiln", flags),
        result => result,
    }
    .map(File::from)?;
    io::copy(&mut File::open(EXE)?, &mut copy)?;
    let seals = SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
    rustix::fs::fcntl_add_seals(&copy, seals)?;
    Ok(copy.into())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn check(file: &OwnedFd) {
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        assert_eq!(std::fs::read(&path).unwrap(), std::fs::read(EXE).unwrap());
        let status = std::process::Command::new(&path).arg("--list").output().unwrap().status;
        assert!(status.success());
        let file = std::fs::OpenOptions::new().append(true).open(&path);
        let error = file.and_then(|mut file| file.write_all(b"x")).unwrap_err();
        let expected = [libc::ETXTBSY, libc::EROFS, libc::EPERM].map(Some);
        assert!(expected.contains(&error.raw_os_error()), "{error}");
    }

    #[test]
    fn a_copy_runs_and_cannot_be_changed() {
        let copy = copy().unwrap();
        check(&copy);
        assert_eq!(rustix::fs::ftruncate(&copy, 0), Err(rustix::io::Errno::PERM));
    }

    #[test]
    fn a_mount_runs_and_cannot_be_changed() {
        let Some(mount) = read_only_mount() else {
            eprintln!("skipped: no right to mount");
            return;
        };
        check(&mount);
        let path = format!("/proc/self/fd/{}", mount.as_raw_fd());
        let permissions = std::fs::metadata(&path).unwrap().permissions();
        let error = std::fs::set_permissions(&path, permissions).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EROFS));
    }
}
