//! What each instruction leaves in the image's configuration and history.

use serde_json::{Value, json};

use crate::support::archive::Layout;
use crate::support::env::{IMAGE, TestEnv};

/// Builds `FROM busybox` and these lines, and compares one field of the configuration.
#[track_caller]
fn check(lines: &str, field: &str, expect: Value) {
    let env = TestEnv::new();
    env.build_text(&format!("FROM busybox\n{lines}\n"));
    assert_eq!(env.config()[field], expect);
}

#[test]
fn env_replaces_in_place_and_appends() {
    let env = TestEnv::new();
    env.build_text("FROM busybox\nENV A=1 B=2\nENV A=3 C=\"x y\"\nENV D legacy value\n");
    let config = env.config();
    let own: Vec<_> = config["Env"].as_array().unwrap().iter().filter(|v| !is_path(v)).collect();
    assert_eq!(own, ["A=3", "B=2", "C=x y", "D=legacy value"]);
}

fn is_path(value: &Value) -> bool {
    value.as_str().is_some_and(|text| text.starts_with("PATH="))
}

#[test]
fn a_base_without_path_gets_one() {
    let env = TestEnv::new();
    env.build_text("FROM busybox\nLABEL a=b\n");
    let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    assert_eq!(env.config()["Env"], json!([path]));
}

