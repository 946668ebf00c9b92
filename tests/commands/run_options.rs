//! The options of `kiln run`: what the command finds around it.

use std::fs;

use crate::support::env::TestEnv;

/// `kiln run` of a shell script with these options.
fn sh(env: &TestEnv, options: &[&str], script: &str) -> String {
    let mut args = vec!["run", "--rm"];
    args.extend(options);
    args.extend(["busybox", "sh", "-c", script]);
    env.ok(&args).text()
}

/// The same must fail because of the command line, before anything is run.
#[track_caller]
fn refused(env: &TestEnv, options: &[&str], words: &[&str]) {
    let mut args = vec!["run", "--rm"];
    args.extend(options);
    args.extend(["busybox", "true"]);
    env.kiln(args).run().fails(125).says(words);
}

#[test]
fn variables_come_from_files_and_from_the_command_line() {
    let env = TestEnv::new();
    fs::write(env.path("env"), "# comment\nA=file\nB=two words\nHERE\nNOT_HERE\n").unwrap();
    let file = env.str("env");
    let script = "env | grep -E '^(A|B|C|HERE|NOT_HERE)=' | sort";
    let args = ["run", "--rm", "--env-file", &file, "-e", "A=given", "-e", "C", "busybox"];
    let kiln = env.kiln(args).args(["sh", "-c", script]);
    let text = kiln.env("HERE", "x").env("C", "c").run().ok().text();
    assert_eq!(text, "A=given\nB=two words\nC=c\nHERE=x");

    fs::write(env.path("bad"), "A=1\nB C=2\n").unwrap();
    refused(&env, &["--env-file", &env.str("bad")], &["bad: line 2", "'B C'"]);
    let missing = env.str("missing");
    let output = env.kiln(["run", "--env-file", &missing, "busybox", "true"]).run().fails(125);
    output.says(&[&missing, "No such file"]);
}

#[test]
fn a_variable_without_value_takes_the_images_away() {
    let env = TestEnv::new();
    env.build_text("FROM busybox\nENV FROM_IMAGE=1 OTHER=2\n");
    let args = ["run", "--rm", "-e", "FROM_IMAGE", "test:latest", "sh", "-c"];
    assert_eq!(env.kiln(args).args(["echo ${FROM_IMAGE-none} $OTHER"]).run().ok().text(), "none 2");
}

#[test]
fn the_working_directory_is_made() {
    let env = TestEnv::new();
    assert_eq!(sh(&env, &["-w", "/not/there"], "pwd; stat -c '%a %u:%g' ."), "/not/there\n755 0:0");
    refused(&env, &["-w", "not/absolute"], &["'not/absolute'", "absolute path"]);
}

#[test]
fn the_host_name() {
    let env = TestEnv::new();
    assert_eq!(sh(&env, &["-h", "some.name"], "hostname; echo $HOSTNAME"), "some.name\nsome.name");
    assert_eq!(sh(&env, &["--hostname=x"], "grep -c localhost.x /etc/hosts"), "1");
    refused(&env, &["-h", "a b"], &["a b"]);
}

#[test]
fn switches_can_be_said_to_be_off() {
    let env = TestEnv::new();
    let text = sh(&env, &["--tty=false", "--init=false", "--privileged=0"], "test -t 1 || echo no");
    assert_eq!(text, "no");
    let kiln = env.kiln(["run", "--rm", "-it", "busybox", "sh", "-c", "test -t 0 && echo tty"]);
    assert_eq!(kiln.run().ok().text(), "tty");
    refused(&env, &["--init=maybe"], &["--init", "maybe"]);
}

#[test]
fn what_makes_no_sense_is_told_in_dockers_words() {
    let env = TestEnv::new();
    refused(&env, &["-p", "abc"], &["--publish", "invalid containerPort: abc"]);
    refused(&env, &["-m", "1x"], &["--memory", "invalid suffix: 'x'"]);
    refused(&env, &["-m", "1m"], &["minimum memory limit allowed is 6MB"]);
    refused(&env, &["--mount", "type=bind,src=/x"], &["--mount", "target is required"]);
    refused(&env, &["-v", "/a:/b", "-v", "/c:/b"], &["Duplicate mount point: /b"]);
    refused(&env, &["--cap-add", "foo"], &["unknown capability: \"CAP_FOO\""]);
    refused(&env, &["--ulimit", "foo=1"], &["invalid ulimit type: foo"]);
    refused(&env, &["--stop-signal", "SIGFOO"], &["invalid signal: SIGFOO"]);
    refused(&env, &["--network", "mine"], &["network mine not found"]);
}

