//! `kiln run --rm`: a command in a container made from an image, which is gone when the command ends.
//!
//! What the command writes goes into a snapshot that is removed when it ends.

use std::{
    fs::File,
    io::{self, Read, Write},
    os::fd::AsFd,
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use sandbox::{Child, Exit, Killer, RawMode, Stdin};
use store::Image;

use super::{options::ContainerOptions, spec};
use crate::{Engine, Error, rootfs};

/// What to run.
#[derive(Debug)]
pub struct RunRequest {
    /// The image.
    pub image: Image,
    /// How it differs from what the image says.
    pub options: ContainerOptions,
    /// How signals reach it.
    pub signals: Signals,
}

/// Passes signals on to a running command. Clones lead to the same one.
#[derive(Debug, Clone, Default)]
pub struct Signals(Arc<Mutex<Option<Killer>>>);

impl Signals {
    /// Sends a signal to the command, if it runs already.
    pub fn send(&self, signal: i32) {
        if let Some(killer) = &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            killer.signal(signal);
        }
    }

    /// Ends the command, whatever it does about signals.
    pub fn kill(&self) {
        if let Some(killer) = &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            killer.kill();
        }
    }

    fn lead_to(&self, killer: Killer) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(killer);
    }
}

/// Where the output of a command goes.
pub struct Output {
    /// Its standard output, or all of it if it has a terminal.
    pub stdout: Box<dyn Write + Send>,
    /// Its standard error.
    pub stderr: Box<dyn Write + Send>,
}

impl std::fmt::Debug for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Output")
    }
}

/// Runs the command to its end and returns its status: that of the command, or 128 and the number of the signal that ended it.
pub fn run(engine: &Engine, request: RunRequest, output: Output) -> Result<i32, Error> {
    let lease = engine.store().lease()?;
    lease.hold_image(&request.image.id)?;
    engine.ensure_runs(&request.image)?;
    let snapshot = rootfs::fresh(engine, &request.image.snapshots)?;
    let mounted = rootfs::writable(engine, &snapshot, &request.image.snapshots)?;
    let network = spec::network(&request.options);
    let parts = spec::Parts {
        id: &request.image.id.as_digest().to_hex(),
        config: &request.image.config.config,
        root: mounted.root(),
        mount: mounted.mount()?,
        network: &network,
    };
    let mut spec = spec::spec(&request.options, parts)?;
    if request.options.interactive {
        spec.stdin = own_stdin()?;
    }

    let mut child = sandbox::spawn(spec)?;
    request.signals.lead_to(child.killer());
    let exit = if request.options.terminal {
        with_terminal(&mut child, output)?
    } else {
        with_pipes(&mut child, output)?
    };
    match exit {
        Exit::Code(code) => Ok(code),
        Exit::Signal(signal) => Ok(128 + signal),
    }
}

fn own_stdin() -> Result<Stdin, Error> {
    let stdin = io::stdin().as_fd().try_clone_to_owned();
    Ok(Stdin::Given(stdin.map_err(Error::io("use", "/dev/stdin"))?))
}

fn with_pipes(child: &mut Child, output: Output) -> Result<Exit, Error> {
    let pairs = [(child.take_stdout(), output.stdout), (child.take_stderr(), output.stderr)];
    thread::scope(|scope| {
        for (pipe, sink) in pairs {
            if let Some(pipe) = pipe {
                scope.spawn(move || pass_on(File::from(pipe), sink));
            }
        }
        Ok(child.wait()?)
    })
}

/// Joins the caller's terminal and the command's, which gets every key as it is typed.
fn with_terminal(child: &mut Child, output: Output) -> Result<Exit, Error> {
    let Some(pty) = child.take_pty() else { return Err(Error::Lost { what: "a terminal" }) };
    let stdin = io::stdin();
    let raw = match rustix::termios::isatty(&stdin) {
        true => Some(RawMode::enter(stdin.as_fd())?),
        false => None,
    };
    if raw.is_some() {
        sandbox::copy_window_size(stdin.as_fd(), pty.as_fd())?;
    }
    let keys = File::from(pty.try_clone().map_err(Error::io("use", "/dev/ptmx"))?);
    // Reading ends only with a key; the thread ends with the process.
    thread::spawn(move || pass_on(io::stdin(), Box::new(keys)));
    pass_on(File::from(pty), output.stdout);
    let exit = child.wait()?;
    drop(raw);
    Ok(exit)
}

/// Passes on everything until either end is closed. The end of a terminal shows as an error, and one who does not listen any
/// more is no reason to stop the command.
fn pass_on(mut from: impl Read, mut to: Box<dyn Write + Send>) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        if to.write_all(&buffer[..count]).and_then(|()| to.flush()).is_err() {
            return;
        }
    }
}
