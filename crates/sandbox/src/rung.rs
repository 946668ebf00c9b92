//! The isolation ladder: its rungs, and which of them this process can stand on. How an ordinary user gets to the second, a
//! user namespace in which one is root, is in `climb`; which one this process is in already, in `ids`; what each rung needs and
//! lacks here, for people, in `survey`; whether a store is fit for it, in `fit`.

mod climb;
mod fit;
mod idmap;
mod ids;
mod survey;

use std::fmt;
use std::fs;
use std::path::PathBuf;

use rustix::mount::FsOpenFlags;
use rustix::process::WaitOptions;
use rustix::process::waitpid;
use rustix::thread::CapabilitySet;

use self::idmap::Ids;
use crate::Error;
use crate::Overlay;
use crate::kernel_files;
use crate::landlock;
use crate::overlay::fuse;
use crate::sys;

pub(crate) use self::ids::has_one_id;
pub use self::survey::Finding;
pub use self::survey::survey;

/// What the fifth rung needs of root's rights: it gives files to their owners, changes its user and its root.
const NEEDED: &[(CapabilitySet, &str)] = &[
    (CapabilitySet::CHOWN, "CAP_CHOWN"),
    (CapabilitySet::DAC_OVERRIDE, "CAP_DAC_OVERRIDE"),
    (CapabilitySet::FOWNER, "CAP_FOWNER"),
    (CapabilitySet::SETGID, "CAP_SETGID"),
    (CapabilitySet::SETUID, "CAP_SETUID"),
    (CapabilitySet::SYS_CHROOT, "CAP_SYS_CHROOT"),
];

/// A rung of the isolation ladder, the strongest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rung {
    /// Root: namespaces and overlay.
    Root,
    /// Root of a user namespace with a range of ids: the same, but no device nodes can be made.
    UserNamespace,
    /// The same, with an overlay that `fuse-overlayfs` serves.
    FuseOverlay,
    /// Root of a user namespace with one id: the same, and owners and devices are written down beside files.
    OneId,
    /// Root without namespaces and mounts, as in an ordinary container: a changed root directory and Landlock, on a copy of
    /// the layers.
    Chroot,
    /// None of this: files can be copied, and nothing can be run.
    FilesOnly,
}

impl Rung {
    /// All of them, the strongest first.
    pub const ALL: [Self; 6] = [
        Self::Root,
        Self::UserNamespace,
        Self::FuseOverlay,
        Self::OneId,
        Self::Chroot,
        Self::FilesOnly,
    ];

    /// Its number on the ladder.
    pub fn number(self) -> u8 {
        match self {
            Self::Root => 1,
            Self::UserNamespace => 2,
            Self::FuseOverlay => 3,
            Self::OneId => 4,
            Self::Chroot => 5,
            Self::FilesOnly => 6,
        }
    }

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::UserNamespace => "userns",
            Self::FuseOverlay => "fuse",
            Self::OneId => "oneid",
            Self::Chroot => "chroot",
            Self::FilesOnly => "none",
        }
    }

    /// Reads its name or number.
    pub fn parse(text: &str) -> Option<Self> {
        let is_it = |rung: &Self| text == rung.name() || text == rung.number().to_string();
        Self::ALL.into_iter().find(is_it)
    }

    /// Whether root file systems are mounted on it, and processes have namespaces.
    pub fn mounts(self) -> bool {
        matches!(self, Self::Root | Self::UserNamespace | Self::FuseOverlay | Self::OneId)
    }

    /// Whether this process is root of a user namespace on it.
    pub fn is_in_user_namespace(self) -> bool {
        matches!(self, Self::UserNamespace | Self::FuseOverlay | Self::OneId)
    }

    /// Whether programs can be run on it.
    pub fn runs(self) -> bool {
        self != Self::FilesOnly
    }
}

impl fmt::Display for Rung {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Rung::Root => "root, with namespaces and overlay",
            Rung::UserNamespace => "user namespace with subordinate ids, with overlay",
            Rung::FuseOverlay => "user namespace with subordinate ids, with fuse-overlayfs",
            Rung::OneId => "user namespace with one id, with overlay; owners are written down",
            Rung::Chroot => {
                "no namespaces: changed root directory and Landlock, on a copy of the layers"
            }
            Rung::FilesOnly => {
                "no isolation: files can be copied, nothing can be run; an ordinary user's owners and modes are written down"
            }
        })
    }
}

/// Where this process stands, for good.
#[derive(Debug)]
pub struct Standing {
    /// The rung.
    pub rung: Rung,
    /// Why it is none above; nothing if it was asked for by name.
    pub missed: Vec<(Rung, Error)>,
}

