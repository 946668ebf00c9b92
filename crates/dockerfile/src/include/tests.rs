//! Included files: that they are the same as their text in the place of the line, where things in them are, what is refused.

use std::collections::BTreeMap;

use super::{Includes, NoIncludes, Unreadable, beside};
use crate::ast::{Dockerfile, Statement};
use crate::diagnostic::Diagnostic;
use crate::parse_as_far_as_possible;

/// Files by their paths.
struct Files(BTreeMap<String, String>);

impl Files {
    fn new(files: &[(&str, &str)]) -> Self {
        Self(files.iter().map(|(path, text)| (path.to_string(), text.to_string())).collect())
    }
}

impl Includes for Files {
    fn read(&self, path: &str) -> Result<Vec<u8>, Unreadable> {
        let missing = || Unreadable { reason: "not found".into(), hint: Some("look".into()) };
        self.0.get(path).map(|text| text.clone().into_bytes()).ok_or_else(missing)
    }
}

const SYNTAX: &str = "# syntax=kiln\n";

fn parse(text: &str, files: &[(&str, &str)]) -> (Dockerfile, Option<Diagnostic>) {
    parse_as_far_as_possible("dir/Dockerfile", text.as_bytes(), &Files::new(files))
}

#[track_caller]
fn parsed(text: &str, files: &[(&str, &str)]) -> Dockerfile {
    let (file, mistake) = parse(&format!("{SYNTAX}{text}"), files);
    assert_eq!(mistake, None, "{text}");
    file
}

/// Everything that a plan is made of, without places; the directive is no comment of an instruction.
fn contents(file: &Dockerfile) -> String {
    fn text<T: std::fmt::Debug>(statement: &Statement<T>) -> String {
        let comments = statement.comments.iter().filter(|comment| *comment != "syntax=kiln");
        let comments: Vec<_> = comments.collect();
        let debug = format!("{:?} {} {:?}", statement.instruction, statement.text, comments);
        let mut plain = String::new();
        for (index, part) in debug.split("span: Span { ").enumerate() {
            plain.push_str(if index == 0 { part } else { part.split_once('}').unwrap().1 });
        }
        plain + "\n"
    }
    let mut all: String = file.global_args.iter().map(text).collect();
    for stage in &file.stages {
        all.push_str(&text(&stage.from));
        all.extend(stage.steps.iter().map(text));
    }
    all
}

/// The places of all instructions, as people read them.
fn places(file: &Dockerfile) -> Vec<String> {
    let mut lines: Vec<usize> = file.global_args.iter().map(|s| s.lines.0).collect();
    for stage in &file.stages {
        lines.push(stage.from.lines.0);
        lines.extend(stage.steps.iter().map(|step| step.lines.0));
    }
    let place = |line: usize| {
        let named = file.source.place(line);
        format!("{}:{}", named.name, named.line)
    };
    lines.into_iter().map(place).collect()
}

#[test]
fn it_is_as_if_the_text_were_there() {
    for (text, files, expanded) in [
        (
            "FROM a\nINCLUDE b\nCMD c\n",
            &[("b", "RUN b\nENV b=1\n")][..],
            "FROM a\nRUN b\nENV b=1\nCMD c\n",
        ),
        ("include b", &[("b", "FROM a")], "FROM a"),
        ("INCLUDE args\nFROM $A\n", &[("args", "ARG A=1\nARG B")], "ARG A=1\nARG B\nFROM $A\n"),
        (
            "FROM a AS one\nINCLUDE stages\nCOPY --from=two /x /\n",
            &[("stages", "RUN in-one\nFROM b AS two\nRUN in-two\nFROM one AS three\n")],
            "FROM a AS one\nRUN in-one\nFROM b AS two\nRUN in-two\nFROM one AS three\nCOPY --from=two /x /\n",
        ),
        (
            "FROM a\nINCLUDE h\nRUN after",
            &[("h", "RUN <<EOF\nINCLUDE is text here\nEOF\nCOPY <<a <<b /\nA\na\nB\nb\n")],
            "FROM a\nRUN <<EOF\nINCLUDE is text here\nEOF\nCOPY <<a <<b /\nA\na\nB\nb\nRUN after",
        ),
        // What is continued ends with the file.
        ("FROM a\nINCLUDE b\nRUN c\n", &[("b", "RUN b \\")], "FROM a\nRUN b\nRUN c\n"),
        ("FROM a\nINCLUDE \\\n  b\n", &[("b", "RUN b")], "FROM a\nRUN b"),
        ("FROM a\nINCLUDE empty\n", &[("empty", "# nothing\n")], "FROM a"),
        // Blanks, quotes, and the same file twice.
        ("FROM a\nINCLUDE b c\nINCLUDE \"b c\"\n", &[("b c", "RUN b")], "FROM a\nRUN b\nRUN b\n"),
        // A line end of Windows, a byte order mark, and directives that are comments here.
        (
            "FROM a\r\nINCLUDE b\r\n",
            &[("b", "\u{feff}# syntax=docker/dockerfile:1\n# escape=\\\n#\nRUN b\r\n")],
            "FROM a\nRUN b\n",
        ),
    ] {
        let found = contents(&parsed(text, files));
        let expected = crate::parse("Dockerfile", expanded.as_bytes()).unwrap();
        assert_eq!(found, contents(&expected), "{text}");
    }
}

