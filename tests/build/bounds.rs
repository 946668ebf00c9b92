//! Steps that make more than there can be: the build takes no more memory for it, can be ended, and the next one is right.

use std::fs;
use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::support::base;
use crate::support::env::{IMAGE, TestEnv};
use crate::support::process::eventually;

/// A build with its memory in sight.
struct Watched(Child);

impl Watched {
    fn start(env: &TestEnv, context: &str) -> Self {
        Self::start_into(env, context, fs::File::create(env.path("stderr")).unwrap().into())
    }

    /// One whose words go to `log`.
    fn start_into(env: &TestEnv, context: &str, log: Stdio) -> Self {
        let child = Command::new(base::kiln())
            .args(["--root".as_ref(), env.store().as_os_str()])
            .args(["build", "--progress=plain", "-t", IMAGE, "--max=layer-bytes=2t", context])
            .stdout(Stdio::null())
            .stderr(log)
            .spawn();
        Self(child.unwrap())
    }

    /// The most memory that it has had so far, in MiB.
    fn memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
    }

    /// How long processors have worked for it, in hundredths of a second.
    fn processor_time(&self) -> u64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.0.id())).unwrap();
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    }

    fn is_over(&mut self) -> bool {
        self.0.try_wait().unwrap().is_some()
    }

    fn interrupt(&self) {
        let pid = Pid::from_raw(self.0.id().cast_signed()).unwrap();
        kill_process(pid, Signal::INT).unwrap();
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        // Both fail when it has ended, which is what is wanted.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// A file that is all hole, of a terabyte.
const SPARSE: &str = "dd if=/dev/zero of=/sparse bs=1048576 count=0 seek=1048576";

/// Makes one in a context.
fn make_sparse(context: &crate::support::context::Context) {
    let file = fs::File::create(context.path().join("sparse")).unwrap();
    file.set_len(1 << 40).unwrap();
}

/// Packed, it would be a terabyte of zeros. Who allows that may want it; nobody has to wait for it.
#[test]
fn a_terabyte_of_nothing_can_be_ended() {
    let env = TestEnv::new();
    let of_step = env.context(&format!("FROM busybox\nRUN {SPARSE} && ls -l /sparse\n"));
    let of_context = env.context("FROM busybox\nCOPY sparse /\n");
    make_sparse(&of_context);
    for context in [&of_step, &of_context] {
        let mut build = Watched::start(&env, context.str());
        // A second of work on it.
        eventually("it works", || build.processor_time() > 100 || build.is_over());
        assert!(!build.is_over(), "{}", fs::read_to_string(env.path("stderr")).unwrap());
        assert!(build.memory() < 200, "{} MiB", build.memory());
        build.interrupt();
        eventually("it ends", || build.is_over());
        assert!(!build.0.wait().unwrap().success());
    }
    // What is left is for the next command to remove; a file without contents takes no room.
    assert_eq!(env.ok(&["images", "-q", "test"]).text(), "");
    env.ok(&["prune", "-f"]);
    assert!(env.ownerless().is_empty());
    env.build_text("FROM busybox\nRUN test ! -e /sparse\n");
    env.ok(&["fsck"]);
}

/// What files contain decides whether a step is done again, also where they are only mounted: to find that out may take long, and
/// ends at once with the build.
#[test]
fn reading_a_terabyte_can_be_ended() {
    let env = TestEnv::new();
    let mount = "--mount=type=bind,source=sparse,target=/sparse";
    let context = env.context(&format!("FROM busybox\nRUN {mount} true\n"));
    make_sparse(&context);
    let mut build = env.building(&context, &["--progress=plain"]).spawn();
    build.wait_for("#2 reading files: ");
    build.signal(Signal::INT);
    let output = build.wait().fails(130);
    // Else it says what did not end.
    assert_eq!(output.stderr.lines().last(), Some("cancelled"), "{output}");
    env.ok(&["fsck"]);
}

/// It is refused before a byte of it is read, by its name, as long as it is in a layer of the image.
#[test]
fn a_terabyte_in_a_layer_is_for_who_builds_to_allow() {
    let env = TestEnv::new();
    let of_context = env.context("FROM busybox\nCOPY . /c/\n");
    make_sparse(of_context.write("sub/", ""));
    let added = env.context("FROM busybox\nADD sparse /\n");
    make_sparse(&added);
    for context in [
        &env.context(&format!("FROM busybox\nRUN {SPARSE}\nRUN echo later\n")),
        &env.context(&format!("FROM busybox AS a\nRUN {SPARSE}\nFROM a\nRUN true\n")),
        &of_context,
        &added,
    ] {
        for _ in 0..2 {
            env.build_fails(context, &[]).says(&[
                "Dockerfile:2",
                "sparse` has 1099511627776 bytes",
                "no more than 274877906944",
                "--max layer-bytes=",
            ]);
        }
    }
    let copied =
        format!("FROM busybox AS a\nRUN {SPARSE}\nFROM busybox\nCOPY --from=a /sparse /\n");
    env.build_fails(&env.context(&copied), &[]).says(&["Dockerfile:4", "/sparse` has"]);
    // What is in no layer is nobody's burden.
    env.build_text(&format!(
        "FROM busybox AS a\nRUN {SPARSE} && stat -c %s /sparse > /size\nFROM busybox\nCOPY --from=a /size /\n"
    ));
    assert_eq!(env.sh("cat /size"), "1099511627776");
    env.ok(&["fsck"]);
}

/// All files together count, each once; what was refused is found made when the limit is raised.
#[test]
fn what_a_layer_may_hold_can_be_raised() {
    let env = TestEnv::new();
    let context = env.context(
        "FROM busybox\nRUN mkdir /d && cd /d && head -c 6000 /dev/zero > a && ln a b && ln a c && head -c 5000 /dev/zero > d\n",
    );
    let output = env.build_fails(&context, &["--max=layer-bytes=10999"]);
    output.says(&["Dockerfile:2", "`/d/d` has 5000 bytes", "no more than 10999"]);
    // The base is there already, and larger.
    env.build(&context, &["--max=layer-bytes=11000"]).has_cached(1);
    let files = env.context("FROM scratch\nCOPY a b /\nADD b /c/\n");
    files.write("a", [b'a'; 600]).write("b", [b'b'; 500]);
    for (most, says) in [("599", "`/a` has 600"), ("1099", "`/b` has 500")] {
        let limit = format!("--max=layer-bytes={most}");
        env.building(&files, &[&limit]).run().fails(1).says(&["Dockerfile:2", says]);
    }
    env.build(&files, &["--max=layer-bytes=1100"]);
}

#[test]
fn processes_without_end_are_ended_with_the_step() {
    let env = TestEnv::new();
    let word = format!("86{}1", std::process::id());
    // Each of the first ones begins two more, until no more are allowed; all of them wait.
    let bomb = "f() { sleep WORD & [ $1 -gt 0 ] && { f $(($1-1)) & f $(($1-1)) & }; }; f 9; sleep 0.5; echo alive";
    let bomb = bomb.replace("WORD", &word);
    let context = env.context(&format!("FROM busybox\nRUN {bomb}\n"));
    let output = env.building(&context, &[]).run();
    assert!(output.status.code().is_some_and(|code| code < 2), "{output}");
    assert_eq!(super::run_isolation::processes_named(&word), 0);
    env.build_text("FROM busybox\nRUN true\n");
}

/// Whatever a command prints, the lines of others stay theirs, and the last words in an error are text.
#[test]
fn output_that_is_no_text_is_passed_on_line_by_line() {
    let env = TestEnv::new();
    let print = "printf 'a\\033[2J\\033]0;title\\007\\000b\\377\\n#9 DONE 0.0s\\n\\r#1 ERROR\\n'";
    let context = env.context(&format!("FROM busybox\nRUN {print}; exit 3\n"));
    let output = env.build_fails(&context, &[]);
    let (log, error) = output.stderr.split_once("error: ").unwrap();
    // Each line of the command is behind its number and time.
    for line in log.lines().filter(|line| line.contains("DONE 0.0s") && line.contains("#9")) {
        assert!(line.starts_with("#2 "), "{line:?}");
    }
    let is_plain = |c: char| !c.is_control() || c == '\n' || c == '\t';
    assert!(error.chars().all(is_plain), "{error:?}");
    assert!(error.contains("exit code: 3"), "{output}");
}

/// A terminal that was stopped, or a log that is taken away slowly: the command waits for it, the memory does not grow, and
/// nothing of the output is lost.
#[test]
fn output_waits_for_a_slow_reader() {
    // Several times what waits at most.
    const SIZE: usize = 30_000_000;
    let env = TestEnv::new();
    let context = env.context(&format!("FROM busybox\nRUN yes 123456789 | head -c {SIZE}\n"));
    let (mut reader, writer) = std::io::pipe().unwrap();
    let mut build = Watched::start_into(&env, context.str(), writer.into());
    let mut text = Vec::new();
    reader.by_ref().take(1000).read_to_end(&mut text).unwrap();
    // It would have been done long ago.
    sleep(Duration::from_secs(2));
    assert!(!build.is_over());
    assert!(build.memory() < 60, "{} MiB", build.memory());
    reader.read_to_end(&mut text).unwrap();
    assert!(build.0.wait().unwrap().success());
    let lines = text.split(|byte| *byte == b'\n');
    assert_eq!(lines.filter(|line| line.ends_with(b" 123456789")).count(), SIZE / 10);
}

#[test]
fn a_reader_that_has_stopped_keeps_no_build_alive() {
    let env = TestEnv::new();
    let context = env.context("FROM busybox\nRUN yes\n");
    let (_reader, writer) = std::io::pipe().unwrap();
    let mut build = Watched::start_into(&env, context.str(), writer.into());
    sleep(Duration::from_secs(2));
    assert!(build.memory() < 60, "{} MiB", build.memory());
    build.interrupt();
    eventually("it ends", || build.is_over());
    assert_eq!(build.0.wait().unwrap().code(), Some(130));
    // Nor one that is done, and waits only for its last words to be read.
    let context = env.context("FROM busybox\nRUN yes | head -c 300000; : > /done\n");
    let (_reader, writer) = std::io::pipe().unwrap();
    let mut build = Watched::start_into(&env, context.str(), writer.into());
    eventually("it is built", || !env.ok(&["images", "-q", IMAGE]).text().is_empty());
    sleep(Duration::from_secs(1));
    assert!(!build.is_over());
    build.interrupt();
    eventually("it ends", || build.is_over());
    assert_eq!(build.0.wait().unwrap().code(), Some(130));
    // What was left over goes with the next command.
    env.build_text("FROM busybox\nRUN true\n");
    assert!(env.ownerless().is_empty());
}
