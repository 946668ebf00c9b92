//! The filter as the kernel would run it, on every number of every machine.

use super::*;

const ALLOWED_: u32 = ALLOW;
const REFUSED: u32 = FAIL | libc::EPERM as u32;
const MISSING: u32 = FAIL | libc::ENOSYS as u32;

/// Stands for an address whose low half is 0, and the high one is not.
const HIGH_ONLY: u32 = 0xdead_0000;

/// Runs the program on one call whose first argument is this, and the others 0.
fn run(program: &[Instruction], machine: u32, number: u32, argument: u32) -> u32 {
    run_with(program, machine, number, [argument, 0, 0, 0, 0, 0])
}

/// Runs the program on one call.
fn run_with(program: &[Instruction], machine: u32, number: u32, arguments: [u32; 6]) -> u32 {
    let mut accumulator = 0;
    let mut at = 0;
    loop {
        let it = program[at];
        at += 1;
        let branch = |yes: bool| usize::from(if yes { it.jump_true } else { it.jump_false });
        match it.code {
            LOAD => {
                accumulator = match it.operand {
                    NUMBER => number,
                    MACHINE => machine,
                    // The low half of each.
                    other if other >= FIRST_ARGUMENT && other.is_multiple_of(ARGUMENT) => {
                        match arguments[((other - FIRST_ARGUMENT) / ARGUMENT) as usize] {
                            HIGH_ONLY => 0,
                            argument => argument,
                        }
                    }
                    other if other >= FIRST_ARGUMENT && other.is_multiple_of(HALF) => {
                        let argument = arguments[((other - FIRST_ARGUMENT) / ARGUMENT) as usize];
                        u32::from(argument == HIGH_ONLY)
                    }
                    other => panic!("a load of {other}"),
                }
            }
            JUMP => at += it.operand as usize,
            JUMP_IF_EQUAL => at += branch(accumulator == it.operand),
            JUMP_IF_AT_LEAST => at += branch(accumulator >= it.operand),
            JUMP_IF_ANY_BIT => at += branch(accumulator & it.operand != 0),
            RETURN => return it.operand,
            other => panic!("an instruction {other}"),
        }
    }
}

fn whole(machine: &Machine) -> Vec<Instruction> {
    [vec![load(NUMBER)], search_with_x32(machine, Capabilities::DEFAULT, Watch::Nothing)].concat()
}

#[test]
fn exactly_the_table_is_allowed() {
    for machine in [&X86_64, &I386, &AARCH64, &ARM] {
        let program = whole(machine);
        let column = machine.column as usize;
        let special = [machine.clone, machine.clone3, machine.personality, machine.socket];
        for number in (0..1024).chain(0xf_0000..0xf_0010).chain([u32::MAX - 1]) {
            if special.contains(&number) {
                continue;
            }
            let listed = ALLOWED.iter().any(|(_, numbers)| numbers[column] == number);
            let x32 = machine.id == X86_64.id && number >= X32;
            let expected = match (listed, x32) {
                (true, _) => ALLOWED_,
                (false, true) => MISSING,
                (false, false) => REFUSED,
            };
            let verdict = run(&program, machine.id, number, 0);
            assert_eq!(verdict, expected, "{number} on {:?}", machine.column);
        }
    }
}

/// By name, whatever the table says: what has let processes out, or at what is not theirs.
#[test]
fn what_never_is_allowed() {
    let program = whole(&X86_64);
    for (name, number) in [
        ("add_key", libc::SYS_add_key),
        ("request_key", libc::SYS_request_key),
        ("keyctl", libc::SYS_keyctl),
        ("io_uring_setup", libc::SYS_io_uring_setup),
        ("io_uring_enter", libc::SYS_io_uring_enter),
        ("userfaultfd", libc::SYS_userfaultfd),
        ("bpf", libc::SYS_bpf),
        ("perf_event_open", libc::SYS_perf_event_open),
        ("open_by_handle_at", libc::SYS_open_by_handle_at),
        ("kexec_load", libc::SYS_kexec_load),
        ("init_module", libc::SYS_init_module),
        ("finit_module", libc::SYS_finit_module),
        ("delete_module", libc::SYS_delete_module),
        ("swapon", libc::SYS_swapon),
        ("swapoff", libc::SYS_swapoff),
        ("reboot", libc::SYS_reboot),
        ("settimeofday", libc::SYS_settimeofday),
        ("clock_settime", libc::SYS_clock_settime),
        ("sethostname", libc::SYS_sethostname),
        ("mount", libc::SYS_mount),
        ("umount2", libc::SYS_umount2),
        ("move_mount", libc::SYS_move_mount),
        ("mount_setattr", libc::SYS_mount_setattr),
        ("pivot_root", libc::SYS_pivot_root),
        ("unshare", libc::SYS_unshare),
        ("setns", libc::SYS_setns),
        ("quotactl", libc::SYS_quotactl),
        ("syslog", libc::SYS_syslog),
        ("iopl", libc::SYS_iopl),
        ("acct", libc::SYS_acct),
    ] {
        let number = u32::try_from(number).unwrap();
        assert_eq!(run(&program, X86_64.id, number, 0), REFUSED, "{name}");
        assert_ne!(run(&program, X86_64.id, number | X32, 0), ALLOWED_, "{name}");
    }
}

