//! The options that `run` and `create` share, and what they come to.

use std::{path::PathBuf, str::FromStr};

use engine::container::options::{
    self, BadOption, ByteSize, CapabilityName, CgroupParent, ContainerOptions, Cpus, Device,
    HostEntry, Label, LogOptions, MemorySwap, Mount, Network, Port, Publish, Resources,
    SecurityOption, Sysctl, Ulimit, Variable,
};

use jiff::SignedDuration;
use oci::Healthcheck;

use super::refused::Options;
use crate::command::refused::Refused;
use crate::{environment, moment, report::Failure};

#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true)]
pub(crate) struct ContainerArgs {
    /// Print help; `-h` is the host name, as with Docker
    #[arg(long, action = clap::ArgAction::Help)]
    help: Option<bool>,
    /// Pass standard input on
    #[arg(short, long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false", hide_default_value = true, value_name = "BOOL")]
    interactive: Flag,
    /// Give the command a terminal
    #[arg(short, long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false", hide_default_value = true, value_name = "BOOL")]
    tty: Flag,
    /// Set a variable; without `=VALUE` to that of the environment variable
    #[arg(short, long = "env", value_name = "NAME[=VALUE]")]
    env: Vec<Variable>,
    /// File of variables, NAME=VALUE a line, `#` for comments; --env goes before it
    #[arg(long = "env-file", value_name = "FILE")]
    env_files: Vec<PathBuf>,
    /// Working directory; made if there is none
    #[arg(short, long, value_name = "DIR")]
    workdir: Option<String>,
    /// User, with an optional group
    #[arg(short, long, value_name = "USER[:GROUP]")]
    user: Option<String>,
    /// Further group of the user
    #[arg(long = "group-add", value_name = "GROUP")]
    groups: Vec<String>,
    /// Replace the image's ENTRYPOINT
    #[arg(long, value_name = "PROGRAM")]
    entrypoint: Option<String>,
    /// Pass signals on and reap, by a first process of kiln's own
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false", hide_default_value = true, value_name = "BOOL")]
    init: Flag,
    /// Label of the container
    #[arg(short, long = "label", value_name = "KEY=VALUE")]
    labels: Vec<Label>,
    /// File of labels, KEY=VALUE a line
    #[arg(long = "label-file", value_name = "FILE")]
    label_files: Vec<PathBuf>,
    /// Signal that stops the container
    #[arg(long, value_name = "SIGNAL")]
    stop_signal: Option<String>,
    /// Seconds from that signal to the kill; -1 for ever
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true)]
    stop_timeout: Option<i64>,

    #[command(flatten)]
    health: HealthArgs,

    /// Directory of the host, or volume, in the container
    #[arg(short, long = "volume", value_name = "[SOURCE:]TARGET[:ro]", value_parser = Mount::parse_volume)]
    volumes: Vec<Mount>,
    /// The same in words: `type=bind|volume|tmpfs,source=…,target=…[,readonly]`
    #[arg(long = "mount", value_name = "type=…,target=…")]
    mounts: Vec<Mount>,
    /// Memory as a directory: size=, mode=, uid=, gid=, exec, ro
    #[arg(long, value_name = "TARGET[:OPTIONS]", value_parser = Mount::parse_tmpfs)]
    tmpfs: Vec<Mount>,
    /// The volumes and directories of the host that another container has
    #[arg(long, value_name = "CONTAINER[:ro]")]
    pub(crate) volumes_from: Vec<String>,
    /// Let nothing be written to the root file system
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false", hide_default_value = true, value_name = "BOOL")]
    read_only: Flag,
    /// Size of /dev/shm
    #[arg(long, value_name = "BYTES")]
    shm_size: Option<ByteSize>,
    /// Device of the host
    #[arg(long = "device", value_name = "PATH[:PATH]")]
    devices: Vec<Device>,

    /// What the command reaches: default, none or host
    #[arg(long, alias = "net", value_name = "NETWORK", default_value = "default")]
    network: Network,
    /// Port of the host that leads to one of the container
    #[arg(short, long, value_name = "[[ADDRESS:]HOST:]CONTAINER[/udp]")]
    publish: Vec<Publish>,
    /// A port of the host for every exposed one
    #[arg(short = 'P', long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false", hide_default_value = true, value_name = "BOOL")]
    publish_all: Flag,
    /// Port that the container serves
    #[arg(long, value_name = "PORT[/udp]")]
    expose: Vec<Port>,
    /// Host name
    #[arg(short = 'h', long, value_name = "NAME")]
    hostname: Option<String>,
    /// Line of /etc/hosts
    #[arg(long = "add-host", value_name = "NAME:ADDRESS")]
    hosts: Vec<HostEntry>,
    /// Name server
    #[arg(long, value_name = "ADDRESS", value_parser = parse_address)]
    dns: Vec<std::net::IpAddr>,
    /// Domain to look names up in; `.` for none
    #[arg(long, value_name = "DOMAIN")]
    dns_search: Vec<String>,
    /// Option of the resolver
    #[arg(long = "dns-option", alias = "dns-opt", value_name = "OPTION")]
    dns_options: Vec<String>,

    /// Hold nothing back that root can have
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false", hide_default_value = true, value_name = "BOOL")]
    privileged: Flag,
    /// Capability to have, or ALL
    #[arg(long, value_name = "NAME")]
    cap_add: Vec<CapabilityName>,
    /// Capability to do without, or ALL
    #[arg(long, value_name = "NAME")]
    cap_drop: Vec<CapabilityName>,
    /// no-new-privileges, seccomp=unconfined or systempaths=unconfined
    #[arg(long = "security-opt", value_name = "OPTION")]
    security: Vec<SecurityOption>,
    /// Kernel setting of the container's own: net.*, kernel.shm*, kernel.msg*, kernel.sem, fs.mqueue.*
    #[arg(long = "sysctl", value_name = "NAME=VALUE")]
    sysctls: Vec<Sysctl>,
    /// Limit of each process: `nofile=1024[:2048]`
    #[arg(long = "ulimit", value_name = "NAME=SOFT[:HARD]")]
    ulimits: Vec<Ulimit>,
    /// How output is kept: `json-file`, `local` (at most 20 MB in each of 5 files), or `none` not at all
    #[arg(long, value_name = "DRIVER")]
    log_driver: Option<String>,
    /// How much output is kept: max-size=10m, max-file=3; labels=NAME,… and env=NAME,… keep these with each line
    #[arg(long = "log-opt", value_name = "NAME=VALUE")]
    log_options: Vec<String>,
    #[command(flatten)]
    resources: ResourceArgs,
    #[command(flatten)]
    refused: Refused<Options>,

    /// What the image shall be for [default: $DOCKER_DEFAULT_PLATFORM, or this machine]
    #[arg(long, value_name = "OS/ARCH")]
    pub(crate) platform: Option<String>,
    /// When to ask the registry for the image: always, missing or never
    #[arg(long, value_enum, default_value = "missing", hide_possible_values = true)]
    pub(crate) pull: Pull,
    /// Say nothing of a pull
    #[arg(short, long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false", hide_default_value = true, value_name = "BOOL")]
    pub(crate) quiet: Flag,
    /// Write the container's id to this file, which must not be there yet
    #[arg(long, value_name = "FILE")]
    pub(crate) cidfile: Option<PathBuf>,
    /// The image, and a command with its arguments instead of the image's CMD; options stand before the image
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        required = true,
        value_name = "IMAGE [COMMAND]"
    )]
    image_and_command: Vec<String>,
}

