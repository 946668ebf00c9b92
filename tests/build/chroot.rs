//! The fifth rung of the isolation ladder: what a RUN finds there, beside what `ladder` compares, and what becomes of the store.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::ladder::{self, assert_same_layers, layers};
use crate::support::archive::Tree;
use crate::support::context::Context;
use crate::support::env::{IMAGE, TestEnv};
use crate::support::process::eventually;
use crate::support::requires;

/// Puts a program of this machine, with the libraries that it names, below `root` in a context.
pub(super) fn add_program(context: &Context, program: &Path) {
    let libraries = Command::new("ldd").arg(program).output().unwrap();
    let libraries = String::from_utf8(libraries.stdout).unwrap();
    let words = libraries.split_whitespace().filter(|word| word.starts_with('/'));
    for path in words.map(Path::new).chain([program]) {
        let place = context.path().join("root").join(path.strip_prefix("/").unwrap());
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        // The mode comes along.
        fs::copy(path, place).unwrap();
    }
}

/// An ssh agent with one key, which ends with this value.
struct Agent {
    process: Child,
    socket: String,
}

impl Agent {
    fn start(env: &TestEnv) -> Self {
        let (socket, key) = (env.str("agent.sock"), env.str("key"));
        let process = Command::new("ssh-agent").args(["-D", "-a", &socket]).spawn().unwrap();
        let agent = Self { process, socket };
        let make = ["-q", "-t", "ed25519", "-N", "", "-C", "someone@here", "-f", &key];
        assert!(Command::new("ssh-keygen").args(make).status().unwrap().success());
        eventually("the agent has the key", || {
            let mut add = Command::new("ssh-add");
            add.arg(&key).env("SSH_AUTH_SOCK", &agent.socket).stderr(Stdio::null());
            add.status().unwrap().success()
        });
        agent
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // Both fail only if it has ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn an_agent_answers_with_and_without_mounts() {
    if !requires::root() || !requires::program("ssh-agent") {
        return;
    }
    for rung in ["chroot", "root"] {
        let env = TestEnv::isolated(rung);
        let agent = Agent::start(&env);
        let context = env.context(
            "FROM busybox\nCOPY root /\n\
             RUN --mount=type=ssh ssh-add -l >/keys && stat -c '%a %u' $SSH_AUTH_SOCK >>/keys\n\
             RUN --mount=type=ssh,target=/agent,uid=1000,mode=0600 test -S /agent && su app -s /bin/sh -c 'ssh-add -l' >>/keys\n\
             RUN --mount=type=ssh,uid=0 ! su app -s /bin/sh -c 'ssh-add -l'\n",
        );
        add_program(&context, Path::new("/usr/bin/ssh-add"));
        let ssh = format!("--ssh=default={}", agent.socket);
        let dest = env.path("image.tar");
        let output = format!("--output=type=tar,dest={}", dest.display());
        env.kiln(["build", "--progress=plain", &ssh, &output]).args([context.path()]).run().ok();
        let tree = Tree::of_tar(&fs::read(&dest).unwrap());
        let keys = tree.text("keys");
        let lines: Vec<&str> = keys.lines().collect();
        assert!(lines[0].contains("someone@here (ED25519)"), "{rung}: {keys}");
        assert_eq!(lines[1], "600 0", "{rung}: {keys}");
        assert!(lines[2].contains("someone@here (ED25519)"), "{rung}: {keys}");
        assert!(!tree.has("agent") && !tree.has("run/buildkit"), "{rung}");
    }
}

/// What perl's `syscall` says to calls by their numbers: the error, or 0.
#[test]
fn the_filter_is_the_same_with_and_without_namespaces() {
    let perl = Path::new("/usr/bin/perl");
    if !requires::root() || !requires::program("perl") {
        return;
    }
    let (clone3, personality) = match std::env::consts::ARCH {
        "x86_64" => (435, 135),
        "aarch64" => (435, 92),
        other => return eprintln!("skipped: the numbers of {other} are not known here"),
    };
    for rung in ["chroot", "root"] {
        let env = TestEnv::isolated(rung);
        let ask = |number: u32, argument: &str| {
            format!("perl -e '$! = 0; syscall({number}, {argument}, 0); print $!+0, qq( )'")
        };
        // To be told what it is, to become what 32-bit programs expect, no randomized addresses; another system.
        let asked = ["0xffffffff", "0x8", "0x40000", "0x1"].map(|it| ask(personality, it));
        let script = format!("{} && {}", ask(clone3, "0"), asked.join(" && "));
        let context = env.context(&format!("FROM busybox\nCOPY root /\nRUN {script}\n"));
        add_program(&context, perl);
        let output = env.build(&context, &["--no-cache"]);
        // As if it were not there, so that the C library takes clone(2), which can be filtered.
        let missing = rustix::io::Errno::NOSYS.raw_os_error();
        let refused = rustix::io::Errno::PERM.raw_os_error();
        output.says(&[&format!("{missing} 0 0 {refused} {refused}")]);
    }
}

/// Lets the rest be root with the rights of an ordinary container's: it may not look into the processes of others.
const FEW_RIGHTS: &str = r#"exec setpriv --bounding-set=-all,+chown,+dac_override,+fsetid,+fowner,+mknod,+net_raw,+setgid,+setuid,+setfcap,+setpcap,+net_bind_service,+sys_chroot,+kill,+audit_write --inh-caps=-all "$@""#;

/// The same without the one to make devices, as in podman's containers.
const FEWER_RIGHTS: &str = r#"exec setpriv --bounding-set=-all,+chown,+dac_override,+fsetid,+fowner,+setgid,+setuid,+setfcap,+setpcap,+net_bind_service,+sys_chroot,+kill --inh-caps=-all "$@""#;

/// The same in a user namespace, as a container's that is mapped to other users: no device node can be made. A shell without
/// `-p` sets the user that it takes itself for, who is another one by then if the map is written meanwhile.
const MAPPED: &str = r#"unshare --user --keep-caps sh -p -c '
until grep -q . /proc/self/gid_map; do sleep 0.02; done
exec setpriv --bounding-set=-all,+chown,+dac_override,+fsetid,+fowner,+mknod,+net_raw,+setgid,+setuid,+setfcap,+setpcap,+net_bind_service,+sys_chroot,+kill,+audit_write --inh-caps=-all "$@"' sh "$@" &
for map in uid_map gid_map; do until echo "0 0 4294967295" 2>/dev/null >/proc/$!/$map; do sleep 0.02; done 2>/dev/null; done; wait $!"#;

#[test]
fn root_of_a_container_builds_the_same() {
    if !requires::root() || !requires::userns() || !requires::program("setpriv") {
        return;
    }
    let root = TestEnv::new();
    let expected = layers(&root, &ladder::context(&root));
    for script in [FEW_RIGHTS, FEWER_RIGHTS, MAPPED] {
        let env = TestEnv::isolated("chroot").after(script);
        assert_same_layers(&layers(&env, &ladder::context(&env)), &expected);
    }
}

/// What programs do with devices where there are none: the calls are answered with those of the machine.
#[test]
fn devices_are_lent_where_none_can_be_made() {
    if !requires::root() || !requires::userns() || !requires::program("setpriv") {
        return;
    }
    for script in [FEWER_RIGHTS, MAPPED] {
        devices_are_lent(script);
    }
}

fn devices_are_lent(script: &'static str) {
    let env = TestEnv::isolated("chroot").after(script);
    let look = "echo x >/dev/null && echo y >>/dev/null && wc -c </dev/null && head -c 3 /dev/zero | tr '\\0' 0 && \
                head -c 9 /dev/urandom | wc -c && head -c 8 /dev/random | wc -c && ! echo x 2>/dev/null >/dev/full && \
                ! cat /dev/tty 2>/dev/null";
    let dockerfile =
        format!("FROM busybox\nRUN ({look}) >/tmp/root\nUSER app\nRUN ({look}) >/tmp/app\n");
    let tree = env.tree(&env.context(&dockerfile), &[]);
    for user in ["root", "app"] {
        assert_eq!(tree.text(&format!("tmp/{user}")), "0\n0009\n8\n", "{user}");
    }
    assert!(!tree.has("dev/null"));
}

#[test]
fn no_network_is_taken_from_a_step() {
    if !requires::root() {
        return;
    }
    let env = TestEnv::isolated("chroot");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let call = format!("busybox nc -w 2 127.0.0.1 {port} </dev/null");
    let answer = std::thread::spawn(move || drop(listener.accept().unwrap()));
    env.build_text(&format!("FROM busybox\nRUN --network=none ! {call}\nRUN {call}\n"));
    // It was called once.
    answer.join().unwrap();
}

#[test]
fn a_store_without_mounts_is_checked_and_mended() {
    if !requires::root() {
        return;
    }
    let env = TestEnv::isolated("chroot");
    let dockerfile = "FROM busybox\nRUN rm -r /home && echo one >/one && mkfifo /fifo && ln /one /two\n\
        COPY a /a\nRUN rm /a && mkdir /a && touch /a/b\n";
    let context = env.context(dockerfile);
    context.files(&["a"]);
    env.build(&context, &[]);
    let whole = "nothing is wrong";
    assert!(env.ok(&["fsck"]).text().ends_with(whole));
    for harm in ["other", ""] {
        let files = env.files_of_store();
        let layer = files.iter().find(|file| file.ends_with("fs/one")).unwrap();
        fs::write(layer, harm).unwrap();
        let found = env.kiln(["fsck"]).run().fails(1).text();
        assert!(found.contains("cached step `RUN rm -r /home"), "{found}");
        assert!(env.ok(&["fsck", "--repair"]).text().ends_with("nothing is wrong any more"));
        assert!(env.ok(&["fsck"]).text().ends_with(whole));
        // What was dropped is built again.
        let tree = env.tree(&context, &[]);
        assert_eq!(tree.text("one"), "one\n");
        assert!(tree.has("a/b") && !tree.has("home"));
        assert!(env.ok(&["fsck"]).text().ends_with(whole));
    }
}

#[test]
fn limits_of_other_processes_are_out_of_reach() {
    if !requires::root() || !requires::program("prlimit") {
        return;
    }
    let env = TestEnv::isolated("chroot");
    // The parent is a process of kiln, which leaves no core behind and has all the time that it needs.
    let context = env.context(
        "FROM busybox\nCOPY root /\n\
         RUN for limit in core=1 cpu=1000 nofile=10; do ! prlimit --pid $PPID --$limit: || exit 1; done\n\
         RUN prlimit --pid $PPID --core && prlimit --nofile=100:100 sh -c 'echo own $(ulimit -n)'\n",
    );
    add_program(&context, Path::new("/usr/bin/prlimit"));
    let output = env.build(&context, &["--no-cache"]);
    output.says(&["failed to set the CORE resource limit: Operation not permitted", "own 100"]);
}

#[test]
fn a_program_without_descriptors_is_told_so() {
    if !requires::root() {
        return;
    }
    for rung in ["chroot", "root"] {
        let env = TestEnv::isolated(rung);
        let output = env.build_text("FROM busybox\nRUN ulimit -n 3 && ! cat /proc/self/status\n");
        output.says(&["Too many open files"]);
    }
}

/// What a base does that shares its root directory with a builder in other engines.
#[test]
fn the_builder_and_its_credentials_are_out_of_reach() {
    if !requires::root() {
        return;
    }
    let env = TestEnv::isolated("chroot");
    fs::create_dir_all(env.path("home/.docker")).unwrap();
    fs::write(env.path("home/.docker/config.json"), "{\"auths\":{}} TOKEN-5b0a").unwrap();
    let binary = Path::new(env!("CARGO_BIN_EXE_kiln"));
    let before = fs::metadata(binary).unwrap();
    let context = env.context(
        "FROM busybox\nRUN mkdir /dbe && echo evil >/dbe/kiln\nONBUILD COPY evil /proc/self/exe\nONBUILD RUN echo y >/proc/self/exe; true\n",
    );
    env.build(&context, &[]);
    let (store, home) = (env.str("store"), env.str("home"));
    let context = env.context(&format!(
        "FROM {IMAGE}\nENV HOME={home}\n\
         RUN cat $HOME/.docker/config.json ../../../../../..$HOME/.docker/config.json {store}/format; test -e {store} && echo rea''ched; ls /proc/$PPID/fd /proc/1; true\n\
         RUN for p in $PPID 1; do cat /proc/$p/environ /proc/$p/cmdline /proc/$p/root$HOME/.docker/config.json /proc/$p/cwd/Dockerfile; done; true\n\
         RUN for p in $PPID 1; do kill -0 $p && echo rea''ched; kill -9 $p; done; true\n",
    ));
    context.files(&["evil"]);
    let output = env.building(&context, &[]).env("HOME", &home).run();
    let output = output.says_not(&["TOKEN-5b0a", "reached", "KILN_"]);
    // The first file cannot be made where the step has its own.
    assert!(output.status.code().is_some_and(|code| code < 2), "{output}");
    let after = fs::metadata(binary).unwrap();
    assert_eq!(
        (before.len(), before.modified().unwrap()),
        (after.len(), after.modified().unwrap())
    );
    env.build_text("FROM busybox\nRUN true\n");
}
