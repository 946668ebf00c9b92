//! What the commands and the keeper of a container say to each other, over a stream socket.
//!
//! ```text
//! frame                 kind (1 byte) · length (u32, little endian) · so many bytes
//! command → keeper      one `q` frame: a [`Request`] as JSON; then, if it attaches with input, `0` frames: what the
//!                       program reads, an empty one being its end; and `c`: nobody reads the output any more
//! keeper → command      `a` frames: an [`Answer`] as JSON; `1` and `2` frames: standard output and error
//! ```
//!
//! A request gets one answer. One that attaches or waits gets [`Answer::Exited`] at the end as well. Signals and sizes go
//! over connections of their own, so that they do not stand behind input that nobody reads.

use std::{
    io::{self, IoSlice, IoSliceMut, Read, Write},
    mem::MaybeUninit,
    os::{
        fd::{BorrowedFd, OwnedFd},
        unix::net::UnixStream,
    },
};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};
use sandbox::{MountPoints, Usage};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{Error, container::exec::ExecRequest};

/// Longer than any frame of ours; what is longer is none.
const LONGEST: u32 = 4 << 20;

/// What a frame holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    Request = b'q',
    Answer = b'a',
    Stdin = b'0',
    Stdout = b'1',
    Stderr = b'2',
    Unread = b'c',
}

impl Kind {
    fn of(byte: u8) -> Option<Self> {
        [Self::Request, Self::Answer, Self::Stdin, Self::Stdout, Self::Stderr, Self::Unread]
            .into_iter()
            .find(|kind| *kind as u8 == byte)
    }
}

/// A program of the container, as its keeper counts them: 0 is the container's own.
pub(super) type ProgramNumber = u64;

/// What is wanted of a keeper.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Request {
    /// Start the container: the first request of all, over the socket that the keeper was born with.
    Start { attach: Option<Attach> },
    /// Pass the streams of the container's own program.
    Attach(Attach),
    /// Run another program in the container.
    Exec { exec: Box<ExecRequest>, attach: Option<Attach> },
    /// Send a program a signal.
    Signal { program: ProgramNumber, signal: i32 },
    /// Give a program's terminal another size.
    Resize { program: ProgramNumber, size: Size },
    /// Tell when the container has ended.
    Wait,
    /// Hand out the root directory as the program sees it: a descriptor goes with the answer.
    Root,
    /// Do not start the program again when it has ended.
    Stop,
    /// Tell what is in the root file system only because the container runs.
    MountPoints,
    /// The same, and let all of its processes stand still until this connection is closed.
    HoldStill,
    /// Let all of its processes stand still until somebody says that they go on.
    Pause,
    /// Let them go on.
    Unpause,
    /// Tell the process ids of its processes.
    Processes,
    /// Tell what its processes use.
    Usage,
    /// Do not remove the container at its end, though it was made so: it is going to be started again.
    Stay,
}

/// Which streams go over the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Attach {
    /// Standard input: what is sent is what the program reads.
    pub stdin: bool,
    /// Standard output, and all output of a program with a terminal.
    pub stdout: bool,
    /// Standard error.
    pub stderr: bool,
    /// The size of the terminal that the program is shown in.
    pub size: Option<Size>,
}

/// The size of a terminal in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Size {
    /// Lines.
    pub rows: u16,
    /// Characters of a line.
    pub columns: u16,
}

/// What a keeper answers.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Answer {
    /// The program runs.
    Started(ProgramNumber),
    /// Done.
    Done,
    /// The program has ended, with this status; for the container's own: and so has everything of it.
    Exited(i32),
    /// The kernel has killed a process of the container for want of memory; the end is still to be told.
    OutOfMemory,
    /// What was made in the root file system to mount on.
    MountPoints(MountPoints),
    /// The process ids of its processes, as the keeper sees them.
    Processes(Vec<i32>),
    /// What they use.
    Usage(Usage),
    /// Somebody else keeps the container.
    Kept,
    /// It could not be done.
    Failed(Failure),
}

/// An error of the keeper's, as far as it can be passed on.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Failure {
    text: String,
    causes: Vec<String>,
    /// What of it tells how the command ends: the program could not be executed, for this reason.
    exec: Option<(String, i32)>,
    /// What the kernel said, if it did.
    #[serde(default)]
    errno: Option<i32>,
}

impl From<&Error> for Failure {
    fn from(error: &Error) -> Self {
        let (mut causes, mut errno) = (Vec::new(), None);
        let mut cause = std::error::Error::source(error);
        while let Some(error) = cause {
            causes.push(error.to_string());
            errno = error.downcast_ref().and_then(io::Error::raw_os_error).or(errno);
            cause = error.source();
        }
        let exec = match error {
            Error::Sandbox(sandbox::Error::Exec { program, source }) => {
                source.raw_os_error().map(|errno| (program.clone(), errno))
            }
            _ => None,
        };
        Self { text: error.to_string(), causes, exec, errno }
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        if let Some((program, errno)) = failure.exec {
            let source = io::Error::from_raw_os_error(errno);
            return sandbox::Error::Exec { program, source }.into();
        }
        let link =
            |source, text| Some(Box::new(Error::Keeper { text, errno: failure.errno, source }));
        let source = failure.causes.into_iter().rev().fold(None, link);
        Error::Keeper { text: failure.text, errno: failure.errno, source }
    }
}

/// Writes a frame.
pub(super) fn write(mut to: impl Write, kind: Kind, bytes: &[u8]) -> io::Result<()> {
    let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
    let mut frame = Vec::with_capacity(bytes.len() + 5);
    frame.push(kind as u8);
    frame.extend_from_slice(&length.to_le_bytes());
    frame.extend_from_slice(bytes);
    to.write_all(&frame)
}

