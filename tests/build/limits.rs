//! Dockerfiles and ignore files that are large or hostile: done in about a second, or refused with the limit named, and never
//! with more on the terminal than can be read. What the language alone makes of them is tested beside its code.

use std::time::Duration;

use crate::support::{
    context::Context,
    env::TestEnv,
    process::{Kiln, Output, processor_time},
};

/// Far above what an unoptimised binary takes of the processors, however busy they are; far below what anything quadratic would.
const PATIENCE: Duration = Duration::from_secs(30);

/// Checks and outlines a Dockerfile, and builds it if nothing is expected to be wrong with it. Returns what went wrong.
#[track_caller]
fn check(dockerfile: impl AsRef<[u8]>, expected: &[&str]) -> TestEnv {
    let env = TestEnv::empty();
    let context = env.context("");
    context.write("Dockerfile", dockerfile);
    let began = processor_time();
    let checked = quick(env.kiln(["check"]).args([context.path()]));
    assert!(matches!(checked.status.code(), Some(0 | 1)), "{checked}");
    let outlined = quick(env.kiln(["build", "--call=outline"]).args([context.path()]));
    let built = quick(env.building(&context, &[]));
    if expected.is_empty() {
        outlined.ok();
        built.ok();
    } else {
        outlined.fails(1).says(expected);
        built.fails(1).says(expected);
    }
    let took = processor_time() - began;
    assert!(took < 3 * PATIENCE, "{took:?}");
    env
}

#[track_caller]
fn quick(kiln: Kiln) -> Output {
    let began = processor_time();
    let output = kiln.run();
    let took = processor_time() - began;
    assert!(took < PATIENCE, "{took:?}");
    assert!(!output.stderr.contains("panicked"), "{output}");
    let lines = output.stderr.lines().map(str::len).max().unwrap_or(0);
    assert!(lines < 20_000, "a line of {lines} bytes");
    assert!(!output.stderr.contains('\u{1b}'), "{output}");
    output
}

fn scratch(lines: impl Iterator<Item = String>) -> String {
    std::iter::once("FROM scratch".to_owned()).chain(lines).map(|line| line + "\n").collect()
}

#[test]
fn large_files() {
    let large = "# x\n".repeat(100 << 18);
    check(&large, &["is larger than 16777216 bytes"]);
    check(format!("FROM scratch\n{}ENV A=1\n", "# x\n".repeat(1 << 20)), &[]);
    let long = format!("FROM scratch\nRUN {}\n", "x".repeat(1_000_000));
    check(long, &["Dockerfile:2", "line greater than max allowed size of 65535"]);
}

#[test]
fn many_instructions_and_stages() {
    check(scratch((0..10_000).map(|number| format!("ENV A{number}=1"))), &[]);
    let chain =
        (0..2000).map(|number| format!("FROM s{number} AS s{}\nENV A={number}", number + 1));
    let chain = chain.collect::<Vec<_>>().join("\n");
    let env = check(format!("FROM scratch AS s0\n{chain}\n"), &[]);
    let history = env.ok(&["history", "-q", crate::support::env::IMAGE]).text();
    assert_eq!(history.lines().count(), 2000, "each stage adds its own");
    let copies = (0..300)
        .map(|number| format!("FROM scratch AS s{}\nCOPY --from=s{number} / /", number + 1));
    check(format!("FROM scratch AS s0\n{}\n", copies.collect::<Vec<_>>().join("\n")), &[]);
}

#[test]
fn values_that_grow() {
    let doubled = "ENV a=$a$a\n".repeat(60);
    check(format!("FROM scratch\nENV a=x\n{doubled}"), &["longer than 1048576 bytes"]);
    let nested = format!("FROM scratch\nENV A={}{}\n", "${a:-".repeat(9000), "}".repeat(9000));
    check(nested, &["nested more than 64 deep"]);
    let long = "a".repeat(60_000);
    check(
        format!("FROM scratch\nENV A={long}\nENV B=${{A//*?*?*?*?a*b/x}}\n"),
        &["takes more than 4194304 steps"],
    );
    check(
        "FROM scratch\nWORKDIR a\n".replace("a\n", &format!("{}\n", "a/".repeat(3000))),
        &["longer than 4095 bytes"],
    );
}

