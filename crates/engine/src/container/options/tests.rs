//! The texts of options, and what is made of them.

use super::*;

fn check<T: std::str::FromStr<Err = BadOption> + std::fmt::Debug>(text: &str, expected: &str) {
    match text.parse::<T>() {
        Ok(value) => assert_eq!(format!("{value:?}"), expected, "{text}"),
        Err(error) => assert_eq!(format!("error: {error}"), expected, "{text}"),
    }
}

fn published(text: &str) -> String {
    match text.parse::<Publish>() {
        Ok(Publish { address, host, container }) => {
            let address = address.map_or(String::new(), |it| format!("{it} "));
            let host = host.map_or("any".to_owned(), |(first, last)| format!("{first}-{last}"));
            format!("{address}{host} -> {container}")
        }
        Err(error) => error.to_string(),
    }
}

#[test]
fn ports() {
    let check = |text, expected: &str| assert_eq!(published(text), expected, "{text}");
    check("80", "any -> 80/tcp");
    check("8080:80", "8080-8080 -> 80/tcp");
    check("127.0.0.1:8080:80/udp", "127.0.0.1 8080-8080 -> 80/udp");
    check("127.0.0.1::80", "127.0.0.1 any -> 80/tcp");
    check("[::1]:8080:80", "::1 8080-8080 -> 80/tcp");
    check("[::1]::80", "::1 any -> 80/tcp");
    check("7000-7002:8000-8002", "7000-7002 -> 8000-8002/tcp");
    check("7000-7002:80", "7000-7002 -> 80/tcp");
    check("target=80,published=8080,protocol=udp", "8080-8080 -> 80/udp");
    check("abc", "invalid containerPort: abc");
    check("1:99999", "invalid containerPort: 99999");
    check("x:80", "invalid hostPort: x");
    check("0:80", "invalid hostPort: 0");
    check("80:80/foo", "invalid proto: foo");
    check("1.2.3:80:80", "invalid IP address: 1.2.3");
    check("80:", "no port specified: 80:<empty>");
    check("1-2:80-85", "invalid ranges specified for container and host Ports: 80-85 and 1-2");
    check("9-8:80", "invalid hostPort: 9-8");
    check("target=80,x=1", "invalid field key: x");
}

#[test]
fn volumes() {
    let check = |text: &str, expected: &str| {
        let actual = match Mount::parse_volume(text) {
            Ok(mount) => serde_json::to_string(&mount).unwrap(),
            Err(error) => error.to_string(),
        };
        assert_eq!(actual, expected, "{text}");
    };
    let bind = |source: &str, target: &str, read_only: bool| {
        format!(
            r#"{{"target":"{target}","kind":{{"bind":{{"source":"{source}","create":true,"non_recursive":false}}}},"read_only":{read_only}}}"#
        )
    };
    let volume = |name: &str, target: &str, copy: bool| {
        format!(
            r#"{{"target":"{target}","kind":{{"volume":{{"name":{name},"copy":{copy}}}}},"read_only":false}}"#
        )
    };
    check("/a:/b", &bind("/a", "/b", false));
    check("/a:/b/../c/:ro", &bind("/a", "/c", true));
    check("/a:/b:rw,z", &bind("/a", "/b", false));
    check("data:/b", &volume("\"data\"", "/b", true));
    check("data:/b:nocopy", &volume("\"data\"", "/b", false));
    check("/b", &volume("null", "/b", true));
    check(":/x", "invalid spec: :/x: empty section between colons");
    check("/a:/b:c:d", "invalid volume specification: '/a:/b:c:d'");
    check("/a:/b:c", "invalid mode: c");
    check(
        "/a:b",
        "invalid volume specification: '/a:b': invalid mount path: 'b' mount path must be absolute",
    );
    check(
        "/a:/",
        "invalid volume specification: '/a:/': invalid specification: destination can't be '/'",
    );
    assert!(Mount::parse_volume("a/x:/b").unwrap_err().0.contains("use absolute path"));
    check("../x:/b", &bind("../x", "/b", false));
    let mut relative = Mount::parse_volume("./x:/b").unwrap();
    assert!(relative.is_relative());
    relative.resolve("/here".as_ref());
    let MountKind::Bind(bind) = relative.kind else { panic!("{relative:?}") };
    assert_eq!(bind.source.to_str(), Some("/here/./x"));
    assert!(Mount::parse_volume("x:/b").unwrap_err().0.contains("local volume name"));
}

