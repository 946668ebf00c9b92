//! git repositories, and a server of them on loopback, for the time of one test.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::requires;

/// A repository with a work tree, to be changed.
pub(crate) struct Repository {
    dir: PathBuf,
}

impl Repository {
    /// An empty one; its branch is `main`. It is served by a name that ends in `.git`.
    pub(crate) fn create(dir: PathBuf) -> Self {
        fs::create_dir_all(&dir).unwrap();
        let repository = Self { dir };
        repository.git(&["init", "--quiet", "--initial-branch=main"]);
        repository
    }

    pub(crate) fn path(&self) -> &Path {
        &self.dir
    }

    pub(crate) fn write(&self, name: &str, content: &str) -> &Self {
        let path = self.dir.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
        self
    }

    /// Commits everything and returns the id.
    pub(crate) fn commit(&self, message: &str) -> String {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--allow-empty", "-m", message]);
        self.git(&["update-server-info"]);
        self.git(&["rev-parse", "HEAD"])
    }

    /// Runs git there, which must succeed, and returns what it prints.
    #[track_caller]
    pub(crate) fn git(&self, args: &[&str]) -> String {
        let mut command = Command::new("git");
        command.arg("-C").arg(&self.dir).args(args);
        for (name, value) in [
            ("GIT_CONFIG_GLOBAL", "/dev/null"),
            ("GIT_CONFIG_NOSYSTEM", "1"),
            ("GIT_AUTHOR_NAME", "A"),
            ("GIT_AUTHOR_EMAIL", "a@example.com"),
            ("GIT_AUTHOR_DATE", "1700000000 +0000"),
            ("GIT_COMMITTER_NAME", "A"),
            ("GIT_COMMITTER_EMAIL", "a@example.com"),
            ("GIT_COMMITTER_DATE", "1700000000 +0000"),
        ] {
            command.env(name, value);
        }
        let output = command.output().unwrap();
        let complaints = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "git {args:?}: {complaints}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }
}

/// `git daemon` for all repositories below a directory.
pub(crate) struct GitServer {
    server: Child,
    /// `git://127.0.0.1:PORT`.
    pub(crate) url: String,
}

impl GitServer {
    /// Starts one; `None`, said on stderr, where there is no git.
    pub(crate) fn start(dir: &Path) -> Option<Self> {
        if !requires::program("git") {
            return None;
        }
        fs::create_dir_all(dir).unwrap();
        // Free now; nobody else on this machine is likely to take it within the next milliseconds.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut command = Command::new("git");
        command.args(["daemon", "--export-all", "--reuseaddr", "--listen=127.0.0.1"]);
        command.arg(format!("--port={port}")).arg(format!("--base-path={}", dir.display()));
        command.arg("--").arg(dir).stdin(Stdio::null());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        // `git` starts the daemon as a process of its own: only the group is all of it.
        let server = command.process_group(0).spawn().unwrap();
        let server = Self { server, url: format!("git://127.0.0.1:{port}") };
        let deadline = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < deadline, "git daemon never listens");
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(server)
    }
}

impl Drop for GitServer {
    fn drop(&mut self) {
        let group = rustix::process::Pid::from_child(&self.server);
        // It may have ended by itself, which the test has then seen.
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        drop(self.server.wait());
    }
}
