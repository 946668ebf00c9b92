//! `--platform`: bases, arguments and configurations for other platforms, and commands that need an emulator.

use std::process::Command;

use serde_json::Value;

use crate::support::archive::Layout;
use crate::support::base;
use crate::support::context::Context;
use crate::support::env::{IMAGE, TestEnv};
use crate::support::process::Output;
use crate::support::registry::Registry;
use crate::support::requires;

/// An image of nobody's registry (RFC 2606), so that looking for it ends at once.
const BOX: &str = "nowhere.invalid/box:1";

/// A platform that is emulated nowhere but where somebody wants just that; `None`, said on stderr, where it is.
fn unrunnable() -> Option<&'static str> {
    let seen = std::fs::read_dir("/proc/sys/fs/binfmt_misc").into_iter().flatten().flatten();
    let emulated = seen.into_iter().any(|entry| entry.file_name() == "qemu-ppc64");
    if emulated {
        eprintln!("skipped: this machine runs programs for ppc64");
    }
    (!emulated).then_some("linux/ppc64")
}

/// A store with [`BOX`] for this platform: any files will do, as no command of it is run.
fn with_box(platform: &str) -> TestEnv {
    let env = TestEnv::new();
    env.ok(&["import", "--platform", platform, base::tar().to_str().unwrap(), BOX]);
    env
}

fn platform_of(env: &TestEnv, image: &str) -> String {
    let image = env.inspect(image);
    let part = |name: &str| image[name].as_str().unwrap_or_default().to_owned();
    format!("{} {} {}", part("Os"), part("Architecture"), part("Variant")).trim_end().to_owned()
}

#[test]
fn an_image_for_another_platform_is_not_taken() {
    let env = with_box("linux/s390x");
    let context = env.context(&format!("FROM {BOX}\nCOPY Dockerfile /d\n"));
    let host = if cfg!(target_arch = "aarch64") { "linux/arm64" } else { "linux/amd64" };
    env.build_fails(&context, &[])
        .says(&[&format!("`{BOX}` is for linux/s390x, and not for {host}"), "Dockerfile:1:6"]);
    env.build(&context, &["--platform", "linux/s390x"]);
    assert_eq!(platform_of(&env, IMAGE), "linux s390x");
    // Whose files are copied is wanted for the platform of the image, too.
    let context = env.context(&format!("FROM scratch\nCOPY --from={BOX} /etc/passwd /\n"));
    fails(&env, &context, &[]).says(&["is for linux/s390x"]);
    env.build(&context, &["--platform=linux/s390x"]);
}

#[test]
fn the_arguments_say_what_is_built_for_what() {
    let env = TestEnv::new();
    let labels = "ARG TARGETPLATFORM TARGETOS TARGETARCH TARGETVARIANT BUILDPLATFORM BUILDARCH\n\
        LABEL target=\"$TARGETPLATFORM $TARGETOS $TARGETARCH $TARGETVARIANT\" build=\"$BUILDPLATFORM $BUILDARCH\"\n";
    let context = env.context(&format!("FROM scratch\n{labels}"));
    let native = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    let own = format!("linux/{native} linux {native} ");
    for (given, target, platform) in [
        ("linux/arm/v7", "linux/arm/v7 linux arm v7", "linux arm v7"),
        ("linux/arm/v6", "linux/arm/v6 linux arm v6", "linux arm v6"),
        ("aarch64", "linux/arm64 linux arm64 ", "linux arm64"),
        ("linux/arm64/v8", "linux/arm64 linux arm64 ", "linux arm64"),
        ("linux/riscv64", "linux/riscv64 linux riscv64 ", "linux riscv64"),
        ("local", &own, &format!("linux {native}")),
    ] {
        env.build(&context, &["--platform", given]);
        let labels = env.config()["Labels"].clone();
        assert_eq!(labels["target"], target, "{given}");
        assert_eq!(labels["build"], format!("linux/{native} {native}"));
        assert_eq!(platform_of(&env, IMAGE), platform);
    }
}

