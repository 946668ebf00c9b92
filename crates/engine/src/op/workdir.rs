//! WORKDIR: the directory exists from now on.

use plan::Workdir;
use store::{Open, Snapshot, SnapshotId};

use crate::{Error, rootfs, schedule::Build};

/// Makes the directory on top of `below`: parents too, 0755, owned by the user in effect; what exists is left as it is.
pub(crate) fn run(
    build: &Build,
    workdir: &Workdir,
    below: &[SnapshotId],
) -> Result<Snapshot<Open>, Error> {
    let snapshot = rootfs::fresh(&build.engine, below)?;
    let mounted = rootfs::writable(&build.engine, &snapshot, below)?;
    let root = mounted.root();
    let (uid, gid) = match workdir.user.as_str() {
        "" => (0, 0),
        user => {
            let user = filetree::resolve_user(root, user)?;
            (user.uid, user.gid)
        }
    };
    root.create_dir_all(&workdir.path, 0o755, uid, gid, None)?;
    Ok(snapshot)
}
