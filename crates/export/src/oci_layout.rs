//! `type=oci`: an image layout, as an archive or as a directory (image-spec, image-layout.md).
//!
//! ```text
//! oci-layout                 which version of the layout
//! blobs/sha256/<hex>         config, manifest, layers; and the index
//! index.json                 one descriptor for each name: of the manifest, or of the index of those for several platforms
//! ```

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::Path,
};

use oci::{Descriptor, Index, Reference, json};

use crate::{
    Destination, Output,
    destination::Staged,
    error::{Error, Result},
    exporter::{Exporter, From},
    index::Assembly,
    layer::{Compression, LayerOptions},
    manifest::MediaTypes,
    output::{ANNOTATION_KEYS, TIME_KEYS},
    sink::{self, Archive, Directory, Sink},
};

/// `type=oci`.
pub(crate) static OCI: OciLayout = OciLayout;

/// The name of the file that says what the directory is, and its bytes.
pub(crate) const LAYOUT: (&str, &[u8]) = ("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#);

/// The tag (image-spec, annotations.md).
const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// The whole reference: containerd's addition, which Docker reads.
const IMAGE_NAME: &str = "io.containerd.image.name";

/// What `type=oci` and `type=docker` both have.
pub(crate) const COMPRESSION_KEYS: [(&str, &str); 3] = [
    ("compression", "how layers are compressed: `uncompressed`, `gzip` or `zstd`"),
    ("force-compression", "whether this counts for the layers of the base too"),
    ("name", "the image's name, several behind commas"),
];

/// See [`OCI`].
#[derive(Debug)]
pub(crate) struct OciLayout;

impl Exporter for OciLayout {
    fn name(&self) -> &'static str {
        "oci"
    }

    fn what(&self) -> &'static str {
        "an OCI image layout, as an archive or as a directory"
    }

    fn keys(&self) -> &'static [(&'static str, &'static str)] {
        const KEYS: &[(&str, &str)] = &[
            ("dest", "the file, or `-` for standard output"),
            ("tar", "`false` for a directory instead of an archive"),
            COMPRESSION_KEYS[0],
            COMPRESSION_KEYS[1],
            COMPRESSION_KEYS[2],
            ("oci-mediatypes", "`false` for a manifest in Docker's words"),
            ANNOTATION_KEYS[0],
            ANNOTATION_KEYS[1],
            ANNOTATION_KEYS[2],
            TIME_KEYS[0],
            TIME_KEYS[1],
        ];
        KEYS
    }

    fn check(&self, output: &Output) -> Result<(), Error> {
        layer_options(output, Compression::Gzip)?;
        media_types(output)?;
        if !output.flag("tar", true)? && output.is_stdout() {
            return Err(Error::Value {
                key: "dest".to_owned(),
                value: "-".to_owned(),
                expected: "a directory does not fit on standard output",
            });
        }
        Ok(())
    }

    fn write(&self, from: &From<'_>, output: &Output) -> Result<Option<Descriptor>, Error> {
        let image = Assembly::new(
            from.store,
            from.flavour,
            from.image.images,
            media_types(output)?,
            &layer_options(output, Compression::Gzip)?,
            output.annotations(),
        )?;
        let given = output.names()?;
        let names = if given.is_empty() { from.image.names } else { &given };
        let index = entries(image.descriptor(), names);
        match output.destination()? {
            Destination::Path(path) if !output.flag("tar", true)? => {
                write_directory(from, &image, index, path)?;
            }
            destination => destination.write(|out| {
                let mut archive = Archive::new(out);
                put(&mut archive, from, &image)?;
                archive.put_bytes("index.json", &json::to_bytes(&Index::oci(index)))?;
                archive.finish()
            })?,
        }
        Ok(Some(image.descriptor().clone()))
    }
}

fn put(sink: &mut dyn Sink, from: &From<'_>, image: &Assembly) -> Result<()> {
    sink.put_bytes(LAYOUT.0, LAYOUT.1)?;
    sink::put_all(sink, &mut BTreeSet::new(), from.store, from.flavour, image)
}

/// Returns the index's entries for one image: one for each name, or one without.
pub(crate) fn entries(manifest: &Descriptor, names: &[Reference]) -> Vec<Descriptor> {
    if names.is_empty() {
        return vec![manifest.clone()];
    }
    let entry = |name: &Reference| {
        let name = name.tagged();
        let mut annotations = manifest.annotations.clone().unwrap_or_default();
        annotations.insert(IMAGE_NAME.to_owned(), name.to_string());
        if let Some(tag) = name.tag() {
            annotations.insert(REF_NAME.to_owned(), tag.to_owned());
        }
        Descriptor { annotations: Some(annotations), ..manifest.clone() }
    };
    names.iter().map(entry).collect()
}

