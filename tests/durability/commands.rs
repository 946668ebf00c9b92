//! Commands killed at each call that changes something, or refused one: whatever they were about to do, the store is whole, nothing is lost that
//! has a name, and the same command brings it to an end. Builds are in `crash`.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::corruption::{Harm, files, harm};
use super::crash::{KILL, some};
use super::fault::{Call, Faults, can_trace, tell};
use crate::support::env::IMAGE;
use crate::support::registry::Registry;

/// A command, and the store before it.
struct Scene<'a> {
    faults: &'a Faults,
    before: PathBuf,
    args: Vec<String>,
    /// Images that are there afterwards by all means.
    kept: BTreeSet<String>,
}

impl<'a> Scene<'a> {
    /// All images that the store has by name are to be kept.
    fn new(faults: &'a Faults, before: PathBuf, args: &[&str]) -> Self {
        let kept = images(faults, &before);
        Self { faults, before, args: args.iter().map(|&word| word.to_owned()).collect(), kept }
    }

    fn keeping(self, names: &[&str]) -> Self {
        let is_one = |image: &String| names.iter().any(|name| image.starts_with(name));
        Self { kept: self.kept.into_iter().filter(is_one).collect(), ..self }
    }

    /// Kills the command in a store of its own each time, after `ready`, and looks at what is left then.
    fn killed(&self, choose: Choose, ready: impl Fn(), check: impl Fn(&Path, &str)) {
        self.spoilt(KILL, choose, ready, check);
    }

    /// Lets a call fail that can fail so.
    fn failing(&self, error: &str, choose: Choose, check: impl Fn(&Path, &str)) -> usize {
        self.some_spoilt(&format!("error={error}"), choose, nothing, check)
    }

    fn spoilt(&self, fault: &str, choose: Choose, ready: impl Fn(), check: impl Fn(&Path, &str)) {
        assert!(self.some_spoilt(fault, choose, ready, check) > 0, "no call was spoilt");
    }

    /// Returns how many were: a call that threads share in another way each time may not come.
    fn some_spoilt(
        &self,
        fault: &str,
        choose: Choose,
        ready: impl Fn(),
        check: impl Fn(&Path, &str),
    ) -> usize {
        let faults = self.faults;
        ready();
        let mut calls = faults.calls(&faults.copy_of(&self.before), &self.args());
        match fault.strip_prefix("error=") {
            Some(error) => calls.retain(|call| call.can_fail_with(error.trim_end_matches('+'))),
            None => calls.retain(Call::changes),
        }
        let (mut rounds, mut failed) = (0, 0);
        for call in choose(calls) {
            let root = faults.copy_of(&self.before);
            ready();
            let ended = faults.spoilt(&root, &call, fault, &self.args());
            if !ended.met {
                continue;
            }
            rounds += 1;
            failed += usize::from(!ended.status.success());
            let what = format!("{:?}, {fault} at {}:{}", self.args, call.name, call.number);
            if fault != KILL {
                ended.assert_orderly(&what);
            }
            self.assert_kept(&root, &what);
            check(&root, &what);
            let checked = faults.fsck(&root);
            assert!(checked.status.success(), "{what}: {checked}");
            self.assert_kept(&root, &what);
            // What was removed is loaded again.
            faults.load(&root);
            faults.assert_whole(&root, &what);
        }
        let command = self.args[..self.args.len().min(2)].join(" ");
        tell(&format!("`{command}`, {fault}"), rounds, failed);
        rounds
    }

    fn args(&self) -> Vec<&str> {
        self.args.iter().map(String::as_str).collect()
    }

    #[track_caller]
    fn assert_kept(&self, root: &Path, what: &str) {
        let there = images(self.faults, root);
        assert!(self.kept.is_subset(&there), "{what}: {there:?} instead of {:?}", self.kept);
    }

    /// The store is whole as it was left, and the command can be given again.
    fn again(&self, root: &Path, what: &str) {
        let checked = self.faults.fsck(root);
        assert!(checked.status.success(), "{what}: {checked}");
        let again = self.faults.kiln(root, &self.args()).run();
        assert!(again.status.success(), "{what}: {again}");
    }
}

fn nothing() {}

