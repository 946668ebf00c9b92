//! From options and an image to what the sandbox is told.

use std::{collections::BTreeMap, ffi::OsString, os::fd::OwnedFd};

use filetree::{RootDir, User};
use oci::{Config, config::DEFAULT_PATH};
use sandbox::{Capabilities, Devices, Rights, Spec, Terminal};

use super::{
    mounts,
    network::Outside,
    options::{CapabilityName, ContainerOptions, SecurityOption, Ulimit},
};
use crate::{Engine, Error, op::network::Names};

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
    pub(crate) outside: &'a Outside,
}

/// Says what the sandbox has to do; what the command reads is the caller's to add. Makes the working directory in the root
/// file system if there is none, and directories of the host that `-v` names.
pub(crate) fn spec(
    engine: &Engine,
    options: &ContainerOptions,
    parts: Parts<'_>,
) -> Result<Spec, Error> {
    let Parts { id, config, root, mount, outside } = parts;
    let user = filetree::resolve_user(root, options.user.as_deref().unwrap_or(&config.user))?;
    let home = user.home.clone();
    let image_workdir = Some(config.working_dir.clone()).filter(|dir| !dir.is_empty());
    let cwd = options.workdir.clone().or(image_workdir).unwrap_or_else(|| "/".to_owned());
    root.create_dir_all(&cwd, 0o755, 0, 0, None)?;
    let short_id = id.get(..SHORT_ID).unwrap_or(id);
    let hostname = options.hostname.clone().unwrap_or_else(|| short_id.to_owned());
    let names = Names {
        hostname: &hostname,
        hosts: &options.hosts,
        servers: &options.dns,
        search: &options.dns_search,
        options: &options.dns_options,
        gateway: outside.gateway,
    };
    let mut mounts = names.files_of_container(&outside.network);
    mounts.extend(mounts::of(engine, options)?);
    let unmasked = options.security.contains(&SecurityOption::SystemPathsUnconfined);
    let devices = options.devices.iter();
    Ok(Spec {
        argv: argv(options, config)?,
        env: environment(options, config, &hostname, &home),
        cwd,
        rights: rights(options, user, root)?,
        network: outside.network.spec()?,
        mounts,
        hostname,
        masked: !options.privileged && !unmasked,
        device_nodes: options.privileged,
        devices: Devices {
            all: options.privileged,
            some: devices.map(|device| (device.host.clone(), device.container.clone())).collect(),
        },
        settings: options.sysctls.iter().map(|it| (it.name.clone(), it.value.clone())).collect(),
        read_only: options.read_only,
        shm_size: options.shm_size,
        terminal: if options.terminal { Terminal::Pty } else { Terminal::None },
        init: options.init,
        resources: options.resources.limits(),
        ..Spec::new(mount)
    })
}

/// Who the command is, and what it may do.
pub(crate) fn rights(
    options: &ContainerOptions,
    user: User,
    root: &RootDir,
) -> Result<Rights, Error> {
    let mut groups = user.groups;
    for group in &options.groups {
        let group = filetree::resolve_group(root, group)?;
        if !groups.contains(&group) {
            groups.push(group);
        }
    }
    let unconfined = options.security.contains(&SecurityOption::SeccompUnconfined);
    Ok(Rights {
        uid: user.uid,
        gid: user.gid,
        groups,
        capabilities: capabilities(options),
        filtered: !options.privileged && !unconfined,
        no_new_privileges: options.no_new_privileges(),
        limits: options.ulimits.iter().map(Ulimit::limit).collect(),
    })
}

/// Docker's rules: all of them can be added or dropped, and the single ones are then what is said of the others.
fn capabilities(options: &ContainerOptions) -> Capabilities {
    let set = |names: &[CapabilityName]| {
        names.iter().fold(Capabilities::NONE, |set, name| set.with(name.capabilities()))
    };
    let singles = |names: &[CapabilityName]| {
        let singles: Vec<_> = names.iter().filter(|name| !name.is_all()).cloned().collect();
        set(&singles)
    };
    let all = |names: &[CapabilityName]| names.iter().any(CapabilityName::is_all);
    let (add, drop) = (&options.cap_add, &options.cap_drop);
    if options.privileged {
        Capabilities::ALL
    } else if all(add) {
        Capabilities::ALL.without(singles(drop))
    } else if all(drop) {
        set(add)
    } else {
        Capabilities::DEFAULT.without(set(drop)).with(set(add))
    }
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
    let mut variables = Variables::default();
    variables.set("PATH", DEFAULT_PATH);
    variables.set("HOSTNAME", hostname);
    if options.terminal {
        variables.set("TERM", "xterm");
    }
    variables.set("HOME", home);
    for (name, value) in config.env.iter().filter_map(|entry| entry.split_once('=')) {
        variables.set(name, value);
    }
    for variable in &options.env {
        match &variable.value {
            Some(value) => variables.set(&variable.name, value),
            None => variables.remove(&variable.name),
        }
    }
    let pairs = variables.list.into_iter().flatten();
    pairs.map(|(name, value)| (name.into(), value.into())).collect()
}

/// Variables in the order in which they came first, each with its last value. An image may have very many.
#[derive(Debug, Default)]
struct Variables<'a> {
    list: Vec<Option<(&'a str, &'a str)>>,
    /// Where each is in the list.
    places: BTreeMap<&'a str, usize>,
}

impl<'a> Variables<'a> {
    fn set(&mut self, name: &'a str, value: &'a str) {
        let place = *self.places.entry(name).or_insert(self.list.len());
        self.list.resize(self.list.len().max(place + 1), None);
        self.list[place] = Some((name, value));
    }

    fn remove(&mut self, name: &str) {
        if let Some(place) = self.places.remove(name) {
            self.list[place] = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(add: &[&str], drop: &[&str], expected: u64) {
        let names = |names: &[&str]| names.iter().map(|name| name.parse().unwrap()).collect();
        let options = ContainerOptions {
            cap_add: names(add),
            cap_drop: names(drop),
            ..ContainerOptions::default()
        };
        assert_eq!(u64::from(capabilities(&options)), expected, "+{add:?} -{drop:?}");
    }

    #[test]
    fn capabilities_added_and_dropped() {
        const DEFAULT: u64 = 0xa804_25fb;
        check(&[], &[], DEFAULT);
        check(&["SYS_ADMIN"], &[], DEFAULT | 1 << 21);
        check(&["sys_admin"], &["cap_chown"], DEFAULT & !1 | 1 << 21);
        check(&[], &["ALL"], 0);
        check(&["CHOWN"], &["ALL"], 1);
        check(&["ALL"], &[], u64::MAX);
        check(&["ALL"], &["CHOWN"], !1);
        check(&["CHOWN"], &["CHOWN"], DEFAULT);
    }

    #[test]
    fn the_environment() {
        let config = Config { env: vec!["A=image".into(), "B=image".into()], ..Config::default() };
        let env = ["A=given", "B", "HOME=/h"].map(|text| text.parse().unwrap());
        let options = ContainerOptions { env: env.into(), ..ContainerOptions::default() };
        let env = environment(&options, &config, "host", "/root");
        let shown: Vec<String> = env
            .iter()
            .map(|(name, value)| format!("{}={}", name.display(), value.display()))
            .collect();
        let path = format!("PATH={DEFAULT_PATH}");
        assert_eq!(shown, [path.as_str(), "HOSTNAME=host", "HOME=/h", "A=given"]);
    }
}
