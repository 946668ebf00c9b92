//! Groups of version 2, which has one hierarchy for all controllers: how one is made in it.

use std::fs;
use std::io;
use std::iter;
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
use crate::cgroup::find::Hierarchies;
use crate::cgroup::settings;
use crate::cgroup::settings::Controller;
use crate::cgroup::settings::write;
use crate::cgroup::vacate;

impl Groups {
    /// Makes a group in the hierarchy of version 2: below this process's own if that can be, so that its limits hold for the new
    /// one too, and whoever ends its unit ends that as well; else as near to it as can be.
    pub(super) fn make_in_two(
        &mut self,
        controllers: &[Controller],
        hierarchies: &Hierarchies,
        resources: &Resources,
    ) -> Result<(), Error> {
        let first = controllers.first().copied().unwrap_or(Controller::Memory);
        let Some(two) = &hierarchies.two else {
            let reason = "this machine has no control groups mounted below `/sys/fs/cgroup`";
            return Err(first.refused(reason.to_owned(), None));
        };
        let offered = fs::read_to_string(two.mount.join("cgroup.controllers")).unwrap_or_default();
        let offers = |it: &Controller| offered.split_whitespace().any(|name| name == it.name());
        if let Some(missing) = controllers.iter().find(|controller| !offers(controller)) {
            let reason =
                format!("no control group of this machine has the controller `{}`", missing.name());
            return Err(missing.refused(reason, None));
        }
        if let Some(parent) = &resources.parent {
            let parent = two.mount.join(parent);
            let made = self
                .make_above(&two.mount, &parent)
                .and_then(|()| enable_down_to(&two.mount, &parent, controllers))
                .and_then(|()| make_below(&parent, controllers));
            let path = made.map_err(|source| {
                let reason = format!("no control group can be made in `{}`", parent.display());
                first.refused(reason, Some(source))
            })?;
            return self.take_in_two(path, controllers, resources);
        }
        let mut problem = None;
        let above = two.own.ancestors().skip(1).take_while(|it| it.starts_with(&two.mount));
        let above: Vec<&Path> = above.collect();
        // Made by an earlier one to make room: then there is room above it.
        let (near, far) =
            above.split_at(usize::from(vacate::is_kilns_own(&two.own)).min(above.len()));
        let made = iter::once(&*two.own)
            .chain(near.iter().copied())
            .map(|parent| make_below(parent, controllers))
            .chain(iter::once_with(|| make_in_vacated(&two.own, controllers)))
            .chain(far.iter().map(|parent| make_below(parent, controllers)));
        for made in made {
            match made {
                Ok(path) => return self.take_in_two(path, controllers, resources),
                // The first one is about the own group, which is where one would look, unless that is only busy.
                Err(error) if problem.as_ref().is_none_or(is_busy) => problem = Some(error),
                Err(_) => {}
            }
        }
        let reason = format!(
            "no control group can be made in or above `{}`, where this process is; it needs one that is handed over to \
             it with the controllers and has no processes but kiln's in it, as by: systemd-run --user --scope -p Delegate=yes kiln …",
            two.own.display()
        );
        Err(first.refused(reason, problem))
    }

    /// Writes the limits of a new group of version 2.
    fn take_in_two(
        &mut self,
        path: PathBuf,
        controllers: &[Controller],
        resources: &Resources,
    ) -> Result<(), Error> {
        self.directories.push(Directory { path: path.clone(), version: Version::Two });
        for setting in settings::of_version_2(resources) {
            if controllers.contains(&setting.controller) {
                setting.write_to(&path)?;
            }
        }
        Ok(())
    }
}

fn is_busy(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::ResourceBusy
}

/// Lets the groups from `top` to the one above `parent` pass the controllers on.
fn enable_down_to(top: &Path, parent: &Path, controllers: &[Controller]) -> io::Result<()> {
    let above = parent.ancestors().skip(1).take_while(|it| it.starts_with(top));
    let mut down: Vec<&Path> = above.collect();
    down.reverse();
    down.into_iter().try_for_each(|group| enable(group, controllers))
}

/// Makes a group of version 2 with these controllers.
///
/// One with processes in it cannot hand controllers on, but for the top one; where it seems to be able to, nothing can enter
/// what is made in it (the kernel's `cgroup-v2.rst`, "No Internal Process Constraint" and "Threads").
fn make_below(parent: &Path, controllers: &[Controller]) -> io::Result<PathBuf> {
    let is_top = !parent.join("cgroup.type").exists();
    if !is_top && !fs::read_to_string(parent.join("cgroup.procs"))?.trim().is_empty() {
        return Err(rustix::io::Errno::BUSY.into());
    }
    enable(parent, controllers)?;
    remove_left_over(parent);
    let path = parent.join(own_name());
    make_directory(&path)?;
    Ok(path)
}

/// The same in one that nobody but kiln is in.
fn make_in_vacated(group: &Path, controllers: &[Controller]) -> io::Result<PathBuf> {
    let offered = fs::read_to_string(group.join("cgroup.controllers"))?;
    let has = |it: &Controller| offered.split_whitespace().any(|name| name == it.name());
    if !controllers.iter().all(has) {
        return Err(rustix::io::Errno::BUSY.into());
    }
    vacate::vacate(group)?;
    make_below(group, controllers).inspect_err(|_| vacate::give_back(group))
}

/// Lets a group of version 2 pass these controllers on to those in it.
fn enable(group: &Path, controllers: &[Controller]) -> io::Result<()> {
    let file = group.join("cgroup.subtree_control");
    let there = fs::read_to_string(&file)?;
    let missing: Vec<String> = controllers
        .iter()
        .filter(|it| !there.split_whitespace().any(|name| name == it.name()))
        .map(|it| format!("+{}", it.name()))
        .collect();
    if !missing.is_empty() {
        write(&file, &missing.join(" "))?;
    }
    Ok(())
}
