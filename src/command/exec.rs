//! `kiln exec`.

use std::path::PathBuf;

use engine::{
    Engine,
    container::{self, Attach, ExecRequest, options::Variable},
};
use store::{Container, Status};

use super::{
    run::{NOT_EXECUTABLE, NOT_RUN, ending, exit_code, options::variables},
    session::{self, DetachKeys, Show},
};
use crate::report::{self, Exit, Failure};

#[derive(Debug, clap::Args)]
pub(crate) struct Exec {
    /// Leave it running, and show nothing of it
    #[arg(short, long)]
    pub(crate) detach: bool,
    /// Pass standard input on
    #[arg(short, long)]
    pub(crate) interactive: bool,
    /// Give the command a terminal
    #[arg(short, long)]
    pub(crate) tty: bool,
    /// Set a variable; without `=VALUE` to that of the environment variable
    #[arg(short, long = "env", value_name = "NAME[=VALUE]")]
    pub(crate) env: Vec<Variable>,
    /// File of variables, NAME=VALUE a line, `#` for comments; --env goes before it
    #[arg(long = "env-file", value_name = "FILE")]
    pub(crate) env_files: Vec<PathBuf>,
    /// User, with an optional group
    #[arg(short, long, value_name = "USER[:GROUP]")]
    pub(crate) user: Option<String>,
    /// Working directory
    #[arg(short, long, value_name = "DIR")]
    pub(crate) workdir: Option<String>,
    /// Hold nothing back that root can have
    #[arg(long)]
    pub(crate) privileged: bool,
    /// Keys that detach from the command
    #[arg(long, value_name = "KEYS")]
    pub(crate) detach_keys: Option<DetachKeys>,
    /// The container
    pub(crate) container: String,
    /// The command and its arguments
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        required = true,
        value_name = "COMMAND"
    )]
    pub(crate) command: Vec<String>,
}

/// Runs a command in a container that runs, and exits as it does.
pub(super) fn run(engine: &Engine, exec: Exec) -> Result<Exit, Failure> {
    let container = engine.store().find_container(&exec.container)?;
    check_running(engine, &container)?;
    let attach = Attach {
        stdin: exec.interactive,
        stdout: true,
        stderr: true,
        size: if exec.tty { session::terminal_size() } else { None },
    };
    let keys = exec.detach_keys.clone().unwrap_or_default();
    let show = Show { attach, terminal: exec.tty, keys, signals: false, own: true };
    let attached = (!exec.detach).then_some(attach);
    let session = match container::exec(engine, &container, request(exec)?, attached) {
        Err(error @ (engine::Error::Sandbox(_) | engine::Error::Keeper { .. })) => {
            let failure = error.into();
            report::print(&failure);
            // Docker knows no other reason why a program cannot be executed.
            let code = exit_code(&failure);
            return Ok(Exit::Command(if code == NOT_RUN { NOT_EXECUTABLE } else { code }));
        }
        session => session?,
    };
    if attached.is_none() {
        return Ok(Exit::Done);
    }
    Ok(ending(session::show(session, &show)?))
}

fn check_running(engine: &Engine, container: &Container) -> Result<(), Failure> {
    let name = container.name.clone();
    match engine.store().container_state(&container.id)?.status {
        Status::Paused => Err(Failure::usage(format!(
            "container `{name}` is paused, unpause the container before exec"
        ))),
        Status::Exited | Status::Restarting => Err(engine::Error::NotRunning { name }.into()),
        // Somebody may be just starting it.
        Status::Running | Status::Created => Ok(()),
    }
}

fn request(exec: Exec) -> Result<ExecRequest, Failure> {
    let env = variables(&exec.env_files, exec.env)?;
    if let Some(dir) = exec.workdir.as_deref().filter(|dir| !dir.starts_with('/')) {
        return Err(Failure::usage(format!(
            "the working directory '{dir}' is invalid, it needs to be an absolute path"
        )));
    }
    Ok(ExecRequest {
        command: exec.command,
        env,
        user: exec.user,
        workdir: exec.workdir,
        interactive: exec.interactive,
        terminal: exec.tty,
        privileged: exec.privileged,
    })
}
