//! The digest of one large file, by several threads: BLAKE3 is a tree, whose branches do not depend on each other.

use std::{
    os::fd::OwnedFd,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use blake3::{
    Hasher,
    hazmat::{ChainingValue, HasherExt, Mode, left_subtree_len},
    hazmat::{merge_subtrees_non_root, merge_subtrees_root},
};
use rustix::io::Errno;

use super::{PIECE, Pace};

/// What one thread takes at a time: a power of two, so that it is a branch of the tree.
pub(super) const SUBTREE: u64 = 4 * 1024 * 1024;

/// More threads than this wait for the memory, not for each other.
const MAX_THREADS: usize = 8;

/// Returns the digest of the first `size` bytes of a file, more than one subtree. If there are fewer, it is that of no file:
/// the caller finds out. `ECANCELED` if it shall not go on.
pub(super) fn hash(fd: &OwnedFd, size: u64, pace: &Pace<'_>) -> Result<blake3::Hash, Errno> {
    let count = size.div_ceil(SUBTREE);
    let (next, branches) = (AtomicU64::new(0), Mutex::new(vec![[0; 32]; count as usize]));
    let work = || {
        let mut buffer = vec![0; PIECE];
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= count {
                return Ok(());
            }
            let start = index * SUBTREE;
            let end = size.min(start + SUBTREE);
            let branch = branch(fd, start, end, &mut buffer)?;
            if !pace.goes_on(end - start) {
                return Err(Errno::CANCELED);
            }
            branches.lock().unwrap_or_else(PoisonError::into_inner)[index as usize] = branch;
        }
    };
    let threads = thread::available_parallelism().map_or(1, usize::from).min(MAX_THREADS);
    thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
        let own = work();
        others.into_iter().fold(own, |all, other| all.and(other.join().unwrap_or(Err(Errno::IO))))
    })?;
    let branches = branches.into_inner().unwrap_or_else(PoisonError::into_inner);
    let (left, right) = halves(&branches, size);
    Ok(merge_subtrees_root(&left, &right, Mode::Hash))
}

/// Hashes the bytes from `start` to `end`.
fn branch(fd: &OwnedFd, start: u64, end: u64, buffer: &mut [u8]) -> Result<ChainingValue, Errno> {
    let mut hasher = Hasher::new();
    hasher.set_input_offset(start);
    let mut at = start;
    while at < end {
        let wanted = usize::try_from(end - at).unwrap_or(PIECE).min(PIECE);
        match rustix::io::pread(fd, &mut buffer[..wanted], at) {
            // The file has become shorter.
            Ok(0) => break,
            Ok(length) => {
                hasher.update(&buffer[..length]);
                at += length as u64;
            }
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    // That of nothing cannot be asked for.
    Ok(if at > start { hasher.finalize_non_root() } else { [0; 32] })
}

/// Puts together what is below the two halves of a tree over `length` bytes.
fn halves(branches: &[ChainingValue], length: u64) -> (ChainingValue, ChainingValue) {
    let left = left_subtree_len(length);
    let (below_left, below_right) = branches.split_at((left / SUBTREE) as usize);
    (whole(below_left, left), whole(below_right, length - left))
}

fn whole(branches: &[ChainingValue], length: u64) -> ChainingValue {
    if let [branch] = branches {
        return *branch;
    }
    let (left, right) = halves(branches, length);
    merge_subtrees_non_root(&left, &right, Mode::Hash)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::*;
    use crate::{digest::GoOn, test_data::TempDir};

    #[test]
    fn it_is_the_digest() {
        let dir = TempDir::new();
        let subtree = SUBTREE as usize;
        let bytes: Vec<u8> =
            (0..9 * subtree).map(|at| (at ^ (at >> 9) ^ (at >> 18)) as u8).collect();
        for size in [subtree + 1, 2 * subtree, 4 * subtree, 4 * subtree + 5, 9 * subtree - 1023] {
            dir.write("file", &bytes[..size]);
            let fd = OwnedFd::from(std::fs::File::open(dir.path().join("file")).unwrap());
            let pace = pace(size as u64, &|_| true);
            let digest = hash(&fd, size as u64, &pace).unwrap();
            assert_eq!(digest, blake3::hash(&bytes[..size]), "{size}");
            assert_eq!(pace.done.into_inner(), size as u64);
        }
    }

    #[test]
    fn a_file_that_was_cut_is_hashed_as_another() {
        let dir = TempDir::new();
        let file = std::fs::File::create_new(dir.path().join("file")).unwrap();
        file.set_len(5 * SUBTREE).unwrap();
        file.write_all_at(b"x", 0).unwrap();
        let fd = OwnedFd::from(std::fs::File::open(dir.path().join("file")).unwrap());
        let pace = pace(5 * SUBTREE, &|_| true);
        let whole = hash(&fd, 5 * SUBTREE, &pace).unwrap();
        file.set_len(2 * SUBTREE + 7).unwrap();
        assert_ne!(hash(&fd, 5 * SUBTREE, &pace).unwrap(), whole);
    }

    #[test]
    fn it_can_be_ended() {
        let dir = TempDir::new();
        let file = std::fs::File::create_new(dir.path().join("file")).unwrap();
        file.set_len(1 << 40).unwrap();
        let fd = OwnedFd::from(file);
        let pace = pace(1 << 40, &|reading| reading.done < 10 * SUBTREE);
        assert_eq!(hash(&fd, 1 << 40, &pace), Err(Errno::CANCELED));
        // Every thread had one more in its hands at most.
        let done = pace.done.into_inner();
        assert!(done <= (10 + MAX_THREADS as u64) * SUBTREE, "{done}");
    }

    fn pace(size: u64, go_on: GoOn<'_>) -> Pace<'_> {
        Pace { done: AtomicU64::new(0), size, go_on }
    }
}
