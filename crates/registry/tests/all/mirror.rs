//! Mirrors: asked first, believed only what a digest says, and never in the way of the registry itself.

use oci::Digest;
use registry::{Client, Credentials, Error, Options, Places, Settings};

use crate::support::{
    amd64,
    image::Image,
    options,
    process::Folder,
    server::{Reply, Request, Server, head},
};

/// A client whose settings say this of the registry.
fn client(folder: &Folder, registry: &Server, of_registry: &str) -> Client {
    let text = format!(r#"{{"registries": {{"{}": {of_registry}}}}}"#, registry.address);
    let places =
        Places { kiln_config: Some(folder.write("config.json", text)), ..Places::default() };
    let settings = Settings::load(&places).unwrap();
    Client::new(Options { settings, ..options() }).unwrap()
}

fn registry(image: &Image) -> Server {
    let image = image.clone();
    Server::start(move |request| image.serve(request))
}

/// A mirror that has everything below `hub/`, and does with it what a test says.
fn mirror(
    image: &Image,
    spoil: impl Fn(&Request, Reply) -> Reply + Send + Sync + 'static,
) -> Server {
    let image = image.clone();
    Server::start(move |request| {
        let mut inner = request.clone();
        inner.target = request.target.replace("/v2/hub/", "/v2/");
        spoil(request, image.serve(&inner))
    })
}

async fn download(client: &Client, registry: &Server, image: &Image) -> Result<Vec<u8>, Error> {
    let reference = registry.reference("team/app:1");
    let mut blob = client.blob(&reference, &image.layer_descriptor()).await?;
    let mut bytes = Vec::new();
    while let Some(chunk) = blob.chunk().await? {
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

#[tokio::test]
async fn a_mirror_that_has_it_is_enough() {
    let (folder, image) = (Folder::new(), Image::new("linux/amd64", 1000));
    let (registry, mirror) = (registry(&image), mirror(&image, |_, reply| reply));
    let client =
        client(&folder, &registry, &format!(r#"{{"mirrors": ["{}/hub"]}}"#, mirror.address));
    let reference = registry.reference("team/app:1");
    let found = client.resolve(&reference, &amd64()).await.unwrap();
    assert_eq!(found.manifest_bytes, image.manifest);
    assert!(download(&client, &registry, &image).await.unwrap() == image.layer);
    assert_eq!(client.digest(&reference).await.unwrap(), *found.digest());
    assert_eq!(registry.log().len(), 0);
    assert!(mirror.log().iter().all(|request| request.target.starts_with("/v2/hub/team/app/")));
}

#[tokio::test]
async fn the_registry_itself_makes_good_what_a_mirror_lacks() {
    let (folder, image) = (Folder::new(), Image::new("linux/amd64", 300_000));
    let spoilers: [fn(&Request, Reply) -> Reply; 4] = [
        |_, _| Reply::status(404),
        |_, _| Reply::status(500),
        |_, _| Reply::new(401, &[("WWW-Authenticate", "Basic realm=\"x\"")], ""),
        |_, _| Reply::raw(head(200, &[("Content-Length", "1000")])).then("x").close(),
    ];
    for spoil in spoilers {
        let (registry, mirror) = (registry(&image), mirror(&image, spoil));
        let mirrors = format!(r#"{{"mirrors": ["127.0.0.1:1", "{}/hub"]}}"#, mirror.address);
        let client = client(&folder, &registry, &mirrors);
        let reference = registry.reference("team/app:1");
        assert!(client.digest(&reference).await.is_ok());
        client.resolve(&reference, &amd64()).await.unwrap();
        assert!(download(&client, &registry, &image).await.unwrap() == image.layer);
        assert!(!mirror.log().is_empty());
    }
}

#[tokio::test]
async fn a_mirror_that_lies_is_found_out_and_not_asked_again() {
    let (folder, image) = (Folder::new(), Image::new("linux/amd64", 300_000));
    let registry = registry(&image);
    let mirror = mirror(&image, |request, reply| match request.target.contains("/blobs/") {
        true => Reply::ok(vec![7; 300_000]),
        false => reply,
    });
    let client =
        client(&folder, &registry, &format!(r#"{{"mirrors": ["{}/hub"]}}"#, mirror.address));
    let error = download(&client, &registry, &image).await.unwrap_err();
    assert!(matches!(error, Error::Digest { .. }), "{error:?}");
    assert!(download(&client, &registry, &image).await.unwrap() == image.layer);
    assert_eq!(mirror.log().len(), 1);
}

#[tokio::test]
async fn a_mirror_gets_no_credentials_of_the_registry() {
    let (folder, image) = (Folder::new(), Image::new("linux/amd64", 1000));
    let served = image.clone();
    let registry = Server::start(move |request| match request.header("authorization") {
        Some("Basic dTpw") => served.serve(request),
        _ => Reply::new(401, &[("WWW-Authenticate", "Basic realm=\"x\"")], ""),
    });
    let mirror =
        mirror(&image, |_, _| Reply::new(401, &[("WWW-Authenticate", "Basic realm=\"x\"")], ""));
    let text = format!(
        r#"{{"registries": {{"{}": {{"mirrors": ["{}/hub"]}}}}}}"#,
        registry.address, mirror.address
    );
    let places =
        Places { kiln_config: Some(folder.write("config.json", text)), ..Places::default() };
    let logins = format!(r#"{{"auths": {{"{}": {{"auth": "dTpw"}}}}}}"#, registry.address);
    let credentials = Credentials::parse("config.json".as_ref(), logins.as_bytes()).unwrap();
    let settings = Settings::load(&places).unwrap();
    let client = Client::new(Options { settings, credentials, ..options() }).unwrap();
    client.resolve(&registry.reference("team/app:1"), &amd64()).await.unwrap();
    assert!(download(&client, &registry, &image).await.unwrap() == image.layer);
    assert!(!mirror.log().is_empty());
    assert!(mirror.log().iter().all(|request| request.header("authorization").is_none()));
}

#[tokio::test]
async fn what_is_blocked_is_not_asked_for() {
    let (folder, image) = (Folder::new(), Image::new("linux/amd64", 1));
    let registry = registry(&image);
    let client = client(&folder, &registry, r#"{"blocked": true}"#);
    let reference = registry.reference("team/app:1");
    let error = client.resolve(&reference, &amd64()).await.unwrap_err();
    assert!(matches!(error, Error::Blocked { .. }), "{error:?}");
    let error = client.publish(&reference, "x/y", b"{}").await.unwrap_err();
    assert!(matches!(error, Error::Blocked { .. }), "{error:?}");
    assert_eq!(registry.log().len(), 0);
    assert_eq!(Digest::of(&image.manifest).to_string().len(), 71);
}

#[tokio::test]
async fn a_missing_file_of_settings_matters_only_if_it_was_named() {
    let folder = Folder::new();
    let absent = folder.0.join("absent.json");
    let places = Places {
        xdg_config_home: Some(folder.0.clone()),
        containers_registries_conf: Some(absent.clone()),
        ..Places::default()
    };
    Settings::load(&places).unwrap();
    let error = Settings::load(&Places { kiln_config: Some(absent), ..places }).unwrap_err();
    assert!(error.to_string().contains("absent.json"), "{error}");
}
