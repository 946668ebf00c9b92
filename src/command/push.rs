//! `kiln push`.

use engine::Engine;
use export::{PushOptions, Pusher};
use oci::{Descriptor, Reference};
use registry::Client;
use store::Image;

use super::{output, platform, runtime};
use crate::{
    environment,
    mending::{Again, mending},
    progress::Layers,
    report::{Exit, Failure},
};

#[derive(Debug, clap::Args)]
pub(crate) struct Push {
    /// Push all tags of the repository
    #[arg(short, long)]
    pub(crate) all_tags: bool,
    /// Print only the name
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// Of images for several platforms the one for this, without an index [default: all]
    #[arg(long, value_name = "OS/ARCH")]
    pub(crate) platform: Option<String>,
    /// Accepted for Docker's sake: images are not signed
    #[arg(long, hide = true, num_args = 0..=1, default_missing_value = "true")]
    pub(crate) disable_content_trust: Option<bool>,
    /// The image, `[host/]name[:tag]`
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
}

/// How many layers Docker's engine can put on top of each other.
const MOST_LAYERS: usize = 127;

/// Sends an image, or all of a repository, to the registry in its name.
pub(super) fn run(engine: &Engine, push: &Push) -> Result<Exit, Failure> {
    let reference = Reference::parse(&push.name)?;
    let client = environment::registry_client()?;
    let show = if push.quiet { Show::Nothing } else { Show::Everything };
    mending(engine, Again::WithImages, || {
        let named = named(engine, push, &reference)?;
        images(engine, client.clone(), &named, &PushOptions::default(), show)
    })?;
    if push.quiet {
        let name =
            if push.all_tags { reference.familiar_name() } else { reference.tagged().familiar() };
        output::print(&format!("{name}\n"))?;
    }
    Ok(Exit::Done)
}

/// What is printed of a push.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Show {
    Nothing,
    Everything,
}

/// Returns what is to be pushed, by name.
fn named(
    engine: &Engine,
    push: &Push,
    reference: &Reference,
) -> Result<Vec<(Reference, Vec<Image>)>, Failure> {
    if reference.digest().is_some() {
        return Err(Failure::usage(format!(
            "cannot push `{}`: a digest is not a name to give; use a tag",
            push.name
        )));
    }
    if !push.all_tags {
        let reference = reference.tagged();
        let images = engine.store().find_named(&reference)?;
        if images.is_empty() {
            return Err(engine::Error::NoSuchImage { name: reference.familiar() }.into());
        }
        let images = platform::select(&push.name, images, push.platform.as_deref())?;
        return Ok(vec![(reference, images)]);
    }
    if reference.tag().is_some() {
        return Err(Failure::usage("a tag cannot be used with --all-tags/-a"));
    }
    let mut named: Vec<(Reference, Vec<Image>)> = Vec::new();
    for (name, id) in engine.store().tags()? {
        let same = (name.host(), name.path()) == (reference.host(), reference.path());
        if !same || name.digest().is_some() {
            continue;
        }
        let image = engine.image(&id)?;
        match named.last_mut().filter(|(last, _)| *last == name) {
            Some((_, images)) => images.push(image),
            None => named.push((name, vec![image])),
        }
    }
    for (name, images) in &mut named {
        let all = std::mem::take(images);
        *images = platform::select(&name.familiar(), all, push.platform.as_deref())?;
    }
    if named.is_empty() {
        return Err(engine::Error::NoSuchImage { name: reference.familiar_name() }.into());
    }
    Ok(named)
}

/// Pushes images, all of one repository and each with those for its other platforms, and prints what the registry has then.
pub(super) fn images(
    engine: &Engine,
    client: Client,
    named: &[(Reference, Vec<Image>)],
    options: &PushOptions,
    show: Show,
) -> Result<Vec<Descriptor>, Failure> {
    let mut pushed = Vec::with_capacity(named.len());
    let runtime = runtime(2)?;
    for (index, (name, images)) in named.iter().enumerate() {
        let same = |(other, _): &(Reference, Vec<Image>)| {
            (other.host(), other.path()) == (name.host(), name.path())
        };
        let announced = named[..index].iter().any(same);
        if show == Show::Everything && !announced {
            let repository = format!("{}/{}", name.host(), name.path());
            output::tell(&format!("The push refers to repository [{repository}]"));
        }
        images.iter().for_each(|image| warn_of_layers(name, image));
        let layers = match show {
            Show::Nothing => Layers::quiet(),
            Show::Everything => Layers::show(),
        };
        let pusher = Pusher {
            store: engine.store().clone(),
            flavour: engine.flavour(),
            client: client.clone(),
            watcher: layers.watcher(),
        };
        let descriptor = runtime.block_on(pusher.push(images, name, options))?;
        drop(layers);
        if show == Show::Everything {
            let Descriptor { digest, size, .. } = &descriptor;
            let tag = if options.by_digest { "" } else { &format!("{}: ", name.tag_or_latest()) };
            output::print(&format!("{tag}digest: {digest} size: {size}\n"))?;
        }
        pushed.push(descriptor);
    }
    Ok(pushed)
}

fn warn_of_layers(name: &Reference, image: &Image) {
    let count = image.snapshots.len();
    if count > MOST_LAYERS {
        output::tell(&format!(
            "warning: `{}` has {count} layers; Docker and others pull no more than {MOST_LAYERS}",
            name.familiar()
        ));
    }
}
