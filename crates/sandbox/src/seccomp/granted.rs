//! The system calls that a program may make if it has the capability for it, as in Docker's default profile.
//!
//! Without the capability the kernel would refuse most of them anyway; that it need not look at them first is what a
//! filter is for.

use super::table::Column;
use super::table::NO;
use crate::Capabilities;

/// Capability, name, and number on x86-64, i386, aarch64 and arm.
#[rustfmt::skip]
const GRANTED: &[(&str, &str, [u32; 4])] = &[
    ("CAP_BPF", "bpf", [321, 357, 280, 386]),
    ("CAP_DAC_READ_SEARCH", "open_by_handle_at", [304, 342, 265, 371]),
    ("CAP_PERFMON", "perf_event_open", [298, 336, 241, 364]),
    ("CAP_SYSLOG", "syslog", [103, 103, 116, 103]),
    ("CAP_SYS_ADMIN", "bpf", [321, 357, 280, 386]),
    ("CAP_SYS_ADMIN", "fanotify_init", [300, 338, 262, 367]),
    ("CAP_SYS_ADMIN", "fsconfig", [431, 431, 431, 431]),
    ("CAP_SYS_ADMIN", "fsmount", [432, 432, 432, 432]),
    ("CAP_SYS_ADMIN", "fsopen", [430, 430, 430, 430]),
    ("CAP_SYS_ADMIN", "fspick", [433, 433, 433, 433]),
    ("CAP_SYS_ADMIN", "lookup_dcookie", [212, 253, 18, 249]),
    ("CAP_SYS_ADMIN", "mount", [165, 21, 40, 21]),
    ("CAP_SYS_ADMIN", "mount_setattr", [442, 442, 442, 442]),
    ("CAP_SYS_ADMIN", "move_mount", [429, 429, 429, 429]),
    ("CAP_SYS_ADMIN", "open_tree", [428, 428, 428, 428]),
    ("CAP_SYS_ADMIN", "perf_event_open", [298, 336, 241, 364]),
    ("CAP_SYS_ADMIN", "quotactl", [179, 131, 60, 131]),
    ("CAP_SYS_ADMIN", "quotactl_fd", [443, 443, 443, 443]),
    ("CAP_SYS_ADMIN", "setdomainname", [171, 121, 162, 121]),
    ("CAP_SYS_ADMIN", "sethostname", [170, 74, 161, 74]),
    ("CAP_SYS_ADMIN", "setns", [308, 346, 268, 375]),
    ("CAP_SYS_ADMIN", "syslog", [103, 103, 116, 103]),
    ("CAP_SYS_ADMIN", "umount", [NO, 22, NO, NO]),
    ("CAP_SYS_ADMIN", "umount2", [166, 52, 39, 52]),
    ("CAP_SYS_ADMIN", "unshare", [272, 310, 97, 337]),
    ("CAP_SYS_BOOT", "reboot", [169, 88, 142, 88]),
    ("CAP_SYS_MODULE", "delete_module", [176, 129, 106, 129]),
    ("CAP_SYS_MODULE", "finit_module", [313, 350, 273, 379]),
    ("CAP_SYS_MODULE", "init_module", [175, 128, 105, 128]),
    ("CAP_SYS_NICE", "get_mempolicy", [239, 275, 236, 320]),
    ("CAP_SYS_NICE", "mbind", [237, 274, 235, 319]),
    ("CAP_SYS_NICE", "set_mempolicy", [238, 276, 237, 321]),
    ("CAP_SYS_NICE", "set_mempolicy_home_node", [450, 450, 450, 450]),
    ("CAP_SYS_PACCT", "acct", [163, 51, 89, 51]),
    ("CAP_SYS_PTRACE", "kcmp", [312, 349, 272, 378]),
    ("CAP_SYS_PTRACE", "pidfd_getfd", [438, 438, 438, 438]),
    ("CAP_SYS_PTRACE", "process_madvise", [440, 440, 440, 440]),
    ("CAP_SYS_RAWIO", "ioperm", [173, 101, NO, NO]),
    ("CAP_SYS_RAWIO", "iopl", [172, 110, NO, NO]),
    ("CAP_SYS_TIME", "clock_settime", [227, 264, 112, 262]),
    ("CAP_SYS_TIME", "clock_settime64", [NO, 404, NO, 404]),
    ("CAP_SYS_TIME", "settimeofday", [164, 79, 170, 79]),
    ("CAP_SYS_TIME", "stime", [NO, 25, NO, NO]),
    ("CAP_SYS_TTY_CONFIG", "vhangup", [153, 111, 58, 111]),
];

/// The numbers of the calls that come with these capabilities; each once.
pub(super) fn calls(capabilities: Capabilities, column: Column) -> Vec<u32> {
    let granted = |(name, _, _): &&(&str, _, _)| has(capabilities, name);
    let numbers = GRANTED.iter().filter(granted).map(|(_, _, numbers)| numbers[column as usize]);
    let mut numbers: Vec<u32> = numbers.filter(|number| *number != NO).collect();
    numbers.sort_unstable();
    numbers.dedup();
    numbers
}

/// Whether clone(2) and its successor may make namespaces.
pub(super) fn makes_namespaces(capabilities: Capabilities) -> bool {
    has(capabilities, "CAP_SYS_ADMIN")
}

fn has(capabilities: Capabilities, name: &str) -> bool {
    Capabilities::named(name).is_some_and(|one| capabilities.contains(one))
}
