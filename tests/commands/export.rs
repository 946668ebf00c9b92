//! `kiln export`, and what `kiln import` makes of it.

use std::fs;
use std::time::Duration;

use serde_json::json;

use crate::support::archive::Tree;
use crate::support::env::TestEnv;

#[test]
fn the_whole_file_system_as_it_is() {
    let env = TestEnv::new();
    let script = "echo x > /f; chown 3:4 /f; chmod 4711 /f; rm /etc/passwd; ln -s f /l; ln /f /h; mkdir /d; echo in > /vol/f";
    env.ok(&["run", "--name", "work", "-v", "/vol", "busybox", "sh", "-c", script]);
    let to_file = env.str("work.tar");
    env.ok(&["export", "-o", &to_file, "work"]);
    let tree = Tree::of_tar(&fs::read(&to_file).unwrap());
    assert_eq!((tree.text("f").as_str(), tree.owner("f").as_str()), ("x\n", "4711 3:4"));
    assert!(tree.has("bin/busybox") && tree.has("d") && !tree.has("etc/passwd"));
    assert_eq!(tree.entry("l").link.as_deref(), Some("f"));
    assert!(!tree.has("vol/f"), "what is mounted is not part of it");
    assert_eq!(env.ok(&["export", "work"]).stdout, fs::read(&to_file).unwrap());
}

#[test]
fn back_again_as_an_image() {
    let env = TestEnv::new();
    env.ok(&["run", "--name", "work", "busybox", "sh", "-c", "echo kept > /f"]);
    let tar = env.ok(&["export", "work"]).stdout;
    let changes = ["-c", "CMD [\"cat\", \"/f\"]", "--change", "ENV A=1", "-m", "from a container"];
    let args =
        ["import", "--platform", "linux/arm64"].iter().chain(&changes).chain(&["-", "flat:1"]);
    env.kiln(args).stdin(tar.clone()).run().ok();
    let image = env.inspect("flat:1");
    assert_eq!(
        (&image["Architecture"], &image["Comment"]),
        (&json!("arm64"), &json!("from a container"))
    );
    assert_eq!(image["Config"]["Cmd"], json!(["cat", "/f"]));
    assert_eq!(image["Config"]["Env"], json!(["A=1"]));
    env.kiln(["import", "-c", "CMD cat /f", "-", "flat:2"]).stdin(tar.clone()).run().ok();
    assert_eq!(env.ok(&["run", "--rm", "flat:2"]).text(), "kept");
    let output = env.kiln(["import", "-c", "RUN x", "-", "never"]).stdin(tar).run().fails(1);
    output.says(&["run is not a valid change command"]);
    env.kiln(["inspect", "never"]).run().fails(1);
}

#[test]
fn of_a_container_that_runs_and_writes() {
    let env = TestEnv::new();
    let script = "echo start > /log; while :; do echo line >> /log; echo x > /t$((n++)); rm -f /t$((n-2)); done";
    env.ok(&["run", "-d", "--name", "work", "busybox", "sh", "-c", script]);
    let wait = std::time::Instant::now();
    for _ in 0..5 {
        let tree = Tree::of_tar(&env.ok(&["export", "work"]).stdout);
        assert!(tree.has("bin/busybox"));
        if tree.has("log") {
            // Only what had been written when its turn came, and nothing else.
            let log = tree.text("log");
            assert!(
                log.starts_with("start\nline\n") || log.len() < 11,
                "{}",
                &log[..20.min(log.len())]
            );
        }
        assert!(wait.elapsed() < Duration::from_secs(60));
    }
    env.ok(&["kill", "work"]);
}

#[test]
fn what_cannot_be_written_is_told() {
    let env = TestEnv::new();
    env.ok(&["create", "--name", "work", "busybox", "true"]);
    env.kiln(["export", "-o", &env.str("no/such/dir"), "work"]).run().fails(1).says(&["no/such"]);
    env.kiln(["export", "nosuch"]).run().fails(1).says(&["no such container"]);
    fs::write(env.path("there"), "before").unwrap();
    env.kiln(["export", "-o", &env.str("there"), "nosuch"]).run().fails(1);
    assert_eq!(fs::read_to_string(env.path("there")).unwrap(), "before");
}