#[test]
fn bytes_that_are_no_text() {
    let utf16: Vec<u8> = "FROM scratch\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    check([b"\xff\xfe", &utf16[..]].concat(), &["unknown instruction"]);
    check(b"\xef\xbb\xbfFROM scratch\nENV A=\xff\xfe\n", &[]);
    check(b"FROM scratch\r\nENV A=1 \\\r\n  B=2\r\n", &[]);
    check([0; 1000], &["unknown instruction: \\u{0}"]);
    check("FROM scratch\nX\u{1b}[2J\u{202e}Y\n", &["unknown instruction: X\\u{1b}[2J\\u{202e}Y"]);
    check("", &["cannot be empty"]);
}

#[test]
fn nul_characters_where_the_kernel_is_asked() {
    let env = TestEnv::new();
    for step in
        ["RUN a\0b", "WORKDIR /a\0b", "COPY a\0 /", "COPY Dockerfile /a\0", "USER a\0\nRUN true"]
    {
        let context = env.context(&format!("FROM busybox\n{step}\n"));
        env.build_fails(&context, &[]).says(&["\\u{0}"]);
    }
    // As it was once, a name that ends at the NUL would be another file.
    let context = env.context("FROM busybox\nENV A=a\0b\nRUN true\n");
    env.build_fails(&context, &[]).says(&["NUL"]);
}

#[test]
fn one_line_of_the_terminal_for_one_of_the_file() {
    let env = TestEnv::empty();
    let context = env.context(&format!("FROM scratch\nCOPPY {}\n", "x".repeat(60_000)));
    let output = env.building(&context, &[]).run().fails(1);
    output.says(&["did you mean COPY", "xxx…"]);
    let context = env.context(&format!("FROM {}\n", "a".repeat(60_000)));
    let output = env.building(&context, &[]).run().fails(1);
    assert!(output.stderr.len() < 5000, "{} bytes", output.stderr.len());
}

/// Makes a context with so many small files in ten directories.
fn files(env: &TestEnv, count: usize) -> Context {
    let context = env.context("FROM scratch\nCOPY . /c/\n");
    for number in 0..count {
        context.write(&format!("d{}/f{number}", number % 10), "");
    }
    context
}

#[test]
fn many_patterns_for_many_files() {
    let env = TestEnv::empty();
    let context = files(&env, 2000);
    let kinds: [fn(usize) -> String; 4] = [
        |number| format!("e{}/f{number}", number % 10),
        |number| format!("**/g{number}*"),
        |number| format!("d*/x{number}?*a"),
        |number| format!("!d{}/**/h{number}", number % 10),
    ];
    for kind in kinds {
        let patterns: String = (0..10_000).map(|number| kind(number) + "\n").collect();
        context.write(".dockerignore", format!("d3\n{patterns}"));
        let began = processor_time();
        let tree = env.tree(&context, &[]);
        let took = processor_time() - began;
        assert!(took < PATIENCE, "{}: {took:?}", kind(1));
        assert_eq!(tree.names("c/d4").len(), 200);
        assert!(tree.names("c/d3").is_empty());
    }
}

#[test]
fn a_huge_ignore_file() {
    let env = TestEnv::empty();
    let context = files(&env, 20);
    context.write(".dockerignore", "d3/some/pattern*\n".repeat(6 << 20));
    let output = quick(env.building(&context, &[])).fails(1);
    output.says(&["`.dockerignore` is larger than 1048576 bytes"]);
}

#[test]
fn patterns_that_are_slow_elsewhere() {
    let env = TestEnv::empty();
    let context = env.context("FROM scratch\nCOPY . /c/\n");
    let name = "a".repeat(200);
    context.files(&[&name, "b"]);
    let slow = format!("{}b\n", "*?".repeat(90));
    context.write(
        ".dockerignore",
        format!("{slow}{}\n**/{}x\n", slow.trim(), "**/".repeat(100)).repeat(50),
    );
    let began = processor_time();
    let tree = env.tree(&context, &[]);
    let took = processor_time() - began;
    assert!(took < PATIENCE, "{took:?}");
    assert!(tree.names("c").contains(&name.as_str()));
}
