//! `--platform` of the commands that take images of the store: which of the images that a name has.

use engine::Engine;
use oci::Platform;
use store::Image;

use crate::report::Failure;

/// Returns the image for a platform; without a wish that of this machine, else the first one.
pub(super) fn find(engine: &Engine, name: &str, wanted: Option<&str>) -> Result<Image, Failure> {
    match wanted {
        None => Ok(engine.store().find(name)?),
        Some(wanted) => choose(name, engine.store().find_all(name)?, wanted),
    }
}

/// Leaves of several images the one for a platform, if one is wanted.
pub(super) fn select(
    name: &str,
    images: Vec<Image>,
    wanted: Option<&str>,
) -> Result<Vec<Image>, Failure> {
    match wanted {
        None => Ok(images),
        Some(wanted) => Ok(vec![choose(name, images, wanted)?]),
    }
}

fn choose(name: &str, images: Vec<Image>, wanted: &str) -> Result<Image, Failure> {
    let wanted = crate::environment::platform(Some(wanted))?;
    let platform = |image: &Image| image.config.platform();
    match wanted.choose(&images, |image| Some(platform(image))) {
        Some(image) => Ok(image.clone()),
        None => {
            let there: Vec<Platform> = images.iter().map(platform).collect();
            let (name, wanted) = (name.to_owned(), Box::new(wanted));
            Err(engine::Error::OtherPlatform { name, wanted, there, source: None }.into())
        }
    }
}
