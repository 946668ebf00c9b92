//! Contexts in places that are none for a context: the kernel's own file systems, one that does not answer, the whole machine,
//! and the store. What is copied is what the key was made from, or nothing is.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::support::base;
use crate::support::env::{IMAGE, TestEnv};
use crate::support::process::eventually;
use crate::support::requires;

/// Builds in that directory, with the Dockerfile elsewhere.
fn building(env: &TestEnv, dockerfile: &str, context: &Path) -> crate::support::process::Kiln {
    fs::write(env.path("Dockerfile"), dockerfile).unwrap();
    env.kiln(["build", "--progress=plain", "-t", IMAGE, "-f", &env.str("Dockerfile")])
        .args([context])
}

/// They have no size, or another one than they say, and their times do not tell of a change.
#[test]
fn files_that_the_kernel_makes_up_are_refused_and_not_cut_short() {
    let env = TestEnv::empty();
    for (context, file) in [
        ("/proc/sys/kernel", "ostype"),
        ("/proc", "self/status"),
        ("/proc", "version"),
        ("/sys/kernel", "mm/transparent_hugepage/enabled"),
    ] {
        if !Path::new(context).join(file).exists() {
            continue;
        }
        for source in [file, "."] {
            // All of `/proc` and `/sys` has more to say than that.
            if source == "." && context != "/proc/sys/kernel" {
                continue;
            }
            let dockerfile = format!("FROM scratch\nCOPY {source} /f\n");
            let output = building(&env, &dockerfile, Path::new(context)).run().fails(1);
            let output = output.says(&["Dockerfile:2"]);
            let says = |text: &str| output.stderr.contains(text);
            // In a whole directory there also are files that cannot be read at all.
            let is_told = says("bytes that it says it has") || source == "." && says("cannot ");
            assert!(is_told, "{context}/{source}: {output}");
        }
    }
    // What is not named there is not looked at.
    building(&env, "FROM scratch\nENV A=1\n", Path::new("/proc")).run().ok();
}

#[test]
fn the_whole_machine_is_a_context_of_which_only_the_named_is_read() {
    let env = TestEnv::empty();
    let output = building(&env, "FROM scratch\nCOPY etc/passwd /\n", Path::new("/")).run().ok();
    assert!(!output.stderr.contains("warning"), "{output}");
    let name = env.path("");
    let inside = name.strip_prefix("/").unwrap().display();
    // The directory of this test has the store in it.
    for source in
        [format!("{inside}"), format!("{inside}/store"), format!("{inside}/store/snapshots")]
    {
        let dockerfile = format!("FROM scratch\nCOPY {source} /x/\n");
        building(&env, &dockerfile, Path::new("/")).run().fails(1).says(&[
            "Dockerfile:2",
            "store` is where images and layers are kept",
            ".dockerignore",
        ]);
    }
    env.ok(&["fsck"]);
}

#[test]
fn the_store_is_not_copied_into_an_image() {
    let env = TestEnv::new();
    let context = env.path("home");
    fs::create_dir(&context).unwrap();
    fs::write(context.join("file"), "file").unwrap();
    fs::rename(env.store(), context.join("store")).unwrap();
    let store = context.join("store");
    let build = |dockerfile: &str, context: &Path| {
        fs::write(env.path("Dockerfile"), dockerfile).unwrap();
        crate::support::process::Kiln::new(&base::kiln())
            .args(["--root".as_ref(), store.as_os_str()])
            .args(["build", "--progress=plain", "-f", &env.str("Dockerfile")])
            .args([context])
    };
    let refusal = "is where images and layers are kept";
    for dockerfile in [
        "FROM scratch\nCOPY . /\n",
        "FROM scratch\nCOPY s* /\n",
        "FROM scratch\nADD store/snapshots /\n",
        "FROM scratch\nCOPY --parents store /\n",
        "FROM scratch\nCOPY link/snapshots /\n",
        "FROM busybox\nRUN --mount=type=bind,target=/m true\n",
    ] {
        if dockerfile.contains("link") {
            std::os::unix::fs::symlink("store", context.join("link")).unwrap();
        }
        build(dockerfile, &context).run().fails(1).says(&[refusal]);
    }
    build("FROM scratch\nCOPY . /\n", &store).run().fails(1).says(&[refusal]);
    // What is beside it can be had, and so can all when it is left out.
    build("FROM scratch\nCOPY file /\n", &context).run().ok();
    fs::write(context.join(".dockerignore"), "store\n").unwrap();
    build("FROM scratch\nCOPY . /\nCOPY f* /\n", &context).run().ok();
    fs::rename(&store, env.store()).unwrap();
    env.ok(&["fsck"]);
}

