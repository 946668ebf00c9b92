//! `RUN [flags] command`, `RUN [flags] ["argument"…]` or `RUN [flags] <<heredoc`.

mod csv;
mod device;
mod mount;

pub use self::device::Device;
pub use self::mount::{Mount, MountFlag, MountKind, MountOption, Sharing};

use crate::diagnostic::Diagnostic;
use crate::flag::{Flags, Takes};
use crate::heredoc::Heredoc;
use crate::nearest::nearest;
use crate::parts::Parts;
use crate::quoted::quoted;
use crate::source::Spanned;

const FLAGS: [(&str, Takes); 4] = [
    ("mount", Takes::Values),
    ("network", Takes::Value),
    ("security", Takes::Value),
    ("device", Takes::Values),
];

const NETWORKS: [&str; 3] = ["default", "none", "host"];
const SECURITIES: [&str; 2] = ["sandbox", "insecure"];

/// Runs a command in the stage.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Run {
    /// `--mount`, any number of times, in their order.
    pub mounts: Vec<MountFlag>,
    /// `--network`.
    pub network: Option<Spanned<Network>>,
    /// `--security`.
    pub security: Option<Spanned<Security>>,
    /// `--device`, any number of times.
    pub devices: Vec<Spanned<Device>>,
    /// What to run. With heredocs it is the shell form, and the text has the `<<` words in it.
    pub command: CommandLine,
    /// The heredocs named in the command, in their order.
    pub heredocs: Vec<Heredoc>,
}

impl Run {
    pub(super) fn parse(parts: &Parts<'_>, command: CommandLine) -> Result<Self, Diagnostic> {
        let flags = parts.check_flags(&FLAGS)?;
        let empty = match &command {
            CommandLine::Shell(text) => text.is_empty(),
            CommandLine::Exec(argv) => argv.is_empty(),
        };
        if empty {
            return Err(parts.needs_an_operand());
        }
        Ok(Self {
            mounts: flags.values("mount").map(MountFlag::parse).collect::<Result<_, _>>()?,
            network: network(&flags)?,
            security: security(&flags)?,
            devices: flags.values("device").map(Device::parse).collect::<Result<_, _>>()?,
            command,
            heredocs: parts.heredoc_bodies(),
        })
    }

    /// The heredoc that is the whole command: `RUN <<EOF` and nothing else. Its body is the script to run.
    pub fn script(&self) -> Option<&Heredoc> {
        match (&self.command, self.heredocs.as_slice()) {
            (CommandLine::Shell(text), [only]) if crate::heredoc::is_heredoc(text) => Some(only),
            (CommandLine::Shell(_) | CommandLine::Exec(_), _) => None,
        }
    }
}

/// A command in one of its two forms: `RUN`, `CMD`, `ENTRYPOINT` and `HEALTHCHECK CMD` have them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CommandLine {
    /// A text for the shell.
    Shell(String),
    /// Arguments to execute as they are; may be empty.
    Exec(Vec<String>),
}

/// Which network a `RUN` sees.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Network {
    /// That of the build.
    Default,
    /// Only its own loopback.
    None,
    /// The host's.
    Host,
}

/// How far a `RUN` is confined.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Security {
    /// As a container is.
    Sandbox,
    /// Not at all.
    Insecure,
}

fn network(flags: &Flags<'_>) -> Result<Option<Spanned<Network>>, Diagnostic> {
    let Some(value) = flags.value("network") else { return Ok(None) };
    let network = match value.text.as_str() {
        "default" => Network::Default,
        "none" => Network::None,
        "host" => Network::Host,
        unknown => {
            return Err(Diagnostic::new(format!("invalid network mode {}", quoted(unknown)))
                .at(value.word().span)
                .did_you_mean(nearest(unknown, NETWORKS))
                .choices(NETWORKS));
        }
    };
    Ok(Some(Spanned::new(network, value.fragment.span())))
}

fn security(flags: &Flags<'_>) -> Result<Option<Spanned<Security>>, Diagnostic> {
    let Some(value) = flags.value("security") else { return Ok(None) };
    let security = match value.text.as_str() {
        "sandbox" => Security::Sandbox,
        "insecure" => Security::Insecure,
        unknown => {
            return Err(Diagnostic::new(format!("security {} is not valid", quoted(unknown)))
                .at(value.word().span)
                .did_you_mean(nearest(unknown, SECURITIES))
                .choices(SECURITIES));
        }
    };
    Ok(Some(Spanned::new(security, value.fragment.span())))
}
