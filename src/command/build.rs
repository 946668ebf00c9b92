//! `kiln build`.

mod lent;
mod metadata;
mod options;
mod outputs;
mod refused;
mod source;
mod surroundings;
mod targets;

use std::{collections::BTreeMap, fs, future::Future, io, panic, path::Path, sync::Arc, thread};

use engine::{BuildRequest, BuiltTarget, Cancel, ContextSource, Engine, Lock, NamedContext};
use tokio::{runtime::Builder as Runtime, sync::oneshot};

pub(crate) use self::options::Build;
use self::options::Jobs;
use super::{cancel_on_signal, check};
use crate::{
    args, environment,
    mending::{Again, mending},
    progress::Display,
    report::{Exit, Failure},
};

/// Builds the images; what was damaged in the store is made again.
pub(super) fn run(engine: &Engine, build: Build) -> Result<Exit, Failure> {
    if let Some(question) = check::question(&build)? {
        return check::answer(engine, build, question);
    }
    mending(engine, Again::Always, || attempt(engine, build.clone()))
}

/// Builds the images, writes them to where they were asked for, and prints their ids if nothing else is to be seen.
fn attempt(engine: &Engine, build: Build) -> Result<Exit, Failure> {
    let targets = targets::read(&build.targets, &build.tags)?;
    let platforms = environment::platforms(&build.platforms)?;
    let outputs = outputs::read(&build, &targets, &platforms)?;
    build.ignored.tell();
    // What an earlier build wrote would be taken for this one's.
    for path in build.iidfile.iter().chain(&build.metadata_file) {
        remove(path)?;
    }
    let quiet = build.quiet.0;
    let progress = if quiet { args::Progress::Quiet } else { build.progress };
    let display = Display::start(progress);
    let (iidfile, metadata_file) = (build.iidfile.clone(), build.metadata_file.clone());
    let cancel = Cancel::default();
    let mode = build.lock;
    let mut request = request(build, cancel.clone())?;
    let lock = mode.map(|mode| lock(&request, mode)).transpose()?;
    outputs::set_times(&mut request.targets, &outputs);

    let result = execute(engine, request, lock, display, &cancel);
    let built = result?;

    // Programs read nothing but lines of JSON.
    let shows_layers = !quiet && progress != args::Progress::Rawjson;
    let manifests = outputs::write(engine, &built, &outputs, shows_layers)?;
    if let Some(path) = iidfile {
        outputs::write_ids(&path, &built)?;
    }
    if let Some(path) = metadata_file {
        metadata::write(&path, &built, &manifests)?;
    }
    outputs::tell(&built, quiet, progress)?;
    Ok(Exit::Done)
}

/// Opens the lock of the context.
fn lock(request: &BuildRequest, mode: args::LockMode) -> Result<Lock, Failure> {
    let ContextSource::Directory(directory) = &request.context else {
        return Err(Failure::usage(
            "--lock needs a context that is a directory: kiln.lock is kept there",
        ));
    };
    Ok(Lock::open(directory, mode.into())?)
}

fn execute(
    engine: &Engine,
    request: BuildRequest,
    lock: Option<Lock>,
    display: Display,
    cancel: &Cancel,
) -> Result<Vec<BuiltTarget>, Failure> {
    let mut engine = engine.clone().with_registries(environment::registry_client);
    if let Some(lock) = lock {
        engine = engine.with_lock(Arc::new(lock));
    }
    // What is long is done by threads of its own; the tasks between them are few.
    let runtime = Runtime::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(Failure::io("start", "the runtime"))?;
    let cancel = cancel.clone();
    let build = async move {
        let built = engine::build(&engine, request, display.events()).await;
        // Here, where signals are still heard: whoever reads what is shown may have stopped.
        display.end();
        built
    };
    let built = beside_signals(&runtime, cancel, build)?;
    if built.is_ok() {
        // All is done but to wait for signals.
        runtime.shutdown_background();
    }
    Ok(built?)
}

/// Does something on a thread of its own. The first thread of the process, to which the kernel gives its signals, waits for
/// them and does the tasks of the runtime: one that reads from a file system which does not answer would keep the signals.
fn beside_signals<T: Send + 'static>(
    runtime: &tokio::runtime::Runtime,
    cancel: Cancel,
    work: impl Future<Output = T> + Send + 'static,
) -> Result<T, Failure> {
    // As much as the first one has.
    const STACK: usize = 8 << 20;
    let handle = runtime.handle().clone();
    let (tell, told) = oneshot::channel();
    let thread = thread::Builder::new().stack_size(STACK).spawn(move || {
        // The other end waits as long as this one is there.
        let _ = tell.send(handle.block_on(work));
    });
    let thread = thread.map_err(Failure::io("start", "a thread"))?;
    runtime.block_on(async {
        tokio::spawn(cancel_on_signal(cancel));
        match told.await {
            Ok(ended) => Ok(ended),
            Err(_) => match thread.join() {
                Err(panic) => panic::resume_unwind(panic),
                Ok(()) => {
                    Err(Failure::io("hear from", "a thread")(io::ErrorKind::BrokenPipe.into()))
                }
            },
        }
    })
}

/// Reads what the command line asks of a build.
pub(super) fn request(build: Build, cancel: Cancel) -> Result<BuildRequest, Failure> {
    build.refused.check()?;
    let build_args = build_args(&build)?;
    refused::check_names("label", "label", &build.labels)?;
    let surroundings = build.surroundings.check()?;
    let (context, dockerfile) = source::sources(build.file, build.context)?;
    Ok(BuildRequest {
        dockerfile,
        context,
        named_contexts: named_contexts(&build.build_contexts)?,
        build_args,
        targets: targets::read(&build.targets, &build.tags)?,
        no_cache: build.no_cache.0,
        no_cache_filter: build.no_cache_filter,
        pull: build.pull.0,
        platforms: environment::platforms(&build.platforms)?,
        labels: labels(&build.labels),
        network: build.network.into(),
        hosts: surroundings.hosts,
        ulimits: surroundings.ulimits,
        shm_size: surroundings.shm_size,
        resources: surroundings.resources,
        secrets: build.secrets.iter().map(|text| lent::secret(text)).collect::<Result<_, _>>()?,
        fetch_limit: build.fetch_limit.0,
        storage_limit: build.storage_limit.map(|limit| limit.0),
        git_env: environment::git_env(),
        allow: build.allow.iter().map(|name| lent::entitlement(name)).collect::<Result<_, _>>()?,
        ssh: build.ssh.iter().map(|agent| lent::ssh_agent(agent)).collect::<Result<_, _>>()?,
        jobs: build.jobs.map(|Jobs(jobs)| jobs),
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
    refused::check_names("build-arg", "environment variable", &build.build_args)?;
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

fn remove(path: &Path) -> Result<(), Failure> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Failure::io("remove", path.display())(error))
        }
        _ => Ok(()),
    }
}
