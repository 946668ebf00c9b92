//! The third rung of the isolation ladder: overlays that `fuse-overlayfs` serves, for who may use FUSE and not the kernel's
//! overlay. What is built there is what root builds.

use std::fs;
use std::path::Path;

use rustix::process::{Pid, Signal, kill_process};

use super::ladder;
use crate::support::account::Account;
use crate::support::env::TestEnv;
use crate::support::process::eventually;
use crate::support::requires;

fn served() -> Option<TestEnv> {
    if !requires::fuse() {
        return None;
    }
    Account::create().map(TestEnv::served)
}

/// The programs that serve overlays of a store.
fn servers(env: &TestEnv) -> Vec<Pid> {
    let store = env.store().display().to_string();
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let serves = |pid: &i32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).into_owned();
        line.contains("fuse-overlayfs\0-f\0") && line.contains(&store)
    };
    numbers.filter(serves).filter_map(Pid::from_raw).collect()
}

fn assert_nothing_is_left(env: &TestEnv) {
    eventually("no program is left", || servers(env).is_empty());
    eventually("nothing unfinished is left", || env.ownerless().is_empty());
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(env.store().to_str().unwrap()), "{mounts}");
}

#[test]
fn the_image_is_the_same() {
    let Some(env) = served() else { return };
    let root = TestEnv::new();
    let found = ladder::layers(&env, &ladder::context(&env));
    let mut expected = ladder::layers(&root, &ladder::context(&root));
    // A directory made in one with this bit gets it from the kernel, and not from fuse-overlayfs.
    for (path, looks) in expected.iter_mut().flatten() {
        if matches!(path.as_str(), "x/y/" | "copied/y/") {
            *looks = looks.replace("2755", "755");
        }
    }
    ladder::assert_same_layers(&found, &expected);
    assert_nothing_is_left(&env);
}

/// Deletions of all kinds, on what other layers have: of files and directories, of what comes again, of what never stayed.
const DELETIONS: &str = "FROM busybox
RUN mkdir -p /a/b /c/d /e && touch /a/1 /a/b/2 /c/d/3 /e/4 /5 && chmod 2755 /e && chown 0:7 /e
RUN rm -r /a /5 && mkdir /a && touch /a/new && rm /c/d/3 && rm -r /e/4
RUN mkdir -p /gone/deep && rm -r /gone && mkdir /etc/x && rmdir /etc/x
RUN rm -r /c && mkdir -p /c/d && touch /c/d/again && rm -r /a && touch /a
";

#[test]
fn deletions_are_marked_as_the_kernel_does() {
    let Some(env) = served() else { return };
    let root = TestEnv::new();
    let found = ladder::layers_of(&env, &env.context(DELETIONS), &[]);
    ladder::assert_same_layers(&found, &ladder::layers_of(&root, &root.context(DELETIONS), &[]));
    for file in env.files_of_store() {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        assert!(!name.starts_with(".wh."), "{}", file.display());
    }

    // What was built on one rung goes on on the other, in the same store.
    let context = env.context(DELETIONS);
    let more = |text: &str| context.dockerfile(&format!("{DELETIONS}{text}"));
    let look =
        "RUN test -f /a && test -z \"$(ls /e)\" && test \"$(ls /c/d)\" = again && test ! -e /5\n";
    let env = env.on("userns");
    more(&format!("{look}RUN rm -r /c && mkdir /c\n"));
    env.build(&context, &[]).has_cached(4);
    let env = env.on("fuse");
    more(
        &format!("{look}RUN rm -r /c && mkdir /c\n{look}")
            .replace("again && test ! -e /5\n", "'' -o -d /c\n"),
    );
    env.build(&context, &[]);
    assert_nothing_is_left(&env);
}

#[test]
fn a_program_that_is_killed_fails_the_step() {
    let Some(env) = served() else { return };
    let context = env.context("FROM busybox\nRUN echo begun; sleep 3; true\n");
    let mut build = env.building(&context, &[]).spawn();
    build.wait_for("begun");
    for server in servers(&env) {
        let _ = kill_process(server, Signal::KILL);
    }
    let output = build.wait().fails(1);
    output.says(&["fuse-overlayfs", "Dockerfile:2"]);
    assert_eq!(env.ok(&["images", "-q", "test"]).text(), "");
    assert_nothing_is_left(&env);
    // The next one begins anew.
    env.build(&env.context("FROM busybox\nRUN echo begun; true\n"), &[]);
}

#[test]
fn nothing_is_left_when_kiln_is_killed() {
    let Some(env) = served() else { return };
    let context = env.context("FROM busybox\nRUN echo begun; sleep 1000\n");
    let mut build = env.building(&context, &[]).spawn();
    build.wait_for("begun");
    assert!(!servers(&env).is_empty());
    build.signal(Signal::KILL);
    build.wait();
    assert_nothing_is_left(&env);
}

