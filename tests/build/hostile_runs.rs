//! Commands of a RUN, and base images, that somebody made to do harm: the host stays as it is, the build ends, what they leave
//! can be removed, and the next build is right. What a process may not do at all is tested in `crates/sandbox`.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::chroot::add_program;
use crate::support::archive::{Tarball, Tree, gzip};
use crate::support::env::{IMAGE, TestEnv};
use crate::support::process::processor_time;
use crate::support::requires;
use crate::support::victim::{TOKEN, Victim};

/// The base as an image `evil` with a layer on top.
fn evil_base(env: &TestEnv, layer: Tarball) {
    let context = env.context("FROM busybox\nADD layer.tar /\n");
    fs::write(context.path().join("layer.tar"), layer.finish()).unwrap();
    env.kiln(["build", "-q", "-t", "evil", context.str()]).run().ok();
}

#[test]
fn links_of_a_base_lead_nowhere() {
    for (name, step) in [
        ("dev", "RUN true"),
        ("proc", "RUN true"),
        ("proc", "VOLUME /proc\nWORKDIR /proc\nCOPY a /proc/1/attr/exec\nRUN true"),
        ("sys", "RUN true"),
        ("etc", "RUN true"),
        ("run", "RUN --mount=type=secret,id=x true"),
        ("etc/resolv.conf", "RUN true"),
        ("etc/hosts", "RUN true"),
        ("dev/console", "RUN true"),
        ("dev/pts/0", "RUN true"),
        ("dev/shm", "RUN true"),
        ("w", "WORKDIR /w/made"),
        ("w", "COPY a /w/a"),
        ("w", "COPY a /w/"),
        ("w", "ADD a.tar.gz /w/"),
        ("w", "RUN --mount=type=tmpfs,target=/w/t true"),
        ("w", "RUN --mount=type=cache,target=/w/c touch /w/c/x"),
        ("w", "RUN --mount=type=bind,source=a,target=/w/b true"),
        ("w", "VOLUME /w/v\nRUN true"),
    ] {
        let env = TestEnv::new();
        let victim = Victim::create(&env);
        for up in ["", "/../../../../../.."] {
            let layer = Tarball::new().symlink(name, &format!("{up}{}", victim.path()));
            evil_base(&env, layer);
            let context = env.context(&format!("FROM evil\n{step}\nRUN ! cat /w/token\n"));
            context.files(&["a"]);
            let tar = gzip(&Tarball::new().file("token", "new").file("made/x", "").finish());
            fs::write(context.path().join("a.tar.gz"), tar).unwrap();
            // Inside of the image, or an error: both will do.
            let output = env.building(&context, &["--no-cache"]).run();
            assert!(!output.to_string().contains("TOKEN-91c2"), "{name} {step}: {output}");
            assert!(output.status.code().is_some_and(|code| code < 2), "{name} {step}: {output}");
            victim.is_unharmed(&format!("{name} {step}"));
        }
        assert!(env.ownerless().is_empty());
    }
}

/// The same with a terminal, whose end in the container is mounted on what the image has there.
#[test]
fn a_terminal_is_mounted_on_no_link() {
    let env = TestEnv::new();
    let victim = Victim::create(&env);
    let token = format!("{}/token", victim.path());
    let pattern = fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap();
    for up in ["", "/../../../../../.."] {
        let token = format!("{up}{token}");
        let layer = Tarball::new()
            .symlink("dev/pts/0", &token)
            .symlink("dev/pts/1", "/proc/sysrq-trigger")
            .symlink("dev/console", "/proc/sys/kernel/core_pattern")
            .symlink("dev/ptmx", &token)
            .symlink("dev/tty", &token);
        evil_base(&env, layer);
        let script = "tty; stat -c %t:%T /dev/console; echo x > /dev/console; echo y > /dev/tty; ls /dev/pts; ! cat /dev/pts/1";
        let shell = ["run", "--rm", "-it", "--network=none", "evil", "sh", "-c", script];
        let (status, said) = env.kiln(shell).in_terminal().wait();
        assert!(status.success() && said.starts_with("/dev/pts/0\r\n88:0\r\n"), "{said}");
        assert!(!said.contains("TOKEN-91c2"), "{said}");
        victim.is_unharmed("a terminal");
        for name in ["dev", "dev/pts"] {
            let to = format!("{up}{}", victim.path());
            evil_base(&env, Tarball::new().symlink(name, &to));
            let (status, said) = env.kiln(shell).in_terminal().wait();
            assert!(status.code().is_some() && !said.contains("panicked"), "{name}: {said}");
            victim.is_unharmed(name);
        }
    }
    assert_eq!(fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap(), pattern);
}

