//! `kiln copy`.

use oci::{Descriptor, Reference};
use registry::CopyRequest;

use super::{output, runtime};
use crate::{
    environment,
    progress::Layers,
    report::{Exit, Failure},
};

#[derive(Debug, clap::Args)]
pub(crate) struct Copy {
    /// Copy the images for all platforms, with their index [the default]
    #[arg(short, long, conflicts_with = "platform")]
    pub(crate) all: bool,
    /// Copy the image for this platform only, without the index
    #[arg(long, value_name = "OS/ARCH")]
    pub(crate) platform: Option<String>,
    /// Print only the name
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// The image, `[host/]name[:tag][@digest]`
    #[arg(value_name = "SOURCE")]
    pub(crate) source: String,
    /// What it is called at the other place, `[host/]name[:tag]`
    #[arg(value_name = "DESTINATION")]
    pub(crate) destination: String,
}

/// Copies an image from one registry to another, or to another repository, without the store.
pub(super) fn run(copy: &Copy) -> Result<Exit, Failure> {
    let (from, to) = (reference(&copy.source)?, reference(&copy.destination)?);
    let platform = copy.platform.as_deref().map(|given| environment::platform(Some(given)));
    let platform = platform.transpose()?;
    let client = environment::registry_client()?;
    if !copy.quiet {
        let (from, to) = (from.tagged().familiar(), to.tagged().familiar());
        output::tell(&format!("Copying {from} to {to}"));
    }
    let layers = if copy.quiet { Layers::quiet() } else { Layers::show() };
    let watcher = &layers.watcher();
    let request = CopyRequest { from: &from, to: &to, platform: platform.as_ref(), watcher };
    let Descriptor { digest, size, .. } = runtime(2)?.block_on(client.copy(&request))?;
    drop(layers);
    match copy.quiet {
        true => output::print(&format!("{}\n", to.tagged().familiar()))?,
        false => output::print(&format!("{}digest: {digest} size: {size}\n", tag(&to)))?,
    }
    Ok(Exit::Done)
}

fn tag(to: &Reference) -> String {
    match to.digest() {
        Some(_) => String::new(),
        None => format!("{}: ", to.tag_or_latest()),
    }
}

/// Reads a name; `docker://` may stand before it, as skopeo wants it.
fn reference(given: &str) -> Result<Reference, Failure> {
    // What skopeo calls transports. Taken for names, they would lead to Docker Hub.
    const ELSEWHERE: [&str; 6] =
        ["oci", "oci-archive", "docker-archive", "docker-daemon", "dir", "containers-storage"];
    let transport = given.split(':').next().unwrap_or_default();
    if given.contains(':') && ELSEWHERE.contains(&transport) {
        return Err(Failure::usage(format!(
            "cannot copy `{given}`: only registries are copied from and to; for files there are \
             `kiln save` and `kiln load`"
        )));
    }
    Ok(Reference::parse(given.strip_prefix("docker://").unwrap_or(given))?)
}
