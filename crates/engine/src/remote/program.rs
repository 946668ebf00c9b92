//! The program `git`, started so that nothing but what is said here decides what it does.
//!
//! | danger | what is done |
//! |---|---|
//! | configuration of the system, the user or a repository | none is read; what is needed comes by `GIT_CONFIG_COUNT` |
//! | hooks, templates, file system monitors, credential helpers, pagers, editors | switched off |
//! | filters and merge drivers | none is configured, so attributes that name one mean nothing |
//! | other transports: `file`, `ext`, `fd` | forbidden, for submodules too |
//! | an address or a reference that looks like an option | refused by `plan::git`, and put behind `--` all the same |
//! | a password | never an argument, which every user of the machine can read |
//! | questions | answered by failing |

use std::{
    io::{self, Read},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc,
    thread,
};

use plan::GitSource;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

use crate::{
    Error,
    remote::{Asker, growth::Growth},
};

/// What git may say: lists of references are asked for by name, so they are short.
const MOST_OUTPUT: u64 = 8 << 20;

/// How much of git's complaints is shown.
const MOST_LINES: usize = 6;

/// Who has named a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NamedBy {
    /// The user, on the command line: the user's own keys may be used.
    User,
    /// A Dockerfile, whose author may be somebody else.
    Dockerfile,
}

/// Starts git for one repository.
#[derive(Debug)]
pub(super) struct Git<'a> {
    asker: Asker<'a>,
    /// What the user sees of the repository.
    shown: String,
    /// What git is given: without a password.
    url: String,
    config: Vec<(String, String)>,
    /// The agent of ssh that was given to the build.
    agent: Option<&'a Path>,
    named_by: NamedBy,
    /// What must not be shown.
    secrets: Vec<String>,
    /// Where it may write how much.
    growth: Option<Growth>,
}

impl<'a> Git<'a> {
    pub(super) fn new(asker: Asker<'a>, source: &GitSource, named_by: NamedBy) -> Self {
        let (url, user) = without_user(&source.url());
        let mut secrets: Vec<String> = user.iter().cloned().collect();
        let mut config = fixed_config();
        if let Some((scope, header)) = authorization(asker, source, user.as_deref(), &mut secrets) {
            config.push((format!("http.{scope}.extraHeader"), header));
            // git would send the header to wherever a redirect leads, which is for the server to say.
            config.push((format!("http.{scope}.followRedirects"), "false".to_owned()));
        }
        let agent = asker.request.ssh.get("default").map(PathBuf::as_path);
        let shown = source.to_string();
        Self { asker, shown, url, config, agent, named_by, secrets, growth: None }
    }

    /// Ends git when these directories are larger together than what may be fetched.
    pub(super) fn writing_to(self, places: &[&Path]) -> Self {
        let growth = Some(Growth::new(places, self.asker.request.fetch_limit));
        Self { growth, ..self }
    }

    /// The repository as git knows it.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// What the user sees of the repository.
    pub(super) fn shown(&self) -> &str {
        &self.shown
    }

    /// Runs git in a directory and returns what it says.
    pub(super) fn run(
        &self,
        action: &'static str,
        directory: &Path,
        args: &[&str],
    ) -> Result<String, Error> {
        if self.asker.engine.is_offline()? {
            return Err(Error::Offline { address: self.shown.clone() });
        }
        let mut command = self.command(directory);
        command.args(args);
        let (status, output, complaints) = self.execute(command)?;
        self.asker.request.cancel.check()?;
        if let Some(growth) = self.growth.as_ref().filter(|growth| growth.is_over()) {
            return Err(Error::FetchLimit { address: self.shown.clone(), limit: growth.limit() });
        }
        if status.success() {
            return Ok(output);
        }
        let said = self.harmless(&complaints, status);
        Err(Error::Git { action, address: self.shown.clone(), said })
    }

