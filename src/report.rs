//! How errors are told: what, where, why, and what to do about it. The only place that prints one. What is shown of a
//! Dockerfile is in [`excerpt`], what to do about broken disks and the like in `machine`.

pub(crate) mod excerpt;
mod machine;

use std::{error::Error, process::ExitCode, sync::mpsc, thread, time::Duration};

use engine::Obstacle;
use oci::Platform;
use sandbox::Handler;

pub(crate) use self::machine::is_read_only;
use crate::text;

/// How a command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error(transparent)]
    Engine(#[from] engine::Error),
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error(transparent)]
    Export(#[from] export::Error),
    #[error(transparent)]
    Sandbox(#[from] sandbox::Error),
    #[error(transparent)]
    Registry(#[from] registry::Error),
    #[error(transparent)]
    Name(#[from] oci::Error),
    #[error(transparent)]
    NoHome(#[from] crate::args::NoHome),
    /// A `--format` that cannot be read, or does not go with what is shown.
    #[error("template parsing error: {0}")]
    Template(template::Error),
    /// Neither a container nor an image has this name.
    #[error("no such object: `{name}`")]
    NoSuchObject { name: String },
    /// No port of the host leads to a port of a container.
    #[error("{message}")]
    NoPort { message: String },
    /// The machine's `ps` does not list processes as it was asked to.
    #[error("cannot list processes by `ps`: {said}")]
    Ps { said: String },
    /// A container whose output is not kept.
    #[error("the output of container `{name}` is not kept: it was made with `--log-driver none`")]
    NoLog { name: String },
    /// The command line makes no sense.
    #[error("{message}")]
    Usage { message: String },
    /// Something is in use, or has something on it.
    #[error("{message}")]
    Conflict { message: String },
    /// A file of the host cannot be used.
    #[error("cannot {action} `{path}`")]
    Io {
        action: &'static str,
        path: String,
        #[source]
        source: std::io::Error,
    },
    /// What was printed was not wanted any more: no error to tell.
    #[error("standard output was closed")]
    BrokenPipe,
    /// An image was damaged, and is not there any more.
    #[error("an image was damaged, and is not in the store any more: build, load or pull it again")]
    Lost,
    /// Something was damaged and is not any more, and what was being written has to be thrown away.
    #[error("what was written is not complete; what was damaged is mended: try again")]
    Mended,
    /// The disk of the store is full, or not to be written.
    #[error("{failure}")]
    Explained { failure: Box<Failure>, hint: String },
    /// Several things failed, and each was told.
    #[error("some could not be done")]
    Told,
}

impl Failure {
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::Usage { message: message.into() }
    }

    pub(crate) fn io(
        action: &'static str,
        path: impl std::fmt::Display,
    ) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_string();
        move |source| Self::Io { action, path, source }
    }

    /// Makes the failure of a call that was to print: whoever reads may have seen enough. Of anything else that is written to, a
    /// connection above all, a broken pipe is an error like others.
    pub(crate) fn printing(source: std::io::Error) -> Self {
        match source.kind() {
            std::io::ErrorKind::BrokenPipe => Self::BrokenPipe,
            _ => Self::io("write to", "standard output")(source),
        }
    }
}

// Its text is in the failure's own line, as Docker has it, and so it is no cause besides.
impl From<template::Error> for Failure {
    fn from(error: template::Error) -> Self {
        Self::Template(error)
    }
}

/// How the program ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done.
    Done,
    /// It could not be done.
    Failed,
    /// The command line makes no sense.
    Usage,
    /// The user ended it.
    Interrupted,
    /// As the command that was run.
    Command(u8),
}

impl Exit {
    pub(crate) fn of(failure: &Failure) -> Self {
        match failure {
            Failure::Usage { .. } | Failure::Template(template::Error::Syntax { .. }) => {
                Self::Usage
            }
            Failure::BrokenPipe => Self::Done,
            Failure::Export(error) if error.is_unread() => Self::Done,
            Failure::Engine(engine::Error::Cancelled) => Self::Interrupted,
            _ => Self::Failed,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::Interrupted => 130,
            Exit::Command(code) => code,
        })
    }
}

