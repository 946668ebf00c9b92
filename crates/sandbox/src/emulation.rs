//! The kernel's part about owners, played where all files and processes belong to one id: in a user namespace of an ordinary
//! user who has no others.
//!
//! The filter asks this thread of the supervisor about the calls in `seccomp::owned`. What is given to somebody gets a deed
//! that says so ([`oci::Deed`]), beside it in the file system, and whoever looks at it is told what the deed says. Who
//! changes his ids is told that he did, and is who he says from then on. A device is an empty file with a deed. What somebody
//! else than root makes, and what is made in a directory that hands on its group, gets a deed at once.
//!
//! ```text
//! first process   [`Inside`]: installs the filter, and sends its listener and the root directory
//!       │
//! supervisor      [`Outside`] → a thread, [`Emulator`]: `answer` hears of a call, `process` finds what it means,
//!                 `ids` who makes it; `files`, `look` and `identity` do it, `deed` writes it down
//! ```
//!
//! This is no barrier, and takes none away: what a program may do is decided by the kernel, to which it is the one user that
//! there is. The calls of this thread have no more rights than that user, and end at the same root directory.
//!
//! Not played: permissions (who is not root may read and change what is root's here, but make nothing where root alone may),
//! other processes' ids in `/proc`, programs of the machine's 32-bit variant.

mod answer;
mod deed;
mod files;
mod identity;
mod ids;
mod look;
mod process;

use std::collections::BTreeMap;
use std::io;
use std::os::fd::AsFd;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

use rustix::fs::Gid;
use rustix::fs::Mode;
use rustix::fs::OFlags;
use rustix::fs::Uid;
use rustix::fs::XattrFlags;
use rustix::io::Errno;
use rustix::thread::UnshareFlags;

use self::ids::Ids;
use self::ids::Table;
use self::process::RootId;
use crate::Capabilities;
use crate::Error;
use crate::Rights;
use crate::network::gate::Waiting;
use crate::rung;
use crate::seccomp;
use crate::seccomp::Watch;
use crate::spawn::supervisor::sockets;
use crate::sys;
use crate::sys::Alone;
use crate::wire;

/// Gives a new file to somebody; where there is one id only, by a deed.
pub(crate) fn give(file: impl AsFd, uid: u32, gid: u32) -> Result<(), Errno> {
    let (user, group) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
    let given = rustix::fs::fchown(&file, user, group);
    if given != Err(Errno::INVAL) {
        return given;
    }
    let deed = oci::Deed { uid, gid, device: None }.to_text();
    match rustix::fs::fsetxattr(file, oci::Deed::ATTRIBUTE, deed.as_bytes(), XattrFlags::empty()) {
        // A kernel whose tmpfs keeps no attributes of users, before Linux 6.6: it belongs to root then.
        Err(Errno::NOTSUP) => Ok(()),
        given => given,
    }
}

/// What the first process has of it.
#[derive(Debug)]
pub(crate) struct Inside {
    socket: OwnedFd,
    sockets: bool,
}

/// What the supervisor has of it.
#[derive(Debug)]
pub(crate) struct Outside {
    socket: OwnedFd,
    proc: OwnedFd,
    gate: Option<Waiting>,
}

/// Makes both, before the fork, if there is one id only; with the gate of the network if the program may have to wait for it.
pub(crate) fn share(gate: Option<Waiting>) -> Result<Option<(Inside, Outside)>, Error> {
    if !rung::has_one_id()? {
        return Ok(None);
    }
    let (ours, theirs) = sockets()?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let proc = rustix::fs::open("/proc", flags, Mode::empty())
        .map_err(Error::setup("open the directory `/proc`"))?;
    let inside = Inside { socket: theirs, sockets: gate.is_some() };
    Ok(Some((inside, Outside { socket: ours, proc, gate })))
}

impl Inside {
    /// Installs the filter for these rights.
    pub(crate) fn install_filter(&self, rights: &Rights) -> Result<(), Error> {
        let watch = Watch::Owners { sockets: self.sockets };
        let program = match rights.filtered {
            true => seccomp::program(rights.capabilities, watch),
            false => seccomp::owners_only(self.sockets).into(),
        };
        let listener = sys::install_asking_filter(&program)
            .map_err(Error::setup("install a system call filter that asks"))?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open("/", flags, Mode::empty());
        let root = root.map_err(Error::setup("open the root directory"))?;
        wire::send(self.socket.as_fd(), b"listener", &[listener.as_fd(), root.as_fd()])
            .map_err(Error::setup("tell the supervisor"))
    }
}

