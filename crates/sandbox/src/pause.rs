//! A sandbox whose processes stand still for a moment, so that its files can be read as they are.
//!
//! They are stopped by a signal, one after the other, until none is left that runs: control groups would stop them at
//! once, but an ordinary user rarely has any. They go on in the opposite order, so that a shell which was stopped itself
//! does not see its children stopped.

use std::io;
use std::time::Duration;
use std::time::Instant;

use rustix::process::Pid;

use crate::Error;
use crate::Process;
use crate::processes::Stat;
use crate::processes::inside;
use crate::processes::stat;
use crate::sys;

/// How long processes may go on making others before this is given up.
const PATIENCE: Duration = Duration::from_secs(10);

/// A sandbox that stands still. Dropping this lets it go on.
#[derive(Debug)]
pub struct Paused {
    /// The processes that were stopped, those first that were found first.
    stopped: Vec<Stopped>,
}

/// A process that was stopped, and when it was started: its number may be another's later.
#[derive(Debug)]
struct Stopped {
    pid: i32,
    began: u64,
}

/// Stops every process of a sandbox. To be called in the user namespace that it was started from.
///
/// # Errors
/// If it cannot be done, everything goes on.
pub fn pause(first: &Process) -> Result<Paused, Error> {
    let failed = "pause the container";
    let mut paused = Paused { stopped: Vec::new() };
    let deadline = Instant::now() + PATIENCE;
    loop {
        let running = running(first).map_err(Error::setup(failed))?;
        if running.is_empty() {
            return Ok(paused);
        }
        for (pid, stat) in running {
            if paused.stopped.iter().any(|it| (it.pid, it.began) == (pid, stat.began)) {
                continue;
            }
            let Some(process) = Pid::from_raw(pid) else { continue };
            match sys::kill(process, libc::SIGSTOP) {
                Ok(()) => paused.stopped.push(Stopped { pid, began: stat.began }),
                // It has ended.
                Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {}
                Err(error) => return Err(Error::setup(failed)(error)),
            }
        }
        if Instant::now() > deadline {
            return Err(Error::setup(failed)(io::Error::from(io::ErrorKind::TimedOut)));
        }
        // The kernel stops them when they come by.
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The processes of a sandbox that do not stand still yet.
fn running(first: &Process) -> io::Result<Vec<(i32, Stat)>> {
    let mut inside = inside(first)?;
    inside.retain(|(_, stat)| !matches!(stat.state, b'T' | b't' | b'Z' | b'X'));
    Ok(inside)
}

impl Drop for Paused {
    fn drop(&mut self) {
        for Stopped { pid, began } in self.stopped.iter().rev() {
            let same = stat(*pid).is_some_and(|stat| stat.began == *began);
            if let Some(process) = Pid::from_raw(*pid).filter(|_| same) {
                // It fails when it has been killed meanwhile.
                let _ = sys::kill(process, libc::SIGCONT);
            }
        }
    }
}
