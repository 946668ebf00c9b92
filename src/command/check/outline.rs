//! What a build can be given, and which targets there are: as tables, and in the form of `docker build --call`.

use dockerfile::{
    Source,
    outline::{Asked, Outline, Target},
};
use registry::base64;
use serde_json::{Map, Value, json};

use super::json::{location, pretty};
use crate::{args::Format, text};

/// Returns the parameters of a build.
pub(super) fn outline(outline: &Outline, source: &Source, format: Format) -> String {
    match format {
        Format::Json | Format::Sarif => pretty(&outline_document(outline, source)),
        Format::Text => outline_tables(outline),
    }
}

/// Returns the stages that can be built.
pub(super) fn targets(targets: &[Target], source: &Source, format: Format) -> String {
    match format {
        Format::Json | Format::Sarif => pretty(&targets_document(targets, source)),
        Format::Text => targets_table(targets),
    }
}

fn outline_tables(outline: &Outline) -> String {
    let head: Vec<Vec<String>> =
        [("TARGET:", &outline.name), ("DESCRIPTION:", &outline.description)]
            .into_iter()
            .filter_map(|(title, value)| Some(vec![title.to_owned(), value.clone()?]))
            .collect();
    let args = outline.args.iter().map(|arg| {
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        vec![arg.name.clone(), text(&arg.value), text(&arg.description)]
    });
    let head = text::table(&head, 1);
    let mut tables = vec![with_titles(&["BUILD ARG", "VALUE", "DESCRIPTION"], args)];
    for (title, list) in [("SECRET", &outline.secrets), ("SSH", &outline.ssh)] {
        let row = |asked: &Asked| {
            let required = if asked.required { "true" } else { "" };
            vec![asked.id.clone(), required.to_owned()]
        };
        tables.push(with_titles(&[title, "REQUIRED"], list.iter().map(row)));
    }
    let caches = outline.caches.iter().map(|cache| vec![cache.id.clone()]);
    tables.push(with_titles(&["CACHE"], caches));
    let tables = tables.iter().map(|rows| text::table(rows, 3));
    let tables = std::iter::once(head).chain(tables).filter(|table| !table.is_empty());
    // Each is followed by a blank line, the last one too.
    tables.map(|table| table + "\n").collect()
}

/// Rows below their titles; nothing without rows.
fn with_titles(titles: &[&str], rows: impl Iterator<Item = Vec<String>>) -> Vec<Vec<String>> {
    let mut table = vec![titles.iter().map(|title| (*title).to_owned()).collect()];
    table.extend(rows);
    if table.len() == 1 { Vec::new() } else { table }
}

fn outline_document(outline: &Outline, source: &Source) -> Value {
    let mut document = Map::new();
    let mut add = |key: &str, value: Option<Value>| {
        if let Some(value) = value {
            document.insert(key.to_owned(), value);
        }
    };
    add("name", outline.name.clone().map(Value::from));
    add("description", outline.description.clone().map(Value::from));
    let args = outline.args.iter().map(|arg| {
        let mut found = json!({ "name": arg.name });
        for (key, value) in [("description", &arg.description), ("value", &arg.value)] {
            if let Some(value) = value.as_ref().filter(|value| !value.is_empty()) {
                found[key] = value.as_str().into();
            }
        }
        found["location"] = location(source, arg.lines);
        found
    });
    add("args", list(args));
    let asked = |asked: &Asked| {
        let mut found = json!({ "name": asked.id });
        if asked.required {
            found["required"] = true.into();
        }
        found["location"] = location(source, asked.lines);
        found
    };
    add("secrets", list(outline.secrets.iter().map(asked)));
    add("ssh", list(outline.ssh.iter().map(asked)));
    let cache =
        |cache: &Asked| json!({ "ID": cache.id, "location": location(source, cache.lines) });
    add("cache", list(outline.caches.iter().map(cache)));
    add("sources", Some(sources(source)));
    Value::Object(document)
}

/// The texts that places are in.
fn sources(source: &Source) -> Value {
    source.files().map(|file| Value::from(base64::encode(file.text.as_bytes()))).collect()
}

fn list(values: impl Iterator<Item = Value>) -> Option<Value> {
    let values: Vec<Value> = values.collect();
    Some(values).filter(|values| !values.is_empty()).map(Value::from)
}

fn targets_table(targets: &[Target]) -> String {
    let rows = targets.iter().filter_map(|target| {
        let name = match (&target.name, target.is_default) {
            (Some(name), true) => format!("{name} (default)"),
            (Some(name), false) => name.clone(),
            (None, true) => "(default)".to_owned(),
            // Nobody can name it.
            (None, false) => return None,
        };
        Some(vec![name, target.description.clone().unwrap_or_default()])
    });
    text::table(&with_titles(&["TARGET", "DESCRIPTION"], rows), 1)
}

fn targets_document(targets: &[Target], source: &Source) -> Value {
    let target = |target: &Target| {
        let mut found = Map::new();
        let mut add = |key: &str, value: Option<Value>| {
            if let Some(value) = value {
                found.insert(key.to_owned(), value);
            }
        };
        add("name", target.name.clone().map(Value::from));
        add("default", target.is_default.then(|| true.into()));
        add("description", target.description.clone().map(Value::from));
        add("base", Some(target.base.clone().into()));
        add("platform", target.platform.clone().map(Value::from));
        add("location", Some(location(source, target.lines)));
        Value::Object(found)
    };
    let targets: Vec<Value> = targets.iter().map(target).collect();
    json!({ "targets": targets, "sources": sources(source) })
}
