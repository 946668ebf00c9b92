//! What a Dockerfile may ask of the machine that reads it: the limits, and the budget of one build.
//!
//! A Dockerfile may come from anyone. Each limit is far above any real file and far below what a machine has; where one is
//! reached, the mistake names it. Those of a single word are in [`crate::word`], those of included files in `include`, and
//! how large the file itself may be is the concern of who reads it: [`MAX_FILE`].

use std::cell::Cell;

use oci::ImageConfig;
use plan::Op;

use crate::diagnostic::Diagnostic;
use crate::instruction::{CommandLine, Instruction};

/// How large a Dockerfile may be, in bytes. BuildKit refuses a message of more than 16 MiB, which a Dockerfile is there.
pub const MAX_FILE: usize = 16 << 20;

/// How long an instruction may be, its lines joined and the bodies of heredocs not counted, in bytes. The kernel takes no
/// argument of more than 128 KiB and no 2 MiB of them together.
pub(crate) const MAX_INSTRUCTION: usize = 1 << 20;

/// How many words all instructions may have: operands, pairs, options. A list of strings takes a hundred times the memory
/// of its text.
pub(crate) const MAX_WORDS: usize = 1_000_000;

/// How many triggers all stages together may run.
const MAX_TRIGGERS: usize = 100_000;

/// How much text all words and histories of a build may expand to. A Dockerfile of a few kilobytes can double a value
/// in every line.
const MAX_TEXT: usize = 64 << 20;

/// How many steps all expansions of a build may take: bytes copied and pattern positions tried. Less than a second.
pub(crate) const MAX_STEPS: usize = 1 << 25;

/// What a text costs besides its bytes: how a list of many short ones fills the memory.
const PER_TEXT: usize = 64;

/// What is left of what one build may use.
#[derive(Clone, Debug)]
pub(crate) struct Budget {
    text: Cell<usize>,
    steps: Cell<usize>,
    title_steps: Cell<usize>,
    triggers: Cell<usize>,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            text: Cell::new(MAX_TEXT),
            steps: Cell::new(MAX_STEPS),
            title_steps: Cell::new(MAX_STEPS),
            triggers: Cell::new(MAX_TRIGGERS),
        }
    }
}

impl Budget {
    /// Takes text of so many bytes.
    pub(crate) fn take_text(&self, bytes: usize) -> Result<(), Diagnostic> {
        take(&self.text, bytes).ok_or_else(|| {
            Diagnostic::new(format!("the instructions expand to more than {MAX_TEXT} bytes"))
        })
    }

    /// Takes a list of texts.
    pub(crate) fn take_texts<'a>(
        &self,
        texts: impl IntoIterator<Item = &'a str>,
    ) -> Result<(), Diagnostic> {
        self.take_text(texts.into_iter().map(|text| PER_TEXT + text.len()).sum())
    }

    /// Takes the copy of a config, which each stage has.
    pub(crate) fn take_config(&self, image: &ImageConfig) -> Result<(), Diagnostic> {
        let config = &image.config;
        let labels = config.labels.iter().flat_map(|(name, value)| [name, value]);
        let lists = [&config.env, &config.on_build, &config.shell];
        let places = config.volumes.keys().chain(config.exposed_ports.keys());
        let history = image.history.iter().map(|entry| &entry.created_by);
        let texts = lists.into_iter().flatten().chain(labels).chain(places).chain(history);
        self.take_texts(texts.map(String::as_str))
    }

    /// Takes an op, for a file may have very many.
    pub(crate) fn take_op(&self, op: &Op) -> Result<(), Diagnostic> {
        match op {
            Op::Config => Ok(()),
            Op::Workdir(workdir) => self.take_texts([&*workdir.path, &*workdir.user]),
            // The sources are words of the file, and were taken when they were expanded.
            Op::Copy(copy) => self.take_texts([&*copy.dest]),
            Op::Run(run) => {
                let env = run.env.iter().flat_map(|(name, value)| [name, value]);
                let targets = run.mounts.iter().map(|mount| &mount.target);
                let texts = run.argv.iter().chain([&run.workdir, &run.user]).chain(env);
                self.take_texts(texts.chain(targets).map(String::as_str))
            }
        }
    }

    /// Takes the steps of an expansion.
    pub(crate) fn take_steps(&self, steps: usize) -> Result<(), Diagnostic> {
        take(&self.steps, steps).ok_or_else(|| {
            Diagnostic::new(format!("the words take more than {MAX_STEPS} steps to expand"))
        })
    }

    /// Whether titles may still be expanded. They are only shown, so that a build does not fail for them.
    pub(crate) fn has_steps_for_titles(&self) -> bool {
        self.title_steps.get() > 0
    }

    /// Takes the steps of the expansion of a title.
    pub(crate) fn take_steps_for_title(&self, steps: usize) {
        self.title_steps.set(self.title_steps.get().saturating_sub(steps));
    }

    /// Takes a trigger.
    pub(crate) fn take_trigger(&self) -> Result<(), Diagnostic> {
        take(&self.triggers, 1).ok_or_else(|| {
            Diagnostic::new(format!("the stages run more than {MAX_TRIGGERS} ONBUILD triggers"))
        })
    }
}

/// How many words an instruction has, besides its name.
pub(crate) fn words(instruction: &Instruction) -> usize {
    let of_command = |command: &CommandLine| match command {
        CommandLine::Shell(_) => 1,
        CommandLine::Exec(argv) => argv.len(),
    };
    match instruction {
        Instruction::Add(add) => add.sources.len() + add.exclude.len(),
        Instruction::Arg(arg) => 2 * arg.declarations.len(),
        Instruction::Cmd(cmd) => of_command(&cmd.command),
        Instruction::Copy(copy) => copy.sources.len() + copy.exclude.len(),
        Instruction::Entrypoint(entrypoint) => of_command(&entrypoint.command),
        Instruction::Env(env) => 2 * env.pairs.len(),
        Instruction::Expose(expose) => expose.ports.len(),
        Instruction::Label(label) => 2 * label.pairs.len(),
        Instruction::Run(run) => {
            let options: usize = run.mounts.iter().map(|mount| mount.options.len()).sum();
            of_command(&run.command) + 2 * options + run.devices.len() + run.heredocs.len()
        }
        Instruction::Shell(shell) => shell.argv.len(),
        Instruction::Volume(volume) => volume.paths.len(),
        Instruction::From(_)
        | Instruction::Healthcheck(_)
        | Instruction::Maintainer(_)
        | Instruction::Onbuild(_)
        | Instruction::Stopsignal(_)
        | Instruction::User(_)
        | Instruction::Workdir(_) => 1,
    }
}

fn take(left: &Cell<usize>, count: usize) -> Option<()> {
    let rest = left.get().checked_sub(count);
    // What is used up stays so.
    left.set(rest.unwrap_or(0));
    rest.map(drop)
}
