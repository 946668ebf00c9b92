//! What a build is asked for besides its files: surroundings of RUN, the cache, metadata, and what is refused.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::support::env::{IMAGE, TestEnv};
use crate::support::registry::Registry;
use crate::support::requires;

#[test]
fn every_run_finds_what_was_asked_for() {
    let env = TestEnv::new();
    let context = env.context(
        "FROM busybox\nRUN grep -q '^1.2.3.4.one$' /etc/hosts && grep -q '^::1.two$' /etc/hosts\n\
         RUN test \"$(ulimit -n) $(ulimit -Hn)\" = \"100 200\"\n\
         RUN df -k /dev/shm | tail -1 | grep -q ' 2048 '\n",
    );
    let args = [
        "--add-host=one:1.2.3.4",
        "--add-host=two=[::1]",
        "--ulimit=nofile=50",
        "--ulimit=nofile=100:200",
        "--shm-size=2m",
    ];
    env.build(&context, &args);
    // Names and limits of each process are part of what a result depends on; addresses are not.
    let other = args.map(|arg| arg.replace("1.2.3.4", "4.3.2.1"));
    env.build(&context, &other.each_ref().map(String::as_str)).has_cached(3);
    env.building(&context, &args[..4]).run().fails(1).says(&["Dockerfile:4"]);
    env.building(&context, &args[1..]).run().fails(1).says(&["Dockerfile:2"]);
}

#[test]
fn memory_is_limited_and_not_in_the_key() {
    let one = Path::new("/sys/fs/cgroup/memory/memory.limit_in_bytes").exists();
    let two = fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").unwrap_or_default();
    if !(requires::root() && requires::control_groups(one || two.contains("memory"))) {
        return;
    }
    let env = TestEnv::new();
    let context = env.context("FROM busybox\nRUN dd if=/dev/zero of=/dev/null bs=50M count=1\n");
    for args in
        [["--memory=20m", "--memory-swap=20m"], ["--resource=memory=20m,memory-swap=20m", "-q"]]
    {
        let output = env.building(&context, &args).run().fails(1);
        output.says(&["Dockerfile:2", "killed: out of memory (limit 20 MiB)"]);
    }
    context.dockerfile("FROM busybox\nRUN dd if=/dev/zero of=/dev/null bs=50M count=1; exit 3\n");
    let output = env.building(&context, &["--memory=20m", "--memory-swap=20m"]).run().fails(1);
    output.says(&["exit code: 3: a process was killed: out of memory (limit 20 MiB)"]);
    // Who goes on without it is told.
    context.dockerfile("FROM busybox\nRUN dd if=/dev/zero of=/dev/null bs=50M count=1 || true\n");
    let output = env.build(&context, &["--memory=20m", "--memory-swap=20m"]);
    output.says(&["warning: process", "was killed: out of memory (limit 20 MiB)"]);
    context.dockerfile("FROM busybox\nRUN dd if=/dev/zero of=/dev/null bs=50M count=1\n");
    env.build(&context, &["-m", "200m"]);
    env.build(&context, &[]).has_cached(1);
}

#[test]
fn stages_can_be_built_anew() {
    let env = TestEnv::new();
    let random = "RUN cat /proc/sys/kernel/random/uuid >";
    let context = env.context(&format!(
        "FROM busybox AS one\n{random} /one\nFROM one AS child\n{random} /child\nFROM busybox AS two\n{random} /two\n\
         FROM busybox\nCOPY --from=child /one /child /\nCOPY --from=two /two /\n"
    ));
    let built = |args: &[&str]| {
        env.build(&context, args);
        let read = |file: &str| env.sh(&format!("cat {file}"));
        ["/one", "/child", "/two"].map(read)
    };
    let first = built(&[]);
    assert_eq!(built(&[]), first);
    // What starts from a stage that is new is new.
    let second = built(&["--no-cache-filter=ONE,none"]);
    assert_eq!([0, 1, 2].map(|index| first[index] == second[index]), [false, false, true]);
    // That is what is in the cache then.
    assert_eq!(built(&[]), second);
    let third = built(&["--no-cache-filter=child", "--no-cache-filter=two"]);
    assert_eq!([0, 1, 2].map(|index| second[index] == third[index]), [true, false, false]);
    let output = env.build(&context, &["--no-cache-filter=chld"]);
    output.says(&["warning: --no-cache-filter: no stage is called chld (did you mean child?)"]);
}

