//! Large and hostile Dockerfiles: each is read, checked, planned and outlined in a time that grows with its size, or refused
//! with the limit named.
//!
//! The time is that of the processor, so that a busy machine makes no difference.

#![allow(clippy::unwrap_used, reason = "a test stops at what it does not expect")]

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use dockerfile::lint::portability::portability;
use dockerfile::lint::{ContextFacts, Examination};
use dockerfile::outline::{outline, targets};
use dockerfile::{BaseImage, BaseRef, Dockerfile, Lowered, MAX_FILE, Request, lint, lower, parse};
use oci::{ImageConfig, ImageId, Platform};

/// How long everything together may take: it is lowered three times. Unoptimised it is about ten times as slow.
const LIMIT: Duration = Duration::from_secs(if cfg!(debug_assertions) { 20 } else { 3 });

/// By how much files that are only large are smaller where nothing is optimised.
const SCALE: usize = if cfg!(debug_assertions) { 5 } else { 1 };

/// Does everything that can be done with a Dockerfile without files, and looks at the clock. `expected` is a part of the
/// mistake, or nothing for a file that is good.
#[track_caller]
fn check(text: &str, expected: &str) {
    check_on(text, expected, &[]);
}

/// The same with a base image that has these triggers.
#[track_caller]
fn check_on(text: &str, expected: &str, triggers: &[String]) {
    let before = cpu_time();
    let mistake = match parse("Dockerfile", text.as_bytes()) {
        Err(failed) => {
            assert!(failed.diagnostic.message.len() < 1000 || !expected.is_empty());
            failed.diagnostic.message
        }
        Ok(file) => everything(&file, triggers),
    };
    let taken = cpu_time() - before;
    let shown: String = mistake.chars().take(200).collect();
    match expected {
        "" => assert_eq!(shown, "", "should be good"),
        expected => assert!(mistake.contains(expected), "`{expected}` is not in: {shown}"),
    }
    assert!(taken < LIMIT, "it took {taken:?}");
}

/// Only plans, what takes long by intention.
#[track_caller]
fn check_plan(text: &str, expected: &str) {
    let before = cpu_time();
    let file = parse("Dockerfile", text.as_bytes()).unwrap();
    let request = Request::new(Platform::parse("linux/amd64").unwrap());
    let mistake = lower(&file, &request, &BTreeMap::new()).unwrap_err().message;
    let taken = cpu_time() - before;
    assert!(mistake.contains(expected), "`{expected}` is not in: {mistake}");
    assert!(taken < LIMIT / 2, "it took {taken:?}");
}

/// Returns the mistake that stops a build, if there is one.
fn everything(file: &Dockerfile, triggers: &[String]) -> String {
    let platform = Platform::parse("linux/amd64").unwrap();
    let mut config = ImageConfig::scratch(&platform);
    config.config.on_build = triggers.to_vec();
    let base = BaseImage { id: ImageId::new(oci::Digest::of(b"")), config };
    let request = Request::new(platform);
    let mut known: BTreeMap<BaseRef, BaseImage> = BTreeMap::new();

    targets(file);
    portability(file);
    let examination = Examination {
        request: &request,
        known: &known,
        all_stages: true,
        context: ContextFacts::default(),
    };
    lint(file, &examination);
    let mistake = loop {
        match lower(file, &request, &known) {
            Ok(Lowered::Ready(_)) => break None,
            Ok(Lowered::Needs(bases)) => {
                known.extend(bases.into_iter().map(|needed| (needed, base.clone())));
            }
            Err(mistake) => break Some(mistake),
        }
    };
    let outlined = outline(file, &request, &known).err();
    assert_eq!(mistake, outlined);
    mistake.map(|mistake| mistake.message).unwrap_or_default()
}

/// The time that this thread has been on a processor.
fn cpu_time() -> Duration {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(text.split(' ').next().unwrap().parse().unwrap())
}

/// A file `FROM scratch` with these lines.
fn scratch(lines: impl IntoIterator<Item = String>) -> String {
    from("scratch", lines)
}

fn from(base: &str, lines: impl IntoIterator<Item = String>) -> String {
    let mut text = format!("FROM {base}\n");
    for line in lines {
        text.push_str(&line);
        text.push('\n');
    }
    text
}

fn times(count: usize, line: impl Fn(usize) -> String) -> impl Iterator<Item = String> {
    (0..count).map(line)
}

