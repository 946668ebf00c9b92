//! The options of `kiln build`; `check` takes them too.

use std::{num::NonZeroUsize, path::PathBuf, str::FromStr};

use engine::container::options::ByteSize;

use super::{
    refused::{Ignored, Options},
    surroundings::Surroundings,
};
use crate::{
    args::{LockMode, Network, Progress},
    command::{refused::Refused, run::options::Flag},
};

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Build {
    /// Name of the image, `name[:tag]`; may be given several times
    #[arg(short, long = "tag", value_name = "NAME")]
    pub(crate) tags: Vec<String>,
    /// The Dockerfile, `-` for standard input [default: PATH/Dockerfile]
    #[arg(short, long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// Value of an ARG; without `=VALUE` that of the environment variable
    #[arg(long = "build-arg", value_name = "NAME[=VALUE]")]
    pub(crate) build_args: Vec<String>,
    /// File of values of ARGs, NAME=VALUE a line, `#` for comments; --build-arg goes before it
    #[arg(long = "build-arg-file", value_name = "FILE")]
    pub(crate) build_arg_files: Vec<PathBuf>,
    /// Further build context: a directory, a git or http address, an image or an image of a layout
    #[arg(
        long = "build-context",
        value_name = "NAME=DIR|URL|docker-image://REFERENCE|oci-layout://DIR[:TAG]"
    )]
    pub(crate) build_contexts: Vec<String>,
    /// Stage to build [default: the last one]; may be given several times, then with names for each image: `--target app=name:1 --target tool=name`
    #[arg(long = "target", value_name = "STAGE[=NAME[,NAME]]")]
    pub(crate) targets: Vec<String>,
    /// Take no step from the cache
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false", hide_default_value = true, value_name = "BOOL")]
    pub(crate) no_cache: Flag,
    /// Take no step of these stages from the cache, nor of stages that start from them
    #[arg(long, value_name = "STAGE,…", value_delimiter = ',')]
    pub(crate) no_cache_filter: Vec<String>,
    /// Ask registries whether they have newer images than the store
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false", hide_default_value = true, value_name = "BOOL")]
    pub(crate) pull: Flag,
    /// Take bases for what kiln.lock in the context says that they stand for, and add those that it does not have; `update` asks about all of them anew, `frozen` adds none
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "use", value_name = "use|update|frozen")]
    pub(crate) lock: Option<LockMode>,
    /// Label of the image, over those of the Dockerfile
    #[arg(long = "label", value_name = "KEY=VALUE")]
    pub(crate) labels: Vec<String>,
    /// Annotation of the image's manifest, in outputs that have one, or of what TYPE says: manifest, manifest-descriptor, index, index-descriptor, each with `[PLATFORM]` for one alone
    #[arg(long = "annotation", value_name = "[TYPE[,TYPE]:]KEY=VALUE")]
    pub(crate) annotations: Vec<String>,
    #[command(flatten)]
    pub(crate) surroundings: Surroundings,
    /// Value for RUN --mount=type=secret: id=NAME[,src=FILE|env=VARIABLE]
    #[arg(long = "secret", value_name = "id=NAME,…")]
    pub(crate) secrets: Vec<String>,
    /// Agent for RUN --mount=type=ssh; without `=SOCKET` that of $SSH_AUTH_SOCK
    #[arg(long = "ssh", value_name = "default|ID[=SOCKET]")]
    pub(crate) ssh: Vec<String>,
    /// Let steps do what they ask for: network.host, security.insecure
    #[arg(long, value_name = "ENTITLEMENT", value_delimiter = ',')]
    pub(crate) allow: Vec<String>,
    /// What RUN reaches unless it says otherwise
    #[arg(long, value_enum, default_value = "default")]
    pub(crate) network: Network,
    /// What the image runs on [default: $DOCKER_DEFAULT_PLATFORM, or this machine]; several behind commas make one image of several platforms
    #[arg(long = "platform", value_name = "OS/ARCH[,…]", value_delimiter = ',')]
    pub(crate) platforms: Vec<String>,
    /// Write the image elsewhere too: type=oci|docker|local|tar[,dest=PATH,target=STAGE], type=image|registry[,push=true]; a bare PATH is a directory, `-` a tar to standard output
    #[arg(short, long = "output", value_name = "type=…")]
    pub(crate) outputs: Vec<String>,
    /// Push the image to the registries of its names: --output=type=registry
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false", hide_default_value = true, value_name = "BOOL")]
    pub(crate) push: Flag,
    /// How many bytes one download or checkout of a repository may have
    #[arg(long, value_name = "SIZE", default_value = "16g")]
    pub(crate) fetch_limit: ByteSize,
    /// How many steps run side by side, 0 for as many as there are [default: as many as the machine is not too busy for]
    #[arg(short, long, value_name = "N", env = "KILN_JOBS")]
    pub(crate) jobs: Option<Jobs>,
    /// How many bytes the store may have when a step begins: what is cached goes for that, unused for the longest time first
    #[arg(long, visible_alias = "keep-storage", value_name = "SIZE", env = "KILN_STORAGE_LIMIT")]
    pub(crate) storage_limit: Option<ByteSize>,
    /// How progress is shown
    #[arg(long, value_enum, default_value = "auto", env = "BUILDKIT_PROGRESS")]
    pub(crate) progress: Progress,
    /// Show no progress, print only the image's id
    #[arg(short, long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false", hide_default_value = true, value_name = "BOOL")]
    pub(crate) quiet: Flag,
    /// Check the Dockerfile instead of building it
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false", hide_default_value = true, value_name = "BOOL")]
    pub(crate) check: Flag,
    /// Answer a question about the Dockerfile instead of building it: check, outline, targets or subrequests.describe, with `,format=json` for programs
    #[arg(long, value_name = "METHOD[,format=…]")]
    pub(crate) call: Option<String>,
    /// Write the image's id to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) iidfile: Option<PathBuf>,
    /// Write what is known of the result to this file, as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) metadata_file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) ignored: Ignored,
    #[command(flatten)]
    pub(crate) refused: Refused<Options>,
    /// Build context: a directory, or the address of a git repository, a tar or a Dockerfile; `-` reads a Dockerfile or a tar of a context from standard input
    #[arg(value_name = "PATH|URL|-")]
    pub(crate) context: PathBuf,
}

/// `--jobs`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Jobs(pub(crate) NonZeroUsize);

impl FromStr for Jobs {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number: usize = text.parse().map_err(|_| "not a number of steps")?;
        // As `podman build` has it.
        Ok(Self(NonZeroUsize::new(number).unwrap_or(NonZeroUsize::MAX)))
    }
}
