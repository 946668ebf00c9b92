//! From base names to images, and from a Dockerfile to a plan.

use std::collections::BTreeMap;

use dockerfile::{BaseImage, BaseRef, ContextKind, Dockerfile, Lowered, Request};
use oci::{ManifestDigest, Platform, Reference};
use plan::{Joint, Network, Op, Plan, Security};
use registry::{News, Watcher};
use store::Image;

use crate::{
    BuildRequest, Engine, Entitlement, Error, Event, Events, Mistake, NamedContext, Place, Target,
    container::options::Ulimit,
    context::Contexts,
    epoch,
    lock::Pin,
    pull::{self, Accept, PullRequest},
    remote::Asker,
};

/// Returns the plan of a build: that of every target for every platform, in this order, as one. The bases are `known`
/// afterwards.
pub(crate) async fn plan(
    engine: &Engine,
    file: &Dockerfile,
    request: &BuildRequest,
    contexts: &Contexts,
    known: &mut BTreeMap<BaseRef, BaseImage>,
    events: &Events,
) -> Result<Joint, Error> {
    let mut joint = Joint::default();
    for lower_request in lower_requests(request) {
        let plan = plan_of(engine, file, request, lower_request, contexts, known, events).await?;
        joint.add(plan);
    }
    Ok(joint)
}

/// Lowers the Dockerfile, resolves the bases it asks for, and lowers again until it asks for no more.
async fn plan_of(
    engine: &Engine,
    file: &Dockerfile,
    request: &BuildRequest,
    mut lower_request: Request,
    contexts: &Contexts,
    known: &mut BTreeMap<BaseRef, BaseImage>,
    events: &Events,
) -> Result<Plan, Error> {
    let mistaken = |diagnostic| {
        Error::Dockerfile(Box::new(Mistake { source: file.source.clone(), diagnostic }))
    };
    let newest = if request.pull { Wanted::Newest } else { Wanted::Any };
    if let Some(source) = dockerfile::epoch_source(file, &lower_request).map_err(mistaken)? {
        let asker = Asker { engine, request, events, remotes: contexts.remotes() };
        let find = || epoch::find(asker, contexts, &source);
        lower_request.epoch = tokio::task::block_in_place(find)?;
    }
    loop {
        let lowered = dockerfile::lower(file, &lower_request, known).map_err(mistaken)?;
        match lowered {
            Lowered::Ready(plan) => {
                entitled(file, &plan, request)?;
                return Ok(plan);
            }
            Lowered::Needs(bases) => {
                for base in bases {
                    let image = tokio::select! {
                        image = base_image(engine, &base, contexts, newest, events) => image,
                        () = request.cancel.cancelled() => return Err(Error::Cancelled),
                    };
                    let image =
                        image.map_err(|error| located(engine, file, request, &base, error))?;
                    known.insert(base, BaseImage { id: image.id, config: image.config });
                }
            }
        }
    }
}

/// Refuses a plan with a step that wants more than was allowed, before anything of it runs.
fn entitled(file: &Dockerfile, plan: &Plan, request: &BuildRequest) -> Result<(), Error> {
    for step in plan.stages.iter().flat_map(|stage| &stage.steps) {
        let Op::Run(run) = &step.op else { continue };
        let insecure = run.security == Security::Insecure;
        // What was asked for all steps on the command line was allowed with it.
        let host = run.network == Network::Host && request.network != Network::Host;
        let wanted = [(insecure, Entitlement::SecurityInsecure), (host, Entitlement::NetworkHost)];
        for (wanted, entitlement) in wanted {
            if wanted && !request.allow.contains(&entitlement) {
                return Err(Error::Step {
                    title: step.title.clone(),
                    place: Place { source: file.source.clone(), lines: step.lines },
                    source: Box::new(Error::NotAllowed { entitlement }),
                });
            }
        }
    }
    Ok(())
}

