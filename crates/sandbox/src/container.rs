//! The story of a sandbox's first process, from the fork in new namespaces to `execve`.
//!
//! The order matters. Mounts first, while the host's files can still be reached; then the root is
//! switched; then rights are dropped, the filter before the capabilities, because installing it
//! takes one; last the program.

use std::ffi::OsString;
use std::io;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;

use rustix::fs::Mode;
use rustix::fs::OFlags;
use rustix::fs::ResolveFlags;
use rustix::io::Errno;
use rustix::process::Signal;
use rustix::thread::LinkNameSpaceType;

use crate::Error;
use crate::Rights;
use crate::caps;
use crate::cgroup::Groups;
use crate::emulation;
use crate::exec;
use crate::init;
use crate::landlock;
use crate::limits;
use crate::network::gate::Inside;
use crate::rootfs;
use crate::seccomp;
use crate::seccomp::Watch;
use crate::supervisor;
use crate::supervisor::Word;
use crate::sys;
use crate::sys::Alone;
use crate::target;
use crate::wire;
use crate::wire::Job;
use crate::wire::Luggage;
use crate::wire::NetworkJob;
use crate::wire::Report;

/// What connects the first process with those who wait for it.
pub(crate) struct Lines<'a> {
    /// To the caller: for the terminal.
    pub(crate) caller: BorrowedFd<'a>,
    /// To the supervisor: for [`Word`]s. Closed by a successful `execve`.
    pub(crate) speak: OwnedFd,
    /// From the supervisor: hangs up when it dies.
    pub(crate) alive: OwnedFd,
    /// What sockets wait for, if they have to.
    pub(crate) gate: Option<Inside<'a>>,
    /// Where to send what answers about paths, if somebody does.
    pub(crate) paths: Option<OwnedFd>,
    /// What plays root where there is one id only.
    pub(crate) emulation: Option<emulation::Inside>,
}

impl Lines<'_> {
    /// Who is to own what the program is connected with: its user, unless there is one id only.
    pub(crate) fn owner(&self, rights: &Rights) -> u32 {
        if self.emulation.is_some() { 0 } else { rights.uid }
    }
}

/// Becomes the program of the job.
pub(crate) fn run(
    job: &Job,
    luggage: &Luggage,
    lines: &Lines<'_>,
    groups: Option<&Groups>,
    alone: &Alone,
) -> ! {
    let ready = groups.map_or(Ok(()), Groups::enter).and_then(|()| prepare(job, luggage, lines));
    // Closed here, when nothing but the luggage and the groups still own a descriptor.
    match ready.and_then(|()| close_all_but(&lines.speak)) {
        Ok(line) if job.init => init::run(line, alone, || become_program(job)),
        Ok(line) => fail(&line, become_program(job)),
        Err(error) => fail(&lines.speak, error),
    }
}

fn become_program(job: &Job) -> Error {
    exec_limited(&job.rights, &job.argv, &job.env)
}

/// Executes the program with its limits; returns only why it cannot.
pub(crate) fn exec_limited(
    rights: &Rights,
    argv: &[OsString],
    env: &[(OsString, OsString)],
) -> Error {
    match limits::set(&rights.limits) {
        Ok(()) => exec::exec(argv, env),
        Err(error) => error,
    }
}

/// Everything but closing descriptors and `execve`.
fn prepare(job: &Job, luggage: &Luggage, lines: &Lines<'_>) -> Result<(), Error> {
    tie_to_supervisor(lines)?;
    rustix::process::setsid().map_err(Error::setup("start a session"))?;
    // Files of ours get exactly the mode they are made with.
    rustix::process::umask(Mode::empty());
    join_network(job, luggage)?;
    match rustix::system::sethostname(job.hostname.as_bytes()) {
        // By the filter of a container around, as podman's: the name is that container's then.
        Ok(()) | Err(Errno::PERM) => {}
        Err(errno) => return Err(Error::setup("set the host name")(errno)),
    }
    // So that the program does not possess the keys of the caller's session. A kernel without
    // keyrings, or a full quota, is no reason to stop: the filter refuses keyctl anyway.
    let _ = sys::join_new_session_keyring();

    let mut stubs = Vec::new();
    let made = rootfs::build(job, luggage, &mut stubs);
    say(&lines.speak, &Word::Stubs(stubs))?;
    let rootfs = made?;

    connect_output(job, luggage, lines, &rootfs)?;
    rootfs.switch()?;
    enter_working_directory(&job.cwd)?;
    if matches!(job.network, NetworkJob::Host) && !job.meets_others {
        landlock::keep_from_named_sockets()?;
    }

    take_rights(&job.rights, lines)
}

