//! The calls of which the supervisor plays the kernel's part where all files and processes belong to one id: those that
//! change or tell an owner, make a device, or make a file, which belongs to its maker.

use super::Machine;
use super::native;
use super::number_of;

/// Their names.
const NAMES: &[&str] = &[
    "chown",
    "chroot",
    "creat",
    "execve",
    "fchown",
    "fchownat",
    "fstat",
    "getegid",
    "geteuid",
    "getgid",
    "getgroups",
    "getresgid",
    "getresuid",
    "getuid",
    "lchown",
    "lstat",
    "mkdir",
    "mkdirat",
    "mknod",
    "mknodat",
    "newfstatat",
    "setfsgid",
    "setfsuid",
    "setgid",
    "setgroups",
    "setregid",
    "setresgid",
    "setresuid",
    "setreuid",
    "setuid",
    "stat",
    "statx",
    "symlink",
    "symlinkat",
];

/// Those that may make a file, with the place of the argument that says whether they do.
const OPENING: &[(&str, u32)] = &[("open", 1), ("openat", 2)];

/// `RLIMIT_LOCKS`, in which is kept who a process takes itself for.
const LOCKS: u32 = 10;

/// `PR_SET_KEEPCAPS` of `linux/prctl.h`.
pub(crate) const KEEP_CAPABILITIES: u32 = 8;

/// Those that are asked about for one value of the argument at a place.
const SINGLE: &[(&str, u32, u32)] = &[
    ("getrlimit", 0, LOCKS),
    ("prctl", 0, KEEP_CAPABILITIES),
    ("prlimit64", 1, LOCKS),
    ("setrlimit", 0, LOCKS),
];

/// The numbers of the calls that are always asked about; none for a 32-bit variant, whose programs do without.
pub(super) fn numbers(machine: &Machine) -> Vec<u32> {
    let is_native = machine.id == native().id;
    let names = NAMES.iter().filter(|_| is_native);
    names.filter_map(|name| number_of(name, machine.column)).collect()
}

/// The numbers of the calls that are asked about if they are to make a file, with the place of their flags.
pub(super) fn opening(machine: &Machine) -> Vec<(u32, u32)> {
    let is_native = machine.id == native().id;
    let names = OPENING.iter().filter(|_| is_native);
    names.filter_map(|(name, place)| Some((number_of(name, machine.column)?, *place))).collect()
}

/// The numbers of the calls that are asked about for one value of an argument, with its place and the value.
pub(super) fn single(machine: &Machine) -> Vec<(u32, u32, u32)> {
    let is_native = machine.id == native().id;
    let all = SINGLE.iter().filter(|_| is_native);
    let number = |name| number_of(name, machine.column);
    all.filter_map(|(name, place, value)| Some((number(name)?, *place, *value))).collect()
}

/// The machine that the numbers are of (`AUDIT_ARCH_…`), and the names of all that are asked about, by number.
pub(crate) fn names() -> (u32, Vec<(u32, &'static str)>) {
    let machine = native();
    let opening = OPENING.iter().map(|(name, _)| *name);
    let single = SINGLE.iter().map(|(name, ..)| *name);
    let all = NAMES.iter().copied().chain(opening).chain(single).chain(["socket"]);
    let mut names: Vec<_> = all
        .filter_map(|name| match name {
            "socket" => Some((machine.socket, name)),
            name => Some((number_of(name, machine.column)?, name)),
        })
        .collect();
    names.sort_unstable();
    (machine.id, names)
}