/// Names of images with their ids.
fn images(faults: &Faults, root: &Path) -> BTreeSet<String> {
    let format = "--format={{.Repository}}:{{.Tag}} {{.ID}}";
    let text = faults.kiln(root, &["images", "--no-trunc", format]).run().ok().text();
    text.lines().filter(|line| !line.starts_with('<')).map(str::to_owned).collect()
}

/// A store with two images, the steps of one, and a step that no image has.
fn built(faults: &Faults) -> PathBuf {
    let place = faults.kept_store("before");
    let context = faults.context("FROM busybox\nRUN echo nobody > /nobody\n");
    faults.kiln(&place, &["build", "-q", context.str()]).run().ok();
    faults.build(&place);
    place
}

type Choose = fn(Vec<Call>) -> Vec<Call>;

fn sync(choose: Choose) {
    let faults = Faults::new();
    let scene = Scene::new(&faults, built(&faults), &["sync"]);
    scene.killed(choose, nothing, |root, what| scene.again(root, what));
}

fn prune(choose: Choose) {
    let faults = Faults::new();
    let scene = Scene::new(&faults, built(&faults), &["prune", "-f"]);
    scene.killed(choose, nothing, |root, what| scene.again(root, what));
}

fn prune_all(choose: Choose) {
    let faults = Faults::new();
    let scene = Scene::new(&faults, built(&faults), &["prune", "-a", "-f"]).keeping(&[]);
    scene.killed(choose, nothing, |root, what| scene.again(root, what));
}

fn rmi(choose: Choose) {
    let faults = Faults::new();
    let scene = Scene::new(&faults, built(&faults), &["rmi", "-f", IMAGE]).keeping(&["busybox"]);
    scene.killed(choose, nothing, |root, what| {
        let checked = faults.fsck(root);
        assert!(checked.status.success(), "{what}: {checked}");
        // It may be gone already.
        drop(faults.kiln(root, &["rmi", "-f", IMAGE]).run());
        assert_eq!(images(&faults, root).len(), 1, "{what}");
    });
}

/// A layer that can be unpacked again, a step and a record that cannot be made again: nothing with a name goes for them.
fn repair(choose: Choose) {
    let faults = Faults::new();
    let before = built(&faults);
    for path in ["*/snapshots/*/bin/busybox", "*/snapshots/*/nobody"] {
        harm(&files(&before, path)[0], Harm::Flip);
    }
    harm(&files(&before, "*/records/step/*")[0], Harm::Truncate);
    let scene = Scene::new(&faults, before, &["fsck", "--repair"]);
    scene.killed(choose, nothing, |root, what| {
        let repaired = faults.kiln(root, &["fsck", "--repair"]).run();
        assert!(repaired.status.success(), "{what}: {repaired}");
    });
}

fn load(choose: Choose) {
    let faults = Faults::new();
    let built = built(&faults);
    let archive = faults.place("archive.tar").display().to_string();
    faults.kiln(&built, &["save", "-o", &archive, "busybox", IMAGE]).run().ok();
    let before = faults.place("empty");
    fs::create_dir(&before).unwrap();
    let scene = Scene::new(&faults, before, &["load", "-q", "-i", &archive]);
    scene.killed(choose, nothing, |root, what| {
        scene.again(root, what);
        assert_eq!(images(&faults, root), images(&faults, &built), "{what}");
    });
}

fn save(choose: Choose) {
    let faults = Faults::new();
    let archive = faults.place("archive.tar");
    let args = ["save", "-o", archive.to_str().unwrap(), "busybox", IMAGE];
    let scene = Scene::new(&faults, built(&faults), &args);
    faults.kiln(&scene.before, &args).run().ok();
    let right = fs::read(&archive).unwrap();
    let without = || drop(fs::remove_file(&archive));
    scene.killed(choose, without, |root, what| {
        // It is there as a whole or not at all.
        let saved = fs::read(&archive).unwrap_or_else(|_| right.clone());
        assert!(saved == right, "{what}: something else is in the archive");
        scene.again(root, what);
        assert!(fs::read(&archive).unwrap() == right, "{what}: another archive");
    });
}