/// The last steps of every first process: its rights, and what they undo or a program expects.
pub(crate) fn take_rights(rights: &Rights, lines: &Lines<'_>) -> Result<(), Error> {
    caps::drop_bounding_set(rights)?;
    if lines.emulation.is_none() {
        caps::set_groups(rights)?;
    }
    limits::raise(&rights.limits)?;
    if rights.no_new_privileges {
        rustix::thread::set_no_new_privs(true)
            .map_err(Error::setup("keep programs from gaining rights"))?;
    }
    match (&lines.emulation, &lines.gate, rights.filtered) {
        (Some(emulation), _, _) => emulation.install_filter(rights)?,
        (None, Some(gate), true) => gate.install_filter(rights.capabilities)?,
        (None, Some(gate), false) => gate.wait()?,
        (None, None, true) => install_filter(rights, lines)?,
        (None, None, false) => {}
    }
    match lines.emulation {
        None => caps::set_user(rights)?,
        Some(_) => caps::set_only_user(rights)?,
    }

    // A change of ids undoes the tie to the parent, so it is made once more.
    tie_to_supervisor(lines)?;
    rustix::process::umask(Mode::from_raw_mode(0o022));
    sys::reset_signals();
    Ok(())
}

/// Installs the filter that asks nobody, or about paths only if somebody answers.
fn install_filter(rights: &Rights, lines: &Lines<'_>) -> Result<(), Error> {
    if let Some(socket) = &lines.paths {
        let program = seccomp::program(rights.capabilities, Watch::Paths);
        // It fails where a sandbox around this one has a listener already.
        if let Ok(listener) = sys::install_asking_filter(&program) {
            return wire::send(socket.as_fd(), b"listener", &[listener.as_fd()])
                .map_err(Error::setup("tell the supervisor"));
        }
    }
    let program = seccomp::program(rights.capabilities, Watch::Nothing);
    sys::install_filter(&program).map_err(Error::setup("install the system call filter"))
}

/// Lets the kernel kill this process, and by that all of its namespace, when the supervisor dies.
pub(crate) fn tie_to_supervisor(lines: &Lines<'_>) -> Result<(), Error> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(Error::setup("tie the process to its supervisor"))?;
    // The supervisor's pid is 0 from here, so its death before the call shows only by this.
    if supervisor::is_abandoned(&lines.alive) {
        sys::exit_now(1);
    }
    Ok(())
}

fn join_network(job: &Job, luggage: &Luggage) -> Result<(), Error> {
    match job.network {
        NetworkJob::Host => Ok(()),
        NetworkJob::None => {
            sys::bring_loopback_up().map_err(Error::setup("bring the loopback device up"))
        }
        NetworkJob::Joined(place) | NetworkJob::Awaited(place, _) => {
            let failed = "join the network of the build";
            let namespace = luggage.at(place).map_err(Error::setup(failed))?;
            let kind = Some(LinkNameSpaceType::Network);
            rustix::thread::move_into_link_name_space(namespace, kind).map_err(Error::setup(failed))
        }
    }
}

/// Standard input, output and error: the terminal if there is one, else the two pipes that are there
/// already, and an input.
fn connect_output(
    job: &Job,
    luggage: &Luggage,
    lines: &Lines<'_>,
    rootfs: &rootfs::RootFs<'_>,
) -> Result<(), Error> {
    if job.terminal {
        let (ours, theirs) = rootfs.device.open_terminal(lines.owner(&job.rights))?;
        return connect_terminal(&ours, &theirs, lines);
    }
    let failed = "connect the standard input and output";
    let stdin = job.stdin.map(|place| luggage.at(place)).transpose();
    match stdin.map_err(Error::setup(failed))? {
        Some(stdin) => connect_pipes(stdin, lines.owner(&job.rights)),
        None => connect_pipes(rootfs.device.open_null()?.as_fd(), lines.owner(&job.rights)),
    }
}

