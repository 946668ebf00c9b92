//! What is to be run and what it shall see: the words a caller fills in.
//!
//! How they travel to the supervisor is in `wire`, what becomes of them in `container`.

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use serde::Deserialize;
use serde::Serialize;

use crate::Capabilities;
use crate::Gate;
use crate::Limit;
use crate::Resources;

/// One process to run in a sandbox of its own.
#[derive(Debug)]
pub struct Spec {
    /// The root file system: a mount that is attached nowhere, such as [`crate::Overlay`]'s.
    ///
    /// Before Linux 6.15 such a mount can be used by one sandbox only; make one for each.
    pub root: OwnedFd,
    /// How the process is kept apart from everything else.
    pub confinement: Confinement,
    /// The program and its arguments. The program is looked up in `PATH` of `env`, inside the root.
    pub argv: Vec<OsString>,
    /// The whole environment: nothing is added to it, so `HOME` and `PATH` are the caller's duty.
    pub env: Vec<(OsString, OsString)>,
    /// The working directory, absolute, inside the root; it must exist.
    pub cwd: String,
    /// Who the process is, and what it may do.
    pub rights: Rights,
    /// The host name that `uname` tells.
    pub hostname: String,
    /// Which network the process has.
    pub network: Network,
    /// Whether the process may meet those of the host at sockets that have a name and no file (unix(7), abstract), where it has
    /// the host's network. If not, it has to be Linux 6.12 or newer for that; an older one knows no way.
    pub meets_others: bool,
    /// Whether what tells about the host or changes it is hidden or read-only in `/proc` and `/sys`.
    pub masked: bool,
    /// Whether device nodes work, wherever they are: for those who have the rights of the host's root
    /// anyway.
    pub device_nodes: bool,
    /// Devices of the host.
    pub devices: Devices,
    /// Kernel settings of the sandbox's own namespaces: names with dots, and values.
    pub settings: Vec<(String, String)>,
    /// Further mounts, made in this order after `/proc`, `/dev` and `/sys`.
    pub mounts: Vec<Mount>,
    /// Whether the root file system cannot be written to; mounts of its own can.
    pub read_only: bool,
    /// Size of `/dev/shm` in bytes; 64 MiB when not given.
    pub shm_size: Option<u64>,
    /// What the process reads.
    pub stdin: Stdin,
    /// Whether it has a terminal.
    pub terminal: Terminal,
    /// Whether the first process is one of ours, which starts the program, passes signals on to it and
    /// reaps what others leave behind.
    pub init: bool,
    /// What all its processes together may use.
    pub resources: Resources,
    /// Descriptors that stay open until every process of the sandbox is dead, also if the caller dies
    /// before: locks on what the sandbox uses.
    pub held: Vec<OwnedFd>,
}

impl Spec {
    /// What a plain program in `root` is started with: as root with Docker's rights, alone in its network,
    /// with nothing to read and no terminal. It still lacks the program and its environment.
    pub fn new(root: OwnedFd) -> Self {
        Self {
            root,
            confinement: Confinement::Namespaces,
            argv: Vec::new(),
            env: Vec::new(),
            cwd: "/".to_owned(),
            rights: Rights::default(),
            hostname: String::new(),
            network: Network::None,
            meets_others: true,
            masked: true,
            device_nodes: false,
            devices: Devices::default(),
            settings: Vec::new(),
            mounts: Vec::new(),
            read_only: false,
            shm_size: None,
            stdin: Stdin::Null,
            terminal: Terminal::None,
            init: false,
            resources: Resources::default(),
            held: Vec::new(),
        }
    }

    /// All capabilities, no system call filter, no masked paths, device nodes that work:
    /// `RUN --security=insecure`.
    pub fn make_insecure(&mut self) {
        self.rights.hold_nothing_back();
        self.masked = false;
        self.device_nodes = true;
    }
}

/// How a process is kept apart.
#[derive(Debug)]
pub enum Confinement {
    /// By namespaces of its own, with everything mounted afresh.
    Namespaces,
    /// By a changed root directory and Landlock, on [`crate::Rung::Chroot`]. [`Spec::root`] is a directory then, open, which
    /// belongs to this process alone. Nothing is mounted: what the program shall see is put into its place, and taken out again.
    Chroot {
        /// An empty directory beside the root, on the same file system: for what has to give way meanwhile.
        aside: OwnedFd,
    },
}

/// One more process for a sandbox that runs: [`crate::join`].
#[derive(Debug)]
pub struct JoinSpec {
    /// The pidfd of a process of the sandbox: [`crate::Child::started`].
    pub process: OwnedFd,
    /// The program and its arguments, looked up in `PATH` of `env`, inside the root.
    pub argv: Vec<OsString>,
    /// The whole environment.
    pub env: Vec<(OsString, OsString)>,
    /// The working directory, absolute, inside the root; it must exist.
    pub cwd: String,
    /// Who the process is, and what it may do.
    pub rights: Rights,
    /// What the process reads.
    pub stdin: Stdin,
    /// Whether it has a terminal.
    pub terminal: Terminal,
}