#[test]
fn newer_images_are_asked_for() {
    let env = TestEnv::new();
    let Some(registry) = Registry::start(&env.path("")) else { return };
    let name = registry.at("team/base:1");
    let publish = |text: &str| {
        env.build_text(&format!("FROM busybox\nRUN echo {text} > /v\n"));
        env.ok(&["tag", IMAGE, &name]);
        env.ok(&["push", &name]);
    };
    publish("old");
    let other = TestEnv::empty();
    let context = other.context(&format!("FROM {name}\nRUN cp /v /w\n"));
    other.build(&context, &[]);
    publish("new");
    other.build(&context, &[]).has_cached(1);
    assert_eq!(other.sh("cat /w"), "old");
    other.build(&context, &["--pull"]).has_cached(0);
    assert_eq!(other.sh("cat /w"), "new");
    // What is the newest already costs a question and nothing else.
    other.build(&context, &["--pull=true"]).has_cached(1);
    other.build(&context, &["--pull=false"]).has_cached(1);
    drop(registry);
    let output = other.building(&context, &["--pull"]).run().fails(1);
    output.says(&["newer", &name, "Dockerfile:1:6", "without `--pull` the one in the store"]);
    other.build(&context, &[]).has_cached(1);
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

#[test]
fn metadata_of_what_is_in_the_store() {
    let env = TestEnv::new();
    let context = env.context("FROM busybox\nRUN true\n");
    let file = env.path("metadata.json");
    let argument = format!("--metadata-file={}", file.display());
    env.build(&context, &[&argument, "-t", "team/x:1"]);
    let id = env.id(IMAGE);
    let found = json(&file);
    assert_eq!(found["containerimage.config.digest"], id.as_str());
    assert_eq!(found["containerimage.digest"], id.as_str());
    assert_eq!(found["image.name"], "docker.io/library/test:latest,docker.io/team/x:1");
    assert_eq!(found.get("containerimage.descriptor"), None);
    // Of a build that fails there is none, be there one of an earlier build or not.
    context.dockerfile("FROM busybox\nRUN false\n");
    env.building(&context, &[&argument]).run().fails(1);
    assert!(!file.exists());
    let nowhere = format!("--metadata-file={}", env.str("none/x"));
    let output = env.building(&context, &[&nowhere]).run().fails(2);
    output.says(&["--metadata-file", "its directory does not exist"]).says_not(&["FROM"]);
}

#[test]
fn metadata_and_annotations_of_what_is_written_elsewhere() {
    let env = TestEnv::new();
    let context = env.context("FROM busybox AS one\nRUN true\nFROM one AS two\nRUN echo > /two\n");
    let (file, layout) = (env.path("metadata.json"), env.path("layout"));
    let metadata = format!("--metadata-file={}", file.display());
    let output = format!("--output=type=oci,tar=false,dest={}", layout.display());
    let annotations = ["--annotation=made.by=me=too", "--annotation=manifest:b=x:y"];
    env.build(&context, &[&metadata, &output, annotations[0], annotations[1]]);
    let index = json(&layout.join("index.json"));
    let (found, digest) = (json(&file), &index["manifests"][0]["digest"]);
    assert_eq!(&found["containerimage.digest"], digest);
    let descriptor = &found["containerimage.descriptor"];
    assert_eq!(&descriptor["digest"], digest);
    assert_eq!(descriptor["platform"]["os"], "linux");
    let digest = digest.as_str().unwrap().replace("sha256:", "blobs/sha256/");
    let manifest = json(&layout.join(digest));
    assert_eq!(manifest["annotations"]["made.by"], "me=too");
    assert_eq!(manifest["annotations"]["b"], "x:y");

    // Several targets have an entry each.
    let args = ["build", &metadata, "--target=one", "--target=two=team/two"];
    env.kiln(args).args([context.path()]).run().ok();
    let found = json(&file);
    assert_eq!(found["two"]["image.name"], "docker.io/team/two:latest");
    assert_ne!(found["one"]["containerimage.digest"], found["two"]["containerimage.digest"]);

    let output = env.building(&context, &["--annotation=a=b"]).run().fails(2);
    output.says(&["--annotation needs an output with a manifest"]);
}

#[test]
fn a_pushed_image_has_the_digest_of_the_registry() {
    let env = TestEnv::new();
    let Some(registry) = Registry::start(&env.path("")) else { return };
    let (name, file) = (registry.at("team/app:1"), env.path("metadata.json"));
    let metadata = format!("--metadata-file={}", file.display());
    let context = env.context("FROM busybox\nRUN true\n");
    env.kiln(["build", "--push", "--annotation=a=b", "-t", &name, &metadata])
        .args([context.path()])
        .run()
        .ok();
    let (digest, manifest) = registry.manifest("team/app", "1");
    assert_eq!(json(&file)["containerimage.digest"], digest.as_str());
    assert_eq!(manifest["annotations"]["a"], "b");
}

#[test]
fn what_would_have_to_be_ignored_is_refused() {
    let env = TestEnv::empty();
    let context = env.context("FROM scratch\nENV A=1\n");
    for (args, texts) in [
        (&["--cache-to", "type=inline"][..], &["--cache-to is not supported", "leave it out"][..]),
        (&["--provenance=mode=max"], &["--provenance is not supported", "`false`"]),
        (&["--sbom=true"], &["--sbom is not supported"]),
        (&["--attest=type=sbom"], &["--attest is not supported"]),
        (&["--cgroup-parent=a/../../b"], &["`a/../../b` is no control group", "without `..`"]),
        (&["--policy=x"], &["--policy is not supported"]),
        (&["--label", "=x"], &["--label `=x`: invalid label"]),
        (&["--build-arg", "=x"], &["--build-arg `=x`: invalid environment variable"]),
        (&["--add-host=x"], &["bad format for add-host"]),
        (&["--ulimit=foo=1"], &["invalid ulimit type: foo"]),
        (&["--shm-size=many"], &["invalid size: 'many'"]),
        (&["--resource=pids=1"], &["--resource does not know `pids`"]),
        (&["--resource=memory-swap=1g"], &["always set the memory limit"]),
        (&["--secret=id=x,from=y"], &["unexpected key `from`"]),
        (&["--secret=id=x,type=socket"], &["unsupported type `socket`"]),
        (
            &["--annotation=index:a=b", "--output=type=oci,dest=-"],
            &["not supported for single platform"],
        ),
        (&["--no-cache=perhaps"], &["`true` or `false`"]),
        (&["--call=unheard-of"], &["--call does not know `unheard-of`"]),
    ] {
        let output = env.kiln(["build"]).args(args).args([context.path()]).run();
        output.fails(2).says(texts).says_not(&["#1"]);
    }
    let output = env.kiln(["build", "--add-host=x:host-gateway", context.str()]).run();
    output.fails(1).says(&["host-gateway is not supported yet"]);
}

#[test]
fn what_changes_nothing_is_accepted() {
    let env = TestEnv::empty();
    let context = env.context("FROM scratch\nENV A=1\n");
    let silent = [
        "--load",
        "--rm",
        "--rm=false",
        "--force-rm",
        "--compress",
        "--disable-content-trust",
        "-D",
        "--provenance=false",
        "--sbom=false",
        "--attest=type=provenance,disabled=true",
        "--cache-from=",
        "--isolation=default",
        "--builder=default",
        "--no-cache=false",
        "--no-cache",
    ];
    let build =
        |args: &[&str]| env.kiln(["build", "-q"]).args(args).args([context.path()]).run().ok();
    assert_eq!(build(&silent).stderr, "");
    for (argument, text) in [
        ("--squash", "--squash has no effect"),
        ("--cache-from=type=registry,ref=x", "--cache-from has no effect yet"),
        ("--security-opt=seccomp=unconfined", "--security-opt has no effect"),
        ("--builder=remote", "--builder has no effect"),
    ] {
        build(&[argument]).says(&[&format!("warning: {text}")]);
    }
}

#[test]
fn the_platform_of_the_environment() {
    let env = TestEnv::empty();
    let context = env.context("FROM scratch\nENV A=1\n");
    let architecture = |variable: &str, args: &[&str]| {
        env.building(&context, args).env("DOCKER_DEFAULT_PLATFORM", variable).run().ok();
        env.inspect(IMAGE)["Architecture"].as_str().unwrap().to_owned()
    };
    let own = architecture("", &[]);
    assert_eq!(architecture("linux/s390x", &[]), "s390x");
    assert_eq!(architecture("linux/s390x", &["--platform=local"]), own);
}
