//! The gate to a network that is connected at the first need.
//!
//! `pasta` takes longer to start than most steps take to run, and most need no network. So a step starts in the namespace while
//! nothing leads out of it yet; a filter hands each of its sockets to the supervisor, where it waits until the way is there.
//! Only sockets within the machine (`AF_UNIX`) are its own at once.
//!
//! ```text
//! caller        the thread of [`super::BuildNetwork::prepare`]: waits for a knock, starts `pasta`, opens the gate
//!   ▲ knock: a byte in a pipe          │ open: a pipe that hangs up, which all who wait for it see
//!   │                                  ▼
//! supervisor    [`Outside`]: has the listener of the filter; lets the calls go on
//!   ▲ the listener, once
//! first process [`Inside`]: installs the filter
//! ```

use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::sync::mpsc::channel;

use rustix::event::PollFd;
use rustix::event::PollFlags;
use rustix::event::Timespec;
use rustix::net::AddressFamily;
use rustix::net::SocketFlags;
use rustix::net::SocketType;
use serde::Deserialize;
use serde::Serialize;

use crate::Capabilities;
use crate::Error;
use crate::seccomp;
use crate::seccomp::Watch;
use crate::sys;
use crate::wire;
use crate::wire::Luggage;
use crate::wire::Place;

/// What a sandbox is given of the gate.
#[derive(Debug)]
pub struct Gate {
    knock: OwnedFd,
    open: OwnedFd,
}

/// The other side of it, for the one who connects the network.
#[derive(Debug)]
pub(super) struct Keeper {
    asked: OwnedFd,
    hold: OwnedFd,
}

/// The same in an order.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct GateJob {
    knock: Place,
    open: Place,
}

impl Gate {
    /// Makes a gate, closed.
    pub(super) fn new() -> Result<(Gate, Keeper), Error> {
        let pipe = || rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC);
        let (asked, knock) = pipe().map_err(Error::setup("make a pipe"))?;
        let (open, hold) = pipe().map_err(Error::setup("make a pipe"))?;
        Ok((Gate { knock, open }, Keeper { asked, hold }))
    }

    pub(super) fn try_clone(&self) -> Result<Gate, Error> {
        let failed = "duplicate a descriptor";
        let knock = self.knock.try_clone().map_err(Error::setup(failed))?;
        let open = self.open.try_clone().map_err(Error::setup(failed))?;
        Ok(Gate { knock, open })
    }

    pub(crate) fn pack(self, luggage: &mut Luggage) -> GateJob {
        GateJob { knock: luggage.add(self.knock), open: luggage.add(self.open) }
    }
}

impl Keeper {
    /// Waits until somebody wants the network; false if everybody who could is gone.
    pub(super) fn is_asked(&self) -> bool {
        rustix::io::retry_on_intr(|| rustix::io::read(&self.asked, &mut [0; 1])) == Ok(1)
    }

    /// Opens the gate: whoever waits goes on, whether or not there is a way now.
    pub(super) fn open(self) {
        drop(self.hold);
    }
}

/// Makes the two ends by which a sandbox's first process and its supervisor share the gate.
pub(crate) fn share<'a>(
    job: GateJob,
    luggage: &'a Luggage,
) -> Result<(Inside<'a>, Outside<'a>), Error> {
    let failed = "wait for the network of the build";
    let knock = luggage.at(job.knock).map_err(Error::setup(failed))?;
    let open = luggage.at(job.open).map_err(Error::setup(failed))?;
    let (ours, theirs) = rustix::net::socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )
    .map_err(Error::setup("make a pair of sockets"))?;
    let state = State { is_asked_for: false, is_open: false };
    let inside = Inside { socket: theirs, knock, open };
    Ok((
        inside,
        Outside { socket: Some(ours), listener: None, knock, open, state, waiting: vec![] },
    ))
}

/// What the first process has of the gate.
#[derive(Debug)]
pub(crate) struct Inside<'a> {
    socket: OwnedFd,
    knock: BorrowedFd<'a>,
    open: BorrowedFd<'a>,
}

impl Inside<'_> {
    /// Installs the filter for these capabilities, and sees to it that no socket is made before the gate is open.
    pub(crate) fn install_filter(&self, capabilities: Capabilities) -> Result<(), Error> {
        let failed = "install the system call filter";
        let program = seccomp::program(capabilities, Watch::Sockets);
        match sys::install_asking_filter(&program) {
            Ok(listener) => wire::send(self.socket.as_fd(), b"listener", &[listener.as_fd()])
                .map_err(Error::setup("tell the supervisor")),
            // A kernel, or a sandbox around this one, that has no second listener.
            Err(_) => {
                self.wait()?;
                let program = seccomp::program(capabilities, Watch::Nothing);
                sys::install_filter(&program).map_err(Error::setup(failed))
            }
        }
    }

    /// Asks for the network and waits for it: for who has no filter.
    pub(crate) fn wait(&self) -> Result<(), Error> {
        let failed = "wait for the network of the build";
        knock(self.knock);
        let mut events = [PollFd::from_borrowed_fd(self.open, PollFlags::IN)];
        rustix::io::retry_on_intr(|| rustix::event::poll(&mut events, None))
            .map_err(Error::setup(failed))?;
        Ok(())
    }
}

