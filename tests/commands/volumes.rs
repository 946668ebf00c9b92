//! Directories of the host, memory and volumes in a container.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use crate::support::env::TestEnv;

/// `kiln run` of a shell script with these options.
#[track_caller]
fn sh(env: &TestEnv, options: &[&str], script: &str) -> String {
    let mut args = vec!["run", "--rm"];
    args.extend(options);
    args.extend(["busybox", "sh", "-c", script]);
    env.ok(&args).text()
}

#[test]
fn a_directory_of_the_host() {
    let env = TestEnv::new();
    let host = env.path("host");
    fs::create_dir(&host).unwrap();
    fs::write(host.join("given"), "from outside").unwrap();
    let volume = format!("{}:/data", host.display());
    let text =
        sh(&env, &["-v", &volume], "cat /data/given; echo back > /data/made; rm /data/given");
    assert_eq!(text, "from outside");
    assert_eq!(fs::read_to_string(host.join("made")).unwrap(), "back\n");
    assert!(!host.join("given").exists());

    let read_only = format!("{volume}:ro");
    let text = sh(&env, &["-v", &read_only], "cat /data/made; touch /data/x 2>&1; true");
    assert_eq!(text, "back\ntouch: /data/x: Read-only file system");
    // Nothing of it is in the image.
    assert_eq!(sh(&env, &[], "ls -d /data 2>/dev/null; true"), "");
}

#[test]
fn what_minus_v_names_is_made_and_what_mount_names_is_not() {
    let env = TestEnv::new();
    let host = env.path("new/dir");
    let volume = format!("{}:/data", host.display());
    sh(&env, &["-v", &volume], "echo x > /data/f");
    assert_eq!(fs::read_to_string(host.join("f")).unwrap(), "x\n");
    let missing = env.str("missing");
    let mount = format!("type=bind,source={missing},target=/data");
    let output = env.kiln(["run", "--rm", "--mount", &mount, "busybox", "true"]).run().fails(125);
    output.says(&["invalid mount config for type \"bind\"", "does not exist", &missing]);
    assert!(!env.path("missing").exists());
}

#[test]
fn a_file_of_the_host_and_a_relative_path() {
    let env = TestEnv::new();
    fs::write(env.path("file"), "one file").unwrap();
    let run = |volume: &str| {
        env.kiln(["run", "--rm", "-v", volume, "busybox", "cat", "/etc/only"]).in_dir(&env.path(""))
    };
    assert_eq!(run("./file:/etc/only:ro").run().ok().text(), "one file");
    assert_eq!(run(&format!("{}:/etc/only", env.str("file"))).run().ok().text(), "one file");
}

#[test]
fn a_mount_by_many_words() {
    let env = TestEnv::new();
    fs::create_dir(env.path("a,b")).unwrap();
    fs::write(env.path("a,b/f"), "x").unwrap();
    let mount = format!("type=bind,\"source={}\",target=/m/../n/,readonly", env.str("a,b"));
    let text = sh(&env, &["--mount", &mount], "cat /n/f; touch /n/g 2>&1; true");
    assert_eq!(text, "xtouch: /n/g: Read-only file system");
}

#[test]
fn mounts_inside_mounts_whatever_the_order() {
    let env = TestEnv::new();
    for dir in ["outer", "inner"] {
        fs::create_dir(env.path(dir)).unwrap();
        fs::write(env.path(dir).join("which"), dir).unwrap();
    }
    let inner = format!("{}:/m/in", env.str("inner"));
    let outer = format!("{}:/m", env.str("outer"));
    let text = sh(
        &env,
        &["-v", &inner, "-v", &outer, "--tmpfs", "/m/in/t"],
        "cat /m/which /m/in/which; grep -c ' /m/in/t tmpfs' /proc/self/mounts",
    );
    assert_eq!(text, "outerinner1");
}

#[test]
fn a_symbolic_link_of_the_image_does_not_lead_out_of_it() {
    let env = TestEnv::new();
    env.build_text("FROM busybox\nRUN ln -s /etc /link && ln -s ../../../.. /up\n");
    fs::create_dir(env.path("host")).unwrap();
    fs::write(env.path("host/f"), "x").unwrap();
    let volume = format!("{}:/link/there", env.str("host"));
    let up = format!("{}:/up/here", env.str("host"));
    let args =
        ["run", "--rm", "-v", &volume, "-v", &up, "test:latest", "cat", "/etc/there/f", "/here/f"];
    assert_eq!(env.kiln(args).run().ok().text(), "xx");
    assert!(!std::path::Path::new("/etc/there").exists());
}

