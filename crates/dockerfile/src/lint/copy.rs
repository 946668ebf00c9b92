//! Sources in the build context that an ignore file hides, or that one should.

use plan::{CopySource, Op, Origin};

use super::{ContextFacts, Findings, GitIgnored, IgnoreFile, Place, table::Rule};
use crate::lower::Seen;
use crate::quoted::quoted;

pub(super) static COPY_IGNORED_FILE: Rule = Rule::of_buildkit(
    "CopyIgnoredFile",
    "copy-ignored-file",
    "Attempting to Copy file that is excluded by .dockerignore",
);

pub(super) static COPY_EXCLUDED_SOURCE: Rule = Rule::of_kiln(
    "CopyExcludedSource",
    "An ignore file hides what is to be copied, and none of its exceptions brings it back",
);

pub(super) static COPY_GIT_IGNORED_FILES: Rule = Rule::of_kiln(
    "CopyGitIgnoredFiles",
    "Files that the repository ignores are copied into the image, and invalidate the cache whenever they change",
);

/// How many of the files that git ignores a message names.
const NAMED: usize = 3;

/// The sources of `COPY` and `ADD`, as they expand.
pub(super) fn check(seen: &Seen<'_>, context: &ContextFacts<'_>, findings: &mut Findings) {
    let Some(Op::Copy(copy)) = seen.op else { return };
    if copy.origin != Origin::Context {
        return;
    }
    let place = Place { lines: seen.lines, comments: seen.comments };
    for source in &copy.sources {
        let CopySource::Path(source) = source else { continue };
        let path = clean(source);
        if let Some(file) = &context.ignore_file {
            check_hidden(file, &path, copy.add, place, findings);
        }
        // What `--exclude` leaves out is for the file system to say.
        if copy.exclude.is_empty() && !copy.parents {
            check_git(context.git_ignored, &path, seen, place, findings);
        }
    }
}

/// BuildKit is silent as soon as there are exceptions, since it does not look for what they bring back.
fn check_hidden(
    file: &IgnoreFile<'_>,
    path: &str,
    is_add: bool,
    place: Place<'_>,
    findings: &mut Findings,
) {
    // A wildcard is no path; without exceptions its text is hidden by the patterns that hide all that it can match.
    if file.has_exceptions && path.contains(['*', '?', '[']) {
        return;
    }
    let Some((line, pattern)) = (file.hides)(path) else { return };
    let (path, reason) = (quoted(path), format!("line {line} of {} is `{pattern}`", file.name));
    if file.has_exceptions {
        let name = if is_add { "ADD" } else { "COPY" };
        let message = format!(
            "Source {path} of {name} is excluded by line {line} of {}: `{pattern}`",
            file.name
        );
        findings.add(&COPY_EXCLUDED_SOURCE, place, message);
    } else {
        let verb = if is_add { "Add" } else { "Copy" };
        let message = format!("Attempting to {verb} file {path} that is excluded by .dockerignore");
        findings.add_with(&COPY_IGNORED_FILE, place, message, Some(reason));
    }
}

/// A directory with files in it that git ignores. One that is named itself is meant to be copied.
fn check_git(
    ignored: &[GitIgnored],
    path: &str,
    seen: &Seen<'_>,
    place: Place<'_>,
    findings: &mut Findings,
) {
    let inside = |file: &&GitIgnored| match path {
        "." | "*" => true,
        path => file
            .path
            .strip_prefix(path)
            .is_some_and(|rest| rest.strip_prefix('/').is_some_and(|rest| !rest.is_empty())),
    };
    let found: Vec<&GitIgnored> = ignored.iter().filter(inside).collect();
    if found.is_empty() {
        return;
    }
    let mut names: Vec<&str> = found.iter().take(NAMED).map(|file| file.path.as_str()).collect();
    let more = match found.len() - names.len() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    names.sort_unstable();
    let message = format!(
        "{} {} takes what .gitignore excludes: {}{more}",
        seen.instruction.keyword(),
        quoted(path),
        names.join(", ")
    );
    let detail = "name it in .dockerignore".to_owned();
    findings.add_with(&COPY_GIT_IGNORED_FILES, place, message, Some(detail));
}

/// A path relative to the context, without `.`, `..` and empty names; `.` is the context.
fn clean(path: &str) -> String {
    let mut names: Vec<&str> = Vec::new();
    for name in path.split('/') {
        match name {
            "" | "." => {}
            ".." => drop(names.pop()),
            name => names.push(name),
        }
    }
    if names.is_empty() { ".".to_owned() } else { names.join("/") }
}

/// True if a `COPY` or `ADD` takes the whole context.
pub(super) fn takes_everything(seen: &Seen<'_>) -> bool {
    let Some(Op::Copy(copy)) = seen.op else { return false };
    copy.origin == Origin::Context
        && copy.exclude.is_empty()
        && copy.sources.iter().any(|source| match source {
            CopySource::Path(path) => matches!(clean(path).as_str(), "." | "*"),
            CopySource::Url(_) | CopySource::Git(_) | CopySource::Heredoc(_) => false,
        })
}
