//! What all processes of a sandbox together may use.

use std::fs;
use std::path::Path;

use sandbox::Amount;
use sandbox::Error;
use sandbox::Exit;
use sandbox::Resources;
use sandbox::Rung;
use sandbox::Spec;

use super::world::Case;
use super::world::Run;
use super::world::World;
use super::world::chain;
use super::world::eventually;
use super::world::finish;
use super::world::join_spec;
use super::world::run;
use super::world::skip;

pub(crate) const CASES: &[Case] = &[
    ("memory", memory),
    ("memory_of_files_in_memory", memory_of_files_in_memory),
    ("processes", processes),
    ("processors", processors),
    ("processor_time", processor_time),
    ("more_processors_than_there_are", more_processors_than_there_are),
    ("nothing_is_left_of_the_groups", nothing_is_left_of_the_groups),
    ("the_groups_of_the_host_are_not_seen", the_groups_of_the_host_are_not_seen),
    ("who_joins_is_limited_too", who_joins_is_limited_too),
    ("limits_that_cannot_be_had", limits_that_cannot_be_had),
];

/// Runs a script with limits; skipped where they cannot be had for a reason that is told.
fn limited(world: &World, script: &str, resources: Resources) -> (Run, bool) {
    let (mut spec, _) = world.spec(script);
    spec.resources = resources;
    let mut child = sandbox::spawn(spec).unwrap();
    let mut started = || child.started();
    if let Err(error) = started() {
        skip_if_refused(world, &error);
        panic!("{}", chain(&error));
    }
    finish_limited(child)
}

fn skip_if_refused(world: &World, error: &Error) {
    let has_controllers = Path::new("/sys/fs/cgroup/memory").exists()
        || fs::read_to_string("/sys/fs/cgroup/cgroup.controllers")
            .is_ok_and(|names| names.contains("memory"));
    if matches!(error, Error::Resources { .. }) && (world.rung != Rung::Root || !has_controllers) {
        skip(chain(error));
    }
}

/// Waits for the end; says what happened and whether memory was short.
fn finish_limited(mut child: sandbox::Child) -> (Run, bool) {
    let read = |pipe: Option<std::os::fd::OwnedFd>| {
        std::thread::spawn(move || {
            pipe.map(|pipe| std::io::read_to_string(fs::File::from(pipe)).unwrap())
        })
    };
    let (stdout, stderr) = (read(child.take_stdout()), read(child.take_stderr()));
    let exit = child.wait().unwrap();
    let [stdout, stderr] = [stdout, stderr].map(|text| text.join().unwrap().unwrap_or_default());
    (Run { exit, stdout, stderr, upper: Default::default() }, child.ran_out_of_memory())
}

fn memory(world: &World) {
    const SCRIPT: &str = "dd if=/dev/zero of=/dev/null bs=64M count=1";
    let limit = |megabytes: u64| Resources {
        memory: Some(megabytes << 20),
        memory_and_swap: Some(Amount::Limited(megabytes << 20)),
        ..Resources::default()
    };
    let (run, out_of_memory) = limited(world, SCRIPT, limit(200));
    assert_eq!((run.exit, out_of_memory), (Exit::Code(0), false), "{run:?}");
    let (run, out_of_memory) = limited(world, &format!("{SCRIPT}; exit $?"), limit(20));
    assert_eq!((run.exit, out_of_memory), (Exit::Code(137), true), "{run:?}");
    // The first process itself.
    let (run, out_of_memory) = limited(world, &format!("exec {SCRIPT}"), limit(20));
    assert_eq!((run.exit, out_of_memory), (Exit::Signal(9), true), "{run:?}");
}

fn memory_of_files_in_memory(world: &World) {
    let memory = Some(20 << 20);
    let both = Some(Amount::Limited(20 << 20));
    let script = "dd if=/dev/zero of=/dev/shm/x bs=1M count=40; exit $?";
    let resources = Resources { memory, memory_and_swap: both, ..Resources::default() };
    let (run, out_of_memory) = limited(world, script, resources);
    assert!(out_of_memory && run.exit != Exit::Code(0), "{run:?}");
}

