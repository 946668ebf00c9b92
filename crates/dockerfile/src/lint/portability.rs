//! Where other builders do something else with a Dockerfile than BuildKit and this one.
//!
//! What is known of them is what their sources said: buildah in June 2026 with imagebuilder 1.2.21, kaniko in June 2025, and the
//! classic builder of Docker. The notes are no findings: nothing is wrong with the file.

use std::fmt;

use crate::ast::{Dockerfile, Statement};
use crate::instruction::{Add, Arg, Copy, CopySource, From, Healthcheck, Instruction, Run};
use crate::source::Word;

/// A builder of Dockerfiles.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Builder {
    /// `docker build` and `docker buildx build`. Only for files that ask for extensions of the language: all else is the
    /// same there.
    BuildKit,
    /// `buildah build` and `podman build`.
    Buildah,
    /// kaniko and its forks.
    Kaniko,
    /// `docker build` without BuildKit.
    Classic,
}

/// What a builder makes of something.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Effect {
    /// It refuses to build.
    Fails,
    /// It builds something else.
    Differs,
}

/// What one builder makes of one instruction.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Note {
    /// Which builder.
    pub builder: Builder,
    /// What it does.
    pub effect: Effect,
    /// The lines of the instruction, counted from 1.
    pub lines: (usize, usize),
    /// Why.
    pub message: String,
}

impl fmt::Display for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BuildKit => "BuildKit",
            Self::Buildah => "buildah",
            Self::Kaniko => "kaniko",
            Self::Classic => "classic builder",
        })
    }
}

use Builder::{BuildKit, Buildah, Classic, Kaniko};
use Effect::{Differs, Fails};

/// The arguments that only BuildKit and buildah set by themselves.
const PLATFORM_ARGS: [&str; 8] = [
    "BUILDPLATFORM",
    "BUILDOS",
    "BUILDARCH",
    "BUILDVARIANT",
    "TARGETPLATFORM",
    "TARGETOS",
    "TARGETARCH",
    "TARGETVARIANT",
];

/// Those that buildah does not set either.
const NEWER_ARGS: [&str; 3] = ["BUILDOSVERSION", "TARGETOSVERSION", "TARGETSTAGE"];

/// Returns what there is to say, by builder and line.
pub fn portability(file: &Dockerfile) -> Vec<Note> {
    let mut notes = Notes { lines: (0, 0), found: Vec::new() };
    notes.of_extensions(file);
    for statement in &file.global_args {
        notes.lines = statement.lines;
        notes.of_global_arg(&statement.instruction);
        notes.of_forms(&statement.text);
    }
    for stage in &file.stages {
        notes.lines = stage.from.lines;
        notes.of_from(&stage.from.instruction);
        notes.of_forms(&stage.from.text);
        for step in &stage.steps {
            notes.lines = step.lines;
            notes.of_step(step);
        }
    }
    notes.found.sort_by_key(|note| (note.builder, note.lines, note.effect));
    notes.found.dedup();
    notes.found
}

struct Notes {
    lines: (usize, usize),
    found: Vec<Note>,
}

impl Notes {
    fn add(&mut self, builder: Builder, effect: Effect, message: impl Into<String>) {
        self.found.push(Note { builder, effect, lines: self.lines, message: message.into() });
    }

    /// Only kiln builds a file that asks for extensions, be there any in it or not.
    fn of_extensions(&mut self, file: &Dockerfile) {
        let Some(line) = file.extended_by() else { return };
        self.lines = (line, line);
        self.add(
            BuildKit,
            Fails,
            "takes `# syntax=kiln` for the name of an image that knows the language",
        );
        for lines in &file.includes {
            self.lines = *lines;
            self.of_extension("INCLUDE");
        }
    }

    /// To BuildKit the first line is reason enough.
    fn of_extension(&mut self, extension: &str) {
        for builder in [Buildah, Kaniko, Classic] {
            self.add(builder, Fails, format!("does not know {extension}"));
        }
    }

    fn of_step(&mut self, step: &Statement) {
        let is_expanded = match &step.instruction {
            Instruction::Run(run) => {
                self.of_run(run);
                false
            }
            Instruction::Copy(copy) => {
                self.of_copy(copy);
                true
            }
            Instruction::Add(add) => {
                self.of_add(add);
                true
            }
            Instruction::Arg(arg) => {
                self.of_arg(arg);
                true
            }
            Instruction::Healthcheck(healthcheck) => {
                self.of_healthcheck(healthcheck);
                false
            }
            Instruction::Onbuild(_) => {
                self.add(Buildah, Differs, "drops ONBUILD, unless the format is docker");
                false
            }
            Instruction::Maintainer(_) => {
                self.add(Kaniko, Differs, "ignores MAINTAINER: the image has no author");
                false
            }
            Instruction::Volume(_) => {
                for builder in [Kaniko, Classic] {
                    self.add(builder, Differs, "loses what later steps write below a VOLUME");
                }
                true
            }
            Instruction::Cmd(_) | Instruction::Entrypoint(_) | Instruction::Shell(_) => false,
            Instruction::Env(_)
            | Instruction::Expose(_)
            | Instruction::From(_)
            | Instruction::Label(_)
            | Instruction::Stopsignal(_)
            | Instruction::User(_)
            | Instruction::Workdir(_) => true,
        };
        if is_expanded {
            self.of_forms(&step.text);
        }
    }

