//! `kiln images`.

use crate::support::archive::Tarball;
use crate::support::env::{IMAGE, TestEnv};

/// The words of each line of a listing.
fn rows(text: &str) -> Vec<Vec<String>> {
    text.lines().map(|line| line.split_whitespace().map(str::to_owned).collect()).collect()
}

#[test]
fn a_table_of_names_ids_ages_and_sizes() {
    let env = TestEnv::new();
    env.build_text("FROM busybox\nLABEL a=b\n");
    let rows = rows(&env.ok(&["images"]).text());
    assert_eq!(rows[0].join(" "), "REPOSITORY TAG IMAGE ID CREATED SIZE");
    assert_eq!(rows.len(), 3);
    let own = rows.iter().find(|row| row[0] == "test").unwrap();
    assert_eq!(own[1], "latest");
    assert_eq!(own[2], env.id(IMAGE)["sha256:".len()..][..12]);
    assert!(own.join(" ").contains("ago"), "{own:?}");
    assert!(own.last().unwrap().ends_with("MB"), "{own:?}");
}

#[test]
fn columns_stand_below_their_heads() {
    let env = TestEnv::new();
    env.ok(&["tag", "busybox", "example.com:5000/a/rather/long/name:v1.0"]);
    let listing = env.ok(&["images"]).text();
    let (head, rows) = listing.split_once('\n').unwrap();
    let tag = head.find("TAG").unwrap();
    for row in rows.lines() {
        assert_eq!(&row[tag - 1..tag], " ", "{listing}");
        assert_ne!(&row[tag..=tag], " ", "{listing}");
    }
}

#[test]
fn an_empty_store_has_a_head_only() {
    let env = TestEnv::empty();
    assert_eq!(env.ok(&["images"]).text().lines().count(), 1);
    assert_eq!(env.ok(&["images", "-q"]).text(), "");
}

#[test]
fn quiet_prints_ids_and_no_trunc_whole_ones() {
    let env = TestEnv::new();
    let id = env.id("busybox");
    assert_eq!(env.ok(&["images", "-q"]).text(), id["sha256:".len()..][..12]);
    assert_eq!(env.ok(&["images", "-q", "--no-trunc"]).text(), id);
    assert!(env.ok(&["images", "--no-trunc"]).text().contains(&id));
}

#[test]
fn a_name_selects() {
    let env = TestEnv::new();
    env.ok(&["tag", "busybox", "other:1"]);
    env.ok(&["tag", "busybox", "other:2"]);
    assert_eq!(rows(&env.ok(&["images", "other"]).text()).len(), 3);
    let rows = rows(&env.ok(&["images", "other:2"]).text());
    assert_eq!((rows.len(), rows[1][1].as_str()), (2, "2"));
    assert_eq!(env.ok(&["images", "none"]).text().lines().count(), 1);
}

/// The lines of a listing, each as its columns.
fn listed(env: &TestEnv, args: &[&str]) -> Vec<String> {
    let format = "--format={{.Repository}}:{{.Tag}} {{.ID}} {{.Size}}";
    let args = [&["images", format], args].concat();
    env.ok(&args).text().lines().map(str::to_owned).collect()
}

/// The names alone.
fn names(env: &TestEnv, args: &[&str]) -> Vec<String> {
    listed(env, args).iter().map(|line| line.split(' ').next().unwrap().to_owned()).collect()
}

#[test]
fn the_size_is_that_of_the_files() {
    let env = TestEnv::empty();
    let tar = Tarball::new()
        .file("f", "x".repeat(1000))
        .owned_hard_link("again", "f", 0o644, 0, 0)
        .symlink("s", "target")
        .dir("d", 0o755)
        .finish();
    env.kiln(["import", "-", "base"]).stdin(tar).run().ok();
    let size = |name: &str| env.inspect(name)["Size"].as_u64().unwrap();
    assert_eq!(size("base"), 1000 + 6);
    // What is deleted or replaced is still in the layer below, what is deleted adds nothing.
    let context = env.context("FROM base\nCOPY a b /d/\nWORKDIR /w\n");
    context.write("a", "12345").write("b", "");
    env.build(&context, &[]);
    assert_eq!(size(IMAGE), 1006 + 5);
    assert_eq!(names(&env, &[]), [IMAGE, "base:latest"]);
    let sizes = env.ok(&["history", "-H=false", "--format", "{{.Size}}", IMAGE]).text();
    assert_eq!(sizes.lines().collect::<Vec<_>>(), ["0", "5", "1006"]);
    // A loaded image has the same.
    let saved = env.ok(&["save", IMAGE]).stdout;
    let other = TestEnv::empty();
    other.kiln(["load"]).stdin(saved).run().ok();
    assert_eq!(other.inspect(IMAGE)["Size"], 1011);
}