#[test]
fn mounts() {
    let check = |text: &str, expected: &str| match text.parse::<Mount>() {
        Ok(mount) => {
            let kind = format!("{:?}", mount.kind);
            let actual = format!("{} {} {}", mount.target, kind, mount.read_only);
            assert_eq!(actual, expected, "{text}");
        }
        Err(error) => assert_eq!(error.to_string(), expected, "{text}"),
    };
    check(
        "type=bind,source=/a,target=/b,readonly",
        "/b Bind(BindOptions { source: \"/a\", create: false, non_recursive: false }) true",
    );
    check(
        "type=bind,\"source=/a,b\",dst=/b,ro=false,bind-recursive=disabled",
        "/b Bind(BindOptions { source: \"/a,b\", create: false, non_recursive: true }) false",
    );
    check("src=data,destination=/b", "/b Volume { name: Some(\"data\"), copy: true } false");
    check("target=/b,volume-nocopy", "/b Volume { name: None, copy: false } false");
    check(
        "type=tmpfs,target=/t,tmpfs-size=1m,tmpfs-mode=700",
        "/t Tmpfs(TmpfsOptions { size: Some(1048576), mode: Some(448), uid: 0, gid: 0, exec: false }) false",
    );
    check("type=foo", "target is required");
    check("type=foo,target=/x", "mount type unknown: \"foo\"");
    check("target=/x,bogus=1", "unexpected key 'bogus' in 'bogus=1'");
    check("foo", "invalid field 'foo' must be a key=value pair");
    check(
        "type=bind,target=/x",
        "invalid mount config for type \"bind\": field Source must not be empty",
    );
    check("type=tmpfs,target=/x,tmpfs-size=zz", "invalid value for tmpfs-size: zz");
    check("type=bind,source=x,target=/y,readonly=maybe", "invalid value for readonly: maybe");
    check(
        "type=bind,source=/x,target=/y,volume-nocopy",
        "cannot mix 'volume-*' options with mount type 'bind'",
    );
    check(
        "type=tmpfs,target=/x,source=/y",
        "invalid mount config for type \"tmpfs\": field Source must not be specified",
    );
    check("type=bind,\"source=/a", "a `\"` in 'type=bind,\"source=/a' is not closed");
}

#[test]
fn limits() {
    let ulimit = |soft, hard| format!("Ulimit {{ name: \"nofile\", soft: {soft}, hard: {hard} }}");
    check::<Ulimit>("nofile=5", &ulimit("Some(5)", "Some(5)"));
    check::<Ulimit>("nofile=5:6", &ulimit("Some(5)", "Some(6)"));
    check::<Ulimit>("nofile=5:-1", &ulimit("Some(5)", "None"));
    check::<Ulimit>("nofile", "error: invalid ulimit argument: nofile");
    check::<Ulimit>("foo=1", "error: invalid ulimit type: foo");
    check::<Ulimit>(
        "nofile=5:3",
        "error: ulimit soft limit must be less than or equal to hard limit: 5 > 3",
    );
    check::<Ulimit>(
        "nofile=-1:3",
        "error: ulimit soft limit must be less than or equal to hard limit: unlimited > 3",
    );
    check::<Cpus>("1.5", "Cpus(1500000000)");
    check::<Cpus>(".5", "Cpus(500000000)");
    check::<Cpus>("2", "Cpus(2000000000)");
    check::<Cpus>("abc", "error: failed to parse abc as a rational number");
    check::<Cpus>("-1", "error: failed to parse -1 as a rational number");
    check::<Cpus>("0.0000000001", "error: value is too precise");
    check::<Cpus>("0.001", "error: the least of CPUs is 0.01");
    check::<MemorySwap>("-1", "Unlimited");
    check::<MemorySwap>("1m", "Bytes(ByteSize(1048576))");
}