/// Tells failures of what was done all the same, as far as it could be.
pub(crate) fn tell(failures: impl IntoIterator<Item = Failure>) -> Result<Exit, Failure> {
    let mut exit = Ok(Exit::Done);
    for failure in failures {
        print(&failure);
        exit = Err(Failure::Told);
    }
    exit
}

/// Tells a failure on standard error, without the passwords of addresses in it.
#[expect(clippy::print_stderr, reason = "this is the place")]
pub(crate) fn print(failure: &Failure) {
    let text = plan::redact(&render(failure));
    if !text.is_empty() {
        eprint!("{text}");
    }
}

/// Returns the error of the engine that a cause is. That of a step is in a box, which is an error of its own.
pub(crate) fn of_engine<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a engine::Error> {
    let boxed = || error.downcast_ref::<Box<engine::Error>>().map(AsRef::as_ref);
    error.downcast_ref().or_else(boxed)
}

/// Tells what turned out to be damaged, and what became of it.
#[expect(clippy::print_stderr, reason = "this is the place")]
pub(crate) fn tell_damage(failure: &Failure, mended: &engine::fsck::Mended) {
    let mut text = format!("warning: {}\n", text::message(&failure.to_string()));
    text.push_str(&causes(failure.source()));
    text.extend(mended.remade.iter().map(|what| format!("made again: {what}\n")));
    text.extend(mended.dropped.iter().map(|what| format!("dropped: {what}\n")));
    eprint!("{}", plan::redact(&text));
}

/// Tells that something was to end and did not, unless it is that nobody reads what is told.
#[expect(clippy::print_stderr, reason = "this is the place")]
pub(crate) fn tell_hanging(patience: Duration) {
    let (sender, told) = mpsc::channel();
    thread::spawn(move || {
        eprintln!(
            "cancelled: something did not end within {} seconds, as when a file system does not answer; the next command \
             removes what is left over",
            patience.as_secs()
        );
        sender.send(())
    });
    // That it was not told in time is for nobody to know, then.
    let _ = told.recv_timeout(Duration::from_millis(500));
}

fn render(failure: &Failure) -> String {
    let (text, hint) = told(failure);
    with_hint(text, hint)
}

/// What went wrong, and what to do about it.
fn told(failure: &Failure) -> (String, Option<String>) {
    match failure {
        Failure::BrokenPipe | Failure::Told => (String::new(), None),
        Failure::Explained { failure, hint } => (told(failure).0, Some(hint.clone())),
        Failure::Export(error) if error.is_unread() => (String::new(), None),
        Failure::Engine(engine::Error::Cancelled) => ("cancelled\n".to_owned(), None),
        Failure::Engine(engine::Error::Dockerfile(mistake)) => {
            let mut text = headline(mistake);
            text.push_str(&excerpt::of(&mistake.source, &mistake.diagnostic));
            (text, mistake.diagnostic.hint.clone())
        }
        Failure::Engine(engine::Error::Checks(mistake)) => {
            let text = headline(failure);
            (text + &excerpt::of(&mistake.source, &mistake.diagnostic), None)
        }
        Failure::Engine(engine::Error::Base { mistake, source }) => {
            let mut text = headline(source) + &causes(source.source());
            text.push_str(&excerpt::of(&mistake.source, &mistake.diagnostic));
            (text, mistake.diagnostic.hint.clone().or_else(|| hint(source.as_ref())))
        }
        Failure::Engine(engine::Error::Step { place, source, .. }) => {
            let mut text = headline(failure);
            text.push_str(&causes(Some(source.as_ref())));
            text.push_str(&excerpt::of_place(place));
            text.push_str(&last_output(source));
            (text, hint(source.as_ref()).or_else(|| step_hint(source)))
        }
        failure => {
            let text = headline(failure) + &causes(failure.source());
            (text, hint(inner(failure)))
        }
    }
}

/// The error of the crate that failed: what only wraps it is passed over by `source`.
fn inner(failure: &Failure) -> &(dyn Error + 'static) {
    match failure {
        Failure::Engine(error) => error,
        Failure::Sandbox(error) => error,
        Failure::Export(export::Error::Registry(error)) | Failure::Registry(error) => error,
        failure => failure,
    }
}

fn headline(error: impl std::fmt::Display) -> String {
    format!("error: {}\n", text::message(&error.to_string()))
}

