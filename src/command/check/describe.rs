//! Which questions a Dockerfile can be asked: `--call=subrequests.describe`.

use serde_json::{Value, json};

use super::json::pretty;
use crate::{args::Format, text};

/// What BuildKit calls the method, and what it is for.
const METHODS: [(&str, &str); 4] = [
    (OUTLINE, "List all parameters current build target supports"),
    ("targets", "List all targets current build supports"),
    ("lint", "Lint a Dockerfile"),
    ("subrequests.describe", "List available subrequest types"),
];

/// The method that depends on an option, `target`.
const OUTLINE: &str = "outline";

const VERSION: &str = "1.0.0";

/// Returns the list.
pub(super) fn methods(format: Format) -> String {
    match format {
        Format::Text => {
            let mut rows = vec![["NAME", "VERSION", "DESCRIPTION"].map(str::to_owned).to_vec()];
            rows.extend(METHODS.iter().map(|(name, description)| {
                [name, VERSION, description].map(str::to_owned).to_vec()
            }));
            text::table(&rows, 3)
        }
        Format::Json | Format::Sarif => pretty(&METHODS.iter().map(document).collect()),
    }
}

fn document((name, description): &(&str, &str)) -> Value {
    let named = |name: &str, description: &str| json!({ "name": name, "description": description });
    let options: Vec<Value> = match *name {
        OUTLINE => vec![named("target", "Target build stage")],
        _ => Vec::new(),
    };
    let results = ["result.json", "result.txt"].map(|name| named(name, ""));
    json!({
        "name": format!("frontend.{name}"),
        "version": VERSION,
        "type": "rpc",
        "description": description,
        "opts": options,
        "inputs": null,
        "metadata": results,
        "refs": null,
    })
}
