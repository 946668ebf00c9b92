//! The image of a container: the store's, or from its registry.

use engine::{Engine, pull::Accept};
use oci::{Platform, Reference};
use store::Image;

use super::options::Pull;
use crate::{
    command::{
        output,
        pull::{Puller, Words},
    },
    environment,
    report::Failure,
};

/// Returns the image, from its registry if that is wanted: by default if the store does not have it for the platform that
/// was asked for. Without such a wish the image there is will do, with a warning if it is for another platform than this
/// machine's.
pub(crate) fn find(
    engine: &Engine,
    name: &str,
    when: Pull,
    platform: Option<&str>,
    words: Words,
) -> Result<Image, Failure> {
    let (wanted, accept) = environment::wanted(platform)?;
    let images = match engine.store().find_all(name) {
        Err(store::Error::NoSuchImage { .. }) => Vec::new(),
        found => found?,
    };
    // Who gives an id means this very image.
    let reference = Reference::parse(name).ok();
    let named = match &reference {
        Some(reference) => images.is_empty() || !engine.store().find_named(reference)?.is_empty(),
        None => false,
    };
    if when != Pull::Always || !named {
        if let Some(image) = wanted.choose(&images, |image| Some(image.config.platform())) {
            return Ok(image.clone());
        }
        if let Some(image) = images.first().filter(|_| accept == Accept::Any) {
            warn_of_platform(&image.config.platform(), &wanted);
            return Ok(image.clone());
        }
    }
    let there: Vec<Platform> = images.iter().map(|image| image.config.platform()).collect();
    let elsewhere = |source: Option<Box<engine::Error>>| {
        let (name, wanted) = (name.to_owned(), Box::new(wanted.clone()));
        engine::Error::OtherPlatform { name, wanted, there: there.clone(), source }
    };
    let reference = match reference.filter(|_| named && when != Pull::Never) {
        Some(reference) => reference,
        None if !there.is_empty() => return Err(elsewhere(None).into()),
        None => return Err(store::Error::NoSuchImage { name: name.to_owned() }.into()),
    };
    if there.is_empty() && words != Words::None {
        output::tell(&format!("Unable to find image '{}' locally", reference.tagged().familiar()));
    }
    let client = environment::registry_client()?;
    let platform = wanted.clone();
    let puller = Puller { engine, client, platform, accept, words };
    match puller.needed(&reference) {
        Err(Failure::Engine(source)) => Err(match there.is_empty() {
            false if when == Pull::Missing => elsewhere(Some(Box::new(source))),
            _ => engine::Error::NotPulled { name: name.to_owned(), source: Box::new(source) },
        }
        .into()),
        pulled => Ok(pulled?.image),
    }
}

/// In Docker's words.
fn warn_of_platform(image: &Platform, host: &Platform) {
    output::tell(&format!(
        "WARNING: The requested image's platform ({image}) does not match the detected host platform ({host}) and no specific platform was requested"
    ));
}