/// Writes a frame of JSON.
pub(super) fn write_json<T: Serialize>(to: impl Write, kind: Kind, value: &T) -> io::Result<()> {
    write(to, kind, &serde_json::to_vec(value)?)
}

/// Writes an answer that a descriptor goes with.
pub(super) fn answer_with(
    to: &UnixStream,
    answer: &Answer,
    descriptor: BorrowedFd<'_>,
) -> io::Result<()> {
    let mut frame = Vec::new();
    write_json(&mut frame, Kind::Answer, answer)?;
    let descriptors = [descriptor];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !control.push(SendAncillaryMessage::ScmRights(&descriptors)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // The descriptor goes with the first byte.
    let (first, rest) = frame.split_at(1);
    let slices = [IoSlice::new(first)];
    rustix::io::retry_on_intr(|| {
        rustix::net::sendmsg(to, &slices, &mut control, SendFlags::NOSIGNAL)
    })?;
    let mut to = to;
    to.write_all(rest)
}

/// Reads an answer, and the descriptor that goes with it, if there is one.
pub(super) fn read_answer_with(from: &UnixStream) -> io::Result<(Answer, Option<OwnedFd>)> {
    let mut first = [0];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = rustix::io::retry_on_intr(|| {
        let mut slices = [IoSliceMut::new(&mut first)];
        rustix::net::recvmsg(from, &mut slices, &mut control, RecvFlags::CMSG_CLOEXEC)
    })?;
    let descriptor = control.drain().find_map(|part| match part {
        RecvAncillaryMessage::ScmRights(mut rights) => rights.next(),
        _ => None,
    });
    match read(first[..received.bytes].chain(from))? {
        Some((Kind::Answer, bytes)) => Ok((parse(&bytes)?, descriptor)),
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// Reads a frame; `None` when there are no more.
pub(super) fn read(mut from: impl Read) -> io::Result<Option<(Kind, Vec<u8>)>> {
    let mut kind = [0];
    match from.read_exact(&mut kind) {
        Err(error) if is_the_end(&error) => return Ok(None),
        read => read?,
    }
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let length = u32::from_le_bytes(length);
    let Some(kind) = Kind::of(kind[0]).filter(|_| length <= LONGEST) else {
        return Err(io::ErrorKind::InvalidData.into());
    };
    let mut bytes = vec![0; length as usize];
    from.read_exact(&mut bytes)?;
    Ok(Some((kind, bytes)))
}

/// Reads the JSON of a frame.
pub(super) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> io::Result<T> {
    Ok(serde_json::from_slice(bytes)?)
}

/// Whether the other side is gone, in whatever way.
fn is_the_end(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_read_back() {
        let mut bytes = Vec::new();
        write(&mut bytes, Kind::Stdout, b"out").unwrap();
        write_json(&mut bytes, Kind::Answer, &Answer::Exited(7)).unwrap();
        write(&mut bytes, Kind::Stdin, b"").unwrap();
        let mut from = bytes.as_slice();
        assert_eq!(read(&mut from).unwrap(), Some((Kind::Stdout, b"out".to_vec())));
        let (kind, answer) = read(&mut from).unwrap().unwrap();
        assert_eq!(kind, Kind::Answer);
        assert!(matches!(parse(&answer).unwrap(), Answer::Exited(7)));
        assert_eq!(read(&mut from).unwrap(), Some((Kind::Stdin, Vec::new())));
        assert_eq!(read(&mut from).unwrap(), None);
    }

    #[test]
    fn a_descriptor_goes_with_an_answer() {
        use std::os::fd::AsFd;
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (mut left, right) = UnixStream::pair().unwrap();
        answer_with(&theirs, &Answer::Done, right.as_fd()).unwrap();
        write_json(&theirs, Kind::Answer, &Answer::Exited(1)).unwrap();
        drop(right);
        let (answer, descriptor) = read_answer_with(&ours).unwrap();
        assert!(matches!(answer, Answer::Done));
        left.write_all(b"through").unwrap();
        let mut got = [0; 7];
        UnixStream::from(descriptor.unwrap()).read_exact(&mut got).unwrap();
        assert_eq!(&got, b"through");
        // And none with the next.
        let (answer, descriptor) = read_answer_with(&ours).unwrap();
        assert!(matches!(answer, Answer::Exited(1)) && descriptor.is_none());
        drop(theirs);
        assert!(read_answer_with(&ours).is_err());
    }

    #[test]
    fn what_is_no_frame_is_refused() {
        assert!(read(&b"x\0\0\0\0"[..]).is_err());
        assert!(read(&b"1\xff\xff\xff\xff"[..]).is_err());
        assert!(read(&b"1\x04\0\0\0abc"[..]).is_err());
    }

    #[test]
    fn a_failure_keeps_its_causes_and_its_status() {
        let source = io::Error::from_raw_os_error(2);
        let error = Error::from(sandbox::Error::Exec { program: "x".to_owned(), source });
        let back = Error::from(Failure::from(&error));
        assert!(matches!(back, Error::Sandbox(sandbox::Error::Exec { .. })), "{back:?}");
        let source = io::Error::from_raw_os_error(13);
        let error = Error::Io { action: "read", path: "/x".into(), source };
        let back = Error::from(Failure::from(&error));
        let cause = std::error::Error::source(&back).map(ToString::to_string);
        assert_eq!(
            (back.to_string(), cause),
            ("cannot read `/x`".to_owned(), Some("Permission denied (os error 13)".to_owned()))
        );
    }
}
