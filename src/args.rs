//! The command line as values; the only place that reads the environment.

use std::{
    collections::BTreeMap,
    env,
    ffi::OsString,
    path::{Path, PathBuf},
};

use clap::{Args as Group, Parser, Subcommand, ValueEnum};
use oci::Platform;
use sandbox::Rung;

/// Builds container images from Dockerfiles: no daemon, root or not, one binary.
#[derive(Debug, Parser)]
#[command(name = "kiln", version, about, disable_help_subcommand = true)]
pub(crate) struct Args {
    /// Where images and cached layers are kept [default: /var/lib/kiln as root, else $XDG_DATA_HOME/kiln]
    #[arg(long, env = "KILN_ROOT", value_name = "DIR", global = true)]
    pub(crate) root: Option<PathBuf>,
    #[command(subcommand)]
    pub(crate) command: Command,
}

impl Args {
    /// Returns the directory of the store.
    ///
    /// Returns an error if nothing says where an ordinary user's is.
    pub(crate) fn store_root(&self, rung: Rung) -> Result<PathBuf, NoHome> {
        if let Some(root) = &self.root {
            return Ok(root.clone());
        }
        if rung == Rung::Root {
            return Ok(PathBuf::from("/var/lib/kiln"));
        }
        let set = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let data = set("XDG_DATA_HOME").or_else(|| Some(set("HOME")?.join(".local/share")));
        data.map(|data| data.join("kiln")).ok_or(NoHome)
    }
}

/// Nothing says where the store is.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot tell where the store is: neither --root, $KILN_ROOT, $XDG_DATA_HOME nor $HOME is set"
)]
pub(crate) struct NoHome;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Build an image from a Dockerfile
    Build(Box<Build>),
    /// Say what could be better about a Dockerfile
    Check(Box<Check>),
    /// Run a command in a container made from an image
    Run(Run),
    /// Get an image from a registry
    Pull(Pull),
    /// List images
    Images(Images),
    /// Show what is known about images
    Inspect(Inspect),
    /// Show how an image was made
    History(History),
    /// Give an image a further name
    Tag(Tag),
    /// Remove images
    Rmi(Rmi),
    /// Write images to an archive
    Save(Save),
    /// Read images from an archive
    Load(Load),
    /// Make an image from a tar of a root file system
    Import(Import),
    /// Wait until the store is on the disk
    Sync(Sync),
}

#[derive(Debug, Group)]
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
    /// Stage to build [default: the last one]
    #[arg(long, value_name = "STAGE")]
    pub(crate) target: Option<String>,
    /// Take no step from the cache
    #[arg(long)]
    pub(crate) no_cache: bool,
    /// Label of the image, over those of the Dockerfile
    #[arg(long = "label", value_name = "KEY=VALUE")]
    pub(crate) labels: Vec<String>,
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
    /// What the image runs on [default: this machine]
    #[arg(long, value_name = "OS/ARCH")]
    pub(crate) platform: Option<String>,
    /// Write the image elsewhere too: type=oci|docker|local|tar[,dest=PATH]; a bare PATH is a directory, `-` a tar to standard output
    #[arg(short, long = "output", value_name = "type=…")]
    pub(crate) outputs: Vec<String>,
    /// How progress is shown
    #[arg(long, value_enum, default_value = "auto", env = "BUILDKIT_PROGRESS")]
    pub(crate) progress: Progress,
    /// Show no progress, print only the image's id
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// Check the Dockerfile instead of building it
    #[arg(long)]
    pub(crate) check: bool,
    /// Answer a question about the Dockerfile instead of building it: check, outline or targets, with `,format=json` for programs
    #[arg(long, value_name = "METHOD[,format=…]")]
    pub(crate) call: Option<String>,
    /// Write the image's id to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) iidfile: Option<PathBuf>,
    /// Build context: a directory, or the address of a git repository, a tar or a Dockerfile; `-` reads a Dockerfile or a tar of a context from standard input
    #[arg(value_name = "PATH|URL|-")]
    pub(crate) context: PathBuf,
}

