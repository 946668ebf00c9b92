//! What a sandboxed process sees and may do, tried out with real ones: as root, once more as an ordinary user with
//! subordinate ids, and once more as one without.
//!
//! This is a harness of its own, because a supervisor is this very binary started anew, which
//! `main` has to find out first, and because the second rung must be climbed before any thread
//! exists. It understands the options by which `cargo test` and nextest list and choose tests.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "all of it is test code, which clippy cannot know without the usual harness"
)]

mod isolation {
    pub(crate) mod asked;
    pub(crate) mod chroot;
    pub(crate) mod files;
    pub(crate) mod join;
    pub(crate) mod ladder;
    pub(crate) mod moment;
    pub(crate) mod mounts;
    pub(crate) mod network;
    pub(crate) mod probe;
    pub(crate) mod process;
    pub(crate) mod resources;
    pub(crate) mod rights;
    pub(crate) mod terminal;
    pub(crate) mod world;
    pub(crate) mod zygote;
}

use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::process::Command;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use isolation::world::Case;
use isolation::world::Skip;
use isolation::world::User;
use isolation::world::World;
use sandbox::Rung;

fn cases() -> Vec<Case> {
    [
        isolation::process::CASES,
        isolation::join::CASES,
        isolation::rights::CASES,
        isolation::asked::CASES,
        isolation::moment::CASES,
        isolation::resources::CASES,
        isolation::files::CASES,
        isolation::mounts::CASES,
        isolation::network::CASES,
        isolation::terminal::CASES,
        isolation::zygote::CASES,
    ]
    .concat()
}

fn main() -> ExitCode {
    sandbox::reexec_if_asked();
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["--probe", what] => isolation::probe::run(what),
        ["--victim", marker] => isolation::process::victim(marker),
        ["--ladder", what] => isolation::ladder::run(what),
        ["--as-user", rest @ ..] => as_user("user", Rung::UserNamespace, &Options::parse(rest)),
        ["--as-one-id", rest @ ..] => as_user("oneid", Rung::OneId, &Options::parse(rest)),
        rest => everything(&Options::parse(rest)),
    }
}

/// A test with the name that it is chosen by.
type Named = (String, fn(&World));

/// What to run, as `cargo test` and nextest say it.
struct Options {
    list: bool,
    exact: bool,
    ignored: bool,
    filters: Vec<String>,
}

impl Options {
    fn parse(args: &[&str]) -> Self {
        let mut options =
            Options { list: false, exact: false, ignored: false, filters: Vec::new() };
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            match *arg {
                "--list" => options.list = true,
                "--exact" => options.exact = true,
                "--ignored" => options.ignored = true,
                "--format" | "--test-threads" | "--color" => drop(args.next()),
                arg if arg.starts_with('-') => {}
                filter => options.filters.push(filter.to_owned()),
            }
        }
        options
    }

    fn choose(&self, name: &str) -> bool {
        let fits = |filter: &String| match self.exact {
            true => name == filter,
            false => name.contains(filter.as_str()),
        };
        !self.ignored && (self.filters.is_empty() || self.filters.iter().any(fits))
    }
}

