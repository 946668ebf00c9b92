//! What can go wrong with a build, by who can do something about it.

use std::{io, path::PathBuf};

use dockerfile::{Diagnostic, Failed, Source};
use oci::{Digest, Platform};
use plan::GitMistake;
use thiserror::Error;

use crate::{LimitName, Obstacle};

/// An error of the engine. After any of them the store is as if the failed step had never begun; earlier steps stay cached.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// The store refused.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// A directory or an archive refused.
    #[error(transparent)]
    Files(filetree::Error),
    /// The kernel refused.
    #[error(transparent)]
    Sandbox(#[from] sandbox::Error),

    /// A command is to be run where nothing can be.
    #[error("cannot run commands here: {}", reasons.join("; "))]
    NothingRuns {
        /// Why each rung of the isolation ladder does not work.
        reasons: Vec<String>,
    },
    /// A registry refused, or cannot be reached.
    #[error(transparent)]
    Registry(#[from] registry::Error),
    /// A name or a document is malformed.
    #[error(transparent)]
    Words(#[from] oci::Error),
    /// The Dockerfile is wrong; its author has to change it.
    #[error(transparent)]
    Dockerfile(#[from] Box<Mistake>),
    /// An image that the Dockerfile names cannot be had.
    #[error("{source}")]
    Base {
        /// Where it is named.
        mistake: Box<Mistake>,
        /// Why not.
        source: Box<Error>,
    },
    /// What cannot be removed takes more than the store may have.
    #[error("the limit of the store is {limit} bytes, and what has to stay takes {size}")]
    StorageLimit {
        /// The limit.
        limit: u64,
        /// How many bytes there are.
        size: u64,
    },
    /// A layer is not what it was when it was made.
    #[error("the layer `{id}` is damaged: {reason}{}", of_users(users))]
    DamagedLayer {
        /// The layer.
        id: store::SnapshotId,
        /// What is wrong with it.
        reason: String,
        /// Who uses it.
        users: Vec<String>,
    },
    /// A step failed.
    #[error("cannot do the step `{title}`")]
    Step {
        /// The instruction.
        title: String,
        /// Where it stands.
        place: Place,
        /// Why.
        #[source]
        source: Box<Error>,
    },
    /// A command ended with another status than 0.
    #[error("process \"{command}\" did not complete successfully: {ending}")]
    Command {
        /// The program and its arguments.
        command: String,
        /// Its status, or 128 and the number of the signal that ended it, as shells count.
        code: i32,
        /// How it ended, in words.
        ending: String,
        /// The last lines that it wrote.
        tail: Vec<String>,
        /// Whether there was no room left in the store by then.
        disk_full: bool,
    },
    /// An image that is neither in the store nor to be had elsewhere.
    #[error("image `{name}` is not in the store")]
    NoSuchImage {
        /// Its name.
        name: String,
    },
    /// An image that is not in the store, and could not be pulled.
    #[error("cannot pull `{name}`, which is not in the store")]
    NotPulled {
        /// Its name.
        name: String,
        /// Why not.
        #[source]
        source: Box<Error>,
    },
    /// An image is there, or to be had, for other platforms only.
    #[error("image `{name}` is for {}, and not for {wanted}", list(there))]
    OtherPlatform {
        /// Its name.
        name: String,
        /// The platform it is wanted for.
        wanted: Box<Platform>,
        /// The platforms it is there for.
        there: Vec<Platform>,
        /// Why it was not to be had for the wanted one elsewhere, if that was tried.
        #[source]
        source: Option<Box<Error>>,
    },
    /// A command for a platform whose programs do not run here. It was not started.
    #[error(
        "cannot run commands for {platform} on this machine ({}): {obstacle}",
        Platform::host()
    )]
    Foreign {
        /// The platform.
        platform: Box<Platform>,
        /// Why not.
        obstacle: Obstacle,
    },
    /// An image of which a registry could not be asked whether it has a newer one.
    #[error("cannot find out whether there is a newer `{name}`")]
    NotNewest {
        /// Its name.
        name: String,
        /// Why not.
        #[source]
        source: Box<Error>,
    },
    /// A build context that cannot be used.
    #[error("cannot use `{value}` as a build context: {reason}")]
    Context {
        /// As it was given.
        value: String,
        /// Why not, and what to give instead.
        reason: &'static str,
    },
    /// The Dockerfile asks for findings of the checks to be errors, and there are some.
    #[error("{}", .0.diagnostic)]
    Checks(Box<Mistake>),
    /// The Dockerfile cannot be read.
    #[error("cannot read the Dockerfile `{}`", path.display())]
    ReadDockerfile {
        /// Where it was looked for.
        path: PathBuf,
        /// A file that was probably meant.
        nearest: Option<PathBuf>,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A line of an ignore file is no pattern.
    #[error("cannot use line {line} of `{}`", path.display())]
    IgnoreFile {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What is wrong with it.
        #[source]
        source: filetree::BadPatternLine,
    },
    /// A file of the host cannot be used.
    #[error("cannot {action} `{}`", path.display())]
    Io {
        /// What was attempted, as a verb.
        action: &'static str,
        /// With which path.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// An archive that is neither an OCI layout nor a docker archive, or whose parts do not fit together.
    #[error("cannot load `{name}`: {reason}")]
    Archive {
        /// The archive.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A layer that cannot be unpacked.
    #[error("cannot unpack the layer `{name}`")]
    Layer {
        /// Its file or digest.
        name: String,
        /// Why not.
        #[source]
        source: Box<filetree::Error>,
    },
    /// More than a limit allows of what comes from elsewhere.
    #[error("`{name}` has more than {allowed} {unit}")]
    Limit {
        /// What it is that has too much.
        name: String,
        /// The limit.
        limit: LimitName,
        /// How much it allows.
        allowed: u64,
        /// Of what.
        unit: &'static str,
    },
    /// Something in the Dockerfile that this version does not do.
    #[error("{feature} is not supported yet")]
    Unsupported {
        /// What.
        feature: String,
    },
    /// The address of a repository is wrong.
    #[error("cannot use the git repository `{address}`: {reason}")]
    GitAddress {
        /// The address, its password masked.
        address: String,
        /// What is wrong with it.
        reason: GitMistake,
    },
    /// There is no program `git`, or it does not start.
    #[error("cannot run `git`, which fetches `{address}`: is it installed?")]
    NoGit {
        /// The repository, its password masked.
        address: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A repository is wanted, and the network is not to be used.
    #[error("cannot fetch `{address}`: kiln is to keep off the network (--offline, KILN_OFFLINE)")]
    Offline {
        /// The repository, its password masked.
        address: String,
    },
    /// The lock does not say what a name stands for, and nothing may be added to it.
    #[error("`{name}` is not in `{}`: {reason}", path.display())]
    NotLocked {
        /// The name of an image.
        name: String,
        /// The lock's file.
        path: PathBuf,
        /// Why it is not added.
        reason: &'static str,
    },
    /// The lock cannot be understood.
    #[error("cannot use `{}`, line {line}: {reason}", path.display())]
    Lock {
        /// Its file.
        path: PathBuf,
        /// Where, counted from 1.
        line: usize,
        /// What is wrong there.
        reason: &'static str,
    },
    /// git refused, or the repository cannot be reached.
    #[error("cannot {action} `{address}`: {said}")]
    Git {
        /// What was attempted, as a verb.
        action: &'static str,
        /// The repository, its password masked.
        address: String,
        /// What git says about it.
        said: String,
    },
    /// The repository is there, but not what is wanted of it.
    #[error("repository `{address}` does not contain {wanted}")]
    NotInRepository {
        /// The repository, its password masked.
        address: String,
        /// What was looked for: `ref x`, `the directory x`.
        wanted: String,
    },
    /// A file of the web or a repository is larger than what may be fetched.
    #[error("cannot fetch `{address}`: it has more than {limit} bytes")]
    FetchLimit {
        /// Where it is, without user and password.
        address: String,
        /// How many bytes are accepted.
        limit: u64,
    },
    /// A commit is not the one that was asked for.
    #[error("cannot use `{address}`: expected checksum to match {expected}, got {actual}")]
    Commit {
        /// The repository, its password masked.
        address: String,
        /// What its id should begin with.
        expected: String,
        /// Its id.
        actual: String,
    },
    /// A file of the web is not the one that was asked for.
    #[error("cannot use `{address}`: its checksum is wrong: digest mismatch {actual}: {expected}")]
    Checksum {
        /// Its address, without user and password.
        address: String,
        /// The digest asked for.
        expected: Box<Digest>,
        /// Its digest.
        actual: Box<Digest>,
    },
    /// Two places ask for different things.
    #[error("cannot use `{address}`: inconsistent {what} configuration: {first} and {second}")]
    Inconsistent {
        /// What is asked for, its password masked.
        address: String,
        /// The flag, which is also a key of the address.
        what: &'static str,
        /// The flag's value.
        first: String,
        /// The address's value.
        second: String,
    },
    /// A step wants to do what only the one who builds may allow.
    #[error("{} is not allowed", entitlement.name())]
    NotAllowed {
        /// What it wants.
        entitlement: crate::Entitlement,
    },
    /// A secret that a step requires was not given.
    #[error("secret {id}: not found")]
    NoSecret {
        /// Its id.
        id: String,
        /// One that was given, and is called nearly the same.
        nearest: Option<String>,
    },
    /// What the keeper of a container says went wrong.
    #[error("{text}")]
    Keeper {
        /// Its words.
        text: String,
        /// What the kernel said to it, if it did.
        errno: Option<i32>,
        /// The cause, in its words.
        #[source]
        source: Option<Box<Error>>,
    },
    /// The keeper of a container ended without a word: killed from outside, or a bug.
    #[error("the process that keeps the container `{name}` was killed, and the container with it")]
    KeeperLost {
        /// The container's name.
        name: String,
    },
    /// The keeper of a container stands still, and nothing can be asked of it.
    #[error(
        "the process that keeps the container `{name}` was stopped by a signal: let it go on with `kill -CONT {keeper}`, or end the \
         container with `kiln kill {name}`"
    )]
    KeeperStopped {
        /// The container's name.
        name: String,
        /// The keeper's process id.
        keeper: i32,
    },
    /// The keeper of a container does not answer, for a reason that cannot be seen.
    #[error(
        "the process that keeps the container `{name}` has not answered within {seconds} seconds: it may be frozen, or the machine busy; \
         try again, or end the container with `kiln kill {name}`"
    )]
    KeeperSilent {
        /// The container's name.
        name: String,
        /// How long was waited.
        seconds: u64,
    },
    /// Something that only a running container can do.
    #[error("container `{name}` is not running")]
    NotRunning {
        /// Its name.
        name: String,
    },
    /// Something that only a running container can do, while it is about to be started again.
    #[error("container `{name}` is restarting, wait until the container is running")]
    Restarting {
        /// Its name.
        name: String,
    },
    /// Something that a container cannot do while it stands still.
    #[error("container `{name}` is paused, unpause the container before")]
    Paused {
        /// Its name.
        name: String,
    },
    /// A container that stands still shall stand still.
    #[error("container `{name}` is already paused")]
    AlreadyPaused {
        /// Its name.
        name: String,
    },
    /// A container that does not stand still shall go on.
    #[error("container `{name}` is not paused")]
    NotPaused {
        /// Its name.
        name: String,
    },
    /// Something that a running container has to be stopped for.
    #[error("cannot remove container `{name}`: it is running; stop it before, or use `rm --force`")]
    Running {
        /// Its name.
        name: String,
    },
    /// A container that is ending, and has not come to an end.
    #[error(
        "container `{name}` has not ended within {seconds} seconds: a process of it, or its keeper, may wait for a disk or a file \
         system that does not answer; try again"
    )]
    NotEnded {
        /// Its name.
        name: String,
        /// How long was waited.
        seconds: u64,
    },
    /// The record of a container holds what this version does not know.
    #[error("cannot read the record of container `{id}`")]
    ContainerRecord {
        /// Its id.
        id: String,
        /// Why not.
        #[source]
        source: serde_json::Error,
    },
    /// Options of a container make no sense.
    #[error(transparent)]
    Option(#[from] crate::container::options::BadOption),
    /// A directory or file of the host that `--mount type=bind` names is not there.
    #[error("invalid mount config for type \"bind\": bind source path does not exist: {}", path.display())]
    NoBindSource {
        /// The path.
        path: PathBuf,
    },
    /// Ports cannot lead to a container.
    #[error("cannot publish ports: {reason}")]
    NoPorts {
        /// What is missing, and how to get it.
        reason: String,
    },
    /// Nothing stands for the machine that a container runs on.
    #[error("unable to derive the IP value for host-gateway")]
    NoHostGateway,
    /// A volume that containers have, running or not.
    #[error("volume `{name}` is in use: [{}]", containers.join(", "))]
    VolumeInUse {
        /// Its name.
        name: String,
        /// The ids of the containers.
        containers: Vec<String>,
    },
    /// Something cannot be copied from or to a place.
    #[error("cannot copy: {place}: {reason}")]
    Transfer {
        /// The place: a path, with the container in front that it is in.
        place: String,
        /// Why not.
        reason: String,
    },
    /// What shall change a config is no instruction that does.
    #[error("cannot apply the change `{change}`: {reason}")]
    Change {
        /// The instruction.
        change: String,
        /// What is wrong with it.
        reason: String,
    },
    /// An image without CMD and ENTRYPOINT is run without a command.
    #[error("no command specified: the image has neither CMD nor ENTRYPOINT")]
    NoCommand,
    /// An ssh agent that a step requires was not given.
    #[error("ssh agent {id} not found")]
    NoAgent {
        /// Its id.
        id: String,
    },
    /// `SOURCE_DATE_EPOCH` is no time that an image config can hold.
    #[error("invalid SOURCE_DATE_EPOCH: {seconds} is no time in the years -9999 to 9999")]
    Epoch {
        /// Its value.
        seconds: i64,
    },
    /// The end was asked for from outside.
    #[error("cancelled")]
    Cancelled,
    /// A task ended without a result.
    #[error("internal error: {what} ended without a result; please report it")]
    Lost {
        /// Which task.
        what: &'static str,
    },
}

