//! The thread that answers: which call is whose to answer, and how the kernel is told.

use std::sync::Mutex;
use std::sync::PoisonError;

use rustix::event::PollFd;
use rustix::event::PollFlags;
use rustix::event::Timespec;
use rustix::fs::OFlags;
use rustix::io::Errno;

use super::Answer;
use super::Emulator;
use super::ids::Ids;
use super::process::Named;
use super::process::Process;
use crate::sys;
use crate::sys::AskingCall;

impl Emulator {
    pub(super) fn answer_all(&mut self, busy: &Mutex<()>) {
        loop {
            let Ok(call) = sys::next_asking_call(&self.listener) else {
                if self.is_over() {
                    return;
                }
                continue;
            };
            let _turn = busy.lock().unwrap_or_else(PoisonError::into_inner);
            let answer = self.answer(&call);
            // All of them fail when the process does not wait any more.
            let _ = match answer {
                Ok(Answer::GoOn) => sys::let_call_go_on(&self.listener, call.id),
                Ok(Answer::Value(value)) => sys::answer_call(&self.listener, call.id, value, 0),
                Ok(Answer::File(file, close_on_exec)) => {
                    sys::answer_with_descriptor(&self.listener, call.id, &file, close_on_exec)
                }
                Ok(Answer::Wait) => {
                    self.wait(call.id);
                    Ok(())
                }
                Err(errno) => sys::answer_call(&self.listener, call.id, 0, errno.raw_os_error()),
            };
        }
    }

    /// Whether nobody has the filter any more. A call that is gone by now is no reason to end.
    fn is_over(&self) -> bool {
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        let mut events = [PollFd::new(&*self.listener, PollFlags::IN)];
        let polled = rustix::event::poll(&mut events, Some(&now));
        polled.is_ok() && events[0].revents().intersects(PollFlags::HUP | PollFlags::ERR)
    }

    fn wait(&mut self, call: u64) {
        match &mut self.gate {
            Some(gate) => gate.add(&self.listener, call),
            None => drop(sys::let_call_go_on(&self.listener, call)),
        }
    }

    /// Makes sure that a call still waits: its process is the one that was looked at, then.
    pub(super) fn is_asking(&self, call: &AskingCall) -> Result<(), Errno> {
        if sys::is_asking(&self.listener, call.id) { Ok(()) } else { Err(Errno::SRCH) }
    }

    fn answer(&mut self, call: &AskingCall) -> Result<Answer, Errno> {
        let name = self.names.get(&call.number).filter(|_| call.machine == self.machine);
        let Some(name) = name else { return Ok(Answer::GoOn) };
        let process = Process::new(call.process);
        let arguments = call.arguments;
        let number = |place: usize| arguments[place] as u32;
        let at = |place: usize| number(place) as i32;
        let flag = |place: usize, flag: i32| at(place) & flag != 0;
        let here = libc::AT_FDCWD;
        let path = |from, address: usize, follow| Named::Path {
            from,
            address: arguments[address],
            follow,
            or_itself: false,
        };
        let path_with_flags = |from, address: usize, flags: usize| Named::Path {
            from,
            address: arguments[address],
            follow: !flag(flags, libc::AT_SYMLINK_NOFOLLOW),
            or_itself: flag(flags, libc::AT_EMPTY_PATH),
        };
        match *name {
            "stat" => self.stat(call, path(here, 0, true), arguments[1]),
            "lstat" => self.stat(call, path(here, 0, false), arguments[1]),
            "fstat" => self.stat(call, Named::Descriptor(at(0)), arguments[1]),
            "newfstatat" => self.stat(call, path_with_flags(at(0), 1, 3), arguments[2]),
            "statx" => self.statx(call, path_with_flags(at(0), 1, 2), number(3), arguments[4]),

            "chown" => self.chown(call, path(here, 0, true), number(1), number(2)),
            "lchown" => self.chown(call, path(here, 0, false), number(1), number(2)),
            "fchown" => self.chown(call, Named::Descriptor(at(0)), number(1), number(2)),
            "fchownat" => self.chown(call, path_with_flags(at(0), 1, 4), number(2), number(3)),

            "mknod" => self.make_node(call, (here, arguments[0]), number(1), arguments[2]),
            "mknodat" => self.make_node(call, (at(0), arguments[1]), number(2), arguments[3]),
            "mkdir" => self.make_directory(call, (here, arguments[0]), number(1)),
            "mkdirat" => self.make_directory(call, (at(0), arguments[1]), number(2)),
            "symlink" => self.make_link(call, arguments[0], (here, arguments[1])),
            "symlinkat" => self.make_link(call, arguments[0], (at(1), arguments[2])),
            "open" => self.open(call, (here, arguments[0]), number(1), number(2)),
            "openat" => self.open(call, (at(0), arguments[1]), number(2), number(3)),
            "creat" => {
                let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::TRUNC;
                self.open(call, (here, arguments[0]), flags.bits(), number(1))
            }

            "getuid" => Ok(self.tell(process, |ids| ids.user.real)),
            "geteuid" => Ok(self.tell(process, |ids| ids.user.effective)),
            "getgid" => Ok(self.tell(process, |ids| ids.group.real)),
            "getegid" => Ok(self.tell(process, |ids| ids.group.effective)),
            "getresuid" => self.tell_three(process, arguments, |ids| ids.user),
            "getresgid" => self.tell_three(process, arguments, |ids| ids.group),
            "getgroups" => self.tell_groups(process, at(0), arguments[1]),

            "setuid" => self.set_user(call, |user, may| user.set(number(0), may)),
            "setreuid" => self.set_user(call, |user, may| user.set_two(number(0), number(1), may)),
            "setresuid" => self
                .set_user(call, |user, may| user.set_three(number(0), number(1), number(2), may)),
            "setgid" => self.set_group(call, |group, may| group.set(number(0), may)),
            "setregid" => {
                self.set_group(call, |group, may| group.set_two(number(0), number(1), may))
            }
            "setresgid" => self.set_group(call, |group, may| {
                group.set_three(number(0), number(1), number(2), may)
            }),
            "setfsuid" => {
                let before = self.table.of(process.id).user.files;
                self.set_user(call, |user, may| Ok(user.set_files(number(0), may)))?;
                Ok(Answer::Value(before.into()))
            }
            "setfsgid" => {
                let before = self.table.of(process.id).group.files;
                self.set_group(call, |group, may| Ok(group.set_files(number(0), may)))?;
                Ok(Answer::Value(before.into()))
            }
            "setgroups" => self.set_groups(call, arguments),

            "execve" => self.exec(call, path(here, 0, true)),
            "prctl" => {
                let ids = self.table.of(process.id);
                let keeps = arguments[1] != 0;
                if ids.keeps != keeps {
                    let ids = Ids { keeps, ..ids.clone() };
                    self.set(call, ids)?;
                }
                Ok(Answer::GoOn)
            }
            "getrlimit" => no_limit(process, arguments[1]),
            "setrlimit" => Ok(Answer::Value(0)),
            "prlimit64" => no_limit(process, arguments[3]),

            "chroot" => {
                self.root.somebody_left = true;
                Ok(Answer::GoOn)
            }
            "socket" => Ok(Answer::Wait),
            _ => Ok(Answer::GoOn),
        }
    }
}

/// Tells that there is no limit of file locks: what stands there is not for the program.
fn no_limit(process: Process, address: u64) -> Result<Answer, Errno> {
    if address != 0 {
        process.write(address, &[0xff; 16])?;
    }
    Ok(Answer::Value(0))
}