#[test]
fn arguments_decide() {
    for machine in [&X86_64, &I386, &AARCH64, &ARM] {
        let program = whole(machine);
        let check = |number, argument, expected| {
            let verdict = run(&program, machine.id, number, argument);
            assert_eq!(verdict, expected, "{number}({argument:#x}) on {:?}", machine.column);
        };
        // fork's flags, and those of pthread_create.
        check(machine.clone, 0x0120_0011, ALLOWED_);
        check(machine.clone, 0x003d_0f00, ALLOWED_);
        for namespace in [
            libc::CLONE_NEWNS,
            libc::CLONE_NEWCGROUP,
            libc::CLONE_NEWUTS,
            libc::CLONE_NEWIPC,
            libc::CLONE_NEWUSER,
            libc::CLONE_NEWPID,
            libc::CLONE_NEWNET,
        ] {
            check(machine.clone, namespace as u32 | 17, REFUSED);
        }
        check(machine.clone3, 0, MISSING);
        for family in 0..64 {
            let refused = family == libc::AF_ALG as u32 || family == libc::AF_VSOCK as u32;
            check(machine.socket, family, if refused { REFUSED } else { ALLOWED_ });
        }
        for personality in [0, 8, 0x2_0000, 0x2_0008, u32::MAX] {
            check(machine.personality, personality, ALLOWED_);
        }
        // ADDR_NO_RANDOMIZE, and something else altogether.
        check(machine.personality, 0x0004_0000, REFUSED);
        check(machine.personality, 1, REFUSED);
    }
}

#[test]
fn both_numberings_are_told_apart_and_others_refused() {
    let program = program(Capabilities::DEFAULT, Watch::Nothing);
    let (native, small) = match cfg!(target_arch = "aarch64") {
        true => (AARCH64, ARM),
        false => (X86_64, I386),
    };
    let number = |name: &str, machine: &Machine| {
        let row = ALLOWED.iter().find(|(it, _)| *it == name).unwrap();
        row.1[machine.column as usize]
    };
    for machine in [&native, &small] {
        assert_eq!(run(&program, machine.id, number("read", machine), 0), ALLOWED_);
        assert_eq!(run(&program, machine.id, number("execve", machine), 0), ALLOWED_);
    }
    // mount(2) is 165 on x86-64 and 21 on i386, where it is access(2) on x86-64.
    if native.id == X86_64.id {
        assert_eq!(run(&program, native.id, 165, 0), REFUSED);
        assert_eq!(run(&program, small.id, 21, 0), REFUSED);
        assert_eq!(run(&program, native.id, 21, 0), ALLOWED_);
        assert_eq!(run(&program, native.id, X32 | 1, 0), MISSING);
    }
    // AUDIT_ARCH_S390X.
    assert_eq!(run(&program, 0x8000_0016, 1, 0), REFUSED);
}

#[test]
fn without_a_network_there_are_local_sockets() {
    let program = without_network();
    let no_family = FAIL | libc::EAFNOSUPPORT as u32;
    let (native, small) = native_and_small();
    for machine in [&native, &small] {
        let check = |number, argument, expected| {
            assert_eq!(run(&program, machine.id, number, argument), expected, "{number}");
        };
        check(machine.clone, 2, ALLOWED_);
        check(machine.socket, AF_UNIX, ALLOWED_);
        for family in (0..64).filter(|family| *family != AF_UNIX) {
            check(machine.socket, family, no_family);
        }
        if let Some(socketcall) = machine.socketcall {
            check(socketcall, 1, MISSING);
        }
    }
}

