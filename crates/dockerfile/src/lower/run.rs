//! `RUN`: the command with everything it sees.

use std::collections::BTreeSet;

use plan::{MountKind, Network, Op, Script, Security};

use super::cmd::argv;
use super::graph::Command;
use super::mount;
use super::path;
use super::stage::{Lower, StageState};
use crate::diagnostic::Diagnostic;
use crate::instruction::{self, CommandLine, Run};

/// The host name that commands see unless another one is asked for.
const HOSTNAME: &str = "buildkitsandbox";

/// Where a script is mounted.
const SCRIPTS: &str = "/dev/pipes";

impl Lower for Run {
    fn lower(&self, stage: &mut StageState<'_>, command: &Command<'_>) -> Result<(), Diagnostic> {
        if let Some(device) = self.devices.first() {
            let message = "devices are only supported in Dockerfile frontend 1.14.0-labs or later";
            let hint = "kiln lends no devices to one command; RUN --security=insecure sees those of the host, with --allow security.insecure";
            return Err(Diagnostic::new(message).at(device.span).hint(hint));
        }
        let (argv, script) = command_line(self, stage);
        if argv.is_empty() {
            return Err(Diagnostic::new("RUN requires at least one argument"));
        }
        let mut mounts = Vec::new();
        for (flag, link) in self.mounts.iter().zip(&command.links) {
            let mount = mount::lower(flag, link.as_ref(), &mounts, stage)
                .map_err(|error| error.at(flag.span))?;
            mounts.push(mount);
        }

        let env = environment(stage, &mounts);
        let proxies = stage.globals.proxies().into_iter();
        let proxy_env = proxies.filter(|(name, _)| stage.scope.value(name).is_none()).collect();
        let network = match self.network.as_ref().map(|network| network.value) {
            None | Some(instruction::Network::Default) => stage.request.network,
            Some(instruction::Network::None) => Network::None,
            Some(instruction::Network::Host) => Network::Host,
        };
        let security = match self.security.as_ref().map(|security| security.value) {
            None | Some(instruction::Security::Sandbox) => Security::Sandbox,
            Some(instruction::Security::Insecure) => Security::Insecure,
        };
        let hostname = stage.globals.build_arg("BUILDKIT_SANDBOX_HOSTNAME");
        let hostname = hostname.or(stage.request.hostname.as_deref()).unwrap_or(HOSTNAME);

        let title = title(self, stage, command, &mounts);
        let arguments = stage.scope.argument_list().map_or(String::new(), |list| list + " ");
        let created_by = format!("RUN {arguments}{} # buildkit", argv.join(" "));
        let run = plan::Run {
            argv,
            env,
            proxy_env,
            workdir: path::join("/", stage.workdir()),
            user: stage.config.config.user.clone(),
            network,
            security,
            mounts,
            script,
            hostname: hostname.to_owned(),
            settings: stage.request.settings.clone(),
        };
        stage.push(command, Op::Run(run), title, Some(created_by))
    }
}

/// The arguments to execute, and the script they execute if a heredoc is one.
///
/// A heredoc that is the whole command is the text for the shell, or a script if it says itself by which program it
/// is to be run. With anything else in the line, it is the shell that reads the heredocs, so it gets them all as
/// they are.
fn command_line(run: &Run, stage: &StageState<'_>) -> (Vec<String>, Option<Script>) {
    let shell = |text: String| argv(&CommandLine::Shell(text), stage);
    if let Some(heredoc) = run.script() {
        let body = heredoc.contents();
        if body.starts_with("#!") && stage.platform.os != "windows" {
            let name = heredoc.name.clone();
            return (shell(format!("{SCRIPTS}/{name}")), Some(Script { name, body }));
        }
        return (shell(body), None);
    }
    match &run.command {
        CommandLine::Shell(text) if !run.heredocs.is_empty() => {
            let mut text = text.clone();
            for heredoc in &run.heredocs {
                text.push('\n');
                text.push_str(&heredoc.body);
                text.push_str(&heredoc.name);
            }
            (shell(text), None)
        }
        CommandLine::Shell(_) | CommandLine::Exec(_) => (argv(&run.command, stage), None),
    }
}

/// All variables of the scope, and where the socket of an ssh agent is.
fn environment(stage: &StageState<'_>, mounts: &[plan::Mount]) -> Vec<(String, String)> {
    let mut env = stage.scope.variables().to_vec();
    let socket = mounts.iter().find(|mount| matches!(mount.kind, MountKind::Ssh { .. }));
    if let Some(socket) = socket
        && stage.scope.value("SSH_AUTH_SOCK").is_none()
    {
        env.push(("SSH_AUTH_SOCK".to_owned(), socket.target.clone()));
    }
    env
}

/// The line with its known variables expanded, those that hold a secret masked, and the first line of a script.
fn title(
    run: &Run,
    stage: &StageState<'_>,
    command: &Command<'_>,
    mounts: &[plan::Mount],
) -> String {
    let hidden: BTreeSet<String> = mounts
        .iter()
        .filter_map(|mount| match &mount.kind {
            MountKind::Secret { env, .. } => env.clone(),
            MountKind::Bind { .. }
            | MountKind::Cache { .. }
            | MountKind::Tmpfs { .. }
            | MountKind::Ssh { .. } => None,
        })
        .collect();
    let mut title = stage.title(command, &hidden);
    if let Some(heredoc) = run.script() {
        let mut lines = heredoc.body.trim().lines();
        let first = lines.next().unwrap_or_default();
        let more = if lines.next().is_some() { "..." } else { "" };
        title.push_str(&format!(" ({first}{more})"));
    }
    title
}
