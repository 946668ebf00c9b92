//! What must be known of the world: bases that are images, and their triggers, which may link to further ones.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use super::{Command, Graph, Link, NodeBase, Place};
use crate::diagnostic::Diagnostic;
use crate::limits::Budget;
use crate::lower::{BaseImage, BaseRef, ContextKind};

impl<'a> Graph<'a> {
    /// The image that a stage starts from.
    pub(in crate::lower) fn base_ref(&self, index: usize) -> Option<BaseRef> {
        match &self.nodes[index].base {
            NodeBase::Image(reference) => Some(BaseRef::Image {
                reference: reference.clone(),
                platform: self.wanted_platform(index).clone(),
            }),
            NodeBase::Context { name, kind: ContextKind::Image } => {
                let platform = self.wanted_platform(index).clone();
                Some(BaseRef::Context { name: name.clone(), platform })
            }
            NodeBase::Context { kind: ContextKind::Directory | ContextKind::Scratch, .. }
            | NodeBase::Scratch
            | NodeBase::Stage(_) => None,
        }
    }

    /// What is not known yet of what these stages use.
    pub(in crate::lower) fn needs(
        &self,
        stages: &BTreeSet<usize>,
        known: &BTreeMap<BaseRef, BaseImage>,
    ) -> Vec<BaseRef> {
        let mut needs = Vec::new();
        let mut seen = BTreeSet::new();
        let mut need = |base: BaseRef| {
            if !known.contains_key(&base) && seen.insert(base.clone()) {
                needs.push(base);
            }
        };
        for &index in stages {
            let node = &self.nodes[index];
            if let Some(base) = self.base_ref(index) {
                need(base);
            }
            for link in node.commands.iter().flat_map(|command| command.links.iter().flatten()) {
                match link {
                    Link::Image(reference) => need(BaseRef::Image {
                        reference: reference.clone(),
                        platform: self.request.platform.clone(),
                    }),
                    Link::Context { name, kind: ContextKind::Image } => {
                        let platform = self.request.platform.clone();
                        need(BaseRef::Context { name: name.clone(), platform });
                    }
                    Link::Context {
                        kind: ContextKind::Directory | ContextKind::Scratch, ..
                    }
                    | Link::Scratch
                    | Link::Stage(_) => {}
                }
            }
        }
        needs
    }

    /// Puts the triggers of the bases in front of the commands of these stages, once. True if a trigger links to
    /// anything.
    pub(in crate::lower) fn add_triggers(
        &mut self,
        stages: &BTreeSet<usize>,
        known: &BTreeMap<BaseRef, BaseImage>,
        budget: &Budget,
    ) -> Result<bool, Diagnostic> {
        let mut linked = false;
        for &index in stages {
            if self.nodes[index].triggered || self.nodes[index].replaced {
                continue;
            }
            self.nodes[index].triggered = true;
            let from = self.nodes[index].from;
            let place = Place { span: from.span, lines: from.lines, trigger: true };
            let mut commands = Vec::new();
            for trigger in self.triggers(index, known) {
                let command = budget
                    .take_trigger()
                    .and_then(|()| self.trigger(trigger, place, &from.comments))
                    .map_err(|error| place.locate(error))?;
                linked |= command.links.iter().any(Option::is_some);
                commands.push(command);
            }
            self.nodes[index].push_in_front(commands);
        }
        Ok(linked)
    }

    fn triggers<'k>(
        &'k self,
        index: usize,
        known: &'k BTreeMap<BaseRef, BaseImage>,
    ) -> &'k [String] {
        if let NodeBase::Stage(base) = self.nodes[index].base {
            return &self.nodes[base].onbuild;
        }
        let base = self.base_ref(index).and_then(|base| known.get(&base));
        base.map_or(&[], |base| &base.config.config.on_build)
    }

    fn trigger(
        &self,
        trigger: &str,
        place: Place,
        comments: &'a [String],
    ) -> Result<Command<'a>, Diagnostic> {
        let instruction = crate::parse_trigger(trigger, place.span)?;
        let links = self.links(&instruction)?;
        let text = trigger.lines().next().unwrap_or_default().to_owned();
        Ok(Command {
            instruction: Cow::Owned(instruction),
            place,
            text: text.into(),
            comments,
            links,
        })
    }
}
