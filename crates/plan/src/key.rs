//! Keys: what the cache is asked for. The key of a step says what its result depends on, and nothing else.
//!
//! | input | in the key? |
//! |---|---|
//! | the base: `scratch` | platform |
//! | the base: an image | its id (digest of the config); never its name or tag |
//! | the base: a directory | content digest, platform |
//! | everything below the step | by the key of the step before; not for an independent `--link` copy |
//! | steps that edit the config | not at all: the key of the step before stands for them, too |
//! | `WORKDIR` | path, user, `SOURCE_DATE_EPOCH`; `WORKDIR /` does nothing and is not in any key |
//! | `RUN`: command | argv with the shell, the text of a script |
//! | `RUN`: environment | every ARG and ENV in effect, in order, needed or not |
//! | `RUN`: proxy variables | **no** |
//! | `RUN`: working directory, user, host name, network, security | yes |
//! | `RUN`: limits of each process, size of `/dev/shm`, further host names | yes; **not** the addresses of the names |
//! | `RUN`: limits of memory and processors | **no** |
//! | `RUN`: bind mounts | target, path in the origin, read-write; the **content** selected, not where it comes from |
//! | `RUN`: cache mounts | target, path, read-only, sharing, mode, uid, gid; **not** the id, never what is in the cache |
//! | `RUN`: tmpfs mounts | target, size |
//! | `RUN`: secrets and ssh | target, id, variable, required, mode, uid, gid; **never** the secret |
//! | `COPY`, `ADD`: `SOURCE_DATE_EPOCH` | yes: it is the time of what they make |
//! | `COPY`, `ADD`: flags | destination, `--chown`, `--chmod`, `--link` in effect, `--parents`, `--exclude`, `--unpack`, `--keep-git-dir` |
//! | `COPY`: `--if-exists` | **no**: the content says what was there |
//! | `ADD`: `--checksum` | **no**: it is checked before the key is asked for, and the content says the rest |
//! | `COPY`, `ADD`: paths | the last component (all of the path with `--parents`), and the **content** selected; not where it comes from |
//! | `COPY`, `ADD`: heredocs | name and text |
//! | `ADD`: addresses | the file name for http, nothing for git; the content |
//! | modification times, host paths, titles, created_by, lines, stage names | **no** |
//!
//! The content digests are the caller's business: this room is pure. So equal content found by another way, such as
//! a stage built anew with the same result, leads to the same key, and later steps are found again.
//!
//! The format that is hashed (BLAKE3): [`VERSION`], a tag for what the key is of, then the fields in a fixed order.
//! Numbers are 8 bytes, little-endian; texts and lists have their length in front; an optional value has a byte 0 or 1 in
//! front; an enum is a byte. Any change of the format or of what a step does with the same inputs needs a new version.

mod recipe;
#[cfg(test)]
pub(crate) mod tests;

use std::fmt;

use oci::{ContentDigest, ImageId, Platform};

use self::recipe::{Recipe, Writer};
use crate::dump;
use crate::{Copy, CopySource, Mount, MountKind, Network, Op, Run, Security, Sharing, Workdir};

/// Version of the format. Keys of different versions never meet.
pub const VERSION: u64 = 4;

/// What people call the time that everything new has.
const EPOCH: &str = "SOURCE_DATE_EPOCH";

/// What stands in front of the fields: what the key is of.
mod tag {
    pub(super) const SCRATCH: u8 = 1;
    pub(super) const IMAGE: u8 = 2;
    pub(super) const DIRECTORY: u8 = 3;
    pub(super) const RUN: u8 = 4;
    pub(super) const COPY: u8 = 5;
    pub(super) const WORKDIR: u8 = 6;
    pub(super) const LINK_ROOT: u8 = 7;
    pub(super) const STACKED: u8 = 8;
}

/// The key of a step's result. Equal keys mean results that may stand in for one another.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StepKey([u8; 32]);

/// One thing that went into a key: kept with the result, so that a later miss can be explained.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ingredient {
    /// What it is: `command`, `ENV CFLAGS`, `content src/`. Repeated for several sources or mounts of one name.
    pub name: String,
    /// Its value as text.
    pub value: String,
}

/// A key with what went into it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Derived {
    /// The key of what the step makes.
    pub key: StepKey,
    /// The key of the root file system with that on top: what the next step is derived from. The same as `key`, but for
    /// an independent `--link` copy, whose layer may lie on different root file systems.
    pub on_top: StepKey,
    /// What went into it, in a fixed order; none for a step that does not change the key.
    pub ingredients: Vec<Ingredient>,
}

impl Derived {
    /// What an op derives that touches no file.
    fn unchanged(parent: &StepKey) -> Self {
        Self { key: *parent, on_top: *parent, ingredients: Vec::new() }
    }
}