/// Adds to an error the place where the Dockerfile names the image.
fn located(
    engine: &Engine,
    file: &Dockerfile,
    request: &BuildRequest,
    base: &BaseRef,
    source: Error,
) -> Error {
    let BaseRef::Image { reference, .. } = base else { return source };
    let mut names: Vec<String> = request.named_contexts.keys().cloned().collect();
    // It is only for a hint: what is wrong with the store is told elsewhere.
    for (tag, _) in engine.store().tags().unwrap_or_default() {
        let name = tag.familiar();
        names.push(name.strip_suffix(":latest").unwrap_or(&name).to_owned());
    }
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    match dockerfile::at_mention(file, reference, &names, &source.to_string()) {
        Some(diagnostic) => Error::Base {
            mistake: Box::new(Mistake { source: file.source.clone(), diagnostic }),
            source: Box::new(source),
        },
        None => source,
    }
}

async fn base_image(
    engine: &Engine,
    base: &BaseRef,
    contexts: &Contexts,
    wanted: Wanted,
    events: &Events,
) -> Result<Image, Error> {
    match base {
        BaseRef::Image { reference, platform } => {
            image(engine, reference, platform, wanted, events).await
        }
        BaseRef::Context { name, platform } => match contexts.named_context(name)? {
            NamedContext::Image(reference) => {
                image(engine, reference, platform, wanted, events).await
            }
            NamedContext::Layout { .. }
            | NamedContext::Scratch
            | NamedContext::Directory(_)
            | NamedContext::Git(_)
            | NamedContext::Web(_) => contexts
                .named_image(engine, name, platform, events)?
                .ok_or(Error::Lost { what: "a directory that should be an image" }),
        },
    }
}

/// Which image of a name will do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    /// That of the store, if it has one.
    Any,
    /// That of the registry.
    Newest,
}

/// Returns the image of a name for a platform: that which the lock says, if there is one.
async fn image(
    engine: &Engine,
    reference: &Reference,
    platform: &Platform,
    wanted: Wanted,
    events: &Events,
) -> Result<Image, Error> {
    let Some(lock) = &engine.lock else {
        return Ok(find(engine, reference, platform, wanted, events).await?.0);
    };
    let pinned = match lock.pin(reference)? {
        None => reference.clone(),
        Some(Pin::To(pinned)) => pinned,
        Some(Pin::Open) => {
            let here = engine.store().find_platform(&reference.tagged(), platform)?;
            if let Some(image) = here.filter(|image| image.digests.is_empty()) {
                let name = reference.tagged().familiar();
                let text =
                    format!("warning: `{name}` is of this store only: --lock has nothing to write");
                events.send(Event::Warning(text));
                return Ok(image);
            }
            let found = find(engine, reference, platform, Wanted::Newest, events).await?;
            if let Some(digest) = found.1 {
                lock.set(reference, digest);
            }
            return Ok(found.0);
        }
    };
    Ok(find(engine, &pinned, platform, wanted, events).await?.0)
}

/// Returns the image of a name for a platform: the store's if it has one, else a registry's, with the digest that it has there.
///
/// An image for another platform that has the name here is not taken, and keeps the name. What a registry has for one
/// platform only is taken whichever that is, as BuildKit does; a check of the Dockerfile says so.
async fn find(
    engine: &Engine,
    reference: &Reference,
    platform: &Platform,
    wanted: Wanted,
    events: &Events,
) -> Result<(Image, Option<ManifestDigest>), Error> {
    let reference = reference.tagged();
    let known = engine.store().find_platform(&reference, platform)?;
    // A digest stands for the same for ever.
    let is_enough = wanted == Wanted::Any || reference.digest().is_some();
    if let Some(image) = known.clone().filter(|_| is_enough) {
        return Ok((image, None));
    }
    let name = reference.familiar();
    let here = engine.store().find_named(&reference)?;
    if let Some(image) = image_of_id(engine, &reference).filter(|_| here.is_empty()) {
        return Ok((image, None));
    }
    let there: Vec<Platform> = here.iter().map(|image| image.config.platform()).collect();
    let (wanted, is_known) = (Box::new(platform.clone()), known.is_some());
    let Some(client) = engine.registries()? else {
        return Err(match there.is_empty() {
            true => Error::NoSuchImage { name },
            false => Error::OtherPlatform { name, wanted, there, source: None },
        });
    };
    events.send(Event::Note(match there.is_empty() {
        true => format!("pulling {name}"),
        false => format!("pulling {name} for {platform}"),
    }));
    let (reference, watcher) = (&reference, &watcher(events));
    let request = PullRequest { reference, platform, accept: Accept::Any, watcher };
    match pull::fetch(engine, &client, &request).await {
        Ok(pulled) => {
            if there.is_empty() || platform.runs(&pulled.image.config.platform()) {
                engine.store().tag_beside(reference, &pulled.image)?;
            }
            Ok((pulled.image, Some(pulled.digest)))
        }
        Err(source) => {
            let source = Box::new(source);
            Err(match there.is_empty() {
                _ if is_known => Error::NotNewest { name, source },
                true => Error::NotPulled { name, source },
                false => Error::OtherPlatform { name, wanted, there, source: Some(source) },
            })
        }
    }
}