#[test]
fn names_of_users_are_looked_up_in_small_files_only() {
    let env = TestEnv::new();
    let victim = Victim::create(&env);
    for (name, layer) in [
        ("zero", Tarball::new().symlink("etc/passwd", "/dev/zero")),
        (
            "elsewhere",
            Tarball::new().symlink("etc/passwd", &format!("/../../..{}/passwd", victim.path())),
        ),
        ("large", Tarball::new().file("etc/passwd", vec![b'x'; 11 << 20])),
        ("large group", Tarball::new().file("etc/group", vec![b'x'; 11 << 20])),
    ] {
        evil_base(&env, layer);
        for step in ["USER nobody9:group9\nRUN id", "COPY --chown=nobody9:group9 a /"] {
            let context = env.context(&format!("FROM evil\n{step}\n"));
            context.files(&["a"]);
            let output = env.building(&context, &[]).run();
            // For COPY, a name that nobody knows is root's.
            let is_right = output.status.code() == Some(1) || step.starts_with("COPY");
            assert!(is_right && !output.to_string().contains("TOKEN"), "{name}: {output}");
        }
    }
    let context = env
        .context("FROM busybox\nRUN rm -f /etc/passwd && mkfifo /etc/passwd\nUSER bob\nRUN id\n");
    env.building(&context, &[]).run().fails(1).says(&["/etc/passwd", "not a regular file"]);
    assert!(processor_time() < Duration::from_secs(60), "{:?}", processor_time());
}

#[test]
fn a_stage_is_not_changed_through_a_mount_of_it() {
    let env = TestEnv::new();
    let victim = Victim::create(&env);
    let context = env.context(&format!(
        "FROM busybox AS base\nRUN ln -s / /rootdir && ln -s {} /victim && echo own > /f\n\
         FROM busybox\n\
         RUN --mount=type=bind,from=base,source=/rootdir,target=/x,rw echo broken > /x/f && touch /x/BREAK\n\
         RUN --mount=type=bind,from=base,source=/rootdir,target=/x cat /x/f > /got && ! test -e /x/BREAK\n",
        victim.path(),
    ));
    env.build(&context, &[]);
    assert_eq!(env.sh("cat /got"), "own");
    assert!(!Path::new("/BREAK").exists());
    for source in ["/victim", "/victim/token", "../../../../../..", "/rootdir/../../../../victim"] {
        let context = env.context(&format!(
            "FROM busybox AS base\nRUN ln -s {} /victim\nFROM busybox\nRUN --mount=type=bind,from=base,source={source},target=/x,rw cat /x /x/token; touch /x/new; true\n",
            victim.path(),
        ));
        let output = env.building(&context, &["--no-cache"]).run();
        assert!(!output.to_string().contains("TOKEN-91c2"), "{source}: {output}");
        victim.is_unharmed(source);
    }
}

/// One stage swaps a directory of a cache for a link, over and over, while another mounts below it.
#[test]
fn a_cache_that_changes_while_it_is_mounted() {
    let env = TestEnv::new();
    let victim = Victim::create(&env);
    let swap = format!(
        "cd /c; for i in $(seq 400); do mkdir -p d/e; mv d o; ln -s {} d; mv d l; mv o d; rm -rf l; done; true",
        victim.path()
    );
    let mount = "RUN --mount=type=cache,id=x,target=/c --mount=type=cache,id=x,source=d,target=/m --mount=type=tmpfs,target=/c/d/t ! cat /m/token /c/d/token";
    let mounts: String = (0..12).map(|n| format!("{mount} /c/d/{n}\n")).collect();
    let context = env.context(&format!(
        "FROM busybox AS a\nRUN --mount=type=cache,id=x,target=/c {swap}\n\
         FROM busybox AS b\nRUN --mount=type=cache,id=x,target=/c mkdir -p /c/d\n{mounts}\
         FROM busybox\nCOPY --from=a /etc/passwd /a\nCOPY --from=b /etc/passwd /b\n"
    ));
    for _ in 0..3 {
        // Where the directory is away at the moment, there is nothing to mount: an error as good as any.
        let output = env.building(&context, &["--no-cache"]).run();
        assert!(!output.to_string().contains("TOKEN-91c2"), "{output}");
        assert!(output.status.code().is_some_and(|code| code < 2), "{output}");
        victim.is_unharmed("a race");
    }
    env.build_text("FROM busybox\nRUN true\n");
}

