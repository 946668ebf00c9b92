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