/// Who a process is, and what it may do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rights {
    /// The user, as the sandbox sees it.
    pub uid: u32,
    /// The group, as the sandbox sees it.
    pub gid: u32,
    /// The supplementary groups; nothing of the caller's groups is kept.
    pub groups: Vec<u32>,
    /// What it can have of root's rights, now or by a set-user-id program; another user than root has
    /// none of them now.
    pub capabilities: Capabilities,
    /// Whether it can make only those system calls that Docker's default profile allows with these
    /// capabilities.
    pub filtered: bool,
    /// Whether set-user-id programs and capabilities of files give nothing.
    pub no_new_privileges: bool,
    /// Limits of each process.
    pub limits: Vec<Limit>,
}

impl Default for Rights {
    /// Root with Docker's capabilities and its filter.
    fn default() -> Self {
        Self {
            uid: 0,
            gid: 0,
            groups: Vec::new(),
            capabilities: Capabilities::DEFAULT,
            filtered: true,
            no_new_privileges: false,
            limits: Vec::new(),
        }
    }
}

impl Rights {
    /// Grants all capabilities and every system call.
    pub fn hold_nothing_back(&mut self) {
        self.capabilities = Capabilities::ALL;
        self.filtered = false;
    }
}

/// Devices of the host in a sandbox. They work whatever [`Spec::device_nodes`] says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Devices {
    /// All below the host's `/dev`, under the same names.
    pub all: bool,
    /// Single ones, or all in a directory: the host's path, and where the sandbox sees it. Both are absolute.
    pub some: Vec<(PathBuf, String)>,
}

/// Which network a process has.
#[derive(Debug)]
pub enum Network {
    /// The caller's.
    Host,
    /// Its own with nothing but a loopback device.
    None,
    /// This network namespace, such as [`crate::BuildNetwork`]'s.
    Joined(OwnedFd),
    /// The same, but whoever wants to use it waits at the gate until there is a way out of it.
    Awaited(OwnedFd, Gate),
}

/// One mount inside the root.
#[derive(Debug)]
pub struct Mount {
    /// Where, absolute, inside the root. Missing directories, and the file for a file, are created
    /// and removed again. `/`, `/proc` and `/sys` and what is below the two are refused.
    pub target: String,
    /// What.
    pub source: MountSource,
    /// Whether writing is refused.
    pub read_only: bool,
}

/// What a [`Mount`] shows.
#[derive(Debug)]
pub enum MountSource {
    /// A mount that is attached nowhere: [`crate::Overlay::try_clone_fd`] or [`crate::detach`].
    Detached(OwnedFd),
    /// The directory or file at `path` inside a mount that is attached nowhere. No symbolic link
    /// in the path leads out of that mount.
    Within {
        /// The mount.
        root: OwnedFd,
        /// The path inside it; with or without a slash in front.
        path: String,
    },
    /// A directory, file or socket of the host, with what is mounted below it. The path is trusted.
    Bind(PathBuf),
    /// The same without what is mounted below it.
    BindAlone(PathBuf),
    /// A directory, file or socket that nobody else uses meanwhile, on the file system of the root. It is mounted, or, where
    /// nothing can be, moved to its place and back. The path is trusted.
    Lent(PathBuf),
    /// A new empty tmpfs; where nothing can be mounted, an empty directory that goes again.
    Tmpfs {
        /// Its limit in bytes; the kernel's default when not given.
        size: Option<u64>,
        /// Permission bits of its root.
        mode: u32,
        /// Owner of its root, as the sandbox sees it.
        uid: u32,
        /// Group of its root, as the sandbox sees it.
        gid: u32,
        /// Whether programs in it can be executed.
        exec: bool,
    },
    /// A file that exists in memory only: a secret, a script, `/etc/hosts`.
    File {
        /// What it holds.
        content: Vec<u8>,
        /// Its permission bits.
        mode: u32,
        /// Its owner, as the sandbox sees it.
        uid: u32,
        /// Its group, as the sandbox sees it.
        gid: u32,
    },
}

/// What the process reads as its standard input.
#[derive(Debug)]
pub enum Stdin {
    /// `/dev/null`.
    Null,
    /// This. Not used with [`Terminal::Pty`].
    Given(OwnedFd),
}

/// Whether the process has a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Terminal {
    /// None, and none can be had: it has a session of its own. Output goes to two pipes.
    None,
    /// A new one, which is its standard input, output and error; [`crate::Child::take_pty`] is the
    /// other end.
    Pty,
}
