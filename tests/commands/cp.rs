//! `kiln cp`.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::time::Duration;

use crate::support::account::Account;
use crate::support::archive::{Tarball, Tree};
use crate::support::env::TestEnv;
use crate::support::victim::Victim;

/// A store with a container `work` that was never started.
fn at_rest() -> TestEnv {
    let env = TestEnv::new();
    env.ok(&["create", "--name", "work", "busybox", "sleep", "60"]);
    env
}

/// What a script prints in a container of what `work` has become.
#[track_caller]
fn inside(env: &TestEnv, script: &str) -> String {
    env.ok(&["commit", "work", "now"]);
    env.ok(&["run", "--rm", "now", "sh", "-c", script]).text()
}

fn cp(env: &TestEnv, from: &str, to: &str) {
    env.ok(&["cp", from, to]);
}

#[test]
fn a_file_into_a_container_and_back() {
    let env = at_rest();
    fs::write(env.path("file"), "content").unwrap();
    fs::set_permissions(env.path("file"), fs::Permissions::from_mode(0o640)).unwrap();
    let file = env.str("file");
    let output = env.ok(&["cp", &file, "work:/tmp"]);
    output.says(&["Successfully copied ", "kB to work:/tmp"]);
    cp(&env, &file, "work:/tmp/other");
    cp(&env, &file, "work:relative");
    cp(&env, &file, "work:/etc/passwd");
    let script = "cat /tmp/file /tmp/other /relative /etc/passwd; stat -c '%a %u:%g' /tmp/file";
    assert_eq!(inside(&env, script), "contentcontentcontentcontent640 0:0");

    cp(&env, "work:/tmp/file", &env.str("back"));
    assert_eq!(fs::read_to_string(env.path("back")).unwrap(), "content");
    assert_eq!(fs::metadata(env.path("back")).unwrap().mode() & 0o7777, 0o640);
    fs::create_dir(env.path("dir")).unwrap();
    cp(&env, "work:/tmp/file", &env.str("dir"));
    cp(&env, "work:/tmp/file", &format!("{}/", env.str("dir")));
    assert_eq!(fs::read_to_string(env.path("dir/file")).unwrap(), "content");
    let told = env.ok(&["cp", "work:/tmp/file", &env.str("back")]).stderr;
    assert!(told.ends_with(&format!(" to {}\n", env.str("back"))), "{told}");
    let quiet = env.ok(&["cp", "-q", "work:/tmp/file", &env.str("back")]);
    assert_eq!(quiet.stderr, "");
}

#[test]
fn directories_by_dockers_rules() {
    let env = at_rest();
    fs::create_dir_all(env.path("src/sub")).unwrap();
    fs::write(env.path("src/sub/f"), "x").unwrap();
    fs::set_permissions(env.path("src"), fs::Permissions::from_mode(0o711)).unwrap();
    let src = env.str("src");
    cp(&env, &src, "work:/new");
    cp(&env, &src, "work:/tmp");
    cp(&env, &format!("{src}/."), "work:/home");
    cp(&env, &format!("{src}/."), "work:/newer");
    cp(&env, &format!("{src}/"), "work:/var/");
    let script = "cat /new/sub/f /tmp/src/sub/f /home/sub/f /newer/sub/f; stat -c %a /new /newer /tmp/src; ls -d /var* ; ls /home";
    let text = inside(&env, script);
    assert_eq!(text, "xxxx711\n711\n711\n/var\napp\nsub");

    let out = env.str("out");
    cp(&env, "work:/new", &out);
    assert_eq!(fs::read_to_string(env.path("out/sub/f")).unwrap(), "x");
    assert_eq!(fs::metadata(env.path("out")).unwrap().mode() & 0o777, 0o711);
    cp(&env, "work:/new", &out);
    assert!(env.path("out/new/sub/f").exists(), "it is put into what is there now");
    cp(&env, "work:/new/.", &out);
    cp(&env, "work:/new/sub/", &out);
    assert!(env.path("out/sub/f").exists());
}

