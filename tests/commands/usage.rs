//! Usage errors and help.

use serde_json::Value;

use crate::support::env::TestEnv;

#[test]
fn a_wrong_command_line_exits_with_2() {
    let env = TestEnv::empty();
    for args in [
        &["nosuch"] as &[&str],
        &["build"],
        &["build", "--no-such-flag", "."],
        &["build", "--progress=loud", "."],
        &["build", "--network=everything", "."],
        &["tag", "only-one"],
        &["rmi"],
        &["inspect"],
        &["save"],
    ] {
        let output = env.kiln(args).run().fails(2);
        assert_eq!(output.text(), "", "stdout is for data:\n{output}");
    }
}

#[test]
fn a_misspelt_command_or_flag_meets_the_right_one() {
    let env = TestEnv::empty();
    env.kiln(["biuld", "."]).run().fails(2).says(&["build"]);
    env.kiln(["build", "--no-cahce", "."]).run().fails(2).says(&["--no-cache"]);
}

#[test]
fn help_is_data_and_names_every_command() {
    let env = TestEnv::empty();
    let help = env.ok(&["--help"]).text();
    for command in [
        "build", "run", "images", "tag", "rmi", "save", "load", "import", "inspect", "pull",
        "push", "login", "logout",
    ] {
        assert!(
            help.lines().any(|line| line.trim_start().starts_with(command)),
            "{command}:\n{help}"
        );
        let own = env.ok(&[command, "--help"]).text();
        assert!(own.contains("Usage"), "{own}");
    }
}

#[test]
fn the_version() {
    let env = TestEnv::empty();
    let version = env!("CARGO_PKG_VERSION");
    for args in ["--version", "-v", "-V"] {
        assert_eq!(env.ok(&[args]).text(), format!("kiln {version}"));
    }
    assert!(env.ok(&["version"]).text().starts_with(&format!("Client:\n Version:    {version}\n")));
    for format in ["{{.Client.Version}}", "{{.Server.Version}}"] {
        assert_eq!(env.ok(&["version", "--format", format]).text(), version);
    }
    let json: Value = serde_json::from_slice(&env.ok(&["version", "-f", "json"]).stdout).unwrap();
    assert_eq!(json["Server"]["Os"], "linux");
    env.kiln(["version", "-f", "{{.Nope}}"]).run().fails(1).says(&["Nope"]);
    assert!(!env.store().exists());
}

#[test]
fn what_there_is() {
    let env = TestEnv::new();
    env.ok(&["run", "--name", "one", "--network=none", "busybox", "true"]);
    let info = env.ok(&["info"]).text();
    for line in ["Containers: 1", " Running: 0", " Stopped: 1", "Images: 1", "OSType: linux"] {
        assert!(info.lines().any(|it| it == line), "{line}:\n{info}");
    }
    let json: Value = serde_json::from_slice(&env.ok(&["info", "-f", "json"]).stdout).unwrap();
    assert_eq!(json["DockerRootDir"], env.str("store"));
    assert!(json["MemTotal"].as_u64().unwrap() > 1 << 20);
    let template = "{{.Driver}} {{.ContainersStopped}} {{.ServerVersion}}";
    let expected = format!("overlay2 1 {}", env!("CARGO_PKG_VERSION"));
    assert_eq!(env.ok(&["system", "info", "--format", template]).text(), expected);
}

#[test]
fn help_by_name() {
    let env = TestEnv::empty();
    assert_eq!(env.ok(&["help", "images"]).stdout, env.ok(&["images", "--help"]).stdout);
    assert_eq!(env.ok(&["help"]).stdout, env.ok(&["--help"]).stdout);
    env.kiln(["help", "nosuch"]).run().fails(2).says(&["nosuch"]);
}

