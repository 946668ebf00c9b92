//! What the process sees of the file system, and what is left of it in the layer.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::fs::symlink;
use std::path::Path;

use sandbox::Error;
use sandbox::Exit;
use sandbox::Mount;
use sandbox::MountSource;
use sandbox::Overlay;
use sandbox::Rung;
use sandbox::Spec;

use super::world::Case;
use super::world::World;
use super::world::bind;
use super::world::memory;
use super::world::run;
use super::world::spec_on;

pub(crate) const CASES: &[Case] = &[
    ("dev", dev),
    ("kernel_mounts", kernel_mounts),
    ("shm_size", shm_size),
    ("layers", layers),
    ("no_layers_and_one_layer", no_layers_and_one_layer),
    ("odd_names_and_many_layers", odd_names_and_many_layers),
    ("stubs_leave_no_trace", stubs_leave_no_trace),
    ("stubs_in_use_stay", stubs_in_use_stay),
    ("a_failed_start_leaves_no_stubs", a_failed_start_leaves_no_stubs),
    ("times_of_directories_are_kept", times_of_directories_are_kept),
    ("links_do_not_lead_out", links_do_not_lead_out),
    ("system_directories_must_be_directories", system_directories_must_be_directories),
    ("a_replaced_stub_directory_is_not_followed", a_replaced_stub_directory_is_not_followed),
    ("host_mounts_are_gone", host_mounts_are_gone),
];

fn dev(world: &World) {
    let script = "cd /dev; stat -c '%n %t:%T' null zero full random urandom tty; \
                  for l in ptmx fd stdin stdout stderr; do echo $l $(readlink $l); done; ls";
    let expected = "null 1:3\nzero 1:5\nfull 1:7\nrandom 1:8\nurandom 1:9\ntty 5:0\n\
                    ptmx pts/ptmx\nfd /proc/self/fd\nstdin /proc/self/fd/0\n\
                    stdout /proc/self/fd/1\nstderr /proc/self/fd/2";
    let output = world.output(script);
    let (start, names) = output.split_at(expected.len());
    assert_eq!(start, expected);
    let names: Vec<&str> = names.split_whitespace().filter(|name| *name != "mqueue").collect();
    assert_eq!(
        names,
        [
            "fd", "full", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin", "stdout",
            "tty", "urandom", "zero"
        ]
    );
    assert_eq!(
        world.sh_with("echo x > /dev/null; head -c1 /dev/zero", |spec| spec.rights.uid = 7).exit,
        Exit::Code(0)
    );
}

fn kernel_mounts(world: &World) {
    let mounts = world.output("cat /proc/self/mounts");
    let line = |target: &str| {
        let found = mounts.lines().find(|line| line.split(' ').nth(1) == Some(target));
        found.unwrap_or_else(|| panic!("{target} is not in\n{mounts}"))
    };
    let options =
        |target: &str| line(target).split(' ').nth(3).unwrap().split(',').collect::<Vec<_>>();
    let check = |target: &str, kind: &str, wanted: &[&str]| {
        assert_eq!(line(target).split(' ').nth(2), Some(kind), "{target}");
        for option in wanted {
            assert!(options(target).contains(option), "{option} of {}", line(target));
        }
    };
    check("/", "overlay", &["rw", "nodev"]);
    check("/proc", "proc", &["rw", "nosuid", "nodev", "noexec"]);
    check("/dev", "tmpfs", &["rw", "nosuid", "nodev"]);
    check("/dev/pts", "devpts", &["rw", "nosuid", "noexec", "ptmxmode=666"]);
    check("/dev/shm", "tmpfs", &["rw", "nosuid", "nodev", "noexec", "size=65536k"]);
    check("/sys", "sysfs", &["ro", "nosuid", "nodev", "noexec"]);
}

fn shm_size(world: &World) {
    let run = world.sh_with("grep shm /proc/self/mounts", |spec| spec.shm_size = Some(1 << 20));
    assert!(run.success().contains("size=1024k"));
}

