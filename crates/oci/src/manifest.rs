//! What a registry or a layout stores about an image: its manifest, or an index of several.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize, de::IgnoredAny};

use crate::{Descriptor, Error, Platform, config::null_is_default, json::from_object, media_type};

/// The manifest of one image (image-spec, manifest.md; Docker's v2 schema 2 has the same shape).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// Always 2.
    pub schema_version: u8,
    /// What kind of manifest; absent in some OCI documents.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// The image config.
    pub config: Descriptor,
    /// The layers, from the bottom.
    #[serde(default, deserialize_with = "null_is_default")]
    pub layers: Vec<Descriptor>,
    /// Further facts, by key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<BTreeMap<String, String>>,
}

impl Manifest {
    /// Reads a manifest. A document that is an index as well, or says that it is one, is none: whoever reads it as the
    /// other would see other layers (distribution-spec, GHSA-mc8v-mgrf-8f4m).
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let parsed = Shape::parse(bytes).and_then(|shape| {
            shape.check(media_type::is_index, shape.manifests.is_some(), "an image index")?;
            from_object(bytes)
        });
        parsed.map_err(|source| Error::Document { document: "manifest", source })
    }

    /// Returns an OCI manifest of these parts.
    pub fn oci(config: Descriptor, layers: Vec<Descriptor>) -> Self {
        let media_type = Some(media_type::OCI_MANIFEST.to_owned());
        Self { schema_version: 2, media_type, config, layers, annotations: None }
    }
}

/// A list of manifests, one for each platform or name (image-spec, image-index.md).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    /// Always 2.
    pub schema_version: u8,
    /// What kind of index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// The manifests.
    #[serde(default, deserialize_with = "null_is_default")]
    pub manifests: Vec<Descriptor>,
    /// Further facts, by key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<BTreeMap<String, String>>,
}

impl Index {
    /// Reads an index. A document that is a manifest as well, or says that it is one, is none.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let parsed = Shape::parse(bytes).and_then(|shape| {
            let is_manifest = shape.layers.is_some() || shape.config.is_some();
            shape.check(media_type::is_manifest, is_manifest, "a manifest")?;
            from_object(bytes)
        });
        parsed.map_err(|source| Error::Document { document: "image index", source })
    }

    /// Returns an OCI index of these manifests.
    pub fn oci(manifests: Vec<Descriptor>) -> Self {
        let media_type = Some(media_type::OCI_INDEX.to_owned());
        Self { schema_version: 2, media_type, manifests, annotations: None }
    }

    /// Returns the manifest that `platform` [likes best](Platform::preference); without one, the first of those that name
    /// no platform. Attestations (platform `unknown`) never.
    pub fn select(&self, platform: &Platform) -> Option<&Descriptor> {
        let unnamed = |descriptor: &&Descriptor| descriptor.platform.is_none();
        let named = |descriptor: &Descriptor| {
            descriptor.platform.clone().filter(|platform| !platform.architecture.is_empty())
        };
        let best = platform.choose(&self.manifests, named);
        best.or_else(|| self.manifests.iter().find(unnamed))
    }
}

/// What tells the kinds of documents apart. A registry names the kind beside the document, where somebody else may name another.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Shape {
    media_type: Option<String>,
    manifests: Option<IgnoredAny>,
    config: Option<IgnoredAny>,
    layers: Option<IgnoredAny>,
    fs_layers: Option<IgnoredAny>,
}

impl Shape {
    fn parse(bytes: &[u8]) -> serde_json::Result<Self> {
        from_object(bytes)
    }

    /// Refuses a document of the other kind, of both, and of Docker's first schema, which had no digests of its layers' contents.
    fn check(
        &self,
        is_other: fn(&str) -> bool,
        has_other: bool,
        other: &str,
    ) -> serde_json::Result<()> {
        let refuse = |reason: String| Err(serde::de::Error::custom(reason));
        match &self.media_type {
            _ if self.fs_layers.is_some() => refuse("it is of Docker's schema 1".to_owned()),
            Some(media_type) if is_other(media_type) => {
                refuse(format!("its `mediaType` is `{media_type}`, so it is {other}"))
            }
            _ if has_other => refuse(format!("it has fields of {other} as well")),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DESCRIPTOR: &str = r#"{"mediaType":"x","size":1,"digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}"#;

    #[test]
    fn a_document_is_one_thing() {
        let config = format!(r#""config":{DESCRIPTOR}"#);
        let of_both = format!(r#"{{"schemaVersion":2,{config},"layers":[],"manifests":[]}}"#);
        let manifest = format!(r#"{{"schemaVersion":2,{config},"layers":[],"manifests":null}}"#);
        let index = r#"{"schemaVersion":2,"manifests":[]}"#;
        assert!(Manifest::parse(manifest.as_bytes()).is_ok());
        assert!(Index::parse(index.as_bytes()).is_ok());
        for text in [&of_both, &manifest] {
            assert!(Index::parse(text.as_bytes()).is_err(), "{text}");
        }
        for text in [&of_both, index] {
            assert!(Manifest::parse(text.as_bytes()).is_err(), "{text}");
        }
        for (media_type, is_manifest, is_index) in [
            (media_type::OCI_MANIFEST, true, false),
            (media_type::DOCKER_MANIFEST, true, false),
            (media_type::OCI_INDEX, false, true),
            (media_type::DOCKER_MANIFEST_LIST, false, true),
            ("", true, true),
        ] {
            let typed =
                |text: &str| text.replacen('{', &format!(r#"{{"mediaType":"{media_type}","#), 1);
            assert_eq!(Manifest::parse(typed(&manifest).as_bytes()).is_ok(), is_manifest);
            assert_eq!(Index::parse(typed(index).as_bytes()).is_ok(), is_index);
        }
    }

    #[test]
    fn what_is_not_known_is_passed_over() {
        let odd = r#""x":{"layers":[1]},"":null,"size":[]"#;
        let descriptor = DESCRIPTOR.replacen('{', r#"{"y":[{}],"#, 1);
        let text =
            format!(r#"{{"schemaVersion":2,{odd},"config":{descriptor},"layers":[{descriptor}]}}"#);
        assert_eq!(Manifest::parse(text.as_bytes()).unwrap().layers.len(), 1);
        let platform = r#""platform":{"os":"a","architecture":"b","z":{}}"#;
        let listed = descriptor.replacen('{', &format!("{{{platform},"), 1);
        let text = format!(r#"{{"schemaVersion":2,{odd},"manifests":[{listed}]}}"#);
        assert_eq!(Index::parse(text.as_bytes()).unwrap().manifests.len(), 1);
    }

    #[test]
    fn what_is_said_twice_or_of_another_age_is_refused() {
        let config = format!(r#""schemaVersion":2,"config":{DESCRIPTOR}"#);
        for rest in [
            r#""layers":[],"layers":[]"#,
            r#""fsLayers":[]"#,
            r#""mediaType":"a","mediaType":"b""#,
            r#""layers":{}"#,
        ] {
            let text = format!("{{{config},{rest}}}");
            assert!(Manifest::parse(text.as_bytes()).is_err(), "{text}");
        }
    }
}
