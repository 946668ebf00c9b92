//! The caller's hold on a supervisor: start it, tell it what to do, hear from it, wait for its end.

use std::io;
use std::os::fd::AsFd;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::process::ExitStatus;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use rustix::net::AddressFamily;
use rustix::net::Shutdown;
use rustix::net::SocketFlags;
use rustix::net::SocketType;
use rustix::process::Pid;
use rustix::process::WaitOptions;

use crate::Error;
use crate::Terminal;
use crate::executable;
use crate::supervisor::ARG0;
use crate::wire;
use crate::wire::Luggage;
use crate::wire::Order;
use crate::wire::Report;

/// A supervisor that waits for its order, and the read ends of what it writes to, and the program after it.
#[derive(Debug)]
pub(crate) struct Ready {
    pub(crate) supervisor: Supervisor,
    pub(crate) stdout: Option<OwnedFd>,
    pub(crate) stderr: Option<OwnedFd>,
}

impl Ready {
    /// Starts one, with pipes unless there is to be a terminal.
    pub(crate) fn start(terminal: Terminal) -> Result<Self, Error> {
        let (outputs, stdout, stderr) = match terminal {
            Terminal::None => {
                Outputs::piped().map(|(all, out, err)| (all, Some(out), Some(err)))?
            }
            Terminal::Pty => (Outputs::null()?, None, None),
        };
        Ok(Self { supervisor: Supervisor::start(outputs)?, stdout, stderr })
    }
}

/// The supervisor process, a child of this one, and the socket to it.
///
/// It is tied to this process by the socket and not by a parent death signal, which would come
/// when the calling *thread* ends.
#[derive(Debug)]
pub(crate) struct Supervisor {
    /// None once somebody else waits for its end.
    pid: Option<Pid>,
    ended: Option<ExitStatus>,
    pub(super) socket: Arc<OwnedFd>,
    /// Who waits for its end when it has nothing left to do, if that is not this.
    leaving: Option<Arc<Leaving>>,
}

/// Processes that have nothing left to do but to end, which takes them longer than what others can do meanwhile.
#[derive(Debug, Default)]
pub(crate) struct Leaving(Mutex<Vec<Pid>>);

impl Leaving {
    fn lock(&self) -> MutexGuard<'_, Vec<Pid>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets go of those that have ended.
    pub(crate) fn look_round(&self) {
        let has_ended = |pid: &Pid| {
            !matches!(rustix::process::waitpid(Some(*pid), WaitOptions::NOHANG), Ok(None))
        };
        self.lock().retain(|pid| !has_ended(pid));
    }
}

impl Drop for Leaving {
    fn drop(&mut self) {
        for pid in self.lock().drain(..) {
            // It fails only when somebody else has waited for it.
            let _ = wait_for(pid);
        }
    }
}

/// Where a supervisor, and the program after it, writes.
#[derive(Debug)]
pub(crate) struct Outputs {
    pub(crate) stdout: OwnedFd,
    pub(crate) stderr: OwnedFd,
}

impl Outputs {
    /// Pipes, and the ends to read from.
    pub(crate) fn piped() -> Result<(Self, OwnedFd, OwnedFd), Error> {
        let pipe = || rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC);
        let (read_stdout, stdout) = pipe().map_err(Error::setup("make a pipe"))?;
        let (read_stderr, stderr) = pipe().map_err(Error::setup("make a pipe"))?;
        Ok((Self { stdout, stderr }, read_stdout, read_stderr))
    }

    /// Nowhere.
    pub(crate) fn null() -> Result<Self, Error> {
        let null = || {
            rustix::fs::open(
                "/dev/null",
                rustix::fs::OFlags::WRONLY | rustix::fs::OFlags::CLOEXEC,
                rustix::fs::Mode::empty(),
            )
        };
        let failed = "open `/dev/null`";
        Ok(Self {
            stdout: null().map_err(Error::setup(failed))?,
            stderr: null().map_err(Error::setup(failed))?,
        })
    }
}

