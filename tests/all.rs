//! The only integration test binary: kiln as its users see it, run as a process on a store of its own for each test.
//!
//! One binary, because each costs a link; `tidy` fails when a file under `tests/` is missing from this list. What a crate
//! promises by itself is tested beside its code.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test stops at its first surprise")]
#![allow(clippy::print_stderr, reason = "a skipped test says so")]

/// What the tests stand on.
mod support {
    /// A user of this machine, for the time of one test.
    pub(crate) mod account;
    /// Tar archives: made for input, read as output.
    pub(crate) mod archive;
    /// The image that the tests build upon.
    pub(crate) mod base;
    /// Certificates for a server on loopback.
    pub(crate) mod certificate;
    /// Directories to build from.
    pub(crate) mod context;
    /// An OCI layout as somebody makes it by hand.
    pub(crate) mod crafted;
    /// Docker's daemon.
    pub(crate) mod docker;
    /// A store, and kiln run on it.
    pub(crate) mod env;
    /// A kiln process: its arguments, its output, signals to it.
    pub(crate) mod process;
    /// What stands between kiln and a registry, and spoils what it passes on.
    pub(crate) mod proxy;
    /// A registry on loopback.
    pub(crate) mod registry;
    /// git repositories, and a server of them.
    pub(crate) mod repository;
    /// What a test asks of the machine, and what happens where it lacks it.
    pub(crate) mod requires;
    /// What killed tests have left.
    mod sweep;
    /// A terminal, and somebody who types in it.
    pub(crate) mod terminal;
    /// A token server for a registry.
    pub(crate) mod tokens;
    /// A directory that an attack would change.
    pub(crate) mod victim;
    /// A web server on loopback.
    pub(crate) mod web;
}

/// `kiln build`, one theme a file.
mod build {
    /// ARG and ENV: scopes, precedence, expansion.
    mod args;
    /// What each instruction leaves in the image's configuration and history.
    mod basics;
    /// Steps that make more than there can be.
    mod bounds;
    /// What BuildKit's own tests assert and no other file does.
    mod buildkit;
    /// What is run again and what is not.
    mod cache;
    /// Every folder of `testdata/build`.
    mod cases;
    /// What a RUN finds without namespaces and mounts.
    mod chroot;
    /// Several builds at once on one store; builds killed half-way.
    mod concurrency;
    /// COPY and ADD: how files land.
    mod copy;
    /// SOURCE_DATE_EPOCH: the times of an image, and the same bytes anywhere.
    mod epoch;
    /// SOURCE_DATE_EPOCH that is no number.
    mod epoch_sources;
    /// What the author of a wrong Dockerfile reads.
    mod errors;
    /// `# syntax=kiln`: INCLUDE and COPY --if-exists.
    mod extensions;
    /// Builds of an ordinary user where nothing can be run.
    mod files_only;
    /// ADD and contexts from git repositories.
    mod git;
    /// Heredocs of RUN and COPY.
    mod heredoc;
    /// Contexts and Dockerfiles that somebody made to do harm.
    mod hostile;
    /// Commands and bases that somebody made to do harm.
    mod hostile_runs;
    /// More of those commands.
    mod hostile_steps;
    /// `.dockerignore`.
    mod ignore;
    /// Builds without namespaces and mounts.
    mod ladder;
    /// Images with very many layers.
    mod layers;
    /// Large and hostile Dockerfiles and ignore files.
    mod limits;
    /// Contexts of very many files.
    mod mass;
    /// Why a step is not in the cache.
    mod missed;
    /// RUN --mount.
    mod mounts;
    /// Named stages, targets, pruning, other images as sources.
    mod multistage;
    /// What registries are asked by a build: `--pull`, `--offline`, `--lock`.
    mod network;
    /// Contexts in places that are none for a context.
    mod odd_places;
    /// Builds of a user who has one id.
    mod one_id;
    /// What a build is asked for besides its files: surroundings of RUN, the cache, metadata, and what is refused.
    mod options;
    /// `--output`, `--iidfile` and what goes to which stream.
    mod output;
    /// `--platform`.
    mod platform;
    /// ADD and contexts from the web.
    mod remote;
    /// As an ordinary user with subordinate ids.
    mod rootless;
    /// What a RUN process sees and may do.
    mod run_isolation;
    /// What nobody may find out.
    mod secrets;
    /// Builds on overlays that `fuse-overlayfs` serves.
    mod served;
    /// SIGINT and SIGTERM.
    mod signals;
    /// RUN --mount=type=ssh.
    mod ssh;
    /// Dockerfiles and contexts that arrive on stdin.
    mod stdin;
    /// What a RUN is mounted on.
    mod stubs;
    /// Several `--target`s in one run.
    mod targets;
    /// Where BuildKit is not what one would expect.
    mod traps;
}

