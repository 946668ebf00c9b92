//! From options and an image to what the sandbox is told.

use std::{ffi::OsString, os::fd::OwnedFd};

use filetree::RootDir;
use oci::{Config, config::DEFAULT_PATH};
use sandbox::{Rights, Spec, Terminal};

use super::options::{self, ContainerOptions};
use crate::{
    Error,
    op::run::{Network, network_files, own_network},
};

/// How much of a container's id is its host name.
const SHORT_ID: usize = 12;

/// What a container is made of, besides its options.
#[derive(Debug)]
pub(crate) struct Parts<'a> {
    /// Its id, in hexadecimal digits.
    pub(crate) id: &'a str,
    /// What its image says.
    pub(crate) config: &'a Config,
    /// Its root file system, to look into.
    pub(crate) root: &'a RootDir,
    /// The same, to be mounted.
    pub(crate) mount: OwnedFd,
    /// Its network.
    pub(crate) network: &'a Network,
}

/// Makes the network that was asked for; it lasts as long as the value.
pub(crate) fn network(options: &ContainerOptions) -> Network {
    match options.network {
        options::Network::None => Network::None,
        options::Network::Host => Network::Host,
        options::Network::Default => own_network().0.map_or(Network::Host, Network::Own),
    }
}

/// Says what the sandbox has to do; what the command reads is the caller's to add. Makes the working directory in the root file system if there is none.
pub(crate) fn spec(options: &ContainerOptions, parts: Parts<'_>) -> Result<Spec, Error> {
    refuse_unsupported(options)?;
    let Parts { id, config, root, mount, network } = parts;
    let user = filetree::resolve_user(root, options.user.as_deref().unwrap_or(&config.user))?;
    let image_workdir = Some(config.working_dir.clone()).filter(|dir| !dir.is_empty());
    let cwd = options.workdir.clone().or(image_workdir).unwrap_or_else(|| "/".to_owned());
    root.create_dir_all(&cwd, 0o755, 0, 0, None)?;
    let short_id = id.get(..SHORT_ID).unwrap_or(id);
    let hostname = options.hostname.clone().unwrap_or_else(|| short_id.to_owned());
    Ok(Spec {
        argv: argv(options, config)?,
        env: environment(options, config, &hostname, &user.home),
        cwd,
        rights: Rights { uid: user.uid, gid: user.gid, groups: user.groups, ..Rights::default() },
        network: network.spec()?,
        mounts: network_files(network, &hostname),
        hostname,
        shm_size: options.shm_size,
        terminal: if options.terminal { Terminal::Pty } else { Terminal::None },
        ..Spec::new(mount)
    })
}

/// ENTRYPOINT and then CMD, each replaced by what was asked for; a new entrypoint drops the image's CMD, as Docker does.
pub(crate) fn argv(options: &ContainerOptions, config: &Config) -> Result<Vec<OsString>, Error> {
    let (entrypoint, cmd) = match &options.entrypoint {
        Some(entrypoint) if entrypoint.is_empty() => (Vec::new(), Vec::new()),
        Some(entrypoint) => (vec![entrypoint.clone()], Vec::new()),
        None => {
            (config.entrypoint.clone().unwrap_or_default(), config.cmd.clone().unwrap_or_default())
        }
    };
    let rest = if options.command.is_empty() { cmd } else { options.command.clone() };
    let argv: Vec<OsString> = entrypoint.into_iter().chain(rest).map(OsString::from).collect();
    if argv.is_empty() { Err(Error::NoCommand) } else { Ok(argv) }
}

/// The variables that Docker gives every container, then those of the image, then those that were asked for.
pub(crate) fn environment(
    options: &ContainerOptions,
    config: &Config,
    hostname: &str,
    home: &str,
) -> Vec<(OsString, OsString)> {
    let mut merged = Config { env: vec![format!("PATH={DEFAULT_PATH}")], ..Config::default() };
    merged.set_env("HOSTNAME", hostname);
    if options.terminal {
        merged.set_env("TERM", "xterm");
    }
    merged.set_env("HOME", home);
    for (name, value) in config.env.iter().filter_map(|entry| entry.split_once('=')) {
        merged.set_env(name, value);
    }
    for variable in &options.env {
        match &variable.value {
            Some(value) => merged.set_env(&variable.name, value),
            None => merged.env.retain(|entry| entry.split('=').next() != Some(&variable.name)),
        }
    }
    let pairs = merged.env.iter().filter_map(|entry| entry.split_once('='));
    pairs.map(|(name, value)| (name.into(), value.into())).collect()
}

/// What can be said and kept, but not done.
fn refuse_unsupported(options: &ContainerOptions) -> Result<(), Error> {
    let unsupported = [
        (!options.groups.is_empty(), "--group-add"),
        (options.init, "--init"),
        (!options.publish.is_empty() || options.publish_all, "--publish"),
        (!options.hosts.is_empty(), "--add-host"),
        (!options.dns.is_empty(), "--dns"),
        (!options.dns_search.is_empty(), "--dns-search"),
        (!options.dns_options.is_empty(), "--dns-option"),
        (!options.mounts.is_empty(), "--volume, --mount and --tmpfs"),
        (options.read_only, "--read-only"),
        (!options.devices.is_empty(), "--device"),
        (options.privileged, "--privileged"),
        (!options.cap_add.is_empty(), "--cap-add"),
        (!options.cap_drop.is_empty(), "--cap-drop"),
        (!options.security.is_empty(), "--security-opt"),
        (!options.sysctls.is_empty(), "--sysctl"),
        (options.resources != options::Resources::default(), "limiting resources"),
        (!options.ulimits.is_empty(), "--ulimit"),
    ];
    match unsupported.iter().find(|(asked, _)| *asked) {
        Some((_, feature)) => Err(Error::Unsupported { feature: (*feature).to_owned() }),
        None => Ok(()),
    }
}
