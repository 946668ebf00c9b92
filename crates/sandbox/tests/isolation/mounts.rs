//! The caller's mounts: what the process sees there, and where they may not be.

use std::fs;
use std::os::unix::fs::symlink;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

use sandbox::Error;
use sandbox::Exit;
use sandbox::Mount;
use sandbox::MountSource;
use sandbox::Overlay;
use sandbox::Spec;

use super::files::file;
use super::files::tmpfs;
use super::world::Case;
use super::world::World;
use super::world::bind;
use super::world::memory;
use super::world::run;
use super::world::spec_on;

pub(crate) const CASES: &[Case] = &[
    ("file_mounts", file_mounts),
    ("many_files", many_files),
    ("tmpfs_mounts", tmpfs_mounts),
    ("bind_mounts", bind_mounts),
    ("mounts_of_layers", mounts_of_layers),
    ("parts_do_not_leave_their_mount", parts_do_not_leave_their_mount),
    ("a_cache_that_is_swapped_meanwhile", a_cache_that_is_swapped_meanwhile),
    ("mounts_in_mounts", mounts_in_mounts),
    ("forbidden_targets", forbidden_targets),
];

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
    let script =
        "stat -c '%a %u' /t; touch /t/x; dd if=/dev/zero of=/t/y bs=1k count=2000; df -k /t";
    let run = world.sh_with(script, |spec| {
        let source = memory(Some(1 << 20), 0o1777);
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

/// Ends the swapping, whatever becomes of the test.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// CVE-2021-30465: a directory of a cache is swapped for a link out of it, without a pause, while it is mounted in part and
/// while something is mounted below it.
fn a_cache_that_is_swapped_meanwhile(world: &World) {
    let victim = world.new_directory("victim");
    fs::create_dir(victim.join("e")).unwrap();
    fs::write(victim.join("e/secret"), "TOKEN-61d3").unwrap();
    fs::write(victim.join("secret"), "TOKEN-61d3").unwrap();
    let before = fs::metadata(&victim).unwrap().modified().unwrap();
    let cache = world.new_directory("cache");
    fs::create_dir_all(cache.join("d/e")).unwrap();
    symlink(&victim, cache.join("l")).unwrap();
    let over = AtomicBool::new(false);
    let swap = || {
        let dir = fs::File::open(&cache).unwrap();
        let exchange = rustix::fs::RenameFlags::EXCHANGE;
        let mut swaps = 0;
        while !over.load(Ordering::Relaxed) {
            rustix::fs::renameat_with(&dir, "d", &dir, "l", exchange).unwrap();
            swaps += 1;
        }
        swaps
    };
    let (mut mounted, mut refused) = (0, 0);
    let swaps = std::thread::scope(|scope| {
        let swapping = scope.spawn(swap);
        let end = Over(&over);
        for _ in 0..500 {
            let (mut spec, _) = world.spec("cat /m/secret /m/e/secret /c/d/secret /c/d/e/secret");
            let whole = MountSource::Bind(cache.clone());
            let root = sandbox::detach(&cache).unwrap();
            let part = MountSource::Within { root, path: "d".to_owned() };
            for (target, source) in [("/c", whole), ("/m", part)] {
                spec.mounts.push(Mount { target: target.to_owned(), source, read_only: false });
            }
            spec.mounts.push(tmpfs("/c/d/e"));
            match run(spec) {
                Ok(run) => {
                    assert!(!run.stdout.contains("TOKEN"), "{run:?}");
                    mounted += 1;
                }
                // What is a link at that moment leads nowhere in the root.
                Err(Error::Mount { .. } | Error::MountTarget { .. }) => refused += 1,
                Err(error) => panic!("{error:?}"),
            }
        }
        drop(end);
        swapping.join().unwrap()
    });
    eprintln!("{swaps} swaps, {mounted} mounted, {refused} refused");
    assert!(swaps > 500 && mounted > 0 && refused > 0, "{swaps} {mounted} {refused}");
    assert_eq!(fs::metadata(&victim).unwrap().modified().unwrap(), before);
    assert_eq!(fs::read_dir(&victim).unwrap().count(), 2);
    assert_eq!(fs::read_dir(victim.join("e")).unwrap().count(), 1);
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
    let forbidden = [
        "/",
        "/..",
        "/.",
        "/proc",
        "/proc/",
        "/proc/sys",
        "/sys",
        "/sys/kernel",
        "/p",
        "/p/../sys",
    ];
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