#[test]
fn odd_trees_are_packed_and_removed() {
    let env = TestEnv::new();
    let context = env.context(
        "FROM busybox\n\
         RUN mkdir /d && cd /d && for i in $(seq 300); do mkdir x && cd x; done && echo deep > f\n\
         RUN mkdir -p /m/a/b && echo m > /m/a/b/f && chmod 0 /m/a/b/f /m/a/b /m/a\n\
         RUN dd if=/dev/zero of=/sparse bs=1 count=0 seek=64M 2>/dev/null && mkfifo /pipe && ln -s loop /loop\n\
         RUN for i in $(seq 300); do ln /etc/passwd /etc/link$i; done; touch \"$(printf '/new\\nline')\" /-rf '/*'\n\
         RUN touch /keep && rm /keep; touch -d @0 /old; touch /far\n",
    );
    let output = env.build(&context, &[]);
    assert!(!output.stderr.contains("warning"), "{output}");
    let seen = "stat -c %a:%s /m/a /sparse; stat -c %h /etc/link7; stat -c %F /pipe; test ! -e /keep && ls / | grep -c line";
    assert_eq!(env.sh(seen), "0:4096\n644:67108864\n301\nfifo\n1");
    // Elsewhere it is the same.
    let tar = env.str("image.tar");
    env.ok(&["save", "-o", &tar, IMAGE]);
    let other = TestEnv::empty();
    other.ok(&["load", "-i", &tar]);
    assert_eq!(other.sh(seen), env.sh(seen));
    other.ok(&["rmi", IMAGE]);
    other.ok(&["system", "prune", "-af"]);
    assert!(other.size_of_store() < 1 << 20, "{} bytes are left", other.size_of_store());
}

#[test]
fn names_that_would_delete_are_refused() {
    for (rung, name) in [
        ("root", ".wh.passwd"),
        ("root", ".wh..wh..opq"),
        ("root", ".wh."),
        ("chroot", ".wh.passwd"),
        ("chroot", ".wh..wh..opq"),
    ] {
        let env = TestEnv::isolated(rung);
        let run = format!("FROM busybox\nRUN echo x > /etc/{name}\n");
        let copy = format!("FROM busybox\nCOPY {name} /etc/\n");
        let all = "FROM busybox\nCOPY . /etc/\n".to_owned();
        let mut dockerfiles = vec![run, copy, all];
        for dockerfile in &dockerfiles {
            let context = env.context(dockerfile);
            context.files(&[name]);
            env.build_fails(&context, &[]).says(&[name, "mark deletions"]);
        }
        // Nor where nothing is run.
        dockerfiles.remove(0);
        let files_only = TestEnv::isolated("none");
        for dockerfile in &dockerfiles {
            let context = files_only.context(dockerfile);
            context.files(&[name]);
            files_only.build_fails(&context, &[]).says(&[name, "mark deletions"]);
        }
        // Nothing is damaged.
        env.ok(&["fsck"]);
        env.build_text("FROM busybox\nRUN test -s /etc/passwd\n");
    }
    // A device that is a whiteout to overlay is gone where it was made, as in every engine that is built on it.
    let env = TestEnv::new();
    env.build_text("FROM busybox\nRUN mknod /gone c 0 0; echo x > /there\nRUN test ! -e /gone\n");
    assert_eq!(env.sh("cat /there"), "x");
}