    fn command(&self, directory: &Path) -> Command {
        let mut command = Command::new("git");
        command.env_clear().envs(&self.asker.request.git_env).current_dir(directory);
        match (self.agent, self.named_by) {
            (Some(agent), _) => {
                command.env("SSH_AUTH_SOCK", agent);
            }
            (None, NamedBy::User) => {}
            (None, NamedBy::Dockerfile) => {
                command.env_remove("SSH_AUTH_SOCK");
            }
        }
        for (name, value) in [
            ("HOME", "/dev/null"),
            ("XDG_CONFIG_HOME", "/dev/null"),
            ("GIT_CONFIG_NOSYSTEM", "1"),
            ("GIT_CONFIG_SYSTEM", "/dev/null"),
            ("GIT_CONFIG_GLOBAL", "/dev/null"),
            ("GIT_ATTR_NOSYSTEM", "1"),
            ("GIT_TERMINAL_PROMPT", "0"),
            ("GIT_ALLOW_PROTOCOL", "http:https:ssh:git"),
            ("GIT_NO_REPLACE_OBJECTS", "1"),
            ("GIT_SSH_COMMAND", self.ssh()),
            ("LC_ALL", "C"),
        ] {
            command.env(name, value);
        }
        command.env("GIT_CONFIG_COUNT", self.config.len().to_string());
        for (index, (key, value)) in self.config.iter().enumerate() {
            command.env(format!("GIT_CONFIG_KEY_{index}"), key);
            command.env(format!("GIT_CONFIG_VALUE_{index}"), value);
        }
        command
    }

    /// No configuration of ssh, which can run programs. Keys and agents of the user are not for everybody's Dockerfile; an
    /// agent that was given to the build is.
    fn ssh(&self) -> &'static str {
        match (self.named_by, self.agent) {
            (NamedBy::User, _) => "ssh -F none -o BatchMode=yes",
            (NamedBy::Dockerfile, Some(_)) => "ssh -F none -o BatchMode=yes -o IdentityFile=none",
            (NamedBy::Dockerfile, None) => {
                "ssh -F none -o BatchMode=yes -o IdentityFile=none -o IdentityAgent=none"
            }
        }
    }

    /// Runs it to its end, or to that of the build; it and what it starts are a process group of their own.
    fn execute(&self, mut command: Command) -> Result<(ExitStatus, String, String), Error> {
        let failed = |source| Error::NoGit { address: self.shown.clone(), source };
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.process_group(0).spawn().map_err(failed)?;
        let output = read_aside(child.stdout.take());
        let complaints = read_aside(child.stderr.take());
        let pid = Pid::from_child(&child);
        let kill = move || {
            // It may have ended by itself.
            let _ = kill_process_group(pid, Signal::KILL);
        };
        thread::scope(|scope| {
            let _watch = self.asker.request.cancel.watch_with(kill);
            let (running, ended) = mpsc::channel();
            if let Some(growth) = &self.growth {
                scope.spawn(move || growth.watch(&ended, kill));
            }
            let waited = wait_without_reaping(&child).map_err(failed);
            drop(running);
            waited
        })?;
        let status = child.wait().map_err(failed)?;
        let text = |reader: thread::JoinHandle<Vec<u8>>| {
            let bytes = reader.join().unwrap_or_default();
            String::from_utf8_lossy(&bytes).into_owned()
        };
        Ok((status, text(output), text(complaints)))
    }

    /// The last lines of what git complains of, fit to be shown.
    fn harmless(&self, complaints: &str, status: ExitStatus) -> String {
        let mut text = complaints.trim().to_owned();
        for secret in self.secrets.iter().filter(|secret| !secret.is_empty()) {
            text = text.replace(secret, "xxxxx");
        }
        let lines: Vec<&str> = text.lines().map(str::trim).filter(|l| !l.is_empty()).collect();
        let last = lines[lines.len().saturating_sub(MOST_LINES)..].join("; ");
        let said: String = last
            .chars()
            .map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c })
            .collect();
        match said {
            said if said.is_empty() => format!("git ended with {status}"),
            said if said.contains("returned error: 30") => format!(
                "{said}; a redirect is not followed with credentials: name the address that it leads to"
            ),
            said => said,
        }
    }
}

/// Until then its number, and that of its group, are nobody else's.
fn wait_without_reaping(child: &Child) -> io::Result<()> {
    let pid = Pid::from_child(child);
    loop {
        match waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT) {
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
            Ok(_) => return Ok(()),
        }
    }
}

