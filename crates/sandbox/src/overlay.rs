//! A root file system from layers, and pieces of the host's, as mounts that are attached nowhere.
//!
//! Such a mount is a descriptor: nobody else sees it, nothing has to be unmounted, and it is gone
//! with the process however that ends. Where a mount is put is in `rootfs`.

pub(crate) mod fuse;

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::io::Read;
use std::os::fd::AsFd;
use std::os::fd::AsRawFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::path::PathBuf;

use rustix::fs::CWD;
use rustix::fs::Mode;
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::mount::FsMountFlags;
use rustix::mount::FsOpenFlags;
use rustix::mount::MountAttrFlags;
use rustix::mount::MountFlags;
use rustix::mount::MountPropagationFlags;
use rustix::mount::OpenTreeFlags;
use rustix::thread::UnshareFlags;

use crate::Error;
use crate::Rung;
use crate::release;
use crate::sys;
use crate::sys::Depth;

/// Options that every overlay with an upper directory has. They keep the upper directory a plain
/// tree: no renamed directories, no files without data, no index, whatever this kernel's defaults are.
const OPTIONS: &[(&str, Option<&str>)] = &[
    ("index", Some("off")),
    ("metacopy", Some("off")),
    ("redirect_dir", Some("nofollow")),
    ("xino", Some("off")),
];

/// The longest value of an option: `fsconfig(2)` takes 256 bytes with the one at the end.
const LONGEST: usize = 255;

/// How many layers can be mounted below an upper directory: the kernel's `OVL_MAX_STACK`.
pub const MOST_LAYERS: usize = 500;

/// What becomes of the syncs of programs that write to an overlay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Syncs {
    /// They do nothing (`volatile`): for a layer, which is written for good when it is sealed, the
    /// many syncs of package managers need not reach the disk.
    Ignored,
    /// They reach the disk: for what is written to for long.
    Honoured,
}

/// Layers mounted as one file system, attached nowhere; unmounted when the last descriptor of it is
/// closed. On [`Rung::FuseOverlay`] a program serves it until then; what it has not done if it is killed before shows as errors
/// to whoever uses the mount, and by [`Overlay::ensure_served`].
///
/// [`crate::spawn`] moves it into the sandbox, so it serves as a root or as a mount once; the tree
/// can still be read through [`Overlay::fd`] afterwards. With an upper directory and ignored syncs the
/// kernel leaves `work/incompat/volatile` behind, and refuses the pair of directories a second time;
/// with an emptied `work`, it does not.
#[derive(Debug)]
pub struct Overlay {
    mount: OwnedFd,
}

impl Overlay {
    /// Mounts `lowers`, the first being the top-most, below `upper`.
    ///
    /// Without `upper` the result is read-only; without `lowers` it is `upper` itself. `work` is an
    /// empty directory on the file system of `upper`, and needed only with both. Fails with
    /// [`Error::Overlay`]; nothing is left behind then but what the kernel made below `work`.
    pub fn mount(
        rung: Rung,
        lowers: &[PathBuf],
        upper: Option<&Path>,
        work: Option<&Path>,
    ) -> Result<Overlay, Error> {
        Self::mount_with(rung, lowers, upper, work, Syncs::Ignored)
    }

    /// [`Overlay::mount`], saying what becomes of syncs.
    pub fn mount_with(
        rung: Rung,
        lowers: &[PathBuf],
        upper: Option<&Path>,
        work: Option<&Path>,
        syncs: Syncs,
    ) -> Result<Overlay, Error> {
        if lowers.len() > MOST_LAYERS {
            return Err(Error::TooManyLayers { layers: lowers.len(), most: MOST_LAYERS });
        }
        let none = MountAttrFlags::empty();
        let mount = match (lowers, upper, work) {
            ([], Some(upper), _) => detach_with(upper, Depth::One, none)?,
            ([only], None, _) => detach_with(only, Depth::One, MountAttrFlags::MOUNT_ATTR_RDONLY)?,
            (_, Some(upper), Some(work)) => {
                Layers { rung, lowers, upper: Some((upper, work)), syncs }.mount()?
            }
            ([_, _, ..], None, _) => Layers { rung, lowers, upper: None, syncs }.mount()?,
            ([], None, _) => return invalid("layers", "are none at all"),
            ([_, ..], Some(_), None) => return invalid("work directory", "is missing"),
        };
        Ok(Overlay { mount })
    }

    /// Returns an error if nobody serves the mount any more, so that what was done in it need not be all of what was to be done.
    pub fn ensure_served(&self) -> Result<(), Error> {
        // The mount's own descriptor is one that only leads to it.
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::openat(&self.mount, ".", flags, Mode::empty())
            .and_then(rustix::fs::syncfs)
            .map_err(Error::setup("use what `fuse-overlayfs` serves: it has ended before the step"))
    }

