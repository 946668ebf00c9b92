//! `-v`, `--mount` and `--tmpfs`: what a container finds in its file system besides the image.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    str::FromStr,
};

use serde::{Deserialize, Serialize};

use super::{BadOption, ByteSize, parse_bool};

/// Something to be seen in a container's file system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// Where, an absolute path without `.`, `..` and a slash at the end.
    pub target: String,
    /// What.
    pub kind: MountKind,
    /// Whether it cannot be written to.
    pub read_only: bool,
}

/// What a [`Mount`] shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MountKind {
    /// A directory or file of the host.
    Bind(BindOptions),
    /// A directory of the store that outlives the container.
    Volume {
        /// Its name; a new one is made when there is none.
        name: Option<String>,
        /// Whether an empty one starts with what the image has there.
        copy: bool,
    },
    /// Memory.
    Tmpfs(TmpfsOptions),
}

/// A directory or file of the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BindOptions {
    /// Where it is; absolute once [`Mount::resolve`] has seen it.
    pub source: PathBuf,
    /// Whether a directory is made if there is nothing: `-v` does, `--mount` does not.
    pub create: bool,
    /// Whether what is mounted below it is left out.
    pub non_recursive: bool,
}

/// A file system in memory.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct TmpfsOptions {
    /// Its limit in bytes.
    pub size: Option<u64>,
    /// Permission bits of its root; 1777 when not given.
    pub mode: Option<u32>,
    /// Owner of its root.
    pub uid: u32,
    /// Group of its root.
    pub gid: u32,
    /// Whether programs can be executed from it.
    pub exec: bool,
}

impl Mount {
    /// Whether it names a place of the host relative to the working directory: `./data`.
    pub fn is_relative(&self) -> bool {
        matches!(&self.kind, MountKind::Bind(bind) if bind.source.is_relative())
    }

    /// Takes a relative place of the host as being below this directory.
    pub fn resolve(&mut self, directory: &Path) {
        if let MountKind::Bind(bind) = &mut self.kind
            && bind.source.is_relative()
        {
            bind.source = directory.join(&bind.source);
        }
    }

    /// Reads `-v`: `[SOURCE:]TARGET[:OPTIONS]`, where a source that is a path is a directory or file of the host and any
    /// other the name of a volume.
    pub fn parse_volume(text: &str) -> Result<Self, BadOption> {
        let invalid =
            |why: &str| BadOption::new(format!("invalid volume specification: '{text}'{why}"));
        let parts: Vec<&str> = text.split(':').collect();
        if parts.iter().any(|part| part.is_empty()) {
            return Err(BadOption::new(format!(
                "invalid spec: {text}: empty section between colons"
            )));
        }
        let (source, target, options) = match parts[..] {
            [target] => (None, target, ""),
            [source, target] => (Some(source), target, ""),
            [source, target, options] => (Some(source), target, options),
            _ => return Err(invalid("")),
        };
        let target = target_path(target).map_err(|why| invalid(&format!(": {why}")))?;
        let (mut read_only, mut copy) = (false, true);
        for option in options.split(',').filter(|option| !option.is_empty()) {
            match option {
                "ro" => read_only = true,
                "nocopy" => copy = false,
                // SELinux' labels, the caches of Docker Desktop, and how later mounts spread, which they never do here.
                "rw" | "z" | "Z" | "cached" | "delegated" | "consistent" | "private"
                | "rprivate" => {}
                "shared" | "rshared" | "slave" | "rslave" => {
                    return Err(BadOption::new(format!(
                        "mount propagation `{option}` is not supported: mounts are private"
                    )));
                }
                _ => return Err(BadOption::new(format!("invalid mode: {options}"))),
            }
        }
        let kind = match source {
            Some(path) if path.starts_with(['/', '.']) => MountKind::Bind(BindOptions {
                source: path.into(),
                create: true,
                non_recursive: false,
            }),
            Some(name) => MountKind::Volume { name: Some(volume_name(name)?), copy },
            None => MountKind::Volume { name: None, copy },
        };
        Ok(Self { target, kind, read_only })
    }