#[test]
fn a_root_that_is_removed() {
    let env = TestEnv::new();
    let context = env.context(
        "FROM busybox AS a\nRUN [\"/bin/busybox\", \"rm\", \"-rf\", \"/bin\", \"/etc\", \"/usr\", \"/lib\", \"/tmp\", \"/proc\", \"/dev\", \"/sys\"]\n\
         FROM busybox\nCOPY --from=a / /a/\n",
    );
    // Whatever busybox can remove; that it cannot remove what is mounted is no failure of the build's.
    let output = env.building(&context, &[]).run();
    assert!(output.status.code().is_some_and(|code| code < 2), "{output}");
    assert!(Path::new("/bin/sh").exists() && Path::new("/etc/passwd").exists());
    env.build_text("FROM busybox\nRUN true\n");
}

#[test]
fn files_that_do_not_want_to_be_removed() {
    let env = TestEnv::new();
    // The flag is not for a container to set; where it can be set nevertheless, the build must still be able to clean up.
    env.build_text("FROM busybox\nRUN echo x > /f; chattr +i /f 2>/dev/null; true\n");
    env.ok(&["rmi", IMAGE]);
    env.ok(&["system", "prune", "-af"]);
    assert!(env.ownerless().is_empty());
}

/// What a step that may do all that root may (`--security=insecure`) can do to a cache: `chattr +i` and `+a`.
#[test]
fn flags_of_a_cache_do_not_keep_it() {
    use rustix::fs::{IFlags, ioctl_getflags, ioctl_setflags};
    let env = TestEnv::new();
    env.build_text("FROM busybox\nRUN --mount=type=cache,target=/c mkdir -p /c/flagged/b && echo x > /c/flagged/flagged-file && echo y > /c/flagged/flagged-log\n");
    let file =
        env.files_of_store().into_iter().find(|file| file.ends_with("flagged-file")).unwrap();
    let top = file.parent().unwrap().to_owned();
    let set = |path: &Path, flag: IFlags| {
        let file = fs::File::open(path).unwrap();
        ioctl_getflags(&file).and_then(|flags| ioctl_setflags(&file, flags | flag)).is_ok()
    };
    let has_flags = set(&file, IFlags::IMMUTABLE);
    if !requires::flags(has_flags) {
        return;
    }
    assert!(set(&top.join("flagged-log"), IFlags::APPEND) && set(&top, IFlags::IMMUTABLE));
    assert!(set(top.parent().unwrap(), IFlags::APPEND));
    // A step has no power over them.
    env.build_text("FROM busybox\nRUN --mount=type=cache,target=/c ! rm -rf /c/flagged && cat /c/flagged/flagged-file > /got\n");
    assert_eq!(env.sh("cat /got"), "x");
    let pruned = env.ok(&["system", "prune", "-af"]);
    assert!(!pruned.stderr.contains("warning"), "{pruned}");
    assert!(!top.exists() && env.ownerless().is_empty());
    assert_eq!(env.ok(&["fsck"]).stderr, "");
}

#[test]
fn much_output_is_no_memory() {
    let env = TestEnv::new();
    // Short lines, and one that does not end.
    let script = "yes | head -c 500000; head -c 40000000 /dev/zero | tr '\\0' x; echo; echo end";
    let limits = "ulimit -v 1500000; exec \"$0\" \"$@\"";
    let context = env.context(&format!("FROM busybox\nRUN {script}\n"));
    let output = Command::new("sh")
        .args(["-c", limits])
        .arg(crate::support::base::kiln())
        .args(["--root", &env.str("store"), "build", "--progress=plain", context.str()])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let end = &said[said.len().saturating_sub(500)..];
    assert!(output.status.success() && end.contains("end"), "{end}");
}

#[test]
fn a_process_that_lets_go_of_everything_ends_the_step_when_it_ends() {
    let env = TestEnv::new();
    env.build_text(
        "FROM busybox\n\
         RUN (setsid sh -c 'sleep 300; echo late > /late' &) ; exec 0<&- 1>&- 2>&-; (setsid setsid sleep 300 &); true\n\
         RUN for i in 1 2 3 4 5 6 7 8; do (setsid sh -c 'while :; do : > /busy; done' &); done\n",
    );
    // Nobody has waited for those who sleep.
    assert_eq!(env.sh("ls /late 2>/dev/null; pidof sleep; true"), "");
}

