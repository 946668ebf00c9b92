//! The commands' side of a program in a container: start it, hear its output, give it input, signals and a size.

use std::{
    io::{self, Write},
    os::{fd::OwnedFd, unix::net::UnixStream},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use store::Container;

use super::{
    control::{self, Silence, WhenStopped},
    exec::ExecRequest,
    streams::OutputStream,
    wire::{self, Answer, Attach, Kind, ProgramNumber, Request, Size},
};
use crate::{Engine, Error};

/// How long somebody may be ending with a container that is to be started.
const PATIENCE: Duration = Duration::from_secs(10);

/// A connection to a program in a container.
#[derive(Debug)]
pub struct Session {
    engine: Engine,
    container: Container,
    program: ProgramNumber,
    stream: UnixStream,
}

/// What a program does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// It has written something.
    Output(OutputStream, Vec<u8>),
    /// The kernel has killed it or another process of its container for want of memory.
    OutOfMemory,
    /// It has ended, with this status; 128 and the number of the signal if one ended it.
    Exited(i32),
}

/// What a program reads. Dropping it does not end that: [`Input::end`] does.
#[derive(Debug)]
pub struct Input(UnixStream);

/// A program, to send it signals and sizes.
#[derive(Debug, Clone)]
pub struct Handle {
    engine: Engine,
    container: Container,
    program: ProgramNumber,
}

/// Starts a container; returns when its program runs.
///
/// `keeper` is the command that becomes the container's keeper: it calls [`super::keep`] with the socket that is its
/// standard input.
///
/// # Errors
/// The keeper's, which are told there before this returns; [`store::Error::ContainerKept`] if it runs already.
pub fn start(
    engine: &Engine,
    container: &Container,
    mut keeper: Command,
    attach: Option<Attach>,
) -> Result<Session, Error> {
    let (ours, theirs) = UnixStream::pair().map_err(Error::io("make", "a pair of sockets"))?;
    keeper.stdin(OwnedFd::from(theirs)).stdout(Stdio::null()).stderr(Stdio::null());
    let started = keeper.spawn().map_err(Error::io("start", keeper.get_program()))?;
    // It goes on without this process, whose parent reaps it then.
    drop(started);
    // The command holds their end as long as it exists.
    drop(keeper);
    let answered = control::ask(ours, &Request::Start { attach }, WhenStopped::Wait);
    Session::begin(engine, container, answered)
}

/// Starts a container, or joins those who hear its output if it runs: of two who start it at once, one does.
pub fn start_or_attach(
    engine: &Engine,
    container: &Container,
    keeper: impl Fn() -> Command,
    how: Option<Attach>,
) -> Result<Session, Error> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match start(engine, container, keeper(), how) {
            Err(Error::Store(store::Error::ContainerKept { .. })) => {}
            started => return started,
        }
        match attach(engine, container, how.unwrap_or_default()) {
            // It was just ending, or somebody had it for a moment.
            Err(Error::NotRunning { .. } | Error::KeeperLost { .. })
                if Instant::now() < deadline => {}
            attached => return attached,
        }
    }
}

/// Joins those who hear the output of a container that runs.
pub fn attach(engine: &Engine, container: &Container, attach: Attach) -> Result<Session, Error> {
    let stream = control::connect(engine, container)?;
    Session::begin(
        engine,
        container,
        control::ask(stream, &Request::Attach(attach), WhenStopped::Tell),
    )
}

/// Starts one more program in a container that runs; without `attach` nobody hears of it again.
pub fn exec(
    engine: &Engine,
    container: &Container,
    request: ExecRequest,
    attach: Option<Attach>,
) -> Result<Session, Error> {
    let stream = control::connect(engine, container)?;
    let request = Request::Exec { exec: Box::new(request), attach };
    Session::begin(engine, container, control::ask(stream, &request, WhenStopped::Tell))
}

impl Session {
    fn begin(
        engine: &Engine,
        container: &Container,
        answered: Result<(Answer, UnixStream), Silence>,
    ) -> Result<Self, Error> {
        let lost = || Error::KeeperLost { name: container.name.clone() };
        match answered {
            Ok((Answer::Started(program), stream)) => {
                let (engine, container) = (engine.clone(), container.clone());
                Ok(Self { engine, container, program, stream })
            }
            Ok((Answer::Failed(failure), _)) => Err(failure.into()),
            Ok((Answer::Kept, _)) => {
                Err(store::Error::ContainerKept { name: container.name.clone() }.into())
            }
            Ok((
                Answer::Done
                | Answer::MountPoints(_)
                | Answer::Processes(_)
                | Answer::Usage(_)
                | Answer::OutOfMemory
                | Answer::Exited(_),
                _,
            ))
            | Err(Silence::Gone) => Err(lost()),
            Err(silence) => Err(control::unanswered(container, &silence)),
        }
    }

    /// Waits for what the program does next; after [`Event::Exited`] there is nothing more.
    ///
    /// # Errors
    /// [`Error::KeeperLost`].
    pub fn next_event(&mut self) -> Result<Event, Error> {
        loop {
            match wire::read(&self.stream) {
                Ok(Some((Kind::Stdout, bytes))) => {
                    return Ok(Event::Output(OutputStream::Stdout, bytes));
                }
                Ok(Some((Kind::Stderr, bytes))) => {
                    return Ok(Event::Output(OutputStream::Stderr, bytes));
                }
                Ok(Some((Kind::Answer, bytes))) => match wire::parse(&bytes) {
                    Ok(Answer::Exited(code)) => return Ok(Event::Exited(code)),
                    Ok(Answer::OutOfMemory) => return Ok(Event::OutOfMemory),
                    _ => {}
                },
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => {
                    return Err(Error::KeeperLost { name: self.container.name.clone() });
                }
            }
        }
    }

    /// What the program reads.
    pub fn input(&self) -> Result<Input, Error> {
        let stream = self.stream.try_clone();
        Ok(Input(stream.map_err(Error::io("use", "a socket"))?))
    }

    /// The program, to send it signals.
    pub fn handle(&self) -> Handle {
        Handle {
            engine: self.engine.clone(),
            container: self.container.clone(),
            program: self.program,
        }
    }

    /// Says that nobody reads the output any more; the program gets an error when it writes, unless somebody else listens.
    pub fn leave_unread(&self) {
        // It fails when the program has ended.
        let _ = wire::write(&self.stream, Kind::Unread, &[]);
    }
}

impl Input {
    /// Passes bytes on.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        wire::write(&mut self.0, Kind::Stdin, bytes)?;
        self.0.flush()
    }

    /// Ends what the program reads.
    pub fn end(&mut self) -> io::Result<()> {
        wire::write(&mut self.0, Kind::Stdin, &[])
    }

    /// Leaves the program: whoever waits for its events hears that the connection is gone.
    pub fn leave(&self) {
        // It fails when it is gone already.
        let _ = self.0.shutdown(std::net::Shutdown::Both);
    }
}

impl Handle {
    /// Sends the program a signal. One that has ended gets none.
    pub fn signal(&self, signal: i32) -> Result<(), Error> {
        self.tell(&Request::Signal { program: self.program, signal }, WhenStopped::Wake)
    }

    /// Gives the program's terminal another size.
    pub fn resize(&self, size: Size) -> Result<(), Error> {
        self.tell(&Request::Resize { program: self.program, size }, WhenStopped::Tell)
    }

    fn tell(&self, request: &Request, when_stopped: WhenStopped) -> Result<(), Error> {
        match control::request(&self.engine, &self.container, request, when_stopped) {
            Ok(_) | Err(Error::NotRunning { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }
}