    fn of_run(&mut self, run: &Run) {
        let flags = [
            ("mount", !run.mounts.is_empty(), false),
            ("network", run.network.is_some(), false),
            ("security", run.security.is_some(), true),
            ("device", !run.devices.is_empty(), true),
        ];
        for (flag, is_given, fails_in_buildah) in flags {
            if !is_given {
                continue;
            }
            self.add(Kaniko, Differs, format!("ignores RUN --{flag}"));
            self.add(Classic, Fails, format!("does not know RUN --{flag}"));
            if fails_in_buildah {
                self.add(Buildah, Fails, format!("does not know RUN --{flag}"));
            }
        }
        for option in run.mounts.iter().flat_map(|mount| &mount.options) {
            let value = option.value.as_ref().map_or("", |value| value.text.as_str());
            match (option.key.as_str(), value) {
                ("size", _) => {
                    self.add(
                        Buildah,
                        Fails,
                        "calls the option of a tmpfs mount tmpfs-size, not size",
                    );
                }
                ("sharing", "private") => {
                    self.add(Buildah, Fails, "does not know sharing=private of a cache mount");
                }
                _ => {}
            }
        }
        if !run.heredocs.is_empty() {
            self.add(Kaniko, Differs, "runs the line of a heredoc as it is, without its body");
            self.add(Classic, Fails, "does not know heredocs");
        }
    }

    fn of_copy(&mut self, copy: &Copy) {
        self.of_sources("COPY", &copy.sources, copy.chmod.as_ref());
        let flags = [
            ("link", copy.link, false),
            ("parents", copy.parents, true),
            ("exclude", !copy.exclude.is_empty(), true),
        ];
        self.of_flags("COPY", &flags);
        if copy.if_exists {
            self.of_extension("COPY --if-exists");
        }
    }

    fn of_add(&mut self, add: &Add) {
        self.of_sources("ADD", &add.sources, add.chmod.as_ref());
        let flags = [
            ("link", add.link, false),
            ("exclude", !add.exclude.is_empty(), true),
            ("checksum", add.checksum.is_some(), true),
            ("keep-git-dir", add.keep_git_dir.is_some(), true),
            ("unpack", add.unpack.is_some(), true),
        ];
        self.of_flags("ADD", &flags);
        for (flag, is_given) in
            [("keep-git-dir", add.keep_git_dir.is_some()), ("unpack", add.unpack.is_some())]
        {
            if is_given {
                self.add(Buildah, Fails, format!("refuses ADD --{flag}"));
            }
        }
        let is_git = |source: &CopySource| match source {
            CopySource::Path(word) => {
                let address = word.text.split(['#', '?']).next().unwrap_or_default();
                address.starts_with("git@") || address.contains("://") && address.ends_with(".git")
            }
            CopySource::Heredoc(_) => false,
        };
        if add.sources.iter().any(is_git) {
            self.add(Kaniko, Fails, "does not ADD repositories");
        }
    }

    /// What `COPY` and `ADD` have in common.
    fn of_sources(&mut self, keyword: &str, sources: &[CopySource], chmod: Option<&Word>) {
        if sources.iter().any(|source| matches!(source, CopySource::Heredoc(_))) {
            self.add(Kaniko, Fails, format!("does not know heredocs of {keyword}"));
            self.add(Classic, Fails, "does not know heredocs");
        }
        let Some(mode) = chmod else { return };
        self.add(Classic, Fails, format!("does not know {keyword} --chmod"));
        if mode.text.contains(['+', '=']) || mode.text.contains('-') {
            for builder in [Buildah, Kaniko] {
                self.add(builder, Fails, "takes octal numbers only for --chmod");
            }
        }
    }

    /// Flags of `COPY` and `ADD`: whether each is given, and whether leaving it out makes another image.
    fn of_flags(&mut self, keyword: &str, flags: &[(&str, bool, bool)]) {
        for (flag, is_given, matters) in flags {
            if *is_given {
                self.add(Classic, Fails, format!("does not know {keyword} --{flag}"));
                if *matters {
                    self.add(Kaniko, Differs, format!("ignores {keyword} --{flag}"));
                }
            }
        }
    }