impl StepKey {
    /// The key of an empty root file system.
    pub fn scratch(platform: &Platform) -> Self {
        let mut writer = Writer::new(tag::SCRATCH);
        writer.text(&platform.to_string());
        writer.finish()
    }

    /// The key of an image's root file system.
    pub fn image(id: &ImageId) -> Self {
        let mut writer = Writer::new(tag::IMAGE);
        writer.text(&id.to_string());
        writer.finish()
    }

    /// The key of a directory that is used as a root file system: a named context in FROM.
    pub fn directory(content: &ContentDigest, platform: &Platform) -> Self {
        let mut writer = Writer::new(tag::DIRECTORY);
        writer.text(&platform.to_string());
        writer.bytes(content.as_bytes());
        writer.finish()
    }

    /// The key of what `op` makes of the result with the key `parent`.
    ///
    /// `contents` are the digests of what the op takes from elsewhere, in a fixed order: for COPY and ADD one for all
    /// paths together, if there are any, and then one for each address in the order of the sources; for RUN one for
    /// each mount with an [origin](Mount::origin), in their order.
    pub fn derive(parent: &StepKey, op: &Op, contents: &[ContentDigest]) -> Derived {
        match op {
            Op::Config => Derived::unchanged(parent),
            Op::Workdir(workdir) if workdir.path == "/" => Derived::unchanged(parent),
            Op::Workdir(workdir) => derive_workdir(parent, workdir),
            Op::Run(run) => derive_run(parent, run, contents),
            Op::Copy(copy) => derive_copy(parent, copy, contents),
        }
    }

    /// Returns the bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Parses what [`Display`](fmt::Display) writes: 64 hexadecimal digits in lower case.
    pub fn parse(text: &str) -> Option<Self> {
        let hash = blake3::Hash::from_hex(text).ok()?;
        let key = Self(*hash.as_bytes());
        (key.to_string() == text).then_some(key)
    }
}

impl fmt::Display for StepKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&blake3::Hash::from_bytes(self.0).to_hex())
    }
}

impl fmt::Debug for StepKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StepKey({self})")
    }
}

fn derive_workdir(parent: &StepKey, workdir: &Workdir) -> Derived {
    let Workdir { path, user, created } = workdir;
    let mut recipe = Recipe::new(tag::WORKDIR, Some(parent));
    recipe.text("path", path);
    recipe.text("user", user);
    recipe.optional(EPOCH, created.map(|seconds| seconds.to_string()).as_deref());
    recipe.finish()
}

fn derive_run(parent: &StepKey, run: &Run, contents: &[ContentDigest]) -> Derived {
    // Every field is named, so that a new one cannot be forgotten.
    let Run {
        argv,
        env,
        proxy_env: _,
        workdir,
        user,
        network,
        security,
        mounts,
        script,
        hostname,
        settings,
    } = run;
    let mut recipe = Recipe::new(tag::RUN, Some(parent));
    recipe.list("command", argv);
    recipe.writer.number(env.len());
    for (name, value) in env {
        recipe.writer.text(name);
        recipe.text(&format!("ENV {name}"), value);
    }
    recipe.text("workdir", workdir);
    recipe.text("user", user);
    recipe.choice("network", network_tag(*network), dump::network(*network));
    recipe.choice("security", security_tag(*security), dump::security(*security));
    recipe.text("hostname", hostname);
    recipe.writer.number(settings.len());
    for (name, value) in settings {
        recipe.writer.text(name);
        recipe.text(name, value);
    }
    recipe.writer.number(mounts.len());
    for mount in mounts {
        write_mount(&mut recipe.writer, mount);
        recipe.add(&format!("mount {}", mount.target), dump::mount_options(mount));
    }
    recipe.writer.option(script.as_ref(), |writer, script| writer.script(script));
    if let Some(script) = script {
        recipe.add(&format!("script {}", script.name), script.body.clone());
    }
    let targets = mounts.iter().filter(|mount| mount.origin().is_some());
    recipe.contents(targets.map(|mount| mount.target.clone()), contents);
    recipe.finish()
}

