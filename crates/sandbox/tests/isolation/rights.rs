//! What the process may do: capabilities, system calls, devices, the kernel's settings.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::SocketAddr;
use std::os::unix::net::UnixListener;

use sandbox::Exit;
use sandbox::Network;
use sandbox::Rung;

use super::world::Case;
use super::world::World;
use super::world::skip;

pub(crate) const CASES: &[Case] = &[
    ("capabilities_of_root", capabilities_of_root),
    ("capabilities_of_a_user", capabilities_of_a_user),
    ("no_capabilities_at_all", no_capabilities_at_all),
    ("capabilities_when_insecure", capabilities_when_insecure),
    ("the_filter_is_on", the_filter_is_on),
    ("refused_calls", refused_calls),
    ("allowed_calls", allowed_calls),
    ("new_privileges_are_possible", new_privileges_are_possible),
    ("others_are_not_met", others_are_not_met),
    ("no_mounting", no_mounting),
    ("chroot_does_not_escape", chroot_does_not_escape),
    ("control_groups_cannot_be_changed", control_groups_cannot_be_changed),
    ("hidden_paths", hidden_paths),
    ("read_only_paths", read_only_paths),
    ("nothing_is_hidden_when_insecure", nothing_is_hidden_when_insecure),
    ("device_nodes_do_not_open", device_nodes_do_not_open),
    ("root_may_do_what_builds_do", root_may_do_what_builds_do),
];

const CAPS: &str = "grep Cap /proc/self/status | tr -d '\\t'";

fn capabilities_of_root(world: &World) {
    assert_eq!(
        world.output(CAPS),
        "CapInh:0000000000000000\n\
         CapPrm:00000000a80425fb\n\
         CapEff:00000000a80425fb\n\
         CapBnd:00000000a80425fb\n\
         CapAmb:0000000000000000"
    );
}

fn capabilities_of_a_user(world: &World) {
    assert_eq!(
        world.sh_with(CAPS, |spec| spec.rights.uid = 1000).success(),
        "CapInh:0000000000000000\n\
         CapPrm:0000000000000000\n\
         CapEff:0000000000000000\n\
         CapBnd:00000000a80425fb\n\
         CapAmb:0000000000000000"
    );
}

/// The change of the user works without the right to change it, which nobody keeps.
fn no_capabilities_at_all(world: &World) {
    for uid in [0, 1000] {
        let run = world.sh_with(CAPS, |spec| {
            spec.rights.uid = uid;
            spec.rights.capabilities = sandbox::Capabilities::NONE;
        });
        let caps = run.success();
        for name in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
            assert!(caps.contains(&format!("{name}:0000000000000000")), "{uid}: {caps}");
        }
    }
}

fn capabilities_when_insecure(world: &World) {
    let caps = world.sh_with(CAPS, |spec| spec.make_insecure()).success();
    let ours = std::fs::read_to_string("/proc/self/status").unwrap();
    let all = ours.lines().find_map(|line| line.strip_prefix("CapBnd:\t")).unwrap();
    for name in ["CapPrm", "CapEff", "CapBnd"] {
        assert!(caps.contains(&format!("{name}:{all}")), "{caps}");
    }
}

fn the_filter_is_on(world: &World) {
    let script = "grep -E 'Seccomp:|NoNewPrivs' /proc/self/status | tr -d '\\t'";
    assert_eq!(world.output(script), "NoNewPrivs:0\nSeccomp:2");
    let run = world.sh_with(script, |spec| spec.rights.uid = 1000);
    assert_eq!(run.success(), "NoNewPrivs:0\nSeccomp:2");
    let run = world.sh_with(script, |spec| spec.make_insecure());
    let filter = if world.plays_root() { 2 } else { 0 };
    assert_eq!(run.success(), format!("NoNewPrivs:0\nSeccomp:{filter}"));
}

