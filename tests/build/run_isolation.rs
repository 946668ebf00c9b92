//! What a RUN process sees and may do: as little as under Docker, whoever runs the build.

use crate::support::env::{IMAGE, TestEnv};

/// What this script prints in a RUN.
#[track_caller]
fn seen(script: &str) -> String {
    seen_with(script, &[])
}

#[track_caller]
fn seen_with(script: &str, args: &[&str]) -> String {
    let env = TestEnv::new();
    let context =
        env.context(&format!("FROM busybox\nRUN <<'EOF'\nexec > /seen 2>&1\n{script}\nEOF\n"));
    env.build(&context, args);
    env.sh("cat /seen")
}

#[test]
fn capabilities_are_dockers() {
    let seen = seen("grep Cap /proc/self/status");
    let value = |name: &str| {
        let line = seen.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().to_owned()
    };
    for name in ["CapPrm", "CapEff", "CapBnd"] {
        assert_eq!(value(name), "00000000a80425fb", "{name}");
    }
    for name in ["CapInh", "CapAmb"] {
        assert_eq!(value(name), "0000000000000000", "{name}");
    }
}

#[test]
fn another_user_has_no_capabilities() {
    let env = TestEnv::new();
    env.build_text("FROM busybox\nUSER app\nRUN grep CapEff /proc/self/status > /tmp/seen\n");
    assert!(env.sh("cat /tmp/seen").ends_with("\t0000000000000000"));
}

#[test]
fn a_seccomp_filter_is_in_force() {
    assert!(seen("grep Seccomp: /proc/self/status").ends_with('2'));
}

#[test]
fn processes_of_the_machine_are_invisible() {
    let seen = seen("ls -d /proc/[0-9]* | wc -l; cat /proc/1/comm");
    let count: u32 = seen.lines().next().unwrap().parse().unwrap();
    assert!(count <= 5, "{seen}");
}

#[test]
fn no_descriptor_is_inherited() {
    // 0, 1, 2, and the one with which ls reads the directory.
    assert_eq!(seen("ls /proc/self/fd | wc -l"), "4");
}

#[test]
fn stdin_is_empty_and_there_is_no_terminal() {
    assert_eq!(
        seen(
            "wc -c < /dev/stdin; test -t 0 || echo none; (: < /dev/tty) 2>/dev/null || echo no tty"
        ),
        "0\nnone\nno tty"
    );
}

#[test]
fn the_environment_is_the_images() {
    let env = TestEnv::new();
    let context =
        env.context("FROM busybox\nENV A=1\nRUN env | cut -d= -f1 | sort | tr '\\n' ' ' > /seen\n");
    env.building(&context, &[]).env("LEAK", "yes").run().ok();
    let seen = env.sh("cat /seen");
    for name in seen.split(' ').filter(|name| !name.is_empty()) {
        assert!(
            ["A", "HOME", "HOSTNAME", "PATH", "PWD", "SHLVL", "OLDPWD"].contains(&name),
            "{seen}"
        );
    }
    assert!(seen.contains("HOME") && seen.contains("PATH"), "{seen}");
}

#[test]
fn the_host_name_and_its_own_namespaces() {
    let links = "for n in mnt pid ipc uts; do readlink /proc/self/ns/$n; done";
    let seen = seen(&format!("hostname; {links}"));
    let mut lines = seen.lines();
    assert_eq!(lines.next(), Some("buildkitsandbox"));
    for (name, inside) in ["mnt", "pid", "ipc", "uts"].iter().zip(lines) {
        let outside = std::fs::read_link(format!("/proc/self/ns/{name}")).unwrap();
        assert_ne!(outside.to_str(), Some(inside));
    }
}

#[test]
fn secrets_of_the_kernel_are_masked() {
    assert_eq!(
        seen(
            "cat /proc/kcore /proc/keys /proc/timer_list 2>/dev/null | wc -c; ls /proc/acpi /sys/firmware 2>/dev/null | grep -v : | wc -w"
        ),
        "0\n0"
    );
}

#[test]
fn the_kernel_cannot_be_configured() {
    assert_eq!(
        seen(
            "for f in /proc/sys/kernel/hostname /proc/sysrq-trigger /sys/kernel/x /proc/sys/vm/swappiness; do (echo 1 > $f) 2>/dev/null && echo wrote $f; done; echo end"
        ),
        "end"
    );
}

#[test]
fn mounting_is_refused() {
    assert_eq!(
        seen(
            "mount -t tmpfs none /tmp 2>/dev/null || echo refused; umount /proc 2>/dev/null || echo refused"
        ),
        "refused\nrefused"
    );
}