#[test]
fn containers() {
    let Some(env) = served() else { return };
    env.ok(&[
        "run",
        "-d",
        "--network=none",
        "--name=cc",
        "busybox",
        "sh",
        "-c",
        "rm -r /home && mkdir /home && touch /home/x /made && sleep 1000",
    ]);
    eventually("it has written", || {
        env.kiln(["exec", "cc", "test", "-e", "/made"]).run().status.success()
    });
    assert_eq!(env.ok(&["diff", "cc"]).text(), "C /home\nD /home/app\nA /home/x\nA /made");
    env.ok(&["commit", "cc", "committed"]);
    // From outside of its user namespace it can be read only.
    let (got, put) = (env.str("got"), env.str("base.tar"));
    env.ok(&["cp", "cc:/home/x", &got]);
    assert!(env.path("got").exists());
    env.kiln(["cp", &put, "cc:/put"]).run().fails(1).says(&["isolation `fuse`", "stop it first"]);
    env.ok(&["stop", "-t", "0", "cc"]);
    assert_eq!(env.ok(&["run", "--rm", "--network=none", "committed", "ls", "/home"]).text(), "x");
    env.ok(&["cp", &put, "cc:/put"]);
    env.ok(&["start", "cc"]);
    env.ok(&["exec", "cc", "test", "-s", "/put"]);
    assert_eq!(env.ok(&["exec", "cc", "ls", "/home"]).text(), "x");
    env.ok(&["rm", "-f", "cc"]);
    assert_nothing_is_left(&env);
}

#[test]
fn it_is_said_what_is_missing() {
    let Some(env) = served() else { return };
    let row = |kiln: crate::support::process::Kiln| {
        let text = kiln.run().ok().text();
        text.lines().find(|line| line.contains(" fuse ")).unwrap().to_owned()
    };
    let doctor = || env.kiln(["doctor"]);
    assert!(row(doctor()).contains("yes"), "{}", row(doctor()));
    // With nothing on its path but what maps ids, and what has to come before.
    let programs = env.path("programs");
    fs::create_dir(&programs).unwrap();
    for program in ["newuidmap", "newgidmap", "sh", "unshare", "mount", "mknod", "chmod", "setpriv"]
    {
        let directories = ["/usr/bin", "/bin"].map(|dir| Path::new(dir).join(program));
        let place = directories.iter().find(|place| place.exists()).unwrap();
        std::os::unix::fs::symlink(place, programs.join(program)).unwrap();
    }
    let text = row(doctor().env("PATH", programs.to_str().unwrap()));
    let missing = "no        `fuse-overlayfs` is not installed; install it";
    assert!(text.contains(missing), "{text}");

    let env = env.after(HIDE_FUSE);
    let output = env.kiln(["images"]).run().fails(1);
    output.says(&["isolation `fuse` does not work here", "FUSE cannot be mounted here"]);
}

const HIDE_FUSE: &str =
    r#"exec unshare --mount sh -c 'mount --bind /dev/null /dev/fuse && exec "$@"' sh "$@""#;

/// The store is on a file system in user space that shows another directory, much like one that the host of a virtual machine
/// shares: overlay takes no upper directory there.
const SHARE_STORE: &str = r#"exec unshare --mount sh -c '
mount -t tmpfs none /mnt && mknod /mnt/fuse c 10 229 && chmod 666 /mnt/fuse && mount --bind /mnt/fuse /dev/fuse || exit 99
mkdir -p "$7" "$7-real" && chown --reference="$(dirname "$7")" "$7" "$7-real" || exit 99
bindfs -f -o nonempty,allow_other,dev,suid "$7-real" "$7" &
server=$!
until mountpoint -q "$7"; do kill -0 $server || exit 99; sleep 0.1; done
"$@"
status=$?
# Locks are not shared with the next one of these: whatever still uses the store in a mount namespace of its own goes first.
umount --lazy "$7"
wait $server
exit $status' sh "$@""#;

#[test]
fn it_is_taken_where_overlay_does_not_work_with_the_store() {
    if !requires::fuse() || !requires::program("bindfs") {
        return;
    }
    let Some(account) = Account::create() else { return };
    let env = TestEnv::of(account).after(SHARE_STORE);
    let context = env.context(DELETIONS);
    env.ok(&["import", &env.str("base.tar"), "busybox:latest"]);
    let output = env.build(&context, &[]);
    output.says(&["isolation: `fuse`"]);
    let found = ladder::layers_of(&env, &context, &[]);
    let root = TestEnv::new();
    ladder::assert_same_layers(&found, &ladder::layers_of(&root, &root.context(DELETIONS), &[]));
    // Whoever insists gets the kernel's word.
    let env = env.on("userns");
    let insists = env.building(&context, &["--no-cache"]).run().fails(1);
    insists.says(&["layers as one file system", "Dockerfile:2"]);
    eventually("no program is left", || servers(&env).is_empty());
}