/// The kernel refuses longer ones.
#[test]
fn it_is_short_enough() {
    for capabilities in [Capabilities::NONE, Capabilities::DEFAULT, Capabilities::ALL] {
        for watch in [Watch::Sockets, Watch::Paths, Watch::Owners { sockets: true }] {
            let length = program(capabilities, watch).len();
            assert!(length <= 4096, "{length} with {watch:?}");
        }
    }
}

#[test]
fn a_capability_allows_its_calls_and_no_others() {
    let admin = Capabilities::named("CAP_SYS_ADMIN").unwrap();
    let time = Capabilities::named("CAP_SYS_TIME").unwrap();
    for machine in [&X86_64, &I386, &AARCH64, &ARM] {
        let verdict = |capabilities: Capabilities, number, argument| {
            let program = search_with_x32(machine, capabilities, Watch::Nothing);
            let program = [vec![load(NUMBER)], program].concat();
            run(&program, machine.id, number, argument)
        };
        let of = |capabilities| granted::calls(capabilities, machine.column);
        assert_eq!(of(Capabilities::DEFAULT), [0; 0]);
        for number in of(admin) {
            assert_eq!(verdict(admin, number, 0), ALLOWED_, "{number}");
            assert_eq!(verdict(Capabilities::DEFAULT, number, 0), REFUSED, "{number}");
            if !of(time).contains(&number) {
                assert_eq!(verdict(time, number, 0), REFUSED, "{number}");
            }
        }
        assert_eq!(verdict(admin, machine.clone, NEW_NAMESPACES), ALLOWED_);
        assert_eq!(verdict(time, machine.clone, NEW_NAMESPACES), REFUSED);
        assert_eq!(verdict(admin, machine.clone3, 0), ALLOWED_);
        assert_eq!(verdict(time, machine.clone3, 0), MISSING);
        // What no capability gives.
        assert_eq!(verdict(Capabilities::ALL, machine.socket, FAMILIES[0]), REFUSED);
    }
}

#[test]
fn numbers_are_those_of_this_machine() {
    let column = match cfg!(target_arch = "aarch64") {
        true => Column::Aarch64,
        false => Column::X86_64,
    } as usize;
    for (name, number) in [
        ("openat", libc::SYS_openat),
        ("openat2", libc::SYS_openat2),
        ("chroot", libc::SYS_chroot),
        ("ptrace", libc::SYS_ptrace),
        ("mknodat", libc::SYS_mknodat),
        ("statx", libc::SYS_statx),
        ("futex", libc::SYS_futex),
        ("landlock_restrict_self", libc::SYS_landlock_restrict_self),
    ] {
        let row = ALLOWED.iter().find(|(it, _)| *it == name).unwrap();
        assert_eq!(libc::c_long::from(row.1[column]), number, "{name}");
    }
}

#[test]
fn what_must_never_be_allowed_is_not_listed() {
    for name in [
        "add_key",
        "bpf",
        "fsopen",
        "init_module",
        "io_uring_setup",
        "kexec_load",
        "keyctl",
        "mount",
        "move_mount",
        "open_by_handle_at",
        "open_tree",
        "perf_event_open",
        "pivot_root",
        "reboot",
        "request_key",
        "setns",
        "swapon",
        "unshare",
        "userfaultfd",
    ] {
        assert!(ALLOWED.iter().all(|(it, _)| *it != name), "{name}");
    }
}

#[test]
fn the_supervisor_is_asked_about_sockets_that_may_need_a_network() {
    for machine in [&X86_64, &I386, &AARCH64, &ARM] {
        let program = search_with_x32(machine, Capabilities::DEFAULT, Watch::Sockets);
        let watched = [vec![load(NUMBER)], program].concat();
        let free = whole(machine);
        for family in 0..64 {
            let verdict = run(&watched, machine.id, machine.socket, family);
            let expected = match family {
                AF_UNIX => ALLOWED_,
                family if FAMILIES.contains(&family) => REFUSED,
                _ => ASK,
            };
            assert_eq!(verdict, expected, "{family} on {:?}", machine.column);
        }
        // Nothing else is different.
        for number in (0..1024).filter(|number| *number != machine.socket) {
            let verdict = run(&watched, machine.id, number, 0);
            match machine.socketcall == Some(number) {
                true => assert_eq!(verdict, ASK),
                false => assert_eq!(verdict, run(&free, machine.id, number, 0), "{number}"),
            }
        }
    }
}