    /// The root of the mount.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.mount.as_fd()
    }

    /// A path by which this process finds the root of the mount as long as it is there: to be a layer of another one. Kernels
    /// before 6.15 have no such layer.
    pub fn path(&self) -> PathBuf {
        link(&self.mount).into()
    }

    /// One more descriptor of the root of the mount.
    pub fn try_clone_fd(&self) -> Result<OwnedFd, Error> {
        self.mount.try_clone().map_err(Error::setup("duplicate a descriptor"))
    }
}

/// Returns a mount of a directory or file of the host, with all mounts below it, attached nowhere.
///
/// Changes go to the host's file; symbolic links in `path` are followed.
pub fn detach(path: &Path) -> Result<OwnedFd, Error> {
    detach_with(path, Depth::Recursive, MountAttrFlags::empty())
}

/// [`detach`], with mount attributes.
pub(crate) fn detach_with(
    path: &Path,
    depth: Depth,
    attributes: MountAttrFlags,
) -> Result<OwnedFd, Error> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    if depth == Depth::Recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    let failed = |source: io::Error| Error::HostFile { path: path.to_owned(), source };
    let mount = rustix::mount::open_tree(CWD, path, flags).map_err(|errno| failed(errno.into()))?;
    sys::mount_setattr(&mount, depth, attributes).map_err(failed)?;
    Ok(mount)
}

/// What an overlay is made of.
struct Layers<'a> {
    rung: Rung,
    lowers: &'a [PathBuf],
    upper: Option<(&'a Path, &'a Path)>,
    syncs: Syncs,
}

/// The directories of an overlay, open, so that their paths may be of any length and hold any
/// character: the kernel is told `/proc/self/fd/N`.
struct Opened {
    lowers: Vec<OwnedFd>,
    upper: Option<(OwnedFd, OwnedFd)>,
}

/// What the kernel is told that the directories of an overlay are.
struct Told {
    lowers: Vec<String>,
    upper: Option<(String, String)>,
}

impl Opened {
    fn told(&self) -> Told {
        let upper = self.upper.as_ref();
        Told {
            lowers: self.lowers.iter().map(link).collect(),
            upper: upper.map(|(upper, work)| (link(upper), link(work))),
        }
    }
}

impl Layers<'_> {
    /// The options besides the directories, with an upper one.
    fn options(&self) -> impl Iterator<Item = (&'static str, Option<&'static str>)> {
        let volatile = (self.syncs == Syncs::Ignored).then_some(("volatile", None));
        volatile.into_iter().chain(OPTIONS.iter().copied())
    }

    fn mount(&self) -> Result<OwnedFd, Error> {
        if self.rung == Rung::FuseOverlay {
            return fuse::mount(self);
        }
        if !release::is_at_least(6, 5) {
            return self.mount_by_string();
        }
        // By their names first: to open and close each of hundreds of layers takes as long as the rest of it. Whatever is
        // wrong is found and told below.
        if let Some(named) = self.named()
            && let Ok(mount) = self.mount_one_by_one(&named)
        {
            return Ok(mount);
        }
        let opened = self.open()?;
        match self.mount_one_by_one(&opened.told()) {
            Err(failed) if failed.may_be_for_age() => {
                self.mount_by_string().map_err(|_| failed.of(self))
            }
            result => result.map_err(|failed| failed.of(self)),
        }
    }

    /// The directories by their names, if the kernel takes them as they are.
    fn named(&self) -> Option<Told> {
        let name = |path: &Path| {
            // The kernel takes a backslash for the sign that the next character stands for itself.
            let plain = |name: &&str| name.len() <= LONGEST && !name.contains('\\');
            let name = path.to_str().filter(plain)?;
            path.is_absolute().then(|| name.to_owned())
        };
        let upper = match self.upper {
            Some((upper, work)) => Some((name(upper)?, name(work)?)),
            None => None,
        };
        Some(Told {
            lowers: self.lowers.iter().map(|path| name(path)).collect::<Option<_>>()?,
            upper,
        })
    }

    fn open(&self) -> Result<Opened, Error> {
        let lowers = self.lowers.iter().map(|path| open_directory(path));
        let lowers = lowers.collect::<Result<_, _>>()?;
        let upper = match self.upper {
            Some((upper, work)) => Some((open_directory(upper)?, open_directory(work)?)),
            None => None,
        };
        Ok(Opened { lowers, upper })
    }

    /// Since Linux 6.5: layers are added one at a time, up to 500.
    fn mount_one_by_one(&self, told: &Told) -> Result<OwnedFd, Failed> {
        let context = rustix::mount::fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)
            .map_err(Failed::at("open the overlay file system"))?;
        let set = |key: &str, value: Option<&str>| match value {
            Some(value) => rustix::mount::fsconfig_set_string(context.as_fd(), key, value),
            None => rustix::mount::fsconfig_set_flag(context.as_fd(), key),
        };
        for lower in &told.lowers {
            set("lowerdir+", Some(lower)).map_err(Failed::at(ADD))?;
        }
        if let Some((upper, work)) = &told.upper {
            let with_log = |errno| Failed::at("set the upper directory")(errno).with_log(&context);
            set("upperdir", Some(upper)).map_err(with_log)?;
            set("workdir", Some(work)).map_err(with_log)?;
            // Else the kernel keeps an identity of the file system in an attribute of `upper`.
            match set("uuid", Some("null")) {
                Ok(()) | Err(Errno::INVAL) => {}
                Err(errno) => return Err(Failed::at("set an option")(errno)),
            }
            for (key, value) in self.options() {
                set(key, value)
                    .map_err(|errno| Failed::at("set an option")(errno).with_log(&context))?;
            }
        }
        if self.rung.is_in_user_namespace() {
            set("userxattr", None).map_err(Failed::at("set an option"))?;
        }
        rustix::mount::fsconfig_create(&context)
            .map_err(|errno| Failed::at(CREATE)(errno).with_log(&context))?;
        let (flags, attributes) = (FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty());
        rustix::mount::fsmount(&context, flags, attributes).map_err(Failed::at("mount it"))
    }

    /// Before Linux 6.5: all options in one page, and only by mount(2), which attaches the result.
    /// So a thread with a mount namespace of its own does that, and detaches it again.
    fn mount_by_string(&self) -> Result<OwnedFd, Error> {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| self.mount_by_string_here());
            let panicked = || Failed::at("run a thread")(Errno::IO).of(self);
            thread.join().unwrap_or_else(|_| Err(panicked()))
        })
    }

    fn mount_by_string_here(&self) -> Result<OwnedFd, Error> {
        let failed = |action| move |errno: Errno| Failed::at(action)(errno).of(self);
        sys::unshare(UnshareFlags::NEWNS).map_err(Error::setup("make a mount namespace"))?;
        let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
        rustix::mount::mount_change("/", private).map_err(failed("make mounts private"))?;

        // Opened here, as the layers must be on mounts of this namespace.
        let opened = self.open()?;
        let lowers: Vec<String> = opened.lowers.iter().map(link).collect();
        let mut options = format!("lowerdir={}", lowers.join(":"));
        if let Some((upper, work)) = &opened.upper {
            options.push_str(&format!(",upperdir={},workdir={}", link(upper), link(work)));
            for (key, value) in self.options() {
                let value = value.map(|value| format!("={value}")).unwrap_or_default();
                options.push_str(&format!(",{key}{value}"));
            }
        }
        if self.rung.is_in_user_namespace() {
            options.push_str(",userxattr");
        }
        let options = CString::new(options).map_err(Error::setup("write down the options"))?;
        // Any directory will do; this one is sure to exist.
        let place = "/proc";
        rustix::mount::mount("overlay", place, "overlay", MountFlags::empty(), options.as_c_str())
            .map_err(failed("mount it"))?;
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        rustix::mount::open_tree(CWD, place, flags).map_err(failed("detach it"))
    }
}

