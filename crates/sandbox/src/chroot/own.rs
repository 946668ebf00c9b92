//! What `/proc` tells a program about itself, where it cannot be mounted: the filter asks this process about opening files
//! and reading links, and what begins with `/proc/self` or `/dev/fd` is answered from the outer `/proc`.
//!
//! Single files are handed out, and never a directory: from one of the outer `/proc`, `..` would lead out of the root. What
//! a program has open it gets again with no more than the rights that it has it open with. Everything else goes on as if
//! nobody had been asked, so that a path which changes meanwhile gains nothing. Programs of another user than root are
//! answered as that user (`guise`).
//!
//! Where no device nodes can be made, opening one is answered with the outer one (`super::system`).
//!
//! Not answered: `stat` and its kin, other processes, and programs that nobody may look into: those that have changed their
//! user since they were started.

mod guise;

use std::fs;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::path::PathBuf;

use rustix::event::PollFd;
use rustix::event::PollFlags;
use rustix::fs::Mode;
use rustix::fs::OFlags;
use rustix::io::Errno;

use super::system;
use crate::seccomp::Asked;
use crate::sys;
use crate::sys::AskingCall;
use guise::Guise;

/// The longest path that is of interest.
const LONGEST: usize = 128;

/// Bytes of a page of memory, which is there as a whole or not at all.
const PAGE: u64 = 4096;

/// What a program may read about itself.
const FILES: &[&str] = &[
    "auxv",
    "cgroup",
    "cmdline",
    "comm",
    "environ",
    "io",
    "limits",
    "maps",
    "oom_score",
    "oom_score_adj",
    "sched",
    "schedstat",
    "smaps",
    "smaps_rollup",
    "stat",
    "statm",
    "status",
    "uid_map",
    "gid_map",
    "setgroups",
    "loginuid",
    "sessionid",
    "wchan",
];

/// What is known of the program's world.
#[derive(Debug)]
pub(super) struct World {
    /// The root directory, as this process sees it.
    pub(super) root: PathBuf,
    /// Whether its devices stand for the outer ones.
    pub(super) lends_devices: bool,
}

/// Answers until nobody has the filter any more.
pub(super) fn answer_all(listener: &OwnedFd, world: &World) {
    loop {
        let mut events = [PollFd::new(listener, PollFlags::IN)];
        if rustix::io::retry_on_intr(|| rustix::event::poll(&mut events, None)).is_err() {
            return;
        }
        if !events[0].revents().contains(PollFlags::IN) {
            return;
        }
        // It fails when the process that asks has just died.
        let Ok(call) = sys::next_asking_call(listener) else { continue };
        if answer(listener, world, &call).is_none() {
            // It fails when the process does not wait any more.
            let _ = sys::let_call_go_on(listener, call.id);
        }
    }
}

/// Answers a call; `None` if it is to go on.
fn answer(listener: &OwnedFd, world: &World, call: &AskingCall) -> Option<()> {
    let asked = Asked::of(call.machine, call.number, call.arguments)?;
    let process = call.process;
    let (memory, _guise) = open_memory(process, asked)?;
    let path = read_path(&memory, asked.path())?;
    let subject = Subject::of(&path, process)?;
    if matches!(subject, Subject::Device(_)) && !world.lends_devices {
        return None;
    }
    if !sys::is_asking(listener, call.id) {
        // It is another process by now that has the number.
        return Some(());
    }
    match asked {
        Asked::Open { flags, .. } => {
            let flags = OFlags::from_bits_retain(flags);
            let still_asks = || sys::is_asking(listener, call.id);
            match open(process, &subject, flags, still_asks)? {
                Ok(file) => sys::answer_with_descriptor(
                    listener,
                    call.id,
                    &file,
                    flags.contains(OFlags::CLOEXEC),
                ),
                Err(errno) => sys::answer_call(listener, call.id, 0, errno.raw_os_error()),
            }
        }
        Asked::ReadLink { buffer, size, .. } => {
            let text = read_link(process, &subject, &world.root)?;
            let text = text.as_os_str().as_bytes();
            let text = &text[..text.len().min(usize::try_from(size).unwrap_or(usize::MAX))];
            match memory.write_all_at(text, buffer) {
                Ok(()) => {
                    let length = i64::try_from(text.len()).unwrap_or(0);
                    sys::answer_call(listener, call.id, length, 0)
                }
                Err(_) => sys::answer_call(listener, call.id, 0, Errno::FAULT.raw_os_error()),
            }
        }
    }
    // It fails when the process does not wait any more: a signal came, and it asks again.
    .ok()
    .or(Some(()))
}