impl From<filetree::Error> for Error {
    fn from(error: filetree::Error) -> Self {
        match error {
            // Only by who ends the build.
            filetree::Error::Stopped => Self::Cancelled,
            error => Self::Files(error),
        }
    }
}

impl Error {
    pub(crate) fn io(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { action, path: path.into(), source }
    }

    pub(crate) fn errno(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(rustix::io::Errno) -> Self {
        move |source| Self::Io { action, path: path.into(), source: source.into() }
    }
}

fn of_users(users: &[String]) -> String {
    if users.is_empty() { String::new() } else { format!(" ({})", users.join("; ")) }
}

fn list(platforms: &[Platform]) -> String {
    let names: Vec<String> = platforms.iter().map(Platform::to_string).collect();
    names.join(" and ")
}

/// A mistake in a Dockerfile, with the text to show it in.
#[derive(Debug)]
pub struct Mistake {
    /// The text.
    pub source: Source,
    /// What is wrong, and where.
    pub diagnostic: Diagnostic,
}

impl std::fmt::Display for Mistake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.diagnostic.lines {
            Some((line, _)) => {
                let line = self.source.line_in_words(line);
                write!(f, "dockerfile parse error on {line}: {}", self.diagnostic)
            }
            None => write!(f, "{}", self.diagnostic),
        }
    }
}

impl std::error::Error for Mistake {}

impl From<Failed> for Error {
    fn from(failed: Failed) -> Self {
        Self::Dockerfile(Box::new(Mistake { source: failed.source, diagnostic: failed.diagnostic }))
    }
}

/// Where an instruction stands.
#[derive(Debug, Clone)]
pub struct Place {
    /// The Dockerfile.
    pub source: Source,
    /// First and last line, counted from 1 over the whole source.
    pub lines: (usize, usize),
}
