//! Tests of the keyword table, and BuildKit's own files with their parse trees.

use super::{Grammar, KEYWORDS, find, first_word, parse};
use crate::diagnostic::Diagnostic;
use crate::directive;
use crate::extension::Dialect;
use crate::fragment::Joined;
use crate::heredoc;
use crate::instruction::CommandLine;
use crate::line::Reader;
use crate::operand::{self, List};
use crate::parts::Parts;
use crate::quoted::quoted;
use crate::reference;
use crate::source::Source;

/// An instruction that parses, for each keyword of the table.
const EXAMPLES: [&str; 18] = [
    "ADD a b",
    "ARG a",
    "CMD a",
    "COPY a b",
    "ENTRYPOINT a",
    "ENV a=b",
    "EXPOSE 1",
    "FROM a",
    "HEALTHCHECK NONE",
    "LABEL a=b",
    "MAINTAINER a",
    "ONBUILD RUN a",
    "RUN a",
    "SHELL [\"a\"]",
    "STOPSIGNAL 1",
    "USER a",
    "VOLUME a",
    "WORKDIR a",
];

#[test]
fn each_keyword_leads_to_its_instruction() {
    for (keyword, example) in KEYWORDS.iter().zip(EXAMPLES) {
        for line in [example.to_owned(), example.to_lowercase()] {
            let mut joined = Joined::new(None);
            joined.push(&line, 0);
            let instruction = parse(&Parts::split(joined.whole(), '\\', Dialect::Docker)).unwrap();
            assert_eq!(instruction.keyword(), keyword.name, "{line}");
        }
    }
}

/// The tree of an instruction in the notation of BuildKit's test files.
fn dump(parts: &Parts<'_>) -> Result<String, Diagnostic> {
    let mut tree = parts.keyword.text().to_lowercase();
    let flags: Vec<String> = parts.flags.iter().map(|flag| quoted(flag.text())).collect();
    if !flags.is_empty() {
        tree.push_str(&format!(" [{}]", flags.join(" ")));
    }
    if let Some(keyword) = find(parts.keyword.text()) {
        for text in operands(&keyword.grammar, keyword.name, parts)? {
            tree.push_str(&format!(" {text}"));
        }
    }
    Ok(tree)
}

fn operands(grammar: &Grammar, name: &str, parts: &Parts<'_>) -> Result<Vec<String>, Diagnostic> {
    let operands = parts.operands;
    Ok(match grammar {
        Grammar::Text(_) => text(operands.text()),
        Grammar::Words(_) => operand::words(operands).iter().map(|w| quoted(w.text())).collect(),
        Grammar::QuotedWords(_) => operand::quoted_words(operands, parts.escape)
            .iter()
            .map(|word| quoted(word.text()))
            .collect(),
        Grammar::Pairs(_) => operand::pairs(operands, parts.escape, name)?
            .iter()
            .flat_map(|pair| {
                let separator = if pair.legacy { "" } else { "=" };
                [quoted(&pair.key.text), quoted(&pair.value.text), quoted(separator)]
            })
            .collect(),
        Grammar::List(_) => match operand::list(operands)? {
            List::Json(words) => words.iter().map(|word| quoted(&word.text)).collect(),
            List::Words(words) => words.iter().map(|word| quoted(word.text())).collect(),
        },
        Grammar::Command(_) => command(operand::command_line(operands)?),
        Grammar::Check(_) => {
            let (kind, rest) = first_word(operands);
            let mut all = text(kind.text());
            all.extend(command(operand::command_line(rest)?));
            all
        }
        Grammar::Nested(_) if operands.is_empty() => Vec::new(),
        Grammar::Nested(_) => vec![format!("({})", dump(&parts.nested())?)],
    })
}

fn text(text: &str) -> Vec<String> {
    if text.is_empty() { Vec::new() } else { vec![quoted(text)] }
}

fn command(command: CommandLine) -> Vec<String> {
    match command {
        CommandLine::Shell(line) => text(&line),
        CommandLine::Exec(argv) => argv.iter().map(|argument| quoted(argument)).collect(),
    }
}

/// All trees of a file, one in a line, with the first and last lines of the instructions.
fn dump_file(bytes: &[u8]) -> Result<(String, Vec<(usize, usize)>), Diagnostic> {
    let source = Source::new("Dockerfile", bytes);
    let escape = directive::parse(source.text())?.escape;
    let mut reader = Reader::new(source.text(), None);
    let mut trees = String::new();
    let mut lines = Vec::new();
    while let Some(line) = reader.next_line(escape)? {
        let parts = Parts::split(line.text(), escape, Dialect::Docker);
        trees.push_str(&format!("({})\n", dump(&parts)?));
        lines.push(line.lines);
        if super::takes_heredocs(&parts) {
            for (_, marker) in heredoc::markers(parts.line) {
                reader.read_body(&marker.name, marker.chomp)?;
            }
        }
    }
    Ok((trees, lines))
}

#[test]
fn buildkits_trees() {
    let directories = reference::directories("parser/testfiles");
    for directory in &directories {
        let bytes = std::fs::read(directory.join("Dockerfile")).unwrap();
        let expect = std::fs::read_to_string(directory.join("result")).unwrap();
        let (trees, _) = dump_file(&bytes).unwrap();
        assert_eq!(trees.trim(), expect.trim(), "{}", directory.display());
    }
    assert!(directories.is_empty() || directories.len() == 33);
}

#[test]
fn buildkits_negative_files() {
    for directory in reference::directories("parser/testfiles-negative") {
        let bytes = std::fs::read(directory.join("Dockerfile")).unwrap();
        assert!(crate::parse("Dockerfile", &bytes).is_err(), "{}", directory.display());
    }
}

#[test]
fn buildkits_line_numbers() {
    let Some(path) = reference::path("parser/testfile-line/Dockerfile") else { return };
    let Some(tables) = reference::json("tables/parser_misc.json") else { return };
    let (_, lines) = dump_file(&std::fs::read(path).unwrap()).unwrap();
    let expect: Vec<(usize, usize)> =
        serde_json::from_value(tables["line_numbers_of_testfile_line"]["children"].clone())
            .unwrap();
    assert_eq!(lines, expect);
}
