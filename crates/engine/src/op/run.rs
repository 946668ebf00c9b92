//! RUN: a command in the root file system of the stage, isolated, its output streamed.

use std::{
    ffi::OsString,
    sync::{Arc, PoisonError},
};

use oci::Platform;
use plan::{Run, Security};
use sandbox::{BuildNetwork, Exit, MountSource, Rights, Spec};
use store::{Open, Snapshot, SnapshotId};

use crate::{
    Error, Event, StepNumber, Stream, foreign,
    op::{mount, output},
    rootfs,
    schedule::Build,
};

/// Where a heredoc that is a script of its own stands.
const SCRIPTS: &str = "/dev/pipes";

/// Runs the command on top of `below`; what it changed is in the snapshot returned.
///
/// Every process that it started is dead by then. A command for a platform that does not run here is not started.
pub(crate) fn run(
    build: &Arc<Build>,
    run: &Run,
    platform: &Platform,
    number: StepNumber,
    below: &[SnapshotId],
) -> Result<Snapshot<Open>, Error> {
    foreign::ensure_runs(&build.engine, platform, below)?;
    let snapshot = rootfs::fresh(&build.engine, below)?;
    let mounted = rootfs::writable(&build.engine, &snapshot, below)?;
    let root = mounted.root();
    let user = filetree::resolve_user(root, &run.user)?;
    root.create_dir_all(&run.workdir, 0o755, 0, 0, None)?;
    let mounts = mount::prepare(build, run)?;
    let network = network(build, run.network)?;

    let mut spec_mounts = network_files(&network, &run.hostname);
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
        rights: Rights { uid: user.uid, gid: user.gid, groups: user.groups, ..Rights::default() },
        hostname: run.hostname.clone(),
        network: network.spec()?,
        mounts: spec_mounts,
        ..Spec::new(mounted.mount()?)
    };
    if run.security == Security::Insecure {
        spec.make_insecure();
    }
    let result = execute(build, run, spec, number);
    drop(mounts.held);
    result.map(|()| snapshot)
}

fn execute(build: &Build, run: &Run, spec: Spec, number: StepNumber) -> Result<(), Error> {
    let mut child = sandbox::spawn(spec)?;
    let _watch = build.request.cancel.watch(child.killer());
    let pipes = [(Stream::Stdout, child.take_stdout()), (Stream::Stderr, child.take_stderr())];
    let pipes = pipes.into_iter().filter_map(|(stream, pipe)| Some((stream, pipe?))).collect();
    let tail = output::forward(pipes, |stream, bytes| {
        build.events.send(Event::Output { step: number, stream, bytes: bytes.to_vec() });
    });
    let exit = child.wait()?;
    build.request.cancel.check()?;
    match exit {
        Exit::Code(0) => Ok(()),
        exit => Err(failed(&run.argv, exit, tail)),
    }
}

/// The error of a command that did not end with 0, in BuildKit's words.
fn failed(argv: &[String], exit: Exit, tail: Vec<String>) -> Error {
    let (code, ending) = match exit {
        Exit::Code(code @ 137) => (code, "exit code: 137 (killed; out of memory?)".to_owned()),
        Exit::Code(code) => (code, format!("exit code: {code}")),
        Exit::Signal(9) => (137, "killed by signal 9 (out of memory?)".to_owned()),
        Exit::Signal(signal) => (128 + signal, format!("killed by signal {signal}")),
    };
    Error::Command { command: argv.join(" "), code, ending, tail }
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

/// The network of a command.
#[derive(Debug)]
pub(crate) enum Network {
    /// Only a loopback device.
    None,
    /// The host's.
    Host,
    /// The build's own.
    Own(Arc<BuildNetwork>),
}

impl Network {
    pub(crate) fn spec(&self) -> Result<sandbox::Network, Error> {
        match self {
            Self::None => Ok(sandbox::Network::None),
            Self::Host => Ok(sandbox::Network::Host),
            Self::Own(network) => Ok(network.network()?),
        }
    }
}

/// Returns the network for a RUN; the build's own is made when the first one needs it, and what it is is said once.
fn network(build: &Build, wanted: plan::Network) -> Result<Network, Error> {
    match wanted {
        plan::Network::None => return Ok(Network::None),
        plan::Network::Host => return Ok(Network::Host),
        plan::Network::Default => {}
    }
    let mut own = build.network.lock().unwrap_or_else(PoisonError::into_inner);
    let network = match &*own {
        Some(network) => network.clone(),
        None => {
            let (network, description) = own_network();
            build.events.send(Event::Note(format!("network: {description}")));
            own.insert(network).clone()
        }
    };
    Ok(network.map_or(Network::Host, Network::Own))
}

/// Returns a network of its own where pasta can join one to the outside, else none; and what it is, for people.
pub(crate) fn own_network() -> (Option<Arc<BuildNetwork>>, String) {
    if let Some(reason) = sandbox::pasta_missing() {
        return (None, format!("the host's ({reason})"));
    }
    match BuildNetwork::start() {
        Ok(network) => {
            (Some(Arc::new(network)), "a namespace of the build's own, joined by pasta".to_owned())
        }
        Err(error) => (None, format!("the host's ({error})")),
    }
}

/// `/etc/hosts` and `/etc/resolv.conf` as a command sees them; they are mounts and never in a layer.
pub(crate) fn network_files(network: &Network, hostname: &str) -> Vec<sandbox::Mount> {
    let hosts =
        format!("127.0.0.1\tlocalhost {hostname}\n::1\tlocalhost ip6-localhost ip6-loopback\n");
    let resolv_conf = match network {
        Network::Own(_) => sandbox::own_resolv_conf(),
        Network::Host | Network::None => sandbox::host_resolv_conf(),
    };
    let file = |target: &str, content| sandbox::Mount {
        target: target.to_owned(),
        source: MountSource::File { content, mode: 0o644, uid: 0, gid: 0 },
        read_only: true,
    };
    vec![file("/etc/hosts", hosts.into_bytes()), file("/etc/resolv.conf", resolv_conf)]
}
