//! What to do about errors of the machine itself: its disk, its memory, its limits. A full disk is in `command/room.rs`.

use std::{error::Error, io};

/// A disk that cannot be read or written.
const EIO: i32 = 5;
const ENOMEM: i32 = 12;
/// Too many open files: of the machine, of a process.
const ENFILE: i32 = 23;
const EMFILE: i32 = 24;
const EROFS: i32 = 30;
/// Structures of the file system that make no sense.
const EUCLEAN: i32 = 117;

/// Returns what to do about an error, if one of its causes is of that kind.
pub(super) fn hint(error: &(dyn Error + 'static)) -> Option<String> {
    let hint = match errno(error)? {
        EIO | EUCLEAN => {
            "the disk or its file system is broken, which `dmesg` may say more of; `kiln fsck` says what of the store is"
        }
        ENOMEM => "the machine, or the control group that this runs in, has no memory left",
        ENFILE => "the machine has too many open files: as root, raise `fs.file-max` by `sysctl`",
        EMFILE => "too many files are open at once: raise the limit by `ulimit -n`",
        EROFS => {
            "it is mounted read-only: mount it for writing, or take another place (of the store by `--root`)"
        }
        _ => return None,
    };
    Some(hint.to_owned())
}

/// Whether something cannot be written because its file system is mounted read-only.
pub(crate) fn is_read_only(error: &(dyn Error + 'static)) -> bool {
    errno(error) == Some(EROFS)
}

/// What the kernel said, to this process or to the keeper of a container.
fn errno(error: &(dyn Error + 'static)) -> Option<i32> {
    let mut cause = Some(error);
    let mut number = None;
    while let Some(error) = cause {
        let told = match super::of_engine(error) {
            Some(engine::Error::Keeper { errno, .. }) => *errno,
            _ => error.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error),
        };
        number = told.or(number);
        cause = error.source();
    }
    number
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Failure;

    #[test]
    fn the_machine_is_looked_for_behind_all_causes() {
        let failure = |number| {
            Failure::Engine(engine::Error::Files(filetree::Error::Io {
                action: "open",
                path: "/a".into(),
                source: io::Error::from_raw_os_error(number),
            }))
        };
        assert!(hint(&failure(EMFILE)).is_some_and(|hint| hint.contains("ulimit -n")));
        assert!(hint(&failure(EROFS)).is_some_and(|hint| hint.contains("read-only")));
        assert_eq!(hint(&failure(2)), None);
    }
}
