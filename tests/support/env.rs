//! A store of its own for each test, and kiln run on it. Everything is under one temporary directory, removed at the end.

use std::cell::Cell;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::fs::FlockOperation;
use serde_json::Value;

use super::account::Account;
use super::archive::Tree;
use super::base;
use super::context::Context;
use super::process::{Kiln, Output, PATIENCE};
use super::sweep;

/// The name that [`TestEnv::build`] gives its image.
pub(crate) const IMAGE: &str = "test:latest";

/// Opens /dev/fuse to everybody, as it is where udev runs, in a mount namespace of its own.
const OPEN_FUSE: &str = r#"exec unshare --mount sh -c '
mount -t tmpfs none /mnt && mknod /mnt/fuse c 10 229 && chmod 666 /mnt/fuse && mount --bind /mnt/fuse /dev/fuse && exec "$@"' sh "$@""#;

pub(crate) struct TestEnv {
    dir: PathBuf,
    /// As long as it is open, the directory is in use.
    _held: File,
    account: Option<Account>,
    isolation: Option<&'static str>,
    /// What root does before kiln starts.
    before: Option<&'static str>,
    contexts: Cell<u32>,
}

impl TestEnv {
    /// An empty store.
    pub(crate) fn empty() -> Self {
        Self::create(None)
    }

    /// A store with `busybox:latest` in it.
    pub(crate) fn new() -> Self {
        Self::empty().with_base()
    }

    /// The same on a rung of the isolation ladder.
    pub(crate) fn isolated(rung: &'static str) -> Self {
        let mut env = Self::empty();
        env.isolation = Some(rung);
        env.with_base()
    }

    /// The same as another user of the machine, who owns the directory, the store and the contexts.
    pub(crate) fn of(account: Account) -> Self {
        Self::create(Some(account)).with_base()
    }

    /// The same on a rung of the isolation ladder.
    pub(crate) fn of_on(account: Account, rung: &'static str) -> Self {
        let mut env = Self::create(Some(account));
        env.isolation = Some(rung);
        env.with_base()
    }

    /// The same as another user who may use FUSE, with overlays that `fuse-overlayfs` serves.
    pub(crate) fn served(account: Account) -> Self {
        let mut env = Self::create(Some(account));
        env.isolation = Some("fuse");
        env.before = Some(OPEN_FUSE);
        env.with_base()
    }

    /// The same environment on another rung.
    pub(crate) fn on(mut self, rung: &'static str) -> Self {
        self.isolation = Some(rung);
        self
    }

    /// The same environment after another script of root's.
    pub(crate) fn after(mut self, script: &'static str) -> Self {
        self.before = Some(script);
        self
    }

