//! How long the keys of steps take: of a command with a large environment, and of a copy.

#![allow(clippy::unwrap_used, reason = "a measurement stops at its first surprise")]

use std::hint::black_box;

use divan::Bencher;
use oci::{ContentDigest, Platform};
use plan::{Copy, CopySource, Derived, Network, Op, Origin, Run, Security, StepKey};

fn main() {
    divan::main();
}

fn parent() -> StepKey {
    StepKey::scratch(&Platform::parse("linux/amd64").unwrap())
}

fn derive(op: &Op, contents: &[ContentDigest]) -> Derived {
    StepKey::derive(black_box(&parent()), black_box(op), black_box(contents))
}

/// A command in an environment of so many variables.
#[divan::bench(args = [10, 100, 1000])]
fn run(bencher: Bencher<'_, '_>, variables: usize) {
    let value = |number| (format!("VARIABLE_{number}"), "a value of some length".repeat(2));
    let run = Run {
        argv: ["/bin/sh", "-c", "apt-get update && apt-get install -y curl"]
            .map(str::to_owned)
            .to_vec(),
        env: (0..variables).map(value).collect(),
        proxy_env: Vec::new(),
        workdir: "/src".to_owned(),
        user: "1000:1000".to_owned(),
        network: Network::Default,
        security: Security::Sandbox,
        mounts: Vec::new(),
        script: None,
        hostname: "buildkitsandbox".to_owned(),
        settings: Vec::new(),
    };
    let op = Op::Run(run);
    bencher.bench(|| derive(&op, &[]));
}

#[divan::bench(args = [1, 100])]
fn copy(bencher: Bencher<'_, '_>, sources: usize) {
    let sources =
        (0..sources).map(|number| CopySource::Path(format!("src/file-{number}"))).collect();
    let op = Op::Copy(Copy::new(Origin::Context, sources, "/app/"));
    bencher.bench(|| derive(&op, &[ContentDigest::new([7; 32])]));
}
