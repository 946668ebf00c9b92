//! A supervisor that has no order yet and copies itself: much faster than starting this executable for each step.
//!
//! Most of a supervisor's start is the work of the linker and the pages it writes to. A zygote has that behind it, once per
//! build; a copy of it has the same sealed executable, and is a child of the caller like one that was started.
//!
//! ```text
//! caller → zygote   MAGIC, with three descriptors: the supervisor's socket, standard output and standard error
//! zygote → caller   the process id of the copy, or the negative error number (i32, little endian)
//! ```
//!
//! The caller closing its end, or dying, ends it; its copies have sockets of their own.

use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use rustix::process::Pid;
use rustix::process::WaitOptions;
use rustix::process::waitpid;

use crate::Child;
use crate::Error;
use crate::Spec;
use crate::Terminal;
use crate::seccomp;
use crate::signals;
use crate::spawn;
use crate::spawn::supervisor::Leaving;
use crate::spawn::supervisor::Outputs;
use crate::spawn::supervisor::Ready;
use crate::spawn::supervisor::Supervisor;
use crate::spawn::supervisor::execute;
use crate::spawn::supervisor::sockets;
use crate::spawn::supervisor::wait_for;
use crate::sys;
use crate::sys::Alone;
use crate::wire;

/// The name by which a zygote knows that it is one.
pub(crate) const ARG0: &str = "kiln-zygote";

/// The caller's messages. The version changes with the format.
const MAGIC: &[u8] = b"kiln-zygote/1";

/// Starts many sandboxes fast. It has a process, from the first one on, that ends when this is dropped.
#[derive(Debug, Default)]
pub struct Zygote {
    process: Mutex<Option<Process>>,
    leaving: Arc<Leaving>,
}

#[derive(Debug)]
struct Process {
    pid: Pid,
    socket: Option<OwnedFd>,
    /// A copy that was asked for before it is needed.
    spare: Option<Asked>,
    /// A spare copy that was told to end.
    dismissed: Option<Pid>,
}

/// A copy that the zygote has not told of yet: its socket, and what it writes to.
#[derive(Debug)]
struct Asked {
    socket: OwnedFd,
    stdout: OwnedFd,
    stderr: OwnedFd,
}

impl Zygote {
    /// As [`crate::spawn()`].
    pub fn spawn(&self, spec: Spec) -> Result<Child, Error> {
        match spec.terminal {
            Terminal::None => spawn::spawn_by(spec, || self.take()),
            // Made with other outputs.
            Terminal::Pty => spawn::spawn(spec),
        }
    }

    /// Has a process made for the next sandbox, to be called some time before it is spawned: this does not wait for it. What
    /// goes wrong is found by [`Zygote::spawn`].
    pub fn prepare(&self) {
        self.leaving.look_round();
        let mut process = self.lock();
        if process.is_none() {
            *process = Process::start().ok();
        }
        if let Some(process) = &mut *process
            && process.spare.is_none()
        {
            process.spare = process.ask().ok();
        }
    }

    /// Lets its process end, if there is one: no sandbox is to be spawned for some time. Who drops this waits for that.
    pub fn rest(&self) {
        if let Some(process) = &mut *self.lock() {
            process.dismiss();
        }
    }