/// Makes a terminal the standard input, output and error, and passes its other end to the caller.
pub(crate) fn connect_terminal(
    ours: &OwnedFd,
    theirs: &OwnedFd,
    lines: &Lines<'_>,
) -> Result<(), Error> {
    let failed = "connect the standard input and output";
    rustix::process::ioctl_tiocsctty(theirs)
        .map_err(Error::setup("make the terminal the controlling one"))?;
    wire::send_report(lines.caller, &Report::Terminal, Some(ours.as_fd()))
        .map_err(Error::setup("pass the terminal on"))?;
    rustix::stdio::dup2_stdin(theirs).map_err(Error::setup(failed))?;
    rustix::stdio::dup2_stdout(theirs).map_err(Error::setup(failed))?;
    rustix::stdio::dup2_stderr(theirs).map_err(Error::setup(failed))
}

/// Makes `stdin` the standard input; standard output and error are pipes of the supervisor's already.
pub(crate) fn connect_pipes(stdin: BorrowedFd<'_>, uid: u32) -> Result<(), Error> {
    let failed = "connect the standard input and output";
    rustix::stdio::dup2_stdin(stdin).map_err(Error::setup(failed))?;
    // `/dev/stdout` of another user than root opens the pipe once more, which its owner may.
    let uid = Some(rustix::fs::Uid::from_raw(uid));
    let kind = rustix::fs::fstat(stdin).map_err(Error::setup(failed))?.st_mode;
    if rustix::fs::FileType::from_raw_mode(kind) == rustix::fs::FileType::Fifo {
        rustix::fs::fchown(stdin, uid, None).map_err(Error::setup(failed))?;
    }
    rustix::fs::fchown(rustix::stdio::stdout(), uid, None).map_err(Error::setup(failed))?;
    rustix::fs::fchown(rustix::stdio::stderr(), uid, None).map_err(Error::setup(failed))
}

/// Goes to a directory of the new root.
///
/// Symbolic links are followed, the magic ones of `/proc` are not: `/proc/self/fd/7` would lead to a
/// descriptor of ours, and out of the root (CVE-2024-21626).
pub(crate) fn enter_working_directory(path: &str) -> Result<(), Error> {
    let failed =
        |errno| Error::WorkingDirectory { path: path.to_owned(), source: io::Error::from(errno) };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let in_root = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let root = rustix::fs::open("/", flags, Mode::empty()).map_err(failed)?;
    let directory = target::resolve(root.as_fd(), path, flags, in_root).map_err(failed)?;
    rustix::process::fchdir(directory).map_err(failed)?;
    // The kernel calls a directory that is not below the root `(unreachable)…`.
    let now = rustix::process::getcwd(Vec::new()).map_err(failed)?;
    if now.as_bytes().first() != Some(&b'/') {
        return Err(failed(rustix::io::Errno::NOENT));
    }
    Ok(())
}

/// Closes what was inherited or opened here, except the line to the supervisor, which becomes
/// (and is returned as) descriptor 3 and is closed by `execve`. Closing before is not too careful: a program called
/// `/proc/self/fd/7/bin/sh` is looked up before descriptors are closed on exec.
pub(crate) fn close_all_but(speak: &OwnedFd) -> Result<OwnedFd, Error> {
    let failed = "close descriptors";
    // Twice, as it may be number 3 itself.
    let high = rustix::io::fcntl_dupfd_cloexec(speak, 4).map_err(Error::setup(failed))?;
    let line = sys::duplicate_to_3(&high).map_err(Error::setup(failed))?;
    std::mem::forget(high);
    sys::close_from(4).map_err(Error::setup(failed))?;
    Ok(line)
}

/// Tells the supervisor something.
fn say(speak: &OwnedFd, word: &Word) -> Result<(), Error> {
    let failed = "tell the supervisor";
    let mut line = serde_json::to_vec(word).map_err(Error::setup(failed))?;
    line.push(b'\n');
    let mut rest = line.as_slice();
    while !rest.is_empty() {
        let written = rustix::io::retry_on_intr(|| rustix::io::write(speak, rest));
        rest = &rest[written.map_err(Error::setup(failed))?..];
    }
    Ok(())
}

/// Tells the supervisor what went wrong, and ends.
pub(crate) fn fail(speak: &OwnedFd, error: Error) -> ! {
    // If it cannot be told, the status has to do.
    let _ = say(speak, &Word::Failed(error.into()));
    sys::exit_now(255)
}
