//! The system calls that `rustix` does not offer or offers as unsafe, one function each, with safe
//! signatures. The only unsafe code of the project; what the calls are good for is told elsewhere.
#![allow(unsafe_code)]

use std::ffi::CStr;
use std::ffi::CString;
use std::io;
use std::os::fd::AsFd;
use std::os::fd::AsRawFd;
use std::os::fd::FromRawFd;
use std::os::fd::OwnedFd;
use std::ptr;
use std::sync::OnceLock;

use rustix::mount::MountAttrFlags;
use rustix::process::Pid;
use rustix::thread::UnshareFlags;

/// What [`mount_setattr`] changes. Laid out as the kernel's `struct mount_attr`.
#[repr(C)]
struct MountAttr {
    set: u64,
    clear: u64,
    propagation: u64,
    userns_fd: u64,
}

/// Whether a change of mount attributes covers the mounts below, too.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Depth {
    One,
    Recursive,
}

/// One instruction of a system call filter. Laid out as the kernel's `struct sock_filter`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct Instruction {
    pub(crate) code: u16,
    pub(crate) jump_true: u8,
    pub(crate) jump_false: u8,
    pub(crate) operand: u32,
}

/// How a signal came, as far as [`wait_for_signal`] tells.
pub(crate) struct Arrival {
    pub(crate) signal: i32,
    /// Sent by a process, not by the kernel on behalf of the terminal.
    pub(crate) from_process: bool,
}

/// Turns the -1 of libc into an error.
fn checked(result: libc::c_long) -> io::Result<libc::c_long> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// mount_setattr(2): adds attributes to a mount and makes it private.
pub(crate) fn mount_setattr(mount: impl AsFd, depth: Depth, set: MountAttrFlags) -> io::Result<()> {
    let attr = MountAttr {
        set: u64::from(set.bits()),
        clear: 0,
        propagation: libc::MS_PRIVATE,
        userns_fd: 0,
    };
    let recursive = if depth == Depth::Recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the path is a C string, and `attr` has the size that is passed and outlives the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_fd().as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH | recursive,
            &raw const attr,
            size_of::<MountAttr>(),
        )
    };
    checked(result).map(drop)
}

/// unshare(2), for everything but the table of descriptors.
pub(crate) fn unshare(flags: UnshareFlags) -> io::Result<()> {
    // SAFETY: no caller passes FILES, the only flag that can pull descriptors from under others.
    unsafe { rustix::thread::unshare_unsafe(flags.difference(UnshareFlags::FILES)) }?;
    Ok(())
}

/// The proof that this process has one thread, as it had when it was checked: nothing in between may
/// start one.
pub(crate) struct Alone(());

impl Alone {
    /// Checks it; by `/proc`, so before that becomes another namespace's.
    pub(crate) fn check() -> io::Result<Self> {
        // The link count of `task` is two more than its threads.
        match rustix::fs::stat("/proc/self/task")?.st_nlink {
            3 => Ok(Self(())),
            _ => Err(io::Error::from(io::ErrorKind::Deadlock)),
        }
    }
}

/// clone(2) as fork(2) with new namespaces, or other flags of it: `None` in the child. The caller must be
/// single-threaded, or the child may find locks held by threads it does not have.
pub(crate) fn fork_into(flags: i32, _alone: &Alone) -> io::Result<Option<Pid>> {
    let flags = libc::c_long::from(flags | libc::SIGCHLD);
    // SAFETY: without CLONE_VM and with no stack the child gets a copy of this memory, and no other
    // thread exists which could hold a lock in it. The remaining arguments are unused without the
    // flags that ask for them; their order differs between machines, but all are zero.
    let result = unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) };
    let pid = i32::try_from(checked(result)?).map_err(io::Error::other)?;
    Ok(Pid::from_raw(pid))
}

/// clone(2) as fork(2), but the child's parent is this process's: `None` in the child. The caller must be
/// single-threaded, as for [`fork_into`].
pub(crate) fn fork_sibling(alone: &Alone) -> io::Result<Option<Pid>> {
    fork_into(libc::CLONE_PARENT, alone)
}

/// kill(2) with any signal, the real-time ones too.
pub(crate) fn kill(process: Pid, signal: i32) -> io::Result<()> {
    // SAFETY: always safe; a wrong number is refused.
    let result = unsafe { libc::kill(process.as_raw_nonzero().get(), signal) };
    checked(result.into()).map(drop)
}