#[test]
fn what_does_not_fit_is_refused() {
    let env = at_rest();
    fs::create_dir_all(env.path("dir/passwd")).unwrap();
    fs::write(env.path("file"), "").unwrap();
    let (dir, file) = (env.str("dir"), env.str("file"));
    let refused = |from: &str, to: &str, words: &[&str]| {
        env.kiln(["cp", from, to]).run().fails(1).says(words);
    };
    refused(&dir, "work:/etc/passwd", &["cannot copy a directory to a file", "work:/etc/passwd"]);
    refused(&file, "work:/no/such/dir", &["work:/no/such/dir", "`/no/such` does not exist"]);
    refused(&file, "work:/nothing/", &["no such directory"]);
    refused(&file, "work:/etc/passwd/", &["not a directory"]);
    refused(&format!("{file}/"), "work:/tmp", &["not a directory"]);
    refused("work:/nothing", &dir, &["work:/nothing", "no such file or directory"]);
    refused("work:/etc/passwd/x", &dir, &["no such file"]);
    refused(&env.str("missing"), "work:/tmp", &["missing", "no such file"]);
    refused(
        &format!("{dir}/."),
        "work:/etc",
        &["cannot overwrite non-directory `passwd` with a directory"],
    );
    fs::create_dir_all(env.path("tmp/etc")).unwrap();
    fs::write(env.path("etc"), "").unwrap();
    refused(&env.str("etc"), "work:/", &["cannot overwrite directory `etc` with a non-directory"]);
    refused("nosuch:/x", &dir, &["no such container"]);
    // It is not replaced by a file.
    rustix::fs::mkfifoat(rustix::fs::CWD, env.path("pipe"), rustix::fs::Mode::RWXU).unwrap();
    refused("work:/etc/passwd", &env.str("pipe"), &["pipe", "nor a regular file"]);
    refused("work:/etc/passwd", "/dev/full", &["/dev/full", "nor a regular file"]);
    for (from, to, words) in [
        ("a:/x", "b:/y", "between containers"),
        ("/x", "/y", "at least one container"),
        ("./a:b", "/y", "at least one container"),
        ("", "work:/", "source can not be empty"),
    ] {
        env.kiln(["cp", from, to]).run().fails(2).says(&[words]);
    }
    assert_eq!(env.ok(&["diff", "work"]).text(), "");
}

#[test]
fn links_are_links_unless_they_are_followed() {
    let env = TestEnv::new();
    let script = "echo target > /tmp/t; ln -s /tmp/t /link; mkdir /real; echo in > /real/f; ln -s real /dirlink; ln -s /etc/shadow /out; \
                  ln -s ../../../../../../etc /up; ln -s /nowhere/x /dangling; ln -s /tmp/made /to-be";
    env.ok(&["run", "--name", "work", "busybox", "sh", "-c", script]);
    let there = |name: &str| env.str(name);
    cp(&env, "work:/link", &there("as-link"));
    assert_eq!(fs::read_link(env.path("as-link")).unwrap().to_str(), Some("/tmp/t"));
    env.ok(&["cp", "-L", "work:/link", &there("followed")]);
    assert_eq!(fs::read_to_string(env.path("followed")).unwrap(), "target\n");
    cp(&env, "work:/dirlink", &there("dirlink"));
    assert!(fs::symlink_metadata(env.path("dirlink")).unwrap().is_symlink());
    cp(&env, "work:/dirlink/", &there("dir"));
    cp(&env, "work:/dirlink/f", &there("f"));
    assert_eq!(fs::read_to_string(env.path("dir/f")).unwrap(), "in\n");
    // A link of the container means its own files, wherever it points.
    env.kiln(["cp", "-L", "work:/out", &there("shadow")]).run().fails(1);
    env.ok(&["cp", "-L", "work:/up", &there("etc")]);
    let own = fs::read_to_string(env.path("etc/passwd")).unwrap();
    assert!(own.contains("app"), "{own}");
    fs::write(env.path("x"), "written").unwrap();
    env.kiln(["cp", &there("x"), "work:/dangling"]).run().fails(1);
    assert!(!std::path::Path::new("/nowhere").exists());
    // A destination that is a link is where it leads.
    cp(&env, &there("x"), "work:/link");
    cp(&env, &there("x"), "work:/to-be");
    assert_eq!(inside(&env, "readlink /link; cat /tmp/t /tmp/made"), "/tmp/t\nwrittenwritten");
    // Links of the host are the host's.
    symlink(env.path("x"), env.path("host-link")).unwrap();
    cp(&env, &there("host-link"), "work:/tmp/hl");
    env.ok(&["cp", "-L", &there("host-link"), "work:/tmp/hf"]);
    assert_eq!(inside(&env, "readlink /tmp/hl; cat /tmp/hf"), format!("{}\nwritten", there("x")));
}

