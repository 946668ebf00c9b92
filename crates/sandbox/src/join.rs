//! One more process for a sandbox that runs: what `exec` is to a container.
//!
//! A supervisor of its own enters the namespaces of the sandbox and forks there. The new process takes
//! its rights as the sandbox's first one did, and dies with it. What is not here: a new root, new
//! mounts, a new network; all of that is the sandbox's.
//!
//! The processes of the sandbox are not to be trusted, and see the new one before it is the program
//! that was asked for. So it cannot be traced or looked into until then, and holds nothing that it
//! does not need (CVE-2016-9962).

use std::io;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;

use rustix::fs::CWD;
use rustix::fs::Mode;
use rustix::fs::OFlags;
use rustix::fs::ResolveFlags;
use rustix::fs::Uid;
use rustix::io::Errno;
use rustix::process::DumpableBehavior;
use rustix::pty::OpenptFlags;
use rustix::thread::ThreadNameSpaceType;

use crate::Child;
use crate::Error;
use crate::JoinSpec;
use crate::Terminal;
use crate::cgroup;
use crate::container;
use crate::container::Lines;
use crate::emulation;
use crate::spawn;
use crate::supervisor;
use crate::supervisor::Pipes;
use crate::sys;
use crate::wire::JoinJob;
use crate::wire::Luggage;
use crate::wire::Order;
use crate::wire::Report;

/// The file system of terminals, as statfs(2) calls it: `DEVPTS_SUPER_MAGIC` of `linux/magic.h`.
const DEVPTS: u32 = 0x1cd1;

/// Starts one more process in a sandbox that runs. Any thread may call this.
///
/// Everything about the [`Child`] is as with [`crate::spawn()`], but that its end is not the end of
/// the sandbox, and that what it leaves running goes on.
pub fn join(spec: JoinSpec) -> Result<Child, Error> {
    spawn::check_process(&spec.argv, &spec.env, &spec.cwd, &spec.rights)?;
    let mut luggage = Luggage::default();
    let job = JoinJob {
        process: luggage.add(spec.process),
        argv: spec.argv,
        env: spec.env,
        cwd: spec.cwd,
        rights: spec.rights,
        stdin: spawn::pack_stdin(spec.stdin, spec.terminal, &mut luggage),
        terminal: spec.terminal == Terminal::Pty,
    };
    spawn::start(&Order::Join(Box::new(job)), &luggage, spec.terminal)
}

/// The supervisor's part.
pub(crate) fn run(
    job: &JoinJob,
    luggage: &Luggage,
    caller: BorrowedFd<'_>,
) -> Result<Report, Error> {
    let failed = "enter the container";
    let alone = sys::Alone::check().map_err(Error::setup(failed))?;
    let process = luggage.at(job.process).map_err(Error::setup(failed))?;
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .map_err(Error::setup(failed))?;
    let (inside, outside) = emulation::share(None)?.unzip();
    if let Some(outside) = outside {
        outside.start_beside(&job.rights, &alone)?;
    }
    // After it: what says that the program has started is that nobody holds them any more.
    let pipes = Pipes::open()?;
    // Its groups are found while those of the host can be seen.
    let doors = cgroup::doors_of(process)?;
    enter(process).map_err(Error::setup(failed))?;
    // Only a child is in the namespace of processes; this one stays outside of it, and unseen.
    let Some(first) = sys::fork_into(0, &alone).map_err(Error::setup("fork"))? else {
        let lines = Lines { emulation: inside, ..pipes.lines(caller) };
        become_program(job, luggage, &lines, &doors);
    };
    drop((doors, inside));
    let (report, _) = supervisor::end_of(first, caller, pipes.ears())?;
    Ok(report)
}

