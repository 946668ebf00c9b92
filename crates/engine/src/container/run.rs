//! `kiln run --rm`: a command in a container made from an image, which is gone when the command ends.
//!
//! What the command writes goes into a snapshot that is removed when it ends.

use std::{
    ffi::OsString,
    fs::File,
    io::{self, Read, Write},
    os::fd::{AsFd, OwnedFd},
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use filetree::RootDir;
use oci::{Config, config::DEFAULT_PATH};
use sandbox::{Child, Exit, Killer, RawMode, Rights, Spec, Stdin, Terminal};
use store::Image;

use crate::{
    Engine, Error,
    op::run::{Network, network_files, own_network},
    rootfs,
};

/// What to run, and how it differs from what the image says.
#[derive(Debug)]
pub struct RunRequest {
    /// The image.
    pub image: Image,
    /// Replaces CMD unless empty.
    pub command: Vec<String>,
    /// Replaces ENTRYPOINT; an empty text clears it.
    pub entrypoint: Option<String>,
    /// Further variables, over those of the image.
    pub env: Vec<(String, String)>,
    /// Replaces WORKDIR.
    pub workdir: Option<String>,
    /// Replaces USER.
    pub user: Option<String>,
    /// The host name; a part of the image's id if there is none.
    pub hostname: Option<String>,
    /// What the command reaches.
    pub network: plan::Network,
    /// Whether it reads the caller's standard input.
    pub interactive: bool,
    /// Whether it has a terminal.
    pub terminal: bool,
    /// How signals reach it.
    pub signals: Signals,
}

/// Passes signals on to a running command. Clones lead to the same one.
#[derive(Debug, Clone, Default)]
pub struct Signals(Arc<Mutex<Option<Killer>>>);

impl Signals {
    /// Sends a signal to the command, if it runs already.
    pub fn send(&self, signal: i32) {
        if let Some(killer) = &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            killer.signal(signal);
        }
    }

    /// Ends the command, whatever it does about signals.
    pub fn kill(&self) {
        if let Some(killer) = &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            killer.kill();
        }
    }

    fn lead_to(&self, killer: Killer) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(killer);
    }
}

/// Where the output of a command goes.
pub struct Output {
    /// Its standard output, or all of it if it has a terminal.
    pub stdout: Box<dyn Write + Send>,
    /// Its standard error.
    pub stderr: Box<dyn Write + Send>,
}

impl std::fmt::Debug for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Output")
    }
}

/// Runs the command to its end and returns its status: that of the command, or 128 and the number of the signal that ended it.
pub fn run(engine: &Engine, request: RunRequest, output: Output) -> Result<i32, Error> {
    let lease = engine.store().lease()?;
    lease.hold_image(&request.image.id)?;
    let snapshot = rootfs::fresh(engine, &request.image.snapshots)?;
    let mounted = rootfs::writable(engine, &snapshot, &request.image.snapshots)?;
    let network = match request.network {
        plan::Network::None => Network::None,
        plan::Network::Host => Network::Host,
        plan::Network::Default => own_network().0.map_or(Network::Host, Network::Own),
    };
    let spec = spec(&request, mounted.root(), mounted.mount()?, &network)?;

    let mut child = sandbox::spawn(spec)?;
    request.signals.lead_to(child.killer());
    let exit = if request.terminal {
        with_terminal(&mut child, output)?
    } else {
        with_pipes(&mut child, output)?
    };
    match exit {
        Exit::Code(code) => Ok(code),
        Exit::Signal(signal) => Ok(128 + signal),
    }
}

