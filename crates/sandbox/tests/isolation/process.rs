//! The process itself: how it starts and ends, what it is given, who else is there.

use std::os::unix::ffi::OsStringExt;
use std::process::Command;
use std::process::ExitCode;
use std::process::Stdio;

use sandbox::Error;
use sandbox::Exit;
use sandbox::Killer;
use sandbox::Mount;
use sandbox::Rung;
use sandbox::Stdin;

use super::world::Case;
use super::world::World;
use super::world::eventually;
use super::world::finish;
use super::world::is_running;
use super::world::leak;
use super::world::memory;
use super::world::run;
use super::world::skip;

pub(crate) const CASES: &[Case] = &[
    ("exit_code", exit_code),
    ("signal", signal),
    ("output", output),
    ("exec_errors", exec_errors),
    ("the_environment_is_exact", the_environment_is_exact),
    ("working_directory", working_directory),
    ("working_directory_cannot_leave", working_directory_cannot_leave),
    ("users_and_groups", users_and_groups),
    ("invalid_specs", invalid_specs),
    ("only_own_processes", only_own_processes),
    ("a_session_of_its_own", a_session_of_its_own),
    ("daemons_die", daemons_die),
    ("no_inherited_descriptors", no_inherited_descriptors),
    ("standard_input", standard_input),
    ("signals_are_default", signals_are_default),
    ("started", started),
    ("held_until_all_are_dead", held_until_all_are_dead),
    ("signals_arrive", signals_arrive),
    ("killer", killer),
    ("dropping_kills", dropping_kills),
    ("kill_minus_one_stays_inside", kill_minus_one_stays_inside),
    ("all_die_with_the_caller", all_die_with_the_caller),
    ("many_at_once", many_at_once),
    ("the_executable_is_read_only", the_executable_is_read_only),
    ("hostname", hostname),
    ("umask", umask),
];

fn exit_code(world: &World) {
    for code in [0, 1, 7, 127, 255] {
        assert_eq!(world.sh(&format!("exit {code}")).exit, Exit::Code(code));
    }
}

fn signal(world: &World) {
    // The first process of a pid namespace is immune to its own signals, so it has to crash: abort
    // tries an illegal instruction when its signal does nothing.
    let run = world.probe("abort", |_| {});
    assert_eq!(run.exit, Exit::Signal(libc::SIGSEGV), "{run:?}");
}

fn output(world: &World) {
    let run = world.sh("echo out; echo err >&2; echo again > /dev/stdout");
    assert_eq!((run.stdout.as_str(), run.stderr.as_str()), ("out\nagain\n", "err\n"));
    // /dev/stdout opens the pipe once more, which belongs to the user.
    let run = world.sh_with("echo again > /dev/stdout", |spec| spec.rights.uid = 1000);
    assert_eq!(run.success(), "again");
}

fn exec_errors(world: &World) {
    let base = world.new_directory("programs");
    std::fs::create_dir(base.join("bin")).unwrap();
    std::fs::write(base.join("bin/text"), "no program").unwrap();
    std::fs::write(base.join("bin/data"), [1, 2, 3]).unwrap();
    std::fs::write(base.join("bin/orphan"), "#!/no/such\n").unwrap();
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    for name in ["data", "orphan"] {
        std::fs::set_permissions(base.join("bin").join(name), Clone::clone(&executable)).unwrap();
    }
    for (program, errno) in [
        ("nothing", libc::ENOENT),
        ("/bin/nothing", libc::ENOENT),
        ("/bin/orphan", libc::ENOENT),
        ("text", libc::EACCES),
        ("/bin/text", libc::EACCES),
        ("/bin", libc::EACCES),
        ("/bin/data", libc::ENOEXEC),
        ("", libc::ENOENT),
    ] {
        let (overlay, _) = world.overlay(std::slice::from_ref(&base));
        match run(super::world::spec_on(&overlay, &[program])) {
            Err(Error::Exec { program: named, source }) => {
                assert_eq!(named, program);
                assert_eq!(source.raw_os_error(), Some(errno), "{program}: {source}");
            }
            other => panic!("{program}: {other:?}"),
        }
    }
}

