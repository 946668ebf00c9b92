//! `kiln commit`.

use engine::{
    Engine,
    container::{self, CommitRequest},
};
use oci::Reference;

use super::{output, run::options::Flag};
use crate::report::{Exit, Failure};

#[derive(Debug, clap::Args)]
pub(crate) struct Commit {
    /// Who made the image: `Somebody <somebody@example.org>`
    #[arg(short, long, value_name = "AUTHOR", default_value = "", hide_default_value = true)]
    pub(crate) author: String,
    /// Instruction of a Dockerfile that changes the config: CMD, ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK, LABEL, ONBUILD, STOPSIGNAL, USER, VOLUME, WORKDIR
    #[arg(short, long = "change", value_name = "INSTRUCTION")]
    pub(crate) changes: Vec<String>,
    /// Why the image was made
    #[arg(short, long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub(crate) message: String,
    /// Let the container stand still while its files are read
    #[arg(short, long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "true", hide_default_value = true, value_name = "BOOL")]
    pub(crate) pause: Flag,
    /// The same as --pause=false
    #[arg(long)]
    pub(crate) no_pause: bool,
    /// The container
    #[arg(value_name = "CONTAINER")]
    pub(crate) container: String,
    /// Name of the image, `name[:tag]`
    #[arg(value_name = "NAME")]
    pub(crate) name: Option<String>,
}

/// Makes an image from a container, and prints its id.
pub(super) fn run(engine: &Engine, commit: Commit) -> Result<Exit, Failure> {
    let name = commit.name.as_deref().map(Reference::parse).transpose()?;
    let container = engine.store().find_container(&commit.container)?;
    let request = CommitRequest {
        author: commit.author,
        message: commit.message,
        changes: commit.changes,
        go_on: commit.no_pause || !commit.pause.0,
        name,
    };
    let id = container::commit(engine, &container, &request)?;
    output::print(&format!("{id}\n"))?;
    Ok(Exit::Done)
}