/// Opens the memory of a process, as its user if that has to be.
fn open_memory(process: i32, asked: Asked) -> Option<(File, Option<Guise>)> {
    let open = || {
        let is_written = matches!(asked, Asked::ReadLink { .. });
        let mut options = File::options();
        options.read(true).write(is_written).open(format!("/proc/{process}/mem"))
    };
    if let Ok(memory) = open() {
        return Some((memory, None));
    }
    let guise = Guise::of(process)?;
    Some((open().ok()?, Some(guise)))
}

/// What a path is about.
#[derive(Debug, PartialEq, Eq)]
enum Subject {
    /// `/proc/self` itself.
    Process,
    /// A file that tells about the process.
    File(String),
    /// A link: `exe`, `cwd` or `root`.
    Link(&'static str),
    /// Something that it has open.
    Descriptor(u32),
    /// A device that can be lent.
    Device(&'static str),
}

impl Subject {
    fn of(path: &[u8], process: i32) -> Option<Self> {
        let path = std::str::from_utf8(path).ok()?;
        let descriptor = |number: &str| number.parse().ok().map(Self::Descriptor);
        if let Some(name) = path.strip_prefix("/dev/") {
            return match name {
                "stdin" => Some(Self::Descriptor(0)),
                "stdout" => Some(Self::Descriptor(1)),
                "stderr" => Some(Self::Descriptor(2)),
                _ => match system::lent_device(name) {
                    Some(name) => Some(Self::Device(name)),
                    None => descriptor(name.strip_prefix("fd/")?),
                },
            };
        }
        let behind = path.strip_prefix("/proc/")?;
        let (who, what) = behind.split_once('/').unwrap_or((behind, ""));
        if who != "self" && who != "thread-self" && who != process.to_string() {
            return None;
        }
        match what {
            "" if who == "self" => Some(Self::Process),
            "exe" => Some(Self::Link("exe")),
            "cwd" => Some(Self::Link("cwd")),
            "root" => Some(Self::Link("root")),
            what if FILES.contains(&what) => Some(Self::File(what.to_owned())),
            what => descriptor(what.strip_prefix("fd/")?),
        }
    }
}

fn open(
    process: i32,
    subject: &Subject,
    flags: OFlags,
    still_asks: impl Fn() -> bool,
) -> Option<Result<OwnedFd, Errno>> {
    match subject {
        Subject::File(name) => {
            if flags.intersects(OFlags::WRONLY | OFlags::RDWR | OFlags::PATH | OFlags::DIRECTORY) {
                return None;
            }
            let path = format!("/proc/{process}/{name}");
            Some(rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()))
        }
        Subject::Link("exe") if !flags.intersects(OFlags::WRONLY | OFlags::RDWR | OFlags::PATH) => {
            let path = format!("/proc/{process}/exe");
            Some(rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()))
        }
        Subject::Descriptor(number) => open_again(process, *number, flags, still_asks),
        Subject::Device(name) => system::open_lent(name, flags),
        Subject::Process | Subject::Link(_) => None,
    }
}

