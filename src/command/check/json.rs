//! Findings for programs, in the form of `docker build --call=check,format=json`. What that does not have is in fields of its
//! own: `hint` of a warning, and `portability`.

use dockerfile::{Source, lint::portability::Effect};
use registry::base64;
use serde_json::{Value, json};

use super::Report;

/// Returns the document.
pub(super) fn findings(report: &Report<'_>) -> String {
    let source = &report.checked.file.source;
    let warnings: Vec<Value> = report
        .findings
        .iter()
        .map(|finding| {
            let mut warning = json!({
                "ruleName": finding.rule.name,
                "description": finding.rule.description,
            });
            if let Some(url) = finding.rule.url() {
                warning["url"] = url.into();
            }
            warning["detail"] = finding.message.as_str().into();
            if let Some(detail) = &finding.detail {
                warning["hint"] = detail.as_str().into();
            }
            warning["location"] = location(source, finding.lines);
            warning
        })
        .collect();
    let sources = source.files().enumerate().map(|(index, file)| {
        let data = base64::encode(file.text.as_bytes());
        json!({ "filename": report.path_of(index), "language": "Dockerfile", "data": data })
    });
    let sources: Vec<Value> = sources.collect();
    let mut document = json!({ "warnings": warnings, "sources": sources });
    if let Some(mistake) = &report.checked.linted.mistake {
        let mut error = json!({ "message": mistake.message });
        if let Some(lines) = mistake.lines {
            error["location"] = location(source, lines);
        }
        document["buildError"] = error;
    }
    if let Some(notes) = &report.notes {
        let notes = notes.iter().map(|note| {
            json!({
                "builder": note.builder.to_string(),
                "builds": note.effect == Effect::Differs,
                "message": format!("{} {}", note.builder, note.message),
                "location": location(source, note.lines),
            })
        });
        document["portability"] = notes.collect();
    }
    pretty(&document)
}

/// The lines of an instruction, and which of the sources they are in; none says the first.
pub(super) fn location(source: &Source, lines: (usize, usize)) -> Value {
    let (file, (first, last)) = super::place(source, lines);
    let ranges = json!([{ "start": { "line": first }, "end": { "line": last } }]);
    match file {
        0 => json!({ "ranges": ranges }),
        file => json!({ "sourceIndex": file, "ranges": ranges }),
    }
}

/// A document with a line end.
pub(super) fn pretty(document: &Value) -> String {
    format!("{document:#}\n")
}
