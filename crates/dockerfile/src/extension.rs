//! What `# syntax=kiln` adds to the language, and what it does not.
//!
//! A Dockerfile without this line means what BuildKit takes it to mean, and nothing else. With it, other builders fail at
//! the first line already, instead of building something else: to BuildKit it names an image that does not exist.
//!
//! | extension | what it is for |
//! |---|---|
//! | `INCLUDE path` (see [`crate::include`]) | parts that several Dockerfiles share: wanted since 2013, worked around by preprocessors whose errors name lines that nobody has written |
//! | `COPY --if-exists` | files that may be missing: worked around by wildcards such as `fil[e]`, which have the same effect and say nothing of it; called as in Earthly |
//!
//! What else is asked for has a form in the language already, or none that is worth an extension:
//!
//! - conditions: `FROM stage-$VARIABLE` chooses between stages, and what is not chosen is not built;
//! - a directory of the host during the build: `--build-context name=DIR` with `RUN --mount=from=name`, which unlike a volume
//!   is in the key;
//! - fewer layers: what a last stage copies `--from` another is one layer, on any base;
//! - several targets in one run: a matter of the command line.
//!
//! An extension is for files of a build, not for triggers: `ONBUILD` is read by whoever builds on the image.

use crate::ast::Directives;

/// The value of the directive, which is also the keyword for messages.
const SYNTAX: &str = "kiln";

/// Which language a file is written in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Dialect {
    /// BuildKit's.
    Docker,
    /// The same with the extensions.
    Kiln,
}

impl Dialect {
    /// What the directives of a file ask for.
    pub(crate) fn of(directives: &Directives) -> Self {
        let syntax = directives.syntax.as_deref().unwrap_or_default();
        match syntax.split_whitespace().next() {
            Some(SYNTAX) => Self::Kiln,
            Some(_) | None => Self::Docker,
        }
    }
}

/// What to do about an extension in a file that does not ask for them.
pub(crate) fn hint(extension: &str) -> String {
    format!(
        "{extension} is an extension of kiln: write `# syntax={SYNTAX}` as the very first line of the Dockerfile; \
         other builders cannot build it then"
    )
}

#[cfg(test)]
mod tests {
    use super::Dialect;

    #[test]
    fn only_the_directive_asks_for_it() {
        for (text, expected) in [
            ("# syntax=kiln\nFROM a", Dialect::Kiln),
            ("#syntax = kiln  \nFROM a", Dialect::Kiln),
            ("# escape=`\n# syntax=kiln\nFROM a", Dialect::Kiln),
            ("FROM a", Dialect::Docker),
            ("# syntax=docker/dockerfile:1\nFROM a", Dialect::Docker),
            ("# syntax=kiln/x\nFROM a", Dialect::Docker),
            ("# a comment\n# syntax=kiln\nFROM a", Dialect::Docker),
            ("\n# syntax=kiln\nFROM a", Dialect::Docker),
        ] {
            let directives = crate::directive::parse(text).unwrap();
            assert_eq!(Dialect::of(&directives), expected, "{text}");
        }
    }
}
