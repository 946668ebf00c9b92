//! `kiln pull`, from a real registry on loopback.

use std::process::Command;

use crate::support::env::{IMAGE, TestEnv};
use crate::support::registry::Registry;
use crate::support::requires;

/// A registry that holds [`IMAGE`] as `team/app:1`, put there by skopeo.
fn filled(env: &TestEnv) -> Option<(Registry, String)> {
    if !requires::program("skopeo") {
        return None;
    }
    let registry = Registry::start(&env.path(""))?;
    env.build_text("FROM busybox\nRUN echo pulled > /f && chown 7:8 /f && rm -r /home\nCMD [\"cat\", \"/f\"]\n");
    let archive = env.str("pushed.tar");
    env.ok(&["save", "-o", &archive, IMAGE]);
    let reference = format!("{}/team/app:1", registry.host);
    let copy = Command::new("skopeo")
        .args(["--insecure-policy", "copy", "--quiet", "--dest-tls-verify=false"])
        .args([format!("docker-archive:{archive}"), format!("docker://{reference}")])
        .output()
        .unwrap();
    assert!(copy.status.success(), "{}", String::from_utf8_lossy(&copy.stderr));
    Some((registry, reference))
}

#[test]
fn a_pulled_image_runs_and_is_built_upon() {
    let env = TestEnv::new();
    let Some((_registry, reference)) = filled(&env) else { return };
    let other = TestEnv::empty();
    other.ok(&["pull", &reference]);
    assert_eq!(other.ok(&["run", "--rm", &reference]).text(), "pulled");
    let tree = other.tree(&other.context(&format!("FROM {reference}\n")), &[]);
    assert_eq!(tree.owner("f"), "644 7:8");
    assert!(!tree.has("home"));
    assert_eq!(
        other.inspect(&reference)["RootFS"]["Layers"],
        env.inspect(IMAGE)["RootFS"]["Layers"]
    );
}

#[test]
fn a_base_is_pulled_by_the_build_that_needs_it() {
    let env = TestEnv::new();
    let Some((_registry, reference)) = filled(&env) else { return };
    let other = TestEnv::empty();
    let context = other.context(&format!("FROM {reference}\nRUN cat /f > /g\n"));
    other.build(&context, &[]);
    assert_eq!(other.sh("cat /g"), "pulled");
    // By now it is here: with the registry gone the same still builds.
    drop(_registry);
    other.build(&context, &[]).has_cached(1);
}

#[test]
fn what_is_not_there_is_named() {
    let env = TestEnv::empty();
    let Some(registry) = Registry::start(&env.path("")) else { return };
    let reference = format!("{}/no/such:1", registry.host);
    env.kiln(["pull", &reference]).run().fails(1).says(&[&reference]);
}
