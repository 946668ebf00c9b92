//! Documents of registries and archives: manifests, indexes, configs. What is read is written the same way for ever.

use oci::{ImageConfig, Index, Manifest, Platform, json};

/// Tries one input as each of them.
pub(crate) fn check(data: &[u8]) {
    if let Ok(manifest) = Manifest::parse(data) {
        let bytes = json::to_bytes(&manifest);
        assert_eq!(Manifest::parse(&bytes).ok().as_ref(), Some(&manifest));
        for descriptor in manifest.layers.iter().chain([&manifest.config]) {
            check_digest(&descriptor.digest.to_string());
        }
        // One document is never both.
        assert!(Index::parse(data).is_err(), "a manifest and an index");
    }
    if let Ok(index) = Index::parse(data) {
        let bytes = json::to_bytes(&index);
        assert_eq!(Index::parse(&bytes).ok().as_ref(), Some(&index));
        let chosen = index.select(&Platform::host());
        assert!(chosen.is_none_or(|chosen| index.manifests.contains(chosen)));
        for descriptor in &index.manifests {
            check_digest(&descriptor.digest.to_string());
        }
    }
    if let Ok(config) = ImageConfig::parse(data) {
        let bytes = json::to_bytes(&config);
        let again = ImageConfig::parse(&bytes).unwrap();
        assert_eq!(again, config);
        assert_eq!(json::to_bytes(&again), bytes);
        assert!(!config.platform().to_string().is_empty());
        for diff_id in &config.rootfs.diff_ids {
            check_digest(&diff_id.to_string());
        }
        for name in ["PATH", "", "="] {
            assert!(config.config.env_value(name).is_none_or(|value| value.len() < data.len()));
        }
    }
}

/// Digests become names of files.
fn check_digest(text: &str) {
    let (algorithm, hex) = text.split_once(':').unwrap();
    assert!(matches!((algorithm, hex.len()), ("sha256", 64) | ("sha512", 128)), "{text}");
    assert!(hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')), "{text}");
}
