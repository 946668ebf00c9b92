//! A sandbox without namespaces and mounts, for where neither is allowed, as in an ordinary container: the story of its
//! supervisor and of its first process.
//!
//! What holds it together: a changed root directory that the process has no right to change once more, Landlock
//! (`crate::landlock`), the system call filter, no way to gain rights; and the supervisor, to whom every descendant falls and
//! who kills them all before anybody looks at what they did. What the program shall see is put into its place (`places`), with
//! a few devices and facts about the system (`system`), and taken out again. What the program asks `/proc` about itself is
//! answered by the supervisor (`own`).
//!
//! What cannot be had: processes, host name, network and System V IPC of its own; the rest of `/proc`; devices, settings and
//! limits by mounts. No network at all can be: nothing but local sockets is left then, and no loopback device.

mod descendants;
mod own;
mod places;
mod system;

use std::os::fd::AsFd;
use std::os::fd::AsRawFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use rustix::fs::CWD;
use rustix::fs::Mode;
use rustix::fs::OFlags;

use crate::Capabilities;
use crate::Error;
use crate::Rights;
use crate::cgroup::Groups;
use crate::container;
use crate::container::Lines;
use crate::landlock::Rules;
use crate::seccomp;
use crate::spawn;
use crate::supervisor;
use crate::supervisor::Pipes;
use crate::sys;
use crate::sys::Alone;
use crate::wire;
use crate::wire::Job;
use crate::wire::Luggage;
use crate::wire::NetworkJob;
use crate::wire::Report;
use places::Places;
use system::Devices;

/// How many bytes of paths are told in one message.
const MESSAGE: usize = 8 * 1024;

/// Runs the job to its end, and leaves the root as the program made it.
pub(crate) fn run(job: &Job, luggage: &Luggage, caller: BorrowedFd<'_>) -> Result<Report, Error> {
    refuse(job)?;
    let at = |place| luggage.at(place).map_err(Error::setup("find the root"));
    let root = at(job.root)?;
    let aside = at(job.aside.unwrap_or(job.root))?;
    let groups = Groups::make(&job.resources)?;
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
        .map_err(Error::setup("become the parent of orphans"))?;
    // Whoever looks on its way at what is put there gets exactly the mode it is made with.
    rustix::process::umask(Mode::empty());

    let mut places = Places::new(root, aside)?;
    let ran = fill(&mut places, job, luggage)
        .and_then(|devices| run_first(job, (root, devices), luggage, caller, groups.as_ref()));
    // Also when it did not come to running anything, or the caller is dead.
    let ended = descendants::end_all();
    if groups.as_ref().is_some_and(Groups::ran_out_of_memory) {
        // If the caller is gone there is nobody to tell.
        let _ = wire::send_report(caller, &Report::OutOfMemory, None);
    }
    drop(groups);
    let covered = places.take_back();
    let report = ran?;
    ended?;
    tell_covered(covered?, caller);
    Ok(report)
}

/// What such a sandbox cannot do is not left out, but said.
fn refuse(job: &Job) -> Result<(), Error> {
    let needs = |what: &str| Err(Error::NeedsNamespaces { what: what.to_owned() });
    match job.network {
        NetworkJob::Host | NetworkJob::None => {}
        NetworkJob::Joined(_) | NetworkJob::Awaited(..) => {
            return needs("a network of its own");
        }
    }
    if job.device_nodes || !job.masked || !job.rights.filtered {
        return needs("a command with more rights than usual");
    }
    if job.devices.all || !job.devices.some.is_empty() {
        return needs("lending devices");
    }
    if !job.settings.is_empty() {
        return needs("changing kernel settings");
    }
    if job.read_only {
        return needs("a read-only root file system");
    }
    if job.terminal || job.init {
        return needs("a container");
    }
    Ok(())
}

fn fill(places: &mut Places<'_>, job: &Job, luggage: &Luggage) -> Result<Devices, Error> {
    let devices = system::fill(places)?;
    let mut contents = luggage.contents.as_slice();
    for mount in &job.mounts {
        places.put(mount, &mut contents)?;
    }
    Ok(devices)
}