/// What the supervisor has of the gate.
#[derive(Debug)]
pub(crate) struct Outside<'a> {
    /// Where the listener will come from; none once it is there, or will not come.
    socket: Option<OwnedFd>,
    listener: Option<OwnedFd>,
    knock: BorrowedFd<'a>,
    open: BorrowedFd<'a>,
    state: State,
    /// Calls that wait.
    waiting: Vec<u64>,
}

#[derive(Debug)]
struct State {
    is_asked_for: bool,
    is_open: bool,
}

#[derive(Clone, Copy)]
enum Source {
    Socket,
    Listener,
    Gate,
}

impl Outside<'_> {
    /// What [`Outside::serve`] waits for.
    pub(crate) fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        self.sources().into_iter().map(|(_, descriptor)| descriptor).collect()
    }

    fn sources(&self) -> Vec<(Source, BorrowedFd<'_>)> {
        let socket = self.socket.as_ref().map(|it| (Source::Socket, it.as_fd()));
        let listener = self.listener.as_ref().map(|it| (Source::Listener, it.as_fd()));
        let waits = self.state.is_asked_for && !self.state.is_open;
        let gate = waits.then_some((Source::Gate, self.open));
        [socket, listener, gate].into_iter().flatten().collect()
    }

    /// Does what there is to do now, and does not wait.
    pub(crate) fn serve(&mut self) -> Result<(), Error> {
        for (source, events) in self.ready()? {
            match source {
                Source::Socket => self.take_listener(),
                Source::Listener if events.contains(PollFlags::IN) => self.hear_call(),
                // Nobody has the filter any more.
                Source::Listener => self.listener = None,
                Source::Gate => self.state.is_open = true,
            }
        }
        if self.state.is_open
            && let Some(listener) = &self.listener
        {
            for call in self.waiting.drain(..) {
                // It fails when the process does not wait any more: it is dead, or a signal came, and it asks again.
                let _ = sys::let_call_go_on(listener, call);
            }
        }
        Ok(())
    }

    fn ready(&self) -> Result<Vec<(Source, PollFlags)>, Error> {
        let sources = self.sources();
        let mut events: Vec<PollFd<'_>> =
            sources.iter().map(|(_, it)| PollFd::from_borrowed_fd(*it, PollFlags::IN)).collect();
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        rustix::io::retry_on_intr(|| rustix::event::poll(&mut events, Some(&now)))
            .map_err(Error::setup("watch the sockets of the process"))?;
        let revents = events.iter().map(PollFd::revents);
        let all = sources.iter().map(|(source, _)| *source).zip(revents);
        Ok(all.filter(|(_, revents)| !revents.is_empty()).collect())
    }

    fn take_listener(&mut self) {
        if let Some(socket) = self.socket.take() {
            // If nothing comes, the first process has given up, or asks by itself.
            let received = wire::receive(socket.as_fd());
            self.listener = received.ok().and_then(|(_, some)| some.into_iter().next());
        }
    }

    fn hear_call(&mut self) {
        let Some(listener) = &self.listener else { return };
        // It fails when the process that asks has just died.
        if let Ok(call) = sys::next_asking_call(listener) {
            self.waiting.push(call.id);
            if !self.state.is_asked_for {
                knock(self.knock);
                self.state.is_asked_for = true;
            }
        }
    }
}

/// Calls that wait at the gate for who has the listener himself: an [`Outside`] of a filter that asks about more.
#[derive(Debug)]
pub(crate) struct Waiting {
    knock: OwnedFd,
    open: OwnedFd,
    /// The thread that lets them go on, as long as nobody waits.
    calls: Option<Sender<u64>>,
}

impl Waiting {
    /// At the gate of a job.
    pub(crate) fn at(job: GateJob, luggage: &Luggage) -> Result<Self, Error> {
        let failed = "wait for the network of the build";
        let duplicate = |place| luggage.at(place)?.try_clone_to_owned();
        let knock = duplicate(job.knock).map_err(Error::setup(failed))?;
        let open = duplicate(job.open).map_err(Error::setup(failed))?;
        Ok(Self { knock, open, calls: None })
    }

    /// Lets a call go on when the gate is open; asks for that if nobody has.
    pub(crate) fn add(&mut self, listener: &Arc<OwnedFd>, call: u64) {
        let calls = self.calls.get_or_insert_with(|| {
            knock(self.knock.as_fd());
            let (calls, waiting) = channel();
            let (open, listener) = (self.open.try_clone(), Arc::clone(listener));
            let let_go_on = move || {
                if let Ok(open) = open {
                    let mut events = [PollFd::new(&open, PollFlags::IN)];
                    // Whatever comes of it: nobody is kept waiting.
                    let _ = rustix::io::retry_on_intr(|| rustix::event::poll(&mut events, None));
                }
                for call in waiting {
                    // It fails when the process does not wait any more.
                    let _ = sys::let_call_go_on(&listener, call);
                }
            };
            // Without a thread nothing receives the calls, and they go on below.
            let _ = std::thread::Builder::new().spawn(let_go_on);
            calls
        });
        if calls.send(call).is_err() {
            let _ = sys::let_call_go_on(listener, call);
        }
    }
}

/// Asks for the network. If nobody hears it, the gate is open, or the caller is gone.
fn knock(pipe: BorrowedFd<'_>) {
    let _ = rustix::io::retry_on_intr(|| rustix::io::write(pipe, &[1]));
}
