//! What can be asked about a Dockerfile without building it: the parameters of a build ([`Outline`]) and its targets
//! ([`Target`]).

use std::collections::{BTreeMap, BTreeSet};

use plan::{MountKind, Op};

use crate::ast::{Dockerfile, Stage, Statement};
use crate::diagnostic::Diagnostic;
use crate::instruction::{Arg, Instruction};
use crate::lower::{BaseImage, BaseRef, Request, Seen, SeenStage, Stages, Watch, lower_watched};
use crate::scope::Globals;
use crate::source::Word;

/// What a build can be given.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Outline {
    /// The name of the target.
    pub name: Option<String>,
    /// What the comment above it says.
    pub description: Option<String>,
    /// The arguments that have an effect.
    pub args: Vec<Argument>,
    /// The secrets that steps ask for.
    pub secrets: Vec<Asked>,
    /// The agents that steps ask for.
    pub ssh: Vec<Asked>,
    /// The caches that steps mount.
    pub caches: Vec<Asked>,
}

/// An argument of a build.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Argument {
    /// Its name.
    pub name: String,
    /// Its value in this build: given, or the default.
    pub value: Option<String>,
    /// What the comment above it says.
    pub description: Option<String>,
    /// Where it is declared.
    pub lines: (usize, usize),
}

/// Something that a mount asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Asked {
    /// Its id.
    pub id: String,
    /// True if the build fails without it.
    pub required: bool,
    /// The step that asks first.
    pub lines: (usize, usize),
}

/// A stage that can be built.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Target {
    /// Its name.
    pub name: Option<String>,
    /// What the comment above it says.
    pub description: Option<String>,
    /// What it starts from, as written.
    pub base: String,
    /// `--platform` of its base, as written.
    pub platform: Option<String>,
    /// True for the last one.
    pub is_default: bool,
    /// Where it begins.
    pub lines: (usize, usize),
}

/// Returns the stages of a file.
pub fn targets(file: &Dockerfile) -> Vec<Target> {
    let last = file.stages.len().saturating_sub(1);
    let target = |(index, stage): (usize, &Stage)| Target {
        name: stage.from.instruction.name.as_ref().map(|name| name.value.clone()),
        description: description(stage),
        base: stage.from.instruction.image.text.clone(),
        platform: stage.from.instruction.platform.as_ref().map(|word| word.text.clone()),
        is_default: index == last,
        lines: stage.from.lines,
    };
    file.stages.iter().enumerate().map(target).collect()
}

fn description(stage: &Stage) -> Option<String> {
    let name = stage.from.instruction.name.as_ref()?;
    stage.from.description(&name.value).map(str::to_owned)
}

