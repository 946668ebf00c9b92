//! `type=tar`: the files of the image, in one tar archive without layers.

use filetree::RootDir;

use oci::Descriptor;

use crate::{
    Output,
    error::Error,
    exporter::{Exporter, From},
    output::{SPLIT, TIME_KEYS},
};

/// `type=tar`.
pub(crate) static TAR: Tarball = Tarball;

/// See [`TAR`].
#[derive(Debug)]
pub(crate) struct Tarball;

impl Exporter for Tarball {
    fn name(&self) -> &'static str {
        "tar"
    }

    fn what(&self) -> &'static str {
        "the files of the image, in a tar archive"
    }

    fn keys(&self) -> &'static [(&'static str, &'static str)] {
        const KEYS: &[(&str, &str)] =
            &[("dest", "the file, or `-` for standard output"), SPLIT, TIME_KEYS[0], TIME_KEYS[1]];
        KEYS
    }

    fn needs_root(&self) -> bool {
        true
    }

    fn check_several(&self, output: &Output) -> Result<(), Error> {
        output.check_split()
    }

    fn check(&self, output: &Output) -> Result<(), Error> {
        output.splits_platforms(1).map(|_| ())
    }

    fn write(&self, from: &From<'_>, output: &Output) -> Result<Option<Descriptor>, Error> {
        let split = from.split_roots(output)?;
        let trees: Vec<(&str, &RootDir)> =
            split.iter().map(|(name, root)| (name.as_deref().unwrap_or_default(), *root)).collect();
        let destination = output.destination()?;
        destination
            .write::<Error>(|mut out| Ok(filetree::pack_trees(&trees, from.time, &mut out)?))?;
        Ok(None)
    }
}