/// Enters all namespaces of a process but the user namespace, which is ours.
fn enter(process: BorrowedFd<'_>) -> Result<(), Errno> {
    let all = ThreadNameSpaceType::MOUNT
        | ThreadNameSpaceType::PROCESS_ID
        | ThreadNameSpaceType::INTER_PROCESS_COMMUNICATION
        | ThreadNameSpaceType::HOST_NAME_AND_NIS_DOMAIN_NAME
        | ThreadNameSpaceType::CONTROL_GROUP
        | ThreadNameSpaceType::NETWORK;
    let enter = |which| rustix::thread::move_into_thread_name_spaces(process, which);
    let enter_without = |which| match enter(all - which) {
        // A kernel without control groups.
        Err(Errno::INVAL) => enter(all - which - ThreadNameSpaceType::CONTROL_GROUP),
        result => result,
    };
    match enter_without(ThreadNameSpaceType::empty()) {
        // The host's network, which this one has too, is nobody's to enter in a user namespace. One of the sandbox's own is.
        Err(Errno::PERM) => enter_without(ThreadNameSpaceType::NETWORK),
        result => result,
    }
}

fn become_program(
    job: &JoinJob,
    luggage: &Luggage,
    lines: &Lines<'_>,
    doors: &[std::fs::File],
) -> ! {
    let doors: Vec<BorrowedFd<'_>> = doors.iter().map(AsFd::as_fd).collect();
    let ready = cgroup::enter(&doors)
        .and_then(|()| prepare(job, luggage, lines))
        .and_then(|()| container::close_all_but(&lines.speak));
    match ready {
        Ok(line) => {
            let error = container::exec_limited(&job.rights, &job.argv, &job.env);
            container::fail(&line, error)
        }
        Err(error) => container::fail(&lines.speak, error),
    }
}

fn prepare(job: &JoinJob, luggage: &Luggage, lines: &Lines<'_>) -> Result<(), Error> {
    container::tie_to_supervisor(lines)?;
    rustix::process::setsid().map_err(Error::setup("start a session"))?;
    // As for the first process: not the keys of the caller's session.
    let _ = sys::join_new_session_keyring();
    connect_output(job, luggage, lines)?;
    container::enter_working_directory(&job.cwd)?;
    container::take_rights(&job.rights, lines)
}

fn connect_output(job: &JoinJob, luggage: &Luggage, lines: &Lines<'_>) -> Result<(), Error> {
    if job.terminal {
        let (ours, theirs) =
            open_terminal(lines.owner(&job.rights)).map_err(Error::setup("open a terminal"))?;
        return container::connect_terminal(&ours, &theirs, lines);
    }
    let failed = "connect the standard input and output";
    let stdin = job.stdin.map(|place| luggage.at(place)).transpose();
    match stdin.map_err(Error::setup(failed))? {
        Some(stdin) => container::connect_pipes(stdin, lines.owner(&job.rights)),
        None => {
            let null = open_null().map_err(Error::setup("open `/dev/null`"))?;
            container::connect_pipes(null.as_fd(), lines.owner(&job.rights))
        }
    }
}

/// A new terminal of the sandbox. Its processes may have put anything in the way to it.
fn open_terminal(uid: u32) -> io::Result<(OwnedFd, OwnedFd)> {
    let ours = open_device("/dev/pts/ptmx", OFlags::NOCTTY)?;
    if u32::try_from(rustix::fs::fstatfs(&ours)?.f_type) != Ok(DEVPTS) {
        return Err(Errno::NOTTY.into());
    }
    rustix::pty::unlockpt(&ours)?;
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let theirs = rustix::pty::ioctl_tiocgptpeer(&ours, flags)?;
    rustix::fs::fchown(&theirs, Some(Uid::from_raw(uid)), None)?;
    Ok((ours, theirs))
}

fn open_null() -> io::Result<OwnedFd> {
    let null = open_device("/dev/null", OFlags::empty())?;
    let stat = rustix::fs::fstat(&null)?;
    let is_it = rustix::fs::FileType::from_raw_mode(stat.st_mode)
        == rustix::fs::FileType::CharacterDevice
        && (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev)) == (1, 3);
    if is_it { Ok(null) } else { Err(Errno::NODEV.into()) }
}

/// Opens a device without following links, and without waiting for whatever may be there instead.
fn open_device(path: &str, flags: OFlags) -> io::Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NONBLOCK | flags;
    let plain = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let device = rustix::fs::openat2(CWD, path, flags, Mode::empty(), plain)?;
    rustix::fs::fcntl_setfl(&device, flags.difference(OFlags::NONBLOCK))?;
    Ok(device)
}