#[test]
fn resources_that_do_not_fit() {
    let check = |resources: Resources, expected: &str| {
        let actual = resources.validate().map_err(|error| error.to_string());
        assert_eq!(actual.err().unwrap_or_default(), expected, "{resources:?}");
    };
    let size = |bytes| Some(ByteSize(bytes));
    let none = Resources::default();
    check(Resources { memory: size(6 << 20), ..none.clone() }, "");
    check(
        Resources { memory: size(1 << 20), ..none.clone() },
        "minimum memory limit allowed is 6MB",
    );
    let swap = Some(MemorySwap::Bytes(ByteSize(7 << 20)));
    check(Resources { memory: size(7 << 20), memory_swap: swap, ..none.clone() }, "");
    check(
        Resources { memory: size(8 << 20), memory_swap: swap, ..none.clone() },
        "minimum memory-swap limit should be larger than the memory limit",
    );
    check(
        Resources { memory_swap: swap, ..none.clone() },
        "you should always set the memory limit when using the memory-swap limit",
    );
    check(Resources { cpuset_cpus: Some("0-1,3".into()), ..none.clone() }, "");
    check(
        Resources { cpuset_cpus: Some("1-0".into()), ..none.clone() },
        "invalid value 1-0 for cpuset cpus",
    );
    check(
        Resources { cpus: Some(Cpus(1)), cpu_quota: Some(1), ..none },
        "conflicting options: CPUs and CPU quota cannot both be set",
    );
}

#[test]
fn hosts_devices_and_settings() {
    let entry = |name, address| format!("HostEntry {{ name: \"{name}\", address: {address} }}");
    check::<HostEntry>("a:1.2.3.4", &entry("a", "Ip(1.2.3.4)"));
    check::<HostEntry>("a=1.2.3.4", &entry("a", "Ip(1.2.3.4)"));
    check::<HostEntry>("a:::1", &entry("a", "Ip(::1)"));
    check::<HostEntry>("a:[::1]", &entry("a", "Ip(::1)"));
    check::<HostEntry>("a:host-gateway", &entry("a", "HostGateway"));
    check::<HostEntry>("foo", "error: bad format for add-host: \"foo\"");
    check::<HostEntry>(":1.2.3.4", "error: bad format for add-host: \":1.2.3.4\"");
    check::<HostEntry>("a\nb:1.2.3.4", "error: bad format for add-host: \"a\nb:1.2.3.4\"");
    check::<HostEntry>("foo:bar", "error: invalid IP address in add-host: \"bar\"");

    let device =
        |host, container| format!("Device {{ host: \"{host}\", container: \"{container}\" }}");
    check::<Device>("/dev/fuse", &device("/dev/fuse", "/dev/fuse"));
    check::<Device>("/dev/fuse:rwm", &device("/dev/fuse", "/dev/fuse"));
    check::<Device>("/dev/fuse:/dev/x:rw", &device("/dev/fuse", "/dev/x"));
    check::<Device>("/dev/fuse:/dev/x:q", "error: invalid device mode: q");
    check::<Device>("/dev/null:x", "error: x is not an absolute path");
    assert!("/dev/null:r".parse::<Device>().unwrap_err().0.contains("not supported"));

    check::<Sysctl>("net.a=1", "Sysctl { name: \"net.a\", value: \"1\" }");
    check::<Sysctl>("kernel.sem=1 2", "Sysctl { name: \"kernel.sem\", value: \"1 2\" }");
    for bad in ["foo", "kernel.panic=1", "net.=1", "net...kernel.x=1", "net./../x=1"] {
        check::<Sysctl>(bad, &format!("error: sysctl '{bad}' is not allowed"));
    }
}

