//! The tables about BuildKit's parser, and what no file in `testdata` can show.

use serde_json::Value;

use super::{parse, parse_trigger};
use crate::ast::Dockerfile;
use crate::fragment::Joined;
use crate::heredoc::{self, Heredoc};
use crate::instruction::{CommandLine, CopySource, Instruction};
use crate::operand;
use crate::reference;
use crate::source::Span;

fn dockerfile(text: &str) -> Dockerfile {
    parse("Dockerfile", text.as_bytes()).unwrap_or_else(|failed| panic!("{failed}: {text:?}"))
}

/// The only instruction of a stage.
fn instruction(text: &str) -> Instruction {
    let mut dockerfile = dockerfile(&format!("FROM scratch\n{text}"));
    assert_eq!(dockerfile.stages[0].steps.len(), 1, "{text}");
    dockerfile.stages[0].steps.remove(0).instruction
}

fn heredocs(instruction: &Instruction) -> Vec<&Heredoc> {
    let sources = match instruction {
        Instruction::Run(run) => return run.heredocs.iter().collect(),
        Instruction::Copy(copy) => &copy.sources,
        Instruction::Add(add) => &add.sources,
        _ => return Vec::new(),
    };
    let mut heredocs = Vec::new();
    for source in sources {
        match source {
            CopySource::Heredoc(heredoc) => heredocs.push(heredoc),
            CopySource::Path(_) => {}
        }
    }
    heredocs
}

fn strings(value: &Value) -> Vec<&str> {
    value.as_array().unwrap().iter().map(|string| string.as_str().unwrap()).collect()
}

#[test]
fn directives_table() {
    let Some(table) = reference::json("tables/directives.json") else { return };
    for row in table.as_array().unwrap() {
        let input = row["input"].as_str().unwrap().trim_start_matches('\u{feff}');
        let found = crate::directive::parse(input).unwrap();
        match (row.get("syntax"), row.get("check"), row.get("directives")) {
            (Some(syntax), _, _) => {
                assert_eq!(found.syntax.as_deref(), syntax[1].as_str(), "{row}")
            }
            (_, Some(check), _) => assert_eq!(found.check.as_deref(), check[0].as_str(), "{row}"),
            (_, _, Some(_)) => assert_eq!(found.escape, '\\', "{row}"),
            (None, None, None) => panic!("{row}"),
        }
    }
}

#[test]
fn exec_form_table() {
    let Some(table) = reference::json("tables/exec_form_json.json") else { return };
    let array = |text: &str| {
        let mut joined = Joined::new(None);
        joined.push(text, 0);
        operand::json_array(joined.whole().trim())
    };
    for row in table["valid"].as_array().unwrap() {
        let words = array(row[0].as_str().unwrap()).unwrap().unwrap();
        let texts: Vec<_> = words.iter().map(|word| word.text.as_str()).collect();
        assert_eq!(texts, strings(&row[1]), "{row}");
    }
    for row in strings(&table["array_with_non_string_is_an_error"]) {
        array(row).unwrap_err();
    }
}

#[test]
fn heredoc_table() {
    let Some(table) = reference::json("tables/heredoc.json") else { return };
    let names = |line: &str| {
        let mut joined = Joined::new(None);
        joined.push(line, 0);
        heredoc::markers(joined.whole()).into_iter().map(|(_, m)| m.name).collect::<Vec<_>>()
    };
    for word in strings(&table["valid_name_EOF"]) {
        assert!(heredoc::is_heredoc(word), "{word}");
        assert_eq!(names(&format!("RUN {word}")), ["EOF"], "{word}");
    }
    for word in strings(&table["error"]).into_iter().chain(strings(&table["not_a_heredoc"])) {
        assert!(!heredoc::is_heredoc(word), "{word}");
    }
    for row in table["names_on_line"].as_array().unwrap() {
        assert_eq!(names(row[0].as_str().unwrap()), strings(&row[1]), "{row}");
    }

    // In USER it is no heredoc, so what should be its end is an unknown instruction; here it becomes a known one.
    let text = table["dockerfile"].as_str().unwrap().replace("\nINVALID\n", "\nUSER x\n");
    let file = dockerfile(&text);
    let steps = &file.stages[0].steps;
    let rows = table["expected_heredocs_from_second_instruction_on"].as_array().unwrap();
    assert_eq!(steps.len(), rows.len());
    for (step, row) in steps.iter().zip(rows) {
        let found: Vec<Value> = heredocs(&step.instruction)
            .into_iter()
            .map(|heredoc| {
                serde_json::json!({
                    "name": heredoc.name, "content": heredoc.body, "expand": heredoc.expand,
                    "chomp": heredoc.chomp, "fd": heredoc.fd.unwrap_or(0),
                })
            })
            .collect();
        assert_eq!(Value::Array(found), *row, "{}", step.text);
    }
}

