//! `--output`, `--iidfile` and what goes to which stream.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::Value;

use crate::support::archive::{Layout, Tree};
use crate::support::context::Context;
use crate::support::env::{IMAGE, TestEnv};
use crate::support::registry::Registry;
use crate::support::victim::Victim;

/// An image with a layer of each kind: added, changed and removed files.
fn example(env: &TestEnv) -> Context {
    let context = env.context(
        "FROM busybox\nCOPY d /d\nRUN rm /d/gone && rm -r /home && chmod 600 /d/kept\nENV A=b\nCMD [\"cat\", \"/d/kept\"]\n",
    );
    context.files(&["d/kept", "d/gone"]);
    context
}

#[test]
fn an_oci_archive_holds_what_its_digests_say() {
    let env = TestEnv::new();
    let context = example(&env);
    let dest = env.str("out.tar");
    env.build(&context, &["--output", &format!("type=oci,dest={dest}")]);

    let layout = Layout::of_tar(&fs::read(&dest).unwrap());
    let config = layout.config();
    assert_eq!(config["config"]["Cmd"], serde_json::json!(["cat", "/d/kept"]));
    assert_eq!(config["os"], "linux");
    let layers = layout.layers();
    assert_eq!(layers.len(), 3, "the base, COPY and RUN");
    let last = Tree::of_tar(&layers[2]);
    assert!(last.has("d/.wh.gone") && last.has(".wh.home"), "{:?}", last.0.keys());
    assert_eq!(last.owner("d/kept"), "600 0:0");
    assert!(!last.has("bin/sh") && !last.has("etc/resolv.conf"), "a layer is the change alone");
    // The archive names the image.
    let annotations = &layout.index()["manifests"][0]["annotations"];
    let name = annotations["io.containerd.image.name"].as_str().unwrap();
    assert_eq!(name, format!("docker.io/library/{IMAGE}"));
}

#[test]
fn a_docker_archive_has_a_manifest_json() {
    let env = TestEnv::new();
    let context = example(&env);
    let dest = env.str("out.tar");
    env.build(&context, &["--output", &format!("type=docker,dest={dest}")]);

    let files = Tree::of_tar(&fs::read(&dest).unwrap());
    let manifest: Value = serde_json::from_slice(&files.entry("manifest.json").content).unwrap();
    assert_eq!(manifest[0]["RepoTags"], serde_json::json!([IMAGE]));
    let config: Value =
        serde_json::from_slice(&files.entry(manifest[0]["Config"].as_str().unwrap()).content)
            .unwrap();
    let layers = manifest[0]["Layers"].as_array().unwrap();
    assert_eq!(layers.len(), config["rootfs"]["diff_ids"].as_array().unwrap().len());
    for layer in layers {
        assert!(files.has(layer.as_str().unwrap()), "{layer}");
    }
}

