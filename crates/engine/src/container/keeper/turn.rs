//! One run of a container's program, from its start to its end, with everyone who wants something of it: one thread for
//! each who says something, and one for each who listens.

use std::{
    collections::BTreeMap,
    os::{fd::AsFd, unix::net::UnixStream},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::Duration,
};

use sandbox::Paused;

use super::{
    super::{
        exec::{ExecRequest, Inside},
        program::{self, Program, exit_code},
        streams::Listener,
        wire::{self, Answer, Attach, Kind, ProgramNumber, Request, Size},
    },
    service::Connection,
};
use crate::Error;

/// The number of the container's own program.
pub(super) const MAIN: ProgramNumber = 0;

/// The programs of a container that runs.
pub(super) struct Turn {
    main: Arc<Program>,
    inside: Inside,
    /// Whether the container's input ends with that of the first one who attaches.
    stdin_once: bool,
    programs: Mutex<Programs>,
    /// While its processes stand still because somebody wants that.
    paused: Mutex<Option<Paused>>,
    is_over: Mutex<bool>,
    ended: Condvar,
}

struct Programs {
    running: BTreeMap<ProgramNumber, Arc<Program>>,
    next: ProgramNumber,
    /// What has to be done before this process ends.
    threads: Vec<JoinHandle<()>>,
}

impl Turn {
    pub(super) fn new(main: Program, inside: Inside, stdin_once: bool) -> Arc<Self> {
        let main = Arc::new(main);
        let programs = Programs {
            running: BTreeMap::from([(MAIN, Arc::clone(&main))]),
            next: MAIN + 1,
            threads: Vec::new(),
        };
        Arc::new(Self {
            main,
            inside,
            stdin_once,
            programs: Mutex::new(programs),
            paused: Mutex::default(),
            is_over: Mutex::default(),
            ended: Condvar::new(),
        })
    }

    /// What is known of the container that runs.
    pub(super) fn inside(&self) -> &Inside {
        &self.inside
    }

    /// Waits so long; says at once if the program has ended before, or ends meanwhile.
    pub(super) fn goes_on_for(&self, pause: Duration) -> bool {
        let is_over = self.is_over.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.ended.wait_timeout_while(is_over, pause, |is_over| !*is_over);
        !*waited.unwrap_or_else(PoisonError::into_inner).0
    }

    /// The program has ended: nobody has to look after it any more.
    pub(super) fn set_over(&self) {
        *self.is_over.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.ended.notify_all();
    }

    /// The container's own program.
    pub(super) fn main(&self) -> &Program {
        &self.main
    }

    /// Lets the one hear who wanted the container started: before the output is passed on, so that nothing of it is lost.
    pub(super) fn begin(self: &Arc<Self>, first: Connection, attach: Option<Attach>) {
        let attach = attach.unwrap_or_default();
        let listening = self.listen(first, MAIN, &self.main, attach);
        if let Some(listening) = listening {
            let turn = Arc::clone(self);
            thread::spawn(move || turn.hear(listening, &turn.main, attach, turn.stdin_once));
        }
    }

    /// Tells everyone that the program has ended.
    pub(super) fn tell_end(&self, code: i32) {
        self.main.listeners.end(code);
    }

    /// Tells everyone that the program has ended, and waits until they have heard.
    pub(super) fn end(&self, code: i32) {
        self.tell_end(code);
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

    /// Does what somebody wants of a program.
    pub(super) fn serve(self: &Arc<Self>, connection: Connection, request: Request) {
        match request {
            Request::Attach(attach) => {
                if let Some(Size { rows, columns }) = attach.size {
                    // A shell draws its prompt anew when the size changes, and only then: Docker does the same.
                    self.main.resize(Size { rows: rows.saturating_add(1), columns });
                }
                if let Some(listening) = self.listen(connection, MAIN, &self.main, attach) {
                    self.hear(listening, &self.main, attach, self.stdin_once);
                }
            }
            Request::Wait => {
                self.listen(connection, MAIN, &self.main, Attach::default());
            }
            Request::Exec { exec, attach } => self.exec(connection, &exec, attach),
            Request::Signal { program, signal } => {
                self.with_program(&connection, program, |program| program.signal(signal));
            }
            Request::Resize { program, size } => {
                self.with_program(&connection, program, |program| program.resize(size));
            }
            Request::Root => match program::root_of(&self.inside.process) {
                Ok(root) => connection.answer_with(&Answer::Done, root.as_fd()),
                Err(error) => connection.answer(&Answer::Failed((&error).into())),
            },
            Request::MountPoints => {
                connection.answer(&Answer::MountPoints(self.inside.mount_points.clone()));
            }
            Request::HoldStill => self.hold_still(&connection),
            Request::Processes => match sandbox::processes(&self.inside.process) {
                Ok(processes) => connection.answer(&Answer::Processes(processes)),
                Err(error) => connection.answer_done(Err(error.into())),
            },
            Request::Usage => match sandbox::usage(&self.inside.process) {
                Ok(usage) => connection.answer(&Answer::Usage(usage)),
                Err(error) => connection.answer_done(Err(error.into())),
            },
            // They are not for the program.
            Request::Start { .. }
            | Request::Stay
            | Request::Stop
            | Request::Pause
            | Request::Unpause => {}
        }
    }

    /// Lets everything stand still until the other side is gone; who wants to pause it or let it go on waits meanwhile.
    fn hold_still(&self, connection: &Connection) {
        let paused = self.lock_paused();
        let held = match &*paused {
            Some(_) => Ok(None),
            None => sandbox::pause(&self.inside.process).map(Some),
        };
        match held {
            Ok(held) => {
                connection.answer(&Answer::MountPoints(self.inside.mount_points.clone()));
                connection.wait_for_its_end();
                drop(held);
            }
            Err(error) => connection.answer_done(Err(error.into())),
        }
    }

    /// Lets everything stand still; says whether it went before.
    pub(super) fn pause(&self) -> Result<bool, Error> {
        let mut paused = self.lock_paused();
        if paused.is_some() {
            return Ok(false);
        }
        *paused = Some(sandbox::pause(&self.inside.process)?);
        Ok(true)
    }

    /// Lets everything go on; says whether it stood still.
    pub(super) fn unpause(&self) -> bool {
        self.lock_paused().take().is_some()
    }

    pub(super) fn is_paused(&self) -> bool {
        self.lock_paused().is_some()
    }

    fn lock_paused(&self) -> MutexGuard<'_, Option<Paused>> {
        self.paused.lock().unwrap_or_else(PoisonError::into_inner)
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
        let stream = connection.try_clone()?;
        let listener = Listener::new(attach);
        listener.answer(&Answer::Started(number));
        program.listeners.add(&listener);
        if let Some(size) = attach.size {
            program.resize(size);
        }
        let writer = Arc::clone(&listener);
        self.remember(thread::spawn(move || writer.write_to(connection.into_stream())));
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
        let (turn, running) = (Arc::clone(self), Arc::clone(&program));
        let until_its_end = move || {
            let exit = running.run(&mut child, outputs, None);
            turn.lock().running.remove(&number);
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
