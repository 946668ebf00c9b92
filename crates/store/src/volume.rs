//! Volumes: directories that containers share and that outlive them.
//!
//! What is in them is nobody's to make again, so that nothing here drops one but who asks for it: they are no records,
//! their directories make them visible, and one whose description is broken is still there. They are not collected and
//! not synced, as no directory of a user's is.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    time::SystemTime,
};

use serde::{Deserialize, Serialize};

use crate::{
    Store,
    error::{Error, Result},
    lock::Lock,
    tmp,
};

/// The file that describes a volume, and the directory that is seen in containers.
const DESCRIPTION: &str = "volume";
const FS: &str = "fs";

/// A volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    /// Its name, which is the last part of its directory's path, too.
    pub name: String,
    /// When it was made.
    pub created: SystemTime,
    /// Whether its name was made up for one container, with which it goes.
    #[serde(default)]
    pub anonymous: bool,
    /// Its labels.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
}

/// Keeps volumes from being removed, or from being used anew, while it lives.
#[derive(Debug)]
pub struct VolumesGate {
    _lock: Lock,
}

impl Volume {
    /// Returns a new one of this name.
    pub fn new(name: &str) -> Self {
        let (name, created) = (name.to_owned(), SystemTime::now());
        Self { name, created, anonymous: false, labels: BTreeMap::new() }
    }

    /// Returns a new one of a name that nothing else has.
    pub fn anonymous() -> Self {
        let name = format!("{}{}", tmp::unique(), tmp::unique());
        Self { anonymous: true, ..Self::new(&name) }
    }

    /// Says whether it can be the name of a volume: Docker's rule, by which it is also one of a file.
    pub fn is_name(name: &str) -> bool {
        let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
        let starts = name.starts_with(|c: char| c.is_ascii_alphanumeric());
        (2..=255).contains(&name.len()) && starts && name.chars().all(fine)
    }
}

impl Store {
    /// Lets no volume be removed while containers that use some are made.
    pub fn use_volumes(&self) -> Result<VolumesGate, Error> {
        Ok(VolumesGate { _lock: Lock::shared(&self.inner.layout.volumes_lock())? })
    }

    /// Lets no container be made with volumes while it is looked up which ones are in use.
    pub fn close_volumes(&self) -> Result<VolumesGate, Error> {
        Ok(VolumesGate { _lock: Lock::exclusive(&self.inner.layout.volumes_lock())? })
    }

    /// Returns a volume, `None` if there is none of this name.
    pub fn volume(&self, name: &str) -> Result<Option<Volume>, Error> {
        if !Volume::is_name(name) {
            return Ok(None);
        }
        let directory = self.inner.layout.volume(name);
        match fs::symlink_metadata(directory.join(FS)) {
            Ok(metadata) => Ok(Some(describe(name, &directory, &metadata))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io("read", directory)(error)),
        }
    }

    /// Returns all volumes, by their names.
    pub fn volumes(&self) -> Result<Vec<Volume>, Error> {
        let mut volumes = Vec::new();
        for directory in tmp::directory_entries(&self.inner.layout.volumes())? {
            if let Some(name) = directory.file_name().and_then(|name| name.to_str()) {
                volumes.extend(self.volume(name)?);
            }
        }
        volumes.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(volumes)
    }

    /// Returns the directory that containers see of a volume.
    pub fn volume_directory(&self, name: &str) -> PathBuf {
        self.inner.layout.volume(name).join(FS)
    }

    /// Makes a volume unless there is one of its name; says whether it did. A new one is filled by `fill` first, out of
    /// sight, and not made at all if that fails. The caller knows that the name is one.
    pub fn create_volume(
        &self,
        volume: &Volume,
        fill: impl FnOnce(&Path) -> io::Result<()>,
    ) -> Result<bool, Error> {
        if self.volume(&volume.name)?.is_some() {
            return Ok(false);
        }
        let new = self.temp_dir()?;
        let directory = new.path().join(FS);
        fs::create_dir(&directory).map_err(Error::io("create", &directory))?;
        set_mode(&directory)?;
        fill(&directory).map_err(Error::io("fill", &directory))?;
        let description = new.path().join(DESCRIPTION);
        let text = serde_json::to_vec(volume).map_err(io::Error::from);
        let written = text.and_then(|text| fs::write(&description, text));
        written.map_err(Error::io("write", &description))?;
        match tmp::publish(new.path(), &self.inner.layout.volume(&volume.name)) {
            // Somebody was quicker.
            Err(_) if self.volume(&volume.name)?.is_some() => Ok(false),
            published => published.map(|()| true),
        }
    }