#[derive(Debug, Group)]
pub(crate) struct Check {
    /// How findings are told
    #[arg(long, value_enum, default_value = "text")]
    pub(crate) format: Format,
    /// Say too what other builders would make of the Dockerfile
    #[arg(long)]
    pub(crate) portability: bool,
    /// What is asked of a build: all of it is accepted, so that `build` and `check` can take each other's place.
    #[command(flatten)]
    pub(crate) build: Build,
}

#[derive(Debug, Group)]
pub(crate) struct Run {
    /// Remove the container when it ends; containers are not kept yet, so this is always so
    #[arg(long)]
    pub(crate) rm: bool,
    /// Pass standard input on
    #[arg(short, long)]
    pub(crate) interactive: bool,
    /// Give the command a terminal
    #[arg(short, long)]
    pub(crate) tty: bool,
    /// Set a variable; without `=VALUE` to that of the environment variable
    #[arg(short, long = "env", value_name = "NAME[=VALUE]")]
    pub(crate) env: Vec<String>,
    /// Working directory
    #[arg(short, long, value_name = "DIR")]
    pub(crate) workdir: Option<String>,
    /// User, with an optional group
    #[arg(short, long, value_name = "USER[:GROUP]")]
    pub(crate) user: Option<String>,
    /// Replace the image's ENTRYPOINT
    #[arg(long, value_name = "PROGRAM")]
    pub(crate) entrypoint: Option<String>,
    /// Host name
    #[arg(long, value_name = "NAME")]
    pub(crate) hostname: Option<String>,
    /// What the command reaches
    #[arg(long, value_enum, default_value = "default")]
    pub(crate) network: Network,
    /// The image, and a command with its arguments instead of the image's CMD; options stand before the image
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        required = true,
        value_name = "IMAGE [COMMAND]"
    )]
    pub(crate) image_and_command: Vec<String>,
}

#[derive(Debug, Group)]
pub(crate) struct Pull {
    /// What the image shall run on [default: this machine]
    #[arg(long, value_name = "OS/ARCH")]
    pub(crate) platform: Option<String>,
    /// Print only the name
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// The image, `[host/]name[:tag]`
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
}

#[derive(Debug, Group)]
pub(crate) struct Images {
    /// Only ids
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// Whole ids
    #[arg(long)]
    pub(crate) no_trunc: bool,
    /// Digests of the manifests too
    #[arg(long)]
    pub(crate) digests: bool,
    /// Only this repository, or this name
    #[arg(value_name = "REPOSITORY[:TAG]")]
    pub(crate) name: Option<String>,
}

#[derive(Debug, Group)]
pub(crate) struct Inspect {
    /// The images
    #[arg(required = true, value_name = "IMAGE")]
    pub(crate) images: Vec<String>,
}

#[derive(Debug, Group)]
pub(crate) struct History {
    /// Whole texts and ids
    #[arg(long)]
    pub(crate) no_trunc: bool,
    /// Only ids
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// The image
    pub(crate) image: String,
}

#[derive(Debug, Group)]
pub(crate) struct Tag {
    /// The image
    pub(crate) source: String,
    /// Its further name, `name[:tag]`
    pub(crate) target: String,
}

#[derive(Debug, Group)]
pub(crate) struct Rmi {
    /// Remove an image with all its names
    #[arg(short, long)]
    pub(crate) force: bool,
    /// The images
    #[arg(required = true, value_name = "IMAGE")]
    pub(crate) images: Vec<String>,
}

#[derive(Debug, Group)]
pub(crate) struct Save {
    /// Where to; standard output if not given
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// The images
    #[arg(required = true, value_name = "IMAGE")]
    pub(crate) images: Vec<String>,
}