/// Finds the highest rung that works here, or the one that is asked for, and climbs to it. To be called while the process
/// has one thread.
///
/// Each is tried by doing what it needs. For the second one to the fourth an ordinary user's process forks: the child, root of a new
/// user namespace and mount namespace, returns; the parent does not.
///
/// # Errors
/// [`Error::Isolation`] if the one that is asked for does not work; nothing has changed then. [`Error::OwnIds`] if it cannot
/// be told where this process stands already.
pub fn enter(wish: Option<Rung>) -> Result<Standing, Error> {
    let mut missed = Vec::new();
    for rung in Rung::ALL.into_iter().filter(|rung| wish.is_none_or(|wish| wish == *rung)) {
        match try_to_enter(rung) {
            Ok(()) => return Ok(Standing { rung, missed }),
            Err(error) if wish.is_some() => {
                return Err(Error::Isolation { rung, source: Box::new(error) });
            }
            // What is not known is no reason to take a lower one.
            Err(error @ Error::OwnIds { .. }) => return Err(error),
            Err(error) => missed.push((rung, error)),
        }
    }
    // The last one works everywhere.
    Ok(Standing { rung: Rung::FilesOnly, missed })
}

fn try_to_enter(rung: Rung) -> Result<(), Error> {
    match rung {
        Rung::Root => check_root(),
        Rung::UserNamespace => climb_if_needed(check_namespace),
        Rung::FuseOverlay => climb_if_needed(check_served),
        Rung::OneId if is_root_of_namespace()? && has_one_id()? => check_one_id(),
        Rung::OneId => climb::climb(Ids::One, check_one_id),
        Rung::Chroot => check_chroot(),
        // Files can always be copied.
        Rung::FilesOnly => Ok(()),
    }
}

fn climb_if_needed(check: fn() -> Result<(), Error>) -> Result<(), Error> {
    match is_root_of_namespace()? {
        true => check_ids().and_then(|()| check()),
        false => climb::climb(Ids::Ranges, check),
    }
}

fn check_namespace() -> Result<(), Error> {
    check_overlay().and_then(|()| check_covered_proc())
}

fn check_served() -> Result<(), Error> {
    fuse::check().and_then(|()| check_covered_proc())
}

fn check_one_id() -> Result<(), Error> {
    check_overlay().and_then(|()| check_proc())
}

fn check_root() -> Result<(), Error> {
    if !rustix::process::geteuid().is_root() {
        return Err(lacking("this is an ordinary user", "run as root"));
    }
    if !has_sys_admin()? {
        return Err(lacking(
            "this root has no CAP_SYS_ADMIN, as in an ordinary container",
            "start the container with --privileged",
        ));
    }
    if !ids::are_of_first_namespace()? {
        return Err(lacking("this is the root of a user namespace", "that is the rung `userns`"));
    }
    check_mounts()
}

/// Calls that need what all mounts need, and change nothing.
fn check_mounts() -> Result<(), Error> {
    // To let go of an overlay that was only begun takes the kernel as long as to unmount one: it waits for all processors.
    if knows_overlay() && may_mount() {
        return Ok(());
    }
    // A kernel that does not know it yet loads it now; one that refuses says why.
    let overlay = rustix::mount::fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC);
    match overlay {
        Ok(_) => Ok(()),
        Err(rustix::io::Errno::NODEV) => {
            Err(lacking("this kernel has no overlay file system", "as root: modprobe overlay"))
        }
        Err(errno) => Err(lacking(
            &format!("mounts are forbidden ({errno})"),
            "allow them in the seccomp filter or security module of this container, or start it with --privileged",
        )),
    }
}

/// Whether the kernel lists overlays among its file systems.
fn knows_overlay() -> bool {
    fs::read_to_string("/proc/filesystems").is_ok_and(|list| {
        list.lines().any(|line| line.split_whitespace().next_back() == Some("overlay"))
    })
}

/// Whether this process may mount, by a call with flags that do not exist: filters and the kernel look at the rights first.
fn may_mount() -> bool {
    let flags = FsOpenFlags::from_bits_retain(u32::MAX);
    matches!(rustix::mount::fsopen("overlay", flags), Err(rustix::io::Errno::INVAL))
}

/// Directories that are nearly everywhere, none in another. An overlay takes none with something mounted below it by somebody
/// whose mounts one may not change, as in the `/etc` of every container.
const EVERYWHERE: [[&str; 2]; 4] =
    [["/etc", "/usr"], ["/usr/bin", "/usr/lib"], ["/root", "/home"], ["/srv", "/opt"]];

