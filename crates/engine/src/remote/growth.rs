//! How much a program puts on the disk: git has no limit of its own, neither for what a server sends nor for what a commit
//! unpacks to.

use std::{
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::mpsc::{Receiver, RecvTimeoutError},
    time::{Duration, Instant},
};

use walkdir::WalkDir;

/// How often the directories are looked at, at most.
const PAUSE: Duration = Duration::from_millis(100);

/// Directories that may not grow beyond a limit together.
#[derive(Debug, Clone)]
pub(super) struct Growth {
    places: Vec<PathBuf>,
    /// In bytes.
    limit: u64,
}

impl Growth {
    pub(super) fn new(places: &[&Path], limit: u64) -> Self {
        Self { places: places.iter().map(|place| (*place).to_owned()).collect(), limit }
    }

    /// How much there may be.
    pub(super) fn limit(&self) -> u64 {
        self.limit
    }

    /// Whether there is more than there may be.
    pub(super) fn is_over(&self) -> bool {
        self.places.iter().map(|place| bytes_below(place)).sum::<u64>() > self.limit
    }

    /// Looks until the other end of the channel is gone, and calls `stop` once there is too much. The larger the
    /// directories are, the rarer, so that no more than a tenth of the time goes into looking.
    pub(super) fn watch(&self, ended: &Receiver<()>, stop: impl Fn()) {
        let mut pause = PAUSE;
        while ended.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
            let began = Instant::now();
            if self.is_over() {
                stop();
                return;
            }
            pause = PAUSE.max(began.elapsed() * 9);
        }
    }
}

/// What the files below a directory take from the disk. What comes and goes meanwhile may be counted or not.
fn bytes_below(directory: &Path) -> u64 {
    /// The unit of `st_blocks`, whatever the file system's is.
    const BLOCK: u64 = 512;
    // Of a link itself, not of what it leads to.
    let stats = WalkDir::new(directory).min_depth(1).into_iter().flatten();
    stats.filter_map(|entry| entry.metadata().ok()).map(|stat| stat.blocks() * BLOCK).sum()
}