fn the_environment_is_exact(world: &World) {
    let run = world.sh_with("", |spec| {
        spec.argv = vec!["/bin/env".into()];
        spec.env = vec![
            ("B".into(), "2 \"x\"\ny".into()),
            ("A".into(), "".into()),
            ("BYTES".into(), std::ffi::OsString::from_vec(vec![0xff])),
        ];
    });
    assert_eq!(run.stdout, "B=2 \"x\"\ny\nA=\nBYTES=\u{fffd}\n");
}

fn working_directory(world: &World) {
    let run = world.sh_with("pwd; readlink /proc/self/cwd", |spec| spec.cwd = "/tmp".to_owned());
    assert_eq!(run.success(), "/tmp\n/tmp");
    let layer = world.new_directory("links");
    std::os::unix::fs::symlink("/../../tmp", layer.join("link")).unwrap();
    let (overlay, _) = world.overlay(&[layer]);
    let mut spec = super::world::spec_on(&overlay, &["readlink", "/proc/self/cwd"]);
    spec.cwd = "/link".to_owned();
    assert_eq!(run_ok(spec), "/tmp");
}

fn working_directory_cannot_leave(world: &World) {
    let _leaked = std::fs::File::open("/").unwrap();
    leak(&_leaked);
    let bad = (3..40).map(|number| format!("/proc/self/fd/{number}"));
    let bad = bad.chain(["/proc/self/root", "/proc/1/cwd", "/nowhere", "/bin/sh"].map(Into::into));
    for cwd in bad {
        let (mut spec, _) = world.spec("cat ../../../../etc/os-release; pwd");
        spec.cwd = cwd.clone();
        match run(spec) {
            Err(Error::WorkingDirectory { path, .. }) => assert_eq!(path, cwd),
            other => panic!("{cwd}: {other:?}"),
        }
    }
}

fn users_and_groups(world: &World) {
    let run = world.sh_with("id -u; id -g; id -G", |spec| {
        (spec.rights.uid, spec.rights.gid, spec.rights.groups) = (1000, 1001, vec![7, 8]);
    });
    assert_eq!(run.success(), "1000\n1001\n1001 7 8");
    let run = world.sh_with("id -u; id -g; id -G; grep Groups /proc/self/status", |_| {});
    assert_eq!(run.success().split_whitespace().collect::<Vec<_>>(), ["0", "0", "0", "Groups:"]);
}

fn invalid_specs(world: &World) {
    let check = |change: &dyn Fn(&mut sandbox::Spec)| {
        let (mut spec, _) = world.spec("true");
        change(&mut spec);
        match run(spec) {
            Err(Error::Invalid { .. }) => {}
            other => panic!("{other:?}"),
        }
    };
    check(&|spec| spec.argv.clear());
    check(&|spec| spec.argv.push("a\0b".into()));
    check(&|spec| spec.env.push(("A\0".into(), "".into())));
    check(&|spec| spec.cwd = "tmp".to_owned());
    check(&|spec| spec.rights.uid = u32::MAX);
    check(&|spec| spec.rights.gid = u32::MAX);
    check(&|spec| spec.rights.groups = vec![u32::MAX]);
    check(&|spec| spec.hostname = "x".repeat(65));
    check(&|spec| {
        let source = memory(None, 0o755);
        spec.mounts.push(Mount { target: "x".to_owned(), source, read_only: false });
    });
}

fn only_own_processes(world: &World) {
    let run = world
        .sh("echo $$; for p in /proc/[0-9]*; do echo ${p#/proc/}; done; wc -l < /proc/1/cmdline");
    assert_eq!(run.success(), "1\n1\n0");
    assert_eq!(world.output("readlink /proc/1/exe"), "/bin/busybox");
}

fn a_session_of_its_own(world: &World) {
    // Fields of stat: pid (name) state ppid pgrp session tty.
    let fields = world.output("read -r line < /proc/self/stat; echo ${line##*) }");
    let fields: Vec<&str> = fields.split(' ').collect();
    assert_eq!(fields[1..5], ["0", "1", "1", "0"]);
    let run = world.sh("echo x > /dev/tty");
    assert_ne!(run.exit, Exit::Code(0), "there is a terminal");
}

