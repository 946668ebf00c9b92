//! RUN: a command in the root file system of the stage, isolated, its output streamed.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError},
};

use oci::Platform;
use plan::{Run, Security, StageId};
use sandbox::{Exit, MountSource, Rights, Rung, Spec};
use store::{Open, Snapshot, SnapshotId};

use crate::{
    Error, Event, StepNumber, Stream,
    container::options::{ByteSize, Resources, Ulimit},
    foreign,
    op::{
        mount,
        network::{Names, Network, own_network},
        output,
    },
    room, rootfs,
    schedule::Build,
};

/// Where a heredoc that is a script of its own stands.
const SCRIPTS: &str = "/dev/pipes";

/// Which step it is, of what.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) stage: StageId,
    pub(crate) platform: Platform,
    pub(crate) number: StepNumber,
}

/// Runs the command on top of `below`; what it changed is in the snapshot returned.
///
/// Every process that it started is dead by then. A command for a platform that does not run here is not started.
pub(crate) fn run(
    build: &Arc<Build>,
    run: &Run,
    place: &Place,
    below: &[SnapshotId],
) -> Result<Snapshot<Open>, Error> {
    ensure_runs(build)?;
    foreign::ensure_runs(&build.engine, &place.platform, below)?;
    // What it is to run by comes into being while what it is to run on does.
    build.starter.prepare();
    let snapshot = rootfs::fresh(&build.engine, below)?;
    // Who may unmount would get to see the stubs, and could have them removed in the layer.
    let stubs = (run.security == Security::Sandbox).then_some(&build.stubs);
    let mounted = rootfs::runnable(&build.engine, &snapshot, below, stubs)?;
    let root = mounted.root();
    let user = filetree::resolve_user(root, &run.user)?;
    root.create_dir_all(&run.workdir, 0o755, 0, 0, None)?;
    let mounts = mount::prepare(build, run, place.stage)?;
    let network = network(build, run.network)?;

    let request = &build.request;
    let names = Names { hostname: &run.hostname, hosts: &request.hosts, ..Names::default() };
    let mut spec_mounts = names.files_of_step(&network);
    spec_mounts.extend(mounts.mounts);
    spec_mounts.extend(run.script.iter().map(|script| sandbox::Mount {
        target: format!("{SCRIPTS}/{}", script.name),
        source: MountSource::File {
            content: script.body.clone().into(),
            mode: 0o755,
            uid: 0,
            gid: 0,
        },
        read_only: true,
    }));
    let mut spec = Spec {
        argv: run.argv.iter().map(OsString::from).collect(),
        env: environment(run, &user.home, mounts.env),
        cwd: run.workdir.clone(),
        rights: Rights {
            uid: user.uid,
            gid: user.gid,
            groups: user.groups,
            limits: request.ulimits.iter().map(Ulimit::limit).collect(),
            ..Rights::default()
        },
        hostname: run.hostname.clone(),
        network: network.spec()?,
        meets_others: run.security == Security::Insecure,
        mounts: spec_mounts,
        shm_size: request.shm_size,
        resources: request.resources.limits(),
        ..mounted.spec()?
    };
    if run.security == Security::Insecure {
        spec.make_insecure();
    }
    let result = execute(build, run, spec, place.number);
    drop(mounts.held);
    let covered = result?;
    let covered: Vec<&Path> = covered.iter().map(PathBuf::as_path).collect();
    mounted.collect(&build.engine, &snapshot, &covered)?;
    Ok(snapshot)
}

/// Returns an error where nothing can be run at all.
fn ensure_runs(build: &Build) -> Result<(), Error> {
    match build.engine.rung() {
        Rung::Root | Rung::UserNamespace | Rung::FuseOverlay | Rung::OneId | Rung::Chroot => Ok(()),
        Rung::FilesOnly => {
            let mut reasons = build.engine.missed().to_vec();
            if reasons.is_empty() {
                reasons
                    .push("isolation `none`, which was asked for, can copy files only".to_owned());
            }
            Err(Error::NothingRuns { reasons })
        }
    }
}

