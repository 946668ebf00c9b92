//! ARG and ENV: which name has which value where.
//!
//! Three things are kept apart. [`Globals`] are what `FROM` lines see: the automatic platform arguments and the `ARG`s
//! before the first stage. A [`Scope`] is what the instructions of one stage see: the variables of the base, and
//! `ENV` and `ARG` in the order of the file, where the last one of a name wins. The proxy arguments reach every `RUN`
//! without being declared, and are in neither.
//!
//! Not here: how a word is expanded ([`crate::word`]).

use std::collections::BTreeMap;

use oci::Platform;

use crate::ast::Dockerfile;
use crate::diagnostic::Diagnostic;
use crate::epoch::{self, Epoch, EpochSource, SOURCE_DATE_EPOCH};
use crate::limits::Budget;
use crate::lower::Request;
use crate::source::Word;
use crate::word::{self, Expansion, Reason, WordError};

/// The arguments that every `RUN` gets, in both cases of letters, without declaring them.
const PROXIES: [&str; 5] = ["HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY"];

/// The arguments that steer a scan of the build, and never become variables.
const NOT_VARIABLES: [&str; 2] = ["BUILDKIT_SBOM_SCAN_CONTEXT", "BUILDKIT_SBOM_SCAN_STAGE"];

/// What is visible before and in `FROM` lines, and the values given on the command line.
#[derive(Clone, Debug)]
pub(crate) struct Globals {
    values: BTreeMap<String, String>,
    build_args: BTreeMap<String, String>,
    epoch: Option<i64>,
    /// Whose time the epoch is, if that is what the argument says.
    epoch_source: Option<EpochSource>,
    budget: Budget,
}

impl Globals {
    /// Evaluates the automatic arguments and the `ARG`s before the first stage. A value of `--build-arg` wins over
    /// any of them.
    pub(crate) fn of(file: &Dockerfile, request: &Request) -> Result<Self, Diagnostic> {
        let build_args = request.build_args.clone();
        let values = automatic(file, request);
        let budget = Budget::default();
        let mut globals = Self { values, build_args, epoch: None, epoch_source: None, budget };
        for (name, value) in &mut globals.values {
            if let Some(given) = globals.build_args.get(name) {
                value.clone_from(given);
            }
        }
        for statement in &file.global_args {
            for declaration in &statement.instruction.declarations {
                let name = &declaration.name.text;
                let value = match (globals.build_args.get(name), &declaration.value) {
                    (Some(given), _) => Some(given.clone()),
                    (None, Some(default)) => {
                        let value = globals.expand(default, file.directives.escape);
                        Some(value.map_err(|error| error.on_lines(statement.lines))?)
                    }
                    (None, None) => None,
                };
                if let Some(value) = value {
                    globals.values.insert(name.clone(), value);
                }
            }
        }
        globals.resolve_epoch(file, request)?;
        Ok(globals)
    }

    /// Expands a word of a `FROM` line or of an `ARG` before the first one.
    pub(crate) fn expand(&self, word: &Word, escape: char) -> Result<String, Diagnostic> {
        let expansion =
            self.expand_fully(word, escape).map_err(|error| error.diagnostic(word.span, escape))?;
        Ok(expansion.text)
    }

    /// Expands a word of a `FROM` line, and says which arguments it used.
    pub(crate) fn expand_fully(&self, word: &Word, escape: char) -> Result<Expansion, WordError> {
        let expanded =
            word::expand_fully(&word.text, escape, &|name| self.values.get(name).cloned());
        let steps = expanded.as_ref().map_or_else(WordError::steps, |expansion| expansion.steps);
        match self.budget.take_steps(steps) {
            Ok(()) => expanded,
            Err(_) => Err(WordError { word: word.text.clone(), reason: Reason::Budget, at: None }),
        }
    }

    /// The value of a visible argument.
    pub(crate) fn value(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// The names of all arguments that are visible, for hints.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.values.keys().map(String::as_str)
    }

    /// The seconds since 1970 that all times of the build are set to, if that is wanted.
    pub(crate) fn epoch(&self) -> Option<i64> {
        self.epoch
    }

    /// Whose time the epoch is, if it is no number.
    pub(crate) fn into_epoch_source(self) -> Option<EpochSource> {
        self.epoch_source
    }

    /// What is left of what the build may use.
    pub(crate) fn budget(&self) -> &Budget {
        &self.budget
    }

    /// A value given on the command line.
    pub(crate) fn build_arg(&self, name: &str) -> Option<&str> {
        self.build_args.get(name).map(String::as_str)
    }

    /// The value of an argument that a stage declares: the one given, else the own default, else the global one.
    pub(crate) fn argument(
        &self,
        name: &str,
        default: impl FnOnce() -> Result<Option<String>, Diagnostic>,
    ) -> Result<Option<String>, Diagnostic> {
        if let Some(given) = self.build_args.get(name) {
            return Ok(Some(given.clone()));
        }
        Ok(default()?.or_else(|| self.values.get(name).cloned()))
    }

    /// The proxy arguments that were given, each in upper and lower case. Where both cases of one were given, the lower
    /// case wins.
    pub(crate) fn proxies(&self) -> BTreeMap<String, String> {
        let mut proxies = BTreeMap::new();
        for proxy in PROXIES {
            let given = self.build_args.iter().filter(|(name, _)| name.eq_ignore_ascii_case(proxy));
            let Some(value) = given.map(|(_, value)| value).next_back() else { continue };
            if !value.is_empty() {
                proxies.insert(proxy.to_owned(), value.clone());
                proxies.insert(proxy.to_lowercase(), value.clone());
            }
        }
        proxies
    }

