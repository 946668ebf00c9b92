//! `RUN --mount`: what a command sees besides its root file system.

use std::{ffi::OsString, io, os::unix::ffi::OsStringExt, path::Path, sync::Arc};

use filetree::{Placement, Wanted};
use plan::{Mount, MountKind, Origin, Run, Sharing, StageId};
use rustix::fs::Mode;
use sandbox::MountSource;
use store::{CacheMount, Open, Snapshot};

use crate::{Error, contents, op::agent::Agent, rootfs, schedule::Build};

/// Where a secret appears if the mount names no target.
const SECRETS: &str = "/run/secrets";

/// The mounts of one RUN, and what has to live until it ends.
#[derive(Debug, Default)]
pub(crate) struct Prepared {
    pub(crate) mounts: Vec<sandbox::Mount>,
    /// Secrets that are variables.
    pub(crate) env: Vec<(String, OsString)>,
    /// What has to stay until the command ends.
    pub(crate) held: Held,
}

/// The directories behind some mounts: removed, or left to others, when this is dropped.
#[derive(Debug, Default)]
pub(crate) struct Held {
    copies: Vec<Snapshot<Open>>,
    caches: Vec<CacheMount>,
    agents: Vec<Agent>,
}

/// Prepares every `--mount` of a RUN.
pub(crate) fn prepare(build: &Arc<Build>, run: &Run, stage: StageId) -> Result<Prepared, Error> {
    let mut prepared = Prepared::default();
    let caches = prepared.take_caches(build, run, stage)?;
    for (mount, cache) in run.mounts.iter().zip(caches) {
        match &mount.kind {
            MountKind::Bind { origin, source, read_write } => {
                prepared.bind(build, mount, origin, source, *read_write)?;
            }
            MountKind::Tmpfs { size } => prepared.mounts.push(sandbox::Mount {
                target: mount.target.clone(),
                source: MountSource::Tmpfs {
                    size: *size,
                    mode: 0o1777,
                    uid: 0,
                    gid: 0,
                    exec: true,
                },
                read_only: false,
            }),
            MountKind::Secret { .. } => prepared.secret(build, mount)?,
            MountKind::Cache { origin, source, read_only, .. } => {
                let Some(cache) = cache.and_then(|place| prepared.held.caches.get(place)) else {
                    return Err(Error::Lost { what: "a cache" });
                };
                let inside = if *origin == Origin::Scratch { source.as_str() } else { "/" };
                let source = show_cache(build, cache.path(), inside, *read_only)?;
                let (target, read_only) = (mount.target.clone(), *read_only);
                prepared.mounts.push(sandbox::Mount { target, source, read_only });
            }
            MountKind::Ssh { id, required, mode, uid, gid } => {
                let Some(upstream) = build.request.ssh.get(id) else {
                    if *required {
                        return Err(Error::NoAgent { id: id.clone() });
                    }
                    continue;
                };
                let agent = Agent::start(build.engine.store(), upstream, *mode, (*uid, *gid))?;
                prepared.mounts.push(sandbox::Mount {
                    target: mount.target.clone(),
                    source: MountSource::Lent(agent.path().to_owned()),
                    read_only: false,
                });
                prepared.held.agents.push(agent);
            }
        }
    }
    Ok(prepared)
}

impl Prepared {
    /// Shows files of an origin.
    ///
    /// They are copied, as COPY would, into a directory of their own: a context's files show up with the owners and without
    /// the ignored ones that COPY knows, and whatever the command writes is gone afterwards.
    fn bind(
        &mut self,
        build: &Arc<Build>,
        mount: &Mount,
        origin: &Origin,
        source: &str,
        read_write: bool,
    ) -> Result<(), Error> {
        const NAME: &str = "source";
        let copy = rootfs::fresh(&build.engine, &[])?;
        copy_to(build, origin, source, copy.fs(), &format!("/{NAME}"))?;
        self.mounts.push(sandbox::Mount {
            target: mount.target.clone(),
            source: MountSource::Lent(copy.fs().join(NAME)),
            read_only: !read_write,
        });
        self.held.copies.push(copy);
        Ok(())
    }

    /// Takes the caches of a command, and returns which of those held is each mount's.
    ///
    /// They are taken in the order of their names, and one that is mounted twice is taken once: so no two commands wait for
    /// each other, and none for itself.
    fn take_caches(
        &mut self,
        build: &Arc<Build>,
        run: &Run,
        stage: StageId,
    ) -> Result<Vec<Option<usize>>, Error> {
        let caches = run.mounts.iter().enumerate().filter_map(|(index, mount)| {
            let (name, sharing) = cache_of(mount)?;
            // Behind the others of that name: they wait, and a private one takes what is free.
            Some((name, sharing == Sharing::Private, index, sharing))
        });
        let mut caches: Vec<_> = caches.collect();
        caches.sort_unstable_by(|left, right| (&left.0, left.1).cmp(&(&right.0, right.1)));

        let mut places = vec![None; run.mounts.len()];
        let mut last: Option<(&str, usize)> = None;
        for (name, is_private, index, sharing) in &caches {
            if let Some((_, place)) = last.filter(|(other, _)| !is_private && other == name) {
                places[*index] = Some(place);
                continue;
            }
            let is_locked = |(other, _, _, sharing): &(String, bool, usize, Sharing)| {
                other == name && *sharing == Sharing::Locked
            };
            // What is lent is there for one command at a time.
            let locks = caches.iter().any(is_locked) || !build.engine.rung().mounts();
            let sharing = match locks {
                true if !is_private => Sharing::Locked,
                _ => *sharing,
            };
            let cache = take_cache(build, &run.mounts[*index], name, sharing, stage)?;
            let place = self.held.caches.len();
            self.held.caches.push(cache);
            places[*index] = Some(place);
            if !is_private {
                last = Some((name, place));
            }
        }
        Ok(places)
    }