/// Runs the tests as whoever this is; if it is root, then again as ordinary users.
fn everything(options: &Options) -> ExitCode {
    let as_root = cases();
    let root = prefixed("root", &as_root, options);
    let user = prefixed("user", &as_root, options);
    let one_id = prefixed("oneid", &as_root, options);
    let ladder = prefixed("ladder", isolation::ladder::CASES, options);
    let chroot = prefixed("chroot", isolation::chroot::CASES, options);
    if options.list {
        for (name, _) in root.iter().chain(&user).chain(&one_id).chain(&ladder).chain(&chroot) {
            println!("{name}: test");
        }
        return ExitCode::SUCCESS;
    }
    if !rustix::process::geteuid().is_root() {
        let skipped = root.len() + ladder.len() + chroot.len();
        eprintln!("not root: {skipped} tests are skipped");
        return as_user("user", Rung::UserNamespace, options);
    }

    let mut ok = run_all(&root, Rung::Root);
    ok &= run_all(&chroot, Rung::Chroot);
    if !user.is_empty() || !ladder.is_empty() {
        match User::create() {
            Ok(someone) => {
                let world = World::new(Rung::Root);
                isolation::ladder::with_user(&world, &someone, || {
                    ok &= run_in(&ladder, &world);
                });
                ok &= run_as("--as-user", someone.command(&world), &user);
            }
            Err(why) => eprintln!("{} tests are skipped: {why}", user.len() + ladder.len()),
        }
    }
    if !one_id.is_empty() {
        let world = World::new(Rung::Root);
        ok &= run_as("--as-one-id", User::nobody_knows(&world), &one_id);
    }
    if ok { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs tests by a command that is this test binary as somebody else.
fn run_as(option: &str, mut command: Command, cases: &[Named]) -> bool {
    if cases.is_empty() {
        return true;
    }
    // Somebody else's among the devices, which may not be looked into, is no reason to fail.
    let _private = Private::in_shared_memory();
    let names = cases.iter().map(|(name, _)| name.as_str());
    command.args([option, "--exact"]).args(names);
    command.status().is_ok_and(|status| status.success())
}

/// A directory of root's alone, as long as this is there.
struct Private(PathBuf);

impl Private {
    fn in_shared_memory() -> Self {
        use std::os::unix::fs::DirBuilderExt;
        let path = PathBuf::from(format!("/dev/shm/kiln-isolation-{}", std::process::id()));
        std::fs::DirBuilder::new().mode(0o700).create(&path).expect("there is shared memory");
        Self(path)
    }
}

impl Drop for Private {
    fn drop(&mut self) {
        // What a killed test leaves of it is empty, and in nobody's way.
        drop(std::fs::remove_dir(&self.0));
    }
}

/// Climbs to a rung that is for ordinary users and runs the tests there.
fn as_user(prefix: &str, wanted: Rung, options: &Options) -> ExitCode {
    let chosen = prefixed(prefix, &cases(), options);
    if chosen.is_empty() {
        return ExitCode::SUCCESS;
    }
    match sandbox::enter(Some(wanted)).map(|standing| standing.rung) {
        Ok(rung) if rung != wanted => panic!("an ordinary user stands on {rung:?}"),
        Ok(rung) if run_all(&chosen, rung) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("{} tests are skipped: {why}", chosen.len());
            ExitCode::SUCCESS
        }
    }
}

fn prefixed(prefix: &str, cases: &[Case], options: &Options) -> Vec<Named> {
    let named = cases.iter().map(|(name, case)| (format!("{prefix}::{name}"), *case));
    named.filter(|(name, _)| options.choose(name)).collect()
}

fn run_all(cases: &[Named], rung: Rung) -> bool {
    cases.is_empty() || run_in(cases, &World::new(rung))
}

/// Runs tests on a few threads, and says how each went.
fn run_in(cases: &[Named], world: &World) -> bool {
    std::panic::set_hook(Box::new(|_| {}));
    let next = AtomicUsize::new(0);
    let failed = AtomicUsize::new(0);
    let output = Mutex::new(());
    let work = || {
        while let Some((name, case)) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
            let result = std::panic::catch_unwind(AssertUnwindSafe(|| case(world)));
            let _one_at_a_time = output.lock();
            match result {
                Ok(()) => println!("test {name} ... ok"),
                Err(panic) => match panic.downcast::<Skip>() {
                    Ok(skip) => eprintln!("test {name} ... skipped: {}", skip.0),
                    Err(panic) => {
                        failed.fetch_add(1, Ordering::Relaxed);
                        let text = panic.downcast_ref::<String>().map(String::as_str);
                        let text = text.or(panic.downcast_ref::<&str>().copied());
                        println!("test {name} ... FAILED\n{}", text.unwrap_or("a panic"));
                    }
                },
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(work);
        }
    });
    drop(std::panic::take_hook());
    failed.into_inner() == 0
}
