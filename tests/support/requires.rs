//! What a test asks of the machine. Where the machine lacks it, the test says on stderr that it is skipped, and why.
//!
//! `KILN_REQUIRE` lists what must be there, separated by commas; `1` means everything. A skip is then a failure.

use std::path::Path;
use std::process::{Command, Stdio};

/// The right to mount and to give files to other users.
pub(crate) fn root() -> bool {
    have("root", rustix::process::geteuid().is_root(), "not run as root")
}

/// The right to make users of this machine, and the tools for it.
pub(crate) fn users() -> bool {
    let present = rustix::process::geteuid().is_root() && on_path("useradd") && on_path("userdel");
    have("users", present, "needs root, useradd and userdel")
}

/// User namespaces with ranges of subordinate ids.
pub(crate) fn userns() -> bool {
    let mut unshare = Command::new("unshare");
    unshare.args(["--user", "--map-root-user", "true"]).stderr(Stdio::null());
    let present = on_path("newuidmap") && unshare.status().is_ok_and(|status| status.success());
    have("userns", present, "no user namespaces, or no newuidmap (uidmap)")
}

/// Overlays that a program serves: `fuse-overlayfs`, and what it needs of the kernel.
pub(crate) fn fuse() -> bool {
    let present = rustix::process::geteuid().is_root()
        && on_path("fuse-overlayfs")
        && std::fs::File::open("/dev/fuse").is_ok();
    have("fuse", present, "needs root, fuse-overlayfs and /dev/fuse")
}

/// A network namespace with a way out: pasta, and the device that it opens.
pub(crate) fn pasta() -> bool {
    let mut tun = std::fs::OpenOptions::new();
    let present = on_path("pasta") && tun.read(true).write(true).open("/dev/net/tun").is_ok();
    have("pasta", present, "no pasta (passt), or no access to /dev/net/tun")
}

/// The right to give a user namespace handlers of its own for programs of other processors, and qemu as one of them.
pub(crate) fn emulator() -> bool {
    let mut unshare = Command::new("unshare");
    unshare.args(["--user", "--map-root-user", "--mount", "mount", "-t", "binfmt_misc", "none"]);
    unshare.arg("/proc/sys/fs/binfmt_misc").stdout(Stdio::null()).stderr(Stdio::null());
    let present = rustix::process::geteuid().is_root()
        && on_path("qemu-aarch64-static")
        && unshare.status().is_ok_and(|status| status.success());
    have("emulator", present, "needs root, Linux 6.7 and qemu-aarch64-static (qemu-user-static)")
}

/// Control groups that can limit memory, processors and processes.
pub(crate) fn control_groups(present: bool) -> bool {
    have("cgroups", present, "no control groups with controllers below /sys/fs/cgroup")
}

/// The right to trace processes, whose system calls are to fail.
pub(crate) fn tracing(present: bool) -> bool {
    have("strace", present, "strace cannot trace here")
}

/// Files as disks.
pub(crate) fn loop_devices(present: bool) -> bool {
    have("loop", present, "no loop devices")
}

/// A program on the search path, called like its capability.
pub(crate) fn program(name: &str) -> bool {
    have(name, on_path(name), "not installed")
}

/// Files that nobody may change or remove, as `chattr +i` makes them; `made` says whether one could be made.
pub(crate) fn flags(made: bool) -> bool {
    have("flags", made, "not root, or a file system whose files have no flags")
}

pub(super) fn have(name: &str, present: bool, reason: &str) -> bool {
    if !present {
        let required = std::env::var("KILN_REQUIRE").unwrap_or_default();
        let must = required == "1" || required.split(',').any(|word| word == name);
        assert!(!must, "KILN_REQUIRE asks for {name}, but: {reason}");
        eprintln!("skipped: this test needs {name} ({reason})");
    }
    present
}

fn on_path(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].map(|dir| Path::new(dir).to_path_buf()))
        .any(|dir| dir.join(name).is_file())
}
