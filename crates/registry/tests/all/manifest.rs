//! Manifests and indexes: what is found, and what is not believed.

use oci::{Descriptor, Digest, ImageConfig, ImageId, Index, Manifest, json, media_type};
use registry::Error;

use crate::support::{
    amd64, chain, client,
    image::{self, Image},
    server::{Reply, Server},
};

/// Resolves `team/app:1` at a server whose every manifest is this one.
async fn resolve(kind: &str, manifest: impl AsRef<[u8]>) -> Result<(), Error> {
    let (kind, manifest) = (kind.to_owned(), manifest.as_ref().to_vec());
    let image = Image::new("linux/amd64", 1);
    let server = Server::start(move |request| {
        if request.target.contains("/manifests/") {
            return Reply::new(200, &[("Content-Type", &kind)], &manifest);
        }
        image.serve(request)
    });
    client().resolve(&server.reference("team/app:1"), &amd64()).await.map(drop)
}

#[tokio::test]
async fn a_tag_leads_to_the_image() {
    let image = Image::new("linux/amd64", 1000);
    let (served, served_by) = (image.clone(), image.clone());
    let server = Server::start(move |request| served_by.serve(request));
    let found = client().resolve(&server.reference("team/app:1"), &amd64()).await.unwrap();
    assert!(found.index.is_none());
    assert_eq!(found.manifest_digest.as_digest(), &Digest::of(&served.manifest));
    assert_eq!(found.manifest_bytes, served.manifest);
    assert_eq!(found.config_bytes, served.config);
    assert_eq!(found.config.architecture, "amd64");
    assert_eq!(found.manifest.layers, [served.layer_descriptor()]);
    assert_eq!(found.digest(), &found.manifest_digest);
    // Manifest and config came over one connection.
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn an_index_leads_to_the_image_of_the_platform() {
    let amd = Image::new("linux/amd64", 1000);
    let arm = Image::new("linux/arm64", 2000);
    let index = image::index(&[("linux/arm64", &arm), ("linux/amd64", &amd)]);
    let (index_digest, expected) = (Digest::of(&index), amd.manifest.clone());
    let server = Server::start(move |request| image::serve(&[&arm, &amd], Some(&index), request));

    let reference = server.reference("team/app:1");
    let found = client().resolve(&reference, &amd64()).await.unwrap();
    assert_eq!(found.manifest_bytes, expected);
    assert_eq!(found.digest().as_digest(), &index_digest);
    assert_eq!(found.index.unwrap().digest.as_digest(), &index_digest);

    let pinned = server.reference(&format!("team/app:gone@{index_digest}"));
    client().resolve(&pinned, &amd64()).await.unwrap();

    let error = client().resolve(&reference, &"linux/s390x".parse().unwrap()).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("`{reference}` has no image for linux/s390x, only for linux/arm64, linux/amd64")
    );
}

#[tokio::test]
async fn the_digest_of_a_tag_costs_one_request() {
    let image = Image::new("linux/amd64", 1);
    let digest = Digest::of(&image.manifest);
    let server = Server::start(move |request| image.serve(request));
    let found = client().digest(&server.reference("team/app:1")).await.unwrap();
    assert_eq!(found.as_digest(), &digest);
    let methods: Vec<_> = server.log().into_iter().map(|request| request.method).collect();
    assert_eq!(methods, ["HEAD"]);
}

#[tokio::test]
async fn the_digest_is_found_without_head_too() {
    let image = Image::new("linux/amd64", 1);
    let digest = Digest::of(&image.manifest);
    let server = Server::start(move |request| match request.method.as_str() {
        "HEAD" => Reply::status(405),
        _ => image.serve(request),
    });
    let found = client().digest(&server.reference("team/app:1")).await.unwrap();
    assert_eq!(found.as_digest(), &digest);
}

#[tokio::test]
async fn a_manifest_with_another_digest_is_refused() {
    let (image, other) = (Image::new("linux/amd64", 1), Image::new("linux/amd64", 2));
    let pinned = Digest::of(&image.manifest);
    let server = Server::start(move |_| Reply::ok(&other.manifest));
    let reference = server.reference(&format!("team/app@{pinned}"));
    let error = client().resolve(&reference, &amd64()).await.unwrap_err();
    assert!(matches!(error, Error::Digest { .. }), "{error:?}");

    // For a tag, the header is the only witness.
    let server = Server::start(move |_| {
        Reply::new(
            200,
            &[("Docker-Content-Digest", &pinned.to_string())],
            &Image::new("linux/amd64", 2).manifest,
        )
    });
    let error = client().resolve(&server.reference("team/app:1"), &amd64()).await.unwrap_err();
    assert!(matches!(error, Error::Digest { .. }), "{error:?}");
}

/// What HEAD says is no promise: the image may be gone when it is asked for, or another one.
#[tokio::test]
async fn what_is_gone_after_its_head_is_named_and_what_is_another_counts() {
    let (image, other) = (Image::new("linux/amd64", 1), Image::new("linux/amd64", 2));
    let served = image.clone();
    let server = Server::start(move |request| match request.method.as_str() {
        "HEAD" => served.serve(request),
        _ => Reply::status(404),
    });
    let reference = server.reference("team/app:1");
    client().digest(&reference).await.unwrap();
    let error = client().resolve(&reference, &amd64()).await.unwrap_err();
    assert!(matches!(error, Error::NotFound { .. }), "{error:?}");

    let (first, second) = (image.clone(), other.clone());
    let server = Server::start(move |request| match request.method.as_str() {
        "HEAD" => first.serve(request),
        _ => second.serve(request),
    });
    let (client, reference) = (client(), server.reference("team/app:1"));
    let told = client.digest(&reference).await.unwrap();
    assert_eq!(told.as_digest(), &Digest::of(&image.manifest));
    let found = client.resolve(&reference, &amd64()).await.unwrap();
    assert_eq!(found.manifest_digest.as_digest(), &Digest::of(&other.manifest));
    assert_eq!(found.manifest_bytes, other.manifest);
}

