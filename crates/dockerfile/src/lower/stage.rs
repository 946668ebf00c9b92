//! The state of a stage while its instructions are lowered one after the other.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use oci::{ImageConfig, config::DEFAULT_PATH};
use plan::{Base, Op, Origin, Plan, Stage, StageId, Step};

use super::graph::{Command, Graph, Link, NodeBase};
use super::watch::{Expansions, Seen, SeenStage, Watch};
use super::{BaseImage, BaseRef, ContextKind, Request, path};
use crate::diagnostic::Diagnostic;
use crate::heredoc::Heredoc;
use crate::instruction::Instruction;
use crate::quoted::quoted;
use crate::scope::{Globals, Scope};
use crate::source::{Span, Word};
use crate::word::{self, Expansion, WordError};

/// How much text the configs may be that are noted for each step: those of thousands of ordinary steps.
const MAX_NOTED: usize = 16 << 20;

/// What an instruction does to a stage.
pub(super) trait Lower {
    /// Edits the config and the scope of the stage, and adds the step.
    fn lower(&self, stage: &mut StageState<'_>, command: &Command<'_>) -> Result<(), Diagnostic>;
}

/// A stage, lowered so far.
#[derive(Debug)]
pub(super) struct StageState<'a> {
    pub(super) request: &'a Request,
    pub(super) globals: &'a Globals,
    /// What people call the stage.
    pub(super) label: String,
    pub(super) config: ImageConfig,
    pub(super) scope: Scope,
    /// True once the stage itself has a `CMD`, which an `ENTRYPOINT` below leaves alone.
    pub(super) own_cmd: bool,
    pub(super) platform: oci::Platform,
    steps: Vec<Step>,
    /// How many of the steps have been shown.
    shown: usize,
    /// Where each variable is in the config.
    env_places: BTreeMap<String, usize>,
    escape: char,
    /// The stages that are lowered already, by their number in the file.
    ids: &'a BTreeMap<usize, StageId>,
    graph: &'a Graph<'a>,
    /// How much text the configs noted so far are.
    noted: &'a Cell<usize>,
    /// What the words of the current instruction expanded to, if anybody wants to know.
    expansions: Option<RefCell<Expansions>>,
}

/// Lowers the reachable stages in their order.
pub(super) fn lower_all(
    graph: &Graph<'_>,
    globals: &Globals,
    reachable: &BTreeSet<usize>,
    target: usize,
    known: &BTreeMap<BaseRef, BaseImage>,
    mut watch: Option<&mut dyn Watch>,
) -> Result<Plan, Diagnostic> {
    let noted = Cell::new(0);
    let mut ids = BTreeMap::new();
    let mut scopes: Vec<Scope> = Vec::new();
    let mut stages: Vec<Stage> = Vec::new();
    for &index in reachable {
        let node = &graph.nodes[index];
        let id = StageId(stages.len());
        let (base, platform, config, scope) = match &node.base {
            NodeBase::Stage(parent) => {
                // A base is always above, and reachable from here.
                let parent = ids.get(parent).copied().unwrap_or(StageId(0));
                let stage = &stages[parent.0];
                inherited(globals, &stage.config, &scopes[parent.0])
                    .map_err(|error| error.at(node.from.span).on_lines(node.from.lines))?;
                let scope = scopes[parent.0].clone();
                (Base::Stage(parent), stage.platform.clone(), stage.config.clone(), scope)
            }
            NodeBase::Scratch | NodeBase::Image(_) | NodeBase::Context { .. } => {
                let (base, platform, config) = outside_base(graph, index, known);
                (base, platform, config, Scope::default())
            }
        };
        let mut state = StageState {
            request: graph.request,
            globals,
            label: graph.label(index),
            config,
            scope,
            own_cmd: false,
            platform,
            steps: Vec::new(),
            shown: 0,
            env_places: BTreeMap::new(),
            escape: graph.file.directives.escape,
            ids: &ids,
            graph,
            noted: &noted,
            expansions: watch.is_some().then(RefCell::default),
        };
        state.inherit();
        if let Some(watch) = watch.as_deref_mut() {
            watch.stage(&SeenStage::of(graph, index, known));
        }
        for command in &node.commands {
            let above = state.scope.variables().len();
            let known_steps = state.steps.len();
            let lowered = lower_instruction(&mut state, command);
            if let Some(watch) = watch.as_deref_mut() {
                state.show(index, command, above, watch);
            }
            lowered.map_err(|error| command.place.locate(error))?;
            state.note_config(known_steps);
        }
        let StageState { config, scope, platform, steps, .. } = state;
        let name = node.name().map(str::to_owned);
        stages.push(Stage { id, index, name, platform, base, steps, config });
        scopes.push(scope);
        ids.insert(index, id);
    }
    let target = ids.get(&target).copied().unwrap_or(StageId(0));
    let labels = &mut stages[target.0].config.config.labels;
    labels.extend(graph.request.labels.clone());
    Ok(Plan { stages, target, epoch: globals.epoch() })
}

