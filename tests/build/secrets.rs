//! What nobody may find out: the values of secrets, passwords of addresses, of registries and of proxies. They are in no layer,
//! history, record, output or error text, nor in the arguments or the environment of what kiln starts.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::support::env::{IMAGE, TestEnv};
use crate::support::proxy::{Fate, Proxy};
use crate::support::registry::Registry;
use crate::support::repository::Repository;
use crate::support::requires;
use crate::support::web::{Page, Site};

/// One value for each way that it comes in, all of which begin alike.
const COMMON: &str = "kiln5ecret";
const FILE: &str = "kiln5ecretfile";
const VARIABLE: &str = "kiln5ecretvariable";
const ADDRESS: &str = "kiln5ecretaddress";
const GIT: &str = "kiln5ecretgit";
const REGISTRY: &str = "kiln5ecretregistry";
const PROXY: &str = "kiln5ecretproxy";

/// The base64 of `u:` and a password, as it stands in `Authorization` and in the files of `docker login`.
fn encoded(password: &str) -> String {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let text = format!("u:{password}");
    let mut encoded = String::new();
    for three in text.as_bytes().chunks(3) {
        let bits = three.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte));
        let bits = bits << (8 * (3 - three.len()));
        for digit in 0..=three.len() {
            encoded.push(char::from(DIGITS[(bits >> (18 - 6 * digit)) as usize & 63]));
        }
    }
    let padding = encoded.len().next_multiple_of(4) - encoded.len();
    encoded.push_str(&"=="[..padding]);
    encoded
}

/// All that a search has to look for.
fn needles() -> Vec<String> {
    let passwords = [ADDRESS, GIT, REGISTRY, PROXY].map(|password| {
        // A piece that is the same whatever stands around it.
        encoded(password).trim_end_matches('=').to_owned()
    });
    [COMMON.to_owned()].into_iter().chain(passwords).collect()
}

fn found(bytes: &[u8]) -> Option<String> {
    let is_in = |text: &String| bytes.windows(text.len()).any(|window| window == text.as_bytes());
    needles().into_iter().find(is_in)
}

/// Looks at the processes that come from the one whose arguments have `word`, until told to stop: the arguments of each, and
/// what its environment had of the secrets, by program.
fn watch(word: &str, stop: &AtomicBool) -> (Vec<String>, BTreeMap<String, Vec<String>>) {
    let (mut arguments, mut environments) = (Vec::new(), BTreeMap::<_, Vec<String>>::new());
    let mut family = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|pid| pid.parse::<u32>().ok())
            else {
                continue;
            };
            let read = |name: &str| fs::read(entry.path().join(name)).unwrap_or_default();
            let line = String::from_utf8_lossy(&read("cmdline")).into_owned();
            let stat = String::from_utf8_lossy(&read("stat")).into_owned();
            let parent =
                stat.rsplit(')').next().and_then(|rest| rest.split(' ').nth(2)?.parse().ok());
            if !line.contains(word) && !parent.is_some_and(|parent| family.contains(&parent)) {
                continue;
            }
            if !family.contains(&pid) {
                family.push(pid);
            }
            let environment = String::from_utf8_lossy(&read("environ")).into_owned();
            let program = line.split('\0').next().unwrap_or_default().to_owned();
            for variable in environment.split('\0').filter(|it| found(it.as_bytes()).is_some()) {
                let known = environments.entry(program.clone()).or_default();
                if !known.contains(&variable.to_owned()) {
                    known.push(variable.to_owned());
                }
            }
            if !arguments.contains(&line) {
                arguments.push(line);
            }
        }
        std::thread::sleep(std::time::Duration::from_millis(3));
    }
    (arguments, environments)
}

#[track_caller]
fn assert_nothing_in(dir: &Path) {
    let mut open = vec![dir.to_owned()];
    while let Some(path) = open.pop() {
        let Some(metadata) = there(path.symlink_metadata()) else { continue };
        if metadata.is_dir() {
            let entries = there(fs::read_dir(&path)).into_iter().flatten();
            open.extend(entries.map(|entry| entry.unwrap().path()));
        } else if metadata.is_file() {
            let found = there(fs::read(&path)).and_then(|bytes| found(&bytes));
            assert_eq!(found, None, "in {}", path.display());
        }
    }
}

