//! Manifests: from a reference to one image's manifest and config, through an index if there is one.
//!
//! Every document is checked before anything is made of it: its size, its digest against the name it was asked by and
//! against the registry's own header, its kind against what the answer says it is. Layers are in [`crate::blob`].

use hyper::{
    HeaderMap, Method,
    header::{self, HeaderName, HeaderValue},
};
use serde::{Deserialize, de::IgnoredAny};

use oci::{
    BlobDigest, Descriptor, Digest, ImageConfig, Index, Manifest, ManifestDigest, Platform,
    Reference, media_type,
};

use crate::{Client, DocumentError, Error, exchange::Message, send::Ask, tries::Tries};

/// All documents that a manifest request may be answered with.
const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json";

const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");

/// An index may list indexes; nobody nests them deeper than this.
pub(crate) const DEEPEST_INDEX: usize = 3;

/// What a reference means for one platform.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Resolved {
    /// The index that the reference names, if it names one.
    pub index: Option<ResolvedIndex>,
    /// The digest of the manifest of the platform's image.
    pub manifest_digest: ManifestDigest,
    /// The manifest as the registry has it, byte for byte.
    pub manifest_bytes: Vec<u8>,
    /// The manifest.
    pub manifest: Manifest,
    /// The image config as the registry has it, byte for byte; its digest is the image id.
    pub config_bytes: Vec<u8>,
    /// The image config. It lists as many layers as the manifest.
    pub config: ImageConfig,
}

impl Resolved {
    /// Returns the digest of what the reference names: of the index if there is one, else of the manifest. This is
    /// the digest to pin a base by.
    pub fn digest(&self) -> &ManifestDigest {
        self.index.as_ref().map_or(&self.manifest_digest, |index| &index.digest)
    }
}

/// An index on the way to a manifest.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ResolvedIndex {
    /// The digest of its bytes.
    pub digest: ManifestDigest,
    /// The index as the registry has it, byte for byte.
    pub bytes: Vec<u8>,
    /// The index.
    pub index: Index,
}

/// A document whose digest is known to be right.
pub(crate) struct Document {
    digest: ManifestDigest,
    pub(crate) bytes: Vec<u8>,
    /// The `Content-Type` it came with.
    kind: String,
}

/// What a document is.
pub(crate) enum Parsed {
    Index(Index),
    Manifest(Box<Manifest>),
}

impl Client {
    /// Finds the image that a reference means on a platform.
    ///
    /// Asks the registry for the manifest, or the index and then the manifest in it, and for the image config. A
    /// reference with a digest is asked for by it; else the tag is, `latest` if there is none. What an image without
    /// an index runs on is for the caller to compare: the registry has no other.
    pub async fn resolve(
        &self,
        reference: &Reference,
        platform: &Platform,
    ) -> Result<Resolved, Error> {
        let mut index = None;
        let mut document = self.document(reference, None).await?;
        for _ in 0..=DEEPEST_INDEX {
            let found = match parse(&document).map_err(|source| self.no_image(reference, source))? {
                Parsed::Manifest(manifest) => {
                    return self.with_config(reference, index, document, *manifest).await;
                }
                Parsed::Index(found) => found,
            };
            let selected = found.select(platform);
            let descriptor = selected.ok_or_else(|| no_platform(reference, platform, &found))?;
            let next = self.document(reference, Some(descriptor)).await?;
            let Document { digest, bytes, .. } = std::mem::replace(&mut document, next);
            index.get_or_insert(ResolvedIndex { digest, bytes, index: found });
        }
        let source = DocumentError::Kind("it is an index of indexes of indexes without an image");
        Err(self.no_image(reference, source))
    }

    /// Returns the digest that a tag stands for now, at the cost of one request without a body: whether a known image
    /// is still the newest. A reference with a digest is not asked about.
    ///
    /// The answer is the registry's word; nothing may be stored under it that was not hashed.
    pub async fn digest(&self, reference: &Reference) -> Result<ManifestDigest, Error> {
        if let Some(digest) = reference.digest() {
            return Ok(*digest);
        }
        let mut places = self.places(reference)?.into_iter();
        while let Some(place) = places.next() {
            match self.digest_at(&place).await {
                Err(error) if places.len() > 0 => self.give_up(&place, &error),
                said => return said,
            }
        }
        // There is one place at least.
        Err(Error::Abandoned)
    }