fn native_and_small() -> (Machine, Machine) {
    match cfg!(target_arch = "aarch64") {
        true => (AARCH64, ARM),
        false => (X86_64, I386),
    }
}

/// The calls about owners by this machine's own numbers, whatever the tables say.
fn about_owners() -> Vec<(&'static str, libc::c_long)> {
    let mut calls = vec![
        ("chroot", libc::SYS_chroot),
        ("execve", libc::SYS_execve),
        ("fchown", libc::SYS_fchown),
        ("fchownat", libc::SYS_fchownat),
        ("fstat", libc::SYS_fstat),
        ("getegid", libc::SYS_getegid),
        ("geteuid", libc::SYS_geteuid),
        ("getgid", libc::SYS_getgid),
        ("getgroups", libc::SYS_getgroups),
        ("getresgid", libc::SYS_getresgid),
        ("getresuid", libc::SYS_getresuid),
        ("getuid", libc::SYS_getuid),
        ("mkdirat", libc::SYS_mkdirat),
        ("mknodat", libc::SYS_mknodat),
        ("newfstatat", libc::SYS_newfstatat),
        ("setfsgid", libc::SYS_setfsgid),
        ("setfsuid", libc::SYS_setfsuid),
        ("setgid", libc::SYS_setgid),
        ("setgroups", libc::SYS_setgroups),
        ("setregid", libc::SYS_setregid),
        ("setresgid", libc::SYS_setresgid),
        ("setresuid", libc::SYS_setresuid),
        ("setreuid", libc::SYS_setreuid),
        ("setuid", libc::SYS_setuid),
        ("statx", libc::SYS_statx),
        ("symlinkat", libc::SYS_symlinkat),
    ];
    #[cfg(target_arch = "x86_64")]
    calls.extend([
        ("chown", libc::SYS_chown),
        ("creat", libc::SYS_creat),
        ("lchown", libc::SYS_lchown),
        ("lstat", libc::SYS_lstat),
        ("mkdir", libc::SYS_mkdir),
        ("mknod", libc::SYS_mknod),
        ("stat", libc::SYS_stat),
        ("symlink", libc::SYS_symlink),
    ]);
    calls
}

/// Those that are asked about for what an argument says: the arguments for which they are, and for which they are not.
fn about_owners_sometimes() -> Vec<(&'static str, libc::c_long, [u32; 6], [u32; 6])> {
    let making = (libc::O_CREAT | libc::O_WRONLY) as u32;
    let reading = (libc::O_RDONLY | libc::O_CLOEXEC) as u32;
    // `RLIMIT_LOCKS` and `RLIMIT_NOFILE`.
    let (locks, files) = (10, 7);
    let (keep, name) = (libc::PR_SET_KEEPCAPS as u32, libc::PR_SET_NAME as u32);
    // At the places beside it the value says nothing.
    let second = |value, other| [other, value, other, 0, 0, 0];
    let third = |value, other| [other, other, value, other, 0, 0];
    let mut calls = vec![
        ("openat", libc::SYS_openat, third(making, reading), third(reading, making)),
        ("prctl", libc::SYS_prctl, [keep, name, 0, 0, 0, 0], [name, keep, 0, 0, 0, 0]),
        ("prlimit64", libc::SYS_prlimit64, second(locks, files), second(files, locks)),
        ("getrlimit", libc::SYS_getrlimit, [locks, files, 0, 0, 0, 0], [files, locks, 0, 0, 0, 0]),
        ("setrlimit", libc::SYS_setrlimit, [locks, files, 0, 0, 0, 0], [files, locks, 0, 0, 0, 0]),
    ];
    #[cfg(target_arch = "x86_64")]
    calls.push(("open", libc::SYS_open, second(making, reading), second(reading, making)));
    calls
}

#[test]
fn the_supervisor_is_asked_about_owners() {
    let (native, _) = native_and_small();
    for sockets in [false, true] {
        for capabilities in [Capabilities::NONE, Capabilities::DEFAULT, Capabilities::ALL] {
            let filtered = program(capabilities, Watch::Owners { sockets });
            for program in [filtered, owners_only(sockets).into()] {
                let verdict = |number: libc::c_long, arguments| {
                    run_with(&program, native.id, number as u32, arguments)
                };
                for (name, number) in about_owners() {
                    for arguments in [[0; 6], [u32::MAX; 6]] {
                        assert_eq!(verdict(number, arguments), ASK, "{name}");
                    }
                }
                for (name, number, asked, not_asked) in about_owners_sometimes() {
                    assert_eq!(verdict(number, asked), ASK, "{name}");
                    assert_eq!(verdict(number, not_asked), ALLOWED_, "{name}");
                }
            }
        }
    }
}