/// kiln in a mount namespace of its own, where `place` is a file system whose server never answers.
struct Hanging {
    child: Child,
}

impl Hanging {
    fn start(env: &TestEnv, place: &Path, context: &Path) -> Self {
        // The program that holds the device open is the one that waits for it: with its end, all ends.
        let script = "exec 5<>/dev/fuse; mount -i -t fuse -o fd=5,rootmode=40000,user_id=0,group_id=0,allow_other hanging \"$1\" || exit 99; shift; exec \"$@\"";
        let child = Command::new("unshare")
            .args(["--mount", "sh", "-c", script, "sh"])
            .arg(place)
            .arg(base::kiln())
            .args(["--root".as_ref(), env.store().as_os_str()])
            .args(["build", "--progress=plain", "-t", IMAGE])
            .arg(context)
            .stdout(Stdio::null())
            .stderr(fs::File::create(env.path("stderr")).unwrap())
            .spawn()
            .unwrap();
        Self { child }
    }

    /// Whether one of its threads waits for that file system.
    fn waits(&self) -> bool {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap();
        let wchan = |task: fs::DirEntry| fs::read_to_string(task.path().join("wchan"));
        tasks.flatten().any(|task| wchan(task).is_ok_and(|name| name.contains("fuse")))
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id().cast_signed()).unwrap();
        kill_process(pid, signal).unwrap();
    }
}

impl Drop for Hanging {
    fn drop(&mut self) {
        // Both fail when it has ended, which is what is wanted.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[test]
fn a_file_system_that_does_not_answer_holds_nobody_who_is_told_to_end() {
    if !requires::root() || !Path::new("/dev/fuse").exists() {
        return;
    }
    let env = TestEnv::new();
    let context = env.context("FROM busybox\nCOPY . /c/\n");
    context.files(&["a", "sub/"]);
    for (place, signals) in [("sub", 1), ("sub", 2), ("", 1)] {
        let place = context.path().join(place);
        let mut build = Hanging::start(&env, &place, context.path());
        eventually("it waits for the file system", || build.waits());
        for _ in 0..signals {
            build.signal(Signal::INT);
            // Two signals that arrive together are one.
            std::thread::sleep(Duration::from_millis(300));
        }
        eventually("it ends", || build.child.try_wait().unwrap().is_some());
        let said = fs::read_to_string(env.path("stderr")).unwrap();
        assert!(!build.child.wait().unwrap().success(), "{said}");
        // Who insists does not wait until that is said.
        assert!(signals == 1 || !said.contains("did not end within"), "{said}");
    }
    // What it has left is no obstacle.
    env.build_text("FROM busybox\nRUN true\n");
    assert!(env.ownerless().is_empty());
    env.ok(&["fsck"]);
}

#[test]
fn a_context_on_a_file_system_that_cannot_be_written() {
    if !requires::root() {
        return;
    }
    let env = TestEnv::new();
    let context =
        env.context("FROM busybox\nCOPY . /c/\nRUN --mount=type=bind,target=/m cat /m/d/f\n");
    context.write("d/f", "f").write("g", "g");
    // Read-only; an overlay; in memory.
    for mount in [
        "mount --bind \"$1\" \"$1\" && mount -o remount,bind,ro \"$1\"",
        "mkdir \"$1.u\" \"$1.w\"; mount -t overlay -o lowerdir=\"$1\",upperdir=\"$1.u\",workdir=\"$1.w\" o \"$1\"",
        "cp -a \"$1\" \"$1.c\" && mount -t tmpfs t \"$1\" && cp -a \"$1.c/.\" \"$1\"",
    ] {
        let script = format!("{mount} || exit 99; shift; exec \"$@\"");
        let output = Command::new("unshare")
            .args(["--mount", "sh", "-c", &script, "sh", context.str()])
            .arg(base::kiln())
            .args(["--root".as_ref(), env.store().as_os_str()])
            .args(["build", "--progress=plain", "--no-cache", "-t", IMAGE, context.str()])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{mount}: {said}");
        assert_eq!(env.sh("cat /c/d/f /c/g"), "fg", "{mount}");
    }
}