fn layers(world: &World) {
    let (low, high) = (world.new_directory("low"), world.new_directory("high"));
    fs::write(low.join("a"), "low").unwrap();
    fs::write(low.join("b"), "low").unwrap();
    fs::write(high.join("b"), "high").unwrap();
    let (overlay, upper) = world.overlay(&[high.clone(), low.clone()]);
    let script = "cat /a; echo; cat /b; echo; echo new > /c; echo changed > /a";
    assert_eq!(run(spec_on(&overlay, &["sh", "-c", script])).unwrap().success(), "low\nhigh");
    assert_eq!(fs::read_to_string(upper.join("a")).unwrap(), "changed\n");
    assert_eq!(fs::read_to_string(low.join("a")).unwrap(), "low");
    // The tree can still be read after the sandbox's end.
    let flags = rustix::fs::OFlags::RDONLY;
    let file = rustix::fs::openat(overlay.fd(), "c", flags, rustix::fs::Mode::empty()).unwrap();
    assert_eq!(std::io::read_to_string(fs::File::from(file)).unwrap(), "new\n");
}

fn no_layers_and_one_layer(world: &World) {
    let overlay = Overlay::mount(world.rung, &[], Some(&world.base()), None).unwrap();
    let script = "touch /tmp/direct; ls /";
    let output = run(spec_on(&overlay, &["sh", "-c", script])).unwrap().success();
    assert_eq!(output, "bin\ndev\nproc\nsys\ntmp");
    assert!(world.base().join("tmp/direct").exists());
    assert!(!world.base().join("proc").exists());
    fs::remove_file(world.base().join("tmp/direct")).unwrap();

    let directory = world.new_directory("single");
    fs::write(directory.join("f"), "").unwrap();
    let overlay = Overlay::mount(world.rung, &[directory], None, None).unwrap();
    let (flags, mode) = (rustix::fs::OFlags::RDWR, rustix::fs::Mode::empty());
    let error = rustix::fs::openat(overlay.fd(), "f", flags, mode).unwrap_err();
    assert_eq!(error, rustix::io::Errno::ROFS);

    let error = Overlay::mount(world.rung, &[], None, None).unwrap_err();
    assert!(matches!(error, Error::Invalid { .. }), "{error:?}");
    let missing = world.base().join("missing");
    let error = Overlay::mount(world.rung, std::slice::from_ref(&missing), None, None).unwrap_err();
    assert!(matches!(&error, Error::HostFile { path, .. } if *path == missing), "{error:?}");
}

fn odd_names_and_many_layers(world: &World) {
    let mut lowers = Vec::new();
    for number in 0..200 {
        let odd = ["a:b", "c,d", "e\\f", "g h\n", "i=j"][number % 5];
        let layer = world.new_directory(&format!("{odd}{}", "x".repeat(150)));
        fs::write(layer.join(format!("f{number}")), "").unwrap();
        lowers.push(layer);
    }
    let (overlay, _) = world.overlay(&lowers);
    let output = run(spec_on(&overlay, &["sh", "-c", "ls -d /f* | wc -l"])).unwrap().success();
    assert_eq!(output, "200");
}

/// The mounts that every step has.
fn etc(spec: &mut Spec) {
    for (target, content) in [("/etc/hosts", "hosts"), ("/etc/resolv.conf", "resolv")] {
        spec.mounts.push(file(target, content));
    }
}

pub(crate) fn file(target: &str, content: &str) -> Mount {
    let source = MountSource::File { content: content.into(), mode: 0o644, uid: 0, gid: 0 };
    Mount { target: target.to_owned(), source, read_only: true }
}

pub(crate) fn tmpfs(target: &str) -> Mount {
    let source = memory(None, 0o755);
    Mount { target: target.to_owned(), source, read_only: false }
}

