//! The rung without namespaces and mounts: what holds a program there, and what is left of what was put in its way.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;

use sandbox::Confinement;
use sandbox::Error;
use sandbox::Exit;
use sandbox::Mount;
use sandbox::MountSource;
use sandbox::Network;
use sandbox::Spec;

use super::world::Case;
use super::world::World;
use super::world::bind;
use super::world::is_running;
use super::world::memory;
use super::world::run;

pub(crate) const CASES: &[Case] = &[
    ("rights", rights),
    ("refused_calls", refused_calls),
    ("nothing_is_inherited", nothing_is_inherited),
    ("the_root_is_the_root", the_root_is_the_root),
    ("processes_outside_are_out_of_reach", processes_outside_are_out_of_reach),
    ("what_a_program_knows_of_itself", what_a_program_knows_of_itself),
    ("what_is_open_is_opened_with_its_rights", what_is_open_is_opened_with_its_rights),
    ("nothing_else_is_told", nothing_else_is_told),
    ("devices_that_work", devices_that_work),
    ("no_network_but_local_sockets", no_network_but_local_sockets),
    ("all_processes_die", all_processes_die),
    ("nothing_is_left", nothing_is_left),
    ("what_was_there_comes_back", what_was_there_comes_back),
    ("what_is_lent_goes_back", what_is_lent_goes_back),
    ("what_is_lent_and_lost_is_replaced", what_is_lent_and_lost_is_replaced),
    ("what_needs_namespaces_is_refused", what_needs_namespaces_is_refused),
    ("errors_are_told", errors_are_told),
];

/// A copy of the base layer, and the directory beside it.
struct Tree {
    root: PathBuf,
    aside: PathBuf,
}

impl Tree {
    fn new(world: &World) -> Self {
        let parent = world.new_directory("tree");
        let (root, aside) = (parent.join("fs"), parent.join("work"));
        let copied = Command::new("cp").arg("-a").arg(world.base()).arg(&root).status().unwrap();
        assert!(copied.success());
        fs::create_dir(&aside).unwrap();
        Self { root, aside }
    }

    fn spec(&self, argv: &[&str]) -> Spec {
        let aside = fs::File::open(&self.aside).unwrap().into();
        Spec {
            confinement: Confinement::Chroot { aside },
            argv: argv.iter().map(Into::into).collect(),
            env: vec![("PATH".into(), "/bin".into())],
            network: Network::Host,
            ..Spec::new(fs::File::open(&self.root).unwrap().into())
        }
    }

    fn sh(&self, script: &str) -> String {
        run(self.spec(&["sh", "-c", script])).unwrap().success()
    }

    /// Runs this test binary there, with the host's libraries.
    fn probe(&self, what: &str) -> String {
        let probe = self.root.join("probe");
        if !probe.exists() {
            let exe = std::env::current_exe().unwrap();
            fs::copy(&exe, &probe).unwrap();
            let list = Command::new("ldd").arg(&exe).output().unwrap().stdout;
            let list = String::from_utf8(list).unwrap();
            for library in list.split_whitespace().filter(|word| word.starts_with('/')) {
                let to = self.root.join(&library[1..]);
                fs::create_dir_all(to.parent().unwrap()).unwrap();
                fs::copy(library, to).unwrap();
            }
        }
        run(self.spec(&["/probe", "--probe", what])).unwrap().success()
    }

    /// Every path with what it looks like, but for the time of a change, which nobody can set.
    fn portrait(&self) -> Vec<String> {
        let script = "find . -printf '%p %y %m %U:%G %T@ %l\\n' | sort";
        let found = Command::new("sh").args(["-c", script]).current_dir(&self.root).output();
        let found = String::from_utf8(found.unwrap().stdout).unwrap();
        assert!(found.lines().count() > 10, "{found}");
        found.lines().map(str::to_owned).collect()
    }
}

fn file(target: &str, content: &str) -> Mount {
    let source = MountSource::File { content: content.into(), mode: 0o440, uid: 3, gid: 4 };
    Mount { target: target.to_owned(), source, read_only: true }
}

fn lent(path: &Path, target: &str) -> Mount {
    let source = MountSource::Lent(path.to_owned());
    Mount { target: target.to_owned(), source, read_only: false }
}

fn rights(world: &World) {
    let tree = Tree::new(world);
    // Docker's, without those to change the root and, where no device control group is in force, to make devices.
    assert_eq!(tree.probe("rights"), "a00025fb a00025fb 0 a00025fb\ntrue");
    let mut spec = tree.spec(&["/probe", "--probe", "rights"]);
    spec.rights.uid = 1000;
    assert_eq!(run(spec).unwrap().success(), "0 0 0 a00025fb\ntrue");
}

