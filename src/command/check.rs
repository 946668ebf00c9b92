//! `kiln check`, and `kiln build --check` and `--call`: what can be said of a Dockerfile without building it.
//!
//! Each form of answer has a file: [`text`], [`json`], [`sarif`] for findings, [`outline`] for parameters and targets,
//! [`describe`] for the questions themselves.

mod describe;
mod json;
mod outline;
mod sarif;
mod text;

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use dockerfile::{
    BaseRef, Source,
    lint::{
        Finding,
        portability::{Note, portability},
    },
};
use engine::{Cancel, Checked, Engine, Events, Mistake};
use sandbox::Rung;
use store::Store;

use super::{build, build::Build, output, runtime};
use crate::{
    args::{Args, Format},
    environment,
    report::{Exit, Failure},
};

#[derive(Debug, clap::Args)]
pub(crate) struct Check {
    /// How findings are told
    #[arg(long, value_enum, default_value = "text")]
    pub(crate) format: Format,
    /// Say too what other builders would make of the Dockerfile
    #[arg(long)]
    pub(crate) portability: bool,
    /// What is asked of a build: all of it is accepted, so that `build` and `check` can take each other's place.
    #[command(flatten)]
    pub(crate) build: Build,
}

/// Checks a Dockerfile. Findings and mistakes make the exit code 1.
pub(super) fn run(engine: &Engine, check: Check) -> Result<Exit, Failure> {
    let question = Question::Check { format: check.format, portability: check.portability };
    answer(engine, check.build, question)
}

/// What `kiln build` is asked instead of building, if anything.
pub(super) fn question(build: &Build) -> Result<Option<Question>, Failure> {
    let call = match (&build.call, build.check.0) {
        (None, false) => return Ok(None),
        (None, true) => "check",
        (Some(call), _) => call,
    };
    let (method, options) = call.split_once(',').unwrap_or((call, ""));
    let format = match options {
        "" | "format=text" => Format::Text,
        "format=json" => Format::Json,
        "format=sarif" if method == "check" => Format::Sarif,
        _ => return Err(Failure::usage(format!("--call does not know the option `{options}`"))),
    };
    Ok(Some(match method {
        "build" if !build.check.0 => return Ok(None),
        "check" | "lint" => Question::Check { format, portability: false },
        "outline" => Question::Outline(format),
        "targets" => Question::Targets(format),
        "subrequests.describe" => Question::Describe(format),
        _ => {
            let message = format!(
                "--call does not know `{method}`: there are build, check, outline, targets and subrequests.describe"
            );
            return Err(Failure::usage(message));
        }
    }))
}

/// A question about a Dockerfile.
#[derive(Debug, Clone, Copy)]
pub(super) enum Question {
    Check { format: Format, portability: bool },
    Outline(Format),
    Targets(Format),
    Describe(Format),
}

/// Answers on standard output.
pub(super) fn answer(engine: &Engine, build: Build, question: Question) -> Result<Exit, Failure> {
    if let Question::Describe(format) = question {
        tell(&describe::methods(format))?;
        return Ok(Exit::Done);
    }
    let path = path_of(&build);
    if matches!(question, Question::Outline(_)) && build.targets.len() > 1 {
        return Err(Failure::usage("--call=outline is about one target; give one --target"));
    }
    let request = build::request(build, Cancel::default())?;
    // Contexts that are elsewhere are fetched by tasks of a runtime.
    let engine = engine.clone().with_registries(environment::registry_client);
    let checked =
        runtime(2)?.block_on(async { engine::check(&engine, &request, &Events::nowhere()) })?;
    match question {
        // Answered already: it is about no Dockerfile.
        Question::Describe(_) => Ok(Exit::Done),
        Question::Check { format, portability } => {
            tell_findings(&checked, &path, format, portability)
        }
        Question::Outline(format) => {
            let mistake = checked.linted.mistake.clone();
            let outline = match mistake {
                Some(mistake) => Err(mistake),
                None => dockerfile::outline::outline(
                    &checked.file,
                    &checked.requests[0],
                    &checked.known,
                ),
            };
            let outline = outline.map_err(|mistake| failure(&checked, mistake))?;
            tell(&outline::outline(&outline, &checked.file.source, format))?;
            Ok(Exit::Done)
        }
        Question::Targets(format) => {
            if checked.file.stages.is_empty()
                && let Some(mistake) = checked.linted.mistake.clone()
            {
                return Err(failure(&checked, mistake));
            }
            let targets = dockerfile::outline::targets(&checked.file);
            tell(&outline::targets(&targets, &checked.file.source, format))?;
            Ok(Exit::Done)
        }
    }
}

/// Prints an answer without the passwords of addresses in it.
fn tell(answer: &str) -> Result<(), Failure> {
    output::print(&plan::redact(answer))
}

/// Everything that an answer about findings is made of.
#[derive(Debug)]
struct Report<'a> {
    checked: &'a Checked,
    findings: &'a [Finding],
    notes: Option<Vec<Note>>,
    /// The Dockerfile as one would name it from the working directory.
    path: &'a str,
}

