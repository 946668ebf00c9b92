//! `kiln inspect` of containers.

use serde_json::{Value, json};

use crate::support::env::{IMAGE, TestEnv};

fn inspect(env: &TestEnv, args: &[&str]) -> Value {
    let output = env.kiln(["inspect"]).args(args).run().ok();
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    document[0].clone()
}

#[test]
fn the_document_is_dockers() {
    let env = TestEnv::new();
    env.build_text(
        "FROM busybox\nENV A=image B=image\nLABEL kind=test\nEXPOSE 80\nWORKDIR /tmp\nSTOPSIGNAL USR1\nENTRYPOINT [\"sleep\"]\nCMD [\"1\"]\n",
    );
    let options = [
        "-e",
        "B=run",
        "-l",
        "who=me",
        "-u",
        "7",
        "-h",
        "box",
        "--read-only",
        "--cap-drop",
        "ALL",
        "--add-host",
        "db:10.0.0.1",
        "--tmpfs",
        "/t",
        "-v",
        "/tmp:/host:ro",
        "--stop-timeout",
        "3",
        "--security-opt",
        "no-new-privileges",
        "--ulimit",
        "nofile=10:20",
    ];
    let run = ["run", "-d", "--network=none", "--name", "box"];
    let id = env.kiln(run).args(options).args([IMAGE, "1000"]).run().ok().text();
    let found = inspect(&env, &["box"]);
    let image = env.id(IMAGE);
    for (path, expect) in [
        ("/Id", json!(id)),
        ("/Name", json!("/box")),
        ("/Path", json!("sleep")),
        ("/Args", json!(["1000"])),
        ("/Image", json!(image)),
        ("/Driver", json!("overlay2")),
        ("/Platform", json!("linux")),
        ("/RestartCount", json!(0)),
        ("/State/Status", json!("running")),
        ("/State/Running", json!(true)),
        ("/State/Paused", json!(false)),
        ("/State/OOMKilled", json!(false)),
        ("/State/ExitCode", json!(0)),
        ("/State/FinishedAt", json!("0001-01-01T00:00:00Z")),
        ("/Config/Hostname", json!("box")),
        ("/Config/User", json!("7")),
        ("/Config/Env/1", json!("A=image")),
        ("/Config/Cmd", json!(["1000"])),
        ("/Config/Entrypoint", json!(["sleep"])),
        ("/Config/Image", json!(IMAGE)),
        ("/Config/WorkingDir", json!("/tmp")),
        ("/Config/Labels", json!({ "kind": "test", "who": "me" })),
        ("/Config/ExposedPorts", json!({ "80/tcp": {} })),
        ("/Config/StopSignal", json!("USR1")),
        ("/Config/StopTimeout", json!(3)),
        ("/Config/Tty", json!(false)),
        ("/HostConfig/NetworkMode", json!("none")),
        ("/HostConfig/AutoRemove", json!(false)),
        ("/HostConfig/ReadonlyRootfs", json!(true)),
        ("/HostConfig/CapAdd", json!(null)),
        ("/HostConfig/CapDrop", json!(["ALL"])),
        ("/HostConfig/ExtraHosts", json!(["db:10.0.0.1"])),
        ("/HostConfig/Binds", json!(["/tmp:/host:ro"])),
        ("/HostConfig/Tmpfs", json!({ "/t": "" })),
        ("/HostConfig/SecurityOpt", json!(["no-new-privileges"])),
        ("/HostConfig/Ulimits", json!([{ "Name": "nofile", "Hard": 20, "Soft": 10 }])),
        ("/HostConfig/RestartPolicy/Name", json!("no")),
        ("/HostConfig/ShmSize", json!(67_108_864)),
        ("/NetworkSettings/Ports", json!({ "80/tcp": null })),
    ] {
        assert_eq!(found.pointer(path), Some(&expect), "{path}: {found:#}");
    }
    assert!(found["State"]["Pid"].as_u64().unwrap() > 1);
    assert!(found["Config"]["Env"].as_array().unwrap().contains(&json!("B=run")), "{found:#}");
    let mounts: Vec<&Value> = found["Mounts"].as_array().unwrap().iter().collect();
    assert_eq!(mounts.len(), 2);
    let bound = mounts.iter().find(|mount| mount["Type"] == "bind").unwrap();
    assert_eq!(bound["Source"], "/tmp");
    assert_eq!((&bound["Destination"], &bound["RW"]), (&json!("/host"), &json!(false)));
    let upper = found["GraphDriver"]["Data"]["UpperDir"].as_str().unwrap();
    assert!(std::path::Path::new(upper).is_dir(), "{upper}");
    env.ok(&["stop", "-t", "0", "box"]);
    let found = inspect(&env, &["box"]);
    assert_eq!(
        (&found["State"]["Status"], &found["State"]["ExitCode"]),
        (&json!("exited"), &json!(137))
    );
    assert_eq!((&found["State"]["Pid"], &found["State"]["Running"]), (&json!(0), &json!(false)));
    assert!(found["State"]["FinishedAt"].as_str().unwrap().starts_with("20"));
}

#[test]
fn templates_and_sizes() {
    let env = TestEnv::new();
    let script = "echo 12345 > /five";
    env.ok(&["run", "--network=none", "--name", "one", "busybox", "sh", "-c", script]);
    let format = |format: &str| env.ok(&["inspect", "-f", format, "one"]).text();
    assert_eq!(
        format("{{.State.Status}} {{.State.ExitCode}} {{.Config.Labels}}"),
        "exited 0 map[]"
    );
    assert_eq!(format("{{.HostConfig.NetworkMode}} {{.SizeRw}}"), "none <nil>");
    assert_eq!(env.ok(&["inspect", "-s", "-f", "{{.SizeRw}}", "one"]).text(), "6");
    assert!(inspect(&env, &["one"]).get("SizeRw").is_none());
    env.kiln(["inspect", "-f", "{{.Nope}}", "one"]).run().fails(1).says(&["Nope"]);
}

#[test]
fn a_container_before_an_image() {
    let env = TestEnv::new();
    env.ok(&["create", "--name", "busybox", "busybox", "true"]);
    assert_eq!(inspect(&env, &["busybox"])["Name"], "/busybox");
    assert_eq!(inspect(&env, &["--type=image", "busybox"])["Os"], "linux");
    assert_eq!(inspect(&env, &["--type=container", "busybox"])["State"]["Status"], "created");
    env.ok(&["rm", "busybox"]);
    env.kiln(["inspect", "--type=container", "busybox"])
        .run()
        .fails(1)
        .says(&["no such container"]);
    let output = env.kiln(["inspect", "nothing", "busybox"]).run().fails(1);
    assert!(output.text().starts_with("[\n"));
    output.says(&["no such object: `nothing`"]);
}
