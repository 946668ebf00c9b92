//! The isolation ladder below its second rung: what a build without namespaces and mounts makes is what root makes.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::support::account::Account;
use crate::support::archive::Layout;
use crate::support::base;
use crate::support::context::Context;
use crate::support::docker::Docker;
use crate::support::env::{IMAGE, TestEnv};
use crate::support::requires;

/// Something of everything: owners, modes, links, times, deletions, mounts, users, stages.
const DOCKERFILE: &str = r#"FROM busybox AS one
COPY --chown=5:6 a /a
RUN echo one >/one && chown 7:8 /one && mkdir -p /x/y && chmod 2750 /x && ln -s ../one /x/link && ln /one /x/hard
RUN rm /a && mkfifo /x/fifo && touch -d @1000000000 /x/y && rm -r /home
RUN --mount=type=cache,target=/cache,id=c touch /cache/mine && ls /cache >/from-cache
RUN --mount=type=cache,target=/cache,id=c ls /cache | grep mine
RUN --mount=type=secret,id=s cat /run/secrets/s | wc -c >/length
RUN --mount=type=bind,source=d,target=/d,rw ls -R /d >/bound && touch /d/gone
RUN --mount=type=tmpfs,target=/t touch /t/gone
RUN sleep 98765 & true
RUN (echo x >/etc/hosts) 2>/dev/null; test -e /dev/null && head -c 3 /dev/zero | wc -c | grep -q 3 && grep -q processor /proc/cpuinfo
RUN : >>/etc/passwd
RUN rm -r /x/y && mkdir /x/y && echo new >/x/y/f
RUN <<EOF
set -e
mkdir /heredoc
echo text >/heredoc/f
EOF
WORKDIR /w/d
USER app
RUN id -u >/tmp/id && echo x >/tmp/mine
RUN echo x >/dev/stdout && cat /dev/stdin && cat /proc/self/comm >/tmp/comm && readlink /proc/self/exe >/tmp/exe
FROM busybox AS two
COPY --from=one /x /copied
RUN --mount=type=bind,from=one,source=/tmp,target=/mnt cat /mnt/id >/id
"#;

/// Found nowhere else.
const SECRET: &str = "xyzzy-8f2c1d-plugh";

pub(super) fn context(env: &TestEnv) -> Context {
    let context = env.context(DOCKERFILE);
    context.files(&["a", "d/e/f", "d/g"]).write("secret", SECRET);
    context
}

/// The layers of a stage, plain and without the moment in them.
pub(super) fn layer_archives(env: &TestEnv, context: &Context, args: &[&str]) -> Vec<Vec<u8>> {
    let dest = env.path("image.tar");
    let output = format!(
        "--output=type=oci,compression=uncompressed,rewrite-timestamp=true,dest={}",
        dest.display()
    );
    let build = env.kiln(["build", "--progress=plain", &output]).args(args);
    build.args(["--build-arg=SOURCE_DATE_EPOCH=1000"]).args([context.path()]).run().ok();
    Layout::of_tar(&std::fs::read(dest).unwrap()).layers()
}

/// What a layer holds, by path: type, mode, owner, size and link; the times are the moment's.
pub(crate) fn entries(tar: &[u8]) -> BTreeMap<String, String> {
    let mut archive = tar::Archive::new(tar);
    let entry = |entry: std::io::Result<tar::Entry<'_, &[u8]>>| {
        let entry = entry.unwrap();
        let header = entry.header();
        let looks = format!(
            "{:?} {:o} {}:{} {} {:?}",
            header.entry_type(),
            header.mode().unwrap(),
            header.uid().unwrap(),
            header.gid().unwrap(),
            header.size().unwrap(),
            entry.link_name_bytes(),
        );
        (String::from_utf8_lossy(&entry.path_bytes()).into_owned(), looks)
    };
    archive.entries().unwrap().map(entry).collect()
}

/// The layers of both stages, plain.
pub(super) fn layers(env: &TestEnv, context: &Context) -> Vec<BTreeMap<String, String>> {
    let secret = format!("--secret=id=s,src={}", context.path().join("secret").display());
    let targets = ["--target=one", "--target=two"];
    targets.iter().flat_map(|target| layers_of(env, context, &[&secret, target])).collect()
}