    /// Shows a secret, as a file, as a variable or as both. Its value touches no disk.
    fn secret(&mut self, build: &Build, mount: &Mount) -> Result<(), Error> {
        let MountKind::Secret { id, env, required, mode, uid, gid } = &mount.kind else {
            return Err(Error::Lost { what: "a secret" });
        };
        let value = build.request.secrets.get(id).map(|secret| secret.0.clone());
        if value.is_none() && *required {
            let given = build.request.secrets.keys().map(String::as_str);
            let nearest = dockerfile::nearest(id, given).map(str::to_owned);
            return Err(Error::NoSecret { id: id.clone(), nearest });
        }
        if let Some(name) = env {
            let value = OsString::from_vec(value.clone().unwrap_or_default());
            self.env.push((name.clone(), value));
        }
        let target = match (mount.target.as_str(), env) {
            ("", Some(_)) => return Ok(()),
            ("", None) => format!("{SECRETS}/{}", id.rsplit('/').next().unwrap_or(id)),
            (target, _) => target.to_owned(),
        };
        if let Some(content) = value {
            let (mode, uid, gid) = (*mode, *uid, *gid);
            let source = MountSource::File { content, mode, uid, gid };
            self.mounts.push(sandbox::Mount { target, source, read_only: true });
        }
        Ok(())
    }
}

/// A directory of a cache, as a command sees it.
fn show_cache(
    build: &Build,
    cache: &Path,
    inside: &str,
    read_only: bool,
) -> Result<MountSource, Error> {
    if build.engine.rung().mounts() {
        return Ok(MountSource::Within { root: sandbox::detach(cache)?, path: inside.to_owned() });
    }
    // What a command has left there could lead anywhere; and what is lent can be written to.
    match inside.trim_matches('/') {
        _ if read_only => {
            let what = "a cache that cannot be written to".to_owned();
            Err(sandbox::Error::NeedsNamespaces { what }.into())
        }
        "" | "." => Ok(MountSource::Lent(cache.to_owned())),
        _ => Err(sandbox::Error::NeedsNamespaces {
            what: format!("a part of a cache (`source={inside}`)"),
        }
        .into()),
    }
}

/// What the store calls a cache, and how it is shared.
///
/// Mode and owner belong to its name: a cache that was made for another user is another cache.
fn cache_of(mount: &Mount) -> Option<(String, Sharing)> {
    match &mount.kind {
        MountKind::Cache { id, sharing, mode, uid, gid, .. } => {
            Some((format!("{id}\n{mode:o} {uid}:{gid}"), *sharing))
        }
        _ => None,
    }
}

/// Takes a directory that outlives the build.
fn take_cache(
    build: &Arc<Build>,
    mount: &Mount,
    name: &str,
    sharing: Sharing,
    stage: StageId,
) -> Result<CacheMount, Error> {
    let MountKind::Cache { origin, source, mode, uid, gid, .. } = &mount.kind else {
        return Err(Error::Lost { what: "a cache" });
    };
    if build.is_uncached(stage) && build.started_caches().insert(name.to_owned()) {
        build.engine.store().forget_cache_mount(name)?;
    }
    let mut failure = None;
    let fill = |directory: &Path| {
        let filled = fill_cache(build, origin, source, directory, (*mode, *uid, *gid));
        filled.map_err(|error| {
            failure = Some(error);
            io::Error::other("the cache cannot be filled")
        })
    };
    let taken = build.engine.store().cache_mount(name, sharing_of(sharing), fill);
    taken.map_err(|error| failure.unwrap_or_else(|| error.into()))
}

fn sharing_of(sharing: Sharing) -> store::Sharing {
    match sharing {
        Sharing::Shared => store::Sharing::Shared,
        Sharing::Private => store::Sharing::Private,
        Sharing::Locked => store::Sharing::Locked,
    }
}

/// What a new cache starts with: the files of its origin, and the mode and the owner that were asked for.
fn fill_cache(
    build: &Arc<Build>,
    origin: &Origin,
    source: &str,
    directory: &Path,
    (mode, uid, gid): (u32, u32, u32),
) -> Result<(), Error> {
    if *origin != Origin::Scratch {
        copy_to(build, origin, source, directory, "/")?;
    }
    filetree::chown(directory, uid, gid).map_err(Error::errno("change the owner of", directory))?;
    rustix::fs::chmod(directory, Mode::from_raw_mode(mode))
        .map_err(Error::errno("change the mode of", directory))
}

/// Copies files of an origin as COPY would.
fn copy_to(
    build: &Arc<Build>,
    origin: &Origin,
    source: &str,
    directory: &Path,
    dest: &str,
) -> Result<(), Error> {
    let root = filetree::RootDir::open(directory)?;
    let sources = [source.to_owned()];
    let wanted = Wanted { sources: &sources, ..Wanted::default() };
    let selected = contents::select(build, origin, &wanted)?;
    let placement = Placement {
        dest: dest.to_owned(),
        owner: None,
        mode: None,
        created: None,
        budget: build.engine.limits().layer,
    };
    Ok(filetree::copy(&selected.tree, &selected.selection, &root, &placement)?)
}
