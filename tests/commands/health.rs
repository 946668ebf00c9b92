//! HEALTHCHECK, and the options of `run` and `create` for it.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::account::Account;
use crate::support::env::{IMAGE, TestEnv};
use crate::support::process::{PATIENCE, eventually};

/// Starts a container that sleeps, with these options.
fn start(env: &TestEnv, image: &str, options: &[&str]) {
    let args = ["run", "-d", "--name", "work", "--network=none", "--stop-timeout", "0"];
    env.kiln(args.iter().chain(options).chain(&[image, "sleep", "1000"])).run().ok();
}

fn health(env: &TestEnv) -> Value {
    serde_json::from_str(&env.ok(&["inspect", "-f", "{{json .State.Health}}", "work"]).text())
        .unwrap()
}

fn status(env: &TestEnv) -> String {
    env.ok(&["ps", "-a", "--format", "{{.Status}}"]).text()
}

/// The names of containers with this health.
fn with(env: &TestEnv, health: &str) -> String {
    let filter = format!("health={health}");
    env.ok(&["ps", "-a", "--filter", &filter, "--format", "{{.Names}}"]).text()
}

#[test]
fn from_starting_to_healthy_to_unhealthy_and_back() {
    let env = TestEnv::new();
    let dockerfile = "FROM busybox\nENV WELL=/well\n\
        HEALTHCHECK --interval=100ms --retries=2 CMD echo checked; test -e $WELL\n";
    env.build_text(dockerfile);
    start(&env, IMAGE, &["--health-interval", "1s", "--health-retries", "3"]);
    assert!(status(&env).ends_with(" (health: starting)"), "{}", status(&env));
    assert_eq!((with(&env, "starting"), with(&env, "healthy")), ("work".into(), String::new()));
    env.ok(&["exec", "work", "touch", "/well"]);
    eventually("it is healthy", || status(&env).ends_with(" (healthy)"));
    assert_eq!(with(&env, "healthy"), "work");
    let known = health(&env);
    assert_eq!((&known["Status"], &known["FailingStreak"]), (&json!("healthy"), &json!(0)));
    let last = known["Log"].as_array().unwrap().last().unwrap().clone();
    assert_eq!((&last["ExitCode"], &last["Output"]), (&json!(0), &json!("checked\n")));
    assert!(last["Start"].as_str() < last["End"].as_str(), "{last}");

    env.ok(&["exec", "work", "rm", "/well"]);
    eventually("it is unhealthy", || status(&env).ends_with(" (unhealthy)"));
    assert!(health(&env)["FailingStreak"].as_u64().unwrap() >= 3);
    eventually("only the last five are kept", || {
        health(&env)["Log"].as_array().unwrap().iter().filter(|it| it["ExitCode"] == 1).count() == 5
    });
    assert_eq!(health(&env)["Log"].as_array().unwrap().len(), 5);
    env.ok(&["exec", "work", "touch", "/well"]);
    eventually("it is healthy again", || status(&env).ends_with(" (healthy)"));
    // Nobody checks any more.
    env.ok(&["stop", "work"]);
    assert_eq!(health(&env)["Status"], "unhealthy");
    assert!(status(&env).starts_with("Exited (") && with(&env, "unhealthy") == "work");
    env.ok(&["start", "work"]);
    assert_eq!(health(&env)["FailingStreak"], 0);
    eventually("it is healthy after a start", || status(&env).ends_with(" (healthy)"));
    env.ok(&["kill", "work"]);
}

