//! Which network the process has.

use std::io::Write;
use std::net::TcpListener;
use std::sync::mpsc;
use std::time::Instant;

use sandbox::BuildNetwork;
use sandbox::Exit;
use sandbox::Network;

use super::world::Case;
use super::world::World;
use super::world::skip;

pub(crate) const CASES: &[Case] = &[
    ("no_network", no_network),
    ("the_hosts_network", the_hosts_network),
    ("a_network_for_the_build", a_network_for_the_build),
    ("no_filter_and_a_network", no_filter_and_a_network),
];

const DEVICES: &str = "ls /sys/class/net";

fn no_network(world: &World) {
    assert_eq!(
        world.output("for d in /proc/sys/net/ipv4/conf/*; do echo ${d##*/}; done"),
        "all\ndefault\nlo"
    );
    // Up, with its address.
    assert_eq!(world.output("ping -c1 127.0.0.1 > /dev/null && echo up"), "up");
}

fn the_hosts_network(world: &World) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let answer = std::thread::spawn(move || listener.accept().unwrap().0.write_all(b"hello\n"));
    let script = format!("/bin/busybox nc 127.0.0.1 {port} < /dev/null");
    let run = world.sh_with(&script, |spec| spec.network = Network::Host);
    assert_eq!(run.success(), "hello");
    answer.join().unwrap().unwrap();
    let run = world.sh_with("stat -c %a /sys; touch /sys/x", |spec| spec.network = Network::Host);
    assert_eq!((run.stdout.as_str(), run.exit), ("555\n", Exit::Code(1)));
}

/// Skips a case that needs pasta.
fn ask_for_pasta() {
    if sandbox::pasta_missing().is_some() {
        skip("pasta is not installed (package passt)");
    }
    let tun = std::fs::OpenOptions::new().read(true).write(true).open("/dev/net/tun");
    if tun.is_err_and(|error| error.kind() == std::io::ErrorKind::PermissionDenied) {
        skip("/dev/net/tun is not for ordinary users here, which udev makes it elsewhere");
    }
}

fn a_network_for_the_build(world: &World) {
    ask_for_pasta();
    let (told, connected) = mpsc::channel();
    let network = BuildNetwork::prepare(move |connected| {
        told.send(connected.map_err(ToString::to_string)).unwrap();
    });
    let network = network.unwrap_or_else(|error| panic!("{error}"));
    let devices = |spec: &mut sandbox::Spec| spec.network = network.network().unwrap();
    // Who does not use it does not wait for it.
    assert_eq!(world.sh_with(DEVICES, devices).success(), "lo");
    assert!(connected.try_recv().is_err());
    // Those who do find it there, however many they are.
    let start = Instant::now();
    let routes = std::thread::scope(|scope| {
        let run = || world.sh_with("ip route; ip route", devices).success();
        let all = [scope.spawn(run), scope.spawn(run)];
        all.map(|run| run.join().unwrap())
    });
    eprintln!("the network took {:?} to start", start.elapsed());
    if let Err(reason) = connected.recv().unwrap() {
        assert!(network.has_failed());
        skip(format!("this host has no network to connect to: {reason}"));
    }
    for routes in routes {
        assert_eq!(routes.matches("default").count(), 2, "{routes}");
    }
    // Who comes later joins the same one.
    let found = world.sh_with(DEVICES, devices).success();
    assert!(found.lines().count() > 1, "{found}");
    assert!(connected.recv().is_err(), "connected twice");

    // What listens on the host's loopback addresses is not reachable.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let script = format!("/bin/busybox nc -w 1 127.0.0.1 {port} < /dev/null");
    assert_ne!(world.sh_with(&script, devices).exit, Exit::Code(0));
}

/// Without a filter nobody is told of a socket, so the network is there before the program.
fn no_filter_and_a_network(world: &World) {
    ask_for_pasta();
    let network = BuildNetwork::prepare(|_| ()).unwrap_or_else(|error| panic!("{error}"));
    let run = world.sh_with(DEVICES, |spec| {
        spec.make_insecure();
        spec.network = network.network().unwrap();
    });
    let found = run.success();
    if network.has_failed() {
        skip("this host has no network to connect to");
    }
    assert!(found.lines().count() > 1, "{found}");
}