fn refused_calls(world: &World) {
    let algorithms = libc::AF_ALG.to_string();
    let machines = libc::AF_VSOCK.to_string();
    for what in ["fsopen", "open_tree", "setns", "sethostname", &algorithms, &machines] {
        assert_eq!(world.probe(what, |_| {}).success(), "EPERM", "{what}");
    }
    for command in
        ["unshare -U true", "unshare -m true", "unshare -n true", "mount -t tmpfs x /tmp"]
    {
        assert_ne!(world.sh(command).exit, Exit::Code(0), "{command}");
    }
}

fn allowed_calls(world: &World) {
    for what in ["openat2", "thread", "1", "2", "10", "16"] {
        assert_eq!(world.probe(what, |_| {}).success(), "ok", "{what}");
    }
}

/// `sudo` and `su` in a RUN depend on it.
fn new_privileges_are_possible(world: &World) {
    let layer = world.new_directory("suid");
    std::fs::create_dir(layer.join("bin")).unwrap();
    let program = layer.join("bin/probe");
    std::fs::copy(world.executable(), &program).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o4755);
    std::fs::set_permissions(program, mode).unwrap();
    let (overlay, _) = world.overlay(&[layer]);
    let mut spec = super::world::spec_on(&overlay, &["probe", "--probe", "caps"]);
    spec.mounts.extend(super::world::libraries());
    spec.rights.uid = 1000;
    let run = super::world::run(spec).unwrap();
    // Where root's part is played, who begins as somebody else has root's rights over owners only.
    let rights = if world.plays_root() { "0000000000000000" } else { "00000000a80425fb" };
    assert_eq!(run.success(), format!("1000 0\nCapEff:\t{rights}"));
}

/// At a socket that has a name of the host's network and no file.
fn others_are_not_met(world: &World) {
    let name = format!("kiln-test-{}-{}", std::process::id(), world.base().display());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let _listener = UnixListener::bind_addr(&address).unwrap();
    let met = |meets_others| {
        let change = |spec: &mut sandbox::Spec| {
            spec.network = Network::Host;
            spec.meets_others = meets_others;
        };
        world.probe(&format!("@{name}"), change).success()
    };
    assert_eq!(met(true), "ok");
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let mut numbers = release.split(['.', '-']).map(|number| number.parse::<u32>().unwrap_or(0));
    if (numbers.next(), numbers.next()) < (Some(6), Some(12)) {
        skip("this kernel knows no way");
    }
    assert_eq!(met(false), "EPERM");
}

fn no_mounting(world: &World) {
    for command in [
        "mount --bind /bin /tmp",
        "mount -o remount,rw /proc/sys",
        "umount /proc/kcore",
        "umount /proc",
        "umount -l /",
    ] {
        assert_ne!(world.sh(command).exit, Exit::Code(0), "{command}");
    }
}

fn chroot_does_not_escape(world: &World) {
    let script = "mkdir -p /tmp/r; cd /; chroot /tmp/r /bin/true; \
                  cd ../../../../..; ls -d proc bin; [ -e /etc/os-release ] && echo out; true";
    assert_eq!(world.output(script), "bin\nproc");
    // The libraries of the host are mounted for the probe, and its `/etc` is not.
    let seen = world.probe("chroot", |_| {}).success();
    assert!(seen.contains("\"probe\"") && seen.ends_with(" false"), "{seen}");
}

/// CVE-2023-25809: what is writable there belongs to the host.
fn control_groups_cannot_be_changed(world: &World) {
    let script = "
        for d in /sys/fs/cgroup /sys/fs/cgroup/*/ /sys/fs/cgroup/*/*/; do
            mkdir $d/kiln-test 2>/dev/null && echo $d can be added to && rmdir $d/kiln-test
            (echo 1 > $d/cgroup.procs) 2>/dev/null && echo $d can be joined
        done
        echo checked";
    assert_eq!(world.output(script), "checked");
    assert_eq!(world.sh_with(script, |spec| spec.network = Network::Host).success(), "checked");
}

