//! COPY and ADD: files of an origin, and heredocs, into the root file system.

use std::sync::Arc;

use filetree::{Chmod, Layout, Placement, RootDir, Unfilled};
use plan::{Copy, CopySource, Origin, Script, Stage, StepKey};
use sandbox::Rung;
use store::{Open, Record, Snapshot, SnapshotId};

use crate::{
    Error, commit,
    contents::{Contents, Selected},
    rootfs,
    schedule::{Build, Made, Past, Tip},
};

/// What a COPY has laid out, mounted no more.
#[derive(Debug)]
pub(crate) struct Laid {
    pub(crate) snapshot: Snapshot<Open>,
    /// Its large files, which are empty still.
    pub(crate) unfilled: Unfilled,
    /// Where they come from has to be there until they are filled.
    _from: Vec<Selected>,
}

/// Copies on top of `below`, but for the contents of large files.
///
/// With `--link` the layer is made on nothing at all: it follows no symbolic link below and can be put on any other base.
pub(crate) fn run(
    build: &Arc<Build>,
    copy: &Copy,
    contents: Contents,
    below: &[SnapshotId],
) -> Result<Laid, Error> {
    let under: &[SnapshotId] = if copy.link { &[] } else { below };
    let snapshot = rootfs::fresh(&build.engine, under)?;
    let mounted = rootfs::writable(&build.engine, &snapshot, under)?;
    let root = mounted.root();
    let placement = Placement {
        dest: copy.dest.clone(),
        owner: owner(build, copy, root, below)?,
        mode: copy.chmod.as_deref().map(Chmod::parse).transpose()?,
        created: copy.created.map(filetree::Timestamp::from_seconds),
        budget: build.engine.limits().layer,
    };

    let mut layout = Layout::new(root, &placement);
    let from = contents.into_selected(build, copy)?;
    let mut scripts = copy.sources.iter().filter_map(heredoc).peekable();
    // Of the directories that are new, overlay need not know the contents. A program that serves it may keep its own
    // account of them.
    let postpones = build.engine.rung().mounts()
        && build.engine.rung() != Rung::FuseOverlay
        && scripts.peek().is_none();
    let (last, others) = match from.split_last() {
        Some((last, others)) if postpones => (Some(last), others),
        _ => (None, &from[..]),
    };
    for selected in others {
        layout.copy(&selected.tree, &selected.selection)?;
    }
    if let Some(selected) = last {
        layout.copy_last(&selected.tree, &selected.selection)?;
    }
    for script in scripts {
        layout.write_file(&script.name, script.body.as_bytes())?;
    }
    let rest = layout.finish();
    if build.engine.rung().mounts() {
        mounted.collect(&build.engine, &snapshot, &[])?;
        let unfilled = rest.lay(&RootDir::open(snapshot.fs())?)?;
        return Ok(Laid { unfilled, snapshot, _from: from });
    }
    // What is compared has to be complete.
    rest.lay(root)?.open(root.try_clone()?)?.fill()?;
    mounted.collect(&build.engine, &snapshot, &[])?;
    Ok(snapshot.into())
}

fn heredoc(source: &CopySource) -> Option<&Script> {
    match source {
        CopySource::Heredoc(script) => Some(script),
        CopySource::Path(_) | CopySource::Url(_) | CopySource::Git(_) => None,
    }
}

impl From<Snapshot<Open>> for Laid {
    /// What is complete.
    fn from(snapshot: Snapshot<Open>) -> Self {
        Self { snapshot, unfilled: Unfilled::default(), _from: Vec::new() }
    }
}

impl Laid {
    /// Fills the large files.
    fn fill(self) -> Result<Snapshot<Open>, Error> {
        self.unfilled.open(RootDir::open(self.snapshot.fs())?)?.fill()?;
        Ok(self.snapshot)
    }
}

fn owner(
    build: &Build,
    copy: &Copy,
    root: &RootDir,
    below: &[SnapshotId],
) -> Result<Option<(u32, u32)>, Error> {
    let Some(chown) = &copy.chown else { return Ok(None) };
    if !copy.link {
        return Ok(Some(filetree::resolve_owner(root, chown)?));
    }
    // The new layer is empty; names are those of the root file system that it will be put on.
    let merged = rootfs::readable(&build.engine, below)?;
    Ok(Some(filetree::resolve_owner(merged.root(), chown)?))
}

/// Makes a directory context into the base of a stage: one layer with its files.
pub(crate) fn context_as_base(build: &Arc<Build>, stage: &Stage, name: &str) -> Result<Tip, Error> {
    let origin = Origin::Named { name: name.to_owned(), platform: None };
    let copy = Copy::new(origin, vec![CopySource::Path("/".to_owned())], "/");
    let op = plan::Op::Copy(copy.clone());
    let contents = Contents::of(build, &op, u64::MAX, None)?;
    let below = StepKey::scratch(&stage.platform);
    let derived = StepKey::derive(&below, &op, contents.digests());
    let known = build.engine.store().record(derived.key.as_bytes())?;
    let record = match known {
        Some(record) => record,
        None => {
            let began = commit::now();
            let record = Record {
                snapshot: rootfs::seal(&build.engine, run(build, &copy, contents, &[])?.fill()?)?,
                below: None,
                began: Some(began),
                created: commit::now(),
                description: format!("FROM {name}"),
                ingredients: Vec::new(),
            };
            build.engine.store().put_record(derived.key.as_bytes(), &record)?;
            record
        }
    };
    let Made { snapshot, created, span } = Made::of(&record);
    build.lease.hold(&snapshot)?;
    if build.is_in_image(stage.id) {
        build.packing.begin(build, snapshot, |source| source)?;
    }
    Ok(Tip {
        key: derived.key,
        snapshots: vec![snapshot],
        made: vec![span],
        created: Some(created.clone()),
        past: Past { history: vec![commit::base_entry(created)], ..Past::default() },
        inherited: 0,
        base_created: None,
        base: None,
    })
}