fn spec(
    request: &RunRequest,
    root: &RootDir,
    mount: OwnedFd,
    network: &Network,
) -> Result<Spec, Error> {
    let config = &request.image.config.config;
    let user = filetree::resolve_user(root, request.user.as_deref().unwrap_or(&config.user))?;
    let image_workdir = Some(config.working_dir.clone()).filter(|dir| !dir.is_empty());
    let cwd = request.workdir.clone().or(image_workdir).unwrap_or_else(|| "/".to_owned());
    root.create_dir_all(&cwd, 0o755, user.uid, user.gid, None)?;
    let id = request.image.id.as_digest().to_hex();
    let hostname = request.hostname.clone().unwrap_or_else(|| id[..12].to_owned());
    Ok(Spec {
        root: mount,
        argv: argv(request, config)?,
        env: environment(request, config, &user.home),
        cwd,
        rights: Rights { uid: user.uid, gid: user.gid, groups: user.groups, insecure: false },
        network: network.spec()?,
        mounts: network_files(network, &hostname),
        hostname,
        shm_size: None,
        stdin: if request.interactive { own_stdin()? } else { Stdin::Null },
        terminal: if request.terminal { Terminal::Pty } else { Terminal::None },
        held: Vec::new(),
    })
}

fn own_stdin() -> Result<Stdin, Error> {
    let stdin = io::stdin().as_fd().try_clone_to_owned();
    Ok(Stdin::Given(stdin.map_err(Error::io("use", "/dev/stdin"))?))
}

/// ENTRYPOINT and then CMD, each replaced by what was asked for; a new entrypoint drops the image's CMD, as Docker does.
fn argv(request: &RunRequest, config: &Config) -> Result<Vec<OsString>, Error> {
    let (entrypoint, cmd) = match &request.entrypoint {
        Some(entrypoint) if entrypoint.is_empty() => (Vec::new(), Vec::new()),
        Some(entrypoint) => (vec![entrypoint.clone()], Vec::new()),
        None => {
            (config.entrypoint.clone().unwrap_or_default(), config.cmd.clone().unwrap_or_default())
        }
    };
    let rest = if request.command.is_empty() { cmd } else { request.command.clone() };
    let argv: Vec<OsString> = entrypoint.into_iter().chain(rest).map(OsString::from).collect();
    if argv.is_empty() { Err(Error::NoCommand) } else { Ok(argv) }
}

fn environment(request: &RunRequest, config: &Config, home: &str) -> Vec<(OsString, OsString)> {
    let mut merged = Config { env: vec![format!("PATH={DEFAULT_PATH}")], ..Config::default() };
    if request.terminal {
        merged.set_env("TERM", "xterm");
    }
    merged.set_env("HOME", home);
    let image = config.env.iter().filter_map(|entry| entry.split_once('='));
    let asked = request.env.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    for (name, value) in image.chain(asked) {
        merged.set_env(name, value);
    }
    let pairs = merged.env.iter().filter_map(|entry| entry.split_once('='));
    pairs.map(|(name, value)| (name.into(), value.into())).collect()
}

fn with_pipes(child: &mut Child, output: Output) -> Result<Exit, Error> {
    let pairs = [(child.take_stdout(), output.stdout), (child.take_stderr(), output.stderr)];
    thread::scope(|scope| {
        for (pipe, sink) in pairs {
            if let Some(pipe) = pipe {
                scope.spawn(move || pass_on(File::from(pipe), sink));
            }
        }
        Ok(child.wait()?)
    })
}

/// Joins the caller's terminal and the command's, which gets every key as it is typed.
fn with_terminal(child: &mut Child, output: Output) -> Result<Exit, Error> {
    let Some(pty) = child.take_pty() else { return Err(Error::Lost { what: "a terminal" }) };
    let stdin = io::stdin();
    let raw = match rustix::termios::isatty(&stdin) {
        true => Some(RawMode::enter(stdin.as_fd())?),
        false => None,
    };
    if raw.is_some() {
        sandbox::copy_window_size(stdin.as_fd(), pty.as_fd())?;
    }
    let keys = File::from(pty.try_clone().map_err(Error::io("use", "/dev/ptmx"))?);
    // Reading ends only with a key; the thread ends with the process.
    thread::spawn(move || pass_on(io::stdin(), Box::new(keys)));
    pass_on(File::from(pty), output.stdout);
    let exit = child.wait()?;
    drop(raw);
    Ok(exit)
}

/// Passes on everything until either end is closed. The end of a terminal shows as an error, and one who does not listen any
/// more is no reason to stop the command.
fn pass_on(mut from: impl Read, mut to: Box<dyn Write + Send>) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        if to.write_all(&buffer[..count]).and_then(|()| to.flush()).is_err() {
            return;
        }
    }
}