    /// Returns a supervisor, which waits for its order.
    fn take(&self) -> Result<Ready, Error> {
        let mut process = self.lock();
        if process.is_none() {
            *process = Some(Process::start()?);
        }
        match process.as_mut().map(|process| process.take(&self.leaving)) {
            Some(Ok(ready)) => Ok(ready),
            // It was killed, or may have no more processes: the error of trying by oneself says more.
            _ => {
                *process = None;
                Ready::start(Terminal::None)
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Process>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Process {
    fn start() -> Result<Self, Error> {
        let (ours, theirs) = sockets()?;
        let pid = execute(ARG0, theirs, Stdio::null(), Stdio::null())?;
        Ok(Self { pid, socket: Some(ours), spare: None, dismissed: None })
    }

    /// Lets it and its spare copy see that nobody wants them any more, so that they end, side by side.
    fn dismiss(&mut self) {
        self.dismissed = self.take_spare().map(|(_, pid)| pid).or(self.dismissed);
        self.socket = None;
    }

    /// Returns the spare copy or a new one.
    fn take(&mut self, leaving: &Arc<Leaving>) -> Result<Ready, Error> {
        let (asked, pid) = match self.take_spare() {
            Some(spare) => spare,
            None => (self.ask()?, self.hear().map_err(Error::setup("copy the process"))?),
        };
        let supervisor = Supervisor::of(pid, asked.socket, Arc::clone(leaving));
        Ok(Ready { supervisor, stdout: Some(asked.stdout), stderr: Some(asked.stderr) })
    }

    /// Returns the spare copy, unless somebody has killed it.
    fn take_spare(&mut self) -> Option<(Asked, Pid)> {
        let spare = self.spare.take()?;
        let pid = self.hear().ok()?;
        let lives = matches!(waitpid(Some(pid), WaitOptions::NOHANG), Ok(None));
        lives.then_some((spare, pid))
    }

    fn ask(&self) -> Result<Asked, Error> {
        let failed = "copy the process";
        let line = self.line().map_err(Error::setup(failed))?;
        let (ours, theirs) = sockets()?;
        let (outputs, stdout, stderr) = Outputs::piped()?;
        let all = [theirs.as_fd(), outputs.stdout.as_fd(), outputs.stderr.as_fd()];
        wire::send(line, MAGIC, &all).map_err(Error::setup(failed))?;
        Ok(Asked { socket: ours, stdout, stderr })
    }

    /// Waits for the answer to what was asked first of what has no answer yet.
    fn hear(&self) -> std::io::Result<Pid> {
        let (answer, _) = wire::receive(self.line()?)?;
        let answer = answer.try_into().map(i32::from_le_bytes);
        match answer.map(|number| (number, Pid::from_raw(number.max(0)))) {
            Ok((_, Some(pid))) => Ok(pid),
            Ok((errno, None)) => Err(std::io::Error::from_raw_os_error(errno.saturating_neg())),
            Err(_) => Err(rustix::io::Errno::PIPE.into()),
        }
    }

    fn line(&self) -> Result<BorrowedFd<'_>, rustix::io::Errno> {
        self.socket.as_ref().map(AsFd::as_fd).ok_or(rustix::io::Errno::PIPE)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.dismiss();
        for pid in self.dismissed.into_iter().chain([self.pid]) {
            // It fails only when somebody else has waited for it.
            let _ = wait_for(pid);
        }
    }
}

/// The life of a zygote. Returns in each of its copies, whose standard input is the socket of a supervisor then.
pub(crate) fn live(caller: BorrowedFd<'_>) -> Result<(), Error> {
    let failed = "copy the process";
    // What a terminal sends is for the caller to answer; it fails only for the leader of a group.
    let _ = rustix::process::setsid();
    sys::block_signals(signals::ASKING, libc::SIG_BLOCK);
    let alone = Alone::check().map_err(Error::setup(failed))?;
    // Once for all copies.
    sys::ignored_signals();
    seccomp::remember_usual();
    loop {
        let (message, descriptors) = wire::receive(caller).map_err(Error::setup(failed))?;
        let Ok([socket, stdout, stderr]) = <[OwnedFd; 3]>::try_from(descriptors) else {
            sys::exit_now(0)
        };
        if message != MAGIC {
            sys::exit_now(0);
        }
        let answer = match sys::fork_sibling(&alone) {
            Ok(None) => return become_supervisor(&socket, &stdout, &stderr),
            Ok(Some(pid)) => pid.as_raw_nonzero().get(),
            Err(error) => -error.raw_os_error().unwrap_or(libc::EIO),
        };
        wire::send(caller, &answer.to_le_bytes(), &[]).map_err(Error::setup(failed))?;
    }
}

fn become_supervisor(socket: &OwnedFd, stdout: &OwnedFd, stderr: &OwnedFd) -> Result<(), Error> {
    let failed = "connect the supervisor";
    rustix::stdio::dup2_stdin(socket).map_err(Error::setup(failed))?;
    rustix::stdio::dup2_stdout(stdout).map_err(Error::setup(failed))?;
    rustix::stdio::dup2_stderr(stderr).map_err(Error::setup(failed))
}
