//! What a sandbox has or lacks because it was asked for: more and fewer rights, limits, devices, settings, an init.

use std::fs;
use std::path::Path;
use std::time::Duration;
use std::time::Instant;

use sandbox::Capabilities;
use sandbox::Error;
use sandbox::Exit;
use sandbox::Limit;
use sandbox::Mount;
use sandbox::MountSource;
use sandbox::Rung;
use sandbox::Spec;

use super::world::Case;
use super::world::Run;
use super::world::World;
use super::world::chain;
use super::world::finish;
use super::world::run;

pub(crate) const CASES: &[Case] = &[
    ("fewer_capabilities", fewer_capabilities),
    ("no_capabilities", no_capabilities),
    ("a_capability_brings_its_calls", a_capability_brings_its_calls),
    ("no_new_privileges", no_new_privileges),
    ("no_filter", no_filter),
    ("a_read_only_root", a_read_only_root),
    ("limits_of_each_process", limits_of_each_process),
    ("a_limit_that_cannot_be_had", a_limit_that_cannot_be_had),
    ("settings", settings),
    ("a_setting_that_is_none", a_setting_that_is_none),
    ("a_device", a_device),
    ("a_directory_of_devices", a_directory_of_devices),
    ("all_devices", all_devices),
    ("what_is_no_device_is_not_lent", what_is_no_device_is_not_lent),
    ("tmpfs_that_executes_nothing", tmpfs_that_executes_nothing),
    ("a_directory_without_what_is_mounted_in_it", a_directory_without_what_is_mounted_in_it),
    ("an_init_reaps", an_init_reaps),
    ("an_init_passes_signals_on", an_init_passes_signals_on),
    ("an_init_ends_as_the_program", an_init_ends_as_the_program),
    ("an_init_has_no_more_rights", an_init_has_no_more_rights),
    ("an_init_tells_why_nothing_starts", an_init_tells_why_nothing_starts),
    ("an_init_with_a_terminal", an_init_with_a_terminal),
];

const EFFECTIVE: &str = "grep -E 'Cap(Eff|Bnd)' /proc/self/status | tr -d '\\t' | tr '\\n' ' '";

fn named(name: &str) -> Capabilities {
    Capabilities::named(name).unwrap()
}

fn fewer_capabilities(world: &World) {
    let run = world.sh_with(EFFECTIVE, |spec| {
        spec.rights.capabilities = Capabilities::DEFAULT.without(named("CAP_CHOWN"));
    });
    assert_eq!(run.success(), "CapEff:00000000a80425fa CapBnd:00000000a80425fa");
    let run = world.sh_with("touch /tmp/f && chown 5 /tmp/f", |spec| {
        spec.rights.capabilities = Capabilities::DEFAULT.without(named("CAP_CHOWN"));
    });
    assert_ne!(run.exit, Exit::Code(0));
}

fn no_capabilities(world: &World) {
    let run = world.sh_with(EFFECTIVE, |spec| spec.rights.capabilities = Capabilities::NONE);
    assert_eq!(run.success(), "CapEff:0000000000000000 CapBnd:0000000000000000");
}

fn a_capability_brings_its_calls(world: &World) {
    let script =
        "mount -t tmpfs x /tmp && hostname other && hostname && unshare -n ip link | wc -l";
    let with_admin = |spec: &mut Spec| {
        spec.rights.capabilities = Capabilities::DEFAULT.with(named("CAP_SYS_ADMIN"));
    };
    assert_eq!(world.sh_with(script, with_admin).success(), "other\n2");
    let filtered = world.sh_with("grep Seccomp: /proc/self/status | tr -d '\\t'", with_admin);
    assert_eq!(filtered.success(), "Seccomp:2");
    assert_ne!(world.sh(script).exit, Exit::Code(0));
    // The capability alone does not help where the filter does not let the call through.
    for what in ["fsopen", "open_tree", "setns", "sethostname"] {
        assert_eq!(world.probe(what, |_| {}).success(), "EPERM", "{what}");
        assert_ne!(world.probe(what, with_admin).success(), "EPERM", "{what}");
    }
}

