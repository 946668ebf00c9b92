//! The command line as values: what holds for all commands. The options of one command are in its file below `command`.

pub(crate) mod group;
mod limit;

use std::{env, ffi::OsString, path::PathBuf};

use clap::{
    CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum, builder::FalseyValueParser,
};
use sandbox::Rung;

use crate::{
    command::{
        Attach, Build, Check, Commit, Completion, Copy, Cp, Create, Df, Diff, Doctor, Exec, Export,
        Fsck, History, Images, Import, Info, Inspect, Keep, Kill, Load, Login, Logout, Logs,
        NOT_RUN, Pause, Port, Prune, Ps, Pull, Push, Rename, Restart, Rm, Rmi, Run, Save, Search,
        Start, Stats, Stop, Sync, Tag, Top, Version, VolumeArgs, Wait,
    },
    report::Exit,
};

pub(crate) use self::limit::LimitSetting;

/// Builds container images from Dockerfiles: no daemon, root or not, one binary.
#[derive(Debug, Parser)]
#[command(name = "kiln", version, about, disable_version_flag = true)]
pub(crate) struct Args {
    /// Where images and cached layers are kept [default: /var/lib/kiln as root, else $XDG_DATA_HOME/kiln]
    #[arg(long, env = "KILN_ROOT", value_name = "DIR", global = true)]
    pub(crate) root: Option<PathBuf>,
    /// Keep off the network: what is not here already is an error. What commands in containers do is not meant
    #[arg(long, env = "KILN_OFFLINE", value_parser = FalseyValueParser::new(), global = true)]
    pub(crate) offline: bool,
    /// How steps are isolated: `auto`, or a rung that `kiln doctor` lists
    #[arg(long, env = "KILN_ISOLATION", value_name = "RUNG", value_parser = isolation, global = true, hide_env_values = true)]
    pub(crate) isolation: Option<Isolation>,
    /// Take more, or less, of what comes from elsewhere or is built than usual; a name that does not exist lists those that do
    #[arg(
        long = "max",
        env = "KILN_MAX",
        value_name = "NAME=NUMBER",
        value_delimiter = ',',
        global = true
    )]
    pub(crate) limits: Vec<LimitSetting>,
    /// Print version
    #[arg(short = 'v', short_alias = 'V', long, action = clap::ArgAction::Version)]
    version: Option<bool>,
    #[command(subcommand)]
    pub(crate) command: Command,
}

impl Args {
    /// Reads the command line; what is wrong with it, and help, is told here.
    ///
    /// A command that ends as another program does has a status of its own for that: Docker's.
    pub(crate) fn read() -> Result<Self, Exit> {
        let given: Vec<_> = env::args_os().collect();
        let mut words = words_of(given.get(1..).unwrap_or_default());
        let first = words.next();
        if let Some(args) = first.and_then(|name| Self::read_one(name, given.clone())) {
            return Ok(args);
        }
        Self::try_parse().map_err(|error| {
            // Where nobody listens, the status has to do.
            let _ = error.print();
            let command = match first {
                // By its longer name.
                Some("container") => words.next(),
                command => command,
            };
            match command {
                _ if !error.use_stderr() => Exit::Done,
                Some("run" | "exec") => Exit::Command(NOT_RUN),
                _ => Exit::Usage,
            }
        })
    }

    /// Reads the command line as one of this command, whose name it is, and `None` if there is anything to be said about it: the
    /// same without the other fifty, to each of which clap would give the options that all have.
    fn read_one(name: &str, given: Vec<OsString>) -> Option<Self> {
        let all = Self::command();
        let command = all.find_subcommand(name)?.clone();
        let kiln = clap::Command::new(all.get_name().to_owned());
        let kiln = kiln.version(all.get_version()?.to_owned()).disable_version_flag(true);
        let kiln = kiln.args(all.get_arguments().cloned()).subcommand(command);
        Self::from_arg_matches(&kiln.try_get_matches_from(given).ok()?).ok()
    }

