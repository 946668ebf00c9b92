//! Findings for people, as `docker build --check` prints them.

use std::fmt::Write as _;

use dockerfile::{
    Source,
    lint::{
        Finding,
        portability::{Builder, Effect, Note},
    },
};

use super::Report;
use crate::{report::excerpt, text};

/// How many lines around those of a finding are shown with them.
const AROUND: usize = 4;
/// The same for a finding about several lines.
const AROUND_MANY: usize = 2;
/// How many lines are shown at most.
const MOST_LINES: usize = 100;

/// Returns all findings in the order of their lines.
pub(super) fn findings(report: &Report<'_>) -> String {
    let mut text = match report.findings.len() {
        0 if report.checked.linted.mistake.is_some() => String::new(),
        0 => "Check complete, no warnings found.\n".to_owned(),
        1 => "Check complete, 1 warning has been found!\n".to_owned(),
        count => format!("Check complete, {count} warnings have been found!\n"),
    };
    let mut findings: Vec<&Finding> = report.findings.iter().collect();
    findings.sort_by_key(|finding| finding.lines.0);
    for finding in findings {
        push(&mut text, finding, report);
    }
    if let Some(notes) = &report.notes {
        text.push_str(&portability(notes, &report.checked.file.source));
    }
    text
}

// Writing to a string cannot fail.
fn push(text: &mut String, finding: &Finding, report: &Report<'_>) {
    let url = finding.rule.url().map_or(String::new(), |url| format!(" - {url}"));
    let _ = writeln!(
        text,
        "\nWARNING: {}{url}\n{}",
        finding.rule.name,
        text::message(&finding.message)
    );
    if let Some(detail) = &finding.detail {
        let _ = writeln!(text, "({})", text::message(detail));
    }
    push_lines(text, report, finding.lines);
}

/// The lines with some before and after, those that are meant marked.
fn push_lines(text: &mut String, report: &Report<'_>, lines: (usize, usize)) {
    let source = &report.checked.file.source;
    let (file, (first, last)) = report.place(lines);
    let before = lines.0 - first;
    let around = if first == last { AROUND } else { AROUND_MANY };
    let end = source.files().nth(file).map_or(0, |file| file.lines).max(last);
    let (mut from, mut to, mut added) = (first, last, 0);
    while added < around {
        if from > 1 {
            from -= 1;
            added += 1;
        }
        if to < end {
            to += 1;
            added += 1;
        }
        added += 1;
    }
    let _ = writeln!(text, "{}:{first}\n--------------------", report.path_of(file));
    for number in (from..=to).take(MOST_LINES) {
        let mark = if (first..=last).contains(&number) { ">>>" } else { "   " };
        let line = excerpt::plain(source.line(before + number).unwrap_or_default());
        let _ = writeln!(text, "{}", format!("{number:4} | {mark} {line}").trim_end());
    }
    if to - from >= MOST_LINES {
        let _ = writeln!(text, "     | and so on, to line {last}");
    }
    text.push_str("--------------------\n");
}

fn portability(notes: &[Note], source: &Source) -> String {
    let mut text = "\nPortability\n".to_owned();
    if notes.iter().any(|note| note.builder == Builder::BuildKit) {
        text.push_str("Only kiln builds this file.\n");
    }
    if notes.is_empty() {
        text.push_str("buildah, kaniko and the classic builder build the same.\n");
    }
    for note in notes {
        let effect = match note.effect {
            Effect::Fails => "does not build",
            Effect::Differs => "builds something else",
        };
        let _ = writeln!(
            text,
            "{} {effect}: it {} ({})",
            note.builder,
            text::message(&note.message),
            source.line_in_words(note.lines.0)
        );
    }
    text
}
