//! Where the tests take place: a small root file system made of busybox, directories for layers,
//! a way to run something, an ordinary user.

use std::fs;
use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use sandbox::Child;
use sandbox::Error;
use sandbox::Exit;
use sandbox::JoinSpec;
use sandbox::Mount;
use sandbox::MountSource;
use sandbox::Overlay;
use sandbox::Process;
use sandbox::Rights;
use sandbox::Rung;
use sandbox::Spec;
use sandbox::Stdin;
use sandbox::Terminal;

/// One test: its name and what it does.
pub(crate) type Case = (&'static str, fn(&World));

/// Thrown by a test that cannot run here.
pub(crate) struct Skip(pub(crate) String);

pub(crate) fn skip(why: impl Into<String>) -> ! {
    std::panic::panic_any(Skip(why.into()))
}

/// A temporary directory with a base layer in it.
pub(crate) struct World {
    pub(crate) rung: Rung,
    directory: PathBuf,
    next: AtomicUsize,
}

/// How a run went.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) exit: Exit,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) upper: PathBuf,
}

impl World {
    pub(crate) fn new(rung: Rung) -> Self {
        static WORLDS: AtomicUsize = AtomicUsize::new(0);
        let name = format!(
            "kiln-isolation-{}-{}",
            std::process::id(),
            WORLDS.fetch_add(1, Ordering::Relaxed)
        );
        let directory = std::env::temp_dir().join(name);
        // A test with the same number may have been killed; there is nothing otherwise.
        drop(fs::remove_dir_all(&directory));
        fs::create_dir(&directory).unwrap();
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).unwrap();
        let world = World { rung, directory, next: AtomicUsize::new(0) };
        fs::create_dir_all(world.base().join("bin")).unwrap();
        fs::create_dir_all(world.base().join("tmp")).unwrap();
        let tmp = world.base().join("tmp");
        fs::set_permissions(&tmp, fs::Permissions::from_mode(0o1777)).unwrap();
        let Ok(_) = fs::copy("/bin/busybox", world.base().join("bin/busybox")) else {
            eprintln!("no /bin/busybox (package busybox-static): nothing can be tested");
            std::process::exit(0);
        };
        for name in [
            "sh", "cat", "echo", "env", "grep", "head", "hostname", "id", "ip", "kill", "ls",
            "mkdir", "mknod", "mount", "mv", "ln", "ps", "pwd", "readlink", "rm", "sleep", "stat",
            "stty", "touch", "tr", "true", "tty", "umount", "unshare", "wc", "df", "chroot",
            "setsid", "false", "dd", "ping", "nslookup", "chmod", "chown", "su",
        ] {
            symlink("busybox", world.base().join("bin").join(name)).unwrap();
        }
        // Now, as it cannot be executed while another thread's child has it open for writing.
        let exe = std::env::current_exe().unwrap();
        if fs::hard_link(&exe, world.executable()).is_err() {
            fs::copy(&exe, world.executable()).unwrap();
        }
        world
    }

    /// Whether root's part is played where there is one id: a filter is always on, and the kernel knows nobody else.
    pub(crate) fn plays_root(&self) -> bool {
        self.rung == Rung::OneId
    }

    /// The directory of the base layer: `/bin` and `/tmp`, and nothing else.
    pub(crate) fn base(&self) -> PathBuf {
        self.directory.join("base")
    }

    /// A new empty directory.
    pub(crate) fn new_directory(&self, name: &str) -> PathBuf {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let path = self.directory.join(format!("{name}-{number}"));
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    /// An overlay of the base and `above`, and its upper directory.
    pub(crate) fn overlay(&self, above: &[PathBuf]) -> (Overlay, PathBuf) {
        let (upper, work) = (self.new_directory("upper"), self.new_directory("work"));
        let mut lowers = above.to_vec();
        lowers.push(self.base());
        let overlay = Overlay::mount(self.rung, &lowers, Some(&upper), Some(&work)).unwrap();
        (overlay, upper)
    }

    /// What runs a shell script as root.
    pub(crate) fn spec(&self, script: &str) -> (Spec, PathBuf) {
        let (overlay, upper) = self.overlay(&[]);
        (spec_on(&overlay, &["sh", "-c", script]), upper)
    }

    /// Runs a shell script.
    pub(crate) fn sh(&self, script: &str) -> Run {
        self.sh_with(script, |_| {})
    }

    /// Runs a shell script, with something about it changed.
    pub(crate) fn sh_with(&self, script: &str, change: impl FnOnce(&mut Spec)) -> Run {
        let (mut spec, upper) = self.spec(script);
        change(&mut spec);
        let mut run = run(spec).unwrap_or_else(|error| panic!("{}", chain(&error)));
        run.upper = upper;
        run
    }

    /// What a successful script printed, trimmed.
    pub(crate) fn output(&self, script: &str) -> String {
        self.sh(script).success()
    }

    /// Runs this test binary in a sandbox, with the host's libraries: `--probe WHAT`.
    pub(crate) fn probe(&self, what: &str, change: impl FnOnce(&mut Spec)) -> Run {
        self.sh_with("", |spec| {
            spec.argv = ["/probe", "--probe", what].map(Into::into).to_vec();
            let exe = std::env::current_exe().unwrap();
            spec.mounts.push(bind(&exe, "/probe"));
            spec.mounts.extend(libraries());
            change(spec);
        })
    }

    /// This test binary, where every user can execute it.
    pub(crate) fn executable(&self) -> PathBuf {
        self.directory.join("isolation")
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.directory) {
            eprintln!("cannot remove {}: {error}", self.directory.display());
        }
    }
}