#[test]
fn rights() {
    for name in ["net_admin", "CAP_NET_ADMIN", "cap_net_admin", "NET_ADMIN"] {
        check::<CapabilityName>(name, "CapabilityName(\"CAP_NET_ADMIN\")");
    }
    check::<CapabilityName>("all", "CapabilityName(\"ALL\")");
    check::<CapabilityName>("foo", "error: unknown capability: \"CAP_FOO\"");
    check::<SecurityOption>("no-new-privileges", "NoNewPrivileges");
    check::<SecurityOption>("no-new-privileges:true", "NoNewPrivileges");
    check::<SecurityOption>("no-new-privileges=false", "Nothing");
    check::<SecurityOption>("seccomp=unconfined", "SeccompUnconfined");
    check::<SecurityOption>("foo", "error: Invalid --security-opt: \"foo\"");
    assert!("seccomp=/p.json".parse::<SecurityOption>().unwrap_err().0.contains("not supported"));
}

#[test]
fn signals() {
    let check = |text, expected| assert_eq!(signal_number(text), expected, "{text}");
    check("9", Some(9));
    check("SIGTERM", Some(15));
    check("usr1", Some(10));
    check("SIGRTMIN+3", Some(37));
    check("RTMAX-1", Some(63));
    check("0", None);
    check("65", None);
    check("SIGFOO", None);
    check("RTMIN+40", None);
}

#[test]
fn files_of_variables() {
    let lookup = |name: &str| (name == "KNOWN").then(|| "here".to_owned());
    let text = b"# a comment\n\nA=1\n  B=x y \nKNOWN\nUNKNOWN\nC=\nD=\"q\"\r\n";
    let parsed = parse_env_file(text, lookup).unwrap();
    let shown: Vec<String> = parsed
        .iter()
        .map(|it| format!("{}={}", it.name, it.value.as_deref().unwrap_or("-")))
        .collect();
    assert_eq!(shown, ["A=1", "B=x y ", "KNOWN=here", "C=", "D=\"q\""]);
    let error = |text: &[u8]| parse_env_file(text, lookup).unwrap_err().to_string();
    assert_eq!(error(b"A B=1"), "line 1: variable 'A B' contains whitespaces");
    assert_eq!(error(b"A=1\n=1"), "line 2: no variable name on line '=1'");
    assert_eq!(error(b"A=1\n\xff=1"), "invalid utf8 bytes at line 2");
    let labels = parse_label_file(b"a=b=c\nd").unwrap();
    assert_eq!((labels[0].value.as_str(), labels[1].value.as_str()), ("b=c", ""));
}

#[test]
fn options_survive_being_kept() {
    let options = ContainerOptions {
        env: vec!["A=1".parse().unwrap(), "B".parse().unwrap()],
        network: Network::None,
        publish: vec!["127.0.0.1:80:80".parse().unwrap()],
        hosts: vec!["a:1.2.3.4".parse().unwrap(), "b:host-gateway".parse().unwrap()],
        mounts: vec![
            Mount::parse_volume("/a:/b").unwrap(),
            Mount::parse_volume("vv:/c").unwrap(),
            Mount::parse_tmpfs("/t:size=1m,exec,uid=5").unwrap(),
        ],
        cap_add: vec!["sys_admin".parse().unwrap()],
        security: vec![SecurityOption::NoNewPrivileges],
        resources: Resources {
            memory_swap: Some(MemorySwap::Unlimited),
            cpus: Some(Cpus(5)),
            ..Resources::default()
        },
        ulimits: vec!["nofile=1:2".parse().unwrap()],
        ..ContainerOptions::default()
    };
    let text = serde_json::to_string(&options).unwrap();
    assert_eq!(serde_json::from_str::<ContainerOptions>(&text).unwrap(), options);
    assert_eq!(
        serde_json::from_str::<ContainerOptions>("{}").unwrap(),
        ContainerOptions::default()
    );
}