    /// Reads `--tmpfs`: `TARGET[:OPTIONS]`.
    pub fn parse_tmpfs(text: &str) -> Result<Self, BadOption> {
        let (target, options) = text.split_once(':').unwrap_or((text, ""));
        let target = target_path(target)
            .map_err(|why| BadOption::new(format!("invalid tmpfs mount '{text}': {why}")))?;
        let mut tmpfs = TmpfsOptions::default();
        let mut read_only = false;
        for option in options.split(',').filter(|option| !option.is_empty()) {
            let (key, value) = option.split_once('=').unwrap_or((option, ""));
            let bad = || BadOption::new(format!("invalid tmpfs option \"{option}\""));
            let id = || value.parse::<u32>().map_err(|_| bad());
            match key {
                "ro" => read_only = true,
                "rw" => read_only = false,
                "exec" => tmpfs.exec = true,
                "noexec" => tmpfs.exec = false,
                // What holds anyway.
                "nosuid" | "nodev" | "private" | "rprivate" | "relatime" | "noatime" => {}
                "size" => tmpfs.size = Some(value.parse::<ByteSize>().map_err(|_| bad())?.0),
                "mode" => tmpfs.mode = Some(mode(value).ok_or_else(bad)?),
                "uid" => tmpfs.uid = id()?,
                "gid" => tmpfs.gid = id()?,
                _ => return Err(bad()),
            }
        }
        Ok(Self { target, kind: MountKind::Tmpfs(tmpfs), read_only })
    }
}

impl FromStr for Mount {
    type Err = BadOption;

    /// Reads `--mount`: `type=bind|volume|tmpfs,…`.
    fn from_str(text: &str) -> Result<Self, BadOption> {
        let mut fields = Fields::default();
        for field in csv(text)? {
            fields.take(&field)?;
        }
        fields.mount()
    }
}

/// The fields of `--mount`.
#[derive(Default)]
struct Fields {
    kind: Option<String>,
    source: Option<String>,
    target: Option<String>,
    read_only: bool,
    non_recursive: bool,
    create: bool,
    no_copy: bool,
    tmpfs: TmpfsOptions,
    /// Which kinds of mounts had options: `bind`, `volume`, `tmpfs`.
    of: BTreeSet<&'static str>,
}

impl Fields {
    fn take(&mut self, field: &str) -> Result<(), BadOption> {
        let (key, value) = match field.split_once('=') {
            Some((key, value)) => (key.to_ascii_lowercase(), Some(value)),
            None => (field.to_ascii_lowercase(), None),
        };
        let flag = || match value {
            None => Ok(true),
            Some(value) => parse_bool(value)
                .ok_or_else(|| BadOption::new(format!("invalid value for {key}: {value}"))),
        };
        match key.as_str() {
            "readonly" | "ro" => return flag().map(|it| self.read_only = it),
            "volume-nocopy" => {
                self.of.insert("volume");
                return flag().map(|it| self.no_copy = it);
            }
            "bind-nonrecursive" => {
                self.of.insert("bind");
                return flag().map(|it| self.non_recursive = it);
            }
            "bind-create-src" => {
                self.of.insert("bind");
                return flag().map(|it| self.create = it);
            }
            _ => {}
        }
        let value = value.ok_or_else(|| {
            BadOption::new(format!("invalid field '{field}' must be a key=value pair"))
        })?;
        let bad = || BadOption::new(format!("invalid value for {key}: {value}"));
        match key.as_str() {
            "type" => self.kind = Some(value.to_ascii_lowercase()),
            "source" | "src" => self.source = Some(value.to_owned()),
            "target" | "dst" | "destination" => self.target = Some(value.to_owned()),
            "consistency" => {}
            "bind-propagation" if matches!(value, "private" | "rprivate") => {
                self.of.insert("bind");
            }
            "bind-propagation" => {
                return Err(BadOption::new(format!(
                    "mount propagation `{value}` is not supported: mounts are private"
                )));
            }
            "bind-recursive" => {
                self.of.insert("bind");
                self.non_recursive = match value {
                    "enabled" | "writable" | "readonly" => false,
                    "disabled" => true,
                    _ => return Err(bad()),
                };
            }
            "volume-driver" if value == "local" => drop(self.of.insert("volume")),
            "volume-driver" | "volume-opt" | "volume-label" | "volume-subpath" => {
                return Err(BadOption::new(format!("the field {key} is not supported")));
            }
            "tmpfs-size" => {
                self.of.insert("tmpfs");
                self.tmpfs.size = Some(value.parse::<ByteSize>().map_err(|_| bad())?.0);
            }
            "tmpfs-mode" => {
                self.of.insert("tmpfs");
                self.tmpfs.mode = Some(mode(value).ok_or_else(bad)?);
            }
            _ => {
                return Err(BadOption::new(format!("unexpected key '{key}' in '{field}'")));
            }
        }
        Ok(())
    }