/// How a container is found to be healthy.
#[derive(Debug, clap::Args)]
struct HealthArgs {
    /// Command that tells by its exit code whether the container is healthy
    #[arg(long = "health-cmd", value_name = "COMMAND")]
    command: Option<String>,
    /// Time between two checks [default: 30s]
    #[arg(long = "health-interval", value_name = "TIME", value_parser = parse_time, allow_hyphen_values = true)]
    interval: Option<i64>,
    /// Failures in a row that make the container unhealthy [default: 3]
    #[arg(long = "health-retries", value_name = "NUMBER", allow_negative_numbers = true)]
    retries: Option<i64>,
    /// Longest time of one check [default: 30s]
    #[arg(long = "health-timeout", value_name = "TIME", value_parser = parse_time, allow_hyphen_values = true)]
    timeout: Option<i64>,
    /// Time for the container to start in, when failures do not count [default: 0s]
    #[arg(long = "health-start-period", value_name = "TIME", value_parser = parse_time, allow_hyphen_values = true)]
    start_period: Option<i64>,
    /// Time between two checks then [default: 5s]
    #[arg(long = "health-start-interval", value_name = "TIME", value_parser = parse_time, allow_hyphen_values = true)]
    start_interval: Option<i64>,
    /// Do not check, whatever the image says
    #[arg(long = "no-healthcheck", num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false", hide_default_value = true, value_name = "BOOL")]
    none: Flag,
}