#[test]
fn devices_are_the_harmless_ones() {
    let seen = seen(
        "ls /dev | tr '\\n' ' '; echo x > /dev/null; head -c 3 /dev/zero | wc -c; mknod /tmp/sda b 8 0 2>/dev/null && cat /tmp/sda >/dev/null 2>&1 && echo read a disk; rm -f /tmp/sda",
    );
    for name in [
        "null", "zero", "full", "random", "urandom", "tty", "fd", "stdin", "stdout", "stderr",
        "shm", "pts",
    ] {
        assert!(seen.split_whitespace().any(|word| word == name), "{name} in {seen}");
    }
    for word in ["sda", "vda", "mem", "kmsg", "disk"] {
        assert!(!seen.contains(word), "{word} in {seen}");
    }
}

#[test]
fn the_files_of_the_machine_are_out_of_reach() {
    let env = TestEnv::new();
    let marker = env.path("marker");
    std::fs::write(&marker, "x").unwrap();
    let path = marker.display();
    env.build_text(&format!("FROM busybox\nRUN test ! -e {path} && cd / && test ! -e ../../../..{path} && test ! -e /proc/1/root{path}\n"));
}

#[test]
fn a_working_directory_cannot_be_a_descriptor_of_the_builder() {
    let env = TestEnv::new();
    for number in 3..12 {
        let context = env.context(&format!(
            "FROM busybox\nWORKDIR /proc/self/fd/{number}\nRUN test ! -e ../../../../../{}\n",
            env.str("store")
        ));
        let output = env.building(&context, &[]).run();
        assert!(output.status.code().is_some_and(|code| code < 2), "{output}");
        assert!(!output.stderr.contains("process \"/bin/sh"), "the host was there:\n{output}");
    }
}

#[test]
fn umask_is_022_whatever_the_callers_is() {
    let env = TestEnv::new();
    let context = env.context("FROM busybox\nRUN touch /f && mkdir /d\nCOPY a /made/a\n");
    context.files(&["a"]);
    let script = format!(
        "umask 077; exec {} --root {} build -t {IMAGE} {}",
        env!("CARGO_BIN_EXE_kiln"),
        env.store().display(),
        context.str()
    );
    assert!(
        std::process::Command::new("sh").args(["-c", &script]).output().unwrap().status.success()
    );
    assert_eq!(env.sh("stat -c %a /f /d /made /made/a"), "644\n755\n755\n644");
}

#[test]
fn a_process_left_behind_dies_with_the_step() {
    let env = TestEnv::new();
    let started = std::time::Instant::now();
    env.build_text("FROM busybox\nRUN sleep 868431 >/dev/null 2>&1 & echo left\nRUN true\n");
    assert!(started.elapsed().as_secs() < 30);
    assert_eq!(processes_named("868431"), 0);
}

#[test]
fn names_of_hosts_and_nothing_of_it_in_the_layer() {
    let env = TestEnv::new();
    let context = env.context("FROM busybox\nRUN cat /etc/hosts /etc/resolv.conf > /seen\n");
    let tree = env.tree(&context, &[]);
    let seen = tree.text("seen");
    assert!(seen.contains("127.0.0.1") && seen.contains("localhost"), "{seen}");
    for name in ["etc/hosts", "etc/resolv.conf", "etc/hostname", "dev/null", "proc/self"] {
        assert!(!tree.has(name), "{name}");
    }
}

#[test]
fn without_a_network_there_is_loopback_only() {
    let script = "ls /sys/class/net 2>/dev/null; cut -d: -f1 -s /proc/net/dev | tr -d ' '";
    let seen = seen_with(script, &["--network=none"]);
    assert!(seen.split_whitespace().all(|name| name == "lo" || name == "lo:"), "{seen}");
}

#[test]
fn a_run_can_ask_for_no_network_by_itself() {
    let env = TestEnv::new();
    env.build_text(
        "FROM busybox\nRUN --network=none cut -d: -f1 -s /proc/net/dev | tr -d ' ' > /seen\n",
    );
    assert_eq!(env.sh("cat /seen"), "lo");
}

#[test]
fn the_network_is_the_builds_own_where_pasta_is() {
    if !crate::support::requires::pasta() {
        return;
    }
    let outside = std::fs::read_link("/proc/self/ns/net").unwrap();
    assert_ne!(seen("readlink /proc/self/ns/net"), outside.to_str().unwrap());
}

