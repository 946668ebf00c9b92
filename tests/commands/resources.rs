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