/// Reads how layers are to be compressed.
pub(crate) fn layer_options(output: &Output, absent: Compression) -> Result<LayerOptions> {
    let compression = match output.attribute("compression") {
        None => absent,
        Some("uncompressed") => Compression::Uncompressed,
        Some("gzip") => Compression::Gzip,
        Some("zstd") => Compression::Zstd,
        Some(value) => {
            return Err(Error::Value {
                key: "compression".to_owned(),
                value: value.to_owned(),
                expected: "`uncompressed`, `gzip` or `zstd`",
            });
        }
    };
    Ok(LayerOptions { compression, force: output.flag("force-compression", false)? })
}

fn media_types(output: &Output) -> Result<MediaTypes> {
    Ok(match output.flag("oci-mediatypes", true)? {
        true => MediaTypes::Oci,
        false => MediaTypes::Docker,
    })
}

/// Writes a layout into a new directory, or adds to the one that is there: blobs first, the index last and at once.
fn write_directory(
    from: &From<'_>,
    image: &Assembly,
    mut index: Vec<Descriptor>,
    path: &Path,
) -> Result<()> {
    let there = existing(path)?;
    let staged = match &there {
        // In it: it may be on a file system of its own.
        Some(_) => Staged::inside(path, "layout"),
        None => Staged::beside(path),
    };
    let mut directory = Directory::create(&staged)?;
    put(&mut directory, from, image)?;
    if let Some(there) = &there {
        let replaced = |old: &Descriptor| index.iter().any(|new| is_same_entry(old, new));
        let mut kept: Vec<_> = there.iter().filter(|old| !replaced(old)).cloned().collect();
        kept.append(&mut index);
        index = kept;
    }
    directory.put_bytes("index.json", &json::to_bytes(&Index::oci(index)))?;
    match there {
        Some(_) => move_into(staged.path(), path),
        None => staged.rename(path),
    }
}

/// An entry replaces the one of the same name, or of no name and the same manifest.
fn is_same_entry(old: &Descriptor, new: &Descriptor) -> bool {
    let name = |descriptor: &Descriptor| {
        let annotations: Option<&BTreeMap<String, String>> = descriptor.annotations.as_ref();
        annotations.and_then(|a| a.get(IMAGE_NAME).or_else(|| a.get(REF_NAME))).cloned()
    };
    match (name(old), name(new)) {
        (Some(old), Some(new)) => old == new,
        (None, None) => old.digest == new.digest,
        _ => false,
    }
}

/// Returns the entries of the layout at `path`, none if it is an empty directory; `None` if nothing is there.
fn existing(path: &Path) -> Result<Option<Vec<Descriptor>>> {
    let mut entries = match fs::read_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        entries => entries.map_err(Error::io("list", path))?,
    };
    if entries.next().is_none() {
        return Ok(Some(Vec::new()));
    }
    let foreign = || Error::ForeignDirectory { path: path.to_owned() };
    if !path.join(LAYOUT.0).exists() {
        return Err(foreign());
    }
    match fs::read(path.join("index.json")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Some(Vec::new())),
        bytes => {
            let bytes = bytes.map_err(Error::io("read", path))?;
            Ok(Some(Index::parse(&bytes).map_err(|_| foreign())?.manifests))
        }
    }
}

/// Moves the files of a finished layout into another, the index last.
fn move_into(staged: &Path, path: &Path) -> Result<()> {
    for algorithm in list(&staged.join("blobs"))? {
        let to = path.join("blobs").join(algorithm.file_name().unwrap_or_default());
        fs::create_dir_all(&to).map_err(Error::io("create", &to))?;
        for blob in list(&algorithm)? {
            let to = to.join(blob.file_name().unwrap_or_default());
            fs::rename(&blob, &to).map_err(Error::io("rename", to))?;
        }
    }
    for document in [LAYOUT.0, "index.json"] {
        let to = path.join(document);
        fs::rename(staged.join(document), &to).map_err(Error::io("rename", to))?;
    }
    Ok(())
}

fn list(directory: &Path) -> Result<Vec<std::path::PathBuf>> {
    let entries = fs::read_dir(directory).map_err(Error::io("list", directory))?;
    entries.map(|entry| Ok(entry.map_err(Error::io("list", directory))?.path())).collect()
}

#[cfg(test)]
mod tests;
