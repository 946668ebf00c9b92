//! An overlay that `fuse-overlayfs` serves, a program of the host's: for where the kernel mounts none of its own for the root
//! of a user namespace.
//!
//! The mount is made here and attached nowhere, as all are; the program is handed the other end of it, the open `/dev/fuse`,
//! as its standard input (libfuse takes `/dev/fd/0` for the place to mount at since 3.3). So nothing has to be unmounted: when
//! the last descriptor of the mount is closed, however that comes, the kernel hangs up and the program ends.
//!
//! It reads and makes whiteouts as the kernel's overlay does. Opaque directories it marks by names and attributes of its own
//! besides; `filetree::adopt_marks` writes those of what stays as the kernel would.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::io::Read;
use std::io::Seek;
use std::os::fd::AsFd;
use std::os::fd::AsRawFd;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::process::Stdio;

use rustix::fs::Mode;
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::mount::FsMountFlags;
use rustix::mount::FsOpenFlags;
use rustix::mount::MountAttrFlags;

use super::Layers;
use super::Syncs;
use crate::Error;

/// The program, and the name of its package.
const PROGRAM: &str = "fuse-overlayfs";

/// What connects a mount with its program.
const DEVICE: &str = "/dev/fuse";

/// The stack of the thread that waits for the program's end and does nothing else.
const STACK: usize = 64 * 1024;

/// Finds out whether a mount can be served here, without one that is.
pub(crate) fn check() -> Result<(), Error> {
    if find().is_none() {
        return Err(lacking(
            "`fuse-overlayfs` is not installed",
            "install it (package `fuse-overlayfs`)",
        ));
    }
    let device = open_device().map_err(|errno| match errno {
        Errno::NOENT | Errno::NODEV | Errno::NXIO => lacking(
            "this machine has no /dev/fuse",
            "as root: modprobe fuse; for a container: --device /dev/fuse",
        ),
        errno => lacking(
            &format!("/dev/fuse cannot be opened ({errno})"),
            "as root: chmod 666 /dev/fuse; for a container: --device /dev/fuse",
        ),
    })?;
    connect(&device, MountAttrFlags::empty()).map(drop).map_err(|(action, errno)| {
        lacking(
            &format!("FUSE cannot be mounted here ({action}: {errno})"),
            "it needs Linux 5.12, and a seccomp filter and security modules that allow mounts",
        )
    })
}