#[test]
fn what_kiln_has_no_answer_to_is_refused_and_not_ignored() {
    let env = TestEnv::new();
    refused(&env, &["--restart", "always"], &["both --restart and --rm"]);
    refused(&env, &["--link", "db"], &["--link is not supported"]);
    refused(&env, &["--gpus", "all"], &["--gpus", "--device"]);
    refused(&env, &["--pid", "host"], &["--pid"]);
    refused(&env, &["--oom-kill-disable"], &["--oom-kill-disable is not supported"]);
    refused(&env, &["--cpu-count", "2"], &["--cpu-count is not supported", "Windows"]);
    // What says what is the case anyway does no harm, and neither does saying something twice.
    let harmless = ["--oom-kill-disable=false", "--disable-content-trust", "--cpu-count=0"];
    assert_eq!(sh(&env, &harmless, "echo ran"), "ran");
    let twice =
        ["--rm", "--rm=true", "-w", "/", "-w", "/tmp", "-e", "A=1", "-e", "B=2", "-e", "A=3"];
    assert_eq!(sh(&env, &twice, "pwd; echo $A$B"), "/tmp\n32");
    // What changes nothing is taken.
    assert_eq!(
        sh(&env, &["--restart=no", "--pid=private", "--log-driver=json-file"], "echo y"),
        "y"
    );
}

#[test]
fn pull_decides_who_is_asked_for_the_image() {
    let env = TestEnv::new();
    let output = env.kiln(["--offline", "run", "-q", "nosuch.invalid/x", "true"]).run().fails(125);
    assert!(!output.stderr.contains("Unable to find image"), "{}", output.stderr);
    assert_eq!(sh(&env, &["--pull=never"], "echo here"), "here");
    let output = env.kiln(["run", "--pull=never", "127.0.0.1:1/x", "true"]).run().fails(125);
    output.says(&["127.0.0.1:1/x", "no such image"]).says_not(&["cannot reach"]);
    env.ok(&["tag", "busybox", "127.0.0.1:1/x"]);
    env.ok(&["run", "--rm", "127.0.0.1:1/x", "true"]);
    let output = env.kiln(["run", "--pull=always", "127.0.0.1:1/x", "true"]).run().fails(125);
    output.says(&["127.0.0.1:1"]);
}

/// The capabilities of the command, as the kernel writes them.
fn capabilities(env: &TestEnv, options: &[&str]) -> String {
    sh(env, options, "sed -n 's/CapEff:.//p' /proc/self/status")
}

#[test]
fn capabilities_are_added_and_dropped() {
    let env = TestEnv::new();
    assert_eq!(capabilities(&env, &[]), "00000000a80425fb");
    assert_eq!(capabilities(&env, &["--cap-drop", "all"]), "0000000000000000");
    assert_eq!(
        capabilities(&env, &["--cap-drop=ALL", "--cap-add=chown", "--cap-add=CAP_KILL"]),
        "0000000000000021"
    );
    let script = "mount -t tmpfs none /mnt 2>&1 && echo mounted";
    let args = ["run", "--rm", "busybox", "sh", "-c", &format!("mkdir /mnt; {script}")];
    assert!(!env.kiln(args).run().status.success());
    let text = sh(&env, &["--cap-add", "sys_admin"], &format!("mkdir /mnt; {script}"));
    assert_eq!(text, "mounted");
}

#[test]
fn privileged_holds_nothing_back() {
    let env = TestEnv::new();
    let script = "grep Seccomp: /proc/self/status | tr -d '\\t'; ls /dev | wc -l; \
                  mkdir /mnt && mount -t tmpfs none /mnt && echo mounted; \
                  grep -c ' /proc/sys ro' /proc/self/mounts";
    let text = sh(&env, &["--privileged"], &format!("{script}; true"));
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!((lines[0], lines[2], lines[3]), ("Seccomp:0", "mounted", "0"), "{text}");
    let devices = fs::read_dir("/dev").unwrap().count();
    assert!(lines[1].parse::<usize>().unwrap() > devices / 2, "{text} of {devices}");
    let plain = sh(&env, &["--privileged=false"], "ls /dev | wc -l; echo $(ls /dev)");
    assert!(plain.lines().next().unwrap().parse::<usize>().unwrap() < 20, "{plain}");
}

#[test]
fn security_options() {
    let env = TestEnv::new();
    let script = "grep -E '^(NoNewPrivs|Seccomp):' /proc/self/status | tr -d '\\t' | tr '\\n' ' '";
    assert_eq!(sh(&env, &[], script), "NoNewPrivs:0 Seccomp:2");
    let nothing_new = ["--security-opt", "no-new-privileges"];
    assert_eq!(sh(&env, &nothing_new, script), "NoNewPrivs:1 Seccomp:2");
    let open = ["--security-opt=seccomp=unconfined", "--security-opt", "label=disable"];
    assert_eq!(sh(&env, &open, script), "NoNewPrivs:0 Seccomp:0");
    let paths = ["--security-opt", "systempaths=unconfined"];
    assert_eq!(sh(&env, &paths, "stat -c %F /proc/interrupts"), "regular empty file");
    assert_eq!(sh(&env, &[], "stat -c %F /proc/interrupts"), "character special file");
    refused(&env, &["--security-opt", "nothing"], &["Invalid --security-opt: \"nothing\""]);
}

