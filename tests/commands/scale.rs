//! Stores with many images: removing all of them takes little more than removing one, since for either everything is read once.
//! Two times of the same machine's processors are compared, with a margin that nothing quadratic stays within.

use std::time::Duration;

use crate::support::env::TestEnv;
use crate::support::process::processor_time;

const IMAGES: usize = 240;

/// How much longer it may take to remove all images than one. Each costs a hundredth of reading all; were all of them read
/// for each, it would be two hundred times as long.
const MARGIN: u32 = 30;

/// A store with so many images, of one name each.
fn many() -> TestEnv {
    let env = TestEnv::new();
    for first in (0..IMAGES).step_by(40) {
        let numbers = first..first + 40;
        let stages: String =
            numbers.clone().map(|n| format!("FROM busybox AS s{n}\nLABEL n={n}\n")).collect();
        let targets: Vec<String> = numbers.map(|n| format!("--target=s{n}=many:{n}")).collect();
        let context = env.context(&stages);
        env.kiln(["build", "-q"]).args(&targets).args([context.path()]).run().ok();
    }
    assert_eq!(ids(&env).len(), IMAGES);
    env
}

fn ids(env: &TestEnv) -> Vec<String> {
    env.ok(&["images", "-q", "many"]).text().lines().map(str::to_owned).collect()
}

/// How long it takes to remove these.
fn removing(env: &TestEnv, names: &[String]) -> Duration {
    let began = processor_time();
    let removed = env.kiln(["rmi"]).args(names).run().ok().text();
    assert_eq!(removed.matches("Deleted: sha256:").count(), names.len(), "{removed}");
    processor_time() - began
}

#[test]
fn many_images_are_removed_like_one() {
    let env = many();
    let names = ids(&env);
    // The slowest of three: what one takes is little, and counted in hundredths of a second.
    let one = names[..3].iter().map(|name| removing(&env, std::slice::from_ref(name))).max();
    let all = removing(&env, &names[3..]);
    assert!(all < one.unwrap() * MARGIN, "one in {one:?}, the others in {all:?}");
    assert!(ids(&env).is_empty());
    env.ok(&["run", "--rm", "busybox", "true"]);
}

#[test]
fn many_images_are_pruned_like_one() {
    let env = many();
    let one = removing(&env, &ids(&env)[..1]);
    let began = processor_time();
    let pruned = env.ok(&["image", "prune", "-a", "-f"]).text();
    assert_eq!(pruned.matches("untagged: many:").count(), IMAGES - 1, "{pruned}");
    let all = processor_time() - began;
    assert!(all < one * MARGIN, "one in {one:?}, the others in {all:?}");
    assert_eq!(env.ok(&["images", "-q"]).text(), "");
}
