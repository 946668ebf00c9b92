//! Runs a process in isolated namespaces on a layered root file system.
//!
//! In reading order:
//!
//! - [`spec`](Spec): what is to be run, and what it shall see.
//! - [`rung`](enter): the isolation ladder: which rung of it works here, and how an ordinary user gets there.
//! - [`overlay`](Overlay): a root file system from layers, as a mount that is attached nowhere.
//! - [`spawn`](spawn()): the caller's side of a sandbox: start, output, kill, wait.
//! - `executable`: this very program, in a form that a sandbox cannot change.
//! - [`zygote`](Zygote): the same for many sandboxes, faster.
//! - `wire`: what the caller and the supervisor say to each other.
//! - `supervisor`: the re-executed binary, parent of the sandbox's first process.
//! - `container`: the story of that first process, from `clone` to `execve`.
//! - `chroot`: the same without namespaces and mounts, where neither is allowed. `landlock`: what holds it together.
//! - `join`: one more process for a sandbox that runs.
//! - `emulation`: root's rights over owners and devices, played where there is one id only.
//! - `rootfs`, `target`, `device`, `kernel_files`: its mounts. `caps`, `seccomp`, `limits`: its rights.
//!   `cgroup`: what all its processes together may use. `exec`: the program. `init`: the process before it, if one was asked for.
//! - [`network`](BuildNetwork): a network of its own with a way out.
//! - [`foreign`](probe): programs for other processors.
//! - [`signals`](Termination): how a process that stays is asked to end.
//! - [`pause`](pause()): a sandbox that stands still for a moment. [`processes`](processes()): what runs there, and what it uses.
//! - [`peer`](Peer): the process at the other end of a socket.
//! - [`pty`](RawMode): terminals, for the caller of an interactive sandbox.
//! - `release`: which kernel this is.
//! - `sys`: the system calls that `rustix` does not offer; the only unsafe code of the project.
//!
//! What holds: nothing of an image's file system is executed or opened outside the sandbox; a path
//! in it is walked by descriptors and never leaves it; no descriptor but 0, 1 and 2 reaches the
//! program; when [`Child::wait`] returns, every process of the sandbox is dead.

mod spec;

mod error;
mod rung;

mod overlay;

mod executable;
mod spawn;
mod supervisor;
mod wire;
mod zygote;

mod chroot;
mod container;
mod join;
mod landlock;

mod emulation;

mod device;
mod kernel_files;
mod rootfs;
mod target;

mod caps;
mod cgroup;
mod exec;
mod init;
mod limits;
mod seccomp;

mod foreign;
mod network;
mod pause;
mod peer;
mod pressure;
mod processes;
mod pty;
mod release;
mod signals;

mod sys;

pub use caps::Capabilities;
pub use cgroup::Amount;
pub use cgroup::Resources;
pub use error::Error;
pub use foreign::Handler;
pub use foreign::handler;
pub use foreign::probe;
pub use join::join;
pub use limits::Limit;
pub use network::BuildNetwork;
pub use network::Gate;
pub use network::PortWish;
pub use network::Protocol;
pub use network::PublishedPort;
pub use network::Reach;
pub use network::host_gateway;
pub use network::host_resolv_conf;
pub use network::own_resolv_conf;
pub use network::pasta_missing;
pub use overlay::MOST_LAYERS;
pub use overlay::Overlay;
pub use overlay::Syncs;
pub use overlay::detach;
pub use pause::Paused;
pub use pause::pause;
pub use peer::Peer;
pub use pressure::Pressure;
pub use pressure::pressure;
pub use processes::Usage;
pub use processes::processes;
pub use processes::usage;
pub use pty::RawMode;
pub use pty::copy_window_size;
pub use rung::Finding;
pub use rung::Rung;
pub use rung::Standing;
pub use rung::enter;
pub use rung::gives_files;
pub use rung::survey;
pub use signals::Termination;
pub use spawn::Child;
pub use spawn::Exit;
pub use spawn::Killer;
pub use spawn::Process;
pub use spawn::spawn;
pub use spec::Confinement;
pub use spec::Devices;
pub use spec::JoinSpec;
pub use spec::Mount;
pub use spec::MountSource;
pub use spec::Network;
pub use spec::Rights;
pub use spec::Spec;
pub use spec::Stdin;
pub use spec::Terminal;
pub use supervisor::leave_caller;
pub use supervisor::reexec_if_asked;
pub use target::MountPoints;
pub use zygote::Zygote;