/// The step that old kernels do not know.
const ADD: &str = "add a lower layer";

/// The step in which they say so: what they do not know they keep until then.
const CREATE: &str = "create it";

/// What the kernel logs of a file system that nothing can be written to through an overlay.
const UNFIT: &str = "not supported as upperdir";

/// Why an overlay could not be mounted.
struct Failed {
    action: &'static str,
    source: io::Error,
    /// What the kernel says about it, as far as it says anything.
    log: Option<String>,
}

impl Failed {
    fn at(action: &'static str) -> impl FnOnce(Errno) -> Failed {
        move |errno| Failed { action, source: errno.into(), log: None }
    }

    /// Whether it may be because layers cannot be added one by one. A kernel that can says what is wrong.
    fn may_be_for_age(&self) -> bool {
        matches!(self.action, ADD | CREATE)
            && self.log.as_ref().is_none_or(String::is_empty)
            && self.source.raw_os_error() == Some(libc::EINVAL)
    }

    fn of(self, layers: &Layers<'_>) -> Error {
        let mut action = self.log.unwrap_or_else(|| self.action.to_owned());
        // Mostly since it is an overlay itself: the root of a container.
        if action.contains(UNFIT) {
            action.push_str(
                "; the store has to be on another file system, such as a volume of the container (`--root`)",
            );
        }
        Error::Overlay { layers: layers.lowers.len(), action, source: self.source }
    }

    /// Reads the messages that the kernel keeps for a mount in the making: `e overlay: No such…`.
    fn with_log(mut self, context: &OwnedFd) -> Self {
        let mut message = [0; 512];
        let file = context.try_clone().map(File::from);
        if let Ok(length) = file.and_then(|mut file| file.read(&mut message)) {
            let text = String::from_utf8_lossy(&message[..length]);
            self.log = Some(text.trim().trim_start_matches("e ").to_owned());
        }
        self
    }
}

fn invalid<T>(field: &'static str, problem: &'static str) -> Result<T, Error> {
    Err(Error::Invalid { field, problem })
}

fn open_directory(path: &Path) -> Result<OwnedFd, Error> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path.as_os_str().as_bytes(), flags, Mode::empty())
        .map_err(|errno| Error::HostFile { path: path.to_owned(), source: errno.into() })
}

/// A path to an open file.
fn link(descriptor: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", descriptor.as_raw_fd())
}

#[cfg(test)]
mod tests;
