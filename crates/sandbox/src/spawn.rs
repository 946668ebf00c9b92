//! The caller's side of a sandbox: start it, read its output, kill it, wait for its end.
//!
//! What happens on the other side is in `crate::supervisor` and `container`.

pub(crate) mod supervisor;

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use rustix::net::SendFlags;
use rustix::net::Shutdown;
use supervisor::Ready;
use supervisor::Supervisor;

use crate::Confinement;
use crate::Error;
use crate::Limit;
use crate::MountPoints;
use crate::MountSource;
use crate::Network;
use crate::Rights;
use crate::Spec;
use crate::Stdin;
use crate::Terminal;
use crate::wire::Job;
use crate::wire::Luggage;
use crate::wire::MountJob;
use crate::wire::NetworkJob;
use crate::wire::Order;
use crate::wire::Place;
use crate::wire::Report;
use crate::wire::SourceJob;

/// Size of `/dev/shm` when nothing is said about it: Docker's.
const SHM_SIZE: u64 = 64 << 20;

/// A running sandbox. Dropping it kills everything in it.
#[derive(Debug)]
pub struct Child {
    supervisor: Supervisor,
    stdout: Option<OwnedFd>,
    stderr: Option<OwnedFd>,
    pty: Option<OwnedFd>,
    started: Option<Process>,
    ended: Option<Report>,
    out_of_memory: bool,
    mount_points: MountPoints,
    covered: Vec<PathBuf>,
}

/// The first process of a sandbox, which runs its program.
#[derive(Debug)]
pub struct Process {
    /// Its process id, as this process sees it. It may have ended by now, and another have the number.
    pub pid: i32,
    /// Its pidfd.
    pub descriptor: OwnedFd,
}

/// How the first process of a sandbox ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// By itself, with this status.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

/// Ends a sandbox, from any thread.
#[derive(Clone, Debug)]
pub struct Killer {
    socket: Arc<OwnedFd>,
}

/// Starts a process in a sandbox of its own. Any thread may call this.
///
/// The mounts that the spec brings along are moved into the sandbox, so each serves once. Errors of
/// setting up come from [`Child::wait`], as they happen while the caller already goes on; with
/// [`Terminal::Pty`] they may come from here, too.
pub fn spawn(spec: Spec) -> Result<Child, Error> {
    let terminal = spec.terminal;
    spawn_by(spec, || Ready::start(terminal))
}

/// The same, with a supervisor that is made by `make`.
pub(crate) fn spawn_by(
    spec: Spec,
    make: impl FnOnce() -> Result<Ready, Error>,
) -> Result<Child, Error> {
    check(&spec)?;
    let terminal = spec.terminal;
    let (order, luggage) = pack(spec)?;
    start_by(&order, &luggage, terminal, make)
}

/// Starts a supervisor for an order.
pub(crate) fn start(order: &Order, luggage: &Luggage, terminal: Terminal) -> Result<Child, Error> {
    start_by(order, luggage, terminal, || Ready::start(terminal))
}

fn start_by(
    order: &Order,
    luggage: &Luggage,
    terminal: Terminal,
    make: impl FnOnce() -> Result<Ready, Error>,
) -> Result<Child, Error> {
    let Ready { mut supervisor, stdout, stderr } = make()?;
    supervisor.order(order, luggage)?;

    let mut child = Child {
        supervisor,
        stdout,
        stderr,
        pty: None,
        started: None,
        ended: None,
        out_of_memory: false,
        mount_points: MountPoints::default(),
        covered: Vec::new(),
    };
    if terminal == Terminal::Pty {
        match child.supervisor.next_report()? {
            (Report::Terminal, pty) => child.pty = pty,
            (report, _) => child.ended = Some(report),
        }
    }
    Ok(child)
}

impl Child {
    /// The read end of its standard output, once, unless it has a terminal.
    pub fn take_stdout(&mut self) -> Option<OwnedFd> {
        self.stdout.take()
    }

    /// The read end of its standard error, once, unless it has a terminal.
    pub fn take_stderr(&mut self) -> Option<OwnedFd> {
        self.stderr.take()
    }

    /// The other end of its terminal, once, if it has one.
    pub fn take_pty(&mut self) -> Option<OwnedFd> {
        self.pty.take()
    }

