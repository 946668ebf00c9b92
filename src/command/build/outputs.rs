//! What becomes of the images of a build: `--output` and `--push`, `--iidfile`, and what is said of them.

use std::{fs, path::Path};

use engine::{Built, BuiltTarget, Engine, Target, Times};
use export::Output;
use oci::{Descriptor, Platform, Reference};
use registry::Client;
use store::Image;

use super::{
    metadata,
    options::Build,
    targets::{self, in_words},
};
use crate::{
    args::Progress,
    command::{output, push},
    environment,
    progress::rawjson,
    report::Failure,
};

/// Reads the outputs of a build for these platforms, and says what is wrong with them.
pub(super) fn read(
    build: &Build,
    targets: &[Target],
    platforms: &[Platform],
) -> Result<Vec<Output>, Failure> {
    let given = build.outputs.iter().map(String::as_str);
    let given = given.chain(build.push.0.then_some("type=registry"));
    let mut outputs = Vec::new();
    for value in given {
        let wrong = |error: export::Error| Failure::usage(format!("--output: {error}"));
        let output = Output::parse(value).map_err(wrong)?;
        output.check_platforms(platforms.len()).map_err(wrong)?;
        let names = output.names()?;
        match output.target() {
            Some(target) => drop(targets::find(targets, target)?),
            // What goes to one place, or has one name, cannot be of several.
            None if targets.len() > 1 && (output.dest().is_some() || !names.is_empty()) => {
                return Err(Failure::usage(format!(
                    "--output `{value}` does not say which of the targets it is of: `target={}`",
                    in_words(&targets[0])
                )));
            }
            None => {}
        }
        let nameless = |target: &Target| is_of(&output, target) && target.tags.is_empty();
        if output.pushes() && names.is_empty() && targets.iter().any(nameless) {
            return Err(Failure::usage("what is pushed needs a name: give one by --tag/-t"));
        }
        outputs.push(output);
    }
    metadata::annotate(&mut outputs, &build.annotations, platforms)?;
    if let Some(path) = &build.metadata_file {
        metadata::check(path)?;
    }
    Ok(outputs)
}

/// The images that are put into the store have the times that an output to the store wants.
pub(super) fn set_times(targets: &mut [Target], outputs: &[Output]) {
    for target in targets {
        let stored = outputs.iter().find(|output| output.is_stored() && is_of(output, target));
        target.times = stored.map(times).unwrap_or_default();
    }
}

/// Writes and pushes the images of every target; returns what describes the manifest or the index of each, as it was pushed
/// or else written.
pub(super) fn write(
    engine: &Engine,
    built: &[BuiltTarget],
    outputs: &[Output],
    shows_layers: bool,
) -> Result<Vec<Option<Descriptor>>, Failure> {
    let mut manifests = vec![None; built.len()];
    let each = || {
        let built = || built.iter().enumerate();
        let of = move |output| built().filter(move |(_, built)| is_of(output, &built.target));
        outputs
            .iter()
            .flat_map(move |output| of(output).map(move |(index, built)| (output, index, built)))
    };
    for (output, index, built) in each() {
        warn_without_epoch(built, output);
        let written = write_one(engine, built, output)?;
        manifests[index] = manifests[index].take().or(written);
    }
    for (output, index, built) in each().filter(|(output, _, _)| output.pushes()) {
        let pushed = push(engine, built, output, shows_layers)?;
        manifests[index] = pushed.or(manifests[index].take());
    }
    Ok(manifests)
}

/// Writes the ids of the images to a file, as `--quiet` prints them: a line for each, the platforms of a target together.
pub(super) fn write_ids(path: &Path, built: &[BuiltTarget]) -> Result<(), Failure> {
    let ids = ids(built);
    // A single id stands alone, as scripts expect it.
    fs::write(path, ids.join("\n")).map_err(Failure::io("write", path.display()))
}

