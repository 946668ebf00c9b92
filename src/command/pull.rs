//! `kiln pull`.

use engine::{Engine, pull};
use oci::Reference;
use registry::Client;

use super::{output, runtime};
use crate::{
    args::{self, Pull},
    report::{Exit, Failure},
};

/// Gets an image from its registry, and prints its name.
pub(super) fn run(engine: &Engine, pull: &Pull) -> Result<Exit, Failure> {
    let reference = Reference::parse(&pull.name)?;
    let platform = args::platform(pull.platform.as_deref())?;
    let client = Client::new(args::registry_options()?)?;
    let pulled = runtime()?.block_on(pull::pull(engine, &client, &reference, &platform))?;
    if !pull.quiet {
        tell(&pulled);
    }
    output::print(&format!("{}\n", reference.tagged()))?;
    Ok(Exit::Done)
}

#[expect(clippy::print_stderr, reason = "for people")]
fn tell(pulled: &pull::Pulled) {
    eprintln!("digest {}", pulled.digest);
    eprintln!("image {}", pulled.image.id);
}