fn causes(mut cause: Option<&(dyn Error + 'static)>) -> String {
    let mut text = String::new();
    while let Some(error) = cause {
        text.push_str(&format!("caused by: {}\n", text::message(&error.to_string())));
        cause = error.source();
    }
    text
}

fn with_hint(mut text: String, hint: Option<String>) -> String {
    if let Some(hint) = hint {
        text.push_str(&format!("\nhint: {}\n", text::message(&hint)));
    }
    text
}

/// What to do about an error, where something is known.
fn hint(error: &(dyn Error + 'static)) -> Option<String> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(known) = error.downcast_ref::<engine::Error>().and_then(engine_hint) {
            return Some(known);
        }
        if let Some(known) = error.downcast_ref::<registry::Error>().and_then(registry_hint) {
            return Some(known);
        }
        if let Some(known) = error.downcast_ref::<sandbox::Error>().and_then(sandbox_hint) {
            return Some(known);
        }
        if let Some(known) = error.downcast_ref::<filetree::Error>().and_then(files_hint) {
            return Some(known);
        }
        cause = error.source();
    }
    machine::hint(error)
}

/// What to do about an error of a step, where nothing more particular is known.
fn step_hint(error: &engine::Error) -> Option<String> {
    match error {
        engine::Error::Files(filetree::Error::NotFound { .. }) => Some(
            "sources are paths within the build context, or within what `--from` names".to_owned(),
        ),
        _ => None,
    }
}

fn engine_hint(error: &engine::Error) -> Option<String> {
    match error {
        engine::Error::NoSuchImage { .. } => Some(
            "`kiln images` lists what there is; `kiln load` and `kiln import` add to it".to_owned(),
        ),
        engine::Error::Foreign { platform, obstacle } => foreign_hint(platform, obstacle),
        engine::Error::NoSecret { id, nearest: Some(nearest) } => {
            Some(format!("`--secret id={nearest}` was given; did you mean {id}?"))
        }
        engine::Error::NoSecret { id, nearest: None } => {
            Some(format!("give it by `--secret id={id},src=FILE`"))
        }
        engine::Error::NotAllowed { entitlement } => Some(format!(
            "it is for who builds to decide, not for the Dockerfile alone: `--allow {}`",
            entitlement.name()
        )),
        engine::Error::StorageLimit { .. } => Some(
            "`kiln prune -a` removes images that no container uses; more is allowed by `--storage-limit` or $KILN_STORAGE_LIMIT"
                .to_owned(),
        ),
        engine::Error::NotNewest { .. } => {
            Some("without `--pull` the one in the store is taken".to_owned())
        }
        engine::Error::ReadDockerfile { nearest: Some(path), .. } => {
            Some(format!("did you mean `-f {}`?", path.display()))
        }
        engine::Error::FetchLimit { .. } => {
            Some("if it is meant to be that large, allow it by `--fetch-limit SIZE`".to_owned())
        }
        engine::Error::Limit { limit, allowed, .. } => Some(limit_hint(*limit, *allowed)),
        engine::Error::Layer { source, .. } => files_hint(source),
        engine::Error::NoAgent { id } => {
            Some(format!("give it by `--ssh {id}` or `--ssh {id}=SOCKET`"))
        }
        engine::Error::Files(error) => files_hint(error),
        engine::Error::Sandbox(error) => sandbox_hint(error),
        engine::Error::Registry(error) => registry_hint(error),
        _ => None,
    }
}

/// How a limit is raised, for who trusts what goes beyond it.
fn limit_hint(name: engine::LimitName, allowed: u64) -> String {
    let more = allowed.saturating_mul(2);
    format!(
        "if that is meant to be so, allow it by `--max {name}={more}` or KILN_MAX={name}={more}"
    )
}

/// How programs for a platform come to run here.
fn foreign_hint(platform: &Platform, obstacle: &Obstacle) -> Option<String> {
    let Obstacle::Handler(handler) = obstacle else { return None };
    if let Handler::Disabled { name } = handler {
        return Some(format!("as root: echo 1 > /proc/sys/fs/binfmt_misc/{name}"));
    }
    Some(format!(
        "install an emulator as root, which registers itself: `apt-get install qemu-user-static binfmt-support` on Debian \
         and Ubuntu, `dnf install qemu-user-static` on Fedora, or `docker run --privileged --rm tonistiigi/binfmt \
         --install {}`; stages that only copy files need none",
        platform.architecture
    ))
}

