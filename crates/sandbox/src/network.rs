//! A network of its own for the steps of a build, with a way out: a network namespace that `pasta`
//! connects to the host's sockets, without privileges and without touching the host's devices.
//!
//! It is made once per build and joined by each step, and `pasta` is started when the first of them wants to use it: see
//! `gate`. A container has its own. Ports of the host that lead into it are in `ports`, name servers in `resolver`.

pub(crate) mod gate;
mod ports;
mod resolver;

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
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::thread;

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
use crate::spawn::supervisor::Outputs;
use crate::spawn::supervisor::Supervisor;
use crate::sys;
use crate::sys::Depth;
use crate::wire::Luggage;
use crate::wire::Order;
use crate::wire::Report;

use gate::Keeper;

pub use gate::Gate;
pub use ports::PortWish;
pub use ports::Protocol;
pub use ports::PublishedPort;
pub use resolver::host_resolv_conf;
pub use resolver::own_resolv_conf;

/// None of the host's loopback ports is reachable from inside by forwarding.
const ARGUMENTS: &[&str] =
    &["--quiet", "--foreground", "--config-net", "--tcp-ns=none", "--udp-ns=none"];

/// What a network has besides a way out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// Ports inside that shall be reached from outside.
    pub ports: Vec<PortWish>,
    /// Whether the host, its loopback device included, is reached at [`host_gateway`].
    pub host: bool,
}

/// A network namespace with a way out. Dropping it ends `pasta`; sandboxes that are still in it keep
/// the namespace but lose the way.
#[derive(Debug)]
pub struct BuildNetwork {
    namespace: OwnedFd,
    published: Vec<PublishedPort>,
    way_out: Arc<Mutex<WayOut>>,
    gate: Option<Gate>,
}

/// Whether something leads out of the namespace.
#[derive(Debug)]
enum WayOut {
    /// Not before somebody wants it.
    NotYet,
    /// As long as the supervisor of `pasta` lives.
    There { _pasta: Supervisor },
    /// It could not be made.
    Failed,
}

impl BuildNetwork {
    /// Makes one with a way out, and none inwards, which is not there before somebody wants to use it; he waits then, some
    /// tens of milliseconds.
    ///
    /// `connected` is called then, in another thread. After a failure the namespace has a loopback device only.
    pub fn prepare(
        connected: impl FnOnce(Result<(), &Error>) + Send + 'static,
    ) -> Result<BuildNetwork, Error> {
        let namespace = new_namespace()?;
        let (gate, keeper) = Gate::new()?;
        let way_out = Arc::new(Mutex::new(WayOut::NotYet));
        let inside = duplicate(&namespace)?;
        let connect = {
            let way_out = Arc::clone(&way_out);
            move || connect_when_asked(keeper, inside, &way_out, connected)
        };
        thread::Builder::new()
            .name("network".to_owned())
            .spawn(connect)
            .map_err(Error::setup("start a thread"))?;
        Ok(BuildNetwork { namespace, published: Vec::new(), way_out, gate: Some(gate) })
    }

    /// Makes it, with ports of the host that lead into it. Blocks until addresses and routes are there, some tens of milliseconds.
    ///
    /// Any thread may call this. Fails with [`Error::Pasta`] if `pasta` is missing or unhappy, with [`Error::Port`] if a port
    /// is in use.
    pub fn start_with(reach: &Reach) -> Result<BuildNetwork, Error> {
        let taken = ports::take(&reach.ports)?;
        let published = taken.ports.clone();
        let namespace = new_namespace()?;
        let arguments = arguments(reach, &published);
        // Before it is told of them they are free for it to take.
        let pasta = connect(duplicate(&namespace)?, arguments, || drop(taken))?;
        let way_out = Arc::new(Mutex::new(WayOut::There { _pasta: pasta }));
        Ok(BuildNetwork { namespace, published, way_out, gate: None })
    }

    /// The ports of the host that lead into it.
    pub fn published(&self) -> &[PublishedPort] {
        &self.published
    }

    /// This network for one [`crate::Spec`].
    pub fn network(&self) -> Result<Network, Error> {
        let namespace = duplicate(&self.namespace)?;
        match (&self.gate, &*lock(&self.way_out)) {
            (Some(gate), WayOut::NotYet) => Ok(Network::Awaited(namespace, gate.try_clone()?)),
            _ => Ok(Network::Joined(namespace)),
        }
    }

    /// Whether it was to be connected, and could not.
    pub fn has_failed(&self) -> bool {
        matches!(*lock(&self.way_out), WayOut::Failed)
    }
}

fn lock(way_out: &Mutex<WayOut>) -> MutexGuard<'_, WayOut> {
    way_out.lock().unwrap_or_else(PoisonError::into_inner)
}

fn duplicate(namespace: &OwnedFd) -> Result<OwnedFd, Error> {
    namespace.try_clone().map_err(Error::setup("duplicate a descriptor"))
}

