//! Several builds at once on one store; builds killed half-way, after which the next one must be right.

use std::{
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use rustix::process::Signal;

use super::run_isolation::processes_named;
use crate::support::archive::Tree;
use crate::support::context::Context;
use crate::support::env::{IMAGE, TestEnv};
use crate::support::process::eventually;
use crate::support::repository::Repository;
use crate::support::requires;

/// A build with a COPY of many files, a RUN that makes many, and a RUN that removes some.
fn large(env: &TestEnv) -> Context {
    let context = env.context(
        "FROM busybox\nCOPY src /src\n\
         RUN mkdir /made && for i in $(seq 1 300); do echo $i > /made/$i; done\n\
         RUN rm /made/1?? && mv /src /moved\n",
    );
    for number in 0..200 {
        context.write(&format!("src/{}/{number}", number % 20), format!("{number}\n").repeat(200));
    }
    context
}

/// What `large` must come out as, whatever happened before.
fn names(tree: &Tree) -> Vec<String> {
    let mut names: Vec<_> =
        tree.names("moved").iter().map(|name| format!("moved/{name}")).collect();
    names.extend(tree.names("made").iter().map(|name| format!("made/{name}")));
    names
}

#[track_caller]
fn assert_right(tree: &Tree) {
    assert_eq!(tree.names("made").len(), 200);
    assert_eq!(tree.names("moved").len(), 200 + 20);
    for number in 0..200 {
        let text = tree.text(&format!("moved/{}/{number}", number % 20));
        assert_eq!(text, format!("{number}\n").repeat(200));
    }
    assert_eq!(tree.text("made/300"), "300\n");
}

#[test]
fn two_builds_of_one_dockerfile() {
    let env = TestEnv::new();
    let context = large(&env);
    let builds: Vec<_> = (0..2).map(|_| env.building(&context, &[]).spawn()).collect();
    for build in builds {
        build.wait().ok();
    }
    assert_right(&env.tree(&context, &[]));
    env.build(&context, &[]).has_cached(3);
}

#[test]
fn many_different_builds() {
    let env = TestEnv::new();
    let contexts: Vec<_> = (0..6)
        .map(|n| env.context(&format!("FROM busybox\nRUN echo shared > /s\nRUN echo {n} > /n\n")))
        .collect();
    let builds: Vec<_> = contexts
        .iter()
        .enumerate()
        .map(|(n, context)| env.kiln(["build", "-t", &format!("i{n}"), context.str()]).spawn())
        .collect();
    for build in builds {
        build.wait().ok();
    }
    for n in 0..6 {
        let text = env.ok(&["run", "--rm", &format!("i{n}"), "cat", "/s", "/n"]).text();
        assert_eq!(text, format!("shared\n{n}"));
    }
}

#[test]
fn images_go_while_a_build_stands_on_them() {
    let env = TestEnv::new();
    let base = env.context("FROM busybox\nRUN echo base > /base\n");
    env.ok(&["build", "-t", "base", base.str()]);
    let context = env.context("FROM base\nRUN echo READY; sleep 1; cat /base > /copy\n");
    let mut build = env.building(&context, &[]).spawn();
    build.wait_for("READY");
    env.ok(&["rmi", "-f", "base"]);
    build.wait().ok();
    assert_eq!(env.sh("cat /copy /base"), "base\nbase");
}

#[test]
fn killed_in_a_run() {
    let env = TestEnv::new();
    let context = env.context(
        "FROM busybox\nRUN echo half > /f; echo READY; sleep 2.868432; echo whole >> /f\n",
    );
    let mut build = env.building(&context, &[]).spawn();
    build.wait_for("READY");
    build.signal(Signal::KILL);
    build.wait();
    eventually("the step ends with its builder", || processes_named("2.868432") == 0);
    env.build(&context, &[]).has_cached(0);
    assert_eq!(env.sh("cat /f"), "half\nwhole");
}

/// Kills builds of `large` again and again, each time a little later, and lets the last one finish.
#[test]
fn killed_at_any_moment() {
    let env = TestEnv::new();
    let context = large(&env);
    let whole = {
        let other = TestEnv::new();
        let started = Instant::now();
        let tree = other.tree(&large(&other), &[]);
        assert_right(&tree);
        (started.elapsed(), names(&tree))
    };
    const KILLS: u32 = 16;
    for kill in 1..=KILLS {
        let mut build = env.building(&context, &["--no-cache"]).spawn();
        std::thread::sleep(whole.0 * kill / KILLS);
        if !build.is_over() {
            build.signal(Signal::KILL);
        }
        build.wait();
    }
    let tree = env.tree(&context, &[]);
    assert_right(&tree);
    assert_eq!(names(&tree), whole.1);
    env.build(&context, &["--no-cache"]);
    assert_eq!(env.sh("ls /made | wc -l"), "200");
    assert_eq!(env.ownerless(), [""; 0].map(PathBuf::from));
}

/// The same for the other commands that write into a store.
#[test]
fn an_import_killed_at_any_moment() {
    let env = TestEnv::empty();
    let base = crate::support::base::tar();
    let import = || env.kiln(["import".as_ref(), base.as_os_str(), "busybox:latest".as_ref()]);
    for milliseconds in [1, 3, 6, 10, 15, 20, 30, 45, 60, 80, 100, 150] {
        let mut running = import().spawn();
        std::thread::sleep(Duration::from_millis(milliseconds));
        if !running.is_over() {
            running.signal(Signal::KILL);
        }
        running.wait();
    }
    import().run().ok();
    env.build_text("FROM busybox\nRUN echo whole > /f\n");
    assert_eq!(env.ok(&["run", "--rm", IMAGE, "cat", "/f"]).text(), "whole");
}

/// Stages that write when they begin and when they end, on a cache mount that they share.
fn stages(count: usize, seconds: f32) -> String {
    let run = |stage: usize| {
        format!(
            "RUN --mount=type=cache,target=/log echo begin >> /log/all; sleep {seconds}; echo end >> /log/all; echo {stage} > /f"
        )
    };
    let stages = (0..count).map(|stage| format!("FROM busybox AS s{stage}\n{}\n", run(stage)));
    let copies = (0..count).map(|stage| format!("COPY --from=s{stage} /f /f{stage}\n"));
    let look = "RUN --mount=type=cache,target=/log cp /log/all /log.txt\n".to_owned();
    stages.chain(["FROM busybox\n".to_owned()]).chain(copies).chain([look]).collect()
}

/// How many of them were under way at once.
fn most_at_once(log: &str) -> usize {
    let mut running = 0;
    let counts = log.lines().map(|line| {
        running = if line == "begin" { running + 1 } else { running - 1 };
        running
    });
    counts.max().unwrap_or(0)
}

#[test]
fn as_many_steps_side_by_side_as_asked_for() {
    for (args, variable, expected) in [
        (&["--jobs", "1"][..], None, 1),
        (&["-j2"][..], Some("1"), 2),
        (&[], Some("1"), 1),
        (&["--jobs=0"][..], None, 5),
    ] {
        let env = TestEnv::new();
        let context = env.context(&stages(5, 0.5));
        let build = env.building(&context, args);
        let build = variable.into_iter().fold(build, |build, jobs| build.env("KILN_JOBS", jobs));
        build.run().ok();
        assert_eq!(most_at_once(&env.sh("cat /log.txt")), expected, "{args:?} {variable:?}");
    }
    let env = TestEnv::new();
    let context = env.context("FROM busybox\n");
    for wrong in ["-1", "many", ""] {
        let refused = env.building(&context, &[&format!("--jobs={wrong}")]).run();
        refused.fails(2).says(&["--jobs", "not a number of steps"]);
    }
}

/// Steps that only wait are all under way at once, many more than there are processors.
#[test]
fn sleepers_sleep_side_by_side() {
    let env = TestEnv::new();
    env.build(&env.context(&stages(8, 3.0)), &[]);
    let most = most_at_once(&env.sh("cat /log.txt"));
    assert_eq!(most, 8, "as many as start without a look, however busy the machine is");
}

/// A context whose branch is switched while it is built: each file is whole or the build says that it has changed, and what
/// was copied is what the cache says that it is.
#[test]
fn a_branch_is_switched_meanwhile() {
    if !requires::program("git") {
        return;
    }
    let env = TestEnv::new();
    let repository = Repository::create(env.path("work"));
    let line = |branch: &str, number: usize| format!("{branch} {number}\n").repeat(2000);
    let write_all = |branch: &str| {
        for number in 0..100 {
            repository.write(&format!("src/{number}"), &line(branch, number));
        }
        repository.commit(branch);
    };
    repository.write("Dockerfile", "FROM scratch\nCOPY src /src\n");
    write_all("main");
    repository.git(&["checkout", "--quiet", "-b", "other"]);
    write_all("other");
    let dest = env.path("image.tar");
    let output = format!("--output=type=tar,dest={}", dest.display());
    let build = || env.kiln(["build", "--progress=plain", &output]).args([repository.path()]).run();
    let is_over = AtomicBool::new(false);
    let (mut whole, mut changed) = (0, 0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for branch in ["main", "other"].into_iter().cycle() {
                if is_over.load(Ordering::Relaxed) {
                    return;
                }
                repository.git(&["checkout", "--quiet", branch]);
            }
        });
        let end = Instant::now() + Duration::from_secs(20);
        // As many as it takes to see one that was disturbed.
        while (changed == 0 || whole + changed < 6) && Instant::now() < end {
            let output = build();
            if !output.status.success() {
                let told = ["changed while it was", "not found", "No such file"];
                assert!(told.iter().any(|text| output.stderr.contains(text)), "{output}");
                changed += 1;
                continue;
            }
            whole += 1;
            let tree = Tree::of_tar(&std::fs::read(&dest).unwrap());
            for (name, entry) in tree.0.iter().filter(|(_, entry)| entry.kind.is_file()) {
                let number = name.rsplit('/').next().unwrap().parse().unwrap();
                let is_one =
                    ["main", "other"].iter().any(|it| entry.content == line(it, number).as_bytes());
                assert!(is_one, "{name} is of two branches");
            }
        }
        is_over.store(true, Ordering::Relaxed);
    });
    eprintln!("{whole} builds were whole, {changed} were told");
    // Nothing wrong was remembered of either branch.
    for branch in ["main", "other"] {
        repository.git(&["checkout", "--quiet", "--force", branch]);
        build().ok();
        let tree = Tree::of_tar(&std::fs::read(&dest).unwrap());
        for number in 0..100 {
            assert_eq!(tree.text(&format!("src/{number}")), line(branch, number), "{branch}");
        }
    }
    env.ok(&["fsck"]);
}
