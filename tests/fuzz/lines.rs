//! Physical lines to instructions: continuations, comments, and the bodies of heredocs.

use dockerfile::instruction::{Add, Copy, CopySource, Run};
use dockerfile::{Dockerfile, Heredoc, Instruction, Span, Statement, parse, parse_trigger};

/// Tries one input, behind a `FROM`, with both escape characters.
pub(crate) fn check(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    // Its result is of no interest.
    drop(parse_trigger(&text, Span::default()));
    for head in ["FROM scratch\n", "# escape=`\nFROM scratch\n"] {
        let Ok(file) = parse("Dockerfile", format!("{head}{text}").as_bytes()) else { continue };
        for statement in file.stages.iter().flat_map(|stage| &stage.steps) {
            check_statement(&file, statement, head);
        }
    }
}

fn check_statement(file: &Dockerfile, statement: &Statement, head: &str) {
    assert!(!statement.text.contains('\n'), "{statement:?} has several lines");
    let heredocs = heredocs(&statement.instruction);
    for heredoc in &heredocs {
        assert_eq!(file.source.slice(heredoc.span), heredoc.body);
        let behind = file.source.text().get(heredoc.span.end..).unwrap_or("");
        let end = behind.lines().next().map(|line| untabbed(line, heredoc));
        // What is left of a lone `\r` at the end of a line belongs to that end.
        let end = end.map(|line| line.trim_end_matches('\r'));
        assert_eq!(end, Some(heredoc.name.as_str()), "{heredoc:?} ends elsewhere");
        let mut lines = heredoc.body.split_inclusive('\n');
        let is_end =
            |line: &str| untabbed(line.trim_end_matches(['\r', '\n']), heredoc) == heredoc.name;
        assert!(!lines.any(is_end), "{heredoc:?} goes on behind its end");
    }

    // The lines of an instruction alone are the same instruction.
    let lines = (statement.lines.0..=statement.lines.1).filter_map(|line| file.source.line(line));
    let lines: Vec<&str> = lines.collect();
    let alone = format!("{head}{}\n", lines.join("\n"));
    match parse("Dockerfile", alone.as_bytes()).as_ref().map(|file| file.stages[..].to_vec()) {
        Ok(stages) => {
            let steps = stages.first().map_or(&[][..], |stage| &stage.steps);
            let texts: Vec<&str> = steps.iter().map(|step| step.text.as_str()).collect();
            assert_eq!(texts, [statement.text.as_str()], "of {alone:?}");
        }
        Err(failed) => panic!("{failed} in {alone:?}"),
    }
}

fn heredocs(instruction: &Instruction) -> Vec<&Heredoc> {
    match instruction {
        Instruction::Run(Run { heredocs, .. }) => heredocs.iter().collect(),
        Instruction::Copy(Copy { sources, .. }) | Instruction::Add(Add { sources, .. }) => {
            sources.iter().filter_map(of_source).collect()
        }
        _ => Vec::new(),
    }
}

fn of_source(source: &CopySource) -> Option<&Heredoc> {
    match source {
        CopySource::Heredoc(heredoc) => Some(heredoc),
        CopySource::Path(_) => None,
    }
}

/// The line as it is compared with the name.
fn untabbed<'a>(line: &'a str, heredoc: &Heredoc) -> &'a str {
    if heredoc.chomp { line.trim_start_matches('\t') } else { line }
}
