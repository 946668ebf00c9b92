//! `kiln build`.

mod options;
mod outputs;
mod source;
mod targets;

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs, io,
    os::unix::{ffi::OsStringExt, fs::FileTypeExt},
    path::{Path, PathBuf},
};

use engine::{
    BuildRequest, BuiltTarget, Cancel, Engine, Entitlement, Events, NamedContext, Secret,
};
use registry::Client;

pub(crate) use self::options::Build;
use super::{cancel_on_signal, check, runtime};
use crate::{
    args, environment,
    progress::Display,
    report::{Exit, Failure},
};

/// BuildKit's limit for one secret.
const MAX_SECRET: usize = 500 * 1024;

/// Builds the images, writes them to where they were asked for, and prints their ids if nothing else is to be seen.
pub(super) fn run(engine: &Engine, build: Build) -> Result<Exit, Failure> {
    if let Some(question) = check::question(&build)? {
        return check::answer(engine, build, question);
    }
    let targets = targets::read(&build.targets, &build.tags)?;
    let platforms = environment::platforms(&build.platforms)?;
    let outputs = outputs::read(&build, &targets, platforms.len())?;
    // The id of an earlier build would be taken for this one's.
    if let Some(path) = &build.iidfile {
        remove(path)?;
    }
    let quiet = build.quiet;
    let display = Display::start(if quiet { args::Progress::Quiet } else { build.progress });
    let iidfile = build.iidfile.clone();
    let cancel = Cancel::default();
    let mut request = request(build, cancel.clone())?;
    outputs::set_times(&mut request.targets, &outputs);

    let result = execute(engine, request, &display.events(), &cancel);
    display.end();
    let built = result?;

    outputs::write(engine, &built, &outputs, quiet)?;
    if let Some(path) = iidfile {
        outputs::write_ids(&path, &built)?;
    }
    outputs::tell(&built, quiet)?;
    Ok(Exit::Done)
}

fn execute(
    engine: &Engine,
    request: BuildRequest,
    events: &Events,
    cancel: &Cancel,
) -> Result<Vec<BuiltTarget>, Failure> {
    let engine = engine.clone().with_registries(Client::new(environment::registry_options()?)?);
    runtime()?.block_on(async {
        tokio::spawn(cancel_on_signal(cancel.clone()));
        Ok(engine::build(&engine, request, events.clone()).await?)
    })
}

/// Reads what the command line asks of a build.
pub(super) fn request(build: Build, cancel: Cancel) -> Result<BuildRequest, Failure> {
    let build_args = build_args(&build)?;
    let (context, dockerfile) = source::sources(build.file, build.context)?;
    Ok(BuildRequest {
        dockerfile,
        context,
        named_contexts: named_contexts(&build.build_contexts)?,
        build_args,
        targets: targets::read(&build.targets, &build.tags)?,
        no_cache: build.no_cache,
        platforms: environment::platforms(&build.platforms)?,
        labels: labels(&build.labels),
        network: build.network.into(),
        secrets: build
            .secrets
            .iter()
            .map(|secret| read_secret(secret))
            .collect::<Result<_, _>>()?,
        fetch_limit: build.fetch_limit.0,
        git_env: environment::git_env(),
        allow: build.allow.iter().map(|name| entitlement(name)).collect::<Result<_, _>>()?,
        ssh: build.ssh.iter().map(|agent| ssh_agent(agent)).collect::<Result<_, _>>()?,
        cancel,
    })
}

fn named_contexts(given: &[String]) -> Result<BTreeMap<String, NamedContext>, Failure> {
    let mut contexts = BTreeMap::new();
    for context in given {
        let Some((name, value)) = context.split_once('=') else {
            return Err(Failure::usage(format!(
                "--build-context `{context}` has no `=`: NAME=VALUE"
            )));
        };
        contexts.insert(name.to_owned(), NamedContext::parse(value)?);
    }
    Ok(contexts)
}

