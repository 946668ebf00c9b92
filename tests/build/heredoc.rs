//! Heredocs of RUN and COPY.

use crate::support::env::TestEnv;

#[test]
fn run_takes_the_body_as_its_script() {
    let env = TestEnv::new();
    env.build_text("FROM busybox\nENV A=1\nRUN <<EOF\nset -e\nfor i in 1 2; do\n  echo \"$A $i\" >> /out\ndone\nEOF\n");
    assert_eq!(env.sh("cat /out"), "1 1\n1 2");
}

#[test]
fn run_with_a_shebang_runs_the_body_as_a_program() {
    let env = TestEnv::new();
    env.build_text("FROM busybox\nRUN <<EOF\n#!/bin/sh -e\necho $0 > /name\nEOF\n");
    assert_eq!(env.sh("cat /name"), "/dev/pipes/EOF");
}

#[test]
fn run_hands_mixed_forms_to_the_shell() {
    let env = TestEnv::new();
    env.build_text(
        "FROM busybox\nRUN cat <<ONE > /1 && cat <<'TWO' > /2\n$((1+1))\nONE\n$((1+1))\nTWO\n",
    );
    assert_eq!(env.sh("cat /1 /2"), "2\n$((1+1))");
}

#[test]
fn copy_writes_files_named_like_the_heredoc() {
    let env = TestEnv::new();
    let context = env.context("FROM busybox\nENV A=value\nCOPY <<a.txt <<'b.txt' /d/\n$A\na.txt\n$A\nb.txt\nCOPY --chmod=755 <<EOF /script\n#!/bin/sh\necho \\$HOME\nEOF\n");
    let tree = env.tree(&context, &[]);
    assert_eq!(tree.text("d/a.txt"), "value\n");
    assert_eq!(tree.text("d/b.txt"), "$A\n");
    assert_eq!(tree.owner("d/a.txt"), "644 0:0");
    assert_eq!(tree.text("script"), "#!/bin/sh\necho $HOME\n");
    assert_eq!(tree.owner("script"), "755 0:0");
}

#[test]
fn a_dash_cuts_leading_tabs() {
    let env = TestEnv::new();
    let context = env.context("FROM busybox\nCOPY <<-EOF /f\n\t\tone\n\t  two\n\tEOF\n");
    assert_eq!(env.tree(&context, &[]).text("f"), "one\n  two\n");
}

#[test]
fn instructions_go_on_after_the_end() {
    let env = TestEnv::new();
    env.build_text("FROM busybox\nRUN <<EOF\ncat > /f <<END\nFROM nowhere\nEND\nEOF\nLABEL a=b\n");
    assert_eq!(env.sh("cat /f"), "FROM nowhere");
    assert_eq!(env.config()["Labels"]["a"], "b");
}

#[test]
fn the_body_is_part_of_the_key() {
    let env = TestEnv::new();
    env.build_text("FROM busybox\nCOPY <<EOF /f\none\nEOF\n");
    env.build_text("FROM busybox\nCOPY <<EOF /f\none\nEOF\n").has_cached(1);
    env.build_text("FROM busybox\nCOPY <<EOF /f\ntwo\nEOF\n").has_cached(0);
    assert_eq!(env.sh("cat /f"), "two");
}