/// Opens what a process has open once more, with no more rights than it has it with.
///
/// Another thread of it may let the number stand for another file at any moment. So what it stands for is held first, as a
/// place only, and that it is the file whose rights are looked at is made sure of.
fn open_again(
    process: i32,
    number: u32,
    flags: OFlags,
    still_asks: impl Fn() -> bool,
) -> Option<Result<OwnedFd, Errno>> {
    let path = format!("/proc/{process}/fd/{number}");
    let place = rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).ok()?;
    let theirs = fs::read_to_string(format!("/proc/{process}/fdinfo/{number}")).ok()?;
    let own = fs::read_to_string(format!("/proc/self/fdinfo/{}", place.as_raw_fd())).ok()?;
    if which_file(&theirs)? != which_file(&own)? || !still_asks() {
        return Some(Err(Errno::NOENT));
    }
    let has = field(&theirs, "flags:")?;
    let has = OFlags::from_bits_retain(u32::from_str_radix(has, 8).ok()?);
    let access = |flags: OFlags| flags & (OFlags::WRONLY | OFlags::RDWR);
    if has.contains(OFlags::PATH) || flags.contains(OFlags::PATH) {
        return None;
    }
    if access(has) != OFlags::RDWR && access(has) != access(flags) {
        return Some(Err(Errno::ACCESS));
    }
    if access(flags) == OFlags::RDONLY && flags.contains(OFlags::TRUNC) {
        return Some(Err(Errno::ACCESS));
    }
    let kept = access(flags) | flags & (OFlags::APPEND | OFlags::TRUNC | OFlags::NONBLOCK);
    // Not waiting: a FIFO without another end would hold up every answer.
    let path = format!("/proc/self/fd/{}", place.as_raw_fd());
    let wanted = kept | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let opened = rustix::fs::open(path, wanted, Mode::empty());
    let opened = opened.and_then(|file| {
        rustix::fs::fcntl_setfl(&file, kept - OFlags::TRUNC)?;
        Ok(file)
    });
    Some(opened)
}

/// Which file a text of `/proc/PID/fdinfo` is about, and through which mount it was opened; `None` before Linux 5.14.
fn which_file(info: &str) -> Option<(&str, &str)> {
    Some((field(info, "ino:")?, field(info, "mnt_id:")?))
}

fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines().find_map(|line| line.strip_prefix(name)).map(str::trim)
}

fn read_link(process: i32, subject: &Subject, root: &Path) -> Option<PathBuf> {
    let link = match subject {
        Subject::Process => return Some(process.to_string().into()),
        Subject::Link("root") => return Some("/".into()),
        Subject::Link(name) => format!("/proc/{process}/{name}"),
        Subject::Descriptor(number) => format!("/proc/{process}/fd/{number}"),
        Subject::File(_) | Subject::Device(_) => return None,
    };
    let target = fs::read_link(link).ok()?;
    match target.strip_prefix(root) {
        Ok(inside) => Some(Path::new("/").join(inside)),
        // Pipes and sockets have no place; devices are where they always are; whatever else is outside is told to nobody.
        Err(_) if !target.is_absolute() || is_device(&target) => Some(target),
        Err(_) => Some("/".into()),
    }
}

fn is_device(path: &Path) -> bool {
    let name = path.strip_prefix("/dev").ok().and_then(Path::to_str);
    name.and_then(system::lent_device).is_some()
}

/// Reads a short text that ends with a zero; `None` for a longer one.
fn read_path(memory: &File, address: u64) -> Option<Vec<u8>> {
    let mut path = Vec::new();
    let mut at = address;
    while path.len() < LONGEST {
        let in_page = PAGE - at % PAGE;
        let mut piece = vec![0; LONGEST.min(usize::try_from(in_page).ok()?)];
        memory.read_exact_at(&mut piece, at).ok()?;
        if let Some(end) = piece.iter().position(|byte| *byte == 0) {
            path.extend_from_slice(&piece[..end]);
            return Some(path);
        }
        at += piece.len() as u64;
        path.extend(piece);
    }
    None
}

#[cfg(test)]
mod tests;