impl Supervisor {
    /// Starts a supervisor, which waits for its order.
    pub(crate) fn start(outputs: Outputs) -> Result<Self, Error> {
        let (ours, theirs) = sockets()?;
        let pid = execute(ARG0, theirs, outputs.stdout.into(), outputs.stderr.into())?;
        Ok(Self { pid: Some(pid), ended: None, socket: Arc::new(ours), leaving: None })
    }

    /// Takes one that was started by others as a child of this process; `leaving` waits for its end.
    pub(crate) fn of(pid: Pid, socket: OwnedFd, leaving: Arc<Leaving>) -> Self {
        Self { pid: Some(pid), ended: None, socket: Arc::new(socket), leaving: Some(leaving) }
    }

    /// Tells it what to do.
    pub(crate) fn order(&mut self, order: &Order, luggage: &Luggage) -> Result<(), Error> {
        match wire::send_order(&self.socket, order, luggage) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(self.lost()),
            Err(error) => Err(Error::setup("send the order to the supervisor")(error)),
        }
    }

    /// Waits for what it says next.
    pub(crate) fn next_report(&mut self) -> Result<(Report, Option<OwnedFd>), Error> {
        match wire::receive_report(self.socket.as_fd()) {
            Ok(Some(report)) => Ok(report),
            Ok(None) => Err(self.lost()),
            Err(error) => Err(Error::setup("hear from the supervisor")(error)),
        }
    }

    /// The error for a supervisor that is gone.
    fn lost(&mut self) -> Error {
        let how = match self.wait() {
            Ok(status) => status.to_string(),
            Err(error) => error.to_string(),
        };
        Error::SupervisorLost { how }
    }

    /// To be called when it has said its last word: all that it was to do is done then, and nothing that others could use is
    /// open any more. Waits for its end only if nobody else does.
    pub(crate) fn finish(&mut self) -> io::Result<()> {
        match &self.leaving {
            Some(leaving) => leaving.lock().extend(self.pid.take()),
            None => drop(self.wait()?),
        }
        Ok(())
    }

    /// Waits for its end; any number of times.
    pub(crate) fn wait(&mut self) -> io::Result<ExitStatus> {
        if let Some(status) = self.ended {
            return Ok(status);
        }
        let pid = self.pid.ok_or(io::ErrorKind::NotFound)?;
        let status = wait_for(pid)?;
        self.ended = Some(status);
        Ok(status)
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        if self.pid.is_none() {
            return;
        }
        // Ends everything, if it has not ended. Both fail only when it has, or was waited for.
        let _ = rustix::net::shutdown(&*self.socket, Shutdown::Both);
        let _ = self.wait();
    }
}

/// Makes the two ends of a line to a process that is about to be started.
pub(crate) fn sockets() -> Result<(OwnedFd, OwnedFd), Error> {
    let flags = SocketFlags::CLOEXEC;
    rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)
        .map_err(Error::setup("make a pair of sockets"))
}

/// Starts this executable once more under another name, with this socket as its standard input.
pub(crate) fn execute(
    name: &str,
    socket: OwnedFd,
    stdout: Stdio,
    stderr: Stdio,
) -> Result<Pid, Error> {
    let failed = "start the supervisor";
    let process = Command::new(executable::path()?)
        .arg0(name)
        .env_clear()
        .stdin(socket)
        .stdout(stdout)
        .stderr(stderr)
        .spawn()
        .map_err(Error::setup(failed))?;
    let pid = i32::try_from(process.id()).ok().and_then(Pid::from_raw);
    pid.ok_or(rustix::io::Errno::RANGE).map_err(Error::setup(failed))
}

/// Waits for the end of a child of this process.
pub(crate) fn wait_for(pid: Pid) -> io::Result<ExitStatus> {
    let ended =
        rustix::io::retry_on_intr(|| rustix::process::waitpid(Some(pid), WaitOptions::empty()))?;
    let (_, status) = ended.ok_or(io::ErrorKind::NotFound)?;
    Ok(ExitStatus::from_raw(status.as_raw()))
}