#[test]
fn every_step_is_an_image() {
    let env = TestEnv::new();
    env.build_text(
        "FROM busybox\nENV A=1\nRUN echo one > /one\nWORKDIR /w\nRUN echo two > two\nCMD [\"cat\", \"two\"]\n",
    );
    assert_eq!(names(&env, &[]), [IMAGE, "busybox:latest"]);
    let ids = env.ok(&["images", "-aq"]).text();
    let ids: Vec<&str> = ids.lines().collect();
    assert_eq!(ids.len(), 6);
    // The same ones are in the history, from the newest to the base.
    assert_eq!(env.ok(&["history", "-q", IMAGE]).text(), ids.join("\n"));
    let [image, two, workdir, one, environment, base] = ids[..] else { panic!("{ids:?}") };
    assert_eq!(env.id(IMAGE)["sha256:".len()..][..12], *image);
    assert_eq!(env.id("busybox")["sha256:".len()..][..12], *base);

    let sh = |id: &str, script: &str| {
        env.ok(&["run", "--rm", "--entrypoint", "/bin/sh", id, "-c", script]).text()
    };
    assert_eq!(sh(two, "cat two"), "two");
    assert_eq!(sh(workdir, "pwd; ls"), "/w");
    assert_eq!(sh(one, "pwd; cat /one; ls -d /w 2>/dev/null || true"), "/\none");
    assert_eq!(sh(environment, "echo $A; ls /one 2>/dev/null || true"), "1");
    for (child, parent) in ids.iter().zip(&ids[1..]) {
        assert_eq!(env.inspect(child)["Parent"], env.id(parent));
    }
    assert_eq!(env.inspect(base)["Parent"], "");
    assert_eq!(env.inspect(one)["Config"]["WorkingDir"], "");
    assert_eq!(env.inspect(workdir)["RootFS"]["Layers"].as_array().unwrap().len(), 3);

    // What has a name stays when the image goes, and is built upon.
    env.ok(&["tag", one, "step:1"]);
    env.ok(&["rmi", IMAGE]);
    assert_eq!(names(&env, &[]), ["step:1", "busybox:latest"]);
    env.build_text("FROM step:1\nRUN cat /one > /copy\n");
    assert_eq!(env.sh("cat /copy"), "one");
}

#[test]
fn equal_steps_of_two_images_are_one() {
    let env = TestEnv::new();
    env.ok(&[
        "build",
        "-q",
        "-t",
        "a",
        env.context("FROM busybox\nRUN echo 1\nRUN echo a\n").str(),
    ]);
    env.ok(&[
        "build",
        "-q",
        "-t",
        "b",
        env.context("FROM busybox\nRUN echo 1\nRUN echo b\n").str(),
    ]);
    assert_eq!(env.ok(&["images", "-aq"]).text().lines().count(), 4);
}

#[test]
fn an_image_that_lost_its_name_dangles_unless_others_are_made_on_it() {
    let env = TestEnv::new();
    env.build_text("FROM busybox\nRUN echo 1 > /f\n");
    let old = env.id(IMAGE);
    let context = env.context("FROM busybox\nRUN echo 2 > /f\n");
    env.build(&context, &[]);
    assert_eq!(names(&env, &[]), [IMAGE, "<none>:<none>", "busybox:latest"]);
    let dangling = env.ok(&["images", "-q", "--no-trunc", "-f", "dangling=true"]).text();
    assert_eq!(dangling, old);
    assert_eq!(names(&env, &["-f", "dangling=false"]), [IMAGE, "busybox:latest"]);
    // With more steps on top, the old image is a step of the new one.
    env.ok(&["rmi", &old]);
    context.write("Dockerfile", "FROM busybox\nRUN echo 2 > /f\nRUN echo 3 > /g\n");
    env.build(&context, &[]);
    assert_eq!(names(&env, &[]), [IMAGE, "busybox:latest"]);
    assert_eq!(names(&env, &["-f", "dangling=true"]), [""; 0]);
}

