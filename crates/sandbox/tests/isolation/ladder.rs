//! Climbing the second rung: what becomes of the two processes of it.

use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::process::ExitCode;
use std::process::Stdio;
use std::sync::Mutex;

use super::world::Case;
use super::world::User;
use super::world::World;
use super::world::eventually;
use super::world::is_running;

pub(crate) const CASES: &[Case] = &[
    ("the_exit_code_is_passed_on", the_exit_code_is_passed_on),
    ("a_signal_is_passed_on", a_signal_is_passed_on),
    ("death_by_a_signal_is_passed_on", death_by_a_signal_is_passed_on),
    ("the_child_dies_with_its_parent", the_child_dies_with_its_parent),
    ("ids", ids),
];

/// Whom the tests are run as.
static USER: Mutex<Option<String>> = Mutex::new(None);

/// Runs something while the user is known to the tests.
pub(crate) fn with_user(_: &World, user: &User, run: impl FnOnce()) {
    *USER.lock().unwrap() = Some(user.name.clone());
    run();
}

fn start(world: &World, what: &str) -> Command {
    let user = USER.lock().unwrap().clone().unwrap();
    let user = std::mem::ManuallyDrop::new(User { name: user });
    let mut command = user.command(world);
    command.args(["--ladder", what]).stdout(Stdio::piped());
    command
}

/// What the climber does at the top.
pub(crate) fn run(what: &str) -> ExitCode {
    match sandbox::enter(None).map(|standing| standing.rung) {
        Ok(sandbox::Rung::UserNamespace) => {}
        other => {
            println!("{other:?}");
            return ExitCode::FAILURE;
        }
    }
    match what.split_once(':') {
        Some(("exit", code)) => return ExitCode::from(code.parse::<u8>().unwrap()),
        Some(("ids", _)) => {
            let read = |file| std::fs::read_to_string(file).unwrap();
            println!("{}", rustix::process::getuid().as_raw());
            println!("{}", read("/proc/self/uid_map").lines().count());
        }
        Some(("sleep", marker)) => {
            let error = std::os::unix::process::CommandExt::exec(
                Command::new("sleep").arg(marker).env_clear(),
            );
            println!("{error}");
        }
        _ => println!("{what}?"),
    }
    ExitCode::SUCCESS
}

fn the_exit_code_is_passed_on(world: &World) {
    for code in [0, 7] {
        let status = start(world, &format!("exit:{code}")).status().unwrap();
        assert_eq!(status.code(), Some(code));
    }
}

fn ids(world: &World) {
    let output = start(world, "ids:").output().unwrap();
    let output = String::from_utf8(output.stdout).unwrap();
    let mut lines = output.lines();
    assert_eq!(lines.next(), Some("0"), "{output}");
    assert!(lines.next().unwrap().parse::<u32>().unwrap() >= 2, "{output}");
}

/// Starts a climber that sleeps, and waits until it does.
fn sleeper(world: &World, number: u32) -> (std::process::Child, String) {
    let marker = format!("98765.{}{number}", std::process::id());
    let child = start(world, &format!("sleep:{marker}")).spawn().unwrap();
    eventually("it sleeps", || is_running(&format!("sleep\0{marker}\0")));
    (child, marker)
}

fn a_signal_is_passed_on(world: &World) {
    let (mut child, marker) = sleeper(world, 91);
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGTERM));
    assert!(!is_running(&marker));
}

fn death_by_a_signal_is_passed_on(world: &World) {
    let (mut child, marker) = sleeper(world, 92);
    let pids = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", child.id())).unwrap();
    let pid = rustix::process::Pid::from_raw(pids.trim().parse().unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGKILL));
    assert!(!is_running(&marker));
}

fn the_child_dies_with_its_parent(world: &World) {
    let (mut child, marker) = sleeper(world, 93);
    child.kill().unwrap();
    child.wait().unwrap();
    eventually("the child is dead, too", || !is_running(&marker));
}