/// Takes what a stage starts with from what a build may use: a chain of stages could have it a thousand times.
fn inherited(globals: &Globals, config: &ImageConfig, scope: &Scope) -> Result<(), Diagnostic> {
    globals.budget().take_config(config)?;
    scope.take(globals.budget())
}

/// The base, platform and config of a stage that does not start from another one.
fn outside_base(
    graph: &Graph<'_>,
    index: usize,
    known: &BTreeMap<BaseRef, BaseImage>,
) -> (Base, oci::Platform, ImageConfig) {
    let wanted = graph.wanted_platform(index).clone();
    let image = graph.base_ref(index).and_then(|base| known.get(&base));
    let config = image.map(|image| ImageConfig { created: None, ..image.config.clone() });
    match (&graph.nodes[index].base, image) {
        (NodeBase::Image(reference), Some(image)) => {
            let base = Base::Image { reference: reference.clone(), id: image.id };
            (base, wanted.clone(), config.unwrap_or_else(|| ImageConfig::scratch(&wanted)))
        }
        (NodeBase::Context { name, .. }, image) => {
            let base = Base::Context { name: name.clone(), id: image.map(|image| image.id) };
            let config = config.unwrap_or_else(|| ImageConfig::scratch(&wanted));
            let platform = if config.architecture.is_empty() { wanted } else { config.platform() };
            (base, platform, config)
        }
        // An empty root file system is always one for the target.
        (NodeBase::Scratch | NodeBase::Stage(_) | NodeBase::Image(_), _) => {
            let platform = graph.request.platform.clone();
            let config = ImageConfig::scratch(&platform);
            (Base::Scratch, platform, config)
        }
    }
}

fn lower_instruction(stage: &mut StageState<'_>, command: &Command<'_>) -> Result<(), Diagnostic> {
    match &*command.instruction {
        Instruction::Add(add) => add.lower(stage, command),
        Instruction::Arg(arg) => arg.lower(stage, command),
        Instruction::Cmd(cmd) => cmd.lower(stage, command),
        Instruction::Copy(copy) => copy.lower(stage, command),
        Instruction::Entrypoint(entrypoint) => entrypoint.lower(stage, command),
        Instruction::Env(env) => env.lower(stage, command),
        Instruction::Expose(expose) => expose.lower(stage, command),
        Instruction::Healthcheck(healthcheck) => healthcheck.lower(stage, command),
        Instruction::Label(label) => label.lower(stage, command),
        Instruction::Maintainer(maintainer) => maintainer.lower(stage, command),
        Instruction::Onbuild(onbuild) => onbuild.lower(stage, command),
        Instruction::Run(run) => run.lower(stage, command),
        Instruction::Shell(shell) => shell.lower(stage, command),
        Instruction::Stopsignal(stopsignal) => stopsignal.lower(stage, command),
        Instruction::User(user) => user.lower(stage, command),
        Instruction::Volume(volume) => volume.lower(stage, command),
        Instruction::Workdir(workdir) => workdir.lower(stage, command),
        // The parser opens a stage with it, and refuses it as a trigger.
        Instruction::From(_) => Err(Diagnostic::new("FROM isn't allowed as an ONBUILD trigger")),
    }
}