fn refused_calls(world: &World) {
    let tree = Tree::new(world);
    let algorithms = libc::AF_ALG.to_string();
    let machines = libc::AF_VSOCK.to_string();
    for what in ["fsopen", "open_tree", "sethostname", &algorithms, &machines] {
        assert_eq!(tree.probe(what), "EPERM", "{what}");
    }
    for what in ["openat2", "thread", "1", "2"] {
        assert_eq!(tree.probe(what), "ok", "{what}");
    }
    for command in ["unshare -U true", "mount -t tmpfs x /tmp", "chroot /tmp /bin/true"] {
        let exit = run(tree.spec(&["sh", "-c", command])).unwrap().exit;
        assert_ne!(exit, Exit::Code(0), "{command}");
    }
}

fn nothing_is_inherited(world: &World) {
    let tree = Tree::new(world);
    assert_eq!(tree.probe("descriptors"), "3");
    assert_eq!(tree.probe("session"), "true true");
    assert_eq!(tree.sh("env | sort; umask"), "PATH=/bin\nPWD=/\nSHLVL=1\n0022");
}

fn the_root_is_the_root(world: &World) {
    let tree = Tree::new(world);
    let canary = world.new_directory("outside").join("canary");
    fs::write(&canary, "x").unwrap();
    let canary = canary.display();
    let script =
        format!("cat {canary} ../../../../../../{canary} 2>&1 | grep -c 'No such'; ls -d /../bin");
    assert_eq!(tree.sh(&script), "2\n/../bin");
}

fn processes_outside_are_out_of_reach(world: &World) {
    let tree = Tree::new(world);
    let marker = format!("98765.{}7", std::process::id());
    let mut outside = Command::new("sleep").arg(&marker).spawn().unwrap();
    let run = run(tree.spec(&["sh", "-c", &format!("kill -9 {}; kill -9 $PPID", outside.id())]));
    let run = run.unwrap();
    // Without signals of its own scope (before Linux 6.12) there is nothing that could hold it back.
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let mut numbers = release.split(['.', '-']).map(|number| number.parse::<u32>().unwrap_or(0));
    let is_scoped = (numbers.next(), numbers.next()) >= (Some(6), Some(12));
    if is_scoped {
        assert_eq!(run.stderr.matches("Operation not permitted").count(), 2, "{run:?}");
        assert!(outside.try_wait().unwrap().is_none(), "it was killed");
    }
    assert_eq!(tree.probe(&format!("limit {}", outside.id())), "EPERM");
    assert_eq!(tree.probe("limit 0"), "ok");
    outside.kill().unwrap();
    outside.wait().unwrap();
}

fn what_a_program_knows_of_itself(world: &World) {
    let tree = Tree::new(world);
    assert_eq!(tree.sh("readlink /proc/self/exe"), "/bin/busybox");
    assert_eq!(tree.sh("cd /tmp; readlink /proc/self/cwd; readlink /proc/self/root"), "/tmp\n/");
    tree.sh("sh -c 'echo $$ >/tmp/a; exec readlink /proc/self >/tmp/b'");
    let read = |name: &str| fs::read_to_string(tree.root.join(name)).unwrap();
    assert_eq!(read("tmp/a"), read("tmp/b"));
    let status = tree.sh(
        "grep -E '^(NoNewPrivs|Seccomp|CapAmb|CapInh|CapBnd):' /proc/self/status | tr -d '\\t'",
    );
    let expected = "CapInh:0000000000000000\nCapBnd:00000000a00025fb\nCapAmb:0000000000000000\nNoNewPrivs:1\nSeccomp:2";
    assert_eq!(status, expected);
    assert!(tree.sh("tr '\\0' ' ' </proc/self/cmdline").contains("tr"));
    assert_eq!(tree.sh("cat /proc/self/mounts | wc -l"), "1");
    assert_eq!(
        tree.sh("echo a | cat /dev/stdin; echo b >/dev/stdout; echo c | cat /proc/self/fd/0"),
        "a\nb\nc"
    );
    assert_eq!(
        tree.sh("echo text >/tmp/f; exec 3</tmp/f; cat /dev/fd/3; readlink /proc/self/fd/3"),
        "text\n/tmp/f"
    );
    let many = "i=0; while [ $i -lt 2000 ]; do read x </proc/self/stat; i=$((i+1)); done; echo $i";
    assert_eq!(tree.sh(many), "2000");
}