fn pull(choose: Choose) {
    let faults = Faults::new();
    let Some(registry) = Registry::start(&faults.place("")) else { return };
    let source = built(&faults);
    let name = registry.at("team/app:1");
    faults.kiln(&source, &["tag", IMAGE, &name]).run().ok();
    faults.kiln(&source, &["push", "-q", &name]).run().ok();
    let scene = Scene::new(&faults, faults.kept_store("loaded"), &["pull", "-q", &name]);
    scene.killed(choose, nothing, |root, what| {
        scene.again(root, what);
        let there = faults.kiln(root, &["images", "-q", "--no-trunc", &name]).run().ok();
        assert_eq!(there.text(), faults.id(), "{what}");
    });
}

fn push(choose: Choose) {
    let faults = Faults::new();
    let Some(registry) = Registry::start(&faults.place("")) else { return };
    let before = built(&faults);
    let name = registry.at("team/app:1");
    faults.kiln(&before, &["tag", IMAGE, &name]).run().ok();
    let scene = Scene::new(&faults, before, &["push", "-q", &name]);
    let rounds = Cell::new(0);
    // What is there already is not sent again.
    let without = || drop(fs::remove_dir_all(faults.place("registry")));
    scene.killed(choose, without, |root, what| {
        scene.again(root, what);
        registry.manifest("team/app", "1");
        if rounds.replace(rounds.get() + 1) % 8 == 0 {
            let other = faults.store();
            faults.kiln(&other, &["pull", "-q", &name]).run().ok();
            let there = faults.kiln(&other, &["images", "-q", "--no-trunc", &name]).run().ok();
            assert_eq!(there.text(), faults.id(), "{what}");
        }
    });
}

/// What cannot be read just now is not broken: nothing goes for it. Once, or from a call on.
fn unreadable(choose: Choose) {
    let spoilt = ["ENOMEM", "EMFILE+"].map(|error| unreadable_by(error, choose));
    assert!(spoilt.iter().sum::<usize>() > 0, "no call was spoilt");
}

fn unreadable_by(error: &str, choose: Choose) -> usize {
    let faults = Faults::new();
    let scene = Scene::new(&faults, built(&faults), &["fsck", "--repair"]);
    scene.failing(error, choose, |_, _| {})
}

macro_rules! commands {
    ($($command:ident)*) => {
        $(#[test]
        fn $command() {
            if can_trace() {
                super::$command(|calls| super::some(calls, 3, 4));
            }
        })*
    };
}

mod some_calls {
    use super::can_trace;
    commands! { sync prune prune_all rmi repair load save pull push unreadable }
}

macro_rules! all_calls {
    ($($command:ident)*) => {
        $(#[test]
        #[ignore = "long"]
        fn $command() {
            super::$command(|calls| calls);
        })*
    };
}

/// All calls: `cargo nextest run --profile nightly --run-ignored only`.
mod long {
    all_calls! { sync prune prune_all rmi repair load save pull push }

    /// An eighth of the calls each, for there are more than a thousand.
    macro_rules! unreadable {
        ($($name:ident: $error:literal $number:literal)*) => {
            $(#[test]
            #[ignore = "long"]
            fn $name() {
                let shard = |calls: Vec<_>| calls.into_iter().skip($number).step_by(8).collect();
                assert!(super::unreadable_by($error, shard) > 0);
            })*
        };
    }

    unreadable! {
        unreadable_once_0: "ENOMEM" 0 unreadable_once_1: "ENOMEM" 1
        unreadable_once_2: "ENOMEM" 2 unreadable_once_3: "ENOMEM" 3
        unreadable_once_4: "ENOMEM" 4 unreadable_once_5: "ENOMEM" 5
        unreadable_once_6: "ENOMEM" 6 unreadable_once_7: "ENOMEM" 7
        unreadable_from_0_on: "EMFILE+" 0 unreadable_from_1_on: "EMFILE+" 1
        unreadable_from_2_on: "EMFILE+" 2 unreadable_from_3_on: "EMFILE+" 3
        unreadable_from_4_on: "EMFILE+" 4 unreadable_from_5_on: "EMFILE+" 5
        unreadable_from_6_on: "EMFILE+" 6 unreadable_from_7_on: "EMFILE+" 7
    }
}
