//! Limits of all processes of a container together. Where the machine cannot limit, the refusal is what is tested.

use std::path::Path;

use crate::support::account::Account;
use crate::support::env::TestEnv;
use crate::support::process::Output;
use crate::support::requires;

/// Whether root can limit memory and the like here.
fn control_groups() -> bool {
    let one = Path::new("/sys/fs/cgroup/memory/memory.limit_in_bytes").exists();
    let two = std::fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").unwrap_or_default();
    requires::root() && requires::control_groups(one || two.contains("memory"))
}

fn run(env: &TestEnv, options: &[&str], script: &str) -> Output {
    env.kiln(["run", "--rm"]).args(options).args(["busybox", "sh", "-c", script]).run()
}

#[test]
fn memory_and_who_is_told_of_its_end() {
    if !control_groups() {
        return;
    }
    let env = TestEnv::new();
    let script = "dd if=/dev/zero of=/dev/null bs=64M count=1 2>/dev/null; exit $?";
    run(&env, &["-m", "200m"], script).ok();
    let output = run(&env, &["-m", "20m", "--memory-swap", "20m"], script).fails(137);
    output.says(&["out of memory", "--memory"]);
    env.kiln(["run", "--name", "cc", "-m", "20m", "busybox", "sh", "-c", script]).run().fails(137);
    let state = env.store().join("containers");
    let states = std::fs::read_dir(state).unwrap().flatten();
    let told = |path: std::path::PathBuf| std::fs::read_to_string(path.join("state")).unwrap();
    let states: Vec<String> = states.map(|entry| told(entry.path())).collect();
    assert!(states.iter().any(|state| state.contains("\"oom_killed\":true")), "{states:?}");
    run(&env, &["--memory-swap", "20m"], "true").fails(125).says(&["always set the memory limit"]);
}

#[test]
fn processes() {
    if !control_groups() {
        return;
    }
    let env = TestEnv::new();
    let script = "for i in 1 2 3 4 5 6 7 8 9; do sleep 1 & done; echo all";
    assert_eq!(run(&env, &["--pids-limit", "-1"], script).ok().text(), "all");
    let output = run(&env, &["--pids-limit", "4"], script);
    assert!(output.stderr.contains("can't fork"), "{output}");
}

#[test]
fn processors_and_their_time() {
    if !control_groups() {
        return;
    }
    let env = TestEnv::new();
    let script = "grep Cpus_allowed_list /proc/self/status | tr -d '\t'";
    let text = run(&env, &["--cpuset-cpus", "0"], script).ok().text();
    assert_eq!(text, "Cpus_allowed_list:0");
    // Hundredths of a second that a busy process gets in one second.
    let script = "(while :; do :; done) & sleep 1; set -- $(cat /proc/$!/stat); echo ${14}";
    let ticks = run(&env, &["--cpus", "0.1"], script).ok().text();
    assert!(ticks.parse::<u32>().unwrap() <= 40, "{ticks}");
    run(&env, &["--cpuset-cpus", "0,999"], "true")
        .fails(125)
        .says(&["requested CPUs are not available: requested 0,999, available: 0"]);
    run(&env, &["--cpus", "1000"], "true").fails(125).says(&["range of CPUs is from 0.01 to"]);
    run(&env, &["--cpus", "1", "--cpu-quota", "5000"], "true").fails(125).says(&["conflicting"]);
}

#[test]
fn limits_are_refused_to_who_cannot_have_them() {
    let Some(account) = Account::create() else { return };
    let env = TestEnv::of(account);
    run(&env, &[], "true").ok();
    let output = run(&env, &["--pids-limit", "100"], "echo ran");
    // On a machine that hands control groups over to its users it works.
    match output.status.success() {
        true => assert_eq!(output.text(), "ran"),
        false => {
            assert_eq!(output.text(), "");
            output.says(&["cannot limit the number of processes", "control group"]);
        }
    }
}

#[test]
fn limits_of_each_process() {
    let env = TestEnv::new();
    let show = "echo $(ulimit -n) $(ulimit -Hn) $(ulimit -Hf)";
    let limited = |limits: &[&str]| {
        let options: Vec<String> = limits.iter().map(|it| format!("--ulimit={it}")).collect();
        run(&env, &options.iter().map(String::as_str).collect::<Vec<_>>(), show)
    };
    assert_eq!(limited(&["nofile=100:200", "fsize=4096"]).ok().text(), "100 200 8");
    // Fewer than what sets them has open itself.
    assert_eq!(limited(&["nofile=5:6"]).ok().text(), "5 6 unlimited");
    assert_eq!(
        env.ok(&["run", "--rm", "--init", "--ulimit=nofile=1", "busybox", "true"]).text(),
        ""
    );
    let output = limited(&["nofile=9999999999"]).fails(125);
    output.says(&[
        "cannot limit `nofile` of each process",
        "9999999999 is more than",
        "fs.nr_open",
    ]);
    limited(&["nofile=6:5"]).fails(125).says(&["less than or equal to hard limit: 6 > 5"]);
    limited(&["nofiles=6"]).fails(125).says(&["invalid ulimit type: nofiles"]);
}

