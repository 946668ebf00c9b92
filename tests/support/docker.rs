//! Docker's daemon, for the time of one test: its socket, images and containers are below a directory of the test, and it
//! leaves the network of the machine alone.

use std::fs::{self, File};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::requires;

/// How long a daemon has to start, and to end.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Docker {
    daemon: Child,
    dir: PathBuf,
}

impl Docker {
    /// Starts one; `None`, said on stderr, where it is not installed or cannot run.
    pub(crate) fn start(dir: &Path) -> Option<Self> {
        if !requires::root() || !requires::program("docker") || !requires::program("dockerd") {
            return None;
        }
        let dir = dir.join("dockerd");
        fs::create_dir(&dir).unwrap();
        let log = File::create(dir.join("log")).unwrap();
        let mut daemon = Command::new("dockerd");
        daemon.arg("--data-root").arg(dir.join("data")).arg("--exec-root").arg(dir.join("exec"));
        daemon.arg("--pidfile").arg(dir.join("pid")).arg("-H").arg(socket(&dir));
        daemon.args(["--bridge=none", "--iptables=false", "--ip-forward=false", "--ip-masq=false"]);
        daemon.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let mut docker = Self { daemon: daemon.spawn().unwrap(), dir };
        let runs = docker.is_up();
        let log = fs::read_to_string(docker.dir.join("log")).unwrap_or_default();
        let reason = log.lines().last().unwrap_or("it says nothing");
        requires::have("docker", runs, reason).then_some(docker)
    }

    fn is_up(&mut self) -> bool {
        let deadline = Instant::now() + PATIENCE;
        while UnixStream::connect(self.dir.join("socket")).is_err() {
            let has_ended = self.daemon.try_wait().unwrap().is_some();
            if has_ended || Instant::now() > deadline {
                return false;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        true
    }

    /// Runs Docker's client, which must succeed; returns what it prints, without the last line end.
    #[track_caller]
    pub(crate) fn ok(&self, args: &[&str]) -> String {
        let output = self.run(args);
        let (text, said) =
            (String::from_utf8(output.stdout).unwrap(), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "docker {args:?}\n{text}{said}");
        text.trim_end().to_owned()
    }

    /// The same, whatever comes of it.
    pub(crate) fn run(&self, args: &[&str]) -> Output {
        let mut client = Command::new("docker");
        client.env("DOCKER_HOST", socket(&self.dir)).env("DOCKER_CONFIG", self.dir.join("config"));
        client.args(args).stdin(Stdio::null()).output().unwrap()
    }
}

fn socket(dir: &Path) -> String {
    format!("unix://{}", dir.join("socket").display())
}

impl Drop for Docker {
    fn drop(&mut self) {
        let pid = Pid::from_child(&self.daemon);
        // Asked to, it ends its containerd and unmounts what it has mounted. It may have ended by itself.
        let _ = kill_process(pid, Signal::TERM);
        let deadline = Instant::now() + PATIENCE;
        while matches!(self.daemon.try_wait(), Ok(None)) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
        }
        drop(self.daemon.kill());
        drop(self.daemon.wait());
    }
}
