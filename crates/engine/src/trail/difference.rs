//! What differs between what two keys were made of, in words.

use dockerfile::lint;
use filetree::Change;
use plan::{Derived, Ingredient};

use crate::contents::Contents;

/// How much of a value is shown.
const SHOWN: usize = 40;

/// Says how a step differs from what it was. What the step itself says comes first: that something below it changed is true
/// of every step that follows a changed one.
pub(super) fn between(
    known: &[(String, String)],
    derived: &Derived,
    contents: &Contents,
    position: usize,
) -> String {
    let is_own = |name: &str| name != "parent";
    let now = derived.ingredients.iter().filter(|ingredient| is_own(&ingredient.name));
    for (index, Ingredient { name, value }) in now.clone().enumerate() {
        // Several can have one name: the n-th is compared with the n-th.
        let nth = now.clone().take(index).filter(|other| other.name == *name).count();
        let before = known.iter().filter(|(known, _)| known == name).nth(nth);
        match before {
            Some((_, before)) if before == value => {}
            before => return told(name, before.map(|(_, value)| value), Some(value), contents),
        }
    }
    for (name, value) in known.iter().filter(|(name, _)| is_own(name)) {
        if !derived.ingredients.iter().any(|ingredient| ingredient.name == *name) {
            return told(name, Some(value), None, contents);
        }
    }
    let below = if position == 0 { "what it starts with" } else { "a step before it" };
    format!("{below} changed")
}

/// One difference, in words.
fn told(name: &str, before: Option<&String>, now: Option<&String>, contents: &Contents) -> String {
    if let Some(path) = name.strip_prefix("content ") {
        return files(contents).unwrap_or_else(|| format!("`{path}` has another content"));
    }
    if name.starts_with("heredoc ") || name.starts_with("script ") || name == "command" {
        return format!("the {} changed", name.split(' ').next().unwrap_or(name));
    }
    let what = match name.strip_prefix("ENV ") {
        Some(variable) if lint::is_name_of_secret(variable) => {
            return format!("the variable {variable} changed");
        }
        Some(variable) => format!("the variable {variable}"),
        None => name.to_owned(),
    };
    match (before, now) {
        (Some(before), Some(now)) => {
            format!("{what} changed from {} to {}", quoted(before), quoted(now))
        }
        (None, Some(now)) => format!("{what} is new: {}", quoted(now)),
        (_, None) => format!("{what} is gone, it was {}", before.map_or(String::new(), quoted)),
    }
}

fn quoted(value: impl AsRef<str>) -> String {
    let value = value.as_ref();
    match value.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{:?}…", &value[..end]),
        None => format!("{value:?}"),
    }
}

/// Which files of the context changed, if that is known.
fn files(contents: &Contents) -> Option<String> {
    let changes = contents.changes();
    let (path, change) = changes.first?;
    let path = path.display();
    if changes.count > 1 {
        return Some(format!("{} files changed, the first is {path}", changes.count));
    }
    Some(match change {
        Change::New => format!("{path} is new"),
        Change::Content => format!("{path} changed"),
        Change::Gone => format!("{path} is gone"),
    })
}
