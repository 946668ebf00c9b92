//! `type=local`: the files of the image, in a directory.

use oci::Descriptor;

use crate::{
    Output,
    destination::Staged,
    error::Error,
    exporter::{Exporter, From},
    output::{SPLIT, TIME_KEYS},
};

/// `type=local`.
pub(crate) static LOCAL: Local = Local;

/// See [`LOCAL`].
#[derive(Debug)]
pub(crate) struct Local;

impl Exporter for Local {
    fn name(&self) -> &'static str {
        "local"
    }

    fn what(&self) -> &'static str {
        "the files of the image, in a directory"
    }

    fn keys(&self) -> &'static [(&'static str, &'static str)] {
        const KEYS: &[(&str, &str)] = &[
            (
                "dest",
                "the directory; what is in it stays, unless the image has a file of the same name",
            ),
            ("mode", "`copy`: files that the image does not have stay"),
            SPLIT,
            TIME_KEYS[0],
            TIME_KEYS[1],
        ];
        KEYS
    }

    fn needs_root(&self) -> bool {
        true
    }

    fn check_several(&self, output: &Output) -> Result<(), Error> {
        output.check_split()
    }

    fn check(&self, output: &Output) -> Result<(), Error> {
        output.splits_platforms(1)?;
        let wrong = |key: &str, value: &str, expected| Error::Value {
            key: key.to_owned(),
            value: value.to_owned(),
            expected,
        };
        if output.is_stdout() {
            return Err(wrong("dest", "-", "files do not fit on standard output; `type=tar` does"));
        }
        match output.attribute("mode") {
            None | Some("copy") => Ok(()),
            Some(value) => Err(wrong("mode", value, "only `copy`")),
        }
    }

    fn write(&self, from: &From<'_>, output: &Output) -> Result<Option<Descriptor>, Error> {
        let path = output.path()?;
        for (directory, root) in from.split_roots(output)? {
            let path = directory.map_or_else(|| path.to_owned(), |name| path.join(name));
            if path.exists() {
                filetree::copy_out(root, &path, from.time)?;
                continue;
            }
            if let Some(parent) = path.parent() {
                std::fs::create_dir_all(parent).map_err(Error::io("create", parent))?;
            }
            let staged = Staged::beside(&path);
            filetree::copy_out(root, staged.path(), from.time)?;
            staged.rename(&path)?;
        }
        Ok(None)
    }
}
