//! Redirects: where they may lead, and what does not go along.

use registry::{Client, Denial, Error, Fault, Options, Proxies, Settings};

use crate::support::{
    amd64, client, client_as,
    image::Image,
    options, reference,
    server::{Reply, Server},
};

/// A registry that wants Basic authentication and sends for blobs to `storage`.
fn registry(image: &Image, storage: &Server) -> Server {
    let (image, storage) = (image.clone(), storage.url(""));
    Server::start(move |request| {
        if request.header("authorization") != Some("Basic dTpw") {
            return Reply::new(401, &[("WWW-Authenticate", "Basic realm=\"x\"")], "");
        }
        if request.target.contains("/blobs/") {
            return Reply::redirect(&format!("{storage}{}?signature=1", request.target));
        }
        image.serve(request)
    })
}

fn logged_in(server: &Server) -> Client {
    client_as(&format!(r#"{{"{}": {{"auth": "dTpw"}}}}"#, server.address))
}

#[tokio::test]
async fn credentials_stay_behind() {
    let image = Image::new("linux/amd64", 1000);
    let stored = image.clone();
    let storage = Server::start(move |request| {
        let mut request = request.clone();
        request.target = request.target.replace("?signature=1", "");
        stored.serve(&request)
    });
    let registry = registry(&image, &storage);
    let client = logged_in(&registry);
    client.resolve(&registry.reference("team/app:1"), &amd64()).await.unwrap();
    assert_eq!(storage.log().len(), 1);
    for request in storage.log() {
        assert_eq!(request.header("authorization"), None);
        assert_eq!(request.header("host"), Some(storage.address.to_string().as_str()));
    }
    // Within the registry they go along.
    let here = image.clone();
    let moved = Server::start(move |request| {
        if request.header("authorization") != Some("Basic dTpw") {
            return Reply::new(401, &[("WWW-Authenticate", "Basic realm=\"x\"")], "");
        }
        match request.target.strip_prefix("/moved") {
            Some(path) => {
                let mut request = request.clone();
                request.target = path.to_owned();
                here.serve(&request)
            }
            None => Reply::redirect(&format!("/moved{}", request.target)),
        }
    });
    logged_in(&moved).resolve(&moved.reference("team/app:1"), &amd64()).await.unwrap();
}

#[tokio::test]
async fn a_host_redirected_to_gets_no_credentials_on_demand() {
    let image = Image::new("linux/amd64", 1000);
    let storage =
        Server::start(|_| Reply::new(401, &[("WWW-Authenticate", "Basic realm=\"give\"")], ""));
    let registry = registry(&image, &storage);
    let result = logged_in(&registry).resolve(&registry.reference("team/app:1"), &amd64()).await;
    let Err(Error::Denied { reason: Denial::Redirected { .. }, .. }) = result else {
        panic!("{result:?}")
    };
    assert_eq!(storage.log().len(), 1);
    assert_eq!(storage.log()[0].header("authorization"), None);
}

#[tokio::test]
async fn a_way_back_does_not_bring_credentials_back() {
    let image = Image::new("linux/amd64", 1000);
    let address = std::sync::Arc::new(std::sync::OnceLock::<String>::new());
    let back = address.clone();
    let elsewhere =
        Server::start(move |_| Reply::redirect(&format!("{}/caught", back.get().unwrap())));
    let registry = registry(&image, &elsewhere);
    address.set(registry.url("")).unwrap();
    let result = logged_in(&registry).resolve(&registry.reference("team/app:1"), &amd64()).await;
    assert!(result.is_err());
    let caught = registry.log().into_iter().find(|request| request.target == "/caught").unwrap();
    assert_eq!(caught.header("authorization"), None);
}

#[tokio::test]
async fn loops_end() {
    let server = Server::start(|request| Reply::redirect(&request.target));
    let error = client().resolve(&server.reference("a:1"), &amd64()).await.unwrap_err();
    assert!(matches!(error, Error::Redirect { .. }), "{error:?}");
    assert_eq!(server.log().len(), 11);
}

#[tokio::test]
async fn other_schemes_and_no_location_are_refused() {
    for location in ["file:///etc/passwd", "ftp://127.0.0.1/", "http://u:p@127.0.0.1/", ""] {
        let server = Server::start(move |_| Reply::redirect(location));
        let error = client().resolve(&server.reference("a:1"), &amd64()).await.unwrap_err();
        let expected = if location.is_empty() { 11 } else { 1 };
        assert!(matches!(error, Error::Redirect { .. }), "{location} {error:?}");
        assert_eq!(server.log().len(), expected, "{location}");
    }
}

#[tokio::test]
async fn a_registry_elsewhere_cannot_send_to_this_machine() {
    let target = Server::start(|_| Reply::status(200));
    for location in
        [target.url("/secret"), "http://169.254.169.254/latest".into(), "http://[::1]:80/".into()]
    {
        // Its name resolves nowhere; the proxy plays it.
        let proxy = Server::start(move |_| Reply::redirect(&location));
        let proxies = Proxies { http: Some(proxy.address.to_string()), ..Proxies::default() };
        let settings = Settings::default().with_plain("plain.example");
        let client = Client::new(Options { proxies, settings, ..options() }).unwrap();
        let error = client.resolve(&reference("plain.example/a:1"), &amd64()).await.unwrap_err();
        assert!(
            matches!(error, Error::Unreachable { source: Fault::Forbidden { .. }, .. }),
            "{error:?}"
        );
        assert_eq!(proxy.log().len(), 1);
    }
    assert!(target.log().is_empty());
}
