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
//! supervisor      [`Outside`] → a thread, [`Emulator`]: `process` finds what a call means, `ids` who makes it,
//!                 `files`, `look` and `ids` do it, `deed` writes it down
//! ```
//!
//! This is no barrier, and takes none away: what a program may do is decided by the kernel, to which it is the one user that
//! there is. The calls of this thread have no more rights than that user, and end at the same root directory.
//!
//! Not played: permissions (who is not root may read and change what is root's here, but make nothing where root alone may),
//! other processes' ids in `/proc`, programs of the machine's 32-bit variant.

mod deed;
mod files;
mod ids;
mod look;
mod process;

use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

use rustix::event::PollFd;
use rustix::event::PollFlags;
use rustix::event::Timespec;
use rustix::fs::FileType;
use rustix::fs::Gid;
use rustix::fs::Mode;
use rustix::fs::OFlags;
use rustix::fs::Uid;
use rustix::fs::XattrFlags;
use rustix::io::Errno;
use rustix::process::Signal;
use rustix::thread::CapabilitySet;
use rustix::thread::UnshareFlags;

use self::ids::Four;
use self::ids::Ids;
use self::ids::Table;
use self::process::Named;
use self::process::Process;
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
use crate::sys::AskingCall;
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
            false => seccomp::owners_only(self.sockets),
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

    /// Answers in a process that ends with this one, for who is about to enter other namespaces and can have no threads then.
    /// What the program leaves running is not answered any more: those calls fail.
    pub(crate) fn start_beside(self, rights: &Rights, alone: &Alone) -> Result<(), Error> {
        let failed = Error::setup("start a process that plays root");
        let parent = rustix::process::getpid();
        if sys::fork_into(0, alone).map_err(failed)?.is_some() {
            return Ok(());
        }
        let tied = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
        // It may have died before that.
        if tied.is_ok()
            && rustix::process::getppid() == Some(parent)
            && let Ok(mut emulator) = self.meet(rights)
        {
            emulator.answer_all(&Mutex::new(()));
        }
        sys::exit_now(0)
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

/// Tells that there is no limit of file locks: what stands there is not for the program.
fn no_limit(process: Process, address: u64) -> Result<Answer, Errno> {
    if address != 0 {
        process.write(address, &[0xff; 16])?;
    }
    Ok(Answer::Value(0))
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

impl Emulator {
    fn answer_all(&mut self, busy: &Mutex<()>) {
        loop {
            let Ok(call) = sys::next_asking_call(&self.listener) else {
                if self.is_over() {
                    return;
                }
                continue;
            };
            let _turn = busy.lock().unwrap_or_else(PoisonError::into_inner);
            let answer = self.answer(&call);
            // All of them fail when the process does not wait any more.
            let _ = match answer {
                Ok(Answer::GoOn) => sys::let_call_go_on(&self.listener, call.id),
                Ok(Answer::Value(value)) => sys::answer_call(&self.listener, call.id, value, 0),
                Ok(Answer::File(file, close_on_exec)) => {
                    sys::answer_with_descriptor(&self.listener, call.id, &file, close_on_exec)
                }
                Ok(Answer::Wait) => {
                    self.wait(call.id);
                    Ok(())
                }
                Err(errno) => sys::answer_call(&self.listener, call.id, 0, errno.raw_os_error()),
            };
        }
    }

    /// Whether nobody has the filter any more. A call that is gone by now is no reason to end.
    fn is_over(&self) -> bool {
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        let mut events = [PollFd::new(&*self.listener, PollFlags::IN)];
        let polled = rustix::event::poll(&mut events, Some(&now));
        polled.is_ok() && events[0].revents().intersects(PollFlags::HUP | PollFlags::ERR)
    }

    fn wait(&mut self, call: u64) {
        match &mut self.gate {
            Some(gate) => gate.add(&self.listener, call),
            None => drop(sys::let_call_go_on(&self.listener, call)),
        }
    }

    /// Makes sure that a call still waits: its process is the one that was looked at, then.
    fn is_asking(&self, call: &AskingCall) -> Result<(), Errno> {
        if sys::is_asking(&self.listener, call.id) { Ok(()) } else { Err(Errno::SRCH) }
    }

    fn answer(&mut self, call: &AskingCall) -> Result<Answer, Errno> {
        let name = self.names.get(&call.number).filter(|_| call.machine == self.machine);
        let Some(name) = name else { return Ok(Answer::GoOn) };
        let process = Process::new(call.process);
        let arguments = call.arguments;
        let number = |place: usize| arguments[place] as u32;
        let at = |place: usize| number(place) as i32;
        let flag = |place: usize, flag: i32| at(place) & flag != 0;
        let here = libc::AT_FDCWD;
        let path = |from, address: usize, follow| Named::Path {
            from,
            address: arguments[address],
            follow,
            or_itself: false,
        };
        let path_with_flags = |from, address: usize, flags: usize| Named::Path {
            from,
            address: arguments[address],
            follow: !flag(flags, libc::AT_SYMLINK_NOFOLLOW),
            or_itself: flag(flags, libc::AT_EMPTY_PATH),
        };
        match *name {
            "stat" => self.stat(call, path(here, 0, true), arguments[1]),
            "lstat" => self.stat(call, path(here, 0, false), arguments[1]),
            "fstat" => self.stat(call, Named::Descriptor(at(0)), arguments[1]),
            "newfstatat" => self.stat(call, path_with_flags(at(0), 1, 3), arguments[2]),
            "statx" => self.statx(call, path_with_flags(at(0), 1, 2), number(3), arguments[4]),

            "chown" => self.chown(call, path(here, 0, true), number(1), number(2)),
            "lchown" => self.chown(call, path(here, 0, false), number(1), number(2)),
            "fchown" => self.chown(call, Named::Descriptor(at(0)), number(1), number(2)),
            "fchownat" => self.chown(call, path_with_flags(at(0), 1, 4), number(2), number(3)),

            "mknod" => self.make_node(call, (here, arguments[0]), number(1), arguments[2]),
            "mknodat" => self.make_node(call, (at(0), arguments[1]), number(2), arguments[3]),
            "mkdir" => self.make_directory(call, (here, arguments[0]), number(1)),
            "mkdirat" => self.make_directory(call, (at(0), arguments[1]), number(2)),
            "symlink" => self.make_link(call, arguments[0], (here, arguments[1])),
            "symlinkat" => self.make_link(call, arguments[0], (at(1), arguments[2])),
            "open" => self.open(call, (here, arguments[0]), number(1), number(2)),
            "openat" => self.open(call, (at(0), arguments[1]), number(2), number(3)),
            "creat" => {
                let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::TRUNC;
                self.open(call, (here, arguments[0]), flags.bits(), number(1))
            }

            "getuid" => Ok(self.tell(process, |ids| ids.user.real)),
            "geteuid" => Ok(self.tell(process, |ids| ids.user.effective)),
            "getgid" => Ok(self.tell(process, |ids| ids.group.real)),
            "getegid" => Ok(self.tell(process, |ids| ids.group.effective)),
            "getresuid" => self.tell_three(process, arguments, |ids| ids.user),
            "getresgid" => self.tell_three(process, arguments, |ids| ids.group),
            "getgroups" => self.tell_groups(process, at(0), arguments[1]),

            "setuid" => self.set_user(call, |user, may| user.set(number(0), may)),
            "setreuid" => self.set_user(call, |user, may| user.set_two(number(0), number(1), may)),
            "setresuid" => self
                .set_user(call, |user, may| user.set_three(number(0), number(1), number(2), may)),
            "setgid" => self.set_group(call, |group, may| group.set(number(0), may)),
            "setregid" => {
                self.set_group(call, |group, may| group.set_two(number(0), number(1), may))
            }
            "setresgid" => self.set_group(call, |group, may| {
                group.set_three(number(0), number(1), number(2), may)
            }),
            "setfsuid" => {
                let before = self.table.of(process.id).user.files;
                self.set_user(call, |user, may| Ok(user.set_files(number(0), may)))?;
                Ok(Answer::Value(before.into()))
            }
            "setfsgid" => {
                let before = self.table.of(process.id).group.files;
                self.set_group(call, |group, may| Ok(group.set_files(number(0), may)))?;
                Ok(Answer::Value(before.into()))
            }
            "setgroups" => self.set_groups(call, arguments),

            "execve" => self.exec(call, path(here, 0, true)),
            "prctl" => {
                let ids = self.table.of(process.id);
                let keeps = arguments[1] != 0;
                if ids.keeps != keeps {
                    let ids = Ids { keeps, ..ids.clone() };
                    self.set(call, ids)?;
                }
                Ok(Answer::GoOn)
            }
            "getrlimit" => no_limit(process, arguments[1]),
            "setrlimit" => Ok(Answer::Value(0)),
            "prlimit64" => no_limit(process, arguments[3]),

            "chroot" => {
                self.root.somebody_left = true;
                Ok(Answer::GoOn)
            }
            "socket" => Ok(Answer::Wait),
            _ => Ok(Answer::GoOn),
        }
    }

    /// Whether somebody has a right of root's.
    fn has(&self, ids: &Ids, right: CapabilitySet) -> bool {
        ids.is_root() && self.capabilities.contains(Capabilities::from(right.bits()))
    }

    fn tell(&self, process: Process, which: impl FnOnce(&Ids) -> u32) -> Answer {
        Answer::Value(which(self.table.of(process.id)).into())
    }

    fn tell_three(
        &self,
        process: Process,
        addresses: [u64; 6],
        which: impl FnOnce(&Ids) -> Four,
    ) -> Result<Answer, Errno> {
        let four = which(self.table.of(process.id));
        for (address, id) in addresses.into_iter().zip([four.real, four.effective, four.saved]) {
            process.write(address, &id.to_ne_bytes())?;
        }
        Ok(Answer::Value(0))
    }

    fn tell_groups(&self, process: Process, room: i32, address: u64) -> Result<Answer, Errno> {
        let groups = &self.table.of(process.id).groups;
        let count = i32::try_from(groups.len()).unwrap_or(i32::MAX);
        if room < 0 || (room != 0 && room < count) {
            return Err(Errno::INVAL);
        }
        if room != 0 && count != 0 {
            let bytes: Vec<u8> = groups.iter().flat_map(|group| group.to_ne_bytes()).collect();
            process.write(address, &bytes)?;
        }
        Ok(Answer::Value(count.into()))
    }

    fn set_user(
        &mut self,
        call: &AskingCall,
        change: impl FnOnce(Four, bool) -> Result<Four, Errno>,
    ) -> Result<Answer, Errno> {
        let ids = self.table.of(call.process);
        let user = change(ids.user, self.has(ids, CapabilitySet::SETUID))?;
        let ids = ids.with_user(user);
        self.set(call, ids)
    }

    fn set_group(
        &mut self,
        call: &AskingCall,
        change: impl FnOnce(Four, bool) -> Result<Four, Errno>,
    ) -> Result<Answer, Errno> {
        let ids = self.table.of(call.process);
        let group = change(ids.group, self.has(ids, CapabilitySet::SETGID))?;
        let ids = Ids { group, ..ids.clone() };
        self.set(call, ids)
    }

    /// Becoming another program, which may be somebody else's.
    fn exec(&mut self, call: &AskingCall, named: Named) -> Result<Answer, Errno> {
        let ids = self.table.of(call.process);
        if !self.gains_rights || (ids.is_root() && !ids.keeps && !ids.kept) {
            return Ok(Answer::GoOn);
        }
        let process = Process::new(call.process);
        let opened = process.look(|process| process.spot(&self.root, named)?.open());
        let Ok(file) = opened else { return Ok(Answer::GoOn) };
        let stat = rustix::fs::fstat(&file)?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        let owner = deed::of(&file, kind);
        let new = ids.in_program(stat.st_mode, owner.uid, owner.gid);
        if kind == FileType::RegularFile && new != *ids {
            self.set(call, new)?;
        }
        Ok(Answer::GoOn)
    }

    fn set_groups(&mut self, call: &AskingCall, arguments: [u64; 6]) -> Result<Answer, Errno> {
        /// `NGROUPS_MAX`.
        const MOST: u64 = 65_536;
        let [count, address, ..] = arguments;
        let ids = self.table.of(call.process).clone();
        if !self.has(&ids, CapabilitySet::SETGID) {
            return Err(Errno::PERM);
        }
        let count = u64::from(count as u32);
        if count > MOST {
            return Err(Errno::INVAL);
        }
        let mut groups = match count {
            0 => Vec::new(),
            count => Process::new(call.process).numbers(address, count as usize)?,
        };
        groups.sort_unstable();
        self.set(call, Ids { groups, ..ids })
    }

    fn set(&mut self, call: &AskingCall, ids: Ids) -> Result<Answer, Errno> {
        self.is_asking(call)?;
        self.table.change(call.process, ids)?;
        Ok(Answer::Value(0))
    }
}