fn stubs_leave_no_trace(world: &World) {
    let run = world.sh_with("cat /etc/hosts /etc/resolv.conf; ls -d /a/b/c", |spec| {
        etc(spec);
        spec.mounts.push(tmpfs("/a/b/c"));
        spec.mounts.push(file("/run/secrets/token", "x"));
    });
    assert_eq!(run.stdout, "hostsresolv/a/b/c\n");
    assert_eq!(run.layer(), [""; 0]);

    // A resolv.conf that is a link to nowhere, as systemd makes it.
    let layer = world.new_directory("resolved");
    fs::create_dir(layer.join("etc")).unwrap();
    symlink("../run/systemd/resolve/stub-resolv.conf", layer.join("etc/resolv.conf")).unwrap();
    let (overlay, upper) = world.overlay(&[layer]);
    let mut spec = spec_on(&overlay, &["sh", "-c", "cat /etc/resolv.conf"]);
    etc(&mut spec);
    let mut run = super::world::run(spec).unwrap();
    run.upper = upper;
    assert_eq!(run.stdout, "resolv");
    assert_eq!(run.layer(), ["etc"]);
}

fn stubs_in_use_stay(world: &World) {
    let run = world.sh_with("touch /a/b/kept /etc/kept", |spec| {
        etc(spec);
        spec.mounts.push(tmpfs("/a/b/c"));
    });
    assert_eq!(run.layer(), ["a", "a/b", "a/b/kept", "etc", "etc/kept"]);
}

