//! More commands of a RUN that somebody made to do harm, each tried as it would be: what it gets is what every step has.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use super::chroot::add_program;
use crate::support::archive::{Tarball, sha256};
use crate::support::base;
use crate::support::context::Context;
use crate::support::env::{IMAGE, TestEnv};
use crate::support::requires;

/// The build of a context, as a shell script around it would start it: `$@` is the command.
#[track_caller]
fn built_by(env: &TestEnv, script: &str, context: &Context) -> Output {
    let output = Command::new("sh")
        .args(["-c", script, "sh"])
        .arg(base::kiln())
        .args(["--root".as_ref(), env.store().as_os_str()])
        .args(["build", "--progress=plain", "-t", IMAGE, context.str()])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output
}

/// CVE-2019-5736: whatever program of the builder can be seen from inside is opened for writing, in every way.
#[test]
fn the_builder_itself_cannot_be_written() {
    let env = TestEnv::new();
    let before = sha256(&fs::read(base::kiln()).unwrap());
    let script = "for exe in /proc/[0-9]*/exe /proc/self/exe; do \
                  echo \"$(readlink $exe)\" >> /seen; \
                  (exec 9<> $exe && echo broken >&9) 2>/dev/null; (cp /bin/sh $exe) 2>/dev/null; chmod 777 $exe 2>/dev/null; done; true";
    // A program that is whatever starts it.
    let own = Tarball::new().owned_file("bin/self", "#!/proc/self/exe\n", 0o755, 0, 0).finish();
    let context = env.context(&format!(
        "FROM busybox\nRUN {script}\nADD own.tar /\nRUN [\"/bin/self\", \"--help\"]\n"
    ));
    context.write("own.tar", own);
    let output = env.building(&context, &[]).run();
    assert!(output.status.code().is_some_and(|code| code < 2), "{output}");
    assert!(!output.to_string().contains("panicked"), "{output}");
    assert_eq!(sha256(&fs::read(base::kiln()).unwrap()), before);
    env.build(&env.context(&format!("FROM busybox\nRUN {script}\n")), &[]);
    let seen = env.sh("cat /seen");
    assert!(!seen.contains("kiln") && seen.contains("busybox"), "{seen}");
}

/// Descriptors that whoever calls kiln has left open, on directories of the host.
#[test]
fn what_the_caller_has_open_is_not_passed_on() {
    let env = TestEnv::new();
    let open: String = (3..10).map(|number| format!("exec {number}</; ")).collect();
    let context = env.context("FROM busybox\nRUN ls /proc/self/fd | wc -l > /seen\n");
    built_by(&env, &format!("{open} exec \"$@\""), &context);
    assert_eq!(env.sh("cat /seen"), "4");
    for number in 3..12 {
        let context = env.context(&format!(
            "FROM busybox\nWORKDIR /proc/self/fd/{number}\nRUN ! cat ../../../../../..{}/store/format\n",
            env.path("").display()
        ));
        let script = format!("{open} \"$@\" || true");
        let output = built_by(&env, &script, &context);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!said.contains("did not complete successfully"), "{said}");
    }
}

#[test]
fn groups_of_the_caller_are_not_those_of_a_step() {
    if !requires::root() {
        return;
    }
    let env = TestEnv::new();
    let context = env.context(
        "FROM busybox\nRUN id -G > /root-groups && touch /tmp/groups && chmod 666 /tmp/groups\nUSER 1234:1234\nRUN id -G >> /tmp/groups\nUSER 4321\nRUN id -G >> /tmp/groups\n",
    );
    built_by(&env, "exec setpriv --groups 999,27 \"$@\"", &context);
    assert_eq!(env.sh("cat /root-groups /tmp/groups"), "0\n1234\n0");
}