fn processes(world: &World) {
    let script = "for i in 1 2 3 4 5 6 7 8 9 10; do sleep 2 & done; echo all";
    let with = |count| {
        limited(
            world,
            script,
            Resources { processes: Some(Amount::Limited(count)), ..Resources::default() },
        )
        .0
    };
    assert_eq!(with(50).success(), "all");
    let few = with(5);
    assert!(few.stderr.contains("can't fork"), "{few:?}");
}

fn processors(world: &World) {
    let resources = Resources { cpus: Some("0".into()), ..Resources::default() };
    let script = "grep Cpus_allowed_list /proc/self/status | tr -d '\\t'";
    assert_eq!(limited(world, script, resources).0.success(), "Cpus_allowed_list:0");
}

fn processor_time(world: &World) {
    // Ticks of a busy process in a second, of which there are 100 on every machine of ours.
    let script = "(while :; do :; done) & sleep 1; set -- $(cat /proc/$!/stat); echo ${14}";
    let resources = Resources { cpu_time: Some((10_000, 100_000)), ..Resources::default() };
    let ticks: u32 = limited(world, script, resources).0.success().parse().unwrap();
    // 10 of them, and the one period that had begun.
    assert!(ticks <= 40, "{ticks}");
}

fn more_processors_than_there_are(world: &World) {
    let (mut spec, _) = world.spec("true");
    spec.resources.cpu_time = Some((1_000_000_000, 1000));
    let error = run(spec).unwrap_err();
    assert!(chain(&error).contains("range of CPUs is from 0.01 to"), "{}", chain(&error));
}

/// Groups of kiln whose supervisor is gone.
fn left_over() -> Vec<String> {
    let mut left = Vec::new();
    let mut ahead = vec![Path::new("/sys/fs/cgroup").to_owned()];
    while let Some(directory) = ahead.pop() {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                let name = entry.file_name().to_string_lossy().into_owned();
                match name.strip_prefix("kiln-").filter(|_| entry.path().exists()) {
                    Some(pid) if !Path::new("/proc").join(pid).exists() => left.push(name),
                    _ => ahead.push(entry.path()),
                }
            }
        }
    }
    left
}

fn nothing_is_left_of_the_groups(world: &World) {
    let resources = || Resources {
        processes: Some(Amount::Limited(50)),
        memory: Some(50 << 20),
        ..Resources::default()
    };
    assert_eq!(limited(world, "sleep 5 & exit 3", resources()).0.exit, Exit::Code(3));
    // Also when it does not come to running anything.
    let (mut spec, _) = world.spec("true");
    spec.resources = resources();
    spec.argv = vec!["/no/such".into()];
    assert!(matches!(run(spec).unwrap_err(), Error::Exec { .. }));
    eventually("no group is left", || left_over().is_empty());
}

fn the_groups_of_the_host_are_not_seen(world: &World) {
    let resources = Resources { processes: Some(Amount::Limited(50)), ..Resources::default() };
    let script = "grep -E '^(0:|.*:pids)' /proc/self/cgroup";
    for line in limited(world, script, resources).0.success().lines() {
        if line.contains("pids") || line.starts_with("0::") {
            assert!(line.ends_with(":/"), "{line}");
        }
    }
}

fn who_joins_is_limited_too(world: &World) {
    let (mut spec, _): (Spec, _) = world.spec("sleep 1000");
    spec.resources.processes = Some(Amount::Limited(50));
    let mut child = sandbox::spawn(spec).unwrap();
    let process = match child.started() {
        Ok(process) => process,
        Err(error) => {
            skip_if_refused(world, &error);
            panic!("{}", chain(&error));
        }
    };
    let mut joined = sandbox::join(join_spec(&process, &["sleep", "1000"])).unwrap();
    let other = joined.started().unwrap();
    let groups = |pid| fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    assert_eq!(groups(process.pid), groups(other.pid));
    assert!(groups(process.pid).contains("/kiln-"), "{}", groups(process.pid));
    joined.killer().kill();
    finish(joined).unwrap();
    child.killer().kill();
    finish(child).unwrap();
}

fn limits_that_cannot_be_had(world: &World) {
    let (mut spec, _) = world.spec("true");
    spec.resources.memory_nodes = Some("900".into());
    let error = run(spec).unwrap_err();
    skip_if_refused(world, &error);
    assert!(matches!(&error, Error::Resources { .. }), "{}", chain(&error));
    assert!(chain(&error).contains("cpuset.mems"), "{}", chain(&error));
}
