//! The system call filter: Docker's default profile as a BPF program.
//!
//! ```text
//! which machine's numbers?  native │ its 32-bit variant │ anything else → EPERM
//! native on x86-64:         the bit of x32 → ENOSYS, as from a kernel without x32
//! binary search:            the numbers, sorted, as ranges of one verdict each
//! verdict:                  allow │ EPERM │ a look at an argument │ ENOSYS │ the supervisor is asked
//! ```
//!
//! A capability allows the calls that need it: `granted`.
//!
//! A chain of 370 comparisons would cost every system call of a build up to a microsecond; the search
//! is 8 comparisons deep. The unconditional calls are in `table`.

mod asked;
mod granted;
mod owned;
mod table;

use std::borrow::Cow;
use std::sync::OnceLock;

use crate::Capabilities;
use crate::sys::Instruction;
pub(crate) use asked::Asked;
pub(crate) use owned::names as owned_names;
use table::ALLOWED;
use table::Column;
use table::NO;

// Offsets in the kernel's `struct seccomp_data`. The first argument's low half comes first on
// little-endian machines, which all of ours are; the kernel looks at no more than 32 bits of it.
const NUMBER: u32 = 0;
const MACHINE: u32 = 4;
const FIRST_ARGUMENT: u32 = 16;
/// Bytes of an argument, and of the half of it that comes first.
const ARGUMENT: u32 = 8;
const HALF: u32 = 4;

// Of `linux/bpf_common.h`: class, size or operation, and source of an instruction.
const LOAD: u16 = 0x20;
const JUMP: u16 = 0x05;
const JUMP_IF_EQUAL: u16 = 0x15;
const JUMP_IF_AT_LEAST: u16 = 0x35;
const JUMP_IF_ANY_BIT: u16 = 0x45;
const RETURN: u16 = 0x06;

// Of `linux/seccomp.h`.
const ALLOW: u32 = 0x7fff_0000;
const FAIL: u32 = 0x0005_0000;
const ASK: u32 = 0x7fc0_0000;

/// The bit that marks the calls of x32. Distributions switch that variant off.
const X32: u32 = 0x4000_0000;

/// `O_CREAT`.
const CREATE: u32 = 0o100;

/// Namespaces in the flags of clone(2): those a process may not make without CAP_SYS_ADMIN. CLONE_NEW…
/// of mount, cgroup, uts, ipc, user, pid and net.
const NEW_NAMESPACES: u32 = 0x7e02_0000;

/// `AF_ALG`, the kernel's crypto interface, and `AF_VSOCK`, the way out of a virtual machine.
const FAMILIES: &[u32] = &[38, 40];

/// The family of sockets that no network is needed for.
const AF_UNIX: u32 = 1;

/// What personality(2) may be asked: Linux, Linux with `uname` 2.6, both with 32-bit names, and what
/// it is now.
const PERSONALITIES: &[u32] = &[0x0000_0000, 0x0000_0008, 0x0002_0000, 0x0002_0008, 0xffff_ffff];

/// A machine's numbering of system calls.
struct Machine {
    /// `AUDIT_ARCH_…` of `linux/audit.h`.
    id: u32,
    column: Column,
    clone: u32,
    clone3: u32,
    personality: u32,
    socket: u32,
    /// The one call for everything about sockets, where it is.
    socketcall: Option<u32>,
}

const X86_64: Machine = Machine {
    id: 0xc000_003e,
    column: Column::X86_64,
    clone: 56,
    clone3: 435,
    personality: 135,
    socket: 41,
    socketcall: None,
};
const I386: Machine = Machine {
    id: 0x4000_0003,
    column: Column::I386,
    clone: 120,
    clone3: 435,
    personality: 136,
    socket: 359,
    socketcall: Some(102),
};
const AARCH64: Machine = Machine {
    id: 0xc000_00b7,
    column: Column::Aarch64,
    clone: 220,
    clone3: 435,
    personality: 92,
    socket: 198,
    socketcall: None,
};
const ARM: Machine = Machine {
    id: 0x4000_0028,
    column: Column::Arm,
    clone: 120,
    clone3: 435,
    personality: 136,
    socket: 281,
    socketcall: None,
};

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Allow,
    Refuse,
    /// As from a kernel without it: libc then uses clone, whose flags can be looked at.
    Missing,
    Clone,
    Socket,
    /// The same, but the supervisor is asked about those that may need a network.
    WatchedSocket,
    /// The same where nothing is refused.
    OnlyWatchedSocket,
    Personality,
    /// prlimit64(2), if it does not change the limits of a process by its number.
    OwnLimits,
    Ask,
    /// If the argument at this place says that a file is to be made.
    AskIfMaking(u32),
    /// If the argument at this place has this value.
    AskIfEqual(u32, u32),
}

