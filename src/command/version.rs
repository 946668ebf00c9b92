//! `kiln version`.

use serde_json::{Value, json};
use template::{Data, Template};

use super::output;
use crate::report::{Exit, Failure};

#[derive(Debug, clap::Args)]
pub(crate) struct Version {
    /// `json`, or a Go template
    #[arg(short, long)]
    pub(crate) format: Option<String>,
}

/// The version of this program.
pub(super) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Shows the version. There is no server; who asks for its version, as scripts for Docker do, gets this program's, which does
/// a server's work.
pub(super) fn run(version: &Version) -> Result<Exit, Failure> {
    let platform = oci::Platform::host();
    let kernel = rustix::system::uname().release().to_string_lossy().into_owned();
    let format = version.format.as_deref().filter(|format| !format.is_empty());
    let Some(format) = format else {
        output::print(&format!(
            "Client:\n Version:    {VERSION}\n OS/Arch:    {}/{}\n Kernel:     {kernel}\n",
            platform.os, platform.architecture,
        ))?;
        return Ok(Exit::Done);
    };
    let known = json!({
        "Client": { "Version": VERSION, "Os": platform.os, "Arch": platform.architecture },
        "Server": {
            "Version": VERSION,
            "Os": platform.os,
            "Arch": platform.architecture,
            "KernelVersion": kernel,
        },
    });
    print(format, &known)
}

/// Prints a document as `--format` wants it.
pub(super) fn print(format: &str, document: &Value) -> Result<Exit, Failure> {
    let format = if format == "json" { "{{json .}}" } else { format };
    let text = Template::parse(format)?.render(&Data::document(document))?;
    output::print(&(text + "\n"))?;
    Ok(Exit::Done)
}
