//! What the caller and the supervisor say to each other, over a pair of sockets that is the
//! supervisor's standard input.
//!
//! ```text
//! caller → supervisor   one message per up to 200 descriptors: MAGIC and how many there are in all;
//!                       the first descriptor is an [`Order`] in a memfd:
//!                         length of the JSON (u64, little endian) · JSON · contents of files in order
//! supervisor → caller   JSON messages: at most one `Terminal` (with a descriptor), at most one `Started`
//!                       (with a descriptor), `MountPoints` before that, at most one `OutOfMemory`, `Covered` behind it, one of the others
//! ```
//!
//! The caller closing or shutting down its end, or dying, means: kill everything. Secrets travel in
//! the memfd only, so they never are on disk, in an argument or in an environment.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::io::IoSlice;
use std::io::IoSliceMut;
use std::io::Read;
use std::io::Seek;
use std::io::Write;
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use rustix::net::RecvAncillaryBuffer;
use rustix::net::RecvAncillaryMessage;
use rustix::net::RecvFlags;
use rustix::net::SendAncillaryBuffer;
use rustix::net::SendAncillaryMessage;
use rustix::net::SendFlags;
use serde::Deserialize;
use serde::Serialize;

use crate::Devices;
use crate::Error;
use crate::MountPoints;
use crate::Resources;
use crate::Rights;
use crate::network::gate::GateJob;

/// First bytes of the caller's messages. The version changes with the format.
const MAGIC: &[u8] = b"kiln-sandbox/1";

/// Descriptors per message; the kernel takes at most 253.
const DESCRIPTORS: usize = 200;

/// Stubs per message: their paths may be long, and a message of 16 KiB is taken.
pub(crate) const STUBS: usize = 8;

/// What a supervisor is started for.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Order {
    /// Run a process.
    Run(Box<Job>),
    /// Run a process in a sandbox that runs.
    Join(Box<JoinJob>),
    /// Keep `pasta` running for a network namespace, the first descriptor.
    Network { pasta: PathBuf, arguments: Vec<String> },
}

/// A [`crate::Spec`] with its descriptors and contents replaced by their places in the message.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Job {
    pub(crate) root: Place,
    /// See [`crate::Confinement`]: for the one without namespaces, the directory beside the root.
    pub(crate) aside: Option<Place>,
    pub(crate) argv: Vec<OsString>,
    pub(crate) env: Vec<(OsString, OsString)>,
    pub(crate) cwd: String,
    pub(crate) rights: Rights,
    pub(crate) hostname: String,
    pub(crate) network: NetworkJob,
    pub(crate) meets_others: bool,
    pub(crate) masked: bool,
    pub(crate) device_nodes: bool,
    pub(crate) devices: Devices,
    pub(crate) settings: Vec<(String, String)>,
    pub(crate) mounts: Vec<MountJob>,
    pub(crate) read_only: bool,
    pub(crate) shm_size: u64,
    pub(crate) stdin: Option<Place>,
    pub(crate) terminal: bool,
    pub(crate) init: bool,
    pub(crate) resources: Resources,
}

/// A [`crate::JoinSpec`], likewise.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct JoinJob {
    pub(crate) process: Place,
    pub(crate) argv: Vec<OsString>,
    pub(crate) env: Vec<(OsString, OsString)>,
    pub(crate) cwd: String,
    pub(crate) rights: Rights,
    pub(crate) stdin: Option<Place>,
    pub(crate) terminal: bool,
}

/// Which of the descriptors after the order.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Place(usize);

/// See [`crate::Network`].
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum NetworkJob {
    Host,
    None,
    Joined(Place),
    Awaited(Place, GateJob),
}

/// See [`crate::Mount`].
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct MountJob {
    pub(crate) target: String,
    pub(crate) source: SourceJob,
    pub(crate) read_only: bool,
}

/// See [`crate::MountSource`].
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum SourceJob {
    Detached(Place),
    Within { root: Place, path: String },
    Bind(PathBuf),
    BindAlone(PathBuf),
    Lent(PathBuf),
    Tmpfs { size: Option<u64>, mode: u32, uid: u32, gid: u32, exec: bool },
    File { length: u64, mode: u32, uid: u32, gid: u32 },
}