#[test]
fn a_directory_is_the_file_system() {
    let env = TestEnv::new();
    let context = example(&env);
    let dest = env.str("rootfs");
    env.build(&context, &["--output", &format!("type=local,dest={dest}")]);
    assert_eq!(fs::read_to_string(env.path("rootfs/d/kept")).unwrap(), "d/kept\n");
    assert!(!env.path("rootfs/d/gone").exists() && !env.path("rootfs/home").exists());
    let mode = fs::metadata(env.path("rootfs/d/kept")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_bare_path_is_a_directory() {
    let env = TestEnv::new();
    let context = example(&env);
    env.ok(&["build", "-o", &env.str("rootfs"), context.str()]);
    assert!(env.path("rootfs/d/kept").exists());
}

#[test]
fn a_tar_is_the_file_system_too() {
    let env = TestEnv::new();
    let tree = env.tree(&example(&env), &[]);
    assert!(tree.has("bin/sh") && tree.has("d/kept"));
    assert!(!tree.has("d/gone") && !tree.has("home") && !tree.has("d/.wh.gone"));
    assert_eq!(tree.owner("tmp"), "1777 0:0");
}

#[test]
fn a_dash_is_stdout_and_nothing_else_is_there() {
    let env = TestEnv::new();
    let context = example(&env);
    let output = env.ok(&["build", "--progress=plain", "-o", "type=tar,dest=-", context.str()]);
    assert!(Tree::of_tar(&output.stdout).has("d/kept"));
}

#[test]
fn several_outputs_of_one_build() {
    let env = TestEnv::new();
    let context = example(&env);
    let (oci, local) = (env.str("out.tar"), env.str("rootfs"));
    env.build(
        &context,
        &["-o", &format!("type=oci,dest={oci}"), "-o", &format!("type=local,dest={local}")],
    );
    assert!(env.path("out.tar").exists() && env.path("rootfs/d/kept").exists());
    assert!(env.inspect(IMAGE).is_object());
}

#[test]
fn quiet_prints_the_image_id_alone() {
    let env = TestEnv::new();
    let context = example(&env);
    let iid = env.str("iid");
    let output = env.ok(&["build", "-q", "-t", IMAGE, "--iidfile", &iid, context.str()]);
    assert_eq!(output.text(), env.id(IMAGE));
    assert_eq!(output.stderr, "");
    assert_eq!(fs::read_to_string(iid).unwrap().trim(), env.id(IMAGE));
}

#[test]
fn progress_goes_to_stderr() {
    let env = TestEnv::new();
    let context = env.context("FROM busybox AS one\nRUN echo said-by-run\nFROM one\nRUN true\n");
    let output = env.build(&context, &[]);
    let stdout = output.text();
    assert!(stdout.lines().count() <= 1 && !stdout.contains("said-by-run"), "{output}");
    output.says(&["[one ", "] RUN echo said-by-run", " said-by-run", " DONE "]);
}

/// `FROM scratch` and `FROM stage` are no steps, nor are instructions that touch no file; variables have their values, and
/// of a script the title has the first line.
#[test]
fn steps_have_titles_and_numbers() {
    let env = TestEnv::new();
    let context = env.context(
        "FROM busybox AS base\nENV A=1 B=\"two words\"\nWORKDIR /out$A\nRUN echo \"$B\" $NONE '$A' > base\n\
         FROM base\nrun <<EOF\necho one\necho two\nEOF\nRUN <<EOF cat\nhi\nEOF\nRUN [\"echo\", \"$A\"]\n\
         COPY <<a <<b /d$A/\n1\na\n2\nb\nLABEL a=b\n\
         FROM scratch\nCOPY --from=base --chmod=0644 /out1/base /out\nCOPY --from=1 /d1/a /a\n",
    );
    let output = env.build(&context, &[]);
    let titles = output.stderr.lines().filter_map(|line| line.split_once(" ["));
    let mut titles: Vec<&str> = titles.map(|(_, title)| title).collect();
    titles.sort_unstable();
    let expected = [
        "base 1/3] FROM docker.io/library/busybox:latest",
        "base 2/3] WORKDIR /out1",
        "base 3/3] RUN echo \"two words\" $NONE '$A' > base",
        "stage-1 1/4] RUN <<EOF (echo one...)",
        "stage-1 2/4] RUN <<EOF cat",
        "stage-1 3/4] RUN [\"echo\", \"1\"]",
        "stage-1 4/4] COPY <<a <<b /d1/",
        "stage-2 1/2] COPY --from=base --chmod=0644 /out1/base /out",
        "stage-2 2/2] COPY --from=1 /d1/a /a",
    ];
    assert_eq!(titles, expected, "{output}");
}

#[test]
fn every_plain_line_says_which_step_it_is_from() {
    let env = TestEnv::new();
    let context = env.context("FROM busybox\nRUN echo one; echo two >&2; printf three\n");
    let output = env.build(&context, &[]);
    for word in ["one", "two", "three"] {
        let line = output.stderr.lines().find(|line| line.ends_with(&format!(" {word}")));
        assert!(line.is_some_and(|line| line.starts_with('#')), "{word}:\n{output}");
    }
}

#[test]
fn an_unwritable_destination_fails_with_its_name() {
    let env = TestEnv::new();
    let context = example(&env);
    let dest = env.str("no/such/dir/out.tar");
    let build = ["build", "-o", &format!("type=oci,dest={dest}"), context.str()];
    env.kiln(build).run().fails(1).says(&["no/such/dir"]);
}

#[test]
fn an_unknown_kind_is_a_usage_error() {
    let env = TestEnv::new();
    let context = example(&env);
    env.kiln(["build", "-o", "type=oic,dest=x", context.str()])
        .run()
        .fails(2)
        .says(&["oic", "oci"]);
}

/// As lines of JSON that are those of BuildKit's client.
#[test]
fn progress_for_programs() {
    let env = TestEnv::new();
    let context = env.context("FROM busybox\nRUN echo hello; echo aside >&2\n");
    let building = |args: &[&str]| {
        let kiln = env.kiln(["build", "-t", IMAGE, context.str()]).args(args);
        let output = kiln.env("BUILDKIT_PROGRESS", "rawjson").run().ok();
        assert_eq!(output.stdout, b"");
        output
            .stderr
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect::<Vec<Value>>()
    };
    let of = |lines: &[Value], kind: &str| -> Vec<Value> {
        lines.iter().filter_map(|line| line[kind].as_array()).flatten().cloned().collect()
    };

    let first = building(&[]);
    let vertexes = of(&first, "vertexes");
    let run =
        vertexes.iter().find(|vertex| vertex["name"] == "[2/2] RUN echo hello; echo aside >&2");
    let run = &run.unwrap()["digest"];
    let ended = vertexes.iter().rfind(|vertex| &vertex["digest"] == run).unwrap();
    assert!(ended["completed"].is_string() && ended["cached"].is_null(), "{ended}");
    // `hello` and `aside` with their line ends.
    for (stream, data) in [(1, "aGVsbG8K"), (2, "YXNpZGUK")] {
        let logs = of(&first, "logs");
        let log = logs.iter().find(|log| log["stream"] == stream).unwrap();
        assert_eq!((&log["vertex"], &log["data"]), (run, &Value::from(data)));
    }
    let id = format!("writing image {}", env.id(IMAGE));
    assert!(of(&first, "statuses").iter().any(|status| status["id"] == id.as_str()), "{id}");

    let again = of(&building(&[]), "vertexes");
    assert!(again.iter().any(|vertex| &vertex["digest"] == run && vertex["cached"] == true));

    // A push is not told besides.
    let Some(registry) = Registry::start(&env.path("")) else { return };
    let name = registry.at("programs:1");
    let pushed = env.kiln(["build", "--push", "-t", &name, context.str()]);
    let output = pushed.env("BUILDKIT_PROGRESS", "rawjson").run().ok();
    assert!(output.stderr.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()));
}

#[test]
fn links_in_a_directory_of_files_are_no_way_out_of_it() {
    let env = TestEnv::new();
    let victim = Victim::create(&env);
    let path = victim.path();
    let out = format!("--output=type=local,dest={}", env.str("out"));
    let links = env.context(&format!(
        "FROM busybox AS b\nRUN mkdir /x && ln -s {path} /x/sub && ln -s {path}/token /x/f\nFROM scratch\nCOPY --from=b /x/ /\n"
    ));
    env.kiln(["build", "-q", &out, links.str()]).run().ok();
    let files = env.context("FROM scratch\nCOPY sub /sub\nCOPY f /f\n");
    files.files(&["sub/token", "sub/new", "f"]);
    env.kiln(["build", "-q", &out, files.str()]).run().ok();
    victim.is_unharmed("links");
    assert_eq!(std::fs::read_to_string(env.path("out/sub/new")).unwrap(), "sub/new\n");
    assert!(std::fs::symlink_metadata(env.path("out/f")).unwrap().is_file());
}