#[derive(Debug, Group)]
pub(crate) struct Load {
    /// The archive, or the directory of an OCI layout; standard input if not given
    #[arg(short, long, value_name = "FILE")]
    pub(crate) input: Option<PathBuf>,
    /// Print only the names
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

#[derive(Debug, Group)]
pub(crate) struct Sync {
    /// Seconds to wait first; what other commands write meanwhile is covered too
    #[arg(long, value_name = "SECONDS", default_value = "0")]
    pub(crate) after: u64,
}

#[derive(Debug, Group)]
pub(crate) struct Import {
    /// The tar, compressed or not; `-` for standard input
    #[arg(value_name = "TAR")]
    pub(crate) source: PathBuf,
    /// The image's name, `name[:tag]`
    #[arg(value_name = "NAME")]
    pub(crate) name: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Network {
    /// The outside, through a network of its own where pasta is installed
    Default,
    /// Nothing but its own loopback
    None,
    /// The host's network
    Host,
}

impl From<Network> for plan::Network {
    fn from(network: Network) -> Self {
        match network {
            Network::Default => Self::Default,
            Network::None => Self::None,
            Network::Host => Self::Host,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    Text,
    /// As `docker build --call=check,format=json`
    Json,
    /// SARIF 2.1.0, for code hosts
    Sarif,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Progress {
    /// A live view on a terminal, else plain
    Auto,
    /// A live view
    Tty,
    /// One readable stream
    Plain,
    /// Nothing
    #[value(alias = "none")]
    Quiet,
}

/// Splits `NAME=VALUE`; a bare NAME has the value of the environment variable, or none.
pub(crate) fn name_value(given: &str) -> Option<(String, String)> {
    match given.split_once('=') {
        Some((name, value)) => Some((name.to_owned(), value.to_owned())),
        None => Some((given.to_owned(), env::var(given).ok()?)),
    }
}

/// Returns the value of an environment variable as bytes.
pub(crate) fn variable(name: &str) -> Option<Vec<u8>> {
    use std::os::unix::ffi::OsStringExt;
    env::var_os(name).map(OsStringExt::into_vec)
}

/// Returns the variables that git gets: where programs are, how the network is reached, who vouches for hosts.
pub(crate) fn git_env() -> BTreeMap<String, OsString> {
    const NAMES: [&str; 14] = [
        "PATH",
        "http_proxy",
        "https_proxy",
        "no_proxy",
        "all_proxy",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "NO_PROXY",
        "ALL_PROXY",
        "SSL_CERT_FILE",
        "SSL_CERT_DIR",
        "GIT_SSL_CAINFO",
        "CURL_CA_BUNDLE",
        "SSH_AUTH_SOCK",
    ];
    let variable = |name: &str| Some((name.to_owned(), env::var_os(name)?));
    NAMES.into_iter().filter_map(variable).collect()
}

/// Returns what the environment says about registries: who one is there, and which proxies lead to them.
pub(crate) fn registry_options() -> Result<registry::Options, registry::Error> {
    let path = |name: &str| env::var_os(name).map(PathBuf::from);
    let text = |names: [&str; 2]| names.iter().find_map(|name| env::var(name).ok());
    let places = registry::Places {
        registry_auth_file: path("REGISTRY_AUTH_FILE"),
        docker_config: path("DOCKER_CONFIG"),
        xdg_runtime_dir: path("XDG_RUNTIME_DIR"),
        xdg_config_home: path("XDG_CONFIG_HOME"),
        home: path("HOME"),
    };
    Ok(registry::Options {
        credentials: registry::Credentials::load(&places.files())?,
        insecure_hosts: Vec::new(),
        proxies: registry::Proxies {
            http: text(["http_proxy", "HTTP_PROXY"]),
            https: text(["https_proxy", "HTTPS_PROXY"]),
            none: text(["no_proxy", "NO_PROXY"]),
        },
        authorities: registry::Authorities {
            bundle: path("SSL_CERT_FILE"),
            by_host: vec!["/etc/docker/certs.d".into(), "/etc/containers/certs.d".into()],
        },
        limits: registry::Limits::standard(),
        user_agent: concat!("kiln/", env!("CARGO_PKG_VERSION")).to_owned(),
    })
}

/// Whether colours and cursor movement are wanted (<https://no-color.org>).
pub(crate) fn wants_colour() -> bool {
    env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Returns the platform that was asked for, or this machine's.
pub(crate) fn platform(given: Option<&str>) -> Result<Platform, oci::Error> {
    given.map_or_else(|| Ok(Platform::host()), Platform::parse)
}

/// Returns where files go that nobody needs for long.
pub(crate) fn temporary_directory() -> PathBuf {
    env::temp_dir()
}

/// Whether a path stands for standard input or output.
pub(crate) fn is_stream(path: &Path) -> bool {
    path == Path::new("-")
}