    /// Returns the directory of the store.
    ///
    /// Returns an error if nothing says where an ordinary user's is.
    pub(crate) fn store_root(&self, rung: Rung) -> Result<PathBuf, NoHome> {
        if let Some(root) = &self.root {
            return Ok(root.clone());
        }
        let is_root = !rung.is_in_user_namespace() && rustix::process::geteuid().is_root();
        if is_root {
            return Ok(PathBuf::from("/var/lib/kiln"));
        }
        let set = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let data = set("XDG_DATA_HOME").or_else(|| Some(set("HOME")?.join(".local/share")));
        data.map(|data| data.join("kiln")).ok_or(NoHome)
    }
}

/// The words of a command line that are neither options nor, as far as one can tell, their values.
fn words_of(words: &[OsString]) -> impl Iterator<Item = &str> {
    let is_value = |place: usize| {
        let before = place.checked_sub(1).and_then(|before| words[before].to_str());
        matches!(before, Some("--root" | "--max" | "--isolation"))
    };
    let texts = words.iter().enumerate().filter_map(|(place, word)| Some((place, word.to_str()?)));
    texts
        .filter(move |(place, word)| !word.starts_with('-') && !is_value(*place))
        .map(|(_, word)| word)
}

/// Which rung of the isolation ladder is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Isolation(pub(crate) Option<Rung>);

/// Reads `--isolation`; `default` is Docker's word for what one gets anyway.
fn isolation(text: &str) -> Result<Isolation, String> {
    if matches!(text, "" | "auto" | "default") {
        return Ok(Isolation(None));
    }
    Rung::parse(text).map(|rung| Isolation(Some(rung))).ok_or_else(|| {
        let names: Vec<&str> = Rung::ALL.into_iter().map(Rung::name).collect();
        format!("it is `auto` or one of {}", names.join(", "))
    })
}

/// Nothing says where the store is.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot tell where the store is: neither --root, $KILN_ROOT, $XDG_DATA_HOME nor $HOME is set"
)]
pub(crate) struct NoHome;

// The options of some fifty commands are a million bytes to fill; each start needs those of one.
#[derive(Debug, Subcommand)]
#[command(defer = true)]
pub(crate) enum Command {
    /// Build an image from a Dockerfile
    #[command(args_override_self = true)]
    Build(Box<Build>),
    /// Say what could be better about a Dockerfile
    #[command(args_override_self = true)]
    Check(Box<Check>),
    /// Run a command in a container made from an image
    #[command(args_override_self = true)]
    Run(Box<Run>),
    /// Make a container, to be started later
    #[command(args_override_self = true)]
    Create(Box<Create>),
    /// Start containers
    Start(Start),
    /// Stop containers
    Stop(Stop),
    /// Stop containers and start them again
    Restart(Restart),
    /// Send containers a signal
    Kill(Kill),
    /// Let every process of containers stand still
    Pause(Pause),
    /// Let paused containers go on
    Unpause(Pause),
    /// Wait for the end of containers, and print their exit codes
    Wait(Wait),
    /// Run a command in a container that runs
    #[command(args_override_self = true)]
    Exec(Box<Exec>),
    /// Show a container that runs, and give it input
    Attach(Attach),
    /// Show what a container has written
    Logs(Logs),
    /// List containers
    Ps(Ps),
    /// Show the processes of a container
    Top(Top),
    /// Show what containers use of the machine
    Stats(Stats),
    /// Show which ports of the host lead to a container
    Port(Port),
    /// Remove containers
    Rm(Rm),
    /// Give a container another name
    Rename(Rename),
    /// Make an image from a container
    Commit(Box<Commit>),
    /// Copy files between a container and the host
    Cp(Cp),
    /// Show what a container has changed in its file system
    Diff(Diff),
    /// Write the file system of a container as a tar
    Export(Export),
    /// Directories that containers share
    Volume(VolumeArgs),
    /// Get an image from a registry
    Pull(Pull),
    /// Send an image to a registry
    Push(Push),
    /// Copy an image from one registry to another
    Copy(Copy),
    /// Find images in a registry
    Search(Search),
    /// Log in to a registry
    Login(Login),
    /// Log out of a registry
    Logout(Logout),
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
    /// Say how steps can be isolated on this machine, and what would help
    Doctor(Doctor),
    /// Read images from an archive
    Load(Load),
    /// Make an image from a tar of a root file system
    Import(Import),
    /// Show what takes how much room
    Df(Df),
    /// Remove what is not used
    Prune(Prune),
    /// Check that what is in the store is whole, and repair it
    Fsck(Fsck),
    /// Wait until the store is on the disk
    Sync(Sync),
    /// Show what is in the store, and what kind of machine this is
    Info(Info),
    /// Show the version
    Version(Version),
    /// Print what a shell needs to complete command lines
    Completion(Completion),
    /// What can be done with images, by Docker's longer names
    #[command(hide = true, subcommand)]
    Image(group::Image),
    /// What can be done with containers, by Docker's longer names
    #[command(hide = true, subcommand)]
    Container(group::Container),
    /// What can be done with builds, by Docker's longer names
    #[command(hide = true, subcommand, alias = "buildx")]
    Builder(group::Builder),
    /// What can be done with all of it, by Docker's longer names
    #[command(hide = true, subcommand)]
    System(group::System),
    /// Keep a container that runs
    #[command(hide = true)]
    Keep(Keep),
}

