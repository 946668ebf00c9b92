//! `kiln doctor`: how steps can be isolated on this machine, and what would help.

use sandbox::{Finding, Rung};
use serde_json::json;
use template::Data;

use super::output;
use crate::{
    listing::Listing,
    report::{Exit, Failure},
};

/// The fields, with their headings.
const HEADINGS: &[(&str, &str)] = &[
    ("Chosen", " "),
    ("Rung", "RUNG"),
    ("Name", "ISOLATION"),
    ("Works", "WORKS"),
    ("Description", "WHAT IT IS, AND WHAT IS MISSING"),
    ("Obstacle", "OBSTACLE"),
];

#[derive(Debug, clap::Args)]
pub(crate) struct Doctor {
    /// `table`, `json`, or a Go template
    #[arg(long)]
    pub(crate) format: Option<String>,
}

/// Tries every rung of the isolation ladder, and marks the one that a build would take.
pub(super) fn run(doctor: &Doctor, wish: Option<Rung>) -> Result<Exit, Failure> {
    let table = "{{.Chosen}}\t{{.Rung}}\t{{.Name}}\t{{.Works}}\t{{.Description}}";
    let listing = Listing::parse(doctor.format.as_deref(), table, HEADINGS)?;
    let findings = sandbox::survey()?;
    let works = |finding: &&Finding| finding.obstacle.is_none();
    let chosen = wish.or_else(|| findings.iter().find(works).map(|finding| finding.rung));
    let rows = findings.iter().map(|finding| row(finding, chosen == Some(finding.rung)));
    output::print(&listing.render(rows)?)?;
    Ok(Exit::Done)
}

fn row(finding: &Finding, is_chosen: bool) -> Data {
    let Finding { rung, obstacle } = finding;
    let description = match obstacle {
        Some(obstacle) => obstacle.clone(),
        None => rung.to_string(),
    };
    Data::row(&json!({
        "Chosen": if is_chosen { "*" } else { " " },
        "Rung": rung.number(),
        "Name": rung.name(),
        "Works": if obstacle.is_none() { "yes" } else { "no" },
        "Description": description,
        "Obstacle": obstacle.as_deref().unwrap_or_default(),
    }))
}

/// Why rungs do not work, a line for each reason.
pub(super) fn obstacles(missed: &[(Rung, sandbox::Error)]) -> Vec<String> {
    let mut lines: Vec<(String, String)> = Vec::new();
    for (rung, error) in missed {
        let why = obstacle(error);
        match lines.last_mut() {
            Some((names, last)) if *last == why => names.push_str(&format!(", {}", rung.name())),
            _ => lines.push((rung.name().to_owned(), why)),
        }
    }
    lines.into_iter().map(|(names, why)| format!("{names}: {why}")).collect()
}

fn obstacle(error: &sandbox::Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}
