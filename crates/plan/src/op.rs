//! What a step does. Closed: the language has no other operations, and every match on [`Op`] is exhaustive.

use oci::{Platform, Reference};

use crate::{Mount, StageId};

/// What a step does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// Edits the image config only; the edit is already in the stage's config.
    Config,
    /// RUN.
    Run(Run),
    /// COPY and ADD.
    Copy(Copy),
    /// WORKDIR: makes the directory.
    Workdir(Workdir),
}

/// A command in the root file system of the stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// The program and its arguments, the shell included.
    pub argv: Vec<String>,
    /// The environment: ENV and ARG in effect, in the order in which they were set. PATH is always there; HOME is
    /// the executor's duty.
    pub env: Vec<(String, String)>,
    /// Proxy variables that were given and not declared by ARG: set for the command, never part of the key.
    pub proxy_env: Vec<(String, String)>,
    /// Absolute working directory.
    pub workdir: String,
    /// USER as written; empty is root.
    pub user: String,
    /// What the command reaches.
    pub network: Network,
    /// What the command may do.
    pub security: Security,
    /// `--mount`, in order.
    pub mounts: Vec<Mount>,
    /// A heredoc that starts with `#!`, to be mounted read-only at `/dev/pipes/NAME`.
    pub script: Option<Script>,
    /// The host name that the command sees.
    pub hostname: String,
    /// What else the command line says of every command and is part of the key, as names and values: `--ulimit`,
    /// `--shm-size`, the names of `--add-host`.
    pub settings: Vec<(String, String)>,
}

/// A file made from a heredoc.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    /// The heredoc's name, which is the file's.
    pub name: String,
    /// The text.
    pub body: String,
}

/// What a command reaches: `--network`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Network {
    /// The outside, through a network of the build's own where there is one.
    Default,
    /// Only its own loopback.
    None,
    /// The host's network.
    Host,
}

/// What a command may do: `--security`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Security {
    /// Docker's default capabilities and seccomp profile.
    Sandbox,
    /// Everything that the builder itself may.
    Insecure,
}

/// Files from somewhere into the root file system of the stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copy {
    /// Whether the instruction was ADD: local archives are unpacked, sources may be remote.
    pub add: bool,
    /// Where the paths among the sources are looked up.
    pub origin: Origin,
    /// What is copied, in the order of the instruction; heredocs come after everything else.
    pub sources: Vec<CopySource>,
    /// Absolute path in the root file system; a trailing slash says that it is a directory.
    pub dest: String,
    /// `--chown` as written, expanded; names are looked up in the root file system.
    pub chown: Option<String>,
    /// `--chmod` as written, expanded: octal or symbolic.
    pub chmod: Option<String>,
    /// `--link` in effect: the layer does not depend on what is below it.
    pub link: bool,
    /// `--parents`.
    pub parents: bool,
    /// `--if-exists`: paths that do not exist are left out.
    pub if_exists: bool,
    /// `--exclude`, in order.
    pub exclude: Vec<String>,
    /// `--unpack`, if given.
    pub unpack: Option<bool>,
    /// `--checksum`, if given.
    pub checksum: Option<String>,
    /// `--keep-git-dir`, if given.
    pub keep_git_dir: Option<bool>,
    /// `SOURCE_DATE_EPOCH`: the time of everything that is copied and made, in seconds since 1970; without one, files have
    /// the time of their source. What is extracted from an archive has that of the archive.
    pub created: Option<i64>,
}

impl Copy {
    /// Copies as an instruction without options does.
    pub fn new(origin: Origin, sources: Vec<CopySource>, dest: impl Into<String>) -> Self {
        Self {
            add: false,
            origin,
            sources,
            dest: dest.into(),
            chown: None,
            chmod: None,
            link: false,
            parents: false,
            if_exists: false,
            exclude: Vec::new(),
            unpack: None,
            checksum: None,
            keep_git_dir: None,
            created: None,
        }
    }
}

/// One source of a COPY or ADD.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CopySource {
    /// A path or a pattern in the origin.
    Path(String),
    /// A file made from a heredoc.
    Heredoc(Script),
    /// An http or https address (ADD).
    Url(String),
    /// A git repository's address (ADD).
    Git(String),
}

/// Whose files a COPY or a mount takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The build context.
    Context,
    /// A named build context.
    Named {
        /// Its name.
        name: String,
        /// The platform it is wanted for, if it is an image.
        platform: Option<Platform>,
    },
    /// The result of an earlier stage.
    Stage(StageId),
    /// An image.
    Image {
        /// Its name.
        reference: Reference,
        /// The platform it is wanted for.
        platform: Platform,
    },
    /// An empty root (`--mount=type=cache` without `from`, `from=scratch`).
    Scratch,
}

/// A directory that becomes the working directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workdir {
    /// Absolute and cleaned.
    pub path: String,
    /// USER in effect, who owns directories that are made; empty is root.
    pub user: String,
    /// `SOURCE_DATE_EPOCH`: the time of directories that are made, in seconds since 1970.
    pub created: Option<i64>,
}

impl Op {
    /// Returns the origins that the op takes contents from, in the order in which `StepKey::derive` wants their
    /// digests: of a COPY one for all its paths together and then one for each remote source; of a RUN one for each
    /// mount with an origin.
    pub fn origins(&self) -> Vec<&Origin> {
        match self {
            Self::Config | Self::Workdir(_) => Vec::new(),
            Self::Run(run) => run.mounts.iter().filter_map(Mount::origin).collect(),
            Self::Copy(copy) => vec![&copy.origin],
        }
    }
}
