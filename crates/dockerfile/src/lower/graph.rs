//! Stages and what they refer to: names, indices, named contexts, images, and what the target can reach.
//!
//! The rules are BuildKit's. `FROM name` means the last stage above with exactly that name; `COPY --from` and mounts
//! mean the last stage of that name in the whole file, in any case of letters, and only `COPY --from` takes numbers. A
//! named context with the name of a stage replaces the stage with all its instructions. Whatever is not a stage is a
//! named context or an image.

mod link;
mod need;

pub(crate) use self::link::named_context;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use oci::{Platform, Reference};

use super::{ContextKind, Request};
use crate::ast::{Dockerfile, Statement};
use crate::diagnostic::Diagnostic;
use crate::instruction::{From, Instruction};
use crate::nearest::nearest;
use crate::quoted::quoted;
use crate::scope::{Globals, empty_platform};
use crate::source::{Span, Word};

/// All stages of a file with their bases and links.
#[derive(Debug)]
pub(super) struct Graph<'a> {
    pub(super) file: &'a Dockerfile,
    pub(super) request: &'a Request,
    pub(super) nodes: Vec<Node<'a>>,
    /// The last stage of each name, so far.
    names: BTreeMap<&'a str, usize>,
}

/// A stage.
#[derive(Debug)]
pub(super) struct Node<'a> {
    pub(super) from: &'a Statement<From>,
    /// `--platform`, expanded.
    pub(super) platform: Option<Platform>,
    pub(super) base: NodeBase,
    /// True if a named context takes its place: then it is the base, and there are no commands.
    pub(super) replaced: bool,
    /// The triggers of the base, then what the file says.
    pub(super) commands: Vec<Command<'a>>,
    /// What it says for stages that start from it.
    onbuild: Vec<String>,
    triggered: bool,
}

/// What a stage starts from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum NodeBase {
    Scratch,
    Stage(usize),
    Image(Reference),
    Context { name: String, kind: ContextKind },
}

/// An instruction of a stage with what it links to.
#[derive(Debug)]
pub(super) struct Command<'a> {
    pub(super) instruction: Cow<'a, Instruction>,
    pub(super) place: Place,
    /// What is shown while it runs, not expanded yet.
    pub(super) text: Cow<'a, str>,
    /// The comments above, or above the `FROM` of a trigger.
    pub(super) comments: &'a [String],
    /// Of a `COPY` what `--from` names; of a `RUN` what each mount takes files from.
    pub(super) links: Vec<Option<Link>>,
}

/// Where an instruction is. A trigger is where the `FROM` is that set it off.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Place {
    pub(super) span: Span,
    pub(super) lines: (usize, usize),
    pub(super) trigger: bool,
}

impl Place {
    /// Says where a mistake is. Spans of a trigger are places in its own text, which is not in the file.
    pub(super) fn locate(&self, mut diagnostic: Diagnostic) -> Diagnostic {
        if self.trigger {
            (diagnostic.span, diagnostic.lines) = (None, None);
        }
        diagnostic.at(self.span).on_lines(self.lines)
    }
}

/// Whose files are meant.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Link {
    Scratch,
    Stage(usize),
    Image(Reference),
    Context { name: String, kind: ContextKind },
}

impl std::convert::From<Link> for NodeBase {
    fn from(link: Link) -> Self {
        match link {
            Link::Scratch => Self::Scratch,
            Link::Stage(index) => Self::Stage(index),
            Link::Image(reference) => Self::Image(reference),
            Link::Context { name, kind } => Self::Context { name, kind },
        }
    }
}

impl<'a> Graph<'a> {
    /// Finds out what every stage starts from and links to.
    pub(super) fn build(
        file: &'a Dockerfile,
        request: &'a Request,
        globals: &Globals,
    ) -> Result<Self, Diagnostic> {
        let mut graph = Self { file, request, nodes: Vec::new(), names: BTreeMap::new() };
        for stage in &file.stages {
            let from = &stage.from;
            let node = graph
                .node(from, globals)
                .map_err(|error| error.at(from.span).on_lines(from.lines))?;
            let name = node.name();
            graph.names.extend(name.map(|name| (name, graph.nodes.len())));
            graph.nodes.push(node);
        }
        for (index, stage) in file.stages.iter().enumerate() {
            if graph.nodes[index].replaced {
                continue;
            }
            for statement in &stage.steps {
                let place = Place { span: statement.span, lines: statement.lines, trigger: false };
                let links =
                    graph.links(&statement.instruction).map_err(|error| place.locate(error))?;
                graph.nodes[index].push(Command {
                    instruction: Cow::Borrowed(&statement.instruction),
                    place,
                    text: Cow::Borrowed(&statement.text),
                    comments: &statement.comments,
                    links,
                });
            }
        }
        Ok(graph)
    }