/// Keeps the thread from doing anything more.
#[derive(Debug)]
pub(crate) struct Busy(Arc<Mutex<()>>);

impl Busy {
    /// To be called when the processes are dead: what a dead one has asked for may still be going on, and nothing must change
    /// in the root from here on.
    pub(crate) fn end(self) {
        // Held for good; this process ends soon.
        std::mem::forget(self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Outside {
    /// Answers on a thread until this process ends. To be called after the fork.
    pub(crate) fn start(self, rights: &Rights) -> Result<Busy, Error> {
        let busy = Arc::new(Mutex::new(()));
        let rights = rights.clone();
        let own = Arc::clone(&busy);
        let answer = move || {
            // Nothing comes if the first process has given up.
            if let Ok(mut emulator) = self.meet(&rights) {
                emulator.answer_all(&own);
            }
        };
        std::thread::Builder::new()
            .spawn(answer)
            .map_err(Error::setup("start a thread that plays root"))?;
        Ok(Busy(busy))
    }

    /// Answers in a process of its own, for who is about to enter other namespaces and can have no threads then. It ends with
    /// the last process that has the filter: what the program leaves running is answered, too. Who gives up before has closed
    /// the other end of the line.
    pub(crate) fn start_beside(self, rights: &Rights, alone: &Alone) -> Result<(), Error> {
        let failed = Error::setup("start a process that plays root");
        if sys::fork_into(0, alone).map_err(failed)?.is_some() {
            return Ok(());
        }
        if let Ok(alone) = self.let_go_of_others()
            && let Ok(mut emulator) = alone.meet(rights)
        {
            emulator.answer_all(&Mutex::new(()));
        }
        sys::exit_now(0)
    }

    /// Closes what is not for this: the lines of the caller and of the program, who wait for their ends. To be called in a
    /// process that only answers, and in one that does not know a gate.
    fn let_go_of_others(self) -> io::Result<Self> {
        rustix::stdio::dup2_stdin(&self.socket)?;
        rustix::stdio::dup2_stdout(&self.proc)?;
        rustix::stdio::dup2_stderr(&self.proc)?;
        std::mem::forget(self);
        sys::close_from(3)?;
        let socket = rustix::stdio::stdin().try_clone_to_owned()?;
        let proc = rustix::stdio::stdout().try_clone_to_owned()?;
        Ok(Self { socket, proc, gate: None })
    }

    /// Waits for the first process, and goes to where it stands.
    fn meet(self, rights: &Rights) -> Result<Emulator, Errno> {
        let received = wire::receive(self.socket.as_fd()).map_err(|_| Errno::PIPE)?;
        let Ok([listener, root]) = <[OwnedFd; 2]>::try_from(received.1) else {
            return Err(Errno::PIPE);
        };
        sys::unshare(UnshareFlags::FS).map_err(|_| Errno::PERM)?;
        rustix::process::fchdir(&root)?;
        rustix::process::chroot(".")?;
        rustix::process::fchdir(&self.proc)?;
        rustix::process::umask(Mode::empty());
        process::set_sight(false)?;
        // Without it it is slower only.
        let _ = sys::answer_on_the_spot(&listener);
        let (machine, names) = seccomp::owned_names();
        Ok(Emulator {
            root: RootId::of(&root)?,
            listener: Arc::new(listener),
            machine,
            names: names.into_iter().collect(),
            table: Table::new(Ids::of(rights)),
            gate: self.gate,
            gains_rights: !rights.no_new_privileges,
            capabilities: rights.capabilities,
        })
    }
}

/// Answers calls.
#[derive(Debug)]
struct Emulator {
    listener: Arc<OwnedFd>,
    machine: u32,
    names: BTreeMap<u32, &'static str>,
    root: RootId,
    table: Table,
    gate: Option<Waiting>,
    /// Whether set-user-id programs give their owner's rights.
    gains_rights: bool,
    /// What root has of its rights.
    capabilities: Capabilities,
}

/// What becomes of a call.
#[derive(Debug)]
enum Answer {
    /// It goes on as if nobody had been asked.
    GoOn,
    Value(i64),
    /// A descriptor, and whether it is closed on exec.
    File(OwnedFd, bool),
    /// It waits for the network.
    Wait,
}
