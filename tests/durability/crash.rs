//! A build killed at each of its system calls, and at any moment; and system calls that fail. What is left is whole, and the
//! next build makes the right image. Other commands are in `commands`.

use rustix::process::Signal;

use super::fault::{Call, Faults, can_trace, tell};

/// What a signal of strace's does: nothing can be done about it.
pub(super) const KILL: &str = "signal=KILL";

/// What a disk, a mount or a machine can say, and in which words that is told.
const ERRORS: [(&str, &str); 6] = [
    ("ENOSPC", "No space left on device"),
    ("EIO", "Input/output error"),
    ("EROFS", "Read-only file system"),
    ("EMFILE", "Too many open files"),
    ("EINTR", "Interrupted system call"),
    ("ENOMEM", "Cannot allocate memory"),
];

/// Spoils some of the system calls of a build, one each time. Whatever comes of it, it ends in order. Returns how many there were:
/// a call that threads share in another way each time may not come.
fn spoil(faults: &Faults, fault: &str, calls: &[Call]) -> usize {
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
        if fault == "error=EINTR" {
            // That is no failure: it is done again.
            assert!(ended.status.success(), "{what}: {}", ended.stderr);
        }
        let said = ERRORS.iter().find(|(error, _)| fault == format!("error={error}"));
        if let Some((_, words)) = said
            && !ended.status.success()
        {
            ended.assert_told(&what, words);
        }
        rounds += 1;
        failed += usize::from(!ended.status.success());
        faults.assert_whole(&root, &what);
    }
    tell(fault, rounds, failed);
    rounds
}

/// Lets some of the system calls of a build fail that can fail so.
fn fail(faults: &Faults, error: &str, choose: impl Fn(Vec<Call>) -> Vec<Call>) -> usize {
    let mut calls = faults.calls_of_build();
    calls.retain(|call| call.can_fail_with(error));
    spoil(faults, &format!("error={error}"), &choose(calls))
}

/// Kills a build at some of the calls that change something.
fn kill(faults: &Faults, choose: impl Fn(Vec<Call>) -> Vec<Call>) -> usize {
    let mut calls = faults.calls_of_build();
    calls.retain(Call::changes);
    spoil(faults, KILL, &choose(calls))
}

/// Some of the calls, all over the build.
pub(super) fn some(calls: Vec<Call>, first: usize, count: usize) -> Vec<Call> {
    let step = (calls.len() / count).max(1);
    calls.into_iter().skip(first % step).step_by(step).collect()
}

#[test]
fn killed_at_some_calls() {
    if can_trace() {
        assert!(kill(&Faults::new(), |calls| some(calls, 5, 16)) > 0);
    }
}

#[test]
fn some_calls_fail() {
    if !can_trace() {
        return;
    }
    let faults = Faults::new();
    let spoilt = ERRORS.into_iter().enumerate();
    let spoilt =
        spoilt.map(|(number, (error, _))| fail(&faults, error, |calls| some(calls, 7 * number, 4)));
    assert!(spoilt.sum::<usize>() > 0, "no call was spoilt");
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
    use super::killed_at_moments;

    macro_rules! shards {
        ($($name:ident: $number:literal)*) => {$(
            mod $name {
                use super::super::*;

                fn shard(calls: Vec<Call>) -> Vec<Call> {
                    calls.into_iter().skip($number).step_by(4).collect()
                }

                #[test]
                #[ignore = "long"]
                fn killed() {
                    assert!(kill(&Faults::new(), shard) > 0);
                }

                #[test]
                #[ignore = "long"]
                fn no_room() {
                    assert!(fail(&Faults::new(), "ENOSPC", shard) > 0);
                }

                #[test]
                #[ignore = "long"]
                fn broken_disk() {
                    assert!(fail(&Faults::new(), "EIO", shard) > 0);
                }

                #[test]
                #[ignore = "long"]
                fn read_only() {
                    assert!(fail(&Faults::new(), "EROFS", shard) > 0);
                }

                #[test]
                #[ignore = "long"]
                fn too_many_files() {
                    assert!(fail(&Faults::new(), "EMFILE", shard) > 0);
                }

                #[test]
                #[ignore = "long"]
                fn interrupted() {
                    assert!(fail(&Faults::new(), "EINTR", shard) > 0);
                }

                #[test]
                #[ignore = "long"]
                fn no_memory() {
                    assert!(fail(&Faults::new(), "ENOMEM", shard) > 0);
                }
            }
        )*};
    }

    shards! { shard_0: 0 shard_1: 1 shard_2: 2 shard_3: 3 }

    #[test]
    #[ignore = "long"]
    fn moments() {
        killed_at_moments(400);
    }
}
