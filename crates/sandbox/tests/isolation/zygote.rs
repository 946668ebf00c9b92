//! Sandboxes that a zygote starts: they are like others.

use std::fs;

use sandbox::Exit;
use sandbox::Zygote;

use super::world::Case;
use super::world::World;
use super::world::finish;

pub(crate) const CASES: &[Case] = &[("a_zygotes_sandboxes", a_zygotes_sandboxes)];

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

fn a_zygotes_sandboxes(world: &World) {
    let zygote = Zygote::default();
    assert!(zygotes().is_empty());
    std::thread::scope(|scope| {
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
    assert_eq!(zygotes().len(), 1);
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
    let [pid] = zygotes()[..] else { panic!("{:?}", zygotes()) };
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    assert_eq!(run(), "fine");
    assert_eq!(run(), "fine");
    assert_eq!(zygotes().len(), 1);
    drop(zygote);
    assert!(zygotes().is_empty());
}
