//! What `/proc` tells a program about itself, where it cannot be mounted: the filter asks this process about opening files
//! and reading links, and what begins with `/proc/self` or `/dev/fd` is answered from the outer `/proc`.
//!
//! Single files are handed out, and never a directory: from one of the outer `/proc`, `..` would lead out of the root. What
//! a program has open it gets again with no more than the rights that it has it open with. Everything else goes on as if
//! nobody had been asked, so that a path which changes meanwhile gains nothing.
//!
//! Not answered: `stat` and its kin, other processes, and programs of another user than root, whose memory this process
//! must not read.

use std::fs;
use std::fs::File;
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

use crate::seccomp::Asked;
use crate::sys;
use crate::sys::AskingCall;

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

/// Answers until nobody has the filter any more. `root` is the program's root directory, as this process sees it.
pub(super) fn answer_all(listener: &OwnedFd, root: &Path) {
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
        if answer(listener, root, &call).is_none() {
            // It fails when the process does not wait any more.
            let _ = sys::let_call_go_on(listener, call.id);
        }
    }
}

/// Answers a call; `None` if it is to go on.
fn answer(listener: &OwnedFd, root: &Path, call: &AskingCall) -> Option<()> {
    let asked = Asked::of(call.machine, call.number, call.arguments)?;
    let process = call.process;
    let memory = match asked {
        Asked::Open { .. } => File::open(format!("/proc/{process}/mem")),
        Asked::ReadLink { .. } => {
            File::options().read(true).write(true).open(format!("/proc/{process}/mem"))
        }
    };
    let memory = memory.ok()?;
    let path = read_path(&memory, asked.path())?;
    let subject = Subject::of(&path, process)?;
    if !sys::is_asking(listener, call.id) {
        // It is another process by now that has the number.
        return Some(());
    }
    match asked {
        Asked::Open { flags, .. } => {
            let flags = OFlags::from_bits_retain(flags);
            match open(process, &subject, flags)? {
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
            let text = read_link(process, &subject, root)?;
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
                _ => descriptor(name.strip_prefix("fd/")?),
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

fn open(process: i32, subject: &Subject, flags: OFlags) -> Option<Result<OwnedFd, Errno>> {
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
        Subject::Descriptor(number) => open_again(process, *number, flags),
        Subject::Process | Subject::Link(_) => None,
    }
}

/// Opens what a process has open once more, with no more rights than it has it with.
fn open_again(process: i32, number: u32, flags: OFlags) -> Option<Result<OwnedFd, Errno>> {
    let info = fs::read_to_string(format!("/proc/{process}/fdinfo/{number}")).ok()?;
    let has = info.lines().find_map(|line| line.strip_prefix("flags:"))?;
    let has = OFlags::from_bits_retain(u32::from_str_radix(has.trim(), 8).ok()?);
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
    let path = format!("/proc/{process}/fd/{number}");
    let wanted = kept | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let opened = rustix::fs::open(path, wanted, Mode::empty());
    let opened = opened.and_then(|file| {
        rustix::fs::fcntl_setfl(&file, kept - OFlags::TRUNC)?;
        Ok(file)
    });
    Some(opened)
}

fn read_link(process: i32, subject: &Subject, root: &Path) -> Option<PathBuf> {
    let link = match subject {
        Subject::Process => return Some(process.to_string().into()),
        Subject::Link("root") => return Some("/".into()),
        Subject::Link(name) => format!("/proc/{process}/{name}"),
        Subject::Descriptor(number) => format!("/proc/{process}/fd/{number}"),
        Subject::File(_) => return None,
    };
    let target = fs::read_link(link).ok()?;
    match target.strip_prefix(root) {
        Ok(inside) => Some(Path::new("/").join(inside)),
        // Pipes and sockets have no place; whatever else is outside is told to nobody.
        Err(_) if !target.is_absolute() => Some(target),
        Err(_) => Some("/".into()),
    }
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
mod tests {
    use super::*;

    fn check(path: &str, expected: Option<Subject>) {
        assert_eq!(Subject::of(path.as_bytes(), 7), expected, "{path}");
    }

    #[test]
    fn only_the_process_itself_is_told_of() {
        check("/proc/self", Some(Subject::Process));
        check("/proc/self/exe", Some(Subject::Link("exe")));
        check("/proc/7/status", Some(Subject::File("status".to_owned())));
        check("/proc/self/fd/63", Some(Subject::Descriptor(63)));
        check("/dev/fd/63", Some(Subject::Descriptor(63)));
        check("/dev/stdout", Some(Subject::Descriptor(1)));
        for other in [
            "/proc/1/status",
            "/proc/self/fd",
            "/proc/self/fd/",
            "/proc/self/fd/../../1/environ",
            "/proc/self/root/etc",
            "/proc/self/task/7/status",
            "/proc/self/mem",
            "/proc/self/ns/net",
            "/proc/cpuinfo",
            "/dev/null",
            "self/status",
            "",
        ] {
            check(other, None);
        }
    }
}