/// Its own terminal is what a step could type into, if it had it (TIOCSTI, CVE-2017-5226).
#[test]
fn the_terminal_of_the_caller_is_not_that_of_a_step() {
    let env = TestEnv::new();
    let context = env.context(
        "FROM busybox\nRUN for n in 0 1 2; do test -t $n && echo $n >> /seen; done; \
         (: < /dev/tty) 2>/dev/null && echo tty >> /seen; ls /dev/pts | grep -v ptmx >> /seen; touch /seen\n",
    );
    let terminal = env.kiln(["build", "-t", IMAGE, context.str()]).in_terminal();
    let (status, said) = terminal.wait();
    assert!(status.success(), "{said}");
    assert_eq!(env.sh("cat /seen"), "");
}

/// With whatever descriptor a step asks for it, no key is pushed into a terminal, and nothing is pasted (TIOCSTI, TIOCLINUX).
#[test]
fn a_step_types_nothing_into_the_terminal_of_the_caller() {
    if !requires::root() || !requires::program("perl") {
        return;
    }
    for rung in ["root", "chroot"] {
        let env = TestEnv::isolated(rung);
        let script = "for my $call (0x5412, 0x541c) { for my $fd (0..20, -1) { my $file; \
            ($fd < 0 ? open($file, \"+<\", \"/dev/tty\") : open($file, \"<&=\", $fd)) or next; \
            my $key = \"\\x03\"; $! = 0; ioctl($file, $call, $key) and print \"pushed $fd\\n\"; $!+0 == 5 and print \"terminal $fd\\n\"; } }";
        let context = env
            .context(&format!("FROM busybox\nCOPY root /\nRUN perl -e '{script}' >/seen 2>&1\n"));
        add_program(&context, Path::new("/usr/bin/perl"));
        let (status, said) = env.kiln(["build", "-t", IMAGE, context.str()]).in_terminal().wait();
        assert!(status.success(), "{rung}: {said}");
        let seen = env.tree(&env.context(&format!("FROM {IMAGE}\n")), &[]).text("seen");
        assert!(!seen.contains("pushed") && !seen.contains("terminal"), "{rung}: {seen}");
    }
}

/// An id names a cache and is no path, and a source is looked for in the cache.
#[test]
fn ids_of_caches_are_no_paths() {
    let env = TestEnv::new();
    let victim = env.path("victim");
    fs::create_dir(&victim).unwrap();
    fs::write(victim.join("f"), "TOKEN-08fe").unwrap();
    let up = format!("../../../../../../../..{}", victim.display());
    let long = "x".repeat(5000);
    let ids = [&up, "../../..//etc", ".", "..", "/", &long, "a/../../b", "%2e%2e%2f", "x\u{1b}[2J"];
    for id in ids {
        let step = format!("RUN --mount=type=cache,target=/c,id={id}");
        env.build_text(&format!(
            "FROM busybox\n{step} test -z \"$(ls /c)\" && echo {} > /c/own\n{step} cat /c/own > /got\n",
            id.len()
        ));
        assert_eq!(env.sh("cat /got"), id.len().to_string(), "{id}");
    }
    for source in [&up[..], "../../../../../../etc", "/..", "own/.."] {
        let context = env.context(&format!(
            "FROM busybox\nRUN --mount=type=cache,target=/c,id=fresh,source={source} ls /c; cat /c/f /c/passwd; touch /c/new; true\n"
        ));
        let output = env.building(&context, &["--no-cache"]).run();
        assert!(!output.to_string().contains("TOKEN-08fe"), "{source}: {output}");
        assert!(!output.to_string().contains("root:x:"), "{source}: {output}");
        assert!(output.status.code().is_some_and(|code| code < 2), "{source}: {output}");
    }
    for mistake in ["id=", "id=a\0b"] {
        let context = env
            .context(&format!("FROM busybox\nRUN --mount=type=cache,target=/c,{mistake} true\n"));
        let output = env.building(&context, &[]).run();
        assert!(output.status.code().is_some_and(|code| code < 2), "{mistake}: {output}");
    }
    let left: Vec<_> = fs::read_dir(&victim).unwrap().flatten().map(|it| it.file_name()).collect();
    assert_eq!(left, ["f"]);
    env.ok(&["fsck"]);
}