impl HealthArgs {
    fn healthcheck(self) -> Result<Option<Healthcheck>, Failure> {
        let times = [self.interval, self.timeout, self.start_period, self.start_interval];
        let is_given =
            self.command.is_some() || self.retries.is_some() || times.iter().any(Option::is_some);
        if self.none.0 {
            if is_given {
                let message = "--no-healthcheck conflicts with --health-* options";
                return Err(Failure::usage(message));
            }
            let test = vec!["NONE".to_owned()];
            return Ok(Some(Healthcheck { test, ..Healthcheck::default() }));
        }
        let shell = |command: String| vec!["CMD-SHELL".to_owned(), command];
        let [interval, timeout, start_period, start_interval] =
            times.map(Option::unwrap_or_default);
        let check = Healthcheck {
            test: self.command.filter(|it| !it.is_empty()).map(shell).unwrap_or_default(),
            interval,
            timeout,
            start_period,
            start_interval,
            retries: self.retries.unwrap_or_default(),
        };
        Ok(is_given.then_some(check))
    }
}

/// Reads a duration as Go writes it, in nanoseconds.
fn parse_time(text: &str) -> Result<i64, String> {
    let (is_negative, rest) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let time = if rest == "0" { Some(SignedDuration::ZERO) } else { moment::duration(rest) };
    let nanoseconds = time.and_then(|time| i64::try_from(time.as_nanos()).ok());
    let nanoseconds =
        nanoseconds.ok_or("it is a number with a unit, such as 500ms, 30s or 1m30s")?;
    Ok(if is_negative { -nanoseconds } else { nanoseconds })
}

/// Limits of all processes of a container together; `build` has the same for each step.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ResourceArgs {
    /// Most memory
    #[arg(short, long, value_name = "BYTES")]
    memory: Option<ByteSize>,
    /// Most memory and swap together; -1 for no limit
    #[arg(long, value_name = "BYTES", allow_hyphen_values = true)]
    memory_swap: Option<MemorySwap>,
    /// Memory that is not taken away when there is little
    #[arg(long, value_name = "BYTES")]
    memory_reservation: Option<ByteSize>,
    /// How many processors' time
    #[arg(long, value_name = "NUMBER")]
    cpus: Option<Cpus>,
    /// Length of a scheduling period in microseconds
    #[arg(long, value_name = "MICROSECONDS")]
    cpu_period: Option<u64>,
    /// Microseconds in each period
    #[arg(long, value_name = "MICROSECONDS", allow_negative_numbers = true)]
    cpu_quota: Option<i64>,
    /// Weight against others; 1024 is the usual one
    #[arg(short, long, value_name = "WEIGHT")]
    cpu_shares: Option<u64>,
    /// Which processors: 0-2,4
    #[arg(long, value_name = "LIST")]
    cpuset_cpus: Option<String>,
    /// Which memory nodes
    #[arg(long, value_name = "LIST")]
    cpuset_mems: Option<String>,
    /// Most processes and threads; -1 for no limit
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    pids_limit: Option<i64>,
    /// Control group to be in a part of: a path below /sys/fs/cgroup, or a slice
    #[arg(long, value_name = "PATH", value_parser = cgroup_parent)]
    cgroup_parent: Option<GivenParent>,
}

/// What `--cgroup-parent` says; nothing is as if it were not given.
type GivenParent = Option<CgroupParent>;

fn cgroup_parent(text: &str) -> Result<GivenParent, BadOption> {
    if text.is_empty() { Ok(None) } else { text.parse().map(Some) }
}

