//! What the tests of faults share: a fixed build of three steps whose image has the same id wherever it is built, a store
//! that has its base, and strace, which spoils a system call.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use crate::support::base;
use crate::support::context::Context;
use crate::support::env::{IMAGE, TestEnv};
use crate::support::process::{Kiln, Output};
use crate::support::requires;

/// Everything that touches files, mounts or descriptors. A question mark is for what a processor does not have.
const FILES: &str = "?open,openat,openat2,?creat,read,pread64,write,pwrite64,?rename,renameat,renameat2,?mkdir,mkdirat,\
    ?rmdir,?unlink,unlinkat,?link,linkat,?symlink,symlinkat,?mknod,mknodat,?chmod,fchmod,fchmodat,?chown,fchown,?lchown,\
    fchownat,utimensat,truncate,ftruncate,fallocate,?stat,?lstat,fstat,?newfstatat,statx,getdents64,flock,fsync,fdatasync,\
    syncfs,copy_file_range,sendfile,setxattr,lsetxattr,fsetxattr,getxattr,lgetxattr,fgetxattr,listxattr,llistxattr,\
    flistxattr,fsopen,fsconfig,fsmount,mount,move_mount,open_tree,mount_setattr,lseek,?readlink,readlinkat,dup,dup3";

/// The time of all images.
const EPOCH: &str = "1000000000";

/// Longer than a build that strace slows down takes on a busy machine.
const PATIENCE: &str = "100";

/// What became of a command under strace.
pub(super) struct Ended {
    pub(super) status: ExitStatus,
    pub(super) stderr: String,
    /// Whether there was a call to spoil, and what was spoilt was about files of the test: no disk spoils a pipe between two threads.
    pub(super) met: bool,
}

impl Ended {
    /// Ended by itself, with a result or with an error that is told: no signal, no panic.
    #[track_caller]
    pub(super) fn assert_orderly(&self, what: &str) {
        let told = &self.stderr;
        assert!(self.status.signal().is_none(), "{what}: ended by a signal:\n{told}");
        assert_ne!(self.status.code(), Some(124), "{what}: never ended:\n{told}");
        assert_ne!(self.status.code(), Some(101), "{what}: panicked:\n{told}");
        assert!(!told.contains("panicked at"), "{what}: panicked:\n{told}");
    }

    /// Says in one error what went wrong, and with what.
    #[track_caller]
    pub(super) fn assert_told(&self, what: &str, words: &str) {
        let told = &self.stderr;
        let errors: Vec<&str> = told.lines().filter(|line| line.starts_with("error: ")).collect();
        assert_eq!(errors.len(), 1, "{what}: no error, or several:\n{told}");
        assert!(errors[0].contains('`'), "{what}: with what?\n{told}");
        assert!(told.contains(words), "{what}: not why:\n{told}");
    }
}

/// A place for spoilt builds.
pub(super) struct Faults {
    env: TestEnv,
    context: Context,
    prepared: PathBuf,
    id: String,
    /// The stores there were. A process in the background may still be about to bring one to the disk.
    stores: RefCell<Vec<PathBuf>>,
    next: Cell<usize>,
}

/// So many stores are kept: with at least as many builds between, nobody uses the oldest any more.
const STORES: usize = 40;

impl Faults {
    pub(super) fn new() -> Self {
        let env = TestEnv::new();
        // Loaded, the base has the same id everywhere; imported, it would have a time of its own.
        env.ok(&["save", "-o", &env.str("base-image.tar"), "busybox"]);
        let context = env.context(
            "FROM busybox\nCOPY src /src\nRUN mkdir /made && for i in 1 2 3; do echo $i > /made/$i; done\n",
        );
        for number in 0..3 {
            context.write(&format!("src/{number}"), format!("{number}\n").repeat(100));
        }
        let prepared = env.path("prepared");
        let (stores, next) = (RefCell::default(), Cell::new(0));
        let mut faults = Self { env, context, prepared, id: String::new(), stores, next };
        let prepared = faults.prepared.clone();
        faults.load(&prepared);
        faults.kiln(&prepared, &["sync"]).run().ok();
        let other = faults.store();
        faults.id = faults.build(&other);
        faults
    }