impl StageState<'_> {
    /// Shows an instruction and what it led to.
    fn show(
        &mut self,
        stage: usize,
        command: &Command<'_>,
        variables_above: usize,
        watch: &mut dyn Watch,
    ) {
        let expansions = self.expansions.as_ref().map(RefCell::take).unwrap_or_default();
        let step = self.steps.get(self.shown..).and_then(<[Step]>::first);
        watch.instruction(&Seen {
            stage,
            instruction: &command.instruction,
            text: &command.text,
            comments: command.comments,
            lines: command.place.lines,
            is_trigger: command.place.trigger,
            expansions: &expansions,
            has_shell: !self.config.config.shell.is_empty(),
            op: step.map(|step| &step.op),
            scope: &self.scope,
            variables_above,
        });
        self.shown = self.steps.len();
    }

    /// Notes what the image says of itself after the steps of an instruction, which are those from `first` on.
    fn note_config(&mut self, first: usize) {
        if self.steps.len() == first {
            return;
        }
        // Looking at how large it is takes time, too.
        if self.noted.get() > MAX_NOTED {
            return;
        }
        let config = &self.config.config;
        let noted = self.noted.get().saturating_add(text_of(config));
        self.noted.set(noted);
        if noted > MAX_NOTED {
            return;
        }
        let before = self.steps[..first].last().and_then(|step| step.config.as_ref());
        let same = before.filter(|before| before.as_ref() == config).cloned();
        let config = same.unwrap_or_else(|| Arc::new(config.clone()));
        for step in &mut self.steps[first..] {
            step.config = Some(Arc::clone(&config));
        }
    }

    /// Takes over what the base says of itself. Its triggers have become commands.
    fn inherit(&mut self) {
        let config = &mut self.config.config;
        config.on_build.clear();
        for (place, entry) in config.env.iter().enumerate() {
            let name = entry.split('=').next().unwrap_or(entry);
            self.env_places.entry(name.to_owned()).or_insert(place);
        }
        if !self.env_places.contains_key("PATH") && self.platform.os != "windows" {
            self.set_env("PATH", DEFAULT_PATH);
        }
        let config = &mut self.config.config;
        if !config.working_dir.is_empty() {
            config.working_dir = path::resolve("/", &config.working_dir);
        }
        self.scope.set_all(&config.env);
    }

    /// Sets a variable of the image, in its place if it has one.
    pub(super) fn set_env(&mut self, name: &str, value: &str) {
        let env = &mut self.config.config.env;
        let entry = format!("{name}={value}");
        match self.env_places.get(name) {
            Some(place) => env[*place] = entry,
            None => {
                self.env_places.insert(name.to_owned(), env.len());
                env.push(entry);
            }
        }
    }

    /// The absolute working directory, as the image config has it.
    pub(super) fn workdir(&self) -> &str {
        match self.config.config.working_dir.as_str() {
            "" => "/",
            workdir => workdir,
        }
    }

    /// The program and arguments that a shell form is given to.
    pub(super) fn shell(&self) -> Vec<String> {
        let shell = &self.config.config.shell;
        if !shell.is_empty() {
            return shell.clone();
        }
        let default: &[&str] =
            if self.platform.os == "windows" { &["cmd", "/S", "/C"] } else { &["/bin/sh", "-c"] };
        default.iter().map(|word| (*word).to_owned()).collect()
    }

    /// Whose files are meant. A stage must be above to be one.
    pub(super) fn origin(&self, link: &Link, mistake: &str) -> Result<Origin, Diagnostic> {
        Ok(match link {
            Link::Scratch => Origin::Scratch,
            Link::Context { name, kind } => {
                let platform = match kind {
                    ContextKind::Directory | ContextKind::Scratch => None,
                    ContextKind::Image => Some(self.request.platform.clone()),
                };
                Origin::Named { name: name.clone(), platform }
            }
            Link::Image(reference) => Origin::Image {
                reference: reference.clone(),
                platform: self.request.platform.clone(),
            },
            Link::Stage(index) => match self.ids.get(index) {
                Some(id) => Origin::Stage(*id),
                None => {
                    let name = quoted(&self.graph.label(*index));
                    let message = mistake.replace("{}", &name);
                    let hint = format!("move the stage {name} up, above the one that needs it");
                    return Err(Diagnostic::new(message).hint(hint));
                }
            },
        })
    }

    /// Expands a word.
    pub(super) fn expand(&self, word: &Word) -> Result<String, Diagnostic> {
        let expanded = word::expand_fully(&word.text, self.escape, &|name| self.lookup(name));
        let expanded = expanded.map_err(|error| error.diagnostic(word.span, self.escape));
        self.accept(&word.text, expanded).map(|expansion| expansion.text)
    }

    /// Expands a word, and splits the result.
    pub(super) fn expand_to_words(&self, word: &Word) -> Result<Vec<String>, Diagnostic> {
        let expanded = word::expand_fully(&word.text, self.escape, &|name| self.lookup(name));
        let expanded = expanded.map_err(|error| error.diagnostic(word.span, self.escape));
        self.accept(&word.text, expanded).map(|expansion| expansion.words)
    }

    /// Expands the body of a heredoc.
    pub(super) fn expand_heredoc(&self, heredoc: &Heredoc) -> Result<String, Diagnostic> {
        let contents = heredoc.contents();
        let expanded = word::expand_heredoc_fully(&contents, &|name| self.lookup(name));
        let expanded = expanded.map_err(|error| {
            let start = heredoc.span.start + heredoc.offset(error.at.unwrap_or(0));
            error.diagnostic_at(Span::new(start, heredoc.span.end), '\\')
        });
        self.accept(&contents, expanded).map(|expansion| expansion.text)
    }

    fn lookup(&self, name: &str) -> Option<String> {
        self.scope.value(name).map(str::to_owned)
    }

    fn accept(
        &self,
        written: &str,
        expanded: Result<Expansion, Diagnostic>,
    ) -> Result<Expansion, Diagnostic> {
        let expansion = expanded?;
        let budget = self.globals.budget();
        budget.take_steps(expansion.steps)?;
        budget.take_text(expansion.text.len())?;
        if let Some(expansions) = &self.expansions {
            expansions.borrow_mut().add(written, &expansion);
        }
        Ok(expansion)
    }

    /// Adds a step that edits the config only. It takes no time, so it is shown as it was written.
    pub(super) fn edit(
        &mut self,
        command: &Command<'_>,
        created_by: String,
    ) -> Result<(), Diagnostic> {
        let title = heading(command, &command.text);
        self.push(command, Op::Config, title, Some(created_by))
    }

    /// Adds a step. Neither logs nor histories are places for passwords.
    pub(super) fn push(
        &mut self,
        command: &Command<'_>,
        op: Op,
        title: String,
        created_by: Option<String>,
    ) -> Result<(), Diagnostic> {
        let budget = self.globals.budget();
        budget.take_text(created_by.as_ref().map_or(0, String::len))?;
        budget.take_op(&op)?;
        let title = plan::redact(&title);
        let created_by = created_by.map(|text| plan::redact(&text));
        // The config is noted when the instruction has edited all of it.
        let lines = command.place.lines;
        self.steps.push(Step { op, title, created_by, config: None, lines });
        Ok(())
    }

    /// The instruction in one line, for progress: the variables that have a value are expanded, those that hold a
    /// secret masked, and quotes stay.
    pub(super) fn title(&self, command: &Command<'_>, hidden: &BTreeSet<String>) -> String {
        // A title is a title, whatever a value is.
        const LONGEST: usize = 4096;
        let lookup = |name: &str| match hidden.contains(name) {
            true => Some("****".to_owned()),
            false => self.lookup(name),
        };
        let budget = self.globals.budget();
        if !budget.has_steps_for_titles() {
            return heading(command, &command.text);
        }
        let expanded = word::expand_known_fully(&command.text, self.escape, &lookup);
        budget.take_steps_for_title(expanded.as_ref().map_or_else(WordError::steps, |it| it.steps));
        match expanded {
            Ok(Expansion { text, .. }) if text.len() <= LONGEST => heading(command, &text),
            Ok(_) | Err(_) => heading(command, &command.text),
        }
    }
}

/// Returns about how much text a config is.
fn text_of(config: &oci::Config) -> usize {
    let maps = config.exposed_ports.keys().chain(config.volumes.keys()).chain(config.labels.keys());
    let lists = config.env.iter().chain(config.labels.values()).chain(&config.on_build);
    maps.chain(lists).map(|text| text.len() + size_of::<String>()).sum()
}

fn heading(command: &Command<'_>, text: &str) -> String {
    let (keyword, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    let trigger = if command.place.trigger { "ONBUILD " } else { "" };
    format!("{trigger}{} {}", keyword.to_uppercase(), rest.trim())
}