impl Command {
    /// Whether it ends as a container's command does: `run`, by whichever of its names.
    pub(crate) fn runs(&self) -> bool {
        matches!(self, Self::Run(_) | Self::Container(group::Container::Run(_)))
    }
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
pub(crate) enum LockMode {
    /// Add what is not there
    Use,
    /// Ask about everything anew
    Update,
    /// What is not there is an error
    Frozen,
}

impl From<LockMode> for engine::LockMode {
    fn from(mode: LockMode) -> Self {
        match mode {
            LockMode::Use => Self::Use,
            LockMode::Update => Self::Update,
            LockMode::Frozen => Self::Frozen,
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
    /// BuildKit's JSON, a line for whatever happens
    Rawjson,
    /// Nothing
    #[value(alias = "none")]
    Quiet,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_is_the_first_word_that_is_no_option() {
        let check = |line: &str, expected: &[&str]| {
            let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            assert_eq!(words_of(&words).collect::<Vec<_>>(), expected, "{line}");
        };
        check("build .", &["build", "."]);
        check("--root /x build", &["build"]);
        check("--root=/x --offline --max layers=3 container run", &["container", "run"]);
        check("--isolation chroot -v", &[]);
    }

    /// What is read of one command alone is what is read of all of them.
    #[test]
    fn one_command_is_read_as_among_all() {
        let commands = Args::command();
        for command in commands.get_subcommands() {
            for name in [command.get_name()].into_iter().chain(command.get_all_aliases()) {
                assert!(commands.find_subcommand(name).is_some(), "{name}");
            }
        }
        for line in [
            "kiln build --root /x -t a -t b --build-arg A=1 --no-cache --progress plain .",
            "kiln --root=/x --max layers=3,layer-bytes=1k --offline build -q .",
            "kiln run --rm -it -v /a:/b busybox sh -c x -- y",
            "kiln buildx build .",
            "kiln image ls -q",
            "kiln tag a b",
        ] {
            let words = || line.split(' ');
            let all = Args::try_parse_from(words()).unwrap();
            let given: Vec<OsString> = words().map(OsString::from).collect();
            let name = words_of(&given[1..]).next().unwrap();
            let one = Args::read_one(name, given.clone()).unwrap();
            assert_eq!(format!("{one:?}"), format!("{all:?}"), "{line}");
        }
        for line in
            ["kiln", "kiln build", "kiln build --help", "kiln nosuch", "kiln build --nosuch ."]
        {
            let given: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            let name = words_of(&given[1..]).next().unwrap_or_default();
            assert!(Args::read_one(name, given.clone()).is_none(), "{line}");
        }
    }
}
