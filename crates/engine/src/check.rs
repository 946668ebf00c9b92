//! A Dockerfile looked at without being built: the checks before a build, and those that are all that is wanted.

use std::{collections::BTreeMap, path::Path};

use dockerfile::{
    BaseImage, BaseRef, Diagnostic, Dockerfile, Linted, Request, Source,
    lint::{ContextFacts, Examination, GitIgnored, IgnoreFile, lint_above},
};
use filetree::{Patterns, gitignore::Depth};
use store::Image;

use crate::{BuildRequest, Engine, Error, Event, Events, NamedContext, context::Contexts, resolve};

/// What is known of a Dockerfile that was not built.
#[derive(Debug)]
pub struct Checked {
    /// The file, as far as it could be read.
    pub file: Dockerfile,
    /// What was asked for: of every target for every platform, one at least.
    pub requests: Vec<Request>,
    /// The base images that are in the store.
    pub known: BTreeMap<BaseRef, BaseImage>,
    /// What the checks say. Stages that the target does not need are examined too if no target was asked for.
    pub linted: Linted,
}

/// Checks the Dockerfile of a build. Base images are taken from the store; none is pulled for that.
pub fn check(engine: &Engine, request: &BuildRequest, events: &Events) -> Result<Checked, Error> {
    let contexts = Contexts::open(engine, request, events)?;
    let (file, mistake) = contexts.parse(engine);
    let requests = resolve::lower_requests(request);
    let mut known = BTreeMap::new();
    let linted = match mistake {
        Some(mistake) => above_mistake(&file, &mistake, &requests),
        None => {
            let facts = Facts::of(&contexts, Depth::All)?;
            let check = Check { engine, request, facts, all_stages: true };
            check.lint_all(&file, &requests, &mut known)?
        }
    };
    Ok(Checked { file, requests, known, linted })
}

/// The checks of a file with a mistake: of what stands above it.
pub(crate) fn above_mistake(
    file: &Dockerfile,
    mistake: &Diagnostic,
    requests: &[Request],
) -> Linted {
    joined(requests.iter().map(|request| lint_above(file, mistake.clone(), request)))
}

/// The checks of a build, which looks at the targets only, and knows the base images it takes.
pub(crate) fn of_build(
    engine: &Engine,
    file: &Dockerfile,
    request: &BuildRequest,
    contexts: &Contexts,
    mut known: BTreeMap<BaseRef, BaseImage>,
) -> Result<Linted, Error> {
    // A context that cannot be looked at is no reason to fail: the step that copies from it will say so, if there is one.
    let facts = Facts::of(contexts, Depth::Top).unwrap_or_default();
    let check = Check { engine, request, facts, all_stages: false };
    check.lint_all(file, &resolve::lower_requests(request), &mut known)
}

/// What was found for several targets and platforms, each once.
fn joined(all: impl IntoIterator<Item = Linted>) -> Linted {
    let mut joined = Linted::default();
    for linted in all {
        for finding in linted.findings {
            if !joined.findings.contains(&finding) {
                joined.findings.push(finding);
            }
        }
        for base in linted.unknown {
            if !joined.unknown.contains(&base) {
                joined.unknown.push(base);
            }
        }
        joined.mistake = joined.mistake.or(linted.mistake);
        joined.violation = joined.violation.or(linted.violation);
    }
    joined
}

/// How many findings a build tells.
const MOST_TOLD: usize = 100;

/// Tells what the checks found, each in one line.
pub(crate) fn tell(linted: &Linted, source: &Source, events: &Events) {
    for finding in linted.findings.iter().take(MOST_TOLD) {
        let line = source.line_in_words(finding.lines.0);
        let mut text = format!("warning: {}: {} ({line})", finding.rule.name, finding.message);
        if let Some(detail) = &finding.detail {
            text.push_str(&format!("; {detail}"));
        }
        events.send(Event::Warning(text));
    }
    if let Some(more @ 1..) = linted.findings.len().checked_sub(MOST_TOLD) {
        let text = format!("warning: and {more} more; `kiln check` tells all of them");
        events.send(Event::Warning(text));
    }
}

/// What the rules are told of a context that is a directory of the host.
#[derive(Debug, Default)]
struct Facts {
    /// The ignore file's name, as messages call it, and what it says.
    ignore: Option<(String, Patterns)>,
    git_ignored: Vec<GitIgnored>,
}

impl Facts {
    fn of(contexts: &Contexts, depth: Depth) -> Result<Self, Error> {
        let Some(context) = contexts.main_directory() else { return Ok(Self::default()) };
        let ignore = contexts.main_ignore_file()?;
        let patterns = ignore.as_ref().map(|(_, patterns)| patterns);
        let git_ignored = filetree::git_ignored(context, patterns, depth)?
            .into_iter()
            .map(|found| GitIgnored { path: found.path, pattern: found.pattern })
            .collect();
        let ignore = ignore.map(|(path, patterns)| (name_of(&path), patterns));
        Ok(Self { ignore, git_ignored })
    }
}

struct Check<'a> {
    engine: &'a Engine,
    request: &'a BuildRequest,
    facts: Facts,
    all_stages: bool,
}

impl Check<'_> {
    fn lint_all(
        &self,
        file: &Dockerfile,
        requests: &[Request],
        known: &mut BTreeMap<BaseRef, BaseImage>,
    ) -> Result<Linted, Error> {
        let each = requests.iter().map(|request| self.lint(file, request, known));
        Ok(joined(each.collect::<Result<Vec<_>, _>>()?))
    }

    /// Asks the rules, and again with the base images that they would like to know, until none of them is in the store.
    fn lint(
        &self,
        file: &Dockerfile,
        request: &Request,
        known: &mut BTreeMap<BaseRef, BaseImage>,
    ) -> Result<Linted, Error> {
        let ignore = self.facts.ignore.as_ref();
        let hides = |path: &str| {
            let exclusion = ignore?.1.hides_all(path)?;
            Some((exclusion.line, exclusion.pattern))
        };
        let ignore_file = ignore.map(|(name, patterns)| IgnoreFile {
            name,
            has_exceptions: patterns.has_exceptions(),
            hides: &hides,
        });
        loop {
            let linted = dockerfile::lint(
                file,
                &Examination {
                    request,
                    known,
                    all_stages: self.all_stages,
                    context: ContextFacts { ignore_file, git_ignored: &self.facts.git_ignored },
                },
            );
            let before = known.len();
            for base in &linted.unknown {
                if let Some(image) = self.base(base)? {
                    known.insert(base.clone(), BaseImage { id: image.id, config: image.config });
                }
            }
            if known.len() == before {
                return Ok(linted);
            }
        }
    }

    /// A base image that is in the store. Of an image for another platform nothing can be said: a build pulls its own.
    fn base(&self, base: &BaseRef) -> Result<Option<Image>, Error> {
        let (reference, platform) = match base {
            BaseRef::Image { reference, platform } => (reference, platform),
            BaseRef::Context { name, platform } => match self.request.named_contexts.get(name) {
                Some(NamedContext::Image(reference)) => (reference, platform),
                _ => return Ok(None),
            },
        };
        Ok(self.engine.store().find_platform(&reference.tagged(), platform)?)
    }
}

/// An ignore file as messages call it: there are not two of one name.
fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
