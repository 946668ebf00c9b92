//! What is thrown away: moved out of sight while nobody else changes anything, and removed when all may go on.
//!
//! It goes into the directory of this process. Where that cannot be made because the disk is full, it goes beside it, where it is
//! a leftover like any other, that each process may remove: what makes room must not need any.

use std::{
    cell::RefCell,
    fs, io,
    path::{Path, PathBuf},
};

use crate::{
    error::{Error, Result, has_no_room},
    open::Inner,
    tmp,
};

/// What was thrown away and is not removed yet. Dropped, it is removed as far as that goes.
pub(crate) struct Trash<'a> {
    inner: &'a Inner,
    thrown: RefCell<Vec<PathBuf>>,
}

impl Inner {
    /// Nothing yet.
    pub(crate) fn trash(&self) -> Trash<'_> {
        Trash { inner: self, thrown: RefCell::default() }
    }

    /// Returns a path on the store's file system that nothing has, for what is to be removed.
    pub(crate) fn trash_path(&self) -> Result<PathBuf> {
        match self.process() {
            Ok(process) => Ok(process.new_path("trash-")),
            Err(error) if has_no_room(&error) => {
                Ok(self.layout.tmp().join(format!("trash-{}", tmp::unique())))
            }
            Err(error) => Err(error),
        }
    }
}

impl Trash<'_> {
    /// Moves something out of sight; `false` if it is not there.
    pub(crate) fn throw(&self, path: &Path) -> Result<bool> {
        let target = self.inner.trash_path()?;
        match fs::rename(path, &target) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            renamed => renamed.map_err(Error::io("remove", path))?,
        }
        self.thrown.borrow_mut().push(target);
        Ok(true)
    }

    /// Removes what was thrown away; returns how many bytes of its files the disk had.
    pub(crate) fn empty(self) -> Result<u64> {
        let mut freed = 0;
        while let Some(path) = self.thrown.borrow_mut().pop() {
            freed += match tmp::remove_tree(&path) {
                // Somebody else took it for a leftover, which it is.
                Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
                removed => removed.map_err(Error::io("remove", path))?,
            };
        }
        Ok(freed)
    }
}

impl Drop for Trash<'_> {
    fn drop(&mut self) {
        for path in self.thrown.take() {
            self.inner.discard(&path);
        }
    }
}