    /// A place in the directory of the test.
    pub(super) fn place(&self, name: &str) -> PathBuf {
        self.env.path(name)
    }

    /// The id of the image.
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// Another context.
    pub(super) fn context(&self, dockerfile: &str) -> Context {
        self.env.context(dockerfile)
    }

    /// Puts the base into a store.
    pub(super) fn load(&self, root: &Path) {
        let archive = self.env.str("base-image.tar");
        self.kiln(root, &["load", "-q", "-i", &archive]).run().ok();
    }

    /// A new store with the base in it.
    pub(super) fn store(&self) -> PathBuf {
        self.copy_of(&self.prepared)
    }

    /// The same, which stays until the end of the test.
    pub(super) fn kept_store(&self, name: &str) -> PathBuf {
        let root = self.store();
        self.stores.borrow_mut().retain(|store| *store != root);
        let kept = self.env.path(name);
        fs::rename(root, &kept).unwrap();
        kept
    }

    /// The same with the image in it and everything on the disk.
    pub(super) fn built_store(&self) -> PathBuf {
        let whole = self.kept_store("whole");
        self.build(&whole);
        // Nothing is to be moved to its final place in the background.
        self.kiln(&whole, &["sync"]).run().ok();
        whole
    }

    /// A copy of a store.
    pub(super) fn copy_of(&self, store: &Path) -> PathBuf {
        let mut stores = self.stores.borrow_mut();
        let root = self.env.path(&format!("store{}", self.next.replace(self.next.get() + 1)));
        if stores.len() == STORES {
            fs::remove_dir_all(stores.remove(0)).unwrap();
        }
        stores.push(root.clone());
        let copied = Command::new("cp").arg("-a").args([store, &root]).status().unwrap();
        assert!(copied.success());
        // As if something had been written just now: then nobody starts a process that brings it to the disk.
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
        fs::create_dir_all(root.join(format!("boot-{}", boot.trim()))).unwrap();
        root
    }

    pub(super) fn kiln(&self, root: &Path, args: &[&str]) -> Kiln {
        let kiln = Kiln::new(&base::kiln()).args(["--root".as_ref(), root.as_os_str()]);
        kiln.env("SOURCE_DATE_EPOCH", EPOCH).args(args)
    }

    fn build_args(&self) -> Vec<String> {
        let output = "--output=type=image,rewrite-timestamp=true";
        ["build", "--progress=plain", output, "-t", IMAGE, self.context.str()]
            .map(str::to_owned)
            .into()
    }