fn no_new_privileges(world: &World) {
    let layer = world.new_directory("suid");
    fs::create_dir(layer.join("bin")).unwrap();
    let program = layer.join("bin/probe");
    fs::copy(world.executable(), &program).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o4755);
    fs::set_permissions(program, mode).unwrap();
    let (overlay, _) = world.overlay(&[layer]);
    let mut spec = super::world::spec_on(&overlay, &["probe", "--probe", "caps"]);
    spec.mounts.extend(super::world::libraries());
    spec.rights.uid = 1000;
    spec.rights.no_new_privileges = true;
    assert_eq!(run(spec).unwrap().success(), "1000 1000\nCapEff:\t0000000000000000");
}

fn no_filter(world: &World) {
    let script = "grep Seccomp: /proc/self/status | tr -d '\\t'";
    let run = world.sh_with(script, |spec| spec.rights.filtered = false);
    assert_eq!(run.success(), if world.plays_root() { "Seccomp:2" } else { "Seccomp:0" });
}

fn a_read_only_root(world: &World) {
    let script = "
        for f in /x /bin/x /tmp/x; do (echo x > $f) 2>/dev/null && echo $f can be written; done
        echo kept > /data/f; echo x > /dev/shm/x; echo x > /dev/x
        mkdir /a 2>&1";
    let host = world.new_directory("data");
    let made = world.sh_with(script, |spec| {
        spec.read_only = true;
        let source = MountSource::Bind(host.clone());
        spec.mounts.push(Mount { target: "/data".to_owned(), source, read_only: false });
    });
    assert!(made.stdout.contains("Read-only file system"), "{made:?}");
    assert_eq!(made.stdout.lines().count(), 1, "{made:?}");
    assert_eq!(fs::read_to_string(host.join("f")).unwrap(), "kept\n");
    assert_eq!(made.layer(), [""; 0], "nothing is left of the mount point");
}

fn limit(name: &str, soft: u64, hard: Option<u64>) -> Limit {
    Limit { name: name.to_owned(), soft: Some(soft), hard }
}

fn limits_of_each_process(world: &World) {
    let run = world.sh_with("ulimit -n; ulimit -Hn; ulimit -c", |spec| {
        spec.rights.limits = vec![limit("nofile", 100, Some(200)), limit("core", 0, Some(0))];
    });
    assert_eq!(run.success(), "100\n200\n0");
}

fn a_limit_that_cannot_be_had(world: &World) {
    let (mut spec, _) = world.spec("true");
    // No kernel lets anyone have so many.
    spec.rights.limits = vec![limit("nofile", 1 << 40, Some(1 << 40))];
    let error = run(spec).unwrap_err();
    let said = chain(&error);
    assert!(said.contains("limit `nofile`") && said.contains("`fs.nr_open` is"), "{said}");
    let (mut spec, _) = world.spec("true");
    spec.rights.limits = vec![limit("nothing", 1, None)];
    assert!(matches!(run(spec).unwrap_err(), Error::Invalid { field: "limits", .. }));
}

fn settings(world: &World) {
    let setting = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let script = "cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/shm_rmid_forced";
    let before = fs::read_to_string("/proc/sys/kernel/shm_rmid_forced").unwrap();
    let run = world.sh_with(script, |spec| {
        spec.settings =
            vec![setting("net.ipv4.ip_forward", "1"), setting("kernel.shm_rmid_forced", "1")];
    });
    assert_eq!(run.success(), "1\n1");
    assert_eq!(fs::read_to_string("/proc/sys/kernel/shm_rmid_forced").unwrap(), before);
}

fn a_setting_that_is_none(world: &World) {
    let (mut spec, _) = world.spec("true");
    spec.settings = vec![("net.no.such".to_owned(), "1".to_owned())];
    let error = chain(&run(spec).unwrap_err());
    assert!(error.contains("set `net.no.such` to `1`: No such file"), "{error}");
    let (mut spec, _) = world.spec("true");
    spec.settings = vec![("../1/oom_score_adj".to_owned(), "1".to_owned())];
    assert!(run(spec).is_err());
}