#[test]
fn streams_of_tar() {
    let env = at_rest();
    let tar = env.ok(&["cp", "work:/etc", "-"]);
    assert_eq!(tar.stderr, "");
    let tree = Tree::of_tar(&tar.stdout);
    assert!(tree.has("etc") && tree.text("etc/passwd").contains("app"));
    let one = Tree::of_tar(&env.ok(&["cp", "work:/etc/passwd", "-"]).stdout);
    assert_eq!(one.0.keys().collect::<Vec<_>>(), ["passwd"]);
    let contents = Tree::of_tar(&env.ok(&["cp", "work:/etc/.", "-"]).stdout);
    assert!(contents.has("passwd") && !contents.has("etc"));

    let given = Tarball::new().dir("d", 0o750).owned_file("d/f", "x", 0o600, 7, 8).finish();
    env.kiln(["cp", "-", "work:/tmp"]).stdin(given.clone()).run().ok();
    // Who made the archive has said whose the files are.
    assert_eq!(inside(&env, "stat -c '%a %u:%g' /tmp/d/f"), "600 7:8");
    env.kiln(["cp", "-", "work:/etc/passwd"])
        .stdin(given.clone())
        .run()
        .fails(1)
        .says(&["must be a directory"]);
    env.kiln(["cp", "-", "work:/none"]).stdin(given).run().fails(1).says(&["no such directory"]);
    env.kiln(["cp", "-", "work:/tmp"])
        .stdin("no tar, and long enough to be looked at".repeat(50))
        .run()
        .fails(1);
}

#[test]
fn owners_are_kept_if_asked_for() {
    if !crate::support::requires::root() {
        return;
    }
    let env = TestEnv::new();
    env.ok(&["run", "--name", "work", "busybox", "sh", "-c", "echo x > /f; chown 1000:50 /f"]);
    cp(&env, "work:/f", &env.str("mine"));
    env.ok(&["cp", "-a", "work:/f", &env.str("theirs")]);
    let owner = |name: &str| {
        let stat = fs::metadata(env.path(name)).unwrap();
        (stat.uid(), stat.gid())
    };
    assert_eq!((owner("mine"), owner("theirs")), ((0, 0), (1000, 50)));
    cp(&env, &env.str("theirs"), "work:/a");
    env.ok(&["cp", "-a", &env.str("theirs"), "work:/b"]);
    assert_eq!(inside(&env, "stat -c %u:%g /a /b"), "0:0\n1000:50");
}

#[test]
fn a_container_that_runs() {
    let env = TestEnv::new();
    let script =
        "echo inside > /f; while [ ! -e /tmp/go ]; do sleep 0.05; done; cat /tmp/go; cat /vol/g";
    env.ok(&["run", "-d", "--name", "work", "-v", "data:/vol", "busybox", "sh", "-c", script]);
    let wait = std::time::Instant::now();
    while !env.kiln(["cp", "work:/f", &env.str("f")]).run().status.success() {
        assert!(wait.elapsed() < Duration::from_secs(30));
    }
    assert_eq!(fs::read_to_string(env.path("f")).unwrap(), "inside\n");
    fs::write(env.path("g"), "volume").unwrap();
    cp(&env, &env.str("g"), "work:/vol/");
    fs::write(env.path("go"), "went ").unwrap();
    cp(&env, &env.str("go"), "work:/tmp/go");
    assert_eq!(env.ok(&["wait", "work"]).text(), "0");
    assert_eq!(env.ok(&["logs", "work"]).text(), "went volume");
}