/// SO_PEERCRED of unix(7): who listens at the other end of a socket; `None` if it is in another process id namespace. With `rustix`
/// such a process has an id that its type does not allow.
pub(crate) fn peer(socket: impl AsFd) -> io::Result<Option<Pid>> {
    let mut peer = libc::ucred { pid: 0, uid: 0, gid: 0 };
    let mut length = u32::try_from(size_of::<libc::ucred>()).map_err(io::Error::other)?;
    // SAFETY: `peer` and `length` outlive the call, and `length` is the size of `peer`.
    let result = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut peer).cast(),
            &raw mut length,
        )
    };
    checked(result.into())?;
    Ok(Pid::from_raw(peer.pid))
}

/// close_range(2) from a descriptor on.
pub(crate) fn close_from(first: u32) -> io::Result<()> {
    // SAFETY: called only right before execve or _exit, when nothing owns those descriptors any
    // more that could use or close them again; at the beginning of `main`, when nothing does yet; or in a copy of a process
    // that does not go back to who owned them.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, 0) };
    checked(result).map(drop)
}

/// dup3(2) to descriptor 3, which is closed if it is open.
pub(crate) fn duplicate_to_3(descriptor: &OwnedFd) -> io::Result<OwnedFd> {
    // SAFETY: called only right before `close_from`, when nothing uses what descriptor 3 was; the
    // result is a new descriptor that nobody else owns.
    unsafe {
        checked(libc::dup3(descriptor.as_raw_fd(), 3, libc::O_CLOEXEC).into())?;
        Ok(OwnedFd::from_raw_fd(3))
    }
}

/// execve(2). Returns only when it failed.
pub(crate) fn execve(program: &CStr, argv: &[CString], env: &[CString]) -> io::Error {
    let argv = null_terminated(argv);
    let env = null_terminated(env);
    // SAFETY: all three are C strings, or null-terminated arrays of C strings, alive during the call.
    unsafe { libc::execve(program.as_ptr(), argv.as_ptr(), env.as_ptr()) };
    io::Error::last_os_error()
}

/// The pointers to some strings and a null pointer.
fn null_terminated(strings: &[CString]) -> Vec<*const libc::c_char> {
    strings.iter().map(|string| string.as_ptr()).chain([ptr::null()]).collect()
}

/// _exit(2): leaves without running anything that was registered before a fork.
pub(crate) fn exit_now(status: i32) -> ! {
    // SAFETY: always safe; it does not return.
    unsafe { libc::_exit(status) }
}

/// seccomp(2): installs a filter for this thread. Needs CAP_SYS_ADMIN, as no_new_privs is not set.
pub(crate) fn install_filter(program: &[Instruction]) -> io::Result<()> {
    seccomp_filter(program, 0).map(drop)
}

/// seccomp(2): the same for a filter that leaves some calls to whoever has the returned descriptor, which is closed on exec.
pub(crate) fn install_asking_filter(program: &[Instruction]) -> io::Result<OwnedFd> {
    let listener = seccomp_filter(program, libc::SECCOMP_FILTER_FLAG_NEW_LISTENER)?;
    let listener = i32::try_from(listener).map_err(io::Error::other)?;
    // SAFETY: with this flag the kernel returns a new descriptor, which nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(listener) })
}

fn seccomp_filter(program: &[Instruction], flags: libc::c_ulong) -> io::Result<libc::c_long> {
    /// Laid out as the kernel's `struct sock_fprog`.
    #[repr(C)]
    struct Program {
        length: u16,
        instructions: *const Instruction,
    }
    let length = u16::try_from(program.len()).map_err(io::Error::other)?;
    let program = Program { length, instructions: program.as_ptr() };
    // SAFETY: `program` points to `length` instructions of the kernel's layout, alive during the call.
    let result = unsafe {
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const program)
    };
    checked(result)
}

/// A call that waits for an answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AskingCall {
    pub(crate) id: u64,
    /// Its thread, as this process sees it.
    pub(crate) process: i32,
    /// `AUDIT_ARCH_…` of `linux/audit.h`.
    pub(crate) machine: u32,
    pub(crate) number: u32,
    pub(crate) arguments: [u64; 6],
}