/// What the supervisor is asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Watch {
    Nothing,
    /// Sockets that may need a network: see `network::gate`.
    Sockets,
    /// Paths that are opened and links that are read: see `chroot::own`. The limits of other processes are not changed.
    Paths,
    /// Owners, devices and new files, see `emulation`; with the sockets or without.
    Owners {
        sockets: bool,
    },
}

/// Whether calls that are not in the profile are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Base {
    Profile,
    /// They are not: only the supervisor is asked about some.
    Everything,
}

/// The calls from `first` up to the next range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Range {
    first: u32,
    verdict: Verdict,
}

/// The machine that this program is for.
fn native() -> Machine {
    if cfg!(target_arch = "aarch64") { AARCH64 } else { X86_64 }
}

fn number_of(name: &str, column: Column) -> Option<u32> {
    let (_, numbers) = ALLOWED.iter().find(|(known, _)| *known == name)?;
    Some(numbers[column as usize]).filter(|number| *number != NO)
}

/// The filter for programs of this machine that asks about owners, and refuses nothing else.
pub(crate) fn owners_only(sockets: bool) -> Vec<Instruction> {
    let machine = native();
    let watch = Watch::Owners { sockets };
    let ranges = ranges(&machine, Capabilities::ALL, watch, Base::Everything);
    let mut program = vec![load(MACHINE), when(JUMP_IF_EQUAL, machine.id, 1, 0), allow()];
    program.push(load(NUMBER));
    program.extend(search(&ranges));
    program
}

/// The filter that takes the network away where there is no namespace for that, to be installed beside the other one, as the
/// strictest decides. A socket that is not local fails as from a kernel which knows no others.
pub(crate) fn without_network() -> Vec<Instruction> {
    let native = native();
    let small = if native.id == AARCH64.id { ARM } else { I386 };
    let mut program = Vec::new();
    for machine in [&native, &small] {
        let mut part = vec![load(NUMBER)];
        if let Some(socketcall) = machine.socketcall {
            // Which family it is about is in memory, where a filter cannot look.
            part.extend([when(JUMP_IF_EQUAL, socketcall, 0, 1), fail(libc::ENOSYS)]);
        }
        part.extend([when(JUMP_IF_EQUAL, machine.socket, 1, 0), allow()]);
        part.extend([load(FIRST_ARGUMENT), when(JUMP_IF_EQUAL, AF_UNIX, 1, 0)]);
        part.extend([fail(libc::EAFNOSUPPORT), allow()]);
        program.push(load(MACHINE));
        program.push(when(JUMP_IF_EQUAL, machine.id, 0, part.len() as u8));
        program.extend(part);
    }
    // Other machines' calls, which the other filter refuses.
    program.push(allow());
    program
}

/// What makes a filter what it is, and the filter.
type Known = ((Capabilities, Watch), Vec<Instruction>);

/// The filters that most programs get.
static USUAL: OnceLock<[Known; 2]> = OnceLock::new();

/// Writes down the filters that most programs get, for all copies of this process.
pub(crate) fn remember_usual() {
    let usual = |watch| {
        let capabilities = Capabilities::DEFAULT;
        ((capabilities, watch), write(capabilities, watch))
    };
    USUAL.get_or_init(|| [usual(Watch::Sockets), usual(Watch::Nothing)]);
}

/// The filter for programs of this machine and of its 32-bit variant, with these capabilities.
pub(crate) fn program(capabilities: Capabilities, watch: Watch) -> Cow<'static, [Instruction]> {
    let known = USUAL.get().into_iter().flatten().find(|(of, _)| *of == (capabilities, watch));
    match known {
        Some((_, program)) => Cow::Borrowed(program),
        None => Cow::Owned(write(capabilities, watch)),
    }
}

fn write(capabilities: Capabilities, watch: Watch) -> Vec<Instruction> {
    let native = native();
    let small = if native.id == AARCH64.id { ARM } else { I386 };
    let native_search = search_with_x32(&native, capabilities, watch);
    let small_search = search(&ranges(&small, capabilities, watch, Base::Profile));

    let mut program = vec![load(MACHINE)];
    program.push(when(JUMP_IF_EQUAL, native.id, 1, 0));
    program.push(jump(native_search.len() as u32 + 1));
    program.push(load(NUMBER));
    program.extend(native_search);
    // The accumulator still holds the machine here.
    program.push(when(JUMP_IF_EQUAL, small.id, 1, 0));
    program.push(refuse());
    program.push(load(NUMBER));
    program.extend(small_search);
    program
}