#[test]
fn instruction_errors_table() {
    let Some(table) = reference::json("tables/parser_misc.json") else { return };
    for row in table["instruction_errors"].as_array().unwrap() {
        let text = format!("FROM scratch\n{}", row[0].as_str().unwrap());
        let message = parse("Dockerfile", text.as_bytes()).unwrap_err().diagnostic.message;
        let expect = match row[1].as_str().unwrap() {
            // The table names the case, not the text.
            "ONBUILD ONBUILD not allowed" => "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed",
            expect => expect,
        };
        assert!(message.contains(expect), "{row}: {message}");
    }
    for (key, expect) in [
        ("exactly_one_argument", "requires exactly one argument"),
        ("at_least_one_argument", "requires at least one argument"),
        ("source_and_destination", "requires at least two arguments"),
    ] {
        for keyword in strings(&table[key]) {
            let text = format!("FROM scratch\n{keyword}\n");
            let message = parse("Dockerfile", text.as_bytes()).unwrap_err().diagnostic.message;
            assert!(message.starts_with(&format!("{keyword} {expect}")), "{keyword}: {message}");
        }
    }
}

#[test]
fn words_and_devices_table() {
    let Some(table) = reference::json("tables/parser_misc.json") else { return };
    for row in table["words"].as_array().unwrap() {
        let mut joined = Joined::new(None);
        joined.push(row[0].as_str().unwrap(), 0);
        let words = operand::quoted_words(joined.whole(), '\\');
        let texts: Vec<_> = words.iter().map(|word| word.text()).collect();
        assert_eq!(texts, strings(&row[1]));
    }
    for row in table["device"].as_array().unwrap() {
        let text = format!("RUN --device={} true", row[0].as_str().unwrap());
        let found = parse_trigger(&text, Span::default()).ok().map(|instruction| {
            let Instruction::Run(run) = instruction else { panic!() };
            let device = &run.devices[0].value;
            serde_json::json!({"name": device.name, "required": device.required})
        });
        assert_eq!(found.unwrap_or(Value::Null), row[1], "{row}");
    }
}

#[test]
fn empty_continuation_and_comments_table() {
    let Some(table) = reference::json("tables/parser_misc.json") else { return };
    let row = &table["empty_continuation"];
    let file = dockerfile(row["dockerfile"].as_str().unwrap());
    let texts: Vec<_> = file.stages[0]
        .steps
        .iter()
        .filter(|step| file.empty_continuations.contains(&step.lines))
        .map(|step| step.text.as_str())
        .collect();
    assert_eq!(texts, strings(&row["warnings_for_lines"]));

    let row = &table["doc_comments"];
    let file = dockerfile(row["dockerfile"].as_str().unwrap());
    let stage = &file.stages[0];
    let description = |text: Option<&str>| text.unwrap_or_default().to_owned();
    let expect = &row["expect"];
    assert_eq!(description(file.global_args[0].description("foo")), expect["meta foo"]);
    assert_eq!(description(stage.from.description("base")), expect["stage base"]);
    assert_eq!(description(stage.steps[0].description("foo")), expect["stage arg foo"]);
    assert_eq!(description(stage.steps[1].description("bar")), expect["bar"]);
    assert_eq!(description(stage.steps[1].description("baz")), expect["baz"]);
}

#[test]
fn copy_and_run_heredocs_table() {
    let Some(table) = reference::json("tables/parser_misc.json") else { return };
    for row in table["copy_heredoc"].as_array().unwrap() {
        let copy = instruction(row[0].as_str().unwrap());
        let found: Vec<Value> = heredocs(&copy)
            .into_iter()
            .map(|h| serde_json::json!({"path": h.name, "data": h.contents(), "expand": h.expand}))
            .collect();
        assert_eq!(Value::Array(found), row[1], "{row}");
    }
    for row in table["run_forms"].as_array().unwrap() {
        let Instruction::Run(run) = instruction(row[0].as_str().unwrap()) else { panic!() };
        let (argv, shell) = match run.command {
            CommandLine::Shell(text) => (vec![text], true),
            CommandLine::Exec(argv) => (argv, false),
        };
        assert_eq!(argv, strings(&row[1]["argv"]), "{row}");
        assert_eq!(Value::Bool(shell), row[1]["shell"], "{row}");
        let files: Vec<Value> = run
            .heredocs
            .iter()
            .map(|h| serde_json::json!({"name": h.name, "data": h.body, "chomp": h.chomp}))
            .collect();
        let expect = row[1].get("files").cloned().unwrap_or(Value::Array(Vec::new()));
        assert_eq!(Value::Array(files), expect, "{row}");
    }
}

#[test]
fn scripts() {
    for (text, expect) in [
        ("RUN <<EOF\na\nEOF", Some("a\n")),
        ("RUN << EOF\na\nEOF", Some("a\n")),
        ("RUN <<-EOF\n\ta\n\tEOF", Some("a\n")),
        ("RUN <<EOF cat\na\nEOF", None),
        ("RUN <<A <<B\nA\nB", None),
        ("RUN [\"<<EOF\"]", None),
    ] {
        let Instruction::Run(run) = instruction(text) else { panic!() };
        assert_eq!(run.script().map(Heredoc::contents).as_deref(), expect, "{text}");
    }
}

