//! Equal builds, different builds and prunes at the same time, half of the builds killed: nobody fails for another's sake,
//! and the store comes to the same end.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use rustix::process::Signal;

use super::fault::tell;
use crate::support::base;
use crate::support::context::Context;
use crate::support::env::TestEnv;
use crate::support::process::Kiln;

/// So many builds of each kind at once.
const BUILDS: usize = 8;

/// What is built: its name in the store and where it is.
struct Project {
    name: String,
    context: Context,
}

struct Scene {
    env: TestEnv,
    /// The base as an image layout: no image of the store has to be there for a build.
    layout: PathBuf,
    projects: Vec<Project>,
}

impl Scene {
    fn new() -> Self {
        let env = TestEnv::new();
        let layout = env.path("layout");
        let output = format!("--output=type=oci,tar=false,dest={}", layout.display());
        env.build(&env.context("FROM busybox\n"), &[&output]);
        let mut projects = Vec::new();
        for number in 0..=BUILDS {
            // The first one is built several times at once; the others have a step in common.
            let last = if number == 0 { "equal".to_owned() } else { number.to_string() };
            let context = env.context(&format!(
                "FROM base\nCOPY src /src\nRUN mkdir /d && for i in $(seq 40); do echo $i > /d/$i; done\n\
                 RUN echo {last} > /last && rm /d/1?\n"
            ));
            for file in 0..20 {
                context.write(&format!("src/{file}"), format!("{file}\n").repeat(50));
            }
            projects.push(Project { name: format!("p{number}"), context });
        }
        Self { env, layout, projects }
    }

    fn building(&self, root: &Path, project: &Project) -> Kiln {
        let base = format!("base=oci-layout://{}", self.layout.display());
        let output = "--output=type=image,rewrite-timestamp=true";
        kiln(root, &["build", "--progress=plain", "--build-context", &base, output])
            .args(["-t", &project.name, project.context.str()])
            .env("SOURCE_DATE_EPOCH", "1000000000")
    }

    /// Builds all, one after the other; returns their names and ids.
    fn end_state(&self, root: &Path) -> String {
        for project in &self.projects {
            self.building(root, project).run().ok();
        }
        let images = ["images", "--no-trunc", "--format", "{{.Repository}} {{.ID}}"];
        let text = kiln(root, &images).run().ok().text();
        let mut lines: Vec<&str> = text.lines().filter(|line| line.starts_with('p')).collect();
        lines.sort_unstable();
        lines.join("\n")
    }
}

fn kiln(root: &Path, args: &[&str]) -> Kiln {
    Kiln::new(&base::kiln()).args(["--root".as_ref(), root.as_os_str()]).args(args)
}

fn prune(root: &Path) {
    kiln(root, &["prune", "-a", "-f"]).run().ok();
}

/// What is left when nothing is wanted any more.
fn rest(root: &Path) -> [usize; 3] {
    prune(root);
    let count = |part: &str| std::fs::read_dir(root.join(part)).map_or(0, Iterator::count);
    [count("snapshots"), count("kept/blobs/sha256"), count("lost")]
}

/// Says so when it is dropped.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn mixed(rounds: usize) {
    let scene = Scene::new();
    let (root, calm) = (scene.env.path("mixed"), scene.env.path("calm"));
    let expected = scene.end_state(&calm);
    let (is_over, prunes, killed) =
        (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        // Also when a build fails the test: the prunes would go on for ever.
        let _over = Over(&is_over);
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                prune(&root);
                prunes.fetch_add(1, Ordering::Relaxed);
            }
        });
        for round in 0..rounds {
            let equal = std::iter::repeat_n(&scene.projects[0], BUILDS);
            let all = equal.chain(&scene.projects[1..]).enumerate();
            let builds: Vec<_> = all
                .map(|(number, project)| (number, scene.building(&root, project).spawn()))
                .collect();
            let (killed_ones, others): (Vec<_>, Vec<_>) =
                builds.into_iter().partition(|(number, _)| number % 2 == 1);
            for (number, mut build) in killed_ones {
                // Each at another moment.
                std::thread::sleep(Duration::from_millis((37 * (number + round) % 150) as u64));
                if !build.is_over() {
                    build.signal(Signal::KILL);
                    killed.fetch_add(1, Ordering::Relaxed);
                }
                build.wait();
            }
            for (_, build) in others {
                build.wait().ok();
            }
        }
    });
    let checked = kiln(&root, &["fsck"]).run();
    assert!(checked.status.success(), "{checked}");
    assert_eq!(scene.end_state(&root), expected);
    kiln(&root, &["fsck"]).run().ok();
    for root in [&root, &calm] {
        kiln(root, &["sync"]).run().ok();
    }
    assert_eq!(rest(&root), rest(&calm));
    let prunes = prunes.into_inner();
    tell(&format!("16 builds each, {killed:?} of them killed, and {prunes} prunes"), rounds, 0);
}

#[test]
fn builds_prunes_and_kills() {
    mixed(1);
}

mod long {
    #[test]
    #[ignore = "long"]
    fn builds_prunes_and_kills() {
        super::mixed(30);
    }
}