fn hidden_paths(world: &World) {
    let script = "
        for f in interrupts kcore keys latency_stats sched_debug timer_list timer_stats; do
            [ -e /proc/$f ] || continue
            [ \"$(stat -c %t:%T /proc/$f)\" = 1:3 ] || echo /proc/$f is no /dev/null
            [ -z \"$(head -c 10 /proc/$f)\" ] || echo /proc/$f can be read
        done
        for d in /proc/acpi /proc/asound /proc/scsi /sys/firmware /sys/devices/virtual/powercap \
                 /sys/devices/system/cpu/cpu*/thermal_throttle; do
            [ -e $d ] || continue
            [ -z \"$(ls -A $d)\" ] || echo $d is not empty
            touch $d/x 2>/dev/null && echo $d can be written
        done
        stat -c %t:%T /proc/interrupts";
    assert_eq!(world.output(script), "1:3");
}

fn read_only_paths(world: &World) {
    let script = "
        for f in /proc/sys/kernel/core_pattern /proc/sys/vm/drop_caches /proc/sys/net/core/somaxconn \
                 /proc/sysrq-trigger /sys/kernel/uevent_helper /sys/kernel/mm/ksm/run; do
            [ -e $f ] || continue
            (echo x > $f) 2>/dev/null && echo $f can be written
        done
        for d in /proc/sys /proc/irq /proc/bus /proc/fs /sys; do
            [ -e $d ] || continue
            grep -q \" $d [^ ]* ro,\" /proc/self/mounts || echo $d is not read-only
        done
        echo checked";
    assert_eq!(world.output(script), "checked");
}

fn nothing_is_hidden_when_insecure(world: &World) {
    let run = world.sh_with("stat -c %F /proc/interrupts", |spec| {
        spec.make_insecure();
    });
    assert!(run.success().starts_with("regular"));
    if world.rung == Rung::Root {
        let run = world.sh_with("mount -t tmpfs x /tmp && mknod /n c 1 3 && cat /n", |spec| {
            spec.make_insecure();
        });
        assert_eq!(run.success(), "");
    }
}

fn device_nodes_do_not_open(world: &World) {
    if world.rung == Rung::UserNamespace {
        assert_ne!(world.sh("mknod /tmp/n c 1 3").exit, Exit::Code(0));
        skip("device nodes cannot be made in a user namespace");
    }
    if world.plays_root() {
        // It is one to who looks at it, and an empty file to who opens it.
        for place in ["/tmp", "/dev", "/dev/shm"] {
            let script =
                format!("mknod {place}/n c 1 1 && stat -c '%F %t,%T' {place}/n && cat {place}/n");
            assert_eq!(world.output(&script), "character special file 1,1", "{place}");
        }
    } else {
        device_nodes_are_refused(world);
    }
    // It is in the layer all the same.
    assert!(world.sh("mknod /tmp/n b 8 0").layer().contains(&"tmp/n".to_owned()));
}

fn device_nodes_are_refused(world: &World) {
    for place in ["/tmp", "/dev", "/dev/shm"] {
        let script = format!("mknod {place}/n c 1 1 && ls {place}/n && (cat {place}/n 2>&1; true)");
        let output = world.output(&script);
        assert!(output.contains("Permission denied"), "{place}: {output}");
    }
}

fn root_may_do_what_builds_do(world: &World) {
    let script = "
        set -e
        cd /tmp; touch f; chown 1000:1000 f; chmod 4755 f; stat -c '%u %g %a' f
        mkdir -p r/bin; ln -s /bin/busybox r/bin/x; mkdir -p /a/b; mv /a /c; rm -r /c
        dd if=/dev/zero of=/dev/null bs=1 count=1 2>/dev/null; head -c 4 /dev/urandom | wc -c";
    assert_eq!(world.output(script), "1000 1000 4755\n4");
}