#[test]
fn what_is_written_into_the_systems_directories_is_in_no_layer() {
    let env = TestEnv::new();
    let context = env.context(
        "FROM busybox\nRUN echo x > /dev/shm/x && echo x > /dev/x; echo 127.0.0.9 evil >> /etc/hosts; echo nameserver 9.9.9.9 >> /etc/resolv.conf; hostname evil; true\nRUN ! grep evil /etc/hosts\n",
    );
    let tree = env.tree(&context, &[]);
    for name in ["dev/shm/x", "dev/x", "dev/shm", "dev/null"] {
        assert!(!tree.has(name), "{name}");
    }
    for name in ["etc/hosts", "etc/resolv.conf"] {
        assert!(!tree.has(name) || !tree.text(name).contains("evil"), "{name}");
    }
}

#[test]
fn programs_of_an_image_do_nothing_for_the_builder() {
    let env = TestEnv::new();
    let victim = Victim::create(&env);
    let script = format!("#!/bin/sh\ntouch {0}/run /run-by-builder\n", victim.path());
    let mut layer = Tarball::new();
    let programs = ["gzip", "unpigz", "xz", "zstd", "bzip2", "git", "tar", "newuidmap"];
    for name in programs {
        layer = layer.owned_file(&format!("usr/bin/{name}"), &script, 0o755, 0, 0);
    }
    evil_base(&env, layer);
    let context = env.context(
        "FROM evil\nADD a.tar.gz /\nCOPY --chown=root:root a /\nRUN test ! -e /run-by-builder\n",
    );
    context.files(&["a"]);
    let tar = Tarball::new().file("f", "").finish();
    fs::write(context.path().join("a.tar.gz"), gzip(&tar)).unwrap();
    env.build(&context, &[]);
    victim.is_unharmed("programs");
    context.write("a.tar", &tar);
    for (program, suffix) in [("xz", "xz"), ("bzip2", "bz2"), ("zstd", "zst")] {
        if !requires::program(program) {
            continue;
        }
        let compressed =
            Command::new(program).arg("-kq").arg(context.path().join("a.tar")).status();
        assert!(compressed.unwrap().success());
        context.dockerfile(&format!(
            "FROM evil\nADD a.tar.{suffix} /got/\nRUN test -f /got/f -a ! -e /run-by-builder\n"
        ));
        env.build(&context, &[]);
        victim.is_unharmed(program);
    }
}

#[test]
fn a_context_in_an_archive_is_as_closed_as_a_directory() {
    let env = TestEnv::empty();
    let victim = Victim::create(&env);
    let dockerfile = "FROM scratch\nCOPY . /\n";
    for (case, tar) in [
        (
            "a Dockerfile that leads out",
            Tarball::new().symlink("Dockerfile", &format!("{}/token", victim.path())),
        ),
        (
            "up",
            Tarball::new()
                .file("Dockerfile", dockerfile)
                .symlink("out", victim.path())
                .dir("out", 0o777),
        ),
        (
            "an ignore file",
            Tarball::new()
                .file("Dockerfile", dockerfile)
                .symlink(".dockerignore", &format!("{}/token", victim.path())),
        ),
    ] {
        let whole = tar.finish();
        // Whole, and broken off in the middle.
        for bytes in [whole.clone(), whole[..700].to_vec(), [&whole[..512], b"garbage"].concat()] {
            let output = env.kiln(["build", "-"]).stdin(bytes).run();
            assert!(!output.to_string().contains("TOKEN-91c2"), "{case}: {output}");
            victim.is_unharmed(case);
        }
    }
    // What leads out of a directory is no better: it is a link in the image, too.
    let context = env.context("FROM scratch\nCOPY . /c/\nCOPY out/../a /b\n");
    context.files(&["a"]);
    symlink(victim.path(), context.path().join("out")).unwrap();
    let output = env.building(&context, &[]).run();
    assert!(!output.to_string().contains("TOKEN-91c2"), "{output}");
    for file in env.files_of_store() {
        let bytes = fs::read(&file).unwrap();
        assert!(!bytes.windows(10).any(|window| window == b"TOKEN-91c2"), "{}", file.display());
    }
}

