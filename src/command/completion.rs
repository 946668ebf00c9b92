//! `kiln completion`: what a shell has to know to complete the words of a command line.

use clap::CommandFactory;
use clap_complete::Shell;

use super::output;
use crate::{
    args::Args,
    report::{Exit, Failure},
};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Bash:  source <(kiln completion bash)
Zsh:   kiln completion zsh > \"${fpath[1]}/_kiln\"
Fish:  kiln completion fish > ~/.config/fish/completions/kiln.fish")]
pub(crate) struct Completion {
    /// The shell
    pub(crate) shell: Shell,
}

/// Prints a script for a shell.
pub(super) fn run(completion: &Completion) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(completion.shell, &mut Args::command(), "kiln", &mut script);
    output::print(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Done)
}
