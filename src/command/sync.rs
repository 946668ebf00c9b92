//! `kiln sync`, and the same in the background after a command that wrote something.
//!
//! What was written is in use at once, but would not survive a power cut before the disk has it. Waiting for the disk would
//! cost a build more than its steps do, so another process waits; one for all commands of a few seconds.

use std::{
    os::unix::process::CommandExt,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use engine::Engine;

use crate::{
    environment,
    report::{Exit, Failure},
};

#[derive(Debug, clap::Args)]
pub(crate) struct Sync {
    /// Seconds to wait first; what other commands write meanwhile is covered too
    #[arg(long, value_name = "SECONDS", default_value = "0")]
    pub(crate) after: u64,
}

/// How long the process in the background lets commands pass: about as long as the kernel holds back what is written.
const PAUSE: Duration = Duration::from_secs(3);

/// Waits until everything in the store is on the disk. A store that is gone by then needs nothing.
pub(super) fn run(root: &Path, sync: &Sync) -> Result<Exit, Failure> {
    thread::sleep(Duration::from_secs(sync.after));
    if root.is_dir() {
        environment::open_store(root)?.sync()?;
    }
    Ok(Exit::Done)
}

/// Whether a process in the background is about to bring to the disk what is written now.
///
/// If something has waited for longer than such a process takes, it was killed.
pub(super) fn is_waited_for(engine: &Engine) -> bool {
    matches!(engine.store().unsynced_for(), Ok(Some(waiting)) if waiting < PAUSE)
}

/// Leaves the waiting to a process of its own, if there is anything to wait for.
///
/// If it cannot be started, or is killed, the next command sees to it: nothing is lost but in a power cut before that.
pub(super) fn in_background(engine: &Engine) {
    if !matches!(engine.store().unsynced_for(), Ok(Some(_))) {
        return;
    }
    let mut command = Command::new("/proc/self/exe");
    command.args(["--isolation", engine.rung().name()]);
    command.arg("--root").arg(engine.store().root());
    command.args(["sync", "--after", &PAUSE.as_secs().to_string()]);
    // It stays behind the command, which may have secrets in its environment.
    command.env_clear().envs(environment::search_path()).envs(environment::boot());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // A group of its own: the key that interrupts what follows in the terminal is not meant for it.
    let _ = command.process_group(0).spawn();
}