#[tokio::test]
async fn what_the_index_names_must_have_its_size() {
    let image = Image::new("linux/amd64", 1);
    let wrong = Descriptor { size: 3, ..image.manifest_descriptor("linux/amd64") };
    let index = json::to_bytes(&Index::oci(vec![wrong]));
    let server = Server::start(move |request| image::serve(&[&image], Some(&index), request));
    let error = client().resolve(&server.reference("team/app:1"), &amd64()).await.unwrap_err();
    assert!(matches!(error, Error::Size { expected: 3, .. }), "{error:?}");
}

#[tokio::test]
async fn indexes_in_indexes_have_a_bottom() {
    let image = Image::new("linux/amd64", 1);
    let mut documents = vec![image::index(&[("linux/amd64", &image)])];
    for _ in 0..10 {
        let descriptor = Descriptor::of(media_type::OCI_INDEX, documents.last().unwrap());
        documents.push(json::to_bytes(&Index::oci(vec![descriptor])));
    }
    let server = Server::start(move |request| {
        let name = request.target.rsplit('/').next().unwrap_or_default().to_owned();
        let number = name.parse::<usize>().ok();
        let named = |bytes: &&Vec<u8>| Digest::of(bytes).to_string() == name;
        match number
            .and_then(|number| documents.get(number))
            .or_else(|| documents.iter().find(named))
        {
            Some(bytes) => Reply::ok(bytes),
            None => image.serve(request),
        }
    });
    client().resolve(&server.reference("team/app:1"), &amd64()).await.unwrap();
    let error = client().resolve(&server.reference("team/app:10"), &amd64()).await.unwrap_err();
    assert!(matches!(error, Error::Document { .. }), "{error:?}");
    assert!(server.count("/manifests/") < 10);
}

#[tokio::test]
async fn what_is_no_image_is_refused() {
    let image = Image::new("linux/amd64", 1);
    let config = json::to_bytes(&ImageConfig::default());
    let without_diff_ids = Manifest::oci(
        Descriptor::of(media_type::OCI_CONFIG, &config),
        vec![image.layer_descriptor()],
    );
    for (kind, manifest, part) in [
        ("text/html", b"<html>".to_vec(), "web page"),
        ("application/json", b"<html>".to_vec(), "not a JSON object"),
        ("", b"".to_vec(), "not a JSON object"),
        (media_type::OCI_INDEX, image.manifest.clone(), "contradicts"),
        ("", br#"{"schemaVersion":1,"fsLayers":[]}"#.to_vec(), "schema version"),
        ("", json::to_bytes(&without_diff_ids), "does not exist"),
    ] {
        let error = resolve(kind, &manifest).await.unwrap_err();
        assert!(chain(&error).contains(part), "{}", chain(&error));
    }
}

#[tokio::test]
async fn configs_fit_their_manifests() {
    for (config, part) in [
        (json::to_bytes(&ImageConfig::default()), "the config lists 0 layers and the manifest 1"),
        (b"[]".to_vec(), "not a JSON object"),
        (b"null".to_vec(), "not a JSON object"),
        (b"{\"rootfs\":3}".to_vec(), "cannot read the image config"),
    ] {
        let image = Image::new("linux/amd64", 1);
        let manifest = Manifest::oci(
            Descriptor::of(media_type::OCI_CONFIG, &config),
            vec![image.layer_descriptor()],
        );
        let image = Image { manifest: json::to_bytes(&manifest), config, ..image };
        let server = Server::start(move |request| image.serve(request));
        let error = client().resolve(&server.reference("team/app:1"), &amd64()).await.unwrap_err();
        assert!(chain(&error).contains(part), "{}", chain(&error));
    }
}

#[tokio::test]
async fn an_absent_image_is_named() {
    let server = Server::start(|_| {
        let body = r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#;
        Reply::new(404, &[], body)
    });
    let reference = server.reference("team/app");
    let error = client().resolve(&reference, &amd64()).await.unwrap_err();
    assert_eq!(error.to_string(), format!("`{reference}:latest` does not exist: manifest unknown"));
    assert!(matches!(error, Error::NotFound { .. }));
}

#[tokio::test]
async fn what_a_registry_says_is_shown_but_tamed() {
    let server = Server::start(|_| {
        let message = format!("go\\u001b[31m\\naway{}", "!".repeat(1000));
        let body = format!(r#"{{"errors":[{{"code":"UNSUPPORTED","message":"{message}"}}]}}"#);
        Reply::new(400, &[], body)
    });
    let error = client().resolve(&server.reference("a:1"), &amd64()).await.unwrap_err().to_string();
    assert!(error.contains("answers 400: unsupported: go"), "{error}");
    assert!(!error.contains(char::is_control) && error.len() < 600, "{error}");
}

#[tokio::test]
async fn the_image_id_is_the_digest_of_the_config() {
    let image = Image::new("linux/amd64", 1);
    let id = ImageId::new(Digest::of(&image.config));
    let server = Server::start(move |request| image.serve(request));
    let found = client().resolve(&server.reference("team/app:1"), &amd64()).await.unwrap();
    assert_eq!(ImageId::new(*found.manifest.config.digest.as_digest()), id);
}