#[test]
fn memory_as_a_directory() {
    let env = TestEnv::new();
    let script = "stat -c '%a %u:%g' /t; df -k /t | tail -1 | awk '{print $2}'; \
                  cp /bin/busybox /t/busybox; /t/busybox echo ran 2>&1; true";
    let text = sh(&env, &["--tmpfs", "/t:size=4m,mode=700,uid=5,gid=6"], script);
    assert!(text.starts_with("700 5:6\n4096\n") && text.ends_with("Permission denied"), "{text}");
    assert!(sh(&env, &["--tmpfs", "/t:exec"], script).ends_with("\nran"));
    let mount = ["--mount", "type=tmpfs,dst=/t,tmpfs-size=1m,tmpfs-mode=755"];
    assert!(sh(&env, &mount, script).starts_with("755 0:0\n1024"));
    env.kiln(["run", "--tmpfs", "/t:nonsense", "busybox", "true"])
        .run()
        .fails(125)
        .says(&["nonsense"]);
}

#[test]
fn places_that_are_not_for_mounts() {
    let env = TestEnv::new();
    let volume = format!("{}:/proc/self", env.str("host"));
    let output = env.kiln(["run", "--rm", "-v", &volume, "busybox", "true"]).run().fails(125);
    output.says(&["/proc/self"]);
    let volume = format!("{}:/", env.str("host"));
    env.kiln(["run", "-v", &volume, "busybox", "true"]).run().fails(125).says(&["can't be '/'"]);
}

#[test]
fn owners_and_modes_are_the_hosts() {
    if !crate::support::requires::root() {
        return;
    }
    let env = TestEnv::new();
    let host = env.path("host");
    fs::create_dir(&host).unwrap();
    fs::set_permissions(&host, fs::Permissions::from_mode(0o1770)).unwrap();
    let volume = format!("{}:/data", host.display());
    let text =
        sh(&env, &["-v", &volume], "stat -c '%a %u' /data; touch /data/f; chown 1000:50 /data/f");
    assert_eq!(text, "1770 0");
    let made = fs::metadata(host.join("f")).unwrap();
    assert_eq!((made.uid(), made.gid()), (1000, 50));
}

#[test]
fn a_volume_outlives_its_containers() {
    let env = TestEnv::new();
    sh(&env, &["-v", "data:/data"], "echo kept > /data/f");
    assert_eq!(
        sh(&env, &["-v", "data:/other:ro"], "cat /other/f; touch /other/x 2>&1; true"),
        "kept\ntouch: /other/x: Read-only file system"
    );
    assert_eq!(sh(&env, &["--mount", "source=data,target=/m"], "cat /m/f"), "kept");
    assert_eq!(env.ok(&["volume", "ls", "-q"]).text(), "data");
    env.ok(&["volume", "rm", "data"]);
    assert_eq!(env.ok(&["volume", "ls", "-q"]).text(), "");
    assert_eq!(sh(&env, &["-v", "data:/data"], "ls /data"), "");
    let output = env.kiln(["run", "-v", "a/b:/data", "busybox", "true"]).run().fails(125);
    output.says(&["local volume name", "absolute path"]);
}

#[test]
fn a_new_volume_starts_with_what_the_image_has_there() {
    let env = TestEnv::new();
    env.build_text(
        "FROM busybox\nRUN mkdir -p /data/sub && echo image > /data/f && ln /data/f /data/sub/hard && ln -s f /data/link \\\n\
         && chown 1000:50 /data && chmod 2770 /data && chown 7:8 /data/sub/hard && ln -s /data /way\n",
    );
    let run = |options: &[&str], script: &str| {
        env.kiln(["run", "--rm"])
            .args(options)
            .args(["test:latest", "sh", "-c", script])
            .run()
            .ok()
            .text()
    };
    let script =
        "stat -c '%a %u:%g' /v; stat -c '%u:%g %h' /v/sub/hard; readlink /v/link; cat /v/f";
    let script = script.replace("/v", "/data");
    let expected = "2770 1000:50\n7:8 2\nf\nimage";
    assert_eq!(run(&["-v", "one:/data"], &script), expected);
    // By way of a link of the image; not when it is not wanted; not over what is there.
    assert_eq!(run(&["-v", "two:/way"], &script), expected);
    assert_eq!(run(&["-v", "three:/data:nocopy"], "ls -A /data"), "");
    run(&["-v", "one:/data"], "rm -r /data/sub; echo mine > /data/f");
    assert_eq!(run(&["-v", "one:/data"], "cat /data/f; ls /data"), "mine\nf\nlink");
    // An empty one is filled, as a new one is.
    env.ok(&["volume", "create", "four"]);
    assert_eq!(run(&["-v", "four:/data"], &script), expected);
}

