//! `kiln import`.

use std::{fs::File, io};

use std::path::PathBuf;

use engine::{
    Engine,
    load::{self, ImportRequest},
};
use oci::Reference;

use super::{output, runtime};
use crate::{
    environment,
    report::{Exit, Failure},
};

#[derive(Debug, clap::Args)]
pub(crate) struct Import {
    /// What the files are for [default: this machine]
    #[arg(long, value_name = "OS/ARCH")]
    pub(crate) platform: Option<String>,
    /// Instruction of a Dockerfile that changes the config: CMD, ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK, LABEL, ONBUILD, STOPSIGNAL, USER, VOLUME, WORKDIR
    #[arg(short, long = "change", value_name = "INSTRUCTION")]
    pub(crate) changes: Vec<String>,
    /// Where the image comes from, or why it was made
    #[arg(short, long, value_name = "TEXT")]
    pub(crate) message: Option<String>,
    /// The tar, compressed or not: a file, an http or https address, or `-` for standard input
    #[arg(value_name = "TAR")]
    pub(crate) source: PathBuf,
    /// The image's name, `name[:tag]`
    #[arg(value_name = "NAME")]
    pub(crate) name: Option<String>,
}

/// Makes an image of one layer from a tar of a root file system, and prints its id.
pub(super) fn run(engine: &Engine, import: &Import) -> Result<Exit, Failure> {
    let platform = environment::platform(import.platform.as_deref())?;
    let name = import.name.as_deref().map(Reference::parse).transpose()?;
    let request = ImportRequest {
        platform,
        name,
        message: import.message.clone(),
        changes: import.changes.clone(),
    };
    let address = import.source.to_str().filter(|text| is_address(text));
    let id = if let Some(address) = address {
        let client = environment::registry_client()?;
        // A user and a query may be a key.
        let shown = plan::redact(address.split(['?', '#']).next().unwrap_or_default());
        output::tell(&format!("Downloading from {shown}"));
        runtime(2)?.block_on(load::import_from(engine, &client, address, &request))?
    } else if environment::is_stream(&import.source) {
        load::import(engine, io::stdin(), &request)?
    } else {
        let path = import.source.display();
        let file = File::open(&import.source).map_err(Failure::io("open", path))?;
        load::import(engine, file, &request)?
    };
    output::print(&format!("{id}\n"))?;
    Ok(Exit::Done)
}

fn is_address(source: &str) -> bool {
    let scheme = source.split_once("://").map(|(scheme, _)| scheme);
    scheme.is_some_and(|scheme| ["http", "https"].iter().any(|it| scheme.eq_ignore_ascii_case(it)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        assert!(is_address("http://a/b") && is_address("HTTPS://a"));
        assert!(!is_address("a/b.tar") && !is_address("ftp://a") && !is_address("http:/a"));
    }
}
