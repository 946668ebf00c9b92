//! Ports of the host that lead to a container, and how a container reaches the host.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use crate::support::env::TestEnv;
use crate::support::requires;

/// Longer than any container takes to listen on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// A port that nobody has.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// What comes back from an echo; tried again until somebody listens.
#[track_caller]
fn echo(address: &str) -> String {
    let address: SocketAddr = address.parse().unwrap();
    let start = Instant::now();
    loop {
        let answer = TcpStream::connect_timeout(&address, PATIENCE).and_then(|mut stream| {
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.write_all(b"hello\n")?;
            let mut answer = [0; 6];
            stream.read_exact(&mut answer)?;
            Ok(String::from_utf8_lossy(&answer).trim().to_owned())
        });
        match answer {
            Ok(answer) => return answer,
            Err(error) => assert!(start.elapsed() < PATIENCE, "{address}: {error}"),
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A container that echoes what is sent to its port 80; removed when dropped.
struct Server<'a>(&'a TestEnv);

impl<'a> Server<'a> {
    fn start(env: &'a TestEnv, options: &[&str]) -> Self {
        let args = ["run", "-d", "--name", "server", "--stop-timeout", "0"].iter().chain(options);
        let command = ["busybox", "nc", "-ll", "-p", "80", "-e", "/bin/cat"];
        env.kiln(args.chain(&command)).run().ok();
        Self(env)
    }

    /// The ports as `ps` shows them.
    fn ports(&self) -> String {
        self.0.ok(&["ps", "--format", "{{.Ports}}"]).text()
    }
}

impl Drop for Server<'_> {
    fn drop(&mut self) {
        self.0.kiln(["rm", "-f", "server"]).run();
    }
}

#[test]
fn a_port_of_the_host_leads_to_the_container() {
    if !requires::pasta() {
        return;
    }
    let env = TestEnv::new();
    let port = free_port();
    let server = Server::start(&env, &["-p", &format!("{port}:80")]);
    assert_eq!(echo(&format!("127.0.0.1:{port}")), "hello");
    assert_eq!(server.ports(), format!("0.0.0.0:{port}->80/tcp, [::]:{port}->80/tcp"));
    let lines = format!("80/tcp -> 0.0.0.0:{port}\n80/tcp -> [::]:{port}");
    assert_eq!(env.ok(&["port", "server"]).text(), lines);
    let place = format!("0.0.0.0:{port}\n[::]:{port}");
    assert_eq!(env.ok(&["port", "server", "80"]).text(), place);
    assert_eq!(env.ok(&["container", "port", "server", "80/tcp"]).text(), place);
    for (wanted, words) in
        [("81", "no public port '81/tcp' published for server"), ("80/udp", "80/udp")]
    {
        env.kiln(["port", "server", wanted]).run().fails(1).says(&[words]);
    }
    env.kiln(["port", "server", "x"]).run().fails(2).says(&["invalid port `x`"]);
    drop(server);
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err(), "nobody listens any more");
}

#[test]
fn at_one_address_and_at_any_port() {
    if !requires::pasta() {
        return;
    }
    let env = TestEnv::new();
    let server = Server::start(&env, &["-p", "127.0.0.1::80"]);
    let ports = server.ports();
    let place = ports.strip_suffix("->80/tcp").unwrap_or_else(|| panic!("{ports}"));
    assert!(place.starts_with("127.0.0.1:"), "{ports}");
    assert_eq!(echo(place), "hello");
}

#[test]
fn every_exposed_port() {
    if !requires::pasta() {
        return;
    }
    let env = TestEnv::new();
    let server = Server::start(&env, &["-P", "--expose", "80", "--expose", "53/udp"]);
    let ports = server.ports();
    let place = ports.split(", ").find_map(|port| {
        port.strip_prefix("0.0.0.0:")?
            .strip_suffix("->80/tcp")
            .map(|port| format!("127.0.0.1:{port}"))
    });
    assert_eq!(echo(&place.unwrap_or_else(|| panic!("{ports}"))), "hello");
    assert!(ports.contains("->53/udp"), "{ports}");
}

