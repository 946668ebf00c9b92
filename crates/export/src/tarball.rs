//! `type=tar`: the files of the image, in one tar archive without layers.

use crate::{
    Output,
    error::Error,
    exporter::{Exporter, From},
    output::TIME_KEYS,
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
            &[("dest", "the file, or `-` for standard output"), TIME_KEYS[0], TIME_KEYS[1]];
        KEYS
    }

    fn needs_root(&self) -> bool {
        true
    }

    fn check(&self, _output: &Output) -> Result<(), Error> {
        Ok(())
    }

    fn write(&self, from: &From<'_>, output: &Output) -> Result<(), Error> {
        let root = from.root.ok_or(Error::NoRoot { kind: self.name() })?;
        output.destination()?.write(|mut out| Ok(filetree::pack_tree(root, from.time, &mut out)?))
    }
}
