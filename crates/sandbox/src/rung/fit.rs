//! Whether the second rung works with a certain store: overlay takes no upper directory from file systems that may change
//! behind its back, such as a directory that a virtual machine's host shares, and others that it does not know well enough.

use std::fs;
use std::io;
use std::path::Path;

use super::Rung;
use super::Standing;
use super::lacking;
use super::survey::chain;
use crate::Error;
use crate::Overlay;
use crate::overlay::fuse;

/// File systems that overlay is made for, by the numbers of `linux/magic.h`: nothing has to be tried there.
const FIT: [u64; 5] = [
    // ext2, ext3 and ext4.
    0xef53,
    // XFS.
    0x5846_5342,
    // Btrfs.
    0x9123_683e,
    // tmpfs.
    0x0102_1994,
    // F2FS.
    0xf2f5_2010,
];

impl Standing {
    /// Steps from the second rung to the third if overlay takes no upper directory from the file system of `store`, and the
    /// third works. To be called when the rung was not asked for.
    ///
    /// Makes `store` if it is not there and something has to be tried.
    #[must_use]
    pub fn fit(mut self, store: &Path) -> Self {
        if self.rung == Rung::UserNamespace
            && let Err(error) = try_upper(store)
            && fuse::check().is_ok()
        {
            self.rung = Rung::FuseOverlay;
            self.missed.push((Rung::UserNamespace, error));
        }
        self
    }
}

fn try_upper(store: &Path) -> Result<(), Error> {
    if is_fit(store).unwrap_or(true) {
        return Ok(());
    }
    let trial = store.join(format!(".trial-{}", std::process::id()));
    let [lower, upper, work] = ["lower", "upper", "work"].map(|name| trial.join(name));
    // Where nothing can be written, the store will tell.
    let made = [&lower, &upper, &work].into_iter().try_for_each(fs::create_dir_all);
    let mounted = match made {
        Ok(()) => {
            Overlay::mount(Rung::UserNamespace, &[lower], Some(&upper), Some(&work)).map(drop)
        }
        Err(_) => Ok(()),
    };
    // What the kernel has made in `work` goes, too; what cannot be removed is in nobody's way.
    let _ = fs::remove_dir_all(&trial);
    mounted.map_err(|error| {
        let what =
            format!("overlay does not work on the file system of the store ({})", chain(&error));
        lacking(&what, "keep it on another one (`--root`), such as ext4 or XFS")
    })
}

/// Whether the file system of a directory that may still have to be made is known to be fit.
fn is_fit(path: &Path) -> io::Result<bool> {
    let there = path.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
    let magic = rustix::fs::statfs(there)?.f_type;
    Ok(u64::try_from(magic).is_ok_and(|magic| FIT.contains(&magic)))
}