#[test]
fn a_root_that_cannot_be_written_to() {
    let env = TestEnv::new();
    let script = "touch /x 2>&1; touch /tmp/x && touch /dev/shm/x && echo elsewhere";
    let text = sh(&env, &["--read-only", "--tmpfs", "/tmp"], script);
    assert_eq!(text, "touch: /x: Read-only file system\nelsewhere");
    assert_eq!(sh(&env, &["--read-only=false"], "touch /x && echo yes"), "yes");
    // The working directory is made all the same.
    assert_eq!(sh(&env, &["--read-only", "-w", "/new/dir"], "pwd"), "/new/dir");
}

#[test]
fn limits_of_each_process() {
    let env = TestEnv::new();
    let options = ["--ulimit", "nofile=100:200", "--ulimit", "core=0"];
    assert_eq!(sh(&env, &options, "ulimit -n; ulimit -Hn; ulimit -c"), "100\n200\n0");
    assert_eq!(
        sh(&env, &["--shm-size", "1m"], "df -k /dev/shm | tail -1 | awk '{print $2}'"),
        "1024"
    );
    assert_eq!(sh(&env, &[], "df -k /dev/shm | tail -1 | awk '{print $2}'"), "65536");
}

#[test]
fn an_init_reaps_and_passes_signals_on() {
    let env = TestEnv::new();
    assert_eq!(sh(&env, &["--init"], "cat /proc/1/comm; echo $$"), "kiln-init\n2");
    let script = "trap 'echo got it; exit 3' TERM; echo ready >&2; while :; do sleep 0.1; done";
    let mut run = env.kiln(["run", "--rm", "--init", "busybox", "sh", "-c", script]).spawn();
    run.wait_for("ready");
    run.signal(rustix::process::Signal::TERM);
    assert_eq!(run.wait().fails(3).text(), "got it");
    env.kiln(["run", "--rm", "--init", "busybox", "/no/such"]).run().fails(127).says(&["/no/such"]);
    env.kiln(["run", "--rm", "--init", "busybox", "sh", "-c", "exit 9"]).run().fails(9);
}

#[test]
fn names_and_name_servers() {
    let env = TestEnv::new();
    let options = ["--add-host", "db:10.1.2.3", "--add-host", "six=[2001:db8::1]"];
    let text = sh(&env, &options, "grep -E '[[:space:]](db|six)$' /etc/hosts | tr '\\t' ' '");
    assert_eq!(text, "10.1.2.3 db\n2001:db8::1 six");
    let options = ["--dns=192.0.2.1", "--dns-search", "a.example", "--dns-option", "ndots:3"];
    let text = sh(&env, &options, "grep -v '^#' /etc/resolv.conf | head -3");
    assert_eq!(text, "nameserver 192.0.2.1\nsearch a.example\noptions ndots:3");
    // They can be written to, as in Docker's containers, and are nobody else's.
    let text = sh(
        &env,
        &["-h", "me"],
        "echo 1.1.1.1 x >> /etc/hosts; tail -1 /etc/hosts; cat /etc/hostname",
    );
    assert_eq!(text, "1.1.1.1 x\nme");
    refused(&env, &["--add-host", "db"], &["bad format for add-host"]);
    refused(&env, &["--dns", "x"], &["IP address is not correctly formatted: x"]);
}

#[test]
fn further_groups() {
    let env = TestEnv::new();
    let options = ["-u", "1000", "--group-add", "7", "--group-add", "users"];
    env.build_text("FROM busybox\nRUN echo users:x:100: >> /etc/group\n");
    let mut args = vec!["run", "--rm"];
    args.extend(options);
    let text = env.kiln(args.iter().chain(&["test:latest", "id", "-G"])).run().ok().text();
    assert_eq!(text, "1000 7 50 100");
    args[5] = "nobodys";
    env.kiln(args.iter().chain(&["test:latest", "id"])).run().fails(125).says(&["group nobodys"]);
}

#[test]
fn devices_of_the_host() {
    let env = TestEnv::new();
    let options = ["--device", "/dev/null:/dev/mine", "--device=/dev/zero:/zero:rwm"];
    let text = sh(&env, &options, "stat -c %t:%T /dev/mine; head -c 3 /zero | wc -c");
    assert_eq!(text, "1:3\n3");
    let missing = env.str("nothing");
    let output =
        env.kiln(["run", "--rm", "--device", &missing, "busybox", "true"]).run().fails(125);
    output.says(&[&missing, "No such file"]);
    refused(&env, &["--device", "/dev/null:r"], &["device mode"]);
}

#[test]
fn settings_of_the_kernel() {
    let env = TestEnv::new();
    let options =
        ["--network=none", "--sysctl", "net.ipv4.ip_forward=1", "--sysctl=kernel.shmmni=99"];
    let text = sh(&env, &options, "cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/shmmni");
    assert_eq!(text, "1\n99");
    refused(&env, &["--sysctl", "kernel.panic=1"], &["sysctl 'kernel.panic=1' is not allowed"]);
    refused(&env, &["--network=host", "--sysctl", "net.x=1"], &["host's network"]);
    let args = ["run", "--rm", "--network=none", "--sysctl", "net.no.such=1", "busybox", "true"];
    env.kiln(args).run().fails(125).says(&["net.no.such"]);
}
