//! The socket of a container: one thread for each who connects, and one for each who listens.
//!
//! Who can connect is who can open the container's directory: the owner of the store.

use std::{
    collections::BTreeMap,
    os::fd::AsFd,
    os::unix::net::{UnixListener, UnixStream},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

use super::super::{
    exec::{ExecRequest, Inside},
    program::{self, Program, exit_code},
    streams::Listener,
    wire::{self, Answer, Attach, Kind, ProgramNumber, Request, Size},
};
use crate::Error;

/// The number of the container's own program.
const MAIN: ProgramNumber = 0;

/// What is served: the programs of a container.
pub(super) struct Served {
    main: Arc<Program>,
    inside: Inside,
    /// Whether the container's input ends with that of the first one who attaches.
    stdin_once: bool,
    stays: AtomicBool,
    programs: Mutex<Programs>,
}

struct Programs {
    running: BTreeMap<ProgramNumber, Arc<Program>>,
    next: ProgramNumber,
    /// What has to be done before this process ends.
    threads: Vec<JoinHandle<()>>,
}

/// One who has connected.
pub(super) struct Connection {
    stream: UnixStream,
}

impl Connection {
    pub(super) fn new(stream: UnixStream) -> Self {
        Self { stream }
    }

    /// Reads the request; `None` from whoever makes none that this version knows.
    pub(super) fn request(&mut self) -> Option<Request> {
        match wire::read(&self.stream) {
            Ok(Some((Kind::Request, bytes))) => wire::parse(&bytes).ok(),
            _ => None,
        }
    }

    pub(super) fn answer(&self, answer: &Answer) {
        // Who is gone needs no answer.
        let _ = wire::write_json(&self.stream, Kind::Answer, answer);
    }
}

impl Served {
    pub(super) fn new(main: Program, inside: Inside, stdin_once: bool) -> Arc<Self> {
        let main = Arc::new(main);
        let programs = Programs {
            running: BTreeMap::from([(MAIN, Arc::clone(&main))]),
            next: MAIN + 1,
            threads: Vec::new(),
        };
        let stays = AtomicBool::new(false);
        Arc::new(Self { main, inside, stdin_once, stays, programs: Mutex::new(programs) })
    }

    /// The container's own program.
    pub(super) fn main(&self) -> &Program {
        &self.main
    }

    /// Whether somebody wants the container to stay after its end.
    pub(super) fn stays(&self) -> bool {
        self.stays.load(Ordering::SeqCst)
    }

    /// Begins to serve, first of all the one who wanted the container started: nothing of the output is lost to it.
    pub(super) fn begin(
        self: &Arc<Self>,
        listener: &UnixListener,
        first: Connection,
        attach: Option<Attach>,
    ) {
        let attached = self.listen(first, MAIN, &self.main, attach.unwrap_or_default());
        if let Some(connection) = attached {
            let (served, main) = (Arc::clone(self), Arc::clone(&self.main));
            let attach = attach.unwrap_or_default();
            thread::spawn(move || served.hear(connection, &main, attach, served.stdin_once));
        }
        let Ok(listener) = listener.try_clone() else { return };
        let served = Arc::clone(self);
        thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                let served = Arc::clone(&served);
                thread::spawn(move || served.serve(Connection::new(stream)));
            }
        });
    }

    /// Tells everyone that the container has ended, and waits until they have heard.
    pub(super) fn end(&self, listener: &UnixListener, code: i32) {
        // It only wakes the thread that accepts.
        let _ = rustix::net::shutdown(listener, rustix::net::Shutdown::Both);
        self.main.listeners.end(code);
        loop {
            let threads = std::mem::take(&mut self.lock().threads);
            if threads.is_empty() {
                return;
            }
            for thread in threads {
                // A panic there has been told, and is none here.
                let _ = thread.join();
            }
        }
    }

    fn serve(self: &Arc<Self>, mut connection: Connection) {
        match connection.request() {
            Some(Request::Attach(attach)) => {
                let main = Arc::clone(&self.main);
                if let Some(Size { rows, columns }) = attach.size {
                    // A shell draws its prompt anew when the size changes, and only then: Docker does the same.
                    main.resize(Size { rows: rows.saturating_add(1), columns });
                }
                if let Some(connection) = self.listen(connection, MAIN, &main, attach) {
                    self.hear(connection, &main, attach, self.stdin_once);
                }
            }
            Some(Request::Wait) => {
                self.listen(connection, MAIN, &self.main, Attach::default());
            }
            Some(Request::Exec { exec, attach }) => self.exec(connection, &exec, attach),
            Some(Request::Signal { program, signal }) => {
                self.with_program(&connection, program, |program| program.signal(signal));
            }
            Some(Request::Resize { program, size }) => {
                self.with_program(&connection, program, |program| program.resize(size));
            }
            Some(Request::Root) => match program::root_of(&self.inside.process) {
                Ok(root) => {
                    // Who is gone needs no answer.
                    let _ = wire::answer_with(&connection.stream, &Answer::Done, root.as_fd());
                }
                Err(error) => connection.answer(&Answer::Failed((&error).into())),
            },
            Some(Request::Stay) => {
                self.stays.store(true, Ordering::SeqCst);
                connection.answer(&Answer::Done);
            }
            // It runs already; or no request of ours.
            Some(Request::Start { .. }) | None => {}
        }
    }

    fn with_program(
        &self,
        connection: &Connection,
        number: ProgramNumber,
        what: impl FnOnce(&Program),
    ) {
        let program = self.lock().running.get(&number).cloned();
        // One that has ended wants nothing more.
        if let Some(program) = program {
            what(&program);
        }
        connection.answer(&Answer::Done);
    }

    /// Lets the other side hear of a program; returns the connection, if it can be read from.
    fn listen(
        &self,
        connection: Connection,
        number: ProgramNumber,
        program: &Program,
        attach: Attach,
    ) -> Option<(UnixStream, Arc<Listener>)> {
        let stream = connection.stream.try_clone().ok()?;
        let listener = Listener::new(attach);
        listener.answer(&Answer::Started(number));
        program.listeners.add(&listener);
        if let Some(size) = attach.size {
            program.resize(size);
        }
        let writer = Arc::clone(&listener);
        self.remember(thread::spawn(move || writer.write_to(connection.stream)));
        Some((stream, listener))
    }

    /// Hears what the other side says to a program, until it is gone.
    fn hear(
        &self,
        (stream, listener): (UnixStream, Arc<Listener>),
        program: &Program,
        attach: Attach,
        ends_input: bool,
    ) {
        loop {
            match wire::read(&stream) {
                Ok(Some((Kind::Stdin, bytes))) if attach.stdin && !bytes.is_empty() => {
                    program.input.write(&bytes);
                }
                // The end of input. A terminal has none; what is typed there may mean it.
                Ok(Some((Kind::Stdin, _))) => {
                    if attach.stdin && ends_input && !program.has_terminal() {
                        program.input.close();
                    }
                }
                Ok(Some((Kind::Unread, _))) => program.listeners.set_unread(&listener),
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => break,
            }
        }
        program.listeners.remove(&listener);
        if attach.stdin && ends_input && !program.has_terminal() {
            program.input.close();
        }
    }

    fn exec(
        self: &Arc<Self>,
        connection: Connection,
        request: &ExecRequest,
        attach: Option<Attach>,
    ) {
        let started = self.start_exec(request, attach);
        let (number, program, thread) = match started {
            Ok(started) => started,
            Err(error) => return connection.answer(&Answer::Failed((&error).into())),
        };
        let listening = match attach {
            Some(attach) => self.listen(connection, number, &program, attach),
            None => {
                connection.answer(&Answer::Started(number));
                None
            }
        };
        // Only now, so that nothing of the output is lost.
        self.remember(thread::spawn(thread));
        if let (Some(listening), Some(attach)) = (listening, attach) {
            self.hear(listening, &program, attach, true);
        }
    }

    /// Starts a program; returns it with its number, and what has to be done until its end.
    fn start_exec(
        self: &Arc<Self>,
        request: &ExecRequest,
        attach: Option<Attach>,
    ) -> Result<(ProgramNumber, Arc<Program>, impl FnOnce() + Send + 'static), Error> {
        let mut spec = self.inside.join(request)?;
        let (stdin, other_end) = program::stdin(request.interactive, request.terminal)?;
        spec.stdin = stdin;
        let mut child = sandbox::join(spec)?;
        let (program, outputs) = Program::of(&mut child, other_end)?;
        if let Some(size) = attach.and_then(|attach| attach.size) {
            program.resize(size);
        }
        child.started()?;
        let program = Arc::new(program);
        let number = {
            let mut programs = self.lock();
            let number = programs.next;
            programs.next += 1;
            programs.running.insert(number, Arc::clone(&program));
            number
        };
        let (served, running) = (Arc::clone(self), Arc::clone(&program));
        let until_its_end = move || {
            let exit = running.run(&mut child, outputs, None);
            served.lock().running.remove(&number);
            running.listeners.end(exit.map_or(super::KILLED, exit_code));
        };
        Ok((number, program, until_its_end))
    }

    /// Adds a thread to those that this process waits for in the end; a container may live long, so without those that
    /// are done.
    fn remember(&self, thread: JoinHandle<()>) {
        let threads = &mut self.lock().threads;
        threads.retain(|thread| !thread.is_finished());
        threads.push(thread);
    }

    fn lock(&self) -> MutexGuard<'_, Programs> {
        self.programs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