#[test]
fn what_is_said_goes_before_the_image() {
    let env = TestEnv::new();
    env.build_text(
        "FROM busybox\nHEALTHCHECK --interval=7s --timeout=8s --retries=9 CMD [\"false\"]\n",
    );
    let config = |options: &[&str]| {
        let args = ["create", "--name", "work"].iter().chain(options).chain(&[IMAGE, "true"]);
        env.kiln(args).run().ok();
        let text = env.ok(&["inspect", "-f", "{{json .Config.Healthcheck}}", "work"]).text();
        env.ok(&["rm", "work"]);
        serde_json::from_str::<Value>(&text).unwrap()
    };
    let second = 1_000_000_000_u64;
    assert_eq!(
        config(&[]),
        json!({"Test": ["CMD", "false"], "Interval": 7 * second, "Timeout": 8 * second, "Retries": 9})
    );
    let all = [
        "--health-cmd=true x",
        "--health-interval=1m30s",
        "--health-timeout=1.5s",
        "--health-start-period=500ms",
        "--health-start-interval=1s",
        "--health-retries=2",
    ];
    assert_eq!(
        config(&all),
        json!({"Test": ["CMD-SHELL", "true x"], "Interval": 90 * second, "Timeout": 1_500_000_000_u64,
            "StartPeriod": 500_000_000_u64, "StartInterval": second, "Retries": 2})
    );
    assert_eq!(config(&["--no-healthcheck"])["Test"], json!(["NONE"]));
    let refused = |options: &[&str], words: &str| {
        let args = ["create"].iter().chain(options).chain(&["busybox", "true"]);
        env.kiln(args).run().fails(2).says(&[words]);
    };
    refused(&["--no-healthcheck", "--health-cmd", "x"], "conflicts with --health-* options");
    refused(&["--health-interval", "-1s"], "--health-interval cannot be negative");
    refused(&["--health-interval", "1us"], "cannot be less than 1ms");
    refused(&["--health-timeout", "5"], "a number with a unit");
    refused(&["--health-retries", "-1"], "--health-retries cannot be negative");
    env.kiln(["ps", "--filter", "health=fine"]).run().fails(2).says(&["health=fine", "unhealthy"]);
}

#[test]
fn one_that_nobody_checks() {
    let env = TestEnv::new();
    env.build_text("FROM busybox\nHEALTHCHECK --interval=10ms CMD touch /checked\n");
    start(&env, IMAGE, &["--no-healthcheck"]);
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(health(&env), json!(null));
    assert_eq!((with(&env, "none"), with(&env, "starting")), ("work".into(), String::new()));
    assert!(!status(&env).contains('('));
    assert_eq!(env.ok(&["diff", "work"]).text(), "");
    env.ok(&["kill", "work"]);
}

#[test]
fn a_check_that_takes_too_long_or_cannot_be_started() {
    let env = TestEnv::new();
    let slow = [
        "--health-cmd",
        "echo begun; sleep 60",
        "--health-interval=50ms",
        "--health-timeout=300ms",
        "--health-retries=1",
    ];
    start(&env, "busybox", &slow);
    eventually("it is unhealthy", || status(&env).ends_with(" (unhealthy)"));
    let check = health(&env)["Log"][0].clone();
    assert_eq!(check["ExitCode"], -1);
    assert!(
        check["Output"].as_str().unwrap().contains("exceeded timeout (300ms): begun"),
        "{check}"
    );
    eventually("it is dead", || !env.ok(&["top", "work"]).text().contains("sleep 60"));
    env.ok(&["rm", "-f", "work"]);

    env.build_text(
        "FROM busybox\nHEALTHCHECK --interval=50ms --retries=1 CMD [\"/no/such/program\"]\n",
    );
    start(&env, IMAGE, &[]);
    eventually("it is unhealthy", || status(&env).ends_with(" (unhealthy)"));
    let check = health(&env)["Log"][0].clone();
    assert!(check["Output"].as_str().unwrap().contains("/no/such/program"), "{check}");
    // Its end waits for no check.
    let begun = Instant::now();
    env.ok(&["kill", "work"]);
    assert!(begun.elapsed() < PATIENCE, "{:?}", begun.elapsed());
}

#[test]
fn failures_at_the_start_do_not_count() {
    let env = TestEnv::new();
    let options = [
        "--health-cmd=false",
        "--health-start-interval=50ms",
        "--health-start-period=1h",
        "--health-retries=1",
    ];
    start(&env, "busybox", &options);
    eventually("it was checked", || health(&env)["Log"].as_array().unwrap().len() == 5);
    let known = health(&env);
    assert_eq!((&known["Status"], &known["FailingStreak"]), (&json!("starting"), &json!(0)));
    // Nobody checks while it is paused.
    env.ok(&["pause", "work"]);
    let before = health(&env)["Log"].clone();
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(health(&env)["Log"], before);
    assert!(status(&env).ends_with(" (Paused)"));
    env.ok(&["unpause", "work"]);
    eventually("it goes on", || health(&env)["Log"] != before);
    env.ok(&["kill", "work"]);
}

#[test]
fn of_an_ordinary_user() {
    let Some(account) = Account::create() else { return };
    let env = TestEnv::of(account);
    start(&env, "busybox", &["--health-cmd=true", "--health-interval=50ms"]);
    eventually("it is healthy", || status(&env).ends_with(" (healthy)"));
    env.ok(&["kill", "work"]);
}