#[test]
fn paths_are_relative_to_the_file_that_has_the_line() {
    let files = [
        ("parts/one", "RUN 1\nINCLUDE sub/two\nINCLUDE ./../other\n"),
        ("parts/sub/two", "RUN 2\n"),
        ("other", "RUN 3\nINCLUDE ../above\n"),
        ("../above", "RUN 4\nINCLUDE dir/../outside/five"),
        ("../outside/five", "RUN 5"),
    ];
    let file = parsed("FROM a\nINCLUDE parts/one\nRUN 6\n", &files);
    assert_eq!(
        places(&file),
        [
            "dir/Dockerfile:2",
            "dir/parts/one:1",
            "dir/parts/sub/two:1",
            "dir/other:1",
            "above:1",
            "outside/five:1",
            "dir/Dockerfile:4",
        ]
    );
    let paths: Vec<_> = file.source.files().map(|file| file.path).collect();
    assert_eq!(paths, ["", "parts/one", "parts/sub/two", "other", "../above", "../outside/five"]);
}

#[test]
fn names_of_files_beside_others() {
    for (file, path, expected) in [
        ("Dockerfile", "x", "x"),
        ("Dockerfile", "../x", "../x"),
        ("../Dockerfile", "../x", "../../x"),
        ("/a/b/Dockerfile", "../x/./y", "/a/x/y"),
        ("/Dockerfile", "../../x", "/x"),
        ("a/Dockerfile", "..", ""),
    ] {
        assert_eq!(beside(file, path), expected, "{file} {path}");
    }
}

/// The message, where it is, and the hint.
fn mistake(text: &str, files: &[(&str, &str)]) -> (String, String, String) {
    let (file, mistake) = parse(text, files);
    let mistake = mistake.unwrap();
    let line = mistake.lines.map_or(0, |(first, _)| first);
    let named = file.source.place(line);
    // A span is in its lines.
    if let Some(span) = mistake.span {
        let at = file.source.position(span.start).line;
        assert!((mistake.lines.unwrap().0..=mistake.lines.unwrap().1).contains(&at), "{text}");
    }
    let hint = mistake.hint.unwrap_or_default();
    (mistake.message, format!("{}:{}", named.name, named.line), hint)
}

#[test]
fn mistakes_are_where_they_are_written() {
    for (text, files, message, place) in [
        (
            "FROM a\nINCLUDE b\n",
            &[("b", "RUN x\nRUM y\n")][..],
            "unknown instruction: RUM",
            "dir/b:2",
        ),
        ("INCLUDE b\n", &[("b", "RUN x\n")], "no build stage in current context", "dir/b:1"),
        ("FROM a\nINCLUDE b\n", &[("b", "\nRUN <<E\nx\n")], "unterminated heredoc", "dir/b:2"),
        ("FROM a\n\nINCLUDE b\n", &[], "cannot include `b`: not found", "dir/Dockerfile:4"),
        ("FROM a\nINCLUDE b\n", &[("b", "INCLUDE c")], "cannot include `c`: not found", "dir/b:1"),
        ("FROM a\nINCLUDE\n", &[], "INCLUDE requires exactly one argument", "dir/Dockerfile:3"),
        ("FROM a\nINCLUDE --x b\n", &[], "unknown flag: --x", "dir/Dockerfile:3"),
        ("FROM a\nINCLUDE $B\n", &[], "INCLUDE cannot have variables", "dir/Dockerfile:3"),
        ("FROM a\nINCLUDE /b\n", &[], "INCLUDE requires a relative path", "dir/Dockerfile:3"),
        (
            "FROM a\nINCLUDE https://h/x\n",
            &[],
            "INCLUDE requires a relative path",
            "dir/Dockerfile:3",
        ),
        (
            "FROM a\nINCLUDE b\n",
            &[("b", "RUN x\nINCLUDE c\n"), ("c", "INCLUDE ./b\n")],
            "INCLUDE goes in a circle: dir/Dockerfile -> b -> c -> b",
            "dir/c:1",
        ),
        (
            "FROM a\nINCLUDE b\n",
            &[("b", "# syntax=x\n# escape=`\nRUN x")],
            "an included file cannot have another escape character than the Dockerfile, `\\`",
            "dir/b:2",
        ),
    ] {
        let (found, at, _) = mistake(&format!("{SYNTAX}{text}"), files);
        assert_eq!((found.as_str(), at.as_str()), (message, place), "{text}");
    }
}