#[test]
fn volumes_of_one_that_does_not_run() {
    let env = TestEnv::new();
    fs::create_dir(env.path("host")).unwrap();
    fs::write(env.path("host/h"), "bound").unwrap();
    let bind = format!("{}:/bound:ro", env.str("host"));
    let file = format!("{}:/etc/one", env.str("host/h"));
    env.ok(&[
        "create",
        "--name",
        "work",
        "-v",
        &file,
        "-v",
        "data:/vol",
        "-v",
        &bind,
        "--read-only",
        "busybox",
        "true",
    ]);
    fs::write(env.path("f"), "x").unwrap();
    cp(&env, &env.str("f"), "work:/vol/f");
    assert_eq!(env.ok(&["run", "--rm", "-v", "data:/v", "busybox", "cat", "/v/f"]).text(), "x");
    cp(&env, "work:/bound/h", &env.str("h"));
    assert_eq!(fs::read_to_string(env.path("h")).unwrap(), "bound");
    // What is mounted is called as its place in the container.
    fs::create_dir(env.path("out")).unwrap();
    cp(&env, "work:/bound", &env.str("out"));
    cp(&env, "work:/vol/", &env.str("out"));
    cp(&env, "work:/etc/one", &env.str("out"));
    for (path, text) in [("out/bound/h", "bound"), ("out/vol/f", "x"), ("out/one", "bound")] {
        assert_eq!(fs::read_to_string(env.path(path)).unwrap(), text, "{path}");
    }
    let tar = Tree::of_tar(&env.ok(&["cp", "work:/vol", "-"]).stdout);
    assert_eq!(tar.0.keys().collect::<Vec<_>>(), ["vol", "vol/f"]);
    let refused = |to: &str, words: &str| {
        env.kiln(["cp", &env.str("f"), to]).run().fails(1).says(&[words]);
    };
    refused("work:/bound/f", "mounted volume is marked read-only");
    refused("work:/tmp/f", "container rootfs is marked read-only");
}

#[test]
fn of_an_ordinary_user() {
    let Some(account) = Account::create() else { return };
    let env = TestEnv::of(account);
    env.ok(&["run", "--name", "work", "busybox", "sh", "-c", "echo x > /f; chown 1000:50 /f"]);
    cp(&env, "work:/f", &env.str("f"));
    let owner = |name: &str| fs::metadata(env.path(name)).unwrap().uid();
    assert_eq!(owner("f"), owner("store"), "it is the user's own");
    cp(&env, &env.str("f"), "work:/g");
    assert_eq!(inside(&env, "cat /g; stat -c %u:%g /g"), "x\n0:0");
}

/// What a container had copied out once decides nothing about where the next copy goes.
#[test]
fn links_of_a_container_are_no_way_out_of_the_destination() {
    let env = TestEnv::new();
    let victim = Victim::create(&env);
    let path = victim.path();
    let out = env.str("out");
    fs::create_dir(&out).unwrap();
    env.ok(&["run", "-d", "--name=cc", "--network=none", "busybox", "sleep", "1000"]);
    let change = |script: &str| env.ok(&["exec", "cc", "sh", "-c", script]);
    change(&format!("mkdir /d && ln -s {path} /d/sub && ln -s {path}/token /d/f"));
    env.ok(&["cp", "cc:/d", &out]);
    change(
        "rm /d/*; mkdir /d/sub; echo evil >/d/sub/token; echo evil >/d/sub/new; echo evil >/d/f",
    );
    for source in ["cc:/d", "cc:/d/.", "cc:/d/sub"] {
        let to = if source == "cc:/d" { out.clone() } else { format!("{out}/d") };
        env.kiln(["cp", source, &to]).run().fails(1).says(&["non-directory"]);
        victim.is_unharmed(source);
    }
    // One that is swapped for a link again and again is copied as one or the other, or told.
    let swap = format!(
        "mkdir -p /r/d; echo x >/r/d/token; while :; do mv /r/d /r/t; ln -s {path} /r/d; rm /r/d; mv /r/t /r/d; done"
    );
    env.ok(&["exec", "-d", "cc", "sh", "-c", &swap]);
    for number in 0..20 {
        let to = format!("{out}/{number}");
        let output = env.kiln(["cp", "cc:/r", &to]).run();
        assert!(output.status.code().is_some_and(|code| code < 2), "{output}");
        // The copy of a link is one, and leads where it did.
        let is_link = fs::symlink_metadata(format!("{to}/d")).is_ok_and(|stat| stat.is_symlink());
        assert!(
            is_link || !Path::new(&to).join("d/passwd").exists(),
            "a file of the host came along"
        );
    }
    victim.is_unharmed("a swap");
}
