//! A program in a container, shown to the user: its output where ours goes, our input where it reads, our terminal as its.
//!
//! In a terminal every key goes to the program, except for those that detach; signals to this process end it and leave
//! the program alone, as with Docker. Without one, signals are passed on.

mod keys;

use std::{
    io::{self, Read, Write},
    os::fd::AsFd,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI32, Ordering},
    },
    thread,
    time::Duration,
};

use engine::container::{Attach, Event, Handle, Input, OutputStream, Session, Size};
use sandbox::RawMode;
use tokio::signal::unix::{Signal, SignalKind, signal};

pub(super) use self::keys::DetachKeys;
use super::{output, runtime};
use crate::report::{self, Failure};

/// How a program is shown.
#[derive(Debug, Clone)]
pub(super) struct Show {
    /// Which streams.
    pub(super) attach: Attach,
    /// Whether it has a terminal.
    pub(super) terminal: bool,
    /// What detaches from it.
    pub(super) keys: DetachKeys,
    /// Whether it gets the signals that this process is sent.
    pub(super) signals: bool,
    /// Whether it was started to be shown here: then nobody else reads what we do not read any more.
    pub(super) own: bool,
}

/// Why there is nothing more to show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// The program has ended, with this status.
    Exited(i32),
    /// The user wants to do something else.
    Detached,
    /// This process was sent this signal.
    Signalled(i32),
}

/// Exit code of what was killed with its keeper: 128 and SIGKILL.
const KILLED: i32 = 137;

/// How often one interrupts who wants an end, whatever the program does about it.
const INSISTENT: usize = 3;

/// How long a signal that came at the last moment may take.
const LAST_SIGNAL: Duration = Duration::from_secs(1);

/// Returns the size of our terminal, if we have one.
pub(super) fn terminal_size() -> Option<Size> {
    let size = rustix::termios::tcgetwinsize(io::stdin())
        .or_else(|_| rustix::termios::tcgetwinsize(io::stdout()))
        .ok()?;
    (size.ws_row > 0).then_some(Size { rows: size.ws_row, columns: size.ws_col })
}

/// Why the loop that shows the program ended before the program, if it did.
#[derive(Debug, Default)]
struct Leaving {
    detached: AtomicBool,
    signal: AtomicI32,
}

/// Shows a program until it ends or the user leaves it.
pub(super) fn show(session: Session, show: &Show) -> Result<Ending, Failure> {
    let leaving = Arc::new(Leaving::default());
    let runtime = runtime(2)?;
    let _context = runtime.enter();
    follow_signals(&session, show, &leaving)?;
    let raw = match show.terminal && show.attach.stdin && is_terminal(io::stdin()) {
        true => Some(RawMode::enter(io::stdin().as_fd())?),
        false => None,
    };
    if show.attach.stdin {
        let (input, leaving, show) = (session.input()?, Arc::clone(&leaving), show.clone());
        // Reading ends only with a key; the thread ends with the process.
        thread::spawn(move || pass_input(input, &leaving, &show));
    }
    let ending = pass_output(session, show, &leaving);
    drop(raw);
    // Waits for what follows signals: as long as that is there, so is what this process owns in the store.
    runtime.shutdown_timeout(LAST_SIGNAL);
    ending
}

fn pass_output(mut session: Session, show: &Show, leaving: &Leaving) -> Result<Ending, Failure> {
    let mut read = true;
    loop {
        match session.next_event() {
            Ok(Event::Exited(code)) => return Ok(Ending::Exited(code)),
            Ok(Event::Output(stream, bytes)) if read => {
                if write(stream, &bytes).is_ok() {
                    continue;
                }
                if !show.own {
                    return Ok(Ending::Detached);
                }
                // As if it wrote there itself: an error, from the next time on.
                session.leave_unread();
                read = false;
            }
            Ok(Event::Output(..)) => {}
            Ok(Event::OutOfMemory) => {
                output::tell(
                    "warning: out of memory: the kernel has killed a process of the container, which had reached its limit (--memory)",
                );
            }
            Err(error) => {
                return match leaving.signal.load(Ordering::SeqCst) {
                    _ if leaving.detached.load(Ordering::SeqCst) => Ok(Ending::Detached),
                    0 => {
                        report::print(&error.into());
                        Ok(Ending::Exited(KILLED))
                    }
                    signal => Ok(Ending::Signalled(signal)),
                };
            }
        }
    }
}

