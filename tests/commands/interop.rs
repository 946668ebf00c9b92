//! kiln among others: skopeo, podman and Docker take what it pushes and saves, and it takes what they push and save, from
//! registries that are open, want a password or a token, or have a certificate by an authority of their own.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::support::certificate;
use crate::support::docker::Docker;
use crate::support::env::{IMAGE, TestEnv};
use crate::support::process::Kiln;
use crate::support::registry::Registry;
use crate::support::requires;
use crate::support::tokens::Tokens;

/// Several layers, one that takes something away among them.
const DOCKERFILE: &str = "FROM busybox\nRUN echo kiln > /from && chown 7:8 /from && rm -r /home\n\
    RUN echo more > /more\nCMD [\"cat\", \"/from\"]\n";

/// What tells whether an image came whole.
const SCRIPT: &str = "cat /from /more; stat -c %u:%g /from; test -e /home || echo no home";

/// What [`SCRIPT`] says in an image that somebody has made of the other one.
fn expected(from: &str) -> String {
    format!("{from}\nmore\n7:8\nno home")
}

/// A registry, and what it wants of a client.
struct Place {
    kind: &'static str,
    registry: Registry,
    wants_login: bool,
    /// A directory with `ca.crt`.
    certificates: Option<PathBuf>,
    _tokens: Option<Tokens>,
}

impl Place {
    /// Starts one of each kind.
    fn all(env: &TestEnv) -> Option<Vec<Self>> {
        if !requires::program("openssl") {
            return None;
        }
        let dir = |kind: &str| {
            fs::create_dir(env.path(kind)).unwrap();
            env.path(kind)
        };
        let place = |kind, registry, wants_login| {
            let (certificates, _tokens) = (None, None);
            Self { kind, registry, wants_login, certificates, _tokens }
        };
        let open = place("open", Registry::start(&dir("open"))?, false);
        let closed = place("closed", Registry::start_closed(&dir("closed"))?, true);
        let keys = dir("tls");
        certificate::make(&keys);
        let registry = Registry::start_with(&keys, &certificate::section(&keys), "")?;
        let certificates = env.path("authority");
        fs::create_dir(&certificates).unwrap();
        fs::copy(keys.join("ca.crt"), certificates.join("ca.crt")).unwrap();
        let tls = Self { certificates: Some(certificates), ..place("tls", registry, false) };
        let folder = dir("token");
        let tokens = Tokens::start(&folder)?;
        let registry = Registry::start_with(&folder, "", &tokens.section())?;
        let token = Self { _tokens: Some(tokens), ..place("token", registry, true) };
        Some(vec![open, closed, tls, token])
    }

    fn at(&self, rest: &str) -> String {
        self.registry.at(rest)
    }

    /// kiln as somebody whom the registry lets in, and who believes it.
    fn kiln(&self, env: &TestEnv, kiln: Kiln) -> Kiln {
        let settings = env.path(&format!("{}.json", self.kind));
        let ca = self.certificates.as_ref().map(|dir| dir.join("ca.crt").display().to_string());
        let text = match ca {
            Some(ca) => {
                format!(r#"{{"registries": {{"{}": {{"ca": ["{ca}"]}}}}}}"#, self.registry.host)
            }
            None => "{}".to_owned(),
        };
        fs::write(&settings, text).unwrap();
        kiln.env("KILN_CONFIG", settings.to_str().unwrap())
            .env("DOCKER_CONFIG", &env.str(&format!("login-{}", self.kind)))
    }

    /// Options of skopeo and podman, with something before their names.
    fn options(&self, prefix: &str) -> Vec<String> {
        let mut options = match &self.certificates {
            Some(dir) => vec![format!("--{prefix}cert-dir={}", dir.display())],
            None => vec![format!("--{prefix}tls-verify=false")],
        };
        if self.wants_login {
            options.push(format!("--{prefix}creds=user:secret"));
        }
        options
    }
}

/// Another program that talks to registries.
trait Other {
    /// Pulls an image; returns what [`SCRIPT`] says in it.
    fn pulled(&self, place: &Place, name: &str) -> String;

