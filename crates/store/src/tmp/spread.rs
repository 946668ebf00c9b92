//! Parts of the disk for what is made by the dozen.
//!
//! ext4 keeps the inodes of a directory in one group of some thousand, with those of its subdirectories. Without a journal it looks at
//! each inode of the group that was freed within the last minutes before it takes one, and each step of a build
//! frees a dozen: after a few builds a new file takes 0.2 ms there, and 0.015 ms in a group where nothing was. So snapshots
//! are made in directories that are spread over the disk (`chattr +T`, for which other file systems have no need), each for so many
//! that neither it nor the search for its place takes long.

use std::{
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use rustix::fs::{IFlags, Mode, OFlags};

use super::{create_directories, unique};
use crate::error::Result;

/// How many paths are given out before the next directory is made: a new one takes 0.4 ms.
const MOST: u32 = 64;

/// Gives out directories below one.
#[derive(Debug, Default)]
pub(super) struct Spread(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    directory: Option<PathBuf>,
    /// How many paths in it were given out.
    given: u32,
}

impl Spread {
    /// Returns a directory below `parent` for one thing that is about to be made.
    pub(super) fn directory(&self, parent: &Path) -> Result<PathBuf> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(directory) = known.directory.clone().filter(|_| known.given < MOST) {
            known.given += 1;
            return Ok(directory);
        }
        // Where it is not known it is not needed.
        let _ = ask_to_spread(parent);
        // The place is chosen by the name.
        let directory = parent.join(unique());
        create_directories(&directory)?;
        *known = Known { directory: Some(directory.clone()), given: 1 };
        Ok(directory)
    }

    /// Returns the directory in use, if there is one.
    pub(super) fn present(&self) -> Option<PathBuf> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).directory.clone()
    }
}

/// Asks the file system to spread the subdirectories of a directory.
fn ask_to_spread(directory: &Path) -> rustix::io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = rustix::fs::open(directory, flags, Mode::empty())?;
    let flags = rustix::fs::ioctl_getflags(&directory)?;
    if flags.contains(IFlags::TOPDIR) {
        return Ok(());
    }
    rustix::fs::ioctl_setflags(&directory, flags | IFlags::TOPDIR)
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs};

    use super::*;
    use crate::testing::Scratch;

    #[test]
    fn no_directory_is_crowded() {
        let scratch = Scratch::new("spread");
        let spread = Spread::default();
        assert_eq!(spread.present(), None);
        let made: Vec<PathBuf> = (0..2 * MOST + 1)
            .map(|_| spread.directory(&scratch.root()).unwrap())
            .inspect(|directory| assert!(directory.is_dir()))
            .collect();
        assert_eq!(made.iter().collect::<BTreeSet<_>>().len(), 3);
        assert_eq!(made[0], made[MOST as usize - 1]);
        assert_eq!(spread.present().as_ref(), made.last());
    }

    #[test]
    fn the_file_system_is_asked_once() {
        let scratch = Scratch::new("spread-asked");
        fs::create_dir(scratch.root()).unwrap();
        Spread::default().directory(&scratch.root()).unwrap();
        let directory = fs::File::open(scratch.root()).unwrap();
        match rustix::fs::ioctl_getflags(&directory) {
            Ok(flags) if rustix::fs::fstatfs(&directory).unwrap().f_type == 0xef53 => {
                assert!(flags.contains(IFlags::TOPDIR), "{flags:?}");
            }
            _ => eprintln!("skipped: not ext4"),
        }
    }
}