#[test]
fn sizes_of_files_lines_and_instructions() {
    let comments = "# x\n".repeat(MAX_FILE / 4 + 1);
    check(&comments, "the Dockerfile is larger than 16777216 bytes");
    check(&format!("{}FROM a\n", &comments[..1 << 20]), "");
    check(&scratch([format!("RUN {}", "x".repeat(1_000_000))]), "max allowed size of 65535");
    check(&scratch([format!("RUN x{}", " \\\n && true".repeat(10_000))]), "");
    let long = format!("ENV A={}", format!("{}\\\n", "x".repeat(1000)).repeat(2000));
    check(&scratch([long]), "instruction longer than 1048576 bytes");
    check(&scratch(["\\\n".repeat(100_000)]), "");
    check(&scratch([format!("RUN a \\\n{}b", "\n# c\n".repeat(100_000))]), "");
}

#[test]
fn very_many_instructions() {
    for line in ["ENV A=1", "RUN true", "COPY a /b", "LABEL a=1", "VOLUME /v", "ONBUILD RUN x"] {
        check(&scratch(times(100_000 / SCALE, |_| line.to_owned())), "");
    }
    check(&scratch(times(50_000 / SCALE, |number| format!("ARG A{number}=1"))), "");
    check(&scratch(times(50_000 / SCALE, |number| format!("ENV A{number}=1"))), "");
    let globals: String = times(50_000 / SCALE, |number| format!("ARG A{number}=1\n")).collect();
    check(&format!("{globals}{}", scratch([])), "");
    // Every step has all variables above it.
    let args = times(2000, |number| format!("ARG A{number}=1"));
    check(&scratch(args.chain(times(20_000, |_| "RUN true".to_owned()))), "expand to more than");
    let wide = times(1, |_| format!("SHELL [{}\"x\"]", "\"x\",".repeat(10_000)));
    check(&scratch(wide.chain(times(20_000, |_| "RUN true".to_owned()))), "expand to more than");
}

#[test]
fn very_many_words() {
    check(&scratch([format!("CMD [{}\"a\"]", "\"a\",".repeat(9000))]), "");
    for keyword in ["COPY", "VOLUME", "CMD"] {
        let text =
            format!("{keyword} [{}\"/d/\"]", format!("{}\\\n", "\"a\",".repeat(9000)).repeat(120));
        check(&scratch([text]), "instruction longer than");
    }
    let words = format!("{}\\\n", "a ".repeat(30_000)).repeat(15);
    check(&scratch([format!("COPY {words} /d/")]), "");
    check(&scratch(times(4, |_| format!("COPY {words} /d/"))), "more than 1000000 words");
    check(&scratch([format!("ENV {}", "A=1 \\\n".repeat(100_000))]), "");
    let mounts = times(10_000, |number| format!("--mount=type=cache,target=/c{number} \\\n"));
    check(&scratch([format!("RUN {}true", mounts.collect::<String>())]), "");
    check(&scratch(times(40, |_| "EXPOSE 1-65535".to_owned())), "expand to more than");
    check(&scratch([format!("CMD {}", "[".repeat(30_000))]), "");
}

#[test]
fn very_many_stages() {
    let many = |line: &dyn Fn(usize) -> String| times(10_000, line).collect::<String>();
    check(&many(&|number| format!("FROM scratch AS s{number}\nENV A={number}\n")), "");
    let all: String = times(10_000, |number| format!("COPY --from=s{number} /a /b\n")).collect();
    let bases = many(&|number| format!("FROM image{number} AS s{number}\n"));
    check(&format!("{bases}FROM scratch\n{all}"), "");
    let from = |number: usize| format!("FROM s{number} AS s{}\nENV A=1\n", number + 1);
    check(&format!("FROM scratch AS s0\n{}", many(&from)), "");
    let copy =
        |number: usize| format!("FROM scratch AS s{}\nCOPY --from=s{number} / /\n", number + 1);
    check(&format!("FROM scratch AS s0\n{}", many(&copy)), "");
    let below =
        |number: usize| format!("FROM scratch AS s{number}\nCOPY --from=s{} / /\n", number + 1);
    check(
        &format!("{}FROM scratch AS s10000\nFROM scratch\nCOPY --from=s0 / /\n", many(&below)),
        "needs to be defined before",
    );
    let circle = |number: usize| {
        format!("FROM scratch AS s{number}\nCOPY --from=s{} / /\n", (number + 1) % 10_000)
    };
    check(&many(&circle), "circular dependency detected");
    // Every stage has all variables of those it starts from.
    let env: String = times(5000, |number| format!(" V{number}=1")).collect();
    let chain = times(1000, |number| format!("FROM s{number} AS s{}\n", number + 1));
    let chain = format!("FROM scratch AS s0\nENV{env}\n{}", chain.collect::<String>());
    check(&chain, "expand to more than");
}