fn what_is_open_is_opened_with_its_rights(world: &World) {
    let tree = Tree::new(world);
    let script = "echo old >/tmp/f; exec 3</tmp/f; (echo new >/proc/self/fd/3) 2>&1 | grep -c denied; cat /tmp/f";
    assert_eq!(tree.sh(script), "1\nold");
    let script = "echo old >/tmp/f; exec 3>>/tmp/f; cat /proc/self/fd/3 2>&1 | grep -c denied";
    assert_eq!(tree.sh(script), "1");
    assert_eq!(tree.sh("readlink /proc/self/fd/0"), "/dev/null");
    // A FIFO without another end holds nobody up.
    fs::write(tree.root.join("tmp/pid"), "").unwrap();
    let script =
        "busybox mkfifo /tmp/p; exec 3<>/tmp/p; (cat /proc/self/fd/3 &); cat /proc/self/comm";
    assert_eq!(tree.sh(script), "cat");
}

fn nothing_else_is_told(world: &World) {
    let tree = Tree::new(world);
    for path in [
        "/proc/1/environ",
        "/proc/$PPID/environ",
        "/proc/self/fd/../../1/environ",
        "/proc/self/root/etc",
        "/proc/self/mem",
        "/proc/self/mountinfo",
        "/proc/self/ns/net",
    ] {
        let run = run(tree.spec(&["sh", "-c", &format!("cat {path}")])).unwrap();
        assert_ne!(run.exit, Exit::Code(0), "{path}: {run:?}");
        assert_eq!(run.stdout, "", "{path}");
    }
    assert_eq!(tree.sh("ls /proc/self; ls /dev/fd/ 2>/dev/null; true"), "mounts");
}

fn devices_that_work(world: &World) {
    let tree = Tree::new(world);
    let script = "echo x >/dev/null && head -c 4 /dev/zero | wc -c && head -c 4 /dev/urandom | wc -c && \
                  grep -c processor /proc/cpuinfo >/dev/null && cat /proc/mounts | wc -l";
    assert_eq!(tree.sh(script), "4\n4\n1");
    // A device that a program makes is of no use: it has no right to make one, or nobody may open it.
    let made = "mknod /tmp/memory c 1 1 && cat /tmp/memory";
    assert_ne!(run(tree.spec(&["sh", "-c", made])).unwrap().exit, Exit::Code(0));
}

fn no_network_but_local_sockets(world: &World) {
    let tree = Tree::new(world);
    let probe = |network: Network, family: i32| {
        // The first one puts the program there.
        tree.probe("openat2");
        let mut spec = tree.spec(&["/probe", "--probe", &family.to_string()]);
        spec.network = network;
        run(spec).unwrap().success()
    };
    assert_eq!(probe(Network::None, libc::AF_UNIX), "ok");
    for family in [libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK] {
        assert_eq!(probe(Network::Host, family), "ok", "{family}");
        let refused = probe(Network::None, family);
        assert!(refused.contains("not supported"), "{family}: {refused}");
    }
}

fn all_processes_die(world: &World) {
    let tree = Tree::new(world);
    let marker = format!("98765.{}8", std::process::id());
    let script = format!(
        "setsid sleep {marker} & (setsid setsid sh -c 'sleep {marker}; true' &) & sleep {marker} & true"
    );
    tree.sh(&script);
    assert!(!is_running(&marker), "a process is left");
    let mut child =
        sandbox::spawn(tree.spec(&["sh", "-c", &format!("{script}; sleep {marker}")])).unwrap();
    child.started().unwrap();
    child.killer().kill();
    assert_eq!(child.wait().unwrap(), Exit::Signal(9));
    assert!(!is_running(&marker), "a process is left");
}

fn nothing_is_left(world: &World) {
    let tree = Tree::new(world);
    let before = tree.portrait();
    let mut spec = tree.spec(&["sh", "-c", "cat /run/secrets/s /etc/hosts; touch /new/t/x /dev/x /sys/x; stat -c '%a %u:%g' /run/secrets/s"]);
    let tmpfs =
        Mount { target: "/new/t".to_owned(), source: memory(None, 0o1777), read_only: false };
    spec.mounts = vec![
        file("/run/secrets/s", "secret"),
        file("/etc/hosts", "h"),
        file("/etc/resolv.conf", "r"),
        tmpfs,
    ];
    let mut child = sandbox::spawn(spec).unwrap();
    let output = std::io::read_to_string(fs::File::from(child.take_stdout().unwrap())).unwrap();
    assert_eq!(child.wait().unwrap(), Exit::Code(0));
    assert_eq!(output, "secreth440 3:4\n");
    assert_eq!(tree.portrait(), before);
    assert_eq!(fs::read_dir(&tree.aside).unwrap().count(), 0);
    let mut covered: Vec<_> = child.covered().iter().map(|path| path.to_str().unwrap()).collect();
    covered.sort_unstable();
    let expected = ["dev", "etc/hosts", "etc/resolv.conf", "new/t", "proc", "run/secrets/s", "sys"];
    assert_eq!(covered, expected);
}