/// The layers of one image, plain.
pub(super) fn layers_of(
    env: &TestEnv,
    context: &Context,
    args: &[&str],
) -> Vec<BTreeMap<String, String>> {
    let dest = env.path("image.tar");
    let output = format!("--output=type=oci,compression=uncompressed,dest={}", dest.display());
    let build = env.kiln(["build", "--progress=plain", &output]).args(args);
    build.args([context.path()]).run().ok();
    let layout = Layout::of_tar(&std::fs::read(dest).unwrap());
    layout.layers().iter().map(|layer| entries(layer)).collect()
}

pub(super) fn assert_same_layers(
    found: &[BTreeMap<String, String>],
    expected: &[BTreeMap<String, String>],
) {
    assert_eq!(found.len(), expected.len());
    for (number, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert_eq!(found, expected, "layer {number}");
    }
}

#[test]
fn without_namespaces_the_image_is_the_same() {
    if !requires::root() {
        return;
    }
    let (chroot, root) = (TestEnv::isolated("chroot"), TestEnv::new());
    let found = layers(&chroot, &context(&chroot));
    assert_same_layers(&found, &layers(&root, &context(&root)));
    assert!(chroot.ownerless().is_empty());
    assert!(!chroot.files_of_store().iter().any(|file| contains(file, SECRET)), "a secret stays");
}

fn contains(file: &Path, text: &str) -> bool {
    let content = std::fs::read(file).unwrap();
    content.windows(text.len()).any(|window| window == text.as_bytes())
}

#[test]
fn what_was_built_without_namespaces_is_in_the_cache() {
    if !requires::root() {
        return;
    }
    let env = TestEnv::isolated("chroot");
    let context = env.context("FROM busybox\nRUN echo x >/x\nRUN rm -r /home\nCOPY a /a\n");
    context.files(&["a"]);
    let first = env.build(&context, &[]).has_cached(0);
    assert!(first.stderr.contains("isolation: `chroot`"), "{}", first.stderr);
    env.build(&context, &[]).has_cached(3);
    context.dockerfile(
        "FROM busybox\nRUN echo x >/x\nRUN rm -r /home\nRUN test ! -e /home && cat /x\n",
    );
    let output = env.build(&context, &[]);
    output.has_cached(2);
    env.ok(&["tag", IMAGE, "other"]);
    env.ok(&["save", "-o", &env.str("saved.tar"), "other"]);
    env.ok(&["rmi", "-f", IMAGE, "other"]);
    env.ok(&["load", "-i", &env.str("saved.tar")]);
    env.ok(&["history", "other"]);
    env.ok(&["prune", "-af"]);
}

#[test]
fn a_failed_command_leaves_nothing() {
    if !requires::root() {
        return;
    }
    let env = TestEnv::isolated("chroot");
    let context = env.context("FROM busybox\nRUN echo kept >/kept\nRUN rm /kept; false\n");
    let output = env.build_fails(&context, &[]);
    assert!(output.stderr.contains("exit code: 1"), "{}", output.stderr);
    context.dockerfile("FROM busybox\nRUN echo kept >/kept\nRUN cat /kept\n");
    env.build(&context, &[]).has_cached(1);
}

#[test]
fn what_needs_namespaces_says_so() {
    if !requires::root() {
        return;
    }
    let env = TestEnv::isolated("chroot");
    for (dockerfile, what) in [
        (
            "FROM busybox\nRUN --mount=type=cache,target=/c,source=/s true\n",
            "a part of a cache (`source=/s`) needs namespaces",
        ),
        (
            "FROM busybox\nRUN --mount=type=cache,target=/c,ro true\n",
            "a cache that cannot be written to needs namespaces",
        ),
    ] {
        let output = env.build_fails(&env.context(dockerfile), &[]);
        assert!(output.stderr.contains(what), "{}", output.stderr);
        assert!(output.stderr.contains("kiln doctor"), "{}", output.stderr);
    }
    let output = env.kiln(["run", "busybox", "true"]).run();
    assert!(output.stderr.contains("a container needs namespaces"), "{}", output.stderr);
    assert!(!output.status.success());
}

#[test]
fn without_any_isolation_files_are_built_and_commands_refused() {
    if !requires::root() {
        return;
    }
    let env = TestEnv::isolated("none");
    let context = env.context("FROM busybox\nCOPY --chown=5:6 a /d/a\nWORKDIR /w\nENV A=b\n");
    context.files(&["a"]);
    let tree = env.tree(&context, &[]);
    assert_eq!(tree.owner("d/a"), "644 5:6");
    assert_eq!(tree.owner("w"), "755 0:0");
    context.dockerfile("FROM busybox\nCOPY a /a\nRUN true\n");
    let output = env.build_fails(&context, &[]);
    assert!(output.stderr.contains("cannot run commands here"), "{}", output.stderr);
    assert!(output.stderr.contains("Dockerfile:3"), "{}", output.stderr);
}

