//! A program in a container, as its keeper has it: the container's own, or one of `kiln exec`.

use std::{os::fd::OwnedFd, thread};

use sandbox::{Child, Exit, Killer};

use super::{
    log::LogWriter,
    streams::{self, Input, Listeners, OutputStream},
    wire::Size,
};
use crate::Error;

/// A program that runs, to whoever wants something of it.
#[derive(Debug)]
pub(super) struct Program {
    killer: Killer,
    pty: Option<OwnedFd>,
    pub(super) input: Input,
    pub(super) listeners: Listeners,
}

/// The ends of its output, to be passed on by [`Program::run`].
#[derive(Debug)]
pub(super) struct Outputs(Vec<(OutputStream, OwnedFd)>);

impl Program {
    /// Takes the streams of a process that was just started; `stdin` is the other end of what it reads, if that is a pipe.
    pub(super) fn of(child: &mut Child, stdin: Option<OwnedFd>) -> Result<(Self, Outputs), Error> {
        let clone =
            |descriptor: &OwnedFd| descriptor.try_clone().map_err(Error::io("use", "/dev/ptmx"));
        let pty = child.take_pty();
        let mut outputs = Vec::new();
        let mut input = stdin;
        match &pty {
            Some(pty) => {
                outputs.push((OutputStream::Stdout, clone(pty)?));
                input = Some(clone(pty)?);
            }
            None => {
                outputs.extend(child.take_stdout().map(|pipe| (OutputStream::Stdout, pipe)));
                outputs.extend(child.take_stderr().map(|pipe| (OutputStream::Stderr, pipe)));
            }
        }
        let program = Self {
            killer: child.killer(),
            pty,
            input: Input::new(input),
            listeners: Listeners::default(),
        };
        Ok((program, Outputs(outputs)))
    }

    /// Passes its output on until it has ended and everything it wrote is read.
    pub(super) fn run(
        &self,
        child: &mut Child,
        outputs: Outputs,
        log: Option<&LogWriter>,
    ) -> Result<Exit, Error> {
        let (ended, end) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
            .map_err(Error::errno("use", "a pipe"))?;
        thread::scope(|scope| {
            let (ended, listeners) = (&ended, &self.listeners);
            for (stream, from) in outputs.0 {
                scope.spawn(move || streams::pump(from, stream, ended, log, listeners));
            }
            let exit = child.wait();
            self.listeners.stop_waiting();
            drop(end);
            Ok(exit?)
        })
    }

    /// Sends it a signal.
    pub(super) fn signal(&self, signal: i32) {
        self.killer.signal(signal);
    }

    /// Kills it.
    pub(super) fn kill(&self) {
        self.killer.kill();
    }

    /// Whether it has a terminal.
    pub(super) fn has_terminal(&self) -> bool {
        self.pty.is_some()
    }

    /// Gives its terminal another size, if it has one.
    pub(super) fn resize(&self, size: Size) {
        if let Some(pty) = &self.pty {
            streams::resize(pty, size);
        }
    }
}

/// Returns what a program reads and the other end of it; a program with a terminal reads that.
pub(super) fn stdin(
    interactive: bool,
    terminal: bool,
) -> Result<(sandbox::Stdin, Option<OwnedFd>), Error> {
    if !interactive || terminal {
        return Ok((sandbox::Stdin::Null, None));
    }
    let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
        .map_err(Error::errno("use", "a pipe"))?;
    Ok((sandbox::Stdin::Given(read), Some(write)))
}

/// Returns the exit code of a program: its own, or 128 and the signal that ended it.
pub(super) fn exit_code(exit: Exit) -> i32 {
    match exit {
        Exit::Code(code) => code,
        Exit::Signal(signal) => 128 + signal,
    }
}

/// A root file system seen through a process that lives in it: with everything mounted there.
pub(super) fn root_of(process: &sandbox::Process) -> Result<filetree::RootDir, Error> {
    let path = format!("/proc/{}/root", process.pid);
    let flags =
        rustix::fs::OFlags::PATH | rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC;
    let root = rustix::fs::open(&path, flags, rustix::fs::Mode::empty());
    let root = root.map_err(Error::errno("open", &path))?;
    // The number may be another process's by now; then this one has ended.
    is_alive(process)
        .then(|| filetree::RootDir::from_fd(root))
        .ok_or(Error::Lost { what: "its process" })
}

fn is_alive(process: &sandbox::Process) -> bool {
    let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
    let mut events =
        [rustix::event::PollFd::new(&process.descriptor, rustix::event::PollFlags::IN)];
    rustix::event::poll(&mut events, Some(&now)).is_ok_and(|ended| ended == 0)
}