/// The other commands.
mod commands {
    /// `kiln check`, and checks in a build.
    mod check;
    /// `kiln commit`.
    mod commit;
    /// `kiln run -d`, `create`, `start`, `stop`, `kill`, `restart`, `wait`, `rename` and `rm`.
    mod containers;
    /// `kiln copy`.
    mod copy;
    /// `kiln cp`.
    mod cp;
    /// `kiln df`.
    mod df;
    /// `kiln diff`.
    mod diff;
    /// Manifests and configs that somebody made to do harm.
    mod documents;
    /// `kiln exec`.
    mod exec;
    /// `kiln export`, and what `kiln import` makes of it.
    mod export;
    /// HEALTHCHECK of containers.
    mod health;
    /// Pulls and pushes through what spoils them.
    mod hostile;
    /// Archives that lead out, by every door.
    mod hostile_archives;
    /// `kiln images`.
    mod images;
    /// `kiln import`.
    mod import;
    /// `kiln inspect` and `kiln history`.
    mod inspect;
    /// `kiln inspect` of containers.
    mod inspect_container;
    /// kiln among skopeo, podman and Docker.
    mod interop;
    /// How much is taken of what comes from elsewhere.
    mod limits;
    /// `kiln login` and `kiln logout`, and who one is then.
    mod login;
    /// `kiln logs`.
    mod logs;
    /// Images that lead somewhere else.
    mod odd_images;
    /// `kiln pause`, `unpause` and `top`.
    mod pause;
    /// Ports of the host that lead to a container, and how a container reaches the host.
    mod ports;
    /// `kiln prune`.
    mod prune;
    /// `kiln ps`.
    mod ps;
    /// `kiln pull`.
    mod pull;
    /// `kiln push`, and `kiln build --push`.
    mod push;
    /// Limits of all processes of a container together.
    mod resources;
    /// `kiln rmi`.
    mod rmi;
    /// `kiln run`.
    mod run;
    /// The options of `kiln run`: what the command finds around it.
    mod run_options;
    /// `kiln save` and `kiln load`.
    mod save_load;
    mod scale;
    /// Lines of guides, as a shell runs them.
    mod scripts;
    /// `kiln search`.
    mod search;
    /// Settings of registries: mirrors, certificates.
    mod settings;
    /// `kiln stats`.
    mod stats;
    /// `kiln tag`.
    mod tag;
    /// Containers with a terminal: keys, sizes, detaching and attaching.
    mod terminal;
    /// Usage errors and help.
    mod usage;
    /// Directories of the host, memory and volumes in a container.
    mod volumes;
}

/// What the fuzzer tries, with the inputs that are kept. Its entries are a package of their own.
mod fuzz {
    /// What a registry wants before it answers.
    mod challenge;
    /// Compressed streams.
    mod compressed;
    /// Manifests, indexes and configs.
    mod documents;
    /// Addresses of git repositories.
    mod git;
    /// Ignore files.
    mod ignore;
    /// Layers into a directory.
    mod layer;
    /// Physical lines and heredocs.
    mod lines;
    /// Whole Dockerfiles.
    mod parser;
    /// Records of the store.
    mod records;
    /// References, digests and platforms.
    mod reference;
    /// The kept inputs.
    mod replay;
    /// A directory for one input.
    mod scratch;
    /// Headers of tar.
    mod tar;
    /// Expansion.
    mod words;
}

/// What happens to the store when kiln is killed, when the disk fails or is full, when the machine loses its power.
mod durability {
    /// Commands killed, other than builds.
    mod commands;
    /// Builds, prunes and kills at the same time.
    mod concurrency;
    /// Bytes that are not what was written.
    mod corruption;
    /// A build killed, and system calls that fail.
    mod crash;
    /// A limit for the store, and a full disk.
    mod disk;
    /// Layers that others have packed.
    mod elsewhere;
    /// What these have in common.
    mod fault;
    /// A power cut: file systems that lose what was not brought to the disk.
    mod power;
    /// A store that is mounted read-only.
    mod read_only;
}

/// What is measured of kiln and of other builders.
mod bench;
/// The source tree itself.
mod tidy;