    fn create(account: Option<Account>) -> Self {
        // Tests are threads of one process or processes of their own, depending on the runner.
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        sweep::once();
        let name = format!("{}{}-{number}", sweep::PREFIX, std::process::id());
        let dir = std::env::temp_dir().join(name);
        fs::create_dir_all(&dir).unwrap();
        let held = sweep::hold(&dir);
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).unwrap();
        let env = Self {
            dir,
            _held: held,
            account,
            isolation: None,
            before: None,
            contexts: Cell::new(0),
        };
        if let Some(account) = &env.account {
            // The build directory may well be out of this user's reach.
            fs::copy(base::kiln(), env.path("kiln")).unwrap();
            fs::copy(base::tar(), env.path("base.tar")).unwrap();
            account.give(&env.dir);
        }
        env
    }

    fn with_base(self) -> Self {
        let own = self.path("base.tar");
        let tar = if own.exists() { own } else { base::tar() };
        self.kiln(["import".as_ref(), tar.as_os_str(), "busybox:latest".as_ref()]).run().ok();
        self
    }

    /// A place in the directory of this test.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// The same as text, for a command line.
    pub(crate) fn str(&self, name: &str) -> String {
        self.path(name).to_str().expect("temporary paths are UTF-8").to_owned()
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.path("store")
    }

    /// A new directory with this Dockerfile.
    pub(crate) fn context(&self, dockerfile: &str) -> Context {
        let number = self.contexts.replace(self.contexts.get() + 1);
        let context = Context::create(self.path(&format!("context{number}")), dockerfile);
        if let Some(account) = &self.account {
            account.give(context.path());
        }
        context
    }

    /// kiln with `--root` and these arguments.
    pub(crate) fn kiln<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Kiln {
        let kiln = match &self.account {
            Some(account) => {
                Kiln::new(&self.path("kiln")).by_user(account.uid, account.gid, &self.dir)
            }
            None => Kiln::new(&base::kiln()),
        };
        let kiln = match self.isolation {
            Some(rung) => kiln.env("KILN_ISOLATION", rung),
            None => kiln,
        };
        let kiln = match self.before {
            Some(script) => kiln.through_root(script),
            None => kiln,
        };
        kiln.args(["--root".as_ref(), self.store().as_os_str()]).args(args)
    }

    /// Runs kiln, which must succeed.
    #[track_caller]
    pub(crate) fn ok(&self, args: &[&str]) -> Output {
        self.kiln(args).run().ok()
    }

    /// Builds [`IMAGE`] from a context; the command still has to be run.
    pub(crate) fn building(&self, context: &Context, args: &[&str]) -> Kiln {
        self.kiln(["build", "--progress=plain", "-t", IMAGE]).args(args).args([context.path()])
    }

    /// Builds [`IMAGE`] from a context, which must succeed.
    #[track_caller]
    pub(crate) fn build(&self, context: &Context, args: &[&str]) -> Output {
        self.building(context, args).run().ok()
    }

    /// Builds [`IMAGE`] from a Dockerfile without any other file.
    #[track_caller]
    pub(crate) fn build_text(&self, dockerfile: &str) -> Output {
        self.build(&self.context(dockerfile), &[])
    }

    /// Tries to build, which must fail with exit code 1 and leave no image.
    #[track_caller]
    pub(crate) fn build_fails(&self, context: &Context, args: &[&str]) -> Output {
        let output = self.building(context, args).run().fails(1);
        let left = self.ok(&["images", "-q", "test"]).text();
        assert_eq!(left, "", "a failed build leaves no image:\n{output}");
        output
    }

    /// What a shell script prints in a container of [`IMAGE`].
    #[track_caller]
    pub(crate) fn sh(&self, script: &str) -> String {
        self.ok(&["run", "--rm", "--entrypoint", "/bin/sh", IMAGE, "-c", script]).text()
    }

    /// All that `inspect` knows of an image.
    #[track_caller]
    pub(crate) fn inspect(&self, image: &str) -> Value {
        let document: Value = serde_json::from_slice(&self.ok(&["inspect", image]).stdout).unwrap();
        document[0].clone()
    }

    /// The state of a container: `running`, `exited`, …
    #[track_caller]
    pub(crate) fn state(&self, container: &str) -> String {
        let filter = format!("name=^{container}$");
        self.ok(&["ps", "-a", "--filter", &filter, "--format", "{{.State}}"]).text()
    }

    /// What dead processes have left of their unfinished things. What a living one owns, such as one that waits for the disk,
    /// is locked.
    pub(crate) fn ownerless(&self) -> Vec<PathBuf> {
        let is_ownerless = |path: &PathBuf| {
            let Ok(directory) = File::open(path) else { return false };
            rustix::fs::flock(&directory, FlockOperation::NonBlockingLockExclusive).is_ok()
        };
        let Ok(entries) = fs::read_dir(self.store().join("tmp")) else { return Vec::new() };
        entries.map(|entry| entry.unwrap().path()).filter(is_ownerless).collect()
    }

    /// What the store keeps of containers: the names in its directory of them.
    pub(crate) fn container_directories(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.store().join("containers")).into_iter().flatten();
        entries.map(|entry| entry.unwrap().path()).collect()
    }

    /// The processes that keep containers of this store.
    pub(crate) fn keepers(&self) -> Vec<u32> {
        self.processes("keep")
    }

    /// The processes of kiln that do something with this store, by the name of the command.
    pub(crate) fn processes(&self, command: &str) -> Vec<u32> {
        let store = self.store().display().to_string();
        let entries = fs::read_dir("/proc").unwrap().flatten();
        let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        let is_one = |pid: &u32| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line).into_owned();
            line.contains(&format!("{store}\0{command}\0"))
        };
        numbers.filter(is_one).collect()
    }

    /// Ends all containers, so that nothing is left of a test that failed.
    fn remove_containers(&self) {
        if self.container_directories().is_empty() {
            return;
        }
        let ids = self.kiln(["ps", "-aq", "--no-trunc"]).run().text();
        if !ids.is_empty() {
            drop(self.kiln(["rm", "-f"]).args(ids.lines()).run());
        }
    }

    /// The `Config` of [`IMAGE`].
    #[track_caller]
    pub(crate) fn config(&self) -> Value {
        self.inspect(IMAGE)["Config"].clone()
    }

    /// The id of an image.
    #[track_caller]
    pub(crate) fn id(&self, image: &str) -> String {
        self.inspect(image)["Id"].as_str().expect("an image has an id").to_owned()
    }

    /// The regular files of the store.
    pub(crate) fn files_of_store(&self) -> Vec<PathBuf> {
        let mut files = Vec::new();
        let mut open = vec![self.store()];
        while let Some(dir) = open.pop() {
            for entry in fs::read_dir(dir).unwrap().flatten() {
                let metadata = entry.metadata().unwrap();
                if metadata.is_file() {
                    files.push(entry.path());
                } else if metadata.is_dir() {
                    open.push(entry.path());
                }
            }
        }
        files
    }

    /// How many bytes they have.
    pub(crate) fn size_of_store(&self) -> u64 {
        self.files_of_store().iter().map(|file| fs::metadata(file).unwrap().len()).sum()
    }

    /// The file system that a context builds.
    #[track_caller]
    pub(crate) fn tree(&self, context: &Context, args: &[&str]) -> Tree {
        let dest = self.path("tree.tar");
        let output = format!("--output=type=tar,dest={}", dest.display());
        self.kiln(["build", "--progress=plain", &output])
            .args(args)
            .args([context.path()])
            .run()
            .ok();
        Tree::of_tar(&fs::read(dest).unwrap())
    }
}

impl Drop for TestEnv {
    fn drop(&mut self) {
        self.remove_containers();
        // A process in the background may just be bringing the store to the disk, and make a file where all were gone.
        let is_root = rustix::process::geteuid().is_root();
        let deadline = Instant::now() + if is_root { PATIENCE } else { Duration::ZERO };
        loop {
            if remove(&self.dir) {
                return;
            }
            if Instant::now() >= deadline {
                break;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        // Without root, files of a store belong to other ids of a user namespace, and only from inside can they be removed.
        let mut command = Command::new("unshare");
        command.args(["--map-root-user", "--map-auto", "rm", "-rf"]).arg(&self.dir);
        if !command.status().is_ok_and(|status| status.success()) && !std::thread::panicking() {
            panic!("cannot remove {}", self.dir.display());
        }
    }
}

/// Removes a tree in which directories may lack the permission to write.
pub(super) fn remove(dir: &Path) -> bool {
    if fs::remove_dir_all(dir).is_ok() {
        return true;
    }
    let mut command = Command::new("chmod");
    command.args(["-R", "u+rwX"]).arg(dir).stderr(std::process::Stdio::null());
    command.status().is_ok_and(|status| status.success()) && fs::remove_dir_all(dir).is_ok()
}
