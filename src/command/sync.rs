//! `kiln sync`, and the same in the background after a command that wrote something.
//!
//! What was written is in use at once, but would not survive a power cut before the disk has it. Waiting for the disk would
//! cost a build more than its steps do, so another process waits.

use std::{
    os::unix::process::CommandExt,
    process::{Command, Stdio},
};

use engine::Engine;

use crate::report::{Exit, Failure};

/// Waits until everything in the store is on the disk.
pub(super) fn run(engine: &Engine) -> Result<Exit, Failure> {
    engine.store().sync()?;
    Ok(Exit::Done)
}

/// Leaves the waiting to a process of its own, if there is anything to wait for.
///
/// If it cannot be started, or is killed, the next command sees to it: nothing is lost but in a power cut before that.
pub(super) fn in_background(engine: &Engine) {
    if !matches!(engine.store().unsynced_for(), Ok(Some(_))) {
        return;
    }
    let mut command = Command::new("/proc/self/exe");
    command.arg("--root").arg(engine.store().root()).arg("sync");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // A group of its own: the key that interrupts what follows in the terminal is not meant for it.
    let _ = command.process_group(0).spawn();
}