#[test]
fn cmd_in_exec_form_is_kept_as_it_is() {
    check(r#"CMD ["a", "$B", "c d"]"#, "Cmd", json!(["a", "$B", "c d"]));
}

#[test]
fn cmd_in_shell_form_goes_through_the_shell() {
    check("CMD echo $HOME", "Cmd", json!(["/bin/sh", "-c", "echo $HOME"]));
}

#[test]
fn broken_json_is_shell_form() {
    check("CMD ['a', 'b']", "Cmd", json!(["/bin/sh", "-c", "['a', 'b']"]));
}

#[test]
fn the_last_cmd_wins() {
    check("CMD first\nCMD [\"second\"]", "Cmd", json!(["second"]));
}

#[test]
fn shell_changes_later_shell_forms() {
    let env = TestEnv::new();
    env.build_text(
        "FROM busybox\nSHELL [\"/bin/sh\", \"-ec\"]\nRUN false || echo $- > /flags\nCMD run\n",
    );
    assert_eq!(env.config()["Cmd"], json!(["/bin/sh", "-ec", "run"]));
    assert_eq!(env.config()["Shell"], json!(["/bin/sh", "-ec"]));
    assert!(env.sh("cat /flags").contains('e'));
}

#[test]
fn entrypoint_clears_the_inherited_cmd_only() {
    let env = TestEnv::new();
    env.build_text(
        "FROM busybox AS base\nCMD [\"inherited\"]\nFROM base\nENTRYPOINT [\"/bin/echo\"]\n",
    );
    assert_eq!(env.config()["Cmd"], Value::Null);
    env.build_text("FROM busybox\nCMD [\"own\"]\nENTRYPOINT [\"/bin/echo\"]\n");
    assert_eq!(env.config()["Cmd"], json!(["own"]));
    assert_eq!(env.ok(&["run", "--rm", IMAGE]).text(), "own");
}

#[test]
fn label_pairs_and_the_command_line_on_top() {
    let env = TestEnv::new();
    let context = env.context("FROM busybox\nLABEL a=1 \"b c\"=\"2 3\"\nLABEL a=4 d=5\n");
    env.build(&context, &["--label", "d=6", "--label", "e=7"]);
    assert_eq!(env.config()["Labels"], json!({"a": "4", "b c": "2 3", "d": "6", "e": "7"}));
}

#[test]
fn expose_ports_ranges_and_protocols() {
    check(
        "ENV P=\"90 91\"\nEXPOSE 80 443/UDP 8000-8001 $P",
        "ExposedPorts",
        json!({"80/tcp": {}, "443/udp": {}, "8000/tcp": {}, "8001/tcp": {}, "90/tcp": {}, "91/tcp": {}}),
    );
}

#[test]
fn volumes_of_both_forms_add_up() {
    check("VOLUME /a /b\nVOLUME [\"/c d\"]", "Volumes", json!({"/a": {}, "/b": {}, "/c d": {}}));
}

#[test]
fn what_a_step_writes_below_a_volume_is_kept() {
    let env = TestEnv::new();
    env.build_text("FROM busybox\nVOLUME /v\nRUN mkdir -p /v && echo kept > /v/f\n");
    assert_eq!(env.sh("cat /v/f"), "kept");
}

#[test]
fn user_is_stored_as_written_and_used_by_run() {
    let env = TestEnv::new();
    env.build_text("FROM busybox\nUSER app\nRUN id -u > /tmp/uid; id -G > /tmp/groups; echo $HOME > /tmp/home\n");
    assert_eq!(env.config()["User"], "app");
    assert_eq!(env.sh("cat /tmp/uid /tmp/groups /tmp/home"), "1000\n1000 50\n/home/app");
}

#[test]
fn workdir_is_relative_to_the_one_before_and_is_made() {
    let env = TestEnv::new();
    env.build_text("FROM busybox\nENV D=deep\nWORKDIR /a/b/../c\nWORKDIR $D/\nRUN pwd > /where\n");
    assert_eq!(env.config()["WorkingDir"], "/a/c/deep");
    assert_eq!(
        env.sh("cat /where; stat -c %a:%u /a/c/deep; test -e /a/b || echo none"),
        "/a/c/deep\n755:0\nnone"
    );
}

#[test]
fn workdir_belongs_to_the_user_in_force() {
    let env = TestEnv::new();
    env.build_text("FROM busybox\nUSER app\nWORKDIR /data/mine\n");
    assert_eq!(env.sh("stat -c %u:%g /data/mine"), "1000:1000");
}

#[test]
fn stop_signal_is_stored_as_written() {
    check("STOPSIGNAL SIGRTMIN+3", "StopSignal", json!("SIGRTMIN+3"));
}

#[test]
fn health_check_durations_are_nanoseconds() {
    check(
        "HEALTHCHECK --interval=1m30s --timeout=500ms --retries=4 CMD test -e /x",
        "Healthcheck",
        json!({"Test": ["CMD-SHELL", "test -e /x"], "Interval": 90_000_000_000_u64,
               "Timeout": 500_000_000, "Retries": 4}),
    );
}

#[test]
fn health_check_none_replaces_an_earlier_one() {
    check("HEALTHCHECK CMD [\"x\"]\nHEALTHCHECK NONE", "Healthcheck", json!({"Test": ["NONE"]}));
}

#[test]
fn maintainer_is_the_author() {
    let env = TestEnv::new();
    env.build_text("FROM busybox\nMAINTAINER Jo Doe <jo@example.com>\n");
    assert_eq!(env.inspect(IMAGE)["Author"], "Jo Doe <jo@example.com>");
}

#[test]
fn onbuild_runs_in_the_child_and_not_in_the_grandchild() {
    let env = TestEnv::new();
    let parent =
        env.context("FROM busybox\nONBUILD ENV BY=trigger\nONBUILD RUN echo once >> /log\n");
    env.ok(&["build", "-q", "-t", "parent", parent.str()]);
    let triggers = &env.inspect("parent")["Config"]["OnBuild"];
    assert_eq!(*triggers, json!(["ENV BY=trigger", "RUN echo once >> /log"]));

    let child = env.context("FROM parent\nRUN echo child >> /log\n");
    env.ok(&["build", "-q", "-t", "child", child.str()]);
    env.build_text("FROM child\nRUN echo $BY >> /log\n");
    assert_eq!(env.sh("cat /log"), "once\nchild\ntrigger");
    assert_eq!(env.config()["OnBuild"], Value::Null);
}

#[test]
fn scratch_holds_what_is_copied_and_nothing_else() {
    let env = TestEnv::empty();
    let context = env.context("FROM scratch\nCOPY a /\n");
    context.files(&["a"]);
    let tree = env.tree(&context, &[]);
    assert_eq!(tree.0.keys().filter(|path| !path.is_empty()).collect::<Vec<_>>(), ["a"]);
}

#[test]
fn history_says_what_each_step_was() {
    let env = TestEnv::new();
    let context = env.context(
        "FROM busybox\nARG V=1\nENV A=b\nRUN echo $V > /v\nCOPY a b /dst/\nWORKDIR /w\nCMD [\"x\", \"y\"]\n",
    );
    context.files(&["a", "b"]);
    let dest = env.str("oci.tar");
    env.build(&context, &["--output", &format!("type=oci,dest={dest}")]);
    let config = Layout::of_tar(&std::fs::read(dest).unwrap()).config();

    let history = config["history"].as_array().unwrap();
    let own = &history[history.len() - 6..];
    let created_by: Vec<_> =
        own.iter().map(|entry| entry["created_by"].as_str().unwrap()).collect();
    assert_eq!(
        created_by,
        [
            "ARG V=1",
            "ENV A=b",
            "RUN |1 V=1 /bin/sh -c echo $V > /v # buildkit",
            "COPY a b /dst/ # buildkit",
            "WORKDIR /w",
            "CMD [\"x\" \"y\"]",
        ]
    );
    let empty: Vec<_> = own.iter().map(|entry| entry["empty_layer"] == true).collect();
    assert_eq!(empty, [true, true, false, false, false, true]);
    let layers = config["rootfs"]["diff_ids"].as_array().unwrap().len();
    assert_eq!(history.iter().filter(|entry| entry["empty_layer"] != true).count(), layers);
}

#[test]
fn comments_continuations_and_the_escape_directive() {
    let env = TestEnv::new();
    env.build_text(
        "# escape=`\nFROM busybox\nRUN echo one > /log && `\n\n  # In between.\n    echo C:\\two >> /log\n",
    );
    assert_eq!(env.sh("cat /log"), "one\nC:two");
}

#[test]
fn a_file_with_crlf_and_a_byte_order_mark() {
    let env = TestEnv::new();
    env.build_text("\u{feff}FROM busybox\r\nENV A=b\r\nRUN echo \"[$A]\" > /a\r\n");
    assert_eq!(env.sh("cat /a"), "[b]");
}

#[test]
fn several_tags_name_one_image() {
    let env = TestEnv::new();
    let context = env.context("FROM busybox\nLABEL a=b\n");
    env.build(&context, &["-t", "other", "-t", "example.com:5000/team/app:v1"]);
    let id = env.id(IMAGE);
    assert_eq!(env.id("other:latest"), id);
    assert_eq!(env.id("example.com:5000/team/app:v1"), id);
}

#[test]
fn the_same_input_gives_the_same_layers() {
    let layers = || {
        let env = TestEnv::new();
        let context =
            env.context("FROM busybox\nCOPY d /d\nRUN rm /d/x && ln /d/y /d/z && chmod 700 /d\n");
        context.files(&["d/x", "d/y"]).touch("d/x", 1_000_000).touch("d/y", 1_000_000);
        env.tree(&context, &[])
    };
    let (mut first, mut second) = (layers(), layers());
    // RUN has changed these at the time of the build.
    for tree in [&mut first, &mut second] {
        for entry in tree.0.values_mut() {
            entry.mtime = 0;
        }
    }
    assert_eq!(first, second);
}