/// The descriptors and contents that go with an [`Order`].
#[derive(Debug, Default)]
pub(crate) struct Luggage {
    pub(crate) descriptors: Vec<OwnedFd>,
    pub(crate) contents: Vec<u8>,
}

impl Luggage {
    /// Adds a descriptor, and says where it will be found.
    pub(crate) fn add(&mut self, descriptor: OwnedFd) -> Place {
        self.descriptors.push(descriptor);
        Place(self.descriptors.len() - 1)
    }

    /// Finds the descriptor of a place.
    pub(crate) fn at(&self, place: Place) -> io::Result<BorrowedFd<'_>> {
        let found = self.descriptors.get(place.0).map(AsFd::as_fd);
        found.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }
}

/// What the supervisor says.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Report {
    /// The other end of the terminal is attached.
    Terminal,
    /// These were made in the root. More may follow, all before the next one.
    MountPoints(MountPoints),
    /// What is in these places was put there and taken out again, or gave way meanwhile. More may follow.
    Covered(Vec<PathBuf>),
    /// The program runs: its process id, as the supervisor sees it; its pidfd is attached.
    Started(i32),
    /// The kernel has killed a process for want of memory. The end is still to come.
    OutOfMemory,
    /// `pasta` has set the network up.
    NetworkReady,
    /// The process ended by itself.
    Exited(i32),
    /// The process ended by a signal.
    Killed(i32),
    /// It did not come to running the process.
    Failed(Failure),
}

/// An [`Error`] of the sandbox's side, as it can be sent.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Failure {
    Exec { program: String, errno: i32 },
    WorkingDirectory { path: String, errno: i32 },
    Mount { kind: String, target: String, errno: i32 },
    Device { path: PathBuf, errno: i32 },
    Resources { what: String, reason: String, errno: Option<i32> },
    MountTarget { target: String },
    NotADirectory { path: String },
    Setup { action: String, errno: i32 },
    Pasta { message: String },
    NeedsNamespaces { what: String },
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let errno = |source: &io::Error| source.raw_os_error().unwrap_or(libc::EIO);
        match error {
            Error::Exec { program, source } => Failure::Exec { program, errno: errno(&source) },
            Error::WorkingDirectory { path, source } => {
                Failure::WorkingDirectory { path, errno: errno(&source) }
            }
            Error::Mount { kind, target, source } => {
                Failure::Mount { kind, target, errno: errno(&source) }
            }
            Error::Device { path, source } => Failure::Device { path, errno: errno(&source) },
            Error::Resources { what, reason, source } => {
                let what = what.to_owned();
                Failure::Resources { what, reason, errno: source.as_ref().map(errno) }
            }
            Error::MountTarget { target } => Failure::MountTarget { target },
            Error::NotADirectory { path } => Failure::NotADirectory { path },
            Error::Setup { action, source } => Failure::Setup { action, errno: errno(&source) },
            Error::Pasta { message, source: _ } => Failure::Pasta { message },
            Error::NeedsNamespaces { what } => Failure::NeedsNamespaces { what },
            // These belong to the caller's side; the supervisor does not meet them.
            Error::Invalid { .. }
            | Error::TooManyLayers { .. }
            | Error::Overlay { .. }
            | Error::SupervisorLost { .. }
            | Error::NoIdMapper { .. }
            | Error::IdMapper { .. }
            | Error::NoIdRange { .. }
            | Error::NoUserNamespace { .. }
            | Error::Isolation { .. }
            | Error::Lacking { .. }
            | Error::Port { .. }
            | Error::OwnIds { .. }
            | Error::HostFile { .. } => {
                Failure::Setup { action: error.to_string(), errno: libc::EIO }
            }
        }
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        let source = io::Error::from_raw_os_error;
        match failure {
            Failure::Exec { program, errno } => Error::Exec { program, source: source(errno) },
            Failure::WorkingDirectory { path, errno } => {
                Error::WorkingDirectory { path, source: source(errno) }
            }
            Failure::Mount { kind, target, errno } => {
                Error::Mount { kind, target, source: source(errno) }
            }
            Failure::Device { path, errno } => Error::Device { path, source: source(errno) },
            Failure::Resources { what, reason, errno } => {
                Error::Resources { what, reason, source: errno.map(source) }
            }
            Failure::MountTarget { target } => Error::MountTarget { target },
            Failure::NotADirectory { path } => Error::NotADirectory { path },
            Failure::Setup { action, errno } => Error::Setup { action, source: source(errno) },
            Failure::Pasta { message } => Error::Pasta { message, source: None },
            Failure::NeedsNamespaces { what } => Error::NeedsNamespaces { what },
        }
    }
}