impl Run {
    /// Its output, trimmed, if it was successful.
    pub(crate) fn success(self) -> String {
        assert_eq!(self.exit, Exit::Code(0), "{self:#?}");
        self.stdout.trim().to_owned()
    }

    /// The names in the upper directory, from the whole tree, sorted.
    pub(crate) fn layer(&self) -> Vec<String> {
        let mut names = Vec::new();
        let mut ahead = vec![self.upper.clone()];
        while let Some(directory) = ahead.pop() {
            for entry in fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                let relative = path.strip_prefix(&self.upper).unwrap();
                names.push(relative.display().to_string());
                if path.is_dir() && !path.is_symlink() {
                    ahead.push(path);
                }
            }
        }
        names.sort();
        names
    }
}

/// What runs a program on an overlay as root, without a network.
pub(crate) fn spec_on(overlay: &Overlay, argv: &[&str]) -> Spec {
    Spec {
        argv: argv.iter().map(Into::into).collect(),
        env: vec![("PATH".into(), "/bin".into())],
        hostname: "buildkitsandbox".to_owned(),
        ..Spec::new(overlay.try_clone_fd().unwrap())
    }
}

/// What joins a sandbox as root, without an input.
pub(crate) fn join_spec(process: &Process, argv: &[&str]) -> JoinSpec {
    JoinSpec {
        process: process.descriptor.try_clone().unwrap(),
        argv: argv.iter().map(Into::into).collect(),
        env: vec![("PATH".into(), "/bin".into())],
        cwd: "/".to_owned(),
        rights: Rights::default(),
        stdin: Stdin::Null,
        terminal: Terminal::None,
    }
}

/// A tmpfs of root's, in which programs can be executed.
pub(crate) fn memory(size: Option<u64>, mode: u32) -> MountSource {
    MountSource::Tmpfs { size, mode, uid: 0, gid: 0, exec: true }
}

/// A read-only mount of something of the host.
pub(crate) fn bind(path: &Path, target: &str) -> Mount {
    let source = MountSource::Bind(path.to_owned());
    Mount { target: target.to_owned(), source, read_only: true }
}

/// The host's libraries, for programs that need them.
pub(crate) fn libraries() -> Vec<Mount> {
    let paths = ["/usr", "/lib", "/lib64"];
    let existing = paths.into_iter().filter(|path| Path::new(path).exists());
    existing.map(|path| bind(Path::new(path), path)).collect()
}

