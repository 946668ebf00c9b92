//! `kiln inspect` and `kiln history`.

use serde_json::{Value, json};

use crate::support::env::{IMAGE, TestEnv};

#[test]
fn the_fields_that_scripts_read() {
    let env = TestEnv::new();
    env.build_text(
        "FROM busybox\nRUN echo x > /f\nENV A=b\nUSER app\nWORKDIR /tmp\nLABEL l=v\nCMD [\"x\"]\n",
    );
    let image = env.inspect(IMAGE);
    assert!(image["Id"].as_str().unwrap().starts_with("sha256:"));
    assert_eq!(image["RepoTags"], json!([IMAGE]));
    assert_eq!(image["Os"], "linux");
    assert!(["amd64", "arm64"].contains(&image["Architecture"].as_str().unwrap()));
    assert!(image["Created"].as_str().unwrap().ends_with('Z'));
    assert!(image["Size"].as_u64().unwrap() > 1000);
    assert_eq!(image["RootFS"]["Type"], "layers");
    assert_eq!(image["RootFS"]["Layers"].as_array().unwrap().len(), 3);
    let config = &image["Config"];
    assert_eq!((&config["User"], &config["WorkingDir"]), (&json!("app"), &json!("/tmp")));
    assert_eq!((&config["Labels"], &config["Cmd"]), (&json!({"l": "v"}), &json!(["x"])));
}

#[test]
fn the_document_is_dockers() {
    let env = TestEnv::new();
    env.build_text(
        "FROM busybox\nRUN echo x > /f\nEXPOSE 80\nHEALTHCHECK CMD true\nSTOPSIGNAL 9\n",
    );
    env.ok(&["tag", IMAGE, "other:1"]);
    let image = env.inspect(IMAGE);
    let keys: Vec<&String> = image.as_object().unwrap().keys().collect();
    let expected = "Id RepoTags RepoDigests Parent Comment Created DockerVersion Author Config Architecture Os Size \
        VirtualSize GraphDriver RootFS Metadata";
    assert_eq!(keys, expected.split_whitespace().collect::<Vec<_>>());
    assert_eq!(image["RepoTags"], json!(["other:1", IMAGE]));
    assert_eq!(image["RepoDigests"], json!([]));
    assert_eq!(image["Size"], image["VirtualSize"]);
    let config = &image["Config"];
    for (field, value) in [
        ("Hostname", json!("")),
        ("AttachStdin", json!(false)),
        ("ExposedPorts", json!({"80/tcp": {}})),
        ("Cmd", Value::Null),
        ("Labels", Value::Null),
        ("StopSignal", json!("9")),
    ] {
        assert_eq!(config[field], value, "{field}");
    }
    assert_eq!(config["Healthcheck"]["Test"], json!(["CMD-SHELL", "true"]));
    assert!(config.get("Shell").is_none(), "{config}");
    let layers = &image["GraphDriver"]["Data"];
    let upper = std::path::Path::new(layers["UpperDir"].as_str().unwrap());
    assert_eq!(std::fs::read_to_string(upper.join("f")).unwrap(), "x\n");
    assert!(std::path::Path::new(layers["LowerDir"].as_str().unwrap()).join("bin").is_dir());
    let tagged = image["Metadata"]["LastTagTime"].as_str().unwrap();
    assert!(tagged > image["Created"].as_str().unwrap(), "{tagged}");
}

#[test]
fn what_is_not_there_leaves_an_empty_list() {
    let env = TestEnv::new();
    let output = env.kiln(["inspect", "none"]).run().fails(1).says(&["no such object: `none`"]);
    assert_eq!(output.stdout, b"[]\n");
    env.kiln(["inspect", "--type", "image", "none"]).run().fails(1);
    env.ok(&["inspect", "--type", "image", "-s", "busybox"]);
    env.kiln(["inspect", "--type", "fish", "busybox"]).run().fails(2);
}

