//! Looking on while a file is lowered: the checks of [`crate::lint`] and the outline of [`crate::outline`] see what each
//! instruction says with the values of its build.
//!
//! Not here: any opinion on what is seen.

use std::collections::{BTreeMap, BTreeSet};

use oci::Platform;
use plan::Op;

use super::graph::{Graph, NodeBase};
use super::{BaseImage, BaseRef, Request, stage};
use crate::ast::Dockerfile;
use crate::diagnostic::Diagnostic;
use crate::instruction::Instruction;
use crate::scope::{Globals, Scope};
use crate::word::Expansion;

/// Which stages are lowered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Stages {
    /// Those the target needs.
    OfTarget,
    /// All of them.
    All,
}

/// Who looks on.
pub(crate) trait Watch {
    /// A stage begins; those it starts from were seen before.
    fn stage(&mut self, seen: &SeenStage<'_>);

    /// An instruction was lowered, or failed to be: then it is the last that is seen.
    fn instruction(&mut self, seen: &Seen<'_>);
}

/// A stage before its first instruction.
#[derive(Debug)]
pub(crate) struct SeenStage<'a> {
    /// Its number in the file.
    pub(crate) index: usize,
    /// The stage it starts from.
    pub(crate) parent: Option<usize>,
    /// The platform that was wanted of its base, and the one that came, where the base is an image.
    pub(crate) platforms: Option<(&'a Platform, Platform)>,
    /// The base, if nothing is known of it: then its variables are not either.
    pub(crate) unknown: Option<BaseRef>,
}

/// An instruction of a stage with what became of it.
#[derive(Debug)]
pub(crate) struct Seen<'a> {
    /// The number of the stage in the file.
    pub(crate) stage: usize,
    pub(crate) instruction: &'a Instruction,
    /// The instruction in one line, as written.
    pub(crate) text: &'a str,
    /// The comments above; of a trigger those above the `FROM` that set it off.
    pub(crate) comments: &'a [String],
    pub(crate) lines: (usize, usize),
    /// True if it comes from the base of the stage.
    pub(crate) is_trigger: bool,
    /// Its words.
    pub(crate) expansions: &'a Expansions,
    /// True if a shell is set for shell forms.
    pub(crate) has_shell: bool,
    /// What was planned for it.
    pub(crate) op: Option<&'a Op>,
    /// The variables and arguments below it.
    pub(crate) scope: &'a Scope,
    /// How many of the variables are set above it, too: the first ones.
    pub(crate) variables_above: usize,
}

impl<'a> SeenStage<'a> {
    /// A stage of the graph.
    pub(super) fn of(
        graph: &'a Graph<'_>,
        index: usize,
        known: &BTreeMap<BaseRef, BaseImage>,
    ) -> Self {
        let base = graph.base_ref(index);
        let image = base.as_ref().and_then(|base| known.get(base));
        let parent = match graph.nodes[index].base {
            NodeBase::Stage(parent) => Some(parent),
            NodeBase::Scratch | NodeBase::Image(_) | NodeBase::Context { .. } => None,
        };
        let platforms = image.map(|image| (graph.wanted_platform(index), image.config.platform()));
        Self { index, parent, platforms, unknown: base.filter(|_| image.is_none()) }
    }
}

/// What the words of one instruction expanded to.
#[derive(Clone, Default, Debug)]
pub(crate) struct Expansions {
    texts: BTreeMap<String, String>,
    /// The names that had a value.
    pub(crate) used: BTreeSet<String>,
    /// The names that had none.
    pub(crate) unset: BTreeSet<String>,
}

impl Expansions {
    /// Adds a word.
    pub(super) fn add(&mut self, written: &str, expansion: &Expansion) {
        self.texts.insert(written.to_owned(), expansion.text.clone());
        self.used.extend(expansion.used.iter().cloned());
        self.unset.extend(expansion.unset.iter().cloned());
    }

    /// What a word of the instruction expanded to; the word itself if it never was.
    pub(crate) fn text<'a>(&'a self, written: &'a str) -> &'a str {
        self.texts.get(written).map_or(written, String::as_str)
    }
}

/// Lowers stages while `watch` looks on. Bases that are not known are taken for images that say nothing of themselves.
///
/// Fails as [`lower`](super::lower) does.
pub(crate) fn lower_watched(
    file: &Dockerfile,
    request: &Request,
    known: &BTreeMap<BaseRef, BaseImage>,
    stages: Stages,
    watch: &mut dyn Watch,
) -> Result<(), Diagnostic> {
    let globals = Globals::of(file, request)?;
    let mut graph = Graph::build(file, request, &globals)?;
    let target = graph.target()?;
    graph.check_cycles()?;
    let reachable = loop {
        let reachable = match stages {
            Stages::OfTarget => graph.reachable(target),
            Stages::All => (0..graph.nodes.len()).collect(),
        };
        if !graph.add_triggers(&reachable, known, globals.budget())? {
            break reachable;
        }
    };
    stage::lower_all(&graph, &globals, &reachable, target, known, Some(watch)).map(drop)
}
