//! A network of its own for the steps of a build, with a way out: a network namespace that `pasta`
//! connects to the host's sockets, without privileges and without touching the host's devices.
//!
//! It is made once per build and joined by each step, as starting `pasta` takes longer than a step.

use std::ffi::OsStr;
use std::fs;
use std::fs::File;
use std::fs::OpenOptions;
use std::io::Read;
use std::io::Seek;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::process::Stdio;

use rustix::event::PollFd;
use rustix::event::PollFlags;
use rustix::fs::CWD;
use rustix::fs::FileType;
use rustix::fs::Mode;
use rustix::fs::OFlags;
use rustix::mount::MountAttrFlags;
use rustix::thread::UnshareFlags;

use crate::Error;
use crate::Network;
use crate::rootfs::attach;
use crate::rootfs::new_mount;
use crate::rootfs::part_of;
use crate::spawn::Supervisor;
use crate::sys;
use crate::sys::Depth;
use crate::wire::Luggage;
use crate::wire::Order;
use crate::wire::Report;

/// The address at which `pasta` forwards queries to the host's resolver, for hosts whose resolver
/// listens on a loopback address, which is another one in the namespace. Link-local, so nobody's.
const RESOLVER: &str = "169.254.1.1";

/// No port of the host is forwarded inwards and none of the host's loopback ports is reachable from
/// inside, neither by forwarding nor at the gateway's address.
const ARGUMENTS: &[&str] = &[
    "--quiet",
    "--foreground",
    "--config-net",
    "--no-map-gw",
    "--tcp-ports=none",
    "--udp-ports=none",
    "--tcp-ns=none",
    "--udp-ns=none",
];

/// A network namespace with a way out. Dropping it ends `pasta`; sandboxes that are still in it keep
/// the namespace but lose the way.
#[derive(Debug)]
pub struct BuildNetwork {
    namespace: OwnedFd,
    _supervisor: Supervisor,
}

impl BuildNetwork {
    /// Makes it. Blocks until addresses and routes are there, some milliseconds.
    ///
    /// Any thread may call this. Fails with [`Error::Pasta`] if `pasta` is missing or unhappy.
    pub fn start() -> Result<BuildNetwork, Error> {
        let Some(pasta) = find_pasta() else {
            let message = "it is not installed (package `passt`); or use the host's network";
            return Err(Error::Pasta { message: message.to_owned(), source: None });
        };
        let namespace = new_namespace()?;
        let mut luggage = Luggage::default();
        luggage.add(namespace.try_clone().map_err(Error::setup("duplicate a descriptor"))?);
        let mut supervisor = Supervisor::start(Stdio::null(), Stdio::null())?;
        supervisor.order(&Order::Network { pasta }, &luggage)?;
        drop(luggage);
        match supervisor.next_report()? {
            (Report::NetworkReady, _) => Ok(BuildNetwork { namespace, _supervisor: supervisor }),
            (Report::Failed(failure), _) => Err(failure.into()),
            (
                Report::OutOfMemory
                | Report::Terminal
                | Report::Started(_)
                | Report::Exited(_)
                | Report::Killed(_),
                _,
            ) => Err(Error::SupervisorLost { how: "it spoke of something else".to_owned() }),
        }
    }

    /// This network for one [`crate::Spec`].
    pub fn network(&self) -> Result<Network, Error> {
        let namespace = self.namespace.try_clone();
        Ok(Network::Joined(namespace.map_err(Error::setup("duplicate a descriptor"))?))
    }
}

/// Why [`BuildNetwork::start`] need not be tried, and what to do about it; none if there is no reason.
pub fn pasta_missing() -> Option<&'static str> {
    let tun = OpenOptions::new().read(true).write(true).open("/dev/net/tun");
    match (find_pasta(), tun) {
        (None, _) => Some("install passt for one of the build's own"),
        (Some(_), Err(_)) => Some("pasta would need /dev/net/tun, which cannot be opened"),
        (Some(_), Ok(_)) => None,
    }
}

/// What `/etc/resolv.conf` must be in a sandbox with [`Network::Host`]: the host's. Empty if there is
/// none.
pub fn host_resolv_conf() -> Vec<u8> {
    fs::read("/etc/resolv.conf").unwrap_or_default()
}

/// What `/etc/resolv.conf` must be in a [`BuildNetwork`]: the host's without resolvers on loopback
/// addresses. If those are all, systemd's list of the real ones, or else an address that `pasta`
/// forwards.
pub fn own_resolv_conf() -> Vec<u8> {
    let files = ["/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"];
    let texts: Vec<String> =
        files.iter().filter_map(|file| fs::read_to_string(file).ok()).collect();
    reachable(&texts).into_bytes()
}

