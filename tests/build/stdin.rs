//! Dockerfiles and contexts that arrive on stdin.

use std::process::Command;

use crate::support::archive::{Tarball, gzip};
use crate::support::env::{IMAGE, TestEnv};

#[test]
fn a_dockerfile_alone() {
    let env = TestEnv::new();
    env.kiln(["build", "-t", IMAGE, "-"]).stdin("FROM busybox\nRUN echo in > /f\n").run().ok();
    assert_eq!(env.sh("cat /f"), "in");
}

#[test]
fn a_dockerfile_alone_has_no_context() {
    let env = TestEnv::new();
    let build = env.kiln(["build", "-t", IMAGE, "-"]).stdin("FROM busybox\nCOPY a /\n");
    build.run().fails(1).says(&["Dockerfile:2", "no context"]);
}

#[test]
fn a_dockerfile_with_a_directory() {
    let env = TestEnv::new();
    let context = env.context("FROM nowhere\n");
    context.files(&["a"]);
    let build = env.kiln(["build", "-t", IMAGE, "-f", "-", context.str()]);
    build.stdin("FROM busybox\nCOPY a /a\n").run().ok();
    assert_eq!(env.sh("cat /a"), "a");
}

#[test]
fn a_tar_plain_and_compressed() {
    let tar = Tarball::new()
        .file("Dockerfile", "FROM busybox\nCOPY d /d\nRUN cat /d/f > /got\n")
        .dir("d", 0o755)
        .file("d/f", "of the tar\n")
        .finish();
    for bytes in [tar.clone(), gzip(&tar)] {
        let env = TestEnv::new();
        env.kiln(["build", "-t", IMAGE, "-"]).stdin(bytes).run().ok();
        assert_eq!(env.sh("cat /got"), "of the tar");
    }
}

#[test]
fn another_dockerfile_of_a_tar() {
    let env = TestEnv::new();
    let tar = Tarball::new().file("sub/Other", "FROM busybox\nLABEL a=b\n").finish();
    env.kiln(["build", "-t", IMAGE, "-f", "sub/Other", "-"]).stdin(tar).run().ok();
    assert_eq!(env.config()["Labels"]["a"], "b");
}

#[test]
fn nothing_at_all() {
    let env = TestEnv::new();
    env.kiln(["build", "-t", IMAGE, "-"]).run().fails(1).says(&["empty"]);
}

#[test]
fn two_dockerfiles() {
    let env = TestEnv::new();
    let context = env.context("FROM scratch\n");
    let file = context.path().join("Dockerfile");
    let output = env.kiln(["build", "-f"]).args([&file]).args(["-"]).stdin("FROM scratch\n").run();
    output.fails(2).says(&["ambiguous Dockerfile", "standard input is one"]);
    let output = env.kiln(["build", "-f-", "-"]).stdin("FROM scratch\n").run();
    output.fails(2).says(&["cannot both come from standard input"]);
}

#[test]
fn an_input_without_an_end_is_no_dockerfile() {
    let env = TestEnv::empty();
    let context = env.context("FROM scratch\n");
    for args in ["-", "-f- CONTEXT"] {
        let args = args.replace("CONTEXT", context.str());
        let script = format!("ulimit -v 1500000; yes '# x' | \"$0\" --root \"$1\" build {args}");
        let output = Command::new("sh")
            .args(["-c", &script])
            .arg(crate::support::base::kiln())
            .arg(env.store())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains("is larger than 16777216"), "{said}");
    }
}
