//! How long a sandbox takes, from nothing to its end: `cargo run --release --example spawn_time`.
//!
//! Prints the median and the best of 200 runs of `/bin/busybox true` on an overlay, each with mounts
//! for `/etc/hosts` and `/etc/resolv.conf` as a build has them. Works as root and as a user.

#![allow(clippy::print_stdout, reason = "it is a program")]

use std::error::Error;
use std::fs;
use std::path::Path;
use std::time::Duration;
use std::time::Instant;

use sandbox::Exit;
use sandbox::Mount;
use sandbox::MountSource;
use sandbox::Network;
use sandbox::Overlay;
use sandbox::Rung;
use sandbox::Spec;

fn main() -> Result<(), Box<dyn Error>> {
    sandbox::reexec_if_asked();
    let rung = sandbox::enter(None)?.rung;
    println!("{rung}");
    let directory = std::env::temp_dir().join(format!("kiln-spawn-time-{}", std::process::id()));
    fs::create_dir_all(directory.join("base/bin"))?;
    fs::copy("/bin/busybox", directory.join("base/bin/true"))?;
    for (name, network) in
        [("host network", (|| Network::Host) as fn() -> Network), ("no network", || Network::None)]
    {
        let mut times = Vec::new();
        for number in 0..200 {
            let start = Instant::now();
            once(rung, &directory, &format!("{name}-{number}"), network())?;
            times.push(start.elapsed());
        }
        times.sort();
        let (best, median) = (times.first(), times.get(times.len() / 2));
        let show = |time: Option<&Duration>| time.copied().unwrap_or_default();
        println!("{name}: median {:?}, best {:?}", show(median), show(best));
    }
    fs::remove_dir_all(directory)?;
    Ok(())
}

fn once(rung: Rung, directory: &Path, name: &str, network: Network) -> Result<(), Box<dyn Error>> {
    let upper = directory.join(format!("{name}-upper"));
    let work = directory.join(format!("{name}-work"));
    fs::create_dir(&upper)?;
    fs::create_dir(&work)?;
    let lowers = [directory.join("base")];
    let overlay = Overlay::mount(rung, &lowers, Some(&upper), Some(&work))?;
    let file = |target: &str| Mount {
        target: target.to_owned(),
        source: MountSource::File { content: b"x\n".to_vec(), mode: 0o644, uid: 0, gid: 0 },
        read_only: true,
    };
    let spec = Spec {
        argv: vec!["/bin/true".into()],
        env: vec![("PATH".into(), "/bin".into())],
        hostname: "buildkitsandbox".to_owned(),
        network,
        mounts: vec![file("/etc/hosts"), file("/etc/resolv.conf")],
        ..Spec::new(overlay.try_clone_fd()?)
    };
    let mut child = sandbox::spawn(spec)?;
    let exit = child.wait()?;
    if exit != Exit::Code(0) {
        return Err(format!("{exit:?}").into());
    }
    Ok(())
}