/// The text of a trigger is what the instruction looks like without `ONBUILD`, and can be parsed again.
#[test]
fn triggers() {
    let at = Span::new(5, 9);
    for (text, trigger) in [
        ("ONBUILD RUN a \\\n  b", "RUN a   b"),
        ("onbuild  copy a b ", "copy a b"),
        ("ONBUILD RUN <<A cat && <<B cat\na\nA\nb\nB", "RUN <<A cat && <<B cat\na\nA\nb\nB"),
        ("ONBUILD COPY <<-'A B' /x\n\tc\n\tA B", "COPY <<-'A B' /x\n\tc\nA B"),
        ("ONBUILD RUN [\"<<A\"]", "RUN [\"<<A\"]"),
    ] {
        let Instruction::Onbuild(onbuild) = instruction(text) else { panic!() };
        assert_eq!(onbuild.trigger, trigger);
        let parsed = parse_trigger(trigger, at).unwrap();
        assert_eq!(parsed.keyword(), trigger.split(' ').next().unwrap().to_uppercase());
        for heredoc in heredocs(&parsed) {
            assert_eq!(heredoc.span, at);
        }
    }
    let Ok(Instruction::Workdir(workdir)) = parse_trigger("WORKDIR /a", at) else { panic!() };
    assert_eq!(workdir.path.span, at);
    // Unknown instructions, and those with too few operands, are the matter of the build that runs them.
    for text in ["ONBUILD FOO bar", "ONBUILD COPY a"] {
        instruction(text);
    }
    for (text, expect) in [
        ("", "onbuild trigger should be a single expression"),
        ("RUN a\nRUN b", "onbuild trigger should be a single expression"),
        ("COPY a", "COPY requires at least two arguments"),
        ("RUN <<A\n", "unterminated heredoc"),
    ] {
        let error = parse_trigger(text, at).unwrap_err();
        assert!(error.message.starts_with(expect), "{text}: {error}");
        assert_eq!((error.span, error.lines), (Some(at), None));
    }
}

/// The first mistake of the file counts, and with it nothing else is looked at.
#[test]
fn first_mistake_in_file_order() {
    let failed = parse("Dockerfile", b"FROM a\nRUN b\nFROM c\nFOO\nCOPY x\n").unwrap_err();
    assert_eq!(failed.to_string(), "dockerfile parse error on line 4: unknown instruction: FOO");
    let span = failed.diagnostic.span.unwrap();
    assert_eq!(failed.source.slice(span), "FOO");
}

#[test]
fn places() {
    let text = "FROM a\nCOPY --from=b \\\n # note\n c\\\nd /e\nRUN <<X\nf\nX\n# end";
    let file = dockerfile(text);
    let [copy, run] = file.stages[0].steps.as_slice() else { panic!() };
    assert_eq!(copy.lines, (2, 5));
    assert_eq!(file.source.slice(copy.span), "COPY --from=b \\\n # note\n c\\\nd /e");
    let Instruction::Copy(parsed) = &copy.instruction else { panic!() };
    assert_eq!(file.source.slice(parsed.from.as_ref().unwrap().span), "b");
    let CopySource::Path(source) = &parsed.sources[0] else { panic!() };
    assert_eq!((source.text.as_str(), file.source.slice(source.span)), ("cd", "c\\\nd"));
    assert_eq!(file.source.slice(parsed.destination.span), "/e");
    assert_eq!(run.lines, (6, 8));
    assert_eq!(file.source.slice(run.span), "RUN <<X\nf\nX");
    assert_eq!(file.source.slice(heredocs(&run.instruction)[0].span), "f\n");
}

/// What builds, or may build, in the conformance cases has no mistake here.
#[test]
fn conformance_cases() {
    for directory in reference::directories("../../conformance/cases") {
        let Ok(case) = std::fs::read(directory.join("case.json")) else { continue };
        let case: Value = serde_json::from_slice(&case).unwrap();
        let text = match &case["files"]["Dockerfile"] {
            Value::String(text) => text.clone(),
            Value::Array(lines) => {
                lines.iter().map(|line| format!("{}\n", line.as_str().unwrap())).collect()
            }
            _ => continue,
        };
        let may_fail = case["expect"] == "fail" || case["accept_fail"] == true;
        if let Err(failed) = parse("Dockerfile", text.as_bytes()) {
            assert!(may_fail, "{}: {failed}", directory.display());
        }
    }
}

/// A file that BuildKit's checks are about has no mistake either, unless its row says so.
#[test]
fn lint_table() {
    let Some(table) = reference::json("tables/lint_cases.json") else { return };
    for row in table.as_array().unwrap() {
        let text = row["dockerfile"].as_str().unwrap();
        let bad = row.get("error").is_some() || row.get("error_contains").is_some();
        if let Err(failed) = parse("Dockerfile", text.as_bytes()) {
            assert!(bad, "{failed}: {row}");
        }
    }
}
