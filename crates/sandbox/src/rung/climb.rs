//! The second rung and the fourth: a user namespace in which an ordinary user is root. How its ids are mapped is in `idmap`.

use std::fs;
use std::fs::File;
use std::io;
use std::io::Read;
use std::io::Write;
use std::process::ExitStatus;

use rustix::io::retry_on_intr;
use rustix::process::Pid;
use rustix::process::Signal;
use rustix::process::WaitOptions;
use rustix::process::WaitStatus;
use rustix::thread::Gid;
use rustix::thread::Uid;
use rustix::thread::UnshareFlags;

use super::idmap;
use super::survey::chain;
use crate::Error;
use crate::sys;

/// Between what is lacking and what would help.
const BETWEEN: char = '\0';

/// What is passed on to the process that does the work. `SIGCHLD` tells that it ended.
const SIGNALS: &[i32] = &[
    libc::SIGINT,
    libc::SIGTERM,
    libc::SIGHUP,
    libc::SIGQUIT,
    libc::SIGUSR1,
    libc::SIGUSR2,
    libc::SIGCHLD,
];

/// Makes this process root of a new user namespace. To be called while it has one thread.
///
/// The process forks here. The child, root of a new user namespace and mount
/// namespace, returns; the parent does not: it passes signals on and ends as the child ends. If the
/// parent is killed, so is the child. On an error nothing has changed and no child is left: also if `check`, which the child makes,
/// finds that the namespace is of no use.
pub(super) fn climb(ids: idmap::Ids, check: fn() -> Result<(), Error>) -> Result<(), Error> {
    // Looked at only when there is a namespace: without one, ids are not what is missing.
    let map = idmap::IdMap::find(ids);
    let (tell_parent, from_child) = pipe()?;
    let (tell_child, from_parent) = pipe()?;
    let parent = rustix::process::getpid();

    // Blocked before the fork, so that none is lost; the child unblocks them.
    sys::block_signals(SIGNALS, libc::SIG_BLOCK);
    let forked = sys::Alone::check().and_then(|alone| sys::fork_into(0, &alone));
    let child = match forked {
        Ok(Some(child)) => child,
        Ok(None) => {
            drop((tell_child, from_child));
            return in_child(parent, tell_parent, from_parent, check);
        }
        Err(error) => {
            sys::block_signals(SIGNALS, libc::SIG_UNBLOCK);
            return Err(Error::setup("fork")(error));
        }
    };
    drop((tell_parent, from_parent));

    let prepared = prepare_child(child, map, &from_child, &tell_child)
        .and_then(|()| hear_of_it(from_child.into()));
    if let Err(error) = prepared {
        // It waits for a word that does not come; both fail only if it is dead already.
        let _ = rustix::process::kill_process(child, Signal::KILL);
        let _ = rustix::process::waitpid(Some(child), WaitOptions::empty());
        sys::block_signals(SIGNALS, libc::SIG_UNBLOCK);
        return Err(error);
    }
    drop(tell_child);
    end_as(pass_signals_on(child))
}

/// The parent's part until the child can go on: waits for its namespace, maps the ids.
fn prepare_child(
    child: Pid,
    map: Result<idmap::IdMap, Error>,
    from_child: &std::os::fd::OwnedFd,
    tell_child: &std::os::fd::OwnedFd,
) -> Result<(), Error> {
    let mut errno = [0; 4];
    let received = retry_on_intr(|| rustix::io::read(from_child, &mut errno));
    let received = received.map_err(Error::setup("hear of it"))?;
    let errno = if received == errno.len() { i32::from_ne_bytes(errno) } else { libc::EIO };
    if errno != 0 {
        return Err(no_user_namespace(io::Error::from_raw_os_error(errno)));
    }
    map?.apply(child)?;
    retry_on_intr(|| rustix::io::write(tell_child, b"1"))
        .map_err(Error::setup("wake the child"))?;
    Ok(())
}

/// Waits until the child goes on, or says why it does not.
fn hear_of_it(mut from_child: File) -> Result<(), Error> {
    let mut said = String::new();
    from_child.read_to_string(&mut said).map_err(Error::setup("hear of it"))?;
    match said.split_once(BETWEEN) {
        None => Ok(()),
        Some((what, hint)) => Err(Error::Lacking { what: what.to_owned(), hint: hint.to_owned() }),
    }
}