#[test]
fn a_stage_of_the_build_platform_runs_here() {
    let env = TestEnv::new();
    let context = env.context(
        "FROM --platform=$BUILDPLATFORM busybox AS build\nARG TARGETARCH\nRUN echo for $TARGETARCH > /out\n\
         FROM scratch\nCOPY --from=build /out /\n",
    );
    env.build(&context, &["--platform", "linux/riscv64"]);
    assert_eq!(platform_of(&env, IMAGE), "linux riscv64");
    assert_eq!(env.tree(&context, &["--platform=linux/riscv64"]).text("out"), "for riscv64\n");
}

#[test]
fn a_stage_has_the_platform_that_its_from_says() {
    let env = with_box("linux/arm/v7");
    let context = env.context(&format!(
        "ARG VARIANT=v7\nFROM --platform=linux/arm/$VARIANT {BOX} AS one\nCOPY Dockerfile /d\nFROM --platform=$BUILDPLATFORM one\n"
    ));
    env.build(&context, &[]);
    // The platform of a stage is that of its base.
    assert_eq!(platform_of(&env, IMAGE), "linux arm v7");
    fails(&env, &context, &["--build-arg", "VARIANT=v6"]).says(&["not for linux/arm/v6"]);
    let context = env.context(&format!("FROM --platform=linux/nonsense/v1/x {BOX}\n"));
    fails(&env, &context, &[]).says(&["platform", "Dockerfile:1"]);
}

#[test]
fn a_command_that_cannot_run_is_refused_before_it_does() {
    let Some(platform) = unrunnable() else { return };
    let env = with_box(platform);
    let context = env.context(&format!("FROM {BOX}\nCOPY Dockerfile /d\nRUN cat /d\n"));
    env.build_fails(&context, &["--platform", platform])
        .says(&[
            "cannot run commands for linux/ppc64 on this machine",
            "Dockerfile:3",
            "3 | RUN cat /d",
            "apt-get install qemu-user-static",
        ])
        .says_not(&["FROM scratch"]);
    let context = env.context(&format!("FROM {BOX}\nCOPY Dockerfile /d\n"));
    env.build(&context, &["--platform", platform]);
    env.kiln(["run", "--rm", IMAGE, "cat", "/d"]).run().fails(125).says(&[
        "cannot run commands for linux/ppc64",
        "does not match the detected host platform",
    ]);
    let context = env.context("FROM scratch\nCOPY Dockerfile /d\nRUN [\"/d\"]\n");
    fails(&env, &context, &["--platform=windows/amd64"]).says(&["only commands for Linux"]);
    fails(&env, &context, &["--platform=linux/z80"]).says(&["architecture is not known"]);
}

#[test]
fn a_command_runs_in_an_emulator() {
    if !requires::emulator() {
        return;
    }
    let Some(tar) = base::foreign("arm64") else { return };
    let env = TestEnv::empty();
    let emulating = |args: &[&str]| env.kiln(args).emulating().run().ok();
    emulating(&["import", "--platform=linux/arm64", tar.to_str().unwrap(), BOX]);
    let context = env.context(&format!(
        "FROM --platform=linux/arm64 {BOX} AS foreign\nARG TARGETARCH\nRUN uname -m > /machine && echo $TARGETARCH >> /machine\n\
         FROM scratch\nCOPY --from=foreign /machine /\n"
    ));
    let dest = env.str("out");
    emulating(&["build", "--progress=plain", "-o", &dest, context.str()]);
    let native = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    let machine = std::fs::read_to_string(env.path("out/machine")).unwrap();
    assert_eq!(machine, format!("aarch64\n{native}\n"));
    let output = emulating(&["run", "--rm", "--platform=linux/arm64", BOX, "uname", "-m"]);
    assert_eq!(output.text(), "aarch64");
    // A root file system without a shell: the emulator was opened when it was registered.
    let context = env.context(&format!(
        "FROM scratch\nCOPY --from={BOX} /bin/busybox /busybox\nRUN [\"/busybox\", \"mkdir\", \"/made\"]\n"
    ));
    emulating(&["build", "--platform=arm64", "-o", &dest, context.str()]);
    assert!(env.path("out/made").is_dir());
}