/// Runs to the end, with all output.
pub(crate) fn run(spec: Spec) -> Result<Run, Error> {
    finish(sandbox::spawn(spec)?)
}

/// Waits for the end, with all output.
pub(crate) fn finish(mut child: Child) -> Result<Run, Error> {
    let read = |pipe: Option<std::os::fd::OwnedFd>| {
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            if let Some(pipe) = pipe {
                File::from(pipe).read_to_end(&mut bytes).unwrap();
            }
            String::from_utf8_lossy(&bytes).into_owned()
        })
    };
    let (stdout, stderr) = (read(child.take_stdout()), read(child.take_stderr()));
    let exit = child.wait()?;
    let (stdout, stderr) = (stdout.join().unwrap(), stderr.join().unwrap());
    Ok(Run { exit, stdout, stderr, upper: PathBuf::new() })
}

/// An error with its causes.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", chain(source)),
        None => error.to_string(),
    }
}

/// Whether some process of this machine has this among its arguments.
pub(crate) fn is_running(marker: &str) -> bool {
    let me = std::process::id().to_string();
    fs::read_dir("/proc").unwrap().flatten().any(|entry| {
        let is_pid = entry.file_name().to_string_lossy().chars().all(|it| it.is_ascii_digit());
        is_pid
            && *entry.file_name() != *me
            && fs::read(entry.path().join("cmdline"))
                .is_ok_and(|line| String::from_utf8_lossy(&line).contains(marker))
    })
}

/// Waits for something to become true.
pub(crate) fn eventually(what: &str, is_true: impl Fn() -> bool) {
    for _ in 0..500 {
        if is_true() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    panic!("never: {what}");
}

/// Makes a descriptor be inherited by every process started from here on.
pub(crate) fn leak(descriptor: impl AsFd) {
    rustix::io::fcntl_setfd(descriptor, rustix::io::FdFlags::empty()).unwrap();
}

/// An ordinary user with ranges of ids, for as long as the tests run.
pub(crate) struct User {
    pub(crate) name: String,
}

impl User {
    pub(crate) fn create() -> Result<Self, String> {
        let name = format!("kilntest{}", std::process::id());
        let run = |program: &str, args: &[&str]| match Command::new(program).args(args).output() {
            Ok(output) if output.status.success() => Ok(()),
            Ok(output) => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
            Err(error) => Err(format!("{program}: {error}")),
        };
        run("setpriv", &["--version"])?;
        run("useradd", &["--no-create-home", "--no-user-group", &name])?;
        let user = User { name };
        let has_range = |file: &str| {
            let text = fs::read_to_string(file).unwrap_or_default();
            text.lines().any(|line| line.starts_with(&format!("{}:", user.name)))
        };
        if !has_range("/etc/subuid") {
            let range = "300000-365535";
            run("usermod", &["--add-subuids", range, "--add-subgids", range, &user.name])?;
        }
        Ok(user)
    }

    /// A command that runs this test binary as somebody whom no file of this machine knows, and who has no other ids.
    pub(crate) fn nobody_knows(world: &World) -> Command {
        let id = (1_600_000_000 + std::process::id()).to_string();
        let mut command = Command::new("setpriv");
        command.args(["--reuid", &id, "--regid", &id, "--clear-groups", "--inh-caps=-all"]);
        command.arg(world.executable());
        command
    }

    /// A command that runs this test binary as that user.
    pub(crate) fn command(&self, world: &World) -> Command {
        let mut command = Command::new("setpriv");
        command
            .args(["--reuid", &self.name, "--regid", "100", "--clear-groups", "--inh-caps=-all"])
            .arg(world.executable());
        command
    }
}

impl Drop for User {
    fn drop(&mut self) {
        let removed = Command::new("userdel").arg(&self.name).output();
        if !removed.is_ok_and(|output| output.status.success()) {
            eprintln!("cannot remove the user {}", self.name);
        }
    }
}