#[test]
fn circles_of_stages() {
    let circular = "circular dependency detected on stage";
    check("FROM scratch AS a\nCOPY --from=a / /\n", circular);
    check("FROM scratch\nCOPY --from=0 / /\n", circular);
    check("FROM scratch AS a\nCOPY --from=b / /\nFROM scratch AS b\nCOPY --from=a / /\n", circular);
    check("FROM scratch AS a\nRUN --mount=from=a,target=/x true\n", circular);
    // Names of bases mean stages above only.
    check("FROM b AS a\nFROM a AS b\n", "");
    check("FROM scratch\nCOPY --from=999999999999 / /\n", "invalid stage index 999999999999");
    check("FROM scratch\nCOPY --from=-1 / /\n", "invalid stage index -1");
}

#[test]
fn triggers_of_triggers() {
    let stages = times(1000, |number| format!("FROM s AS t{number}\n")).collect::<String>();
    let wide = format!("FROM scratch AS s\n{}{stages}", "ONBUILD RUN x\n".repeat(1000));
    let all: String = times(1000, |number| format!("COPY --from=t{number} / /\n")).collect();
    check(&format!("{wide}FROM scratch\n{all}"), "more than 100000 ONBUILD triggers");
    let chain = times(5000, |number| {
        format!("FROM s{number} AS s{}\nONBUILD RUN x\nONBUILD COPY a b\n", number + 1)
    });
    check(&format!("FROM scratch AS s0\n{}", chain.collect::<String>()), "");
    check(&scratch([format!("{}RUN x", "ONBUILD ".repeat(5000))]), "isn't allowed");

    check_on("FROM a\n", "", &vec!["RUN x".to_owned(); 10_000]);
    // Each image that a trigger names has the same trigger.
    check_on("FROM a\n", "", &["COPY --from=b / /".to_owned()]);
    check_on("FROM a AS b\n", "needs to be defined before", &["COPY --from=b / /".to_owned()]);
    check_on("FROM a\n", "FROM isn't allowed", &["FROM b".to_owned()]);
    check_on("FROM a\n", "unknown instruction", &["\u{0}".to_owned()]);
}

#[test]
fn values_that_double() {
    let doubled = "longer than 1048576 bytes";
    check(
        &scratch(
            std::iter::once("ARG a=xx".to_owned()).chain(times(60, |_| "ARG a=$a$a".to_owned())),
        ),
        doubled,
    );
    check(
        &scratch(
            std::iter::once("ENV a=xx".to_owned()).chain(times(60, |_| "ENV a=$a$a".to_owned())),
        ),
        doubled,
    );
    check(&format!("ARG a=xx\n{}FROM $a\n", "ARG a=$a$a\n".repeat(60)), doubled);
    let label = times(1000, |_| "LABEL b=$a".to_owned());
    let large = ["ENV a=".to_owned() + &"x".repeat(65_000), "ENV a=$a$a$a$a".to_owned()];
    check(&scratch(large.into_iter().chain(label)), "more than ");
    // A path that grows, and steps that each have it.
    check(&scratch(times(100_000, |_| "WORKDIR a".to_owned())), "longer than 4095 bytes");
    let deep = ["WORKDIR ".to_owned() + &format!("/{}", "a".repeat(250)).repeat(15)];
    let copies = times(100_000, |_| "COPY a b".to_owned());
    check(&scratch(deep.into_iter().chain(copies)), "expand to more than");
}

#[test]
fn nested_expansions() {
    let nested = |depth: usize| format!("ENV A={}{}", "${a:-".repeat(depth), "}".repeat(depth));
    check(&scratch([nested(60)]), "");
    check(&scratch([nested(10_000)]), "nested more than 64 deep");
    let quoted = "\"${a:-".repeat(5000);
    check(&scratch([format!("ENV A={quoted}")]), "nested more than 64 deep");
}

/// A value that a pattern may take long with.
fn value() -> String {
    "ENV A=".to_owned() + &"a".repeat(60_000)
}