/// Reads a pipe to its end in a thread of its own, and keeps the beginning.
fn read_aside(pipe: Option<impl Read + Send + 'static>) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            // A pipe that breaks has nothing more to say; what matters is how the program ends.
            let _ = pipe.by_ref().take(MOST_OUTPUT).read_to_end(&mut bytes);
            let _ = io::copy(&mut pipe, &mut io::sink());
        }
        bytes
    })
}

fn fixed_config() -> Vec<(String, String)> {
    [
        ("core.hooksPath", "/dev/null"),
        ("core.fsmonitor", "false"),
        ("core.attributesFile", "/dev/null"),
        ("core.excludesFile", "/dev/null"),
        ("core.autocrlf", "false"),
        ("core.fileMode", "true"),
        ("core.logAllRefUpdates", "false"),
        ("core.askPass", ""),
        ("credential.helper", ""),
        ("init.templateDir", ""),
        ("init.defaultBranch", "master"),
        ("gc.auto", "0"),
        ("maintenance.auto", "false"),
        ("advice.detachedHead", "false"),
        ("fetch.recurseSubmodules", "false"),
        ("submodule.recurse", "false"),
        ("protocol.allow", "never"),
        ("protocol.http.allow", "always"),
        ("protocol.https.allow", "always"),
        ("protocol.ssh.allow", "always"),
        ("protocol.git.allow", "always"),
        // Less than a kilobyte a second for half a minute is a server that has gone.
        ("http.lowSpeedLimit", "1024"),
        ("http.lowSpeedTime", "30"),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .to_vec()
}

/// Takes user and password out of an http address. ssh takes its user from there, and no password.
fn without_user(url: &str) -> (String, Option<String>) {
    let plain = (url.to_owned(), None);
    let Some((scheme @ ("http" | "https"), rest)) = url.split_once("://") else { return plain };
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let Some((user, host)) = authority.rsplit_once('@') else { return plain };
    (format!("{scheme}://{host}/{path}"), Some(user.to_owned()))
}

/// The header that says who asks, and the host that gets it: from the secrets as BuildKit names them, or the address.
fn authorization(
    asker: Asker<'_>,
    source: &GitSource,
    user: Option<&str>,
    secrets: &mut Vec<String>,
) -> Option<(String, String)> {
    if !matches!(source.scheme(), "http" | "https") {
        return None;
    }
    let host = source.host();
    let secret = |id: String| {
        let secret = asker.request.secrets.get(&id)?;
        Some(String::from_utf8_lossy(&secret.0).trim().to_owned())
    };
    let basic = |user: &[u8]| format!("Basic {}", base64(user));
    let token = |token: String| {
        let value = basic(format!("x-access-token:{token}").as_bytes());
        (value, token)
    };
    let header = |header: String| (header.clone(), header);
    let from_address = || {
        let user = plan::git::percent_decoded(user?);
        let user = if user.contains(&b':') { user } else { [&user[..], b":"].concat() };
        let secret = String::from_utf8_lossy(&user).into_owned();
        Some((basic(&user), secret))
    };
    let (value, hidden) = secret(format!("GIT_AUTH_HEADER.{host}"))
        .map(header)
        .or_else(|| secret(format!("GIT_AUTH_TOKEN.{host}")).map(token))
        .or_else(|| secret("GIT_AUTH_HEADER".to_owned()).map(header))
        .or_else(|| secret("GIT_AUTH_TOKEN".to_owned()).map(token))
        .or_else(from_address)?;
    secrets.extend([value.clone(), hidden]);
    Some((format!("{}://{host}/", source.scheme()), format!("Authorization: {value}")))
}

/// RFC 4648, section 4.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let byte = |index: usize| u32::from(chunk.get(index).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for place in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * place) & 63) as usize];
            text.push(if place <= chunk.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_the_standards() {
        for (bytes, text) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")]
        {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
    }

    #[test]
    fn passwords_leave_the_address() {
        for (url, plain, user) in [
            ("https://u:p@h:1/x.git", "https://h:1/x.git", Some("u:p")),
            ("https://h/x@y.git", "https://h/x@y.git", None),
            ("ssh://git@h/x", "ssh://git@h/x", None),
            ("git@h:x", "git@h:x", None),
        ] {
            assert_eq!(without_user(url), (plain.to_owned(), user.map(str::to_owned)));
        }
    }
}
