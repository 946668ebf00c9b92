//! From the tree of a Dockerfile to a plan: what is built, in which order, from what.
//!
//! [`lower`] is pure. Where the answer depends on a base image, it says which one it [needs](Lowered::Needs), and is
//! asked again with more known; so the network is somebody else's concern. Only what the target needs is lowered and
//! asked for, but every stage is read: mistakes in names show up wherever they are.
//!
//! Reading order: `graph` (stages, their bases and their links), `stage` (the state of a stage while its instructions
//! are lowered), `watch` (who looks on while they are), then one room for each instruction, all with an implementation of `stage::Lower`.

mod add;
mod arg;
mod cmd;
mod copy;
mod entrypoint;
mod env;
mod expose;
mod graph;
mod healthcheck;
mod label;
mod maintainer;
mod mode;
mod mount;
mod onbuild;
mod path;
mod remote;
mod run;
mod shell;
mod stage;
mod stopsignal;
#[cfg(test)]
mod tests;
mod user;
mod volume;
mod watch;
mod workdir;

use std::collections::BTreeMap;

use oci::{ImageConfig, ImageId, Platform, Reference};
use plan::{Network, Plan};

pub(crate) use self::add::check_checksum;
use self::graph::Graph;
pub(crate) use self::graph::named_context;
pub(crate) use self::remote::Kind;
pub(crate) use self::watch::{Seen, SeenStage, Stages, Watch, lower_watched};
use crate::ast::Dockerfile;
use crate::diagnostic::Diagnostic;
use crate::scope::Globals;

/// What is asked for besides the Dockerfile: the part of the command line that decides what a build means.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Request {
    /// `--target`: the stage to build; the last one if there is none.
    pub target: Option<String>,
    /// `--build-arg`.
    pub build_args: BTreeMap<String, String>,
    /// The platform to build for.
    pub platform: Platform,
    /// The platform the build runs on.
    pub build_platform: Platform,
    /// `--build-context`, by name as given (`name` or `name::platform`).
    pub contexts: BTreeMap<String, ContextKind>,
    /// `--network`, for every `RUN` that does not say otherwise.
    pub network: Network,
    /// `--label`: set in the image at the end, without a trace in the history.
    pub labels: BTreeMap<String, String>,
    /// The host name that commands see; `buildkitsandbox` if there is none.
    pub hostname: Option<String>,
    /// What else every command finds around it, as names and values: see [`plan::Run::settings`].
    pub settings: Vec<(String, String)>,
    /// The time of what `SOURCE_DATE_EPOCH` stands for ([`crate::epoch_source`]), in seconds since 1970; `None` if it is not
    /// known, or has none.
    pub epoch: Option<i64>,
}

impl Request {
    /// A request without any options.
    pub fn new(platform: Platform) -> Self {
        Self {
            target: None,
            build_args: BTreeMap::new(),
            build_platform: platform.clone(),
            platform,
            contexts: BTreeMap::new(),
            network: Network::Default,
            labels: BTreeMap::new(),
            hostname: None,
            settings: Vec::new(),
            epoch: None,
        }
    }
}

/// What a named context is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ContextKind {
    /// Files without a config: a directory, an archive, a repository.
    Directory,
    /// An image with its config: `docker-image://`, `oci-layout://`.
    Image,
    /// Nothing: `docker-image://scratch`.
    Scratch,
}

/// What must be known before a plan can be made.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum BaseRef {
    /// An image, for a platform. The reference has a tag or a digest.
    Image {
        /// Its name.
        reference: Reference,
        /// The platform it is wanted for.
        platform: Platform,
    },
    /// A named context that is an image.
    Context {
        /// The key in [`Request::contexts`].
        name: String,
        /// The platform it is wanted for.
        platform: Platform,
    },
}

/// What is known of an image.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BaseImage {
    /// The digest of its config.
    pub id: ImageId,
    /// Its config.
    pub config: ImageConfig,
}

/// The result of lowering.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Lowered {
    /// More must be known: each of these, and none of them twice. Asking again may bring up others, since images have
    /// triggers that use further images.
    Needs(Vec<BaseRef>),
    /// The plan. Every image and every image-like context in it has been asked for.
    Ready(Plan),
}

/// Makes a plan of what `request` asks for.
///
/// Fails with the first mistake that is found: in the names of stages and bases anywhere in the file, or in the
/// instructions of a stage that the target needs.
pub fn lower(
    file: &Dockerfile,
    request: &Request,
    known: &BTreeMap<BaseRef, BaseImage>,
) -> Result<Lowered, Diagnostic> {
    let globals = Globals::of(file, request)?;
    let mut graph = Graph::build(file, request, &globals)?;
    let target = graph.target()?;
    graph.check_cycles()?;

    // Triggers of a base come to light when it is known, and may link to further stages and images.
    let reachable = loop {
        let reachable = graph.reachable(target);
        let needs = graph.needs(&reachable, known);
        if !needs.is_empty() {
            return Ok(Lowered::Needs(needs));
        }
        if !graph.add_triggers(&reachable, known, globals.budget())? {
            break reachable;
        }
    };
    stage::lower_all(&graph, &globals, &reachable, target, known, None).map(Lowered::Ready)
}