/// A terminal of nobody is there on every machine.
const DEVICE: &str = "/dev/ptmx";

fn a_device(world: &World) {
    let script = "stat -c %t:%T /dev/other; echo x > /dev/other; ls /dev";
    let run = world.sh_with(script, |spec| {
        spec.devices.some = vec![
            ("/dev/null".into(), "/dev/other".to_owned()),
            (DEVICE.into(), "/d/e/f".to_owned()),
        ];
    });
    assert_eq!(run.layer(), [""; 0]);
    assert!(run.success().starts_with("1:3\n"));
}

fn a_directory_of_devices(world: &World) {
    let host = Path::new("/dev/cpu_dma_latency");
    let directory = if host.exists() { "/dev" } else { "/dev/net" };
    let run = world.sh_with("ls /lent | wc -l; stat -c %t:%T /lent/null", |spec| {
        spec.devices.some = vec![(directory.into(), "/lent".to_owned())];
    });
    let text = run.success();
    let (count, null) = text.split_once('\n').unwrap();
    assert!(count.parse::<usize>().unwrap() > 5, "{text}");
    assert_eq!(null, "1:3");
}

fn all_devices(world: &World) {
    let run =
        world.sh_with("ls /dev; tty; stat -c %t:%T /dev/null", |spec| spec.devices.all = true);
    for entry in fs::read_dir("/dev").unwrap().flatten() {
        use std::os::unix::fs::FileTypeExt;
        let (name, kind) = (entry.file_name(), entry.file_type().unwrap());
        if (kind.is_char_device() || kind.is_block_device()) && name != "console" {
            let name = name.to_string_lossy();
            assert!(run.stdout.lines().any(|line| line == name), "{name}: {run:?}");
        }
    }
}

fn what_is_no_device_is_not_lent(world: &World) {
    let host = world.new_directory("plain");
    fs::write(host.join("file"), "").unwrap();
    let lend = |path: &Path| {
        let (mut spec, _) = world.spec("ls /lent");
        spec.devices.some = vec![(path.to_owned(), "/lent".to_owned())];
        run(spec).map(|run| run.stdout).map_err(|error| chain(&error))
    };
    let error = lend(&host.join("file")).unwrap_err();
    assert!(error.starts_with("cannot lend the device"), "{error}");
    let error = lend(&host.join("missing")).unwrap_err();
    assert!(error.contains("No such file"), "{error}");
    let (mut spec, _) = world.spec("true");
    spec.devices.some = vec![("/dev/null".into(), "/proc/self".to_owned())];
    assert!(run(spec).is_err());
}

fn tmpfs_that_executes_nothing(world: &World) {
    let script = "cp /bin/busybox /t/busybox 2>/dev/null || dd if=/bin/busybox of=/t/busybox bs=1M 2>/dev/null; \
                  chmod 755 /t/busybox; /t/busybox true 2>&1; stat -c '%a %u %g' /t";
    let made = |exec| {
        let source = MountSource::Tmpfs { size: None, mode: 0o700, uid: 5, gid: 6, exec };
        let run = world.sh_with(script, |spec| {
            spec.mounts.push(Mount { target: "/t".to_owned(), source, read_only: false });
        });
        run.success()
    };
    assert!(made(false).contains("Permission denied"));
    assert_eq!(made(true), "700 5 6");
}

fn a_directory_without_what_is_mounted_in_it(world: &World) {
    // Something is mounted on /proc on every machine.
    let count = |source| {
        let (mut spec, _) = world.spec("ls /m/proc | wc -l");
        spec.mounts.push(Mount { target: "/m".to_owned(), source, read_only: true });
        run(spec).map(Run::success)
    };
    let with = count(MountSource::Bind("/".into())).unwrap();
    assert!(with.parse::<usize>().unwrap() > 10, "{with}");
    let without = count(MountSource::BindAlone("/".into()));
    match world.rung {
        Rung::Root => assert_eq!(without.unwrap(), "0"),
        // It might show what root has hidden from users by mounting over it.
        Rung::UserNamespace | Rung::FuseOverlay | Rung::OneId | Rung::Chroot | Rung::FilesOnly => {
            assert!(without.is_err());
        }
    }
}