/// Returns what the build of a target can be given. Bases that are not known are taken for empty ones.
///
/// Fails with the first mistake in what the target needs.
pub fn outline(
    file: &Dockerfile,
    request: &Request,
    known: &BTreeMap<BaseRef, BaseImage>,
) -> Result<Outline, Diagnostic> {
    let globals = Globals::of(file, request)?;
    let global_args =
        file.global_args.iter().flat_map(|statement| &statement.instruction.declarations);
    let mut view = View {
        globals: global_args.map(|declaration| declaration.name.text.as_str()).collect(),
        stages: BTreeMap::new(),
        secrets: Asking::default(),
        ssh: Asking::default(),
        caches: Asking::default(),
    };
    lower_watched(file, request, known, Stages::OfTarget, &mut view)?;

    // Arguments before the first stage that stages declare again and use.
    let again = |stage: &Declared| {
        stage.global.intersection(&stage.used).cloned().collect::<BTreeSet<String>>()
    };
    let mut global_uses: BTreeSet<String> = view.stages.values().flat_map(again).collect();

    let used_in_from = |word: &Word| globals.expand_fully(word, file.directives.escape);
    for index in view.stages.keys() {
        let from = &file.stages[*index].from.instruction;
        for word in std::iter::once(&from.image).chain(&from.platform) {
            global_uses.extend(used_in_from(word).map(|found| found.used).unwrap_or_default());
        }
    }
    // A default may use arguments above it.
    let mut args = Vec::new();
    for statement in file.global_args.iter().rev() {
        for declaration in statement.instruction.declarations.iter().rev() {
            if !global_uses.contains(&declaration.name.text) {
                continue;
            }
            if let Some(word) = &declaration.value {
                let found = used_in_from(word).map(|found| found.used).unwrap_or_default();
                global_uses.extend(found);
            }
            let value = globals.value(&declaration.name.text).map(str::to_owned);
            args.push(argument(&declaration.name.text, value, statement, statement));
        }
    }

    // The target is the last of the stages that were seen; its declarations go before those of the others.
    let target = view.stages.keys().next_back().and_then(|index| file.stages.get(*index));
    let mut names: BTreeSet<String> = args.iter().map(|arg| arg.name.clone()).collect();
    for stage in view.stages.into_values().rev() {
        for (name, declared) in stage.declared {
            if stage.used.contains(&name) && names.insert(name) {
                args.push(declared);
            }
        }
    }
    args.sort_by_key(|arg| arg.lines);
    Ok(Outline {
        name: target.and_then(|stage| Some(stage.from.instruction.name.as_ref()?.value.clone())),
        description: target.and_then(description),
        args,
        secrets: view.secrets.list,
        ssh: view.ssh.list,
        caches: view.caches.list,
    })
}

fn argument<T>(
    name: &str,
    value: Option<String>,
    place: &Statement<T>,
    described: &Statement<Arg>,
) -> Argument {
    let description = described.description(name).map(str::to_owned);
    Argument { name: name.to_owned(), value, description, lines: place.lines }
}

/// Looks on while the target is lowered.
struct View<'a> {
    /// The arguments before the first stage.
    globals: BTreeSet<&'a str>,
    stages: BTreeMap<usize, Declared>,
    secrets: Asking,
    ssh: Asking,
    caches: Asking,
}

/// What is asked for, in the order in which it is first, with the place of each.
#[derive(Default)]
struct Asking {
    list: Vec<Asked>,
    places: BTreeMap<String, usize>,
}

/// The arguments of a stage, with those of the stages it starts from.
#[derive(Clone, Default)]
struct Declared {
    declared: BTreeMap<String, Argument>,
    /// Those without a default of their own that are declared before the first stage.
    global: BTreeSet<String>,
    used: BTreeSet<String>,
    /// How many of the arguments the last `RUN` saw: the first ones.
    run_with: usize,
}

impl Watch for View<'_> {
    fn stage(&mut self, seen: &SeenStage<'_>) {
        let parent = seen.parent.and_then(|parent| self.stages.get(&parent)).cloned();
        self.stages.insert(seen.index, parent.unwrap_or_default());
    }

    fn instruction(&mut self, seen: &Seen<'_>) {
        let stage = self.stages.entry(seen.stage).or_default();
        stage.used.extend(seen.expansions.used.iter().cloned());
        match seen.instruction {
            Instruction::Arg(arg) => declare(&self.globals, stage, arg, seen),
            // A command sees all of them.
            Instruction::Run(_) => {
                let names = seen.scope.argument_names();
                stage.used.extend(names.skip(stage.run_with).map(str::to_owned));
                stage.run_with = seen.scope.argument_names().count();
            }
            _ => {}
        }
        if let Some(Op::Run(run)) = seen.op {
            for mount in &run.mounts {
                let (asking, id, required) = match &mount.kind {
                    MountKind::Secret { id, required, .. } => (&mut self.secrets, id, *required),
                    MountKind::Ssh { id, required, .. } => (&mut self.ssh, id, *required),
                    MountKind::Cache { id, .. } => (&mut self.caches, id, false),
                    MountKind::Bind { .. } | MountKind::Tmpfs { .. } => continue,
                };
                asking.add(id, required, seen.lines);
            }
        }
    }
}

