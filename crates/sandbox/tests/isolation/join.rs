//! One more process in a sandbox that runs.

use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;

use sandbox::Child;
use sandbox::Error;
use sandbox::Exit;
use sandbox::JoinSpec;
use sandbox::Process;
use sandbox::Rights;
use sandbox::Stdin;
use sandbox::Terminal;

use super::world::Case;
use super::world::Run;
use super::world::World;
use super::world::eventually;
use super::world::finish;
use super::world::is_running;
use super::world::join_spec;

pub(crate) const CASES: &[Case] = &[
    ("join_sees_the_sandbox", join_sees_the_sandbox),
    ("join_has_the_same_rights", join_has_the_same_rights),
    ("join_streams", join_streams),
    ("join_with_a_terminal", join_with_a_terminal),
    ("join_fails", join_fails),
    ("join_is_not_to_be_looked_into", join_is_not_to_be_looked_into),
    ("join_ends_alone", join_ends_alone),
    ("join_dies_with_the_sandbox", join_dies_with_the_sandbox),
];

/// A sandbox that sleeps.
struct Sleeping {
    child: Child,
    process: Process,
}

impl Sleeping {
    fn start(world: &World) -> Self {
        Self::start_with(world, |_| {})
    }

    fn start_with(world: &World, change: impl FnOnce(&mut sandbox::Spec)) -> Self {
        let (mut spec, _) = world.spec("echo first > /tmp/first; echo; exec sleep 1000");
        change(&mut spec);
        let mut child = sandbox::spawn(spec).unwrap();
        let process = child.started().unwrap();
        let mut stdout = File::from(child.take_stdout().unwrap());
        stdout.read_exact(&mut [0]).unwrap();
        Self { child, process }
    }

    fn spec(&self, script: &str) -> JoinSpec {
        join_spec(&self.process, &["sh", "-c", script])
    }

    fn sh(&self, script: &str) -> Run {
        self.sh_with(script, |_| {})
    }

    fn sh_with(&self, script: &str, change: impl FnOnce(&mut JoinSpec)) -> Run {
        let mut spec = self.spec(script);
        change(&mut spec);
        finish(sandbox::join(spec).unwrap()).unwrap()
    }
}

fn join_sees_the_sandbox(world: &World) {
    let sleeping = Sleeping::start(world);
    let see = "cat /tmp/first; hostname; cat /proc/1/cmdline | tr '\\0' ' '; ls /proc/self/fd; \
               for n in mnt pid ipc uts net cgroup; do \
               test \"$(readlink /proc/1/ns/$n)\" = \"$(readlink /proc/self/ns/$n)\" || echo other $n; done";
    let run = sleeping.sh(see);
    assert_eq!(run.stdout, "first\nbuildkitsandbox\nsleep 1000 0\n1\n2\n3\n", "{run:?}");
    assert_eq!(
        sleeping.sh_with("pwd; umask", |spec| spec.cwd = "/tmp".to_owned()).success(),
        "/tmp\n0022"
    );
    assert_eq!(sleeping.sh("exit 7").exit, Exit::Code(7));
}

fn join_has_the_same_rights(world: &World) {
    let sleeping = Sleeping::start(world);
    let status = "grep -E 'Cap|Seccomp:|NoNewPrivs|Groups' /proc/";
    let first = sleeping.sh(&format!("{status}1/status")).success();
    assert!(first.contains("a80425fb") && first.contains("Seccomp:\t2"), "{first}");
    assert_eq!(sleeping.sh(&format!("{status}self/status")).success(), first);
    let user = Rights { uid: 1000, gid: 1001, groups: vec![7], ..Rights::default() };
    let run = sleeping.sh_with("id -u; id -g; id -G; grep CapEff /proc/self/status", |spec| {
        spec.rights = user;
    });
    assert_eq!(run.success(), "1000\n1001\n1001 7\nCapEff:\t0000000000000000");
    let run = sleeping.sh("mount -t tmpfs none /tmp; echo $?; unshare -m true; echo $?");
    assert!(!run.stdout.contains('0'), "{run:?}");
}

fn join_streams(world: &World) {
    let sleeping = Sleeping::start(world);
    let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
    rustix::io::write(&write, b"through").unwrap();
    drop(write);
    let run = sleeping.sh_with("cat /dev/stdin; echo err >&2; echo out > /dev/stdout", |spec| {
        spec.rights.uid = 1000;
        spec.stdin = Stdin::Given(read);
    });
    assert_eq!((run.stdout.as_str(), run.stderr.as_str()), ("throughout\n", "err\n"), "{run:?}");
    assert_eq!(sleeping.sh("readlink /proc/self/fd/0; cat").success(), "/dev/null");
}