/// The epoch of the environment, which reproducible builds set for all their tools, then `--build-arg-file`, then
/// `--build-arg`: the later goes before the earlier.
fn build_args(build: &Build) -> Result<BTreeMap<String, String>, Failure> {
    const EPOCH: &str = "SOURCE_DATE_EPOCH";
    let mut all: BTreeMap<String, String> = environment::name_value(EPOCH).into_iter().collect();
    for path in &build.build_arg_files {
        let text = fs::read_to_string(path).map_err(Failure::io("read", path.display()))?;
        let lines = text.lines().map(str::trim);
        let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
        all.extend(lines.filter_map(environment::name_value));
    }
    all.extend(build.build_args.iter().filter_map(|arg| environment::name_value(arg)));
    Ok(all)
}

fn labels(given: &[String]) -> BTreeMap<String, String> {
    let pair = |label: &String| match label.split_once('=') {
        Some((key, value)) => (key.to_owned(), value.to_owned()),
        None => (label.clone(), String::new()),
    };
    given.iter().map(pair).collect()
}

/// Reads `id=NAME[,src=FILE|env=VARIABLE]`; without a source, the variable called NAME, or else the file.
fn read_secret(given: &str) -> Result<(String, Secret), Failure> {
    let mut fields = BTreeMap::new();
    for field in given.split(',') {
        let (key, value) = field.split_once('=').unwrap_or((field, ""));
        fields.insert(key.to_lowercase(), value.to_owned());
    }
    let field = |names: &[&str]| names.iter().find_map(|name| fields.get(*name)).cloned();
    let Some(id) = field(&["id"]).filter(|id| !id.is_empty()) else {
        return Err(Failure::usage(format!("--secret `{given}` has no id: id=NAME[,src=FILE]")));
    };
    let is_variable = field(&["type"]).as_deref() == Some("env");
    let file = field(&["src", "source"]).filter(|_| !is_variable);
    let named = field(&["env"]).or_else(|| field(&["src", "source"]).filter(|_| is_variable));
    let missing =
        |name: &str| Failure::usage(format!("secret `{id}`: the variable `{name}` is not set"));
    let value = match (file, named) {
        (Some(path), _) => fs::read(&path).map_err(Failure::io("read the secret", path))?,
        (None, Some(name)) => environment::variable(&name).ok_or_else(|| missing(&name))?,
        (None, None) => match environment::variable(&id) {
            Some(value) => value,
            None => fs::read(&id).map_err(Failure::io("read the secret", &id))?,
        },
    };
    if value.len() > MAX_SECRET {
        return Err(Failure::usage(format!("secret `{id}` is larger than {MAX_SECRET} bytes")));
    }
    Ok((id, Secret(value)))
}

fn entitlement(name: &str) -> Result<Entitlement, Failure> {
    let known = Entitlement::ALL.iter().find(|(known, _)| *known == name);
    known.map(|(_, entitlement)| *entitlement).ok_or_else(|| {
        let names = Entitlement::ALL.map(|(name, _)| name).join(", ");
        Failure::usage(format!("--allow `{name}`: there are {names}"))
    })
}

/// Reads `ID[=SOCKET]`.
fn ssh_agent(given: &str) -> Result<(String, PathBuf), Failure> {
    let (id, socket) = match given.split_once('=') {
        Some((id, socket)) => (id, PathBuf::from(socket)),
        None => match environment::variable("SSH_AUTH_SOCK") {
            Some(socket) => (given, PathBuf::from(OsString::from_vec(socket))),
            None => {
                return Err(Failure::usage(format!("--ssh `{given}`: SSH_AUTH_SOCK is not set")));
            }
        },
    };
    let metadata =
        fs::metadata(&socket).map_err(Failure::io("find the agent", socket.display()))?;
    if !metadata.file_type().is_socket() {
        let socket = socket.display();
        return Err(Failure::usage(format!(
            "--ssh `{given}`: `{socket}` is not an agent's socket; load keys by `ssh-add`, and give `--ssh {id}`"
        )));
    }
    Ok((id.to_owned(), socket))
}

fn remove(path: &Path) -> Result<(), Failure> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Failure::io("remove", path.display())(error))
        }
        _ => Ok(()),
    }
}
