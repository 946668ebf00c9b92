//! Which files an operation depends on, and what they contain: the part of a key that only the world can tell.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Instant,
};

use filetree::{Changes, Selection, Tree, Wanted, digest::Reading};
use oci::ContentDigest;
use plan::{Copy, CopySource, Mount, MountKind, Op, Origin};

use crate::{Error, Event, StepNumber, remote, schedule::Build};

/// Seconds between two words about how far reading files has come.
const PACE: u64 = 5;

/// The contents of an operation: their digests, and what was selected if it was looked at already.
#[derive(Debug)]
pub(crate) struct Contents {
    digests: Vec<ContentDigest>,
    selected: Option<Selected>,
}

/// Files of a tree.
#[derive(Debug)]
pub(crate) struct Selected {
    pub(crate) tree: Arc<Tree>,
    pub(crate) selection: Selection,
}

impl Contents {
    /// Looks at what `op` depends on. Results of stages and images never change, so what they contain is remembered. A file that
    /// is copied and has more than `most` bytes is refused before it is read. If reading takes long, it is told of the `step`.
    pub(crate) fn of(
        build: &Arc<Build>,
        op: &Op,
        most: u64,
        step: Option<StepNumber>,
    ) -> Result<Self, Error> {
        match op {
            Op::Config | Op::Workdir(_) => Ok(Self { digests: Vec::new(), selected: None }),
            Op::Copy(copy) => Self::of_copy(build, copy, most, step),
            Op::Run(run) => {
                let mounts = run.mounts.iter().filter(|mount| mount.origin().is_some());
                let digests =
                    mounts.map(|mount| of_mount(build, mount, step)).collect::<Result<_, _>>()?;
                Ok(Self { digests, selected: None })
            }
        }
    }

    fn of_copy(
        build: &Arc<Build>,
        copy: &Copy,
        most: u64,
        step: Option<StepNumber>,
    ) -> Result<Self, Error> {
        let mut contents = Self { digests: Vec::new(), selected: None };
        let paths = paths(&copy.sources);
        if !paths.is_empty() {
            let wanted = wanted(copy, &paths);
            let (digest, selected) = digest(build, &copy.origin, &wanted, most, step)?;
            contents.digests.push(digest);
            contents.selected = selected;
        }
        for source in &copy.sources {
            match source {
                CopySource::Path(_) | CopySource::Heredoc(_) => {}
                CopySource::Url(url) => {
                    contents.digests.push(remote::web::digest(build.asker(), copy, url)?);
                }
                CopySource::Git(address) => {
                    contents.digests.push(remote::git::digest(build.asker(), copy, address)?);
                }
            }
        }
        Ok(contents)
    }

    /// The digests, in the order in which a key wants them.
    pub(crate) fn digests(&self) -> &[ContentDigest] {
        &self.digests
    }

    /// How the files of a context differ from when they were looked at for the last time, as far as that is remembered.
    pub(crate) fn changes(&self) -> Changes {
        let selected = self.selected.as_ref();
        selected.map(|it| it.selection.changes(&it.tree)).unwrap_or_default()
    }

    /// Returns the files that a COPY takes, in the order of its sources; heredocs apart.
    ///
    /// Paths that stand side by side are one selection.
    pub(crate) fn into_selected(
        mut self,
        build: &Arc<Build>,
        copy: &Copy,
    ) -> Result<Vec<Selected>, Error> {
        let all = paths(&copy.sources);
        let mut selected = Vec::new();
        for sources in copy.sources.chunk_by(|a, b| is_path(a) == is_path(b)) {
            let paths = paths(sources);
            if paths.is_empty() {
                for source in sources {
                    selected.extend(select_remote(build, copy, source)?);
                }
                continue;
            }
            let known = if paths == all { self.selected.take() } else { None };
            selected.push(match known {
                Some(known) => known,
                None => select(build, &copy.origin, &wanted(copy, &paths))?,
            });
        }
        Ok(selected)
    }
}

fn is_path(source: &CopySource) -> bool {
    matches!(source, CopySource::Path(_))
}

fn paths(sources: &[CopySource]) -> Vec<String> {
    let path = |source: &CopySource| match source {
        CopySource::Path(path) => Some(path.clone()),
        CopySource::Heredoc(_) | CopySource::Url(_) | CopySource::Git(_) => None,
    };
    sources.iter().filter_map(path).collect()
}