impl ResourceArgs {
    /// What was said, as far as it makes sense together.
    pub(crate) fn resources(self) -> Result<Resources, Failure> {
        let resources = Resources {
            memory: self.memory,
            memory_swap: self.memory_swap,
            memory_reservation: self.memory_reservation,
            cpus: self.cpus,
            cpu_period: self.cpu_period,
            cpu_quota: self.cpu_quota,
            cpu_shares: self.cpu_shares,
            cpuset_cpus: self.cpuset_cpus,
            cpuset_mems: self.cpuset_mems,
            pids: self.pids_limit,
            cgroup_parent: self.cgroup_parent.flatten(),
        };
        resources.validate().map_err(wrong)?;
        Ok(resources)
    }
}

/// A switch that can also be written `--switch=false`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Flag(pub(crate) bool);

impl FromStr for Flag {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        options::parse_bool(text).map(Self).ok_or("it is `true` or `false`")
    }
}

/// When to ask a registry for an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Pull {
    /// Every time
    Always,
    /// If it is not in the store
    Missing,
    /// Not at all
    Never,
}

impl ContainerArgs {
    /// The name of the image.
    pub(crate) fn image(&self) -> Result<&str, Failure> {
        let image = self.image_and_command.first().map_or("", String::as_str);
        if image.starts_with('-') {
            return Err(Failure::usage(format!(
                "unknown option `{image}`; `kiln run --help` lists them"
            )));
        }
        Ok(image)
    }

    /// What is to be kept with the container. Reads the files that the options name.
    pub(crate) fn into_options(self) -> Result<ContainerOptions, Failure> {
        self.refused.check()?;
        let env = variables(&self.env_files, self.env)?;
        let mut labels = Vec::new();
        for path in &self.label_files {
            labels.extend(options::parse_label_file(&read(path)?).map_err(in_file(path))?);
        }
        labels.extend(self.labels);
        let mut mounts: Vec<Mount> =
            self.volumes.into_iter().chain(self.mounts).chain(self.tmpfs).collect();
        if mounts.iter().any(Mount::is_relative) {
            let here = environment::current_directory()?;
            mounts.iter_mut().for_each(|mount| mount.resolve(&here));
        }
        let options = ContainerOptions {
            command: self.image_and_command.into_iter().skip(1).collect(),
            entrypoint: self.entrypoint,
            env,
            workdir: self.workdir,
            user: self.user,
            groups: self.groups,
            interactive: self.interactive.0,
            terminal: self.tty.0,
            labels: labels.into_iter().map(|label| (label.name, label.value)).collect(),
            stop_signal: self.stop_signal,
            stop_timeout: self.stop_timeout,
            health: self.health.healthcheck()?,
            init: self.init.0,
            hostname: self.hostname,
            network: self.network,
            publish: self.publish,
            publish_all: self.publish_all.0,
            expose: self.expose,
            hosts: self.hosts,
            dns: self.dns,
            dns_search: self.dns_search,
            dns_options: self.dns_options,
            mounts,
            read_only: self.read_only.0,
            shm_size: self.shm_size.map(|size| size.0),
            devices: self.devices,
            privileged: self.privileged.0,
            cap_add: self.cap_add,
            cap_drop: self.cap_drop,
            security: self.security,
            sysctls: self.sysctls,
            resources: self.resources.resources()?,
            ulimits: self.ulimits,
            log: LogOptions::parse(self.log_driver.as_deref(), &self.log_options).map_err(wrong)?,
        };
        options.validate().map_err(wrong)?;
        Ok(options)
    }
}

/// The variables of files, and then those that were given by themselves.
pub(crate) fn variables(files: &[PathBuf], given: Vec<Variable>) -> Result<Vec<Variable>, Failure> {
    let mut env = Vec::new();
    for path in files {
        let read = options::parse_env_file(&read(path)?, environment::text);
        env.extend(read.map_err(in_file(path))?);
    }
    for Variable { name, value } in given {
        let value = value.or_else(|| environment::text(&name));
        env.push(Variable { name, value });
    }
    Ok(env)
}

fn wrong(error: BadOption) -> Failure {
    Failure::usage(error.to_string())
}

fn in_file(path: &std::path::Path) -> impl Fn(BadOption) -> Failure {
    move |error| Failure::usage(format!("{}: {error}", path.display()))
}

fn read(path: &std::path::Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(path).map_err(Failure::io("read", path.display()))
}

fn parse_address(text: &str) -> Result<std::net::IpAddr, String> {
    text.parse().map_err(|_| format!("IP address is not correctly formatted: {text}"))
}