    fn node(&self, from: &'a Statement<From>, globals: &Globals) -> Result<Node<'a>, Diagnostic> {
        let From { platform, image, name } = &from.instruction;
        let escape = self.file.directives.escape;
        let expansion = globals
            .expand_fully(image, escape)
            .map_err(|error| error.diagnostic(image.span, escape))?;
        let expanded = expansion.text;
        if expanded.is_empty() {
            let message = format!("base name ({}) should not be blank", image.text);
            let hint = "a FROM knows only the ARGs before the first FROM, and --build-arg for them";
            return Err(Diagnostic::new(message).at(image.span).hint(hint));
        }
        let platform = match platform {
            Some(word) => Some(read_platform(word, escape, globals)?),
            None => None,
        };
        let wanted = platform.as_ref().unwrap_or(&self.request.platform);
        let replacing = name.as_ref().and_then(|name| self.context(&name.value, wanted));
        let replaced = replacing.is_some();
        let base = match replacing {
            Some(context) => context.into(),
            None => self.base(&expanded, image.span, wanted).map_err(|error| {
                let stages = self.names.keys().copied();
                match expansion.unset.iter().next() {
                    Some(name) => error.hint(without_value(name)),
                    None => error.did_you_mean(nearest(&expanded, stages)),
                }
            })?,
        };
        let (commands, onbuild) = (Vec::new(), Vec::new());
        Ok(Node { from, platform, base, replaced, commands, onbuild, triggered: false })
    }

    /// The stage to build.
    pub(super) fn target(&self) -> Result<usize, Diagnostic> {
        let Some(target) = self.request.target.as_deref().filter(|name| !name.is_empty()) else {
            return Ok(self.nodes.len().saturating_sub(1));
        };
        self.stage_named(target).ok_or_else(|| {
            let names: Vec<&str> = self.nodes.iter().filter_map(Node::name).collect();
            let error =
                Diagnostic::new(format!("target stage {} could not be found", quoted(target)));
            match nearest(target, names.iter().copied()) {
                Some(name) => error.did_you_mean(Some(name)),
                None if names.is_empty() => error.hint("no stage of the Dockerfile has a name"),
                None => error.hint(format!("there are {}", names.join(", "))),
            }
        })
    }

    /// Fails if a stage takes files from itself, be it by way of others.
    pub(super) fn check_cycles(&self) -> Result<(), Diagnostic> {
        #[derive(Clone, Copy, PartialEq, Eq)]
        enum Visit {
            Ahead,
            OnPath,
            Done,
        }
        let mut visits = vec![Visit::Ahead; self.nodes.len()];
        for start in 0..self.nodes.len() {
            if visits[start] == Visit::Done {
                continue;
            }
            // A stack of stages with the links still to follow, for a file may have very many stages.
            let mut path = vec![(start, self.stage_links(start))];
            visits[start] = Visit::OnPath;
            while let Some((index, links)) = path.last_mut() {
                let Some((next, place)) = links.pop() else {
                    visits[*index] = Visit::Done;
                    path.pop();
                    continue;
                };
                match visits[next] {
                    Visit::Done => {}
                    Visit::OnPath => {
                        let name = self.label(start);
                        let message = format!("circular dependency detected on stage: {name}");
                        let hint =
                            "a stage cannot have files of itself, nor of a stage that needs it";
                        return Err(place.locate(Diagnostic::new(message).hint(hint)));
                    }
                    Visit::Ahead => {
                        visits[next] = Visit::OnPath;
                        path.push((next, self.stage_links(next)));
                    }
                }
            }
        }
        Ok(())
    }

    /// What people call a stage.
    pub(super) fn label(&self, index: usize) -> String {
        match self.nodes[index].name() {
            Some(name) => name.to_owned(),
            None => format!("stage-{index}"),
        }
    }

    fn stage_links(&self, index: usize) -> Vec<(usize, Place)> {
        let commands = self.nodes[index].commands.iter().rev();
        let links = commands.flat_map(|command| {
            command.links.iter().flatten().filter_map(|link| match link {
                Link::Stage(index) => Some((*index, command.place)),
                Link::Scratch | Link::Image(_) | Link::Context { .. } => None,
            })
        });
        links.collect()
    }

    /// The stages that the target needs, itself included, in the order of the file.
    pub(super) fn reachable(&self, target: usize) -> BTreeSet<usize> {
        let mut reachable = BTreeSet::new();
        let mut open = vec![target];
        while let Some(index) = open.pop() {
            if reachable.insert(index) {
                open.extend(self.stage_links(index).into_iter().map(|(index, _)| index));
                if let NodeBase::Stage(base) = self.nodes[index].base {
                    open.push(base);
                }
            }
        }
        reachable
    }

    /// The platform that the base of a stage is wanted for.
    pub(super) fn wanted_platform(&self, index: usize) -> &Platform {
        self.nodes[index].platform.as_ref().unwrap_or(&self.request.platform)
    }
}

impl<'a> Node<'a> {
    pub(super) fn name(&self) -> Option<&'a str> {
        self.from.instruction.name.as_ref().map(|name| name.value.as_str())
    }

    /// Adds instructions above the others.
    fn push_in_front(&mut self, commands: Vec<Command<'a>>) {
        let below = (std::mem::take(&mut self.commands), std::mem::take(&mut self.onbuild));
        commands.into_iter().for_each(|command| self.push(command));
        self.commands.extend(below.0);
        self.onbuild.extend(below.1);
    }

    /// Adds an instruction below the others.
    fn push(&mut self, command: Command<'a>) {
        if let Instruction::Onbuild(onbuild) = &*command.instruction {
            self.onbuild.push(onbuild.trigger.clone());
        }
        self.commands.push(command);
    }
}

/// The hint for a `FROM` with a variable that has no value.
fn without_value(name: &str) -> String {
    format!(
        "`{name}` has no value here: a FROM knows only the ARGs before the first FROM; give one by --build-arg {name}=…"
    )
}

fn read_platform(word: &Word, escape: char, globals: &Globals) -> Result<Platform, Diagnostic> {
    let text = globals.expand(word, escape)?;
    let mistyped = word.text.trim_start_matches(['$', '{']).trim_end_matches('}');
    let hint = nearest(mistyped, globals.names());
    if text.is_empty() {
        return Err(empty_platform(word).did_you_mean(hint));
    }
    Platform::parse(&text).map_err(|error| {
        Diagnostic::new(format!("failed to parse platform {}: {error}", word.text)).at(word.span)
    })
}