    /// Waits until its program runs, or has run. Once.
    ///
    /// # Errors
    /// It did not come to that; so says [`Child::wait`], too.
    pub fn started(&mut self) -> Result<Process, Error> {
        self.hear()?;
        match (self.started.take(), &self.ended) {
            (Some(process), _) => Ok(process),
            (None, Some(Report::Failed(failure))) => Err(failure.clone().into()),
            (None, _) => {
                Err(Error::SupervisorLost { how: "it has told of the start before".to_owned() })
            }
        }
    }

    /// Waits for what the supervisor says next, if there is more to come before the end.
    fn hear(&mut self) -> Result<(), Error> {
        while self.ended.is_none() && self.started.is_none() {
            match self.supervisor.next_report()? {
                (Report::Started(pid), Some(descriptor)) => {
                    self.started = Some(Process { pid, descriptor });
                }
                (Report::MountPoints(more), _) => self.mount_points.0.extend(more.0),
                (Report::OutOfMemory, _) => self.out_of_memory = true,
                (Report::Covered(more), _) => self.covered.extend(more),
                (report, _) => self.ended = Some(report),
            }
        }
        Ok(())
    }

    /// What was made in the root file system to mount on, and is there while it runs. Known once it has started.
    pub fn mount_points(&self) -> &MountPoints {
        &self.mount_points
    }

    /// Whether the kernel has killed any of its processes because [`Spec::resources`] gives it no more memory. Known
    /// once it has been waited for.
    pub fn ran_out_of_memory(&self) -> bool {
        self.out_of_memory
    }

    /// The places, relative to the root, where something was put and taken out again because nothing could be mounted: what is
    /// there now is what was there before. Known once it has been waited for.
    pub fn covered(&self) -> &[PathBuf] {
        &self.covered
    }

    /// What can end it while another thread waits.
    pub fn killer(&self) -> Killer {
        Killer { socket: Arc::clone(&self.supervisor.socket) }
    }

    /// Waits until its first process has ended and every other one is dead, and the directories and
    /// files which were made for mounts are gone again. Blocks; read its output meanwhile, or drop
    /// the descriptors, or it may never end.
    pub fn wait(&mut self) -> Result<Exit, Error> {
        let report = loop {
            match &self.ended {
                Some(report) => break report.clone(),
                None => {
                    self.started = None;
                    self.hear()?;
                }
            }
        };
        let lost = || Error::SupervisorLost { how: "it has said something out of turn".to_owned() };
        let exit = match report {
            Report::Exited(code) => Ok(Exit::Code(code)),
            Report::Killed(signal) => Ok(Exit::Signal(signal)),
            Report::Failed(failure) => Err(failure.into()),
            Report::Terminal
            | Report::MountPoints(_)
            | Report::Started(_)
            | Report::OutOfMemory
            | Report::Covered(_)
            | Report::NetworkReady => return Err(lost()),
        };
        self.supervisor.finish().map_err(Error::setup("wait for it"))?;
        exit
    }
}

impl Killer {
    /// Sends a signal to the first process of the sandbox, which gets it if it asked for it: the kernel spares the first
    /// process of a namespace what it has no handler for.
    pub fn signal(&self, signal: i32) {
        // It fails when the supervisor is gone already: then there is nobody to tell.
        let _ = rustix::net::send(&*self.socket, &signal.to_ne_bytes(), SendFlags::empty());
    }

    /// Kills every process of the sandbox at once. Returns before they are dead, which
    /// [`Child::wait`] tells; does nothing when they are already.
    pub fn kill(&self) {
        // It fails when the supervisor is gone already, which is what is wanted.
        let _ = rustix::net::shutdown(&*self.socket, Shutdown::Write);
    }
}

/// Refuses what the kernel cannot be given, while the field can still be named.
fn check(spec: &Spec) -> Result<(), Error> {
    if spec.mounts.iter().any(|it| !it.target.starts_with('/') || it.target.contains('\0')) {
        return invalid("mount target", "is not an absolute path");
    }
    if spec.hostname.len() > 64 {
        return invalid("hostname", "is longer than 64 bytes");
    }
    check_process(&spec.argv, &spec.env, &spec.cwd, &spec.rights)
}