    /// Makes another image of one that was pulled, and pushes it; returns what is in its `/from`.
    fn push(&self, place: &Place, from: &str, to: &str) -> String;
}

/// Everything that is pushed by one is pulled by the other, at each place.
fn exchange(env: &TestEnv, other: &dyn Other) {
    let Some(places) = Place::all(env) else { return };
    env.build_text(DOCKERFILE);
    for place in &places {
        let (ours, theirs) = (place.at("kiln/app:1"), place.at("theirs/app:1"));
        let kiln = |args: &[&str]| place.kiln(env, env.kiln(args));
        if place.wants_login {
            kiln(&["pull", &ours]).run().fails(1).says(&["kiln login"]);
            kiln(&["login", "-u", "user", "-p", "secret", &place.registry.host]).run().ok();
        }
        env.ok(&["tag", IMAGE, &ours]);
        kiln(&["push", &ours]).run().ok();
        assert_eq!(other.pulled(place, &ours), expected("kiln"), "{}", place.kind);
        let from = other.push(place, &ours, &theirs);
        let fresh = TestEnv::empty();
        place.kiln(env, fresh.kiln(["pull", &theirs])).run().ok();
        let said = fresh.ok(&["run", "--rm", &theirs, "sh", "-c", SCRIPT]).text();
        assert_eq!(said, expected(&from), "{}", place.kind);
    }
}

/// Runs a program, which must succeed; returns what it prints, without the last line end.
#[track_caller]
fn run(program: &str, args: &[impl AsRef<str>]) -> String {
    let args: Vec<&str> = args.iter().map(AsRef::as_ref).collect();
    let output = Command::new(program).args(&args).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {args:?}: {said}");
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}

/// It runs nothing; it reads all of what it copies, and has it written down in another way.
struct Skopeo<'a>(&'a TestEnv);

impl Other for Skopeo<'_> {
    fn pulled(&self, place: &Place, name: &str) -> String {
        let archive = self.0.str(&format!("{}.tar", place.kind));
        let to = format!("docker-archive:{archive}:{name}");
        let copy = ["copy".to_owned(), "-q".to_owned(), format!("docker://{name}"), to];
        run("skopeo", &[&copy[..], &place.options("src-")].concat());
        let reader = TestEnv::empty();
        reader.ok(&["load", "-q", "-i", &archive]);
        reader.ok(&["run", "--rm", name, "sh", "-c", SCRIPT]).text()
    }

    fn push(&self, place: &Place, from: &str, to: &str) -> String {
        let copy = ["copy", "-q"].map(str::to_owned);
        let (from, to) = (format!("docker://{from}"), format!("docker://{to}"));
        let options = [place.options("src-"), place.options("dest-")].concat();
        run("skopeo", &[&copy[..], &["--format=oci".to_owned(), from, to], &options].concat());
        "kiln".to_owned()
    }
}

#[test]
fn skopeo_and_kiln() {
    if requires::program("skopeo") {
        let env = TestEnv::new();
        exchange(&env, &Skopeo(&env));
    }
}

struct Podman<'a>(&'a TestEnv);

impl Podman<'_> {
    #[track_caller]
    fn podman(&self, args: &[&str], more: &[String]) -> String {
        let (root, state) = (self.0.str("podman"), self.0.str("podman-run"));
        let own = ["--root", &root, "--runroot", &state, "--storage-driver", "vfs"];
        let own =
            [&own[..], &["--events-backend", "none", "--cgroup-manager", "cgroupfs"]].concat();
        let more: Vec<&str> = more.iter().map(String::as_str).collect();
        run("podman", &[&own[..], args, &more].concat())
    }
}

/// As little of what podman sets up as it can do without: limits and networks may not be changed everywhere.
const BARE: [&str; 5] = [
    "run",
    "--network=none",
    "--ulimit=nofile=1024:1024",
    "--ulimit=nproc=1024:1024",
    "--pull=never",
];

impl Other for Podman<'_> {
    fn pulled(&self, place: &Place, name: &str) -> String {
        self.podman(&["pull", "-q", name], &place.options(""));
        self.podman(&[&BARE[..], &["--rm", name, "sh", "-c", SCRIPT]].concat(), &[])
    }

    fn push(&self, place: &Place, from: &str, to: &str) -> String {
        let container = format!("made-{}", place.kind);
        let script = "echo podman > /from";
        self.podman(&[&BARE[..], &["--name", &container, from, "sh", "-c", script]].concat(), &[]);
        self.podman(&["commit", "-q", &container, to], &[]);
        self.podman(&["rm", &container], &[]);
        self.podman(&["push", "-q", to], &place.options(""));
        "podman".to_owned()
    }
}