#[test]
fn options_that_do_not_fit() {
    let check = |options: ContainerOptions, expected: &str| {
        let actual = options.validate().map_err(|error| error.to_string());
        assert_eq!(actual.err().unwrap_or_default(), expected);
    };
    let none = ContainerOptions::default;
    check(none(), "");
    let twice = ["/a:/b", "/c:/b/"].map(|text| Mount::parse_volume(text).unwrap());
    check(ContainerOptions { mounts: twice.into(), ..none() }, "Duplicate mount point: /b");
    check(
        ContainerOptions { workdir: Some("x".into()), ..none() },
        "the working directory 'x' is invalid, it needs to be an absolute path",
    );
    check(ContainerOptions { stop_signal: Some("x".into()), ..none() }, "invalid signal: x");
    let sysctls = vec!["net.x=1".parse().unwrap()];
    check(ContainerOptions { sysctls: sysctls.clone(), ..none() }, "");
    check(
        ContainerOptions { sysctls, network: Network::Host, ..none() },
        "sysctls of `net` are not allowed in the host's network",
    );
    assert!(ContainerOptions { hostname: Some("a b".into()), ..none() }.validate().is_err());
}

#[test]
fn resources_in_the_words_of_the_sandbox() {
    let none = Resources::default();
    assert_eq!(none.limits(), sandbox::Resources::default());
    let time = |resources: Resources| resources.limits().cpu_time;
    assert_eq!(
        time(Resources { cpus: Some(Cpus(1_500_000_000)), ..none.clone() }),
        Some((150_000, 100_000))
    );
    assert_eq!(time(Resources { cpu_quota: Some(5000), ..none.clone() }), Some((5000, 100_000)));
    let both = Resources { cpu_quota: Some(5000), cpu_period: Some(10_000), ..none.clone() };
    assert_eq!(time(both), Some((5000, 10_000)));
    assert_eq!(time(Resources { cpu_quota: Some(-1), cpus: Some(Cpus(0)), ..none.clone() }), None);
    let unlimited = Resources { pids: Some(-1), memory: Some(ByteSize(0)), ..none.clone() };
    let expected = sandbox::Resources {
        processes: Some(sandbox::Amount::Unlimited),
        ..sandbox::Resources::default()
    };
    assert_eq!(unlimited.limits(), expected);
    let memory = Resources {
        memory: Some(ByteSize(1 << 30)),
        memory_swap: Some(MemorySwap::Unlimited),
        pids: Some(7),
        ..none
    };
    let limits = memory.limits();
    assert_eq!(
        (limits.memory, limits.processes),
        (Some(1 << 30), Some(sandbox::Amount::Limited(7)))
    );
    assert_eq!(limits.memory_and_swap, Some(sandbox::Amount::Unlimited));
}

#[test]
fn control_groups() {
    let parent = |text: &str| {
        let parsed = text.parse::<CgroupParent>().map_err(|error| error.to_string())?;
        let resources = Resources { cgroup_parent: Some(parsed), ..Resources::default() };
        Ok::<_, String>(resources.limits().parent.unwrap().display().to_string())
    };
    assert_eq!(parent("/a/b/").unwrap(), "a/b");
    assert_eq!(parent("a").unwrap(), "a");
    assert_eq!(parent("user.slice").unwrap(), "user.slice");
    assert_eq!(parent("a-b-c.slice").unwrap(), "a.slice/a-b.slice/a-b-c.slice");
    assert_eq!(parent("/x/a-b.slice").unwrap(), "x/a-b.slice");
    for wrong in ["/", "..", "a/../b"] {
        assert!(parent(wrong).unwrap_err().contains("is no control group"), "{wrong}");
    }
}