/// Every name of the tables has a number and somebody who answers, and the two lists of the test above are all of them.
#[test]
fn what_is_asked_about_owners_is_known_by_name() {
    let (machine, names) = owned_names();
    assert_eq!(machine, native_and_small().0.id);
    let mut expected: Vec<(u32, &str)> =
        about_owners().into_iter().map(|(name, number)| (number as u32, name)).collect();
    let sometimes = about_owners_sometimes().into_iter();
    expected.extend(sometimes.map(|(name, number, ..)| (number as u32, name)));
    expected.push((libc::SYS_socket as u32, "socket"));
    expected.sort_unstable();
    assert_eq!(names, expected);
}

#[test]
fn nothing_else_is_different_where_the_supervisor_is_asked_about_owners() {
    let (native, small) = native_and_small();
    let asked: Vec<u32> = owned_names().1.into_iter().map(|(number, _)| number).collect();
    for sockets in [false, true] {
        let watched = program(Capabilities::DEFAULT, Watch::Owners { sockets });
        let other = if sockets { Watch::Sockets } else { Watch::Nothing };
        let free = program(Capabilities::DEFAULT, other);
        for argument in [0, AF_UNIX, 2, FAMILIES[0], NEW_NAMESPACES, u32::MAX] {
            // Programs of the 32-bit variant are not asked about, and do no more than otherwise.
            for number in 0..1024 {
                let verdict = |program| run(program, small.id, number, argument);
                assert_eq!(verdict(&watched), verdict(&free), "{number}({argument:#x})");
            }
            let others = (0..1024).chain([X32 | 1, u32::MAX - 1]);
            // A socket is asked about for the network only, which is the same without owners.
            let others = others.filter(|it| *it == native.socket || !asked.contains(it));
            for number in others {
                let verdict = |program| run(program, native.id, number, argument);
                assert_eq!(verdict(&watched), verdict(&free), "{number}({argument:#x})");
            }
        }
        // AUDIT_ARCH_S390X.
        assert_eq!(run(&watched, 0x8000_0016, libc::SYS_chown as u32, 0), REFUSED);
    }
}

#[test]
fn a_command_that_may_do_everything_is_asked_about_owners_and_refused_nothing() {
    let (native, small) = native_and_small();
    let asked: Vec<u32> = owned_names().1.into_iter().map(|(number, _)| number).collect();
    for sockets in [false, true] {
        let program = owners_only(sockets);
        for argument in [0, AF_UNIX, 2, FAMILIES[0], NEW_NAMESPACES, u32::MAX] {
            for number in (0..1024).filter(|it| !asked.contains(it)).chain([u32::MAX - 1]) {
                let verdict = run(&program, native.id, number, argument);
                assert_eq!(verdict, ALLOWED_, "{number}({argument:#x})");
            }
            for number in 0..1024 {
                assert_eq!(run(&program, small.id, number, argument), ALLOWED_, "{number}");
            }
            let expected = if sockets && argument != AF_UNIX { ASK } else { ALLOWED_ };
            let verdict = run(&program, native.id, native.socket, argument);
            assert_eq!(verdict, expected, "socket({argument})");
        }
    }
}

#[test]
fn limits_of_other_processes_are_asked_for_at_most() {
    let (native, small) = native_and_small();
    let (own, other) = (0, 7);
    // There is an address if one half of it is not zero.
    let (nothing, low, high) = (0, 0x1000, HIGH_ONLY);
    for machine in [&native, &small] {
        let number = number_of("prlimit64", machine.column).unwrap();
        let verdict = |watch, process, new| {
            let program = program(Capabilities::DEFAULT, watch);
            run_with(&program, machine.id, number, [process, 7, new, 0x2000, 0, 0])
        };
        for (process, new, expected) in [
            (own, low, ALLOWED_),
            (own, high, ALLOWED_),
            (other, nothing, ALLOWED_),
            (other, low, REFUSED),
            (other, high, REFUSED),
            (u32::MAX, low, REFUSED),
        ] {
            assert_eq!(verdict(Watch::Paths, process, new), expected, "{process} {new:#x}");
            // Where there are namespaces there are no numbers of others.
            assert_eq!(verdict(Watch::Nothing, process, new), ALLOWED_, "{process} {new:#x}");
        }
    }
}
