//! The ways out: a trait, and the table of those that there are.

use filetree::{Flavour, RootDir, Timestamp};
use oci::{Descriptor, Reference};
use store::{Image, Store};

use crate::{
    Output, directory::LOCAL, docker_archive::DOCKER, error::Error, oci_layout::OCI, tag::IMAGE,
    tag::REGISTRY, tarball::TAR,
};

/// An image and the names it is exported with.
#[derive(Debug, Clone, Copy)]
pub struct Named<'a> {
    /// The image; or one for each of several platforms, in the order of their index.
    pub images: &'a [Image],
    /// Its names, none for one that is known by its id only.
    pub names: &'a [Reference],
}

/// What an exporter takes from.
#[derive(Debug)]
pub struct From<'a> {
    pub(crate) store: &'a Store,
    pub(crate) flavour: Flavour,
    pub(crate) image: &'a Named<'a>,
    /// The merged root file systems of the images, if they are wanted.
    pub(crate) roots: &'a [&'a RootDir],
    /// The time of all files, where they are written one by one.
    pub(crate) time: Option<Timestamp>,
}

/// A way for an image to become files: `--output type=…`.
pub trait Exporter: Sync {
    /// What stands behind `type=`.
    fn name(&self) -> &'static str;

    /// What it makes, in one line.
    fn what(&self) -> &'static str;

    /// Its keys besides `type`, each with what it means. One that ends in `.` is the beginning of a key.
    fn keys(&self) -> &'static [(&'static str, &'static str)];

    /// Whether `dest` has to be given.
    fn needs_dest(&self) -> bool {
        true
    }

    /// Whether it takes the files of the merged root file system, and not the layers.
    fn needs_root(&self) -> bool {
        false
    }

    /// Says what is wrong with an output of this type of images for several platforms, before anything is built for it.
    fn check_several(&self, _output: &Output) -> Result<(), Error> {
        Ok(())
    }

    /// Says what is wrong with an output of this type, before anything is built for it.
    fn check(&self, output: &Output) -> Result<(), Error>;

    /// Writes the image; returns what describes its manifest, if what is written has one.
    fn write(&self, from: &From<'_>, output: &Output) -> Result<Option<Descriptor>, Error>;
}

impl std::fmt::Debug for dyn Exporter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Exporter").field(&self.name()).finish()
    }
}

impl From<'_> {
    /// The merged root file systems, each with the directory that it has to itself where images for several platforms are
    /// taken apart: `linux_amd64`, as BuildKit calls it.
    pub(crate) fn split_roots(
        &self,
        output: &Output,
    ) -> Result<Vec<(Option<String>, &RootDir)>, Error> {
        let images = self.image.images;
        if self.roots.len() != images.len() {
            return Err(Error::NoRoot { kind: output.kind() });
        }
        let split = output.splits_platforms(images.len())?;
        let mut directories = Vec::new();
        for (image, root) in images.iter().zip(self.roots) {
            let platform = image.config.platform().to_string();
            let directory = split.then(|| platform.replace('/', "_"));
            if directories.iter().any(|(known, _)| *known == directory) {
                return Err(Error::SamePlatform { platform });
            }
            directories.push((directory, *root));
        }
        Ok(directories)
    }
}

/// Every way out, in the order of the help.
pub static EXPORTERS: &[&dyn Exporter] = &[&OCI, &DOCKER, &LOCAL, &TAR, &IMAGE, &REGISTRY];

/// Returns the exporter of this name.
pub(crate) fn named(name: &str) -> Result<&'static dyn Exporter, Error> {
    let found = EXPORTERS.iter().find(|exporter| exporter.name() == name);
    found.copied().ok_or_else(|| Error::UnknownType {
        name: name.to_owned(),
        nearest: nearest(name, EXPORTERS.iter().map(|exporter| exporter.name())),
    })
}

/// Returns the candidate that is the fewest slips of the fingers away, if that is close enough.
pub(crate) fn nearest(
    given: &str,
    candidates: impl Iterator<Item = &'static str>,
) -> Option<String> {
    let scored = candidates.map(|candidate| (strsim::osa_distance(given, candidate), candidate));
    let (edits, candidate) = scored.min()?;
    (edits <= candidate.len().div_ceil(3)).then(|| candidate.to_owned())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_table_is_complete() {
        let names: BTreeSet<_> = EXPORTERS.iter().map(|exporter| exporter.name()).collect();
        assert_eq!(names.len(), EXPORTERS.len());
        for exporter in EXPORTERS {
            assert!(!exporter.what().is_empty());
            let keys: BTreeSet<_> = exporter.keys().iter().map(|(key, _)| key).collect();
            assert_eq!(keys.len(), exporter.keys().len(), "{}", exporter.name());
            assert!(exporter.keys().iter().all(|(_, what)| !what.is_empty()));
            assert!(!exporter.needs_dest() || keys.contains(&"dest"), "{}", exporter.name());
        }
    }

    #[test]
    fn a_slip_of_the_fingers_is_met_with_the_right_name() {
        let nearest = |given| nearest(given, EXPORTERS.iter().map(|exporter| exporter.name()));
        assert_eq!(nearest("oic").as_deref(), Some("oci"));
        assert_eq!(nearest("dokcer").as_deref(), Some("docker"));
        assert_eq!(nearest("zip"), None);
    }
}