/// Directories in each other, so many that no path leads down to the last ones.
#[test]
fn a_tree_deeper_than_any_path_is_refused_and_removed() {
    if !requires::root() || !requires::program("perl") {
        return;
    }
    let refusals = [("root", "is a path of more than"), ("chroot", "nested deeper than 2048")];
    for (rung, refusal) in refusals {
        let env = TestEnv::isolated(rung);
        let context = env.context(
            "FROM busybox\nCOPY root /\nRUN perl -e 'for (1..3000) { mkdir \"d\"; chdir \"d\" }; mkdir \"f\" and print \"made\"'\n",
        );
        add_program(&context, Path::new("/usr/bin/perl"));
        env.build_fails(&context, &[]).says(&["/d/d/d/d", refusal]);
        env.ok(&["system", "prune", "-af"]);
        assert!(env.ownerless().is_empty());
        env.ok(&["fsck"]);
    }
}

#[test]
fn what_attributes_a_run_gives_to_files() {
    if !requires::root() || !requires::program("setfattr") {
        return;
    }
    for rung in ["root", "oneid", "chroot"] {
        let env = TestEnv::isolated(rung);
        let context = env.context(
            "FROM busybox\nCOPY root /\nRUN touch /f && mkdir /d && setfattr -n user.kept -v 1 /f && setfattr -n user.kept -v 2 /d\n\
             RUN for it in user.overlay.opaque user.fuseoverlayfs.opaque user.kiln.mode trusted.overlay.opaque trusted.kept security.selinux system.kept; do \
             setfattr -n $it -v y /d; setfattr -n $it -v y /f; done 2>/dev/null; true\n\
             RUN touch /d/below\n",
        );
        add_program(&context, Path::new("/usr/bin/setfattr"));
        let dest = env.path("saved.tar");
        env.build(&context, &[]);
        env.ok(&["save", "--output", dest.to_str().unwrap(), IMAGE]);
        let mut attributes = Vec::new();
        let saved = Tree::of_tar(&fs::read(&dest).unwrap());
        for (name, entry) in saved.0.iter().filter(|(name, _)| name.starts_with("blobs/sha256/")) {
            let mut archive = tar::Archive::new(&entry.content[..]);
            for file in archive.entries().into_iter().flatten() {
                let Ok(mut file) = file else { break };
                let path = file.path().unwrap().display().to_string();
                for record in file.pax_extensions().unwrap().into_iter().flatten() {
                    let key = record.unwrap().key().unwrap_or(name).to_owned();
                    if let Some(key) = key.strip_prefix("SCHILY.xattr.") {
                        attributes.push(format!("{path} {key}"));
                    }
                }
            }
        }
        attributes.sort();
        attributes.dedup();
        assert_eq!(attributes, ["d/ user.kept", "f user.kept"], "{rung}");
    }
}

#[test]
fn what_a_cache_holds_harms_nobody() {
    for rung in ["root", "chroot"] {
        let env = TestEnv::isolated(rung);
        let victim = Victim::create(&env);
        let path = victim.path();
        let context = env.context(&format!(
            "FROM busybox\nRUN --mount=type=cache,target=/c ln -s {path} /c/link && ln -s {path}/token /c/file && ln -s / /c/root && \
             cp /bin/busybox /c/set && chmod 6777 /c/set && mkfifo /c/pipe && mkdir /c/shut && touch /c/shut/f && chmod 0 /c/shut\n\
             RUN --mount=type=cache,target=/c cat /c/file /c/link/token /c/root{path}/token 2>/dev/null; rm -rf /c/link/ /c/link/*; test -u /c/set\n",
        ));
        env.build(&context, &[]).says_not(&[TOKEN]);
        let context = env.context(
            "FROM busybox\nRUN --mount=type=cache,id=/c,target=/m,source=link touch /m/touched\n",
        );
        // A directory of the cache is meant, which a link out of it is not.
        let output = env.building(&context, &[]).run();
        assert!(output.status.code().is_some_and(|code| code < 2), "{rung}: {output}");
        victim.is_unharmed(rung);
        env.ok(&["system", "prune", "-af"]);
        victim.is_unharmed(rung);
        assert!(env.ownerless().is_empty(), "{rung}");
        assert!(env.size_of_store() < 1 << 20, "{rung}: {} bytes are left", env.size_of_store());
    }
}