/// Refuses what no process can be given.
pub(crate) fn check_process(
    argv: &[OsString],
    env: &[(OsString, OsString)],
    cwd: &str,
    rights: &Rights,
) -> Result<(), Error> {
    let nul = |text: &OsString| text.as_encoded_bytes().contains(&0);
    if argv.is_empty() {
        return invalid("argv", "is empty");
    }
    if argv.iter().any(nul) {
        return invalid("argv", "contains a NUL character");
    }
    if env.iter().any(|(name, value)| nul(name) || nul(value)) {
        return invalid("env", "contains a NUL character");
    }
    if !cwd.starts_with('/') || cwd.contains('\0') {
        return invalid("cwd", "is not an absolute path");
    }
    // The all-ones id means "leave it as it is" to the kernel, which would be root.
    if rights.uid == u32::MAX || rights.gid == u32::MAX || rights.groups.contains(&u32::MAX) {
        return invalid("user", "is the id 4294967295, which no process can have");
    }
    if rights.limits.iter().any(|limit| !Limit::is_name(&limit.name)) {
        return invalid("limits", "names something that the kernel does not limit");
    }
    Ok(())
}

fn invalid(field: &'static str, problem: &'static str) -> Result<(), Error> {
    Err(Error::Invalid { field, problem })
}

/// Takes a spec apart into what can be written down and what cannot.
fn pack(spec: Spec) -> Result<(Order, Luggage), Error> {
    let mut luggage = Luggage::default();
    let root = luggage.add(spec.root);
    let aside = match spec.confinement {
        Confinement::Namespaces => None,
        Confinement::Chroot { aside } => Some(luggage.add(aside)),
    };
    let network = match spec.network {
        Network::Host => NetworkJob::Host,
        Network::None => NetworkJob::None,
        Network::Joined(namespace) => NetworkJob::Joined(luggage.add(namespace)),
        Network::Awaited(namespace, gate) => {
            NetworkJob::Awaited(luggage.add(namespace), gate.pack(&mut luggage))
        }
    };
    let stdin = pack_stdin(spec.stdin, spec.terminal, &mut luggage);
    let mut mounts = Vec::new();
    for mount in spec.mounts {
        let source = match mount.source {
            MountSource::Detached(fd) => SourceJob::Detached(luggage.add(fd)),
            MountSource::Within { root, path } => {
                SourceJob::Within { root: luggage.add(root), path }
            }
            MountSource::Bind(path) => SourceJob::Bind(path),
            MountSource::BindAlone(path) => SourceJob::BindAlone(path),
            MountSource::Lent(path) => SourceJob::Lent(path),
            MountSource::Tmpfs { size, mode, uid, gid, exec } => {
                SourceJob::Tmpfs { size, mode, uid, gid, exec }
            }
            MountSource::File { content, mode, uid, gid } => {
                luggage.contents.extend_from_slice(&content);
                SourceJob::File { length: content.len() as u64, mode, uid, gid }
            }
        };
        mounts.push(MountJob { target: mount.target, source, read_only: mount.read_only });
    }
    let job = Job {
        root,
        aside,
        argv: spec.argv,
        env: spec.env,
        cwd: spec.cwd,
        rights: spec.rights,
        hostname: spec.hostname,
        network,
        meets_others: spec.meets_others,
        masked: spec.masked,
        device_nodes: spec.device_nodes,
        devices: spec.devices,
        settings: spec.settings,
        mounts,
        read_only: spec.read_only,
        shm_size: spec.shm_size.unwrap_or(SHM_SIZE),
        stdin,
        terminal: spec.terminal == Terminal::Pty,
        init: spec.init,
        resources: spec.resources,
    };
    for descriptor in spec.held {
        luggage.add(descriptor);
    }
    Ok((Order::Run(Box::new(job)), luggage))
}

/// The place of what the process reads, if it is not `/dev/null` or the terminal.
pub(crate) fn pack_stdin(stdin: Stdin, terminal: Terminal, luggage: &mut Luggage) -> Option<Place> {
    match (stdin, terminal) {
        (Stdin::Given(descriptor), Terminal::None) => Some(luggage.add(descriptor)),
        (Stdin::Null, _) | (_, Terminal::Pty) => None,
    }
}