/// What makes `pasta` forward queries, if a `resolv.conf` asks for it. Not otherwise: answers of the host's resolver
/// would come from the forwarding address then, also those to queries that were sent to the resolver itself.
fn forwarding(resolv_conf: &[u8]) -> &'static [&'static str] {
    let asked = String::from_utf8_lossy(resolv_conf)
        .lines()
        .any(|line| line.split_whitespace().eq(["nameserver", RESOLVER]));
    if asked { &["--dns-forward", RESOLVER] } else { &[] }
}

/// The first text that has reachable resolvers, without the others.
fn reachable(texts: &[String]) -> String {
    let is_loopback = |address: &str| {
        let address = address.split('%').next().unwrap_or_default();
        address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    };
    let keep = |line: &&str| match line.split_whitespace().collect::<Vec<_>>().as_slice() {
        ["nameserver", address, ..] => !is_loopback(address),
        [keyword, ..] => !keyword.starts_with(['#', ';']),
        [] => false,
    };
    let filtered = texts
        .iter()
        .map(|text| text.lines().filter(keep).map(|line| format!("{line}\n")).collect::<String>());
    let filtered: Vec<String> = filtered.collect();
    let has_resolver = |text: &&String| text.lines().any(|line| line.starts_with("nameserver"));
    match filtered.iter().find(has_resolver) {
        Some(text) => text.clone(),
        None => {
            let rest = filtered.first().map(String::as_str).unwrap_or_default();
            format!("{rest}nameserver {RESOLVER}\n")
        }
    }
}

/// The supervisor's part: keeps `pasta` running until the caller is gone.
pub(crate) fn keep(
    pasta: &Path,
    luggage: &Luggage,
    caller: BorrowedFd<'_>,
) -> Result<Report, Error> {
    let namespace = luggage.descriptors.first().map(AsFd::as_fd);
    let path = give_a_path(namespace)?;
    let (ready, tell) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
        .map_err(Error::setup("make a pipe"))?;
    // A file, because nobody would read a pipe while all is well.
    let log = rustix::fs::memfd_create("pasta-log", rustix::fs::MemfdFlags::CLOEXEC)
        .map_err(Error::setup("make a file"))?;
    let duplicate = log.try_clone().map_err(Error::setup("duplicate a descriptor"))?;
    let mut process = Command::new(pasta)
        .args(ARGUMENTS)
        .args(forwarding(&own_resolv_conf()))
        // It refuses to stay root otherwise, and nobody else may join the namespace. It gives up
        // all capabilities and most system calls once it is connected.
        .args(["--runas", "0"])
        // Written when everything is set up.
        .args(["--pid", "/dev/stdout"])
        .arg("--netns")
        .arg(path)
        .stdin(Stdio::null())
        .stdout(tell)
        .stderr(duplicate)
        .spawn()
        .map_err(|source| Error::Pasta {
            message: format!("`{}`", pasta.display()),
            source: Some(source),
        })?;

    let answer = match is_ready(&ready, caller)? {
        true => {
            // If the caller is gone already, the next line sees it.
            let _ = crate::wire::send_report(caller, &Report::NetworkReady, None);
            wait_for_one([caller.as_fd()]).map(drop)
        }
        false => Err(Error::Pasta { message: what_it_printed(log), source: None }),
    };
    // Both fail only when it has ended by itself.
    let _ = process.kill();
    let _ = process.wait();
    answer.map(|()| Report::Exited(0))
}

