//! What a name means: a stage, a named context, an image, or nothing at all.

use oci::{Platform, Reference};

use super::{Graph, Link, NodeBase};
use crate::diagnostic::Diagnostic;
use crate::instruction::{Instruction, MountFlag};
use crate::lower::{ContextKind, Request};
use crate::quoted::quoted;
use crate::source::{Span, Word};

/// The name of an empty root file system.
const SCRATCH: &str = "scratch";

impl Graph<'_> {
    /// What a stage starts from: `name` as expanded, written at `span`.
    pub(super) fn base(
        &self,
        name: &str,
        span: Span,
        wanted: &Platform,
    ) -> Result<NodeBase, Diagnostic> {
        // Those below are not there yet.
        if let Some(&index) = self.names.get(name) {
            let node = &self.nodes[index];
            return Ok(if node.replaced { node.base.clone() } else { NodeBase::Stage(index) });
        }
        if name == SCRATCH {
            return Ok(NodeBase::Scratch);
        }
        self.outside(name, wanted).map(NodeBase::from).map_err(|error| error.at(span))
    }

    /// A named context or an image.
    fn outside(&self, name: &str, wanted: &Platform) -> Result<Link, Diagnostic> {
        if name == SCRATCH {
            return Ok(Link::Scratch);
        }
        let reference = Reference::parse(name).map_err(|error| {
            let cause = std::error::Error::source(&error)
                .map_or(String::new(), |cause| format!(": {cause}"));
            Diagnostic::new(format!("failed to parse stage name {}{cause}", quoted(name)))
        })?;
        let reference = reference.tagged();
        Ok(self.context(&reference.familiar(), wanted).unwrap_or(Link::Image(reference)))
    }

    /// The named context with a name, for a platform.
    pub(super) fn context(&self, name: &str, wanted: &Platform) -> Option<Link> {
        named_context(self.request, name, wanted).map(|(name, kind)| match kind {
            ContextKind::Scratch => Link::Scratch,
            ContextKind::Directory | ContextKind::Image => Link::Context { name, kind },
        })
    }

    /// What an instruction takes files from: of a `COPY` one entry, of a `RUN` one for each mount.
    pub(super) fn links(&self, instruction: &Instruction) -> Result<Vec<Option<Link>>, Diagnostic> {
        match instruction {
            Instruction::Copy(copy) => match &copy.from {
                Some(from) => Ok(vec![Some(self.copy_link(from)?)]),
                None => Ok(vec![None]),
            },
            Instruction::Run(run) => {
                let of_mount = |mount: &MountFlag| {
                    let option = mount.options.iter().find(|option| option.key == "from");
                    let value = option.and_then(|option| option.value.as_ref());
                    match value.filter(|from| !from.text.is_empty()) {
                        Some(from) => self.link(from).map(Some),
                        None => Ok(None),
                    }
                };
                run.mounts.iter().map(of_mount).collect()
            }
            Instruction::Add(_)
            | Instruction::Arg(_)
            | Instruction::Cmd(_)
            | Instruction::Entrypoint(_)
            | Instruction::Env(_)
            | Instruction::Expose(_)
            | Instruction::From(_)
            | Instruction::Healthcheck(_)
            | Instruction::Label(_)
            | Instruction::Maintainer(_)
            | Instruction::Onbuild(_)
            | Instruction::Shell(_)
            | Instruction::Stopsignal(_)
            | Instruction::User(_)
            | Instruction::Volume(_)
            | Instruction::Workdir(_) => Ok(Vec::new()),
        }
    }

    fn copy_link(&self, from: &Word) -> Result<Link, Diagnostic> {
        match from.text.parse::<i64>() {
            Ok(index) => match usize::try_from(index).ok().filter(|i| *i < self.nodes.len()) {
                Some(index) => Ok(self.stage_link(index)),
                None => {
                    let last = self.nodes.len().saturating_sub(1);
                    Err(Diagnostic::new(format!("invalid stage index {index}"))
                        .at(from.span)
                        .hint(format!("stages are counted from 0, so the last one is {last}")))
                }
            },
            Err(_) => self.link(from),
        }
    }

    fn link(&self, from: &Word) -> Result<Link, Diagnostic> {
        match self.stage_named(&from.text) {
            Some(index) => Ok(self.stage_link(index)),
            None => self
                .outside(&from.text, &self.request.platform)
                .map_err(|error| error.at(from.span)),
        }
    }

    fn stage_link(&self, index: usize) -> Link {
        let node = &self.nodes[index];
        match &node.base {
            NodeBase::Context { name, kind } if node.replaced => {
                Link::Context { name: name.clone(), kind: *kind }
            }
            _ => Link::Stage(index),
        }
    }

    /// The last stage of that name in the file, in any case of letters.
    pub(super) fn stage_named(&self, name: &str) -> Option<usize> {
        self.names.get(name.to_lowercase().as_str()).copied()
    }
}

/// The named context with a name, first the one for a platform. A tag `latest` may be written or not.
pub(crate) fn named_context(
    request: &Request,
    name: &str,
    wanted: &Platform,
) -> Option<(String, ContextKind)> {
    if name.eq_ignore_ascii_case(SCRATCH) || name.eq_ignore_ascii_case("context") {
        return None;
    }
    let name = normalized(name);
    let with_platform = format!("{name}::{wanted}");
    let find = |wanted: &str| {
        let mut contexts = request.contexts.iter();
        contexts.find(|(key, _)| {
            let (name, platform) = match key.split_once("::") {
                Some((name, platform)) => (name, format!("::{platform}")),
                None => (key.as_str(), String::new()),
            };
            normalized(name) + &platform == wanted
        })
    };
    let (key, kind) = find(&with_platform).or_else(|| find(&name))?;
    Some((key.clone(), *kind))
}

/// The name of a context in its short form, without `:latest`.
fn normalized(name: &str) -> String {
    let familiar = match Reference::parse(name) {
        Ok(reference) => reference.familiar(),
        Err(_) => name.to_owned(),
    };
    familiar.strip_suffix(":latest").unwrap_or(&familiar).to_owned()
}
