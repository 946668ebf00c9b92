//! Debian's docker-registry on loopback, for the time of one test.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::requires;

pub(crate) struct Registry {
    server: Child,
    /// Host and port, as a reference names them.
    pub(crate) host: String,
}

impl Registry {
    /// Starts one that keeps its data below this directory; `None`, said on stderr, where it is not installed.
    pub(crate) fn start(dir: &Path) -> Option<Self> {
        if !requires::program("docker-registry") {
            return None;
        }
        // Free now; nobody else on this machine is likely to take it within the next milliseconds.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let host = format!("127.0.0.1:{port}");
        let config = dir.join("registry.yml");
        let data = dir.join("registry");
        let text = format!(
            "version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: {host}\n",
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

impl Drop for Registry {
    fn drop(&mut self) {
        // It may have ended by itself, which the test has then seen.
        drop(self.server.kill());
        drop(self.server.wait());
    }
}
