//! `# check=skip=A,B;error=true;experimental=all`: which rules are heard, and what becomes of what they say.

use std::collections::BTreeSet;

use super::table::Rule;
use crate::ast::Dockerfile;
use crate::diagnostic::Diagnostic;
use crate::directive;
use crate::lower::Request;
use crate::quoted::quoted;

/// The build argument that replaces the directive of the file.
const BUILD_ARG: &str = "BUILDKIT_DOCKERFILE_CHECK";

/// What a `check` directive says.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Options {
    /// Rules that are not heard.
    pub skip: Names,
    /// Experimental rules that are.
    pub experimental: Names,
    /// True if findings are errors.
    pub error: bool,
}

/// Some rules, or all.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Names {
    all: bool,
    names: BTreeSet<String>,
}

impl Options {
    /// The options of a file, and the mistake in them. They come from the build argument if there is one.
    pub(super) fn of(file: &Dockerfile, request: &Request) -> (Self, Option<Diagnostic>) {
        let given = request.build_args.get(BUILD_ARG);
        let parsed = match (given, &file.directives.check) {
            (Some(text), _) => Self::parse(text),
            (None, Some(text)) => Self::parse(text).map_err(|mistake| match line_of(file) {
                Some(line) => mistake.on_lines((line, line)),
                None => mistake,
            }),
            (None, None) => Ok(Self::default()),
        };
        match parsed {
            Ok(options) => (options, None),
            Err(mistake) => (Self::default(), Some(mistake)),
        }
    }

    /// Reads the value of a directive.
    ///
    /// Fails for an option that does not exist, with BuildKit's words.
    pub fn parse(text: &str) -> Result<Self, Diagnostic> {
        let mut options = Self::default();
        let text = text.trim();
        for part in text.splitn(3, ';').filter(|_| !text.is_empty()) {
            let wrong = |what: &str| {
                let message = format!("invalid check option {}", quoted(what));
                Diagnostic::new(message)
                    .hint("write check=skip=RULE,RULE;error=true;experimental=all, or parts of it")
            };
            let (key, value) = part.split_once('=').ok_or_else(|| wrong(part))?;
            match key.trim() {
                "skip" => options.skip = Names::parse(value),
                "experimental" => options.experimental = Names::parse(value),
                "error" => {
                    options.error = truth(value.trim()).ok_or_else(|| {
                        Diagnostic::new(format!("failed to parse check option {}", quoted(part)))
                    })?;
                }
                unknown => return Err(wrong(unknown)),
            }
        }
        Ok(options)
    }

    /// These options together with those of the comments above an instruction, of which one may be the `directive` of the
    /// file. What is wrong there is no option; whether findings are errors is not for a single instruction to say.
    pub(super) fn with_comments(&self, comments: &[String], directive: Option<&str>) -> Self {
        let mut options = self.clone();
        for comment in comments {
            let value = directive::value_in_comment(comment, "check");
            if let Some(Ok(more)) = value.filter(|_| value != directive).map(Self::parse) {
                options.skip.extend(more.skip);
                options.experimental.extend(more.experimental);
            }
        }
        options
    }

    /// True if a rule is heard. Experimental ones are heard if they are asked for, and cannot be skipped.
    pub(super) fn wants(&self, rule: &Rule) -> bool {
        match rule.is_experimental {
            true => self.experimental.has(rule.name),
            false => !self.skip.has(rule.name),
        }
    }
}

/// The line of the directive, counted from 1.
fn line_of(file: &Dockerfile) -> Option<usize> {
    let is_directive = |line: &str| {
        let comment = line.trim().strip_prefix('#');
        comment
            .is_some_and(|comment| directive::value_in_comment(comment.trim(), "check").is_some())
    };
    file.source.text().lines().position(is_directive).map(|index| index + 1)
}

impl Names {
    fn parse(text: &str) -> Self {
        if text.trim() == "all" {
            return Self { all: true, names: BTreeSet::new() };
        }
        let names = text.split(',').map(|name| name.trim().to_owned()).collect();
        Self { all: false, names }
    }

    fn has(&self, name: &str) -> bool {
        self.all || self.names.contains(name)
    }

    fn extend(&mut self, more: Self) {
        self.all |= more.all;
        self.names.extend(more.names);
    }
}

/// The spellings of a truth value that Go knows.
fn truth(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::Options;

    #[test]
    fn options() {
        let options = Options::parse("skip= A , B;experimental=all;error=1").unwrap();
        assert!(options.skip.has("A") && options.skip.has("B") && !options.skip.has("a"));
        assert!(options.experimental.has("anything") && options.error);
        assert_eq!(Options::parse(" ").unwrap(), Options::default());
        assert!(!Options::parse("error=F").unwrap().error);
    }

    #[test]
    fn mistakes() {
        for (text, message) in [
            ("nothing", "invalid check option \"nothing\""),
            ("skip=A;warn=true", "invalid check option \"warn\""),
            ("error=maybe", "failed to parse check option \"error=maybe\""),
        ] {
            assert_eq!(Options::parse(text).unwrap_err().message, message);
        }
    }

    #[test]
    fn comments_add_and_never_fail() {
        let above = Options::parse("skip=A").unwrap();
        let comments = ["check=skip=B // because".to_owned(), "check=nonsense".to_owned()];
        let options = above.with_comments(&comments, None);
        assert!(options.skip.has("A") && options.skip.has("B"));
        assert!(!above.with_comments(&["check=error=true".to_owned()], None).error);
        assert!(!above.with_comments(&comments, Some("skip=B")).skip.has("B"));
    }
}
