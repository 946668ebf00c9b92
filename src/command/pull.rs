//! `kiln pull`.

use engine::{Engine, pull};
use oci::Reference;
use registry::Client;

use super::{output, runtime};
use crate::{
    environment,
    report::{Exit, Failure},
};

#[derive(Debug, clap::Args)]
pub(crate) struct Pull {
    /// What the image shall run on [default: this machine]
    #[arg(long, value_name = "OS/ARCH")]
    pub(crate) platform: Option<String>,
    /// Print only the name
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// The image, `[host/]name[:tag]`
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
}

/// Gets an image from its registry, and prints its name.
pub(super) fn run(engine: &Engine, pull: &Pull) -> Result<Exit, Failure> {
    let reference = Reference::parse(&pull.name)?;
    let (platform, accept) = environment::wanted(pull.platform.as_deref())?;
    let client = Client::new(environment::registry_options()?)?;
    let pulled = runtime()?.block_on(pull::pull(engine, &client, &reference, &platform, accept))?;
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