fn write(stream: OutputStream, bytes: &[u8]) -> io::Result<()> {
    let write = |to: &mut dyn Write| to.write_all(bytes).and_then(|()| to.flush());
    match stream {
        OutputStream::Stdout => write(&mut io::stdout().lock()),
        OutputStream::Stderr => write(&mut io::stderr().lock()),
    }
}

/// Passes on what is typed, or what a file or pipe holds.
fn pass_input(mut input: Input, leaving: &Leaving, show: &Show) {
    /// What a terminal takes for the end of input when it is typed: VEOF, `^D`.
    const END_OF_TRANSMISSION: &[u8] = &[4];
    const AGAIN: Duration = Duration::from_millis(300);
    let mut watch = show.keys.watch();
    let typed = show.terminal && is_terminal(io::stdin());
    let mut buffer = vec![0; 64 * 1024];
    let mut stdin = io::stdin().lock();
    loop {
        let count = match stdin.read(&mut buffer) {
            Ok(count @ 1..) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Ok(0) | Err(_) => break,
        };
        let (passed, detach) =
            if typed { watch.pass(&buffer[..count]) } else { (buffer[..count].to_vec(), false) };
        // Nobody reads it any more: the end of the program is told elsewhere.
        if input.write(&passed).is_err() {
            return;
        }
        if detach {
            leaving.detached.store(true, Ordering::SeqCst);
            return input.leave();
        }
    }
    if show.terminal {
        // A program that is just changing the mode of its terminal does not see the first one.
        while input.write(END_OF_TRANSMISSION).is_ok() {
            thread::sleep(AGAIN);
        }
    } else {
        // Where the program is gone, nothing is to be ended.
        let _ = input.end();
    }
}

fn is_terminal(stream: impl AsFd) -> bool {
    rustix::termios::isatty(stream)
}

/// Passes signals and the size of the terminal on, or ends the showing.
fn follow_signals(session: &Session, show: &Show, leaving: &Arc<Leaving>) -> Result<(), Failure> {
    if show.terminal {
        watch_size(session.handle());
    }
    let ends = [
        SignalKind::hangup(),
        SignalKind::interrupt(),
        SignalKind::quit(),
        SignalKind::terminate(),
    ];
    if show.terminal {
        for kind in ends {
            let (leaving, input) = (Arc::clone(leaving), session.input()?);
            on_signal(kind, move |_| {
                leaving.signal.store(kind.as_raw_value(), Ordering::SeqCst);
                input.leave();
            });
        }
    } else if show.signals {
        for kind in
            ends.into_iter().chain([SignalKind::user_defined1(), SignalKind::user_defined2()])
        {
            let handle = session.handle();
            on_signal(kind, move |times| pass_on(&handle, kind, times));
        }
    }
    Ok(())
}

fn pass_on(handle: &Handle, kind: SignalKind, times: usize) {
    const KILL: i32 = 9;
    let insists = kind == SignalKind::interrupt() && times >= INSISTENT;
    let signal = if insists { KILL } else { kind.as_raw_value() };
    // Without a keeper there is nobody to send it to, which shows elsewhere.
    let _ = handle.signal(signal);
}

/// Calls `then` for each signal of a kind, with how many there were.
fn on_signal(kind: SignalKind, mut then: impl FnMut(usize) + Send + 'static) {
    let Ok(mut incoming) = signal(kind) else { return };
    tokio::spawn(async move {
        let mut times = 0;
        while Signal::recv(&mut incoming).await.is_some() {
            times += 1;
            then(times);
        }
    });
}

/// Keeps the program's terminal as large as ours.
fn watch_size(handle: Handle) {
    let told = terminal_size();
    on_signal(SignalKind::window_change(), {
        let handle = handle.clone();
        move |_| tell_size(&handle)
    });
    // It may have changed before anybody watched.
    if terminal_size() != told {
        tell_size(&handle);
    }
}

fn tell_size(handle: &Handle) {
    if let Some(size) = terminal_size() {
        // A program that has ended needs no size.
        let _ = handle.resize(size);
    }
}
