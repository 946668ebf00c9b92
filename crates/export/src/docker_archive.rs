//! `type=docker`, and `kiln save`: an archive as `docker save` writes it.
//!
//! ```text
//! oci-layout, blobs/…, index.json    an image layout, for everything that reads one
//! manifest.json                      config, names and layers of each image: what docker, podman and skopeo read
//! repositories                       names only, for what is older than that
//! ```

use std::collections::{BTreeMap, BTreeSet};

use filetree::Flavour;
use oci::{Descriptor, Index, Platform, json};
use serde::Serialize;
use store::Store;

use crate::{
    Annotations, Destination, Output,
    error::{Error, Result},
    exporter::{Exporter, From, Named},
    index::Assembly,
    layer::{Compression, LayerOptions},
    manifest::{Assembled, MediaTypes},
    oci_layout::{self, COMPRESSION_KEYS, LAYOUT},
    output::TIME_KEYS,
    sink::{self, Archive, Sink},
    tag,
};

/// `type=docker`.
pub(crate) static DOCKER: DockerArchive = DockerArchive;

/// The reader of such an archive unpacks it at once: compressing would cost more time than it saves.
pub(crate) const LAYERS: LayerOptions =
    LayerOptions { compression: Compression::Uncompressed, force: false };

/// See [`DOCKER`].
#[derive(Debug)]
pub(crate) struct DockerArchive;

impl Exporter for DockerArchive {
    fn name(&self) -> &'static str {
        "docker"
    }

    fn what(&self) -> &'static str {
        "an archive for `docker load`; without `dest`, names in kiln's store"
    }

    fn keys(&self) -> &'static [(&'static str, &'static str)] {
        const KEYS: &[(&str, &str)] = &[
            ("dest", "the file, or `-` for standard output"),
            COMPRESSION_KEYS[0],
            COMPRESSION_KEYS[1],
            COMPRESSION_KEYS[2],
            TIME_KEYS[0],
            TIME_KEYS[1],
        ];
        KEYS
    }

    fn needs_dest(&self) -> bool {
        false
    }

    /// What docker reads of it, `manifest.json`, says nothing of platforms.
    fn check_several(&self, _output: &Output) -> Result<(), Error> {
        Err(Error::Several { kind: self.name() })
    }

    fn check(&self, output: &Output) -> Result<(), Error> {
        oci_layout::layer_options(output, LAYERS.compression).map(|_| ())
    }

    fn write(&self, from: &From<'_>, output: &Output) -> Result<Option<Descriptor>, Error> {
        let given = output.names()?;
        let Some(destination) = output.dest() else {
            return tag::write(from, &given).map(|()| None);
        };
        let names = if given.is_empty() { from.image.names } else { &given };
        let image = Named { images: from.image.images, names };
        let layers = oci_layout::layer_options(output, LAYERS.compression)?;
        let written = write(from.store, from.flavour, &[image], &layers, destination)?;
        Ok(written.into_iter().next())
    }
}

/// One image in `manifest.json`.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    config: String,
    /// In the short form, as Docker does; `null` for an image without a name.
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

/// Writes images to one archive, and returns what describes each. What has only room for one platform gets this machine's, else the first one.
pub(crate) fn write(
    store: &Store,
    flavour: Flavour,
    images: &[Named<'_>],
    layers: &LayerOptions,
    destination: &Destination,
) -> Result<Vec<Descriptor>> {
    let mut assembled = Vec::with_capacity(images.len());
    for named in images {
        let (types, none) = (MediaTypes::Oci, Annotations::default());
        assembled.push(Assembly::new(store, flavour, named.images, types, layers, &none)?);
    }
    destination.write(|out| {
        let mut archive = Archive::new(out);
        archive.put_bytes(LAYOUT.0, LAYOUT.1)?;
        let mut there = BTreeSet::new();
        for assembly in &assembled {
            sink::put_all(&mut archive, &mut there, store, flavour, assembly)?;
        }
        let index = images
            .iter()
            .zip(&assembled)
            .flat_map(|(named, assembly)| oci_layout::entries(assembly.descriptor(), named.names))
            .collect();
        let named = || images.iter().zip(assembled.iter().filter_map(own));
        archive.put_bytes("index.json", &json::to_bytes(&Index::oci(index)))?;
        let entries: Vec<_> = named().map(|(named, image)| entry(named, image)).collect();
        archive.put_bytes("manifest.json", &json::to_bytes(&entries))?;
        let repositories = repositories(named());
        if !repositories.is_empty() {
            archive.put_bytes("repositories", &json::to_bytes(&repositories))?;
        }
        archive.finish()
    })?;
    Ok(assembled.iter().map(|assembly| assembly.descriptor().clone()).collect())
}

/// The image for this machine's platform, else the first one.
fn own(assembly: &Assembly) -> Option<&Assembled> {
    let platform = |image: &Assembled| image.descriptor.platform.clone();
    let own = Platform::host().choose(assembly.images(), platform);
    own.or_else(|| assembly.images().first())
}

fn entry(named: &Named<'_>, image: &Assembled) -> Entry {
    let tags: Vec<_> =
        named.names.iter().filter_map(tag_of).map(|(name, tag)| format!("{name}:{tag}")).collect();
    Entry {
        config: sink::blob_path(&image.config.digest),
        repo_tags: (!tags.is_empty()).then_some(tags),
        layers: image.layers.iter().map(|l| sink::blob_path(&l.descriptor.digest)).collect(),
    }
}

/// Returns the repository in the short form, and the tag; a name with a digest has none.
fn tag_of(name: &oci::Reference) -> Option<(String, String)> {
    let name = name.tagged();
    Some((name.familiar_name(), name.tag()?.to_owned()))
}

/// Returns the topmost layer of each tag of each repository.
fn repositories<'a>(
    images: impl Iterator<Item = (&'a Named<'a>, &'a Assembled)>,
) -> BTreeMap<String, BTreeMap<String, String>> {
    let mut repositories: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    for (named, image) in images {
        let Some(top) = image.layers.last() else { continue };
        for (name, tag) in named.names.iter().filter_map(tag_of) {
            let top = top.descriptor.digest.as_digest().to_hex();
            repositories.entry(name).or_default().insert(tag, top);
        }
    }
    repositories
}

#[cfg(test)]
mod tests;