fn daemons_die(world: &World) {
    let marker = format!("98765.{}1", std::process::id());
    let script = format!("setsid sleep {marker} & (sleep {marker} &) ; sleep 0.05; echo done");
    let (spec, _) = world.spec(&script);
    assert_eq!(finish(sandbox::spawn(spec).unwrap()).unwrap().stdout, "done\n");
    assert!(!is_running(&marker));
}

fn no_inherited_descriptors(world: &World) {
    let files: Vec<_> = (0..20).map(|_| std::fs::File::open("/").unwrap()).collect();
    files.iter().for_each(leak);
    // One more is the directory itself, being listed.
    assert_eq!(world.output("ls /proc/self/fd"), "0\n1\n2\n3");
    assert_eq!(world.output("readlink /proc/self/fd/0"), "/dev/null");
}

fn standard_input(world: &World) {
    assert_eq!(world.output("cat; echo end"), "end");
    let (read, write) = rustix::pipe::pipe().unwrap();
    rustix::io::write(&write, b"given").unwrap();
    drop(write);
    // Opened once more by a name, as another user may who owns it.
    let run = world.sh_with("cat /dev/stdin", |spec| {
        spec.rights.uid = 1000;
        spec.stdin = Stdin::Given(read);
    });
    assert_eq!(run.success(), "given");
}

fn signals_are_default(world: &World) {
    let run = world.probe("signals", |_| {});
    assert_eq!(run.success(), "SigBlk:\t0000000000000000 SigIgn:\t0000000000000000");
}

fn started(world: &World) {
    let (spec, _) = world.spec("sleep 1000");
    let mut child = sandbox::spawn(spec).unwrap();
    let process = child.started().unwrap();
    // The kernel closes the line to the supervisor before the arguments of the program are there.
    eventually("the program has its arguments", || {
        let name = std::fs::read_to_string(format!("/proc/{}/cmdline", process.pid)).unwrap();
        name.starts_with("sh\0-c\0sleep") || name.starts_with("sleep\0")
    });
    child.killer().kill();
    assert_eq!(child.wait().unwrap(), Exit::Signal(libc::SIGKILL));
    // Who does not ask hears of the end alone.
    let (mut spec, _) = world.spec("");
    spec.argv = vec!["missing".into()];
    let mut child = sandbox::spawn(spec).unwrap();
    assert!(matches!(child.started(), Err(Error::Exec { .. })));
    assert!(matches!(child.wait(), Err(Error::Exec { .. })));
}

/// A lock that a sandbox holds is free when the last process is dead, not when the caller is.
fn held_until_all_are_dead(world: &World) {
    let (end, held) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
    let (mut spec, _) = world.spec("ls /proc/self/fd; sleep 1000");
    spec.held.push(held);
    let mut child = sandbox::spawn(spec).unwrap();
    child.started().unwrap();
    let waiting = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
    let is_free = |wait: Option<&rustix::event::Timespec>| {
        let mut events = [rustix::event::PollFd::new(&end, rustix::event::PollFlags::IN)];
        rustix::event::poll(&mut events, wait).unwrap() > 0
    };
    assert!(!is_free(Some(&waiting)));
    // What it has besides the descriptor of `ls` itself; it is killed only when it has said so.
    let mut listed = [0; 8];
    let mut stdout = std::fs::File::from(child.take_stdout().unwrap());
    std::io::Read::read_exact(&mut stdout, &mut listed).unwrap();
    assert_eq!(&listed, b"0\n1\n2\n3\n");
    child.killer().kill();
    assert!(is_free(None));
}