/// Tells of layers among what else happens in a build.
fn watcher(events: &Events) -> Watcher {
    let events = events.clone();
    Watcher::new(move |transfer| {
        if transfer.news == News::Pulled {
            events.send(Event::Note(format!("pulled layer {}", transfer.layer)));
        }
    })
}

/// Returns the image whose id a name is, or begins: `FROM 0123456789ab`, `FROM sha256:…`. Shorter than `kiln images` shows an
/// id, it is not taken for one.
fn image_of_id(engine: &Engine, reference: &Reference) -> Option<Image> {
    const SHORTEST: usize = 12;
    let name = reference.familiar();
    let id = name.strip_prefix("sha256:").or_else(|| name.strip_suffix(":latest"))?;
    let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if id.len() < SHORTEST || !id.bytes().all(is_digit) {
        return None;
    }
    // What is no id, or that of several images, may still be the name of an image elsewhere.
    engine.store().find(id).ok()
}

/// The same for a thread that may wait: one on which a step is done.
pub(crate) fn image_blocking(
    engine: &Engine,
    reference: &Reference,
    platform: &Platform,
    events: &Events,
) -> Result<Image, Error> {
    // What `--pull` asks for was done when the plan was made.
    let image = image(engine, reference, platform, Wanted::Any, events);
    tokio::runtime::Handle::current().block_on(image)
}

/// What every command depends on that is no part of the Dockerfile. Addresses of names are not, nor what all processes
/// together may use: a result is the same without them.
fn settings(request: &BuildRequest) -> Vec<(String, String)> {
    let limit =
        |limit: Option<u64>| limit.map_or("unlimited".to_owned(), |limit| limit.to_string());
    let limits = request.ulimits.iter().map(|Ulimit { name, soft, hard }| {
        (format!("ulimit {name}"), format!("{}:{}", limit(*soft), limit(*hard)))
    });
    let hosts = request.hosts.iter().map(|host| (format!("host {}", host.name), String::new()));
    let size = request.shm_size.map(|size| ("shm-size".to_owned(), size.to_string()));
    limits.chain(hosts).chain(size).collect()
}

/// Returns what a request says to the Dockerfile: once for every target and every platform.
pub(crate) fn lower_requests(request: &BuildRequest) -> Vec<Request> {
    let kind = |context: &NamedContext| match context {
        NamedContext::Directory(_) | NamedContext::Git(_) | NamedContext::Web(_) => {
            ContextKind::Directory
        }
        NamedContext::Image(_) | NamedContext::Layout { .. } => ContextKind::Image,
        NamedContext::Scratch => ContextKind::Scratch,
    };
    let one = |target: &Target, platform: &Platform| Request {
        target: target.stage.clone(),
        build_args: request.build_args.clone(),
        platform: platform.clone(),
        build_platform: Platform::host(),
        contexts: request.named_contexts.iter().map(|(n, c)| (n.clone(), kind(c))).collect(),
        network: request.network,
        labels: request.labels.clone(),
        hostname: None,
        settings: settings(request),
        epoch: None,
    };
    let targets = request.targets.iter();
    targets.flat_map(|target| request.platforms.iter().map(move |p| one(target, p))).collect()
}