fn declare(globals: &BTreeSet<&str>, stage: &mut Declared, arg: &Arg, seen: &Seen<'_>) {
    for declaration in &arg.declarations {
        let name = declaration.name.text.as_str();
        if declaration.value.is_none() && globals.contains(name) {
            stage.global.insert(name.to_owned());
            continue;
        }
        let value = seen.scope.value(name).map(str::to_owned);
        let starts =
            |comment: &String| comment.strip_prefix(name)?.strip_prefix(' ').map(str::to_owned);
        let description = seen.comments.iter().find_map(starts);
        let argument = Argument { name: name.to_owned(), value, description, lines: seen.lines };
        stage.declared.insert(name.to_owned(), argument);
    }
}

impl Asking {
    fn add(&mut self, id: &str, required: bool, lines: (usize, usize)) {
        match self.places.get(id) {
            Some(place) => self.list[*place].required |= required,
            None => {
                self.places.insert(id.to_owned(), self.list.len());
                self.list.push(Asked { id: id.to_owned(), required, lines });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use oci::Platform;

    use super::{outline, targets};
    use crate::lower::Request;

    const TEXT: &str = "# TAG of the base\nARG TAG=latest REGISTRY=docker.io BASE=$REGISTRY/busybox UNUSED=1\n\
        # base the common part\nFROM $BASE:$TAG AS base\n# MODE fast or slow\nARG MODE=fast\nARG TAG\n\
        RUN --mount=type=secret,id=key,required --mount=type=cache,target=/c echo\n\
        FROM scratch AS other\nARG OTHER=1\nCOPY $OTHER /\n\
        # final what is shipped\nFROM base AS final\nARG LATE=x\nRUN --mount=type=ssh echo\n";

    fn request(target: Option<&str>) -> Request {
        let mut request = Request::new(Platform::parse("linux/amd64").unwrap());
        request.target = target.map(str::to_owned);
        request
    }

    #[test]
    fn of_the_target_and_what_it_needs() {
        let file = crate::parse("Dockerfile", TEXT.as_bytes()).unwrap();
        let mut request = request(None);
        request.build_args.insert("MODE".into(), "slow".into());
        let outline = outline(&file, &request, &BTreeMap::new()).unwrap();
        assert_eq!(outline.name.as_deref(), Some("final"));
        assert_eq!(outline.description.as_deref(), Some("what is shipped"));
        let args: Vec<_> = outline
            .args
            .iter()
            .map(|arg| {
                let value = arg.value.as_deref().unwrap_or("-");
                let description = arg.description.as_deref().unwrap_or("-");
                format!("{} {value} {} {description}", arg.name, arg.lines.0)
            })
            .collect();
        assert_eq!(
            args,
            [
                "BASE docker.io/busybox 2 -",
                "REGISTRY docker.io 2 -",
                "TAG latest 2 of the base",
                "MODE slow 6 fast or slow",
                "LATE x 14 -",
            ]
        );
        assert_eq!(outline.secrets[0].id, "key");
        assert!(outline.secrets[0].required);
        assert_eq!((outline.ssh[0].id.as_str(), outline.ssh[0].required), ("default", false));
        assert_eq!(outline.caches[0].id, "/c");
    }

    #[test]
    fn of_another_target() {
        let file = crate::parse("Dockerfile", TEXT.as_bytes()).unwrap();
        let outline = outline(&file, &request(Some("other")), &BTreeMap::new()).unwrap();
        let names: Vec<_> = outline.args.iter().map(|arg| arg.name.as_str()).collect();
        assert_eq!(names, ["OTHER"]);
    }

    #[test]
    fn all_targets() {
        let file = crate::parse("Dockerfile", TEXT.as_bytes()).unwrap();
        let targets = targets(&file);
        let names: Vec<_> = targets.iter().filter_map(|target| target.name.as_deref()).collect();
        assert_eq!(names, ["base", "other", "final"]);
        assert_eq!(targets[0].base, "$BASE:$TAG");
        assert_eq!(targets[0].description.as_deref(), Some("the common part"));
        assert!(targets[2].is_default && !targets[0].is_default);
    }
}
