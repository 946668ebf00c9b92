//! The re-executed binary: a small process with one thread between the caller and the sandbox.
//!
//! It starts the sandbox's first process in new namespaces, waits for its end, and removes what was
//! made in the root for mounts. It stays outside the namespaces itself, so that no process of ours is
//! seen inside. What the first process does is in `container`.

use std::io;
use std::io::Read;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;

use rustix::event::PollFd;
use rustix::event::PollFlags;
use rustix::net::AddressFamily;
use rustix::net::RecvFlags;
use rustix::net::SocketType;
use rustix::process::Pid;
use rustix::process::PidfdFlags;
use rustix::process::WaitOptions;
use serde::Deserialize;
use serde::Serialize;

use crate::Error;
use crate::MountPoints;
use crate::cgroup::Groups;
use crate::chroot;
use crate::container;
use crate::container::Lines;
use crate::emulation;
use crate::join;
use crate::network;
use crate::network::gate;
use crate::network::gate::Outside;
use crate::network::gate::Waiting;
use crate::signals;
use crate::sys;
use crate::sys::Alone;
use crate::target;
use crate::target::Stub;
use crate::wire;
use crate::wire::Failure;
use crate::wire::Job;
use crate::wire::Luggage;
use crate::wire::NetworkJob;
use crate::wire::Order;
use crate::wire::Report;
use crate::zygote;

/// The name by which a supervisor knows that it is one.
pub(crate) const ARG0: &str = "kiln-sandbox";

/// What the first process tells the supervisor, one JSON line each, before it is replaced.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Word {
    /// These were made in the root.
    Stubs(Vec<Stub>),
    /// It gives up.
    Failed(Failure),
}

/// Runs the supervisor if this process was started as one, and then never returns.
///
/// Must be the first call of `main`, before any thread exists. A supervisor is recognised by its
/// name and by the socket that is its standard input; it may be a copy of a zygote, which is recognised likewise.
pub fn reexec_if_asked() {
    let name = std::env::args_os().next().unwrap_or_default();
    let is_zygote = name.as_bytes() == zygote::ARG0.as_bytes();
    if !is_zygote && name.as_bytes() != ARG0.as_bytes() {
        return;
    }
    let socket = rustix::stdio::stdin();
    let is = |family, kind| {
        rustix::net::sockopt::socket_domain(socket) == Ok(family)
            && rustix::net::sockopt::socket_type(socket) == Ok(kind)
    };
    if !is(AddressFamily::UNIX, SocketType::SEQPACKET) {
        return;
    }
    if is_zygote && zygote::live(socket).is_err() {
        sys::exit_now(1);
    }
    let report = match wire::receive_order(socket) {
        Ok(Some((order, luggage))) => follow(&order, &luggage, socket),
        // A copy that was not needed.
        Ok(None) if is_zygote => sys::exit_now(0),
        Ok(None) => return,
        Err(error) => Err(Error::setup("read the order")(error)),
    };
    let report = report.unwrap_or_else(|error| Report::Failed(error.into()));
    // The caller does not wait for the end of this process: its luggage is dropped by now, and this closes the output, which
    // others read to its end. It cannot fail for what is open.
    let _ = rustix::stdio::dup2_stdout(socket).and_then(|()| rustix::stdio::dup2_stderr(socket));
    // If the caller is gone there is nobody to tell.
    let _ = wire::send_report(socket, &report, None);
    sys::exit_now(0)
}

/// Makes this process one of its own, apart from the one that started it: a session without a terminal, the root
/// directory, no descriptor but 0, 1 and 2, the usual mode for new files. To be called before anything is opened.
pub fn leave_caller() -> Result<(), Error> {
    let failed = "leave the session of the caller";
    rustix::process::setsid().map_err(Error::setup(failed))?;
    rustix::process::chdir("/").map_err(Error::setup(failed))?;
    // It was executed by a link that has another one.
    rustix::thread::set_name(c"kiln-keep").map_err(Error::setup(failed))?;
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    sys::close_from(3).map_err(Error::setup(failed))
}

fn follow(order: &Order, luggage: &Luggage, caller: BorrowedFd<'_>) -> Result<Report, Error> {
    // Signals for the caller's process group are the caller's to answer. It fails only for the
    // leader of a group, which a process just started by another is not.
    let _ = rustix::process::setsid();
    rustix::thread::set_name(c"kiln-sandbox").map_err(Error::setup("set a process name"))?;
    // Who asks all processes to end asks the caller as well, who ends this one when it is time.
    sys::block_signals(signals::ASKING, libc::SIG_BLOCK);
    match order {
        Order::Run(job) if job.aside.is_some() => chroot::run(job, luggage, caller),
        Order::Run(job) => run(job, luggage, caller),
        Order::Join(job) => join::run(job, luggage, caller),
        Order::Network { pasta, arguments } => network::keep(pasta, arguments, luggage, caller),
    }
}

