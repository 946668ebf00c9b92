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

use super::world::World;
use super::world::bind;
use super::world::run;
use super::world::spec_on;

pub(crate) const CASES: &[(&str, fn(&World))] = &[
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
    ("file_mounts", file_mounts),
    ("many_files", many_files),
    ("tmpfs_mounts", tmpfs_mounts),
    ("bind_mounts", bind_mounts),
    ("mounts_of_layers", mounts_of_layers),
    ("parts_do_not_leave_their_mount", parts_do_not_leave_their_mount),
    ("mounts_in_mounts", mounts_in_mounts),
    ("forbidden_targets", forbidden_targets),
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
        ["fd", "full", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin", "stdout", "tty",
         "urandom", "zero"]
    );
    assert_eq!(world.sh_with("echo x > /dev/null; head -c1 /dev/zero", |spec| spec.uid = 7).exit,
        Exit::Code(0));
}

fn kernel_mounts(world: &World) {
    let mounts = world.output("cat /proc/self/mounts");
    let line = |target: &str| {
        let found = mounts.lines().find(|line| line.split(' ').nth(1) == Some(target));
        found.unwrap_or_else(|| panic!("{target} is not in\n{mounts}"))
    };
    let options = |target: &str| line(target).split(' ').nth(3).unwrap().split(',').collect::<Vec<_>>();
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
    let error = Overlay::mount(world.rung, &[missing.clone()], None, None).unwrap_err();
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

fn file(target: &str, content: &str) -> Mount {
    let source = MountSource::File { content: content.into(), mode: 0o644, uid: 0, gid: 0 };
    Mount { target: target.to_owned(), source, read_only: true }
}

fn tmpfs(target: &str) -> Mount {
    let source = MountSource::Tmpfs { size: None, mode: 0o755 };
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

fn file_mounts(world: &World) {
    let secret = "\u{0}secret".repeat(50_000);
    let run = world.sh_with(
        "stat -c '%a %u %g %s' /run/secrets/a /bin/script; /bin/script; touch /bin/script; echo $?",
        |spec| {
            let source = MountSource::File {
                content: secret.clone().into_bytes(),
                mode: 0o400,
                uid: 1000,
                gid: 1001,
            };
            let target = "/run/secrets/a".to_owned();
            spec.mounts.push(Mount { target, source, read_only: true });
            let source = MountSource::File {
                content: b"#!/bin/sh\necho script".to_vec(),
                mode: 0o755,
                uid: 0,
                gid: 0,
            };
            let target = "/bin/script".to_owned();
            spec.mounts.push(Mount { target, source, read_only: true });
        },
    );
    assert_eq!(run.stdout, "400 1000 1001 350000\n755 0 0 21\nscript\n1\n", "{}", run.stderr);
    assert_eq!(run.layer(), ["bin"]);
}

fn many_files(world: &World) {
    let run = world.sh_with("cat /many/*/f | wc -c", |spec| {
        for number in 0..300 {
            spec.mounts.push(file(&format!("/many/{number}/f"), "12345"));
        }
    });
    assert_eq!(run.layer(), [""; 0]);
    assert_eq!(run.success(), "1500");
}

fn tmpfs_mounts(world: &World) {
    let script = "stat -c '%a %u' /t; touch /t/x; dd if=/dev/zero of=/t/y bs=1k count=2000; df -k /t";
    let run = world.sh_with(script, |spec| {
        let source = MountSource::Tmpfs { size: Some(1 << 20), mode: 0o1777 };
        spec.mounts.push(Mount { target: "/t".to_owned(), source, read_only: false });
    });
    assert!(run.stdout.starts_with("1777 0\n"), "{run:?}");
    assert!(run.stdout.contains(" 1024 "), "{run:?}");
    assert!(run.stderr.contains("No space left"), "{run:?}");
    assert_eq!(run.layer(), [""; 0]);
}

fn bind_mounts(world: &World) {
    let host = world.new_directory("host");
    fs::write(host.join("f"), "host").unwrap();
    let mount = |read_only| Mount {
        target: "/m".to_owned(),
        source: MountSource::Bind(host.clone()),
        read_only,
    };
    let run = world.sh_with("cat /m/f; touch /m/x", |spec| spec.mounts.push(mount(true)));
    assert_eq!((run.stdout.as_str(), run.exit), ("host", Exit::Code(1)));
    assert!(run.stderr.contains("Read-only"), "{run:?}");
    let run = world.sh_with("echo new > /m/f", |spec| spec.mounts.push(mount(false)));
    assert_eq!(run.exit, Exit::Code(0), "{run:?}");
    assert_eq!(fs::read_to_string(host.join("f")).unwrap(), "new\n");
    let one = |spec: &mut Spec| spec.mounts.push(bind(&host.join("f"), "/file"));
    assert_eq!(world.sh_with("cat /file", one).success(), "new");

    // A socket, as that of an ssh agent.
    let listener = std::os::unix::net::UnixListener::bind(host.join("s")).unwrap();
    let run = world.sh_with("stat -c %F /run/agent", |spec| {
        spec.mounts.push(bind(&host.join("s"), "/run/agent"));
    });
    assert_eq!(run.success(), "socket");
    drop(listener);
}

fn mounts_of_layers(world: &World) {
    let layer = world.new_directory("from");
    fs::create_dir_all(layer.join("sub")).unwrap();
    fs::write(layer.join("sub/f"), "from").unwrap();
    let lowers = [layer.clone(), world.base()];
    let whole = Overlay::mount(world.rung, &lowers, None, None).unwrap();
    let part = Overlay::mount(world.rung, &lowers, None, None).unwrap();
    let (written, upper) = world.overlay(&[layer]);
    let script = "cat /whole/sub/f /part/f /one; touch /written/x; touch /whole/x";
    let run = world.sh_with(script, |spec| {
        let mut add = |target: &str, source, read_only| {
            spec.mounts.push(Mount { target: target.to_owned(), source, read_only });
        };
        add("/whole", MountSource::Detached(whole.try_clone_fd().unwrap()), true);
        let root = || part.try_clone_fd().unwrap();
        add("/part", MountSource::Within { root: root(), path: "sub".to_owned() }, true);
        add("/written", MountSource::Detached(written.try_clone_fd().unwrap()), false);
        let one = Overlay::mount(world.rung, &lowers, None, None).unwrap().try_clone_fd().unwrap();
        add("/one", MountSource::Within { root: one, path: "/sub/f".to_owned() }, true);
    });
    assert_eq!(run.stdout, "fromfromfrom", "{run:?}");
    assert_eq!(run.exit, Exit::Code(1));
    assert!(upper.join("x").exists());
}

fn parts_do_not_leave_their_mount(world: &World) {
    let cache = world.new_directory("cache");
    symlink("/", cache.join("root")).unwrap();
    symlink("../../../../../etc", cache.join("etc")).unwrap();
    symlink("/proc/self/root", cache.join("magic")).unwrap();
    fs::write(cache.join("mark"), "").unwrap();
    let within = |path: &str| Mount {
        target: "/m".to_owned(),
        source: MountSource::Within {
            root: sandbox::detach(&cache).unwrap(),
            path: path.to_owned(),
        },
        read_only: true,
    };
    for path in ["root", "..", "../..", "/", "."] {
        let run = world.sh_with("ls /m/mark", |spec| spec.mounts.push(within(path)));
        assert_eq!(run.success(), "/m/mark", "{path}");
    }
    for path in ["etc", "magic", "missing"] {
        let (mut spec, _) = world.spec("ls /m");
        spec.mounts.push(within(path));
        assert!(matches!(run(spec), Err(Error::Mount { .. })), "{path}");
    }
}

fn mounts_in_mounts(world: &World) {
    let host = world.new_directory("outer");
    let run = world.sh_with("touch /c/d/e/x; ls /c /c/d", |spec| {
        let source = MountSource::Bind(host.clone());
        spec.mounts.push(Mount { target: "/c".to_owned(), source, read_only: false });
        spec.mounts.push(tmpfs("/c/d/e"));
    });
    assert_eq!(run.layer(), [""; 0]);
    assert_eq!(run.success(), "/c:\nd\n\n/c/d:\ne");
    // What was made in a cache stays there, empty.
    assert_eq!(fs::read_dir(host.join("d/e")).unwrap().count(), 0);
    // The same target twice: the last one is seen.
    let run = world.sh_with("cat /f", |spec| {
        spec.mounts.extend([file("/f", "1"), file("/f", "2")]);
    });
    assert_eq!(run.success(), "2");
    // Below our own /dev.
    let run = world.sh_with("cat /dev/pipes/EOF", |spec| {
        spec.mounts.push(file("/dev/pipes/EOF", "heredoc"));
    });
    assert_eq!(run.success(), "heredoc");
}

fn forbidden_targets(world: &World) {
    let layer = world.new_directory("sneaky");
    symlink("/proc", layer.join("p")).unwrap();
    let forbidden =
        ["/", "/..", "/.", "/proc", "/proc/", "/proc/sys", "/sys", "/sys/kernel", "/p", "/p/../sys"];
    for target in forbidden {
        let (overlay, upper) = world.overlay(std::slice::from_ref(&layer));
        let mut spec = spec_on(&overlay, &["true"]);
        spec.mounts.push(tmpfs(target));
        match run(spec) {
            Err(Error::MountTarget { target: named }) => assert_eq!(named, target),
            other => panic!("{target}: {other:?}"),
        }
        assert_eq!(fs::read_dir(upper).unwrap().count(), 0, "{target}");
    }
    // Nor can something be made there.
    for target in ["/proc/x", "/sys/x/y", "/p/x"] {
        let (overlay, _) = world.overlay(std::slice::from_ref(&layer));
        let mut spec = spec_on(&overlay, &["true"]);
        spec.mounts.push(tmpfs(target));
        assert!(matches!(run(spec), Err(Error::Mount { .. })), "{target}");
    }
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
    let script = format!("mv /a /a2; ln -s {0} /a; mv /etc /etc2; ln -s {0} /etc", victim.display());
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
        assert!(
            known.contains(&target) || below.iter().any(|it| target.starts_with(it)),
            "{line}"
        );
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
