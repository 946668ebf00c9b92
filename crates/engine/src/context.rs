//! The build context and the named ones: the Dockerfile's text, and trees to copy from.
//!
//! A context directory is read in place. Nothing of it is looked at before an instruction names it. Where the Dockerfile's text
//! comes from is in `context/text.rs`.

mod text;

use std::{
    collections::BTreeMap,
    io::Cursor,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use dockerfile::{Diagnostic, Dockerfile};
use filetree::{DirectoryId, Owners, Patterns, RootDir, StatCache, Tree};
use oci::Platform;
use plan::Origin;
use store::{Image, Open, Snapshot};

use self::text::Text;
pub(crate) use self::text::of_directory;
use crate::{
    BuildRequest, ContextSource, DockerfileSource, Engine, Error, Events, NamedContext,
    include::Around,
    load,
    remote::{self, Asker, Fetched, Remotes},
    resolve,
    rootfs::{self, Rootfs},
    schedule::Build,
};

/// An ignore file larger than this is refused.
const MAX_IGNORE_FILE: u64 = 1 << 20;

/// A Dockerfile larger than this is refused.
pub(crate) const MAX_TEXT: u64 = dockerfile::MAX_FILE as u64;

/// Everything that a build may read files from, besides its stages.
#[derive(Debug)]
pub(crate) struct Contexts {
    dockerfile: Text,
    main: Option<Main>,
    /// The ignore file of the main context, once it was looked for.
    ignore: OnceLock<Option<(PathBuf, Patterns)>>,
    /// What the build has fetched, for its contexts and its steps.
    remotes: Remotes,
    named: BTreeMap<String, NamedContext>,
    /// Trees that are open, by what they show.
    trees: Mutex<BTreeMap<String, Arc<Tree>>>,
    /// The root file systems behind some of them.
    rootfs: Mutex<Vec<Rootfs>>,
    /// The trees that have a stat cache.
    stat_caches: Mutex<Vec<Arc<Tree>>>,
}

/// The main context.
#[derive(Debug)]
enum Main {
    Directory(PathBuf),
    /// An unpacked archive.
    Unpacked(Snapshot<Open>),
    /// From elsewhere.
    Fetched(Fetched),
}

impl Contexts {
    /// Reads the Dockerfile, unpacks the context if it is an archive, and fetches it if it is elsewhere.
    pub(crate) fn open(
        engine: &Engine,
        request: &BuildRequest,
        events: &Events,
    ) -> Result<Self, Error> {
        let remotes = Remotes::default();
        let asker = Asker { engine, request, events, remotes: &remotes };
        let mut dockerfile = None;
        let main = match &request.context {
            ContextSource::Nothing => None,
            ContextSource::Directory(path) => Some(Main::Directory(directory(path)?)),
            ContextSource::Archive(bytes) => Some(Main::Unpacked(unpacked(engine, bytes)?)),
            ContextSource::Git(source) => {
                Some(Main::Fetched(waiting(|| remote::git::context(asker, source))?))
            }
            ContextSource::Web(address) => {
                let context = waiting(|| remote::web::main_context(asker, address))?;
                dockerfile = context.dockerfile;
                Some(Main::Fetched(context.files))
            }
        };
        let dockerfile = match (&request.dockerfile, dockerfile) {
            (DockerfileSource::Web(address), _) => {
                let (name, bytes) = waiting(|| remote::web::text(asker, address))?;
                Text { name, bytes, path: None }
            }
            // A context that is a Dockerfile has no other.
            (DockerfileSource::InContext | DockerfileSource::Named(_), Some((name, bytes))) => {
                Text { name, bytes, path: None }
            }
            (source, _) => text::read(engine, source, main.as_ref())?,
        };
        Ok(Self {
            dockerfile,
            main,
            ignore: OnceLock::new(),
            remotes,
            named: request.named_contexts.clone(),
            trees: Mutex::default(),
            rootfs: Mutex::default(),
            stat_caches: Mutex::default(),
        })
    }

    /// What the build has fetched.
    pub(crate) fn remotes(&self) -> &Remotes {
        &self.remotes
    }

    /// Parses the Dockerfile up to the first mistake.
    pub(crate) fn parse(&self, engine: &Engine) -> (Dockerfile, Option<Diagnostic>) {
        let Text { name, bytes, .. } = &self.dockerfile;
        dockerfile::parse_as_far_as_possible(name, bytes, &Around { contexts: self, engine })
    }

    /// What messages call the Dockerfile; its path, if it is a file of the main context.
    pub(crate) fn dockerfile_name(&self) -> &str {
        &self.dockerfile.name
    }

    /// Where the Dockerfile is on the host.
    pub(crate) fn dockerfile_path(&self) -> Option<&Path> {
        self.dockerfile.path.as_deref()
    }

    /// The root of the main context, if there is one.
    pub(crate) fn main_root(&self, engine: &Engine) -> Result<Option<RootDir>, Error> {
        Ok(match &self.main {
            Some(Main::Directory(path)) => Some(RootDir::open_foreign(path)?),
            Some(Main::Unpacked(snapshot)) => Some(RootDir::open(snapshot.fs())?),
            Some(Main::Fetched(fetched)) => Some(fetched.tree(engine)?.root),
            None => None,
        })
    }

    /// Names what an origin shows, if that never changes.
    pub(crate) fn identity(
        &self,
        build: &Build,
        origin: &Origin,
    ) -> Result<Option<Vec<u8>>, Error> {
        match origin {
            Origin::Context => Ok(match &self.main {
                Some(Main::Fetched(fetched)) => Some(fetched.identity.clone()),
                Some(Main::Directory(_) | Main::Unpacked(_)) | None => None,
            }),
            Origin::Scratch => Ok(Some(Vec::new())),
            Origin::Stage(id) => {
                let tip = build.result(*id)?;
                Ok(Some(format!("{:?}", tip.snapshots).into_bytes()))
            }
            Origin::Image { reference, platform } => {
                let image =
                    resolve::image_blocking(&build.engine, reference, platform, &build.events)?;
                Ok(Some(image.id.to_string().into_bytes()))
            }
            Origin::Named { name, platform } => {
                if let Some(fetched) = self.named_fetched(build, name)? {
                    return Ok(Some(fetched.identity));
                }
                let image = self.origin_image(build, name, platform.as_ref())?;
                Ok(image.map(|image| image.id.to_string().into_bytes()))
            }
        }
    }

    /// Returns what was given for a named context.
    pub(crate) fn named_context(&self, name: &str) -> Result<&NamedContext, Error> {
        self.named.get(name).ok_or_else(|| Error::Context {
            value: name.to_owned(),
            reason: "no `--build-context` has this name",
        })
    }

    /// Returns the image that a named context is, if it is one. May wait for a registry.
    pub(crate) fn named_image(
        &self,
        engine: &Engine,
        name: &str,
        platform: &Platform,
        events: &Events,
    ) -> Result<Option<Image>, Error> {
        match self.named_context(name)? {
            NamedContext::Image(reference) => {
                resolve::image_blocking(engine, reference, platform, events).map(Some)
            }
            NamedContext::Layout { path, name } => {
                load::layout_image(engine, path, name.as_deref(), platform).map(Some)
            }
            NamedContext::Scratch
            | NamedContext::Directory(_)
            | NamedContext::Git(_)
            | NamedContext::Web(_) => Ok(None),
        }
    }

    /// Returns what a named context is that is elsewhere. Each is fetched once.
    fn named_fetched(&self, build: &Build, name: &str) -> Result<Option<Fetched>, Error> {
        match self.named_context(name)? {
            NamedContext::Git(source) => remote::git::context(build.asker(), source).map(Some),
            NamedContext::Web(address) => remote::web::context(build.asker(), address).map(Some),
            NamedContext::Image(_)
            | NamedContext::Scratch
            | NamedContext::Layout { .. }
            | NamedContext::Directory(_) => Ok(None),
        }
    }

    /// Opens the files of an origin; the same tree each time.
    pub(crate) fn tree(&self, build: &Build, origin: &Origin) -> Result<Arc<Tree>, Error> {
        let key = format!("{origin:?}");
        let mut trees = self.trees.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(tree) = trees.get(&key) {
            return Ok(Arc::clone(tree));
        }
        let tree = match origin {
            Origin::Context => self.open_main(&build.engine)?,
            Origin::Named { name, platform } => self.open_named(build, name, platform.as_ref())?,
            Origin::Stage(id) => {
                let tip = build.result(*id)?;
                self.open_rootfs(rootfs::readable(&build.engine, &tip.snapshots)?)?
            }
            Origin::Image { reference, platform } => {
                let image =
                    resolve::image_blocking(&build.engine, reference, platform, &build.events)?;
                build.lease.hold_image(&image.id)?;
                self.open_rootfs(rootfs::merged(&build.engine, &image)?)?
            }
            Origin::Scratch => self.open_rootfs(rootfs::readable(&build.engine, &[])?)?,
        };
        trees.insert(key, Arc::clone(&tree));
        Ok(tree)
    }

    fn open_main(&self, engine: &Engine) -> Result<Arc<Tree>, Error> {
        match &self.main {
            Some(Main::Directory(path)) => {
                let ignore = self.main_ignore_file()?.map(|(_, patterns)| patterns);
                self.open_directory(engine, path, ignore)
            }
            // The ignore file in an archive is for whoever packed it.
            Some(Main::Unpacked(snapshot)) => {
                Ok(Arc::new(Tree::new(RootDir::open(snapshot.fs())?, Owners::Root)))
            }
            Some(Main::Fetched(fetched)) => Ok(Arc::new(fetched.tree(engine)?)),
            None => Err(Error::Context {
                value: "-".to_owned(),
                reason: "a Dockerfile from standard input has no context to copy from; give a directory, and the Dockerfile by `-f -`",
            }),
        }
    }

    /// The image that an origin is, if it is one: a context that is none is not wanted for a platform.
    fn origin_image(
        &self,
        build: &Build,
        name: &str,
        platform: Option<&Platform>,
    ) -> Result<Option<Image>, Error> {
        let Some(platform) = platform else { return Ok(None) };
        self.named_image(&build.engine, name, platform, &build.events)
    }

    fn open_named(
        &self,
        build: &Build,
        name: &str,
        platform: Option<&Platform>,
    ) -> Result<Arc<Tree>, Error> {
        if let Some(image) = self.origin_image(build, name, platform)? {
            return self.open_rootfs(rootfs::merged(&build.engine, &image)?);
        }
        if let Some(fetched) = self.named_fetched(build, name)? {
            return Ok(Arc::new(fetched.tree(&build.engine)?));
        }
        let NamedContext::Directory(path) = self.named_context(name)? else {
            return Err(Error::Lost { what: "a named context" });
        };
        let path = directory(path)?;
        let file = path.join(".dockerignore");
        let ignore = ignore_file(&file)?.map(|ignore| ignore.named(&file.to_string_lossy()));
        self.open_directory(&build.engine, &path, ignore)
    }

    fn open_directory(
        &self,
        engine: &Engine,
        path: &Path,
        ignore: Option<Patterns>,
    ) -> Result<Arc<Tree>, Error> {
        let stat_cache = StatCache::load(&engine.store().stat_cache_path(path)?)?;
        let tree = Arc::new(Tree {
            root: RootDir::open_foreign(path)?,
            ignore,
            owners: Owners::Root,
            stat_cache: Some(stat_cache),
            apart: Some(DirectoryId::of(engine.store().root())?),
        });
        let mut caches = self.stat_caches.lock().unwrap_or_else(PoisonError::into_inner);
        caches.push(Arc::clone(&tree));
        Ok(tree)
    }

    fn open_rootfs(&self, rootfs: Rootfs) -> Result<Arc<Tree>, Error> {
        let root = rootfs.root().try_clone()?;
        self.rootfs.lock().unwrap_or_else(PoisonError::into_inner).push(rootfs);
        Ok(Arc::new(Tree::new(root, Owners::Keep)))
    }

    /// The directory that the main context is, if it is one of the host.
    pub(crate) fn main_directory(&self) -> Option<&Path> {
        match &self.main {
            Some(Main::Directory(path)) => Some(path),
            Some(Main::Unpacked(_) | Main::Fetched(_)) | None => None,
        }
    }

    /// The ignore file of a context of the host: the one beside the Dockerfile alone; without one, that of the context.
    pub(crate) fn main_ignore_file(&self) -> Result<Option<(PathBuf, Patterns)>, Error> {
        if let Some(known) = self.ignore.get() {
            return Ok(known.clone());
        }
        let found = self.find_main_ignore_file()?;
        Ok(self.ignore.get_or_init(|| found).clone())
    }

    fn find_main_ignore_file(&self) -> Result<Option<(PathBuf, Patterns)>, Error> {
        let Some(context) = self.main_directory() else { return Ok(None) };
        if let Some(path) = &self.dockerfile.path {
            let mut beside = path.clone().into_os_string();
            beside.push(".dockerignore");
            let beside = PathBuf::from(beside);
            if let Some(patterns) = ignore_file(&beside)? {
                return Ok(Some((beside, patterns)));
            }
        }
        let path = context.join(".dockerignore");
        Ok(ignore_file(&path)?.map(|patterns| (path, patterns)))
    }

    /// Remembers what was learnt about the contexts' files. A cache that cannot be written costs the next build time,
    /// nothing else.
    pub(crate) fn save_stat_caches(&self) {
        let caches = self.stat_caches.lock().unwrap_or_else(PoisonError::into_inner);
        for tree in caches.iter() {
            if let Some(cache) = &tree.stat_cache {
                let _ = cache.save();
            }
        }
    }
}

fn directory(path: &Path) -> Result<PathBuf, Error> {
    let failed = || Error::io("open the build context", path);
    let canonical = path.canonicalize().map_err(failed())?;
    if canonical.metadata().map_err(failed())?.is_dir() {
        return Ok(canonical);
    }
    let value = path.display().to_string();
    Err(Error::Context { value, reason: "it is not a directory" })
}

fn unpacked(engine: &Engine, bytes: &[u8]) -> Result<Snapshot<Open>, Error> {
    let snapshot = engine.store().create_snapshot()?;
    let root = RootDir::open(snapshot.fs())?;
    filetree::extract_archive(Cursor::new(bytes), &root, "/", None, &engine.limits().layer)?;
    Ok(snapshot)
}

/// Waits for the network, on a thread of the runtime whose other tasks go elsewhere meanwhile.
fn waiting<T>(work: impl FnOnce() -> T) -> T {
    tokio::task::block_in_place(work)
}

/// The ignore file beside a Dockerfile that the user has named.
fn ignore_file(path: &Path) -> Result<Option<Patterns>, Error> {
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else { return Ok(None) };
    let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
    let name = name.to_string_lossy();
    let Some(bytes) = of_directory(directory, &name, MAX_IGNORE_FILE)? else {
        return Ok(None);
    };
    let patterns = Patterns::parse(&bytes).map_err(|source| Error::IgnoreFile {
        path: path.to_owned(),
        line: source.line(),
        source,
    })?;
    Ok(Some(patterns.named(&name)))
}
