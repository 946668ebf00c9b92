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