fn run_first(
    job: &Job,
    (root, devices): (BorrowedFd<'_>, Devices),
    luggage: &Luggage,
    caller: BorrowedFd<'_>,
    groups: Option<&Groups>,
) -> Result<Report, Error> {
    let pipes = Pipes::open()?;
    let (ours, theirs) = spawn::supervisor::sockets()?;
    let alone = Alone::check().map_err(Error::setup("start a process"))?;
    let first = sys::fork_into(0, &alone).map_err(Error::setup("start a process"))?;
    let Some(first) = first else {
        drop(ours);
        let lines = Lines { paths: Some(theirs), ..pipes.lines(caller) };
        let ready = groups.map_or(Ok(()), Groups::enter);
        let ready = ready.and_then(|()| prepare(job, root, luggage, &lines));
        match ready.and_then(|()| container::close_all_but(&lines.speak)) {
            Ok(line) => {
                let error = container::exec_limited(&job.rights, &job.argv, &job.env);
                container::fail(&line, error)
            }
            Err(error) => container::fail(&lines.speak, error),
        }
    };
    drop(theirs);
    answer_about_itself(ours, root, devices)?;
    supervisor::end_of(first, caller, pipes.ears()).map(|(report, _)| report)
}

/// Answers what the programs ask about themselves, as long as there are any, on a thread: only an ancestor may read their
/// memory everywhere, and this process has to watch for their end.
fn answer_about_itself(
    listener: OwnedFd,
    root: BorrowedFd<'_>,
    devices: Devices,
) -> Result<(), Error> {
    let failed = "answer what programs ask about themselves";
    let root = std::fs::read_link(format!("/proc/self/fd/{}", root.as_raw_fd()))
        .map_err(Error::setup(failed))?;
    let world = own::World { root, lends_devices: devices == Devices::Lent };
    let answer = move || {
        // Nothing comes if the first process has given up, or there is no listener.
        let received = wire::receive(listener.as_fd());
        drop(listener);
        let listener = received.ok().and_then(|(_, some)| some.into_iter().next());
        if let Some(listener) = listener {
            own::answer_all(&listener, &world);
        }
    };
    std::thread::Builder::new().spawn(answer).map_err(Error::setup(failed))?;
    Ok(())
}

/// The first process, up to `execve`: files first, while the host's can be reached; then the root; then rights.
fn prepare(
    job: &Job,
    root: BorrowedFd<'_>,
    luggage: &Luggage,
    lines: &Lines<'_>,
) -> Result<(), Error> {
    container::tie_to_supervisor(lines)?;
    rustix::process::setsid().map_err(Error::setup("start a session"))?;
    // So that the program does not possess the keys of the caller's session; the filter refuses keyctl anyway.
    let _ = sys::join_new_session_keyring();
    connect_output(job, luggage)?;

    let aside = luggage.at(job.aside.unwrap_or(job.root)).map_err(Error::setup("find the root"))?;
    let devices_work = system::devices_work(aside);
    let rules = Rules::below(root)?;
    let failed = "change the root directory";
    rustix::process::fchdir(root).map_err(Error::setup(failed))?;
    rustix::process::chroot(".").map_err(Error::setup(failed))?;
    rustix::process::chdir("/").map_err(Error::setup(failed))?;
    container::enter_working_directory(&job.cwd)?;
    rules.enforce()?;
    if matches!(job.network, NetworkJob::None) {
        sys::install_filter(&seccomp::without_network())
            .map_err(Error::setup("keep programs from the network"))?;
    }
    container::take_rights(&rights(&job.rights, devices_work), lines)
}

/// The rights that a program can have here: none that leads out of the changed root directory, and none to make devices
/// that work. It cannot gain any, as neither Landlock nor a filter can be had otherwise without CAP_SYS_ADMIN.
fn rights(asked: &Rights, devices_work: bool) -> Rights {
    let mut capabilities = asked.capabilities.without(Capabilities::SYS_CHROOT);
    if devices_work {
        capabilities = capabilities.without(Capabilities::MKNOD);
    }
    Rights { capabilities, no_new_privileges: true, ..asked.clone() }
}

/// Standard input: what is given, or nothing. The two pipes are there already.
fn connect_output(job: &Job, luggage: &Luggage) -> Result<(), Error> {
    let failed = "connect the standard input and output";
    if let Some(place) = job.stdin {
        let stdin = luggage.at(place).map_err(Error::setup(failed))?;
        return container::connect_pipes(stdin, job.rights.uid);
    }
    let flags = OFlags::RDWR | OFlags::CLOEXEC;
    let null = rustix::fs::openat(CWD, "/dev/null", flags, Mode::empty())
        .map_err(Error::setup("open `/dev/null`"))?;
    container::connect_pipes(null.as_fd(), job.rights.uid)
}

/// Tells the caller what the scan of the tree has to leave out, in messages that it can take.
fn tell_covered(covered: Vec<PathBuf>, caller: BorrowedFd<'_>) {
    let mut some = Vec::new();
    let mut length = 0;
    for path in covered {
        length += path.as_os_str().len();
        some.push(path);
        if length > MESSAGE {
            let report = Report::Covered(std::mem::take(&mut some));
            // If the caller is gone there is nobody to tell.
            let _ = wire::send_report(caller, &report, None);
            length = 0;
        }
    }
    let _ = wire::send_report(caller, &Report::Covered(some), None);
}