fn search_with_x32(
    machine: &Machine,
    capabilities: Capabilities,
    watch: Watch,
) -> Vec<Instruction> {
    let mut program = Vec::new();
    if machine.id == X86_64.id {
        program.push(when(JUMP_IF_AT_LEAST, X32, 0, 1));
        program.push(fail(libc::ENOSYS));
    }
    program.extend(search(&ranges(machine, capabilities, watch, Base::Profile)));
    program
}

/// The numbers of a machine, sorted, from 0 to the end of all numbers.
fn ranges(machine: &Machine, capabilities: Capabilities, watch: Watch, base: Base) -> Vec<Range> {
    let column = machine.column as usize;
    let mut calls: Vec<(u32, Verdict)> = ALLOWED
        .iter()
        .map(|(_, numbers)| (numbers[column], Verdict::Allow))
        .filter(|(number, _)| *number != NO)
        .collect();
    let granted = granted::calls(capabilities, machine.column);
    calls.extend(granted.into_iter().map(|number| (number, Verdict::Allow)));
    let (clone, clone3) = match granted::makes_namespaces(capabilities) {
        true => (Verdict::Allow, Verdict::Allow),
        false => (Verdict::Clone, Verdict::Missing),
    };
    let socket = match watch {
        Watch::Nothing | Watch::Paths | Watch::Owners { sockets: false } => Verdict::Socket,
        Watch::Sockets | Watch::Owners { sockets: true } => Verdict::WatchedSocket,
    };
    calls.extend([
        (machine.clone, clone),
        (machine.clone3, clone3),
        (machine.personality, Verdict::Personality),
        (machine.socket, socket),
    ]);
    if let (Some(socketcall), Watch::Sockets | Watch::Owners { sockets: true }) =
        (machine.socketcall, watch)
    {
        calls.retain(|(number, _)| *number != socketcall);
        calls.push((socketcall, Verdict::Ask));
    }
    let asked: Vec<(u32, Verdict)> = match watch {
        Watch::Nothing | Watch::Sockets => Vec::new(),
        Watch::Paths => {
            let paths = asked::numbers(machine).into_iter().map(|it| (it, Verdict::Ask));
            // There the processes of others have numbers, too, and neither Landlock nor capabilities keep their limits: the
            // processor time that this process may have, and whether it leaves a core.
            let limits = number_of("prlimit64", machine.column).map(|it| (it, Verdict::OwnLimits));
            paths.chain(limits).collect()
        }
        Watch::Owners { .. } => {
            let always = owned::numbers(machine).into_iter().map(|it| (it, Verdict::Ask));
            let opening = owned::opening(machine).into_iter();
            let opening = opening.map(|(it, place)| (it, Verdict::AskIfMaking(place)));
            let single = owned::single(machine).into_iter();
            let single = single.map(|(it, place, value)| (it, Verdict::AskIfEqual(place, value)));
            always.chain(opening).chain(single).collect()
        }
    };
    calls.retain(|(number, _)| asked.iter().all(|(it, _)| it != number));
    calls.extend(asked);
    if base == Base::Everything {
        calls.retain(|(_, verdict)| !matches!(verdict, Verdict::Clone | Verdict::Missing));
        calls.retain(|(_, verdict)| !matches!(verdict, Verdict::Personality | Verdict::Socket));
        for (_, verdict) in calls.iter_mut().filter(|(_, it)| *it == Verdict::WatchedSocket) {
            *verdict = Verdict::OnlyWatchedSocket;
        }
    }
    calls.sort_unstable_by_key(|(number, _)| *number);

    let rest = if base == Base::Profile { Verdict::Refuse } else { Verdict::Allow };
    let mut ranges: Vec<Range> = Vec::new();
    let mut add = |first, verdict| match ranges.last() {
        Some(last) if last.verdict == verdict => {}
        _ => ranges.push(Range { first, verdict }),
    };
    let mut next = 0;
    for (number, verdict) in calls {
        if number > next {
            add(next, rest);
        }
        add(number, verdict);
        next = number + 1;
    }
    add(next, rest);
    ranges
}

