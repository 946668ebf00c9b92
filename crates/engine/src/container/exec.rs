//! `kiln exec`: one more program in a container that runs.
//!
//! The keeper starts it: it alone is in the container's user namespace, and knows the rights that the container's own
//! program has.

use std::ffi::OsString;

use oci::Config;
use sandbox::{JoinSpec, MountPoints, Process, Terminal};
use serde::{Deserialize, Serialize};

use super::{
    options::{ContainerOptions, Variable},
    program, spec,
};
use crate::Error;

/// A program that is to run in a container.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ExecRequest {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// Variables, over those of the container.
    pub env: Vec<Variable>,
    /// The user instead of the container's.
    pub user: Option<String>,
    /// The working directory instead of the container's.
    pub workdir: Option<String>,
    /// Whether it reads what is sent.
    pub interactive: bool,
    /// Whether it has a terminal.
    pub terminal: bool,
    /// Whether nothing is held back that root can have.
    pub privileged: bool,
}

/// What is known of a container that runs.
#[derive(Debug)]
pub(super) struct Inside {
    /// Its first process.
    pub(super) process: Process,
    /// What was made in its root file system to mount on.
    pub(super) mount_points: MountPoints,
    /// The working directory of that.
    pub(super) cwd: String,
    /// Its host name.
    pub(super) hostname: String,
    /// How it differs from what the image says.
    pub(super) options: ContainerOptions,
    /// What the image says.
    pub(super) config: Config,
}

impl Inside {
    /// Says what the sandbox has to do; what the program reads is the caller's to add.
    pub(super) fn join(&self, request: &ExecRequest) -> Result<JoinSpec, Error> {
        let root = program::root_of(&self.process)?;
        let own = self.options.user.as_deref().unwrap_or(&self.config.user);
        let user = filetree::resolve_user(&root, request.user.as_deref().unwrap_or(own))?;
        let home = user.home.clone();
        let mut rights = spec::rights(&self.options, user, &root)?;
        if request.privileged {
            rights.hold_nothing_back();
        }
        let process = self.process.descriptor.try_clone();
        Ok(JoinSpec {
            process: process.map_err(Error::io("use", "its process"))?,
            argv: request.command.iter().map(OsString::from).collect(),
            env: self.environment(request, &home),
            cwd: request.workdir.clone().unwrap_or_else(|| self.cwd.clone()),
            rights,
            stdin: sandbox::Stdin::Null,
            terminal: if request.terminal { Terminal::Pty } else { Terminal::None },
        })
    }

    fn environment(&self, request: &ExecRequest, home: &str) -> Vec<(OsString, OsString)> {
        let env = self.options.env.iter().chain(&request.env).cloned().collect();
        let options =
            ContainerOptions { terminal: request.terminal, env, ..ContainerOptions::default() };
        spec::environment(&options, &self.config, &self.hostname, home)
    }
}