/// Sends an order with its luggage.
pub(crate) fn send_order(socket: &OwnedFd, order: &Order, luggage: &Luggage) -> io::Result<()> {
    let json = serde_json::to_vec(order)?;
    let flags = rustix::fs::MemfdFlags::CLOEXEC;
    let mut memfd = File::from(rustix::fs::memfd_create("kiln-order", flags)?);
    memfd.write_all(&(json.len() as u64).to_le_bytes())?;
    memfd.write_all(&json)?;
    memfd.write_all(&luggage.contents)?;
    memfd.rewind()?;

    let all: Vec<BorrowedFd<'_>> =
        [memfd.as_fd()].into_iter().chain(luggage.descriptors.iter().map(AsFd::as_fd)).collect();
    let mut header = MAGIC.to_vec();
    header.extend_from_slice(&(all.len() as u32).to_le_bytes());
    for some in all.chunks(DESCRIPTORS) {
        send(socket.as_fd(), &header, some)?;
    }
    Ok(())
}

/// Receives an order; `None` when the first message is nothing that a caller of ours sends.
pub(crate) fn receive_order(socket: BorrowedFd<'_>) -> io::Result<Option<(Order, Luggage)>> {
    let mut descriptors = Vec::new();
    loop {
        let (message, mut some) = receive(socket)?;
        let Some(count) = message.strip_prefix(MAGIC).and_then(|rest| rest.try_into().ok()) else {
            return Ok(None);
        };
        descriptors.append(&mut some);
        if descriptors.len() >= u32::from_le_bytes(count) as usize {
            break;
        }
    }
    if descriptors.is_empty() {
        return Ok(None);
    }
    let mut memfd = File::from(descriptors.remove(0));
    let mut length = [0; 8];
    memfd.read_exact(&mut length)?;
    let mut json = Vec::new();
    (&memfd).take(u64::from_le_bytes(length)).read_to_end(&mut json)?;
    let mut contents = Vec::new();
    memfd.read_to_end(&mut contents)?;
    Ok(Some((serde_json::from_slice(&json)?, Luggage { descriptors, contents })))
}

/// Sends a report, with the descriptor of a terminal or of a process if that is what it is about.
pub(crate) fn send_report(
    socket: BorrowedFd<'_>,
    report: &Report,
    descriptor: Option<BorrowedFd<'_>>,
) -> io::Result<()> {
    send(socket, &serde_json::to_vec(report)?, descriptor.as_slice())
}

/// Receives a report; `None` when there will be no more.
pub(crate) fn receive_report(
    socket: BorrowedFd<'_>,
) -> io::Result<Option<(Report, Option<OwnedFd>)>> {
    let (message, descriptors) = receive(socket)?;
    if message.is_empty() {
        return Ok(None);
    }
    Ok(Some((serde_json::from_slice(&message)?, descriptors.into_iter().next())))
}

/// Sends one message with descriptors.
pub(crate) fn send(
    socket: BorrowedFd<'_>,
    message: &[u8],
    fds: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let slices = [IoSlice::new(message)];
    rustix::io::retry_on_intr(|| {
        rustix::net::sendmsg(socket, &slices, &mut control, SendFlags::NOSIGNAL)
    })?;
    Ok(())
}

/// Receives one message with descriptors; an empty one when the other side is gone.
pub(crate) fn receive(socket: BorrowedFd<'_>) -> io::Result<(Vec<u8>, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut message = vec![0; 16 * 1024];
    let result = rustix::io::retry_on_intr(|| {
        let mut slices = [IoSliceMut::new(&mut message)];
        rustix::net::recvmsg(socket, &mut slices, &mut control, RecvFlags::CMSG_CLOEXEC)
    });
    let received = match result {
        Ok(received) => received.bytes,
        // A supervisor that dies with unread messages resets the connection.
        Err(rustix::io::Errno::CONNRESET) => 0,
        Err(error) => return Err(error.into()),
    };
    message.truncate(received);
    let mut descriptors = Vec::new();
    for part in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = part {
            descriptors.extend(rights);
        }
    }
    Ok((message, descriptors))
}
