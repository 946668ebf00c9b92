//! What can go wrong here, sorted by what the caller can do about it.

use std::io;
use std::path::PathBuf;

/// Why a sandbox could not be set up, or its program not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The program could not be executed: not there (`NotFound`), not executable
    /// (`PermissionDenied`), or not of a format the kernel knows (`ENOEXEC`). The author of the
    /// Dockerfile has to change something.
    #[error("exec: `{program}`")]
    Exec {
        /// `argv[0]`, as it was given.
        program: String,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The working directory is not there, is no directory, or leads out of the root.
    #[error("cannot enter the working directory `{path}`")]
    WorkingDirectory {
        /// As it was given.
        path: String,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// A mount of the [`crate::Spec`] cannot be made.
    #[error("cannot mount {kind} at `{target}`")]
    Mount {
        /// What was to be mounted, in a word or two.
        kind: String,
        /// Where, inside the root.
        target: String,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// A device of the host cannot be lent.
    #[error("cannot lend the device `{}`", path.display())]
    Device {
        /// Which.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// Something cannot be limited as [`crate::Spec::resources`] says.
    #[error("cannot limit {what}: {reason}")]
    Resources {
        /// What.
        what: String,
        /// Why not.
        reason: String,
        /// What the kernel said.
        #[source]
        source: Option<io::Error>,
    },
    /// A mount target that is never allowed: it would hide what isolates the sandbox.
    #[error("cannot mount at `{target}`: `/`, `/proc` and `/sys` are not for mounts")]
    MountTarget {
        /// Where, inside the root.
        target: String,
    },
    /// `/proc`, `/sys` or `/dev` of the image is something else than a directory.
    #[error("cannot use this root file system: `{path}` in it must be a directory")]
    NotADirectory {
        /// Inside the root.
        path: String,
    },
    /// A field of the [`crate::Spec`] that the kernel cannot be given.
    #[error("cannot run this: {field} {problem}")]
    Invalid {
        /// Which field.
        field: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// Another step of setting the sandbox up failed.
    #[error("cannot set up the sandbox: {action}")]
    Setup {
        /// What was tried.
        action: String,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// There are more layers than can be mounted on each other.
    #[error(
        "cannot mount {layers} layers as one file system: the kernel takes no more than {most}"
    )]
    TooManyLayers {
        /// How many there are.
        layers: usize,
        /// How many there may be.
        most: usize,
    },
    /// The layers cannot be mounted on each other.
    #[error("cannot mount {layers} layers as one file system: {action}")]
    Overlay {
        /// How many lower layers there were.
        layers: usize,
        /// What was tried, or what the kernel logged for this mount.
        action: String,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The supervisor process died or spoke nonsense: killed from outside, or a bug.
    #[error("the sandbox's supervisor ended without a word ({how})")]
    SupervisorLost {
        /// Its exit status.
        how: String,
    },
    /// The rung of the isolation ladder that was asked for does not work here.
    #[error("isolation `{}` does not work here", rung.name())]
    Isolation {
        /// Which.
        rung: crate::Rung,
        /// Why not, and what would help.
        #[source]
        source: Box<Error>,
    },
    /// A rung needs something that is not there.
    #[error("{what}; {hint}")]
    Lacking {
        /// What is missing.
        what: String,
        /// What would help.
        hint: String,
    },
    /// It cannot be told which user namespace this process is in.
    #[error(
        "cannot read `{path}`, which tells in what user namespace kiln is; a readable `/proc` has to be mounted"
    )]
    OwnIds {
        /// Which file.
        path: &'static str,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// Something that only a rung with namespaces and mounts can do.
    #[error(
        "{what} needs namespaces and mounts, which this isolation is without; `kiln doctor` tells what would allow them"
    )]
    NeedsNamespaces {
        /// What.
        what: String,
    },
    /// `newuidmap` or `newgidmap` is not installed.
    #[error(
        "cannot find `{program}`, which gives an ordinary user more than one user id; \
         install it (package `uidmap` or `shadow-utils`), or run as root"
    )]
    NoIdMapper {
        /// Which of the two.
        program: &'static str,
    },
    /// `newuidmap` or `newgidmap` refused.
    #[error("`{program}` cannot map the ids of `{user}`: {message}")]
    IdMapper {
        /// Which of the two.
        program: &'static str,
        /// The user it was for.
        user: String,
        /// What it printed, or its exit status.
        message: String,
    },
    /// The user has no range of subordinate ids.
    #[error(
        "user `{user}` has no range in `{file}`; as root: \
         usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {user}"
    )]
    NoIdRange {
        /// The user.
        user: String,
        /// `/etc/subuid` or `/etc/subgid`.
        file: &'static str,
    },
    /// The system does not let ordinary users make user namespaces.
    #[error("cannot make a user namespace: {hint}")]
    NoUserNamespace {
        /// Which setting forbids it, and how to change it.
        hint: String,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// `pasta`, the user-mode network, is missing or failed.
    #[error("cannot start the network of the build with `pasta`: {message}")]
    Pasta {
        /// What it printed.
        message: String,
        /// What the kernel said, when it could not even be started.
        #[source]
        source: Option<io::Error>,
    },
    /// A port of the host cannot lead into a network.
    #[error("cannot publish the port {place}")]
    Port {
        /// Which: address, port and protocol.
        place: String,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// A file of the host cannot be read or opened.
    #[error("cannot open `{}`", path.display())]
    HostFile {
        /// Which.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
}

impl Error {
    /// Returns a function for `map_err` that says what was tried.
    pub(crate) fn setup<E: Into<io::Error>>(action: &str) -> impl FnOnce(E) -> Error + '_ {
        move |source| Error::Setup { action: action.to_owned(), source: source.into() }
    }
}