/// What would change the machine for all.
#[test]
fn the_machine_stays_as_it_is() {
    let env = TestEnv::new();
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let state = || {
        [read("/proc/sys/kernel/hostname"), read("/proc/sys/vm/swappiness"), read("/proc/swaps")]
    };
    let before = state();
    for command in [
        "date -s 2001-09-09; date | grep 2001",
        "hostname other",
        "busybox sysctl -w vm.swappiness=1",
        "busybox sysctl -w kernel.hostname=other",
        "busybox insmod /x.ko",
        "busybox swapoff -a; busybox swapon /dev/vda",
        "busybox reboot -f",
        "busybox poweroff -f",
        "busybox dmesg -c",
        "busybox hwclock -w",
        "busybox losetup /dev/loop0 /bin/busybox",
        "busybox nice -n -5 true",
        "busybox pivot_root / /tmp",
        "busybox unshare -r true",
        "mount -t proc p /tmp",
        "mount -o remount,rw /proc/sys",
        "umount /proc/kcore",
        "echo 1 > /proc/sys/vm/drop_caches",
        "echo h > /proc/sysrq-trigger",
        "echo x > /sys/kernel/uevent_helper",
        "cat /dev/kmsg",
        "mkdir /sys/fs/cgroup/x",
        "echo 1 > /sys/fs/cgroup/cgroup.procs",
        "mknod /tmp/b b 254 0 && cat /tmp/b",
        "mknod /tmp/m c 1 1 && cat /tmp/m",
        "dd if=/dev/zero of=/dev/x bs=1048576 count=80",
        "dd if=/dev/zero of=/dev/shm/x bs=1048576 count=80",
    ] {
        // One is done where the kernel says yes to all: what it does is not what it says.
        let context = env.context(&format!(
            "FROM busybox\nRUN ({command}) > /dev/null 2>&1 && echo DONE-IT; true\n"
        ));
        let output = env.build(&context, &[]);
        assert!(
            !output.stderr.lines().any(|line| line.ends_with(" DONE-IT")),
            "{command}: {output}"
        );
    }
    assert_eq!(state(), before);
}

/// Variables of an image are for its commands, not for what the builder does or starts.
#[test]
fn variables_of_an_image_mean_nothing_to_the_builder() {
    let env = TestEnv::new();
    let victim = env.path("victim");
    let context = env.context(&format!(
        "FROM busybox\nENV LD_PRELOAD=/evil.so BASH_ENV=/evil ENV=/evil TMPDIR=/nowhere HOME=/nowhere PATH=/bin \\\n\
         GIT_TRACE={0} GIT_SSH_COMMAND=false KILN_ROOT={0} http_proxy=http://127.0.0.1:1 XDG_DATA_HOME={0}\n\
         ADD a.tar /a/\nCOPY --chown=root:root a.tar /\nRUN echo $LD_PRELOAD $KILN_ROOT > /seen\n",
        victim.display()
    ));
    context.write("a.tar", Tarball::new().file("f", "f").finish());
    env.build(&context, &[]);
    assert!(!victim.exists());
    let seen = env.sh("cat /seen /a/f");
    assert_eq!(seen, format!("/evil.so {}\nf", victim.display()));
}

/// Nobody but the store's owner gets at what is in it, such as a set-id program of an image.
#[test]
fn nobody_else_gets_into_the_store() {
    if !requires::root() {
        return;
    }
    let env = TestEnv::new();
    env.build_text("FROM busybox\nRUN cp /bin/busybox /suid && chmod 4755 /suid\n");
    let suid = env.files_of_store().into_iter().find(|file| file.ends_with("suid")).unwrap();
    assert_eq!(suid.metadata().unwrap().permissions().mode() & 0o7777, 0o4755);
    let mut part = suid.as_path();
    while part != env.path("") && part != env.store().parent().unwrap() {
        let looked = Command::new("setpriv")
            .args(["--reuid=65534", "--regid=65534", "--clear-groups", "stat"])
            .arg(part)
            .output()
            .unwrap();
        // The store itself can be seen, and nothing in it.
        assert_eq!(looked.status.success(), part == env.store(), "{}", part.display());
        part = part.parent().unwrap();
    }
}