/// A tree of comparisons with the verdicts at its leaves. The accumulator holds the number.
fn search(ranges: &[Range]) -> Vec<Instruction> {
    if let [only] = ranges {
        return leaf(only.verdict);
    }
    let (low, high) = ranges.split_at(ranges.len() / 2);
    let (low_part, high_part) = (search(low), search(high));
    let middle = high.first().map_or(0, |range| range.first);
    let mut program = match u8::try_from(low_part.len()) {
        Ok(skip) => vec![when(JUMP_IF_AT_LEAST, middle, skip, 0)],
        // Too far for a conditional jump.
        Err(_) => vec![when(JUMP_IF_AT_LEAST, middle, 0, 1), jump(low_part.len() as u32)],
    };
    program.extend(low_part);
    program.extend(high_part);
    program
}

fn leaf(verdict: Verdict) -> Vec<Instruction> {
    match verdict {
        Verdict::Allow => vec![allow()],
        Verdict::Refuse => vec![refuse()],
        Verdict::Missing => vec![fail(libc::ENOSYS)],
        Verdict::Clone => vec![
            load(FIRST_ARGUMENT),
            when(JUMP_IF_ANY_BIT, NEW_NAMESPACES, 0, 1),
            refuse(),
            allow(),
        ],
        Verdict::Socket => one_of(FAMILIES, refuse(), &[allow()]),
        Verdict::WatchedSocket => {
            one_of(FAMILIES, refuse(), &[when(JUMP_IF_EQUAL, AF_UNIX, 0, 1), allow(), ask()])
        }
        Verdict::OnlyWatchedSocket => {
            vec![load(FIRST_ARGUMENT), when(JUMP_IF_EQUAL, AF_UNIX, 0, 1), allow(), ask()]
        }
        Verdict::Personality => one_of(PERSONALITIES, allow(), &[refuse()]),
        Verdict::OwnLimits => vec![
            load(FIRST_ARGUMENT),
            when(JUMP_IF_EQUAL, 0, 5, 0),
            // Both halves of the address of the new limits: there is none if they are only asked for.
            load(FIRST_ARGUMENT + 2 * ARGUMENT),
            when(JUMP_IF_EQUAL, 0, 0, 2),
            load(FIRST_ARGUMENT + 2 * ARGUMENT + HALF),
            when(JUMP_IF_EQUAL, 0, 1, 0),
            refuse(),
            allow(),
        ],
        Verdict::Ask => vec![ask()],
        Verdict::AskIfEqual(place, value) => vec![
            load(FIRST_ARGUMENT + place * ARGUMENT),
            when(JUMP_IF_EQUAL, value, 0, 1),
            ask(),
            allow(),
        ],
        Verdict::AskIfMaking(place) => vec![
            load(FIRST_ARGUMENT + place * ARGUMENT),
            when(JUMP_IF_ANY_BIT, CREATE, 0, 1),
            ask(),
            allow(),
        ],
    }
}

/// One of two ends, depending on the first argument being among some values; it is still loaded in the second.
fn one_of(values: &[u32], if_so: Instruction, else_: &[Instruction]) -> Vec<Instruction> {
    let mut program = vec![load(FIRST_ARGUMENT)];
    let other = else_.len() as u8;
    for (value, behind) in values.iter().zip((0..values.len() as u8).rev()) {
        // Over the remaining comparisons and the other end.
        program.push(when(JUMP_IF_EQUAL, *value, behind + other, 0));
    }
    program.extend(else_);
    program.push(if_so);
    program
}

fn load(offset: u32) -> Instruction {
    Instruction { code: LOAD, jump_true: 0, jump_false: 0, operand: offset }
}

fn when(code: u16, operand: u32, jump_true: u8, jump_false: u8) -> Instruction {
    Instruction { code, jump_true, jump_false, operand }
}

fn jump(distance: u32) -> Instruction {
    Instruction { code: JUMP, jump_true: 0, jump_false: 0, operand: distance }
}

fn allow() -> Instruction {
    Instruction { code: RETURN, jump_true: 0, jump_false: 0, operand: ALLOW }
}

fn ask() -> Instruction {
    Instruction { code: RETURN, jump_true: 0, jump_false: 0, operand: ASK }
}

fn refuse() -> Instruction {
    fail(libc::EPERM)
}

fn fail(errno: i32) -> Instruction {
    Instruction { code: RETURN, jump_true: 0, jump_false: 0, operand: FAIL | errno as u32 }
}

#[cfg(test)]
mod tests;