    /// Removes a volume with everything in it. Whether a container uses it is the caller's to know.
    ///
    /// # Errors
    /// [`Error::NoSuchVolume`].
    pub fn remove_volume(&self, name: &str) -> Result<(), Error> {
        let absent = || Error::NoSuchVolume { name: name.to_owned() };
        let Volume { name, .. } = self.volume(name)?.ok_or_else(absent)?;
        let directory = self.inner.layout.volume(&name);
        let trash = self.inner.trash();
        if trash.throw(&directory)? { Ok(()) } else { Err(absent()) }
    }
}

/// A volume is for all users of a container, whoever made it; only kiln gets as far as here on the host.
fn set_mode(directory: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let mode = fs::Permissions::from_mode(0o755);
    fs::set_permissions(directory, mode).map_err(Error::io("change the mode of", directory))
}

fn describe(name: &str, directory: &Path, metadata: &fs::Metadata) -> Volume {
    let text = fs::read(directory.join(DESCRIPTION)).unwrap_or_default();
    // A power cut may have left it empty; the directory counts.
    match serde_json::from_slice::<Volume>(&text) {
        Ok(volume) => Volume { name: name.to_owned(), ..volume },
        Err(_) => Volume {
            created: metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH),
            ..Volume::new(name)
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Scratch;

    fn nothing(_: &Path) -> io::Result<()> {
        Ok(())
    }

    fn names(store: &Store) -> Vec<String> {
        store.volumes().unwrap().into_iter().map(|volume| volume.name).collect()
    }

    #[test]
    fn one_is_made_once_and_filled_then() {
        let scratch = Scratch::new("volume");
        let store = scratch.store();
        let labels = BTreeMap::from([("a".to_owned(), "b".to_owned())]);
        let volume = Volume { labels, ..Volume::new("data") };
        let fill = |path: &Path| fs::write(path.join("f"), "x");
        assert!(store.create_volume(&volume, fill).unwrap());
        assert!(!store.create_volume(&volume, |_| panic!()).unwrap());
        assert_eq!(store.volume("data").unwrap(), Some(volume));
        assert_eq!(fs::read(store.volume_directory("data").join("f")).unwrap(), b"x");
        assert_eq!(store.volume("other").unwrap(), None);
        assert_eq!(store.volume("../data").unwrap(), None);
    }

    #[test]
    fn one_that_could_not_be_filled_is_not_there() {
        let scratch = Scratch::new("volume-fill");
        let store = scratch.store();
        let failing = |_: &Path| Err(io::Error::other("full"));
        assert!(store.create_volume(&Volume::new("data"), failing).is_err());
        assert_eq!(names(&store), [""; 0]);
    }

    #[test]
    fn removed_with_everything_in_it() {
        let scratch = Scratch::new("volume-remove");
        let store = scratch.store();
        store.create_volume(&Volume::new("data"), |path| fs::write(path.join("f"), "")).unwrap();
        store.create_volume(&Volume::new("kept"), nothing).unwrap();
        let anonymous = Volume::anonymous();
        store.create_volume(&anonymous, nothing).unwrap();
        assert_eq!(store.volumes().unwrap().iter().filter(|it| it.anonymous).count(), 1);
        store.remove_volume("data").unwrap();
        store.remove_volume(&anonymous.name).unwrap();
        assert_eq!(names(&store), ["kept"]);
        let gone = store.remove_volume("data").unwrap_err();
        assert!(matches!(gone, Error::NoSuchVolume { name } if name == "data"));
    }

    #[test]
    fn a_broken_description_loses_nothing() {
        let scratch = Scratch::new("volume-broken");
        let store = scratch.store();
        store.create_volume(&Volume::new("data"), |path| fs::write(path.join("f"), "")).unwrap();
        fs::write(scratch.root().join("volumes/data/volume"), "").unwrap();
        let volume = store.volume("data").unwrap().unwrap();
        assert_eq!((volume.name.as_str(), volume.anonymous), ("data", false));
        assert!(store.volume_directory("data").join("f").exists());
    }

    #[test]
    fn no_collection_and_no_other_boot_takes_one() {
        let scratch = Scratch::new("volume-collect");
        let store = scratch.store();
        store.create_volume(&Volume::new("data"), nothing).unwrap();
        let all = crate::Collect {
            images: crate::ImageRule::All,
            cache: crate::CacheRule::All,
            mounts: true,
        };
        store.collect(&all).unwrap();
        drop(store);
        assert_eq!(names(&scratch.store()), ["data"]);
    }

    #[test]
    fn what_can_be_a_name() {
        for good in ["ab", "a.b-c_d", "0a"] {
            assert!(Volume::is_name(good), "{good}");
        }
        for bad in ["a", "", ".a", "-a", "a/b", "a b", "..", "ä1"] {
            assert!(!Volume::is_name(bad), "{bad}");
        }
    }
}
