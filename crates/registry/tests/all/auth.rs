//! Challenges: honest ones are met, others get little.

use std::sync::Arc;

use registry::{Client, Credentials, Denial, Error, Options};

use crate::support::{
    amd64, client, client_as,
    image::Image,
    options,
    server::{Reply, Request, Server},
};

const SCOPE: &str = "scope=repository%3Ateam%2Fapp%3Apull";

/// A registry that wants a token from the server at `realm`.
fn registry(realm: impl Fn() -> String + Send + Sync + 'static) -> Server {
    let image = Image::new("linux/amd64", 1000);
    Server::start(move |request| {
        if request.header("authorization") == Some("Bearer good") {
            return image.serve(request);
        }
        let challenge = format!(
            r#"Bearer realm="{}",service="the registry",scope="repository:other/app:push""#,
            realm()
        );
        Reply::new(
            401,
            &[("WWW-Authenticate", &challenge)],
            r#"{"errors":[{"code":"UNAUTHORIZED"}]}"#,
        )
    })
}

fn pair(token: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> (Server, Server) {
    pair_at("127.0.0.1", token)
}

fn pair_at(
    host: &str,
    token: impl Fn(&Request) -> Reply + Send + Sync + 'static,
) -> (Server, Server) {
    let tokens = Server::start_at(host, token);
    let realm = tokens.url("/token");
    (registry(move || realm.clone()), tokens)
}

#[tokio::test]
async fn a_token_is_fetched_once_and_used_for_all() {
    let (registry, tokens) = pair(|_| Reply::ok(r#"{"token":"good","expires_in":300}"#));
    let client = client();
    let reference = registry.reference("team/app:1");
    let found = client.resolve(&reference, &amd64()).await.unwrap();
    let mut blobs = Vec::new();
    for _ in 0..3 {
        blobs.push(client.blob(&reference, &found.manifest.layers[0]).await.unwrap());
    }
    assert_eq!(tokens.log().len(), 1);
    let asked = &tokens.log()[0];
    // Only what is needed is asked for, whatever the registry proposes.
    assert_eq!(asked.target, format!("/token?service=the%20registry&{SCOPE}"));
    assert_eq!(asked.header("authorization"), None);
}

#[tokio::test]
async fn many_at_once_want_one_token() {
    let (registry, tokens) = pair(|_| Reply::ok(r#"{"access_token":"good"}"#));
    let client = client();
    let layer = Image::new("linux/amd64", 1000).layer_descriptor();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let (client, reference, layer) =
            (client.clone(), registry.reference("team/app:1"), layer.clone());
        tasks.spawn(async move { client.blob(&reference, &layer).await.map(drop) });
    }
    for result in tasks.join_all().await {
        result.unwrap();
    }
    assert_eq!(tokens.log().len(), 1);
}

#[tokio::test]
async fn the_token_server_of_the_site_gets_the_password() {
    let (registry, tokens) = pair(|request| match request.header("authorization") {
        Some("Basic dTpw") => Reply::ok(r#"{"token":"good"}"#),
        _ => Reply::status(401),
    });
    let client = client_as(&format!(r#"{{"{}": {{"auth": "dTpw"}}}}"#, registry.address));
    client.resolve(&registry.reference("team/app:1"), &amd64()).await.unwrap();
    assert_eq!(tokens.log().len(), 1);
    assert!(
        registry.log().iter().all(|request| request.header("authorization") != Some("Basic dTpw"))
    );
}

#[tokio::test]
async fn a_refresh_token_is_exchanged() {
    let (registry, tokens) = pair(|request| match request.method.as_str() {
        "POST" => Reply::ok(r#"{"access_token":"good"}"#),
        _ => Reply::status(401),
    });
    let auths = format!(r#"{{"{}": {{"identitytoken": "refresh"}}}}"#, registry.address);
    client_as(&auths).resolve(&registry.reference("team/app:1"), &amd64()).await.unwrap();
    let body = &tokens.log()[0].body;
    assert!(body.contains("grant_type=refresh_token&refresh_token=refresh"), "{body}");
    assert!(body.contains(SCOPE), "{body}");
}

#[tokio::test]
async fn a_token_server_elsewhere_that_is_spoken_to_in_plain_gets_no_password() {
    let (registry, tokens) = pair_at("127.0.0.2", |_| Reply::status(401));
    let auths = format!(r#"{{"{}": {{"auth": "dTpw"}}}}"#, registry.address);
    let error =
        client_as(&auths).resolve(&registry.reference("team/app:1"), &amd64()).await.unwrap_err();
    let Error::Denied { reason: Denial::ForeignRealm { .. }, .. } = error else {
        panic!("{error:?}")
    };
    assert_eq!(tokens.log().len(), 1);
    assert_eq!(tokens.log()[0].header("authorization"), None);
}

#[tokio::test]
async fn a_registry_that_is_never_content_is_asked_twice() {
    for challenge in ["Basic realm=\"x\"", "Bearer realm=\"REALM\""] {
        let tokens = Server::start(|_| Reply::ok(r#"{"token":"never good enough"}"#));
        let challenge = Arc::new(challenge.replace("REALM", &tokens.url("/t")));
        let server =
            Server::start(move |_| Reply::new(401, &[("WWW-Authenticate", &challenge)], ""));
        let client = client_as(&format!(r#"{{"{}": {{"auth": "dTpw"}}}}"#, server.address));
        let error = client.resolve(&server.reference("team/app:1"), &amd64()).await.unwrap_err();
        let Error::Denied { reason: Denial::Rejected { .. }, .. } = error else {
            panic!("{error:?}")
        };
        assert_eq!(server.log().len(), 2);
    }
}

#[tokio::test]
async fn one_who_has_not_logged_in_is_told() {
    let server =
        Server::start(|_| Reply::new(401, &[("WWW-Authenticate", "Basic realm=\"x\"")], ""));
    let reference = server.reference("team/app:1");
    let error = client().resolve(&reference, &amd64()).await.unwrap_err();
    let host = server.address;
    assert_eq!(
        error.to_string(),
        format!(
            "access to `{reference}` is denied, or it does not exist: no credentials for `{host}` are stored"
        )
    );
    assert_eq!(server.log().len(), 1);

    let text = br#"{"credsStore": "no-such-helper"}"#;
    let credentials = Credentials::parse("config.json".as_ref(), text).unwrap();
    let client = Client::new(Options { credentials, ..options() }).unwrap();
    let error = client.resolve(&reference, &amd64()).await.unwrap_err();
    assert!(matches!(&error, Error::Helper { verb: "get", .. }), "{error:?}");
    assert!(error.to_string().contains("docker-credential-no-such-helper"), "{error}");
}

#[tokio::test]
async fn an_old_token_is_replaced() {
    // The registry stops liking a token in the middle.
    let image = Image::new("linux/amd64", 1000);
    let tokens = Server::start(|request| Reply::ok(format!(r#"{{"token":"t{}"}}"#, request.nth)));
    let realm = tokens.url("/token");
    let server = Server::start(move |request| {
        let wanted = if request.target.contains("/blobs/") { "Bearer t1" } else { "Bearer t0" };
        if request.header("authorization") == Some(wanted) {
            return image.serve(request);
        }
        Reply::new(401, &[("WWW-Authenticate", &format!("Bearer realm=\"{realm}\""))], "")
    });
    client().resolve(&server.reference("team/app:1"), &amd64()).await.unwrap();
    assert_eq!(tokens.log().len(), 2);
}

#[tokio::test]
async fn broken_token_servers_are_reported() {
    for (reply, part) in [
        (Reply::ok as fn(&'static str) -> Reply, r#"{"expires_in":-1}"#),
        (Reply::ok, r#"{"token":"a\nb"}"#),
        (Reply::ok, r#"{"token":3}"#),
        (Reply::ok, "<html>"),
        (Reply::ok, ""),
    ] {
        let (registry, tokens) = pair(move |_| reply(part));
        let error =
            client().resolve(&registry.reference("team/app:1"), &amd64()).await.unwrap_err();
        assert!(matches!(error, Error::Protocol { .. }), "{part} {error:?}");
        assert_eq!(tokens.log().len(), 1);
    }
    let (registry, _tokens) = pair(|_| {
        Reply::raw("HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
            .then(vec![b' '; 1_000_000])
    });
    let error = client().resolve(&registry.reference("team/app:1"), &amd64()).await.unwrap_err();
    assert!(matches!(error, Error::TooLarge { document: "token", .. }), "{error:?}");
    let (registry, _tokens) = pair(|_| Reply::ok(r#"{"token":"good","expires_in":-1}"#));
    client().resolve(&registry.reference("team/app:1"), &amd64()).await.unwrap();
}

#[tokio::test]
async fn strange_challenges_are_reported() {
    for challenge in
        ["Negotiate", "", "Bearer", "Bearer realm=\"file:///etc/passwd\"", "Bearer realm=\"x"]
    {
        let server =
            Server::start(move |_| Reply::new(401, &[("WWW-Authenticate", challenge)], ""));
        let error = client().resolve(&server.reference("team/app:1"), &amd64()).await.unwrap_err();
        assert!(matches!(error, Error::Protocol { .. }), "{challenge} {error:?}");
        assert_eq!(server.log().len(), 1);
    }
}