/// What was read, unless it went away meanwhile: the process that syncs the store in the background renames and removes.
fn there<T>(read: io::Result<T>) -> Option<T> {
    match read {
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        read => Some(read.unwrap()),
    }
}

#[test]
fn nothing_of_a_secret_is_left_or_shown() {
    if !requires::program("git") {
        return;
    }
    let env = TestEnv::new();
    let Some(registry) = Registry::start(&env.path("")) else { return };
    let closed = Proxy::start(&registry.host, |asked| match asked.header("authorization") {
        Some(said) if said == format!("Basic {}", encoded(REGISTRY)) => Fate::Honest,
        _ => {
            let challenge = ("WWW-Authenticate".into(), "Basic realm=\"x\"".into());
            Fate::Instead(401, vec![challenge], String::new())
        }
    });
    let site = Site::start();
    site.page("/private", Page::new("p").only_for(&format!("Basic {}", encoded(ADDRESS))));
    let repository = Repository::create(env.path("repository"));
    repository.write("f", "one\n").commit("first");
    let git = Site::start();
    git.files(repository.path().to_owned(), Some(&format!("Basic {}", encoded(GIT))));
    let proxy = Site::start();
    proxy.page("http://files.invalid/far", Page::new("far"));
    let docker = env.path("docker");
    fs::create_dir_all(&docker).unwrap();
    let login =
        format!(r#"{{"auths": {{"{}": {{"auth": "{}"}}}}}}"#, closed.host, encoded(REGISTRY));
    fs::write(docker.join("config.json"), login).unwrap();
    fs::write(env.path("secret"), FILE).unwrap();
    let socket = env.str("agent");
    let _agent = UnixListener::bind(&socket).unwrap();

    let steps = format!(
        "FROM busybox\n\
         ADD http://u:{ADDRESS}@{}/private /private\n\
         ADD http://u:{GIT}@{}/.git /git\n\
         ADD http://files.invalid/far /far\n\
         RUN --mount=type=secret,id=file --mount=type=secret,id=variable,env=VARIABLE --mount=type=ssh \
         test $(wc -c < /run/secrets/file) = 14 && test ${{#VARIABLE}} = 18 && test -S $SSH_AUTH_SOCK && sleep 1\n",
        site.host(),
        git.host(),
    );
    let build = |context: &crate::support::context::Context, name: &str| {
        let args =
            ["--push", "--secret=id=file,src=SECRET", "--secret=id=variable,env=TOKEN", "--ssh"];
        let args = args.map(|arg| arg.replace("SECRET", &env.str("secret")));
        env.kiln(["build", "--progress=plain", "-t", name])
            .args(args)
            .args([&format!("default={socket}"), context.str()])
            .env("TOKEN", VARIABLE)
            .env("DOCKER_CONFIG", &env.str("docker"))
            .env("http_proxy", &format!("http://u:{PROXY}@{}", proxy.host()))
            .env("no_proxy", "127.0.0.1")
            .run()
    };

    let stop = AtomicBool::new(false);
    let word = env.str("store");
    let context = env.context(&steps);
    let (output, (arguments, environments)) = std::thread::scope(|scope| {
        let watching = scope.spawn(|| watch(&word, &stop));
        let output = build(&context, &closed.at("team/app:1"));
        stop.store(true, Ordering::Relaxed);
        (output.ok(), watching.join().unwrap())
    });
    let sent = proxy.requests().remove(0).headers.remove("proxy-authorization");
    assert_eq!(sent, Some(format!("Basic {}", encoded(PROXY))), "the proxy was told");
    assert_eq!(found(output.to_string().as_bytes()), None, "{output}");
    let is_seen = |word: &str| arguments.iter().any(|line| line.contains(word));
    assert!(
        is_seen("git") && is_seen("sleep"),
        "the watch has seen what was started: {arguments:#?}"
    );
    for line in &arguments {
        assert_eq!(found(line.as_bytes()), None, "in the arguments {line:?}");
    }
    for (program, variables) in &environments {
        for variable in variables {
            // What the caller has put there, and what the step was given on purpose.
            let name = variable.split('=').next().unwrap_or_default();
            let is_own = program.ends_with("kiln") && matches!(name, "TOKEN" | "http_proxy");
            let is_asked_for = name == "VARIABLE" && variable.ends_with(VARIABLE);
            // git has to get through the proxy and into the repository. Only who may look at kiln may look at it, unlike
            // arguments, which are for all to see.
            let is_needed = program.contains("git")
                && (name == "http_proxy" || name.starts_with("GIT_CONFIG_VALUE_"));
            assert!(is_own || is_asked_for || is_needed, "{program} has {variable:?}");
        }
    }

    // Failures are where one sees most of what was asked for.
    for (line, says) in [
        ("RUN --mount=type=secret,id=file false", "exit code: 1"),
        (&format!("ADD http://u:{ADDRESS}@{}/gone /x", site.host()), "404"),
        (&format!("ADD http://u:{GIT}@{}/gone/.git /x", git.host()), "gone"),
        ("ADD http://files.invalid/gone /x", "404"),
        ("ADD http://u:wrong@127.0.0.1:1/x /x", "127.0.0.1"),
    ] {
        let context = env.context(&format!("FROM busybox\n{line}\n"));
        let output = build(&context, &closed.at("team/app:2")).fails(1);
        assert!(output.stderr.contains(says), "{output}");
        assert_eq!(found(output.to_string().as_bytes()), None, "{output}");
    }
    let refused = build(&env.context(&steps), &registry.at("UPPER/app:1"));
    assert_eq!(found(refused.to_string().as_bytes()), None, "{refused}");

    env.ok(&["tag", &closed.at("team/app:1"), IMAGE]);
    for args in [
        &["history", "--no-trunc", IMAGE][..],
        &["inspect", IMAGE],
        &["system", "df", "-v"],
        &["info"],
    ] {
        let output = env.ok(args);
        assert_eq!(found(output.to_string().as_bytes()), None, "{output}");
    }
    let saved = env.str("image.tar");
    env.ok(&["save", "-o", &saved, IMAGE]);
    assert_eq!(found(&fs::read(&saved).unwrap()), None, "in the saved image");
    assert_nothing_in(&env.store());
    // Nor has the registry any of it.
    assert_nothing_in(&env.path("registry"));
}

#[test]
fn nobody_gets_a_core_of_who_has_secrets() {
    let env = TestEnv::new();
    let context = env.context("FROM busybox\nRUN echo waiting && sleep 2\nRUN ulimit -c > /soft\n");
    let stop = AtomicBool::new(false);
    let word = env.str("store");
    let limits = std::thread::scope(|scope| {
        let watching = scope.spawn(|| {
            let mut seen = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                for entry in fs::read_dir("/proc").unwrap().flatten() {
                    let read = |name: &str| fs::read(entry.path().join(name)).unwrap_or_default();
                    if String::from_utf8_lossy(&read("cmdline")).contains(&word) {
                        let limits = String::from_utf8_lossy(&read("limits")).into_owned();
                        let core = limits.lines().find(|line| line.starts_with("Max core"));
                        seen.extend(
                            core.and_then(|core| core.split_whitespace().nth(4)).map(str::to_owned),
                        );
                    }
                }
                std::thread::sleep(std::time::Duration::from_millis(50));
            }
            seen
        });
        env.build(&context, &[]);
        stop.store(true, Ordering::Relaxed);
        watching.join().unwrap()
    });
    assert!(limits.len() > 5, "{limits:?}");
    // The first look may have come before the first thing that kiln does.
    assert!(limits.iter().skip(1).all(|soft| soft == "0"), "{limits:?}");
}

/// What a command leaves behind to wait for the disk, and what keeps a container, know nothing of the command's environment.
#[test]
fn what_stays_behind_has_no_environment() {
    let env = TestEnv::new();
    let context = env.context("FROM busybox\nRUN true\n");
    env.building(&context, &[]).env("NEVER_SHOWN", VARIABLE).run().ok();
    let waiting = env.processes("sync");
    env.kiln(["run", "-d", "--name=kept", "--network=none", IMAGE, "sleep", "1000"])
        .env("NEVER_SHOWN", VARIABLE)
        .run()
        .ok();
    let all: Vec<u32> = waiting.iter().copied().chain(env.keepers()).collect();
    assert!(all.len() > 1, "{all:?}");
    for process in all {
        // One that is gone has left nothing, either.
        let environment = fs::read(format!("/proc/{process}/environ")).unwrap_or_default();
        assert_eq!(found(&environment), None, "{process}");
    }
}