    fn of_from(&mut self, from: &From) {
        if let Some(platform) = &from.platform {
            self.add(Kaniko, Differs, "ignores FROM --platform");
            if PLATFORM_ARGS.iter().any(|name| platform.text.contains(name)) {
                self.add(Classic, Fails, "does not set the platform arguments by itself");
            }
        }
    }

    fn of_arg(&mut self, arg: &Arg) {
        for declaration in &arg.declarations {
            let name = declaration.name.text.as_str();
            if declaration.value.is_some() {
                continue;
            }
            let builders: &[Builder] = if PLATFORM_ARGS.contains(&name) {
                &[Kaniko, Classic]
            } else if NEWER_ARGS.contains(&name) {
                &[Buildah, Kaniko, Classic]
            } else {
                &[]
            };
            for builder in builders {
                self.add(*builder, Differs, format!("does not set {name} by itself"));
            }
        }
    }

    fn of_global_arg(&mut self, arg: &Arg) {
        let names = arg.declarations.iter().filter(|declaration| declaration.value.is_some());
        for name in names.map(|declaration| declaration.name.text.as_str()) {
            if matches!(name, "TARGETPLATFORM" | "BUILDPLATFORM") {
                self.add(Buildah, Fails, format!("refuses a default of {name}"));
            }
        }
    }

    fn of_healthcheck(&mut self, healthcheck: &Healthcheck) {
        self.add(Buildah, Differs, "drops HEALTHCHECK, unless the format is docker");
        if let Healthcheck::Check(check) = healthcheck
            && !check.start_interval.is_zero()
        {
            self.add(Kaniko, Differs, "drops HEALTHCHECK --start-interval");
        }
    }

    /// The forms of variables that imagebuilder, the parser of buildah, reads differently.
    fn of_forms(&mut self, text: &str) {
        for (at, _) in text.match_indices("${") {
            let rest = &text[at + 2..];
            let form = rest.trim_start_matches(|c: char| c.is_alphanumeric() || c == '_');
            if form.starts_with(['-', '+', '?']) {
                let sign = &form[..1];
                self.add(
                    Buildah,
                    Fails,
                    format!("does not know ${{name{sign}word}} without a colon"),
                );
            } else if form.starts_with(":?") {
                self.add(Buildah, Differs, "takes the message of ${name:?message} for the value");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Builder, Effect, portability};

    /// The notes about this text as `builder line effect`.
    fn notes(text: &str) -> Vec<String> {
        let file = crate::parse("Dockerfile", text.as_bytes()).unwrap();
        let notes = portability(&file).into_iter().map(|note| {
            let effect = if note.effect == Effect::Fails { "fails" } else { "differs" };
            format!("{} {} {effect}", note.builder, note.lines.0)
        });
        notes.collect()
    }

    #[test]
    fn by_builder_and_line() {
        for (text, expected) in [
            ("FROM a\nRUN true\nCOPY a b\nCMD [\"x\"]\n", &[] as &[&str]),
            (
                "FROM a\nRUN --mount=type=cache,target=/c x\n",
                &["kaniko 2 differs", "classic builder 2 fails"],
            ),
            (
                "FROM a\nRUN --security=insecure x\n",
                &["buildah 2 fails", "kaniko 2 differs", "classic builder 2 fails"],
            ),
            (
                "FROM a\nCOPY --chmod=u+x a b\n",
                &["buildah 2 fails", "kaniko 2 fails", "classic builder 2 fails"],
            ),
            ("FROM a\nCOPY --chmod=755 a b\n", &["classic builder 2 fails"]),
            ("FROM a\nRUN <<E\nx\nE\n", &["kaniko 2 differs", "classic builder 2 fails"]),
            ("FROM a\nENV A=${B-c}\nRUN echo ${B-c}\n", &["buildah 2 fails"]),
            ("FROM a\nENV A=${B:?c}\n", &["buildah 2 differs"]),
            ("ARG TARGETPLATFORM=x\nFROM a\n", &["buildah 1 fails"]),
            (
                "FROM a\nARG TARGETARCH\nARG OWN\n",
                &["kaniko 2 differs", "classic builder 2 differs"],
            ),
            ("FROM a\nADD https://h/x.git /x\n", &["kaniko 2 fails"]),
            ("# escape=`\n# syntax=kiln\nFROM a\n", &["BuildKit 2 fails"]),
            (
                "# syntax=kiln\nFROM a\nCOPY --if-exists a b\n",
                &[
                    "BuildKit 1 fails",
                    "buildah 3 fails",
                    "kaniko 3 fails",
                    "classic builder 3 fails",
                ],
            ),
        ] {
            assert_eq!(notes(text), expected, "{text}");
        }
    }

    #[test]
    fn builders_have_names() {
        assert_eq!(Builder::Classic.to_string(), "classic builder");
    }
}