    async fn digest_at(&self, place: &Reference) -> Result<ManifestDigest, Error> {
        let ask = self.ask(place, manifest_path(place, None)).await?;
        let mut tries = Tries::new(self.sender().limits());
        let said = match self.sender().send_within(&mut tries, &ask, &message(Method::HEAD)).await {
            Ok(answer) => header_digest(&ask, &answer.headers)?,
            // Not every registry knows HEAD, and none can say in the answer why it refuses.
            Err(Error::Status { .. } | Error::Denied { .. }) => None,
            Err(error) => return Err(error),
        };
        match said {
            Some(digest) => Ok(ManifestDigest::new(digest)),
            None => Ok(self.document_at(&mut tries, place, None).await?.digest),
        }
    }

    /// Fetches a manifest or an index: the one that a descriptor names, or the reference itself. Whatever a mirror does
    /// wrong, there is still the registry itself.
    pub(crate) async fn document(
        &self,
        reference: &Reference,
        descriptor: Option<&Descriptor>,
    ) -> Result<Document, Error> {
        let mut places = self.places(reference)?.into_iter();
        while let Some(place) = places.next() {
            let mut tries = Tries::new(self.sender().limits());
            match self.document_at(&mut tries, &place, descriptor).await {
                Err(error) if places.len() > 0 => self.give_up(&place, &error),
                document => return document,
            }
        }
        // There is one place at least.
        Err(Error::Abandoned)
    }

    async fn document_at(
        &self,
        tries: &mut Tries,
        reference: &Reference,
        descriptor: Option<&Descriptor>,
    ) -> Result<Document, Error> {
        let mut ask = self.ask(reference, manifest_path(reference, descriptor)).await?;
        if let Some(descriptor) = descriptor {
            ask.wanted = format!("{}@{}", reference.familiar_name(), descriptor.digest);
        }
        let pinned = match descriptor {
            Some(descriptor) => Some(*descriptor.digest.as_digest()),
            None => reference.digest().map(|digest| *digest.as_digest()),
        };
        let answer = self.sender().read(tries, &ask, &message(Method::GET), "manifest").await?;
        let said = header_digest(&ask, &answer.headers)?;
        let kind = answer.header(header::CONTENT_TYPE).unwrap_or_default().to_owned();
        let bytes = answer.bytes;
        if let Some(descriptor) = descriptor {
            check_size(&ask, descriptor.size, bytes.len() as u64)?;
        }
        for expected in pinned.iter().chain(&said) {
            check_digest(&ask.wanted, expected, &bytes)?;
        }
        let digest = ManifestDigest::new(pinned.unwrap_or_else(|| Digest::of(&bytes)));
        Ok(Document { digest, bytes, kind })
    }

    async fn with_config(
        &self,
        reference: &Reference,
        index: Option<ResolvedIndex>,
        document: Document,
        manifest: Manifest,
    ) -> Result<Resolved, Error> {
        let config_bytes = self.config(reference, &manifest.config).await?;
        let config =
            check_object(&config_bytes).and_then(|()| Ok(ImageConfig::parse(&config_bytes)?));
        let config = config.map_err(|source| self.no_image(reference, source))?;
        let (diff_ids, layers) = (config.rootfs.diff_ids.len(), manifest.layers.len());
        if diff_ids != layers {
            return Err(self.no_image(reference, DocumentError::LayerCount { diff_ids, layers }));
        }
        let Document { digest: manifest_digest, bytes: manifest_bytes, .. } = document;
        Ok(Resolved { index, manifest_digest, manifest_bytes, manifest, config_bytes, config })
    }