#[test]
fn each_volume_of_the_image_is_one_of_the_container() {
    let env = TestEnv::new();
    env.build_text(
        "FROM busybox\nRUN mkdir /vol && echo image > /vol/f\nVOLUME /vol /made/by/volume\n",
    );
    let volumes = || env.ok(&["volume", "ls", "-q"]).text().lines().count();
    env.ok(&[
        "run",
        "--name",
        "cc",
        "test:latest",
        "sh",
        "-c",
        "echo more >> /vol/f; echo x > /made/by/volume/y",
    ]);
    assert_eq!(volumes(), 2);
    // They are its own, and it finds them again.
    env.ok(&["start", "-a", "cc"]);
    let text = env.ok(&["logs", "cc"]).text();
    assert_eq!(text, "");
    let own = env.ok(&["volume", "ls", "-q"]).text();
    let run_with =
        |name: &str| sh(&env, &["-v", &format!("{name}:/v")], "cat /v/f /v/y 2>/dev/null; true");
    let contents: Vec<String> = own.lines().map(run_with).collect();
    assert!(
        contents.contains(&"image\nmore\nmore".to_owned()) && contents.contains(&"x".to_owned()),
        "{contents:?}"
    );
    env.kiln(["volume", "rm", own.lines().next().unwrap()]).run().fails(1).says(&["is in use"]);
    env.ok(&["rm", "-v", "cc"]);
    assert_eq!(volumes(), 0);
    // Those of a container that is made for one run go with it; what was asked for by name stays.
    env.ok(&[
        "run",
        "--rm",
        "-v",
        "named:/made/by/volume",
        "-v",
        "/another",
        "test:latest",
        "true",
    ]);
    assert_eq!(env.ok(&["volume", "ls", "-q"]).text(), "named");
    // Without -v they stay, until somebody tidies up.
    env.ok(&["run", "--name", "dd", "test:latest", "true"]);
    env.ok(&["rm", "dd"]);
    assert_eq!(volumes(), 3);
    env.ok(&["volume", "prune", "--force"]);
    assert_eq!(env.ok(&["volume", "ls", "-q"]).text(), "named");
    env.ok(&["volume", "prune", "--force", "--all"]);
    assert_eq!(volumes(), 0);
}

#[test]
fn what_could_not_be_made_leaves_no_volume() {
    let env = TestEnv::new();
    env.ok(&["create", "--name", "taken", "busybox", "true"]);
    let output = env.kiln(["run", "--name", "taken", "-v", "/x", "busybox", "true"]).run();
    output.fails(125).says(&["taken"]);
    assert_eq!(env.ok(&["volume", "ls", "-q"]).text(), "");
}