/// Says what was made: on standard output only the ids if nothing else is to be seen.
pub(super) fn tell(built: &[BuiltTarget], quiet: bool, progress: Progress) -> Result<(), Failure> {
    if quiet {
        return output::print(&ids(built).iter().map(|id| format!("{id}\n")).collect::<String>());
    }
    if progress == Progress::Rawjson {
        for BuiltTarget { target, images } in built {
            let names: Vec<String> =
                target.tags.iter().map(|tag| tag.tagged().to_string()).collect();
            images
                .iter()
                .for_each(|built| rawjson::tell_image(&built.image.id.to_string(), &names));
        }
        return Ok(());
    }
    for BuiltTarget { target, images } in built {
        for Built { image, .. } in images {
            let mut facts = Vec::new();
            facts.extend((built.len() > 1).then(|| in_words(target).to_owned()));
            facts.extend((images.len() > 1).then(|| image.config.platform().to_string()));
            let facts =
                if facts.is_empty() { String::new() } else { format!(" ({})", facts.join(", ")) };
            output::tell(&format!("image {}{facts}", image.id));
        }
        for tag in &target.tags {
            output::tell(&format!("tagged {}", tag.tagged().familiar()));
        }
    }
    Ok(())
}

fn ids(built: &[BuiltTarget]) -> Vec<String> {
    built.iter().flat_map(|built| &built.images).map(|built| built.image.id.to_string()).collect()
}

/// An output that says nothing of a target is of all.
fn is_of(output: &Output, target: &Target) -> bool {
    output.target().is_none_or(|named| targets::is_called(target, named))
}

fn write_one(
    engine: &Engine,
    built: &BuiltTarget,
    output: &Output,
) -> Result<Option<Descriptor>, Failure> {
    let BuiltTarget { target, images: built } = built;
    let mut roots = Vec::new();
    if output.needs_root() {
        for built in built {
            roots.push(engine::merged(engine, &built.image)?);
        }
    }
    let image = |built: &Built| match output.is_stored() {
        true => built.put_with_times(engine, times(output)),
        false if output.needs_root() => Ok(built.image.clone()),
        false => built.with_times(engine, times(output)),
    };
    let images: Vec<Image> = built.iter().map(image).collect::<Result<_, _>>()?;
    let named = export::Named { images: &images, names: &target.tags };
    let roots: Vec<_> = roots.iter().map(engine::Rootfs::root).collect();
    let epoch = built.first().and_then(Built::epoch);
    Ok(export::write(engine.store(), engine.flavour(), &named, &roots, epoch, output)?)
}

/// What an output wants of the times in the image.
fn times(output: &Output) -> Times {
    Times { epoch: output.own_epoch(), rewrite: output.rewrites_times() }
}

/// Tells whoever expects the same bytes everywhere that nothing was done for that.
fn warn_without_epoch(built: &BuiltTarget, output: &Output) {
    let has_none = |built: &Built| output.epoch(built.epoch()).is_none();
    if output.rewrites_times() && built.images.iter().any(has_none) {
        output::tell(
            "warning: --output: rewrite-timestamp=true changes nothing without SOURCE_DATE_EPOCH; give it by --build-arg",
        );
    }
}

/// Pushes the images under the names of the output, or else of the build. They are in the store by then, whatever happens.
fn push(
    engine: &Engine,
    built: &BuiltTarget,
    output: &Output,
    shows_layers: bool,
) -> Result<Option<Descriptor>, Failure> {
    let mut names = output.names()?;
    if names.is_empty() {
        names = built.target.tags.iter().map(Reference::tagged).collect();
    }
    let images = built.images.iter().map(|built| built.put_with_times(engine, times(output)));
    let images: Vec<Image> = images.collect::<Result<_, _>>()?;
    let named: Vec<_> = names.into_iter().map(|name| (name, images.clone())).collect();
    let mut options = environment::registry_options()?;
    if output.is_insecure()? {
        for (name, _) in &named {
            options.settings = options.settings.with_insecure(name.host());
        }
    }
    let client = Client::new(options)?;
    let show = if shows_layers { push::Show::Everything } else { push::Show::Nothing };
    let pushed = push::images(engine, client, &named, &output.push_options()?, show)?;
    Ok(pushed.into_iter().next())
}
