//! Findings for code hosts: SARIF 2.1.0, with the table of all rules.

use dockerfile::lint::{Finding, RULES, Rule};
use serde_json::{Value, json};

use super::{Report, json};

/// What a mistake is called, which no rule is about.
const MISTAKE: &str = "DockerfileError";

/// Returns the document.
pub(super) fn findings(report: &Report<'_>) -> String {
    let mut rules: Vec<Value> = RULES.iter().map(|rule| described(rule)).collect();
    rules.push(json!({
        "id": MISTAKE,
        "shortDescription": { "text": "The Dockerfile cannot be built" },
    }));
    let mut results: Vec<Value> =
        report.findings.iter().map(|finding| result(finding, report)).collect();
    if let Some(mistake) = &report.checked.linted.mistake {
        let lines = mistake.lines.unwrap_or((1, 1));
        let mut text = mistake.message.clone();
        if let Some(hint) = &mistake.hint {
            text.push_str(&format!(" ({hint})"));
        }
        results.push(json!({
            "ruleId": MISTAKE,
            "ruleIndex": RULES.len(),
            "level": "error",
            "message": { "text": text },
            "locations": [place(report, lines)],
        }));
    }
    json::pretty(&json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {
                "driver": {
                    "name": "kiln",
                    "version": env!("CARGO_PKG_VERSION"),
                    "rules": rules,
                },
            },
            "results": results,
        }],
    }))
}

fn described(rule: &Rule) -> Value {
    let mut described = json!({
        "id": rule.name,
        "shortDescription": { "text": rule.description },
    });
    if let Some(url) = rule.url() {
        described["helpUri"] = url.into();
    }
    described
}

fn result(finding: &Finding, report: &Report<'_>) -> Value {
    let mut text = finding.message.clone();
    if let Some(detail) = &finding.detail {
        text.push_str(&format!(" ({detail})"));
    }
    json!({
        "ruleId": finding.rule.name,
        "ruleIndex": RULES.iter().position(|rule| *rule == finding.rule),
        "level": "warning",
        "message": { "text": text },
        "locations": [place(report, finding.lines)],
    })
}

fn place(report: &Report<'_>, lines: (usize, usize)) -> Value {
    let (file, (first, last)) = report.place(lines);
    json!({
        "physicalLocation": {
            "artifactLocation": { "uri": uri(&report.path_of(file)) },
            "region": { "startLine": first, "endLine": last },
        },
    })
}

/// A path as a relative reference (RFC 3986).
fn uri(path: &str) -> String {
    let mut uri = String::with_capacity(path.len());
    for byte in path.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                uri.push(char::from(byte));
            }
            byte => uri.push_str(&format!("%{byte:02X}")),
        }
    }
    uri
}

#[cfg(test)]
mod tests {
    use super::uri;

    #[test]
    fn paths_as_references() {
        assert_eq!(uri("a b/Dockerfile.é"), "a%20b/Dockerfile.%C3%A9");
    }
}