fn a_failed_start_leaves_no_stubs(world: &World) {
    let (mut spec, upper) = world.spec("");
    spec.argv = vec!["missing".into()];
    spec.mounts.push(tmpfs("/a/b/c"));
    assert!(matches!(run(spec), Err(Error::Exec { .. })));
    assert_eq!(fs::read_dir(upper).unwrap().count(), 0);

    let (mut spec, upper) = world.spec("");
    spec.mounts.push(tmpfs("/a/b/c"));
    spec.mounts.push(bind(Path::new("/no/such"), "/x"));
    match run(spec) {
        Err(Error::Mount { target, source, .. }) => {
            assert_eq!((target.as_str(), source.raw_os_error()), ("/x", Some(libc::ENOENT)));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(fs::read_dir(upper).unwrap().count(), 0);
}

fn times_of_directories_are_kept(world: &World) {
    let layer = world.new_directory("times");
    fs::create_dir(layer.join("etc")).unwrap();
    let long_ago = std::time::UNIX_EPOCH + std::time::Duration::new(1_000_000_000, 123_456_789);
    fs::File::open(layer.join("etc")).unwrap().set_modified(long_ago).unwrap();
    let (overlay, upper) = world.overlay(&[layer]);
    fs::File::open(&upper).unwrap().set_modified(long_ago).unwrap();
    let mut spec = spec_on(&overlay, &["true"]);
    etc(&mut spec);
    run(spec).unwrap().success();
    for path in [upper.join("etc"), upper.clone()] {
        assert_eq!(fs::metadata(&path).unwrap().modified().unwrap(), long_ago, "{path:?}");
    }

    // A change by the process counts.
    let (overlay, upper) = world.overlay(&[]);
    let mut spec = spec_on(&overlay, &["sh", "-c", "sleep 0.1; touch /etc/x"]);
    etc(&mut spec);
    run(spec).unwrap().success();
    let age = fs::metadata(upper.join("etc")).unwrap().modified().unwrap().elapsed().unwrap();
    let made = fs::metadata(upper.join("etc/x")).unwrap().modified().unwrap().elapsed().unwrap();
    assert!(age.as_secs() < 60 && age.abs_diff(made).as_millis() < 50, "{age:?} {made:?}");
}

fn links_do_not_lead_out(world: &World) {
    let victim = world.new_directory("victim");
    fs::write(victim.join("hosts"), "untouched").unwrap();
    let before = fs::metadata(&victim).unwrap().mtime_nsec();
    for (link, to) in [
        ("etc", victim.to_str().unwrap().to_owned()),
        ("etc", format!("../../../../../../../..{}", victim.display())),
        ("etc", format!("/proc/self/root{}", victim.display())),
    ] {
        let layer = world.new_directory("leading-out");
        symlink(&to, layer.join(link)).unwrap();
        let (overlay, upper) = world.overlay(&[layer]);
        let mut spec = spec_on(&overlay, &["true"]);
        etc(&mut spec);
        // Inside the root that path is made; through /proc it may as well be an error.
        match run(spec) {
            Ok(run) => assert_eq!(run.exit, Exit::Code(0), "{to}"),
            Err(error) => assert!(matches!(error, Error::Mount { .. }), "{to}: {error}"),
        }
        // The victim is below `/tmp`, which the root has, too.
        for entry in fs::read_dir(&upper).unwrap() {
            assert_eq!(fs::read_dir(entry.unwrap().path()).unwrap().count(), 0, "{to}");
        }
    }
    assert_eq!(fs::read_dir(&victim).unwrap().count(), 1);
    assert_eq!(fs::read_to_string(victim.join("hosts")).unwrap(), "untouched");
    assert_eq!(fs::metadata(&victim).unwrap().mtime_nsec(), before);

    let layer = world.new_directory("cycle");
    symlink("b", layer.join("a")).unwrap();
    symlink("a", layer.join("b")).unwrap();
    let (overlay, _) = world.overlay(&[layer]);
    let mut spec = spec_on(&overlay, &["true"]);
    spec.mounts.push(tmpfs("/a"));
    assert!(matches!(run(spec), Err(Error::Mount { .. })));
}

fn system_directories_must_be_directories(world: &World) {
    let victim = world.new_directory("victim");
    for name in ["proc", "sys", "dev"] {
        for to in [victim.to_str().unwrap(), "bin", "nowhere"] {
            let layer = world.new_directory("linked");
            symlink(to, layer.join(name)).unwrap();
            let (overlay, _) = world.overlay(&[layer]);
            match run(spec_on(&overlay, &["true"])) {
                Err(Error::NotADirectory { path }) => assert_eq!(path, format!("/{name}")),
                other => panic!("{name} -> {to}: {other:?}"),
            }
        }
    }
    assert_eq!(fs::read_dir(&victim).unwrap().count(), 0);
    // What is in /dev already is covered.
    let layer = world.new_directory("devices");
    fs::create_dir(layer.join("dev")).unwrap();
    symlink("/proc/sys/kernel/core_pattern", layer.join("dev/null")).unwrap();
    let (overlay, _) = world.overlay(&[layer]);
    let spec = spec_on(&overlay, &["stat", "-c", "%t:%T", "/dev/null", "/proc/interrupts"]);
    assert_eq!(run(spec).unwrap().success(), "1:3\n1:3");
}

/// CVE-2024-23652: the process moves the stub's directory away and puts a link there.
fn a_replaced_stub_directory_is_not_followed(world: &World) {
    let victim = world.new_directory("victim");
    fs::create_dir_all(victim.join("b/c")).unwrap();
    fs::write(victim.join("hosts"), "").unwrap();
    let script =
        format!("mv /a /a2; ln -s {0} /a; mv /etc /etc2; ln -s {0} /etc", victim.display());
    let run = world.sh_with(&script, |spec| {
        spec.mounts.push(tmpfs("/a/b/c"));
        etc(spec);
    });
    assert_eq!(run.exit, Exit::Code(0), "{run:?}");
    assert!(victim.join("b/c").exists() && victim.join("hosts").exists());
}

fn host_mounts_are_gone(world: &World) {
    let run = world.sh("cat /proc/self/mountinfo");
    let output = run.success();
    for line in output.lines() {
        let target = line.split(' ').nth(4).unwrap();
        let known = ["/", "/dev", "/proc", "/sys"];
        let below = ["/dev/", "/proc/", "/sys/"];
        assert!(known.contains(&target) || below.iter().any(|it| target.starts_with(it)), "{line}");
        // No propagation from or to the host: there would be a field `shared:` or `master:`.
        assert_eq!(line.split(' ').nth(6), Some("-"), "{line}");
    }
    let permissions = fs::metadata(world.base()).unwrap().permissions();
    assert_eq!(permissions.mode() & 0o777, 0o755);
    if world.rung == Rung::Root {
        let ours = fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(!ours.contains("kiln-isolation"), "a mount of the tests is on the host");
    }
}
