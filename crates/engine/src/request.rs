//! What a build is asked for: the command line as values.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    num::NonZeroUsize,
    path::PathBuf,
};

use oci::{Platform, Reference};
use plan::{GitSource, Network};

use crate::{
    Cancel, Times,
    container::options::{HostEntry, Resources, Ulimit},
};

/// Everything that a build is asked for.
#[derive(Debug)]
pub struct BuildRequest {
    /// Where the Dockerfile is.
    pub dockerfile: DockerfileSource,
    /// Whose files COPY takes.
    pub context: ContextSource,
    /// `--build-context`: further places whose files can be taken, by name.
    pub named_contexts: BTreeMap<String, NamedContext>,
    /// `--build-arg`.
    pub build_args: BTreeMap<String, String>,
    /// `--target`: what to build, one at least.
    pub targets: Vec<Target>,
    /// `--no-cache`: nothing is taken from the cache.
    pub no_cache: bool,
    /// `--no-cache-filter`: the stages of which nothing is taken from the cache, whatever the case of their names.
    pub no_cache_filter: Vec<String>,
    /// `--pull`: registries are asked whether they have newer images, also of those that the store has.
    pub pull: bool,
    /// `--platform`: what the images run on, one at least.
    pub platforms: Vec<Platform>,
    /// `--label`: labels of the image, over those of the Dockerfile.
    pub labels: BTreeMap<String, String>,
    /// `--network`: what RUN reaches unless it says otherwise.
    pub network: Network,
    /// `--add-host`: further names that RUN knows.
    pub hosts: Vec<HostEntry>,
    /// `--ulimit`: limits of each process of a RUN.
    pub ulimits: Vec<Ulimit>,
    /// `--shm-size`: size of `/dev/shm` of a RUN, in bytes.
    pub shm_size: Option<u64>,
    /// `--resource`: what all processes of a RUN may use together.
    pub resources: Resources,
    /// `--secret`: values for `RUN --mount=type=secret`, by id.
    pub secrets: BTreeMap<String, Secret>,
    /// `--fetch-limit`: how many bytes one download or checkout may have. What is larger ends the build before more is
    /// written.
    pub fetch_limit: u64,
    /// `--storage-limit`: how many bytes the store may have when a step begins. What is cached is removed for that, and if it
    /// is not enough the step is not done.
    pub storage_limit: Option<u64>,
    /// The variables that `git` is started with, if it is needed: where programs are, which proxies and certificates
    /// there are, and the agent of ssh.
    pub git_env: BTreeMap<String, OsString>,
    /// `--ssh`: sockets of agents for `RUN --mount=type=ssh`, by id.
    pub ssh: BTreeMap<String, PathBuf>,
    /// `--allow`: what steps may do beyond what every step may.
    pub allow: BTreeSet<Entitlement>,
    /// `--jobs`: how many steps are done side by side; as many as the machine is not too busy for, if nothing is said.
    pub jobs: Option<NonZeroUsize>,
    /// How the build is ended from outside.
    pub cancel: Cancel,
}

/// A stage that becomes an image, for each platform one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The name of the stage; the last one if none is named.
    pub stage: Option<String>,
    /// The names of the image; the images for several platforms share them.
    pub tags: Vec<Reference>,
    /// The times in the image that is put into the store.
    pub times: Times,
}

/// What a step may do only if the one who builds says so, not the Dockerfile alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Entitlement {
    /// `security.insecure`: `RUN --security=insecure`.
    SecurityInsecure,
    /// `network.host`: `RUN --network=host`.
    NetworkHost,
}

impl Entitlement {
    /// Every entitlement, by the name that people give it.
    pub const ALL: [(&'static str, Self); 2] =
        [("security.insecure", Self::SecurityInsecure), ("network.host", Self::NetworkHost)];

    /// Returns the name that people give it.
    pub fn name(self) -> &'static str {
        match self {
            Self::SecurityInsecure => "security.insecure",
            Self::NetworkHost => "network.host",
        }
    }
}

/// Where a Dockerfile comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DockerfileSource {
    /// `Dockerfile`, or `dockerfile`, at the root of the context.
    InContext,
    /// A file of the host.
    File(PathBuf),
    /// A file at this path inside a context that is no directory of the host.
    Named(String),
    /// Text that was read already, from standard input.
    Text(Vec<u8>),
    /// An http or https address.
    Web(String),
}

/// Where a build context comes from.
#[derive(Debug)]
pub enum ContextSource {
    /// A directory of the host, read in place.
    Directory(PathBuf),
    /// A tar archive that was read already, compressed or not.
    Archive(Vec<u8>),
    /// A repository, or a directory of one.
    Git(GitSource),
    /// An http or https address: of an archive, or of a Dockerfile.
    Web(String),
    /// There is none.
    Nothing,
}

/// The value of a `--build-context`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NamedContext {
    /// A directory of the host.
    Directory(PathBuf),
    /// `docker-image://REFERENCE`: an image of the store.
    Image(Reference),
    /// `docker-image://scratch`: nothing.
    Scratch,
    /// `oci-layout://PATH[:TAG|@DIGEST]`: an image of a layout.
    Layout {
        /// The directory, or the archive of one.
        path: PathBuf,
        /// Which image in it: a tag, or a digest with its algorithm.
        name: Option<String>,
    },
    /// A repository, or a directory of one.
    Git(GitSource),
    /// An http or https address; the context has one file, `context`.
    Web(String),
}

impl ContextSource {
    /// Reads the address of a context that is not on this machine; `None` if it is a path.
    pub fn remote(value: &str) -> Result<Option<Self>, crate::Error> {
        match GitSource::parse(value) {
            Ok(Some(source)) => Ok(Some(Self::Git(source))),
            Ok(None) if is_web(value) => Ok(Some(Self::Web(value.to_owned()))),
            Ok(None) => Ok(None),
            Err(reason) => Err(crate::Error::GitAddress { address: plan::redact(value), reason }),
        }
    }
}

/// Whether a text is an http or https address.
pub fn is_web(value: &str) -> bool {
    value.starts_with("http://") || value.starts_with("https://")
}

impl NamedContext {
    /// Reads the value of `--build-context NAME=VALUE`; a relative path is relative to the working directory.
    pub fn parse(value: &str) -> Result<Self, crate::Error> {
        if let Some(reference) = value.strip_prefix("docker-image://") {
            if reference == "scratch" {
                return Ok(Self::Scratch);
            }
            return Ok(Self::Image(Reference::parse(reference)?));
        }
        if let Some(rest) = value.strip_prefix("oci-layout://") {
            let (path, name) = match (rest.split_once('@'), rest.rsplit_once(':')) {
                (Some((path, digest)), _) => (path, Some(digest)),
                (None, Some((path, tag))) if !tag.contains('/') => (path, Some(tag)),
                _ => (rest, None),
            };
            return Ok(Self::Layout { path: path.into(), name: name.map(str::to_owned) });
        }
        match ContextSource::remote(value)? {
            // Without a scheme it is a directory.
            Some(ContextSource::Git(source)) if !source.is_like_path() => Ok(Self::Git(source)),
            Some(ContextSource::Web(address)) => Ok(Self::Web(address)),
            _ if value.contains("://") => {
                let reason = "there are directories, git repositories, `https://…`, `docker-image://…` and `oci-layout://…`";
                Err(crate::Error::Context { value: value.to_owned(), reason })
            }
            _ => Ok(Self::Directory(value.into())),
        }
    }
}

/// A value that a step may see and no layer, record or log holds.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub Vec<u8>);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}
