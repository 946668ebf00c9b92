//! `type=image` and `type=registry`: names in the store. Pushing them is the caller's, who knows the network:
//! [`Output::pushes`].

use oci::{Descriptor, ImageId, Reference};

use crate::{
    Output,
    error::{Error, Result},
    exporter::{Exporter, From},
    oci_layout::COMPRESSION_KEYS,
    output::{ANNOTATION_KEYS, TIME_KEYS},
};

/// `type=image`.
pub(crate) static IMAGE: Image = Image { name: "image", what: "names in kiln's store" };

/// `type=registry`.
pub(crate) static REGISTRY: Image =
    Image { name: "registry", what: "names in kiln's store, pushed to their registries" };

/// See [`IMAGE`] and [`REGISTRY`].
#[derive(Debug)]
pub(crate) struct Image {
    name: &'static str,
    what: &'static str,
}

impl Exporter for Image {
    fn name(&self) -> &'static str {
        self.name
    }

    fn what(&self) -> &'static str {
        self.what
    }

    fn keys(&self) -> &'static [(&'static str, &'static str)] {
        const KEYS: &[(&str, &str)] = &[
            COMPRESSION_KEYS[2],
            ("push", "`true` to push it to the registries of its names"),
            ("push-by-digest", "`true` to push it without a tag"),
            ("registry.insecure", "`true` for registries that need not prove who they are"),
            COMPRESSION_KEYS[0],
            COMPRESSION_KEYS[1],
            (
                "oci-mediatypes",
                "`true` for a manifest in the image specification's words, `false` for Docker's",
            ),
            ANNOTATION_KEYS[0],
            ANNOTATION_KEYS[1],
            ANNOTATION_KEYS[2],
            TIME_KEYS[0],
            TIME_KEYS[1],
        ];
        KEYS
    }

    fn needs_dest(&self) -> bool {
        false
    }

    fn check(&self, output: &Output) -> Result<(), Error> {
        output.flag("push", false)?;
        output.is_insecure()?;
        output.push_options().map(|_| ())
    }

    fn write(&self, from: &From<'_>, output: &Output) -> Result<Option<Descriptor>, Error> {
        write(from, &output.names()?).map(|()| None)
    }
}

/// Gives the image names, besides those it has.
pub(crate) fn write(from: &From<'_>, names: &[Reference]) -> Result<()> {
    let ids: Vec<ImageId> = from.image.images.iter().map(|image| image.id).collect();
    for name in names {
        from.store.tag_all(name, &ids)?;
    }
    Ok(())
}