#[test]
fn volumes_are_listed_and_shown() {
    let env = TestEnv::new();
    assert_eq!(env.ok(&["volume", "create", "--label", "a=b", "first"]).text(), "first");
    let made_up = env.ok(&["volume", "create"]).text();
    assert_eq!(made_up.len(), 64);
    let list = env.ok(&["volume", "ls"]).text();
    let mut lines: Vec<String> = list.lines().map(str::to_owned).collect();
    assert_eq!(lines.remove(0), "DRIVER    VOLUME NAME");
    lines.sort();
    let mut expected = ["first", &made_up].map(|name| format!("local     {name}"));
    expected.sort();
    assert_eq!(lines, expected);
    let ls = |filter: &str| env.ok(&["volume", "ls", "-q", "--filter", filter]).text();
    assert_eq!(ls("label=a=b"), "first");
    assert_eq!(ls("name=irs"), "first");
    env.ok(&["create", "--name", "cc", "-v", "first:/v", "busybox", "true"]);
    assert_eq!((ls("dangling=false"), ls("dangling=true")), ("first".to_owned(), made_up));
    let shown = env.ok(&["volume", "inspect", "first"]);
    let shown: serde_json::Value = serde_json::from_slice(&shown.stdout).unwrap();
    assert_eq!((&shown[0]["Name"], &shown[0]["Labels"]["a"]), (&"first".into(), &"b".into()));
    assert!(std::path::Path::new(shown[0]["Mountpoint"].as_str().unwrap()).is_dir());
    env.kiln(["volume", "inspect", "none"]).run().fails(1).says(&["no such volume", "none"]);
    env.kiln(["volume", "rm", "first"]).run().fails(1).says(&["volume `first` is in use"]);
    env.ok(&["volume", "rm", "--force", "none"]);
    // Nobody there is a no.
    let asked = env.kiln(["volume", "prune", "--all"]).run().ok();
    assert_eq!(asked.text(), "Total reclaimed space: 0B");
    env.kiln(["volume", "prune", "-f", "--filter", "until=1h"]).run().fails(2).says(&["until"]);
}

#[test]
fn volumes_of_an_ordinary_user() {
    let Some(account) = crate::support::account::Account::create() else { return };
    let env = TestEnv::of(account);
    env.build_text(
        "FROM busybox\nRUN mkdir /v && echo image > /v/f && chown 1000:50 /v/f\nVOLUME /v\n",
    );
    let args = [
        "run",
        "--rm",
        "-v",
        "data:/v",
        "test:latest",
        "sh",
        "-c",
        "cat /v/f; stat -c %u:%g /v/f; chown 5 /v/f",
    ];
    assert_eq!(env.ok(&args).text(), "image\n1000:50");
    assert_eq!(env.ok(&args).text(), "image\n5:50");
    env.ok(&["run", "--rm", "test:latest", "true"]);
    assert_eq!(env.ok(&["volume", "ls", "-q"]).text(), "data");
    env.ok(&["volume", "rm", "data"]);
}

#[test]
fn volumes_of_another_container() {
    let env = TestEnv::new();
    env.build_text("FROM busybox\nRUN mkdir /own && echo image > /own/f\nVOLUME /own\n");
    fs::create_dir(env.path("host")).unwrap();
    let host = format!("{}:/host", env.str("host"));
    env.ok(&[
        "create",
        "--name",
        "has",
        "-v",
        "data:/data",
        "-v",
        &host,
        "--tmpfs",
        "/tmp",
        "test",
        "true",
    ]);
    env.ok(&["create", "--name", "other", "-v", "others:/data", "test", "true"]);
    // As the guides back up what a container has.
    let backup = format!("{}:/backup", env.path("").display());
    sh(&env, &["--volumes-from", "has"], "cat /own/f; echo 1 > /data/f; echo 2 > /host/f");
    sh(&env, &["--volumes-from", "has", "-v", &backup], "tar cf /backup/b.tar /data /own /host");
    let tree = crate::support::archive::Tree::of_tar(&fs::read(env.path("b.tar")).unwrap());
    assert_eq!((tree.text("data/f"), tree.text("own/f"), tree.text("host/f")), {
        ("1\n".to_owned(), "image\n".to_owned(), "2\n".to_owned())
    });
    // What it has by itself goes before, and a later container before an earlier one.
    assert_eq!(
        sh(&env, &["--volumes-from", "has", "-v", "fresh:/data"], "ls /data; cat /host/f"),
        "2"
    );
    assert_eq!(sh(&env, &["--volumes-from", "has", "--volumes-from", "other"], "ls /data"), "");
    let read_only = sh(&env, &["--volumes-from", "has:ro"], "cat /data/f; echo x > /data/g; true");
    assert_eq!(read_only, "1");
    // The container that was asked keeps what is its own.
    assert_eq!(env.ok(&["volume", "ls", "-q", "-f", "dangling=false"]).text().lines().count(), 4);
    let wrong = |value: &str| {
        env.kiln(["run", "--volumes-from", value, "busybox", "true"]).run().fails(125)
    };
    wrong("nosuch").says(&["no such container: `nosuch`"]);
    wrong("has:rx").says(&["--volumes-from `has:rx`", "`ro`"]);
}
