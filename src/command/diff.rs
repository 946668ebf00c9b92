//! `kiln diff`.

use std::os::unix::ffi::OsStrExt;

use engine::{Engine, container};
use filetree::DifferenceKind;

use super::output;
use crate::report::{Exit, Failure};

#[derive(Debug, clap::Args)]
pub(crate) struct Diff {
    /// The container
    #[arg(value_name = "CONTAINER")]
    pub(crate) container: String,
}

/// Prints what a container has changed in the file system of its image: `A` for added, `C` for changed, `D` for deleted.
pub(super) fn run(engine: &Engine, diff: &Diff) -> Result<Exit, Failure> {
    let container = engine.store().find_container(&diff.container)?;
    let mut lines = Vec::new();
    for difference in container::changes(engine, &container)? {
        lines.push(match difference.kind {
            DifferenceKind::Added => b'A',
            DifferenceKind::Modified => b'C',
            DifferenceKind::Deleted => b'D',
        });
        lines.push(b' ');
        lines.extend_from_slice(difference.path.as_os_str().as_bytes());
        lines.push(b'\n');
    }
    output::print_bytes(&lines)?;
    Ok(Exit::Done)
}
