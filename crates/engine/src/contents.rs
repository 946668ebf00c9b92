//! Which files an operation depends on, and what they contain: the part of a key that only the world can tell.

use std::sync::Arc;

use filetree::{Selection, Tree, Wanted};
use oci::ContentDigest;
use plan::{Copy, CopySource, Mount, MountKind, Op, Origin};

use crate::{Error, schedule::Build};

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
    /// Looks at what `op` depends on. Results of stages and images never change, so what they contain is remembered.
    pub(crate) fn of(build: &Arc<Build>, op: &Op) -> Result<Self, Error> {
        match op {
            Op::Config | Op::Workdir(_) => Ok(Self { digests: Vec::new(), selected: None }),
            Op::Copy(copy) => Self::of_copy(build, copy),
            Op::Run(run) => {
                let mounts = run.mounts.iter().filter(|mount| mount.origin().is_some());
                let digests =
                    mounts.map(|mount| of_mount(build, mount)).collect::<Result<_, _>>()?;
                Ok(Self { digests, selected: None })
            }
        }
    }

    fn of_copy(build: &Arc<Build>, copy: &Copy) -> Result<Self, Error> {
        refuse_remote(copy)?;
        let paths = paths(copy);
        if paths.is_empty() {
            return Ok(Self { digests: Vec::new(), selected: None });
        }
        let wanted = wanted(copy, &paths);
        let (digest, selected) = digest(build, &copy.origin, &wanted)?;
        Ok(Self { digests: vec![digest], selected })
    }

    /// The digests, in the order in which a key wants them.
    pub(crate) fn digests(&self) -> &[ContentDigest] {
        &self.digests
    }

    /// Returns the files that a COPY takes, if it takes any.
    pub(crate) fn into_selected(
        self,
        build: &Arc<Build>,
        copy: &Copy,
    ) -> Result<Option<Selected>, Error> {
        let paths = paths(copy);
        if paths.is_empty() || self.selected.is_some() {
            return Ok(self.selected);
        }
        select(build, &copy.origin, &wanted(copy, &paths)).map(Some)
    }
}

fn paths(copy: &Copy) -> Vec<String> {
    let path = |source: &CopySource| match source {
        CopySource::Path(path) => Some(path.clone()),
        CopySource::Heredoc(_) | CopySource::Url(_) | CopySource::Git(_) => None,
    };
    copy.sources.iter().filter_map(path).collect()
}

fn wanted<'a>(copy: &'a Copy, paths: &'a [String]) -> Wanted<'a> {
    Wanted {
        sources: paths,
        exclude: &copy.exclude,
        parents: copy.parents,
        archives: copy.add && copy.unpack != Some(false),
    }
}

fn refuse_remote(copy: &Copy) -> Result<(), Error> {
    let remote = copy.sources.iter().find_map(|source| match source {
        CopySource::Url(address) | CopySource::Git(address) => Some(address),
        CopySource::Path(_) | CopySource::Heredoc(_) => None,
    });
    match remote {
        Some(address) => {
            Err(Error::Unsupported { feature: format!("ADD of a remote source (`{address}`)") })
        }
        None => Ok(()),
    }
}

fn of_mount(build: &Arc<Build>, mount: &Mount) -> Result<ContentDigest, Error> {
    let (origin, source) = match &mount.kind {
        MountKind::Bind { origin, source, .. } | MountKind::Cache { origin, source, .. } => {
            (origin, source)
        }
        MountKind::Tmpfs { .. } | MountKind::Secret { .. } | MountKind::Ssh { .. } => {
            return Err(Error::Lost { what: "a mount without an origin" });
        }
    };
    let sources = [source.clone()];
    let wanted = Wanted { sources: &sources, exclude: &[], parents: false, archives: false };
    digest(build, origin, &wanted).map(|(digest, _)| digest)
}

fn digest(
    build: &Arc<Build>,
    origin: &Origin,
    wanted: &Wanted<'_>,
) -> Result<(ContentDigest, Option<Selected>), Error> {
    let memo_key =
        build.contexts.identity(build, origin)?.map(|identity| memo_key(&identity, wanted));
    if let Some(key) = &memo_key
        && let Some(known) = build.engine.store().memo(key)?
    {
        return Ok((ContentDigest::new(known), None));
    }
    let selected = select(build, origin, wanted)?;
    let digest = selected.selection.digest(&selected.tree)?;
    if let Some(key) = &memo_key {
        build.engine.store().put_memo(key, digest.as_bytes())?;
    }
    Ok((digest, Some(selected)))
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
    part(&[u8::from(wanted.parents), u8::from(wanted.archives)]);
    part(&(wanted.sources.len() as u64).to_le_bytes());
    for text in wanted.sources.iter().chain(wanted.exclude) {
        part(text.as_bytes());
    }
    *hasher.finalize().as_bytes()
}