#[test]
fn by_short_and_whole_id() {
    let env = TestEnv::new();
    let id = env.id("busybox");
    let hex = &id["sha256:".len()..];
    for name in [&id, hex, &hex[..12], "busybox", "docker.io/library/busybox:latest"] {
        assert_eq!(env.id(name), id, "{name}");
    }
}

#[test]
fn several_images_make_one_array() {
    let env = TestEnv::new();
    env.ok(&["tag", "busybox", "other"]);
    let document: Value =
        serde_json::from_slice(&env.ok(&["inspect", "busybox", "other"]).stdout).unwrap();
    assert_eq!(document.as_array().unwrap().len(), 2);
}

#[test]
fn a_missing_image_fails_and_the_others_are_shown() {
    let env = TestEnv::new();
    let output = env.kiln(["inspect", "none", "busybox"]).run().fails(1).says(&["none"]);
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document.as_array().unwrap().len(), 1);
}

#[test]
fn history_lists_the_newest_first() {
    let env = TestEnv::new();
    env.build_text("FROM busybox\nRUN echo first > /f\nENV LAST=1\n");
    let text = env.ok(&["history", IMAGE]).text();
    let (last, first) =
        (text.find("ENV LAST=1").unwrap(), text.find("RUN /bin/sh -c echo first").unwrap());
    assert!(last < first, "{text}");
    assert!(text.starts_with("IMAGE"), "{text}");
}

#[test]
fn a_template_for_each_image() {
    let env = TestEnv::new();
    env.build_text("FROM busybox\nENV A=b\nLABEL l.x=v\nEXPOSE 80\nCMD [\"x\", \"y\"]\n");
    let inspect = |format: &str| env.ok(&["inspect", "-f", format, IMAGE]).text();
    assert_eq!(inspect("{{.Id}} {{.RepoTags}}"), format!("{} [{IMAGE}]", env.id(IMAGE)));
    assert_eq!(inspect("{{json .Config.Cmd}}"), r#"["x","y"]"#);
    assert_eq!(inspect("{{index .Config.Labels \"l.x\"}}"), "v");
    assert_eq!(inspect("{{range $p, $_ := .Config.ExposedPorts}}{{$p}}{{end}}"), "80/tcp");
    assert_eq!(inspect("{{.Config.Volumes}} {{.Config.Entrypoint}}"), "map[] []");
    assert_eq!(inspect("{{.Config.Healthcheck}}"), "<nil>");
    let env_of = inspect("{{range .Config.Env}}{{println .}}{{end}}");
    assert!(env_of.lines().any(|line| line == "A=b"), "{env_of}");

    let output = env.kiln(["inspect", "-f", "{{.Nope}}", IMAGE]).run().fails(1);
    assert_eq!(output.stdout, b"\n");
    output.says(&["template parsing error: template: :1:2: executing \"\" at <.Nope>: map has no entry for key \"Nope\""]);
    env.kiln(["inspect", "-f", "{{nope}}", IMAGE])
        .run()
        .fails(2)
        .says(&["function \"nope\" not defined"]);
    let text = env.ok(&["inspect", IMAGE]).text();
    assert!(text.starts_with("[\n    {\n        \"Id\": \"sha256:"), "{text}");
}

#[test]
fn history_in_other_forms() {
    let env = TestEnv::new();
    env.build_text("FROM busybox\nRUN echo first > /f\nENV LAST=1\n");
    let ids = env.ok(&["history", "-q", IMAGE]).text();
    assert_eq!(ids.lines().next(), Some(&env.id(IMAGE)["sha256:".len()..][..12]));
    let plain = env.ok(&["history", "-H=false", IMAGE]).text();
    assert!(plain.starts_with("IMAGE          CREATED AT"), "{plain}");
    let by = env.ok(&["history", "--no-trunc", "--format", "{{.CreatedBy}}", IMAGE]).text();
    assert_eq!(by.lines().next(), Some("ENV LAST=1"));
    let row = env.ok(&["history", "--format", "json", IMAGE]).text();
    let row: Value = serde_json::from_str(row.lines().next().unwrap()).unwrap();
    assert_eq!(row["Size"], "0B");
}
