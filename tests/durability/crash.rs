//! kiln killed at each of its system calls, and at any moment; and system calls that fail. What is left is whole, and the
//! next build makes the right image.

use rustix::process::Signal;

use super::fault::{Call, Faults, can_trace, tell};

/// What a signal of strace's does: nothing can be done about it.
const KILL: &str = "signal=KILL";

/// What a disk, a mount or a machine can say.
const ERRORS: [&str; 6] = ["ENOSPC", "EIO", "EROFS", "EMFILE", "EINTR", "ENOMEM"];

/// Spoils some of the system calls of a build, one each time. Whatever comes of it, it ends in order.
fn spoil(faults: &Faults, fault: &str, calls: &[Call]) {
    let (mut rounds, mut failed) = (0, 0);
    for call in calls {
        let root = faults.store();
        let what = format!("{fault} at {}:{}", call.name, call.number);
        let ended = faults.spoilt_build(&root, call, fault);
        if !ended.met {
            // Threads share their work in another way each time.
            continue;
        }
        if fault != KILL {
            ended.assert_orderly(&what);
        }
        rounds += 1;
        failed += usize::from(!ended.status.success());
        faults.assert_whole(&root, &what);
    }
    assert!(rounds > 0, "no call was spoilt");
    tell(fault, rounds, failed);
}

/// Some of the calls, all over the build.
fn some(calls: Vec<Call>, first: usize, count: usize) -> Vec<Call> {
    let step = calls.len() / count;
    calls.into_iter().skip(first % step).step_by(step).collect()
}

#[test]
fn killed_at_some_calls() {
    if can_trace() {
        let faults = Faults::new();
        spoil(&faults, KILL, &some(faults.calls_of_build(), 5, 16));
    }
}

#[test]
fn some_calls_fail() {
    if !can_trace() {
        return;
    }
    let faults = Faults::new();
    let calls = faults.calls_of_build();
    for (number, error) in ERRORS.into_iter().enumerate() {
        spoil(&faults, &format!("error={error}"), &some(calls.clone(), 7 * number, 4));
    }
}

/// The other commands that change what is there.
const COMMANDS: [&[&str]; 4] =
    [&["sync"], &["prune", "-a", "-f"], &["fsck", "--repair"], &["rmi", "-f", "test"]];

#[test]
fn other_commands_killed_at_some_calls() {
    if !can_trace() {
        return;
    }
    let faults = Faults::new();
    for args in COMMANDS {
        others_killed(&faults, args, |calls| some(calls, 3, 4));
    }
}

fn others_killed(faults: &Faults, args: &[&str], choose: impl Fn(Vec<Call>) -> Vec<Call>) {
    let built = || {
        let root = faults.store();
        faults.build(&root);
        root
    };
    let mut rounds = 0;
    for call in choose(faults.calls(&built(), args)) {
        let root = built();
        if !faults.spoilt(&root, &call, KILL, args).met {
            continue;
        }
        rounds += 1;
        let what = format!("{args:?} killed at {}:{}", call.name, call.number);
        let checked = faults.fsck(&root);
        assert!(checked.status.success(), "{what}: {checked}");
        // What was pruned is loaded again.
        faults.load(&root);
        faults.assert_whole(&root, &what);
    }
    assert!(rounds > 0, "{args:?} was never killed");
    tell(&format!("{args:?} killed"), rounds, rounds);
}

fn killed_at_moments(rounds: u32) {
    let faults = Faults::new();
    let started = std::time::Instant::now();
    faults.build(&faults.store());
    let whole = started.elapsed();
    let root = faults.store();
    for round in 0..rounds {
        // All over the build, in no order.
        let part = (round * 7) % 23;
        let mut build = faults.building(&root).args(["--no-cache"]).spawn();
        std::thread::sleep(whole * part / 22);
        if !build.is_over() {
            build.signal(Signal::KILL);
        }
        build.wait();
        if round % 4 == 3 {
            faults.assert_whole(&root, &format!("killed at moment {part} of 23"));
        }
    }
    faults.assert_whole(&root, "killed at moments");
    tell("killed at moments", rounds as usize, rounds as usize);
}

#[test]
fn killed_at_some_moments() {
    killed_at_moments(12);
}

/// All calls: `cargo nextest run --profile nightly --run-ignored only`.
mod long {
    macro_rules! shards {
        ($($name:ident: $number:literal)*) => {$(
            mod $name {
                use super::super::*;

                fn calls(faults: &Faults) -> Vec<Call> {
                    faults.calls_of_build().into_iter().skip($number).step_by(4).collect()
                }

                fn fail(error: &str) {
                    let faults = Faults::new();
                    spoil(&faults, &format!("error={error}"), &calls(&faults));
                }

                #[test]
                #[ignore = "long"]
                fn killed() {
                    let faults = Faults::new();
                    spoil(&faults, KILL, &calls(&faults));
                }

                #[test]
                #[ignore = "long"]
                fn no_room() {
                    fail("ENOSPC");
                }

                #[test]
                #[ignore = "long"]
                fn broken_disk() {
                    fail("EIO");
                }

                #[test]
                #[ignore = "long"]
                fn read_only() {
                    fail("EROFS");
                }

                #[test]
                #[ignore = "long"]
                fn too_many_files() {
                    fail("EMFILE");
                }

                #[test]
                #[ignore = "long"]
                fn interrupted() {
                    fail("EINTR");
                }

                #[test]
                #[ignore = "long"]
                fn no_memory() {
                    fail("ENOMEM");
                }
            }
        )*};
    }

    shards! { shard_0: 0 shard_1: 1 shard_2: 2 shard_3: 3 }

    use super::{COMMANDS, Faults, killed_at_moments, others_killed};

    #[test]
    #[ignore = "long"]
    fn sync() {
        others_killed(&Faults::new(), COMMANDS[0], |calls| calls);
    }

    #[test]
    #[ignore = "long"]
    fn prune() {
        others_killed(&Faults::new(), COMMANDS[1], |calls| calls);
    }

    #[test]
    #[ignore = "long"]
    fn fsck() {
        others_killed(&Faults::new(), COMMANDS[2], |calls| calls);
    }

    #[test]
    #[ignore = "long"]
    fn rmi() {
        others_killed(&Faults::new(), COMMANDS[3], |calls| calls);
    }

    #[test]
    #[ignore = "long"]
    fn moments() {
        killed_at_moments(400);
    }
}
