//! Docker's longer names of commands: `image ls`, `container rm`, `builder prune`, `system df`. Each is one of the commands of
//! [`Command`], and nothing by itself.

use clap::Subcommand;

use super::Command;
use crate::command::{
    Attach, Build, BuilderPrune, Commit, ContainerPrune, Cp, Create, Df, Diff, Exec, Export,
    History, ImagePrune, Images, Import, Info, Inspect, InspectKind, Kill, Load, Logs, Pause, Port,
    Prune, Ps, Pull, Push, Rename, Restart, Rm, Rmi, Run, Save, Start, Stats, Stop, Tag, Top, Wait,
};

#[derive(Debug, Subcommand)]
#[command(defer = true)]
pub(crate) enum Image {
    /// Build an image from a Dockerfile
    #[command(args_override_self = true)]
    Build(Box<Build>),
    /// Show how an image was made
    History(History),
    /// Make an image from a tar of a root file system
    Import(Import),
    /// Show what is known about images
    Inspect(Inspect),
    /// Read images from an archive
    Load(Load),
    /// List images
    #[command(visible_alias = "list")]
    Ls(Images),
    /// Remove images that are not used
    Prune(ImagePrune),
    /// Get an image from a registry
    Pull(Pull),
    /// Send an image to a registry
    Push(Push),
    /// Remove images
    #[command(visible_alias = "remove")]
    Rm(Rmi),
    /// Write images to an archive
    Save(Save),
    /// Give an image a further name
    Tag(Tag),
}

#[derive(Debug, Subcommand)]
#[command(defer = true)]
pub(crate) enum Container {
    /// Show a container that runs, and give it input
    Attach(Attach),
    /// Make an image from a container
    Commit(Box<Commit>),
    /// Copy files between a container and the host
    Cp(Cp),
    /// Make a container, to be started later
    #[command(args_override_self = true)]
    Create(Box<Create>),
    /// Show what a container has changed in its file system
    Diff(Diff),
    /// Run a command in a container that runs
    #[command(args_override_self = true)]
    Exec(Box<Exec>),
    /// Write the file system of a container as a tar
    Export(Export),
    /// Show what is known about containers
    Inspect(Inspect),
    /// Send containers a signal
    Kill(Kill),
    /// Show what a container has written
    Logs(Logs),
    /// List containers
    #[command(visible_aliases = ["list", "ps"])]
    Ls(Ps),
    /// Let every process of containers stand still
    Pause(Pause),
    /// Show which ports of the host lead to a container
    Port(Port),
    /// Remove containers that do not run
    Prune(ContainerPrune),
    /// Give a container another name
    Rename(Rename),
    /// Stop containers and start them again
    Restart(Restart),
    /// Remove containers
    #[command(visible_alias = "remove")]
    Rm(Rm),
    /// Run a command in a container made from an image
    #[command(args_override_self = true)]
    Run(Box<Run>),
    /// Start containers
    Start(Start),
    /// Show what containers use of the machine
    Stats(Stats),
    /// Stop containers
    Stop(Stop),
    /// Show the processes of a container
    Top(Top),
    /// Let paused containers go on
    Unpause(Pause),
    /// Wait for the end of containers, and print their exit codes
    Wait(Wait),
}

#[derive(Debug, Subcommand)]
#[command(defer = true)]
pub(crate) enum Builder {
    /// Build an image from a Dockerfile
    #[command(args_override_self = true)]
    Build(Box<Build>),
    /// Remove what is cached
    Prune(BuilderPrune),
}

#[derive(Debug, Subcommand)]
#[command(defer = true)]
pub(crate) enum System {
    /// Show what takes how much room
    Df(Df),
    /// Show what is in the store, and what kind of machine this is
    Info(Info),
    /// Remove what is not used
    Prune(Prune),
}

impl From<Image> for Command {
    fn from(command: Image) -> Self {
        match command {
            Image::Build(build) => Self::Build(build),
            Image::History(history) => Self::History(history),
            Image::Import(import) => Self::Import(import),
            Image::Inspect(inspect) => {
                Self::Inspect(Inspect { kind: Some(InspectKind::Image), ..inspect })
            }
            Image::Load(load) => Self::Load(load),
            Image::Ls(images) => Self::Images(images),
            Image::Prune(prune) => Self::Prune(prune.into()),
            Image::Pull(pull) => Self::Pull(pull),
            Image::Push(push) => Self::Push(push),
            Image::Rm(rmi) => Self::Rmi(rmi),
            Image::Save(save) => Self::Save(save),
            Image::Tag(tag) => Self::Tag(tag),
        }
    }
}

impl From<Container> for Command {
    fn from(command: Container) -> Self {
        match command {
            Container::Attach(attach) => Self::Attach(attach),
            Container::Commit(commit) => Self::Commit(commit),
            Container::Cp(cp) => Self::Cp(cp),
            Container::Create(create) => Self::Create(create),
            Container::Diff(diff) => Self::Diff(diff),
            Container::Exec(exec) => Self::Exec(exec),
            Container::Export(export) => Self::Export(export),
            Container::Inspect(inspect) => {
                Self::Inspect(Inspect { kind: Some(InspectKind::Container), ..inspect })
            }
            Container::Kill(kill) => Self::Kill(kill),
            Container::Logs(logs) => Self::Logs(logs),
            Container::Ls(ps) => Self::Ps(ps),
            Container::Pause(pause) => Self::Pause(pause),
            Container::Port(port) => Self::Port(port),
            Container::Prune(prune) => Self::Prune(prune.into()),
            Container::Rename(rename) => Self::Rename(rename),
            Container::Restart(restart) => Self::Restart(restart),
            Container::Rm(rm) => Self::Rm(rm),
            Container::Run(run) => Self::Run(run),
            Container::Start(start) => Self::Start(start),
            Container::Stats(stats) => Self::Stats(stats),
            Container::Stop(stop) => Self::Stop(stop),
            Container::Top(top) => Self::Top(top),
            Container::Unpause(pause) => Self::Unpause(pause),
            Container::Wait(wait) => Self::Wait(wait),
        }
    }
}

impl From<Builder> for Command {
    fn from(command: Builder) -> Self {
        match command {
            Builder::Build(build) => Self::Build(build),
            Builder::Prune(prune) => Self::Prune(prune.into()),
        }
    }
}

impl From<System> for Command {
    fn from(command: System) -> Self {
        match command {
            System::Df(df) => Self::Df(df),
            System::Info(info) => Self::Info(info),
            System::Prune(prune) => Self::Prune(prune),
        }
    }
}