fn derive_copy(parent: &StepKey, copy: &Copy, contents: &[ContentDigest]) -> Derived {
    let Copy {
        add,
        origin: _,
        sources,
        dest,
        chown,
        chmod,
        link,
        parents,
        if_exists: _,
        exclude,
        unpack,
        checksum: _,
        keep_git_dir,
        created,
    } = copy;
    // Names of owners are looked up below, so such a copy is not independent of it.
    let independent = *link && chown.as_deref().is_none_or(is_numeric_owner);
    let mut recipe = Recipe::new(tag::COPY, (!independent).then_some(parent));
    recipe.choice("instruction", u8::from(*add), if *add { "ADD" } else { "COPY" });
    recipe.text("destination", dest);
    recipe.optional("--chown", chown.as_deref());
    recipe.optional("--chmod", chmod.as_deref());
    recipe.choice("--link", u8::from(*link), if *link { "true" } else { "false" });
    recipe.choice("--parents", u8::from(*parents), if *parents { "true" } else { "false" });
    recipe.list("--exclude", exclude);
    recipe.optional("--unpack", unpack.map(|on| if on { "true" } else { "false" }));
    recipe.optional("--keep-git-dir", keep_git_dir.map(|on| if on { "true" } else { "false" }));
    recipe.optional(EPOCH, created.map(|seconds| seconds.to_string()).as_deref());
    recipe.writer.number(sources.len());
    for source in sources {
        write_source(&mut recipe, source, *parents);
    }
    let mut names = Vec::new();
    let paths: Vec<&str> = sources.iter().filter_map(path_of).collect();
    if !paths.is_empty() {
        names.push(paths.join(" "));
    }
    names.extend(sources.iter().filter_map(address_of).map(str::to_owned));
    recipe.contents(names.into_iter(), contents);
    let derived = recipe.finish();
    let on_top = if independent { stacked(parent, &derived.key) } else { derived.key };
    Derived { on_top, ..derived }
}

/// The key of a layer that depends on nothing below it, on top of a root file system.
fn stacked(below: &StepKey, layer: &StepKey) -> StepKey {
    let mut writer = Writer::new(tag::STACKED);
    writer.bytes(&below.0);
    writer.bytes(&layer.0);
    writer.finish()
}

fn write_source(recipe: &mut Recipe, source: &CopySource, parents: bool) {
    match source {
        CopySource::Path(path) => {
            let name = if parents { path } else { last_component(path) };
            recipe.writer.byte(1);
            recipe.text("source", name);
        }
        CopySource::Heredoc(script) => {
            recipe.writer.byte(2);
            recipe.writer.script(script);
            recipe.add(&format!("heredoc {}", script.name), script.body.clone());
        }
        CopySource::Url(url) => {
            recipe.writer.byte(3);
            recipe.text("source", last_component(url.split(['?', '#']).next().unwrap_or(url)));
        }
        CopySource::Git(_) => recipe.writer.byte(4),
    }
}

fn path_of(source: &CopySource) -> Option<&str> {
    match source {
        CopySource::Path(path) => Some(path),
        CopySource::Heredoc(_) | CopySource::Url(_) | CopySource::Git(_) => None,
    }
}

fn address_of(source: &CopySource) -> Option<&str> {
    match source {
        CopySource::Url(address) | CopySource::Git(address) => Some(address),
        CopySource::Path(_) | CopySource::Heredoc(_) => None,
    }
}

/// The name under which a file lands in a directory.
fn last_component(path: &str) -> &str {
    path.trim_end_matches('/').rsplit('/').next().unwrap_or(path)
}

fn is_numeric_owner(owner: &str) -> bool {
    owner.split(':').all(|id| !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit()))
}

fn write_mount(writer: &mut Writer, mount: &Mount) {
    let Mount { target, kind } = mount;
    writer.text(target);
    match kind {
        MountKind::Bind { origin: _, source, read_write } => {
            writer.byte(1);
            writer.text(source);
            writer.byte(u8::from(*read_write));
        }
        MountKind::Cache {
            id: _,
            origin: _,
            source,
            read_only,
            sharing,
            mode,
            uid,
            gid,
            owned: _,
        } => {
            writer.byte(2);
            writer.text(source);
            writer.byte(u8::from(*read_only));
            writer.byte(sharing_tag(*sharing));
            writer.owner(*mode, *uid, *gid);
        }
        MountKind::Tmpfs { size } => {
            writer.byte(3);
            writer.option(*size, |writer, size| writer.bytes(&size.to_le_bytes()));
        }
        MountKind::Secret { id, env, required, mode, uid, gid } => {
            writer.byte(4);
            writer.text(id);
            writer.option(env.as_deref(), Writer::text);
            writer.byte(u8::from(*required));
            writer.owner(*mode, *uid, *gid);
        }
        MountKind::Ssh { id, required, mode, uid, gid } => {
            writer.byte(5);
            writer.text(id);
            writer.byte(u8::from(*required));
            writer.owner(*mode, *uid, *gid);
        }
    }
}

fn network_tag(network: Network) -> u8 {
    match network {
        Network::Default => 0,
        Network::None => 1,
        Network::Host => 2,
    }
}

fn security_tag(security: Security) -> u8 {
    match security {
        Security::Sandbox => 0,
        Security::Insecure => 1,
    }
}

fn sharing_tag(sharing: Sharing) -> u8 {
    match sharing {
        Sharing::Shared => 0,
        Sharing::Private => 1,
        Sharing::Locked => 2,
    }
}