/// Waits for the first who wants the network, connects it and lets him in.
fn connect_when_asked(
    keeper: Keeper,
    namespace: OwnedFd,
    way_out: &Mutex<WayOut>,
    connected: impl FnOnce(Result<(), &Error>),
) {
    if keeper.is_asked() {
        let pasta = connect(namespace, arguments(&Reach::default(), &[]), || ());
        connected(pasta.as_ref().map(drop));
        *lock(way_out) = match pasta {
            Ok(pasta) => WayOut::There { _pasta: pasta },
            Err(_) => WayOut::Failed,
        };
    }
    keeper.open();
}

/// Starts `pasta`, and waits until it has set everything up. `ready` is called when it can be told what to do.
fn connect(
    namespace: OwnedFd,
    arguments: Vec<String>,
    ready: impl FnOnce(),
) -> Result<Supervisor, Error> {
    let Some(pasta) = find_pasta() else {
        let message = "it is not installed (package `passt`); or use the host's network";
        return Err(Error::Pasta { message: message.to_owned(), source: None });
    };
    let mut luggage = Luggage::default();
    luggage.add(namespace);
    let mut supervisor = Supervisor::start(Outputs::null()?)?;
    ready();
    supervisor.order(&Order::Network { pasta, arguments }, &luggage)?;
    drop(luggage);
    match supervisor.next_report()? {
        (Report::NetworkReady, _) => Ok(supervisor),
        (Report::Failed(failure), _) => Err(failure.into()),
        (
            Report::OutOfMemory
            | Report::Covered(_)
            | Report::MountPoints(_)
            | Report::Terminal
            | Report::Started(_)
            | Report::Exited(_)
            | Report::Killed(_),
            _,
        ) => Err(Error::SupervisorLost { how: "it spoke of something else".to_owned() }),
    }
}

/// The options of `pasta` that depend on what is asked for.
///
/// At the gateway's address is the gateway, or else the host, where nothing guards what listens on loopback.
fn arguments(reach: &Reach, published: &[PublishedPort]) -> Vec<String> {
    let mut arguments: Vec<String> = published.iter().flat_map(PublishedPort::arguments).collect();
    for (protocol, none) in
        [(Protocol::Tcp, "--tcp-ports=none"), (Protocol::Udp, "--udp-ports=none")]
    {
        if published.iter().all(|port| port.protocol != protocol) {
            arguments.push(none.to_owned());
        }
    }
    if !reach.host {
        arguments.push("--no-map-gw".to_owned());
    }
    arguments
}

/// The address at which the host is reached from a network with [`Reach::host`]: the one of its gateway, which cannot be
/// reached there then. None if it has no gateway.
pub fn host_gateway() -> Option<IpAddr> {
    gateway(&fs::read_to_string("/proc/net/route").ok()?)
}

/// The gateway of the default route in a table of the kernel's, which writes addresses as numbers of the machine.
fn gateway(table: &str) -> Option<IpAddr> {
    table.lines().skip(1).find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (destination, gateway) = (*fields.get(1)?, *fields.get(2)?);
        let gateway = u32::from_str_radix(gateway, 16).ok().filter(|it| *it != 0)?;
        let is_default = destination == "00000000";
        is_default.then(|| IpAddr::from(gateway.to_ne_bytes()))
    })
}

/// Why [`BuildNetwork::prepare`] need not be tried, and what to do about it; none if there is no reason.
pub fn pasta_missing() -> Option<&'static str> {
    let tun = OpenOptions::new().read(true).write(true).open("/dev/net/tun");
    match (find_pasta(), tun) {
        (None, _) => Some("install passt for one of the build's own"),
        (Some(_), Err(_)) => Some("pasta would need /dev/net/tun, which cannot be opened"),
        (Some(_), Ok(_)) => None,
    }
}

/// The supervisor's part: keeps `pasta` running until the caller is gone.
pub(crate) fn keep(
    pasta: &Path,
    arguments: &[String],
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
        .args(arguments)
        .args(resolver::forwarding(&own_resolv_conf()))
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

    #[test]
    fn what_pasta_is_told() {
        let nothing = Reach::default();
        let closed = ["--tcp-ports=none", "--udp-ports=none", "--no-map-gw"];
        assert_eq!(arguments(&nothing, &[]), closed);
        let port = PublishedPort { protocol: Protocol::Udp, address: None, host: 5353, inside: 53 };
        let host = Reach { host: true, ..nothing };
        assert_eq!(arguments(&host, &[port]), ["--udp-ports", "5353:53", "--tcp-ports=none"]);
    }

    #[test]
    fn the_gateway_of_the_default_route() {
        let table = "Iface\tDestination\tGateway \tFlags\n\
                     eth0\t0000A8C0\t00000000\t0001\n\
                     eth0\t00000000\t0100A8C0\t0003\n";
        let expected = if cfg!(target_endian = "little") { "192.168.0.1" } else { "1.0.168.192" };
        assert_eq!(gateway(table), Some(expected.parse().unwrap()));
        assert_eq!(gateway("Iface\n"), None);
    }
}
