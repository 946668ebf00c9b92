//! The first process of a sandbox that was asked to have an init: it starts the program, passes signals on to it,
//! reaps what others leave behind, and ends as the program ends.
//!
//! It is this very process, forked once more when everything is prepared: it has the program's user, rights and root,
//! no descriptor but standard input, output and error, and executes no file.

use std::os::fd::OwnedFd;

use rustix::process::Pid;
use rustix::process::WaitOptions;

use crate::Error;
use crate::container;
use crate::sys;
use crate::sys::Alone;

/// What cannot be waited for, and what the kernel sends for mistakes of this process itself.
const NOT_PASSED_ON: &[i32] = &[
    libc::SIGKILL,
    libc::SIGSTOP,
    libc::SIGSEGV,
    libc::SIGBUS,
    libc::SIGFPE,
    libc::SIGILL,
    libc::SIGTRAP,
    libc::SIGABRT,
    libc::SIGSYS,
];

/// Starts the program, and ends when it has ended.
pub(crate) fn run(line: OwnedFd, alone: &Alone, exec: impl FnOnce() -> Error) -> ! {
    let signals: Vec<i32> = (1..=64).filter(|signal| !NOT_PASSED_ON.contains(signal)).collect();
    sys::block_signals(&signals, libc::SIG_BLOCK);
    let program = match sys::fork_into(0, alone) {
        Ok(Some(program)) => program,
        Ok(None) => {
            become_leader();
            sys::block_signals(&[], libc::SIG_SETMASK);
            container::fail(&line, exec())
        }
        Err(error) => container::fail(&line, Error::setup("fork")(error)),
    };
    // The program's copy is closed when it starts, which the supervisor waits for.
    drop(line);
    // It would be called like the program otherwise, which it is not.
    let _ = rustix::thread::set_name(c"kiln-init");
    loop {
        match sys::wait_for_signal(&signals) {
            Ok(arrival) if arrival.signal == libc::SIGCHLD => reap(program),
            // Of the terminal, which has sent it to the program's group, too.
            Ok(arrival) if !arrival.from_process => {}
            Ok(arrival) => {
                // It fails only when the program has ended, which the next turn sees.
                let _ = sys::kill(program, arrival.signal);
            }
            Err(_) => {}
        }
    }
}

/// Lets the program be the one that the terminal talks to, if there is one.
fn become_leader() {
    // Both fail where there is no terminal, or it is somebody else's: then nothing is lost.
    let own = rustix::process::getpid();
    let _ = rustix::process::setpgid(None, None);
    let _ = rustix::termios::tcsetpgrp(rustix::stdio::stdin(), own);
}

/// Takes leave of every process that has ended; ends if the program is among them.
fn reap(program: Pid) {
    while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
        if pid == program {
            let signal = status.terminating_signal().map_or(0, |signal| 128 + signal);
            sys::exit_now(status.exit_status().unwrap_or(signal));
        }
    }
}
