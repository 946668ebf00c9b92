//! A real registry, filled by another tool.

use oci::{Digest, json};
use registry::{Client, Credentials, Denial, Error, Options};

use crate::support::{
    amd64, client, client_as,
    image::{self, Image},
    options,
    process::{DockerRegistry, Folder, installed},
    reference,
};

/// `user:secret`, as htpasswd writes it.
const HTPASSWD: &str = "user:$2a$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW\n";

/// Writes a layout of an index over two images.
fn layout(amd: &Image, arm: &Image) -> (Folder, Vec<u8>) {
    let folder = Folder::new();
    let index = image::index(&[("linux/arm64", arm), ("linux/amd64", amd)]);
    let blobs =
        [&amd.layer, &amd.config, &amd.manifest, &arm.layer, &arm.config, &arm.manifest, &index];
    for bytes in blobs {
        folder.write(&format!("blobs/sha256/{}", Digest::of(bytes).to_hex()), bytes);
    }
    folder.write("oci-layout", r#"{"imageLayoutVersion":"1.0.0"}"#);
    let entry = oci::Descriptor::of(oci::media_type::OCI_INDEX, &index);
    folder.write("index.json", json::to_bytes(&oci::Index::oci(vec![entry])));
    (folder, index)
}

fn tools_are_there() -> bool {
    installed("docker-registry") && installed("skopeo")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_image_comes_as_it_was_pushed() {
    if !tools_are_there() {
        return;
    }
    let amd = Image::new("linux/amd64", 3_000_000);
    let arm = Image::new("linux/arm64", 10);
    let (folder, index) = layout(&amd, &arm);
    let server = DockerRegistry::start("", "");
    server.push(&folder.0, "1", &[]);

    let client = client();
    let tag = reference(&format!("{}/team/app:1", server.address));
    let found = client.resolve(&tag, &amd64()).await.unwrap();
    assert_eq!(found.manifest_bytes, amd.manifest);
    assert_eq!(found.config_bytes, amd.config);
    assert_eq!(found.digest().as_digest(), &Digest::of(&index));
    assert_eq!(found.index.as_ref().unwrap().bytes, index);
    assert_eq!(client.digest(&tag).await.unwrap(), *found.digest());

    let reader = client.blob(&tag, &found.manifest.layers[0]).await.unwrap().into_reader();
    let read = tokio::task::spawn_blocking(move || {
        let (mut reader, mut bytes) = (reader, Vec::new());
        std::io::Read::read_to_end(&mut reader, &mut bytes).map(|_| bytes)
    });
    assert!(read.await.unwrap().unwrap() == amd.layer);

    let pinned = reference(&format!("{}/team/app@{}", server.address, Digest::of(&arm.manifest)));
    let found = client.resolve(&pinned, &amd64()).await.unwrap();
    assert_eq!(found.config.architecture, "arm64", "a pinned manifest is what it is");

    for absent in ["team/app:2", "team/other:1"] {
        let absent = reference(&format!("{}/{absent}", server.address));
        let error = client.resolve(&absent, &amd64()).await.unwrap_err();
        assert!(matches!(error, Error::NotFound { .. }), "{error:?}");
    }
}

#[tokio::test]
async fn a_password_opens_a_closed_registry() {
    if !tools_are_there() {
        return;
    }
    let (amd, arm) = (Image::new("linux/amd64", 10), Image::new("linux/arm64", 10));
    let (folder, _) = layout(&amd, &arm);
    let htpasswd = folder.write("htpasswd", HTPASSWD);
    let auth = format!("auth:\n  htpasswd:\n    realm: r\n    path: {}\n", htpasswd.display());
    let server = DockerRegistry::start("", &auth);
    server.push(&folder.0, "1", &["--dest-creds", "user:secret"]);

    let tag = reference(&format!("{}/team/app:1", server.address));
    let login =
        |auth: &str| client_as(&format!(r#"{{"{}": {{"auth": "{auth}"}}}}"#, server.address));
    login("dXNlcjpzZWNyZXQ=").resolve(&tag, &amd64()).await.unwrap();

    let error = login("dXNlcjpvdGhlcg==").resolve(&tag, &amd64()).await.unwrap_err();
    assert!(matches!(error, Error::Denied { reason: Denial::Rejected { .. }, .. }), "{error:?}");
    let nobody = Client::new(Options { credentials: Credentials::none(), ..options() }).unwrap();
    let error = nobody.resolve(&tag, &amd64()).await.unwrap_err();
    assert!(
        matches!(error, Error::Denied { reason: Denial::NoCredentials { .. }, .. }),
        "{error:?}"
    );
}