/// The two pipes between the supervisor and a first process, before the fork.
pub(crate) struct Pipes {
    /// For [`Word`]s.
    words: OwnedFd,
    speak: OwnedFd,
    /// The child sees by this pipe whether the supervisor lives: nobody ever writes to it.
    alive: OwnedFd,
    hold: OwnedFd,
}

/// What the supervisor has of them after the fork.
pub(crate) struct Ears<'a> {
    words: OwnedFd,
    hold: OwnedFd,
    /// The gate to its network, if it has one.
    gate: Option<Outside<'a>>,
}

impl Pipes {
    pub(crate) fn open() -> Result<Self, Error> {
        let pipe = || rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC);
        let failed = "make a pipe";
        let (words, speak) = pipe().map_err(Error::setup(failed))?;
        let (alive, hold) = pipe().map_err(Error::setup(failed))?;
        Ok(Self { words, speak, alive, hold })
    }

    /// The child's ends.
    pub(crate) fn lines(self, caller: BorrowedFd<'_>) -> Lines<'_> {
        Lines {
            caller,
            speak: self.speak,
            alive: self.alive,
            gate: None,
            paths: None,
            emulation: None,
        }
    }

    /// The supervisor's ends.
    pub(crate) fn ears(self) -> Ears<'static> {
        Ears { words: self.words, hold: self.hold, gate: None }
    }
}

/// Runs the job to its end.
fn run(job: &Job, luggage: &Luggage, caller: BorrowedFd<'_>) -> Result<Report, Error> {
    let groups = Groups::make(&job.resources)?;
    let pipes = Pipes::open()?;
    let alone = Alone::check().map_err(Error::setup("make the namespaces"))?;
    let gate = match job.network {
        NetworkJob::Awaited(_, gate) => Some(gate),
        NetworkJob::Host | NetworkJob::None | NetworkJob::Joined(_) => None,
    };
    let waiting = gate.map(|gate| Waiting::at(gate, luggage)).transpose()?;
    let (emulation, emulator) = emulation::share(waiting)?.unzip();
    let gate = gate.filter(|_| emulation.is_none());
    let (inside, outside) = gate.map(|gate| gate::share(gate, luggage)).transpose()?.unzip();
    let Some(first) = fork(job, groups.is_some(), &alone)? else {
        drop((outside, emulator));
        let lines = Lines { gate: inside, emulation, ..pipes.lines(caller) };
        container::run(job, luggage, &lines, groups.as_ref(), &alone);
    };
    drop((inside, emulation));
    let busy = emulator.map(|emulator| emulator.start(&job.rights)).transpose()?;
    let (report, stubs) = end_of(first, caller, Ears { gate: outside, ..pipes.ears() })?;
    if let Some(busy) = busy {
        busy.end();
    }
    if groups.as_ref().is_some_and(Groups::ran_out_of_memory) {
        // If the caller is gone there is nobody to tell.
        let _ = wire::send_report(caller, &Report::OutOfMemory, None);
    }
    drop(groups);
    let root = luggage.at(job.root).map_err(Error::setup("find the root"))?;
    target::remove(root, &stubs)?;
    Ok(report)
}

/// Waits for the end of a first process; says how it ended, and what it has made in the root.
pub(crate) fn end_of(
    first: Pid,
    caller: BorrowedFd<'_>,
    ears: Ears<'_>,
) -> Result<(Report, Vec<Stub>), Error> {
    let said = watch(first, caller, ears.words, ears.gate)?;
    let (_, status) = rustix::process::waitpid(Some(first), WaitOptions::empty())
        .map_err(Error::setup("wait for the process"))?
        .ok_or_else(|| {
            Error::setup("wait for the process")(io::Error::from(io::ErrorKind::Other))
        })?;
    drop(ears.hold);
    let (failure, stubs) = understand(&said);
    let report = match (failure, status.exit_status(), status.terminating_signal()) {
        (Some(failure), _, _) => Report::Failed(failure),
        (None, Some(code), _) => Report::Exited(code),
        (None, None, signal) => Report::Killed(signal.unwrap_or(0)),
    };
    Ok((report, stubs))
}

/// What the first process has said: why it gave up, if it did, and what it has made in the root.
fn understand(said: &[u8]) -> (Option<Failure>, Vec<Stub>) {
    let mut failure = None;
    let mut stubs = Vec::new();
    for line in said.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        match serde_json::from_slice(line) {
            Ok(Word::Stubs(made)) => stubs = made,
            Ok(Word::Failed(why)) => failure = Some(why),
            // Killed in the middle of a word.
            Err(_) => break,
        }
    }
    (failure, stubs)
}