impl Report<'_> {
    /// Which of the source's files some lines are in, and their numbers there.
    fn place(&self, (first, last): (usize, usize)) -> (usize, (usize, usize)) {
        place(&self.checked.file.source, (first, last))
    }

    /// A file as one would name it from the working directory.
    fn path_of(&self, file: usize) -> String {
        let included = self.checked.file.source.files().nth(file);
        let path = included.map(|included| included.path).filter(|path| !path.is_empty());
        let Some(path) = path else { return self.path.to_owned() };
        let mut whole = Path::new(self.path).parent().unwrap_or(Path::new("")).to_owned();
        for name in path.split('/') {
            // What is above the working directory has no shorter name.
            if name != ".." || whole.ends_with("..") || !whole.pop() {
                whole.push(name);
            }
        }
        whole.display().to_string()
    }
}

/// Which of a source's files some lines are in, and their numbers there. An instruction is never in two of them.
fn place(source: &Source, (first, last): (usize, usize)) -> (usize, (usize, usize)) {
    let named = source.place(first);
    (named.file, (named.line, named.line + (last - first)))
}

fn tell_findings(
    checked: &Checked,
    path: &str,
    format: Format,
    with_notes: bool,
) -> Result<Exit, Failure> {
    let notes = with_notes.then(|| portability(&checked.file));
    let report = Report { checked, findings: &checked.linted.findings, notes, path };
    tell(&match format {
        Format::Text => text::findings(&report),
        Format::Json => json::findings(&report),
        Format::Sarif => sarif::findings(&report),
    })?;
    tell_unknown(&checked.linted.unknown);
    match &checked.linted.mistake {
        Some(mistake) => Err(failure(checked, mistake.clone())),
        None if report.findings.is_empty() => Ok(Exit::Done),
        None => Ok(Exit::Failed),
    }
}

/// How many base images are named that are not there.
const MOST_UNKNOWN: usize = 20;

/// Says what was not looked at for want of base images.
fn tell_unknown(unknown: &[BaseRef]) {
    for base in unknown.iter().take(MOST_UNKNOWN) {
        let name = match base {
            BaseRef::Image { reference, .. } => reference.familiar(),
            BaseRef::Context { name, .. } => name.clone(),
        };
        output::tell(&format!(
            "note: base image `{name}` is not in the store: its variables and platform are not known"
        ));
    }
    if let Some(more @ 1..) = unknown.len().checked_sub(MOST_UNKNOWN) {
        output::tell(&format!("note: nor are {more} further base images"));
    }
}

fn failure(checked: &Checked, diagnostic: dockerfile::Diagnostic) -> Failure {
    let source = checked.file.source.clone();
    Failure::Engine(engine::Error::Dockerfile(Box::new(Mistake { source, diagnostic })))
}

/// The Dockerfile as one would name it from the working directory, if it is a file.
fn path_of(build: &Build) -> String {
    let path = match &build.file {
        Some(file) => file.clone(),
        None if build.context.is_dir() => build.context.join("Dockerfile"),
        None => PathBuf::from("Dockerfile"),
    };
    let path: PathBuf = path.components().collect();
    let path = path.strip_prefix(".").unwrap_or(&path);
    path.display().to_string()
}

/// Returns what to look for base images in: the store if there is one that can be used. A Dockerfile can be checked without,
/// so there is an empty one else, which goes with the second value.
pub(super) fn engine(args: &Args) -> Result<(Engine, Option<TemporaryStore>), Failure> {
    let is_root = rustix::process::geteuid().is_root();
    let likely = if is_root { Rung::Root } else { Rung::UserNamespace };
    let root = args.store_root(likely).ok().filter(|root| root.is_dir());
    if let Some(root) = root
        && let Ok(standing) = sandbox::enter(super::wish(&args.isolation))
        && let Ok(store) = Store::open(&root)
        && let Ok(engine) = super::engine(store, standing)
    {
        return Ok((engine, None));
    }
    let temporary = TemporaryStore::create()?;
    let store = Store::open(&temporary.0)?;
    Ok((Engine::new(store, likely).with_limits(environment::limits()), Some(temporary)))
}

/// An empty store that goes with its value.
#[derive(Debug)]
pub(super) struct TemporaryStore(PathBuf);

impl TemporaryStore {
    fn create() -> Result<Self, Failure> {
        let parent = crate::environment::temporary_directory();
        // Others may write there as well: what exists already is not used.
        for attempt in 0..1000_u32 {
            let path = parent.join(format!("kiln-check-{}-{attempt}", std::process::id()));
            match make_private(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                made => {
                    return made
                        .map(|()| Self(path.clone()))
                        .map_err(Failure::io("create", path.display()));
                }
            }
        }
        Err(Failure::io("create a directory in", parent.display())(
            io::ErrorKind::AlreadyExists.into(),
        ))
    }
}

fn make_private(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().mode(0o700).create(path)
}

impl Drop for TemporaryStore {
    fn drop(&mut self) {
        // What is left over is an empty store in a temporary directory.
        let _ = fs::remove_dir_all(&self.0);
    }
}