    /// A build; the command still has to be run.
    pub(super) fn building(&self, root: &Path) -> Kiln {
        let args = self.build_args();
        self.kiln(root, &args.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// Builds, which must succeed; returns the image's id.
    #[track_caller]
    pub(super) fn build(&self, root: &Path) -> String {
        self.building(root).run().ok();
        self.kiln(root, &["images", "-q", "--no-trunc", IMAGE]).run().ok().text()
    }

    /// Checks the store.
    pub(super) fn fsck(&self, root: &Path) -> Output {
        self.kiln(root, &["fsck"]).run()
    }

    /// Whatever happened to it, a store is whole, and builds what it should.
    #[track_caller]
    pub(super) fn assert_whole(&self, root: &Path, what: &str) {
        let checked = self.fsck(root);
        assert!(checked.status.success(), "{what}: {checked}");
        let built = self.building(root).run();
        assert!(built.status.success(), "{what}: {built}");
        let id = self.kiln(root, &["images", "-q", "--no-trunc", IMAGE]).run().ok().text();
        assert_eq!(id, self.id, "{what}: another image: {built}");
        let checked = self.fsck(root);
        assert!(checked.status.success(), "{what}, after the next build: {checked}");
    }

    /// Returns the system calls of a command that meet files of the test: its store, its context, what it writes. One for each
    /// time that a thread of it calls something, by its name and the how manieth of that name it is in its thread; what
    /// several threads do is there once.
    pub(super) fn calls(&self, root: &Path, args: &[&str]) -> Vec<Call> {
        let trace = root.with_extension("trace");
        let traced = self.trace(&trace, &[format!("--trace={FILES}")], root, args);
        assert!(traced.status.success(), "{}", traced.stderr);
        let place = self.env.str("");
        let mut counts: BTreeMap<(&str, &str), usize> = BTreeMap::new();
        let mut found: BTreeMap<(&str, usize), Call> = BTreeMap::new();
        let text = String::from_utf8_lossy(&fs::read(&trace).unwrap()).into_owned();
        for line in text.lines() {
            let Some((thread, call)) = line.split_once(' ') else { continue };
            let Some((name, rest)) = call.trim_start().split_once('(') else { continue };
            if !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
                continue;
            }
            let number = counts.entry((name, thread)).or_default();
            *number += 1;
            if line.contains(&place) {
                let call = found.entry((name, *number)).or_insert_with(|| Call {
                    name: name.to_owned(),
                    number: *number,
                    changes: false,
                    waits: can_wait(name, rest),
                });
                call.changes |= is_change(name, rest);
                call.waits &= can_wait(name, rest);
            }
        }
        found.into_values().collect()
    }

    /// The system calls of a build.
    pub(super) fn calls_of_build(&self) -> Vec<Call> {
        let args = self.build_args();
        self.calls(&self.store(), &args.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// Builds in a store while strace spoils a call: by `error=EIO`, by `signal=KILL`.
    pub(super) fn spoilt_build(&self, root: &Path, call: &Call, fault: &str) -> Ended {
        let args = self.build_args();
        self.spoilt(root, call, fault, &args.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// Runs kiln while strace spoils a call; with `error=EMFILE+` also all later ones of that name.
    pub(super) fn spoilt(&self, root: &Path, call: &Call, fault: &str, args: &[&str]) -> Ended {
        let Call { name, number, .. } = call;
        let (fault, later) = fault.strip_suffix('+').map_or((fault, ""), |fault| (fault, "+"));
        let inject = format!("--inject={name}:{fault}:when={number}{later}");
        let mut options = vec![format!("--trace={name}"), inject];
        // Quicker; but then strace 6.1 sends no signals.
        options.extend((!fault.starts_with("signal=")).then(|| "--seccomp-bpf".to_owned()));
        self.trace(&root.with_extension("trace"), &options, root, args)
    }

    fn trace(&self, trace: &Path, options: &[String], root: &Path, args: &[&str]) -> Ended {
        let mut command = Command::new("timeout");
        // -y: which files the descriptors are.
        command.args(["-s", "KILL", PATIENCE, "strace", "-f", "-y", "-q", "-o"]);
        command.arg(trace).args(options).arg(base::kiln()).arg("--root").arg(root).args(args);
        command.env("SOURCE_DATE_EPOCH", EPOCH).env("DOCKER_CONFIG", "/nonexistent");
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let output = command.output().expect("strace starts");
        let traced = fs::read(trace).unwrap_or_default();
        let traced = String::from_utf8_lossy(&traced);
        // Where kiln itself is killed, strace ends in the same way.
        let is_killed = output.status.code() == Some(137);
        let injected = traced.lines().filter(|line| line.contains("INJECTED"));
        // All later ones are of whatever there is.
        let lasts = options.iter().any(|option| option.ends_with('+'));
        let mut injected = injected.take(if lasts { 1 } else { usize::MAX });
        let place = self.env.str("");
        // Threads share their work in another way each time: it may be another call than the one that was chosen.
        let interrupts = options.iter().any(|option| option.contains(":error=EINTR"));
        let can_be = |line: &str| line.contains(&place) && (!interrupts || is_interruptible(line));
        let of_files = injected.clone().all(can_be);
        let is_spoilt = injected.next().is_some() && of_files;
        // A process that ends a build kills what it has started, too.
        let kills = options.iter().any(|option| option.contains(":signal="));
        let met = is_spoilt || kills && (is_killed || traced.contains("+++ killed by SIGKILL"));
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        Ended { status: output.status, stderr, met }
    }
}

/// A system call that a thread makes.
#[derive(Debug, Clone)]
pub(super) struct Call {
    pub(super) name: String,
    pub(super) number: usize,
    /// Whether there is something else on the disk after it.
    changes: bool,
    /// Whether it can wait, and a signal come meanwhile.
    waits: bool,
}

impl Call {
    /// Whether it can end like this.
    pub(super) fn can_fail_with(&self, error: &str) -> bool {
        match error {
            "ENOSPC" | "EROFS" => self.changes,
            "EMFILE" => ["open", "dup", "fsmount", "fsopen"]
                .iter()
                .any(|start| self.name.starts_with(start)),
            "EINTR" => self.waits,
            _ => true,
        }
    }

    /// Between two calls that change nothing, it does not matter when a process ends.
    pub(super) fn changes(&self) -> bool {
        self.changes
    }
}

/// Whether a call by this name waits for what is slow, so that it may be interrupted: by its manual page, and without the C
/// library's `opendir`, which does not try again and which the store uses for its own directories only.
fn can_wait(name: &str, arguments: &str) -> bool {
    const WAIT: [&str; 14] = [
        "open",
        "openat",
        "openat2",
        "creat",
        "read",
        "pread64",
        "write",
        "pwrite64",
        "flock",
        "truncate",
        "ftruncate",
        "fallocate",
        "copy_file_range",
        "sendfile",
    ];
    let is_opendir = arguments.contains("O_NONBLOCK|O_CLOEXEC|O_DIRECTORY");
    !is_opendir && WAIT.contains(&name)
}

/// The same of a line of strace's.
fn is_interruptible(line: &str) -> bool {
    let call = line.split_once(' ').and_then(|(_thread, call)| call.trim_start().split_once('('));
    call.is_some_and(|(name, arguments)| can_wait(name, arguments))
}

/// Whether a call by this name, with these arguments, changes what is on the disk, or what a lock says.
fn is_change(name: &str, arguments: &str) -> bool {
    const CHANGES: [&str; 20] = [
        "creat",
        "write",
        "pwrite",
        "rename",
        "mkdir",
        "rmdir",
        "unlink",
        "link",
        "symlink",
        "mknod",
        "chmod",
        "fchmod",
        "chown",
        "fchown",
        "lchown",
        "utimens",
        "truncate",
        "ftruncate",
        "fallocate",
        "flock",
    ];
    const MORE: [&str; 7] =
        ["fsync", "fdatasync", "syncfs", "copy_file_range", "sendfile", "setxattr", "fsetxattr"];
    match name {
        "open" | "openat" | "openat2" => {
            ["O_CREAT", "O_TRUNC", "O_TMPFILE"].iter().any(|flag| arguments.contains(flag))
        }
        _ => CHANGES.iter().chain(&MORE).any(|start| name.starts_with(start)),
    }
}

/// Counts for the one who reads the output of a long test.
pub(super) fn tell(what: &str, rounds: usize, failed: usize) {
    eprintln!("{what}: {rounds} rounds, {failed} of them failed by it");
}

/// Whether this machine has strace, and lets it trace.
pub(super) fn can_trace() -> bool {
    if !requires::program("strace") {
        return false;
    }
    let traced = Command::new("strace")
        .args(["-f", "--seccomp-bpf", "-q", "-o", "/dev/null", "true"])
        .stderr(Stdio::null())
        .status();
    requires::tracing(traced.is_ok_and(|status| status.success()))
}
