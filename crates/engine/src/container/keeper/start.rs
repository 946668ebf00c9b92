//! From a record to a process that runs.

use std::ffi::OsString;

use oci::{Config, ImageConfig};
use sandbox::{Child, Syncs};
use store::{ContainerDirectory, Kept};

use super::super::{
    Settings,
    exec::Inside,
    log::LogWriter,
    network::{self, Outside},
    options::{ContainerOptions, LogDriver},
    program::{self, Outputs, Program},
    spec::{self, Parts},
    wire::Attach,
};
use crate::{
    Engine, Error,
    rootfs::{self, Writable},
};

/// A container's program that runs, and all that it needs.
pub(super) struct Started {
    pub(super) child: Child,
    pub(super) program: Program,
    pub(super) outputs: Outputs,
    /// Where its output is kept, if it is.
    pub(super) log: Option<LogWriter>,
    pub(super) inside: Inside,
    pub(super) world: World,
}

/// What a program lives in: given back when its last process is dead.
pub(super) struct World {
    _root: Writable,
    pub(super) outside: Outside,
}

/// Starts the container's program; returns when it runs. On an error nothing of it is left.
pub(super) fn start(
    engine: &Engine,
    kept: &Kept,
    settings: &Settings,
    attach: Option<&Attach>,
) -> Result<Started, Error> {
    let container = kept.container();
    let directory = engine.store().container_directory(&container.id);
    let config = ImageConfig::parse(container.image_config.as_bytes())?.config;
    let options = &settings.options;
    kept.clear_work()?;
    // What is gone at the end anyway need not reach the disk before.
    let syncs = if settings.auto_remove { Syncs::Ignored } else { Syncs::Honoured };
    let root = rootfs::kept(engine, &directory, &container.snapshots, syncs)?;
    let outside = network::outside(options, &config)?;
    let parts = Parts {
        id: &container.id.to_string(),
        config: &config,
        root: root.root(),
        mount: root.mount()?,
        outside: &outside,
    };
    let mut spec = spec::spec(engine, options, parts)?;
    let (stdin, other_end) = program::stdin(options.interactive, options.terminal)?;
    spec.stdin = stdin;
    // Should this process be killed, the lock is free when the last process of the container is dead, and not before.
    spec.held.push(kept.lock_descriptor()?);
    let log = log(options, &config, &spec.env, &directory)?;
    let (cwd, hostname) = (spec.cwd.clone(), spec.hostname.clone());

    let mut child = sandbox::spawn(spec)?;
    let (program, outputs) = Program::of(&mut child, other_end)?;
    if let Some(size) = attach.and_then(|attach| attach.size) {
        program.resize(size);
    }
    let process = child.started()?;
    let mount_points = child.mount_points().clone();
    let inside = Inside { process, mount_points, cwd, hostname, options: options.clone(), config };
    let world = World { _root: root, outside };
    Ok(Started { child, program, outputs, log, inside, world })
}

/// Opens what the output is kept in.
fn log(
    options: &ContainerOptions,
    config: &Config,
    env: &[(OsString, OsString)],
    directory: &ContainerDirectory,
) -> Result<Option<LogWriter>, Error> {
    if options.log.driver == LogDriver::None {
        return Ok(None);
    }
    let labels = config.labels.iter().chain(&options.labels);
    let labels = labels.map(|(name, value)| (name.as_str(), value.as_str()));
    let env = env.iter().filter_map(|(name, value)| Some((name.to_str()?, value.to_str()?)));
    let attrs = options.log.details(labels, env);
    LogWriter::open(&directory.log(), options.log.limits()?, attrs).map(Some)
}
