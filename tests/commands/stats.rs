//! `kiln stats`.

use serde_json::Value;

use crate::support::account::Account;
use crate::support::env::TestEnv;

fn start(env: &TestEnv, name: &str, script: &str) {
    let args = ["run", "-d", "--name", name, "--network=none", "busybox", "sh", "-c", script];
    env.ok(&args);
}

/// What is shown of a container.
fn shown(env: &TestEnv, name: &str) -> Value {
    let text = env.ok(&["stats", "--no-stream", "--format", "json", name]).text();
    serde_json::from_str(&text).unwrap()
}

/// The number before the sign.
fn percent(row: &Value, field: &str) -> f64 {
    let text = row[field].as_str().unwrap();
    text.strip_suffix('%').unwrap_or_else(|| panic!("{row}")).parse().unwrap()
}

#[test]
fn what_containers_use() {
    let env = TestEnv::new();
    start(&env, "busy", "sleep 1000 & while :; do :; done");
    start(&env, "idle", "exec sleep 1000");
    env.ok(&["create", "--name", "made", "busybox", "true"]);
    let (busy, idle) = (shown(&env, "busy"), shown(&env, "idle"));
    // Much else may run here.
    assert!(percent(&busy, "CPUPerc") > 2.0 && percent(&busy, "CPUPerc") < 150.0, "{busy}");
    assert!(percent(&idle, "CPUPerc") < 2.0, "{idle}");
    assert_eq!((busy["PIDs"].as_str(), idle["PIDs"].as_str()), (Some("2"), Some("1")));
    let memory = busy["MemUsage"].as_str().unwrap();
    assert!(memory.contains("iB / ") && memory.ends_with("GiB"), "{memory}");
    assert_eq!(idle["NetIO"], "0B / 0B");

    let names = |args: &[&str]| {
        let args =
            ["stats", "--no-stream", "--format", "{{.Name}} {{.CPUPerc}}"].iter().chain(args);
        let text = env.kiln(args).run().ok().text();
        text.lines().map(|line| line.replace(|c: char| c.is_ascii_digit(), "0")).collect::<Vec<_>>()
    };
    let running = names(&[]);
    assert!(running.len() == 2 && running[0].starts_with("idle 0"), "{running:?}");
    assert_eq!(names(&["-a"])[0], "made --");
    let table = env.ok(&["container", "stats", "--no-stream", "made"]).text();
    let mut lines = table.lines();
    let headings = "CONTAINER ID   NAME      CPU %     MEM USAGE / LIMIT   MEM %     NET I/O   BLOCK I/O   PIDS";
    assert_eq!(lines.next(), Some(headings));
    assert!(
        lines.next().unwrap().ends_with(
            "made      --        -- / --             --        -- / --   -- / --     --"
        )
    );
    env.kiln(["stats", "--no-stream", "nosuch"]).run().fails(1).says(&["no such container"]);
    env.ok(&["kill", "busy", "idle"]);
}

#[test]
fn of_an_ordinary_user() {
    let Some(account) = Account::create() else { return };
    let env = TestEnv::of(account);
    start(&env, "idle", "exec sleep 1000");
    let row = shown(&env, "idle");
    assert_eq!(row["PIDs"], "1");
    let memory = row["MemUsage"].as_str().unwrap();
    assert!(memory.contains("iB / "), "{memory}");
    env.ok(&["kill", "idle"]);
}