#[test]
fn a_rung_that_does_not_work_is_refused() {
    let env = TestEnv::empty();
    let output = env.kiln(["--isolation=nonsense", "images"]).run().fails(2);
    let rungs = "root, userns, fuse, oneid, chroot, none";
    assert!(output.stderr.contains(rungs), "{}", output.stderr);
    let rung = if requires::root() { "userns" } else { "root" };
    let has_range = std::fs::read_to_string("/etc/subuid").is_ok_and(|text| text.contains("root:"));
    if rung == "userns" && has_range {
        return;
    }
    let output = env.kiln(["images"]).env("KILN_ISOLATION", rung).run().fails(1);
    let text = format!("isolation `{rung}` does not work here");
    assert!(output.stderr.contains(&text), "{}", output.stderr);
    assert!(!env.store().exists(), "nothing is made");
}

#[test]
fn a_container_without_a_place_has_an_exit_code_of_its_own() {
    let Some(env) = Account::without_ids().map(TestEnv::of) else { return };
    let with = |rung: &str, words: &[&str]| env.kiln(words).env("KILN_ISOLATION", rung).run();
    for words in [&["run", "busybox", "true"][..], &["container", "run", "busybox", "true"]] {
        with("root", words).fails(125).says(&["isolation `root` does not work here"]);
        // It works, but not with this store.
        with("none", words).fails(125).says(&["use another one (`--root`)"]);
        with("", words).ok();
    }
    with("root", &["create", "busybox"]).fails(1);
    with("root", &["exec", "somebody", "true"]).fails(1);
}

/// As in a container, whose `/etc/hosts` and others are mounted.
const MOUNTED_ETC: &str = r#"exec unshare --mount --propagation=private sh -c '
mount --bind /etc/passwd /etc/passwd && exec "$@"' sh "$@""#;

/// The same where parts of `/proc` are hidden, too.
const MASKED_PROC: &str = r#"exec unshare --mount --propagation=private sh -c '
mount --bind /etc/passwd /etc/passwd && mount -t tmpfs none /proc/fs && exec "$@"' sh "$@""#;

#[test]
fn what_a_container_mounts_is_in_nobodys_way() {
    let Some(env) = Account::without_ids().map(TestEnv::of) else { return };
    let env = env.after(MOUNTED_ETC);
    let works = ["doctor", "--format", "{{.Name}} {{.Works}} {{.Obstacle}}"];
    let text = env.ok(&works).text();
    assert!(text.contains("oneid yes"), "{text}");
    env.build_text("FROM busybox\nRUN true\n");
    let text = env.after(MASKED_PROC).ok(&works).text();
    assert!(text.contains("oneid no no `/proc` can be mounted"), "{text}");
    // Found out now, and not by the first command that is to be run.
    let Some(env) = Account::create().map(TestEnv::of) else { return };
    let text = env.ok(&works).text();
    assert!(text.contains("userns yes"), "{text}");
    let text = env.after(MASKED_PROC).ok(&works).text();
    assert!(text.contains("userns no no `/proc` can be mounted"), "{text}");
}

/// What is not known is no reason for another rung: nothing is changed silently.
#[test]
fn without_proc_no_rung_is_taken() {
    if !requires::root() {
        return;
    }
    let env = TestEnv::empty();
    let script = "mount -t tmpfs none /proc && exec \"$@\"";
    let kiln = crate::support::base::kiln();
    for words in [&["images"][..], &["--isolation=chroot", "images"]] {
        let output = std::process::Command::new("unshare")
            .args(["--mount", "--propagation=private", "sh", "-c", script, "sh"])
            .arg(&kiln)
            .arg("--root")
            .arg(env.store())
            .args(words)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        let expected = "cannot read `/proc/self/uid_map`";
        match words.len() {
            1 => assert!(said.contains(expected), "{said}"),
            // Nothing has to be known of a namespace where none is wanted.
            _ => assert!(!said.contains(expected), "{said}"),
        }
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(!env.store().exists(), "nothing is made");
    }
}