    async fn config(
        &self,
        reference: &Reference,
        descriptor: &Descriptor,
    ) -> Result<Vec<u8>, Error> {
        let limit = self.sender().limits().document;
        if descriptor.size > limit {
            let url = self.ask(reference, blob_path(reference, &descriptor.digest)).await?.url;
            return Err(Error::TooLarge { url: url.to_string(), document: "config", limit });
        }
        match self.small_blob(reference, descriptor).await {
            // From a mirror, perhaps, which is not asked again.
            Err(Error::Digest { .. }) => self.small_blob(reference, descriptor).await,
            bytes => bytes,
        }
    }

    async fn small_blob(
        &self,
        reference: &Reference,
        descriptor: &Descriptor,
    ) -> Result<Vec<u8>, Error> {
        let mut blob = self.blob(reference, descriptor).await?;
        let mut bytes = Vec::new();
        while let Some(chunk) = blob.chunk().await? {
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    }

    fn no_image(&self, reference: &Reference, source: DocumentError) -> Error {
        Error::Document { wanted: reference.tagged().familiar(), source }
    }
}

fn manifest_path(reference: &Reference, descriptor: Option<&Descriptor>) -> String {
    let name = match (descriptor, reference.digest()) {
        (Some(descriptor), _) => descriptor.digest.to_string(),
        (None, Some(digest)) => digest.to_string(),
        (None, None) => reference.tag_or_latest().to_owned(),
    };
    format!("/v2/{}/manifests/{name}", reference.path())
}

pub(crate) fn blob_path(reference: &Reference, digest: &BlobDigest) -> String {
    format!("/v2/{}/blobs/{digest}", reference.path())
}

fn message(method: Method) -> Message {
    Message::new(method).with(header::ACCEPT, HeaderValue::from_static(ACCEPT))
}

/// The digest that the registry says the document has; it is compared even for a tag, where nothing else could tell a
/// damaged document.
pub(crate) fn header_digest(ask: &Ask, headers: &HeaderMap) -> Result<Option<Digest>, Error> {
    let Some(value) = headers.get(CONTENT_DIGEST) else { return Ok(None) };
    let digest = value.to_str().ok().and_then(|text| Digest::parse(text).ok());
    digest.map(Some).ok_or_else(|| ask.protocol("its `Docker-Content-Digest` is not a digest"))
}

fn check_size(ask: &Ask, expected: u64, actual: u64) -> Result<(), Error> {
    if expected == actual {
        return Ok(());
    }
    Err(Error::Size { wanted: ask.wanted.clone(), expected, actual })
}

pub(crate) fn check_digest(wanted: &str, expected: &Digest, bytes: &[u8]) -> Result<(), Error> {
    let mut hasher = expected.hasher();
    hasher.update(bytes);
    let actual = hasher.finish();
    if actual == *expected {
        return Ok(());
    }
    Err(Error::Digest {
        wanted: wanted.to_owned(),
        expected: Box::new(*expected),
        actual: Box::new(actual),
    })
}

/// The fields that tell the documents apart.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Shape {
    media_type: Option<String>,
    schema_version: Option<u64>,
    manifests: Option<IgnoredAny>,
    layers: Option<IgnoredAny>,
    config: Option<IgnoredAny>,
}

/// Reads a document as what it is; one that could be read as two things is refused, since somebody else might read it
/// as the other (CVE-2021-41190).
pub(crate) fn parse(document: &Document) -> Result<Parsed, DocumentError> {
    check_object(&document.bytes)?;
    let json = |source| oci::Error::Document { document: "manifest", source };
    let shape: Shape = serde_json::from_slice(&document.bytes).map_err(json)?;
    if shape.schema_version != Some(2) {
        let reason = "its schema version is not 2; registries have not stored others for years";
        return Err(DocumentError::Kind(reason));
    }
    let like_index = shape.manifests.is_some();
    let like_manifest = shape.layers.is_some() || shape.config.is_some();
    if like_index == like_manifest {
        return Err(DocumentError::Kind("it is neither clearly an index nor clearly a manifest"));
    }
    let sent = document.kind.split(';').next().map(str::trim);
    for kind in [sent, shape.media_type.as_deref()].into_iter().flatten() {
        let contradicted = (media_type::is_index(kind) && !like_index)
            || (media_type::is_manifest(kind) && !like_manifest);
        if contradicted {
            return Err(DocumentError::Kind("its media type contradicts what it contains"));
        }
    }
    if like_index {
        Ok(Parsed::Index(Index::parse(&document.bytes)?))
    } else {
        Ok(Parsed::Manifest(Box::new(Manifest::parse(&document.bytes)?)))
    }
}