#[test]
fn the_second_architecture_of_the_processor_runs_too() {
    if !cfg!(target_arch = "x86_64") {
        return;
    }
    let env = TestEnv::new();
    let context = env.context("FROM scratch\nCOPY probe /\nRUN [\"/probe\"]\n");
    std::fs::write(context.path().join("probe"), sandbox::probe("386").unwrap()).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(context.path().join("probe"), mode).unwrap();
    env.build(&context, &["--platform", "linux/386"]);
    assert_eq!(platform_of(&env, IMAGE), "linux 386");
    // It is what this platform runs without being asked.
    env.ok(&["run", "--rm", IMAGE, "/probe"]);
}

#[test]
fn what_a_registry_has_for_one_platform_only_is_taken_with_a_warning() {
    let env = TestEnv::new();
    if !requires::program("skopeo") {
        return;
    }
    let Some(registry) = Registry::start(&env.path("")) else { return };
    let archive = env.str("pushed.tar");
    env.ok(&["save", "-o", &archive, "busybox"]);
    let reference = format!("{}/box:1", registry.host);
    let copy = Command::new("skopeo")
        .args(["--insecure-policy", "copy", "--quiet", "--dest-tls-verify=false"])
        .args([format!("docker-archive:{archive}"), format!("docker://{reference}")])
        .status();
    assert!(copy.unwrap().success());

    env.kiln(["pull", "--platform=linux/s390x", &reference])
        .run()
        .fails(1)
        .says(&["is for linux/", "not for linux/s390x"]);
    let context = env.context(&format!("FROM {reference}\nRUN echo ran > /f\n"));
    env.build(&context, &["--platform=linux/s390x"])
        .says(&["InvalidBaseImagePlatform", "linux/s390x"]);
    assert_eq!(env.sh("cat /f"), "ran");
    env.kiln(["run", "--platform=linux/s390x", &reference, "true"])
        .run()
        .fails(125)
        .says(&["not for linux/s390x"]);
}

/// A tool of this machine, which makes something for a platform.
const CROSS: &str = "FROM --platform=$BUILDPLATFORM busybox AS tool\nRUN cat /proc/sys/kernel/random/uuid > /id\n\
    FROM tool AS build\nARG TARGETARCH\nRUN echo for $TARGETARCH > /out\n\
    FROM scratch\nCOPY --from=build /id /out /\n";
const TWO: &str = "--platform=linux/s390x,linux/riscv64";