#[test]
fn a_store_is_for_mounts_or_not() {
    if !requires::root() {
        return;
    }
    let env = TestEnv::new();
    let output = env.kiln(["--isolation=chroot", "images"]).run().fails(1);
    assert!(output.stderr.contains("use another one (`--root`)"), "{}", output.stderr);
    let env = TestEnv::isolated("chroot");
    env.kiln(["images"]).env("KILN_ISOLATION", "root").run().fails(1);
    // As one that is found by itself.
    env.kiln(["images"]).env("KILN_ISOLATION", "").run().fails(1);
    assert_eq!(env.ok(&["images", "-q"]).text().lines().count(), 1);
}

#[test]
fn doctor_tells_of_every_rung() {
    if !requires::root() {
        return;
    }
    let env = TestEnv::empty();
    let text = env.ok(&["doctor"]).text();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 7, "{text}");
    assert!(
        lines[1].starts_with("* ") && lines[1].contains("root") && lines[1].contains("yes"),
        "{text}"
    );
    let format = "{{.Name}} {{.Works}}";
    let short = env.ok(&["doctor", "--format", format]).text();
    assert!(short.contains("chroot yes\nnone yes"), "{short}");
    let chosen =
        env.ok(&["--isolation=chroot", "doctor", "--format", "{{.Chosen}}{{.Name}}"]).text();
    assert!(chosen.contains("*chroot"), "{chosen}");
    assert!(!env.store().exists(), "nothing is made");
}

/// In a container as Docker makes it, with no option about its rights, and as podman makes it: no namespaces, no mounts.
#[test]
fn in_an_ordinary_container() {
    let env = TestEnv::new();
    let Some(docker) = Docker::start(&env.path("")) else { return };
    docker.ok(&["import", base::tar().to_str().unwrap(), "base"]);
    let expected = layers(&env, &self::context(&env));
    assert_same_layers(&in_container(&env, &docker, "chroot", &[]), &expected);

    let filter = "/usr/share/containers/seccomp.json";
    if Path::new(filter).exists() {
        let filter = format!("--security-opt=seccomp={filter}");
        let podmans = ["--cap-drop=MKNOD", "--cap-drop=NET_RAW", "--cap-drop=AUDIT_WRITE", &filter];
        assert_same_layers(&in_container(&env, &docker, "chroot", &podmans), &expected);
        // Where nothing is hidden in /proc, and the store is on a volume.
        let unmasked = ["--user=1000", "--security-opt=systempaths=unconfined", &filter];
        let options = [&unmasked[..], &["--env=KILN_ROOT=/shared/store"]].concat();
        assert_same_layers(&in_container(&env, &docker, "oneid", &options), &expected);
    }
}

/// What is built in a container with these options. The store is in the container, on an overlay, unless they say otherwise.
fn in_container(
    env: &TestEnv,
    docker: &Docker,
    rung: &str,
    options: &[&str],
) -> Vec<BTreeMap<String, String>> {
    let dir = env.path(&format!("shared-{rung}{}", options.len()));
    std::fs::create_dir(&dir).unwrap();
    std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o777)).unwrap();
    std::fs::copy(base::tar(), dir.join("base.tar")).unwrap();
    let context = Context::create(dir.join("context"), DOCKERFILE);
    context.files(&["a", "d/e/f", "d/g"]).write("secret", SECRET);

    let script = "set -e; cd /shared; kiln doctor; kiln import base.tar busybox; \
        for target in one two; do \
          kiln build --progress=plain --secret=id=s,src=context/secret --target=$target \
            --output=type=oci,compression=uncompressed,dest=$target.tar context; \
        done";
    let mounted = |from: &Path, to: &str| format!("--volume={}:{to}", from.display());
    let mut arguments = vec!["run".to_owned(), "--rm".to_owned(), "--network=none".to_owned()];
    arguments.extend(options.iter().map(|option| (*option).to_owned()));
    arguments.extend([mounted(&dir, "/shared"), mounted(&base::kiln(), "/bin/kiln:ro")]);
    // The binary under test needs the libraries of this machine.
    let libraries = ["/lib", "/lib64"].map(Path::new).into_iter().filter(|path| path.exists());
    arguments.extend(libraries.map(|path| mounted(path, &format!("{}:ro", path.display()))));
    arguments.extend(["base", "sh", "-c", script].map(str::to_owned));
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let output = docker.run(&arguments);
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(output.status.success(), "{said}");
    assert!(said.contains(&format!("isolation: `{rung}`")), "{said}");

    let mut found = Vec::new();
    for target in ["one", "two"] {
        let layout = Layout::of_tar(&std::fs::read(dir.join(format!("{target}.tar"))).unwrap());
        found.extend(layout.layers().iter().map(|layer| entries(layer)));
    }
    found
}