/// Mounts an overlay of directories that are everywhere, to be read, and lets go of it: that it can be mounted at all says
/// nothing about the root of a user namespace, who may not before Linux 5.11.
fn check_overlay() -> Result<(), Error> {
    check_mounts()?;
    let mount = |lowers: [&str; 2]| {
        Overlay::mount(Rung::UserNamespace, &lowers.map(PathBuf::from), None, None).map(drop)
    };
    let [first, others @ ..] = EVERYWHERE;
    let mounted = mount(first);
    if mounted.is_err() && others.into_iter().any(|lowers| mount(lowers).is_ok()) {
        return Ok(());
    }
    mounted.map_err(|error| {
        let what = format!(
            "this kernel mounts no overlay for an ordinary user ({})",
            survey::chain(&error)
        );
        lacking(
            &what,
            "it needs Linux 5.11, and security modules that allow it; or install `fuse-overlayfs`",
        )
    })
}

/// The same for those who can mostly mount one: it is tried only where something is mounted below this one.
fn check_covered_proc() -> Result<(), Error> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    // The fifth word is where it is mounted.
    let place = |line: &str| line.split(' ').nth(4).map(str::to_owned);
    let is_covered = mounts.lines().filter_map(place).any(|place| {
        // This one covers nothing.
        place.starts_with("/proc/") && place != "/proc/sys/fs/binfmt_misc"
    });
    if is_covered { check_proc() } else { Ok(()) }
}

/// Mounts a `/proc` as a sandbox has it. In a container whose own one is covered in places nobody may.
fn check_proc() -> Result<(), Error> {
    let failed = "try a `/proc` of its own";
    let alone = sys::Alone::check().map_err(Error::setup(failed))?;
    let child = sys::fork_into(libc::CLONE_NEWPID, &alone).map_err(Error::setup(failed))?;
    let Some(child) = child else { sys::exit_now(i32::from(kernel_files::proc().is_err())) };
    let ended = rustix::io::retry_on_intr(|| waitpid(Some(child), WaitOptions::empty()))
        .map_err(Error::setup(failed))?;
    match ended.and_then(|(_, status)| status.exit_status()) {
        Some(0) => Ok(()),
        _ => Err(lacking(
            "no `/proc` can be mounted, as in a container whose own one is masked",
            "start the container with --security-opt systempaths=unconfined, or with --privileged",
        )),
    }
}

/// Whether this process can give files to their owners. Where it cannot they are written down.
///
/// # Errors
/// [`Error::OwnIds`], and the kernel's.
pub fn gives_files() -> Result<bool, Error> {
    Ok(effective()?.contains(CapabilitySet::CHOWN) && !has_one_id()?)
}

fn check_chroot() -> Result<(), Error> {
    if !rustix::process::geteuid().is_root() {
        return Err(lacking("this is an ordinary user", "run as root, which may be a container's"));
    }
    let has = effective()?;
    let missing: Vec<&str> =
        NEEDED.iter().filter(|(one, _)| !has.contains(*one)).map(|(_, name)| *name).collect();
    if !missing.is_empty() {
        let what = format!("this root has no {}", missing.join(", "));
        return Err(lacking(&what, "add the capabilities to the container"));
    }
    match landlock::version() {
        Ok(_) => Ok(()),
        Err(error) => Err(lacking(
            &format!("this kernel has no Landlock ({error})"),
            "it needs Linux 5.13 with `landlock` among its security modules (lsm=)",
        )),
    }
}

fn lacking(what: &str, hint: &str) -> Error {
    Error::Lacking { what: what.to_owned(), hint: hint.to_owned() }
}

/// Whether this process is root in a namespace that somebody else has made.
fn is_root_of_namespace() -> Result<bool, Error> {
    Ok(rustix::process::geteuid().is_root() && has_sys_admin()? && !ids::are_of_first_namespace()?)
}

/// A namespace with one id is the fourth rung.
fn check_ids() -> Result<(), Error> {
    match has_one_id()? {
        true => Err(lacking("this user namespace has one id", "that is the rung `oneid`")),
        false => Ok(()),
    }
}

fn effective() -> Result<CapabilitySet, Error> {
    let sets = rustix::thread::capabilities(None).map_err(Error::setup("read capabilities"))?;
    Ok(sets.effective)
}

fn has_sys_admin() -> Result<bool, Error> {
    Ok(effective()?.contains(CapabilitySet::SYS_ADMIN))
}