    fn mount(self) -> Result<Mount, BadOption> {
        let kind = self.kind.as_deref().unwrap_or("volume");
        let Some(target) = self.target else { return Err(BadOption::new("target is required")) };
        if let Some(other) = self.of.iter().find(|of| **of != kind) {
            return Err(BadOption::new(format!(
                "cannot mix '{other}-*' options with mount type '{kind}'"
            )));
        }
        let invalid =
            |why: &str| BadOption::new(format!("invalid mount config for type \"{kind}\": {why}"));
        let kind = match (kind, self.source) {
            ("bind", None) => return Err(invalid("field Source must not be empty")),
            ("bind", Some(source)) if !source.starts_with(['/', '.']) => {
                return Err(invalid(&format!(
                    "invalid mount path: '{source}' mount path must be absolute"
                )));
            }
            ("bind", Some(source)) => MountKind::Bind(BindOptions {
                source: source.into(),
                create: self.create,
                non_recursive: self.non_recursive,
            }),
            ("volume", source) => MountKind::Volume {
                name: source
                    .filter(|name| !name.is_empty())
                    .map(|it| volume_name(&it))
                    .transpose()?,
                copy: !self.no_copy,
            },
            ("tmpfs", Some(_)) => return Err(invalid("field Source must not be specified")),
            ("tmpfs", None) => MountKind::Tmpfs(self.tmpfs),
            (other, _) => {
                return Err(BadOption::new(format!("mount type unknown: \"{other}\"")));
            }
        };
        Ok(Mount {
            target: target_path(&target)
                .map_err(|why| BadOption::new(format!("invalid mount: {why}")))?,
            kind,
            read_only: self.read_only,
        })
    }
}

/// Two mounts at one place hide each other.
pub(super) fn check_unique(mounts: &[Mount]) -> Result<(), BadOption> {
    let mut targets = BTreeSet::new();
    match mounts.iter().find(|mount| !targets.insert(&mount.target)) {
        Some(mount) => Err(BadOption::new(format!("Duplicate mount point: {}", mount.target))),
        None => Ok(()),
    }
}

/// A path in the container in its shortest form.
fn target_path(path: &str) -> Result<String, String> {
    if !path.starts_with('/') {
        return Err(format!("invalid mount path: '{path}' mount path must be absolute"));
    }
    let mut names: Vec<&str> = Vec::new();
    for name in path.split('/') {
        match name {
            "" | "." => {}
            ".." => drop(names.pop()),
            name => names.push(name),
        }
    }
    if names.is_empty() {
        return Err("invalid specification: destination can't be '/'".to_owned());
    }
    Ok(format!("/{}", names.join("/")))
}

/// A name that a volume may have: it is also that of its directory.
pub fn volume_name(name: &str) -> Result<String, BadOption> {
    if !store::Volume::is_name(name) {
        return Err(BadOption::new(format!(
            "\"{name}\" includes invalid characters for a local volume name, only \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are \
             allowed. If you intended to pass a host directory, use absolute path"
        )));
    }
    Ok(name.to_owned())
}

/// Permission bits in octal.
fn mode(text: &str) -> Option<u32> {
    u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o7777)
}

/// The fields of a line of comma-separated values; `"` quotes commas, and itself when doubled.
fn csv(text: &str) -> Result<Vec<String>, BadOption> {
    let mut fields = vec![String::new()];
    let mut quoted = false;
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        let Some(field) = fields.last_mut() else { break };
        match letter {
            '"' if quoted && letters.next_if_eq(&'"').is_some() => field.push('"'),
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(String::new()),
            letter => field.push(letter),
        }
    }
    if quoted {
        return Err(BadOption::new(format!("a `\"` in '{text}' is not closed")));
    }
    Ok(fields)
}