/// The reader of a struct also accepts an array of its fields, which no specification knows.
fn check_object(bytes: &[u8]) -> Result<(), DocumentError> {
    match bytes.trim_ascii_start().first() {
        Some(b'{') => Ok(()),
        _ => Err(DocumentError::Kind("it is not a JSON object")),
    }
}

pub(crate) fn no_platform(reference: &Reference, platform: &Platform, index: &Index) -> Error {
    let named = index.manifests.iter().filter_map(|descriptor| descriptor.platform.as_ref());
    // Attestations have this in place of a platform.
    let real = named.filter(|platform| platform.os != "unknown");
    Error::NoPlatform {
        wanted: reference.tagged().familiar(),
        platform: platform.to_string(),
        available: real.map(|platform| crate::error::harmless(&platform.to_string())).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(media_type: &str, text: &str) -> &'static str {
        let bytes = text.as_bytes().to_vec();
        let digest = ManifestDigest::new(Digest::of(&bytes));
        match parse(&Document { digest, bytes, kind: media_type.to_owned() }) {
            Ok(Parsed::Index(_)) => "index",
            Ok(Parsed::Manifest(_)) => "manifest",
            Err(_) => "refused",
        }
    }

    #[test]
    fn documents_are_what_they_contain_and_say() {
        let digest = Digest::of(b"");
        let config = format!(r#""config":{{"digest":"{digest}","size":0}}"#);
        let manifest = format!(r#"{{"schemaVersion":2,{config},"layers":[]}}"#);
        let typed =
            |kind| format!(r#"{{"schemaVersion":2,"mediaType":"{kind}",{config},"layers":[]}}"#);
        let index = r#"{"schemaVersion":2,"manifests":[]}"#;
        let (oci_manifest, oci_index) = (media_type::OCI_MANIFEST, media_type::OCI_INDEX);
        for (sent, text, expected) in [
            ("", manifest.as_str(), "manifest"),
            ("application/json; charset=utf-8", &manifest, "manifest"),
            (oci_manifest, &manifest, "manifest"),
            (oci_manifest, &typed(oci_manifest), "manifest"),
            (oci_index, &manifest, "refused"),
            (oci_manifest, &typed(oci_index), "refused"),
            ("", index, "index"),
            (media_type::DOCKER_MANIFEST_LIST, index, "index"),
            (oci_manifest, index, "refused"),
            ("", r#"{"schemaVersion":2}"#, "refused"),
            ("", r#"{"schemaVersion":1,"fsLayers":[],"history":[]}"#, "refused"),
            (
                "",
                &format!(r#"{{"schemaVersion":2,{config},"layers":[],"manifests":[]}}"#),
                "refused",
            ),
            ("", &format!(r#"{{"schemaVersion":2,{config},"layers":[],"layers":[]}}"#), "refused"),
            ("", "[2]", "refused"),
            ("", "null", "refused"),
            ("", "\u{feff}{}", "refused"),
            ("", &"[".repeat(100_000), "refused"),
            ("", &format!(r#"{{"schemaVersion":2,"x":{}"#, "[".repeat(100_000)), "refused"),
            (
                "",
                &format!(r#"{{"schemaVersion":2,"config":{{"digest":"{digest}","size":-1}}}}"#),
                "refused",
            ),
            ("", r#"{"schemaVersion":2,"config":{"digest":"sha256:../../x","size":1}}"#, "refused"),
        ] {
            let start = text.get(..text.len().min(100)).unwrap_or_default();
            assert_eq!(kind(sent, text), expected, "{sent} {start}");
        }
    }

    #[test]
    fn an_image_config_is_an_object() {
        assert!(check_object(b" \n{}").is_ok());
        assert!(check_object(b"[]").is_err());
        assert!(check_object(b"").is_err());
    }
}
