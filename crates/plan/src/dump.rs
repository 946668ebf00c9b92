//! A plan as text, for snapshots in tests and for people who ask what a Dockerfile means.
//!
//! The text is stable: it depends on the plan alone, and only fields with something to say are in it.

use std::fmt::{self, Display, Write as _};

use crate::{
    Base, Copy, CopySource, Mount, MountKind, Network, Op, Origin, Plan, Run, Security, Sharing,
    Stage, Step,
};

impl Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for stage in &self.stages {
            write_stage(f, stage)?;
        }
        if let Some(epoch) = self.epoch {
            writeln!(f, "epoch {epoch}")?;
        }
        writeln!(f, "target {}", self.target.0)
    }
}

fn write_stage(f: &mut fmt::Formatter<'_>, stage: &Stage) -> fmt::Result {
    let base = match &stage.base {
        Base::Scratch => "scratch".to_owned(),
        Base::Stage(id) => format!("stage {}", id.0),
        Base::Image { reference, id } => format!("image {reference} {}", short(&id.to_string())),
        Base::Context { name, id: None } => format!("context {name}"),
        Base::Context { name, id: Some(id) } => {
            format!("context {name} {}", short(&id.to_string()))
        }
    };
    writeln!(f, "stage {} {} ({}) from {base}", stage.id.0, stage.label(), stage.platform)?;
    for step in &stage.steps {
        write_step(f, step)?;
    }
    write_config(f, stage)
}

fn write_step(f: &mut fmt::Formatter<'_>, step: &Step) -> fmt::Result {
    let (first, last) = step.lines;
    writeln!(f, "  {first}-{last} {}", one_line(&step.title))?;
    if let Some(created_by) = &step.created_by {
        writeln!(f, "    history {}", one_line(created_by))?;
    }
    match &step.op {
        Op::Config => Ok(()),
        Op::Workdir(workdir) => {
            writeln!(f, "    workdir {}{}", workdir.path, field(" user", &workdir.user))
        }
        Op::Run(run) => write_run(f, run),
        Op::Copy(copy) => write_copy(f, copy),
    }
}

fn write_run(f: &mut fmt::Formatter<'_>, run: &Run) -> fmt::Result {
    writeln!(f, "    run {:?}", run.argv)?;
    let at = format!("{}{}", run.workdir, field(" user ", &run.user));
    let network = network(run.network);
    writeln!(f, "      in {at} network {network} {} as {}", security(run.security), run.hostname)?;
    for (name, value) in &run.settings {
        writeln!(f, "      {name} {value}")?;
    }
    for (name, value) in &run.env {
        writeln!(f, "      env {name}={}", one_line(value))?;
    }
    for (name, value) in &run.proxy_env {
        writeln!(f, "      proxy {name}={}", one_line(value))?;
    }
    for mount in &run.mounts {
        let origin = mount.origin().map(|origin| format!(" from {}", Origin::text(origin)));
        let origin = origin.unwrap_or_default();
        writeln!(f, "      mount {} {}{origin}", mount.target, mount_options(mount))?;
    }
    match &run.script {
        Some(script) => writeln!(f, "      script {} {:?}", script.name, script.body),
        None => Ok(()),
    }
}

fn write_copy(f: &mut fmt::Formatter<'_>, copy: &Copy) -> fmt::Result {
    let name = if copy.add { "add" } else { "copy" };
    writeln!(f, "    {name} from {} to {}", copy.origin.text(), copy.dest)?;
    for source in &copy.sources {
        match source {
            CopySource::Path(path) => writeln!(f, "      path {path}")?,
            CopySource::Heredoc(script) => {
                writeln!(f, "      heredoc {} {:?}", script.name, script.body)?;
            }
            CopySource::Url(url) => writeln!(f, "      url {url}")?,
            CopySource::Git(url) => writeln!(f, "      git {url}")?,
        }
    }
    let mut flags = String::new();
    let Copy { chown, chmod, checksum, .. } = copy;
    for (flag, value) in [("chown", chown), ("chmod", chmod), ("checksum", checksum)] {
        if let Some(value) = value {
            write!(flags, " --{flag}={value}")?;
        }
    }
    for (flag, on) in
        [("link", copy.link), ("parents", copy.parents), ("if-exists", copy.if_exists)]
    {
        if on {
            write!(flags, " --{flag}")?;
        }
    }
    for (flag, given) in [("unpack", copy.unpack), ("keep-git-dir", copy.keep_git_dir)] {
        if let Some(on) = given {
            write!(flags, " --{flag}={on}")?;
        }
    }
    for pattern in &copy.exclude {
        write!(flags, " --exclude={pattern}")?;
    }
    if flags.is_empty() { Ok(()) } else { writeln!(f, "     {flags}") }
}