/// Any signal gets through, real-time ones too, as systemd in an image wants them.
fn signals_arrive(world: &World) {
    for signal in [libc::SIGTERM, libc::SIGRTMIN() + 3] {
        let (spec, _) =
            world.spec(&format!("trap 'echo got' {signal}; echo; while :; do sleep 0.01; done"));
        let mut child = sandbox::spawn(spec).unwrap();
        let mut stdout = std::fs::File::from(child.take_stdout().unwrap());
        let mut line = [0; 1];
        std::io::Read::read_exact(&mut stdout, &mut line).unwrap();
        child.killer().signal(signal);
        let mut got = [0; 3];
        std::io::Read::read_exact(&mut stdout, &mut got).unwrap();
        assert_eq!(&got, b"got");
    }
}

fn killer(world: &World) {
    let marker = format!("98765.{}2", std::process::id());
    let (spec, _) = world.spec(&format!("sleep {marker} & sleep {marker}"));
    let child = sandbox::spawn(spec).unwrap();
    let killer: Killer = child.killer();
    let thread = std::thread::spawn(move || finish(child));
    eventually("it runs", || is_running(&marker));
    killer.kill();
    assert_eq!(thread.join().unwrap().unwrap().exit, Exit::Signal(libc::SIGKILL));
    assert!(!is_running(&marker));
    killer.kill();
}

fn dropping_kills(world: &World) {
    let marker = format!("98765.{}3", std::process::id());
    let (spec, _) = world.spec(&format!("sleep {marker}"));
    let child = sandbox::spawn(spec).unwrap();
    eventually("it runs", || is_running(&marker));
    drop(child);
    assert!(!is_running(&marker));
}

fn kill_minus_one_stays_inside(world: &World) {
    assert_eq!(world.output("kill -9 1; kill -9 -1; echo alive"), "alive");
}

fn all_die_with_the_caller(world: &World) {
    let marker = format!("98765.{}4", std::process::id());
    let mut victim = Command::new(world.executable())
        .args(["--victim", &marker])
        // What it cannot remove any more is removed with this.
        .env("TMPDIR", world.new_directory("victim"))
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    eventually("the victim's sandbox runs", || is_running(&format!("sleep\0{marker}\0")));
    victim.kill().unwrap();
    victim.wait().unwrap();
    eventually("everything is dead", || !is_running(&marker));
}

/// The caller that is killed: as root, or as root of a user namespace already.
pub(crate) fn victim(marker: &str) -> ExitCode {
    let world = World::new(sandbox::enter(None).unwrap().rung);
    let (spec, _) = world.spec(&format!("sleep {marker} & sleep {marker}"));
    finish(sandbox::spawn(spec).unwrap()).unwrap();
    ExitCode::SUCCESS
}

fn many_at_once(world: &World) {
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..16)
            .map(|number| scope.spawn(move || world.output(&format!("echo {number}"))))
            .collect();
        for (number, thread) in threads.into_iter().enumerate() {
            assert_eq!(thread.join().unwrap(), number.to_string());
        }
    });
}

/// An entry point `#!/proc/self/exe` runs this very binary inside; it must not be able to change it.
fn the_executable_is_read_only(world: &World) {
    if world.rung == Rung::UserNamespace {
        skip("the user cannot write to the binary anyway");
    }
    let layer = world.new_directory("self");
    std::fs::create_dir(layer.join("bin")).unwrap();
    std::fs::write(layer.join("bin/self"), "#!/proc/self/exe --probe\n").unwrap();
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(layer.join("bin/self"), executable).unwrap();
    let (overlay, _) = world.overlay(&[layer]);
    let mut spec = super::world::spec_on(&overlay, &["/bin/self"]);
    spec.mounts.extend(super::world::libraries());
    // The probe finds `/bin/self` behind `--probe`, and knows by that what to do.
    let run = run(spec).unwrap();
    assert_eq!(run.success(), "Read-only file system (os error 30)");
}

fn hostname(world: &World) {
    assert_eq!(world.output("hostname"), "buildkitsandbox");
    let run = world.sh_with("hostname", |spec| spec.hostname = "other".to_owned());
    assert_eq!(run.success(), "other");
}

fn umask(world: &World) {
    assert_eq!(world.output("umask; touch /tmp/f; stat -c %a /tmp/f"), "0022\n644");
}

fn run_ok(spec: sandbox::Spec) -> String {
    run(spec).unwrap().success()
}