    /// Replaces the argument by the number it stands for, as far as that is known; what has no time switches it off, as
    /// does an empty value.
    fn resolve_epoch(&mut self, file: &Dockerfile, request: &Request) -> Result<(), Diagnostic> {
        let given = self.build_args.get(SOURCE_DATE_EPOCH);
        let global = self.values.get(SOURCE_DATE_EPOCH).filter(|value| !value.is_empty());
        let Some(value) = given.or(global) else { return Ok(()) };
        self.epoch = match epoch::read(value, file, request, &self.values)? {
            Epoch::None => None,
            Epoch::At(seconds) => Some(seconds),
            Epoch::Of(source) => {
                self.epoch_source = Some(source);
                request.epoch
            }
        };
        for values in [&mut self.build_args, &mut self.values] {
            match self.epoch {
                Some(seconds) => {
                    if let Some(value) = values.get_mut(SOURCE_DATE_EPOCH) {
                        *value = seconds.to_string();
                    }
                }
                None => drop(values.remove(SOURCE_DATE_EPOCH)),
            }
        }
        Ok(())
    }
}

/// The platform arguments and the name of the target.
fn automatic(file: &Dockerfile, request: &Request) -> BTreeMap<String, String> {
    let mut values = BTreeMap::new();
    let sides = [("BUILD", &request.build_platform), ("TARGET", &request.platform)];
    for (side, platform) in sides {
        let Platform { os, architecture, os_version, variant } = platform;
        for (what, value) in [
            ("PLATFORM", platform.to_string()),
            ("OS", os.clone()),
            ("OSVERSION", os_version.clone().unwrap_or_default()),
            ("ARCH", architecture.clone()),
            ("VARIANT", variant.clone().unwrap_or_default()),
        ] {
            values.insert(format!("{side}{what}"), value);
        }
    }
    let last = file.stages.last().and_then(|stage| stage.from.instruction.name.as_ref());
    let target = request.target.clone().or_else(|| last.map(|name| name.value.clone()));
    let target = target.filter(|name| !name.is_empty()).unwrap_or_else(|| "default".to_owned());
    values.insert("TARGETSTAGE".to_owned(), target);
    values
}

/// The variables and arguments of one stage, as far as it has been lowered.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scope {
    /// In the order in which the names were set first.
    variables: Vec<(String, String)>,
    places: BTreeMap<String, usize>,
    /// The arguments in the order in which they were declared first.
    arguments: Vec<(String, Option<String>)>,
    argument_places: BTreeMap<String, usize>,
}

impl Scope {
    /// The value of a variable.
    pub(crate) fn value(&self, name: &str) -> Option<&str> {
        self.places.get(name).map(|place| self.variables[*place].1.as_str())
    }

    /// All variables, as a command sees them.
    pub(crate) fn variables(&self) -> &[(String, String)] {
        &self.variables
    }

    /// Sets a variable.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        match self.places.get(name) {
            Some(place) => self.variables[*place].1 = value.to_owned(),
            None => {
                self.places.insert(name.to_owned(), self.variables.len());
                self.variables.push((name.to_owned(), value.to_owned()));
            }
        }
    }

    /// Sets the variables of an image config, which win over arguments of a stage before.
    pub(crate) fn set_all(&mut self, env: &[String]) {
        for entry in env {
            let (name, value) = entry.split_once('=').unwrap_or((entry, ""));
            self.set(name, value);
        }
    }

    /// Declares an argument; with a value it is a variable, too.
    pub(crate) fn declare(&mut self, name: &str, value: Option<String>) {
        if let Some(value) = &value
            && !NOT_VARIABLES.contains(&name)
        {
            self.set(name, value);
        }
        match self.argument_places.get(name) {
            Some(place) => self.arguments[*place].1 = value,
            None => {
                self.argument_places.insert(name.to_owned(), self.arguments.len());
                self.arguments.push((name.to_owned(), value));
            }
        }
    }

    /// Whether an argument was declared, with a value or without.
    pub(crate) fn declares(&self, name: &str) -> bool {
        self.argument_places.contains_key(name)
    }

    /// The names of the arguments that were declared, with a value or without.
    pub(crate) fn argument_names(&self) -> impl Iterator<Item = &str> {
        self.arguments.iter().map(|(name, _)| name.as_str())
    }

    /// Takes the copy that another stage begins with.
    pub(crate) fn take(&self, budget: &Budget) -> Result<(), Diagnostic> {
        let variables = self.variables.iter().flat_map(|(name, value)| [name, name, value]);
        let arguments = self.arguments.iter().flat_map(|(name, _)| [name, name]);
        budget.take_texts(variables.chain(arguments).map(String::as_str))
    }

    /// What the history of a `RUN` says of the arguments: `|2 a=1 b=2`, each with the value in effect.
    pub(crate) fn argument_list(&self) -> Option<String> {
        if self.arguments.is_empty() {
            return None;
        }
        let mut list = format!("|{}", self.arguments.len());
        for (name, value) in &self.arguments {
            let value = self.value(name).or(value.as_deref()).unwrap_or_default();
            list.push_str(&format!(" {name}={value}"));
        }
        Some(list)
    }
}

/// The diagnostic for a platform that cannot be read.
pub(crate) fn empty_platform(word: &Word) -> Diagnostic {
    Diagnostic::new(format!("empty platform value from expression {}", word.text)).at(word.span)
}
