//! Annotations: which there are, of what, and for which platforms (image-spec, annotations.md; the keys are BuildKit's).
//!
//! ```text
//! annotation.K             of the manifest of each image
//! annotation[PLATFORM].K   of the manifest of the image for that platform
//! annotation-TYPE.K        of what TYPE says: see [`Place`]
//! ```

use std::collections::BTreeMap;

use oci::Platform;

use crate::error::{Error, Result};

/// What every key begins with.
pub(crate) const PREFIX: &str = "annotation";

/// What an annotation is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Manifest,
    /// What describes the manifest, in an index or in an OCI layout.
    ManifestDescriptor,
    Index,
    /// What describes the index in an OCI layout.
    IndexDescriptor,
}

const PLACES: [(&str, Place); 4] = [
    ("manifest", Place::Manifest),
    ("manifest-descriptor", Place::ManifestDescriptor),
    ("index", Place::Index),
    ("index-descriptor", Place::IndexDescriptor),
];

/// The annotations of an output.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Annotations(Vec<Annotation>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Annotation {
    place: Place,
    /// For which platform; none is for all of them.
    platform: Option<Platform>,
    name: String,
    value: String,
}

impl Annotations {
    /// Reads them from the keys of an output; other keys are none of its business.
    pub(crate) fn of(attributes: &BTreeMap<String, String>) -> Result<Self> {
        let mut annotations = Vec::new();
        for (key, value) in attributes {
            let Some(rest) = key.strip_prefix(PREFIX) else { continue };
            let wrong =
                |expected| Error::Value { key: key.clone(), value: value.clone(), expected };
            let (head, name) = rest
                .split_once('.')
                .ok_or_else(|| wrong("a name behind a point: annotation.NAME"))?;
            let (kind, platform) = match head.split_once('[') {
                Some((kind, platform)) => (kind, Some(platform)),
                None => (head, None),
            };
            let kind = match kind {
                "" => "manifest",
                kind => kind.strip_prefix('-').unwrap_or_default(),
            };
            let place = PLACES.iter().find(|(name, _)| *name == kind).ok_or_else(|| {
                wrong("annotation-TYPE: manifest, manifest-descriptor, index or index-descriptor")
            })?;
            let platform = match platform {
                Some(platform) => {
                    let named = platform.strip_suffix(']');
                    let named = named.and_then(|platform| Platform::parse(platform).ok());
                    Some(named.ok_or_else(|| wrong("a platform in brackets"))?)
                }
                None => None,
            };
            let (name, value) = (name.to_owned(), value.clone());
            annotations.push(Annotation { place: place.1, platform, name, value });
        }
        Ok(Self(annotations))
    }

    /// Whether something is said of an index, which one image alone has none of.
    pub fn need_an_index(&self) -> bool {
        self.0.iter().any(|it| matches!(it.place, Place::Index | Place::IndexDescriptor))
    }

    /// Returns the platforms that are named.
    pub fn platforms(&self) -> impl Iterator<Item = &Platform> {
        self.0.iter().filter_map(|annotation| annotation.platform.as_ref())
    }

    pub(crate) fn manifest(&self, platform: &Platform) -> BTreeMap<String, String> {
        self.at(Place::Manifest, Some(platform))
    }

    /// What is added to the descriptor of a manifest; `None` if nothing is.
    pub(crate) fn manifest_descriptor(
        &self,
        platform: &Platform,
    ) -> Option<BTreeMap<String, String>> {
        some(self.at(Place::ManifestDescriptor, Some(platform)))
    }

    pub(crate) fn index(&self) -> Option<BTreeMap<String, String>> {
        some(self.at(Place::Index, None))
    }

    pub(crate) fn index_descriptor(&self) -> Option<BTreeMap<String, String>> {
        some(self.at(Place::IndexDescriptor, None))
    }

    /// Those for all platforms, and then those for this one, which go before them.
    fn at(&self, place: Place, platform: Option<&Platform>) -> BTreeMap<String, String> {
        let mut found = BTreeMap::new();
        for wanted in [None, platform] {
            let fits = |it: &&Annotation| it.place == place && it.platform.as_ref() == wanted;
            let fitting = self.0.iter().filter(fits);
            found.extend(fitting.map(|it| (it.name.clone(), it.value.clone())));
        }
        found
    }
}

fn some(annotations: BTreeMap<String, String>) -> Option<BTreeMap<String, String>> {
    (!annotations.is_empty()).then_some(annotations)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(keys: &[(&str, &str)]) -> Result<Annotations> {
        let owned = keys.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        Annotations::of(&owned.collect())
    }

    fn text(map: Option<BTreeMap<String, String>>) -> String {
        let pairs =
            map.unwrap_or_default().into_iter().map(|(key, value)| format!("{key}={value}"));
        pairs.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn each_is_where_it_belongs() {
        let amd = Platform::parse("linux/amd64").unwrap();
        let arm = Platform::parse("linux/arm64").unwrap();
        let annotations = of(&[
            ("annotation.a.b", "all"),
            ("annotation[linux/arm64].a.b", "arm"),
            ("annotation-manifest.c", "1"),
            ("annotation-manifest-descriptor[linux/amd64].d", "2"),
            ("annotation-index.e", "3"),
            ("annotation-index-descriptor.f", "4"),
            ("compression", "zstd"),
        ])
        .unwrap();
        assert_eq!(text(Some(annotations.manifest(&amd))), "a.b=all c=1");
        assert_eq!(text(Some(annotations.manifest(&arm))), "a.b=arm c=1");
        assert_eq!(text(annotations.manifest_descriptor(&amd)), "d=2");
        assert_eq!(annotations.manifest_descriptor(&arm), None);
        assert_eq!(text(annotations.index()), "e=3");
        assert_eq!(text(annotations.index_descriptor()), "f=4");
        assert!(annotations.need_an_index());
        assert_eq!(annotations.platforms().count(), 2);
    }

    #[test]
    fn what_is_no_annotation_is_told() {
        for key in [
            "annotation",
            "annotation-manifests.a",
            "annotationmanifest.a",
            "annotation[linux/amd64.a",
            "annotation[].a",
        ] {
            assert!(of(&[(key, "")]).is_err(), "{key}");
        }
        assert!(!of(&[("annotation.a", "")]).unwrap().need_an_index());
    }
}