/// ioctl(2) SECCOMP_IOCTL_NOTIF_RECV: the next call that waits for an answer. Blocks if there is none; fails with ENOENT if
/// its process is gone.
pub(crate) fn next_asking_call(listener: &OwnedFd) -> io::Result<AskingCall> {
    /// `_IOWR('!', 0, struct seccomp_notif)`.
    const RECEIVE: u32 = 0xc050_2100;
    // As large as the kernel's structure: its number, process and flags, number and machine of the call, where it was made,
    // and its arguments. All of our machines are little-endian. It has to be all zero.
    let mut it = [0_u64; 10];
    // SAFETY: the kernel writes the 80 bytes of its structure, which are there and are plain numbers.
    let result = unsafe { libc::ioctl(listener.as_raw_fd(), RECEIVE as _, it.as_mut_ptr()) };
    checked(result.into())?;
    let [id, process, call, _, arguments @ ..] = it;
    Ok(AskingCall {
        id,
        process: process as i32,
        machine: (call >> 32) as u32,
        number: call as u32,
        arguments,
    })
}

/// ioctl(2) SECCOMP_IOCTL_NOTIF_ID_VALID: whether a call still waits, so that its process is the one that has made it.
pub(crate) fn is_asking(listener: &OwnedFd, call: u64) -> bool {
    /// `_IOW('!', 2, __u64)`.
    const IS_VALID: u32 = 0x4008_2102;
    // SAFETY: the kernel reads a number, which is alive during the call.
    unsafe { libc::ioctl(listener.as_raw_fd(), IS_VALID as _, &raw const call) == 0 }
}

/// ioctl(2) SECCOMP_IOCTL_NOTIF_SEND: lets a call go on as if nobody had been asked. Fails with ENOENT if its process is gone.
pub(crate) fn let_call_go_on(listener: &OwnedFd, call: u64) -> io::Result<()> {
    /// `SECCOMP_USER_NOTIF_FLAG_CONTINUE`.
    const CONTINUE: u32 = 1;
    send_answer(listener, call, 0, 0, CONTINUE)
}

/// The same: returns from a call with this value, or with this error if it is not 0.
pub(crate) fn answer_call(listener: &OwnedFd, call: u64, value: i64, error: i32) -> io::Result<()> {
    send_answer(listener, call, value, -error, 0)
}

fn send_answer(
    listener: &OwnedFd,
    call: u64,
    value: i64,
    error: i32,
    flags: u32,
) -> io::Result<()> {
    /// `_IOWR('!', 1, struct seccomp_notif_resp)`.
    const ANSWER: u32 = 0xc018_2101;
    /// Laid out as the kernel's `struct seccomp_notif_resp`.
    #[repr(C)]
    struct Answer {
        call: u64,
        value: i64,
        error: i32,
        flags: u32,
    }
    let answer = Answer { call, value, error, flags };
    // SAFETY: the kernel reads its structure, which is alive during the call.
    let result = unsafe { libc::ioctl(listener.as_raw_fd(), ANSWER as _, &raw const answer) };
    checked(result.into()).map(drop)
}

/// ioctl(2) SECCOMP_IOCTL_NOTIF_ADDFD: gives the process of a call a descriptor, and returns from the call with its number;
/// with the error if it can have no more of them. Fails with ENOENT if it is gone.
pub(crate) fn answer_with_descriptor(
    listener: &OwnedFd,
    call: u64,
    descriptor: &OwnedFd,
    close_on_exec: bool,
) -> io::Result<()> {
    /// `_IOW('!', 3, struct seccomp_notif_addfd)`.
    const ADD: u32 = 0x4018_2103;
    /// Laid out as the kernel's `struct seccomp_notif_addfd`.
    #[repr(C)]
    struct Added {
        call: u64,
        flags: u32,
        descriptor: u32,
        new: u32,
        new_flags: u32,
    }
    /// `SECCOMP_ADDFD_FLAG_SEND`.
    const SEND: u32 = 2;
    let number = u32::try_from(descriptor.as_raw_fd()).map_err(io::Error::other)?;
    let new_flags = if close_on_exec { libc::O_CLOEXEC as u32 } else { 0 };
    let added = Added { call, flags: SEND, descriptor: number, new: 0, new_flags };
    // SAFETY: the kernel reads its structure, which is alive during the call; the descriptor is open.
    let result = unsafe { libc::ioctl(listener.as_raw_fd(), ADD as _, &raw const added) };
    match checked(result.into()) {
        Ok(_) => Ok(()),
        // It still waits then, and would for ever.
        Err(error) => answer_call(listener, call, 0, error.raw_os_error().unwrap_or(libc::EMFILE)),
    }
}