fn what_was_there_comes_back(world: &World) {
    let tree = Tree::new(world);
    fs::create_dir_all(tree.root.join("etc")).unwrap();
    fs::create_dir_all(tree.root.join("dev/old")).unwrap();
    fs::write(tree.root.join("etc/hosts"), "old").unwrap();
    std::os::unix::fs::symlink("../etc/hosts", tree.root.join("tmp/link")).unwrap();
    let before = tree.portrait();
    let script =
        "cat /etc/hosts; rm /etc/hosts; mkdir /etc/hosts; touch /etc/hosts/x; ls /dev/old; true";
    let mut spec = tree.spec(&["sh", "-c", script]);
    spec.mounts = vec![file("/tmp/link", "new")];
    assert_eq!(run(spec).unwrap().success(), "new");
    let after = tree.portrait();
    let differ: Vec<_> = before.iter().filter(|line| !after.contains(line)).collect();
    // The program has changed the directory itself, whose time is the program's.
    assert!(differ.iter().all(|line| line.starts_with("./etc ")), "{differ:?}");
    assert_eq!(fs::read_to_string(tree.root.join("etc/hosts")).unwrap(), "old");
}

fn what_is_lent_goes_back(world: &World) {
    let tree = Tree::new(world);
    let store = world.new_directory("store");
    let cache = store.join("cache");
    fs::create_dir(&cache).unwrap();
    fs::write(cache.join("old"), "o").unwrap();
    let inode = cache.metadata().unwrap().ino();
    let before = tree.portrait();
    let mut spec =
        tree.spec(&["sh", "-c", "cat /deep/c/old; echo n >/deep/c/new; chmod 700 /deep/c"]);
    spec.mounts = vec![lent(&cache, "/deep/c")];
    assert_eq!(run(spec).unwrap().success(), "o");
    assert_eq!(tree.portrait(), before);
    assert_eq!(fs::read_to_string(cache.join("new")).unwrap(), "n\n");
    assert_eq!(cache.metadata().unwrap().ino(), inode);
    assert_eq!(cache.metadata().unwrap().permissions().mode() & 0o777, 0o700);
}

fn what_is_lent_and_lost_is_replaced(world: &World) {
    let tree = Tree::new(world);
    let cache = world.new_directory("store").join("cache");
    fs::create_dir(&cache).unwrap();
    let mut spec = tree.spec(&["sh", "-c", "mv /c /moved; ln -s /etc /c"]);
    spec.mounts = vec![lent(&cache, "/c")];
    assert_eq!(run(spec).unwrap().exit, Exit::Code(0));
    assert!(cache.is_dir(), "the owner has its directory");
    assert!(fs::symlink_metadata(tree.root.join("c")).is_err(), "the place is as it was");
}

fn what_needs_namespaces_is_refused(world: &World) {
    let tree = Tree::new(world);
    let changes: [fn(&mut Spec); 5] = [
        |spec| spec.make_insecure(),
        |spec| spec.read_only = true,
        |spec| spec.devices.all = true,
        |spec| spec.settings.push(("kernel.msgmax".to_owned(), "1".to_owned())),
        |spec| spec.mounts.push(bind(Path::new("/etc"), "/host")),
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let before = tree.portrait();
        let mut spec = tree.spec(&["true"]);
        change(&mut spec);
        let refused = run(spec);
        assert!(matches!(refused, Err(Error::NeedsNamespaces { .. })), "{number}: {refused:?}");
        assert_eq!(tree.portrait(), before, "{number}");
    }
}

fn errors_are_told(world: &World) {
    let tree = Tree::new(world);
    let before = tree.portrait();
    let missing = run(tree.spec(&["nothing"]));
    assert!(
        matches!(&missing, Err(Error::Exec { program, .. }) if program == "nothing"),
        "{missing:?}"
    );
    let mut spec = tree.spec(&["true"]);
    spec.cwd = "/nowhere".to_owned();
    assert!(matches!(run(spec), Err(Error::WorkingDirectory { .. })));
    let mut spec = tree.spec(&["true"]);
    spec.mounts = vec![file("/proc/x", "x")];
    assert!(matches!(run(spec), Err(Error::MountTarget { .. })));
    assert_eq!(tree.portrait(), before);
}