fn join_with_a_terminal(world: &World) {
    let sleeping = Sleeping::start(world);
    let mut spec = sleeping.spec("tty; stty size; stat -c %u $(tty); echo x > /dev/tty; exit 4");
    spec.terminal = Terminal::Pty;
    spec.rights.uid = 1000;
    let mut child = sandbox::join(spec).unwrap();
    let pty = child.take_pty().unwrap();
    let size = rustix::termios::Winsize { ws_row: 33, ws_col: 99, ws_xpixel: 0, ws_ypixel: 0 };
    rustix::termios::tcsetwinsize(pty.as_fd(), size).unwrap();
    let mut output = Vec::new();
    // Reading ends with EIO when the last one has closed the other end.
    let _ = File::from(pty).read_to_end(&mut output);
    let output = String::from_utf8(output).unwrap();
    // A terminal has no deeds.
    let owner = if world.plays_root() { 0 } else { 1000 };
    assert!(
        output.starts_with("/dev/pts/0\r\n") && output.ends_with(&format!("{owner}\r\nx\r\n")),
        "{output:?}"
    );
    assert_eq!(child.wait().unwrap(), Exit::Code(4));
}

fn join_fails(world: &World) {
    let mut sleeping = Sleeping::start(world);
    let failure = |change: &dyn Fn(&mut JoinSpec)| {
        let mut spec = sleeping.spec("true");
        change(&mut spec);
        finish(sandbox::join(spec).unwrap()).unwrap_err()
    };
    let error = failure(&|spec| spec.argv = vec!["missing".into()]);
    assert!(
        matches!(&error, Error::Exec { source, .. } if source.kind() == std::io::ErrorKind::NotFound),
        "{error:?}"
    );
    let error = failure(&|spec| spec.cwd = "/nowhere".to_owned());
    assert!(matches!(error, Error::WorkingDirectory { .. }), "{error:?}");
    let error = failure(&|spec| spec.cwd = "/proc/self/fd/3".to_owned());
    assert!(matches!(error, Error::WorkingDirectory { .. }), "{error:?}");
    sleeping.child.killer().kill();
    sleeping.child.wait().unwrap();
    let error = finish(sandbox::join(sleeping.spec("true")).unwrap()).unwrap_err();
    assert!(matches!(error, Error::Setup { .. }), "{error:?}");
}

/// Root of the sandbox watches for a process that joins, and tries to get at its line to the
/// supervisor. The program is missing in so many places that there is time enough.
fn join_is_not_to_be_looked_into(world: &World) {
    let watch = "echo first > /tmp/first; echo
        while :; do
            for p in /proc/[0-9]*; do
                case \"$(tr '\\0' ' ' < $p/cmdline 2> /dev/null)\" in
                    kiln-sandbox*)
                        echo seen >> /tmp/seen
                        readlink $p/fd/3 2> /dev/null | grep pipe >> /tmp/got
                esac
            done
        done";
    let sleeping = Sleeping::start_with(world, |spec| spec.argv[2] = watch.into());
    let is_seen = || {
        let mut spec = sleeping.spec("");
        spec.argv = vec!["missing".into()];
        spec.env = vec![("PATH".into(), "/nowhere:".repeat(100_000).into())];
        finish(sandbox::join(spec).unwrap()).unwrap_err();
        sleeping.sh("cat /tmp/seen 2> /dev/null; true").success().lines().count() >= 5
    };
    eventually("it is seen", is_seen);
    assert_eq!(sleeping.sh("wc -l < /tmp/got").success(), "0");
}

fn join_ends_alone(world: &World) {
    let sleeping = Sleeping::start(world);
    let marker = format!("98765.{}5", std::process::id());
    assert_eq!(
        sleeping.sh(&format!("setsid sleep {marker} > /dev/null 2>&1 &")).exit,
        Exit::Code(0)
    );
    eventually("what it left goes on", || is_running(&marker));
    let later = "(sleep 0.5; > /tmp/a; chown 7:8 /tmp/a; stat -c %u:%g /tmp/a > /tmp/b; mv /tmp/b /tmp/c) > /dev/null 2>&1 &";
    assert_eq!(sleeping.sh(later).exit, Exit::Code(0));
    let told = || sleeping.sh("cat /tmp/c").stdout;
    eventually("what it left does what it did before", || told() == "7:8\n");
    let child = sandbox::join(sleeping.spec("sleep 1000")).unwrap();
    child.killer().kill();
    assert_eq!(finish(child).unwrap().exit, Exit::Signal(libc::SIGKILL));
    assert_eq!(sleeping.sh("echo alive").success(), "alive");
    drop(sleeping);
    assert!(!is_running(&marker));
}

fn join_dies_with_the_sandbox(world: &World) {
    let sleeping = Sleeping::start(world);
    let mut child = sandbox::join(sleeping.spec("echo; sleep 1000")).unwrap();
    child.started().unwrap();
    let thread = std::thread::spawn(move || finish(child));
    drop(sleeping);
    assert_eq!(thread.join().unwrap().unwrap().exit, Exit::Signal(libc::SIGKILL));
}