/// Starting pasta takes longer than a step, so it is not started for those that need no network.
#[test]
fn pasta_is_started_when_a_step_uses_the_network() {
    if !crate::support::requires::pasta() {
        return;
    }
    let env = TestEnv::new();
    let context = env.context("FROM busybox\nRUN ls /sys/class/net > /before\n");
    let note = "joined by pasta";
    assert!(!env.build(&context, &[]).stderr.contains(note));
    assert_eq!(env.sh("cat /before"), "lo");
    let context = env.context(
        "FROM busybox\nRUN ls /sys/class/net > /before\nRUN ip route > /during\nRUN ls /sys/class/net > /after\n",
    );
    let log = env.build(&context, &[]).stderr;
    assert!(log.contains(note), "{log}");
    assert_eq!(env.sh("cat /before; grep -c ^default /during; wc -l < /after"), "lo\n1\n2");
}

#[test]
fn the_same_holds_for_run() {
    let env = TestEnv::new();
    let status = env
        .ok(&["run", "--rm", "busybox", "grep", "-E", "CapBnd|Seccomp:", "/proc/self/status"])
        .text();
    assert!(status.contains("00000000a80425fb") && status.ends_with('2'), "{status}");
    assert_eq!(
        env.ok(&["run", "--rm", "busybox", "sh", "-c", "ls /proc/self/fd | wc -l"]).text(),
        "4"
    );
}

/// Names in the network's own namespace are there for all who are in it; paths are not.
#[test]
fn sockets_of_the_builder_are_out_of_reach() {
    let env = TestEnv::new();
    let agent = env.str("agent");
    let _agent = std::os::unix::net::UnixListener::bind(&agent).unwrap();
    env.ok(&["run", "-d", "--name", "keeper", "busybox", "sleep", "1000"]);
    let context = env.context(
        "FROM busybox\nRUN --network=host --mount=type=ssh cat /proc/net/unix > /seen; \
         while read -r _ _ _ _ _ _ inode path; do case \"$path\" in /*) test -S \"$path\" && echo \"$path\";; esac; done < /seen > /reached; true\n",
    );
    let ssh = format!("--ssh=default={agent}");
    env.build(&context, &["--allow=network.host", &ssh]);
    let (seen, reached) = (env.sh("cat /seen"), env.sh("cat /reached"));
    assert_eq!(reached, "", "of\n{seen}");
    // The socket of the agent, and that of the container, which is named in its own way.
    let store = env.store();
    assert!(seen.contains(&format!("{}/tmp/", store.display())), "{seen}");
    let keeper = env.keepers()[0];
    let links = std::fs::read_dir(format!("/proc/{keeper}/fd")).unwrap();
    let sockets: Vec<String> = links
        .filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok())
        .filter_map(|link| {
            Some(link.to_str()?.strip_prefix("socket:[")?.trim_end_matches(']').to_owned())
        })
        .collect();
    let named = |line: &&str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        words.len() == 8 && sockets.iter().any(|socket| socket == words[6])
    };
    let names: Vec<&str> =
        seen.lines().filter(named).filter_map(|line| line.split_whitespace().last()).collect();
    assert!(!names.is_empty(), "{sockets:?} of\n{seen}");
    assert!(names.iter().all(|name| name.starts_with('/')), "{names:?}");
    let mode = std::os::unix::fs::PermissionsExt::mode(&store.metadata().unwrap().permissions());
    assert_eq!(mode & 0o077, 0, "nobody else gets to the paths");
}

/// How many processes of this machine have this word among their arguments.
pub(super) fn processes_named(word: &str) -> usize {
    std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| std::fs::read(entry.ok()?.path().join("cmdline")).ok())
        .filter(|line| line.split(|byte| *byte == 0).any(|arg| arg == word.as_bytes()))
        .count()
}

#[test]
fn more_than_every_step_may_is_for_who_builds_to_allow() {
    let env = TestEnv::new();
    for (flag, name, probe) in [
        ("--security=insecure", "security.insecure", "grep -q 'Seccomp:.0' /proc/self/status"),
        ("--network=host", "network.host", "true"),
    ] {
        let context = env.context(&format!("FROM busybox\nRUN echo STARTED\nRUN {flag} {probe}\n"));
        let refused = env.kiln(["build", context.str()]).run().fails(1);
        let refused = refused.says(&[
            &format!("{name} is not allowed"),
            "Dockerfile:3",
            &format!("--allow {name}"),
        ]);
        assert!(!refused.stderr.contains("#2"), "nothing has run: {refused}");
        env.build(&context, &["--allow", name]);
    }
    env.kiln(["build", "--allow", "everything", "."]).run().fails(2).says(&["network.host"]);
}