fn an_init_reaps(world: &World) {
    let script = "
        (sleep 0.1 & exec true) & wait; sleep 0.5
        cat /proc/1/comm
        for s in /proc/[0-9]*/status; do grep -q 'State:.Z' $s && echo a zombie; done
        echo $$";
    let run = world.sh_with(script, |spec| spec.init = true);
    assert_eq!(run.success(), "kiln-init\n2");
}

fn an_init_passes_signals_on(world: &World) {
    let script = "trap 'echo usr1' USR1; trap 'echo term; exit 7' TERM; echo ready >&2; \
                  while :; do sleep 0.05; done";
    let (mut spec, _) = world.spec(script);
    spec.init = true;
    let child = sandbox::spawn(spec).unwrap();
    let killer = child.killer();
    let started = Instant::now();
    let thread = std::thread::spawn(move || finish(child).unwrap());
    // A signal that comes before the trap is set ends the shell; so it gets a moment.
    std::thread::sleep(Duration::from_millis(400));
    killer.signal(libc::SIGUSR1);
    std::thread::sleep(Duration::from_millis(200));
    killer.signal(libc::SIGTERM);
    let run = thread.join().unwrap();
    assert_eq!((run.exit, run.stdout.as_str()), (Exit::Code(7), "usr1\nterm\n"), "{run:?}");
    assert!(started.elapsed() < Duration::from_secs(20));
}

fn an_init_ends_as_the_program(world: &World) {
    let end = |script: &str| world.sh_with(script, |spec| spec.init = true).exit;
    assert_eq!(end("exit 3"), Exit::Code(3));
    assert_eq!(end("kill -9 $$"), Exit::Code(137));
    // A first process without a handler would not die of it.
    assert_eq!(end("kill -TERM $$; sleep 5"), Exit::Code(143));
    // What the program leaves running ends with it.
    let started = Instant::now();
    assert_eq!(end("sleep 30 & exit 0"), Exit::Code(0));
    assert!(started.elapsed() < Duration::from_secs(10));
}

fn an_init_has_no_more_rights(world: &World) {
    let script = "grep -E '^(Uid|CapEff|CapBnd|Seccomp):' /proc/1/status | tr -d '\\t' | tr '\\n' ' '; \
                  ls /proc/1/fd 2>/dev/null | wc -l; ls /proc/self/fd | tr '\\n' ' '";
    let run = world.sh_with(script, |spec| {
        spec.init = true;
        spec.rights.uid = 1000;
    });
    let text = run.success();
    // The kernel's own word for it.
    let uid = if world.plays_root() { "0000" } else { "1000100010001000" };
    let rights = "CapEff:0000000000000000 CapBnd:00000000a80425fb Seccomp:2";
    assert!(text.starts_with(&format!("Uid:{uid} {rights}")), "{text}");
    assert!(text.ends_with("0 1 2 3"), "{text}");
}

fn an_init_tells_why_nothing_starts(world: &World) {
    let (mut spec, _) = world.spec("true");
    spec.init = true;
    spec.argv = vec!["/no/such".into()];
    assert!(matches!(run(spec).unwrap_err(), Error::Exec { .. }));
}

fn an_init_with_a_terminal(world: &World) {
    let (mut spec, _) = world.spec("tty; read line; echo got $line");
    spec.init = true;
    spec.terminal = sandbox::Terminal::Pty;
    let mut child = sandbox::spawn(spec).unwrap();
    let pty = child.take_pty().unwrap();
    rustix::io::write(&pty, b"hello\n").unwrap();
    let mut text = Vec::new();
    let mut some = [0; 256];
    while let Ok(length @ 1..) = rustix::io::read(&pty, &mut some) {
        text.extend_from_slice(&some[..length]);
    }
    assert_eq!(child.wait().unwrap(), Exit::Code(0));
    let text = String::from_utf8_lossy(&text).into_owned();
    assert!(text.contains("/dev/pts/0") && text.contains("got hello"), "{text}");
}
