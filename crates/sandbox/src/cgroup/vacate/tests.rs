//! With a real group of version 2, where one can be made; the only controller that machines with both versions leave it does.

use std::path::PathBuf;
use std::process::Child;
use std::process::Command;

use super::super::Groups;
use super::super::Resources;
use super::super::find::Hierarchies;
use super::super::find::Hierarchy;
use super::*;

/// A group at the top of the hierarchy, with processes that only sleep.
struct Group {
    path: PathBuf,
    /// A link to a program under a name like kiln's.
    directory: PathBuf,
    children: Vec<Child>,
}

impl Group {
    /// `None`, said on stderr, where none can be made.
    fn make(name: &str) -> Option<Self> {
        let mounts = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"].map(Path::new);
        let top = mounts.into_iter().find(|it| it.join("cgroup.controllers").exists());
        let name = format!("kilntest-{name}-{}", std::process::id());
        let path = top.map(|top| top.join(&name));
        let made = path.as_ref().is_some_and(|path| fs::create_dir(path).is_ok());
        let Some(path) = path.filter(|_| made) else {
            eprintln!("skipped: no group of version 2 can be made");
            return None;
        };
        let directory = std::env::temp_dir().join(name);
        fs::create_dir(&directory).unwrap();
        Some(Self { path, directory, children: Vec::new() })
    }

    /// Starts a process of this name in the group, with one that it starts itself.
    fn start(&mut self, name: &str) {
        let program = self.directory.join(name);
        fs::copy("/bin/busybox", &program).unwrap();
        let mut command = Command::new(&program);
        // Enters by itself, so that what it starts is in the group, too.
        let script = format!("echo 0 >{}/cgroup.procs; sleep 1000 & wait", self.path.display());
        std::os::unix::process::CommandExt::arg0(&mut command, "sh");
        self.children.push(command.args(["-c", &script]).spawn().unwrap());
        let expected = self.children.len() * 2;
        for _ in 0..500 {
            if processes(&self.path).unwrap().len() == expected {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        panic!("{:?}", processes(&self.path));
    }

    fn count(&self, below: &str) -> usize {
        processes(&self.path.join(below)).unwrap().len()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // The whole group with all below.
        drop(write(&self.path.join("cgroup.kill"), "1"));
        for child in &mut self.children {
            drop(child.wait());
        }
        for path in [self.path.join(OWN), self.path.join("part"), self.path.clone()] {
            super::super::directory::remove(&path);
        }
        drop(fs::remove_dir_all(&self.directory));
    }
}

#[test]
fn kilns_own_processes_make_room() {
    let Some(mut group) = Group::make("own") else { return };
    group.start("kiln");
    group.start("kiln-sandbox");
    let offered = fs::read_to_string(group.path.join("cgroup.controllers")).unwrap();
    let hands_on = |name: &str| write(&group.path.join("cgroup.subtree_control"), name);
    // Not all of them are under the rule; those that are refuse with processes in the group.
    let ruled = ["hugetlb", "memory", "io"].into_iter().find(|name| {
        offered.split_whitespace().any(|it| it == *name) && hands_on(&format!("+{name}")).is_err()
    });
    vacate(&group.path).unwrap();
    assert_eq!((group.count(""), group.count(OWN)), (0, 4));
    let Some(ruled) = ruled else { return };
    hands_on(&format!("+{ruled}")).unwrap();
    fs::create_dir(group.path.join("part")).unwrap();
    let there = fs::read_to_string(group.path.join("part/cgroup.controllers")).unwrap();
    assert_eq!(there.trim(), ruled);
}

#[test]
fn others_stay_where_they_are() {
    let Some(mut group) = Group::make("others") else { return };
    group.start("kiln");
    group.start("other");
    let error = vacate(&group.path).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EBUSY));
    assert_eq!(group.count(""), 4);
    assert!(!group.path.join(OWN).exists());
}

#[test]
fn it_can_be_undone() {
    let Some(mut group) = Group::make("undone") else { return };
    group.start("kiln");
    vacate(&group.path).unwrap();
    give_back(&group.path);
    assert_eq!(group.count(""), 2);
    assert!(!group.path.join(OWN).exists());
}

/// Where groups are made for a process in `own`, without any controller, which not every machine has left for version 2.
fn makes_in(group: &Group, own: &Path) -> PathBuf {
    let two = Hierarchy { mount: group.path.parent().unwrap().to_owned(), own: own.to_owned() };
    let mut hierarchies = Hierarchies::default();
    hierarchies.two = Some(two);
    let mut groups = Groups { directories: Vec::new(), doors: Vec::new(), above: Vec::new() };
    groups.make_in_two(&[], &hierarchies, &Resources::default()).unwrap();
    groups.directories[0].path.parent().unwrap().to_owned()
}

/// What limits kiln's own group limits what it runs, though there is room above.
#[test]
fn the_own_group_comes_first() {
    let Some(mut group) = Group::make("first") else { return };
    group.start("kiln");
    assert_eq!(makes_in(&group, &group.path), group.path);
    assert_eq!((group.count(""), group.count(OWN)), (0, 2));
    // And who is in the part of it does not make one more, inside that.
    assert_eq!(makes_in(&group, &group.path.join(OWN)), group.path);
    assert_eq!(group.count(OWN), 2);
}

#[test]
fn with_others_in_it_the_group_is_made_above() {
    let Some(mut group) = Group::make("above") else { return };
    group.start("kiln");
    group.start("other");
    assert_eq!(makes_in(&group, &group.path), group.path.parent().unwrap());
    assert_eq!(group.count(""), 4);
}

#[test]
fn names_of_processes() {
    let read = |stat| name_and_parent(stat);
    assert_eq!(read("12 (kiln) S 7 1 1"), Some(("kiln".to_owned(), 7)));
    assert_eq!(read("12 (a) b (c) R 70 1"), Some(("a) b (c".to_owned(), 70)));
    assert_eq!(read("12 kiln S 7"), None);
}
