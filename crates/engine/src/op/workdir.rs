//! WORKDIR: the directory exists from now on.

use filetree::RootDir;
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
    let (uid, gid) = owner(root, &workdir.user)?;
    let created = workdir.created.map(filetree::Timestamp::from_seconds);
    root.create_dir_all(&workdir.path, 0o755, uid, gid, created)?;
    mounted.collect(&build.engine, &snapshot, &[])?;
    Ok(snapshot)
}

/// The user in effect; one that the image does not know is no mistake before a command runs as it, and root owns the directory.
fn owner(root: &RootDir, user: &str) -> Result<(u32, u32), Error> {
    match filetree::resolve_user(root, user) {
        Ok(user) => Ok((user.uid, user.gid)),
        Err(filetree::Error::User(_)) => Ok((0, 0)),
        Err(error) => Err(error.into()),
    }
}
