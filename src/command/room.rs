//! Room: the limit of the store after what adds to it, and what to do about a disk that is full, or is not to be written.

use std::{error::Error, io};

use engine::Engine;
use store::{CacheRule, Collect, ImageRule, Which, Without};

use super::output;
use crate::{
    args::Command,
    environment,
    report::{self, Failure},
    text,
};

/// Whether a command puts something into the store that a limit is about. A build keeps to it by itself.
pub(super) fn adds(command: &Command) -> bool {
    matches!(
        command,
        Command::Pull(_)
            | Command::Load(_)
            | Command::Import(_)
            | Command::Commit(_)
            | Command::Push(_)
            | Command::Save(_)
    )
}

/// Removes what is cached until the store is within the limit, and tells if that is not enough.
pub(super) fn keep(engine: &Engine) -> Result<(), Failure> {
    let Some(limit) = environment::storage_limit()? else { return Ok(()) };
    // Nothing was added, and nothing can be removed.
    if is_read_only(engine) {
        return Ok(());
    }
    let (_, size) = engine.store().keep_within(limit)?;
    if size.total() > limit {
        output::tell(&format!(
            "warning: the limit of the store is {}, and what has to stay takes {}: `kiln prune -a` removes images too",
            text::exact_size(limit),
            text::exact_size(size.total())
        ));
    }
    Ok(())
}

/// Says what can be done about it, if the disk is full or not to be written.
pub(super) fn explain(engine: &Engine, failure: Failure) -> Failure {
    let root = engine.store().root();
    if report::is_read_only(&failure) && is_read_only(engine) {
        let hint = format!(
            "the store `{}` is on a file system that is mounted read-only: what is in it can be looked at, saved and \
             exported; for anything else, mount it for writing, or take another store by `--root`",
            root.display()
        );
        return Failure::Explained { failure: Box::new(failure), hint };
    }
    if !is_full(&failure) {
        return failure;
    }
    let free = rustix::fs::statvfs(root).map_or(0, |disk| disk.f_bavail * disk.f_frsize);
    let reclaimable = |of_images| {
        let which = Which { unused_for: std::time::Duration::ZERO, room: None, of_images };
        let images = if of_images { ImageRule::All } else { ImageRule::Keep };
        let what = Collect { images, cache: CacheRule::Only(which), mounts: true };
        let preview = engine.store().preview(&what, &Without::default());
        text::exact_size(preview.map_or(0, |freed| freed.bytes))
    };
    let hint = format!(
        "the disk of the store `{}` has {} free; `kiln prune` frees {} of it, `kiln prune -a` up to {}",
        root.display(),
        text::exact_size(free),
        reclaimable(false),
        reclaimable(true)
    );
    Failure::Explained { failure: Box::new(failure), hint }
}

/// Whether the file system of the store is mounted read-only.
fn is_read_only(engine: &Engine) -> bool {
    rustix::fs::statvfs(engine.store().root())
        .is_ok_and(|disk| disk.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY))
}

/// Whether it is for want of room in the store. What is written elsewhere is not meant.
fn is_full(failure: &Failure) -> bool {
    const ENOSPC: i32 = 28;
    const EDQUOT: i32 = 122;
    let mut cause: Option<&(dyn Error + 'static)> = match failure {
        Failure::Engine(_)
        | Failure::Store(_)
        | Failure::Export(export::Error::Store(_) | export::Error::Compress { .. }) => {
            Some(failure)
        }
        _ => None,
    };
    while let Some(error) = cause {
        if let Some(number) = error.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error) {
            return matches!(number, ENOSPC | EDQUOT);
        }
        if let Some(engine::Error::Command { disk_full, .. }) = report::of_engine(error) {
            return *disk_full;
        }
        cause = error.source();
    }
    false
}