/// Runs it to its end; returns which places are no concern of the layer's.
fn execute(
    build: &Build,
    run: &Run,
    spec: Spec,
    number: StepNumber,
) -> Result<Vec<PathBuf>, Error> {
    let mut child = build.starter.spawn(spec)?;
    let _watch = build.request.cancel.watch(child.killer());
    let pipes = [(Stream::Stdout, child.take_stdout()), (Stream::Stderr, child.take_stderr())];
    let pipes = pipes.into_iter().filter_map(|(stream, pipe)| Some((stream, pipe?))).collect();
    let tail = output::forward(pipes, |stream, bytes| {
        build.events.send_output(number, stream, bytes);
    });
    let exit = child.wait()?;
    build.request.cancel.check()?;
    match exit {
        Exit::Code(0) => {
            if child.ran_out_of_memory() {
                build.events.send(Event::Warning(survived(run, &build.request.resources)));
            }
            Ok(child.covered().to_vec())
        }
        exit => {
            let limit = build.request.resources.memory_limit();
            let memory = Memory { ran_out: child.ran_out_of_memory(), limit };
            let error = failed(&run.argv, exit, memory, tail);
            // Before what it has written is removed again.
            Err(room::explain(&build.engine, error))
        }
    }
}

/// What is said of a command that has ended with 0, although the kernel killed a process of its.
fn survived(run: &Run, resources: &Resources) -> String {
    let limit = memory_limit(resources.memory_limit());
    format!(
        "warning: process \"{}\": a process that it started was killed: out of memory{limit}",
        run.argv.join(" ")
    )
}

/// What is known of a command's memory.
#[derive(Debug, Clone, Copy)]
struct Memory {
    /// Whether the kernel has killed a process at the limit.
    ran_out: bool,
    /// In bytes.
    limit: Option<u64>,
}

/// ` (limit 64 MiB)`, for the end of a sentence.
fn memory_limit(limit: Option<u64>) -> String {
    limit.map_or_else(String::new, |limit| format!(" (limit {})", ByteSize(limit)))
}

/// The error of a command that did not end with 0, in BuildKit's words.
fn failed(argv: &[String], exit: Exit, memory: Memory, tail: Vec<String>) -> Error {
    let limit = memory_limit(memory.limit);
    let (code, ending) = match exit {
        Exit::Code(code) if memory.ran_out => {
            (code, format!("exit code: {code}: a process was killed: out of memory{limit}"))
        }
        Exit::Signal(9) if memory.ran_out => (137, format!("killed: out of memory{limit}")),
        // Without a limit of the step's own only the number hints at it.
        Exit::Code(code @ 137) => (code, "exit code: 137 (killed; out of memory?)".to_owned()),
        Exit::Code(code) => (code, format!("exit code: {code}")),
        Exit::Signal(9) => (137, "killed by signal 9 (out of memory?)".to_owned()),
        Exit::Signal(signal) => (128 + signal, format!("killed by signal {signal}")),
    };
    Error::Command { command: argv.join(" "), code, ending, tail, disk_full: false }
}

/// ENV and ARG, the proxies, secrets, and HOME of the user unless the image sets it.
fn environment(
    run: &Run,
    home: &str,
    secrets: Vec<(String, OsString)>,
) -> Vec<(OsString, OsString)> {
    let plain = run.env.iter().chain(&run.proxy_env);
    let mut env: Vec<(OsString, OsString)> = plain.map(|(n, v)| (n.into(), v.into())).collect();
    if !run.env.iter().any(|(name, _)| name == "HOME") {
        env.push(("HOME".into(), home.into()));
    }
    for (name, value) in secrets {
        env.retain(|(known, _)| known != name.as_str());
        env.push((name.into(), value));
    }
    env
}

/// Returns the network for a RUN; the build's own is made for the first one.
fn network(build: &Build, wanted: plan::Network) -> Result<Network, Error> {
    match wanted {
        // There are no others; who asks for none is told so.
        plan::Network::Default if !build.engine.rung().mounts() => return Ok(Network::Host),
        plan::Network::None => return Ok(Network::None),
        plan::Network::Host => return Ok(Network::Host),
        plan::Network::Default => {}
    }
    let mut own = build.network.lock().unwrap_or_else(PoisonError::into_inner);
    let network = match &*own {
        Some(network) => network.clone(),
        None => own.insert(own_network(&build.events)).clone(),
    };
    let network = network.filter(|network| !network.has_failed());
    Ok(network.map_or(Network::Host, Network::Own))
}