#[test]
fn slow_expansions_of_a_word() {
    let slow = "takes more than 4194304 steps";
    check(&scratch([value(), "ENV B=${A//*?*?*?*?*?*?*?*b/x}".to_owned()]), slow);
    check(
        &scratch([
            value(),
            "ENV T=".to_owned() + &"'$x'".repeat(10_000),
            "ENV B=${A//?/$T}".to_owned(),
        ]),
        slow,
    );
    // A template that opens very many references and closes none, or one.
    for end in ["", "}"] {
        let template = "ENV T='".to_owned() + &"${".repeat(30_000) + end + "'";
        let larger = "ENV U=".to_owned() + &"$T".repeat(16);
        check(&scratch([template, larger, "ENV A=a".into(), "ENV B=${A//?/$U}".into()]), "");
    }
    check(&scratch([value(), format!("ENV B={}", "${A##*a*a*b}".repeat(1000))]), slow);
    check(&scratch([value(), format!("ENV B={}", "${A+}".repeat(10_000))]), slow);
}

#[test]
fn slow_expansions_of_a_build() {
    let all = "the words take more than 33554432 steps";
    let trims = times(10_000, |number| format!("ENV B{number}=${{A##*a*a*b}}"));
    check_plan(&scratch(std::iter::once(value()).chain(trims)), all);
    let globals: String =
        times(10_000, |number| format!("ARG B{number}=${{A##*a*a*b}}\n")).collect();
    check_plan(&format!("ARG A={}\n{globals}FROM a\n", "a".repeat(60_000)), all);
    let stages: String = times(10_000, |_| "FROM x${A##*a*a*b}\n".to_owned()).collect();
    check_plan(&format!("ARG A={}b\n{stages}", "a".repeat(60_000)), all);
}

#[test]
fn slow_expansions_of_titles() {
    // Titles are only shown: the build goes on.
    let runs = times(1000, |_| "RUN ${A##*a*a*a*a*b}".to_owned());
    check(&scratch(["ENV A=".to_owned() + &"a".repeat(30_000)].into_iter().chain(runs)), "");
}

#[test]
fn very_many_heredocs() {
    check(
        &scratch(times(10_000, |number| format!("COPY <<E{number} /f{number}\nx\nE{number}"))),
        "",
    );
    check(&scratch(times(10_000, |number| format!("RUN <<E{number}\nx\nE{number}"))), "");
    let names: String = times(10_000, |number| format!("<<E{number} \\\n")).collect();
    let bodies: String = times(10_000, |number| format!("\nE{number}")).collect();
    check(&scratch([format!("COPY {names} /d/{bodies}")]), "");
    check(
        &scratch(["COPY <<E /".to_owned()].into_iter().chain(times(500_000, |_| "x".to_owned()))),
        "unterminated heredoc",
    );
    let nested = format!("RUN <<E{}{}\nx", "${a:-".repeat(5000), "}".repeat(5000));
    check(&scratch([nested]), "unknown instruction: x");
}

#[test]
fn mistyped_names_among_very_many() {
    let args = times(5000, |number| format!("ARG NAME{number}=1"));
    check(&scratch(args.chain(times(5000, |number| format!("ENV V{number}=$NAMF{number}")))), "");
    let globals: String = times(5000, |number| format!("ARG NAME{number}=1\n")).collect();
    let stages: String = times(5000, |number| format!("FROM a$NAMF{number}\n")).collect();
    check(&format!("{globals}{stages}"), "");
    let long = |last: char| format!("{}{last}", "N".repeat(30_000));
    check(&scratch([format!("ENV {}=1", long('a')), format!("ENV B=${}", long('b'))]), "");
    check(&scratch(["X".repeat(60_000)]), "unknown instruction");
    check(&format!("FROM scratch AS {}\nFROM scratch\n", "a".repeat(60_000)), "");
    check(&scratch(times(50_000 / SCALE, |number| format!("ARG PASSWORD_{number}"))), "");
    check(&scratch(times(25_000 / SCALE, |_| "env A=1\nENV B=2".to_owned())), "");
}

#[test]
fn shells_that_are_hard_to_read() {
    for piece in
        ["$(", "\"$((", "apt-get update && ", "`", "if true; then ", "<<", "\\", "'\"", "{ "]
    {
        check(&scratch(times(5, |_| format!("RUN x {}", piece.repeat(20_000 / piece.len())))), "");
    }
}
