//! The files of a log: the one that is written to, `log`, and those that were full before, `log.1` the youngest of them.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// Returns where the file of a number is; 0 is the one that is written to.
pub(super) fn numbered(path: &Path, number: usize) -> PathBuf {
    if number == 0 {
        return path.to_owned();
    }
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    name.into()
}

/// Returns how many files there are that were full.
pub(super) fn full(path: &Path) -> usize {
    (1..).take_while(|number| numbered(path, *number).exists()).count()
}

/// Moves each file on to the next number; of `most` files the oldest goes, and the one that was written to is there no more.
pub(super) fn rotate(path: &Path, most: usize) -> io::Result<()> {
    if most < 2 {
        return fs::remove_file(path);
    }
    // With fewer files allowed than there were.
    for number in (most - 1..=full(path)).rev() {
        fs::remove_file(numbered(path, number))?;
    }
    for number in (0..most - 1).rev() {
        match fs::rename(numbered(path, number), numbered(path, number + 1)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}