fn registry_hint(error: &registry::Error) -> Option<String> {
    match error {
        registry::Error::Denied { reason: registry::Denial::NoCredentials { host }, .. } => {
            let host = if host == "docker.io" { String::new() } else { format!(" {host}") };
            Some(format!("log in by `kiln login{host}`"))
        }
        // Files have a limit of their own.
        registry::Error::TooLarge { document: "manifest" | "config", limit, .. } => {
            Some(limit_hint(engine::LimitName::DocumentBytes, *limit))
        }
        registry::Error::Document {
            source: registry::DocumentError::Manifests { allowed },
            ..
        } => Some(limit_hint(engine::LimitName::Manifests, *allowed)),
        _ => None,
    }
}

fn sandbox_hint(error: &sandbox::Error) -> Option<String> {
    /// ENOEXEC: the kernel knows no way to run it.
    const NO_EXEC_FORMAT: i32 = 8;
    match error {
        sandbox::Error::Exec { source, .. } if source.raw_os_error() == Some(NO_EXEC_FORMAT) => Some(
            "is the program for another kind of processor? Then qemu-user has to be registered with \
             binfmt_misc (Debian: qemu-user-static); a script needs a first line like `#!/bin/sh`"
                .to_owned(),
        ),
        sandbox::Error::Exec { program, source }
            if source.kind() == std::io::ErrorKind::NotFound && program.ends_with("/sh") =>
        {
            Some(format!(
                "the image has no `{program}`: an image without a shell can run programs by RUN [\"/program\", \
                 \"argument\"] only, or get its files by COPY --from a stage that has one"
            ))
        }
        sandbox::Error::TooManyLayers { .. } => Some(
            "each RUN, COPY, ADD and WORKDIR makes one: join some, or copy the result of a stage \
             into another one"
                .to_owned(),
        ),
        _ => None,
    }
}

fn files_hint(error: &filetree::Error) -> Option<String> {
    match error {
        filetree::Error::NotFound { excluded: Some(rule), .. } => Some(format!(
            "it is there, but line {} of {} excludes it: `{}`",
            rule.line, rule.file, rule.pattern
        )),
        filetree::Error::NotFound { nearest: Some(nearest), .. } => {
            Some(format!("did you mean `{nearest}`?"))
        }
        filetree::Error::Apart { path } => Some(format!(
            "`.dockerignore` can leave it out: {}",
            path.display().to_string().trim_start_matches('/')
        )),
        filetree::Error::NoSize { .. } => Some(
            "a copy elsewhere has a size: `cp` it, or give what it says by `--build-arg`"
                .to_owned(),
        ),
        filetree::Error::LayerSize { size, allowed, .. } => Some(format!(
            "holes count: they are zeros for everybody who pulls the image; {}",
            limit_hint(engine::LimitName::LayerBytes, *size.max(allowed))
        )),
        filetree::Error::Budget { limit, allowed } => Some(limit_hint((*limit).into(), *allowed)),
        _ => None,
    }
}

/// The end of a failed command's output, which often says why.
fn last_output(error: &engine::Error) -> String {
    match error {
        engine::Error::Command { tail, .. } if !tail.is_empty() => {
            let line = |line: &String| format!("  {}\n", text::said(line));
            let lines: String = tail.iter().map(line).collect();
            format!("\nlast lines of its output:\n{lines}")
        }
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn only_what_is_printed_may_go_unread() {
        let broken = || io::Error::from(io::ErrorKind::BrokenPipe);
        let sent = Failure::io("send to", "a host")(broken());
        assert_eq!(Exit::of(&sent), Exit::Failed);
        assert!(render(&sent).contains("cannot send to"), "{}", render(&sent));
        let printed = Failure::printing(broken());
        assert_eq!((Exit::of(&printed), render(&printed)), (Exit::Done, String::new()));
        let full = Failure::printing(io::ErrorKind::StorageFull.into());
        assert_eq!(Exit::of(&full), Exit::Failed);
    }
}