#[test]
fn datagrams() {
    if !requires::pasta() || !requires::program("perl") {
        return;
    }
    let env = TestEnv::new();
    let port = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let publish = format!("127.0.0.1:{port}:53/udp");
    let hear = "use Socket; socket(S, PF_INET, SOCK_DGRAM, 0); bind(S, sockaddr_in(53, INADDR_ANY)); \
                $| = 1; while (recv(S, my $bytes, 1000, 0)) { print qq($bytes\\n) }";
    let mut args = vec!["run", "-d", "--name", "server", "--stop-timeout", "0", "-p", &publish];
    for mount in ["/usr:/usr:ro", "/lib:/lib:ro", "/lib64:/lib64:ro"] {
        args.extend(["-v", mount]);
    }
    args.extend(["busybox", "/usr/bin/perl", "-e", hear]);
    env.ok(&args);
    let server = Server(&env);
    assert_eq!(server.ports(), format!("127.0.0.1:{port}->53/udp"));

    // Answers to the host itself get lost in the pasta of Debian 12; those to other machines do not.
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let start = Instant::now();
    while env.ok(&["logs", "server"]).text().is_empty() {
        assert!(start.elapsed() < PATIENCE, "no datagram came");
        socket.send_to(b"datagram", ("127.0.0.1", port)).unwrap();
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(env.ok(&["logs", "server"]).text().starts_with("datagram"));
}

#[test]
fn a_port_in_use_is_refused() {
    if !requires::pasta() {
        return;
    }
    let env = TestEnv::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let publish = format!("127.0.0.1:{port}:80");
    let output = env.kiln(["run", "--rm", "-p", &publish, "busybox", "echo", "ran"]).run();
    let place = format!("127.0.0.1:{port}/tcp");
    let output =
        output.fails(125).says(&["cannot publish the port", &place, "Address already in use"]);
    assert_eq!(output.text(), "");
    assert_eq!(env.ok(&["ps", "-aq"]).text(), "");
}

#[test]
fn ports_without_a_network_of_ones_own() {
    let env = TestEnv::new();
    let run = |options: &[&str]| {
        env.kiln(["run", "--rm"]).args(options).args(["-p", "80", "busybox", "echo", "ran"])
    };
    let output = run(&["--network=host"]).run().ok().says(&["discarded", "host network mode"]);
    assert_eq!(output.text(), "ran");
    run(&["--network=none"]).run().ok().says(&["discarded"]);
    let output = run(&[]).env("PATH", "/nowhere").run().fails(125);
    let output = output.says(&["cannot publish ports", "passt"]);
    assert_eq!(output.text(), "");
}

#[test]
fn without_pasta_it_is_the_hosts_network_and_said_so() {
    let env = TestEnv::new();
    let args = ["run", "--rm", "busybox", "echo", "ran"];
    let output = env.kiln(args).env("PATH", "/nowhere").run().ok();
    assert_eq!(output.says(&["network: the host's", "passt"]).text(), "ran");
}

#[test]
fn the_host_has_a_name() {
    if !requires::pasta() {
        return;
    }
    let env = TestEnv::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            // An answer before the question, or a question that ends as soon as the connection is there, can get lost in pasta.
            drop(stream.read(&mut [0; 1000]));
            drop(stream.write_all(b"from the host\n"));
        }
    });
    let ask = format!("{{ echo; sleep 1; }} | nc -w 5 me {port}");
    let run = |options: &[&str]| {
        env.kiln(["run", "--rm"]).args(options).args(["busybox", "sh", "-c", &ask]).run()
    };
    assert_eq!(run(&["--add-host", "me:host-gateway"]).ok().text(), "from the host");
    assert_eq!(
        run(&["--network=host", "--add-host", "me:host-gateway"]).ok().text(),
        "from the host"
    );
    let output = run(&["--network=none", "--add-host", "me:host-gateway"]).fails(125);
    output.says(&["host-gateway"]);
    // Who did not ask for it does not reach what listens on the host's loopback.
    let gateway = env
        .ok(&[
            "run",
            "--rm",
            "busybox",
            "sh",
            "-c",
            "ip route | sed -n 's/^default via \\([^ ]*\\).*/\\1/p'",
        ])
        .text();
    let ask = format!("{{ echo; sleep 1; }} | nc -w 2 {gateway} {port}");
    assert_ne!(
        env.kiln(["run", "--rm", "busybox", "sh", "-c", &ask]).run().text(),
        "from the host"
    );
}