#[test]
fn a_user_cannot_raise_a_hard_limit() {
    let Some(account) = Account::create() else { return };
    let env = TestEnv::of(account);
    let script = "ulimit -n 100; exec \"$0\" \"$@\"";
    let limited = |limit: &str| {
        env.kiln(["run", "--rm", "--network=none", limit, "busybox", "sh", "-c", "ulimit -Hn"])
            .through(&["sh", "-c", script])
            .run()
    };
    assert_eq!(limited("--ulimit=nofile=50:60").ok().text(), "60");
    let output = limited("--ulimit=nofile=50:600").fails(125);
    output.says(&[
        "600 is more than 100, the hard limit of who runs kiln, which only root can raise",
    ]);
}

#[test]
fn a_group_that_somebody_has_made() {
    if !control_groups() {
        return;
    }
    let env = TestEnv::new();
    let name = format!("kiln-test-parent-{}", std::process::id());
    let (parent, inner) =
        (format!("--cgroup-parent=/{name}/inner"), format!("/{name}/inner/kiln-"));
    // What is in it is seen from outside only.
    let groups = |option: &str| {
        env.ok(&["run", "-d", "--name=cc", option, "busybox", "sleep", "1000"]);
        let pid = env.ok(&["inspect", "--format={{.State.Pid}}", "cc"]).text();
        let groups = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
        env.ok(&["rm", "-f", "cc"]);
        groups
    };
    let found = groups(&parent);
    assert!(found.contains(&inner), "{found}");
    assert!(!groups("--cgroup-parent=").contains(&inner));
    let output = run(&env, &["--cgroup-parent=../x"], "true").fails(125);
    output.says(&["`../x` is no control group", "without `..`"]);
    // What was made for it is gone, and what was there stays.
    let left = || {
        let mounts = std::fs::read_dir("/sys/fs/cgroup").unwrap().flatten();
        let places = mounts.map(|entry| entry.path().join(&name));
        places.chain([Path::new("/sys/fs/cgroup").join(&name)]).filter(|it| it.exists()).count()
    };
    assert_eq!(left(), 0);

    let context = env.context("FROM busybox\nRUN true\n");
    env.build(&context, &[&parent]);
    assert_eq!(left(), 0);
}

#[test]
fn processes_are_bounded_where_nothing_is_said() {
    let env = TestEnv::new();
    let most = |options: &[&str]| {
        run(&env, options, "cat /proc/sys/kernel/pid_max").ok().text().parse::<u64>().unwrap()
    };
    if most(&["--pids-limit=-1"]) == most(&[]) {
        eprintln!("skipped: namespaces of processes have no bound of their own before Linux 6.14");
        return;
    }
    assert_eq!(most(&[]), 16384);
    env.build_text("FROM busybox\nRUN test $(cat /proc/sys/kernel/pid_max) = 16384\n");
    // It is the sandbox's own.
    let host = std::fs::read_to_string("/proc/sys/kernel/pid_max").unwrap();
    assert_ne!(host.trim(), "16384");
}

/// Gives the user a group of version 1, or of version 2 with kiln in a part of it.
const HAND_GROUP_OVER: &str = r#"
if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
  echo +pids > /sys/fs/cgroup/cgroup.subtree_control
  group=/sys/fs/cgroup/kiln-test-$$ own=/sys/fs/cgroup/kiln-test-$$/own
else
  group=/sys/fs/cgroup/pids/kiln-test-$$ own=/sys/fs/cgroup/pids/kiln-test-$$
fi
mkdir -p "$own" && chown -R --reference="$5" "$group" || exit 99
sh -c 'echo $$ > "$0/cgroup.procs" && exec "$@"' "$own" "$@"
status=$?
# The kernel is done with the dead a moment after they are waited for.
for i in 1 2 3 4 5 6 7 8 9; do
  { [ "$own" = "$group" ] || rmdir "$own/kiln" "$own"; rmdir "$group"; } 2>/dev/null && exit $status
  sleep 0.2
done
echo "left: $(ls "$group")"
exit 98"#;

#[test]
fn a_group_that_was_handed_over() {
    if !control_groups() {
        return;
    }
    let Some(account) = Account::create() else { return };
    let env = TestEnv::of(account).after(HAND_GROUP_OVER);
    let script = "for i in 1 2 3 4 5 6 7 8 9; do sleep 1 & done; echo all";
    let limited = |limit: &str| run(&env, &["--network=none", "--pids-limit", limit], script);
    assert_eq!(limited("100").ok().text(), "all");
    limited("4").says(&["can't fork"]);
}