/// ioctl(2) SECCOMP_IOCTL_NOTIF_SET_FLAGS: lets a process that asks give its processor to the one that answers. Fails before
/// Linux 6.6.
pub(crate) fn answer_on_the_spot(listener: &OwnedFd) -> io::Result<()> {
    /// `_IOW('!', 4, __u64)`.
    const SET_FLAGS: u32 = 0x4008_2104;
    /// `SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP`.
    const SYNC_WAKE_UP: libc::c_ulong = 1;
    // SAFETY: the flags are passed as a number.
    let result = unsafe { libc::ioctl(listener.as_raw_fd(), SET_FLAGS as _, SYNC_WAKE_UP) };
    checked(result.into()).map(drop)
}

/// process_vm_readv(2): reads the memory of another process; as many bytes as there are.
pub(crate) fn read_memory(process: i32, from: u64, to: &mut [u8]) -> io::Result<usize> {
    let here = libc::iovec { iov_base: to.as_mut_ptr().cast(), iov_len: to.len() };
    let there = libc::iovec { iov_base: from as *mut libc::c_void, iov_len: to.len() };
    // SAFETY: the kernel writes no more than the length of `to` into it; the other address is not of this process.
    let result = unsafe {
        let (here, there) = (&raw const here, &raw const there);
        libc::process_vm_readv(process, here, 1, there, 1, 0)
    };
    usize::try_from(checked(result as libc::c_long)?).map_err(io::Error::other)
}

/// process_vm_writev(2): writes into the memory of another process, all or an error.
pub(crate) fn write_memory(process: i32, to: u64, from: &[u8]) -> io::Result<()> {
    let here = libc::iovec { iov_base: from.as_ptr().cast_mut().cast(), iov_len: from.len() };
    let there = libc::iovec { iov_base: to as *mut libc::c_void, iov_len: from.len() };
    // SAFETY: the kernel reads `from`, which is alive; the other address is not of this process.
    let result = unsafe {
        let (here, there) = (&raw const here, &raw const there);
        libc::process_vm_writev(process, here, 1, there, 1, 0)
    };
    match usize::try_from(checked(result as libc::c_long)?) {
        Ok(length) if length == from.len() => Ok(()),
        _ => Err(io::Error::from_raw_os_error(libc::EFAULT)),
    }
}