/// Mounts the layers, and waits until they are served.
pub(super) fn mount(layers: &Layers<'_>) -> Result<OwnedFd, Error> {
    let failed = |action: &str, source: io::Error| Error::Overlay {
        layers: layers.lowers.len(),
        action: action.to_owned(),
        source,
    };
    let program = find().ok_or_else(|| failed("find `fuse-overlayfs`", Errno::NOENT.into()))?;
    let options = options(layers)
        .map_err(|errno| failed("tell `fuse-overlayfs` of a path with a colon", errno.into()))?;
    let device = open_device().map_err(|errno| failed("open `/dev/fuse`", errno.into()))?;
    let attributes = match layers.upper {
        Some(_) => MountAttrFlags::empty(),
        None => MountAttrFlags::MOUNT_ATTR_RDONLY,
    };
    let mount =
        connect(&device, attributes).map_err(|(action, errno)| failed(action, errno.into()))?;
    let log = serve(&program, options, device)
        .map_err(|source| failed("start `fuse-overlayfs`", source))?;
    // It waits for the first answer, or for the end of who should give it.
    match rustix::fs::openat(&mount, ".", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
        .and_then(|root| rustix::fs::statat(&root, ".", rustix::fs::AtFlags::empty()))
    {
        Ok(_) => Ok(mount),
        Err(errno) => {
            Err(failed(&format!("`fuse-overlayfs`: {}", what_it_said(log)), errno.into()))
        }
    }
}

/// A mount that is served by who reads from `device`.
fn connect(device: &OwnedFd, attributes: MountAttrFlags) -> Result<OwnedFd, (&'static str, Errno)> {
    let at = |action| move |errno| (action, errno);
    let context = rustix::mount::fsopen("fuse", FsOpenFlags::FSOPEN_CLOEXEC)
        .map_err(at("open the file system"))?;
    let number = device.as_raw_fd().to_string();
    for (key, value) in [
        ("source", PROGRAM),
        ("fd", &number),
        // Of a directory.
        ("rootmode", "40000"),
        ("user_id", "0"),
        ("group_id", "0"),
    ] {
        rustix::mount::fsconfig_set_string(context.as_fd(), key, value)
            .map_err(at("set an option"))?;
    }
    // Every user of the sandbox may come, and the kernel looks at the permissions.
    for key in ["allow_other", "default_permissions"] {
        rustix::mount::fsconfig_set_flag(context.as_fd(), key).map_err(at("set an option"))?;
    }
    rustix::mount::fsconfig_create(context.as_fd()).map_err(at("create it"))?;
    rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
        .map_err(at("mount it"))
}

/// Starts the program; returns what it writes to.
fn serve(program: &Path, options: OsString, device: OwnedFd) -> io::Result<File> {
    // A file, because nobody would read a pipe while all is well.
    let log = rustix::fs::memfd_create("fuse-overlayfs", rustix::fs::MemfdFlags::CLOEXEC)?;
    let mut child = Command::new(program)
        // As our child, that is: else its standard input would be closed.
        .arg("-f")
        .arg("-o")
        .arg(options)
        .arg("/dev/fd/0")
        .env_clear()
        .stdin(device)
        .stdout(Stdio::null())
        .stderr(log.try_clone()?)
        // A `^C` is for kiln, which closes the mount when all is done.
        .process_group(0)
        .spawn()?;
    // Nobody has to know when it has ended, but somebody has to wait for it.
    std::thread::Builder::new().stack_size(STACK).spawn(move || child.wait())?;
    Ok(File::from(log))
}

/// The value of `-o`: the directories, and how they are served.
fn options(layers: &Layers<'_>) -> Result<OsString, Errno> {
    let mut text = b"lowerdir=".to_vec();
    for (number, lower) in layers.lowers.iter().enumerate() {
        if number > 0 {
            text.push(b':');
        }
        push(&mut text, lower)?;
    }
    if let Some((upper, work)) = layers.upper {
        text.extend(b",upperdir=");
        push(&mut text, upper)?;
        text.extend(b",workdir=");
        push(&mut text, work)?;
        if layers.syncs == Syncs::Ignored {
            text.extend(b",fsync=0");
        }
    }
    Ok(OsString::from_vec(text))
}

/// A path among options, where a comma ends one and a backslash keeps it from that. There is nothing against a colon.
fn push(text: &mut Vec<u8>, path: &Path) -> Result<(), Errno> {
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b':' => return Err(Errno::INVAL),
            b',' | b'\\' => text.extend([b'\\', *byte]),
            byte => text.push(*byte),
        }
    }
    Ok(())
}

fn open_device() -> Result<OwnedFd, Errno> {
    rustix::fs::open(DEVICE, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
}

fn find() -> Option<PathBuf> {
    let path = std::env::var_os("PATH");
    let path = path.as_deref().unwrap_or("/usr/local/bin:/usr/bin:/bin".as_ref());
    std::env::split_paths(path).map(|directory| directory.join(PROGRAM)).find(|it| it.is_file())
}

/// What the program complained about.
fn what_it_said(mut log: File) -> String {
    let mut bytes = Vec::new();
    if let Err(error) = log.rewind().and_then(|()| log.read_to_end(&mut bytes)) {
        return error.to_string();
    }
    let text = String::from_utf8_lossy(&bytes);
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let lines: Vec<&str> = lines.filter(|line| !line.starts_with("unknown argument")).collect();
    if lines.is_empty() { "it ended without a word".to_owned() } else { lines.join("; ") }
}

fn lacking(what: &str, hint: &str) -> Error {
    Error::Lacking { what: what.to_owned(), hint: hint.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Rung;

    #[test]
    fn paths_among_options() {
        let lowers = ["/a,b".into(), "/c\\d".into()];
        let upper = Some((Path::new("/up"), Path::new("/work")));
        let layers =
            |lowers, upper, syncs| Layers { rung: Rung::FuseOverlay, lowers, upper, syncs };
        let text = options(&layers(&lowers, upper, Syncs::Ignored)).unwrap();
        assert_eq!(text, "lowerdir=/a\\,b:/c\\\\d,upperdir=/up,workdir=/work,fsync=0");
        assert_eq!(
            options(&layers(&lowers[..1], None, Syncs::Honoured)).unwrap(),
            "lowerdir=/a\\,b"
        );
        let lowers = ["/a:b".into()];
        assert_eq!(options(&layers(&lowers, None, Syncs::Honoured)), Err(Errno::INVAL));
    }
}
