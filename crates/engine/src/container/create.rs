//! Making a container: a record and an open snapshot, nothing that runs.

use serde::{Deserialize, Serialize};
use store::{Container, ContainerDraft, ContainerId, Image};

use super::{name, options::ContainerOptions, restart::RestartPolicy, spec, volumes};
use crate::{Engine, Error, rootfs};

/// How often a generated name may be taken before a number is added to it.
const ATTEMPTS: usize = 6;

/// What is kept with a container for the engine.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// How it differs from what its image says.
    pub options: ContainerOptions,
    /// Whether it is removed when it ends.
    pub auto_remove: bool,
    /// Whether it is started again when it ends.
    pub restart: RestartPolicy,
    /// Whether its input ends with the input of the first one who attaches.
    pub stdin_once: bool,
}

impl Settings {
    /// Reads what was kept with a container.
    pub fn of(container: &Container) -> Result<Self, Error> {
        let id = container.id.to_string();
        let read = serde_json::from_value(container.options.clone());
        read.map_err(|source| Error::ContainerRecord { id, source })
    }
}

/// A container that is to be made.
#[derive(Debug)]
pub struct CreateRequest {
    /// The image.
    pub image: Image,
    /// The image as the user called it.
    pub image_name: String,
    /// The name it shall have; one is made up if there is none.
    pub name: Option<String>,
    /// Everything else.
    pub settings: Settings,
}

/// Makes a container. It is there as a whole or not at all.
pub fn create(engine: &Engine, request: CreateRequest) -> Result<Container, Error> {
    let CreateRequest { image, image_name, name, mut settings } = request;
    // What cannot be started is not made.
    spec::argv(&settings.options, &image.config.config)?;
    let lease = engine.store().lease()?;
    lease.hold_image(&image.id)?;
    engine.ensure_runs(&image)?;
    let volumes = volumes::prepare(engine, &mut settings.options, &image)?;
    let container = create_named(engine, &image, image_name, name, &settings)?;
    volumes.keep();
    Ok(container)
}

/// Makes the container under the name that was asked for, or one that is free.
fn create_named(
    engine: &Engine,
    image: &Image,
    image_name: String,
    name: Option<String>,
    settings: &Settings,
) -> Result<Container, Error> {
    let mut draft = ContainerDraft {
        name: String::new(),
        image: image.id,
        image_name,
        // What was read as JSON is UTF-8, so nothing is lost.
        image_config: String::from_utf8_lossy(&image.config_bytes).into_owned(),
        snapshots: image.snapshots.clone(),
        options: serde_json::to_value(settings)
            .map_err(|error| Error::io("write", "the record")(error.into()))?,
    };
    let id = ContainerId::new_random();
    let mut create = |name: String| {
        draft.name = name;
        let snapshot = rootfs::fresh(engine, &image.snapshots)?;
        Ok(engine.store().create_container(id, draft.clone(), snapshot)?)
    };
    if let Some(name) = name {
        return create(name);
    }
    for attempt in 0..ATTEMPTS {
        match create(name::generate(attempt)) {
            Err(Error::Store(store::Error::ContainerNameInUse { .. })) => {}
            created => return created,
        }
    }
    create(id.short())
}
