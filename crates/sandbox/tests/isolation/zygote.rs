//! Sandboxes that a zygote starts: they are like others.

use std::fs;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use sandbox::Exit;
use sandbox::Zygote;

use super::world::Case;
use super::world::World;
use super::world::finish;

pub(crate) const CASES: &[Case] = &[
    ("a_zygotes_sandboxes", a_zygotes_sandboxes),
    ("a_zygotes_spare_process", a_zygotes_spare_process),
];

/// The zygotes among the children of this process.
fn zygotes() -> Vec<i32> {
    let ours = format!("PPid:\t{}\n", std::process::id());
    let numbers = fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let pid: i32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
        let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        (line.starts_with(b"kiln-zygote\0") && status.contains(&ours)).then_some(pid)
    });
    numbers.collect()
}

/// Waits until there are so many: those that have done their work end while the caller goes on.
fn wait_for_zygotes(count: usize) -> Vec<i32> {
    let began = Instant::now();
    loop {
        let zygotes = zygotes();
        if zygotes.len() == count {
            return zygotes;
        }
        assert!(began.elapsed() < Duration::from_secs(30), "{zygotes:?} instead of {count}");
        thread::sleep(Duration::from_millis(5));
    }
}

fn kill(pid: i32) {
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

fn a_zygotes_sandboxes(world: &World) {
    let zygote = Zygote::default();
    assert!(zygotes().is_empty());
    thread::scope(|scope| {
        for number in 0..8 {
            let zygote = &zygote;
            scope.spawn(move || {
                // The first process of its own, and no descriptor of another one's.
                let script =
                    format!("echo {number} $$; ls -l /proc/self/fd | wc -l; exit {number}");
                let (spec, _) = world.spec(&script);
                let run = finish(zygote.spawn(spec).unwrap()).unwrap();
                assert_eq!(run.exit, Exit::Code(number));
                let own = world.sh(&script);
                assert_eq!((run.stdout, run.stderr), (own.stdout, own.stderr));
            });
        }
    });
    wait_for_zygotes(1);
    // Killing one touches nobody else.
    let (spec, _) = world.spec("sleep 1000");
    let mut sleeping = zygote.spawn(spec).unwrap();
    sleeping.killer().kill();
    assert_eq!(sleeping.wait().unwrap(), Exit::Signal(9));

    // If somebody kills it, the next one takes its place.
    let run = || {
        let (spec, _) = world.spec("echo fine");
        finish(zygote.spawn(spec).unwrap()).unwrap().success()
    };
    assert_eq!(run(), "fine");
    kill(wait_for_zygotes(1)[0]);
    assert_eq!(run(), "fine");
    assert_eq!(run(), "fine");
    wait_for_zygotes(1);
    drop(zygote);
    assert!(zygotes().is_empty());
}

fn a_zygotes_spare_process(world: &World) {
    let zygote = Zygote::default();
    let run = |word: &str| {
        let (spec, _) =
            world.spec(&format!("echo {word}; echo {word} aside >&2; ls /proc/self/fd | wc -l"));
        let run = finish(zygote.spawn(spec).unwrap()).unwrap();
        assert_eq!(run.stderr, format!("{word} aside\n"));
        run.success()
    };
    let expected = |word: &str| format!("{word}\n{}", run("x").lines().last().unwrap());

    // There is one at most, and it is taken.
    zygote.prepare();
    zygote.prepare();
    wait_for_zygotes(2);
    assert_eq!(run("a"), expected("a"));
    let parent = wait_for_zygotes(1)[0];
    zygote.prepare();
    thread::scope(|scope| {
        for number in 0..6 {
            let (zygote, run, expected) = (&zygote, &run, &expected);
            scope.spawn(move || {
                zygote.prepare();
                assert_eq!(run(&number.to_string()), expected(&number.to_string()));
            });
        }
    });

    // Whoever of them is killed, the next sandbox is like others.
    zygote.prepare();
    let spare = wait_for_zygotes(2).into_iter().find(|pid| *pid != parent);
    kill(spare.unwrap());
    wait_for_zygotes(1);
    assert_eq!(run("b"), expected("b"));
    zygote.prepare();
    wait_for_zygotes(2);
    kill(parent);
    assert_eq!(run("c"), expected("c"));
    assert_eq!(run("d"), expected("d"));

    // One that was not needed goes with the zygote, whether that is told to rest or dropped.
    zygote.prepare();
    zygote.rest();
    wait_for_zygotes(0);
    assert_eq!(run("e"), expected("e"));
    zygote.prepare();
    drop(zygote);
    assert!(zygotes().is_empty());
}