#[test]
fn filters() {
    let env = TestEnv::new();
    env.ok(&[
        "build",
        "-q",
        "-t",
        "app:1",
        "--label",
        "k=v",
        env.context("FROM busybox\nRUN echo 1\n").str(),
    ]);
    env.ok(&[
        "build",
        "-q",
        "-t",
        "example.com/team/app:2",
        env.context("FROM busybox\nRUN echo 2\n").str(),
    ]);
    let filtered = |filter: &str| names(&env, &["--filter", filter]);
    let (one, two, base) = ("app:1", "example.com/team/app:2", "busybox:latest");
    assert_eq!(filtered("label=k"), [one]);
    assert_eq!(filtered("label=k=v"), [one]);
    assert_eq!(filtered("label=k=w"), [""; 0]);
    assert_eq!(filtered("reference=ap*"), [one]);
    assert_eq!(filtered("reference=*:1"), [one]);
    assert_eq!(filtered("reference=example.com/*/app"), [two]);
    assert_eq!(filtered("reference=*"), [one, base]);
    assert_eq!(filtered("before=app:1"), [base]);
    assert_eq!(filtered("since=app:1"), [two]);
    assert_eq!(filtered("until=1h"), [""; 0]);
    assert_eq!(filtered("until=2099-01-01").len(), 3);
    assert_eq!(names(&env, &["-f", "since=busybox", "-f", "before=example.com/team/app:2"]), [one]);
    assert_eq!(names(&env, &["*/*/*"]), [two]);
    assert_eq!(names(&env, &["docker.io/library/busybox"]), [base]);
    for (wrong, says) in [
        ("foo=bar", "invalid filter 'foo'"),
        ("label", "name=value"),
        ("dangling=x", "true or false"),
        ("until=x", "24h"),
        ("reference=[", "pattern"),
    ] {
        env.kiln(["images", "--filter", wrong]).run().fails(2).says(&[says]);
    }
    env.kiln(["images", "--filter", "before=none"]).run().fails(1).says(&["no such image", "none"]);
}

#[test]
fn a_tree_of_layers() {
    let env = TestEnv::new();
    let context = env.context("FROM busybox\nRUN echo 1 > /1\nRUN echo one > /a\n");
    env.ok(&["build", "-q", "-t", "a", context.str()]);
    context.write("Dockerfile", "FROM busybox\nRUN echo 1 > /1\nRUN echo three > /b\n");
    env.ok(&["build", "-q", "-t", "b", "-t", "c", context.str()]);
    let tree = env.ok(&["images", "--tree"]).text();
    let lines: Vec<&str> = tree.lines().collect();
    assert!(lines[0].starts_with("LAYER") && lines[0].contains("ADDS      TOTAL"), "{tree}");
    assert!(lines[1].ends_with(" busybox:latest"), "{tree}");
    assert!(
        lines[2].starts_with("RUN /bin/sh -c echo 1 > /1") && lines[2].contains(" 2B "),
        "{tree}"
    );
    assert!(lines[3].starts_with("├─ RUN /bin/sh -c echo three > /b"), "{tree}");
    assert!(lines[3].contains(" 6B ") && lines[3].ends_with(" b:latest, c:latest"), "{tree}");
    assert!(lines[4].starts_with("└─ RUN /bin/sh -c echo one > /a"), "{tree}");
    assert!(lines[4].contains(" 4B ") && lines[4].ends_with(" a:latest"), "{tree}");
    assert_eq!(lines.len(), 5, "{tree}");
    assert!(!env.ok(&["images", "--tree", "a"]).text().contains("three"));
}

#[test]
fn the_image_of_a_failed_build_is_not_there() {
    let env = TestEnv::new();
    env.build_fails(&env.context("FROM busybox\nRUN false\n"), &[]);
    assert_eq!(rows(&env.ok(&["images"]).text()).len(), 2);
}

#[test]
fn a_format_of_ones_own() {
    let env = TestEnv::new();
    let short = &env.id("busybox")["sha256:".len()..][..12];
    let lines = env.ok(&["images", "--format", "{{.Repository}}|{{.Tag}}|{{.ID}}|{{.Digest}}"]);
    assert_eq!(lines.text(), format!("busybox|latest|{short}|<none>"));
    let table = env.ok(&["images", "--format", "table {{.ID}}\\t{{.Repository}}"]).text();
    assert_eq!(table, format!("IMAGE ID       REPOSITORY\n{short}   busybox"));
    for format in ["json", "{{json .}}"] {
        let row = env.ok(&["images", "--format", format]).text();
        let row: serde_json::Value = serde_json::from_str(&row).unwrap();
        assert_eq!((&row["ID"], &row["Containers"]), (&short.into(), &"N/A".into()));
    }
    let wrong = env.kiln(["images", "--format", "{{.Nope}}"]).run().fails(1);
    wrong.says(&["can't evaluate field Nope", ".Repository"]);
    env.kiln(["images", "--format", "{{.ID"]).run().fails(2).says(&["unclosed action"]);
}