#[test]
fn it_must_be_asked_for() {
    for text in ["FROM a\nINCLUDE b\n", "# a comment\n# syntax=kiln\nFROM a\nINCLUDE b\n"] {
        let (message, _, hint) = mistake(text, &[("b", "RUN b")]);
        assert_eq!(message, "unknown instruction: INCLUDE");
        assert!(hint.contains("write `# syntax=kiln` as the very first line"), "{hint}");
    }
    let (message, _, hint) = mistake("FROM a\nCOPY --if-exists b /\n", &[]);
    assert_eq!(message, "unknown flag: --if-exists");
    assert!(hint.contains("write `# syntax=kiln` as the very first line"), "{hint}");
    // A misspelt one is met with the right one where there is one.
    let (_, _, hint) = mistake(&format!("{SYNTAX}FROM a\nINCLDUE b\n"), &[]);
    assert_eq!(hint, "did you mean INCLUDE?");
    let (_, _, hint) = mistake(&format!("{SYNTAX}FROM a\nCOPY --if-exist b /\n"), &[]);
    assert_eq!(hint, "did you mean --if-exists?");
    // An included file need not ask again.
    let file =
        parsed("FROM a\nINCLUDE b", &[("b", "COPY --if-exists b c /\nCOPY --if-exists=false b /")]);
    let if_exists = |step: usize| match &file.stages[0].steps[step].instruction {
        crate::Instruction::Copy(copy) => copy.if_exists,
        _ => panic!("{text:?}", text = file.stages[0].steps[step].text),
    };
    assert!(if_exists(0) && !if_exists(1));
}

#[test]
fn triggers_have_no_extensions() {
    for (text, message) in [
        ("ONBUILD INCLUDE b", "INCLUDE isn't allowed as an ONBUILD trigger"),
        ("ONBUILD COPY --if-exists a b", "COPY --if-exists isn't allowed as an ONBUILD trigger"),
    ] {
        let (found, at, _) = mistake(&format!("{SYNTAX}FROM a\n{text}\n"), &[]);
        assert_eq!((found.as_str(), at.as_str()), (message, "dir/Dockerfile:3"));
    }
    // Nor if an image has one all the same.
    for (trigger, message) in [
        ("INCLUDE b", "unknown instruction: INCLUDE"),
        ("COPY --if-exists a b", "unknown flag: --if-exists"),
    ] {
        let at = crate::Span::new(0, 1);
        assert_eq!(crate::parse_trigger(trigger, at).unwrap_err().message, message);
    }
}

#[test]
fn there_is_an_end() {
    let deep: Vec<(String, String)> =
        (0..40).map(|n| (n.to_string(), format!("RUN {n}\nINCLUDE {}\n", n + 1))).collect();
    let deep: Vec<(&str, &str)> = deep.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
    let (message, at, _) = mistake(&format!("{SYNTAX}FROM a\nINCLUDE 0\n"), &deep);
    assert_eq!(message, "INCLUDE is nested more than 16 deep");
    assert_eq!(at, "dir/15:2");

    let wide: Vec<(String, String)> =
        (0..15).map(|n| (n.to_string(), format!("INCLUDE {0}\n", n + 1).repeat(2))).collect();
    let mut wide: Vec<(&str, &str)> = wide.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
    wide.push(("15", "RUN x\n"));
    let (message, _, _) = mistake(&format!("{SYNTAX}FROM a\nINCLUDE 0\n"), &wide);
    assert_eq!(message, "more than 1000 files are included");

    let large = ("#".repeat(60_000) + "\n").repeat(500);
    let text = format!("{SYNTAX}FROM a\nINCLUDE b\nINCLUDE b\nINCLUDE b\n");
    let (message, _, _) = mistake(&text, &[("b", large.as_str())]);
    assert_eq!(
        message,
        "the Dockerfile and what it includes are larger than 16777216 bytes together"
    );
}

#[test]
fn without_a_directory_nothing_is_included() {
    let text = format!("{SYNTAX}FROM a\nINCLUDE b\n");
    let (_, mistake) = parse_as_far_as_possible("Dockerfile", text.as_bytes(), &NoIncludes);
    assert!(mistake.unwrap().message.starts_with("cannot include `b`: "));
}