/// prlimit(2) of a process's file locks, a limit that the kernel keeps, hands on to children, and makes no use of. Sets the
/// soft one if there is `new`; returns what it was.
pub(crate) fn lock_limit(process: i32, new: Option<u64>) -> io::Result<u64> {
    /// `RLIMIT_LOCKS`, which is the same number on all of our machines.
    const LOCKS: libc::c_int = 10;
    let mut old = libc::rlimit64 { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the kernel writes and reads its structures, which are alive during the calls.
    unsafe {
        let none = ptr::null::<libc::rlimit64>();
        checked(libc::syscall(libc::SYS_prlimit64, process, LOCKS, none, &raw mut old))?;
        if let Some(soft) = new {
            let new = libc::rlimit64 { rlim_cur: soft.min(old.rlim_max), rlim_max: old.rlim_max };
            let none = ptr::null_mut::<libc::rlimit64>();
            checked(libc::syscall(libc::SYS_prlimit64, process, LOCKS, &raw const new, none))?;
        }
    }
    Ok(old.rlim_cur)
}

/// fstat(2): the kernel's `struct stat`, which is 144 bytes or shorter.
pub(crate) fn stat_bytes(file: impl AsFd) -> io::Result<[u8; 144]> {
    let mut bytes = [0_u8; 144];
    let to = bytes.as_mut_ptr();
    // SAFETY: the kernel writes its structure, for which there is room, as it is on this machine.
    checked(unsafe { libc::syscall(libc::SYS_fstat, file.as_fd().as_raw_fd(), to) })?;
    Ok(bytes)
}

/// statx(2): the kernel's `struct statx`.
pub(crate) fn statx_bytes(file: impl AsFd, mask: u32) -> io::Result<[u8; 256]> {
    let mut bytes = [0_u8; 256];
    let (file, to) = (file.as_fd().as_raw_fd(), bytes.as_mut_ptr());
    // SAFETY: the path is a C string, and the kernel writes its 256 bytes, for which there is room.
    let result = unsafe {
        libc::syscall(libc::SYS_statx, file, c"".as_ptr(), libc::AT_EMPTY_PATH, mask, to)
    };
    checked(result)?;
    Ok(bytes)
}

/// rt_sigaction(2): default handling for every signal that is ignored; and sigprocmask(2): none blocked.
///
/// What has a handler gets its default by execve(2) anyway.
pub(crate) fn reset_signals() {
    for signal in ignored_signals() {
        let default = SignalAction::default();
        // SAFETY: an all-zero action is `SIG_DFL` with no flags and names no function.
        unsafe {
            let none = ptr::null_mut::<SignalAction>();
            libc::syscall(libc::SYS_rt_sigaction, *signal, &raw const default, none, SIGNAL_SET);
        }
    }
    block_signals(&[], libc::SIG_SETMASK);
}

/// The signals that this process ignores, asked for once: nothing here begins to ignore one later, and a copy of a process
/// ignores the same.
///
/// Not by libc, which keeps two real-time signals to itself that a caller may have ignored.
pub(crate) fn ignored_signals() -> &'static [i32] {
    static IGNORED: OnceLock<Vec<i32>> = OnceLock::new();
    let is_ignored = |signal: &i32| {
        let mut action = SignalAction::default();
        // SAFETY: the kernel writes its structure, for which there is room. It fails for no signal that there is.
        unsafe {
            let none = ptr::null::<SignalAction>();
            libc::syscall(libc::SYS_rt_sigaction, *signal, none, &raw mut action, SIGNAL_SET);
        }
        action.handler == libc::SIG_IGN
    };
    IGNORED.get_or_init(|| (1..=64).filter(is_ignored).collect())
}

/// Bytes in the kernel's set of signals.
const SIGNAL_SET: usize = 8;

/// Has room for the kernel's `struct sigaction`, which begins with the handler everywhere.
#[derive(Default)]
#[repr(C)]
struct SignalAction {
    handler: libc::sighandler_t,
    rest: [u64; 3],
}

/// sigprocmask(2), with `how` as it is there.
pub(crate) fn block_signals(signals: &[i32], how: i32) {
    let set = signal_set(signals);
    // SAFETY: `set` is initialised; the old mask is not asked for. It fails for a wrong `how` only.
    unsafe { libc::pthread_sigmask(how, &raw const set, ptr::null_mut()) };
}

/// sigwaitinfo(2): the next of these signals, which must be blocked.
pub(crate) fn wait_for_signal(signals: &[i32]) -> io::Result<Arrival> {
    let set = signal_set(signals);
    // SAFETY: an all-zero siginfo is a valid one, and `set` is initialised.
    let (result, info) = unsafe {
        let mut info: libc::siginfo_t = std::mem::zeroed();
        (libc::sigwaitinfo(&raw const set, &raw mut info), info)
    };
    checked(result.into())?;
    Ok(Arrival { signal: result, from_process: info.si_code <= 0 })
}

/// A set of signals as libc has it.
fn signal_set(signals: &[i32]) -> libc::sigset_t {
    // SAFETY: sigemptyset initialises the set; sigaddset refuses numbers that are no signals.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        for signal in signals {
            libc::sigaddset(&raw mut set, *signal);
        }
        set
    }
}

/// signal(2) and raise(3): ends this process by a signal, if its default is to end.
pub(crate) fn die_by(signal: i32) {
    // SAFETY: SIG_DFL is no function of ours; raise takes any number.
    unsafe {
        libc::signal(signal, libc::SIG_DFL);
        block_signals(&[signal], libc::SIG_UNBLOCK);
        libc::raise(signal);
    }
}

/// keyctl(2): leaves the caller's session keyring for a new one.
pub(crate) fn join_new_session_keyring() -> io::Result<()> {
    /// `KEYCTL_JOIN_SESSION_KEYRING` of `linux/keyctl.h`, which libc leaves out for some systems.
    const JOIN_SESSION_KEYRING: libc::c_long = 1;
    // SAFETY: a null name asks for an anonymous keyring.
    let result = unsafe {
        libc::syscall(libc::SYS_keyctl, JOIN_SESSION_KEYRING, ptr::null::<libc::c_char>())
    };
    checked(result).map(drop)
}

