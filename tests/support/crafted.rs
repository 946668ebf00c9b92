//! An OCI layout as somebody makes it by hand: nothing in it has to fit together.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::archive::{Tarball, sha256};

/// A directory that claims to be a layout.
pub(crate) struct Crafted(PathBuf);

impl Crafted {
    /// One without images.
    pub(crate) fn create(dir: PathBuf) -> Self {
        fs::create_dir_all(dir.join("blobs/sha256")).unwrap();
        fs::write(dir.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
        let crafted = Self(dir);
        crafted.list(&[]);
        crafted
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Puts a blob there, and describes it.
    pub(crate) fn blob(&self, media_type: &str, bytes: &[u8]) -> Value {
        let digest = sha256(bytes);
        fs::write(self.0.join("blobs").join(digest.replace(':', "/")), bytes).unwrap();
        json!({"mediaType": media_type, "digest": digest, "size": bytes.len()})
    }

    /// Says what the layout has.
    pub(crate) fn list(&self, manifests: &[Value]) {
        self.write("index.json", &json!({"schemaVersion": 2, "manifests": manifests}).to_string());
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.0.join(name), text).unwrap();
    }

    /// Puts a manifest there that is this text.
    pub(crate) fn manifest(&self, text: &str) -> Value {
        self.blob("application/vnd.oci.image.manifest.v1+json", text.as_bytes())
    }

    /// Puts an index there that is this text.
    pub(crate) fn index(&self, text: &str) -> Value {
        self.blob("application/vnd.oci.image.index.v1+json", text.as_bytes())
    }

    /// Puts a config there that is this text.
    pub(crate) fn config(&self, text: &str) -> Value {
        self.blob("application/vnd.oci.image.config.v1+json", text.as_bytes())
    }

    pub(crate) fn layer(&self, tar: &[u8]) -> Value {
        self.blob("application/vnd.oci.image.layer.v1.tar", tar)
    }

    /// Puts an image there whose parts fit, and describes its manifest. `change` may spoil its config.
    pub(crate) fn image(&self, layers: &[Vec<u8>], change: impl FnOnce(&mut Value)) -> Value {
        let diff_ids: Vec<String> = layers.iter().map(|layer| sha256(layer)).collect();
        let mut config = json!({
            "architecture": "amd64", "os": "linux", "config": {},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        });
        change(&mut config);
        let config = self.config(&config.to_string());
        let layers: Vec<Value> = layers.iter().map(|layer| self.layer(layer)).collect();
        let manifest = json!({"schemaVersion": 2, "config": config, "layers": layers});
        self.manifest(&manifest.to_string())
    }
}

/// A layer with one file.
pub(crate) fn small_layer(name: &str) -> Vec<u8> {
    Tarball::new().file(name, name).finish()
}