#[test]
fn podman_and_kiln() {
    if requires::root() && requires::program("podman") {
        let env = TestEnv::new();
        exchange(&env, &Podman(&env));
    }
}

impl Other for Docker {
    fn pulled(&self, place: &Place, name: &str) -> String {
        if place.wants_login {
            self.ok(&["login", "-u", "user", "-p", "secret", &place.registry.host]);
        }
        // This machine need not prove anything to Docker, certificates or not.
        self.ok(&["pull", "-q", name]);
        self.ok(&["run", "--rm", "--network=none", name, "sh", "-c", SCRIPT])
    }

    fn push(&self, place: &Place, from: &str, to: &str) -> String {
        let container = format!("made-{}", place.kind);
        let script = "echo docker > /from";
        self.ok(&["run", "--network=none", "--name", &container, from, "sh", "-c", script]);
        self.ok(&["commit", &container, to]);
        self.ok(&["rm", &container]);
        self.ok(&["push", "-q", to]);
        "docker".to_owned()
    }
}

#[test]
fn docker_and_kiln() {
    let env = TestEnv::new();
    let Some(docker) = Docker::start(&env.path("")) else { return };
    exchange(&env, &docker);
    archives(&env, &docker);
    platforms(&env, &docker);
}

/// `docker load` takes what `kiln save` wrote, and the other way round, under the same names and ids.
fn archives(env: &TestEnv, docker: &Docker) {
    let (saved, of_docker) = (env.str("saved.tar"), env.str("docker.tar"));
    env.ok(&["tag", IMAGE, "saved:1"]);
    env.ok(&["tag", "busybox", "saved:2"]);
    env.ok(&["save", "-o", &saved, "saved:1", "saved:2"]);
    let loaded = docker.ok(&["load", "-i", &saved]);
    let mut lines: Vec<_> = loaded.lines().filter(|line| line.starts_with("Loaded")).collect();
    lines.sort_unstable();
    assert_eq!(lines, ["Loaded image: saved:1", "Loaded image: saved:2"]);
    let id = docker.ok(&["image", "inspect", "-f", "{{.Id}}", "saved:1"]);
    assert_eq!(id, env.id(IMAGE));
    let run = ["run", "--rm", "--network=none", "saved:1", "sh", "-c", SCRIPT];
    assert_eq!(docker.ok(&run), expected("kiln"));

    docker.ok(&[
        "run",
        "--network=none",
        "--name",
        "made",
        "saved:1",
        "sh",
        "-c",
        "echo d > /from",
    ]);
    docker.ok(&["commit", "-c", "LABEL a=b", "made", "committed:1"]);
    docker.ok(&["rm", "made"]);
    docker.ok(&["save", "-o", &of_docker, "committed:1", "saved:2"]);
    let other = TestEnv::empty();
    let text = other.ok(&["load", "-i", &of_docker]).text();
    let mut lines: Vec<_> = text.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["Loaded image: committed:1", "Loaded image: saved:2"]);
    let id = docker.ok(&["image", "inspect", "-f", "{{.Id}}", "committed:1"]);
    assert_eq!(other.id("committed:1"), id);
    assert_eq!(other.inspect("committed:1")["Config"]["Labels"]["a"], "b");
    let said = other.ok(&["run", "--rm", "committed:1", "sh", "-c", SCRIPT]).text();
    assert_eq!(said, expected("d"));
}

/// Of an image for several platforms Docker takes its own.
fn platforms(env: &TestEnv, docker: &Docker) {
    let Some(registry) = Registry::start(&env.path("")) else { return };
    let context = env.context("FROM scratch\nARG TARGETARCH\nLABEL for=$TARGETARCH\nCOPY f /\n");
    context.write("f", "f");
    let name = registry.at("many/app:1");
    let options = ["--platform=linux/amd64,linux/arm64", "--push", "-t", &name];
    env.kiln(["build", "-q"]).args(options).args([context.path()]).run().ok();
    for architecture in ["arm64", "amd64"] {
        docker.ok(&["pull", "-q", &format!("--platform=linux/{architecture}"), &name]);
        let format = "{{.Architecture}} {{.Config.Labels.for}}";
        let said = docker.ok(&["image", "inspect", "-f", format, &name]);
        assert_eq!(said, format!("{architecture} {architecture}"));
    }
}
