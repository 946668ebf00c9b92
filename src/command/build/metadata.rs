//! `--metadata-file` and `--annotation`: what is said about a result besides the image itself.

use std::{collections::BTreeMap, fs, path::Path};

use engine::BuiltTarget;
use export::Output;
use oci::{Descriptor, Platform};
use serde_json::{Map, Value};

use super::targets::in_words;
use crate::report::Failure;

/// Finds out whether the file can be written before anything is built for it.
pub(super) fn check(path: &Path) -> Result<(), Failure> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.unwrap_or(Path::new("."));
    match fs::metadata(parent) {
        Ok(metadata) if metadata.is_dir() => Ok(()),
        _ => Err(Failure::usage(format!(
            "--metadata-file `{}`: its directory does not exist",
            path.display()
        ))),
    }
}

/// Writes what is known of the result, with the names that buildx gives it; of several targets by their names.
///
/// The digest is that of the manifest, or of the index, that was pushed or else written; of an image that is only in the
/// store, which has none, that of its config, as in Docker's own store.
pub(super) fn write(
    path: &Path,
    built: &[BuiltTarget],
    manifests: &[Option<Descriptor>],
) -> Result<(), Failure> {
    let each = || built.iter().zip(manifests);
    let document = match each().next() {
        Some((only, manifest)) if built.len() == 1 => of_target(only, manifest.as_ref()),
        _ => each()
            .map(|(built, manifest)| {
                (in_words(&built.target).to_owned(), of_target(built, manifest.as_ref()))
            })
            .collect(),
    };
    fs::write(path, format!("{document:#}\n")).map_err(Failure::io("write", path.display()))
}

fn of_target(built: &BuiltTarget, manifest: Option<&Descriptor>) -> Value {
    let mut document = Map::new();
    let mut add = |name: &str, value: Value| document.insert(name.to_owned(), value);
    // Several platforms have several.
    let id = match &built.images[..] {
        [only] => Some(only.image.id.to_string()),
        _ => None,
    };
    if let Some(id) = &id {
        add("containerimage.config.digest", id.as_str().into());
    }
    if let Some(manifest) = manifest {
        add("containerimage.descriptor", serde_json::to_value(manifest).unwrap_or_default());
    }
    if let Some(digest) = manifest.map(|manifest| manifest.digest.to_string()).or(id) {
        add("containerimage.digest", digest.into());
    }
    let names = built.target.tags.iter().map(|name| name.tagged().to_string());
    let names: Vec<String> = names.collect();
    if !names.is_empty() {
        add("image.name", names.join(",").into());
    }
    Value::Object(document)
}

/// Puts `--annotation` into the outputs that have manifests, and says what is wrong with the annotations of all.
pub(super) fn annotate(
    outputs: &mut [Output],
    given: &[String],
    platforms: &[Platform],
) -> Result<(), Failure> {
    let keys: Vec<Vec<(String, String)>> =
        given.iter().map(|text| annotation(text)).collect::<Result<_, _>>()?;
    let keys: BTreeMap<String, String> = keys.into_iter().flatten().collect();
    let wrong = |error: &dyn std::fmt::Display| Failure::usage(format!("--annotation: {error}"));
    let mut has_place = keys.is_empty();
    for output in outputs {
        has_place |= output.annotate(&keys).map_err(|error| wrong(&error))?;
        let annotations = output.annotations();
        if annotations.need_an_index() && platforms.len() == 1 {
            return Err(wrong(
                &"index annotations not supported for single platform export: an index is made for several by --platform",
            ));
        }
        if let Some(other) = annotations.platforms().find(|named| !platforms.contains(named)) {
            return Err(wrong(&format!("`{other}` is no platform of this build")));
        }
    }
    if has_place {
        return Ok(());
    }
    Err(Failure::usage(
        "--annotation needs an output with a manifest: --output type=oci, --output type=image or --push",
    ))
}

/// Reads `[TYPE[[PLATFORM]],…:]KEY=VALUE`, and returns the keys of an output that mean the same.
fn annotation(given: &str) -> Result<Vec<(String, String)>, Failure> {
    const TYPES: [&str; 4] = ["manifest", "manifest-descriptor", "index", "index-descriptor"];
    let wrong = |reason: &str| Failure::usage(format!("--annotation `{given}`: {reason}"));
    let (key, value) = given.split_once('=').ok_or_else(|| wrong("it has no `=`: KEY=VALUE"))?;
    let (kinds, key) = key.split_once(':').unwrap_or(("manifest", key));
    if key.is_empty() {
        return Err(wrong("it has no name"));
    }
    let mut keys = Vec::new();
    for kind in kinds.split(',') {
        let (kind, platform) = kind.split_at(kind.find('[').unwrap_or(kind.len()));
        if !TYPES.contains(&kind) {
            let known = TYPES.join(", ");
            return Err(wrong(&format!("unknown annotation type `{kind}`: there are {known}")));
        }
        keys.push((format!("annotation-{kind}{platform}.{key}"), value.to_owned()));
    }
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use super::annotation;

    #[test]
    fn annotations() {
        for (given, expected) in [
            ("a.b=c", Some("annotation-manifest.a.b=c")),
            ("manifest:a=b=c", Some("annotation-manifest.a=b=c")),
            ("a=x:y", Some("annotation-manifest.a=x:y")),
            ("index:a=b", Some("annotation-index.a=b")),
            (
                "manifest-descriptor,index-descriptor:a=",
                Some("annotation-manifest-descriptor.a= annotation-index-descriptor.a="),
            ),
            ("manifest[linux/amd64]:a=b", Some("annotation-manifest[linux/amd64].a=b")),
            ("images:a=b", None),
            ("a", None),
            ("=b", None),
            ("index:=b", None),
        ] {
            let keys = annotation(given).ok().map(|keys| {
                let keys = keys.into_iter().map(|(key, value)| format!("{key}={value}"));
                keys.collect::<Vec<_>>().join(" ")
            });
            assert_eq!(keys.as_deref(), expected, "{given}");
        }
    }
}