/// Forks into new namespaces: `None` in the child, which is the first process of them.
fn fork(job: &Job, in_groups: bool, alone: &Alone) -> Result<Option<Pid>, Error> {
    let mut namespaces =
        libc::CLONE_NEWNS | libc::CLONE_NEWPID | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS;
    if matches!(job.network, NetworkJob::None) {
        namespaces |= libc::CLONE_NEWNET;
    }
    // A namespace of control groups begins at the group that its maker is in, so that comes later.
    if in_groups {
        return sys::fork_into(namespaces, alone).map_err(Error::setup("make the namespaces"));
    }
    match sys::fork_into(namespaces | libc::CLONE_NEWCGROUP, alone) {
        // A kernel without control groups.
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
            sys::fork_into(namespaces, alone)
        }
        result => result,
    }
    .map_err(Error::setup("make the namespaces"))
}

/// Waits for the end of the first process, which is the end of all, and hears what it says. Kills it
/// when the caller wants so or is dead.
fn watch(
    first: Pid,
    caller: BorrowedFd<'_>,
    words: OwnedFd,
    mut gate: Option<Outside<'_>>,
) -> Result<Vec<u8>, Error> {
    let failed = "watch the process";
    let process =
        rustix::process::pidfd_open(first, PidfdFlags::empty()).map_err(Error::setup(failed))?;
    let mut words = Some(std::fs::File::from(words));
    let mut said = Vec::new();
    let mut caller = Some(caller);
    loop {
        let mut events = vec![PollFd::new(&process, PollFlags::IN)];
        if let Some(caller) = &caller {
            events.push(PollFd::new(caller, PollFlags::IN | PollFlags::RDHUP));
        }
        if let Some(words) = &words {
            events.push(PollFd::new(words, PollFlags::IN));
        }
        if let Some(gate) = &gate {
            let all = gate.descriptors().into_iter();
            events.extend(all.map(|it| PollFd::from_borrowed_fd(it, PollFlags::IN)));
        }
        rustix::io::retry_on_intr(|| rustix::event::poll(&mut events, None))
            .map_err(Error::setup(failed))?;
        let ready: Vec<bool> = events.iter().map(|event| !event.revents().is_empty()).collect();
        drop(events);

        let caller_ready = caller.is_some() && ready.get(1) == Some(&true);
        let words_ready = ready.get(1 + usize::from(caller.is_some())) == Some(&true);
        if let Some(gate) = &mut gate {
            gate.serve()?;
        }
        if ready.first() == Some(&true) {
            break;
        }
        if caller_ready {
            let signal = caller.and_then(signal_for_the_first);
            // It fails when the process has ended, which the next turn sees, and for what is no signal.
            let _ = sys::kill(first, signal.unwrap_or(libc::SIGKILL));
            caller = caller.filter(|_| signal.is_some());
        }
        if words_ready && let Some(pipe) = &mut words {
            let mut some = [0; 4096];
            let read = rustix::io::retry_on_intr(|| rustix::io::read(&*pipe, &mut some));
            match read.map_err(Error::setup(failed))? {
                0 => {
                    words = None;
                    tell_start(first, &process, &said, caller);
                }
                length => said.extend_from_slice(&some[..length]),
            }
        }
    }
    // Its last words; nobody else holds the other end any more.
    if let Some(mut pipe) = words {
        pipe.read_to_end(&mut said).map_err(Error::setup(failed))?;
        tell_start(first, &process, &said, caller);
    }
    Ok(said)
}

/// Tells the caller that the program runs, unless the last words were a failure.
fn tell_start(first: Pid, process: &OwnedFd, said: &[u8], caller: Option<BorrowedFd<'_>>) {
    if let ((None, stubs), Some(caller)) = (understand(said), caller) {
        tell_stubs(stubs, caller);
        let report = Report::Started(first.as_raw_nonzero().get());
        // If the caller is gone, the next turn sees it.
        let _ = wire::send_report(caller, &report, Some(process.as_fd()));
    }
}

/// Tells the caller what was made in the root, in messages that it can take.
fn tell_stubs(mut stubs: Vec<Stub>, caller: BorrowedFd<'_>) {
    while !stubs.is_empty() {
        let rest = stubs.split_off(stubs.len().min(wire::STUBS));
        let report = Report::MountPoints(MountPoints(stubs));
        let _ = wire::send_report(caller, &report, None);
        stubs = rest;
    }
}

/// The signal that the caller wants the first process to get; none if it wants no more of it, or is dead.
fn signal_for_the_first(caller: BorrowedFd<'_>) -> Option<i32> {
    let mut message = [0; 4];
    let received = rustix::net::recv(caller, message.as_mut_slice(), RecvFlags::DONTWAIT);
    match received {
        Ok((4, _)) => Some(i32::from_ne_bytes(message)),
        _ => None,
    }
}

/// Whether the other end of a pipe that is never written to is gone.
pub(crate) fn is_abandoned(alive: &OwnedFd) -> bool {
    let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
    let mut events = [PollFd::from_borrowed_fd(alive.as_fd(), PollFlags::IN)];
    rustix::event::poll(&mut events, Some(&now)).is_ok_and(|count| count > 0)
}
