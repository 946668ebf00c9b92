//! Commands for other platforms than this machine's: whether they can run is asked before one does.
//!
//! Only what runs a command asks. Files are copied into a root file system of any platform.

use std::fmt;

use oci::Platform;
use sandbox::{Exit, Handler, MountSource, Spec};
use store::{Image, SnapshotId};

use crate::{Engine, Error, rootfs};

/// Where the program is that tries it out: in `/dev`, which is never in a layer.
const PROBE: &str = "/dev/kiln-probe";

/// Why a command for another platform cannot run here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Obstacle {
    /// It is for another operating system.
    System,
    /// Nobody here knows its architecture.
    Architecture,
    /// The kernel does not run its programs: this is what it knows of a handler for them.
    Handler(Handler),
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System => f.write_str("only commands for Linux can run"),
            Self::Architecture => f.write_str("the architecture is not known"),
            Self::Handler(Handler::Missing) => {
                f.write_str("the kernel has no handler for its programs in binfmt_misc")
            }
            Self::Handler(Handler::Disabled { name }) => {
                write!(f, "the handler of its programs, `{name}`, is switched off in binfmt_misc")
            }
            Self::Handler(Handler::ByPath { interpreter }) => write!(
                f,
                "the handler of its programs, `{interpreter}`, is not in the image, and binfmt_misc has it without the flag F, \
                 by which it would not need to be"
            ),
            Self::Handler(Handler::Unmounted) => f.write_str(
                "the kernel has no handler for its programs, and binfmt_misc, which holds them, is not mounted",
            ),
            Self::Handler(Handler::Fixed { interpreter }) => {
                write!(f, "the handler of its programs, `{interpreter}`, does not run them")
            }
        }
    }
}

impl Engine {
    /// Returns an error if commands of an image cannot run on this machine. They can if it is for this platform, if the
    /// processor runs the other architecture too, or if the kernel has a handler for it.
    pub fn ensure_runs(&self, image: &Image) -> Result<(), Error> {
        ensure_runs(self, &image.config.platform(), &image.snapshots)
    }
}

/// The same for a root file system of `snapshots`, with commands for `platform`.
pub(crate) fn ensure_runs(
    engine: &Engine,
    platform: &Platform,
    snapshots: &[SnapshotId],
) -> Result<(), Error> {
    let host = Platform::host();
    let refused = |obstacle| Error::Foreign { platform: Box::new(platform.clone()), obstacle };
    // What does not say its architecture is for this one; what needs a newer processor of it tells by itself.
    if platform.architecture.is_empty()
        || (&platform.os, &platform.architecture) == (&host.os, &host.architecture)
    {
        return Ok(());
    }
    if platform.os != host.os {
        return Err(refused(Obstacle::System));
    }
    let Some(program) = sandbox::probe(&platform.architecture) else {
        return Err(refused(Obstacle::Architecture));
    };
    if runs(engine, program, snapshots)? {
        return Ok(());
    }
    match sandbox::handler(&platform.architecture) {
        // An emulator may be particular about programs as small as the probe.
        Handler::Fixed { .. } => Ok(()),
        handler => Err(refused(Obstacle::Handler(handler))),
    }
}

/// Runs a program in this root file system, which may hold the interpreter of its handler.
fn runs(engine: &Engine, program: Vec<u8>, snapshots: &[SnapshotId]) -> Result<bool, Error> {
    let snapshot = rootfs::fresh(engine, snapshots)?;
    let mounted = rootfs::runnable(engine, &snapshot, snapshots, None)?;
    let file = MountSource::File { content: program, mode: 0o755, uid: 0, gid: 0 };
    let spec = Spec {
        argv: vec![PROBE.into()],
        hostname: "localhost".to_owned(),
        mounts: vec![sandbox::Mount { target: PROBE.to_owned(), source: file, read_only: true }],
        ..mounted.spec()?
    };
    match sandbox::spawn(spec).and_then(|mut child| child.wait()) {
        Ok(exit) => Ok(exit == Exit::Code(0)),
        Err(sandbox::Error::Exec { .. }) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