/// The child's part: the namespaces, then the ids, then the tie to the parent, then the check. It returns only if nothing fails.
fn in_child(
    parent: Pid,
    tell_parent: std::os::fd::OwnedFd,
    from_parent: std::os::fd::OwnedFd,
    check: fn() -> Result<(), Error>,
) -> Result<(), Error> {
    let unshared = sys::unshare(UnshareFlags::NEWUSER | UnshareFlags::NEWNS);
    let errno = unshared.err().map_or(0, |error| error.raw_os_error().unwrap_or(libc::EIO));
    let told = retry_on_intr(|| rustix::io::write(&tell_parent, &errno.to_ne_bytes()));
    let mut word = [0];
    let heard = retry_on_intr(|| rustix::io::read(&from_parent, &mut word));
    if errno != 0 || told != Ok(4) || heard != Ok(1) {
        // The parent knows what went wrong, or is dead; either way it speaks, not this process.
        sys::exit_now(1);
    }
    sys::block_signals(SIGNALS, libc::SIG_UNBLOCK);
    let Err(error) = become_root(parent).and_then(|()| check()) else { return Ok(()) };
    let said = match &error {
        Error::Lacking { what, hint } => format!("{what}{BETWEEN}{hint}"),
        error => format!("{}{BETWEEN}{}", chain(error), "or run as root"),
    };
    // If it cannot be told, the parent ends as this process does.
    let _ = File::from(tell_parent).write_all(said.as_bytes());
    sys::exit_now(1);
}

fn become_root(parent: Pid) -> Result<(), Error> {
    let failed = "become root of the user namespace";
    rustix::thread::set_thread_res_gid(Gid::ROOT, Gid::ROOT, Gid::ROOT)
        .map_err(Error::setup(failed))?;
    rustix::thread::set_thread_res_uid(Uid::ROOT, Uid::ROOT, Uid::ROOT)
        .map_err(Error::setup(failed))?;

    // Changing ids forgets the signal, so it is asked for now. If the parent died before, this
    // process has another parent by now.
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(Error::setup("tie the process to its parent"))?;
    if rustix::process::getppid() != Some(parent) {
        sys::exit_now(1);
    }
    check_capabilities()
}

/// Tries out what only a user namespace with capabilities can do: AppArmor lets everybody make one
/// on some systems and takes the capabilities away.
fn check_capabilities() -> Result<(), Error> {
    let root = rustix::fs::open(
        "/",
        rustix::fs::OFlags::PATH | rustix::fs::OFlags::CLOEXEC,
        rustix::fs::Mode::empty(),
    );
    let root = root.map_err(Error::setup("open `/`"))?;
    let none = rustix::mount::MountAttrFlags::empty();
    sys::mount_setattr(&root, sys::Depth::Recursive, none).map_err(no_user_namespace)
}

/// Explains why user namespaces do not work, by the settings that forbid them.
fn no_user_namespace(source: io::Error) -> Error {
    let is = |file: &str, value: &str| {
        fs::read_to_string(format!("/proc/sys/{file}")).is_ok_and(|text| text.trim() == value)
    };
    let hint = if is("kernel/apparmor_restrict_unprivileged_userns", "1") {
        "AppArmor keeps ordinary users from it; as root: \
         sysctl -w kernel.apparmor_restrict_unprivileged_userns=0, or give kiln a profile with \
         `userns,`, or run as root"
    } else if is("kernel/unprivileged_userns_clone", "0") {
        "as root: sysctl -w kernel.unprivileged_userns_clone=1, or run as root"
    } else if is("user/max_user_namespaces", "0") {
        "as root: sysctl -w user.max_user_namespaces=15000, or run as root"
    } else if rustix::process::geteuid().is_root() {
        "this root has no CAP_SYS_ADMIN, as in an ordinary container; start the container with \
         --privileged, or with --security-opt seccomp=unconfined --security-opt apparmor=unconfined"
    } else {
        "a container's seccomp filter or a security module forbids it (no sysctl does); allow \
         unshare and mount there, or run as root"
    };
    Error::NoUserNamespace { hint: hint.to_owned(), source }
}

/// Waits for the end of the child, passing signals on to it meanwhile.
///
/// A `^C` goes from the terminal to both, so it is not passed on a second time.
fn pass_signals_on(child: Pid) -> WaitStatus {
    loop {
        if let Ok(arrival) = sys::wait_for_signal(SIGNALS)
            && arrival.signal != libc::SIGCHLD
            && arrival.from_process
            && let Some(signal) = Signal::from_named_raw(arrival.signal)
        {
            // It fails only if the child is dead, which the next lines find out.
            let _ = rustix::process::kill_process(child, signal);
        }
        if let Ok(Some((_, status))) = rustix::process::waitpid(Some(child), WaitOptions::NOHANG) {
            return status;
        }
    }
}

/// Ends this process as the child ended.
fn end_as(status: WaitStatus) -> ! {
    let code = match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => code,
        (None, Some(signal)) => {
            sys::die_by(signal);
            128 + signal
        }
        (None, None) => 1,
    };
    std::process::exit(code)
}

/// The write end and the read end of a pipe.
pub(super) fn pipe() -> Result<(std::os::fd::OwnedFd, std::os::fd::OwnedFd), Error> {
    let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
        .map_err(Error::setup("make a pipe"))?;
    Ok((write, read))
}

/// How a helper program ended, for an error's text.
pub(super) fn describe(status: ExitStatus, stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    if text.trim().is_empty() { status.to_string() } else { text.trim().to_owned() }
}
