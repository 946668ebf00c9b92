//! Certificates: whose are believed, on a real registry with encryption.

use std::{
    io::{Read, Write, copy},
    net::{Shutdown, TcpListener, TcpStream},
    path::PathBuf,
    thread,
};

use registry::{Authorities, Client, Error, Fault, Options, Places, Proxies, Settings};

use crate::support::{
    amd64, options,
    process::{DockerRegistry, Folder, installed, run},
    reference,
};

/// An authority, and certificates by it: a good one, an old one and one for another host.
struct Certificates {
    folder: Folder,
}

impl Certificates {
    fn new() -> Self {
        let folder = Folder::new();
        let path = |name: &str| folder.0.join(name).display().to_string();
        let key = |name: &str| {
            run(
                "openssl",
                &["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", &path(name)],
            );
        };
        key("ca.key");
        run(
            "openssl",
            &[
                "req",
                "-x509",
                "-new",
                "-key",
                &path("ca.key"),
                "-subj",
                "/CN=test",
                "-days",
                "3650",
                "-out",
                &path("ca.crt"),
            ],
        );
        key("leaf.key");
        run(
            "openssl",
            &[
                "req",
                "-new",
                "-key",
                &path("leaf.key"),
                "-subj",
                "/CN=leaf",
                "-out",
                &path("leaf.csr"),
            ],
        );
        for (name, names, days) in [
            ("good", "IP:127.0.0.1,DNS:secure.example", "30"),
            ("old", "IP:127.0.0.1", "-1"),
            ("other", "DNS:other.example", "30"),
        ] {
            let extensions = folder.write("extensions", format!("subjectAltName={names}\n"));
            run(
                "openssl",
                &[
                    "x509",
                    "-req",
                    "-in",
                    &path("leaf.csr"),
                    "-CA",
                    &path("ca.crt"),
                    "-CAkey",
                    &path("ca.key"),
                    "-CAcreateserial",
                    "-days",
                    days,
                    "-extfile",
                    &extensions.display().to_string(),
                    "-out",
                    &path(&format!("{name}.crt")),
                ],
            );
        }
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.0.join(name)
    }

    fn serve(&self, name: &str) -> DockerRegistry {
        let (certificate, key) = (self.path(&format!("{name}.crt")), self.path("leaf.key"));
        let tls = format!(
            "  tls:\n    certificate: {}\n    key: {}\n",
            certificate.display(),
            key.display()
        );
        DockerRegistry::start(&tls, "")
    }

    /// A `certs.d` that knows the authority for a host.
    fn by_host(&self, host: &str) -> Authorities {
        let authority = std::fs::read(self.path("ca.crt")).unwrap();
        self.folder.write(&format!("certs.d/{host}/ca.crt"), authority);
        Authorities { bundle: None, by_host: vec![self.path("certs.d")] }
    }
}

fn tools_are_there() -> bool {
    installed("docker-registry") && installed("openssl")
}

/// Asks for an image that is not there: what answers so was believed.
async fn ask(authorities: Authorities, proxies: Proxies, host: &str) -> Error {
    let client = Client::new(Options { authorities, proxies, ..options() }).unwrap();
    client.resolve(&reference(&format!("{host}/team/app:1")), &amd64()).await.unwrap_err()
}

#[tokio::test]
async fn only_certificates_for_the_host_by_a_known_authority_will_do() {
    if !tools_are_there() {
        return;
    }
    let certificates = Certificates::new();
    let good = certificates.serve("good");
    let error = ask(certificates.by_host(&good.address), Proxies::default(), &good.address).await;
    assert!(matches!(error, Error::NotFound { .. }), "{error:?}");

    for name in ["old", "other"] {
        let server = certificates.serve(name);
        let authorities = certificates.by_host(&server.address);
        let error = ask(authorities, Proxies::default(), &server.address).await;
        assert!(
            matches!(error, Error::Unreachable { source: Fault::Tls { .. }, .. }),
            "{name} {error:?}"
        );
    }

    // Another authority is asked for by the host's directory, and the system's does not know this one.
    let stranger = Certificates::new();
    let error = ask(stranger.by_host(&good.address), Proxies::default(), &good.address).await;
    assert!(matches!(error, Error::Unreachable { source: Fault::Tls { .. }, .. }), "{error:?}");
}

#[tokio::test]
async fn an_insecure_host_need_not_prove_who_it_is() {
    if !tools_are_there() {
        return;
    }
    let certificates = Certificates::new();
    let plain = DockerRegistry::start("", "");
    for address in ["old", "other"].map(|name| certificates.serve(name)).iter().chain([&plain]) {
        let host = &address.address;
        let settings = Settings::default().with_insecure(host);
        let client = Client::new(Options { settings, ..options() }).unwrap();
        let absent = reference(&format!("{host}/team/app:1"));
        let error = client.resolve(&absent, &amd64()).await.unwrap_err();
        assert!(matches!(error, Error::NotFound { .. }), "{error:?}");
    }
}

#[tokio::test]
async fn settings_can_name_an_authority() {
    if !tools_are_there() {
        return;
    }
    let certificates = Certificates::new();
    let server = certificates.serve("good");
    let text = format!(r#"{{"registries": {{"{}": {{"ca": ["ca.crt"]}}}}}}"#, server.address);
    let file = certificates.folder.write("config.json", text);
    let settings =
        Settings::load(&Places { kiln_config: Some(file), ..Places::default() }).unwrap();
    let client = Client::new(Options { settings, ..options() }).unwrap();
    let absent = reference(&format!("{}/team/app:1", server.address));
    let error = client.resolve(&absent, &amd64()).await.unwrap_err();
    assert!(matches!(error, Error::NotFound { .. }), "{error:?}");
}

#[tokio::test]
async fn a_tunnel_ends_at_the_registry() {
    if !tools_are_there() {
        return;
    }
    let certificates = Certificates::new();
    let server = certificates.serve("good");
    let proxy = TcpListener::bind("127.0.0.1:0").unwrap();
    let proxies =
        Proxies { https: Some(proxy.local_addr().unwrap().to_string()), ..Proxies::default() };
    let address = server.address.clone();
    let tunnel = thread::spawn(move || {
        let (mut client, _) = proxy.accept().unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            client.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").unwrap();
        let mut registry = TcpStream::connect(address).unwrap();
        let (mut from, mut to) = (client.try_clone().unwrap(), registry.try_clone().unwrap());
        let up = thread::spawn(move || {
            copy(&mut from, &mut to).unwrap();
            to.shutdown(Shutdown::Write)
        });
        // Either side may be the first to go.
        drop(copy(&mut registry, &mut client));
        drop(up.join());
        String::from_utf8(head).unwrap()
    });
    let authorities =
        Authorities { bundle: Some(certificates.path("ca.crt")), by_host: Vec::new() };
    let error = ask(authorities, proxies, "secure.example:5000").await;
    assert!(matches!(error, Error::NotFound { .. }), "{error:?}");
    drop(server);
    // The connection closes in a task of this thread, so the thread has to go on.
    let head = tokio::task::spawn_blocking(|| tunnel.join().unwrap()).await.unwrap();
    assert!(head.starts_with("CONNECT secure.example:5000 HTTP/1.1\r\n"), "{head}");
}
