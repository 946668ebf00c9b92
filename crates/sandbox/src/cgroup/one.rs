//! Groups of version 1, which has a hierarchy for each controller.

use std::fs;
use std::io;
use std::path::Path;
use std::path::PathBuf;

use crate::Error;
use crate::cgroup::Directory;
use crate::cgroup::Groups;
use crate::cgroup::Resources;
use crate::cgroup::Version;
use crate::cgroup::directory::make_directory;
use crate::cgroup::directory::own_name;
use crate::cgroup::directory::remove_left_over;
use crate::cgroup::find::Hierarchy;
use crate::cgroup::settings;
use crate::cgroup::settings::Controller;
use crate::cgroup::settings::cannot_write;
use crate::cgroup::settings::write;

impl Groups {
    /// Makes a group in a hierarchy of version 1, which has its own for each controller. It is in a group
    /// of kiln's at the top, as Docker's are in one of Docker's; an ordinary user's is in the group that kiln is in, if that
    /// was handed over.
    pub(super) fn make_in_one(
        &mut self,
        controller: Controller,
        one: &Hierarchy,
        resources: &Resources,
    ) -> Result<(), Error> {
        let all = match &resources.parent {
            Some(parent) => one.mount.join(parent),
            None => one.mount.join("kiln"),
        };
        if resources.parent.is_some() {
            self.make_above(&one.mount, &all)
                .map_err(|source| refused_in_one(controller, one, &all, source))?;
        }
        let (all, path) = match make_group(&all) {
            Err(error) if is_forbidden(&error) && resources.parent.is_none() => {
                let made = make_group(&one.own).map(|path| (one.own.clone(), path));
                made.map_err(|_| refused_in_one(controller, one, &all, error))?
            }
            made => {
                let path = made.map_err(|source| refused_in_one(controller, one, &all, source))?;
                (all, path)
            }
        };
        self.directories.push(Directory { path: path.clone(), version: Version::One });
        if controller == Controller::Cpuset {
            let above = all.ancestors().take_while(|it| *it != one.mount);
            let mut down: Vec<&Path> = above.collect();
            down.reverse();
            down.push(&path);
            for directory in down {
                inherit_cpuset(directory).map_err(cannot_write(
                    controller,
                    directory,
                    "cpuset.cpus",
                ))?;
            }
        }
        for setting in settings::of_version_1(resources) {
            if setting.controller == controller {
                setting.write_to(&path)?;
            }
        }
        Ok(())
    }
}

/// Makes a group of version 1 in another one, which may have to be made before.
fn make_group(all: &Path) -> io::Result<PathBuf> {
    let path = all.join(own_name());
    retry_once(|| {
        make_directory(all)?;
        remove_left_over(all);
        make_directory(&path)
    })?;
    Ok(path)
}

fn is_forbidden(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem)
}

fn refused_in_one(controller: Controller, one: &Hierarchy, all: &Path, source: io::Error) -> Error {
    let reason = match is_forbidden(&source) {
        true => format!(
            "this user may change the control groups neither below `{}` nor in `{}`, where this process is; those of version 1 are root's, \
             who may hand one over (chown)",
            all.parent().unwrap_or(all).display(),
            one.own.display()
        ),
        false => format!("no control group can be made in `{}`", all.display()),
    };
    controller.refused(reason, Some(source))
}

/// The group above may be removed by another sandbox's end just when it was found.
fn retry_once(make: impl Fn() -> io::Result<()>) -> io::Result<()> {
    match make() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => make(),
        result => result,
    }
}

/// A new group of version 1 has no processors and no memory, and nobody can enter it.
fn inherit_cpuset(directory: &Path) -> io::Result<()> {
    for file in ["cpuset.cpus", "cpuset.mems"] {
        let own = directory.join(file);
        if !fs::read_to_string(&own)?.trim().is_empty() {
            continue;
        }
        if let Some(above) = directory.parent() {
            write(&own, fs::read_to_string(above.join(file))?.trim())?;
        }
    }
    Ok(())
}