fn write_config(f: &mut fmt::Formatter<'_>, stage: &Stage) -> fmt::Result {
    let config = &stage.config.config;
    writeln!(f, "  config")?;
    if !stage.config.author.is_empty() {
        writeln!(f, "    author {}", one_line(&stage.config.author))?;
    }
    for variable in &config.env {
        writeln!(f, "    env {}", one_line(variable))?;
    }
    for (key, value) in &config.labels {
        writeln!(f, "    label {}={}", one_line(key), one_line(value))?;
    }
    for (name, value) in [
        ("user", &config.user),
        ("workdir", &config.working_dir),
        ("stopsignal", &config.stop_signal),
    ] {
        if !value.is_empty() {
            writeln!(f, "    {name} {}", one_line(value))?;
        }
    }
    for (name, argv) in [("entrypoint", &config.entrypoint), ("cmd", &config.cmd)] {
        if let Some(argv) = argv {
            writeln!(f, "    {name} {argv:?}")?;
        }
    }
    if !config.shell.is_empty() {
        writeln!(f, "    shell {:?}", config.shell)?;
    }
    for port in config.exposed_ports.keys() {
        writeln!(f, "    expose {port}")?;
    }
    for volume in config.volumes.keys() {
        writeln!(f, "    volume {}", one_line(volume))?;
    }
    if let Some(check) = &config.healthcheck {
        let times = [check.interval, check.timeout, check.start_period, check.start_interval];
        writeln!(f, "    healthcheck {:?} {times:?} {}", check.test, check.retries)?;
    }
    for trigger in &config.on_build {
        writeln!(f, "    onbuild {}", one_line(trigger))?;
    }
    Ok(())
}

/// The word for a network.
pub(crate) fn network(network: Network) -> &'static str {
    match network {
        Network::Default => "default",
        Network::None => "none",
        Network::Host => "host",
    }
}

/// The word for a degree of confinement.
pub(crate) fn security(security: Security) -> &'static str {
    match security {
        Security::Sandbox => "sandbox",
        Security::Insecure => "insecure",
    }
}

/// What a mount is, in words, without its target, its origin, and the name of a cache, which are no part of a key.
pub(crate) fn mount_options(mount: &Mount) -> String {
    let owner = |mode: &u32, uid: &u32, gid: &u32| format!("mode={mode:04o} uid={uid} gid={gid}");
    let needed = |required: bool| if required { "required" } else { "optional" };
    match &mount.kind {
        MountKind::Bind { source, read_write, .. } => {
            format!("bind {} source={source}", if *read_write { "rw" } else { "ro" })
        }
        MountKind::Cache { source, read_only, sharing, mode, uid, gid, .. } => {
            let sharing = match sharing {
                Sharing::Shared => "shared",
                Sharing::Private => "private",
                Sharing::Locked => "locked",
            };
            let access = if *read_only { "ro" } else { "rw" };
            format!("cache {access} {sharing} source={source} {}", owner(mode, uid, gid))
        }
        MountKind::Tmpfs { size: None } => "tmpfs".to_owned(),
        MountKind::Tmpfs { size: Some(size) } => format!("tmpfs size={size}"),
        MountKind::Secret { id, env, required, mode, uid, gid } => {
            let env = field(" env=", env.as_deref().unwrap_or_default());
            format!("secret {id} {}{env} {}", needed(*required), owner(mode, uid, gid))
        }
        MountKind::Ssh { id, required, mode, uid, gid } => {
            format!("ssh {id} {} {}", needed(*required), owner(mode, uid, gid))
        }
    }
}

impl Origin {
    fn text(&self) -> String {
        match self {
            Self::Context => "context".to_owned(),
            Self::Named { name, platform: _ } => format!("context {name}"),
            Self::Stage(id) => format!("stage {}", id.0),
            Self::Image { reference, platform } => format!("image {reference} ({platform})"),
            Self::Scratch => "scratch".to_owned(),
        }
    }
}

fn field(name: &str, value: &str) -> String {
    if value.is_empty() { String::new() } else { format!("{name}{value}") }
}

/// Enough of a digest to tell images apart at a glance.
fn short(digest: &str) -> &str {
    digest.get(..19).unwrap_or(digest)
}

fn one_line(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\n', "\\n").replace('\r', "\\r")
}
