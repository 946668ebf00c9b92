//! The process that listens at the other end of a socket: whether it stands still, and how it goes on or ends.
//!
//! A process id may be another process's at any moment, so it is only used to open a descriptor of the process, and that
//! is only trusted if the connection is still there afterwards: who listens has not ended, and its id was its own.

use std::io;
use std::os::fd::AsFd;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use rustix::event::PollFd;
use rustix::event::PollFlags;
use rustix::process::PidfdFlags;
use rustix::process::Signal;
use rustix::time::Timespec;

use crate::processes;
use crate::sys;

/// The process that accepts the connections of a socket, alive or not.
#[derive(Debug)]
pub struct Peer {
    pid: i32,
    process: OwnedFd,
}

impl Peer {
    /// Finds who listens at the other end; `None` if it has ended, or cannot be seen from this process id namespace.
    ///
    /// # Errors
    /// The kernel's, where it has no descriptors of processes.
    pub fn of(stream: &UnixStream) -> io::Result<Option<Self>> {
        let Some(pid) = sys::peer(stream)? else { return Ok(None) };
        let process = match rustix::process::pidfd_open(pid, PidfdFlags::empty()) {
            Err(rustix::io::Errno::SRCH) => return Ok(None),
            opened => opened?,
        };
        let is_there = !is_set(stream, PollFlags::HUP)?;
        Ok(is_there.then_some(Self { pid: pid.as_raw_pid(), process }))
    }

    /// Its process id.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Whether it was stopped by a signal, and does nothing until another lets it go on.
    pub fn is_stopped(&self) -> bool {
        let stopped = processes::stat(self.pid).is_some_and(|stat| stat.state == b'T');
        // What was read was this process's only if it still exists.
        stopped && is_set(&self.process, PollFlags::IN).is_ok_and(|ended| !ended)
    }

    /// Lets it go on.
    pub fn go_on(&self) -> io::Result<()> {
        Ok(rustix::process::pidfd_send_signal(&self.process, Signal::CONT)?)
    }

    /// Kills it, also where it stands still. One that has ended is left alone.
    pub fn kill(&self) -> io::Result<()> {
        match rustix::process::pidfd_send_signal(&self.process, Signal::KILL) {
            Err(rustix::io::Errno::SRCH) => Ok(()),
            sent => Ok(sent?),
        }
    }
}

/// Whether something is true of a descriptor now.
fn is_set(of: impl AsFd, what: PollFlags) -> io::Result<bool> {
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    let mut events = [PollFd::new(&of, what)];
    rustix::io::retry_on_intr(|| rustix::event::poll(&mut events, Some(&now)))?;
    Ok(events[0].revents().contains(what))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_listens_is_found_as_long_as_it_does() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let peer = Peer::of(&ours).unwrap().expect("it is this process");
        assert_eq!(peer.pid(), i32::try_from(std::process::id()).unwrap());
        assert!(!peer.is_stopped());
        drop(theirs);
        assert!(Peer::of(&ours).unwrap().is_none());
    }

    #[test]
    fn one_that_stands_still_goes_on_and_ends() {
        let mut child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
        let pid = rustix::process::Pid::from_child(&child);
        let process = rustix::process::pidfd_open(pid, PidfdFlags::empty()).unwrap();
        let peer = Peer { pid: pid.as_raw_pid(), process };
        let become_stopped = |wanted: bool| {
            let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
            while peer.is_stopped() != wanted {
                assert!(std::time::Instant::now() < deadline, "never: {wanted}");
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
        };
        sys::kill(pid, libc::SIGSTOP).unwrap();
        become_stopped(true);
        peer.go_on().unwrap();
        become_stopped(false);
        sys::kill(pid, libc::SIGSTOP).unwrap();
        become_stopped(true);
        peer.kill().unwrap();
        // Whoever has ended is not stopped, and is left alone, also when its number is another's.
        let status = child.wait().unwrap();
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(libc::SIGKILL));
        assert!(!peer.is_stopped());
        peer.kill().unwrap();
    }
}
