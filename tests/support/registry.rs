//! Debian's docker-registry on loopback, for the time of one test.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::requires;

/// `user:secret`, as htpasswd writes it.
const HTPASSWD: &str = "user:$2a$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW\n";

const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json";

pub(crate) struct Registry {
    server: Child,
    /// Host and port, as a reference names them.
    pub(crate) host: String,
}

impl Registry {
    /// Starts one that keeps its data below this directory; `None`, said on stderr, where it is not installed.
    pub(crate) fn start(dir: &Path) -> Option<Self> {
        Self::start_with(dir, "", "")
    }

    /// Starts one that lets nobody in but `user` with the password `secret`.
    pub(crate) fn start_closed(dir: &Path) -> Option<Self> {
        let htpasswd = dir.join("htpasswd");
        fs::write(&htpasswd, HTPASSWD).unwrap();
        let section =
            format!("auth:\n  htpasswd:\n    realm: closed\n    path: {}\n", htpasswd.display());
        Self::start_with(dir, "", &section)
    }

    /// The same with further lines of the section `http` of its configuration, and further sections.
    pub(crate) fn start_with(dir: &Path, http: &str, rest: &str) -> Option<Self> {
        if !requires::program("docker-registry") {
            return None;
        }
        // Free now; nobody else on this machine is likely to take it within the next milliseconds.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let host = format!("127.0.0.1:{port}");
        let config = dir.join("registry.yml");
        let data = dir.join("registry");
        let text = format!(
            "version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: {host}\n{http}{rest}",
            data.display()
        );
        fs::write(&config, text).unwrap();
        let mut command = Command::new("docker-registry");
        command.arg("serve").arg(&config).stdout(Stdio::null()).stderr(Stdio::null());
        let registry = Self { server: command.spawn().unwrap(), host };
        let deadline = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(&registry.host).is_err() {
            assert!(Instant::now() < deadline, "docker-registry never listens");
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(registry)
    }
}

impl Registry {
    /// A reference to something in it.
    pub(crate) fn at(&self, rest: &str) -> String {
        format!("{}/{rest}", self.host)
    }

    /// What it answers to a GET, which must succeed: the value of `Docker-Content-Digest`, and the body.
    #[track_caller]
    pub(crate) fn get(&self, path: &str) -> (String, Vec<u8>) {
        let mut stream = TcpStream::connect(&self.host).unwrap();
        let host = &self.host;
        write!(stream, "GET {path} HTTP/1.0\r\nHost: {host}\r\nAccept: {ACCEPT}\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
        let head = String::from_utf8_lossy(&answer[..end]).into_owned();
        assert!(head.starts_with("HTTP/1.0 200"), "{path}: {head}");
        let mut digests = head.lines().filter_map(|l| l.strip_prefix("Docker-Content-Digest: "));
        (digests.next().unwrap_or_default().to_owned(), answer[end + 4..].to_vec())
    }

    /// The digest and the contents of a manifest.
    #[track_caller]
    pub(crate) fn manifest(&self, repository: &str, name: &str) -> (String, Value) {
        let (digest, body) = self.get(&format!("/v2/{repository}/manifests/{name}"));
        (digest, serde_json::from_slice(&body).unwrap())
    }

    /// The tags of a repository, sorted.
    #[track_caller]
    pub(crate) fn tags(&self, repository: &str) -> Vec<String> {
        let (_, body) = self.get(&format!("/v2/{repository}/tags/list"));
        let list: Value = serde_json::from_slice(&body).unwrap();
        let tags = list["tags"].as_array().cloned().unwrap_or_default();
        let mut tags: Vec<_> = tags.iter().map(|tag| tag.as_str().unwrap().to_owned()).collect();
        tags.sort();
        tags
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        // It may have ended by itself, which the test has then seen.
        drop(self.server.kill());
        drop(self.server.wait());
    }
}
