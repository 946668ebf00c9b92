//! What is removed by a thread of its own while its owner goes on: to remove the four directories that an overlay leaves behind
//! takes longer than to start the next step, most of all where the disk is told at once which blocks are free (ext4 with `discard`
//! and without a journal), and each of them waits for that.
//!
//! It lies in the directory of the process, so that it goes with that whatever happens to the thread.

use std::{
    path::PathBuf,
    sync::{
        Mutex, PoisonError,
        mpsc::{self, Sender},
    },
    thread::{self, JoinHandle},
};

use super::remove_tree;

/// Removes things; when it is dropped, all of them are gone.
#[derive(Debug, Default)]
pub(super) struct Remover(Mutex<Option<Running>>);

#[derive(Debug)]
struct Running {
    paths: Sender<PathBuf>,
    thread: JoinHandle<()>,
}

impl Remover {
    /// Sees to it that this is removed, soon. What cannot be removed goes with the directory of the process.
    pub(super) fn put(&self, path: PathBuf) {
        let mut remover = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if remover.is_none() {
            *remover = Running::start();
        }
        let not_taken = match &*remover {
            Some(remover) => remover.paths.send(path).err().map(|mpsc::SendError(path)| path),
            None => Some(path),
        };
        if let Some(path) = not_taken {
            let _ = remove_tree(&path);
        }
    }
}

impl Running {
    /// `None` if there can be no more threads.
    fn start() -> Option<Self> {
        let (paths, given) = mpsc::channel::<PathBuf>();
        let remove_all = move || given.into_iter().for_each(|path| drop(remove_tree(&path)));
        let thread = thread::Builder::new().name("remover".to_owned()).spawn(remove_all).ok()?;
        Some(Self { paths, thread })
    }
}

impl Drop for Remover {
    fn drop(&mut self) {
        let remover = self.0.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Running { paths, thread }) = remover {
            drop(paths);
            // It does nothing that could panic.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::testing::Scratch;

    #[test]
    fn all_is_gone_when_it_is_dropped() {
        let scratch = Scratch::new("later");
        fs::create_dir(scratch.root()).unwrap();
        let remover = Remover::default();
        for number in 0..20 {
            let path = scratch.root().join(number.to_string());
            fs::create_dir_all(path.join("a/b")).unwrap();
            remover.put(path);
        }
        remover.put(scratch.root().join("not there"));
        drop(remover);
        assert_eq!(fs::read_dir(scratch.root()).unwrap().count(), 0);
    }
}