/// Makes a path by which a namespace can be opened.
///
/// Its descriptor in `/proc` would be one, but is for processes with all capabilities of its owner,
/// and `pasta` drops most of them first. So it is mounted on a file, in a mount namespace of this
/// process, over a directory that `pasta` does not need.
fn give_a_path(namespace: Option<BorrowedFd<'_>>) -> Result<&'static str, Error> {
    let failed = "give the network namespace a path";
    let namespace = namespace.ok_or(rustix::io::Errno::BADF).map_err(Error::setup(failed))?;
    sys::unshare(UnshareFlags::NEWNS).map_err(Error::setup(failed))?;
    let root = rustix::fs::open("/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
        .map_err(Error::setup(failed))?;
    sys::mount_setattr(&root, Depth::Recursive, MountAttrFlags::empty())
        .map_err(Error::setup(failed))?;
    let make = || -> Result<(), rustix::io::Errno> {
        let directory = new_mount("tmpfs", &[("mode", "0755")], MountAttrFlags::empty())?;
        attach(&directory, CWD, "/sys")?;
        let mode = Mode::from_raw_mode(0o644);
        rustix::fs::mknodat(&directory, "net", FileType::RegularFile, mode, 0)?;
        attach(part_of(namespace, "", Depth::One)?, &directory, "net")
    };
    make().map_err(Error::setup(failed))?;
    Ok("/sys/net")
}

/// Waits until `pasta` has written its pid, which says no more than that everything is set up. Not so
/// if it ends before, or the caller is gone.
fn is_ready(ready: &OwnedFd, caller: BorrowedFd<'_>) -> Result<bool, Error> {
    let [ready_now, _] = wait_for_one([ready.as_fd(), caller])?;
    if !ready_now {
        return Ok(false);
    }
    let length = rustix::io::retry_on_intr(|| rustix::io::read(ready, &mut [0; 16]))
        .map_err(Error::setup("hear from `pasta`"))?;
    Ok(length > 0)
}

/// Waits until there is something to read, or the end of it; says where.
fn wait_for_one<const N: usize>(descriptors: [BorrowedFd<'_>; N]) -> Result<[bool; N], Error> {
    let mut events = descriptors
        .map(|descriptor| PollFd::from_borrowed_fd(descriptor, PollFlags::IN | PollFlags::RDHUP));
    rustix::io::retry_on_intr(|| rustix::event::poll(&mut events, None))
        .map_err(Error::setup("wait for the end of the build"))?;
    Ok(events.map(|event| !event.revents().is_empty()))
}

/// What `pasta` complained about; without its complaint that there is no syslog to complain to.
fn what_it_printed(log: OwnedFd) -> String {
    let mut log = File::from(log);
    let mut bytes = Vec::new();
    if let Err(error) = log.rewind().and_then(|()| log.read_to_end(&mut bytes)) {
        return error.to_string();
    }
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.contains("syslog"))
        .collect();
    if lines.is_empty() { "it ended without a message".to_owned() } else { lines.join("; ") }
}

/// A new network namespace with its loopback device up. It lives as long as the descriptor.
fn new_namespace() -> Result<OwnedFd, Error> {
    let make = || -> Result<OwnedFd, std::io::Error> {
        sys::unshare(UnshareFlags::NEWNET)?;
        sys::bring_loopback_up()?;
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        Ok(rustix::fs::open("/proc/thread-self/ns/net", flags, Mode::empty())?)
    };
    // In a thread of its own, which ends with it: the caller's threads stay where they are.
    std::thread::scope(|scope| scope.spawn(make).join())
        .unwrap_or_else(|_| Err(std::io::ErrorKind::Other.into()))
        .map_err(Error::setup("make a network namespace"))
}

fn find_pasta() -> Option<PathBuf> {
    let path = std::env::var_os("PATH");
    let path = path.as_deref().unwrap_or(OsStr::new("/usr/local/bin:/usr/bin:/bin"));
    std::env::split_paths(path).map(|directory| directory.join("pasta")).find(|it| it.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(files: &[&str], expected: &str) {
        let files: Vec<String> = files.iter().map(|file| (*file).to_owned()).collect();
        assert_eq!(reachable(&files), expected, "{files:?}");
    }

    #[test]
    fn loopback_resolvers_are_dropped() {
        check(
            &["# by hand\nsearch example.org\nnameserver 127.0.0.1\nnameserver 10.0.0.1\n"],
            "search example.org\nnameserver 10.0.0.1\n",
        );
        check(&["nameserver ::1\nnameserver 2001:db8::1"], "nameserver 2001:db8::1\n");
    }

    #[test]
    fn systemds_list_is_second() {
        check(
            &["nameserver 127.0.0.53\noptions edns0\n", "nameserver 192.0.2.1\n"],
            "nameserver 192.0.2.1\n",
        );
    }

    #[test]
    fn queries_are_forwarded_only_to_who_is_asked() {
        assert!(forwarding(b"nameserver 10.0.0.1\n").is_empty());
        assert_eq!(forwarding(b"options edns0\nnameserver 169.254.1.1\n").len(), 2);
    }

    #[test]
    fn pasta_forwards_when_there_is_no_other() {
        check(
            &["nameserver 127.0.0.1\noptions edns0\n"],
            "options edns0\nnameserver 169.254.1.1\n",
        );
        check(&[], "nameserver 169.254.1.1\n");
    }
}