/// ioctl(2) SIOCSIFFLAGS: brings the loopback device of this network namespace up.
pub(crate) fn bring_loopback_up() -> io::Result<()> {
    let socket = rustix::net::socket_with(
        rustix::net::AddressFamily::INET,
        rustix::net::SocketType::DGRAM,
        rustix::net::SocketFlags::CLOEXEC,
        None,
    )?;
    // SAFETY: all zero is a valid request, and its union is written before the kernel reads it.
    let result = unsafe {
        let mut request: libc::ifreq = std::mem::zeroed();
        for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
            *to = libc::c_char::from_ne_bytes([*from]);
        }
        request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
        libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS as _, &raw const request)
    };
    checked(result.into()).map(drop)
}

/// getpwuid_r(3): the name of a user, if the system knows one.
pub(crate) fn user_name(uid: u32) -> Option<String> {
    // 16 KiB is what sysconf(_SC_GETPW_R_SIZE_MAX) suggests at most on Linux.
    let mut buffer = vec![0 as libc::c_char; 16 * 1024];
    let mut found = ptr::null_mut();
    // SAFETY: the entry is written before it is read; its strings lie in `buffer`, which outlives
    // their use; `found` is null when there is no such user.
    unsafe {
        let mut entry: libc::passwd = std::mem::zeroed();
        let (space, length) = (buffer.as_mut_ptr(), buffer.len());
        libc::getpwuid_r(uid, &raw mut entry, space, length, &raw mut found);
        if found.is_null() || entry.pw_name.is_null() {
            return None;
        }
        CStr::from_ptr(entry.pw_name).to_str().ok().map(str::to_owned)
    }
}

/// landlock_create_ruleset(2) asked for the version of its interface.
pub(crate) fn landlock_version() -> io::Result<u32> {
    /// `LANDLOCK_CREATE_RULESET_VERSION`.
    const VERSION: u32 = 1;
    let none = ptr::null::<u64>();
    // SAFETY: with this flag the kernel takes no structure.
    let result = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, none, 0, VERSION) };
    u32::try_from(checked(result)?).map_err(io::Error::other)
}

/// landlock_create_ruleset(2): forbids these rights to files and these ways to processes outside, once it is enforced.
pub(crate) fn landlock_ruleset(files: u64, scopes: u64) -> io::Result<OwnedFd> {
    // Laid out as the kernel's `struct landlock_ruleset_attr`: files, network, scopes. An older kernel has a shorter one, and
    // takes this if the rest is zero.
    let attributes = [files, 0, scopes];
    // SAFETY: the structure has the size that is passed, and is alive during the call.
    let result = unsafe {
        let size = size_of_val(&attributes);
        libc::syscall(libc::SYS_landlock_create_ruleset, attributes.as_ptr(), size, 0)
    };
    let ruleset = i32::try_from(checked(result)?).map_err(io::Error::other)?;
    // SAFETY: the kernel returns a new descriptor, which nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(ruleset) })
}

/// landlock_add_rule(2): allows rights below a directory.
pub(crate) fn landlock_allow(ruleset: &OwnedFd, below: impl AsFd, files: u64) -> io::Result<()> {
    /// Laid out as the kernel's `struct landlock_path_beneath_attr`.
    #[repr(C, packed)]
    struct Below {
        files: u64,
        directory: i32,
    }
    /// `LANDLOCK_RULE_PATH_BENEATH`.
    const PATH_BENEATH: u32 = 1;
    let rule = Below { files, directory: below.as_fd().as_raw_fd() };
    // SAFETY: the structure is the kernel's, and alive during the call.
    let result = unsafe {
        let rule = &raw const rule;
        libc::syscall(libc::SYS_landlock_add_rule, ruleset.as_raw_fd(), PATH_BENEATH, rule, 0)
    };
    checked(result).map(drop)
}

/// landlock_restrict_self(2): enforces a ruleset on this thread and all that come from it. Needs no_new_privs, or CAP_SYS_ADMIN.
pub(crate) fn landlock_enforce(ruleset: &OwnedFd) -> io::Result<()> {
    // SAFETY: always safe.
    let result = unsafe { libc::syscall(libc::SYS_landlock_restrict_self, ruleset.as_raw_fd(), 0) };
    checked(result).map(drop)
}
