//! `kiln build`.

mod options;
mod source;

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs, io,
    os::unix::{ffi::OsStringExt, fs::FileTypeExt},
    path::{Path, PathBuf},
};

use engine::{
    BuildRequest, Built, Cancel, Engine, Entitlement, Events, NamedContext, Secret, Times,
};
use export::Output;
use oci::Reference;
use registry::Client;

pub(crate) use self::options::Build;
use super::{cancel_on_signal, check, output, runtime};
use crate::{
    args, environment,
    progress::Display,
    report::{Exit, Failure},
};

/// BuildKit's limit for one secret.
const MAX_SECRET: usize = 500 * 1024;

/// Builds the image, writes it to where it was asked for, and prints its id if nothing else is to be seen.
pub(super) fn run(engine: &Engine, build: Build) -> Result<Exit, Failure> {
    if let Some(question) = check::question(&build)? {
        return check::answer(engine, build, question);
    }
    let outputs = outputs(&build)?;
    // The id of an earlier build would be taken for this one's.
    if let Some(path) = &build.iidfile {
        remove(path)?;
    }
    let quiet = build.quiet;
    let display = Display::start(if quiet { args::Progress::Quiet } else { build.progress });
    let iidfile = build.iidfile.clone();
    let cancel = Cancel::default();
    let mut request = request(build, cancel.clone())?;
    let stored = outputs.iter().find(|output| output.is_stored());
    request.times = stored.map(times).unwrap_or_default();
    let tags = request.tags.clone();

    let result = execute(engine, request, &display.events(), &cancel);
    display.end();
    let built = result?;

    for output in &outputs {
        warn_without_epoch(&built, output);
        write(engine, &built, output, &tags)?;
    }
    for output in outputs.iter().filter(|output| output.pushes()) {
        push(engine, &built, output, &tags, quiet)?;
    }
    if let Some(path) = iidfile {
        fs::write(&path, built.id.to_string()).map_err(Failure::io("write", path.display()))?;
    }
    if quiet {
        output::print(&format!("{}\n", built.id))?;
    } else {
        tell(&built, &tags);
    }
    Ok(Exit::Done)
}

fn outputs(build: &Build) -> Result<Vec<Output>, Failure> {
    let given = build.outputs.iter().map(String::as_str);
    let given = given.chain(build.push.then_some("type=registry"));
    let parse = |value: &str| {
        Output::parse(value).map_err(|error| Failure::usage(format!("--output: {error}")))
    };
    let outputs: Vec<Output> = given.map(parse).collect::<Result<_, _>>()?;
    for output in outputs.iter().filter(|output| output.pushes()) {
        if build.tags.is_empty() && output.names()?.is_empty() {
            return Err(Failure::usage("what is pushed needs a name: give one by --tag/-t"));
        }
    }
    Ok(outputs)
}

fn execute(
    engine: &Engine,
    request: BuildRequest,
    events: &Events,
    cancel: &Cancel,
) -> Result<Built, Failure> {
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
        target: build.target,
        no_cache: build.no_cache,
        platform: environment::platform(build.platform.as_deref())?,
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
        times: Times::default(),
        tags: build.tags.iter().map(|tag| Reference::parse(tag)).collect::<Result<_, _>>()?,
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

fn write(
    engine: &Engine,
    built: &Built,
    output: &Output,
    tags: &[Reference],
) -> Result<(), Failure> {
    let root = match output.needs_root() {
        true => Some(engine::merged(engine, &built.image)?),
        false => None,
    };
    let image = match output.is_stored() {
        true => built.put_with_times(engine, times(output))?,
        false if output.needs_root() => built.image.clone(),
        false => built.with_times(engine, times(output))?,
    };
    let image = export::Named { image: &image, names: tags };
    let root = root.as_ref().map(engine::Rootfs::root);
    Ok(export::write(engine.store(), engine.flavour(), &image, root, built.epoch(), output)?)
}

/// What an output wants of the times in the image.
fn times(output: &Output) -> Times {
    Times { epoch: output.own_epoch(), rewrite: output.rewrites_times() }
}

/// Tells whoever expects the same bytes everywhere that nothing was done for that.
#[expect(clippy::print_stderr, reason = "for people")]
fn warn_without_epoch(built: &Built, output: &Output) {
    if output.rewrites_times() && output.epoch(built.epoch()).is_none() {
        eprintln!(
            "warning: --output: rewrite-timestamp=true changes nothing without SOURCE_DATE_EPOCH; give it by --build-arg"
        );
    }
}

/// Pushes the image under the names of the output, or else of the build. It is in the store by then, whatever happens.
fn push(
    engine: &Engine,
    built: &Built,
    output: &Output,
    tags: &[Reference],
    quiet: bool,
) -> Result<(), Failure> {
    let mut names = output.names()?;
    if names.is_empty() {
        names = tags.iter().map(Reference::tagged).collect();
    }
    let image = built.put_with_times(engine, times(output))?;
    let named: Vec<_> = names.into_iter().map(|name| (name, image.clone())).collect();
    let client = Client::new(environment::registry_options()?)?;
    let show = if quiet { super::push::Show::Nothing } else { super::push::Show::Everything };
    super::push::images(engine, client, &named, &output.push_options()?, show).map(|_| ())
}

#[expect(clippy::print_stderr, reason = "for people")]
fn tell(built: &Built, tags: &[Reference]) {
    eprintln!("image {}", built.id);
    for tag in tags {
        eprintln!("tagged {}", tag.tagged().familiar());
    }
}
