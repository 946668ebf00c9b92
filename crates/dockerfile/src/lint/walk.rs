//! The stages one after the other, with what the rules remember from one instruction to the next.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    ContextFacts, Findings, command, copy, expose, from, install, pair, secret, variable, workdir,
};
use crate::ast::Dockerfile;
use crate::lower::{BaseRef, Seen, SeenStage, Watch};

/// Shows every instruction to the rules.
#[derive(Debug)]
pub(super) struct Walk<'a> {
    file: &'a Dockerfile,
    context: &'a ContextFacts<'a>,
    findings: &'a mut Findings,
    stages: BTreeMap<usize, Memory>,
    unknown: BTreeSet<BaseRef>,
}

/// What is remembered of a stage, and handed on to those that start from it.
#[derive(Clone, Debug, Default)]
struct Memory {
    is_base_known: bool,
    has_workdir: bool,
    done: install::Done,
    /// Of the stage alone.
    last: command::Last,
}

impl<'a> Walk<'a> {
    pub(super) fn new(
        file: &'a Dockerfile,
        context: &'a ContextFacts<'a>,
        findings: &'a mut Findings,
    ) -> Self {
        Self { file, context, findings, stages: BTreeMap::new(), unknown: BTreeSet::new() }
    }

    /// The bases of which nothing was known.
    pub(super) fn unknown(self) -> Vec<BaseRef> {
        self.unknown.into_iter().collect()
    }
}

impl Watch for Walk<'_> {
    fn stage(&mut self, seen: &SeenStage<'_>) {
        let inherited = seen.parent.and_then(|parent| self.stages.get(&parent)).cloned();
        let memory = match inherited {
            Some(parent) => Memory { last: command::Last::default(), ..parent },
            None => Memory { is_base_known: seen.unknown.is_none(), ..Memory::default() },
        };
        self.stages.insert(seen.index, memory);
        self.unknown.extend(seen.unknown.clone());
        if let (Some((wanted, actual)), Some(stage)) =
            (&seen.platforms, self.file.stages.get(seen.index))
        {
            from::check_base(&stage.from, wanted, actual, self.findings);
        }
    }

    fn instruction(&mut self, seen: &Seen<'_>) {
        let memory = self.stages.entry(seen.stage).or_default();
        let findings = &mut *self.findings;
        variable::check(seen, memory.is_base_known, findings);
        pair::check(seen, findings);
        secret::check(seen, findings);
        workdir::check(seen, memory.is_base_known, &mut memory.has_workdir, findings);
        command::check(seen, &mut memory.last, findings);
        expose::check(seen, findings);
        copy::check(seen, self.context, findings);
        install::check(seen, &mut memory.done, findings);
    }
}
