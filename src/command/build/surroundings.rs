//! What every RUN of a build finds around it: host names, shared memory, limits.

use engine::container::options::{BadOption, ByteSize, HostAddress, HostEntry, Resources, Ulimit};

use crate::{command::run::options::ResourceArgs, report::Failure};

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Surroundings {
    /// Further name that RUN knows
    #[arg(long = "add-host", value_name = "NAME:ADDRESS")]
    hosts: Vec<HostEntry>,
    /// Size of /dev/shm of a RUN [default: 64m]
    #[arg(long, value_name = "SIZE")]
    shm_size: Option<ByteSize>,
    /// Limit of each process of a RUN: nofile=1024:4096
    #[arg(long = "ulimit", value_name = "TYPE=SOFT[:HARD]")]
    ulimits: Vec<Ulimit>,
    /// Limit of all processes of a RUN together: memory, memory-swap, cpu-shares, cpu-period, cpu-quota, cpuset-cpus or cpuset-mems; not part of the cache key
    #[arg(long = "resource", value_name = "NAME=VALUE")]
    resources: Vec<String>,
    /// What `docker build` called them before
    #[command(flatten)]
    single: ResourceArgs,
}

/// The same as the engine takes them.
#[derive(Debug)]
pub(super) struct Checked {
    pub(super) hosts: Vec<HostEntry>,
    pub(super) shm_size: Option<u64>,
    pub(super) ulimits: Vec<Ulimit>,
    pub(super) resources: Resources,
}

impl Surroundings {
    /// Reads what is more than one value, and finds what does not fit together.
    pub(super) fn check(self) -> Result<Checked, Failure> {
        let gateway = self.hosts.iter().find(|host| host.address == HostAddress::HostGateway);
        if let Some(host) = gateway {
            let feature = format!("--add-host {}:host-gateway", host.name);
            return Err(engine::Error::Unsupported { feature }.into());
        }
        let mut resources = self.single.resources()?;
        for given in &self.resources {
            read(given, &mut resources)?;
        }
        resources.validate().map_err(|error| wrong("--resource", &error))?;
        // The last one of a name counts, as for Docker.
        let mut ulimits: Vec<Ulimit> = Vec::new();
        for ulimit in self.ulimits {
            ulimits.retain(|other| other.name != ulimit.name);
            ulimits.push(ulimit);
        }
        ulimits.sort_by(|one, other| one.name.cmp(&other.name));
        let shm_size = self.shm_size.map(|size| size.0).filter(|size| *size > 0);
        Ok(Checked { hosts: self.hosts, shm_size, ulimits, resources })
    }
}

/// Reads `NAME=VALUE[,NAME=VALUE…]`; a list of processors has commas of its own.
fn read(given: &str, resources: &mut Resources) -> Result<(), Failure> {
    let mut pairs: Vec<(String, String)> = Vec::new();
    for part in given.split(',') {
        match (part.split_once('='), pairs.last_mut()) {
            (Some((name, value)), _) => pairs.push((name.trim().to_owned(), value.to_owned())),
            (None, Some((_, value))) => {
                value.push(',');
                value.push_str(part);
            }
            (None, None) => {
                return Err(Failure::usage(format!("--resource `{given}` has no `=`: NAME=VALUE")));
            }
        }
    }
    for (name, value) in pairs {
        let option = format!("--resource {name}");
        let bad = |error: BadOption| wrong(&option, &error);
        let number = |text: &str| {
            let message = format!("{option}: `{text}` is no number");
            text.parse::<i64>().map_err(|_| Failure::usage(message))
        };
        match name.as_str() {
            "memory" => resources.memory = Some(value.parse().map_err(bad)?),
            "memory-swap" => resources.memory_swap = Some(value.parse().map_err(bad)?),
            "cpu-shares" => resources.cpu_shares = Some(number(&value)?.unsigned_abs()),
            "cpu-period" => resources.cpu_period = Some(number(&value)?.unsigned_abs()),
            "cpu-quota" => resources.cpu_quota = Some(number(&value)?),
            "cpuset-cpus" => resources.cpuset_cpus = Some(value),
            "cpuset-mems" => resources.cpuset_mems = Some(value),
            name => {
                return Err(Failure::usage(format!(
                    "--resource does not know `{name}`: there are memory, memory-swap, cpu-shares, cpu-period, cpu-quota, cpuset-cpus and cpuset-mems"
                )));
            }
        }
    }
    Ok(())
}

fn wrong(option: &str, error: &BadOption) -> Failure {
    Failure::usage(format!("{option}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::{ByteSize, Resources, read};

    #[test]
    fn lists_have_commas_of_their_own() {
        let mut resources = Resources::default();
        read("cpuset-cpus=0-1,3,memory=64m", &mut resources).unwrap();
        assert_eq!(resources.cpuset_cpus.as_deref(), Some("0-1,3"));
        assert_eq!(resources.memory, Some(ByteSize(64 << 20)));
        for wrong in ["memory", "memory=x", "cpu-quota=many", "pids=3", ""] {
            assert!(read(wrong, &mut resources).is_err(), "{wrong}");
        }
    }
}