#[test]
fn shells_complete() {
    let env = TestEnv::empty();
    let script = env.ok(&["completion", "bash"]).stdout;
    let path = env.path("completion.bash");
    std::fs::write(&path, script).unwrap();
    let complete = |words: &str, at: usize| {
        let script = format!(
            ". {}; COMP_WORDS=({words}); COMP_CWORD={at}; _kiln kiln \"${{COMP_WORDS[at]}}\" kiln; echo \"${{COMPREPLY[@]}}\"",
            path.display(),
        );
        let script = script.replace("[at]", &format!("[{at}]"));
        let output = std::process::Command::new("bash").args(["-c", &script]).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    assert_eq!(complete("kiln hist", 1), "history");
    assert_eq!(complete("kiln images --no", 2), "--no-trunc");
    for shell in ["zsh", "fish"] {
        assert!(env.ok(&["completion", shell]).text().contains("no-trunc"), "{shell}");
    }
    env.kiln(["completion", "nosuch"]).run().fails(2).says(&["bash", "zsh", "fish"]);
    assert!(!env.store().exists());
}

#[test]
fn help_makes_no_store() {
    let env = TestEnv::empty();
    env.ok(&["--help"]);
    env.ok(&["build", "--help"]);
    assert!(!env.store().exists());
}

#[test]
fn the_store_is_where_the_environment_says() {
    let env = TestEnv::empty();
    let root = env.str("elsewhere");
    let kiln = || std::process::Command::new(env!("CARGO_BIN_EXE_kiln"));
    let output = kiln()
        .args(["import"])
        .arg(crate::support::base::tar())
        .arg("busybox")
        .env("KILN_ROOT", &root)
        .output();
    assert!(output.unwrap().status.success());
    let listed = kiln().args(["images", "-q"]).env("KILN_ROOT", &root).output().unwrap();
    assert_eq!(listed.stdout.len(), 13);
    // The option goes before the variable.
    let other = env.kiln(["images", "-q"]).env("KILN_ROOT", &root).run().ok();
    assert_eq!(other.text(), "");
}

#[test]
fn a_relative_context_and_dockerfile() {
    let env = TestEnv::new();
    let context = env.context("FROM busybox\nCOPY a /a\n");
    context.files(&["a"]).write("other/File", "FROM busybox\nCOPY a /b\n");
    env.kiln(["build", "-t", "test", "."]).in_dir(context.path()).run().ok();
    assert_eq!(env.sh("cat /a"), "a");
    env.kiln(["build", "-t", "test", "-f", "other/File", "."]).in_dir(context.path()).run().ok();
    assert_eq!(env.sh("cat /b"), "a");
}

#[test]
fn dockers_longer_names() {
    let env = TestEnv::new();
    for (long, short) in [
        (&["image", "ls"] as &[&str], &["images"] as &[&str]),
        (&["image", "list", "-q"], &["images", "-q"]),
        (&["image", "history", "-q", "busybox"], &["history", "-q", "busybox"]),
        (&["image", "inspect", "busybox"], &["inspect", "--type=image", "busybox"]),
        (&["container", "ls", "-a"], &["ps", "-a"]),
        (&["container", "ps", "-a"], &["ps", "-a"]),
        (&["system", "df"], &["df"]),
    ] {
        assert_eq!(env.ok(long).stdout, env.ok(short).stdout, "{long:?}");
    }
    env.ok(&["image", "tag", "busybox", "other:1"]);
    assert_eq!(env.ok(&["image", "rm", "other:1"]).text(), "Untagged: other:1");
    assert_eq!(env.ok(&["container", "run", "--rm", "busybox", "echo", "hi"]).text(), "hi");
    // They say what there is, and are not in the way in the help.
    let help = env.ok(&["image", "--help"]).text();
    assert!(["build", "ls", "rm", "prune"].iter().all(|command| help.contains(command)), "{help}");
    assert!(!env.ok(&["--help"]).text().contains("  builder"));
    env.kiln(["image", "nosuch"]).run().fails(2);
    env.kiln(["container", "run", "--nosuch"]).run().fails(125);
}