/// The platforms of an index's manifests.
fn platforms(index: &Value) -> Vec<String> {
    let manifests = index["manifests"].as_array().unwrap().iter();
    manifests.map(|m| m["platform"]["architecture"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn several_platforms_are_built_in_one_run() {
    let env = TestEnv::new();
    let context = env.context(CROSS);
    let (out, oci) = (env.str("out"), env.str("oci.tar"));
    let native = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    let output =
        env.build(&context, &[TWO, "-o", &out, "-o", &format!("type=oci,dest={oci}")]).says(&[
            &format!("[linux/{native} tool 2/2] RUN cat"),
            &format!("[linux/{native}->s390x build 1/1] RUN echo for s390x"),
            &format!("[linux/{native}->riscv64 build 1/1] RUN echo for riscv64"),
            "[linux/s390x stage-2 1/1] COPY --from=build",
            "(linux/s390x)",
            "(linux/riscv64)",
        ]);
    let shared = output.stderr.lines().filter(|line| line.contains("tool 2/2] RUN"));
    assert_eq!(shared.count(), 1, "what both need is done once:\n{output}");
    let read = |path: &str| std::fs::read_to_string(env.path(path)).unwrap();
    assert_eq!(read("out/linux_s390x/out"), "for s390x\n");
    assert_eq!(read("out/linux_riscv64/out"), "for riscv64\n");
    assert_eq!(read("out/linux_s390x/id"), read("out/linux_riscv64/id"));

    let layout = Layout::of_tar(&std::fs::read(&oci).unwrap());
    let entries = layout.index()["manifests"].as_array().unwrap().clone();
    assert_eq!(entries.len(), 1, "a name has one entry");
    let index: Value = serde_json::from_slice(layout.blob(&entries[0])).unwrap();
    assert_eq!(platforms(&index), ["s390x", "riscv64"], "and nothing but the images is in it");
    for manifest in index["manifests"].as_array().unwrap() {
        let manifest: Value = serde_json::from_slice(layout.blob(manifest)).unwrap();
        layout.blob(&manifest["config"]);
        layout.blob(&manifest["layers"][0]);
    }
    // In the store both have the name, and go together.
    assert_eq!(env.ok(&["images", "-q", IMAGE]).text().lines().count(), 2);
    env.ok(&["tag", IMAGE, "again"]);
    env.ok(&["rmi", IMAGE]);
    assert_eq!(env.ok(&["images", "-q", "again"]).text().lines().count(), 2);
    env.ok(&["rmi", "again"]);
    assert_eq!(env.ok(&["images"]).text().lines().count(), 2, "the title and the base");
}

#[test]
fn the_ids_of_several_platforms_are_lines() {
    let env = TestEnv::new();
    let context = env.context("FROM scratch\nCOPY Dockerfile /\n");
    let ids = env.str("ids");
    let output =
        env.ok(&["build", "-q", TWO, "--platform=s390x", "--iidfile", &ids, context.str()]);
    assert_eq!(output.text().lines().count(), 2, "a platform that was given twice is one");
    assert_eq!(std::fs::read_to_string(&ids).unwrap(), output.text());
    // A single one is alone in its file.
    let output = env.ok(&["build", "-q", "--iidfile", &ids, context.str()]);
    assert_eq!(std::fs::read_to_string(&ids).unwrap(), output.text());
}

#[test]
fn what_has_room_for_one_platform_is_refused_before_the_build() {
    let env = TestEnv::new();
    let context = env.context(CROSS);
    for (output, reason) in [
        (
            "type=docker,dest=x",
            "docker exporter does not currently support exporting manifest lists",
        ),
        ("type=docker", "docker exporter does not currently support exporting manifest lists"),
        ("type=local,dest=x,platform-split=false", "platform-split"),
    ] {
        env.building(&context, &[TWO, "-o", output])
            .run()
            .fails(2)
            .says(&[reason])
            .says_not(&["RUN"]);
    }
    env.building(&context, &["--platform", "linux/s390x,"]).run().fails(1).says(&["platform"]);
}

#[test]
fn of_several_platforms_all_are_built_or_none() {
    let env = TestEnv::new();
    let context = env.context(
        "FROM --platform=$BUILDPLATFORM busybox\nARG TARGETARCH\nRUN test $TARGETARCH = s390x\n",
    );
    env.build_fails(&context, &[TWO])
        .says(&["did not complete successfully", "->riscv64] RUN test"]);
    env.build(&context, &["--platform", "linux/s390x"]);
}

#[test]
fn an_index_is_saved_and_loaded() {
    let env = TestEnv::new();
    env.build(&env.context(CROSS), &[TWO]);
    let (archive, oci) = (env.str("saved.tar"), env.str("oci.tar"));
    env.ok(&["save", "-o", &archive, IMAGE]);
    env.build(&env.context(CROSS), &[TWO, "-o", &format!("type=oci,dest={oci}")]);
    let listed = |env: &TestEnv| env.ok(&["images", "-q", "--no-trunc", IMAGE]).text();
    for archive in [&archive, &oci] {
        let other = TestEnv::empty();
        let loaded = other.ok(&["load", "-i", archive]).text();
        assert_eq!(loaded, format!("Loaded image: {IMAGE}"), "one name, however many images");
        assert_eq!(listed(&other), listed(&env));
        let one = TestEnv::empty();
        one.ok(&["load", "--platform=linux/riscv64", "-i", archive]);
        assert_eq!(platform_of(&one, IMAGE), "linux riscv64");
        assert_eq!(listed(&one).lines().count(), 1);
        one.kiln(["load", "--platform=linux/386", "-i", archive])
            .run()
            .fails(1)
            .says(&["no image for linux/386"]);
        // As a base, without being loaded.
        let context = one.context("FROM base\nCOPY Dockerfile /\n");
        let directory = one.path("layout");
        std::fs::create_dir(&directory).unwrap();
        assert!(
            Command::new("tar")
                .arg("-xf")
                .arg(archive)
                .arg("-C")
                .arg(&directory)
                .status()
                .unwrap()
                .success()
        );
        let base = format!("base=oci-layout://{}", directory.display());
        one.build(&context, &[TWO, "--build-context", &base]);
        assert_eq!(listed(&one).lines().count(), 2);
        fails(&one, &context, &["--platform=linux/386", "--build-context", &base])
            .says(&["linux/386"]);
    }
}

#[test]
fn an_index_is_pushed_and_each_platform_pulled_from_it() {
    let env = TestEnv::new();
    let Some(registry) = Registry::start(&env.path("")) else { return };
    let reference = format!("{}/team/app:1", registry.host);
    let context = env.context(CROSS);
    env.ok(&["build", "-q", TWO, "--push", "-t", &reference, context.str()]);
    if requires::program("skopeo") {
        let inspect = ["inspect", "--raw", "--tls-verify=false"];
        let name = format!("docker://{reference}");
        let output = Command::new("skopeo").args(inspect).arg(&name).output().unwrap();
        assert_eq!(
            platforms(&serde_json::from_slice(&output.stdout).unwrap()),
            ["s390x", "riscv64"]
        );
    }

    let other = TestEnv::new();
    other.ok(&["pull", "-q", "--platform=linux/riscv64", &reference]);
    assert_eq!(platform_of(&other, &reference), "linux riscv64");
    other.kiln(["pull", "--platform=linux/386", &reference]).run().fails(1).says(&["linux/386"]);
    // The base for another platform is pulled beside it, and neither takes the name from the other.
    let context = other.context(&format!("FROM {reference}\nCOPY Dockerfile /\n"));
    other.build(&context, &[TWO]).says(&[&format!("pulling {reference} for linux/s390x")]);
    assert_eq!(other.ok(&["images", "-q", &reference]).text().lines().count(), 2);
    other
        .kiln(["run", "--platform=linux/386", &reference])
        .run()
        .fails(125)
        .says(&["not for linux/386"]);
    drop(registry);
    other.build(&context, &[TWO]).has_cached(2);
    let ids = |env: &TestEnv, name: &str| env.ok(&["images", "-q", "--no-trunc", name]).text();
    let mut both: Vec<String> = ids(&other, &reference).lines().map(str::to_owned).collect();
    both.sort();
    let mut pushed: Vec<String> = ids(&env, &reference).lines().map(str::to_owned).collect();
    pushed.sort();
    assert_eq!(both, pushed);
}

#[test]
fn other_commands_take_the_image_for_a_platform() {
    let env = TestEnv::new();
    let context =
        env.context("FROM scratch\nARG TARGETARCH\nLABEL for=$TARGETARCH\nCOPY Dockerfile /\n");
    env.build(&context, &[TWO]);
    let of = |platform: &str| {
        let format = "--format={{.Architecture}} {{.Config.Labels.for}}";
        env.ok(&["inspect", "--platform", platform, format, IMAGE]).text()
    };
    assert_eq!(of("linux/s390x"), "s390x s390x");
    assert_eq!(of("linux/riscv64"), "riscv64 riscv64");
    let steps = env.ok(&["history", "--no-trunc", "--platform=riscv64", IMAGE]).text();
    assert!(steps.contains("LABEL for=riscv64"), "{steps}");
    let saved = env.str("one.tar");
    env.ok(&["save", "--platform=riscv64", "-o", &saved, IMAGE]);
    let other = TestEnv::empty();
    other.ok(&["load", "-i", &saved]);
    assert_eq!(platform_of(&other, IMAGE), "linux riscv64");
    assert_eq!(other.ok(&["images", "-q"]).text().lines().count(), 1);
    for command in [&["inspect"][..], &["history"], &["save", "-o", "x"]] {
        env.kiln([command, &["--platform=linux/386", IMAGE]].concat())
            .run()
            .fails(1)
            .says(&["is for linux/s390x and linux/riscv64, and not for linux/386"]);
    }
    let table = env.ok(&["images"]).text();
    assert!(table.contains("PLATFORM") && table.contains("linux/riscv64"), "{table}");
    env.ok(&["rmi", IMAGE]);
    let table = env.ok(&["images"]).text();
    assert!(!table.contains("PLATFORM"), "only where there is something to tell: {table}");
}

#[test]
fn the_environment_says_which_platform_is_usual() {
    let env = TestEnv::new();
    let context = env.context("FROM scratch\nCOPY Dockerfile /\n");
    let building = || env.building(&context, &[]);
    building().env("DOCKER_DEFAULT_PLATFORM", "linux/s390x").run().ok();
    assert_eq!(platform_of(&env, IMAGE), "linux s390x");
    building().env("DOCKER_DEFAULT_PLATFORM", "").run().ok();
    assert_ne!(platform_of(&env, IMAGE), "linux s390x");
    let both = env.building(&context, &["--platform=linux/riscv64"]);
    both.env("DOCKER_DEFAULT_PLATFORM", "linux/s390x").run().ok();
    assert_eq!(platform_of(&env, IMAGE), "linux riscv64");
    building().env("DOCKER_DEFAULT_PLATFORM", "nonsense").run().fails(1).says(&["`nonsense`"]);
}

/// Tries to build, where an image of an earlier build may be left.
#[track_caller]
fn fails(env: &TestEnv, context: &Context, args: &[&str]) -> Output {
    env.building(context, args).run().fails(1)
}

/// Of the manifests, of what describes them, of the index and of what describes that; for one platform or for all.
#[test]
fn annotations_of_several_platforms() {
    let env = TestEnv::empty();
    let context = env.context("FROM scratch\nLABEL a=b\n");
    let oci = env.str("oci.tar");
    let output = format!(
        "type=oci,dest={oci},annotation-index.of.output=o,annotation[linux/riscv64].k=riscv"
    );
    let args = [
        "--annotation=k=all",
        "--annotation=index,manifest-descriptor:i=1",
        "--annotation=manifest-descriptor[linux/s390x]:d=2",
        "--annotation=index-descriptor:e=3",
    ];
    env.build(&context, &[&[TWO, "-o", &output][..], &args].concat());
    let layout = Layout::of_tar(&std::fs::read(&oci).unwrap());
    let entry = layout.index()["manifests"][0].clone();
    assert_eq!(entry["annotations"]["e"], "3");
    let index: Value = serde_json::from_slice(layout.blob(&entry)).unwrap();
    assert_eq!(index["annotations"], serde_json::json!({ "i": "1", "of.output": "o" }));
    for (descriptor, annotations, described) in [
        (&index["manifests"][0], "all", serde_json::json!({ "i": "1", "d": "2" })),
        (&index["manifests"][1], "riscv", serde_json::json!({ "i": "1" })),
    ] {
        assert_eq!(descriptor["annotations"], described);
        let manifest: Value = serde_json::from_slice(layout.blob(descriptor)).unwrap();
        assert_eq!(manifest["annotations"], serde_json::json!({ "k": annotations }));
    }

    // One image has no index; a descriptor of it is in a layout.
    let output = format!("type=oci,dest={oci}");
    let building = |args: &[&str]| env.building(&context, &[&["-o", &output][..], args].concat());
    building(&["--annotation=manifest-descriptor:d=2"]).run().ok();
    let layout = Layout::of_tar(&std::fs::read(&oci).unwrap());
    assert_eq!(layout.index()["manifests"][0]["annotations"]["d"], "2");
    for (given, told) in [
        ("index:a=b", "index annotations not supported for single platform export"),
        ("manifest[linux/s390x]:a=b", "`linux/s390x` is no platform of this build"),
        ("images:a=b", "there are manifest, manifest-descriptor, index, index-descriptor"),
        ("manifest[x:a=b", "a platform in brackets"),
    ] {
        building(&["--annotation", given]).run().fails(2).says(&[told]);
    }
}