fn select_remote(
    build: &Arc<Build>,
    copy: &Copy,
    source: &CopySource,
) -> Result<Option<Selected>, Error> {
    let taken = match source {
        CopySource::Path(_) | CopySource::Heredoc(_) => return Ok(None),
        CopySource::Url(url) => remote::web::select(build.asker(), copy, url)?,
        CopySource::Git(address) => remote::git::select(build.asker(), copy, address)?,
    };
    Ok(Some(Selected { tree: Arc::new(taken.tree), selection: taken.selection }))
}

fn wanted<'a>(copy: &'a Copy, paths: &'a [String]) -> Wanted<'a> {
    Wanted {
        sources: paths,
        exclude: &copy.exclude,
        parents: copy.parents,
        if_exists: copy.if_exists,
        archives: copy.add && copy.unpack != Some(false),
    }
}

fn of_mount(
    build: &Arc<Build>,
    mount: &Mount,
    step: Option<StepNumber>,
) -> Result<ContentDigest, Error> {
    let (origin, source) = match &mount.kind {
        MountKind::Bind { origin, source, .. } | MountKind::Cache { origin, source, .. } => {
            (origin, source)
        }
        MountKind::Tmpfs { .. } | MountKind::Secret { .. } | MountKind::Ssh { .. } => {
            return Err(Error::Lost { what: "a mount without an origin" });
        }
    };
    let sources = [source.clone()];
    let wanted = Wanted { sources: &sources, ..Wanted::default() };
    digest(build, origin, &wanted, u64::MAX, step).map(|(digest, _)| digest)
}

fn digest(
    build: &Arc<Build>,
    origin: &Origin,
    wanted: &Wanted<'_>,
    most: u64,
    step: Option<StepNumber>,
) -> Result<(ContentDigest, Option<Selected>), Error> {
    let memo_key =
        build.contexts.identity(build, origin)?.map(|identity| memo_key(&identity, wanted));
    if let Some(key) = &memo_key
        && let Some(known) = build.engine.store().memo(key)?
    {
        return Ok((ContentDigest::new(known), None));
    }
    let selected = select(build, origin, wanted)?;
    selected.selection.refuse_larger(&selected.tree, most)?;
    let watch = Watch { build, step, begun: Instant::now(), told: AtomicU64::new(0) };
    let digest = selected.selection.digest(&selected.tree, &|reading| watch.goes_on(reading))?;
    if let Some(key) = &memo_key {
        build.engine.store().put_memo(key, digest.as_bytes())?;
    }
    Ok((digest, Some(selected)))
}

/// Watches files being read: whether the build has been ended, and how far it has come.
struct Watch<'a> {
    build: &'a Build,
    step: Option<StepNumber>,
    begun: Instant,
    /// How often it was told.
    told: AtomicU64,
}

impl Watch<'_> {
    fn goes_on(&self, reading: Reading) -> bool {
        if self.build.request.cancel.check().is_err() {
            return false;
        }
        let (told, due) = (self.told.load(Relaxed), self.begun.elapsed().as_secs() / PACE);
        // One of the threads tells it.
        if let Some(step) = self.step
            && due > told
            && self.told.compare_exchange(told, due, Relaxed, Relaxed).is_ok()
        {
            let Reading { done, size } = reading;
            self.build.events.send(Event::Reading { step, done, size });
        }
        true
    }
}

/// Selects files of an origin.
pub(crate) fn select(
    build: &Arc<Build>,
    origin: &Origin,
    wanted: &Wanted<'_>,
) -> Result<Selected, Error> {
    let tree = build.contexts.tree(build, origin)?;
    let selection = filetree::select(&tree, wanted)?;
    Ok(Selected { tree, selection })
}

/// Names a selection of something that never changes. Every part is preceded by its length, so that no two selections
/// have the same text.
fn memo_key(identity: &[u8], wanted: &Wanted<'_>) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    let mut part = |bytes: &[u8]| {
        hasher.update(&(bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    };
    part(b"kiln selection 1");
    part(identity);
    part(&[wanted.parents, wanted.if_exists, wanted.archives].map(u8::from));
    part(&(wanted.sources.len() as u64).to_le_bytes());
    for text in wanted.sources.iter().chain(wanted.exclude) {
        part(text.as_bytes());
    }
    *hasher.finalize().as_bytes()
}
